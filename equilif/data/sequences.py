"""Sets of tokens: a sample is a ragged row of row numbers into one table of 8-bit patterns."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import SOURCES, Name, names
from equilif.data.dataset import DataSet
from equilif.data.words import SIGMAS, Codes
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import DEFAULT, Numerics, finite, integers, whole
from equilif_golden.network import TokenRows

Rows = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]

NAMES = names("sequences")
MOST_ROWS = (1 << 31) - 1  #: of a table


@dataclass(frozen=True)
class Ragged:
    """Sample i is ``rows[off[i]:off[i + 1]]``, numbers of rows of a table; its class is ``labels[i]``."""

    rows: Rows
    off: Longs
    labels: Longs

    def __post_init__(self) -> None:
        if (
            len(self.off) != len(self.labels) + 1
            or self.off[0] != 0
            or self.off[-1] != len(self.rows)
            or (np.diff(self.off) < 0).any()
        ):
            raise ValueError(
                f"{len(self.off)} offsets do not cut {len(self.rows)} tokens into {len(self.labels)} samples"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def of(cls, samples: Sequence[npt.ArrayLike], labels: npt.ArrayLike) -> Ragged:
        """From one array of row numbers a sample."""
        arrays = [integers(s, "row numbers", 0, MOST_ROWS).astype(np.int32) for s in samples]
        off = np.concatenate(([0], np.cumsum([len(a) for a in arrays], dtype=np.int64)))
        return cls(np.concatenate([np.empty(0, np.int32), *arrays]), off, integers(labels, "labels"))

    def lengths(self) -> Longs:
        """Tokens of each sample (n,)."""
        return np.diff(self.off)

    def sample(self, i: int) -> Rows:
        """Row numbers of sample i, a view."""
        if not 0 <= i < len(self):
            raise IndexError(f"sample {i} of {len(self)}")
        return self.rows[self.off[i] : self.off[i + 1]]

    def take(self, indices: npt.ArrayLike) -> Ragged:
        """The samples ``indices``, in that order."""
        i = integers(indices, "indices", 0, len(self) - 1)
        return self._spans(self.off[:-1][i], self.lengths()[i], self.labels[i])

    def cut(self, n: int, *, last: bool = False) -> Ragged:
        """At most n tokens of each sample: its first, or its last."""
        if whole(n, "tokens of a sample", -MOST_ROWS, MOST_ROWS) < 1:
            raise ValueError(f"a sample keeps at least one token, not {n}")
        kept = np.minimum(self.lengths(), n)
        return self._spans(self.off[1:] - kept if last else self.off[:-1], kept, self.labels)

    def _spans(self, starts: Longs, lengths: Longs, labels: Longs) -> Ragged:
        index, off = ranges(starts, lengths)
        return Ragged(self.rows[index], off, labels)


@dataclass(frozen=True)
class Sequences:
    """A table (n_rows, d) of int8 patterns that stand for code / 128, and samples made of its rows.

    ``words`` name the rows of a text.  ValueError unless it makes a data set (equilif.data.dataset).
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

    def data_set(self, numerics: Numerics = DEFAULT) -> DataSet:
        """Its samples as tokens for a memory: codes / 128 as raw weights."""
        table = self.table.astype(np.int16) << (numerics.fraction - FRACTION)
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

    def mean_pooled(self, sigmas: float = 3) -> DataSet:
        """What is left without a memory: the mean token of each sample as inputs (n, 2 d).

        Positive parts come first, then negative ones.  Means are standardised over the training set, and
        ``sigmas`` fill 255.
        """
        finite(sigmas, "sigmas", *SIGMAS)
        train = self._means(self.train)
        test = self._means(self.test)
        centre = train.mean(axis=0)
        deviation = train.std(axis=0)
        scale = np.where(deviation > 0, deviation, 1)

        def inputs(means: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
            z = (means - centre) / scale * (255 / sigmas)
            parts = np.rint(np.concatenate((z, -z), axis=1))
            out: npt.NDArray[np.uint8] = np.clip(parts, 0, 255).astype(np.uint8)
            return out

        return DataSet(self.name, inputs(train), self.train.labels, inputs(test), self.test.labels)

    def _means(self, r: Ragged) -> npt.NDArray[np.float64]:
        if not r.lengths().all():
            raise ValueError("a sample without tokens has no mean")
        sums = np.add.reduceat(self.table[r.rows].astype(np.float64), r.off[:-1], axis=0)
        means: npt.NDArray[np.float64] = sums / r.lengths()[:, None]
        return means


def ranges(starts: Longs, lengths: Longs) -> tuple[Longs, Longs]:
    """All numbers of spans [start, start + length), span by span; and where each span begins (n + 1,)."""
    off = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return np.repeat(starts - off[:-1], lengths) + np.arange(off[-1]), off


def position(t: npt.ArrayLike, n: int) -> Codes:
    """Code of a relative position in 0 .. 1 by n triangular bumps, (.., n) int8 in 0 .. 127.

    Neighbours share bumps, the ends share none.
    """
    u = np.asarray(t, np.float64)[..., None] * (n - 1)
    out: Codes = np.rint(127 * np.clip(1 - np.abs(u - np.arange(n)), 0, 1)).astype(np.int8)
    return out


def places(off: Longs) -> npt.NDArray[np.float64]:
    """Relative position of every token, 0 .. 1, in samples that are cut at ``off`` (n + 1,)."""
    lengths = np.diff(off)
    where: npt.NDArray[np.float64] = (np.arange(off[-1]) - np.repeat(off[:-1], lengths) + 0.5) / np.repeat(
        lengths, lengths
    )
    return where


def placed(tokens: TokenRows, n: int, numerics: Numerics = DEFAULT) -> TokenRows:
    """Tokens that have lost neighbours: the last n values code the places that they have now."""
    table = tokens.table[tokens.rows]
    codes = position(places(tokens.off), n).astype(np.int16)
    table[:, table.shape[1] - n :] = codes << (numerics.fraction - FRACTION)
    return TokenRows(table, np.arange(len(table), dtype=np.int32), tokens.off)


def masked(tokens: TokenRows, rng: np.random.Generator, n: int, last: int) -> TokenRows:
    """Tokens with n neighbouring values at 0, the same in all tokens of a sample, drawn anew by each call.

    The ``last`` values stay: they code places.  ValueError when there are not so many others.
    """
    table = tokens.table[tokens.rows]
    width = table.shape[1]
    whole(n, f"mask (of the {width - last} values of a token)", 0, width - last)
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
    """``snippets``, ``imdb``, ``spoken`` or ``vowels``; options as its own function takes them."""
    if name not in NAMES:
        raise ValueError(f"set of sequences must be one of {', '.join(NAMES)}, not {name!r}")
    check_options(name, options)
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    found: Sequences = SOURCES[Name(name)].load(data, **options)
    return found


def data_set(name: str, data: str | Path | None, options: Mapping[str, Any]) -> DataSet:
    """What :func:`load` finds as a data set that keeps the options it was loaded with."""
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    return replace(load(name, data, **options).data_set(), loading=plain)


def check_options(name: str, options: Iterable[str]) -> None:
    """ValueError for an option that the loader of this set does not have."""
    known = [k for k in inspect.signature(SOURCES[Name(name)].load).parameters if k != "data"]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}, only {', '.join(known)}")
