"""Ports of a client: one of a device in memory, and one that loses, damages and repeats frames."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import sliplib

from equilif.host.client import Client, Port
from equilif_golden.link.device import Device

END: bytes = sliplib.END


#: kinds of faults, equally frequent in each direction
FAULTS = "lost", "damaged", "doubled"


class DevicePort:
    """A port connected to a device, whose standalone trainer advances by a frame at each read.

    ``spoil``: a function of each reply on the line and its number.
    """

    def __init__(self, device: Device, spoil: Callable[[bytes, int], bytes] = lambda line, n: line):
        self.device = device
        self.spoil = spoil
        self.commands: list[bytes] = []
        self.replies = 0
        self.pending = b""
        self._rest = b""

    def write(self, data: bytes, /) -> int:
        *packets, self._rest = (self._rest + data).split(END)
        for packet in packets:
            reply = self.device.packet(packet)
            if reply is not None:
                # a damaged command may have an invalid escape
                self.commands.append(sliplib.decode(packet) if sliplib.is_valid(packet) else packet)
                self.pending += self.spoil(sliplib.encode(reply) + END, self.replies)
                self.replies += 1
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        if self.device.trainer:
            self.device.trainer.step()
        out, self.pending = self.pending[:size], self.pending[size:]
        return out

    @property
    def in_waiting(self) -> int:
        return len(self.pending)


class Faulty:
    """A faulty line in front of ``port``.

    ``rate``: fraction of frames with a fault, in each direction.  Of ``3 / rate`` frames one is lost, one
    damaged and one doubled, in random order, so a run has faults of each kind also where a slow machine makes
    the host repeat other frames.  ``faults``: count by kind and direction.
    """

    def __init__(self, port: Port, rate: float, rng: random.Random):
        self.port = port
        self.rate = rate
        self.rng = rng
        self.faults: Counter[str] = Counter({f"{kind} {way}": 0 for kind in FAULTS for way in ("out", "in")})
        self._next: dict[str, list[str | None]] = {"out": [], "in": []}
        self._out = b""
        self._in = b""
        self._ready = b""

    def write(self, data: bytes, /) -> int:
        *packets, self._out = (self._out + data).split(END)
        line = b"".join(self._damage(packet, "out") for packet in packets)
        if line:
            self.port.write(line)
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        if not self._ready:
            *packets, self._in = (
                self._in + self.port.read(max(1, getattr(self.port, "in_waiting", 1)))
            ).split(END)
            self._ready = b"".join(self._damage(packet, "in") for packet in packets)
        out, self._ready = self._ready[:size], self._ready[size:]
        return out

    def _fault(self, way: str) -> str | None:
        """Fault of the next frame."""
        if not self._next[way]:
            self._next[way] = [*FAULTS, *[None] * (round(len(FAULTS) / self.rate) - len(FAULTS))]
            self.rng.shuffle(self._next[way])
        return self._next[way].pop()

    def _damage(self, packet: bytes, way: str) -> bytes:
        """Bytes that arrive for a packet, END included."""
        line = packet + END
        fault = self._fault(way) if packet else None
        if fault is None:
            return line
        self.faults[f"{fault} {way}"] += 1
        if fault == "doubled":
            return line + line
        if fault == "lost":
            return b""
        # a flipped bit, a lost byte or an additional one, END included
        at = self.rng.randrange(len(line))
        return self.rng.choice(
            (
                line[:at] + bytes((line[at] ^ 1 << self.rng.randrange(8),)) + line[at + 1 :],
                line[:at] + line[at + 1 :],
                line[:at] + self.rng.randbytes(1) + line[at:],
            )
        )


def client_of(device, **options):
    """A client, and its port; its deadlines bear a machine that stalls."""
    spoil = options.pop("spoil", lambda line, n: line)
    wire = DevicePort(device, spoil)
    return Client(wire, **{"timeout": 0.02, "deadline": 20.0, "run_deadline": 20.0, **options}), wire
