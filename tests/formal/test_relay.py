"""equilif_hdl.blocks.relay = equilif_golden.blocks.relay, for all drives and shifts."""

from __future__ import annotations

import random

import pytest
from amaranth import signed
from amaranth.hdl import Value

from equilif_golden.blocks.relay import SIGNED, relay
from equilif_golden.blocks.softmax import SHIFTS
from equilif_golden.fixed import DEFAULT, MAX_ACCUMULATOR, Numerics
from equilif_hdl.blocks.relay import Relay
from tests.engines import NARROW
from tests.formal.prove import Proof, agree, clipped, needs_prover

pytestmark = needs_prover
EACH = [
    DEFAULT,
    NARROW,
    Numerics(accumulator_width=MAX_ACCUMULATOR),
    Numerics(fraction=4, weight_width=4, accumulator_width=9),
]
NAMES = ["default", "narrow", "widest", "narrowest"]


def relayed(drive: Value, shift: Value) -> list[Value]:
    return [clipped(drive >> shift, SIGNED.lo, SIGNED.hi)]


@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_formula_equals_golden_relay(numerics):
    acc = numerics.accumulator
    rng = random.Random(1)
    cases = [
        {"drive": drive, "shift": shift}
        for shift in range(1, 33)
        for base in (acc.lo, acc.hi, 0, 128 << shift, -128 << shift, rng.randint(acc.lo, acc.hi))
        for drive in (base - 1, base, base + 1)
        if acc.lo <= drive <= acc.hi
    ]
    golden = lambda drive, shift: [relay(drive, shift=shift)]  # noqa: E731
    agree(relayed, {"drive": signed(acc.width), "shift": 6}, golden, cases)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("numerics", EACH, ids=NAMES)
def test_relay(numerics):
    p = Proof("value = relay, prescaled = drive >> 1 .. 4", "equilif_hdl.blocks.relay")
    block = Relay(numerics)
    p.free(block)
    p.assume("held", block.shift_minus_1 == p.before(block.shift_minus_1))
    drive = p.before(block.drive, block.latency)
    p.claim("value", block.value == relayed(drive, block.shift_minus_1 + 1)[0])
    just_before = p.before(block.drive)
    for k in SHIFTS:
        p.claim(f"prescaled {k}", (block.shift_minus_1[:2] != k - 1) | (block.prescaled == just_before >> k))
    p.cover("clips upwards", (block.value == 127) & (drive == numerics.accumulator.hi))
    p.cover("clips downwards", (block.value == -128) & (drive == numerics.accumulator.lo))
    p.cover("a large shift", (block.shift_minus_1 == 20) & (block.value == -1))
    p.flushed(block.latency)
