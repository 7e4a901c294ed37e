"""Tables: a line a sample, a column a value, and a column with the class."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.formats.base import Content, Part
from equilif.data.reading import lines, reading, text
from equilif.extras import needs

#: what stands for a value that is not there
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
#: of a line that holds nothing but numbers, so that it can be read at once
PLAIN = re.compile(r"[0-9eE+\-. ]*", re.ASCII)
MOST_CELLS = 1 << 28  #: of a table that is packed


class Csv:
    """Comma-separated (``.csv``, also with semicolons) or tab-separated (``.tsv``) text, with a header.

    UTF-8; numbers have a decimal point.  Lines are read by Python's csv module.
    """

    name = "csv"
    what = "a .csv or .tsv table"
    labelled = True

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() in (".csv", ".tsv") and not path.is_dir()

    def read(self, path: Path, label: str | None) -> Content:
        rows = _rows(path)
        header = next(rows, (0, []))[1]
        _check_header(path, header)
        column = _label(path, header, label)
        names = tuple(name for k, name in enumerate(header) if k != column)
        samples = []
        classes = []
        for line, row in rows:
            if len(row) != len(header):
                raise ValueError(
                    f"{path} line {line} has {len(row)} cells, its header {len(header)}: each line has one "
                    "cell a column"
                )
            classes.append(_class(path, line, header[column], row.pop(column)))
            samples.append(_numbers(path, line, names, row))
        if not samples:
            raise ValueError(f"{path} has a header and no samples: it needs a line for each sample")
        return Content(Part(np.array(samples), np.array(classes)), names=names, shape=(len(names),))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, by number, as cells."""
    told = (text(f"{path} line {k + 1}", raw) for k, raw in enumerate(lines(path)))
    first = next(told, "").removeprefix("\ufeff")
    if path.suffix.lower() == ".tsv":
        mark = "\t"
    else:
        mark = ";" if ";" in first and "," not in first else ","

    def all_lines() -> Iterator[str]:
        yield first
        yield from told

    with reading(path):
        reader = csv.reader(all_lines(), delimiter=mark, strict=True)
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip() for cell in row]


def _check_header(path: Path, header: list[str]) -> None:
    """ValueError unless the first line names the columns."""
    if not any(header):
        raise ValueError(f"{path} is empty: it needs a line with the names of its columns, then samples")
    numbers = [name for name in header if NUMBER.fullmatch(name)]
    if len(numbers) >= max(1, len(header) - 1):
        raise ValueError(
            f"{path} has no header: its first line is {', '.join(header[:4])[:80]}...; put a line with a "
            "name for each column before it"
        )
    if "" in header:
        raise ValueError(
            f"{path}: column {header.index('') + 1} has no name; name it, or leave it out (pandas: "
            "to_csv(..., index=False))"
        )
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise ValueError(f"{path} has two columns {name!r}: each needs a name of its own")
        seen.add(name)
    if len(header) < 2:
        raise ValueError(f"{path} has one column, {header[0]!r}: it needs a class and a value at least")


def _label(path: Path, header: list[str], label: str | None) -> int:
    """Which column holds the classes."""
    listed = ", ".join(header[:12]) + (", ..." if len(header) > 12 else "")
    if label is None:
        raise ValueError(f"which column of {path} holds the classes? Say it by --label, one of {listed}")
    if label not in header:
        raise ValueError(f"{path} has no column {label!r}: --label must be one of {listed}")
    return header.index(label)


def _class(path: Path, line: int, name: str, cell: str) -> str:
    """A class by name: whole numbers in one form."""
    if cell.casefold() in MISSING:
        raise ValueError(f"{path} line {line} has no class in {name!r}: fill it in, or leave the line out")
    if not NUMBER.fullmatch(cell):
        return cell
    number = float(cell)
    if number % 1 or number < 0 or number >= 1 << 53:
        raise ValueError(
            f"{path} line {line}: {name!r} must hold classes, names or whole numbers from 0, not {cell}"
        )
    return str(int(number))


def _numbers(path: Path, line: int, names: tuple[str, ...], row: list[str]) -> npt.NDArray[np.float64]:
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
    return f"{name!r} is {cell[:40]!r}, no number: leave this column out, or write its values as numbers"


class Parquet:
    """A table of Apache Parquet, read by pyarrow."""

    name = "parquet"
    what = "a .parquet table"
    labelled = True

    def claims(self, path: Path) -> bool:
        return path.suffix.lower() == ".parquet" and not path.is_dir()

    def read(self, path: Path, label: str | None) -> Content:
        with needs("parquet"):
            from pyarrow import parquet
        with reading(path, "a Parquet table"):
            file = parquet.ParquetFile(path)
            header = [str(name) for name in file.schema_arrow.names]
            rows = file.metadata.num_rows
        if rows * max(1, len(header)) > MOST_CELLS:
            raise ValueError(f"{path} would have {rows:,} rows of {len(header):,}: take a part of them")
        _check_header(path, header)
        column = _label(path, header, label)
        if not rows:
            raise ValueError(f"{path} has no rows: it needs one for each sample")
        with reading(path, "a Parquet table"):
            table = file.read()
            given = table.column(column).to_pylist()
        names = tuple(name for k, name in enumerate(header) if k != column)
        values = [self._values(path, n, table.column(k)) for k, n in enumerate(header) if k != column]
        classes = [
            _class(
                path, k + 1, header[column], "" if c is None else str(int(c) if isinstance(c, bool) else c)
            )
            for k, c in enumerate(given)
        ]
        part = Part(np.stack(values, axis=1), np.array(classes))
        return Content(part, names=names, shape=(len(names),))

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
