"""Average spiking rate over a window, with sub-spike resolution.

    charge = -v at the window's start, + threshold for each spike
    rate   = clip((charge + v at the window's end) / (threshold x window), 0, 255/256)   in 8 bits

What the spike count rounds away is still in the membrane; adding it back costs nothing and is local.  The
division is a shift, so threshold x window is a power of two.

A rate has *moved* when it differs from the one measured before by more than a tolerance; a phase that may
end early ends when none has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import VALUE, Raw, integers, shift_right_floor

RATE_SHIFTS = range(2, 10)


def rate_shift(threshold: int, window: int) -> int:
    """Shift that turns charge into an 8-bit rate.

    ValueError unless raw threshold x window is a power of two in 2**10 .. 2**17.
    """
    scale = threshold * window
    shift = scale.bit_length() - 1 - VALUE.f
    if scale & (scale - 1) or shift not in RATE_SHIFTS:
        raise ValueError(
            f"raw threshold x window must be a power of two in 2**10..2**17, not {threshold} x {window}"
        )
    return shift


def measure(charge: npt.ArrayLike, v: npt.ArrayLike, *, shift: int) -> Raw:
    """8-bit rates from raw charge and membrane of the same shape."""
    total = integers(charge, "charge") + integers(v, "membranes")
    return np.clip(shift_right_floor(total, shift), VALUE.lo, VALUE.hi)


def moved(rate: npt.ArrayLike, before: npt.ArrayLike, *, tolerance: int) -> npt.NDArray[np.bool_]:
    """Mask of 8-bit rates that differ by more than ``tolerance``."""
    far: npt.NDArray[np.bool_] = (
        np.abs(integers(rate, "rates") - integers(before, "rates before")) > tolerance
    )
    return far
