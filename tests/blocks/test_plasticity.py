"""Learning rule.

The dither is a Weyl sequence: a run over its period proves that rounding is unbiased.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_MASK,
    DITHER_ROW,
    DITHER_UPDATE,
    DITHER_WIDTH,
    GAIN_MAX,
    SHIFTS,
    Step,
    dither,
    ep_update,
    learning_step,
)
from equilif_golden.fixed import DEFAULT, SQ
from equilif_hdl.blocks.plasticity import Plasticity
from equilif_sim.tools.run import simulate

WEIGHT = SQ(4, 12)
RATE = st.integers(0, 255)


@pytest.mark.parametrize("fraction", [4, 8, 12, 13])
def test_learning_step_is_the_nearest_representable_rate(fraction):
    codes = {Step(g, s).rate(fraction): Step(g, s) for s in SHIFTS for g in range(GAIN_MAX + 1)}
    rates = np.array(sorted(codes))
    for rate in rates:
        assert learning_step(rate, fraction=fraction).rate(fraction) == rate
    for rate in np.random.default_rng(fraction).uniform(0, rates[-1], 500):
        assert abs(learning_step(rate, fraction=fraction).rate(fraction) - rate) == np.abs(rates - rate).min()


def test_learning_step_uses_the_finest_gain_and_freezes_at_zero():
    assert learning_step(0.0, fraction=12).gain == 0
    finest, next_finest = SHIFTS[-1], SHIFTS[-2]
    assert learning_step(Step(GAIN_MAX, finest).rate(12), fraction=12) == (GAIN_MAX, finest)
    assert learning_step(Step(GAIN_MAX + 1, finest).rate(12), fraction=12) == (
        (GAIN_MAX + 1) >> (finest - next_finest),
        next_finest,
    )


@pytest.mark.parametrize("rate", [-0.1, np.nan, np.inf])
def test_learning_step_rejects_invalid_rates(rate):
    with pytest.raises(ValueError, match="finite number"):
        learning_step(rate, fraction=12)


def test_learning_step_rejects_large_rates():
    largest = Step(GAIN_MAX, SHIFTS[0]).rate(12)
    assert learning_step(largest, fraction=12) == (GAIN_MAX, SHIFTS[0])
    with pytest.raises(ValueError, match=f"largest.*{largest:g}"):
        learning_step(Step(GAIN_MAX + 1, SHIFTS[0]).rate(12), fraction=12)


@pytest.mark.parametrize("constant", [DITHER_UPDATE, DITHER_ROW, DITHER_COLUMN])
def test_dither_visits_every_value_once(constant):
    """Odd steps generate the integers modulo 2**DITHER_WIDTH, hence modulo every 2**shift up to it."""
    assert len(np.unique(np.arange(DITHER_MASK + 1) * constant & DITHER_MASK)) == DITHER_MASK + 1


def test_dither_is_the_sum_of_its_three_sequences():
    assert dither(0, 0, 0) == 0
    assert (
        dither(2**32 - 1, 1023, 4095)
        == ((2**32 - 1) * DITHER_UPDATE + 1023 * DITHER_ROW + 4095 * DITHER_COLUMN) % 2**DITHER_WIDTH
    )


def drift(difference: int, step: Step, start: int, row: int, column: int, every: int) -> Fraction:
    """Mean change of a weight per update when the same difference comes at every ``every``-th counter, over
    the whole period.
    """
    counters = start + every * np.arange(1 << step.shift)
    d = dither(0, row, column) + counters * DITHER_UPDATE & ((1 << step.shift) - 1)
    return Fraction(int(((step.gain * difference + d) >> step.shift).sum()), 1 << step.shift)


@settings(max_examples=40, deadline=None)
@given(
    RATE,
    RATE,
    RATE,
    RATE,
    st.sampled_from(SHIFTS[:2]),
    st.integers(1, GAIN_MAX),
    st.integers(0, 2**32 - 1),
    st.integers(0, 999),
)
def test_stochastic_rounding_is_unbiased(up, um, vp, vm, shift, gain, start, row):
    """Over 2**shift consecutive updates a weight moves by the exact sum:  sum_d floor((D + d) / 2**s), d = 0
    .. 2**s - 1, is D (Hermite).

    A synapse that shares the counter with others sees only every k-th one; with 2**a the power of two in
    k its dither visits every 2**a-th value, which can cost 2**a - 1 steps of the 2**shift that make one
    code of the weight, never more.
    """
    step, exact = Step(gain, shift), Fraction(gain * (up * vp - um * vm), 1 << shift)
    assert drift(up * vp - um * vm, step, start, row, 7, every=1) == exact
    assert drift(up * vp - um * vm, step, start, row, 7, every=3) == exact
    for every, power in ((2, 2), (4, 4), (6, 2)):
        assert abs(drift(up * vp - um * vm, step, start, row, 7, every) - exact) <= Fraction(
            power - 1, 1 << shift
        )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, GAIN_MAX), st.sampled_from(SHIFTS), st.integers(0, 2**32 - 1))
def test_update_is_the_exact_difference_within_one_code(data, gain, shift, counter):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    n, m = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    up, um, vp, vm = (rng.integers(0, 256, k) for k in (n, n, m, m))
    w = rng.integers(-20000, 20000, (n, m))
    moved = ep_update(w, up, um, vp, vm, step=Step(gain, shift), counter=counter, weight=WEIGHT) - w
    for i in range(n):
        for k in range(m):
            difference = gain * int(up[i] * vp[k] - um[i] * vm[k])
            assert abs(int(moved[i, k]) - Fraction(difference, 1 << shift)) < 1
            d = int(dither(counter, i, k)) % (1 << shift)
            assert moved[i, k] == (difference + d) // (1 << shift)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(RATE, min_size=1, max_size=6),
    st.lists(RATE, min_size=1, max_size=6),
    st.sampled_from(SHIFTS),
    st.integers(0, 2**32 - 1),
)
def test_zero_difference_leaves_weight(u, v, shift, counter):
    w = np.arange(len(u) * len(v)).reshape(len(u), len(v))
    assert (ep_update(w, u, u, v, v, step=Step(GAIN_MAX, shift), counter=counter, weight=WEIGHT) == w).all()


def test_weights_saturate():
    full = {"step": Step(GAIN_MAX, SHIFTS[0]), "counter": 0, "weight": WEIGHT}
    assert ep_update([[WEIGHT.hi - 1]], [255], [0], [255], [0], **full) == WEIGHT.hi
    assert ep_update([[WEIGHT.lo + 1]], [0], [255], [0], [255], **full) == WEIGHT.lo


# -- RTL: equals the golden function, exactly, under stalls; its bench counts cycles ---------------
@pytest.mark.parametrize("registers", [(), ("multiplied", "added")], ids=["SPRAM", "DEEP"])
def test_rtl(registers, tmp_path):
    block = Plasticity(DEFAULT, **dict.fromkeys(registers, True), signed_values=bool(registers))
    assert simulate(
        block,
        "equilif_sim.blocks.plasticity",
        tmp_path,
        simulator="icarus",
        config={
            **dataclasses.asdict(DEFAULT),
            "signed": bool(registers),
            "latency": block.latency,
            "multiplied": block.multiplied,
        },
    )
