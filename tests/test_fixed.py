"""Formats and integer primitives, exhaustively on small widths and against exact rational arithmetic."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from equilif_golden.fixed import (
    SQ,
    UQ,
    Numerics,
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_integers,
    integers,
    saturate,
    shift_right_floor,
    short_repr,
)
from equilif_golden.places import PlacedError, placed
from tests.hostile import Odd

FORMATS = [SQ(1, 0), SQ(2, 3), SQ(-1, 5), SQ(4, 0), UQ(0, 4), UQ(3, 2)]


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_code_round_trip_of_formats(fmt):
    codes = np.arange(fmt.lo, fmt.hi + 1)
    assert len(codes) == 2**fmt.width and (fmt.lo < 0) == fmt.signed
    assert (fmt.quantize(fmt.real(codes)) == codes).all()
    assert (fmt.require(codes, "codes") == codes).all()


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_quantize_rounds_and_saturates(fmt):
    for sixteenths in range(16 * (fmt.lo - 2), 16 * (fmt.hi + 2) + 1):
        real = Fraction(sixteenths, 16 * 2**fmt.f)
        nearest = math.floor(real * 2**fmt.f + Fraction(1, 2))
        assert fmt.quantize(float(real)) == min(max(nearest, fmt.lo), fmt.hi)
        if fmt.lo <= nearest <= fmt.hi:
            assert abs(Fraction(float(fmt.real(nearest))) - real) <= Fraction(1, 2 * 2**fmt.f)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_saturate_and_require_agree(fmt):
    for raw in range(fmt.lo - 5, fmt.hi + 6):
        inside = fmt.lo <= raw <= fmt.hi
        assert saturate(raw, fmt) == (raw if inside else fmt.lo if raw < fmt.lo else fmt.hi)
        if not inside:
            with pytest.raises(ValueError, match=rf"bias.*{fmt.lo}\.\.{fmt.hi}.*{raw}"):
                fmt.require([raw], "bias")


def test_shift_right_floor():
    raw = np.arange(-300, 300)
    for n in range(10):
        assert shift_right_floor(raw, n).tolist() == [math.floor(Fraction(int(r), 2**n)) for r in raw]


@pytest.mark.parametrize(
    "numerics",
    [Numerics(), Numerics(fraction=13, accumulator_width=20), Numerics(fraction=8, weight_width=10)],
    ids=str,
)
def test_accumulator_width(numerics):
    """Membrane and nudge reach 4.0 each, a row contributes at most 2**(weight_width - 1); one additional row
    may overflow.
    """
    n, weight = numerics.max_fan_in, -numerics.weight.lo
    assert 8 * numerics.one + n * weight <= numerics.accumulator.hi < 8 * numerics.one + (n + 1) * weight


ARRAY = np.arange(6).reshape(2, 3)


@pytest.mark.parametrize(
    "values, message",
    [
        (ARRAY / 2, "0..9"),
        (ARRAY * 1.0, "astype"),
        (np.float32(3), "not float32 values"),
        ([1, math.nan], r"\(nan\)$"),
        ([1, math.inf], r"\(inf\)$"),
        (ARRAY > 2, "np.flatnonzero"),
        (None, "None"),
        ([[1, 2], [3]], r"\[\[1, 2\], \[3\]\]"),
        (ARRAY + 5, "0..9"),
        (-1, "0..9"),
        (2**63, "0..9"),
        (np.array([2**64 - 7], np.uint64), "0..9"),
    ],
    ids=str,
)
def test_integers_are_required(values, message):
    for call in (lambda: integers(values, "codes", 0, 9), lambda: check_integers(values, "codes", 0, 9)):
        with pytest.raises(ValueError, match=f"^codes .*{message}") as e:
            call()
        assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "values", [ARRAY, ARRAY.astype(">i4"), ARRAY.astype(np.uint8), ARRAY.tolist(), 5, [], np.zeros((0, 3))]
)
def test_integer_types(values):
    found = integers(values, "codes", 0, 9)
    assert found.dtype == np.int64 and found.shape == np.shape(values) and (found == values).all()
    assert (integers(values, "codes") == values).all()


def test_float_images_message():
    x = ARRAY / 5
    with pytest.raises(ValueError, match="float64") as e:
        UQ(0, 8).require(x, "inputs")
    way_out = str(e.value).split(" by ")[1]
    assert UQ(0, 8).require(eval(way_out, {"np": np, "x": x}), "inputs").max() == 255
    with pytest.raises(ValueError, match=r"\b255\b"):
        UQ(0, 8).require(x > 0.5, "inputs")


@pytest.mark.parametrize(
    "values, lo, hi", [(ARRAY.astype(np.uint8), 0, 255), (ARRAY, None, None), (ARRAY, 0, 9)]
)
def test_no_copy_when_type_fits(values, lo, hi):
    assert check_integers(values, "codes", lo, hi) is values


def test_empty_range():
    assert integers([], "rows", 0, -1).size == 0
    with pytest.raises(ValueError, match="rows"):
        integers([0], "rows", 0, -1)


def test_quantize_saturates_huge_numbers():
    fmt = SQ(4, 12)
    assert fmt.quantize([1e15, 1e16, 1e300, -1e15, -1e300, 2**62]).tolist() == [fmt.hi] * 3 + [fmt.lo] * 2 + [
        fmt.hi
    ]
    assert fmt.quantize(np.float32(0.5)) == 2048 and fmt.quantize(1) == 4096


@pytest.mark.parametrize(
    "check",
    [
        lambda key: check_int(0, key, 1, 9),
        lambda key: check_int(1.5, key, 1, 9, "a note on window"),
        lambda key: check_float(math.nan, key, 0, 2),
        lambda key: check_bool(1, key),
        lambda key: check_choice("x", key, ("free", "window")),
    ],
)
@pytest.mark.parametrize(
    "key, place, name",
    [
        ("free", ("free",), "free"),
        (("phases", "free"), ("phases", "free"), "phases.free"),
        (("population", "a", "size"), ("population", "a", "size"), "population 'a': size"),
        (("synapse", "a", "b", "kernel"), ("synapse", "a", "b", "kernel"), "synapse a-b: kernel"),
    ],
)
def test_place_of_invalid_value(check, key, place, name):
    with pytest.raises(PlacedError) as e:
        check(key)
    assert e.value.place == place and str(e.value).startswith(f"{name} ")


def test_prefix_of_place():
    for error, place in ((PlacedError("no", ("b", 3)), ("a", "b", 3)), (ValueError("no"), ("a",))):
        with pytest.raises(PlacedError, match="^no$") as e, placed("a"):
            raise error
        assert e.value.place == place


def test_placed_error_from_another_process():
    error = PlacedError("no", ("a", 1), file=Path("net.toml"), line=3)
    found = pickle.loads(pickle.dumps(error))
    assert (str(found), vars(found)) == (str(error), vars(error))


def test_messages_are_short():
    assert short_repr(np.zeros((9, 9))).count("\n") == 0 and len(short_repr(np.zeros(99))) <= 60
    assert (
        short_repr(Odd()) == "a Odd" and short_repr(10**5000) == "a int" and short_repr("a\n b") == "'a\\n b'"
    )


@pytest.mark.parametrize("i, f", [(0, 0), (60, 0), (1.5, 3), (-4, 3), (3, -1), (0, 54)])
def test_format_width(i, f):
    with pytest.raises(ValueError, match="bits|width"):
        SQ(i, f)
    assert SQ(1, 52).quantize([-9, 9]).tolist() == [-(2**52), 2**52 - 1]


@pytest.mark.parametrize("fraction", range(4, 14))
def test_min_charge_width(fraction):
    """A charge width that the rate block cannot shift is rejected here, not in RTL."""
    rtlil = pytest.importorskip("amaranth.back.rtlil")
    rate = pytest.importorskip("equilif_hdl.blocks.rate")
    least = max(11, fraction + 4)
    with pytest.raises(ValueError, match=rf"charge_width.*{least}\.\.32.*{least - 1}"):
        Numerics(fraction=fraction, charge_width=least - 1)
    assert "rate" in rtlil.convert(rate.Measure(Numerics(fraction=fraction, charge_width=least)))
