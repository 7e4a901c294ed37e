"""Sensor at an ADC: readings become samples of a network, and these run on an engine instead of a host's.

A reading of ``width`` bits, unsigned, has the upper bits of a 16-bit sample; half of the range is 0.  The
plain front end (equilif_golden.front_end.channels) makes samples of the network from them.  One in which
every reading is 0, or every reading has all bits set, is *stuck*: no ADC is connected.

The controller scales a code by its channel and by whether it is a mean or an energy:

    input = clip(((code - center) scale) >> 4, 0, 255)

The host loads program, constants and weights as for any training, then the :class:`SensorTable` of the
network.  It is in the place of equilif_golden.front_end.live.Table, with the same labels and answers, the
address of the inputs where that has the address of presence, and bytes (center, scale) of the channels' means
and then of their energies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Engine, Region
from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.front_end.channels import Channels
from equilif_golden.front_end.live import (
    CLASSES,
    LABEL,
    MAGIC,
    MAX_CLASSES,
    NO_LABEL,
    NUMBER,
    PRESENT,
    SCALING,
    TABLE_BYTES,
    TARGET,
    require_table,
    table_first,
)
from equilif_golden.network import Network

WIDTHS = (10, 12)  #: bits of a reading
WIDTH = 12
WINDOW = 4  #: log2 of the readings of a window; it, WINDOWS and RATE_HZ are defaults
WINDOWS = 6  #: of a sample
RATE_HZ = 100  #: readings of a channel a second
SAMPLE = 16
INPUTS = PRESENT  #: bytes of the table: address of the inputs
SCALE_FRACTION = 4  #: fraction bits of a scale
MAX_CHANNELS = (NUMBER - SCALING) // 4  #: whose scaling has room in the table


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


def placed(network: Network, size: int, config: EngineConfig) -> Compiled:
    """The network on an engine with the controller of samples of ``size`` values; ValueError for a network
    that has other inputs, CapacityError if it does not fit or needs the values of the table.
    """
    if network.n_inputs != size or len(network.inputs) != 1 or network.windowed or network.maps:
        raise ValueError(
            f"the network must have a single population of {size} inputs, neither maps nor "
            f"attention: it has {network.n_inputs} inputs"
        )
    check_int(network.n_outputs, "classes", 1, MAX_CLASSES)
    compiled = Compiled(network, config)
    require_table(compiled)
    return compiled


class SensorTable(NamedTuple):
    """What the controller knows of a network, whose inputs are ``size`` values of a sensor."""

    network: Network
    size: int
    scaling: ChannelScaling

    def content(self, config: EngineConfig) -> Raw:
        """Bytes (TABLE_BYTES,); errors as of :func:`placed`."""
        net = self.network
        compiled = placed(net, self.size, config)
        out = np.zeros(TABLE_BYTES, np.int64)
        out[0], out[CLASSES], out[LABEL] = MAGIC, net.n_outputs, NO_LABEL
        target = compiled.groups[compiled.target].first * config.lanes
        for at, value in ((INPUTS, compiled.sample_first), (TARGET, target)):
            out[at : at + 2] = value & 0xFF, value >> 8
        pairs = np.column_stack(self.scaling).ravel()
        if len(pairs) > 4 * MAX_CHANNELS or self.size % len(self.scaling.center):
            raise ValueError(
                f"a scaling has two entries for each of up to {MAX_CHANNELS} channels, which divide "
                f"{self.size} values, not {len(self.scaling.center)}"
            )
        out[SCALING : SCALING + len(pairs)] = pairs
        return out

    def load(self, engine: Engine) -> None:
        """Write the table."""
        engine.write(Region.VALUE, table_first(engine.config), self.content(engine.config))
