"""Tokens of a word: level, spans, standardisation and position codes, 8 bits, for the patterns of an engine.

    level       code' = max(code + 255 - peak, 0): the largest code of the word becomes 255
    spans       n frames become m = min(n, TOKENS) tokens; token t is the mean of the frames
                t n // m .. (t + 1) n // m - 1, at most 5
    mean        (sum RECIPROCAL[frames of the span] + 128) >> 8, with 4 fraction bits
    band        clip(((mean - center) scale + 2**11) >> 12, -127, 127)
    position    POSITIONS triangular bumps over the word, of which two neighbours are not 0, as in
                equilif.data.base.ragged.position: with (2 t + 1) (POSITIONS - 1) = 2 m q + r

                    bump q        (RAMP[m] (2 m - r) + 2**11) >> 12
                    bump q + 1    (RAMP[m] r + 2**11) >> 12

``center`` (4 fraction bits) and ``scale`` of a band belong to a network: they make mean 0 and a standard
deviation of 127 / 3 of its training samples.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, integers
from equilif_golden.front_end.segmentation import LONGEST

TOKENS = 32
POSITIONS = 16
SIGMAS = 3
MEAN_FRACTION = 4
MEAN_UNIT = 1 << MEAN_FRACTION
SCALE_SHIFT = 12
MAX_SCALE = (1 << 12) - 1
SPAN = -(-LONGEST // TOKENS)  #: most frames of a token
#: (SPAN + 1,), 2**12 / frames
RECIPROCAL = np.array([0, 4096, 2048, 1365, 1024, 819])
RAMP_SHIFT = 12
#: (TOKENS + 1,), 127 * 2**12 / (2 tokens), rounded up
RAMP = np.array([0, *(-(-(127 << RAMP_SHIFT) // (2 * m)) for m in range(1, TOKENS + 1))])


def means(codes: npt.ArrayLike) -> Raw:
    """Codes (n, bands) of the frames of a word to means (m, bands) of its tokens, 4 fraction bits."""
    x = integers(codes, "codes", 0, 255)
    n = len(x)
    if x.ndim != 2 or not 1 <= n <= LONGEST:
        raise ValueError(f"a word must have shape (1..{LONGEST}, bands), not {x.shape}")
    levelled = np.maximum(x + 255 - x.max(), 0)
    m = min(n, TOKENS)
    starts = np.arange(m + 1) * n // m
    sums = np.add.reduceat(levelled, starts[:-1], axis=0)
    mean: Raw = (sums * RECIPROCAL[np.diff(starts)][:, None] + 128) >> 8
    return mean


def positions(m: int) -> Raw:
    """Position codes (m, POSITIONS) of a word of m tokens, 0 .. 127."""
    out = np.zeros((m, POSITIONS + 1), np.int64)
    q, r = np.divmod((2 * np.arange(m) + 1) * (POSITIONS - 1), 2 * m)
    half = 1 << (RAMP_SHIFT - 1)
    out[np.arange(m), q] = (RAMP[m] * (2 * m - r) + half) >> RAMP_SHIFT
    out[np.arange(m), q + 1] = (RAMP[m] * r + half) >> RAMP_SHIFT
    return out[:, :POSITIONS]


class Scaling(NamedTuple):
    """center (bands,): 0 .. 4095.  scale (bands,): 1 .. MAX_SCALE."""

    center: Raw
    scale: Raw

    @classmethod
    def of(cls, mean: npt.ArrayLike, deviation: npt.ArrayLike) -> Self:
        """Make a scaling of mean and standard deviation (bands,) of the levelled codes of training
        samples.
        """
        scale = np.rint((127 << SCALE_SHIFT) / (SIGMAS * MEAN_UNIT * np.maximum(deviation, 1e-9)))
        center = np.clip(np.rint(np.asarray(mean) * MEAN_UNIT), 0, 256 * MEAN_UNIT - 1)
        return cls(center.astype(np.int64), np.clip(scale, 1, MAX_SCALE).astype(np.int64))

    def bands(self, mean: npt.ArrayLike) -> Raw:
        """Means (m, bands) of tokens, 4 fraction bits, to band codes, -127 .. 127."""
        product = (integers(mean, "means", 0, 4095) - self.center) * self.scale
        codes: Raw = np.clip((product + (1 << (SCALE_SHIFT - 1))) >> SCALE_SHIFT, -127, 127)
        return codes

    def tokens(self, codes: npt.ArrayLike) -> Raw:
        """Codes (n, bands) of the frames of a word to its tokens (m, bands + POSITIONS), -127 .. 127."""
        x = means(codes)
        return np.concatenate([self.bands(x), positions(len(x))], axis=1)
