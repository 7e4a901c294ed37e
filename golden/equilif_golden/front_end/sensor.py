"""Sensor at an ADC: readings become samples of a network, and these run on an engine instead of a host's.

A reading of ``width`` bits, unsigned, has the upper bits of a 16-bit sample; half of the range is 0.  The
plain front end (equilif_golden.front_end.channels) makes samples of the network from them.  One in which
every reading is 0, or every reading has all bits set, is *stuck*: no ADC is connected.

The live controller (equilif_golden.front_end.live) scales a code by its channel and by whether it is a mean
or an energy:

    input = clip(((code - center) scale) >> 4, 0, 255)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, integers
from equilif_golden.front_end.channels import Channels

WIDTHS = (10, 12)  #: bits of a reading
WIDTH = 12
WINDOW = 4  #: log2 of the readings of a window; it, WINDOWS and RATE_HZ are defaults
WINDOWS = 6  #: of a sample
RATE_HZ = 100  #: readings of a channel a second
SAMPLE = 16
SCALE_FRACTION = 4  #: fraction bits of a scale
MAX_CHANNELS = 15  #: whose scaling has room in the table of the live controller


class Captured(NamedTuple):
    """A sample of the network, and whether all its readings were stuck."""

    values: Raw
    stuck: bool


class Sensor:
    """Readings of all channels in turn to samples.  ``channels``, ``window``, ``windows``: see
    equilif_golden.front_end.channels.Channels; ``width``: bits of a reading.
    """

    def __init__(self, channels: int, window: int, windows: int, width: int = WIDTH):
        if width not in WIDTHS:
            raise ValueError(f"width must be one of {WIDTHS} bits, not {width}")
        self.width = width
        self.front_end = Channels(channels, window, windows)
        self.steps = windows << window  #: readings of each channel in a sample
        self._pending = np.zeros((0, channels), np.int64)

    @property
    def size(self) -> int:
        """Values of a sample."""
        return 2 * self.front_end.channels * self.front_end.windows

    def feed(self, readings: npt.ArrayLike) -> list[Captured]:
        """Readings (m, channels) to the samples that are complete."""
        top = (1 << self.width) - 1
        given = integers(readings, "readings", 0, top)
        values = self.front_end.feed((given - (top + 1 >> 1)) << (SAMPLE - self.width))
        pending = np.concatenate([self._pending, given])
        n = len(values)
        of_samples = pending[: n * self.steps].reshape(n, self.steps * self.front_end.channels)
        self._pending = pending[n * self.steps :]
        ends = (of_samples == 0).all(axis=1) | (of_samples == top).all(axis=1)
        return [Captured(v, bool(s)) for v, s in zip(values, ends, strict=True)]


class ChannelScaling(NamedTuple):
    """Scaling of codes: ``center``, ``scale`` (2 channels,), 0 .. 255; means, then energies."""

    center: Raw
    scale: Raw

    @classmethod
    def of(cls, values: Raw, channels: int) -> ChannelScaling:
        """The range of these samples (n, size) becomes 0 .. 255."""
        codes = values.reshape(-1, 2 * channels)
        return cls.of_range(codes.min(axis=0), codes.max(axis=0))

    @classmethod
    def of_range(cls, low: Raw, high: Raw) -> ChannelScaling:
        """Codes low .. high, (2 channels,), become 0 .. 255."""
        return cls(low, np.clip((255 << SCALE_FRACTION) // (high - low + 1), 1, 255))

    def inputs(self, values: Raw) -> Raw:
        """Inputs of a network (.., size)."""
        codes = values.reshape(-1, len(self.center))
        scaled = ((codes - self.center) * self.scale) >> SCALE_FRACTION
        inputs: Raw = np.clip(scaled, 0, 255).reshape(values.shape)
        return inputs
