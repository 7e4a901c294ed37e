"""Scaling of numbers of any range to the 8-bit inputs of a network, repeatable for other samples.

A scaling is fitted on training samples only.  It is one of five:

    bytes     8-bit whole numbers stay as they are
    common    one scale for all columns, where they are alike: pixels
    columns   a scale for each column: measurements of different kinds
    tokens    for an attention layer, signed codes: of each column the mean is 0, SIGMAS deviations are 127
    channels  codes of the plain front end, see equilif_golden.front_end.sensor.ChannelScaling

The scale of a column is its training range, but no more than FAR interquartile ranges beyond its quartiles:
a single outlier does not squeeze all others together.  Values beyond the scale are clipped, and counted.
A column of both signs is laid on two *rails*, inputs of their own: one for its positive part, one for its
negative part, because an input has no sign.  Spans of series are *standard*: they have two rails as well,
for what is above and below the mean, and FULL deviations fill them.  A column that never changes tells
nothing and is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from equilif.data.base.words import Codes, to_codes
from equilif_golden.fixed import Raw, check_choice, check_float, check_int, integers
from equilif_golden.front_end.running_scale import FRACTION, VALUE_BITS, RunningScale
from equilif_golden.front_end.running_scale import FULL as FULL_SCALE
from equilif_golden.front_end.sensor import ChannelScaling
from equilif_golden.front_end.tokens import Scaling as FrontEndScaling
from equilif_golden.network import MAX_NEURONS

Reals = npt.NDArray[np.float64]
Missing = Literal["refuse", "mean"]

FAR = 3.0  #: Tukey's far fences
TOP = 255  #: the largest input
SIGMAS = 3.5  #: deviations that fill the codes of a token
MIN_DEVIATION = 1e-9  #: deviation of a mean, as a part of the largest value, that is more than rounding
FULL = 2.0  #: and those that fill the inputs of a span of a series
LEVEL_BITS = 28  #: of values, means and deviations of a running scale, whose values have VALUE_BITS
MAX_EXPONENT = 30  #: of a column of a running scale
SMALLEST = 2.0 ** (10 - MAX_EXPONENT)  #: largest value of a column that keeps ten bits
#: 8-bit values whose largest training value is below this use too little of the inputs, and are scaled
ENOUGH = 128
MANY = 20  #: samples from which on a range is judged
#: inputs that a column becomes, by its kind
WIDTHS = {"range": 1, "rails": 2, "standard": 2, "constant": 0}


@dataclass(frozen=True)
class Column:
    """Scaling of one column; ``mean`` of its training values, for missing ones."""

    kind: Literal["range", "rails", "standard", "constant"]
    low: float
    high: float
    mean: float

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", WIDTHS)
        for name in ("low", "high", "mean"):
            check_float(getattr(self, name), name, -math.inf, math.inf)
        if self.low > self.high or self.kind != "constant" and self.low == self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if self.kind == "rails" and not self.low < 0 < self.high:
            raise ValueError(f"rails are for values of both signs, not {self.low} to {self.high}")

    @property
    def width(self) -> int:
        """Inputs that it becomes."""
        return WIDTHS[self.kind]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A running scale (equilif_golden.front_end.running_scale) of real numbers.

    Values of a column are integers times 2**-exponent.  The exponent is the largest one, MAX_EXPONENT at
    most, at which value, mean and deviation are below 2**LEVEL_BITS; it follows each sample that is learned.
    Values to predict are clipped to the bits of a value.  ``samples``: how many there were; ``mean`` and
    ``deviation``: of each column.
    """

    samples: int
    exponent: tuple[int, ...]
    mean: tuple[int, ...]
    deviation: tuple[int, ...]

    def __post_init__(self) -> None:
        check_int(self.samples, "samples", 0, 1 << 62)
        limit = 1 << LEVEL_BITS + FRACTION
        for name, low, high in (
            ("exponent", LEVEL_BITS - 128, MAX_EXPONENT),
            ("mean", -limit, limit),
            ("deviation", 0, 2 * limit),
        ):
            integers(getattr(self, name), f"{name} of a running scale", low, high)
        if not len(self.exponent) == len(self.mean) == len(self.deviation):
            raise ValueError("exponent, mean and deviation of a running scale must be of the same columns")

    @classmethod
    def begin(cls, width: int) -> Running:
        """The scale before the first sample."""
        zeros = (0,) * width
        return cls(samples=0, exponent=(MAX_EXPONENT,) * width, mean=zeros, deviation=zeros)

    @staticmethod
    def note(x: Reals, names: tuple[str, ...]) -> str:
        """A note on the first column of samples (n, width) whose values are too small for the exponents;
        empty where there is none.
        """
        top = np.abs(x).max(axis=0)
        small = np.flatnonzero((top > 0) & (top < SMALLEST))
        if not len(small):
            return ""
        return (
            f"the largest value of {name_of(names, int(small[0]))} is {top[small[0]]:g}, and a running scale "
            f"loses digits below {SMALLEST:.0e}: write it in a smaller unit"
        )

    @classmethod
    def of(cls, x: Reals) -> Running:
        """Statistics of samples (n, width) of equal weight."""
        exponent = _exponents(np.abs(x).max(axis=0))
        return cls._of(RunningScale.of(_values(x, exponent)), exponent)

    @classmethod
    def _of(cls, scale: RunningScale, exponent: Raw) -> Running:
        return cls(
            samples=scale.samples,
            exponent=tuple(exponent.tolist()),
            mean=tuple(scale.mean.tolist()),
            deviation=tuple(scale.deviation.tolist()),
        )

    @property
    def _scale(self) -> RunningScale:
        return RunningScale(self.samples, np.array(self.mean), np.array(self.deviation))

    def follow(self, x: Reals) -> tuple[Running, Scaled]:
        """The scale after samples (n, width), and their inputs, each scaled by the scale that includes it."""
        scale, exponent = self._scale, np.array(self.exponent)
        parts = []
        for row in x:
            level = np.maximum(np.abs(scale.mean), scale.deviation)
            now = _exponents(np.maximum(np.abs(row), np.ldexp(level, -exponent - FRACTION)))
            mean, deviation = (_shifted(v, now - exponent) for v in (scale.mean, scale.deviation))
            exponent, value = now, _values(row, now)
            scale = RunningScale(scale.samples, mean, deviation).follow(value)
            parts.append(Scaled(*scale.inputs(value[None])))
        inputs = np.concatenate([part.x for part in parts])
        return self._of(scale, exponent), Scaled(inputs, sum(part.clipped for part in parts))

    def apply(self, x: Reals) -> Scaled:
        """Inputs of samples (n, width) to predict."""
        return Scaled(*self._scale.inputs(_values(x, np.array(self.exponent))))

    def scaling(self, names: tuple[str, ...] = ()) -> FittedScaling:
        """The same as columns, in real numbers."""
        scale = self._scale
        mean, far = (np.ldexp(v, -np.array(self.exponent) - FRACTION) for v in (scale.mean, scale.unit))
        limits = ((mean - FULL_SCALE * far).tolist(), (mean + FULL_SCALE * far).tolist(), mean.tolist())
        columns = tuple(Column("standard", *values) for values in zip(*limits, strict=True))
        return FittedScaling(kind="columns", width=len(columns), names=names, columns=columns, running=self)


def _exponents(level: Reals) -> Raw:
    """Exponents at which numbers of these magnitudes are below 2**LEVEL_BITS."""
    return np.minimum(LEVEL_BITS - np.frexp(level)[1].astype(np.int64), MAX_EXPONENT)


def _values(x: Reals, exponent: Raw) -> Raw:
    """Integers nearest to x 2**exponent, clipped to the bits of a value."""
    limit = 1 << VALUE_BITS - 1
    return np.clip(np.rint(np.ldexp(x, exponent)), -limit, limit - 1).astype(np.int64)


def _shifted(values: Raw, by: Raw) -> Raw:
    """Integers times 2**by, rounded down."""
    return values << np.clip(by, 0, 62) >> np.clip(-by, 0, 62)


class Scaled(NamedTuple):
    """Inputs (n, inputs), and how many values were beyond the scale."""

    x: npt.NDArray[np.uint8]
    clipped: int


@dataclass(frozen=True, kw_only=True)
class FittedScaling:
    """A fitted scaling. ``columns``: one for all when ``kind`` is common, none when it is bytes; of channels
    those of the means and then of the energies.

    ``width``: values of a sample as it is read; ``names`` of them, or nothing.  ``running``: statistics that
    a stream of samples changes.
    """

    kind: Literal["bytes", "common", "columns", "tokens", "channels"]
    width: int
    names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    missing: Missing = "refuse"
    running: Running | None = None

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", ("bytes", "common", "columns", "tokens", "channels"))
        check_choice(self.missing, "missing", get_args(Missing))
        check_int(self.width, "width", 1, MAX_NEURONS)
        if self.names and len(self.names) != self.width:
            raise ValueError(f"names must be {self.width}, one a column, not {len(self.names)}")
        if self.kind == "channels":
            if not self.columns or len(self.columns) % 2 or self.width % len(self.columns):
                raise ValueError(
                    f"columns must be two a channel, not {len(self.columns)} for {self.width} values"
                )
            return
        wanted = {"bytes": 0, "common": 1, "columns": self.width, "tokens": self.width}[self.kind]
        if len(self.columns) != wanted:
            raise ValueError(f"columns must be {wanted} for {self.kind}, not {len(self.columns)}")

    @property
    def n_inputs(self) -> int:
        """Inputs of the network."""
        if self.kind in ("bytes", "tokens", "channels"):
            return self.width
        return sum(c.width for c in self.columns) * (self.width if self.kind == "common" else 1)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the columns that never change."""
        if self.kind != "columns":
            return ()
        return tuple(self.name(k) for k, c in enumerate(self.columns) if c.kind == "constant")

    def name(self, k: int) -> str:
        return name_of(self.names, k)

    def apply(self, x: npt.NDArray[Any], what: str) -> Scaled:
        """Inputs of samples (n, width), of which NaN are missing values; ``what`` they are, for messages."""
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"{what} must have {self.width} values a sample, not {x.shape[1:]}")
        if self.kind == "bytes":
            return Scaled(_bytes(x, what), 0)
        if self.kind == "channels":
            codes = x.reshape(-1, len(self.columns))
            low, high = self._range
            beyond = int(((codes < low) | (codes > high)).sum())
            return Scaled(self.sensor.inputs(x).astype(np.uint8), beyond)
        values = self.filled(x.astype(np.float64), what)
        if self.running is not None:
            return self.running.apply(values)
        if self.kind == "common":
            return _scaled(values, self.columns[0])
        parts = [_scaled(values[:, k : k + 1], c) for k, c in enumerate(self.columns)]
        return Scaled(np.concatenate([p.x for p in parts], axis=1), sum(p.clipped for p in parts))

    def note(self, x: npt.NDArray[Any]) -> str:
        """A note where samples (n, ...) use less of the range than those of training did; else empty."""
        top = x.max(initial=0)
        if self.kind != "bytes" or len(x) < MANY or top >= ENOUGH:
            return ""
        return (
            f"the largest of {x.size:,} values is {top:g}, training samples reached {ENOUGH} or more: give "
            f"values in 0..{TOP} as in training"
        )

    def codes(self, x: npt.NDArray[Any], what: str) -> Codes:
        """Tokens (n, width) as signed codes."""
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"{what} must have {self.width} channels, not {x.shape[1:]}")
        high = np.array([c.high for c in self.columns])
        mean = np.array([c.mean for c in self.columns])
        deviation = np.where(high > mean, (high - mean) / SIGMAS, 1)
        return to_codes((self.filled(x.astype(np.float64), what) - mean) / deviation, SIGMAS)

    @property
    def front_end(self) -> FrontEndScaling:
        """The same for the front end, in its integers."""
        mean = np.array([c.mean for c in self.columns])
        return FrontEndScaling.of(mean, (np.array([c.high for c in self.columns]) - mean) / SIGMAS)

    @property
    def sensor(self) -> ChannelScaling:
        """Scaling of channels for the front end of a sensor."""
        return ChannelScaling.of_range(*self._range)

    @property
    def _range(self) -> tuple[Raw, Raw]:
        """Smallest and largest codes of channels."""
        low, high = np.array([(c.low, c.high) for c in self.columns], np.int64).T
        return low, high

    def filled(self, x: Reals, what: str) -> Reals:
        """The samples with the training mean in the place of what is missing; ValueError unless allowed."""
        gone = np.isnan(x)
        if not gone.any():
            return x
        if self.missing == "refuse" or self.kind not in ("columns", "tokens"):
            raise ValueError(f"{what} has missing values: {named_missing(gone, self.names)}; {ADVICE}")
        return np.where(gone, [c.mean for c in self.columns], x)


ADVICE = 'fill them in, leave these samples out, or impute the training mean (data.missing = "mean")'


def name_of(names: tuple[str, ...], k: int) -> str:
    """A column in messages."""
    return repr(names[k]) if names else f"column {k}"


def named_missing(gone: npt.NDArray[np.bool_], names: tuple[str, ...], most: int = 3) -> str:
    """Number of missing values, and their columns."""
    counts = gone.sum(axis=0)
    at = np.flatnonzero(counts)
    listed = ", ".join(f"{counts[k]} in {name_of(names, int(k))}" for k in at[:most])
    return f"{listed} and {len(at) - most} more columns" if len(at) > most else listed


def fit(
    x: npt.NDArray[Any],
    names: tuple[str, ...],
    *,
    alike: bool,
    missing: Missing,
    standard: bool = False,
    keep_constant: bool = False,
) -> FittedScaling:
    """The scaling of training samples (n, width).  ``alike``: columns are pixels of an image; ``standard``:
    they are spans of series; ``keep_constant``: a column that never changes may change later, and becomes an
    input of half the largest value.

    ValueError when all columns never change, or one has no value at all.
    """
    width = x.shape[1]
    gone = np.isnan(x) if x.dtype.kind == "f" else np.zeros(x.shape, bool)
    if gone.any() and missing == "refuse":
        raise ValueError(f"there are missing values: {named_missing(gone, names)}; {ADVICE}")
    empty = np.flatnonzero(gone.all(axis=0))
    if len(empty):
        raise ValueError(f"{name_of(names, int(empty[0]))} has no training value at all: leave it out")
    if not standard and not gone.any() and (alike or one_scale(x)):
        low = float(x.min())
        high = float(x.max())
        if low == high:
            raise ValueError(f"all training values are {low:g}: there is nothing to learn from")
        if low >= 0 and ENOUGH <= high <= TOP and not (x % 1).any():
            return FittedScaling(kind="bytes", width=width, names=names, missing=missing)
        shared = Column(_kind(low, high), min(low, 0.0), high, float(x.mean()))
        return FittedScaling(kind="common", width=width, names=names, columns=(shared,), missing=missing)
    fitted = _standard if standard else _fitted
    columns = tuple(fitted(x[~gone[:, k], k].astype(np.float64)) for k in range(width))
    if all(c.kind == "constant" for c in columns):
        raise ValueError("all columns are constant in the training samples: there is nothing to learn from")
    if keep_constant:
        columns = tuple(_around(c.mean) if c.kind == "constant" else c for c in columns)
    return FittedScaling(kind="columns", width=width, names=names, columns=columns, missing=missing)


def fit_tokens(x: npt.NDArray[Any], names: tuple[str, ...], *, missing: Missing) -> FittedScaling:
    """The scaling of the tokens (n, width) of all training samples; ValueError for one of no value."""
    gone = np.isnan(x)
    if gone.any() and missing == "refuse":
        raise ValueError(f"there are missing values: {named_missing(gone, names)}; {ADVICE}")
    if gone.all(axis=0).any():
        raise ValueError("there is a channel without any training value: leave it out")
    mean = np.nanmean(x, axis=0)
    far = SIGMAS * np.nanstd(x, axis=0)
    far = np.where(far > MIN_DEVIATION * np.nanmax(np.abs(x), axis=0), far, 0)
    if not far.any():
        raise ValueError("all values are constant in the training samples: there is nothing to learn from")
    columns = tuple(
        Column("range" if d else "constant", float(m - d), float(m + d), float(m))
        for m, d in zip(mean, far, strict=True)
    )
    return FittedScaling(kind="tokens", width=x.shape[1], names=names, columns=columns, missing=missing)


def fit_channels(x: Raw, channels: int, names: tuple[str, ...]) -> FittedScaling:
    """The scaling of training samples (n, width) of the plain front end; ValueError if they are constant."""
    codes = x.reshape(-1, 2 * channels)
    low, high, mean = codes.min(axis=0), codes.max(axis=0), codes.mean(axis=0)
    if (low == high).all():
        raise ValueError("all windows are the same in the training samples: there is nothing to learn from")
    columns = tuple(
        Column("range" if a < b else "constant", float(a), float(b), float(m))
        for a, b, m in zip(low, high, mean, strict=True)
    )
    return FittedScaling(kind="channels", width=x.shape[1], names=names, columns=columns)


def one_scale(x: npt.NDArray[Any]) -> bool:
    """Whether columns look like pixels: 8-bit whole numbers, most of which reach half of the largest one."""
    if x.shape[1] < 16 or x.min() < 0 or x.max() > TOP or (x.dtype.kind == "f" and (x % 1).any()):
        return False
    tops = x.max(axis=0)
    varied = tops > x.min(axis=0)
    return bool(varied.any()) and float(np.mean(tops[varied] >= x.max() / 2)) >= 0.5


def _fitted(values: Reals) -> Column:
    """The column of these training values."""
    low, first, third, high = (float(v) for v in np.quantile(values, (0, 0.25, 0.75, 1)))
    mean = float(values.mean())
    if low == high:
        return Column("constant", low, high, mean)
    fence = FAR * (third - first)
    if fence > 0:
        low = max(low, first - fence)
        high = min(high, third + fence)
    return Column(_kind(low, high), low, high, mean)


def _around(value: float) -> Column:
    """A column in which this value is the middle, and 0 or 1 away from 0 the end."""
    far = abs(value) or 1.0
    return Column("range", value - far, value + far, value)


def _standard(values: Reals) -> Column:
    """The column of these training values, by their deviation."""
    mean = float(values.mean())
    far = FULL * float(values.std())
    moves = far > MIN_DEVIATION * float(np.abs(values).max())
    return Column("standard" if moves else "constant", mean - far, mean + far, mean)


def _kind(low: float, high: float) -> Literal["range", "rails"]:
    """Rails where both signs occur."""
    return "rails" if low < 0 < high else "range"


def _scaled(x: Reals, column: Column) -> Scaled:
    """Inputs of values that share a scale; rails stand side by side."""
    if column.kind == "constant":
        return Scaled(np.zeros((len(x), 0), np.uint8), 0)
    if column.kind == "standard":
        unit = (x - column.mean) / (column.high - column.mean)
        return Scaled(_rails(unit), int((np.abs(unit) > FAR).sum()))
    clipped = int(((x < column.low) | (x > column.high)).sum())
    if column.kind == "range":
        return Scaled(_rounded((x - column.low) / (column.high - column.low)), clipped)
    return Scaled(_rails(x / max(-column.low, column.high)), clipped)


def _rails(unit: Reals) -> npt.NDArray[np.uint8]:
    """-1..1 as inputs, two a value: the positive part, then the negative one."""
    return np.concatenate([_rounded(unit), _rounded(-unit)], axis=1)


def _rounded(unit: Reals) -> npt.NDArray[np.uint8]:
    """0..1 as 0..255, to the nearest, half upwards."""
    return np.floor(np.clip(unit, 0, 1) * TOP + 0.5).astype(np.uint8)


def _bytes(x: npt.NDArray[Any], what: str) -> npt.NDArray[np.uint8]:
    """Values that are 8-bit whole numbers; ValueError otherwise."""
    if x.dtype == np.uint8:
        return x
    wrong = ~((x >= 0) & (x <= TOP) & (x % 1 == 0))
    if wrong.any():
        raise ValueError(
            f"{what} must be whole numbers in 0..{TOP}, as the network was trained on, not {x[wrong].flat[0]}"
        )
    return x.astype(np.uint8)
