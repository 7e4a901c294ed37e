"""Samples of different lengths, cut from one array at offsets; and codes of places in a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Floats, Longs, Rows
from equilif.data.base.words import Codes
from equilif_golden.fixed import check_int, integers

MAX_ROWS = (1 << 31) - 1  #: of a table


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
        """Make ragged rows of one array of row numbers per sample."""
        arrays = [integers(s, "row numbers", 0, MAX_ROWS).astype(np.int32) for s in samples]
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
        if check_int(n, "n", -MAX_ROWS, MAX_ROWS, "tokens of a sample") < 1:
            raise ValueError(f"a sample keeps at least one token, not {n}")
        kept = np.minimum(self.lengths(), n)
        return self._spans(self.off[1:] - kept if last else self.off[:-1], kept, self.labels)

    def _spans(self, starts: Longs, lengths: Longs, labels: Longs) -> Ragged:
        index, off = ranges(starts, lengths)
        return Ragged(self.rows[index], off, labels)


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


def pooled(frames: Floats, off: Longs, n: int) -> tuple[Floats, Longs]:
    """Recordings (total, d) cut at ``off``, each to at most n frames: means over spans of consecutive frames.

    The spans of a recording are as even as can be.
    """
    lengths = np.diff(off)
    kept = np.minimum(lengths, n)
    new = np.concatenate(([0], np.cumsum(kept)))
    k = np.arange(new[-1]) - np.repeat(new[:-1], kept)  # which frame of its recording
    starts = np.repeat(off[:-1], kept) + k * np.repeat(lengths, kept) // np.repeat(kept, kept)
    sums = np.add.reduceat(frames, starts, axis=0)
    return sums / np.diff(np.append(starts, off[-1]))[:, None], new
