"""Fixed-point formats, integer primitives, and checks of values.

``SQ(i, f)`` is signed with ``i`` integer bits (sign included) and ``f`` fraction bits, ``UQ(i, f)``
unsigned; the width is ``i + f``.  A *raw* value is the integer code; names without a suffix are raw
everywhere in the project.

Checks convert nothing: fractions, booleans and strings are not integers.  They raise ValueError with a
message of one line; those of single values have its key as a field (equilif_golden.places).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from equilif_golden.places import Place, PlacedError, label

Raw = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]
Element = TypeVar("Element", bound=np.generic)
T = TypeVar("T")

#: how to make integers of other values, by the kind of their dtype
HINTS = {
    "f": "Fixed.quantize makes codes of real numbers, astype(int) integers",
    "b": "np.flatnonzero makes positions of a mask",
    "c": "take the real part first",
}


def integers(values: npt.ArrayLike, name: str, lo: int | None = None, hi: int | None = None) -> Raw:
    """``values`` as int64; ValueError unless they are integers in lo .. hi (None: no limit)."""
    return check_integers(values, name, lo, hi).astype(np.int64, copy=False)


def check_integers(
    values: npt.ArrayLike, name: str, lo: int | None = None, hi: int | None = None
) -> npt.NDArray[Any]:
    """Check integers as :func:`integers`, in their own type, so that large arrays are not copied.

    The elements are not searched if the type holds only allowed values.
    """
    array = as_array(values, name, "integers")
    if array.dtype.kind == "i" and lo is None and hi is None:
        return array
    if not array.size:
        return array if array.dtype.kind in "iu" else np.zeros(array.shape, np.int64)
    lowest = -(1 << 63) if lo is None else lo
    highest = (1 << 63) - 1 if hi is None else hi
    if array.dtype.kind not in "iu":
        raise ValueError(_not_integers(array, name, lowest, highest))
    held = np.iinfo(array.dtype)
    if held.min < lowest or held.max > highest:
        _require_range(int(array.min()), int(array.max()), name, lowest, highest)
    return array


def as_array(values: Any, name: str, what: str) -> npt.NDArray[Any]:
    """``values`` as a NumPy array, which may share their memory; tensors are detached.

    ``what``: expected content, for messages.  ValueError if elements are masked or there is no such array.
    """
    if type(values) is np.ndarray:
        return values
    listed = values if isinstance(values, list | tuple) else (values,)
    if any(isinstance(v, np.ma.MaskedArray) and np.ma.is_masked(v) for v in listed):
        raise ValueError(
            f"{name} must be an array of {what}, not one of which some are masked: fill them first"
        )
    try:
        try:
            return np.asarray(values)
        except (RuntimeError, TypeError):  # tensors with a gradient, or on a GPU
            detached = [v.detach().cpu() for v in listed]
            return np.asarray(detached if isinstance(values, list | tuple) else detached[0])
    except Exception as e:  # lists of lists of different lengths; foreign arrays that do not convert
        raise ValueError(f"{name} must be an array of {what}, not {short_repr(values)}") from e


def read_only(array: npt.NDArray[Element]) -> npt.NDArray[Element]:
    """The array if nothing can change it any more, else a read-only copy."""
    owner: Any = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    constant = owner.flags.owndata or isinstance(owner.base, bytes)  # a mapped file changes with the file
    if array.flags.writeable or owner.flags.writeable or not constant:
        array = np.array(array, order="C")
        array.flags.writeable = False
    return array


def _require_range(low: int, high: int, name: str, lo: int, hi: int) -> None:
    if low < lo or high > hi:
        found = f"{low}" if low == high else f"{low}..{high}"
        allowed = f"must lie in {lo}..{hi}" if lo <= hi else "must be empty"
        raise ValueError(f"{name} {allowed}, not {found}")


def _not_integers(array: npt.NDArray[Any], name: str, lo: int, hi: int) -> str:
    """Error message for an array that does not hold integers."""
    kind = array.dtype.kind
    as_bytes = (lo, hi) == (0, 255)
    allowed = f" in {lo}..{hi}" if hi < 1 << 62 else ""
    hint = HINTS.get(kind, "")
    what = f"{array.dtype} values"
    if kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            what = f"values that are not finite ({array[~finite].flat[0]})"
            hint = ""
        elif as_bytes and array.min() >= 0 and array.max() <= 1:
            what = f"{array.dtype} values in {array.min():g}..{array.max():g}"
            hint = "scale values in 0..1 by np.rint(255 * x).astype(np.uint8)"
    elif kind == "b" and as_bytes:
        hint = "scale booleans by 255 * x.astype(np.uint8)"
    elif kind in "OUS":
        what = f"values such as {short_repr(array.flat[0])}"
    return f"{name} must be integers{allowed}, not {what}" + (f": {hint}" if hint else "")


def reals(values: npt.ArrayLike, name: str) -> Reals:
    """``values`` as float64; ValueError unless they are finite real numbers."""
    array = as_array(values, name, "real numbers")
    if array.size and array.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be real numbers, not values such as {short_repr(array.flat[0])}")
    real = array.astype(np.float64, copy=False)
    finite = np.isfinite(real)
    if not finite.all():
        raise ValueError(f"{name} must be finite numbers, not {real[~finite].flat[0]}")
    return real


def check_int(value: Any, key: str | Place, lo: int, hi: int, note: str = "") -> int:
    """An integer in lo .. hi; PlacedError for others and for booleans.

    ``key``: key or place of the value.  ``note``: text about it for the message, in parentheses.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise _invalid(value, key, f"an integer in {lo}..{hi}", note)
    if not lo <= number <= hi:
        raise _invalid(number, key, f"in {lo}..{hi}", note)
    return number


def check_bool(value: Any, key: str | Place) -> bool:
    """A boolean; PlacedError for other values, also 0 and 1."""
    if not isinstance(value, bool | np.bool_):
        raise _invalid(value, key, "true or false")
    return bool(value)


def check_choice(value: Any, key: str | Place, allowed: Iterable[str]) -> str:
    """One of the ``allowed`` words; PlacedError for others."""
    words = tuple(map(str, allowed))
    if not isinstance(value, str) or value not in words:
        raise _invalid(value, key, f"one of {', '.join(words)}")
    return str(value)


def check_float(value: Any, key: str | Place, lo: float, hi: float, note: str = "") -> float:
    """A finite real number in lo .. hi; PlacedError for others and for booleans.

    ``key`` and ``note`` as those of :func:`check_int`.
    """
    number = math.nan
    if not isinstance(value, bool | np.bool_ | str | bytes) and not getattr(value, "ndim", 0):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    if not lo <= number <= hi or math.isinf(number):
        allowed = f"a finite number of at least {lo:g}" if math.isinf(hi) else f"a number in {lo:g}..{hi:g}"
        raise _invalid(value, key, allowed, note)
    return number


def option(default: Any, text: str, **limits: Any) -> Any:
    """A field of a dataclass with a help text and limits, for :func:`check_fields` and for network files."""
    return field(default=default, metadata={"help": text, **limits})


def check_fields(record: Any, place: Place = ()) -> None:
    """Check the options of a frozen dataclass in its __post_init__, by the metadata of its fields.

    A field has the type of its default (None: an integer, or None) and the limits ``gt`` or ``ge``, and
    ``le``; fields without limits are left to the class.  ``place``: that of the record.
    """
    for f in fields(record):
        value = getattr(record, f.name)
        where = (*place, f.name)
        limits = f.metadata
        if "help" in limits and isinstance(f.default, bool):
            set_fields(record, **{f.name: check_bool(value, where)})
        if "le" not in limits or value is None and f.default is None:
            continue
        check = check_float if isinstance(f.default, float) else check_int
        number = check(value, where, limits.get("ge", limits.get("gt")), limits["le"])
        if number == limits.get("gt"):
            raise _invalid(value, where, f"above {limits['gt']:g}, up to {limits['le']:g}")
        set_fields(record, **{f.name: number})


def from_fields(kind: type[T], raw: object) -> T:
    """A dataclass of plain values by field; ValueError names the class for values that do not fit."""
    if not isinstance(raw, Mapping):
        raise ValueError(f"{kind.__name__} is described by fields, not by {short_repr(raw)}")
    unknown = {str(name) for name in raw} - {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if unknown and kind.__new__ is object.__new__:  # a class that chooses between kinds checks them itself
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    try:
        return kind(**raw)
    except TypeError as e:  # a field too few
        raise ValueError(f"description of {kind.__name__}: {e}") from e


def _invalid(value: object, key: str | Place, allowed: str, note: str = "") -> PlacedError:
    """Error about a value that is not allowed."""
    place = (key,) if isinstance(key, str) else key
    name = f"{label(place)} ({note})" if note else label(place)
    return PlacedError(f"{name} must be {allowed}, not {short_repr(value)}", place)


def short_repr(value: object) -> str:
    """repr of a value for messages: one line of at most 60 characters."""
    try:
        text = " ".join(repr(value.item() if isinstance(value, np.generic) else value).split())
    except Exception:  # an integer of more digits than Python prints; a repr that fails
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def set_fields(record: object, **checked: object) -> None:
    """Set fields of a frozen dataclass, in its __post_init__, to checked values."""
    for name, value in checked.items():
        object.__setattr__(record, name, value)


@dataclass(frozen=True)
class Fixed:
    """Fixed-point format of 1 to 53 bits: ``i`` integer bits with the sign, ``f`` fraction bits."""

    i: int
    f: int
    signed: bool = True

    def __post_init__(self) -> None:
        set_fields(self, i=check_int(self.i, "i", -52, 53, "integer bits"))
        set_fields(self, f=check_int(self.f, "f", 0, 53, "fraction bits"))
        set_fields(self, signed=check_bool(self.signed, "signed"))
        check_int(self.width, "width", 1, 53, "bits of a format")

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
        """Real values to raw codes: round half up, saturate.  ValueError for values that are not finite."""
        real = reals(x, "values to quantize")
        with np.errstate(over="ignore"):  # an overflowing float saturates
            scaled = np.floor(real * (1 << self.f) + 0.5)
        return np.clip(scaled, self.lo, self.hi).astype(np.int64)

    def real(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Raw codes to real values."""
        return integers(raw, "raw values") / (1 << self.f)

    def require(self, raw: npt.ArrayLike, name: str) -> Raw:
        """``raw`` as int64; ValueError for values that are not codes of this format."""
        return integers(raw, name, self.lo, self.hi)


def SQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=True)


def UQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=False)


#: clamped inputs, targets and measured rates: 255 is 255/256
VALUE = UQ(0, 8)


def saturate(raw: npt.ArrayLike, fmt: Fixed) -> Raw:
    return np.clip(integers(raw, "raw values"), fmt.lo, fmt.hi)


def wrap(raw: Raw, fmt: Fixed) -> Raw:
    """Two's complement wrap into a signed format: what a register of that width keeps."""
    return ((raw - fmt.lo) & ((1 << fmt.width) - 1)) + fmt.lo


def shift_right_floor(raw: npt.ArrayLike, n: int) -> Raw:
    """Arithmetic shift right, rounding towards minus infinity."""
    return integers(raw, "raw values") >> n


MAX_ACCUMULATOR = 32  #: bits: equilif_golden.kernel has no more


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Number formats of a network or engine.

    ``fraction`` is shared by weights and membranes, so that a spike adds a weight to a membrane without a
    shift.
    """

    fraction: int = option(12, "fraction bits of weights and membranes", ge=4, le=13)
    weight_width: int = option(16, "bits of a weight", ge=4, le=16)
    accumulator_width: int = option(
        26,
        "bits of a membrane while it accumulates input",
        ge=8,
        le=MAX_ACCUMULATOR,
        values=f"weight_width + 4 .. {MAX_ACCUMULATOR}",
    )
    charge_width: int = option(
        18,
        "bits of the charge, from which a rate is computed",
        ge=11,
        le=32,
        values="fraction + 4 .. 32, at least 11",
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_int(
            self.accumulator_width,
            "accumulator_width",
            self.weight_width + 4,
            MAX_ACCUMULATOR,
            "at least weight_width + 4",
        )
        # a charge holds any membrane and the bits that the rate block shifts out
        check_int(
            self.charge_width, "charge_width", max(11, self.fraction + 4), 32, "at least 11 and fraction + 4"
        )

    @cached_property
    def weight(self) -> Fixed:
        return SQ(self.weight_width - self.fraction, self.fraction)

    @cached_property
    def accumulator(self) -> Fixed:
        """Membrane while it accumulates input, and static drive."""
        return SQ(self.accumulator_width - self.fraction, self.fraction)

    @cached_property
    def charge(self) -> Fixed:
        """Charge, from which a rate is computed (equilif_golden.blocks.rate)."""
        return SQ(self.charge_width - self.fraction, self.fraction)

    @property
    def value(self) -> Fixed:
        """Clamped inputs, targets and measured rates: 255 is 255/256."""
        return VALUE

    @property
    def one(self) -> int:
        """1.0 as a raw membrane value."""
        return 1 << self.fraction

    @property
    def max_fan_in(self) -> int:
        """Full-scale weights that an accumulator holds in addition to a membrane and a nudge of 4.0 each."""
        return (self.accumulator.hi - 8 * self.one) >> (self.weight_width - 1)

    def with_fan_in(self, fan_in: int) -> Numerics:
        """The same formats with an accumulator wide enough for this fan-in, up to the largest width."""
        largest = (fan_in << (self.weight_width - 1)) + 8 * self.one
        width = max(self.accumulator_width, 1 + largest.bit_length())
        return replace(self, accumulator_width=min(width, MAX_ACCUMULATOR))


DEFAULT = Numerics()
