"""The link over Ethernet: datagrams with numbers, and the frames that carry them.

    bytes of the line --> datagram: "eqlf", number u32, bytes --> UDP --> IPv4 --> Ethernet

A network may lose, duplicate and reorder datagrams; the host protocol needs a line that keeps the order.  So
the host numbers its datagrams in the order of sending, and the device ignores each that is not newer than the
last one it accepted.  A datagram of the device carries the number of the last one that it accepted.  The
answer to an ignored datagram is this number and no bytes; a new host continues from it.

:class:`Endpoint` is the model of the device, equilif_hdl.link.udp.UdpLine;
:class:`DatagramNumbers` is the host.
"""

from __future__ import annotations

import ipaddress
import random
import struct
import zlib
from dataclasses import dataclass, field

from equilif_golden.fixed import check_int
from equilif_golden.link.protocol import END

ADDRESS = "192.168.1.50"  #: default IPv4 address of a board
PORT = 61234  #: UDP port of a board; above the ports that operating systems assign
MAGIC = b"eqlf"  #: other datagrams are ignored
HEADER = struct.Struct("<4sI")  #: of a datagram: MAGIC, number
#: data bytes of the longest datagram of the device, and of a host that fits every Ethernet
REPLY_BYTES = 128
MAX_DATA = 1472 - HEADER.size
RING_BYTES = 2048  #: receive buffer of the device
FCS_BYTES = 4
MIN_FRAME = 64  #: bytes of an Ethernet frame with its FCS
BROADCAST = b"\xff" * 6
ETHERNET = struct.Struct("!6s6sH")
ARP = struct.Struct("!HHBBH6s4s6s4s")
IP = struct.Struct("!BBHHHBBH4s4s")
UDP = struct.Struct("!HHHH")
ETHERTYPE_IP, ETHERTYPE_ARP = 0x0800, 0x0806
ARP_HEAD = (1, ETHERTYPE_IP, 6, 4)  #: Ethernet, IPv4, bytes of their addresses
ARP_REQUEST, ARP_REPLY = 1, 2
VERSION_IHL = 0x45  #: IPv4 without options
DONT_FRAGMENT = 0x4000
TTL = 64
UDP_PROTOCOL = 17
#: minimum and maximum IP length of an accepted packet
MIN_LENGTH, MAX_LENGTH = IP.size + UDP.size + HEADER.size, 2047
#: a new host leaves a random gap after the number of the last one, which may still have datagrams under way
GAPS = (1 << 16, 1 << 24)


def hardware_address(address: str) -> bytes:
    """MAC address of a board: locally administered, then the IPv4 address."""
    return b"\x02\x00" + packed(address)


def packed(address: str) -> bytes:
    """IPv4 address as bytes; ValueError unless a board can have it."""
    try:
        found = ipaddress.IPv4Address(address)
    except ValueError:
        raise ValueError(f"{address!r} is no IPv4 address: write four numbers, such as {ADDRESS}") from None
    if found.is_multicast or found.is_reserved or found.is_unspecified:
        raise ValueError(f"{address} is not the address of one device: write one such as {ADDRESS}")
    return found.packed


def header(number: int) -> bytes:
    """Header of a datagram."""
    return HEADER.pack(MAGIC, number)


def number_of(payload: bytes) -> int | None:
    """Number of a datagram; None if it is none of the link."""
    if len(payload) < HEADER.size or payload[: len(MAGIC)] != MAGIC:
        return None
    return int(HEADER.unpack_from(payload)[1])


def newer(number: int, last: int) -> bool:
    """Whether a number is newer than ``last``: by less than half of all numbers."""
    return 0 < (number - last) % (1 << 32) < 1 << 31


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071)."""
    even = data + bytes(len(data) % 2)
    total = sum(int.from_bytes(even[k : k + 2], "big") for k in range(0, len(even), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def sealed(frame: bytes) -> bytes:
    """Frame with padding and FCS."""
    body = frame.ljust(MIN_FRAME - FCS_BYTES, b"\0")
    return body + zlib.crc32(body).to_bytes(FCS_BYTES, "little")


@dataclass(frozen=True)
class Station:
    """Addresses of one end: MAC, IPv4, UDP port."""

    mac: bytes
    ip: bytes
    port: int = 0

    @classmethod
    def of(cls, address: str, port: int = PORT) -> Station:
        """A board."""
        return cls(hardware_address(address), packed(address), check_int(port, "port", 1, 0xFFFF, "UDP"))


def datagram(source: Station, target: Station, payload: bytes) -> bytes:
    """Ethernet frame of a datagram, without a UDP checksum: frames of the link have a CRC."""
    content = UDP.pack(source.port, target.port, UDP.size + len(payload), 0) + payload
    fields = (VERSION_IHL, 0, IP.size + len(content), 0, DONT_FRAGMENT, TTL, UDP_PROTOCOL)
    check = checksum(IP.pack(*fields, 0, source.ip, target.ip))
    head = IP.pack(*fields, check, source.ip, target.ip)
    return sealed(ETHERNET.pack(target.mac, source.mac, ETHERTYPE_IP) + head + content)


def arp(operation: int, source: Station, target: Station, to: bytes) -> bytes:
    """Ethernet frame of ARP, sent to MAC ``to``."""
    content = ARP.pack(*ARP_HEAD, operation, source.mac, source.ip, target.mac, target.ip)
    return sealed(ETHERNET.pack(to, source.mac, ETHERTYPE_ARP) + content)


def opened(frame: bytes) -> tuple[Station, Station, bytes] | None:
    """Source, target and payload of a frame of :func:`datagram`; None for any other frame."""
    if len(frame) < MIN_FRAME or frame[12:14] != ETHERTYPE_IP.to_bytes(2, "big"):
        return None
    packet = frame[ETHERNET.size :]
    length = int.from_bytes(packet[2:4], "big")
    if packet[9] != UDP_PROTOCOL:
        return None
    source, target = (int.from_bytes(packet[k : k + 2], "big") for k in (20, 22))
    return (
        Station(frame[6:12], packet[12:16], source),
        Station(frame[:6], packet[16:20], target),
        packet[IP.size + UDP.size : length],
    )


@dataclass
class Endpoint:
    """Model of the device's side, a frame at a time.

    ``station``: its addresses.  ``last``: number of the last accepted datagram.  ``peer``: its sender.
    """

    station: Station
    last: int = 0
    peer: Station | None = None

    def receive(self, frame: bytes) -> tuple[bytes, bytes | None]:
        """Bytes for the line, and the frame that answers at once, if any.  ``frame``: with its FCS."""
        nothing = (b"", None)
        if len(frame) < MIN_FRAME or zlib.crc32(frame[:-4]).to_bytes(4, "little") != frame[-4:]:
            return nothing
        target, mac, kind = ETHERNET.unpack_from(frame)
        packet = frame[ETHERNET.size : -FCS_BYTES]
        if mac[0] & 1 or target not in (self.station.mac, BROADCAST):
            return nothing
        if kind == ETHERTYPE_ARP:
            *head, operation, sender, ip, _, wanted = ARP.unpack_from(packet)
            if (*head, operation) != (*ARP_HEAD, ARP_REQUEST) or wanted != self.station.ip or sender[0] & 1:
                return nothing
            return b"", arp(ARP_REPLY, self.station, Station(sender, ip), sender)
        if kind != ETHERTYPE_IP or target != self.station.mac:
            return nothing
        version, _, length, _, fragment, _, protocol, _, ip, wanted = IP.unpack_from(packet)
        if version != VERSION_IHL or fragment & ~DONT_FRAGMENT or wanted != self.station.ip:
            return nothing
        if not MIN_LENGTH <= length <= min(MAX_LENGTH, len(packet)) or checksum(packet[: IP.size]):
            return nothing
        content = packet[IP.size : length]
        source, port, size, _ = UDP.unpack_from(content)
        if protocol != UDP_PROTOCOL or port != self.station.port or size != len(content):
            return nothing
        sender = Station(mac, ip, source)
        number = number_of(content[UDP.size :])
        if number is None:
            return nothing
        if not newer(number, self.last):
            return b"", datagram(self.station, sender, header(self.last))
        self.last, self.peer = number, sender
        return content[UDP.size + HEADER.size :], None

    def send(self, line: bytes) -> list[bytes]:
        """Frames with bytes of the device: up to REPLY_BYTES each, and up to an END of SLIP.  Bytes after
        the last END wait in the device; here they are an error.
        """
        if self.peer is None:
            return []
        frames = []
        while line:
            end = line.index(END) + 1
            data, line = line[: min(end, REPLY_BYTES)], line[min(end, REPLY_BYTES) :]
            frames.append(datagram(self.station, self.peer, header(self.last) + data))
        return frames


class TakenOver(OSError):
    """The device has accepted newer datagrams, of another host."""


@dataclass
class DatagramNumbers:
    """The host's side: numbers its datagrams, and recognises those of the device that may answer.

    ``number``: of the last datagram.  ``answered``: the device has sent bytes to this host.
    """

    number: int = field(default_factory=lambda: random.getrandbits(31))  # newer than 0, that of a reset
    answered: bool = False
    _first: int = 0  # number of the first copy of the present command
    _line: bytes = b""

    def datagrams(self, line: bytes) -> list[bytes]:
        """Datagrams with bytes for the device: a command, or again the same."""
        if line != self._line:
            self._line, self._first = line, (self.number + 1) % (1 << 32)
        out = []
        for at in range(0, len(line), MAX_DATA):
            self.number = (self.number + 1) % (1 << 32)
            out.append(header(self.number) + line[at : at + MAX_DATA])
        return out

    def received(self, payload: bytes) -> tuple[bytes, list[bytes]]:
        """Bytes of a datagram of the device, and datagrams to send at once: again the first command, if the
        device has accepted newer ones from an earlier host.  Datagrams that answer earlier commands give no
        bytes.  TakenOver if the device has accepted newer ones from a later host.
        """
        number = number_of(payload)
        if number is None:
            return b"", []
        data = payload[HEADER.size :]
        ahead = (number - self.number) % (1 << 32)
        if not data and 0 < ahead <= 1 << 31:
            if self.answered:
                raise TakenOver("another host uses the board")
            self.number = (number + random.randrange(*GAPS)) % (1 << 32)
            line, self._line = self._line, b""
            return b"", self.datagrams(line)
        if (number - self._first) % (1 << 32) > (self.number - self._first) % (1 << 32):
            return b"", []
        self.answered = self.answered or bool(data)
        return data, []
