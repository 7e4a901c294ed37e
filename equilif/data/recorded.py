"""Recordings of a sensor as readings of an ADC, for a network that was trained on such ones."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from equilif.data import formats
from equilif.data.about import About
from equilif.data.formats import Columns, Content, Csv, Npz, Part, Series, SeriesFolders, Ts
from equilif.data.formats.series import read_csv
from equilif.data.reading import check_range, reading
from equilif_golden.fixed import Raw

READINGS = (
    "give recorded readings, a CSV file, a .ts file, an .npz file with offsets or a folder of class folders "
    "of CSV files"
)
SERIES = (Npz.name, Ts.name, SeriesFolders.name)


class Recording(NamedTuple):
    """Readings (n, channels) of whole samples.  ``label``: the class, where the file says it."""

    source: str
    readings: Raw
    label: str = ""


def recordings(about: About, path: Path) -> list[Recording]:
    """Recordings of a CSV file, in whose columns are the channels, or of a file or folder of series: of its
    test part when it has one.  ``about``: data of a network for a sensor.

    ValueError for another file, other channels, values beyond the ADC, and a recording without a sample.
    """
    sensor = about.encoding.sensor
    assert sensor is not None
    known = formats.find(path)
    if known.name == Csv.name:
        names, frames = read_csv(path)
        check_range(frames, str(path))
        given = [(str(path), "", frames)]
    elif known.name in SERIES:
        names, part = _series(path, about)
        x = part.x
        assert isinstance(x, Series)
        given = [
            (f"{path} {k + 1}", str(name), x.frames[x.off[k] : x.off[k + 1]])
            for k, name in enumerate(part.labels)
        ]
    else:
        raise ValueError(f"{path} is {known.what}, the network hears a sensor: {READINGS}")
    expected = about.encoding.read_names(about.scaling.names)
    found = []
    for source, label, frames in given:
        readings, _ = sensor.readings(frames, f"{source}: its values")
        sensor.check_steps(len(readings), source)
        found.append(Recording(source, readings[: len(readings) // sensor.steps * sensor.steps], label))
    with reading(path):
        if names and expected and names != expected:
            raise ValueError(
                f"its channels are {', '.join(names)}, those of training {', '.join(expected)}: give them in "
                "this order"
            )
    return found


def _series(path: Path, about: About) -> tuple[tuple[str, ...], Part]:
    """Names of the channels, and the part that is played."""
    content: Content = formats.read(path, Columns(front_end=True))[1]
    return content.names, content.test or content.train
