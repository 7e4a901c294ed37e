"""Control: decodes the commands of all stages into control signals and constants for every lane.

    stages, instruction --> [ control ] --> LaneControl --> lane 0 .. P - 1

Latency: none; a signal is valid in the stage that uses it.  Throughput: a command a cycle.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from amaranth import Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_WIDTH, SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op, RelayMode
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, command, has_mode, is_one_of, stores
from equilif_hdl.engine.stages import COPIES, SUMS, Stages
from equilif_hdl.fixed import delayed, domain
from equilif_hdl.typed import Interface


class Source(IntEnum):
    """First operand of a sum."""

    A = 0
    B = 1
    LAST = 2  #: the sum of the cycle before
    NOTHING = 3


class LaneControl(wiring.Signature):
    """Control signals of all lanes, each in a stage of equilif_hdl.engine.stages.Timing.

    Members
    -------
    use_weight : Out(1), in stage factors
        First factor: 1 the lane's weight, 0 ``up``.
    up : Out(signed(16)), in stage factors
        First factor common to all lanes.
    use_scale : Out(1), in stage factors
        Second factor: 1 ``scale``, 0 the lane's value at +beta.
    scale : Out, in stage factors
        Second factor common to all lanes.
    nudge : Out(1), in stage factors
        Subtract 256 from that value if the lane has a spike.
    rounded : Out(1), in stage factors
        Round the product to the nearest.
    noise_mask : Out, in stage noise
        Bits of the noise that are added.
    load_noise : Out(1), in stage noise
        Single-port weights: register the noise.
    load_minus : Out(1), in stage factors
        Single-port weights: register the value at -beta, which LEARN needs for two cycles.
    gain_um : Out(signed(16)), in stage minus_product
        -gain u-.
    source : Out(Source), in stage sum
        First operand of the sum.
    step : Out(1), in stage sum
        Single-port weights: STEP, which adds B.
    copy : Out(1), in stage sum
        Single-port weights: SAVE or RESTORE, which add nothing.
    mark : Out(1), in stage sum
        MARK: the charge starts at -A.
    neg_threshold : Out(17), held
        -threshold.
    threshold, leak : Out(16), Out(5), held
        Dual-port weights: operands of the last STEP, as the next instruction may begin before it ends.
    shift_minus_1 : Out(5), held
        With ``attention``: shift of B, minus 1.
    coding : Out(1), held
        With ``attention``: third walk of SOFTMAX; the second factor is the lane's exponential.
    static : Out(1), in stage factors
        With ``errors``: NUDGE without spikes.
    """

    class Members(Interface, Protocol):
        use_weight: Signal
        up: Signal
        use_scale: Signal
        scale: Signal
        nudge: Signal
        noise_mask: Signal
        load_noise: Signal
        load_minus: Signal
        gain_um: Signal
        source: Signal
        step: Signal
        copy: Signal
        mark: Signal
        neg_threshold: Signal
        threshold: Signal
        leak: Signal
        shift_minus_1: Signal
        coding: Signal
        rounded: Signal
        static: Signal

    def __init__(self, config: EngineConfig):
        layout = command(config)
        members = {
            "use_weight": Out(1),
            "up": Out(layout["up"].shape),
            "use_scale": Out(1),
            "scale": Out(layout["scale"].shape),
            "nudge": Out(1),
            "rounded": Out(1),
            "noise_mask": Out(DITHER_WIDTH),
            "gain_um": Out(layout["um"].shape),
            "source": Out(2),
            "mark": Out(1),
            "neg_threshold": Out(17),
        }
        if config.single_port:
            members |= dict.fromkeys(("load_noise", "load_minus", "step", "copy"), Out(1))
        else:
            members |= {"threshold": Out(INSTRUCTION["gain"].shape), "leak": Out(INSTRUCTION["shift"].shape)}
        if config.attention:
            members |= {"shift_minus_1": Out(5), "coding": Out(1)}
        if config.errors:
            members |= {"static": Out(1)}
        super().__init__(members)


class Control(wiring.Component):
    """Members
    -------
    instruction : In(INSTRUCTION)
        Instruction of the commands.
    coding, reciprocal : In(1), In(15)
        With ``attention``: third walk of SOFTMAX, and its factor.
    scale : In(5)
        With ``attention``: added to the shift of a RELAY of mode SCALED.
    control : Out(LaneControl)

    ``stages``: the commands in the pipeline.
    """

    instruction: Instruction
    control: LaneControl.Members
    coding: Signal
    reciprocal: Signal
    scale: Signal

    def __init__(self, config: EngineConfig, stages: Stages):
        self.config = config
        self.stages = stages
        super().__init__(
            {
                "instruction": In(INSTRUCTION),
                "control": Out(LaneControl(config)),
                **({"coding": In(1), "reciprocal": In(15), "scale": In(5)} if config.attention else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._factors(m)
        self._noise(m)
        self._sums(m)
        if self.config.attention:
            shift_minus_1 = Signal(5)
            relays = (self.instruction.op == Op.RELAY) & has_mode(self.instruction, RelayMode.SCALED)
            m.d.sync += shift_minus_1.eq(self.instruction.shift - 1 + Mux(relays, self.scale, 0))
            # fan-out to all lanes; the first RELAY comes later
            shift_late = delayed(m, shift_minus_1, self.config.registers.constants, "shift_minus_1")
            m.d.comb += [self.control.shift_minus_1.eq(shift_late), self.control.coding.eq(self.coding)]
        return m

    def _factors(self, m: Module) -> None:
        """Factors of the product."""
        stages = self.stages
        factors = stages.timing.factors
        first = stages.command
        up = Signal.like(first.up, reset_less=True)
        scale = Signal.like(first.scale, reset_less=True)
        m.d.sync += [up.eq(first.up), scale.eq(first.scale)]
        use_scale = [Op.DRIVE, Op.GATHER, Op.RESET]
        if not self.config.single_port:  # a copy is a sum with product 0
            use_scale += COPIES
            with m.If(is_one_of(first.op, *COPIES)):
                m.d.sync += scale.eq(0)
        if self.config.attention:
            with m.If(self.coding):
                m.d.sync += up.eq(self.reciprocal)
        m.d.comb += [
            self.control.use_weight.eq(stages.op_is(m, factors, Op.DRIVE, Op.GATHER)),
            self.control.up.eq(up),
            self.control.use_scale.eq(stages.op_is(m, factors, *use_scale)),
            self.control.scale.eq(scale),
            self.control.nudge.eq(stages.op_is(m, factors, Op.NUDGE)),
        ]

    def _noise(self, m: Module) -> None:
        """LEARN: noise, which is added to its product, and -gain u-.

        With single-port weights LEARN takes two cycles a group, so operands are held for two cycles, which
        saves registers.
        """
        timing = self.stages.timing
        first = self.stages.command
        control = self.control
        # without `valid`, which is late: without a command the product is not used
        is_learn = self.stages.op_is(m, timing.noise_lookup, Op.LEARN)
        um: Value = -first.um if self.config.registers.gain else first.um
        if self.config.self_attention:  # STORE adds neither noise nor u- v-
            store = stores(self.instruction)
            is_learn = is_learn & ~store
            um = Mux(store, 0, um)
        noise_mask = Signal(DITHER_WIDTH)
        lookup = m.d[domain(self.config.registers.noise)]
        lookup += noise_mask.eq(0)
        with m.Switch(self.instruction.shift):
            for shift in SHIFTS:
                with m.Case(shift):
                    lookup += noise_mask.eq(Mux(is_learn, (1 << shift) - 1, 0))
        minus = Signal.like(first.um, reset_less=True)
        late = timing.minus_product - timing.factors
        if self.config.single_port:
            learns = self.stages.op_valid(m, timing.noise_lookup, Op.LEARN)
            with m.If(learns):
                m.d.sync += minus.eq(um)
            late -= 1
            m.d.comb += [
                control.load_noise.eq(learns | (self.instruction.op != Op.LEARN)),
                control.load_minus.eq(self.stages.op_valid(m, timing.factors, Op.LEARN)),
            ]
        else:
            m.d.sync += minus.eq(um)
        m.d.comb += [
            control.noise_mask.eq(noise_mask),
            control.gain_um.eq(delayed(m, minus, late, "minus")),
        ]

    def _sums(self, m: Module) -> None:
        """Operands of the sum."""
        stages = self.stages
        timing = stages.timing
        control = self.control
        # forwarding: the group that is read is written in this cycle
        forward: Value = Const(0)
        if not self.config.single_port:
            forward = stages.registered(
                m,
                timing.sum,
                lambda k: stages.op_valid_now(k, *SUMS) & (stages.group[k - 1] == stages.group[k]),
                "forward",
            )
        if self.config.single_port:
            resets, drives = (is_one_of(stages.op[timing.read], op) for op in (Op.RESET, Op.DRIVE))
        else:  # registered, as `source` has a high fan-out
            resets, drives = (stages.op_is(m, timing.read, op) for op in (Op.RESET, Op.DRIVE))
        if self.config.errors:
            drives = drives | stages.static[timing.read]  # a RESET has no operand
            m.d.comb += control.static.eq(stages.static[timing.factors])
        source = Signal(Source, reset_less=True)
        neg_threshold = Signal(17)
        m.d.sync += [
            source.eq(
                Mux(forward, Source.LAST, Mux(resets, Source.NOTHING, Mux(drives, Source.B, Source.A)))
            ),
        ]
        steps: Value = Const(1)
        if not self.config.single_port:
            steps = is_one_of(self.instruction.op, Op.STEP)
            with m.If(steps):
                m.d.sync += [
                    control.threshold.eq(self.instruction.gain),
                    control.leak.eq(self.instruction.shift),
                ]
        with m.If(steps):
            m.d.sync += neg_threshold.eq(-self.instruction.gain[:15])
        # fan-out to all lanes; the first STEP comes later
        neg_threshold_late = delayed(m, neg_threshold, self.config.registers.constants, "neg_threshold")
        m.d.comb += [
            control.rounded.eq(delayed(m, stages.command.rounded, timing.factors, "rounded")),
            control.source.eq(source),
            control.mark.eq(stages.op_valid(m, timing.sum, Op.MARK)),
            control.neg_threshold.eq(neg_threshold_late),
        ]
        if self.config.single_port:
            m.d.comb += [
                control.step.eq(stages.op_is(m, timing.sum, Op.STEP)),
                control.copy.eq(stages.op_is(m, timing.sum, *COPIES)),
            ]
