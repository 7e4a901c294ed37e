"""Pipeline of the lanes: what happens in which stage, and the command that each stage holds.

    walker --> command --[x gain]--|--> ... --|--> stage 0 --|--> stage 1 --|--> ... --|--> last stage
                    `lead` registers before stage 0              op, group, tile and e only

A command moves along with its data: stage k holds the command that stage 0 held k cycles ago.  Stages before
0 have negative numbers; only the reads of weights and values take place there.  Latency: one cycle a stage.
Throughput: a command a cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import IntFlag
from typing import NamedTuple, Protocol, cast

from amaranth import Cat, Const, Elaboratable, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from equilif_golden.blocks.plasticity import GAIN_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import writes_after
from equilif_golden.engine.hazards import SPIKES_WRITTEN, distance, lead, overlaps, settled
from equilif_golden.engine.isa import MeasureMode, Op
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.rate import Measure, RateChange
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.engine.isa import Instruction, LaneCommand, command, has_static, is_one_of
from equilif_hdl.engine.walk import times_gain
from equilif_hdl.typed import Interface, signal_of

#: bits of the gain in the first of two partial products
HALF = GAIN_WIDTH // 2
#: operations that save or restore neuron state
COPIES = (Op.SAVE, Op.RESTORE)
#: operations that write a sum to A or B
SUMS = (Op.DRIVE, Op.GATHER, Op.NUDGE, Op.RESET, *COPIES)


class Timing:
    """Stage of each event in the lanes; the single source of all latencies.

                   SPRAM  DEEP 2, 4  DEEP 8, 16  DEEP 32
    lead               0          2           4        5   stages before 0: registers around W and V
    words              1          1           0       -1   W and V are read
    factors            1          1           1        1   words are in their lanes; factors are selected
    read               2          2           2        2   factors are multiplied; A, B, Q, S are addressed
    sum                3          3           3        3   product + A or B is computed and written
    prescaled          4          4           4        4   B is shifted by less than an octave
    rate               4          4           4        4   a rate is computed and written
    relay              5          5           5        5   a relay value is computed and written
    moved              5          5           5        5   the change of a rate is compared
    step               5          6           6        7   membrane and spike are computed and written
    noise_lookup       0          1           0        0   LEARN looks up its noise
    noise              0          1           1        1   LEARN registers its noise
    minus_product      3          3           2        2   LEARN multiplies u- and v-
    read_weight        4          0          -1       -1   LEARN addresses the weight that it updates
    weight             5          3           3        3   that weight is read
    learn              5          6           6        6   the new weight is computed and written
    last               5          6           6        7   last stage

    Columns: pipeline and lanes.  STEP reads Q one stage before it writes.  ``added``: the register after the
    adder of equilif_hdl.blocks.plasticity.
    """

    def __init__(self, config: EngineConfig):
        registers = config.registers
        self.lead = lead(config)
        self.factors = 1
        self.words = self.factors - registers.butterfly
        self.read = 2
        self.sum = 3
        self.prescaled = self.sum + 1
        self.rate = self.sum + Measure.latency
        self.relay = self.sum + Relay.latency
        self.moved = self.rate + RateChange.latency
        self.step = self.sum + Lif.latency + registers.neuron
        self.added = not config.single_port
        # with single-port weights noise is held for two cycles, so it is registered one stage earlier
        self.noise = self.factors - config.single_port
        self.noise_lookup = self.noise - registers.noise
        self.minus_product = self.sum - registers.update_product
        self.learn = self.sum + 2 + self.added
        # a single-port weight is used as it is read and written one cycle later; others wait in a register
        self.weight = self.learn if config.single_port else self.sum
        self.read_weight = self.weight - (1 + registers.weight_read)
        self.last = self.step
        assert self.learn - self.read_weight + 1 == writes_after(config)


def rereads(config: EngineConfig) -> dict[Op, int]:
    """Operations that read V a second time, and the stage: MEASURE compares a rate with the previous one."""
    return {Op.MEASURE: Timing(config).sum} if config.early_exit else {}


class StatusSource(NamedTuple):
    """Commands that raise a status signal, and their stage."""

    stage: int
    op: Op
    mode: IntFlag


def lane_status(config: EngineConfig) -> dict[str, StatusSource]:
    """Status signals by name; each is the OR over all lanes."""
    return (
        {"moved": StatusSource(Timing(config).moved, Op.MEASURE, MeasureMode.WATCH)}
        if config.early_exit
        else {}
    )


class LaneStatus(wiring.Signature):
    """Status from the lanes to the sequencer.

    Members
    -------
    moved : Out(1)
        With ``early_exit``: a watched rate has moved by more than the tolerance.
    """

    class Members(Interface, Protocol):
        moved: Signal

    def __init__(self, config: EngineConfig):
        super().__init__(dict.fromkeys(lane_status(config), Out(1)))


class LaneProgress(wiring.Signature):
    """With dual-port weights: how far the commands in the lanes are, for the dispatcher.

    Members
    -------
    passed : Out
        A bit for each stage of equilif_golden.engine.hazards.overlaps but the first one: no command is before
        it.
    first_spikes, settled, written : Out(1), Out(2), Out(2)
        A scan that is loaded now finds the first spikes of the STEP in the lanes; all spikes of STEP and
        RESET, of each state; so does a NUDGE.
    stepping : Out(1)
        A command of an event that is issued now would meet the writes of STEP or RESET.
    """

    class Members(Interface, Protocol):
        passed: Signal
        first_spikes: Signal
        settled: Signal
        written: Signal
        stepping: Signal

    def __init__(self, config: EngineConfig):
        bits = {
            "passed": len(overlaps(config)) - 1,
            "first_spikes": 1,
            "settled": 2,
            "written": 2,
            "stepping": 1,
        }
        super().__init__({} if config.single_port else {name: Out(n) for name, n in bits.items()})


class Stages(Elaboratable):
    """The commands in the pipeline.

    Members
    -------
    valid, i, instruction : Value
        From the walker: strobe, command, and its instruction.
    command : data.View
        Command in stage 0, all fields; u+ and u- are multiplied by the gain.
    busy : dict[int, Value]
        By stage, from -lead to last: it holds a command.
    op, group, tile, e, second, static : dict[int, Value]
        By stage: fields of that command.
    empty, draining : Signal
        No command is in the pipeline; none will be in the next cycle.
    progress : LaneProgress
        For the dispatcher.
    scans_second : Signal
        The scan works on the second state.
    """

    def __init__(self, config: EngineConfig, valid: Value, i: LaneCommand, instruction: Instruction):
        self.config = config
        self.scans_second = Signal()
        self.timing = Timing(config)
        self.instruction = instruction
        self.empty = Signal()
        self.draining = Signal()
        self.progress = cast(LaneProgress.Members, LaneProgress(config).create(path=("progress",)))
        first = -self.timing.lead
        last = self.timing.last
        self.commands: dict[int, LaneCommand] = {first: i}
        for stage in range(first + 1, 1):
            self.commands[stage] = signal_of(
                command(config), name=f"command_{-stage}_before", reset_less=True
            )
        self.command = self.commands[0]
        self.busy: dict[int, Value] = {first: valid}
        for stage in range(first + 1, last + 1):
            self.busy[stage] = Signal(name=f"busy_{stage}" if stage >= 0 else f"busy_{-stage}_before")
        self.op = self._line("op")
        self.group = self._line("group")
        self.tile = self._line("tile")
        self.e = self._line("e")
        self.second = self._line("second")
        #: a RESET or NUDGE of B, if commands have it, else 0
        self.static = self._line("static") if has_static(config) else dict.fromkeys(self.op, Const(0))

    def _line(self, name: str) -> dict[int, Value]:
        line: dict[int, Value] = {stage: held[name] for stage, held in self.commands.items()}
        for stage in range(1, self.timing.last + 1):
            line[stage] = Signal(line[0].shape(), name=f"{name}_{stage}", reset_less=True)
        return line

    def registered(self, m: Module, stage: int, condition: Callable[[int], Value], name: str) -> Value:
        """``condition(stage)``, evaluated one stage earlier and registered in ``m``, if there is one."""
        if stage == -self.timing.lead:
            return condition(stage)
        result = Signal(name=f"{name}_{stage}", reset_less=True)
        m.d.sync += result.eq(condition(stage - 1))
        return result

    def op_valid_now(self, stage: int, *ops: Op) -> Value:
        """The stage holds a command, one of these operations; combinational."""
        return self.busy[stage] & is_one_of(self.op[stage], *ops)

    def op_valid(self, m: Module, stage: int, *ops: Op) -> Value:
        """The stage holds a command, one of these operations; registered."""
        return self.registered(m, stage, lambda k: self.op_valid_now(k, *ops), _name("op_valid", ops))

    def op_is(self, m: Module, stage: int, *ops: Op) -> Value:
        """The operation in the stage is one of these, if it holds a command; registered."""
        return self.registered(m, stage, lambda k: is_one_of(self.op[k], *ops), _name("op_is", ops))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first = -self.timing.lead
        for stage in range(first + 1, 1):
            m.d.sync += self.commands[stage].eq(self.commands[stage - 1])
        if self.config.registers.gain:
            # two stages after the walker, where `instruction` belongs to the previous stage; `gain` is a
            # local copy.  Two partial products: low bits of the gain, then high bits
            assert self.config.registers.gain == 2
            gain = Signal(GAIN_WIDTH, reset_less=True)
            m.d.sync += gain.eq(self.instruction.gain)
            multiplicand, low_product, product = (
                self.commands[stage] for stage in (first + 2, first + 3, first + 4)
            )
            for name in ("up", "um"):
                value = multiplicand[name]
                high = Signal(value.shape(), name=f"{name}_high", reset_less=True)
                m.d.sync += high.eq(times_gain(value, gain[HALF:], self.config) << HALF)
                with m.If(multiplicand.op == Op.LEARN):
                    m.d.sync += low_product[name].eq(times_gain(value, gain[:HALF], self.config))
                with m.If(low_product.op == Op.LEARN):
                    m.d.sync += product[name].eq(low_product[name] + high)
        lines = [self.op, self.group, self.tile, self.e, self.second]
        for line in [*lines, self.static] if has_static(self.config) else lines:
            for stage in range(1, self.timing.last + 1):
                m.d.sync += line[stage].eq(line[stage - 1])
        for stage in range(first + 1, self.timing.last + 1):
            m.d.sync += self.busy[stage].eq(self.busy[stage - 1])
        m.d.comb += [
            self.empty.eq(self._none_before(self.timing.last + 1)),
            self.draining.eq(self._none_before(self.timing.last)),
        ]
        if not self.config.single_port:
            self._progress(m)
        return m

    def _progress(self, m: Module) -> None:
        timing = self.timing
        progress = self.progress
        first = -timing.lead
        scans, nudges = (settled(op, self.config) for op in (Op.GATHER, Op.NUDGE))
        of_state = (~self.second[first], self.second[first])
        steps = {}  # by state: a STEP is in a stage, from `first` on
        for k in range(2):
            spiking = self._recent(m, nudges - first, SPIKES_WRITTEN, of_state[k], f"spiking_{k}")
            m.d.comb += [
                progress.settled[k].eq(~spiking[1 : scans - first].any()),
                progress.written[k].eq(~spiking[1:].any()),
            ]
            steps[k] = self._recent(
                m, distance(Op.STEP, Op.GATHER, self.config), [Op.STEP], of_state[k], f"step_{k}"
            )
        near = distance(Op.STEP, Op.GATHER, self.config, other=True) - 1
        holds = [(steps[k][:-1] | steps[1 - k][:near]).any() for k in range(2)]
        resets = self.op_valid_now(first, Op.RESET)
        assert distance(Op.RESET, Op.DRIVE, self.config) == 2
        m.d.sync += progress.stepping.eq(Mux(self.scans_second, holds[1], holds[0]) | resets)
        m.d.comb += progress.first_spikes.eq(self.op_valid(m, scans, Op.STEP))
        for k, stage in enumerate([*overlaps(self.config)][1:]):
            m.d.comb += progress.passed[k].eq(self._none_before(stage))  # bit by bit, or the port has no name

    def _recent(self, m: Module, n: int, ops: Collection[Op], condition: Value, name: str) -> Value:
        """Bit j: the stage j after the first one holds one of these operations, for which the condition was
        true.
        """
        first = self.op_valid_now(-self.timing.lead, *ops) & condition
        rest = Signal(n - 1, name=name)
        m.d.sync += rest.eq(Cat(first, rest[:-1]))
        return Cat(first, rest)

    def _none_before(self, stage: int) -> Value:
        """No command is before ``stage``, apart from one that enters in this cycle."""
        return ~Cat(busy for k, busy in self.busy.items() if -self.timing.lead < k < stage).any()


def _name(prefix: str, ops: tuple[Op, ...]) -> str:
    return "_".join([prefix, *(op.name.lower() for op in ops)])
