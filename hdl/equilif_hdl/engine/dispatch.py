"""Dispatcher: holds the current instruction, and loads the next one as soon as it may begin.

    sequencer --> i --> [ following ] --> [ instruction ] --> scanner, walker, lanes
                                                ^
                          all commands issued --+-- lanes empty, or nearly

Latency: 1 cycle from ``i`` to the start of an instruction; 2 with ``registers.queue``.
Throughput: one instruction at a time.

* After an instruction that only adds to A and B (DRIVE, GATHER, NUDGE) the next one begins while commands are
  still in the lanes: it reads their results in the stage in which they are written, or later.
* With dual-port weights, a scan begins while commands of STEP, RESET, MARK or LEARN are in the lanes: its own
  commands arrive after their effects.  GATHER reads spikes, so it waits for RESET, and after STEP it may only
  scan the groups of that STEP.  The operands of STEP are held until it ends.
* With dual-port weights, MARK and MEASURE begin while commands of STEP are in the lanes.
* All other instructions begin when the lanes are empty.

CONVOLVE is loaded under the condition of a DRIVE, and never starts (equilif_hdl.engine.geometry).
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
        The next instruction; a register with ``registers.queue``.
    scanning, walking : In(1)
        The scanner has events left; the walker has commands left.
    last : In(1)
        The walker issues its last command.
    empty, draining : In(1)
        No command is in the lanes; none will be in the next cycle.
    scan_may_start : In(1)
        With dual-port weights: the commands in the lanes do not interfere with a scan that is loaded now.
    walk_may_start : In(1)
        With dual-port weights: a MARK or MEASURE that is loaded now finds the results of a STEP in the lanes.
    spikes_ready : In(1)
        With dual-port weights: a scan that is loaded now finds the first spikes of the STEP in the lanes.
    instruction : Out(INSTRUCTION)
        The current instruction.
    start : Out(1)
        It begins.
    is_gather, is_learn, is_argmax : Out(1)
        Its operation, decoded.
    idle : Out(1)
        It and all instructions before it are finished.
    begin : Out(1)
        With ``convolution`` or ``self_attention``: an instruction other than CONVOLVE is loaded.
    convolve, steps_valid : Out(1), In(1)
        With ``convolution``: CONVOLVE is loaded; the address steps of the last one are computed.
    """

    i: Stream[Instruction]
    following: Instruction
    scanning: Signal
    walking: Signal
    last: Signal
    empty: Signal
    draining: Signal
    scan_may_start: Signal
    walk_may_start: Signal
    spikes_ready: Signal
    instruction: Instruction
    start: Signal
    is_gather: Signal
    is_learn: Signal
    is_argmax: Signal
    idle: Signal
    convolve: Signal
    begin: Signal
    steps_valid: Signal

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
                **(
                    {}
                    if config.single_port
                    else {"scan_may_start": In(1), "walk_may_start": In(1), "spikes_ready": In(1)}
                ),
                "instruction": Out(INSTRUCTION),
                "start": Out(1),
                "is_gather": Out(1),
                "is_learn": Out(1),
                "is_argmax": Out(1),
                "idle": Out(1),
                **({"begin": Out(1)} if config.convolution or config.self_attention else {}),
                **({"convolve": Out(1), "steps_valid": In(1)} if config.convolution else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        accumulates = Signal()
        ready = Signal()  # the next instruction may begin
        next_valid = Signal()  # `following` is valid
        load = Signal()  # the next instruction is loaded
        following = self.following
        issuing = self.start | self.scanning
        free: Value = self.draining
        if not self.config.single_port:
            free = free | self._may_overlap(m, next_valid)
        steps_valid = self.steps_valid if self.config.convolution else 1
        m.d.comb += [
            ready.eq(~issuing & steps_valid & Mux(self.walking, accumulates & self.last, accumulates | free)),
            load.eq(next_valid & ready),
            self.idle.eq(~issuing & ~self.walking & self.empty),
        ]
        begins: Value = load
        if self.config.convolution:
            m.d.comb += [
                self.convolve.eq(load & convolves(following)),
                self.begin.eq(load & ~convolves(following)),
            ]
            begins = self.begin
        elif self.config.self_attention:
            m.d.comb += self.begin.eq(load)
        if self.config.registers.queue:
            m.d.comb += self.i.ready.eq(~next_valid | load)
            with m.If(self.i.ready):
                m.d.sync += [following.eq(self.i.p), next_valid.eq(self.i.valid)]
            with m.If(next_valid):
                m.d.comb += self.idle.eq(0)
        else:
            m.d.comb += [following.eq(self.i.p), next_valid.eq(self.i.valid), self.i.ready.eq(ready)]
        m.d.sync += self.start.eq(begins)
        with m.If(begins):
            m.d.sync += [
                self.instruction.eq(following),
                # decoded one cycle early: all strobes of the scanner depend on them
                self.is_gather.eq(following.op == Op.GATHER),
                self.is_learn.eq(following.op == Op.LEARN),
                self.is_argmax.eq(following.op == Op.ARGMAX),
                accumulates.eq(is_one_of(following.op, Op.DRIVE, Op.GATHER, Op.NUDGE)),
            ]
        return m

    def _may_overlap(self, m: Module, next_valid: Value) -> Value:
        """The next instruction may begin before the lanes are empty.

        Decided and registered when the instruction arrives.  Its predecessor is ``following`` if that begins
        in this cycle, else the current instruction.
        """
        begins = next_valid
        if self.config.convolution:
            begins = begins & ~convolves(self.following)
        op = Mux(begins, self.following.op, self.instruction.op)
        dst = Mux(begins, self.following.dst, self.instruction.dst)
        incoming = self.i.p
        overlaps = Signal()  # `scan_may_start` is sufficient
        follows_step = Signal()  # `spikes_ready` is sufficient
        walk_overlaps = Signal()  # `walk_may_start` is sufficient
        with m.If(self.i.ready):
            m.d.sync += [
                overlaps.eq(
                    (incoming.op == Op.GATHER) & is_one_of(op, Op.MARK, Op.LEARN)
                    | is_one_of(incoming.op, Op.DRIVE, Op.LEARN, Op.ARGMAX)
                    & is_one_of(op, Op.MARK, Op.LEARN, Op.STEP, Op.RESET)
                ),
                walk_overlaps.eq(is_one_of(incoming.op, Op.MARK, Op.MEASURE) & (op == Op.STEP)),
                follows_step.eq((incoming.op == Op.GATHER) & (op == Op.STEP) & (incoming.src == dst)),
            ]
        return (
            self.scan_may_start & overlaps
            | self.spikes_ready & follows_step
            | self.walk_may_start & walk_overlaps
        )
