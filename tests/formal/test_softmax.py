"""equilif_hdl.blocks.softmax: exponentials of a lane, and the division.

The division is proven step by step for every width of the sum.  Let S be the sum,
R_k the remainder and b_k the bit of the quotient in step k = 0 .. n - 1, n = RECIPROCAL + 3.  Proven:

    R_0 = 2**(c - 1)      R_{k+1} = 2 (R_k - b_k S)      0 <= R_k < 2 S      the quotient q collects the b_k

So 2**n R_0 = 2 S q + R_n, that is 2**(c + RECIPROCAL + 1) = S q + R_n / 2 with 0 <= R_n / 2 < S: q is that
power of two by S, rounded down, and (q + 1) >> 1 is the golden R.  Fine codes cut R at R_MAX where S is below
2**(FINE - 1): there the golden R would be above it, and only there.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from amaranth import Array, Const, Mux, Signal, signed
from amaranth.hdl import Value

from equilif_golden.blocks.softmax import (
    ABSOLUTE,
    C_MIN,
    FINE,
    FRACTION,
    R_MAX,
    RECIPROCAL,
    TABLE,
    WIDTH,
    exponents,
)
from equilif_hdl.blocks.softmax import OCTAVE, STEPS, Reciprocal, Softmax
from tests.engines import SINGLE_PORT, WIDE
from tests.formal.prove import Proof, agree, clipped, needs_prover

pytestmark = needs_prover
SOFTMAX = "equilif_hdl.blocks.softmax"
LIMIT = 1 << (WIDTH - 1)


def exponential(near: Value, top: Value, active: Value) -> list[Value]:
    """Exponential; ``top``: largest octave, counted from the smallest."""
    y = clipped(near, -LIMIT, LIMIT - 1)
    down = top - (LIMIT >> FRACTION) - (y >> FRACTION)
    e = Array(Const(int(t), 8) for t in TABLE)[y[:FRACTION]]
    return [Mux(active & (down < 8), e >> Mux(down < 8, down[:3], 0), 0)]


def test_formula_equals_golden_exponential():
    """Against the exponents and the table of equilif_golden.blocks.softmax.softmax."""
    rng = random.Random(1)
    smallest = -LIMIT >> FRACTION
    cases = []
    for _ in range(4000):
        near = rng.choice([rng.randint(-LIMIT, LIMIT - 1), rng.randint(-(1 << 24), (1 << 24) - 1)])
        octave = int(exponents(2 * near, shift=1)) >> FRACTION
        top = min(octave + rng.choice([0, 1, 5, 7, 8, 9, 400]), (LIMIT - 1) >> FRACTION) - smallest
        cases.append({"near": near, "top": top, "active": rng.random() < 0.9})

    def golden(near: int, top: int, active: int) -> list[int]:
        y = int(exponents(2 * near, shift=1))
        down = min(top + smallest - (y >> FRACTION), 8)
        return [int(TABLE[y & ((1 << FRACTION) - 1)]) >> down if active else 0]

    agree(exponential, {"near": signed(25), "top": OCTAVE, "active": 1}, golden, cases)


@pytest.mark.parametrize("config", [replace(SINGLE_PORT, attention=True), WIDE], ids=["SPRAM", "DEEP"])
def test_exponentials(config):
    """A lane of the block for every largest octave."""
    p = Proof("e = TABLE[fraction] >> octaves below the largest", SOFTMAX)
    block = Softmax(config)
    top = p.any(OCTAVE, "top")
    near_now = p.any(signed(block.drive), "near")
    active_now = p.any(1, "active")
    p.m.d.comb += [block.scores.eq(near_now), block.active.eq(active_now)]
    taking = Signal(OCTAVE)
    p.m.d.comb += taking.eq(block._lane(p.m, 0, top))
    near, active = (p.before(x, block.latency) for x in (near_now, active_now))
    then = p.before(top, block.latency - config.registers.exponential)
    octave = (clipped(near, -LIMIT, LIMIT - 1) >> FRACTION) + (LIMIT >> FRACTION)
    p.assume("largest", ~active | (then >= octave))
    e = block.e[:8]
    p.claim("e", e == exponential(near, then, active)[0])
    ago = p.before(taking, block.latency - config.registers.exponential)
    p.claim("octave", ago == Mux(active, octave, 0))
    p.cover("the largest", (e == 255) & (then == octave))
    p.cover("the last octave that counts", (e == 1) & (then == octave + 7))
    p.cover("nothing is left", (e == 0) & active & (then == octave + 8))
    p.cover("saturated", (near > LIMIT) & (e > 128))
    p.flushed(block.latency)


def test_golden_cutoff():
    """Both sides of the limit, for every sum up to and beyond it."""
    for total in range(1 << C_MIN, 1 << FINE):
        q = (1 << (FINE + RECIPROCAL + 1)) // total
        assert ((q + 1) >> 1 > R_MAX) == (total < 1 << (FINE - 1)) or (q + 1) >> 1 == R_MAX


@pytest.mark.sampled(2)
@pytest.mark.parametrize("width", [9, 12, 16, 18, 20])
def test_reciprocal(width):
    p = Proof("R = round(2 ** (c + 13) / total), step by step", SOFTMAX)
    block = Reciprocal(width)
    p.free(block, name="divider")
    total = block.total
    remainder = p.inside("divider.remainder", width + 1)
    quotient = p.inside("divider.quotient", STEPS)
    left = p.inside("divider.left", range(STEPS + 1))
    aligned = p.inside("divider.aligned", 1)
    small = p.inside("divider.small", 1)
    # the request, and cycles since then: STEPS + 1 and more are one
    fixed = Signal()
    fine = Signal()
    begun = Signal()
    late = Signal(range(STEPS + 2))
    with p.m.If(block.start):
        p.m.d.sync += [begun.eq(1), fixed.eq(block.absolute | block.fine), fine.eq(block.fine), late.eq(0)]
    with p.m.Elif(late != STEPS + 1):
        p.m.d.sync += late.eq(late + 1)
    p.assume("total", (total == 0) | (total >= 1 << C_MIN))
    p.assume("total", block.start | ~begun | (total == p.before(total)))
    p.assume("total", ~(block.start & block.busy))
    lead: Value = Const(C_MIN, 5)
    for k in range(C_MIN + 1, width):
        lead = Mux(total >= 1 << k, k, lead)

    def claim(name: str, value: Value, when: Value = begun) -> None:
        p.claim(name, block.start | ~when | value)  # a start may change the total

    cut = fine & (total < 1 << (FINE - 1))
    claim("c", block.c == Mux(fixed, Mux(fine, FINE, ABSOLUTE), lead))
    claim("busy", block.busy == (late <= STEPS))
    claim("first remainder", remainder == (1 << (block.c - 1)[:5])[: width + 1], begun & (late == 1))
    # fine codes: the quotient may be too large; then R is R_MAX and the golden R is clipped
    stepping = begun & (late >= 1) & ~cut & (total != 0)
    claim("remainder", remainder < 2 * total, stepping)
    was, took = p.before(remainder), p.before(quotient)
    bit = was >= total
    stepped = (late == p.before(late) + 1) & (late > 1)
    claim("step", remainder == 2 * (was - Mux(bit, total, 0)), stepping & stepped)
    claim("quotient", quotient == ((took << 1) | bit)[:STEPS], begun & stepped)
    done = begun & (late == STEPS + 1)
    claim("R", block.r == Mux(cut, R_MAX, ((quotient + 1) >> 1)[:15]), done)
    # invariants for the induction
    p.claim("not begun", begun | ~block.busy)
    claim("steps", left == Mux(late == 0, STEPS, STEPS + 1 - late))
    claim("aligned", ~block.busy | (aligned == (late != 0)))
    claim("small", small == cut)
    p.claim("late", late <= STEPS + 1)
    p.cover("a quotient", done & (block.r == 5461) & ~fixed)
    p.cover("cut", done & cut & (block.r == R_MAX))
    p.induced(2, reach=STEPS + 6)
