"""equilif_hdl.blocks.plasticity = equilif_golden.blocks.plasticity, for all operands.

In two steps, since SAT solvers fail on products that are associated differently.

1. The block is saturate(w + ((product + um vm) >> shift)), for all inputs: proven, with the
   same multiplication on both sides.
2. With product = gain u+ v+ + dither, um = -gain u- and vm = v-, product + um vm is the number that the
   golden model shifts, and no number exceeds its width: tested for every gain and every u and v.  The two
   summands are independent, so the limits of the sum are the sums of their limits.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from amaranth import Const, Mux, Signal, signed
from amaranth.hdl import Value

from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS, Step, dither, ep_update
from equilif_golden.fixed import DEFAULT, SQ
from equilif_hdl.blocks.plasticity import PRODUCT, Plasticity
from tests.engines import NARROW
from tests.formal.prove import Proof, agree, clipped, needs_prover

pytestmark = needs_prover
GAINS = np.arange(GAIN_MAX + 1)
MAX_DITHER = (1 << max(SHIFTS)) - 1
VALUES = {"rates": np.arange(256), "signed values": np.arange(-128, 256)}


def products(values: np.ndarray) -> np.ndarray:
    """Products for every gain, u and v."""
    return GAINS[:, None, None] * values[:, None] * values


def update(w: Value, product: Value, other: Value, shift: Value, width: int) -> list[Value]:
    """The golden update from the two products."""
    fmt = SQ(width, 0)
    return [clipped(w + ((product + other) >> shift), fmt.lo, fmt.hi)]


@pytest.mark.parametrize("width", [16, 10])
def test_formula_equals_golden_update(width):
    rng = random.Random(width)
    fmt = SQ(width, 0)
    cases = []
    wanted = []
    for _ in range(6000):
        gain = rng.randint(0, GAIN_MAX)
        shift = rng.choice(SHIFTS)
        rates = [[rng.choice([0, 255, rng.randint(0, 255)])] for _ in range(4)]
        if rng.random() < 0.5:
            rates = [[rng.choice([-128, 127, rng.randint(-128, 127)])] for _ in range(4)]
        (up,), (um,), (vp,), (vm,) = rates
        counter = rng.getrandbits(18)
        w = rng.choice([fmt.lo, fmt.hi, rng.randint(fmt.lo, fmt.hi)])
        noise = int(dither(counter, 0, 0)) & ((1 << shift) - 1)
        cases.append({"w": w, "product": gain * up * vp + noise, "other": -gain * um * vm, "shift": shift})
        wanted.append(ep_update([[w]], *rates, step=Step(gain, shift), counter=counter, weight=fmt)[0])
    want = iter(wanted)
    agree(
        lambda w, product, other, shift: update(w, product, other, shift, width),
        {"w": signed(width), "product": signed(PRODUCT), "other": signed(PRODUCT), "shift": 5},
        lambda **case: next(want),
        cases,
    )


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_products_equal_golden(values):
    """Every gain, u and v."""
    wanted = products(values)
    factor = -GAINS[:, None, None] * values[:, None]
    assert np.array_equal(factor * values, -wanted)
    fits(factor, 16)
    fits(np.array([wanted.min(), wanted.max() + MAX_DITHER]), PRODUCT)
    fits(np.array([wanted.min() - wanted.max(), wanted.max() - wanted.min() + MAX_DITHER]), PRODUCT)


def fits(numbers: np.ndarray, width: int) -> None:
    fmt = SQ(width, 0)
    assert fmt.lo <= numbers.min() and numbers.max() <= fmt.hi


REGISTERS = {"SPRAM": (), "DEEP": ("multiplied", "added")}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("signed_values", [False, True], ids=["rates", "signed"])
@pytest.mark.parametrize("registers", REGISTERS.values(), ids=REGISTERS)
@pytest.mark.parametrize("numerics", [DEFAULT, NARROW], ids=["default", "narrow"])
@pytest.mark.parametrize("stores", [False, True], ids=["", "stores"])
def test_plasticity(numerics, registers, signed_values, stores):
    p = Proof("o = ep_update", "equilif_hdl.blocks.plasticity")
    block = Plasticity(numerics, **dict.fromkeys(registers, True), signed_values=signed_values, stores=stores)
    p.free(block)
    store: Value = Const(0)
    if stores:
        store = block.store
        p.assume("held", store == p.before(store))
    values = VALUES["signed values" if signed_values else "rates"]
    um, vm = block.um, block.vm
    p.assume("update shift", block.shift.matches(*SHIFTS))
    p.assume("held", block.shift == p.before(block.shift))
    least, most = int(products(values).min()), int(products(values).max()) + MAX_DITHER
    p.assume("operands", (block.product >= least) & (block.product <= most))
    p.assume("operands", (um >= -GAIN_MAX * 255) & (um <= -GAIN_MAX * int(values.min())))
    p.assume("operands", vm >= int(values.min()))
    ahead = int(block.multiplied)
    product = p.before(block.product, block.latency)
    other = Signal(signed(PRODUCT + 2))
    p.m.d.comb += other.eq(p.before(um, block.latency + ahead) * p.before(vm, block.latency + ahead))
    fmt = numerics.weight
    w = p.before(block.w, int(block.added))[: fmt.width].as_signed()  # a 16-bit port for all widths
    stored = (product + other)[: fmt.width].as_signed()
    updated = update(w, product, other, block.shift, fmt.width)[0]
    p.claim("o", block.o == Mux(store, stored, updated))
    p.cover("at the upper rail", ~store & (block.o == fmt.hi) & (w < fmt.hi))
    p.cover("at the lower rail", ~store & (block.o == fmt.lo) & (w > fmt.lo))
    for shift in SHIFTS:
        p.cover(f"shift {shift}", (block.shift == shift) & (block.o == w + 5))
    p.flushed(block.latency + ahead)
