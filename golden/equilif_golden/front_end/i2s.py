"""I2S microphone: words of 24 bits, most significant bit first, to 16-bit samples.

sample = word >> 8        rounded down, so that nothing saturates
"""

from __future__ import annotations

import numpy.typing as npt

from equilif_golden.fixed import Raw, integers

WIDTH = 24
SHIFT = WIDTH - 16


def samples(words: npt.ArrayLike) -> Raw:
    """Words (n,) of 24 bits, signed, to samples (n,), -32768 .. 32767."""
    half = 1 << (WIDTH - 1)
    return integers(words, "words", -half, half - 1) >> SHIFT
