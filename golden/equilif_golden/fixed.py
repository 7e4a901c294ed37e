"""Fixed-point formats and the integer primitives that every block is built from.

``SQ(i, f)`` is signed with ``i`` integer bits (sign included) and ``f`` fraction bits, ``UQ(i, f)``
unsigned; the width is ``i + f``.  A *raw* value is the integer code; names without a suffix are raw
everywhere in the project.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Raw = npt.NDArray[np.int64]

#: what to do with numbers that are no integers, by the kind of their dtype
WAY_OUT = {
    "f": "real numbers become codes by Fixed.quantize, whole ones integers by astype(int)",
    "b": "a selection becomes positions by np.flatnonzero",
    "c": "take the real part first",
}


def integers(values: npt.ArrayLike, name: str, lo: int | None = None, hi: int | None = None) -> Raw:
    """``values`` as int64.  Integers are required, never made: no fraction is cut, no selection counted.

    ``lo``, ``hi``: the smallest and the largest that are allowed.  ValueError otherwise.
    """
    try:
        array = np.asarray(values)
    except ValueError as e:
        raise ValueError(f"{name} must be an array of integers, not rows of different lengths") from e
    if not array.size:
        return np.zeros(array.shape, np.int64)
    if array.dtype.kind not in "iu":
        raise ValueError(_not_integers(array, name, lo, hi))
    least, most = int(array.min()), int(array.max())
    lowest = -(1 << 63) if lo is None else lo
    highest = (1 << 63) - 1 if hi is None else hi
    if least < lowest or most > highest:
        raise ValueError(f"{name} must lie in {lowest}..{highest}, not {least}..{most}")
    return array.astype(np.int64, copy=False)


def _not_integers(array: npt.NDArray[Any], name: str, lo: int | None, hi: int | None) -> str:
    kind = array.dtype.kind
    allowed = "" if lo is None or hi is None else f" in {lo}..{hi}"
    way_out = WAY_OUT.get(kind, "")
    what = f"{array.dtype} values"
    if kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            what, way_out = f"values that are no numbers ({array[~finite].flat[0]})", ""
        elif (lo, hi) == (0, 255) and array.min() >= 0 and array.max() <= 1:
            what = f"{array.dtype} values in {array.min():g}..{array.max():g}"
            way_out = "scale what lies in 0..1 by np.rint(255 * x).astype(np.uint8)"
    return f"{name} must be integers{allowed}, not {what}" + (f": {way_out}" if way_out else "")


def whole(value: Any, name: str, lo: int, hi: int) -> int:
    """One integer in lo..hi; ValueError when it is none, or a boolean."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be an integer in {lo}..{hi}, not {value!r}")
    if not lo <= number <= hi:
        raise ValueError(f"{name} must be in {lo}..{hi}, not {number}")
    return number


def truth(value: Any, name: str) -> bool:
    """A boolean; ValueError when it is something else that merely counts as true or false."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    return bool(value)


def finite(value: Any, name: str, lo: float, hi: float) -> float:
    """One real number in lo..hi; ValueError when it is none, a boolean, NaN or infinite."""
    try:
        number = float("nan") if isinstance(value, bool | np.bool_ | str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not lo <= number <= hi or number in (float("inf"), float("-inf")):
        raise ValueError(f"{name} must be a number in {lo:g}..{hi:g}, not {value!r}")
    return number


@dataclass(frozen=True)
class Fixed:
    """A fixed-point format."""

    i: int
    f: int
    signed: bool = True

    @property
    def width(self) -> int:
        return self.i + self.f

    @property
    def lo(self) -> int:
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        return (1 << (self.width - self.signed)) - 1

    def quantize(self, x: npt.ArrayLike) -> Raw:
        """Real values to raw codes: round half up, saturate.  ValueError for what is not finite."""
        real = np.asarray(x, np.float64)
        if not np.isfinite(real).all():
            raise ValueError(f"only finite numbers have a code, not {real[~np.isfinite(real)].flat[0]}")
        with np.errstate(over="ignore"):  # what overflows a float saturates a code
            scaled = np.floor(real * (1 << self.f) + 0.5)
        return np.clip(scaled, self.lo, self.hi).astype(np.int64)

    def real(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Raw codes to the real values that they stand for."""
        return np.asarray(raw, np.float64) / (1 << self.f)

    def require(self, raw: npt.ArrayLike, name: str) -> Raw:
        """``raw`` as an array, or ValueError when a code does not exist in this format.

        Nothing is masked away, rounded or cut: see :func:`integers`.
        """
        return integers(raw, name, self.lo, self.hi)


def SQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=True)


def UQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=False)


def saturate(raw: npt.ArrayLike, fmt: Fixed) -> Raw:
    return np.clip(integers(raw, "raw values"), fmt.lo, fmt.hi)


def shift_right_floor(raw: npt.ArrayLike, n: int) -> Raw:
    """Arithmetic shift right, rounding towards minus infinity."""
    return integers(raw, "raw values") >> n


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The formats of one network or engine, by role.

    ``fraction`` is shared by weights and membranes, so that a spike adds a weight to a membrane without a
    shift.
    """

    fraction: int = 12
    weight_width: int = 16
    accumulator_width: int = 26
    charge_width: int = 18

    def __post_init__(self) -> None:
        whole(self.fraction, "fraction", 4, 13)
        whole(self.weight_width, "weight_width", 4, 16)
        # equilif_golden.kernel accumulates in 32 bits
        whole(self.accumulator_width, "accumulator_width", self.weight_width + 4, 32)
        # a charge holds any membrane, and what the rate block shifts out of it
        whole(self.charge_width, "charge_width", max(11, self.fraction + 4), 32)

    @property
    def weight(self) -> Fixed:
        return SQ(self.weight_width - self.fraction, self.fraction)

    @property
    def accumulator(self) -> Fixed:
        """Membrane while input is being gathered, and the static drive."""
        return SQ(self.accumulator_width - self.fraction, self.fraction)

    @property
    def charge(self) -> Fixed:
        """What a rate is measured from (see equilif_golden.blocks.rate)."""
        return SQ(self.charge_width - self.fraction, self.fraction)

    @property
    def value(self) -> Fixed:
        """Clamped inputs, targets and measured rates: 255 is 255/256."""
        return UQ(0, 8)

    @property
    def one(self) -> int:
        """1.0 as a raw membrane value."""
        return 1 << self.fraction

    @property
    def max_fan_in(self) -> int:
        """Rows of full-scale weights that an accumulator holds beside a membrane of 4.0 and a nudge of 4.0."""
        return (self.accumulator.hi - 8 * self.one) >> (self.weight_width - 1)


DEFAULT = Numerics()
