"""Dispatcher: holds the instruction that is executed, and takes the next one when the engine is free for it.

    sequencer --> i --> [ instruction ] --> scanner, walker, lanes
                              ^
    all commands issued ------+------ lanes empty

Latency: 1 cycle from a taken instruction to its start.  Throughput: an instruction at a time.  One that only
adds to A and B lets the next begin while its commands are still in the lanes: all that follows reads what
they write in the stage in which they write it, or later.
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, is_one_of
from equilif_hdl.typed import Stream


class Dispatcher(wiring.Component):
    """Members
    -------
    i : In(stream of INSTRUCTION)
        From the sequencer.
    issuing : In(1)
        Scanner or walker has commands of the instruction left.
    empty : In(1)
        No command is in the lanes.
    instruction : Out(INSTRUCTION)
        What is executed.
    start : Out(1)
        It begins.
    learning, argmax : Out(1)
        It is LEARN; it is ARGMAX.
    idle : Out(1)
        It is done, and so are all before it.
    """

    i: Stream[Instruction]
    issuing: Signal
    empty: Signal
    instruction: Instruction
    start: Signal
    learning: Signal
    argmax: Signal
    idle: Signal

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION)),
                "issuing": In(1),
                "empty": In(1),
                "instruction": Out(INSTRUCTION),
                "start": Out(1),
                "learning": Out(1),
                "argmax": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        op = self.instruction.op
        executing = self.start | self.issuing
        adds = is_one_of(op, Op.DRIVE, Op.GATHER, Op.NUDGE)
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~executing & (adds | self.empty)),
            self.idle.eq(~executing & self.empty),
        ]
        m.d.sync += self.start.eq(taken)
        with m.If(taken):
            m.d.sync += self.instruction.eq(self.i.p)
        if self.config.deep:
            with m.If(taken):
                m.d.sync += [
                    self.learning.eq(self.i.p.op == Op.LEARN),
                    self.argmax.eq(self.i.p.op == Op.ARGMAX),
                ]
        else:
            m.d.comb += [self.learning.eq(op == Op.LEARN), self.argmax.eq(op == Op.ARGMAX)]
        return m
