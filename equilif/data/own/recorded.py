"""Recordings of a sensor as readings of an ADC, for a network that was trained on such ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equilif.data import formats
from equilif.data.base.reading import check_range, reading
from equilif.data.encoding.about import About
from equilif.data.formats import Columns, Content, Csv, Npz, Part, Series, SeriesFolders, Ts
from equilif.data.formats.series import read_csv
from equilif.data.own.parts import matched
from equilif_golden.fixed import Raw

READINGS = (
    "give recorded readings, a CSV file, a .ts file, an .npz file with offsets or a folder of class folders "
    "of CSV files"
)
SERIES = (Npz.name, Ts.name, SeriesFolders.name)


class Recording(NamedTuple):
    """Readings (n, channels) of whole samples.  ``label``: the class, where the file says it; ``clipped``:
    number of values beyond the range of the ADC.
    """

    source: str
    readings: Raw
    label: str = ""
    clipped: int = 0


def recordings(about: About, path: Path) -> list[Recording]:
    """Recordings of a CSV file, in whose columns are the channels, or of a file or folder of series: of its
    test part when it has one.  ``about``: data of a network for a sensor.

    ValueError for another file, other channels, values beyond the ADC, and a recording without a sample.
    """
    sensor = about.encoding.sensor
    assert sensor is not None
    known = formats.find(path)
    if known.name == Csv.name:
        content = _stream(path)
    elif known.name in SERIES:
        content = formats.read(path, Columns(front_end=True))[1]
    else:
        raise ValueError(f"{path} is {known.what}, the network hears a sensor: {READINGS}")
    with reading(path):
        content = matched(content, about)
    part = content.test or content.train
    x = part.x
    if not isinstance(x, Series):
        raise ValueError(f"{path} holds no series, the network hears a sensor: {READINGS}")
    found = []
    for k, (first, end) in enumerate(pairwise(x.off)):
        source = str(path) if known.name == Csv.name else f"{path} {k + 1}"
        readings, clipped = sensor.readings(x.frames[first:end], f"{source}: its values")
        sensor.check_steps(len(readings), source)
        whole = readings[: len(readings) // sensor.steps * sensor.steps]
        found.append(Recording(source, whole, str(part.labels[k]), clipped))
    return found


def _stream(path: Path) -> Content:
    """A CSV file as one series without a class."""
    names, frames = read_csv(path)
    check_range(frames, str(path))
    return Content(Part(Series.of([frames]), np.array([""])), names=names, shape=frames.shape[1:])
