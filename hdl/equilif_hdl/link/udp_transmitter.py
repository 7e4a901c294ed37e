"""Transmitter of the link over UDP.

    bytes of a reply --> buffer --> address --> byte of the buffer --+--> FCS --> PHY
    index of a byte --> table of the header ----------> other byte --'

A datagram is sent when there are REPLY_BYTES bytes of data, or an END.  A header is a frame of the golden
model as a table, in which variable bytes are those of a slot, or computed.  A byte is at the pins five cycles
after its index.
"""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import crc, memory, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from equilif_golden.link.protocol import END
from equilif_golden.link.udp import (
    ARP_REPLY,
    FCS_BYTES,
    MIN_FRAME,
    REPLY_BYTES,
    Station,
    arp,
    datagram,
    header,
)
from equilif_hdl.fixed import ram
from equilif_hdl.link.ethernet import GAP, PREAMBLE, Offset, lookup
from equilif_hdl.link.udp_receiver import (
    ADDRESS_OF,
    BUFFER_BYTES,
    BUFFER_WRITE,
    MAC,
    NOBODY,
    PORT_OF,
    SESSION,
    SLOTS,
    Session,
)
from equilif_hdl.typed import Stream

#: words of a header in place of a constant byte: a byte of the target's slot, a computed byte
SLOT, FIELD = 1 << 8, 2 << 8
#: computed bytes: low bytes of the lengths, as the high ones are 0; checksum; number
LENGTH_FIELD, CHECKSUM_FIELD, UDP_LENGTH_FIELD, NUMBER_FIELD = FIELD, FIELD + 1, FIELD + 3, FIELD + 4
#: index of the last byte before the FCS of a short frame, with the preamble
LAST = len(PREAMBLE) + MIN_FRAME - FCS_BYTES - 1
assert Offset.DATA + REPLY_BYTES < 1 << 8


def _header(frame: bytes, variable: Mapping[int, tuple[int, int]]) -> list[int]:
    """Words of a header, with the preamble.  ``variable``: by index in the frame, the first word, and their
    number.
    """
    words = list(frame)
    for first, (word, n) in variable.items():
        words[first : first + n] = range(word, word + n)
    return [*PREAMBLE, *words]


def headers(station: Station) -> tuple[list[int], list[int]]:
    """Headers of a datagram and of an ARP reply."""
    udp = {
        Offset.TARGET_MAC: (SLOT + MAC, 6),
        Offset.IP_LENGTH + 1: (LENGTH_FIELD, 1),
        Offset.IP_CHECKSUM: (CHECKSUM_FIELD, 2),
        Offset.TARGET_IP: (SLOT + ADDRESS_OF, 4),
        Offset.TARGET_PORT: (SLOT + PORT_OF, 2),
        Offset.UDP_LENGTH + 1: (UDP_LENGTH_FIELD, 1),
        Offset.NUMBER: (NUMBER_FIELD, 4),
    }
    reply: dict[int, tuple[int, int]] = {
        Offset.TARGET_MAC: (SLOT + MAC, 6),
        Offset.ARP_TARGET_MAC: (SLOT + MAC, 6),
        Offset.ARP_TARGET_IP: (SLOT + ADDRESS_OF, 4),
    }
    return (
        _header(datagram(station, NOBODY, header(0))[: Offset.DATA], udp),
        _header(arp(ARP_REPLY, station, NOBODY, NOBODY.mac)[: Offset.ARP_TARGET_IP + 4], reply),
    )


class Transmitter(wiring.Component):
    """Sends answers, and bytes as datagrams to the last sender; without a sender bytes are dropped.

    Members
    -------
    i : In(stream of 8)
        Bytes to the host.
    tx_data, tx_valid : Out(8), Out(1)
        As equilif_hdl.link.ethernet.PINS.
    session, done : In(SESSION), Out(1)
        As of Receiver.
    received : write port
        Writes of the receiver to the buffer.
    used : Out(4)
        Slots of the buffer in use.

    Its clock is that of the PHY.
    """

    i: Stream[Signal]
    tx_data: Signal
    tx_valid: Signal
    session: Session
    done: Signal
    received: memory.WritePort
    used: Signal

    def __init__(self, station: Station):
        self.station = station
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "tx_data": Out(8),
                "tx_valid": Out(1),
                "session": In(SESSION),
                "done": Out(1),
                "received": Out(BUFFER_WRITE),
                "used": Out(SLOTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        session = self.session
        buffer = m.submodules.buffer = ram(8, BUFFER_BYTES, "distributed")
        rd = buffer.read_port()
        sent = Signal()  # the reply was sent
        count, full = self._collect(m, buffer.write_port(), sent)
        is_arp = Signal()
        slot = Signal(2)
        number = Signal(32)
        left = Signal(range(REPLY_BYTES + 1))  # bytes of data from this one on
        responding = Signal()
        data_at = Signal(range(REPLY_BYTES))
        step = Signal(range(LAST + 1))  # index of the byte with the preamble, up to LAST
        tail = Signal(range(FCS_BYTES))
        gap = Signal(range(GAP))
        busy = Signal()
        end = Signal()
        udp_header, arp_header = headers(self.station)
        last_step = Signal(6)
        m.d.sync += [
            last_step.eq(Mux(is_arp, len(arp_header) - 1, len(udp_header) - 1)),
            step.eq(Mux(step == LAST, LAST, step + 1)),
        ]
        m.d.comb += [
            self.used.eq(busy << slot),
            self.done.eq(end & responding),
            sent.eq(end & ~responding),
        ]
        with m.FSM() as fsm:
            m.d.comb += busy.eq(~fsm.ongoing("IDLE") & ~fsm.ongoing("GAP"))
            with m.State("IDLE"):
                m.d.sync += [
                    step.eq(0),
                    data_at.eq(0),
                    number.eq(session.last),
                    responding.eq(session.pending),
                    is_arp.eq(session.pending & session.is_arp),
                    slot.eq(Mux(session.pending, session.slot, session.peer)),
                    left.eq(Mux(session.pending, 0, count)),
                ]
                with m.If(session.pending | full & session.has_peer):
                    m.next = "HEADER"
            with m.State("HEADER"):
                with m.If(step == last_step):
                    m.next = "PAD"
                    with m.If(left.any()):
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += [data_at.eq(data_at + 1), left.eq(left - 1)]
                with m.If(left == 1):
                    m.next = "PAD"
                    with m.If(step == LAST):
                        m.next = "FCS"
            with m.State("PAD"):
                with m.If(step == LAST):
                    m.next = "FCS"
            with m.State("FCS"):
                m.d.sync += [tail.eq(tail + 1), gap.eq(GAP - 1)]
                with m.If(tail == FCS_BYTES - 1):
                    m.d.comb += end.eq(1)
                    m.next = "GAP"
            with m.State("GAP"):
                m.d.sync += gap.eq(gap - 1)
                with m.If(gap == 0):
                    m.next = "IDLE"

        # stages of a byte: word of the table; address in the buffer; its data; the byte; and the FCS with it
        words = (lookup(step[:6], table, 10) for table in (udp_header, arp_header))
        word = Signal(10)
        m.d.sync += word.eq(Array(words)[is_arp])
        late_header = _delayed(m, fsm.ongoing("HEADER"), 1, "header")
        late_data = _delayed(m, fsm.ongoing("DATA"), 1, "data")
        # during the preamble the target's address, for the checksum
        late_step = _delayed(m, step, 1, "step")
        index = Mux(late_step < 4, ADDRESS_OF + late_step[:2], word[:4])
        argument = Signal(8)
        in_buffer = Signal()
        computed = Signal()
        m.d.sync += [
            rd.addr.eq(Mux(late_header, REPLY_BYTES + Cat(index, slot), _delayed(m, data_at, 1, "data_at"))),
            in_buffer.eq(Mux(late_header, word[8], late_data)),
            computed.eq(late_header & word[9]),
            argument.eq(Mux(late_header, word[:8], 0)),
        ]
        fields = self._fields(m, step, left, number, rd.data)
        other = Signal(8)
        from_buffer = Signal()
        byte = Signal(8)
        m.d.sync += [
            other.eq(Mux(computed, fields.word_select(argument[:3], 8), argument)),
            from_buffer.eq(in_buffer),
            byte.eq(Mux(from_buffer, rd.data, other)),
        ]
        in_fcs = fsm.ongoing("FCS")  # which includes the bytes after the preamble, up to its own
        m.submodules.crc = check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.d.comb += [
            check.start.eq(_delayed(m, step == 0, 4, "start")),
            check.data.eq(byte),
            check.valid.eq(_delayed(m, busy & ~in_fcs & (step >= len(PREAMBLE)), 4, "protected")),
        ]
        fcs = check.crc.word_select(_delayed(m, tail, 4, "tail"), 8)
        m.d.sync += [
            self.tx_data.eq(Mux(_delayed(m, in_fcs, 4, "fcs"), fcs, byte)),
            self.tx_valid.eq(_delayed(m, busy, 4, "busy")),
        ]
        return m

    def _collect(self, m: Module, write: memory.WritePort, sent: Signal) -> tuple[Signal, Signal]:
        """Write bytes of the reply, and those of the receiver, into the buffer.

        Returns the bytes of the reply so far, and whether it is to be sent.
        """
        count = Signal(range(REPLY_BYTES + 1))
        full = Signal()
        collect = Signal()
        m.d.comb += [self.i.ready.eq(~full & ~self.received.en), collect.eq(self.i.valid & self.i.ready)]
        m.d.sync += [
            write.en.eq(collect | self.received.en),
            write.addr.eq(Mux(self.received.en, self.received.addr, count)),
            write.data.eq(Mux(self.received.en, self.received.data, self.i.payload)),
        ]
        with m.If(collect):
            m.d.sync += [count.eq(count + 1), full.eq((self.i.payload == END) | (count == REPLY_BYTES - 1))]
        with m.If(sent | full & ~self.session.has_peer):
            m.d.sync += [count.eq(0), full.eq(0)]
        return count, full

    def _fields(self, m: Module, step: Signal, left: Signal, number: Signal, data: Value) -> Value:
        """Computed bytes of a header with ``left`` bytes of data, in their order from FIELD on.

        The checksum is the sum of that without data and address, ``left``, and the address: ``data``.
        """
        length = Signal(8)
        udp_length = Signal(8)
        total = Signal(17)
        operand = Signal(16)
        m.d.sync += [
            length.eq(left + (Offset.DATA - Offset.IP)),
            udp_length.eq(left + (Offset.DATA - Offset.UDP)),
            operand.eq(0),
        ]
        with m.If(step == 7):
            m.d.sync += operand.eq(left)
        with m.Elif((step >= 3) & (step < 7)):
            m.d.sync += operand.eq(Mux(step[0], data << 8, data))
        first = datagram(self.station, NOBODY, header(0))[Offset.IP_CHECKSUM :][:2]
        with m.If(step == 0):
            m.d.sync += total.eq(int.from_bytes(first, "big") ^ 0xFFFF)
        with m.Elif(step < 10):  # a cycle more for the carry
            m.d.sync += total.eq(total[:16] + operand + total[16])
        return Cat(length, ~total[8:16], ~total[:8], udp_length, number)


def _delayed(m: Module, value: Value, cycles: int, name: str) -> Signal:
    """``value``, ``cycles`` later."""
    stages = [Signal.like(value, name=f"{name}_{k + 1}") for k in range(cycles)]
    for before, after in zip([value, *stages], stages, strict=False):
        m.d.sync += after.eq(before)
    return stages[-1]
