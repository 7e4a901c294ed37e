"""Receiver of the link over UDP.

    bytes of a frame --+--> is it UDP or ARP for this station? length, number, checksum --> accepted?
                       +--> ring: data, which count from then on
                       '--> slot of the buffer: sender, which counts from then on

A frame is checked as it arrives: each byte is compared with that of a frame which the golden model creates.
It is accepted or answered three cycles after its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.udp import (
    ARP_REQUEST,
    BROADCAST,
    FCS_BYTES,
    MAX_LENGTH,
    MIN_FRAME,
    MIN_LENGTH,
    REPLY_BYTES,
    Station,
    arp,
    datagram,
    header,
)
from equilif_hdl.fixed import lowest_set
from equilif_hdl.link.ethernet import FrameReader, Offset
from equilif_hdl.typed import Fields, Layout

#: the buffer: a reply, then slots with the addresses of senders
SLOTS, SLOT_BYTES = 4, 16
BUFFER_BYTES = REPLY_BYTES + SLOTS * SLOT_BYTES
#: a slot: MAC, IPv4, port
MAC, ADDRESS_OF, PORT_OF = 0, 6, 10
#: write port of the buffer
BUFFER_WRITE = memory.WritePort.Signature(addr_width=8, shape=8)
NOBODY = Station(bytes(6), bytes(4))
assert BUFFER_BYTES <= 1 << 8 and MAX_LENGTH == (1 << 11) - 1 and FCS_BYTES == 4


class Session(Fields):
    """``pending``: a frame is to be answered; ``is_arp``: by an ARP reply, else by the last number; ``slot``:
    of its sender.  ``last``, ``peer``, ``has_peer``: number and slot of the last accepted datagram.
    """

    pending: Value
    is_arp: Value
    slot: Value
    last: Value
    peer: Value
    has_peer: Value


SESSION: Layout[Session] = Layout(
    {"pending": 1, "is_arp": 1, "slot": 2, "last": 32, "peer": 2, "has_peer": 1}
)


@dataclass(frozen=True)
class _Length:
    """Signals of the length of an IP packet: all bytes; whether the present byte is inside; whether the
    frame is complete, and the length valid.
    """

    total: Signal
    inside: Signal
    complete: Signal


def _bytes(first: int, n: int = 1) -> range:
    return range(first, first + n)


def _compared(frame: bytes, *ranges: Iterable[int]) -> list[int]:
    """Words of a table: bytes of a frame, with bit 8 where they are compared."""
    compared = {k for part in ranges for k in part}
    return [frame[k] | 1 << 8 if k in compared else 0 for k in range(max(compared) + 1)]


def _stored(*ranges: tuple[int, int, int]) -> list[int]:
    """Words of a table: index in the slot of ``n`` bytes from ``first`` on; bit 4: stored, bit 5: the first
    one of a MAC.
    """
    words = [0] * MIN_FRAME
    for first, n, target in ranges:
        for k in range(n):
            words[first + k] = (target + k == MAC) << 5 | 1 << 4 | target + k
    return words


UDP_SENDER = _stored(
    (Offset.SOURCE_MAC, 6, MAC), (Offset.SOURCE_IP, 4, ADDRESS_OF), (Offset.SOURCE_PORT, 2, PORT_OF)
)
ARP_SENDER = _stored((Offset.ARP_SOURCE_MAC, 6, MAC), (Offset.ARP_SOURCE_IP, 4, ADDRESS_OF))


class Receiver(wiring.Component):
    """Members
    -------
    rx_data, rx_valid, rx_error : In
        As equilif_hdl.link.ethernet.PINS.
    data, write, begin, accept, overflow
        As of equilif_hdl.link.udp.Ring.
    buffer : write port of the buffer
    session : Out(SESSION)
    done : In(1)
        The answer is sent.
    used : In(4)
        Slots that the transmitter uses.

    Its clock is that of the PHY.
    """

    rx_data: Signal
    rx_valid: Signal
    rx_error: Signal
    buffer: memory.WritePort
    data: Signal
    write: Signal
    begin: Signal
    accept: Signal
    overflow: Signal
    session: Session
    done: Signal
    used: Signal

    def __init__(self, station: Station):
        self.station = station
        self.frame = FrameReader()
        super().__init__(
            {
                "rx_data": In(8),
                "rx_valid": In(1),
                "rx_error": In(1),
                "buffer": In(BUFFER_WRITE),
                "data": Out(8),
                "write": Out(1),
                "begin": Out(1),
                "accept": Out(1),
                "overflow": In(1),
                "session": Out(SESSION),
                "done": In(1),
                "used": In(SLOTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.frame = frame = self.frame
        m.d.comb += [
            frame.rx_data.eq(self.rx_data),
            frame.rx_valid.eq(self.rx_valid),
            frame.rx_error.eq(self.rx_error),
        ]
        # the last frame is accepted two cycles after its end, and this one cannot start earlier
        started = Signal(2)
        m.d.sync += started.eq(Cat(frame.start, started[0]))
        begin = started[1]
        length = self._length(m)
        is_udp, is_arp = self._kinds(m, length)
        newer, number = self._number(m)
        sum_ok = self._checksum(m)
        slot, of_group = self._store_sender(m, begin, is_arp)
        m.d.comb += [
            self.begin.eq(begin),
            self.data.eq(frame.byte),
            self.write.eq(frame.take & is_udp & length.inside & frame.at(m, Offset.DATA, MIN_FRAME + 1)),
        ]
        bad = Signal()
        with m.If(of_group | self.overflow):
            m.d.sync += bad.eq(1)
        with m.If(frame.start):
            m.d.sync += bad.eq(0)

        session = self.session
        may_respond = Signal()
        with m.If(begin):
            m.d.sync += may_respond.eq(~session.pending)
        ended = Signal()
        good = Signal()
        good_udp = Signal()
        respond = Signal()
        m.d.comb += [
            good.eq(ended & frame.good & ~bad),
            good_udp.eq(good & is_udp & sum_ok & length.complete),
        ]
        m.d.sync += [
            ended.eq(frame.end),
            self.accept.eq(good_udp & newer),
            respond.eq(may_respond & (good & is_arp | good_udp & ~newer)),
        ]
        with m.If(self.accept):
            m.d.sync += [
                session.last.eq(number),
                session.peer.eq(slot),
                session.has_peer.eq(1),
            ]
        with m.If(self.done):
            m.d.sync += session.pending.eq(0)
        with m.If(respond):
            m.d.sync += [session.pending.eq(1), session.slot.eq(slot), session.is_arp.eq(is_arp)]
        return m

    def _length(self, m: Module) -> _Length:
        frame = self.frame
        total = Signal(11)
        left = Signal(11)  # bytes of the packet from this one on
        after = Signal(3)  # bytes after the packet so far, up to those of the FCS
        valid = Signal()
        inside = Signal()
        complete = Signal()
        high, low = (frame.at(m, Offset.IP_LENGTH + k) for k in range(2))
        with m.If(frame.take):
            with m.If(high):
                m.d.sync += [total[8:].eq(frame.byte), valid.eq(~frame.byte[3:].any())]
            with m.Elif(low):
                packet = Cat(frame.byte, total[8:])
                m.d.sync += [
                    total[:8].eq(frame.byte),
                    left.eq(packet - 4),
                    after.eq(0),
                    valid.eq(valid & (packet >= MIN_LENGTH)),
                ]
            with m.Elif(inside):
                m.d.sync += left.eq(left - 1)
            with m.Elif(~after[2]):
                m.d.sync += after.eq(after + 1)
        m.d.comb += [inside.eq(left != 0), complete.eq(valid & after[2])]
        return _Length(total, inside, complete)

    def _kinds(self, m: Module, length: _Length) -> tuple[Signal, Signal]:
        """Whether the frame is a datagram for this station, or an ARP request, as far as the bytes up to two
        cycles ago show.
        """
        frame, station = self.frame, self.station
        words = {
            "udp": _compared(
                datagram(NOBODY, station, header(0)),
                [*_bytes(Offset.TARGET_MAC, 6), *_bytes(Offset.TYPE, 2), Offset.IP],
                [*_bytes(Offset.FRAGMENT, 2), Offset.PROTOCOL, *_bytes(Offset.TARGET_IP, 4)],
                [*_bytes(Offset.TARGET_PORT, 4), *_bytes(Offset.MAGIC, 4)],
            ),
            "arp": _compared(
                arp(ARP_REQUEST, NOBODY, Station(bytes(6), station.ip), BROADCAST),
                range(Offset.TYPE, Offset.ARP_SOURCE_MAC),
                _bytes(Offset.ARP_TARGET_IP, 4),
            ),
        }
        udp_length = Signal(11)
        m.d.sync += udp_length.eq(length.total - (Offset.UDP - Offset.IP))
        flags = frame.at(m, Offset.FRAGMENT)  # the flag that forbids fragments may have any value
        possible = {}
        for kind, table in words.items():
            word = Signal(9, name=f"expected_{kind}")
            m.d.sync += word.eq(frame.word(table, 9))
            if kind == "udp":
                for k, part in enumerate((udp_length[8:], udp_length[:8])):
                    with m.If(frame.next_index == Offset.UDP_LENGTH + k):
                        m.d.sync += word[:8].eq(part)
            differs = Signal(name=f"differs_{kind}")
            m.d.sync += differs.eq(frame.take & word[8] & ((frame.byte ^ word[:8]) & ~(flags << 6)).any())
            possible[kind] = Signal(name=f"is_{kind}")
            with m.If(differs):
                m.d.sync += possible[kind].eq(0)
        # ARP is for all stations, or for this one
        broadcast = Signal()
        with m.If(frame.take & frame.at(m, 0, 6) & (frame.byte != 0xFF)):
            m.d.sync += broadcast.eq(0)
        with m.If(frame.take & frame.at(m, 7) & ~broadcast & ~possible["udp"]):
            m.d.sync += possible["arp"].eq(0)
        with m.If(frame.start):
            m.d.sync += [broadcast.eq(1), possible["udp"].eq(1), possible["arp"].eq(1)]
        return possible["udp"], possible["arp"]

    def _number(self, m: Module) -> tuple[Signal, Signal]:
        """Whether the number is newer than the last one, and the number; of a byte two cycles later."""
        frame = self.frame
        last = Signal(8)  # byte of the last number
        m.d.sync += last.eq(self.session.last.word_select((frame.next_index - Offset.NUMBER)[:2], 8))
        number = Signal(32)
        borrow = Signal()
        changed = Signal()  # `difference` is new
        differs = Signal()  # a byte so far
        newer = Signal()
        difference = Signal(8)
        take = Signal()
        m.d.comb += take.eq(frame.take & frame.at(m, Offset.NUMBER, Offset.DATA))
        m.d.sync += changed.eq(take)
        with m.If(take):
            m.d.sync += [
                number.eq(Cat(number[8:], frame.byte)),
                Cat(difference, borrow).eq(frame.byte - last - borrow),
            ]
        with m.If(frame.take & frame.at(m, 0, Offset.NUMBER)):
            m.d.sync += [borrow.eq(0), differs.eq(0)]
        with m.If(changed):
            m.d.sync += [
                differs.eq(differs | difference.any()),
                newer.eq(~difference[7] & (differs | difference.any())),
            ]
        return newer, number

    def _checksum(self, m: Module) -> Signal:
        """Whether the checksum of the IP header is right; a carry is added in the next cycle."""
        frame = self.frame
        total = Signal(17)
        right = Signal()
        operand = Signal(16)
        odd = Signal()  # index of the present byte
        m.d.sync += [
            odd.eq(frame.next_index[0]),
            operand.eq(
                Mux(frame.take & frame.at(m, Offset.IP, Offset.UDP), Mux(odd, frame.byte, frame.byte << 8), 0)
            ),
            total.eq(Mux(frame.start, 0, total[:16] + operand + total[16])),
            right.eq(total == 0xFFFF),
        ]
        return right

    def _store_sender(self, m: Module, begin: Value, is_arp: Signal) -> tuple[Signal, Value]:
        """Write the sender into a free slot; returns the slot, and whether its MAC is that of a group."""
        frame, session = self.frame, self.session
        slot = Signal(2)
        used = Signal(SLOTS)
        m.d.sync += used.eq(self.used | session.has_peer << session.peer | session.pending << session.slot)
        with m.If(begin):
            m.d.sync += slot.eq(lowest_set(~used))
        udp = Signal(6)
        arp = Signal(6)
        m.d.sync += [udp.eq(frame.word(UDP_SENDER, 6)), arp.eq(frame.word(ARP_SENDER, 6))]
        word = Signal(6)
        # ARP is known after the ethertype, and its addresses are stored again
        m.d.comb += word.eq(Mux(is_arp & frame.at(m, Offset.IP, MIN_FRAME), arp, udp))
        m.d.sync += [
            self.buffer.en.eq(frame.take & word[4]),
            self.buffer.addr.eq(Cat(word[:4], slot) + REPLY_BYTES),
            self.buffer.data.eq(frame.byte),
        ]
        return slot, frame.take & word[5] & frame.byte[0]
