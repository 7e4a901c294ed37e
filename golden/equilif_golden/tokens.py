"""Patterns of a memory that is loaded with each sample: the tokens of a sequence.

Two forms: an array for every sample, and rows of a table that samples share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import (
    Fixed,
    Raw,
    check_float,
    check_int,
    check_integers,
    integers,
    set_fields,
    short_repr,
)
from equilif_golden.populations import MAX_PATTERNS


@dataclass(frozen=True)
class Tokens:
    """Patterns of a loaded memory, sample by sample: (batch, softmax size, width) raw weights, zero where
    ``present`` (batch, size) is false.
    """

    patterns: Raw
    present: npt.NDArray[np.bool_]

    def __post_init__(self) -> None:
        present = np.asarray(self.present)
        if present.dtype != bool:
            raise ValueError(f"presences must be true or false, not {present.dtype} values")
        set_fields(self, patterns=integers(self.patterns, "patterns"), present=present)

    @classmethod
    def of(cls, sequences: Sequence[npt.ArrayLike], size: int) -> Self:
        """Sequences of raw patterns (n <= size, width), one a sample, filled up."""
        check_int(size, "size", 1, MAX_PATTERNS)
        arrays = [integers(s, "patterns") for s in sequences]
        if not arrays:
            raise ValueError("there is no sequence")
        for a in arrays:
            if a.ndim != 2 or len(a) > size or a.shape[1] != arrays[0].shape[1]:
                raise ValueError(f"sequences must have shape (up to {size}, width), not {a.shape}")
        patterns = np.stack([np.pad(a, ((0, size - len(a)), (0, 0))) for a in arrays])
        return cls(patterns, np.arange(size) < np.array([len(a) for a in arrays])[:, None])

    def take(self, indices: npt.ArrayLike) -> Tokens:
        """Some samples, by their positions (n,)."""
        at = _positions(indices, len(self.patterns))
        return Tokens(self.patterns[at], self.present[at])


class TokenRows(NamedTuple):
    """Patterns for a loaded memory, as rows of a table: sample j has the rows ``rows[off[j]: off[j + 1]]``.

    table (n_rows, width) raw weights, int16; rows int32; off (n + 1,) int64.  A network that has a table of
    its own takes the rows from there; this one is what it begins with.
    """

    table: npt.NDArray[np.int16]
    rows: npt.NDArray[np.int32]
    off: npt.NDArray[np.int64]

    @property
    def n_samples(self) -> int:
        return len(self.off) - 1

    def checked(self, patterns: int, width: int, weight: Fixed) -> TokenRows:
        """The same with the types above, for a memory of so many ``patterns``.

        ValueError when it does not fit.  Every row and offset is looked at, for compiled code takes them as
        they are.
        """
        table = check_integers(self.table, "patterns", weight.lo, weight.hi)
        if table.ndim != 2 or table.shape[1] != width:
            raise ValueError(
                f"the memory holds patterns of width {width}: the table must have shape (rows, {width}), "
                f"not {table.shape}"
            )
        rows = check_integers(self.rows, "token rows", 0, len(table) - 1)
        if rows.ndim != 1:
            raise ValueError(f"token rows must have one dimension, not {rows.ndim}")
        off = integers(self.off, "token offsets")
        whole_range = off.ndim == 1 and off.size > 0 and off[0] == 0 and off[-1] == len(rows)
        if not whole_range or (off[1:] < off[:-1]).any():
            raise ValueError(
                f"token offsets must rise from 0 to the number of rows, {len(rows)}, not {short_repr(off)}"
            )
        longest = int(np.diff(off).max(initial=0))
        if longest > patterns:
            raise ValueError(f"the memory holds {patterns} patterns, not the {longest} of a sample")
        return TokenRows(
            np.ascontiguousarray(table, np.int16),
            np.ascontiguousarray(rows, np.int32),
            np.ascontiguousarray(off),
        )

    def rows_of(self, j: int) -> Raw:
        """Row numbers (n,) of sample j."""
        return self.rows[self.off[j] : self.off[j + 1]].astype(np.int64)

    def sample(self, j: int) -> Raw:
        """Raw patterns (n, width) of sample j."""
        return self.table[self.rows_of(j)].astype(np.int64)

    def dropout(self, rng: np.random.Generator, part: float) -> TokenRows:
        """Without this ``part`` of the tokens, drawn anew by each call; a sample keeps its last one.

        Dropout, as far as the network can tell: a token that is absent takes no part.
        """
        kept = rng.random(len(self.rows)) >= check_float(part, "part", 0, 1)
        before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        lost = (before[self.off[1:]] == before[self.off[:-1]]) & (np.diff(self.off) > 0)
        kept[self.off[1:][lost] - 1] = True
        left = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return TokenRows(self.table, self.rows[kept], left[self.off])

    def crop(self, rng: np.random.Generator, part: float) -> TokenRows:
        """Without up to this ``part`` of the tokens at the beginning of a sample, and as many at most at its
        end, drawn anew by each call.
        """
        most = check_float(part, "part", 0, 0.5) * np.diff(self.off)
        first = self.off[:-1] + (rng.random(self.n_samples) * most).astype(np.int64)
        last = self.off[1:] - (rng.random(self.n_samples) * most).astype(np.int64)
        at = np.arange(len(self.rows))
        owner = np.repeat(np.arange(self.n_samples), np.diff(self.off))
        kept = (at >= first[owner]) & (at < last[owner])
        return TokenRows(self.table, self.rows[kept], np.concatenate([[0], np.cumsum(last - first)]))

    def take(self, indices: npt.ArrayLike) -> TokenRows:
        """Some samples, by their positions (n,), with the same table."""
        parts = [self.rows[self.off[j] : self.off[j + 1]] for j in _positions(indices, self.n_samples)]
        return TokenRows(
            self.table,
            np.concatenate([self.rows[:0], *parts]),
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
        )


def scatter_add(table: Raw, rows: Raw, before: Raw, after: Raw, weight: Fixed) -> None:
    """Change a ``table`` (n_rows, width), raw, to which its ``rows`` (n,) come back.

    They left as ``before`` and learned to ``after``, both (n, width).  A row gets what each of its tokens
    has learned, one after the other: it may be there several times.
    """
    for t in np.flatnonzero((after != before).any(axis=1)):
        table[rows[t]] = np.clip(table[rows[t]] + after[t] - before[t], weight.lo, weight.hi)


def _positions(indices: npt.ArrayLike, n: int) -> Raw:
    """Positions (k,) among ``n`` samples."""
    at = integers(indices, "indices", 0, n - 1)
    if at.ndim != 1:
        raise ValueError(f"indices must have one dimension, not {at.ndim}")
    return at
