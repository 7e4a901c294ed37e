"""Framer: receives a frame into a buffer, and holds it until its reply is sent.

i: data, end --> [ buffer ] --> data, payload_end        full, status, command, sequence, end
     |               +--------+
     +-------------->| CRC-32 |
reply: bytes, end -->|        |--> o: bytes, CRC, end
                     +--------+

Latency: a frame is full 1 cycle after its end.  Throughput: a byte a cycle received, one in two cycles sent.
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
PAYLOAD = 2  #: index of the first byte after command and sequence


class Framer(wiring.Component):
    """Frames that arrive while one is held are dropped, and answered by one OVERRUN, sequence 0, afterwards.

    Members
    -------
    i : In(stream of equilif_hdl.link.slip.DECODED), o : Out(stream of equilif_hdl.link.slip.ITEM)
        Decoded line, always ready; encoded line.
    full : Out(1)
        A frame is held; it is valid if ``status`` is OK.
    status, command, sequence, end, whole_instructions : Out
        Of the held frame.  ``end``: index of the byte after its payload, which begins with byte PAYLOAD.
        ``whole_instructions``: the payload length is a multiple of an instruction.
    rewind, take : In(1)
        Strobes: go to the first byte of the payload; consume a byte, if ``data_valid``.
    data_valid, data, payload_end : Out(1), Out(8), Out(1)
        Next byte of the payload; ``payload_end``: there is none.  Valid 3 cycles after ``rewind``, then one a
        cycle.
    trainer_frame, dropped, dropped_end : In(1)
        ``i`` carries a frame of the standalone trainer.  Meanwhile a byte of the line was dropped; it was an
        END.  Frames of the line are treated as if they had arrived while one is held.
    free : Out(1)
        No frame is held or waits for an answer, and no reply is being sent.
    reply : In(stream of equilif_hdl.link.slip.ITEM)
        Status, sequence, payload, then an item with ``end``, which appends the CRC and releases the buffer.
    """

    i: Stream[Decoded]
    o: Stream[Item]
    full: Signal
    status: Signal
    command: Signal
    sequence: Signal
    end: Signal
    whole_instructions: Signal
    rewind: Signal
    take: Signal
    data_valid: Signal
    data: Signal
    payload_end: Signal
    trainer_frame: Signal
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
                "whole_instructions": Out(1),
                "rewind": In(1),
                "take": In(1),
                "data_valid": Out(1),
                "data": Out(8),
                "payload_end": Out(1),
                "trainer_frame": In(1),
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
        # reset in place of `start`, which accepts a byte in the same cycle and costs a multiplexer a bit
        restart = Signal()
        check = crc.Processor(CRC32_ISO_HDLC(data_width=8))
        m.submodules.crc = ResetInserter(restart)(check)
        n = Signal(range(self.frame_bytes + 1))  # bytes in the buffer
        phase = Signal(range(INSTRUCTION_BYTES))  # `n` modulo the bytes of an instruction
        too_long = Signal()  # a byte of this frame exceeded the buffer
        lost = Signal()  # a byte of this frame was dropped, as another one was held
        line_lost = Signal()  # a byte of the line was dropped during `trainer_frame`
        damaged = Signal()  # either, of the present frame
        missed = Signal()  # a complete frame was dropped
        store = Signal()  # a byte is written to the buffer
        listening = Signal()
        tail = Signal(range(CRC_BYTES))  # index of the CRC byte of the reply
        out_valid = Signal()  # a byte or the end of the reply is sent
        out_data = Signal(8)
        out_ready = Signal()  # the output accepts it
        unchecked = Signal()  # the output is a byte of the reply that is not yet in its CRC
        at, step = self._payload(m, n, rd.data)
        # one address, and no read in the cycle of a write: a block RAM needs no additional logic
        address = Signal(range(self.frame_bytes))
        m.d.comb += [
            wr.addr.eq(address),
            wr.data.eq(i.p.data),
            wr.en.eq(store),
            rd.addr.eq(address),
            rd.en.eq(~store & step),
            i.ready.eq(1),
            self.whole_instructions.eq(phase == OVERHEAD % INSTRUCTION_BYTES),
        ]
        with m.FSM() as fsm:
            with m.State("LISTEN"):
                report_missed = missed & ~self.trainer_frame  # not during a frame of the trainer
                m.d.comb += [listening.eq(~report_missed), check.data.eq(i.p.data), check.valid.eq(store)]
                with m.If(report_missed):
                    m.d.comb += restart.eq(1)
                    m.d.sync += [missed.eq(0), self.status.eq(Status.OVERRUN)]
                    m.next = "HELD"
                with m.Elif(i.valid & i.p.end):
                    m.d.sync += [lost.eq(0), line_lost.eq(line_lost & self.trainer_frame)]
                    with m.If((n != 0) | i.p.bad | damaged):  # an empty frame is ignored
                        m.d.comb += restart.eq(1)
                        m.d.sync += self.status.eq(
                            _status(damaged, i.p.bad, too_long, n < OVERHEAD, ~check.match_detected)
                        )
                        m.next = "HELD"
                with m.Elif(i.valid & ~damaged):
                    with m.If(n == self.frame_bytes):
                        m.d.sync += too_long.eq(1)
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
                    out_data.eq(reply.p.data),
                    reply.ready.eq(out_ready | reply.p.end),
                    out_valid.eq(reply.valid & ~reply.p.end),
                    # from the output register, a cycle later: the last byte is counted before the CRC is sent
                    check.data.eq(o.p.data),
                    check.valid.eq(unchecked),
                ]
                m.d.sync += unchecked.eq(out_valid & out_ready)
                with m.If(reply.valid & reply.p.end):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [out_valid.eq(1), out_data.eq(check.crc.word_select(tail, 8))]
                with m.If(out_ready):
                    m.d.sync += tail.eq(tail + 1)
                    with m.If(tail == CRC_BYTES - 1):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [out_valid.eq(1), restart.eq(out_ready)]
                with m.If(out_ready):
                    m.d.sync += [n.eq(0), phase.eq(0), too_long.eq(0), self.sequence.eq(0)]
                    m.next = "LISTEN"

        # selected by the state, as `store` is late
        m.d.comb += address.eq(Mux(fsm.ongoing("LISTEN"), n, at))
        # `out_ready` is a register: it breaks the path of the reply, at half the rate, which exceeds any UART
        m.d.comb += out_ready.eq(~o.valid)
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(out_valid & out_ready):
            m.d.sync += [o.valid.eq(1), o.p.data.eq(out_data), o.p.end.eq(fsm.ongoing("END"))]
        m.d.comb += [self.free.eq(listening & ~o.valid), damaged.eq(lost | line_lost & ~self.trainer_frame)]
        with m.If(i.valid & ~listening):
            m.d.sync += [lost.eq(~i.p.end), line_lost.eq(line_lost & self.trainer_frame)]
            with m.If(i.p.end & (damaged | i.p.bad)):
                m.d.sync += missed.eq(1)
        with m.If(self.dropped):
            m.d.sync += line_lost.eq(~self.dropped_end)
            with m.If(self.dropped_end & line_lost):
                m.d.sync += missed.eq(1)
        return m

    def _payload(self, m: Module, n: Signal, data: Value) -> tuple[Signal, Signal]:
        """Read the payload of a frame of ``n`` bytes ahead; its address, and the strobe that reads.

        Byte `at` - 1 is at the memory output ``data``, the one before it in ``self.data``.
        """
        at = Signal(range(self.frame_bytes))
        fetched = Signal()
        end_plus_1 = Signal.like(self.end)  # `end` + 1
        step = Signal()
        m.d.comb += step.eq(self.take | ~self.data_valid)
        # registered: the host decodes them in one cycle
        m.d.sync += [self.end.eq(n - CRC_BYTES), end_plus_1.eq(n - CRC_BYTES + 1)]
        with m.If(step):
            m.d.sync += [
                at.eq(at + 1),
                fetched.eq(1),
                self.data_valid.eq(fetched),
                self.data.eq(data),
                self.payload_end.eq(at == end_plus_1),
            ]
        with m.If(self.rewind):
            m.d.sync += [at.eq(PAYLOAD), fetched.eq(0), self.data_valid.eq(0)]
        return at, step


def _status(overrun: Value, bad_frame: Value, too_long: Value, too_short: Value, bad_crc: Value) -> Value:
    """Status of a frame: its first error."""
    result = Mux(bad_crc, Status.BAD_CRC, Const(Status.OK, STATUS_BITS))
    result = Mux(too_short, Status.TOO_SHORT, result)
    result = Mux(too_long, Status.TOO_LONG, result)
    result = Mux(bad_frame, Status.BAD_FRAME, result)
    return Mux(overrun, Status.OVERRUN, result)
