"""Relay: a linear population.  What it has gathered becomes a signed 8-bit value, and nothing else happens.

    value = clip(drive >> shift, -128, 127)          -1 .. 127/128 in 7 fraction bits

Between a memory and the network it stands twice: as the query  q = Q + V r  that goes to the stored
patterns, and as the retrieval X^T p that comes back, 2**gain times, so that a mean of many patterns uses
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
