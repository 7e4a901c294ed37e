"""Formats and integer primitives, exhaustively on small widths and against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from equilif_golden.fixed import SQ, UQ, Numerics, saturate, shift_right_floor

FORMATS = [SQ(1, 0), SQ(2, 3), SQ(-1, 5), SQ(4, 0), UQ(0, 4), UQ(3, 2)]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_every_code_is_itself(fmt):
    codes = np.arange(fmt.lo, fmt.hi + 1)
    assert len(codes) == 2**fmt.width and (fmt.lo < 0) == fmt.signed
    assert (fmt.quantize(fmt.real(codes)) == codes).all()
    assert (fmt.require(codes, "codes") == codes).all()


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_quantize_is_the_nearest_code_half_up_and_saturates(fmt):
    for sixteenths in range(16 * (fmt.lo - 2), 16 * (fmt.hi + 2) + 1):
        real = Fraction(sixteenths, 16 * 2**fmt.f)
        nearest = math.floor(real * 2**fmt.f + Fraction(1, 2))
        assert fmt.quantize(float(real)) == min(max(nearest, fmt.lo), fmt.hi)
        if fmt.lo <= nearest <= fmt.hi:
            assert abs(Fraction(float(fmt.real(nearest))) - real) <= Fraction(1, 2 * 2**fmt.f)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_saturate_and_require_agree_on_what_exists(fmt):
    for raw in range(fmt.lo - 5, fmt.hi + 6):
        inside = fmt.lo <= raw <= fmt.hi
        assert saturate(raw, fmt) == (raw if inside else fmt.lo if raw < fmt.lo else fmt.hi)
        if not inside:
            with pytest.raises(ValueError, match=rf"bias must lie in {fmt.lo}\.\.{fmt.hi}, not {raw}"):
                fmt.require([raw], "bias")


def test_shift_right_floor_is_the_floor_of_the_quotient():
    raw = np.arange(-300, 300)
    for n in range(10):
        assert shift_right_floor(raw, n).tolist() == [math.floor(Fraction(int(r), 2**n)) for r in raw]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"fraction": 3}, "fraction must be in 4..13, not 3"),
        ({"fraction": 14}, "fraction must be in 4..13, not 14"),
        ({"weight_width": 17}, "weight_width must be in 4..16, not 17"),
        (
            {"accumulator_width": 19},
            r"accumulator_width \(at least weight_width \+ 4\) must be in 20\.\.32, not 19",
        ),
        ({"accumulator_width": 33}, r"accumulator_width .* must be in 20\.\.32, not 33"),
    ],
)
def test_numerics_say_what_is_wrong(wrong, message):
    with pytest.raises(ValueError, match=message):
        Numerics(**wrong)


@pytest.mark.parametrize(
    "numerics",
    [Numerics(), Numerics(fraction=13, accumulator_width=20), Numerics(fraction=8, weight_width=10)],
    ids=str,
)
def test_the_accumulator_holds_the_largest_fan_in(numerics):
    """Membrane and nudge reach 4.0 each, a row contributes at most 2**(weight_width - 1); one row more may
    overflow.
    """
    n, weight = numerics.max_fan_in, -numerics.weight.lo
    assert 8 * numerics.one + n * weight <= numerics.accumulator.hi < 8 * numerics.one + (n + 1) * weight
