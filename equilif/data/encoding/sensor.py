"""Series through the golden plain front end: readings of an ADC, then means and energies of windows.

Training, `equilif listen` and a board have the same samples of the same readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Longs
from equilif.data.formats import Series
from equilif_golden.fixed import Raw, check_int
from equilif_golden.front_end.channels import MAX_WINDOW, MAX_WINDOWS
from equilif_golden.front_end.sensor import MAX_CHANNELS, WIDTH, WINDOW, WINDOWS, Sensor

TOP = (1 << WIDTH) - 1  #: largest reading


class WindowSize(NamedTuple):
    """Size of a sample: log2 of the readings of a window, and number of windows."""

    window: int = WINDOW
    windows: int = WINDOWS


class WindowSamples(NamedTuple):
    """Samples (n, values), how many of them each series became, and number of values beyond the ADC."""

    values: Raw
    counts: Longs
    clipped: int


@dataclass(frozen=True, kw_only=True)
class SensorWindows:
    """The front end of a sensor, and the range of its ADC.

    ``window``: log2 of the readings of a window.  ``low``, ``high``: values of each channel that reading 0
    and the largest one stand for; empty where series hold readings.
    """

    channels: int
    window: int = WINDOW
    windows: int = WINDOWS
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_int(self.channels, "channels", 1, MAX_CHANNELS)
        check_int(self.window, ("data", "window"), 0, MAX_WINDOW)
        check_int(self.windows, ("data", "windows"), 1, MAX_WINDOWS)
        wanted = self.channels if self.low else 0
        if not len(self.low) == len(self.high) == wanted or any(
            a >= b for a, b in zip(self.low, self.high, strict=True)
        ):
            raise ValueError(f"low must be below high, both for {self.channels} channels or empty")

    @classmethod
    def fit(cls, x: Series, size: WindowSize) -> Self:
        """The range of training series: whole numbers in 0 .. TOP are readings.  ValueError for missing
        values, and for channels that a board does not hold.
        """
        frames = x.frames.astype(np.float64)
        channels = frames.shape[1]
        if channels > MAX_CHANNELS:
            raise ValueError(
                f"it has {channels} channels, a front end has at most {MAX_CHANNELS}: leave channels out"
            )
        if np.isnan(frames).any():
            raise ValueError("a sensor has no missing values: fill them in, or leave these series out")
        if not _bad(frames).any():
            return cls(channels=channels, window=size.window, windows=size.windows)
        low, high = frames.min(axis=0), frames.max(axis=0)
        high = np.where(high > low, high, low + 1)
        return cls(
            channels=channels,
            window=size.window,
            windows=size.windows,
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
        )

    @property
    def steps(self) -> int:
        """Readings of each channel in a sample."""
        return self.windows << self.window

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Channels, window and windows."""
        return self.channels, self.window, self.windows

    @property
    def size(self) -> int:
        """Values of a sample."""
        return 2 * self.channels * self.windows

    @property
    def note(self) -> str:
        """Note for the user who trains."""
        given = (
            f"readings of an ADC of {WIDTH} bits"
            if not self.low
            else f"the training range of each channel becomes the {WIDTH} bits of the ADC"
        )
        return (
            f"front end of a sensor: {described(self.channels, self.window, self.windows)} a sample; {given}"
        )

    def front_end(self) -> Sensor:
        """The golden model, as after power-on."""
        return Sensor(self.channels, self.window, self.windows)

    def names(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the values of a sample, from those of the channels."""
        found = [
            f"{c}, {kind} {k + 1}"
            for k in range(self.windows)
            for kind in ("mean", "energy")
            for c in channels
        ]
        return tuple(found)

    def channel_names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Names of the channels, from those of :meth:`names`."""
        return tuple(n.removesuffix(", mean 1") for n in names[: self.channels])

    def readings(self, frames: npt.ArrayLike, what: str) -> tuple[Raw, int]:
        """Readings (n, channels) of recorded values, and how many were beyond the range and clipped.
        ValueError for another number of channels, and for values that are no readings where the network has
        learned from readings.
        """
        x = np.asarray(frames, np.float64)
        if x.ndim != 2 or x.shape[1] != self.channels:
            raise ValueError(
                f"{what} have {x.shape[-1]} channels, the network has {self.channels}: give a value of each "
                "channel in each step, and no other columns"
            )
        if np.isnan(x).any():
            raise ValueError(f"{what} have missing values: fill them in, or leave these series out")
        if not self.low:
            bad = _bad(x)
            if bad.any():
                raise ValueError(
                    f"{what} must be readings of {WIDTH} bits as in training, whole numbers in 0..{TOP}, not "
                    f"{x[bad].flat[0]:g}"
                )
            return x.astype(np.int64), 0
        low, high = np.array(self.low), np.array(self.high)
        raw = np.rint((x - low) * (TOP / (high - low)))
        return np.clip(raw, 0, TOP).astype(np.int64), int(((x < low) | (x > high)).sum())

    def samples(self, x: Series, what: str) -> WindowSamples:
        """Samples of series, each of which begins after power-on; ValueError for one that is too short."""
        lengths = np.diff(x.off)
        self.check_steps(int(lengths.min()), f"{what}: series {int(lengths.argmin()) + 1}")
        readings, clipped = self.readings(x.frames, what)
        found = [[s.values for s in self.front_end().feed(readings[a:b])] for a, b in pairwise(x.off)]
        return WindowSamples(
            np.array([v for values in found for v in values]), np.array([len(v) for v in found]), clipped
        )

    def check_steps(self, steps: int, what: str) -> None:
        """ValueError for a recording that is too short for a sample."""
        if steps < self.steps:
            raise ValueError(
                f"{what} has {steps} steps, a sample of the front end {self.steps}: record longer ones, or "
                "train with fewer data.windows (a board needs the same number)"
            )


def mismatch(wanted: tuple[int, int, int], actual: tuple[int, int, int]) -> str:
    """Difference between a front end and that of training, or ""; channels, window and windows of both."""
    if wanted == actual:
        return ""
    return f"the network was trained on {described(*wanted)}, the front end has {described(*actual)}"


def described(channels: int, window: int, windows: int) -> str:
    """Sizes of a front end, for messages."""
    return f"{channels} channels, {windows} windows of {1 << window} readings"


def _bad(x: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Mask of values that are no readings."""
    bad: npt.NDArray[np.bool_] = (x < 0) | (x > TOP) | (x % 1 != 0)
    return bad
