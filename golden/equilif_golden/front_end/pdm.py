"""PDM microphone: one bit at 1.024 MHz to 16-bit samples at 16 kHz.

    bit 1 is +1, bit 0 is -1
    CIC decimator    order 4, ratio 32: four integrators at the bit rate, four combs at 32 kHz, in
                     integers of CIC_WIDTH bits that wrap; its result, -2**20 .. 2**20, >> CIC_SHIFT
    FIR 2:1          y[n] = (sum_j TAPS[j] x[2 n + 1 - j] + 2**(FIR_SHIFT - 1)) >> FIR_SHIFT, saturated

The FIR is symmetric.  It also corrects the droop of the CIC: the chain is flat within 0.05 dB up to 6 kHz
and attenuates what folds below 6 kHz by 53 dB.  Full scale of the bits is full scale of the samples.

:class:`Modulator` is the other way: what a microphone makes of samples, for tests and simulation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, integers
from equilif_golden.lazy import lazy

with lazy():  # needs Numba
    from equilif_golden.front_end import compiled

RATE = 16_000  #: samples a second
OVERSAMPLING = 64  #: bits a sample
ORDER = 4
RATIO = 32  #: of the CIC decimator
CIC_WIDTH = 22  #: bits of integrators and combs
CIC_SHIFT = 4  #: 22 bits to 18
HALF = (2266, 1388, -101, -545, -30, 272, 45, -139, -38, 65, 25, -26, -13, 7, 5)  #: middle tap first
TAPS = np.array([*HALF[:0:-1], *HALF])  #: (29,), their sum is 4096
FIR_SHIFT = 13
LO = -(1 << 15)
HI = (1 << 15) - 1
#: numerator and denominator: part of full scale that :class:`Modulator` makes of full-scale samples
MODULATION = (3, 4)


class Pdm:
    """Decimator with state: bits in blocks of any length."""

    def __init__(self) -> None:
        self._bits = np.zeros(0, np.int64)  #: less than a CIC sample
        self._integrators = np.zeros(ORDER, np.int64)
        self._combs = np.zeros(ORDER, np.int64)
        self._x = np.zeros(len(TAPS) - 2, np.int64)  #: CIC samples, the next output first needs two more

    def feed(self, bits: npt.ArrayLike) -> Raw:
        """Bits (n,), 0 or 1, to the samples (m,) that are complete, -32768 .. 32767."""
        pending = np.concatenate([self._bits, integers(bits, "bits", 0, 1)])
        n = len(pending) // RATIO * RATIO
        self._bits = pending[n:]
        self._x = np.concatenate([self._x, self._cic(pending[:n])])
        m = (len(self._x) - (len(TAPS) - 2)) // 2
        windows = np.lib.stride_tricks.sliding_window_view(self._x, len(TAPS))[::2][:m] if m else self._x[:0]
        y = (windows @ TAPS + (1 << (FIR_SHIFT - 1))) >> FIR_SHIFT if m else windows
        self._x = self._x[2 * m :]
        return np.clip(y, LO, HI)

    def _cic(self, bits: Raw) -> Raw:
        """Bits (32 m,) to CIC samples (m,)."""
        x = np.zeros(len(bits) // RATIO, np.int64)
        compiled.decimate(bits, self._integrators, self._combs, x, (1 << CIC_WIDTH) - 1)
        half = 1 << (CIC_WIDTH - 1)
        return ((x ^ half) - half) >> CIC_SHIFT  # as a signed number


class Modulator:
    """Second-order sigma-delta modulator with state: samples in blocks of any length.

    The quantiser has a dither of half of its step, by a linear congruential generator: digital silence does
    not become bits without noise, which no microphone makes.
    """

    def __init__(self) -> None:
        #: the last sample, the last two errors, and the generator
        self._state = np.zeros(4, np.int64)

    def feed(self, samples: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """16-bit samples (n,) at 16 kHz to bits (64 n,).

        Full scale becomes MODULATION of the full scale of bits.  Samples are interpolated linearly.
        """
        x = integers(samples, "samples", LO, HI)
        bits = np.zeros(len(x) * OVERSAMPLING, np.uint8)
        compiled.modulate_samples(x, bits, self._state, OVERSAMPLING, *MODULATION)
        return bits


def modulate(samples: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """:meth:`Modulator.feed` of a whole stream."""
    return Modulator().feed(samples)
