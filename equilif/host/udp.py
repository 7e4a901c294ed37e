"""UDP as a port of the client: numbered datagrams (equilif_golden.link.udp).

udp://192.168.1.50            a board
udp://127.0.0.1:61234         a simulated board, or another port
"""

from __future__ import annotations

import errno
import os
import re
import socket
import time
from typing import Protocol

from equilif.host.client import LinkError
from equilif_golden.fixed import check_int
from equilif_golden.link.udp import ADDRESS, PORT, DatagramNumbers

#: begin of an address, and an example
SCHEME = "udp://"
EXAMPLE = f"{SCHEME}{ADDRESS}"
#: bytes of the longest datagram
LONGEST = 2048
CABLE = (
    "check the cable (gigabit), the address of the board's bitstream, and that this computer is in the same "
    "network"
)


class Datagrams(Protocol):
    """A connected socket.  ``refused``: the other computer has no program at this port.  OSError when the
    network fails.
    """

    refused: bool

    def send(self, payload: bytes, /) -> int: ...

    def receive(self, seconds: float) -> bytes | None:
        """The next datagram; None when there is none within this time."""

    def close(self) -> None: ...


class Socket:
    """A UDP socket of the operating system, as Datagrams."""

    def __init__(self, host: str, port: int):
        self.refused = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.connect((host, port))
        except OSError:
            self._socket.close()
            raise

    def send(self, payload: bytes, /) -> int:
        try:
            return self._socket.send(payload)
        except ConnectionRefusedError:
            self.refused = True  # by an earlier datagram: this one is lost too, and will be sent again
            return 0

    def receive(self, seconds: float) -> bytes | None:
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(LONGEST)
        except TimeoutError:
            return None
        except ConnectionRefusedError:
            self.refused = True
            return None

    def close(self) -> None:
        self._socket.close()


class UdpPort:
    """The interface of serial.Serial on datagrams.  ``timeout``: seconds of a read."""

    def __init__(self, datagrams: Datagrams, name: str, *, timeout: float):
        self.name = name
        self.timeout = timeout
        self.write_timeout: float | None = None  # a write never waits
        self.datagrams = datagrams
        self._numbers = DatagramNumbers()
        self._received = b""

    @property
    def in_waiting(self) -> int:
        return len(self._received)

    def reset_input_buffer(self) -> None:
        self._received = b""

    def reset_output_buffer(self) -> None:
        """Do nothing: no output is buffered."""

    def write(self, data: bytes, /) -> int:
        for payload in self._numbers.datagrams(data):
            self.datagrams.send(payload)
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        end = time.monotonic() + self.timeout
        while not self._received:
            left = end - time.monotonic()
            payload = self.datagrams.receive(max(left, 0.001))
            if payload is not None:
                self._received, again = self._numbers.received(payload)
                for copy in again:
                    self.datagrams.send(copy)
            elif left <= 0:
                break
        out, self._received = self._received[:size], self._received[size:]
        return out

    def close(self) -> None:
        self.datagrams.close()

    @property
    def diagnosis(self) -> str:
        """Diagnosis when no device answered."""
        if self.datagrams.refused:
            return "that computer has no program at this port: is the simulated board still running?"
        return f"no answer: {CABLE}"


def opened(path: str, *, timeout: float) -> UdpPort:
    """The port of an address; LinkError when it cannot be used."""
    parts = re.fullmatch(re.escape(SCHEME) + r"([\w.-]+)(?::(\d{1,5}))?", path, re.ASCII)
    if parts is None:
        raise LinkError(f"{path!r} is no UDP address: write {EXAMPLE}, with a port if it is not {PORT}")
    port = check_int(int(parts[2] or PORT), "port", 1, 0xFFFF, "UDP")
    try:
        return UdpPort(Socket(parts[1], port), path, timeout=timeout)
    except socket.gaierror as e:
        raise LinkError(f"{path!r} names no computer of the network: write {EXAMPLE}, say") from e
    except OSError as e:
        reason = CABLE if e.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH) else os.strerror(e.errno or 0)
        raise LinkError(f"{path!r} cannot be reached: {reason}") from e
