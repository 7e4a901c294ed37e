"""Bench for equilif_hdl.engine.lane.Lane: every output against golden, in its stage of
equilif_hdl.engine.stages.Timing.

State space: operands over their formats and near both limits; sums that wrap; all sources of a sum; all
thresholds, leaks, shifts and gains.  Unused inputs are random.  Stalls: random idle cycles.  The cycle of
``feed`` is that of stage 0, so that a stage is a latency.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np

from equilif_golden.blocks.error import gate_shift
from equilif_golden.blocks.lif import LEAKS, lif_step
from equilif_golden.blocks.nudge import nudge
from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_MASK,
    DITHER_UPDATE,
    GAIN_MAX,
    SHIFTS,
    Step,
    ep_update,
)
from equilif_golden.blocks.rate import RATE_SHIFTS, measure, moved
from equilif_golden.blocks.relay import relay
from equilif_golden.blocks.softmax import RECIPROCAL
from equilif_golden.blocks.synapse import forward_values
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import THRESHOLD_MAX, Instruction, Op, RelayMode, SourceMode
from equilif_golden.fixed import Fixed, wrap
from equilif_hdl.engine.control import Source
from equilif_hdl.engine.stages import Timing
from equilif_hdl.engine.walk import ONE
from equilif_sim.blocks.plasticity import update_near
from equilif_sim.tools.pipeline import UNSEEN, PipelineBench, bits
from equilif_sim.tools.run import bench_config, cases, engine_config


def anywhere(fmt: Fixed) -> int:
    """A random code of the format, sometimes at a limit or near 0."""
    inside = random.randint(fmt.lo, fmt.hi)
    return random.choice([fmt.lo, fmt.hi, random.randint(-2, 2), inside, inside, inside])


def wrapped(value: int, fmt: Fixed) -> int:
    return int(wrap(np.array(value), fmt))


class LaneBench:
    """``outputs``: compared in stage ``stage``.  ``moved``: inputs in another stage than usual."""

    def __init__(self, dut: Any, *outputs: str, stage: str, moved: Mapping[str, str] | None = None):
        raw = bench_config()
        self.config = engine_config(raw["engine"])
        self.index = int(raw["index"])
        self.dut = dut
        self.timing = Timing(self.config)
        self.n = 0
        stages = self._stages() | dict(moved or {})
        if self.config.single_port and "total" in outputs:  # only LEARN holds its noise
            stages["control__load_noise"] = "factors"
        self.pipeline = PipelineBench(
            dut,
            inputs=(),
            later={name: getattr(self.timing, when) for name, when in stages.items()},
            outputs=outputs,
            latency=getattr(self.timing, stage),
        )

    def _stages(self) -> dict[str, str]:
        """The stage of every input that is not held."""
        config = self.config
        stages = {
            **dict.fromkeys(("word", "spike"), "factors"),
            **{f"control__{name}": "factors" for name in ("use_weight", "up", "use_scale", "scale", "nudge")},
            "dither": "noise",
            "row": "noise_lookup",
            "control__rounded": "factors",
            "control__gain_um": "minus_product",
            **{f"control__{name}": "sum" for name in ("source", "mark")},
            **dict.fromkeys(("a", "b", "q"), "sum"),
            "weight": "weight",
        }
        if config.single_port:
            stages |= {"control__load_noise": "noise", "control__load_minus": "factors"}
            stages |= {"control__step": "sum", "control__copy": "sum"}
        if config.early_exit:
            stages |= {"v_plus": "rate"}
        if config.attention:
            stages |= {"exponential": "factors"}
        if config.errors:
            stages |= {"control__static": "factors"}
        return stages

    async def reset(self) -> None:
        await self.pipeline.reset()
        await self.hold(control__noise_mask=0, control__neg_threshold=0)
        if not self.config.single_port:
            await self.hold(control__threshold=0, control__leak=0)
        if self.config.attention:
            await self.hold(control__shift_minus_1=0, control__coding=0)

    async def instruction(self, op: Op, **fields: int) -> None:
        """Set the instruction, after the pipeline is drained."""
        await self.pipeline.drain()
        await self.hold(instruction=Instruction(op=op, **fields).encode())

    async def hold(self, **values: int) -> None:
        await self.pipeline.hold(**values)

    async def feed(self, fields: Mapping[str, int], *expected: int, idle: bool = True) -> None:
        """Feed a command; without ``expected`` its outputs are not compared.  ``idle``: a gap may follow."""
        unasked = {name: random.getrandbits(len(getattr(self.dut, name))) for name in self.pipeline.delays}
        await self.pipeline.feed({**unasked, **fields}, expected or UNSEEN)
        self.n += bool(expected)
        if idle and random.random() < 0.2:
            await self.pipeline.feed()

    async def finish(self) -> None:
        assert self.n
        await self.pipeline.finish(self.n)

    def sums(self) -> dict[str, int]:
        """Control signals of a command that adds its product."""
        control = {"control__use_weight": 0, "control__use_scale": 0, "control__nudge": 0}
        if self.config.single_port:
            control |= {"control__step": 0, "control__copy": 0, "control__load_noise": 1}
        return control | self.not_errors()

    def not_errors(self) -> dict[str, int]:
        """Control signals of a command without rounding, and with spikes."""
        return {"control__rounded": 0, **({"control__static": 0} if self.config.errors else {})}


@cocotb.test()
async def sums_of_weights(dut: Any) -> None:
    """DRIVE and GATHER: weight x value or feedback scale, plus A, B, the previous sum, or nothing."""
    tb = LaneBench(dut, "total", stage="sum")
    await tb.reset()
    await tb.instruction(Op.DRIVE)
    fmt = tb.config.numerics.accumulator
    last: int | None = None  # the sum of the previous cycle, if known
    sources = [source for source in Source if not tb.config.single_port or source != Source.LAST]
    seen = set()
    for _ in range(cases(1500)):
        source = random.choice([s for s in sources if last is not None or s != Source.LAST])
        old = {Source.A: anywhere(fmt), Source.B: anywhere(fmt), Source.LAST: last or 0, Source.NOTHING: 0}
        weight = anywhere(tb.config.numerics.weight)
        value = random.choice([*(ONE >> k for k in range(4)), 0, 255, random.randrange(256)])
        rounded = random.random() < 0.5
        w, v = np.array([[weight]]), np.array([value])
        product = int(forward_values(w, v, rounded=rounded)[0])
        total = wrapped(old[source] + product, fmt)
        idle = random.random() < 0.2
        fields = tb.sums() | {"word": weight, "a": old[Source.A], "b": old[Source.B]}
        fields |= {
            "control__use_weight": 1,
            "control__use_scale": 1,
            "control__scale": value,
            "control__source": source,
        }
        if rounded:
            fields["control__rounded"] = 1
        await tb.feed(fields, bits(total, fmt.width), idle=False)
        last = None if idle else total
        seen.add(source)
        if idle:
            await tb.pipeline.feed()
    assert seen == set(sources)
    await tb.finish()


@cocotb.test()
async def constants_and_copies(dut: Any) -> None:
    """RESET: A or B is a constant; SAVE and RESTORE: A as it is."""
    tb = LaneBench(dut, "total", stage="sum")
    await tb.reset()
    await tb.instruction(Op.RESET)
    fmt = tb.config.numerics.accumulator
    for k in range(cases(400)):
        operand = random.randint(-(1 << 15), (1 << 15) - 1)
        a = anywhere(fmt)
        copies = k % 2
        fields = tb.sums() | {"a": a, "control__up": operand, "control__use_scale": 1, "control__scale": ONE}
        if not copies:
            fields |= {"control__source": Source.NOTHING}
        elif not tb.config.single_port:
            fields |= {"control__source": Source.A, "control__scale": 0}
        else:
            fields |= {"control__source": Source.A, "control__copy": 1}
        await tb.feed(fields, bits(a if copies else operand, fmt.width))
    await tb.finish()


@cocotb.test()
async def nudges(dut: Any) -> None:
    tb = LaneBench(dut, "total", stage="sum")
    await tb.reset()
    await tb.instruction(Op.NUDGE)
    fmt = tb.config.numerics.accumulator
    for _ in range(cases(600)):
        a = anywhere(fmt)
        strength = random.randint(-(1 << 15), (1 << 15) - 1)
        target = random.choice([0, 255, random.randrange(256)])
        spike = random.randrange(2)
        static = tb.config.errors and random.random() < 0.5
        total = wrapped(a + int(nudge(target, spike * (not static), strength=strength)), fmt)
        fields = {"control__nudge": 1, "control__up": strength, "word": target | random.getrandbits(8) << 8}
        fields |= {"spike": spike, "control__source": Source.A, "a": a}
        if static:
            fields["control__static"] = 1
        await tb.feed(tb.sums() | fields, bits(total, fmt.width))
    await tb.finish()


@cocotb.test()
async def steps(dut: Any) -> None:
    """Membrane, spike and charge of A + B."""
    later = {"q": "step", "control__mark": "step"}
    tb = LaneBench(dut, "membrane", "fired", "charge", stage="step", moved=later)
    await tb.reset()
    fmt = tb.config.numerics.accumulator
    charge = tb.config.numerics.charge
    for leak in LEAKS:
        for threshold in (1 << k for k in range(0, THRESHOLD_MAX.bit_length(), 2)):
            await tb.instruction(Op.STEP, gain=threshold, shift=leak)
            await tb.hold(control__neg_threshold=-threshold)
            if not tb.config.single_port:
                await tb.hold(control__threshold=threshold, control__leak=leak)
            for _ in range(20):
                a = random.choice([anywhere(fmt), random.randint(-3 * threshold, 3 * threshold)])
                b = random.choice([anywhere(fmt), 0, threshold - a])
                b = wrapped(b, fmt)
                q = anywhere(charge)
                v, spike = lif_step(wrapped(a + b, fmt), 0, threshold=threshold, leak=leak)
                charged = wrapped(q + threshold * int(spike), charge)
                fields = {"a": a, "b": b, "q": q, "control__source": Source.A, "control__mark": 0}
                if tb.config.single_port:
                    fields |= {"control__step": 1}
                await tb.feed(fields, bits(int(v), 16), int(spike), bits(charged, charge.width))
    await tb.finish()


@cocotb.test()
async def marks(dut: Any) -> None:
    """A charge starts at -A."""
    tb = LaneBench(dut, "charge", stage="sum")
    await tb.reset()
    await tb.instruction(Op.MARK)
    charge = tb.config.numerics.charge
    for _ in range(cases(200)):
        a = anywhere(tb.config.numerics.accumulator)
        await tb.feed({"a": a, "control__mark": 1}, bits(wrapped(-a, charge), charge.width))
    await tb.finish()


def charge_near(total: int, v: int, config: EngineConfig) -> int:
    """The charge whose sum with a membrane is ``total``."""
    return wrapped(total - v, config.numerics.charge)


@cocotb.test()
async def rates(dut: Any) -> None:
    tb = LaneBench(dut, "rate", stage="rate")
    await tb.reset()
    charge = tb.config.numerics.charge
    for shift in RATE_SHIFTS:
        await tb.instruction(Op.MEASURE, shift=shift)
        for _ in range(cases(60)):
            v = anywhere(charge)
            total = random.choice([anywhere(charge), random.randint(-3, (256 << shift) + 3)])
            q = charge_near(total, v, tb.config)
            want = measure(wrapped(q + v, charge), 0, shift=shift)
            await tb.feed({"a": v, "q": q}, int(want))
    await tb.finish()


@cocotb.test()
async def moves(dut: Any) -> None:
    """With ``early_exit``: the change of a rate."""
    config = engine_config(bench_config()["engine"])
    if not config.early_exit:
        return
    tb = LaneBench(dut, "status__moved", stage="moved")
    await tb.reset()
    shift = RATE_SHIFTS[0]
    seen = set()
    for tolerance in (0, 1, 16, 127, 255):
        await tb.instruction(Op.MEASURE, shift=shift, gain=tolerance)
        for _ in range(cases(100)):
            rate = random.randrange(256)
            near = rate + random.choice([-1, 1]) * (tolerance + random.choice([0, 1]))
            before = near if 0 <= near < 256 else random.randrange(256)
            changed = bool(moved(rate, before, tolerance=tolerance))
            seen.add((tolerance, changed))
            await tb.feed({"a": 0, "q": rate << shift, "v_plus": before}, int(changed))
    assert len(seen) == 9  # the largest change is 255
    await tb.finish()


def two_rates(lo: int, hi: int) -> list[int]:
    """Rates of a neuron at +beta and at -beta."""
    return [random.choice([lo, hi, random.randint(lo, hi)]) for _ in range(2)]


@cocotb.test()
async def updates(dut: Any) -> None:
    """LEARN with dither; with single-port weights every other cycle, and noise in between."""
    tb = LaneBench(dut, "updated", stage="learn")
    await tb.reset()
    config = tb.config
    p = config.lanes
    weight = config.numerics.weight
    for shift in SHIFTS:
        signed = int(config.attention and random.randrange(2))
        await tb.instruction(Op.LEARN, shift=shift, mode=SourceMode.SIGNED_DST if signed else 0)
        await tb.hold(control__noise_mask=(1 << shift) - 1)
        lo, hi = (-128, 127) if signed else (0, 255)
        between = {"control__load_noise": 0, "control__load_minus": 0} | tb.not_errors()
        if config.single_port:
            await tb.feed(between, idle=not config.errors)
        for _ in range(cases(300)):
            gain = random.randint(0, GAIN_MAX)
            row = random.randrange(p)
            column = tb.index ^ row
            w = random.choice(
                [anywhere(weight), weight.lo + random.randrange(9), weight.hi - random.randrange(9)]
            )
            up, um = two_rates(lo, hi)
            vp, vm = two_rates(lo, hi)
            difference = gain * (up * vp - um * vm)
            near = update_near(difference, shift, column * DITHER_COLUMN)
            update = random.choice([random.getrandbits(18), near])
            others = np.zeros((1, p), np.int64)
            want = ep_update(
                others + w * (np.arange(p) == column),
                [up],
                [um],
                others[0] + vp,
                others[0] + vm,
                step=Step(gain, shift),
                counter=update,
                weight=weight,
            )[0, column]
            fields = {"control__use_weight": 0, "control__use_scale": 0, "control__nudge": 0}
            fields |= {"word": (vp & 255) | (vm & 255) << 8, "control__up": gain * up, "weight": w}
            fields |= {"control__gain_um": -gain * um, "row": row}
            fields |= {"dither": update * DITHER_UPDATE & DITHER_MASK} | tb.not_errors()
            if config.single_port:
                fields |= {"control__load_noise": 1, "control__load_minus": 1}
            await tb.feed(fields, bits(int(want), 16), idle=not config.single_port)
            if config.single_port:
                await tb.feed(between, idle=not config.errors)
    await tb.finish()


@cocotb.test()
async def relays(dut: Any) -> None:
    """With ``attention``: B as a signed value."""
    config = engine_config(bench_config()["engine"])
    if not config.attention:
        return
    tb = LaneBench(dut, "relayed", stage="relay")
    await tb.reset()
    fmt = config.numerics.accumulator
    for shift in range(1, 33):
        await tb.instruction(Op.RELAY)
        await tb.hold(control__shift_minus_1=shift - 1)
        for _ in range(20):
            b = random.choice([anywhere(fmt), random.randint(-300, 300)])
            await tb.feed({"b": b}, bits(int(relay(b, shift=shift)), 8))
    await tb.finish()


@cocotb.test()
async def gated_relays(dut: Any) -> None:
    """With ``errors``: the value of B where the rate is neither 0 nor 255."""
    config = engine_config(bench_config()["engine"])
    if not (config.attention and config.errors):
        return
    tb = LaneBench(dut, "relayed", stage="relay")
    await tb.reset()
    fmt = config.numerics.accumulator
    charge = config.numerics.charge
    seen = set()
    for operand in range(16):
        shift = gate_shift(operand)
        await tb.instruction(Op.RELAY, gain=operand, mode=RelayMode.GATED)
        await tb.hold(control__shift_minus_1=operand)
        for _ in range(40):
            b = random.choice([anywhere(fmt), random.randint(-300, 300)])
            v = anywhere(charge)
            total = random.choice([anywhere(charge), random.randint(-3, (256 << shift) + 3)])
            q = charge_near(total, v, config)
            rate = int(measure(wrapped(q + v, charge), 0, shift=shift))
            value = int(relay(b, shift=operand + 1)) if 0 < rate < 255 else 0
            seen.add(rate in (0, 255))
            await tb.feed({"a": v, "b": b, "q": q}, bits(value, 8))
    assert seen == {False, True}
    await tb.finish()


@cocotb.test()
async def codes(dut: Any) -> None:
    """With ``attention``: e x R of SOFTMAX, rounded."""
    config = engine_config(bench_config()["engine"])
    if not config.attention:
        return
    tb = LaneBench(dut, "code", stage="sum")
    await tb.reset()
    await tb.instruction(Op.SOFTMAX)
    await tb.hold(control__coding=1)
    half = 1 << (RECIPROCAL - 1)
    # with an empty noise mask, the noise is the half that rounds
    draws = {"control__load_noise": 1} if config.single_port else {}
    for _ in range(cases(400)):
        e = random.choice([0, 1, 255, random.randrange(256)])
        reciprocal = random.randint(1 << (RECIPROCAL - 1), (2 << RECIPROCAL) - 1)
        code = min(e * reciprocal + half >> RECIPROCAL, 255)
        fields = {"exponential": e, "control__up": reciprocal, "control__use_weight": 0}
        await tb.feed(fields | draws | tb.not_errors(), code)
    await tb.finish()
