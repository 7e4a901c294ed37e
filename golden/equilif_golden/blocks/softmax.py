"""Softmax population: p = softmax(k z) in base 2, from integer scores to 8-bit mantissas with one shared
exponent.

    y    = z >> shift                        in octaves, 6 fraction bits:  k = 2**(fraction - 6 - shift) ln 2
    m    = max over the active neurons of floor(y)
    e    = 2**frac(y) as 129 .. 255 from a table, >> (m - floor(y))
    S    = sum of e;  2**c the largest power of two <= S
    R    = round(2**(c + 13) / S)            the only division
    code = (e R + 2**12) >> 13               p = code / 2**c

Two other kinds of codes have the same scale whatever the sum, for patterns that learn.  ``absolute``: c = 8,
and 255 stands for 1.  ``fine``: c = 12, and 255 for 1/16 and more; where S < 2**11, as with few patterns,
R stays at its largest, 2**14, and p is taken for smaller than it is.

Aligning to the octave of the largest score, not to the score itself, needs no subtraction of scores: R
makes up for it.  The shared exponent keeps 6 to 8 bits in the largest p however many neurons share the
sum.

The modern Hopfield network (Ramsauer et al. 2021, eq. 3; Krotov & Hopfield 2021; Bal & Sengupta, ISCAS
2024, sec. III) is this population joined to a relay (equilif_golden.blocks.relay) by the synapse that
holds the stored patterns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import VALUE, Raw, shift_right_floor

SHIFTS = (1, 2, 3, 4)
FRACTION = 6  #: fraction bits of an exponent
WIDTH = 18  #: of an exponent, sign included; beyond it saturates
#: 128 times 2**f at the middle of each interval of f, so that truncation of f is unbiased
TABLE = np.floor(128 * 2.0 ** ((np.arange(1 << FRACTION) + 0.5) / (1 << FRACTION)) + 0.5).astype(np.int64)
RECIPROCAL = 13  #: fraction bits of R
ABSOLUTE = 8  #: c of absolute codes
FINE = 12  #: c of fine codes
C_MIN = 7  #: c of a single active neuron
R_MAX = 1 << (ABSOLUTE + RECIPROCAL - C_MIN)


class Probabilities(NamedTuple):
    """``code`` (..., n) in 0..255 and ``c`` (...): p = code / 2**c."""

    code: Raw
    c: Raw

    @property
    def real(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.code / 2.0 ** self.c[..., None])


def exponents(scores: npt.ArrayLike, *, shift: int) -> Raw:
    """Base-2 exponents of ``scores`` with FRACTION fraction bits, saturated."""
    limit = 1 << (WIDTH - 1)
    return np.clip(shift_right_floor(scores, shift), -limit, limit - 1)


def softmax(
    scores: npt.ArrayLike,
    active: npt.ArrayLike = True,
    *,
    shift: int,
    absolute: bool = False,
    fine: bool = False,
) -> Probabilities:
    """Softmax over the last axis of raw scores; neurons that are not ``active`` (broadcast) take no part.
    None active: all codes 0.
    """
    y = exponents(scores, shift=shift)
    active = np.broadcast_to(np.asarray(active, bool), y.shape)
    octave = y >> FRACTION
    top = np.where(active, octave, -(1 << WIDTH)).max(axis=-1, keepdims=True)
    # a mantissa is gone when it has been shifted by its width
    down = np.clip(top - octave, 0, VALUE.width)
    e = np.where(active, TABLE[y & ((1 << FRACTION) - 1)] >> down, 0)
    total = e.sum(axis=-1, keepdims=True)
    c = np.where(total > 0, np.floor(np.log2(np.maximum(total, 1))).astype(np.int64), C_MIN)
    if absolute or fine:
        c = np.full_like(c, FINE if fine else ABSOLUTE)
    r = np.minimum(((1 << (c + RECIPROCAL + 1)) // np.maximum(total, 1) + 1) >> 1, R_MAX)
    code = np.minimum((e * r + (1 << (RECIPROCAL - 1))) >> RECIPROCAL, VALUE.hi)
    return Probabilities(code, c[..., 0])
