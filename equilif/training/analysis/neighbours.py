"""Nearest neighbours of words in the embedding table, before and after training."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equilif.data.sets.dataset import DataSet
from equilif_golden.fixed import check_int
from equilif_golden.network import Network, Weights

#: words that are shown when none are asked for, and how often they are there at least
SHOWN = 8
OFTEN = 100

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """A word.  ``cosine``: of its row now with what it was, None when one of them is zero."""

    word: str
    count: int  #: in the training samples
    before: tuple[str, ...]  #: nearest first, by the cosine of their rows
    after: tuple[str, ...]
    cosine: float | None


def neighbours(
    network: Network, weights: Weights, data: DataSet, words: Sequence[str] = (), *, n: int = 5
) -> list[Neighbours]:
    """The ``n`` nearest among the words that are often there.  Without ``words``: of those that moved most.

    ValueError when the network has no table, its rows have no names, or there is no such word.
    """
    check_int(n, "n", 1, 1000)
    if network.table is None or data.tokens_train is None or not data.words:
        raise ValueError(
            "the network has no trained embedding table of words: train one with table_rows, such as the "
            "preset of imdb"
        )
    before = data.tokens_train.table.astype(np.float64)
    after = weights[network.table.name].astype(np.float64)
    counts = np.bincount(data.tokens_train.rows, minlength=len(before))
    often = np.flatnonzero(counts >= OFTEN)
    if len(often) <= max(n, SHOWN):
        often = np.flatnonzero(counts > 0)
    number = {word: row for row, word in enumerate(data.words)}
    for word in words:
        if word not in number:
            near = difflib.get_close_matches(word, number, 3)
            raise ValueError(
                f"there is no word {word!r} in the table{': there are ' if near else ''}{', '.join(near)}"
            )
    moved = np.linalg.norm(after - before, axis=1)
    chosen = [number[word] for word in words] or often[np.argsort(-moved[often], kind="stable")][:SHOWN]
    found = []
    for row in chosen:
        lists = [
            tuple(data.words[k] for k in _nearest(table, int(row), often, n)) for table in (before, after)
        ]
        found.append(
            Neighbours(
                data.words[row], int(counts[row]), lists[0], lists[1], _cosine(before[row], after[row])
            )
        )
    return found


def _nearest(table: Reals, row: int, among: npt.NDArray[np.int64], n: int) -> list[int]:
    """Rows of the largest cosines with one; none when it is zero."""
    others = among[among != row]
    lengths = np.linalg.norm(table[others], axis=1)
    if not table[row].any():
        return []
    cosines = table[others] @ table[row] / np.where(lengths > 0, lengths, np.inf)
    nearest: list[int] = others[np.argsort(-cosines, kind="stable")[:n]].tolist()
    return nearest


def _cosine(a: Reals, b: Reals) -> float | None:
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / lengths) if lengths else None
