"""equilif_hdl.blocks.rate = equilif_golden.blocks.rate, for all charges, membranes and shifts."""

from __future__ import annotations

import random

import pytest
from amaranth import Mux, signed
from amaranth.hdl import Value

from equilif_golden.blocks.rate import RATE_SHIFTS, measure, moved
from equilif_golden.fixed import DEFAULT, Numerics
from equilif_hdl.blocks.rate import Measure, RateChange
from tests.engines import NARROW
from tests.formal.prove import Proof, agree, needs_prover

pytestmark = needs_prover
RATE = "equilif_hdl.blocks.rate"
EACH = [
    DEFAULT,
    NARROW,
    Numerics(accumulator_width=32, charge_width=32),
    Numerics(fraction=4, weight_width=4, charge_width=11),
]
NAMES = ["default", "narrow", "widest", "narrowest"]


def rate(charge: Value, v: Value, shift: Value) -> list[Value]:
    """``measure`` with a sum as wide as the charge, as in the memories."""
    total = (charge + v)[: len(charge)].as_signed() >> shift
    return [Mux(total < 0, 0, Mux(total > 255, 255, total))]


def wrapped(total: int, width: int) -> int:
    return (total + (1 << (width - 1))) % (1 << width) - (1 << (width - 1))


@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_formula_equals_golden_measure(numerics):
    fmt = numerics.charge
    rng = random.Random(1)
    cases = []
    for shift in RATE_SHIFTS:
        for k in range(200):
            v = rng.randint(fmt.lo, fmt.hi)
            total = rng.choice([fmt.lo, fmt.hi, rng.randint(-1, 257) << shift, rng.randint(fmt.lo, fmt.hi)])
            cases.append({"charge": wrapped(total - v - k % 2, fmt.width), "v": v, "shift": shift})
    agree(
        rate,
        {"charge": signed(fmt.width), "v": signed(fmt.width), "shift": 4},
        lambda charge, v, shift: [measure(wrapped(charge + v, fmt.width), 0, shift=shift)],
        cases,
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("registered", [False, True], ids=["plain", "registered"])
@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_measure(numerics, registered):
    p = Proof("rate = measure", RATE)
    block = Measure(numerics, registered=registered)
    p.free(block)
    p.assume("rate shift", (block.shift >= RATE_SHIFTS[0]) & (block.shift <= RATE_SHIFTS[-1]))
    p.assume("held", block.shift == p.before(block.shift))
    charge, v = (p.before(x, block.latency) for x in (block.charge, block.v))
    p.claim("rate", block.rate == rate(charge, v, block.shift)[0])
    for shift in RATE_SHIFTS:
        p.cover(f"shift {shift}", (block.shift == shift) & (block.rate == 1))
    p.cover("negative", (charge + v < 0) & (block.rate == 0))
    p.cover("too large", block.rate == 255)
    p.flushed(block.latency)


def test_formula_equals_golden_moved():
    some = (0, 1, 127, 128, 254, 255)
    tolerances = (0, 1, 127, 253, 254, 255, 256, 65535)
    cases = [{"rate": a, "before": b, "tolerance": t} for a in some for b in some for t in tolerances]
    agree(
        changed,
        {"rate": 8, "before": 8, "tolerance": 16},
        lambda rate, before, tolerance: [moved(rate, before, tolerance=tolerance)],
        cases,
    )


def changed(rate: Value, before: Value, tolerance: Value) -> list[Value]:
    return [Mux(rate > before, rate - before, before - rate) > tolerance]


def test_moved():
    p = Proof("changed = moved", RATE)
    block = RateChange()
    p.free(block)
    p.assume("held", block.tolerance == p.before(block.tolerance))
    rate, before = (p.before(x, block.latency) for x in (block.rate, block.before))
    p.claim("changed", block.changed == changed(rate, before, block.tolerance)[0])
    p.cover("by most", block.changed & (block.tolerance == 254))
    p.cover("never", ~block.changed & (block.tolerance == 255) & (rate == 255) & (before == 0))
    p.flushed(block.latency)
