"""Sets of tokens: a sample is a ragged row of row numbers into one table of 8-bit patterns."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from equilif.data import SOURCES, Name, names
from equilif.data.base.ragged import Ragged, places, position
from equilif.data.base.words import Codes
from equilif.data.sets.dataset import DataSet
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT, check_int
from equilif_golden.network import TokenRows
from equilif_golden.places import PlacedError

NAMES = names("sequences")


@dataclass(frozen=True)
class Sequences:
    """A table (n_rows, d) of int8 patterns that stand for code / 128, and samples made of its rows.

    ``words`` name the rows of a text.  ValueError unless it makes a data set (equilif.data.sets.dataset).
    """

    name: str
    table: Codes
    train: Ragged
    test: Ragged
    classes: tuple[str, ...]
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.table.dtype != np.int8 or self.table.ndim != 2:
            raise ValueError(
                f"a table of patterns is (rows, width) int8, not {self.table.shape} {self.table.dtype}"
            )
        found = self.data_set()
        if found.n_classes > len(self.classes):
            raise ValueError(f"there are {len(self.classes)} classes, labels go up to {found.n_classes - 1}")

    @property
    def n_classes(self) -> int:
        return len(self.classes)

    @property
    def d(self) -> int:
        return int(self.table.shape[1])

    def data_set(self) -> DataSet:
        """Make a data set of tokens for an attention layer: codes / 128 as raw weights."""
        table = self.table.astype(np.int16) << (DEFAULT.fraction - FRACTION)
        train = TokenRows(table, self.train.rows, self.train.off)
        test = TokenRows(table, self.test.rows, self.test.off)
        return DataSet(
            self.name,
            np.zeros((len(self.train), 0), np.uint8),
            self.train.labels,
            np.zeros((len(self.test), 0), np.uint8),
            self.test.labels,
            train,
            test,
            self.words,
            classes=self.classes,
        )


def with_positions(tokens: TokenRows, n: int) -> TokenRows:
    """Tokens that have lost neighbours: the last n values code the places that they have now."""
    table = tokens.table[tokens.rows]
    codes = position(places(tokens.off), n).astype(np.int16)
    table[:, table.shape[1] - n :] = codes << (DEFAULT.fraction - FRACTION)
    return TokenRows(table, np.arange(len(table), dtype=np.int32), tokens.off)


def masked(tokens: TokenRows, rng: np.random.Generator, n: int, last: int) -> TokenRows:
    """Tokens with n neighbouring values at 0, the same in all tokens of a sample, drawn anew by each call.

    The ``last`` values stay: they code places.  ValueError when there are too few others.
    """
    table = tokens.table[tokens.rows]
    width = table.shape[1]
    check_int(n, "input_mask", 0, width - last, f"of the {width - last} values of a token")
    begin = rng.integers(0, width - last - n + 1, tokens.n_samples)
    begin = np.repeat(begin, np.diff(tokens.off))[:, None]
    table[(np.arange(width) >= begin) & (np.arange(width) < begin + n)] = 0
    return TokenRows(table, np.arange(len(table), dtype=np.int32), tokens.off)


def first(root: Path, *patterns: str) -> Path | None:
    """``root`` if it is a file, else the first path below it that matches, patterns in order."""
    if root.is_file():
        return root
    return next((p for pattern in patterns for p in sorted(root.glob(pattern))), None)


def load(
    name: str, data: str | Path | None = None, *, max_tokens: int | None = None, **options: Any
) -> Sequences:
    """``imdb``, ``sst2``, ``spoken`` or ``vowels``; options as its own function takes them."""
    if name not in NAMES:
        raise ValueError(f"set of sequences must be one of {', '.join(NAMES)}, not {name!r}")
    check_options(name, options)
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    found: Sequences = SOURCES[Name(name)].load(data, **options)
    return found


def data_set(name: str, data: str | Path | None, options: Mapping[str, Any]) -> DataSet:
    """The result of :func:`load` as a data set that records its loader options."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    return replace(load(name, data, **options).data_set(), loading=plain)


def check_options(name: str, options: Iterable[str]) -> None:
    """PlacedError for an option that the loader of this set does not have."""
    known = [k for k in inspect.signature(SOURCES[Name(name)].load).parameters if k != "data"]
    for option in options:
        if option not in known:
            raise PlacedError(f"{name} has no option {option!r}, only {', '.join(known)}", (option,))
