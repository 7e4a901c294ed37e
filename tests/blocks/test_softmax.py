"""Integer softmax against its definition and against real arithmetic.

The bound, for N active neurons of which L lie below the octave of the largest score; no exponent saturates:

    | code / 2**c - p |  <=  tau + F + 2**-c (1/2 + 255 / 2**14)

    p     softmax(k z), k = 2**(fraction - 6 - shift) ln 2, z exact
    tau   exponents are cut to 6 bits and the table rounds; both multiply each 2**x by a factor in [lo, hi].
          With rho = hi / lo no p, and no sum of p over any set of neurons, moves by more than
          max over p of  p rho / (p rho + 1 - p) - p  =  (sqrt rho - 1) / (sqrt rho + 1)
    F     table >> octaves loses less than 1 of a sum S >= 129, all together Lambda < L (what lies 8 octaves
          down and is dropped is below 1 too):
          e / S - u / U = (u Lambda / U - lambda) / S, which is at most Lambda / (Lambda + S) <= L / (L + 128)
    rest  the reciprocal is off by at most 1/2 times e <= 255, 13 bits down; the product is rounded to the
          nearest code

tau is 0.4 %.  F is the cost of 8-bit exponentials when many neurons lie just below 1/128 of the largest: each
is dropped, but their sum is not small.  For the same reasons, with n codes that come from e > 0:

    | sum of code / 2**c - 1 |  <=  n / 2**(c + 1) + 2**-13
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equilif_golden.blocks.softmax import (
    ABSOLUTE,
    C_MIN,
    FINE,
    FRACTION,
    RECIPROCAL,
    SHIFTS,
    TABLE,
    exponents,
    softmax,
)
from equilif_golden.engine.config import Pipeline
from equilif_golden.fixed import DEFAULT
from equilif_hdl.blocks.softmax import Reciprocal, Softmax
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, NARROW, thoroughness

BENCH = "equilif_sim.blocks.softmax"
OCTAVE = 1 << FRACTION
F64 = np.arange(OCTAVE) / OCTAVE
SHIFT = pytest.mark.parametrize("shift", SHIFTS)


def real(scores, active=True, *, shift):
    """Softmax in floating point."""
    x = np.where(active, np.asarray(scores, np.float64) / (OCTAVE << shift), -np.inf)
    e = np.exp2(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def below(scores, active, *, shift):
    """Number of active neurons in octaves below the largest, (..., 1)."""
    octave = np.where(active, exponents(scores, shift=shift) >> FRACTION, -(1 << 30))
    return (active & (octave < octave.max(axis=-1, keepdims=True))).sum(axis=-1, keepdims=True)


def tau(shift):
    """tau of the docstring, computed from the table."""
    rho = (TABLE / (128 * 2.0**F64)).max() / (TABLE / (128 * 2.0 ** (F64 + (1 - 2.0**-shift) / OCTAVE))).min()
    return (np.sqrt(rho) - 1) / (np.sqrt(rho) + 1)


def bound(lower, c, shift):
    return tau(shift) + lower / (lower + 128) + 2.0**-c * (0.5 + 255 / 2**14)


def worst(scores, active=True, *, shift, absolute=False):
    """Largest error, and largest ratio of an error to its bound."""
    scores = np.asarray(scores)
    active = np.broadcast_to(active, scores.shape)
    got = softmax(scores, active, shift=shift, absolute=absolute)
    error = np.abs(got.real - real(scores, active, shift=shift))
    limit = bound(below(scores, active, shift=shift), got.c[..., None].astype(float), shift)
    if absolute:
        limit = limit + (got.code == 255) / 256  # 255 means 1
    return error.max(), (error / limit).max()


def by_hand(scores, active, *, shift, absolute=False, fine=False):
    """The definition in Python integers, neuron by neuron."""
    y = [min(max(int(z) // 2**shift, -(2**17)), 2**17 - 1) for z in scores]
    on = [t for t, a in enumerate(active) if a]
    if not on:
        return [0] * len(y), 12 if fine else 8 if absolute else 7
    top = max(y[t] // 64 for t in on)
    e = [
        int(128 * 2 ** ((y[t] % 64 + 0.5) / 64) + 0.5) // 2 ** (top - y[t] // 64) if t in on else 0
        for t in range(len(y))
    ]
    total = sum(e)
    c = 12 if fine else 8 if absolute else total.bit_length() - 1
    r = min((2 ** (c + 14) // total + 1) // 2, 2**14)
    return [min((k * r + 2**12) // 2**13, 255) for k in e], c


# --------------------------------------------------------------------------------------------------


def test_table_holds_interval_centres():
    """Rounded to the nearest; one octave, 129 .. 255, rising."""
    exact = 128 * 2.0 ** (F64 + 0.5 / OCTAVE)
    assert np.abs(TABLE - exact).max() <= 0.5
    assert (TABLE[0], TABLE[-1], len(TABLE)) == (129, 255, OCTAVE) and (np.diff(TABLE) > 0).all()


def test_reciprocal_of_every_sum():
    """Nearest to 2**(c + 13) / S, below 2**13 + 1, absolute below 2**14 + 1; codes fit 8 bits without the
    clip, except 1 as an absolute code.
    """
    total = np.arange(128, 1 << 18)
    c = np.floor(np.log2(total)).astype(np.int64)
    assert ((1 << c) <= total).all() and (total < (2 << c)).all(), (
        "the logarithm in floating point is exact enough"
    )
    for at, most in ((c, 1 << 13), (np.full_like(c, ABSOLUTE), 1 << 14)):
        r = ((1 << (at + RECIPROCAL + 1)) // total + 1) >> 1
        assert (np.abs(r * total - (1 << (at + RECIPROCAL))) * 2 <= total).all() and r.max() <= most
        for e in range(256):
            codes = (e * r[total >= e] + (1 << (RECIPROCAL - 1))) >> RECIPROCAL
            over = total[total >= e][codes > 255]
            assert not over.size or at is not c and over.tolist() == [e], "only p = 1"


# --------------------------------------------------------------------------------------------------


KINDS = st.sampled_from([{}, {"absolute": True}, {"fine": True}])


def scores_of(draw):
    n = draw(st.integers(1, 12))
    reach = draw(st.sampled_from([10, 1000, 1 << 16, 1 << 25]))
    return draw(st.lists(st.integers(-reach, reach), min_size=n, max_size=n)), draw(
        st.lists(st.booleans(), min_size=n, max_size=n)
    )


@settings(max_examples=400, deadline=None)
@given(st.composite(scores_of)(), st.sampled_from(SHIFTS), KINDS)
def test_definition(case, shift, kind):
    """Exact, also where exponents saturate."""
    scores, active = case
    got = softmax(scores, active, shift=shift, **kind)
    assert (got.code.tolist(), int(got.c)) == by_hand(scores, active, shift=shift, **kind)


@pytest.mark.parametrize("n", [1, 7, 8, 15, 16, 100, 1024])
def test_fine_codes_resolution(n):
    """Equal patterns, down to the count where R saturates."""
    got = softmax(np.zeros(n, int), shift=1, fine=True)
    assert got.c == FINE == 12
    assert set(got.code.tolist()) == {min(round(4096 / n), 255)}
    coarse = softmax(np.zeros(n, int), shift=1, absolute=True)
    assert set(coarse.code.tolist()) == {min(round(256 / n), 255)}


def test_fine_codes_of_few_and_weak_patterns():
    """The sum is below 2**11: 129 for the strong one, 16 for the other, both times R_MAX / 2**13."""
    got = softmax([3 * OCTAVE << 1, 0], shift=1, fine=True)
    assert got.code.tolist() == [255, 32]


@SHIFT
def test_saturation(shift):
    """Scores beyond 18 bits of exponent saturate."""
    edge = 1 << (17 + shift)
    assert (
        exponents([-edge - 1, -edge, edge - 1, edge], shift=shift).tolist()
        == [-(1 << 17)] * 2 + [(1 << 17) - 1] * 2
    )
    got = softmax([edge, 2 * edge, edge + 999, -edge], shift=shift)
    assert got.code[0] == got.code[1] == got.code[2] > 0 == got.code[3]
    assert softmax([-edge - 1, -9 * edge], shift=shift).real.tolist() == [0.5, 0.5]


@settings(max_examples=200, deadline=None)
@given(st.composite(scores_of)(), st.sampled_from(SHIFTS), KINDS)
def test_masks(case, shift, kind):
    """Inactive neurons have p = 0 and no influence; without active ones c is that of one neuron."""
    scores, active = np.array(case[0]), np.array(case[1])
    got = softmax(scores, active, shift=shift, **kind)
    assert not got.code[~active].any()
    if active.any():
        alone = softmax(scores[active], shift=shift, **kind)
        assert (got.code[active].tolist(), got.c) == (alone.code.tolist(), alone.c)
    else:
        assert got.c == (FINE if kind.get("fine") else ABSOLUTE if kind else C_MIN)


# --------------------------------------------------------------------------------------------------


def pairs(shift, grid):
    """Pairs of scores, multiples of ``grid``: one in the top octave, the other up to 9 octaves below it."""
    octave = OCTAVE << shift
    a, b = np.meshgrid(np.arange(0, octave, grid), np.arange(-9 * octave, octave, grid))
    return np.stack([a.ravel(), b.ravel()], axis=-1)


@SHIFT
@pytest.mark.parametrize("absolute", [False, True])
def test_bound_exhaustively(shift, absolute):
    """Two neurons: every pair of scores that differ by up to 9 octaves; every 2nd at shift 3, every 4th at
    shift 4.

    Three: every triple of 12 to 13 exponents an octave over 9 octaves.
    """
    error, share = worst(pairs(shift, max(1, (1 << shift) >> 2)), shift=shift, absolute=absolute)
    assert 0.5 < share <= 1 and error <= 0.011
    side = (np.arange(0, 9 * OCTAVE, 5) - 8 * OCTAVE) << shift
    triples = np.stack(np.meshgrid(np.arange(0, OCTAVE, 5) << shift, side, side), axis=-1).reshape(-1, 3)
    error, share = worst(triples, shift=shift, absolute=absolute)
    assert 0.5 < share <= 1 and error <= 0.017


@SHIFT
@pytest.mark.parametrize("absolute", [False, True])
def test_bound_on_large_random_populations(shift, absolute):
    """1 to 1024 neurons, scores spread over 0 to more than 8 octaves, some inactive."""
    rng = np.random.default_rng(shift)
    for n in (1, 2, 7, 30, 100, 300, 1024):
        spread = (OCTAVE << shift) * np.repeat([0.0, 0.02, 0.2, 1.0, 3.0, 10.0, 100.0], 60)
        scores = np.floor(
            rng.normal(rng.normal(0, 1000, (len(spread), 1)), spread[:, None], (len(spread), n))
        ).astype(np.int64)
        active = rng.random(scores.shape) < rng.choice([0.1, 0.7, 1.0], (len(spread), 1))
        active[:, 0] = True
        assert worst(scores, active, shift=shift, absolute=absolute)[1] <= 1


@SHIFT
def test_worst_case_of_bound(shift):
    """One neuron at the bottom of an octave, L at the top of the eighth below: the error is F."""
    scores = np.full(1000, (-7 * OCTAVE - 1) << shift)
    scores[0] = 0
    error, share = worst(scores, shift=shift)
    assert 0.8 < error and 0.9 < share <= 1


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 1024),
    st.sampled_from(SHIFTS),
    st.sampled_from([0.0, 0.1, 1.0, 4.0]),
    st.booleans(),
)
def test_sum(seed, n, shift, octaves, absolute):
    scores = np.floor(np.random.default_rng(seed).normal(0, (OCTAVE << shift) * octaves, n)).astype(np.int64)
    got = softmax(scores, shift=shift, absolute=absolute)
    y = exponents(scores, shift=shift)
    e = TABLE[y % OCTAVE] >> np.minimum((y // OCTAVE).max() - y // OCTAVE, 8)
    limit = (
        (e > 0).sum() / 2 ** (got.c + 1)
        + (e.sum() / 2**22 if absolute else 2.0**-13)
        + (got.code == 255).any() / 256
    )
    assert abs(got.real.sum() - 1) <= limit


@SHIFT
def test_order_and_shift_invariance(shift):
    rng = np.random.default_rng(shift)
    scores = np.sort(rng.integers(-3 * OCTAVE << shift, 3 * OCTAVE << shift, (500, 20)), axis=-1)
    got, moved = softmax(scores, shift=shift), softmax(scores - (77 * OCTAVE << shift), shift=shift)
    assert (np.diff(got.code, axis=-1) >= 0).all() and got.code.max() >= 64
    assert (got.code == moved.code).all() and (got.c == moved.c).all()


# -- RTL: equals the golden function, exactly, under stalls; its bench counts cycles ---------------
@thoroughness
@pytest.mark.parametrize(
    "lanes, numerics, pipeline",
    [(4, NARROW, Pipeline.SPRAM), (8, DEFAULT, Pipeline.DEEP)],
    ids=["narrow", "P8"],
)
def test_rtl(lanes, numerics, pipeline, thorough, tmp_path):
    config = dataclasses.replace(ENGINE, lanes=lanes, numerics=numerics, pipeline=pipeline)
    how = {"config": config, "only": "softmaxes|every", "thorough": thorough}
    assert simulate(Softmax(config), BENCH, tmp_path, simulator="icarus", **how) == 4


@pytest.mark.parametrize(
    "bits, step, simulator",
    [
        (12, 7, "icarus"),
        pytest.param(12, 1, "icarus", marks=pytest.mark.regress),
        pytest.param(18, 1, "verilator", marks=pytest.mark.long),
    ],
)
def test_rtl_of_the_reciprocal(bits, step, simulator, tmp_path):
    """All sums of 1,032 neurons (18 bits)."""
    sums = {"first": 0, "last": 1 << bits, "step": step}
    assert simulate(Reciprocal(18), BENCH, tmp_path, config=sums, simulator=simulator, only="totals")
