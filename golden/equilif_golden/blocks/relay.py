"""Relay: a linear population, which turns its accumulated input into signed 8-bit values.

    value = clip(drive >> shift, -128, 127)          -1 .. 127/128 in 7 fraction bits

A relay holds the two values between a network and its patterns X: the query q = Q + V r, and the retrieval
X^T p times 2**gain, so that a mean of many patterns uses
the range.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.softmax import C_MIN
from equilif_golden.fixed import SQ, VALUE, Raw, integers

FRACTION = 7  #: fraction bits of a relay's values
SIGNED = SQ(1, FRACTION)  #: format of these values
#: of an instruction; a retrieval adds the exponent of its p, c - C_MIN <= 10
SHIFTS = range(1, 8)


def relay(drive: npt.ArrayLike, *, shift: npt.ArrayLike) -> Raw:
    """Signed 8-bit values of raw ``drive``."""
    value: Raw = np.clip(integers(drive, "drive") >> integers(shift, "shift"), SIGNED.lo, SIGNED.hi)
    return value


def query_shift(fraction: int) -> int:
    """Shift from a drive to a value of the same real size."""
    return fraction - FRACTION


def retrieval_shift(fraction: int, gain: int) -> int:
    """The same from a sum weighted with codes of p: add c - C_MIN of these codes; ``gain`` in octaves."""
    return fraction - FRACTION - VALUE.f + C_MIN - gain


def retrieval(drive: Raw, c: Raw, *, fraction: int, gain: int) -> Raw:
    """Values (..., d) of what the codes of p have gathered (equilif_golden.blocks.synapse.forward_values);
    ``c`` (...).
    """
    return relay(drive, shift=(retrieval_shift(fraction, gain) + c - C_MIN)[..., None])
