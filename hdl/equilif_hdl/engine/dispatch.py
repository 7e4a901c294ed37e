"""Dispatcher: holds the instruction that is executed, and takes the next one when the engine is free for it.

    sequencer --> i --> [ following ] --> [ instruction ] --> scanner, walker, lanes
                                                ^
                          all commands issued --+-- lanes empty, or nearly

Latency: 1 cycle from ``i`` to the start of an instruction; 2 with ``registers.queue``.
Throughput: an instruction at a time.

* One that only adds to A and B lets the next begin while its commands are still in the lanes: all that
  follows reads what they write in the stage in which they write it, or later.
* A scan may begin while commands of STEP, RESET, MARK or LEARN are in the lanes, unless weights have a single
  port.  Its own commands come later than their effects.  But GATHER reads spikes: it
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
    following : Out(INSTRUCTION)
        The next one; a register with ``registers.queue``.
    scanning, walking : In(1)
        The scanner has events left; the walker has commands left.
    last : In(1)
        The walker issues the last of them.
    empty : In(1)
        No command is in the lanes.
    draining : In(1)
        None will be in the next cycle.
    scan_may_start, spikes_ready : In(1)
        Unless weights have a single port: all commands in the lanes will have left before those of a
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
        Where there are convolutions: the next one is taken and is CONVOLVE, or is not; what the last CONVOLVE
        said is known.
    """

    i: Stream[Instruction]
    following: Instruction
    scanning: Signal
    walking: Signal
    last: Signal
    empty: Signal
    draining: Signal
    scan_may_start: Signal
    spikes_ready: Signal
    instruction: Instruction
    start: Signal
    spiking: Signal
    learning: Signal
    argmax: Signal
    idle: Signal
    convolve: Signal
    begin: Signal
    known: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        self.latency = 1 + (config.registers.queue > 0)
        super().__init__(
            {
                "i": In(stream.Signature(INSTRUCTION)),
                "following": Out(INSTRUCTION),
                "scanning": In(1),
                "walking": In(1),
                "last": In(1),
                "empty": In(1),
                "draining": In(1),
                **({} if config.single_port else {"scan_may_start": In(1), "spikes_ready": In(1)}),
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
        adds = Signal()
        ready = Signal()  # the engine is free for the next instruction
        there = Signal()  # a next instruction is there
        taken = Signal()  # the next instruction is taken
        following = self.following
        issuing = self.start | self.scanning
        free: Value = self.draining
        if not self.config.single_port:
            free = free | self._scans_early(m, there)
        known = self.known if self.config.convolution else 1
        m.d.comb += [
            ready.eq(~issuing & known & Mux(self.walking, adds & self.last, adds | free)),
            taken.eq(there & ready),
            self.idle.eq(~issuing & ~self.walking & self.empty),
        ]
        begins: Value = taken
        if self.config.convolution:
            m.d.comb += [
                self.convolve.eq(taken & convolves(following)),
                self.begin.eq(taken & ~convolves(following)),
            ]
            begins = self.begin
        if self.config.registers.queue:
            m.d.comb += self.i.ready.eq(~there | taken)
            with m.If(self.i.ready):
                m.d.sync += [following.eq(self.i.p), there.eq(self.i.valid)]
            with m.If(there):
                m.d.comb += self.idle.eq(0)
        else:
            m.d.comb += [following.eq(self.i.p), there.eq(self.i.valid), self.i.ready.eq(ready)]
        m.d.sync += self.start.eq(begins)
        with m.If(begins):
            m.d.sync += [
                self.instruction.eq(following),
                # decoded before they are there: all the scanner's strobes depend on them
                self.spiking.eq(following.op == Op.GATHER),
                self.learning.eq(following.op == Op.LEARN),
                self.argmax.eq(following.op == Op.ARGMAX),
                adds.eq(is_one_of(following.op, Op.DRIVE, Op.GATHER, Op.NUDGE)),
            ]
        return m

    def _scans_early(self, m: Module, there: Value) -> Value:
        """The next instruction is a scan, and need not wait until the lanes are empty.

        Its kind is decided when it comes, and kept in registers.  The instruction before it is then the one
        that is executed or, where one waits already, that one: it begins in this cycle.
        """
        begins = there
        if self.config.convolution:
            begins = begins & ~convolves(self.following)
        op = Mux(begins, self.following.op, self.instruction.op)
        dst = Mux(begins, self.following.dst, self.instruction.dst)
        comes = self.i.p
        at_once = Signal()  # the lanes need only be ``scan_may_start``
        behind = Signal()  # the lanes must be ``spikes_ready`` too
        with m.If(self.i.ready):
            m.d.sync += [
                at_once.eq(
                    (comes.op == Op.GATHER) & is_one_of(op, Op.MARK, Op.LEARN)
                    | is_one_of(comes.op, Op.DRIVE, Op.LEARN, Op.ARGMAX)
                    & is_one_of(op, Op.MARK, Op.LEARN, Op.STEP, Op.RESET)
                ),
                behind.eq((comes.op == Op.GATHER) & (op == Op.STEP) & (comes.src == dst)),
            ]
        return self.scan_may_start & (at_once | behind & self.spikes_ready)
