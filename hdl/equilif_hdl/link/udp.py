"""UDP over gigabit Ethernet, at the data of an RGMII PHY.

    rx --> [ FCS, addresses, lengths ] --+--> ring --> o: bytes of accepted datagrams
                                         +--> last sender, number
                                         '--> ARP, echo and ignored datagrams: response
    tx <-- [ header by a table, FCS ] <------ buffer <-- FIFO <-- i: bytes, up to an END

Bit-exact with equilif_golden.link.udp.Endpoint.  One station with a static address; no options of IP, no
fragments.  A frame is checked as it arrives.  Its data are in the ring, and its sender in a slot of the
buffer, before the result is known; both count only if the frame is accepted.

A header of the device is a table: for each byte a constant, a byte of a slot, or a field that is computed.

Clock domains: ``eth``, 125 MHz, the receive clock of the PHY, and ``sync`` (any frequency).  The PHY derives
its transmit clock from the same one.  Pointers of the ring cross by a token that goes to and fro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from amaranth import Array, Cat, Const, DomainRenamer, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import cdc, crc, fifo, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out, connect

from equilif_golden.link.protocol import END
from equilif_golden.link.udp import (
    ADDRESS,
    ARP_HEAD,
    ARP_REPLY,
    ARP_REQUEST,
    DONT_FRAGMENT,
    ECHO_REPLY,
    ECHO_REQUEST,
    ETHERTYPE_ARP,
    ETHERTYPE_IP,
    FCS_BYTES,
    ICMP,
    MAGIC,
    MAX_ECHO,
    MIN_FRAME,
    MIN_LENGTH,
    PORT,
    REPLY_BYTES,
    RING_BYTES,
    TTL,
    UDP_PROTOCOL,
    VERSION_IHL,
    Station,
    checksum,
)
from equilif_golden.link.udp import IP as IP_HEADER
from equilif_hdl.fixed import lowest_set, ram
from equilif_hdl.link.transport import Line
from equilif_hdl.typed import Interface, Stream

ETH_HZ = 125e6
GAP = 12  #: bytes between frames
FIFO_BYTES = 8
PREAMBLE = (*(0x55,) * 7, 0xD5)
#: indices of bytes of a frame
TYPE, IP, CONTENT = 12, 14, 34
LENGTH = IP + 2
FRAGMENT = IP + 6
CHECKED = CONTENT + 2  #: checksum of ICMP
UDP_LENGTH = CONTENT + 4
UDP_CONTENT = CONTENT + 8  #: MAGIC
NUMBER = UDP_CONTENT + len(MAGIC)
UDP_DATA = NUMBER + 4
ECHO_DATA = CONTENT + 4  #: identifier, sequence number, data
#: the buffer: a reply, an echo, addresses of senders
ECHO_AT = REPLY_BYTES
SLOTS, SLOT_BYTES = 4, 16
BUFFER_BYTES = 256
SLOTS_AT = BUFFER_BYTES - SLOTS * SLOT_BYTES
#: a slot: MAC, IPv4, port
MAC, ADDRESS_OF, PORT_OF = 0, 6, 10
assert ECHO_AT + MAX_ECHO - (ECHO_DATA - IP) == SLOTS_AT
assert MIN_LENGTH == 32 and MIN_FRAME == 64  # tested by one bit


class Pins(Interface, Protocol):
    """Interface of PINS."""

    rx_data: Signal
    rx_control: Signal
    tx_data: Signal
    tx_valid: Signal


#: a byte a cycle of ``eth``, low half at the rising edge; ``rx_control``: RX_CTL at both edges
PINS = wiring.Signature({"rx_data": In(8), "rx_control": In(2), "tx_data": Out(8), "tx_valid": Out(1)})


class FrameKind(IntEnum):
    """Kinds of frames."""

    UDP = 0
    ECHO = 1
    ARP = 2


class HeaderOp(IntEnum):
    """Source of a header byte; the argument of each is in brackets."""

    CONSTANT = 0  #: the byte (value)
    BUFFER = 1  #: of the target's slot (index)
    FIELD = 2  #: computed (HeaderField)


class HeaderField(IntEnum):
    """Computed bytes of a header."""

    LENGTH_HIGH = 0
    LENGTH_LOW = 1
    CHECKSUM_HIGH = 2
    CHECKSUM_LOW = 3
    UDP_LENGTH_HIGH = 4
    UDP_LENGTH_LOW = 5
    ECHO_HIGH = 6
    ECHO_LOW = 7
    NUMBER = 8  #: and the three after it


class Byte(NamedTuple):
    """A byte of a header of the device."""

    op: HeaderOp
    argument: int


def _constant(data: bytes | Sequence[int]) -> list[Byte]:
    return [Byte(HeaderOp.CONSTANT, byte) for byte in data]


def _slot(first: int, n: int) -> list[Byte]:
    return [Byte(HeaderOp.BUFFER, first + k) for k in range(n)]


def _fields(first: HeaderField, n: int) -> list[Byte]:
    return [Byte(HeaderOp.FIELD, first + k) for k in range(n)]


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def headers(station: Station) -> dict[FrameKind, list[Byte]]:
    """Frames of the device up to their data, with the preamble."""

    def start(ethertype: int) -> list[Byte]:
        return [*_constant(PREAMBLE), *_slot(MAC, 6), *_constant(station.mac + _u16(ethertype))]

    def ip(protocol: int) -> list[Byte]:
        return [
            *start(ETHERTYPE_IP),
            *_constant([VERSION_IHL, 0]),
            *_fields(HeaderField.LENGTH_HIGH, 2),
            *_constant(_u16(0) + _u16(DONT_FRAGMENT) + bytes([TTL, protocol])),
            *_fields(HeaderField.CHECKSUM_HIGH, 2),
            *_constant(station.ip),
            *_slot(ADDRESS_OF, 4),
        ]

    return {
        FrameKind.UDP: [
            *ip(UDP_PROTOCOL),
            *_constant(_u16(station.port)),
            *_slot(PORT_OF, 2),
            *_fields(HeaderField.UDP_LENGTH_HIGH, 2),
            *_constant(_u16(0) + MAGIC),
            *_fields(HeaderField.NUMBER, 4),
        ],
        FrameKind.ECHO: [*ip(ICMP), *_constant([ECHO_REPLY, 0]), *_fields(HeaderField.ECHO_HIGH, 2)],
        FrameKind.ARP: [
            *start(ETHERTYPE_ARP),
            *_constant(_arp(ARP_REPLY) + station.mac + station.ip),
            *_slot(MAC, 6),
            *_slot(ADDRESS_OF, 4),
        ],
    }


def _arp(operation: int) -> bytes:
    hardware, protocol, *sizes = ARP_HEAD
    return _u16(hardware) + _u16(protocol) + bytes(sizes) + _u16(operation)


def expected(station: Station) -> dict[FrameKind, dict[int, int]]:
    """Bytes that frames for the device must have, by index.  Destination of ARP and lengths: see Receiver."""

    def at(index: int, data: bytes | Sequence[int]) -> dict[int, int]:
        return {index + k: byte for k, byte in enumerate(data)}

    def ip(protocol: int) -> dict[int, int]:
        return (
            at(0, station.mac)
            | at(TYPE, _u16(ETHERTYPE_IP))
            | at(IP, [VERSION_IHL])
            | at(FRAGMENT, [0, 0])
            | at(IP + 9, [protocol])
            | at(IP + 16, station.ip)
        )

    return {
        FrameKind.UDP: ip(UDP_PROTOCOL) | at(CONTENT + 2, _u16(station.port)) | at(UDP_CONTENT, MAGIC),
        FrameKind.ECHO: ip(ICMP) | at(CONTENT, [ECHO_REQUEST, 0]),
        FrameKind.ARP: at(TYPE, _u16(ETHERTYPE_ARP)) | at(IP, _arp(ARP_REQUEST)) | at(IP + 24, station.ip),
    }


#: bytes of a frame that a slot takes: index, length, first byte of the slot
STORED = {
    FrameKind.UDP: ((6, 6, MAC), (IP + 12, 4, ADDRESS_OF), (CONTENT, 2, PORT_OF)),
    FrameKind.ARP: ((IP + 8, 6, MAC), (IP + 14, 4, ADDRESS_OF)),
}


def _table(index: Value, words: Sequence[int], width: int) -> Value:
    """Combinational look-up; zero beyond the end."""
    n = 1 << len(index)
    return Array(Const(word, width) for word in [*words, *[0] * (n - len(words))])[index]


class Responses(wiring.Signature):
    """A response that the receiver wants sent: ``kind``, ``slot`` of its target, and of an echo ``length``
    (of IP) and ``check``.  ``done``: it is sent.

    ``last``, ``peer``, ``has_peer``: number and slot of the last accepted datagram.
    """

    class Members(Interface, Protocol):
        busy: Signal
        kind: Signal
        slot: Signal
        length: Signal
        check: Signal
        done: Signal
        last: Signal
        peer: Signal
        has_peer: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "busy": Out(1),
                "kind": Out(FrameKind),
                "slot": Out(2),
                "length": Out(11),
                "check": Out(16),
                "done": In(1),
                "last": Out(32),
                "peer": Out(2),
                "has_peer": Out(1),
            }
        )


class WriteSignature(wiring.Signature):
    """Write port of a memory."""

    class Members(Interface, Protocol):
        enable: Signal
        address: Signal
        data: Signal

    def __init__(self, depth: int):
        super().__init__({"enable": Out(1), "address": Out(range(depth)), "data": Out(8)})


class Receiver(wiring.Component):
    """Members
    -------
    rx_data, rx_control : In(8), In(2)
        As PINS.
    buffer, ring : Out(WriteSignature)
    committed, read : Out(12), In(12)
        Bytes of the ring, modulo twice its size: written by accepted frames; read, or fewer.
    responses : Out(Responses)
    used : In(4)
        Slots that the transmitter uses.

    Its clock is that of the PHY.
    """

    rx_data: Signal
    rx_control: Signal
    buffer: WriteSignature.Members
    ring: WriteSignature.Members
    committed: Signal
    read: Signal
    responses: Responses.Members
    used: Signal

    def __init__(self, station: Station):
        self.station = station
        super().__init__(
            {
                "rx_data": In(8),
                "rx_control": In(2),
                "buffer": Out(WriteSignature(BUFFER_BYTES)),
                "ring": Out(WriteSignature(RING_BYTES)),
                "committed": Out(range(2 * RING_BYTES)),
                "read": In(range(2 * RING_BYTES)),
                "responses": Out(Responses()),
                "used": In(SLOTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        r = self.responses
        byte, start, take, end, error, at, index = self._bytes(m)
        possible = {kind: Signal(name=f"is_{kind.name.lower()}") for kind in FrameKind}
        bad = Signal()  # the frame is none for any kind
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.d.comb += [check.start.eq(start), check.data.eq(byte), check.valid.eq(take)]
        length = self._lengths(m, byte, take, index)
        self._expect(m, byte, start, take, index, length, possible)
        fresh, number = self._numbers(m, byte, take, index)
        sum_ok = self._checksum(m, byte, start, take, at, index)
        # the last frame is accepted two cycles after its end, and this one cannot start earlier
        started = Signal(2)
        m.d.sync += started.eq(Cat(start, started[0]))
        may_respond = Signal()
        with m.If(started[1]):
            m.d.sync += may_respond.eq(~r.busy)
        slot = self._store(m, byte, started, take, index, possible, may_respond, bad)
        is_udp, is_echo, is_arp = (possible[kind] for kind in FrameKind)

        written = Signal.like(self.committed)
        distance = Signal.like(written)  # from `read`, without the byte of the cycle before
        wrote = Signal()
        room = Signal()
        is_data = index(UDP_DATA, MIN_FRAME + 1)
        data = Signal()  # the byte before is one of a datagram's data
        late = Signal(8)
        write = Signal()
        m.d.comb += [
            room.eq(~(distance[-1] | distance[:-1].all() & wrote)),
            write.eq(data & room),
        ]
        m.d.sync += [
            data.eq(take & is_udp & is_data & length.inside),
            late.eq(byte),
            distance.eq(written - self.read),
            wrote.eq(write),
            self.ring.enable.eq(write),
            self.ring.address.eq(written),
            self.ring.data.eq(late),
        ]
        with m.If(write):
            m.d.sync += written.eq(written + 1)
        with m.If(data & ~room):
            m.d.sync += bad.eq(1)
        with m.If(take & error):
            m.d.sync += bad.eq(1)
        with m.If(start):
            m.d.sync += bad.eq(0)
        with m.If(started[1]):
            m.d.sync += written.eq(self.committed)

        ended = Signal()
        match = Signal()  # the FCS is right and the frame long enough
        m.d.sync += [ended.eq(end), match.eq(check.match_detected & at[6])]
        whole = Signal()
        m.d.comb += whole.eq(ended & ~bad & match)
        ip_whole = whole & sum_ok & length.complete
        accept = Signal()
        respond = Signal()
        m.d.sync += [
            accept.eq(ip_whole & is_udp & fresh),
            respond.eq(
                may_respond & (whole & is_arp | ip_whole & (is_echo & length.fits_echo | is_udp & ~fresh))
            ),
        ]
        with m.If(accept):
            m.d.sync += [self.committed.eq(written), r.last.eq(number), r.peer.eq(slot), r.has_peer.eq(1)]
        with m.If(r.done):
            m.d.sync += r.busy.eq(0)
        with m.If(respond):
            m.d.sync += [
                r.busy.eq(1),
                r.slot.eq(slot),
                r.kind.eq(Mux(is_arp, FrameKind.ARP, Mux(is_echo, FrameKind.ECHO, FrameKind.UDP))),
                r.length.eq(Mux(is_echo, length.total, UDP_DATA - IP)),
            ]
        # type 8 becomes type 0; the carry is added in the next cycle
        carry = Signal()
        high, low, done = (index(CHECKED + k) for k in range(3))
        with m.If(take & may_respond & is_echo):
            with m.If(high):
                m.d.sync += Cat(r.check[11:], carry).eq(byte[3:] + (ECHO_REQUEST >> 3))
                m.d.sync += r.check[8:11].eq(byte)
            with m.If(low):
                m.d.sync += r.check[:8].eq(byte)
            with m.If(done):
                m.d.sync += r.check.eq(r.check + carry)
        return m

    def _bytes(self, m: Module) -> tuple[Signal, Signal, Signal, Signal, Signal, Signal, _Index]:
        """The present byte, what it is, and its index up to MIN_FRAME.

        ``start``: the last one of a preamble.  ``take``: one of a frame.  ``end``: the byte before was the
        last one.  ``error``: the PHY marks it as bad.
        """
        first = Signal(8)
        valid = Signal()
        wrong = Signal()
        m.d.sync += [
            first.eq(self.rx_data),
            valid.eq(self.rx_control[0]),
            wrong.eq(self.rx_control[0] ^ self.rx_control[1]),
        ]
        starts = Signal()
        takes = Signal()
        ends = Signal()
        index = Signal(7)
        with m.If(starts):
            m.d.sync += index.eq(0)
        with m.Elif(takes):
            m.d.sync += index.eq(index + ~index[6])
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += starts.eq(valid & (first == PREAMBLE[-1]))
                with m.If(starts):
                    m.next = "FRAME"
                with m.Elif(valid & (first != PREAMBLE[0])):
                    m.next = "SKIP"
            with m.State("SKIP"):
                with m.If(~valid):
                    m.next = "IDLE"
            with m.State("FRAME"):
                m.d.comb += [takes.eq(valid), ends.eq(~valid)]
                with m.If(ends):
                    m.next = "SKIP"
        byte = Signal(8)
        start = Signal()
        take = Signal()
        end = Signal()
        error = Signal()
        at = Signal(7)
        m.d.sync += [
            byte.eq(first),
            start.eq(starts),
            take.eq(takes),
            end.eq(ends),
            error.eq(wrong),
            at.eq(index),
        ]
        return byte, start, take, end, error, at, _Index(m, index)

    def _lengths(self, m: Module, byte: Signal, take: Signal, index: _Index) -> _Lengths:
        """Length of the IP packet; whether the present byte is inside, and the frame is complete."""
        total = Signal(11)
        left = Signal(11)  # bytes of the packet from this one on
        after = Signal(3)  # bytes after the packet so far, up to those of the FCS
        valid = Signal()  # the length has a valid value
        high, low = index(LENGTH), index(LENGTH + 1)
        inside = Signal()
        complete = Signal()
        with m.If(take):
            with m.If(high):
                m.d.sync += [total[8:].eq(byte), valid.eq(~byte[3:].any())]
            with m.Elif(low):
                packet = Cat(byte, total[8:])
                m.d.sync += [
                    total[:8].eq(byte),
                    left.eq(packet - 4),
                    after.eq(0),
                    valid.eq(valid & packet[5:].any()),
                ]
            with m.Elif(inside):
                m.d.sync += left.eq(left - 1)
            with m.Elif(~after[2]):
                m.d.sync += after.eq(after + 1)
        fits = Signal()
        m.d.sync += fits.eq(total <= MAX_ECHO)
        m.d.comb += [inside.eq(left != 0), complete.eq(valid & after[2])]
        assert FCS_BYTES == 4
        return _Lengths(total, inside, complete, fits)

    def _expect(
        self,
        m: Module,
        byte: Signal,
        start: Signal,
        take: Signal,
        index: _Index,
        length: _Lengths,
        possible: dict[FrameKind, Signal],
    ) -> None:
        """Compare with the bytes of each kind; ``possible`` includes a byte two cycles later."""
        udp_length = Signal(11)
        m.d.sync += udp_length.eq(length.total - (CONTENT - IP))
        broadcast = Signal()
        flags = index(FRAGMENT)  # this byte has the flag that forbids fragments, which may have any value
        for kind, wanted in expected(self.station).items():
            name = kind.name.lower()
            last = max(wanted)
            words = [wanted.get(k, 0) | (k in wanted) << 8 for k in range(last + 1)]
            if kind == FrameKind.UDP:
                words[UDP_LENGTH] = words[UDP_LENGTH + 1] = 1 << 8
            word = Signal(9, name=f"expected_{name}")
            m.d.sync += word.eq(index.table(words, 9))
            if kind == FrameKind.UDP:
                with m.If(index.now == UDP_LENGTH):
                    m.d.sync += word[:8].eq(udp_length[8:])
                with m.If(index.now == UDP_LENGTH + 1):
                    m.d.sync += word[:8].eq(udp_length[:8])
            differs = Signal(name=f"differs_{name}")
            m.d.sync += differs.eq(take & word[8] & ((byte ^ word[:8]) & ~(flags << 6)).any())
            with m.If(differs):
                m.d.sync += possible[kind].eq(0)
        with m.If(take & index(UDP_DATA - 1) & ~length.inside):  # too short for a number
            m.d.sync += possible[FrameKind.UDP].eq(0)
        with m.If(take & index(0, 6) & (byte != 0xFF)):
            m.d.sync += broadcast.eq(0)
        with m.If(
            take & index(7) & ~broadcast & ~possible[FrameKind.UDP]
        ):  # neither for all nor for this one
            m.d.sync += possible[FrameKind.ARP].eq(0)
        with m.If(start):
            m.d.sync += [broadcast.eq(1), *(p.eq(1) for p in possible.values())]

    def _numbers(self, m: Module, byte: Signal, take: Signal, index: _Index) -> tuple[Signal, Signal]:
        """Number of a datagram, and whether it is newer than the last one; of a byte two cycles later."""
        last = Signal(8)  # byte of the last number
        m.d.sync += last.eq(self.responses.last.word_select((index.now - NUMBER)[:2], 8))
        inside = index(NUMBER, UDP_DATA)
        number = Signal(32)
        borrow = Signal()
        changed = Signal()  # `difference` is new
        differs = Signal()  # a byte so far
        fresh = Signal()
        difference = Signal(8)
        m.d.sync += changed.eq(take & inside)
        with m.If(take & inside):
            m.d.sync += [
                number.eq(Cat(number[8:], byte)),
                Cat(difference, borrow).eq(byte - last - borrow),
            ]
        with m.If(take & index(0, NUMBER)):
            m.d.sync += [borrow.eq(0), differs.eq(0)]
        with m.If(changed):
            m.d.sync += [
                differs.eq(differs | difference.any()),
                fresh.eq(~difference[7] & (differs | difference.any())),
            ]
        return fresh, number

    def _checksum(
        self, m: Module, byte: Signal, start: Signal, take: Signal, at: Signal, index: _Index
    ) -> Signal:
        """Whether the checksum of the IP header is right; a carry is added in the next cycle."""
        total = Signal(17)
        right = Signal()
        operand = Signal(16)
        m.d.sync += operand.eq(Mux(take & index(IP, CONTENT), Mux(at[0], byte, byte << 8), 0))
        with m.If(start):
            m.d.sync += total.eq(0)
        with m.Else():
            m.d.sync += total.eq(total[:16] + operand + total[16])
        m.d.sync += right.eq(total == 0xFFFF)
        return right

    def _store(
        self,
        m: Module,
        byte: Signal,
        started: Signal,
        take: Signal,
        index: _Index,
        possible: dict[FrameKind, Signal],
        may_respond: Signal,
        bad: Signal,
    ) -> Signal:
        """Write the sender and the data of an echo into the buffer; returns the slot."""
        r = self.responses
        slot = Signal(2)
        used = Signal(SLOTS)
        m.d.sync += used.eq(self.used | r.has_peer << r.peer | r.busy << r.slot)
        with m.If(started[1]):
            m.d.sync += slot.eq(lowest_set(~used))
        stored = {}
        for kind, ranges in STORED.items():
            words = [0] * MIN_FRAME
            for first, n, target in ranges:
                for k in range(n):
                    words[first + k] = (target + k == MAC) << 5 | 1 << 4 | target + k
            stored[kind] = Signal(6, name=f"stored_{kind.name.lower()}")
            m.d.sync += stored[kind].eq(index.table(words, 6))
        is_arp = Signal()  # known after the ethertype, and its address is stored before
        m.d.comb += is_arp.eq(possible[FrameKind.ARP] & index(IP, MIN_FRAME))
        word = Signal(6)
        m.d.comb += word.eq(Mux(is_arp, stored[FrameKind.ARP], stored[FrameKind.UDP]))
        with m.If(take & word[5] & byte[0]):  # of a group
            m.d.sync += bad.eq(1)
        echo = Signal()
        echo_at = Signal(range(BUFFER_BYTES))
        with m.If(started[1]):
            m.d.sync += echo_at.eq(ECHO_AT)
        with m.If(echo):
            m.d.sync += echo_at.eq(echo_at + 1)
        # beyond its maximum the frame is rejected at its end
        is_data = index(ECHO_DATA, MIN_FRAME + 1)
        m.d.comb += echo.eq(
            take & may_respond & possible[FrameKind.ECHO] & is_data & (echo_at[6:] != SLOTS_AT >> 6)
        )
        m.d.sync += [
            self.buffer.enable.eq(echo | take & word[4]),
            self.buffer.address.eq(Mux(echo, echo_at, SLOTS_AT + Cat(word[:4], slot))),
            self.buffer.data.eq(byte),
        ]
        return slot


class _Index:
    """Look-ups of the index of a byte, a cycle ahead.  ``now``: index of the next byte."""

    def __init__(self, m: Module, now: Signal):
        self.now = now
        self._m = m

    def __call__(self, first: int, end: int | None = None) -> Signal:
        """Whether the present byte is byte ``first``, or one of ``first`` to ``end`` - 1."""
        found = Signal(name=f"at_{first}" if end is None else f"at_{first}_to_{end}")
        inside = self.now == first if end is None else (self.now >= first) & (self.now < end)
        self._m.d.sync += found.eq(inside)
        return found

    def table(self, words: Sequence[int], width: int) -> Value:
        """Word of the next byte; zero beyond the end."""
        return Mux(self.now[6], 0, _table(self.now[:6], words, width))


@dataclass(frozen=True)
class _Lengths:
    """Signals of the length of a packet."""

    total: Signal
    inside: Signal
    complete: Signal
    fits_echo: Signal


class Transmitter(wiring.Component):
    """Sends responses, and bytes as datagrams to the last sender; without a sender bytes are dropped.

    Members
    -------
    i : In(stream of 8)
        Bytes to the host.
    tx_data, tx_valid : Out(8), Out(1)
        As PINS.
    responses : In(Responses)
    received : In(WriteSignature)
        Writes of the receiver to the buffer.
    used : Out(4)
        Slots of the buffer in use.

    Its clock is that of the PHY.  A datagram is sent when it has REPLY_BYTES bytes of data, or an END.
    """

    i: Stream[Signal]
    tx_data: Signal
    tx_valid: Signal
    responses: Responses.Members
    received: WriteSignature.Members
    used: Signal

    def __init__(self, station: Station):
        self.station = station
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "tx_data": Out(8),
                "tx_valid": Out(1),
                "responses": In(Responses()),
                "received": In(WriteSignature(BUFFER_BYTES)),
                "used": Out(SLOTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        r = self.responses
        buffer = m.submodules.buffer = ram(8, BUFFER_BYTES, "distributed")
        wr = buffer.write_port()
        rd = buffer.read_port()
        sent = Signal()  # the reply was sent
        count, full = self._collect(m, wr, sent)
        kind = Signal(FrameKind)
        slot = Signal(2)
        number = Signal(32)
        length = Signal(11)  # of the IP packet
        left = Signal(11)  # bytes of data from this one on
        has_data = Signal()
        responding = Signal()
        data_at = Signal(range(BUFFER_BYTES))
        step = Signal(6)  # index of the header byte, with the preamble
        at = Signal(6)  # index of the byte after it, up to the last one of a short frame
        last = MIN_FRAME - FCS_BYTES - 1
        at_next = Mux(at == last, last, at + 1)
        tail = Signal(range(FCS_BYTES))
        gap = Signal(range(GAP))
        table = headers(self.station)
        last_step = Signal(6)
        m.d.sync += last_step.eq(Array(Const(len(table[k]) - 1, 6) for k in FrameKind)[kind])
        busy = Signal()
        done = Signal()
        m.d.comb += [self.used.eq(busy << slot), r.done.eq(done & responding), sent.eq(done & ~responding)]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.sync += [step.eq(0), at.eq(0), number.eq(r.last), responding.eq(r.busy)]
                with m.If(r.busy):
                    m.d.sync += [
                        kind.eq(r.kind),
                        slot.eq(r.slot),
                        length.eq(r.length),
                        data_at.eq(ECHO_AT),
                        left.eq(r.length - (ECHO_DATA - IP)),
                        has_data.eq(r.kind == FrameKind.ECHO),
                    ]
                    m.next = "HEADER"
                with m.Elif(full & r.has_peer):
                    m.d.sync += [
                        kind.eq(FrameKind.UDP),
                        slot.eq(r.peer),
                        length.eq(count + (UDP_DATA - IP)),
                        data_at.eq(0),
                        left.eq(count),
                        has_data.eq(1),
                    ]
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += busy.eq(1)
                m.d.sync += step.eq(step + 1)
                with m.If(step >= len(PREAMBLE)):
                    m.d.sync += at.eq(at_next)
                with m.If(step == last_step):
                    m.next = "PAD"
                    with m.If(has_data):
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += busy.eq(1)
                m.d.sync += [data_at.eq(data_at + 1), left.eq(left - 1), at.eq(at_next)]
                with m.If(left == 1):
                    m.next = "PAD"
                    with m.If(at == last):
                        m.next = "FCS"
            with m.State("PAD"):
                m.d.comb += busy.eq(1)
                m.d.sync += at.eq(at_next)
                with m.If(at == last):
                    m.next = "FCS"
            with m.State("FCS"):
                m.d.comb += busy.eq(1)
                m.d.sync += [tail.eq(tail + 1), gap.eq(GAP - 1)]
                with m.If(tail == FCS_BYTES - 1):
                    m.d.comb += done.eq(1)
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += gap.eq(gap - 1)
                with m.If(gap == 0):
                    m.next = "IDLE"
        header = fsm.ongoing("HEADER")
        data = fsm.ongoing("DATA")

        # stages of a byte: word of the table, address in the buffer, its data, the byte, and the FCS with it
        word = Signal(10)
        words = [[byte.op << 8 | byte.argument for byte in table[k]] for k in FrameKind]
        m.d.sync += word.eq(Array(_table(step, words[k], 10) for k in FrameKind)[kind])
        address, op, argument = self._source(m, word, step, header, data, slot, data_at)
        m.d.comb += rd.addr.eq(address)
        total = self._checksum(m, step, kind, length, rd.data)
        fixed = self._fixed_byte(m, op, argument, total, length, number)
        from_buffer = Signal()
        byte = Signal(8)
        m.d.sync += [from_buffer.eq(op == HeaderOp.BUFFER), byte.eq(Mux(from_buffer, rd.data, fixed))]
        ends = fsm.ongoing("FCS")  # the FCS includes the bytes after the preamble, up to its own
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.d.comb += [
            check.start.eq(_late(m, step == 0, 4, "start")),
            check.data.eq(byte),
            check.valid.eq(_late(m, busy & ~ends & (step >= len(PREAMBLE)), 4, "protected")),
        ]
        fcs = check.crc.word_select(_late(m, tail, 4, "tail"), 8)
        m.d.sync += [
            self.tx_data.eq(Mux(_late(m, ends, 4, "fcs"), fcs, byte)),
            self.tx_valid.eq(_late(m, busy, 4, "busy")),
        ]
        return m

    def _collect(self, m: Module, write: memory.WritePort, sent: Signal) -> tuple[Signal, Signal]:
        """Write bytes of the reply, and those of the receiver, into the buffer.

        Returns the bytes of the reply so far, and whether it is to be sent.
        """
        count = Signal(range(REPLY_BYTES + 1))
        full = Signal()
        collect = Signal()
        m.d.comb += [
            self.i.ready.eq(~full & ~self.received.enable),
            collect.eq(self.i.valid & self.i.ready),
        ]
        m.d.sync += [
            write.en.eq(collect | self.received.enable),
            write.addr.eq(Mux(self.received.enable, self.received.address, count)),
            write.data.eq(Mux(self.received.enable, self.received.data, self.i.payload)),
        ]
        with m.If(collect):
            m.d.sync += [count.eq(count + 1), full.eq((self.i.payload == END) | (count == REPLY_BYTES - 1))]
        with m.If(sent | full & ~self.responses.has_peer):
            m.d.sync += [count.eq(0), full.eq(0)]
        return count, full

    @staticmethod
    def _source(
        m: Module, word: Signal, step: Signal, header: Value, data: Value, slot: Signal, data_at: Signal
    ) -> tuple[Signal, Signal, Signal]:
        """Address of the byte in the buffer; what it is, and the argument."""
        late_header = _late(m, header, 1, "header")
        # during the preamble the target's address, for the checksum
        late_step = _late(m, step, 1, "step")
        index = Mux(late_step < 4, ADDRESS_OF + late_step[:2], word[:4])
        address = Signal(range(BUFFER_BYTES))
        op = Signal(HeaderOp)
        argument = Signal(8)
        m.d.sync += [
            address.eq(Mux(late_header, SLOTS_AT + Cat(index, slot), _late(m, data_at, 1, "data_at"))),
            op.eq(
                Mux(late_header, word[8:], Mux(_late(m, data, 1, "data"), HeaderOp.BUFFER, HeaderOp.CONSTANT))
            ),
            argument.eq(Mux(late_header, word[:8], 0)),
        ]
        return address, op, argument

    def _checksum(self, m: Module, step: Signal, kind: Signal, length: Signal, data: Value) -> Signal:
        """Internet sum of the IP header: ``length``, the target's address, and constants."""
        total = Signal(17)
        operand = Signal(16)
        m.d.sync += operand.eq(0)
        constants = {k: _constant_sum(self.station, k) for k in (FrameKind.UDP, FrameKind.ECHO)}
        with m.If(step == 7):
            m.d.sync += operand.eq(length)
        with m.Elif((step >= 3) & (step < 7)):
            m.d.sync += operand.eq(Mux(step[0], data << 8, data))
        with m.If(step == 0):
            m.d.sync += total.eq(
                Mux(kind == FrameKind.ECHO, constants[FrameKind.ECHO], constants[FrameKind.UDP])
            )
        with m.Elif(step < 10):  # a cycle more for the carry
            m.d.sync += total.eq(total[:16] + operand + total[16])
        return total

    def _fixed_byte(
        self, m: Module, op: Signal, argument: Signal, total: Signal, length: Signal, number: Signal
    ) -> Signal:
        """The byte, unless it is one of the buffer."""
        udp_length = Signal(11)
        m.d.sync += udp_length.eq(length - (CONTENT - IP))
        check_bytes = ~total[:16]
        fields: dict[int, Value] = {
            HeaderField.LENGTH_HIGH: length[8:],
            HeaderField.LENGTH_LOW: length[:8],
            HeaderField.CHECKSUM_HIGH: check_bytes[8:],
            HeaderField.CHECKSUM_LOW: check_bytes[:8],
            HeaderField.UDP_LENGTH_HIGH: udp_length[8:],
            HeaderField.UDP_LENGTH_LOW: udp_length[:8],
            HeaderField.ECHO_HIGH: self.responses.check[8:],
            HeaderField.ECHO_LOW: self.responses.check[:8],
            **{HeaderField.NUMBER + k: number.word_select(k, 8) for k in range(4)},
        }
        fixed = Signal(8)
        field = Array(fields[k] for k in sorted(fields))[argument[:4]]
        m.d.sync += fixed.eq(Mux(op == HeaderOp.FIELD, field, argument))
        return fixed


def _late(m: Module, value: Value, cycles: int, name: str) -> Signal:
    """``value``, ``cycles`` later."""
    stages = [Signal.like(value, name=f"{name}_{k + 1}") for k in range(cycles)]
    for before, after in zip([value, *stages], stages, strict=False):
        m.d.sync += after.eq(before)
    return stages[-1]


def _constant_sum(station: Station, kind: FrameKind) -> int:
    """Internet sum of the constant words of the IP header."""
    protocol = {FrameKind.UDP: UDP_PROTOCOL, FrameKind.ECHO: ICMP}[kind]
    fields = (VERSION_IHL, 0, 0, 0, DONT_FRAGMENT, TTL, protocol, 0)
    return checksum(IP_HEADER.pack(*fields, station.ip, bytes(4))) ^ 0xFFFF


class Ring(wiring.Component):
    """Memory for received data, which are read in domain ``sync``.

    Members
    -------
    write, committed, read : In, In, Out
        As of Receiver, in ``eth``.
    o : Out(stream of 8)
        Bytes of accepted frames.

    Each domain has the pointer of the other one as it was some cycles ago.
    """

    write: WriteSignature.Members
    committed: Signal
    read: Signal
    o: Stream[Signal]

    def __init__(self) -> None:
        pointer = range(2 * RING_BYTES)
        super().__init__(
            {
                "write": In(WriteSignature(RING_BYTES)),
                "committed": In(pointer),
                "read": Out(pointer),
                "o": Out(stream.Signature(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ring = m.submodules.ring = ram(8, RING_BYTES, "block")
        wr = ring.write_port(domain="eth")
        rd = ring.read_port(domain="sync")
        read = Signal.like(self.read)
        end = Signal.like(read)  # `committed`, as `sync` knows it
        fetched = Signal()  # the memory has put out a byte
        step = Signal()
        put = Signal()
        m.d.comb += [
            wr.en.eq(self.write.enable),
            wr.addr.eq(self.write.address),
            wr.data.eq(self.write.data),
            put.eq(~self.o.valid | self.o.ready),
            step.eq(~fetched | put),
            rd.en.eq(step),
            rd.addr.eq(read),
        ]
        with m.If(put):
            # a register, because a block RAM of an ECP5 takes 5.8 ns
            m.d.sync += [self.o.payload.eq(rd.data), self.o.valid.eq(fetched)]
        with m.If(step):
            m.d.sync += fetched.eq(read != end)
            with m.If(read != end):
                m.d.sync += read.eq(read + 1)

        # each side changes its copies only while it has the token
        shown_end = Signal.like(read)  # in `eth`
        shown_read = Signal.like(read)  # in `sync`
        token = Signal()  # of `eth`; `sync` has the token while the two differ
        returned = Signal()
        token_seen = Signal()
        returned_seen = Signal()
        m.submodules.token = cdc.FFSynchronizer(token, token_seen, o_domain="sync")
        m.submodules.returned = cdc.FFSynchronizer(returned, returned_seen, o_domain="eth")
        with m.If(token == returned_seen):
            m.d.eth += [shown_end.eq(self.committed), self.read.eq(shown_read), token.eq(~token)]
        with m.If(token_seen != returned):
            m.d.sync += [end.eq(shown_end), shown_read.eq(read), returned.eq(token_seen)]
        return m


class UdpLine(Line):
    """The data of an RGMII PHY: PINS.

    ``error`` of ``o`` is never set: damaged frames are ignored, and a datagram is complete.  Bytes of ``o``
    that are not taken wait in the ring; a datagram for which it has no room is ignored.

    Latency: data are at ``o`` about 0.1 us after the FCS, with ``sync`` at 100 MHz.  Throughput: a byte a
    cycle.  Between frames two cycles of ``eth`` without data are enough.
    """

    pins: Pins

    def __init__(self, station: Station):
        self.station = station
        super().__init__(PINS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        eth = DomainRenamer("eth")
        receiver = Receiver(self.station)
        transmitter = Transmitter(self.station)
        m.submodules.receiver = eth(receiver)
        m.submodules.transmitter = eth(transmitter)
        connect(m, receiver.responses, transmitter.responses)
        connect(m, receiver.buffer, transmitter.received)
        m.submodules.sent = sent = fifo.AsyncFIFO(width=8, depth=FIFO_BYTES, w_domain="sync", r_domain="eth")
        m.d.comb += [
            receiver.rx_data.eq(self.pins.rx_data),
            receiver.rx_control.eq(self.pins.rx_control),
            self.pins.tx_data.eq(transmitter.tx_data),
            self.pins.tx_valid.eq(transmitter.tx_valid),
            receiver.used.eq(transmitter.used),
            sent.w_data.eq(self.i.payload),
            sent.w_en.eq(self.i.valid),
            self.i.ready.eq(sent.w_rdy),
            transmitter.i.payload.eq(sent.r_data),
            transmitter.i.valid.eq(sent.r_rdy),
            sent.r_en.eq(transmitter.i.ready),
        ]

        m.submodules.ring = ring = Ring()
        connect(m, receiver.ring, ring.write)
        m.d.comb += [
            ring.committed.eq(receiver.committed),
            receiver.read.eq(ring.read),
            self.o.p.data.eq(ring.o.payload),
            self.o.valid.eq(ring.o.valid),
            ring.o.ready.eq(self.o.ready),
            self.active.eq(self.o.valid | self.i.valid),
        ]
        return m


@dataclass(frozen=True)
class Udp:
    """Description of the link over Ethernet, a Transport.

    ``address``: IPv4 address of the board.  ``port``: its UDP port.  ``clock_hz``: of the design, for
    simulation.
    """

    address: str = ADDRESS
    port: int = PORT
    clock_hz: float = ETH_HZ

    @property
    def station(self) -> Station:
        """Addresses of the board; ValueError if they are invalid."""
        return Station.of(self.address, self.port)

    @property
    def pins(self) -> wiring.Signature:
        return PINS

    def line(self) -> UdpLine:
        return UdpLine(self.station)
