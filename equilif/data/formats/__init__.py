"""Formats of own data: a class for each, found by the name of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equilif.data.formats.arrays import Npz
from equilif.data.formats.base import Content as Content
from equilif.data.formats.base import Format as Format
from equilif.data.formats.base import Part as Part
from equilif.data.formats.pictures import ImageFolders
from equilif.data.formats.tables import Csv, Parquet

FORMATS: tuple[Format, ...] = (Npz(), Csv(), Parquet(), ImageFolders())


def find(path: Path) -> Format:
    """The format of a file or folder; ValueError when none takes it."""
    for known in FORMATS:
        if known.claims(path):
            return known
    if not path.exists():
        raise ValueError(f"there is no {path}")
    raise ValueError(f"{path} is of no known format: give {', '.join(f.what for f in FORMATS)}")


def read(path: Path, label: str | None) -> tuple[Format, Content]:
    """A file's format and content; ``label``: name of the column of classes, where there are columns."""
    known = find(path)
    if not path.exists():
        raise ValueError(f"there is no {path}")
    if label is not None and not known.labelled:
        raise ValueError(
            f"--label names a column of a table, {path} is {known.what} and has none: leave it out"
        )
    content = known.read(path, label)
    for part in (content.train, content.test):
        if part is not None and np.isinf(part.x).any():
            raise ValueError(f"{path} has values that are infinite: inputs must be finite numbers")
    return known, content
