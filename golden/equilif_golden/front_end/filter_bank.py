"""Filter bank: 16-bit samples at 16 kHz to 20 bands every 10 ms, 8 bits each.

A band is two equal band-pass sections one after the other, each a state-variable filter of two integrators
by the trapezoidal rule (A. Simper, "Linear trapezoidal integrated SVF", Cytomic, 2013), which is stable for
all coefficients.  Of one section, in: u, state: c1, c2, all of 24 bits with 6 fraction bits:

    v0 = K u                  K bandwidth over middle frequency: the middle passes with gain 1
    t  = c1 + G (v0 - c2)     G tan(pi f / RATE)
    v1 = A t                  A 1 / (1 + G (G + K)); the output
    v2 = c2 + G v1
    c1 = 2 v1 - c1            c2 = 2 v2 - c2

Every product with a coefficient of 16 fraction bits is rounded to the nearest, halves up.  Nothing saturates:
the sum of the magnitudes of every impulse response is below 4, so 24 bits hold every intermediate value.

    sum    = sum of |v1 of section 2| over 320 samples: this hop of 160 and the one before
    code   = clip(log2(sum) - OFFSET, 0, 255)

A tone of amplitude 1 (of 32,768) has code 0, one of full scale code 240; one code is 0.376 dB.  Both sections
have a zero at frequency 0, so there is no other DC blocker.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.front_end.log2 import log2
from equilif_golden.front_end.pdm import HI, LO

BANDS = 20
SECTIONS = 2
HOP = 160  #: samples
FRACTION = 6  #: of signals
COEFFICIENT_FRACTION = 16
WIDTH = 24  #: bits of signals
SUM_WIDTH = 32  #: bits of a sum, unsigned
OFFSET = 219  #: log2 of the sum of a tone of amplitude 1
#: (BANDS,), middle frequencies in Hz: evenly spaced on the mel scale from 0 to 4 kHz
FREQUENCIES = (
    66, 139, 219, 306, 402, 506, 621, 746, 883, 1033, 1198, 1378, 1575, 1791, 2028, 2287, 2570, 2881,
    3220, 3593,
)  # fmt: skip
#: (BANDS,), K, 16 fraction bits, 17 bits
K = np.array([
    107113, 55687, 38699, 30326, 25275, 21986, 19615, 17878, 16538, 15478, 14613, 13910, 13325, 12831,
    12407, 12046, 11737, 11464, 11230, 11020,
])  # fmt: skip
#: (BANDS,), G, 16 fraction bits
G = np.array([
    849, 1789, 2820, 3942, 5184, 6533, 8031, 9669, 11478, 13478, 15707, 18178, 20939, 24046, 27569, 31581,
    36196, 41608, 48009, 55817,
])  # fmt: skip
#: (BANDS,), A, 16 fraction bits
A = np.array([
    64166, 64004, 63797, 63537, 63212, 62811, 62315, 61709, 60971, 60077, 58995, 57700, 56156, 54321,
    52153, 49619, 46679, 43282, 39428, 35072,
])  # fmt: skip
COEFFICIENTS = np.stack([K, G, A])  #: (3, BANDS)


class Frames(NamedTuple):
    """codes (n, BANDS): 0 .. 255.  clipped (n,): a sample of the hop is at full scale.

    stuck (n,): all samples of the hop are equal to the last one before it, so there is no microphone.
    """

    codes: Raw
    clipped: npt.NDArray[np.bool_]
    stuck: npt.NDArray[np.bool_]


class FilterBank:
    """Filter bank with state: samples in blocks of any length.

    ``hop``, ``offset``: HOP and OFFSET; tests have a shorter hop, and codes of small sums.
    """

    def __init__(self, hop: int = HOP, offset: int = OFFSET) -> None:
        self.hop = check_int(hop, "hop", 2, HOP)
        self.offset = check_int(offset, "offset", 0, OFFSET)
        self._pending = np.zeros(0, np.int64)  #: less than a hop
        self._state = np.zeros((BANDS, SECTIONS, 2), np.int64)
        self._before = np.zeros(BANDS, np.int64)  #: sums of the last hop
        self._last = 0  #: sample

    def feed(self, samples: npt.ArrayLike) -> Frames:
        """Samples (m,), -32768 .. 32767, to the frames that are complete."""
        from equilif_golden.front_end.compiled import filter_hops

        pending = np.concatenate([self._pending, integers(samples, "samples", LO, HI)])
        n = len(pending) // self.hop
        hops = pending[: n * self.hop].reshape(n, self.hop)
        self._pending = pending[n * self.hop :]
        sums = np.zeros((n + 1, BANDS), np.int64)
        sums[0] = self._before
        filter_hops(hops, COEFFICIENTS, self._state, sums[1:], FRACTION, COEFFICIENT_FRACTION)
        self._before = sums[-1]
        codes = np.clip(log2(sums[1:] + sums[:-1]) - self.offset, 0, 255)
        last = np.concatenate([[self._last], hops[:, -1]])
        self._last = int(last[-1])
        clipped = ((hops == LO) | (hops == HI)).any(axis=1)
        return Frames(codes, clipped, (hops == last[:-1, None]).all(axis=1))
