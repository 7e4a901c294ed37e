"""Tables: a line a sample, a column a value, and a column with the class."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.base.reading import lines, reading, text
from equilif.data.formats.arrays import names as typed
from equilif.data.formats.base import Columns, Content, Part, Texts
from equilif_golden.extras import needs

#: what stands for a value that is not there
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
#: a whole number, as it is written in a column of floats
FLOAT = re.compile(r"(0|[1-9]\d*)\.0", re.ASCII)
#: of a line that holds nothing but numbers, so that it can be read at once
PLAIN = re.compile(r"[0-9eE+\-. ]*", re.ASCII)
MAX_CELLS = 1 << 28  #: of a table that is packed


class Csv:
    """Comma-separated (``.csv``, also with semicolons) or tab-separated (``.tsv``) text, with a header.

    UTF-8; numbers have a decimal point.  Lines are read by Python's csv module.
    """

    name = "csv"
    what = "a .csv or .tsv table"
    labelled = True

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in (".csv", ".tsv") and not path.is_dir()

    def read(self, path: Path, columns: Columns) -> Content:
        rows = rows_of(path)
        header = next(rows, (0, []))[1]
        column = label_column(path, header, columns.label)
        if columns.text is not None:
            text_column = _column(path, header, columns.text, "data.text", "the texts", column)
        names = tuple(name for k, name in enumerate(header) if k != column)
        samples = []
        classes = []
        texts = []
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(
                    f"{path} line {line} has {len(row)} cells, its header {len(header)}: each line has one "
                    "cell a column"
                )
            classes.append(_class(path, line, header[column], row[column]))
            if columns.text is None:
                samples.append(numbers_of(path, line, names, row[:column] + row[column + 1 :]))
            else:
                texts.append(_text(path, line, columns.text, row[text_column]))
        if not classes:
            raise ValueError(f"{path} has a header and no samples: it needs a line for each sample")
        labels = _classes(path, header[column], classes)
        if columns.text is not None:
            return _of_texts(texts, labels, header, columns)
        return Content(Part(np.array(samples), labels), names=names, shape=(len(names),))


def _of_texts(
    texts: list[str], classes: npt.NDArray[np.str_], header: list[str], columns: Columns
) -> Content:
    """A column of texts; a note names the columns that are not read."""
    others = [name for name in header if name not in columns]
    notes = (f"columns that are not read: {', '.join(others[:12])}",) if others else ()
    return Content(Part(Texts(tuple(texts)), classes), notes=notes)


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, by number, as cells."""
    rows = (text(f"{path} line {k + 1}", raw) for k, raw in enumerate(lines(path)))
    first = next(rows, "").removeprefix("\ufeff")
    if path.suffix.lower() == ".tsv":
        mark = "\t"
    else:
        mark = ";" if ";" in first and "," not in first else ","

    with reading(path):
        reader = csv.reader(chain([first], rows), delimiter=mark, strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, [cell.strip() for cell in row]
        except csv.Error as e:
            raise ValueError(
                f"after line {reader.line_num}: {e}; a cell that begins with a quotation mark ends with one, "
                "and within it each is written twice"
            ) from e


def label_column(path: Path, header: list[str], label: str | None) -> int:
    """Find the column of the classes; ValueError when the first line is no header, or has no such column."""
    _check_header(path, header)
    _check_names(path, header, label)
    return _column(path, header, label, "--label", "the classes")


def _check_header(path: Path, header: list[str]) -> None:
    """ValueError unless each column has a name, and each another."""
    if not any(header):
        raise ValueError(f"{path} is empty: it needs a line with the names of its columns, then samples")
    if "" in header:
        raise ValueError(
            f"{path}: column {header.index('') + 1} has no name; name it, or leave it out (pandas: "
            "to_csv(..., index=False))"
        )
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise ValueError(f"{path} has two columns {name!r}: column names must be unique")
        seen.add(name)
    if len(header) < 2:
        raise ValueError(f"{path} has one column, {header[0]!r}: it needs a class and a value at least")


def _check_names(path: Path, header: list[str], label: str | None) -> None:
    """ValueError when the first line is a sample: numbers, all or all but one.

    They are names where ``label`` is a word among them, or one of them and they count from 0 or 1.
    """
    numbers = [name for name in header if NUMBER.fullmatch(name)]
    counted = [[str(k + first) for k in range(len(numbers))] for first in (0, 1)]
    named = label in header and (label not in numbers or numbers in counted)
    if len(numbers) >= max(1, len(header) - 1) and not named:
        raise ValueError(
            f"{path} has no header: its first line is {', '.join(header[:4])[:80]}...; put a line with a "
            "name for each column before it"
        )


def _column(
    path: Path, header: list[str], name: str | None, option: str, what: str, excluded: int = -1
) -> int:
    """Find the column of ``what``; not column ``excluded``."""
    listed = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
    if name is None:
        raise ValueError(f"which column of {path} holds {what}? Give {option}, one of {listed}")
    if name not in header:
        raise ValueError(f"{path} has no column {name!r}: {option} must be one of {listed}")
    if header.index(name) == excluded:
        raise ValueError(
            f"--label and data.text are both {name!r}: texts and classes are two columns of {path}"
        )
    return header.index(name)


def _text(path: Path, line: int, name: str, cell: str) -> str:
    """A text; ValueError when there is none."""
    if not cell.strip():
        raise ValueError(f"{path} line {line} has no text in {name!r}: fill it in, or leave the line out")
    return cell


def _class(path: Path, line: int, name: str, cell: str) -> str:
    """A cell that names a class, as it is written."""
    if cell.casefold() in MISSING:
        raise ValueError(f"{path} line {line} has no class in {name!r}: fill it in, or leave the line out")
    if NUMBER.fullmatch(cell) and not (0 <= float(cell) < 1 << 53 and float(cell) % 1 == 0):
        raise ValueError(
            f"{path} line {line}: {name!r} must hold classes, names or whole numbers from 0, not {cell}"
        )
    return cell


def _classes(path: Path, name: str, cells: list[str]) -> npt.NDArray[np.str_]:
    """Class names as written, except that 1.0 is the class 1: a column of floats writes integers so."""
    written = set(cells)
    for cell in written:
        if FLOAT.fullmatch(cell) and cell.removesuffix(".0") in written:
            raise ValueError(
                f"{path}: {name!r} holds {cell} and {cell.removesuffix('.0')}: write each class in one way"
            )
    return np.array([c.removesuffix(".0") if FLOAT.fullmatch(c) else c for c in cells])


def numbers_of(path: Path, line: int, names: tuple[str, ...], row: list[str]) -> npt.NDArray[np.float64]:
    """The values of a line, NaN where one is missing."""
    if PLAIN.fullmatch("".join(row)) and "" not in row:
        try:
            return np.array([float(cell) for cell in row])
        except ValueError:
            pass  # said below
    values = []
    for name, cell in zip(names, row, strict=True):
        if cell.casefold() in MISSING:
            values.append(np.nan)
        elif NUMBER.fullmatch(cell):
            values.append(float(cell))
        else:
            raise ValueError(f"{path} line {line}: {_no_number(name, cell)}")
    return np.array(values)


def _no_number(name: str, cell: str) -> str:
    if COMMA.fullmatch(cell):
        return f"{name!r} is {cell!r}: write numbers with a decimal point"
    return (
        f"{name!r} is {cell[:40]!r}, no number: leave this column out, write its values as numbers, or learn "
        "from texts with data.text"
    )


class Parquet:
    """A table of Apache Parquet, read by pyarrow."""

    name = "parquet"
    what = "a .parquet table"
    labelled = True

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() == ".parquet" and not path.is_dir()

    def read(self, path: Path, columns: Columns) -> Content:
        with needs("parquet"):
            from pyarrow import parquet
        with reading(path, "a Parquet table"):
            file = parquet.ParquetFile(path)
            header = [str(name) for name in file.schema_arrow.names]
            rows = file.metadata.num_rows
        if rows * max(1, len(header)) > MAX_CELLS:
            raise ValueError(f"{path} would have {rows:,} rows of {len(header):,}: take a part of them")
        _check_header(path, header)
        column = _column(path, header, columns.label, "--label", "the classes")
        if not rows:
            raise ValueError(f"{path} has no rows: it needs one for each sample")
        with reading(path, "a Parquet table"):
            table = file.read()
            given = table.column(column).to_pylist()
        with reading(path):
            classes = typed(given, repr(header[column]))
        for k, cell in enumerate(classes):
            _class(path, k + 1, header[column], str(cell))
        if columns.text is not None:
            place = _column(path, header, columns.text, "data.text", "the texts", column)
            cells = table.column(place).to_pylist()
            texts = [_text(path, k + 1, columns.text, self._cell(path, c)) for k, c in enumerate(cells)]
            return _of_texts(texts, classes, header, columns)
        names = tuple(name for k, name in enumerate(header) if k != column)
        values = [self._values(path, n, table.column(k)) for k, n in enumerate(header) if k != column]
        part = Part(np.stack(values, axis=1), classes)
        return Content(part, names=names, shape=(len(names),))

    def _cell(self, path: Path, cell: object) -> str:
        """A text, empty where there is none."""
        if cell is None:
            return ""
        if not isinstance(cell, str):
            raise ValueError(f"{path}: the column of data.text holds {str(cell)[:40]!r}, no text")
        return cell

    def _values(self, path: Path, name: str, column: Any) -> npt.NDArray[np.float64]:
        """Numbers of a column, NaN where one is missing."""
        found = column.to_pylist()
        wrong = next((v for v in found if v is not None and type(v) not in (int, float)), None)
        if wrong is not None:
            raise ValueError(
                f"{path}: column {name!r} holds {str(wrong)[:40]!r}, no number: leave this column out, or "
                "write its values as numbers"
            )
        with reading(path):
            return np.array([np.nan if v is None else float(v) for v in found])
