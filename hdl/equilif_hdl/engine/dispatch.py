"""Dispatcher: holds the current instruction, and loads the next one as soon as it may begin.

    sequencer --> i --> [ following ] --> [ instruction ] --> scanner, walker, lanes
                                                ^
                          all commands issued --+-- lanes empty, or nearly

Latency: 1 cycle from ``i`` to the start of an instruction; 2 with ``registers.queue``.
Throughput: one instruction at a time.

* After an instruction that only adds to A and B (DRIVE, GATHER, NUDGE) the next one begins while commands are
  still in the lanes: it reads their results in the stage in which they are written, or later.
* With dual-port weights, pairs in equilif_golden.engine.hazards.OVERLAPS begin when the lanes are past the
  stage that the table of accesses demands.
* What reads spikes waits for STEP and RESET of its state, however many instructions ago they were; GATHER
  from the groups of a STEP for the first ones only.  STEP waits for the constants of the one before it.
* Scans in AHEAD begin while a walk issues commands; their own go last.
* All other instructions begin when the lanes are empty.

CONVOLVE is loaded under the condition of a DRIVE, and never starts (equilif_hdl.engine.geometry).
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.hazards import AHEAD, SPIKES_READ, overlaps
from equilif_golden.engine.isa import Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, convolves, is_external, is_one_of, on_second
from equilif_hdl.engine.stages import LaneProgress
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
    progress : In(LaneProgress)
        How far the commands in the lanes are.
    adds : In(1)
        With dual-port weights: the walker accepts an event of DRIVE or GATHER.
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
    progress: LaneProgress.Members
    adds: Signal
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
                "progress": In(LaneProgress(config)),
                **({} if config.single_port else {"adds": In(1)}),
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
        ahead: Value = Const(0)
        allowed: Value = Const(1)
        if not self.config.single_port:
            overlaps, ahead, allowed = self._may_overlap(m, next_valid)
            free = free | overlaps
            with m.If(self.adds):
                m.d.sync += accumulates.eq(1)
        if self.config.convolution:
            allowed = allowed & self.steps_valid
        m.d.comb += [
            ready.eq(
                ~issuing & allowed & Mux(self.walking, accumulates & self.last | ahead, accumulates | free)
            ),
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
                # before the first event of a scan that is ahead, the walk has the lanes
                accumulates.eq(
                    is_one_of(following.op, Op.DRIVE, Op.GATHER, Op.NUDGE) & ~(self.walking & ahead)
                ),
            ]
        return m

    def _may_overlap(self, m: Module, next_valid: Value) -> tuple[Value, Value, Value]:
        """The next instruction may begin before the lanes are empty; even before all commands of a walk are
        issued; it may begin at all.

        By operation, which is decided and registered when the instruction arrives.  Its predecessor is
        ``following`` if that begins in this cycle, else the current instruction.
        """
        begins = next_valid
        if self.config.convolution:
            begins = begins & ~convolves(self.following)
        op = Mux(begins, self.following.op, self.instruction.op)
        dst = Mux(begins, self.following.dst, self.instruction.dst)
        state = Mux(begins, on_second(self.following), on_second(self.instruction))
        incoming = self.i.p
        incoming_state = on_second(incoming)
        progress = self.progress
        gathers = is_one_of(incoming.op, Op.GATHER)
        executes = ~convolves(incoming) if self.config.convolution else Const(1)
        if self.config.external:
            on_chip = ~is_external(incoming, self.config)
            executes = executes & on_chip
            gathers = gathers & on_chip
        other = incoming_state != state
        follows_step = Signal()  # a GATHER from the groups of a STEP
        runs_ahead = Signal()
        must_settle = Signal(2)  # whose spikes must be there, by state
        nudges = Signal()
        pairs = Signal(len(overlaps(self.config)))  # by stage: it may begin when commands have passed that
        with m.If(self.i.ready):
            m.d.sync += [
                pairs.eq(
                    Cat(
                        Cat(_pair(op, incoming.op, other, *p) for p in found.items()).any()
                        for found in overlaps(self.config).values()
                    )
                ),
                runs_ahead.eq(Cat(_pair(op, incoming.op, other, *p) for p in AHEAD.items()).any() & executes),
                follows_step.eq(gathers & (op == Op.STEP) & (incoming.src == dst) & ~other),
                must_settle.eq(
                    Mux(
                        is_one_of(incoming.op, *SPIKES_READ),
                        Cat(~incoming_state, incoming_state),
                        Cat(
                            is_one_of(incoming.op, Op.STEP, Op.SAVE),
                            is_one_of(incoming.op, Op.STEP, Op.RESTORE),
                        ),
                    )
                ),
                nudges.eq(incoming.op == Op.NUDGE),
            ]
        first_spikes = progress.first_spikes & follows_step
        settled = ~(must_settle & ~Mux(nudges, progress.written, progress.settled)).any()
        return (
            (pairs & Cat(Const(1), progress.passed)).any(),
            runs_ahead | first_spikes,
            settled | first_spikes,
        )


def _pair(before: Value, after: Value, other: Value, ops: tuple[Op, Op], states: tuple[bool, ...]) -> Value:
    """The operations are these, and work on the same state or different ones."""
    found = is_one_of(before, ops[0]) & is_one_of(after, ops[1])
    return found if len(states) == 2 else found & (other if states[0] else ~other)
