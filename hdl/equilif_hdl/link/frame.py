"""Frames: one is received whole and held until the reply to it is out.

i: data, end --> [ buffer ] --> data, ended        full, status, command, sequence, end
     |               +--------+
     +-------------->| CRC-32 |
reply: bytes, end -->|        |--> o: bytes, CRC, end
                     +--------+
"""

from __future__ import annotations

from amaranth import Const, Module, Mux, ResetInserter, Signal
from amaranth.hdl import Value
from amaranth.lib import crc, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import check_int
from equilif_golden.link.protocol import (
    CRC_BYTES,
    FRAME_BYTES,
    INSTRUCTION_BYTES,
    OVERHEAD,
    Status,
)
from equilif_hdl.fixed import ram
from equilif_hdl.link.slip import DECODED, ITEM, Decoded, Item
from equilif_hdl.typed import Stream

STATUS_BITS = max(Status).bit_length()
PAYLOAD = 2  #: number of the first byte behind command and sequence


class Framer(wiring.Component):
    """What arrives while a frame is held is dropped and, once the reply is out, answered by one OVERRUN with
    sequence 0.

    Members
    -------
    i : In(stream of equilif_hdl.link.slip.DECODED), o : Out(stream of equilif_hdl.link.slip.ITEM)
        The line's side.  ``i`` is always ready.
    full : Out(1)
        A frame is held; it is good when ``status`` is OK.
    status, command, sequence, end, whole : Out
        Of the held frame.  ``end``: number of the byte after its payload, which begins with byte PAYLOAD.
        ``whole``: the payload is a multiple of an instruction's bytes.
    rewind, take : In(1)
        Strobes: to the payload's first byte; to the next one, where ``there``.
    there, data, ended : Out(1), Out(8), Out(1)
        A byte of the payload is there; ``ended``: the payload is over.  Three cycles after ``rewind``, then
        one a cycle.
    own, dropped, dropped_end : In(1)
        ``i`` is not the line's.  A byte came over the line meanwhile; it was an END.  The line's frame counts
        as if it had come while another one is held.
    free : Out(1)
        No frame is held, none waits to be answered, and no reply is on its way.
    reply : In(stream of equilif_hdl.link.slip.ITEM)
        Status, sequence, payload, then an item with ``end``, which adds the CRC and releases the buffer.
    """

    i: Stream[Decoded]
    o: Stream[Item]
    full: Signal
    status: Signal
    command: Signal
    sequence: Signal
    end: Signal
    whole: Signal
    rewind: Signal
    take: Signal
    there: Signal
    data: Signal
    ended: Signal
    own: Signal
    dropped: Signal
    dropped_end: Signal
    free: Signal
    reply: Stream[Item]

    def __init__(self, *, frame_bytes: int = FRAME_BYTES):
        self.frame_bytes = check_int(frame_bytes, "frame_bytes", 32, 4096)
        at = range(frame_bytes)
        super().__init__(
            {
                "i": In(stream.Signature(DECODED)),
                "o": Out(stream.Signature(ITEM)),
                "full": Out(1),
                "status": Out(STATUS_BITS),
                "command": Out(8),
                "sequence": Out(8),
                "end": Out(at),
                "whole": Out(1),
                "rewind": In(1),
                "take": In(1),
                "there": Out(1),
                "data": Out(8),
                "ended": Out(1),
                "own": In(1),
                "dropped": In(1),
                "dropped_end": In(1),
                "free": Out(1),
                "reply": In(stream.Signature(ITEM)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i = self.i
        o = self.o
        reply = self.reply
        buffer = m.submodules.buffer = ram(8, self.frame_bytes, "block")
        wr = buffer.write_port()
        rd = buffer.read_port()
        # restarted by reset: the processor's own `start` can come with a byte, and that costs a
        # multiplexer a bit
        restart = Signal()
        check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.submodules.crc = ResetInserter(restart)(check)
        n = Signal(range(self.frame_bytes + 1))  # bytes in the buffer
        phase = Signal(range(INSTRUCTION_BYTES))  # the same modulo an instruction's
        long = Signal()  # a byte of this frame found no room
        lost = Signal()  # a byte of this frame was dropped: it came while another one was held
        away = Signal()  # one of the line's, while ``i`` was not the line's
        gone = Signal()  # either, of the frame that comes now
        missed = Signal()  # a whole frame was dropped
        store = Signal()  # a byte goes into the buffer
        listening = Signal()
        tail = Signal(range(CRC_BYTES))  # byte of the reply's CRC
        push = Signal()  # there is a byte of the reply, or its end
        item = Signal(8)
        room = Signal()  # it is taken

        # the payload is read ahead: byte ``at - 1`` leaves the memory, the one before it is shown
        at = Signal(range(self.frame_bytes))
        leaves = Signal()
        beyond = Signal.like(self.end)  # one more than ``end``
        step = Signal()
        # one address, and never a read in the cycle of a write: a block RAM needs no logic around it
        address = Signal(range(self.frame_bytes))
        m.d.comb += [
            step.eq(self.take | ~self.there),
            wr.addr.eq(address),
            wr.data.eq(i.p.data),
            wr.en.eq(store),
            rd.addr.eq(address),
            rd.en.eq(~store & step),
            i.ready.eq(1),
            self.whole.eq(phase == OVERHEAD % INSTRUCTION_BYTES),
        ]
        # registers: the host decides by them at once
        m.d.sync += [self.end.eq(n - CRC_BYTES), beyond.eq(n - CRC_BYTES + 1)]
        with m.If(step):
            m.d.sync += [
                at.eq(at + 1),
                leaves.eq(1),
                self.there.eq(leaves),
                self.data.eq(rd.data),
                self.ended.eq(at == beyond),
            ]
        with m.If(self.rewind):
            m.d.sync += [at.eq(PAYLOAD), leaves.eq(0), self.there.eq(0)]
        with m.FSM() as fsm:
            with m.State("LISTEN"):
                told = missed & ~self.own  # it waits until ``i`` is the line's again
                m.d.comb += [listening.eq(~told), check.data.eq(i.p.data), check.valid.eq(store)]
                with m.If(told):
                    m.d.comb += restart.eq(1)
                    m.d.sync += [missed.eq(0), self.status.eq(Status.OVERRUN)]
                    m.next = "HELD"
                with m.Elif(i.valid & i.p.end):
                    m.d.sync += [lost.eq(0), away.eq(away & self.own)]
                    with m.If((n != 0) | i.p.bad | gone):  # nothing between two ENDs is no frame
                        m.d.comb += restart.eq(1)
                        m.d.sync += self.status.eq(
                            _first(
                                (gone, Status.OVERRUN),
                                (i.p.bad, Status.BAD_FRAME),
                                (long, Status.TOO_LONG),
                                (n < OVERHEAD, Status.TOO_SHORT),
                                (~check.match_detected, Status.BAD_CRC),
                                otherwise=Status.OK,
                            )
                        )
                        m.next = "HELD"
                with m.Elif(i.valid & ~gone):
                    with m.If(n == self.frame_bytes):
                        m.d.sync += long.eq(1)
                    with m.Else():
                        m.d.comb += store.eq(1)
                        m.d.sync += [n.eq(n + 1), phase.eq(Mux(phase == INSTRUCTION_BYTES - 1, 0, phase + 1))]
                    with m.If(n == 0):
                        m.d.sync += self.command.eq(i.p.data)
                    with m.If(n == 1):
                        m.d.sync += self.sequence.eq(i.p.data)
            with m.State("HELD"):
                m.d.comb += [
                    self.full.eq(1),
                    check.data.eq(reply.p.data),
                    item.eq(reply.p.data),
                    reply.ready.eq(room | reply.p.end),
                    push.eq(reply.valid & ~reply.p.end),
                    check.valid.eq(push & room),
                ]
                with m.If(reply.valid & reply.p.end):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [push.eq(1), item.eq(check.crc.word_select(tail, 8))]
                with m.If(room):
                    m.d.sync += tail.eq(tail + 1)
                    with m.If(tail == CRC_BYTES - 1):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [push.eq(1), restart.eq(room)]
                with m.If(room):
                    m.d.sync += [n.eq(0), phase.eq(0), long.eq(0), self.sequence.eq(0)]
                    m.next = "LISTEN"

        # by the state: whether a byte is stored comes late
        m.d.comb += address.eq(Mux(fsm.ongoing("LISTEN"), n, at))
        # `room` comes from a register alone: the reply's path ends here, at half the rate, which no UART
        # notices
        m.d.comb += room.eq(~o.valid)
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(push & room):
            m.d.sync += [o.valid.eq(1), o.p.data.eq(item), o.p.end.eq(fsm.ongoing("END"))]
        m.d.comb += [self.free.eq(listening & ~o.valid), gone.eq(lost | away & ~self.own)]
        with m.If(i.valid & ~listening):
            m.d.sync += [lost.eq(~i.p.end), away.eq(away & self.own)]
            with m.If(i.p.end & (gone | i.p.bad)):
                m.d.sync += missed.eq(1)
        with m.If(self.dropped):
            m.d.sync += away.eq(~self.dropped_end)
            with m.If(self.dropped_end & away):
                m.d.sync += missed.eq(1)
        return m


def _first(*cases: tuple[Value, Status], otherwise: Status) -> Value:
    """Status of the first condition that holds."""
    found: Value = Const(otherwise, STATUS_BITS)
    for condition, status in reversed(cases):
        found = Mux(condition, status, found)
    return found
