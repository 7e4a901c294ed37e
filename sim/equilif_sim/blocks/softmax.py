"""Benches for equilif_hdl.blocks.softmax: ``totals`` of Reciprocal, and complete softmaxes in three walks.

State space of Reciprocal: every total from ``first`` up to ``last`` in the ``step`` of the configuration, of
both kinds; the cycles of each are counted.

State space of Softmax: any number of groups; scores of all sizes, equal, near each other, at and beyond
saturation; all, some and no neurons active; every shift, absolute, fine or neither.  Exhaustive: every
exponent (octave and fraction) below the largest one, which is every input of table and shifter, and every
mask of a group's active neurons.  Stalls: gaps between groups, late walks.  Without stalls the cycles are
counted.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.softmax import (
    ABSOLUTE,
    C_MIN,
    FINE,
    FRACTION,
    R_MAX,
    RECIPROCAL,
    SHIFTS,
    TABLE,
    WIDTH,
    exponents,
    softmax,
)
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import EXPONENTIAL, PRODUCT
from equilif_golden.fixed import Raw
from equilif_hdl.blocks.softmax import Reciprocal
from equilif_sim.tools.pipeline import bits
from equilif_sim.tools.run import bench_config, cases, engine_config, is_thorough
from equilif_sim.tools.stream import Pause, drive, never, now, often, reset

#: active lanes
Active = npt.NDArray[np.bool_]


class Outcome(NamedTuple):
    """Outputs of a softmax."""

    #: codes of the third walk
    codes: Raw
    #: e of the second walk, group by group
    exponentials: Raw
    scale: int
    #: cycles from start to the end
    cycles: int


class SoftmaxBench:
    """Driver in place of walker, lanes and multipliers."""

    def __init__(self, dut: Any, config: EngineConfig, *, pause: Pause = never):
        self.dut = dut
        self.config = config
        self.pause = pause
        self.width = config.numerics.accumulator_width - 1
        self.latency = EXPONENTIAL + config.registers.exponential

    async def reset(self) -> None:
        await reset(self.dut, "start", "absolute", "fine", "idle", "valid", "scores", "active")

    def groups(self, scores: Raw, active: Active) -> list[tuple[int, int]]:
        """(scores, active) of every group, packed for the ports."""
        p = self.config.lanes
        return [
            (
                sum(bits(int(v), self.width) << (self.width * j) for j, v in enumerate(n)),
                sum(int(b) << j for j, b in enumerate(a)),
            )
            for n, a in zip(scores.reshape(-1, p), active.reshape(-1, p), strict=True)
        ]

    def offer(self, todo: list[tuple[int, int]]) -> bool:
        """Drive the next group, or noise; returns whether it was a group."""
        offered = bool(todo) and not self.pause()
        if offered:
            scores, active = todo.pop(0)
        else:
            scores = random.getrandbits(self.width * self.config.lanes)
            active = random.getrandbits(self.config.lanes)
        idle = not todo and not offered and not self.pause()
        drive(self.dut, valid=offered, scores=scores, active=active, idle=idle)
        return offered

    async def run(
        self,
        scores: Raw,
        active: Active,
        *,
        absolute: bool = False,
        fine: bool = False,
        walks: tuple[slice, ...] = (slice(None),) * 3,
    ) -> Outcome:
        """``walks``: groups of each walk."""
        d = self.dut
        groups = self.groups(scores, active)
        walk = 0
        todo = list(groups[walks[walk]])
        flight = [0] * (self.latency + 1)  # walk + 1 of the groups in the pipeline
        codes: list[Raw] = [np.zeros(0, np.int64)]
        exponentials: list[Raw] = []
        products: list[Raw] = []
        drive(d, start=1, absolute=absolute, fine=fine, idle=0)
        began = now()
        await RisingEdge(d.clk)
        d.start.value = 0
        while True:
            flight = [walk + 1 if self.offer(todo) else 0, *flight[:-1]]
            await ReadOnly()
            e = np.frombuffer(int(d.e.value).to_bytes(self.config.lanes, "little"), np.uint8).astype(np.int64)
            if flight[self.latency] == 2:
                exponentials.append(e)
            if d.coded.value:
                codes.append(np.minimum(products[-2] >> RECIPROCAL, 255))
            products.append(e * int(d.reciprocal.value) + (1 << (RECIPROCAL - 1)))
            again = int(d.restart_walk.value)
            busy = int(d.busy.value)
            await RisingEdge(d.clk)
            if again:
                walk += 1
                todo = list(groups[walks[walk]])
            if not busy:
                return Outcome(
                    np.concatenate(codes), np.concatenate(exponentials), int(d.scale.value), now() - began
                )


def random_scores(config: EngineConfig, rng: np.random.Generator) -> tuple[Raw, Active]:
    n = config.lanes * int(rng.integers(1, config.state_groups + 1))
    acc = config.numerics.accumulator
    reach = int(rng.choice([2, 100, 1000, 10_000, 1 << 21, acc.hi]))
    scores = rng.integers(-reach, reach + 1, n) + int(rng.integers(acc.lo, acc.hi)) * int(rng.integers(2))
    return np.clip(scores, acc.lo, acc.hi), rng.random(n) < rng.choice([0.0, 0.1, 0.7, 1.0])


@cocotb.test()
@cocotb.parametrize(pause=[never, often])
async def softmaxes(dut: Any, pause: Pause) -> None:
    config = engine_config()
    rng = np.random.default_rng(random.getrandbits(32))
    tb = SoftmaxBench(dut, config, pause=pause)
    await tb.reset()
    for k in range(cases(200)):
        scores, active = random_scores(config, rng)
        shift = int(rng.choice(SHIFTS))
        absolute = bool(rng.integers(2))
        fine = bool(rng.integers(2))
        got = await tb.run(scores >> shift, active, absolute=absolute, fine=fine)
        want = softmax(scores, active, shift=shift, absolute=absolute, fine=fine)
        assert np.array_equal(got.codes, want.code), k
        assert got.scale == want.c - C_MIN, k
        if pause is never:
            # each walk drains: e of the last group, a tree, the total; its code comes two cycles after e
            levels = (config.lanes - 1).bit_length()
            walk = len(scores) // config.lanes + max(levels, PRODUCT) + tb.latency + 1
            assert got.cycles == 3 * walk + Reciprocal.latency + 3


@cocotb.test()
async def every_exponent(dut: Any) -> None:
    """Below the largest octave there are all the others, each with all fractions.

    Not thorough: the octaves near it, the lowest ones, and one in 16 of those between, which have e = 0.
    """
    config = engine_config()
    tb = SoftmaxBench(dut, config)
    await tb.reset()
    limit = 1 << (WIDTH - 1)
    y = np.arange(-limit, limit)
    if not is_thorough():
        octaves = (y + limit) >> FRACTION
        y = y[(octaves % 16 == 0) | (octaves < 4) | (octaves >= octaves[-1] - 19)]
    top = ((limit - 1) >> FRACTION) - (y >> FRACTION)
    walks = (slice(-1, None), slice(None), slice(0, 1))
    got = await tb.run(y, np.ones(len(y), bool), walks=walks)
    want = np.where(top < 8, TABLE[y & ((1 << FRACTION) - 1)] >> np.minimum(top, 8), 0)
    assert np.array_equal(got.exponentials, want)
    assert np.array_equal(exponents(2 * y, shift=1), y)


@cocotb.test()
async def every_mask(dut: Any) -> None:
    config = engine_config()
    rng = np.random.default_rng(random.getrandbits(32))
    tb = SoftmaxBench(dut, config)
    await tb.reset()
    p = config.lanes
    masks = np.arange(1 << p) if p <= (8 if is_thorough() else 4) else rng.integers(0, 1 << p, cases(300))
    for mask in masks:
        scores = rng.integers(-200, 200, p)
        active = (int(mask) >> np.arange(p) & 1).astype(bool)
        got = await tb.run(scores >> 1, active)
        assert np.array_equal(got.codes, softmax(scores, active, shift=1).code), mask


@cocotb.test()
async def totals(dut: Any) -> None:
    raw = bench_config()
    await reset(dut, "start", "absolute", "fine", "total")
    n = 0
    totals = range(max(1 << C_MIN, raw["first"]), raw["last"], raw["step"])
    for total in [0, *totals]:
        for fixed in (0, ABSOLUTE, FINE):
            drive(dut, total=total, absolute=fixed == ABSOLUTE, fine=fixed == FINE, start=1)
            await RisingEdge(dut.clk)
            began = now()
            dut.start.value = 0
            await ReadOnly()
            assert dut.busy.value
            await dut.busy.falling_edge
            assert now() - began == Reciprocal.latency
            await ReadOnly()
            c = fixed or max(total.bit_length() - 1, C_MIN)
            assert int(dut.c.value) == c
            if total:
                r = ((2 << (c + RECIPROCAL)) + total) // (2 * total)
                assert int(dut.r.value) == min(r, R_MAX), (total, fixed)
                n += 1
            await RisingEdge(dut.clk)
    assert n == 3 * len(totals)
