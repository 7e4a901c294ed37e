"""Time series: ``.ts`` files of the UCR and UEA archives, and folders of CSV recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equilif.data.base.arrays import Floats
from equilif.data.base.reading import content_of, reading, reals, text
from equilif.data.formats.arrays import of_series
from equilif.data.formats.base import Columns, Content, Part, Series
from equilif.data.formats.folders import TABLES, Files
from equilif.data.formats.tables import NUMBER, numbers_of, rows_of

#: what a header says of what is not read, and the reason
REFUSED = {
    "@timestamps true": "steps with time stamps are not read: write series of even steps",
    "@classlabel false": "it has no classes to learn",
    "@targetlabel true": "its labels are measurements, not classes",
}


FILES = Files(TABLES, "CSV recording")


class SeriesFolders:
    """``walking/1.csv``, ``standing/7.csv``: a folder is a class; or the same below ``train`` and ``test``.

    A file is a series, see :func:`read_csv`; all have the same channels.
    """

    name = "recordings"
    what = "a folder of class folders of CSV recordings"
    labelled = False

    def claims(self, path: Path) -> bool:
        return FILES.among(path)

    def read(self, path: Path, columns: Columns) -> Content:
        listed = FILES.listed(path)
        first = listed[0][0][0]
        channels, values = read_csv(first)
        width = values.shape[1]
        parts = [
            Part(
                Series.of([_recording(file, first, channels, width) for file, _ in part]),
                np.array([name for _, name in part]),
            )
            for part in listed
        ]
        notes = tuple(FILES.left_out(path))
        test = parts[1] if len(parts) > 1 else None
        return Content(parts[0], test, names=channels, shape=(width,), notes=notes)


def _recording(file: Path, first: Path, channels: tuple[str, ...], width: int) -> Floats:
    names, values = read_csv(file)
    if values.shape[1] != width:
        raise ValueError(
            f"{file} has {values.shape[1]} channels, {first} {width}: all recordings need the same"
        )
    if names != channels:
        raise ValueError(
            f"{file} has the channels {', '.join(names) or 'without names'}, {first} "
            f"{', '.join(channels) or 'without names'}: all recordings need the same"
        )
    return values


def read_csv(path: Path) -> tuple[tuple[str, ...], Floats]:
    """Names of the channels and a recording (steps, channels), NaN where a value is missing: a step a line, a
    column a channel.  The first line has the names, or there are none.
    """
    rows = list(rows_of(path))
    if not rows:
        raise ValueError(f"{path} is empty: it needs a line for each step, a column for each channel")
    first = rows[0][1]
    named = not all(NUMBER.fullmatch(cell) for cell in first)
    names = tuple(first) if named else ()
    columns = names or tuple(f"column {k + 1}" for k in range(len(first)))
    steps = []
    for line, row in rows[named:]:
        if len(row) != len(columns):
            raise ValueError(
                f"{path} line {line} has {len(row)} cells, its first {len(columns)}: each line has a cell "
                "for each channel"
            )
        steps.append(numbers_of(path, line, columns, row))
    if not steps:
        raise ValueError(f"{path} has a header and no steps: it needs a line for each step")
    return names, np.array(steps)


class Ts:
    """A series a line: channels between colons, steps between commas, then the class.

    Series may differ in length.  ``X_TRAIN.ts`` has its test part in ``X_TEST.ts`` beside it, when it is
    there.
    """

    name = "ts"
    what = "a .ts file of series"
    labelled = False

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() == ".ts" and not path.is_dir()

    def read(self, path: Path, columns: Columns) -> Content:
        sibling = path.with_name(path.name.replace("_TRAIN.", "_TEST."))
        files = [path, sibling] if sibling != path and sibling.exists() else [path]
        parts = [self._part(file) for file in files]
        with reading(path):
            found = of_series(*parts)
        notes = (f"test part: {sibling.name}",) if len(files) > 1 else ()
        return Content(found.train, found.test, shape=found.shape, notes=notes)

    def _part(self, path: Path) -> Part:
        content = text(path, content_of(path))
        for line in content.lower().splitlines():
            tag = " ".join(line.split()[:2])
            if tag in REFUSED:
                raise ValueError(f"{path} says {tag}: {REFUSED[tag]}")
            if tag == "@data":
                break
        series, labels = read_ts(str(path), content, missing=True)
        return Part(Series.of(series), np.array(labels))


def read_ts(name: str, content: str, *, missing: bool = False) -> tuple[list[Floats], list[str]]:
    """The .ts format of time series: series (T, channels) and their labels; ``name`` is for messages.

    ``missing``: whether values may be missing (``?``); they are NaN then.
    """
    series: list[Floats] = []
    labels: list[str] = []
    begun = False
    for number, line in enumerate(content.splitlines(), 1):
        if not begun or not line.strip():
            begun = begun or line.strip().lower() == "@data"
            continue
        *channels, label = line.strip().split(":")
        try:
            if len({c.count(",") for c in channels}) > 1:
                raise ValueError("channels differ in length")
            cells = [["nan" if v.strip() == "?" else v for v in c.split(",")] for c in channels]
            x = np.array(cells, np.float64)
            reals(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf) if missing else x, "values")
            if x.ndim != 2 or not label.strip() or (series and x.shape[0] != series[0].shape[1]):
                raise ValueError("channels differ")
        except ValueError as e:
            raise ValueError(
                f"{name} line {number} is not channels of numbers and a label between colons: {e}"
            ) from e
        series.append(x.T)
        labels.append(label.strip())
    if not series:
        raise ValueError(f"{name} holds no series after @data")
    return series, labels
