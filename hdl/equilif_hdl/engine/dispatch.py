"""Dispatcher: holds the instruction that is executed, and takes the next one when the engine is free for it.

    sequencer --> i --> [ instruction ] --> scanner, walker, lanes
                              ^
    all commands issued ------+------ lanes empty, or nearly

Latency: 1 cycle from a taken instruction to its start.  Throughput: an instruction at a time.

* One that only adds to A and B lets the next begin while its commands are still in the lanes: all that
  follows reads what they write in the stage in which they write it, or later.
* GATHER after STEP may scan while the last groups of STEP are in the lanes, where these keep the operands of
  STEP (`weight_stages`): the spikes are written when the scan comes to read them.
* Everything else begins when the lanes are empty.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
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
    scanning, walking : In(1)
        The scanner has events left; the walker has commands left.
    last : In(1)
        The walker issues the last of them.
    empty : In(1)
        No command is in the lanes.
    leaving : In(1)
        None will be in the next cycle.
    stepped : In(1)
        Where weights have registers around them: spikes of the commands in the lanes can be read by a scan
        that starts in the next cycle.
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
    scanning: Signal
    walking: Signal
    last: Signal
    empty: Signal
    leaving: Signal
    stepped: Signal
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
                "scanning": In(1),
                "walking": In(1),
                "last": In(1),
                "empty": In(1),
                "leaving": In(1),
                **({"stepped": In(1)} if config.weight_stages else {}),
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
        issuing = self.start | self.scanning
        events = is_one_of(op, Op.DRIVE, Op.GATHER)
        adds = events | (op == Op.NUDGE)
        free: Value = self.leaving
        if self.config.weight_stages:
            free = free | self.stepped & (op == Op.STEP) & (self.i.p.op == Op.GATHER)
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            # NUDGE still reads spikes when its last command has left the walker
            self.i.ready.eq(~issuing & Mux(self.walking, events & self.last, adds | free)),
            self.idle.eq(~issuing & ~self.walking & self.empty),
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
