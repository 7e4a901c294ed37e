"""equilif_hdl.blocks.lif = equilif_golden.blocks.lif, for all sums, thresholds and leaks."""

from __future__ import annotations

import random

import pytest
from amaranth import Mux, signed
from amaranth.hdl import Value

from equilif_golden.blocks.lif import LEAKS, lif_step
from equilif_golden.engine.isa import THRESHOLD_MAX
from equilif_golden.fixed import DEFAULT, MAX_ACCUMULATOR, Numerics
from equilif_hdl.blocks.lif import Lif
from tests.engines import NARROW
from tests.formal.prove import Proof, agree, needs_prover

pytestmark = needs_prover
THRESHOLDS = [1 << k for k in range(THRESHOLD_MAX.bit_length())]
WIDEST = Numerics(accumulator_width=MAX_ACCUMULATOR, charge_width=20)
EACH = [DEFAULT, NARROW, WIDEST]
NAMES = ["default", "narrow", "widest"]


def step(total: Value, threshold: Value, leak: Value) -> list[Value]:
    """lif_step of the sum of membrane and drive, with comparators and a subtraction."""
    u = Mux(total < -threshold, -threshold, Mux(total > 2 * threshold, 2 * threshold, total))
    spike = u >= threshold
    kept = u - Mux(spike, threshold, 0)
    return [kept - Mux(leak == 0, 0, kept >> leak), spike]


@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_formula_equals_golden_step(numerics):
    acc = numerics.accumulator
    rng = random.Random(1)
    cases = []
    for leak in LEAKS:
        for threshold in THRESHOLDS:
            near = [k * threshold + d for k in (-2, -1, 0, 1, 2) for d in (-1, 0, 1)]
            near += [rng.randint(-3 * threshold, 3 * threshold) for _ in range(10)]
            some = [*near, acc.lo, acc.hi, rng.randint(acc.lo, acc.hi)]
            cases += [
                {"total": t, "threshold": threshold, "leak": leak} for t in some if acc.lo <= t <= acc.hi
            ]
    agree(
        step,
        {"total": signed(acc.width), "threshold": 15, "leak": 4},
        lambda total, threshold, leak: lif_step(total, 0, threshold=threshold, leak=leak),
        cases,
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize("registered", [False, True], ids=["plain", "registered"])
@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_lif(numerics, registered):
    p = Proof("v and spike = lif_step", "equilif_hdl.blocks.lif")
    lif = Lif(numerics, registered=registered)
    p.free(lif, but=("neg_threshold",))
    threshold, leak = lif.threshold, lif.leak
    p.m.d.comb += lif.neg_threshold.eq(-threshold)
    p.assume("threshold", (threshold != 0) & ((threshold & (threshold - 1)) == 0))
    p.assume("leak", leak.matches(*LEAKS))
    p.assume("held", (leak == p.before(leak)) & (threshold == p.before(threshold)))
    total = p.before(lif.total, lif.latency)
    v, spike = step(total, threshold, leak)
    p.claim("membrane", lif.v == v)
    p.claim("spike", lif.spike == spike)
    p.cover("a spike, and what is above the threshold is kept", lif.spike & (lif.v == 5))
    p.cover("the largest sum", total == numerics.accumulator.hi)
    p.cover("floor", (total == numerics.accumulator.lo) & (lif.v < 0) & (leak == 5))
    for k in LEAKS:
        p.cover(f"leak {k}", (leak == k) & (lif.v > 0) & ~lif.spike)
    p.flushed(lif.latency)
