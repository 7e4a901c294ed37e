"""Plain front end: samples of several channels to means and energies of windows, 8 bits, for a sensor.

16-bit samples of CHANNELS channels in turn, from an SPI ADC or a byte stream (two bytes, the low one first).
A window is 2**k samples of each channel.  Of channel c in a window:

    mean       clip((sum x >> (k + 8)) + 128, 0, 255)
    energy     clip(log2(sum |x - reference| >> k), 0, 255)
    reference  sum x >> k of the window before; of the first window its first sample

A sample of the network is ``windows`` windows one after the other, all means of a window and then all its
energies: ``windows`` x 2 x channels values.  The next sample begins with the next window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.front_end.log2 import log2
from equilif_golden.front_end.pdm import HI, LO

MAX_CHANNELS = 16
MAX_WINDOW = 10  #: log2 of samples
MAX_WINDOWS = 64


class Channels:
    """Plain front end with state.  ``channels``; ``window``: log2 of samples; ``windows`` of a sample."""

    def __init__(self, channels: int, window: int, windows: int):
        self.channels = check_int(channels, "channels", 1, MAX_CHANNELS)
        self.window = check_int(window, "window", 0, MAX_WINDOW)
        self.windows = check_int(windows, "windows", 1, MAX_WINDOWS)
        self.reset()

    def reset(self) -> None:
        """Forget what has come in."""
        self._bytes = b""
        self._pending = np.zeros((0, self.channels), np.int64)
        self._reference: Raw | None = None
        self._features = np.zeros((0, 2 * self.channels), np.int64)

    def feed_bytes(self, stream: bytes) -> Raw:
        """Bytes of samples to the samples of the network that are complete."""
        pending = self._bytes + stream
        n = len(pending) // (2 * self.channels) * 2 * self.channels
        self._bytes = pending[n:]
        return self.feed(np.frombuffer(pending[:n], "<i2").reshape(-1, self.channels))

    def feed(self, samples: npt.ArrayLike) -> Raw:
        """Samples (m, channels), -32768 .. 32767, to those of the network (n, windows x 2 x channels)."""
        given = integers(samples, "samples", LO, HI)
        if given.ndim != 2 or given.shape[1] != self.channels:
            raise ValueError(f"samples must have shape (n, {self.channels}), not {given.shape}")
        pending = np.concatenate([self._pending, given])
        size = 1 << self.window
        n = len(pending) // size
        self._pending = pending[n * size :]
        found = [self._window(w) for w in pending[: n * size].reshape(n, size, self.channels)]
        features = np.concatenate([self._features, *(f[None] for f in found)])
        k = len(features) // self.windows
        self._features = features[k * self.windows :]
        return features[: k * self.windows].reshape(k, 2 * self.channels * self.windows)

    def _window(self, x: Raw) -> Raw:
        reference = x[0] if self._reference is None else self._reference
        self._reference = x.sum(axis=0) >> self.window
        mean = np.clip((x.sum(axis=0) >> (self.window + 8)) + 128, 0, 255)
        energy = np.clip(log2(np.abs(x - reference).sum(axis=0) >> self.window), 0, 255)
        return np.concatenate([mean, energy])
