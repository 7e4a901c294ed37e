"""Dispatcher: holds the instruction that is executed, and takes the next one when the engine is free for it.

    sequencer --> i --> [ instruction ] --> scanner, walker, lanes
                              ^
    all commands issued ------+------ lanes empty, or nearly

Latency: 1 cycle from a taken instruction to its start.  Throughput: an instruction at a time.

* One that only adds to A and B lets the next begin while its commands are still in the lanes: all that
  follows reads what they write in the stage in which they write it, or later.
* A scan may begin while commands of STEP, RESET, MARK or LEARN are in the lanes, where these keep their
  operands: in a deep pipeline.  Its own commands come later than their effects.  But GATHER reads spikes: it
  waits for RESET, and follows STEP through the same groups.
* Everything else begins when the lanes are empty.

CONVOLVE is taken when a DRIVE could be, and never starts (equilif_hdl.engine.geometry).
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, convolves, is_one_of
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
    ending, stepping : In(1)
        Where weights have registers around them: all commands in the lanes will have left before those of a
        scan that is taken now; of a STEP, that scan reads the spikes of the first group when they are there.
    instruction : Out(INSTRUCTION)
        What is executed.
    start : Out(1)
        It begins.
    spiking, learning, argmax : Out(1)
        It is GATHER; it is LEARN; it is ARGMAX.
    idle : Out(1)
        It is done, and so are all before it.
    convolve, begin, known : Out(1), Out(1), In(1)
        Where there are convolutions: ``i`` is taken and is CONVOLVE, or is not; what the last CONVOLVE said
        is known.
    """

    i: Stream[Instruction]
    scanning: Signal
    walking: Signal
    last: Signal
    empty: Signal
    leaving: Signal
    ending: Signal
    stepping: Signal
    instruction: Instruction
    start: Signal
    spiking: Signal
    learning: Signal
    argmax: Signal
    idle: Signal
    convolve: Signal
    begin: Signal
    known: Signal

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
                **({"ending": In(1), "stepping": In(1)} if config.deep else {}),
                "instruction": Out(INSTRUCTION),
                "start": Out(1),
                "spiking": Out(1),
                "learning": Out(1),
                "argmax": Out(1),
                "idle": Out(1),
                **({"convolve": Out(1), "begin": Out(1), "known": In(1)} if config.convolution else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        issuing = self.start | self.scanning
        adds = Signal()
        free: Value = self.leaving
        if self.config.deep:
            free = free | self._scans_early()
        ready = ~issuing & Mux(self.walking, adds & self.last, adds | free)
        taken = self.i.valid & self.i.ready
        if self.config.convolution:
            ready = ready & self.known
            m.d.comb += [
                self.convolve.eq(taken & convolves(self.i.p)),
                self.begin.eq(taken & ~convolves(self.i.p)),
            ]
            taken = self.begin
        m.d.comb += [
            self.i.ready.eq(ready),
            self.idle.eq(~issuing & ~self.walking & self.empty),
        ]
        m.d.sync += self.start.eq(taken)
        with m.If(taken):
            m.d.sync += [
                self.instruction.eq(self.i.p),
                # decoded before they are there: all the scanner's strobes depend on them
                self.spiking.eq(self.i.p.op == Op.GATHER),
                self.learning.eq(self.i.p.op == Op.LEARN),
                self.argmax.eq(self.i.p.op == Op.ARGMAX),
                adds.eq(is_one_of(self.i.p.op, Op.DRIVE, Op.GATHER, Op.NUDGE)),
            ]
        return m

    def _scans_early(self) -> Value:
        """The next instruction is a scan, and need not wait until the lanes are empty."""
        now = self.instruction
        following = self.i.p
        behind = self.stepping & (following.src == now.dst)
        spikes_are_there = is_one_of(now.op, Op.MARK, Op.LEARN) | (now.op == Op.STEP) & behind
        values_are_there = is_one_of(now.op, Op.MARK, Op.LEARN, Op.STEP, Op.RESET)
        return self.ending & (
            (following.op == Op.GATHER) & spikes_are_there
            | is_one_of(following.op, Op.DRIVE, Op.LEARN, Op.ARGMAX) & values_are_there
        )
