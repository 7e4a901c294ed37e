"""What all lanes are told: the decisions and the constants that every stage of them needs.

    stages, instruction --> [ control ] --> control --> lane 0 .. P - 1

Latency: none; an order comes in the stage that it is for.  Throughput: a command a cycle.
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
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, command, has_mode, is_one_of
from equilif_hdl.engine.stages import COPIES, SUMS, Stages
from equilif_hdl.fixed import delayed, domain
from equilif_hdl.typed import Interface


class Source(IntEnum):
    """What a sum begins with."""

    A = 0
    B = 1
    LAST = 2  #: the sum of the cycle before
    NOTHING = 3


class LaneControl(wiring.Signature):
    """What all lanes are told.  Stages are those of equilif_hdl.engine.stages.Timing.

    Members
    -------
    use_weight : Out(1), in stage turn
        The first factor is the lane's weight, else ``up``.
    up : Out(signed(16)), in stage turn
        First factor for all lanes.
    use_scale : Out(1), in stage turn
        The second factor is ``scale``, else the lane's value at +beta.
    scale : Out, in stage turn
        Second factor for all lanes.
    nudge : Out(1), in stage turn
        That value is shift_minus_1 256 where the lane has a spike.
    noise_mask : Out, in stage noise
        Bits of the noise that are added.
    load_noise : Out(1), in stage noise
        Of a single-port engine: take the noise.
    load_minus : Out(1), in stage turn
        Of a single-port engine: LEARN, whose value at -beta must stay for two cycles.
    gain_um : Out(signed(16)), in stage minus
        -gain u-.
    source : Out(Source), in stage sum
        What the sum begins with.
    step : Out(1), in stage sum
        Of a single-port engine: STEP, which adds B.
    copy : Out(1), in stage sum
        The same: SAVE or RESTORE, which add nothing.
    mark : Out(1), in stage sum
        MARK, which takes a charge from A.
    neg_threshold : Out(17), held
        -threshold.
    shift_minus_1 : Out(5), held
        Where there are memories: the shift of B, shift_minus_1 1.
    coding : Out(1), held
        The same: the third walk of SOFTMAX, where the second factor is the lane's exponential.
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
        shift_minus_1: Signal
        coding: Signal

    def __init__(self, config: EngineConfig):
        layout = command(config)
        members = {
            "use_weight": Out(1),
            "up": Out(layout["up"].shape),
            "use_scale": Out(1),
            "scale": Out(layout["scale"].shape),
            "nudge": Out(1),
            "noise_mask": Out(DITHER_WIDTH),
            "gain_um": Out(layout["um"].shape),
            "source": Out(2),
            "mark": Out(1),
            "neg_threshold": Out(17),
        }
        if config.single_port:
            members |= dict.fromkeys(("load_noise", "load_minus", "step", "copy"), Out(1))
        if config.attention:
            members |= {"shift_minus_1": Out(5), "coding": Out(1)}
        super().__init__(members)


class Control(wiring.Component):
    """Members
    -------
    instruction : In(INSTRUCTION)
        What the commands are of.
    coding, reciprocal : In(1), In(15)
        Where there are memories: SOFTMAX is in its third walk, and multiplies by this.
    scale : In(5)
        The same: what a RELAY of mode SCALED adds to its shift.
    control : Out(LaneControl)

    ``stages``: the commands that are carried out.
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
            # all lanes read it; there is time before the first RELAY
            shift_late = delayed(m, shift_minus_1, self.config.registers.constants, "shift_minus_1")
            m.d.comb += [self.control.shift_minus_1.eq(shift_late), self.control.coding.eq(self.coding)]
        return m

    def _factors(self, m: Module) -> None:
        """What is multiplied."""
        stages = self.stages
        turn = stages.timing.turn
        first = stages.command
        up = Signal.like(first.up, reset_less=True)
        scale = Signal.like(first.scale, reset_less=True)
        m.d.sync += [up.eq(first.up), scale.eq(first.scale)]
        scaled = [Op.DRIVE, Op.GATHER, Op.RESET]
        if not self.config.single_port:  # a copy is a sum with a product of 0
            scaled += COPIES
            with m.If(is_one_of(first.op, *COPIES)):
                m.d.sync += scale.eq(0)
        if self.config.attention:
            with m.If(self.coding):
                m.d.sync += up.eq(self.reciprocal)
        m.d.comb += [
            self.control.use_weight.eq(stages.op_is(m, turn, Op.DRIVE, Op.GATHER)),
            self.control.up.eq(up),
            self.control.use_scale.eq(stages.op_is(m, turn, *scaled)),
            self.control.scale.eq(scale),
            self.control.nudge.eq(stages.op_is(m, turn, Op.NUDGE)),
        ]

    def _noise(self, m: Module) -> None:
        """What LEARN adds to its product, and what it subtracts from it.

        On a single port a LEARN comes every other cycle, so what it brings stays for two, which saves
        registers.
        """
        timing = self.stages.timing
        first = self.stages.command
        control = self.control
        # whether there is a command comes late, and nobody takes the product of none
        would_learn = self.stages.op_is(m, timing.draw, Op.LEARN)
        noise_mask = Signal(DITHER_WIDTH)
        looked_up = m.d[domain(self.config.registers.noise)]
        looked_up += noise_mask.eq(0)
        with m.Switch(self.instruction.shift):
            for shift in SHIFTS:
                with m.Case(shift):
                    looked_up += noise_mask.eq(Mux(would_learn, (1 << shift) - 1, 0))
        minus = Signal.like(first.um, reset_less=True)
        late = timing.minus - timing.turn
        if self.config.single_port:
            learns = self.stages.op_valid(m, timing.draw, Op.LEARN)
            with m.If(learns):
                m.d.sync += minus.eq(first.um)
            late -= 1
            m.d.comb += [
                control.load_noise.eq(learns | (self.instruction.op != Op.LEARN)),
                control.load_minus.eq(self.stages.op_valid(m, timing.turn, Op.LEARN)),
            ]
        else:
            m.d.sync += minus.eq(-first.um if self.config.registers.gain else first.um)
        m.d.comb += [
            control.noise_mask.eq(noise_mask),
            control.gain_um.eq(delayed(m, minus, late, "minus")),
        ]

    def _sums(self, m: Module) -> None:
        """What is added to what."""
        stages = self.stages
        timing = stages.timing
        control = self.control
        # the group that is read is written in this cycle, by the same instruction: its sum is not in memory
        same: Value = Const(0)
        if not self.config.single_port:
            same = stages.registered(
                m,
                timing.sum,
                lambda k: stages.op_valid_now(k, *SUMS) & (stages.group[k - 1] == stages.group[k]),
                "same",
            )
        if self.config.single_port:
            resets, drives = (is_one_of(stages.op[timing.read], op) for op in (Op.RESET, Op.DRIVE))
        else:  # all lanes read the source, so what it is chosen by comes from registers
            resets, drives = (stages.op_is(m, timing.read, op) for op in (Op.RESET, Op.DRIVE))
        source = Signal(Source, reset_less=True)
        neg_threshold = Signal(17)
        m.d.sync += [
            source.eq(Mux(same, Source.LAST, Mux(resets, Source.NOTHING, Mux(drives, Source.B, Source.A)))),
            neg_threshold.eq(-self.instruction.gain[:15]),
        ]
        # all lanes read it; there is time before the first STEP
        neg_threshold_late = delayed(m, neg_threshold, self.config.registers.constants, "neg_threshold")
        m.d.comb += [
            control.source.eq(source),
            control.mark.eq(stages.op_valid(m, timing.sum, Op.MARK)),
            control.neg_threshold.eq(neg_threshold_late),
        ]
        if self.config.single_port:
            m.d.comb += [
                control.step.eq(stages.op_is(m, timing.sum, Op.STEP)),
                control.copy.eq(stages.op_is(m, timing.sum, *COPIES)),
            ]
