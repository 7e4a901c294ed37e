"""Formats of own data: a class for each, found by the name of the file."""

from __future__ import annotations

from pathlib import Path

from equilif.data import FORMATS as PLACES
from equilif.data import SOURCES, Name, imported
from equilif.data.base.reading import check_range, reading
from equilif.data.formats.arrays import Npz as Npz
from equilif.data.formats.base import Columns as Columns
from equilif.data.formats.base import Content as Content
from equilif.data.formats.base import Format as Format
from equilif.data.formats.base import Part as Part
from equilif.data.formats.base import Read as Read
from equilif.data.formats.base import Series as Series
from equilif.data.formats.base import Texts as Texts
from equilif.data.formats.folders import require_classes
from equilif.data.formats.pictures import ImageFolders
from equilif.data.formats.series import SeriesFolders as SeriesFolders
from equilif.data.formats.series import Ts as Ts
from equilif.data.formats.sounds import SoundFolders as SoundFolders
from equilif.data.formats.tables import Csv as Csv
from equilif_golden import files

FORMATS: tuple[Format, ...] = tuple(imported(place)() for place in PLACES)
#: formats of recordings for a front end
FRONT_END = (Npz.name, Ts.name, SoundFolders.name, SeriesFolders.name)


def find(path: Path) -> Format:
    """The format of a file or folder; ValueError when none takes it."""
    for known in FORMATS:
        if known.claims(path):
            return known
    if not path.exists():
        raise ValueError(_absent(path))
    raise ValueError(f"{path} is of no known format: give {', '.join(f.what for f in FORMATS)}")


def _no_front_end(found: str) -> str:
    return (
        f"{found}: data.front_end is for words, {SoundFolders.what}, and for a sensor, {SeriesFolders.what}, "
        "a .ts file or an .npz file with offsets"
    )


def _absent(path: Path) -> str:
    advice = ""
    if str(path) in set(Name):
        loader = SOURCES[Name(str(path))].loader
        advice = f": give a file or folder of your own, or load {path} with equilif.data.{loader}"
    return f"there is no {path}{advice}"


def read(path: Path, columns: Columns) -> tuple[Format, Content]:
    """A file's format and content; ``columns`` where it is a table."""
    known = find(path)
    if not path.exists():
        raise ValueError(_absent(path))
    if known.name == ImageFolders.name:  # it claims every folder
        require_classes(path)
    if columns.front_end and known.name not in FRONT_END:
        found = "has no recording in a class folder" if path.is_dir() else f"is {known.what}"
        raise ValueError(_no_front_end(f"{path} {found}"))
    for option, column in zip(("--label", "data.text"), columns[:2], strict=True):
        if column is not None and not known.labelled:
            raise ValueError(
                f"{option} names a column of a table, {path} is {known.what} and has none: leave it out"
            )
    files.reads(path)
    content = known.read(path, columns)
    if columns.front_end and not isinstance(content.train.x, Series):
        raise ValueError(_no_front_end(f"{path} holds no series"))
    with reading(path):
        content = content.composed()
    for part in content.parts:
        check_range(part.numbers, str(path))
    return known, content
