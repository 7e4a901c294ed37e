"""Logarithm to base 2 with 4 fraction bits.

    log2(a) = 16 e + TABLE[the 5 bits below the leading one],  e: position of the leading one, from 0

One code is a sixteenth of an octave, 0.376 dB of an amplitude.  The error is below 0.87 codes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, integers

FRACTION = 4
MANTISSA = 5
#: (32,), 0 .. 16: the middle of each interval, rounded to the nearest
TABLE = np.rint(16 * np.log2(1 + (np.arange(32) + 0.5) / 32)).astype(np.int64)


def log2(a: npt.ArrayLike) -> Raw:
    """Codes of integers of at most 48 bits; 0 has the code of 1."""
    x = np.maximum(integers(a, "values", 0, (1 << 48) - 1), 1)
    exponent = np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1
    mantissa = ((x << MANTISSA) >> exponent) & ((1 << MANTISSA) - 1)
    code: Raw = (exponent << FRACTION) + TABLE[mantissa]
    return code
