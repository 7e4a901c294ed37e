"""Dynamic patterns of an attention layer: the tokens of a sequence.

Two forms: an array per sample, and rows of a table that all samples share.
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
    """Tokens as one array per sample.

    patterns (batch, size, width): raw weights, zero where absent.  present (batch, size): whether there is a
    token.  size is that of the attention population, width that of one head of the relay.
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
        """Tokens of sequences (n <= size, width) of raw patterns, one per sample, padded to ``size``."""
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
        """The samples at ``indices`` (n,)."""
        at = _positions(indices, len(self.patterns))
        return Tokens(self.patterns[at], self.present[at])


class TokenRows(NamedTuple):
    """Tokens as rows of a table: sample j has the rows ``rows[off[j]: off[j + 1]]``.

    table (n_rows, width): raw weights, int16.  rows: int32.  off (n_samples + 1,): int64.  A network with an
    embedding table uses its own table, which starts with the content of this one.
    """

    table: npt.NDArray[np.int16]
    rows: npt.NDArray[np.int32]
    off: npt.NDArray[np.int64]

    @property
    def n_samples(self) -> int:
        return len(self.off) - 1

    def checked(self, patterns: int, width: int, weight: Fixed) -> TokenRows:
        """The same in the types above, for a layer of ``patterns`` patterns of ``width``.

        ValueError if it does not fit.  Every row and offset is checked, because compiled code is not.
        """
        table = check_integers(self.table, "patterns", weight.lo, weight.hi)
        if table.ndim != 2 or table.shape[1] != width:
            raise ValueError(
                f"the attention layer has patterns of width {width}: the table must have shape "
                f"(rows, {width}), not {table.shape}"
            )
        rows = check_integers(self.rows, "token rows", 0, len(table) - 1)
        if rows.ndim != 1:
            raise ValueError(f"token rows must have one dimension, not {rows.ndim}")
        off = integers(self.off, "token offsets")
        covers_rows = off.ndim == 1 and off.size > 0 and off[0] == 0 and off[-1] == len(rows)
        if not covers_rows or (off[1:] < off[:-1]).any():
            raise ValueError(
                f"token offsets must increase from 0 to the {len(rows)} rows, not {short_repr(off)}"
            )
        longest = int(np.diff(off).max(initial=0))
        if longest > patterns:
            raise ValueError(f"the attention layer has {patterns} patterns, a sample has {longest}")
        return TokenRows(
            np.ascontiguousarray(table, np.int16),
            np.ascontiguousarray(rows, np.int32),
            np.ascontiguousarray(off),
        )

    def rows_of(self, j: int) -> Raw:
        """Row numbers of sample j, (n,)."""
        return self.rows[self.off[j] : self.off[j + 1]].astype(np.int64)

    def sample(self, j: int) -> Raw:
        """Raw patterns of sample j, (n, width)."""
        return self.table[self.rows_of(j)].astype(np.int64)

    def dropout(self, rng: np.random.Generator, part: float) -> TokenRows:
        """Token dropout: each token is removed with probability ``part``; a sample keeps its last token."""
        kept = rng.random(len(self.rows)) >= check_float(part, "part", 0, 1)
        before = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        lost = (before[self.off[1:]] == before[self.off[:-1]]) & (np.diff(self.off) > 0)
        kept[self.off[1:][lost] - 1] = True
        left = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])
        return TokenRows(self.table, self.rows[kept], left[self.off])

    def crop(self, rng: np.random.Generator, part: float) -> TokenRows:
        """Random crop: each end of a sample loses a uniformly drawn fraction of its tokens, up to ``part``
        (0 .. 0.5).
        """
        most = check_float(part, "part", 0, 0.5) * np.diff(self.off)
        first = self.off[:-1] + (rng.random(self.n_samples) * most).astype(np.int64)
        last = self.off[1:] - (rng.random(self.n_samples) * most).astype(np.int64)
        at = np.arange(len(self.rows))
        owner = np.repeat(np.arange(self.n_samples), np.diff(self.off))
        kept = (at >= first[owner]) & (at < last[owner])
        return TokenRows(self.table, self.rows[kept], np.concatenate([[0], np.cumsum(last - first)]))

    def take(self, indices: npt.ArrayLike) -> TokenRows:
        """The samples at ``indices`` (n,), with the same table."""
        parts = [self.rows[self.off[j] : self.off[j + 1]] for j in _positions(indices, self.n_samples)]
        return TokenRows(
            self.table,
            np.concatenate([self.rows[:0], *parts]),
            np.cumsum([0, *map(len, parts)], dtype=np.int64),
        )


def scatter_add(table: Raw, rows: Raw, before: Raw, after: Raw, weight: Fixed) -> None:
    """Add ``after - before`` (n, width) to the ``rows`` (n,) of a raw ``table`` (n_rows, width), in place.

    A row that occurs several times gets all of its changes, one after the other, saturated each time.
    """
    for t in np.flatnonzero((after != before).any(axis=1)):
        table[rows[t]] = np.clip(table[rows[t]] + after[t] - before[t], weight.lo, weight.hi)


def _positions(indices: npt.ArrayLike, n: int) -> Raw:
    """Indices (k,) below ``n``."""
    at = integers(indices, "indices", 0, n - 1)
    if at.ndim != 1:
        raise ValueError(f"indices must have one dimension, not {at.ndim}")
    return at
