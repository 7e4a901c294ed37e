"""Running scale: a stream of integers to inputs of a network, by mean and deviation of the last ones.

A value is an integer of VALUE_BITS, signed; mean and deviation have FRACTION fraction bits.  Of sample n,
counted from 1:

    k          floor(log2 n), at most MEMORY_BITS
    step       (value << FRACTION) - mean
    mean       += step >> k
    deviation  += (|step| - deviation) >> k;  0 after the first sample

so the weight of a sample is a power of two: at first about 1/n, then 1/256, and earlier samples fade.  The
deviation is the mean absolute one.  A value has two inputs, for the part above the mean and the part below:

    distance   (value << FRACTION) - mean for the first input, mean - (value << FRACTION) for the second
    unit       deviation, at least that of a value of 1
    input      clip((255 distance + unit) // (2 unit), 0, 255)

so two deviations are 255.  There is no multiplication but by 255, and the quotient has 8 bits: as many steps
of a serial divider.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw

VALUE_BITS = 32
FRACTION = 16
MEMORY_BITS = 8
MEMORY = 1 << MEMORY_BITS  #: samples that a scale remembers
ONE = 1 << FRACTION
TOP = 255  #: the largest input
FULL = 2  #: deviations that fill an input
BEYOND = 3  #: times FULL: values that are counted as beyond the scale


class RunningScale(NamedTuple):
    """State after ``samples``: ``mean`` and ``deviation`` of each column, (width,)."""

    samples: int
    mean: Raw
    deviation: Raw

    @classmethod
    def of(cls, values: Raw) -> RunningScale:
        """Statistics of samples (n, width) of equal weight."""
        mean = _mean(values << FRACTION)
        return cls(len(values), mean, _mean(np.abs((values << FRACTION) - mean)))

    def follow(self, value: Raw) -> RunningScale:
        """The state after another sample (width,)."""
        n = self.samples + 1
        k = min(n.bit_length() - 1, MEMORY_BITS)
        step = (value << FRACTION) - self.mean
        deviation = self.deviation + (np.abs(step) - self.deviation >> k)
        return RunningScale(n, self.mean + (step >> k), deviation if self.samples else 0 * deviation)

    @property
    def unit(self) -> Raw:
        """Deviation that inputs are divided by."""
        return np.maximum(self.deviation, ONE)

    def inputs(self, values: Raw) -> tuple[npt.NDArray[np.uint8], int]:
        """Inputs (n, 2 width) of samples (n, width), and the number of values that are beyond the scale."""
        distance = (values << FRACTION) - self.mean
        both = np.stack([distance, -distance], axis=2)
        unit = self.unit[:, None]
        found = np.clip((TOP * both + unit * (FULL // 2)) // (unit * FULL), 0, TOP).astype(np.uint8)
        beyond = both > BEYOND * FULL * unit
        return found.reshape(len(values), -1), int(beyond.sum())


def _mean(values: Raw) -> Raw:
    """Mean of (n, width), rounded down; sums may have more than 64 bits."""
    high, low = (part.sum(axis=0).tolist() for part in (values >> 32, values & 0xFFFFFFFF))
    return np.array([((a << 32) + b) // len(values) for a, b in zip(high, low, strict=True)], np.int64)
