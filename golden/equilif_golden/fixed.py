"""Fixed-point formats and the integer primitives that every block is built from.

``SQ(i, f)`` is signed with ``i`` integer bits (sign included) and ``f`` fraction bits, ``UQ(i, f)``
unsigned; the width is ``i + f``.  A *raw* value is the integer code; names without a suffix are raw
everywhere in the project.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Raw = npt.NDArray[np.int64]


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
        """Real values to raw codes: round half up, saturate."""
        return saturate(np.floor(np.asarray(x, np.float64) * (1 << self.f) + 0.5).astype(np.int64), self)

    def real(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Raw codes to the real values that they stand for."""
        return np.asarray(raw, np.float64) / (1 << self.f)

    def require(self, raw: npt.ArrayLike, name: str) -> Raw:
        """``raw`` as an array, or ValueError when a code does not exist in this format: nothing is masked
        away.
        """
        codes = np.asarray(raw, np.int64)
        if codes.size and (codes.min() < self.lo or codes.max() > self.hi):
            raise ValueError(f"{name} must lie in {self.lo}..{self.hi}, not {codes.min()}..{codes.max()}")
        return codes


def SQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=True)


def UQ(i: int, f: int) -> Fixed:
    return Fixed(i, f, signed=False)


def saturate(raw: npt.ArrayLike, fmt: Fixed) -> Raw:
    return np.clip(np.asarray(raw, np.int64), fmt.lo, fmt.hi)


def shift_right_floor(raw: npt.ArrayLike, n: int) -> Raw:
    """Arithmetic shift right, rounding towards minus infinity."""
    return np.asarray(raw, np.int64) >> n


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
        if not 4 <= self.fraction <= 13:
            raise ValueError(f"fraction must be in 4..13, not {self.fraction}")
        if not 4 <= self.weight_width <= 16:
            raise ValueError(f"weight_width must be in 4..16, not {self.weight_width}")
        if self.accumulator_width < self.weight_width + 4:
            raise ValueError(
                f"accumulator_width must be at least weight_width + 4 = {self.weight_width + 4}, "
                f"not {self.accumulator_width}"
            )
        if self.accumulator_width > 32:  # equilif_golden.kernel accumulates in 32 bits
            raise ValueError(f"accumulator_width must be at most 32, not {self.accumulator_width}")

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
