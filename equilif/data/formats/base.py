"""Result of every format of own data: samples, and the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Longs
from equilif.data.base.ragged import ranges


@dataclass(frozen=True)
class Series:
    """Sample i has the steps ``frames[off[i]:off[i + 1]]``; frames (total, channels), off (n + 1,)."""

    frames: npt.NDArray[Any]
    off: Longs

    def __post_init__(self) -> None:
        lengths = np.diff(self.off)
        if self.off[0] != 0 or self.off[-1] != len(self.frames) or (lengths < 1).any():
            raise ValueError(
                f"offsets must rise from 0 to the number of steps, {len(self.frames):,}, and each sample has "
                "at least one step"
            )

    @classmethod
    def of(cls, samples: Sequence[npt.NDArray[Any]]) -> Self:
        """Make a series of an array (steps, channels) for each sample."""
        return cls(np.concatenate(samples), np.cumsum([0, *map(len, samples)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.off) - 1

    def __getitem__(self, at: npt.NDArray[np.int64]) -> Series:
        index, off = ranges(self.off[:-1][at], np.diff(self.off)[at])
        return Series(self.frames[index], off)


@dataclass(frozen=True)
class Texts:
    """A text a sample."""

    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, at: npt.NDArray[np.int64]) -> Texts:
        return Texts(tuple(self.texts[k] for k in at))


#: samples as they were read: rows (n, width) with NaN where a value is missing, series or texts
Read = npt.NDArray[Any] | Series | Texts


@dataclass(frozen=True)
class Part:
    """Samples as they were read, and their classes by name (n,)."""

    x: Read
    labels: npt.NDArray[np.str_]

    def take(self, at: npt.NDArray[np.int64]) -> Part:
        return Part(self.x[at], self.labels[at])

    def composed(self) -> Part:
        """Bring names into Unicode's composed form (NFC); ValueError when two names are one in this form."""
        found, at = np.unique(self.labels, return_inverse=True)
        names: dict[str, str] = {}
        for name in map(str, found):
            other = names.setdefault(normalize("NFC", name), name)
            if other != name:
                raise ValueError(
                    f"classes {ascii(other)} and {ascii(name)} are one text in two forms of Unicode: use one"
                )
        return replace(self, labels=np.array(list(names))[at]) if names else self

    @property
    def numbers(self) -> npt.NDArray[Any]:
        """All numbers that were read, (any, columns or channels); texts have none."""
        if isinstance(self.x, Texts):
            return np.zeros((0, 1))
        return self.x.frames if isinstance(self.x, Series) else self.x


@dataclass(frozen=True)
class Content:
    """Content of a file.  ``test``: None when it has no test set.

    ``names`` of the columns, or of the channels of series, or nothing; ``shape`` of a sample before it was
    laid out in a row, of a series that of a step; ``alike``: columns are pixels; ``notes``: what a user
    should know.
    """

    train: Part
    test: Part | None = None
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    alike: bool = False
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.train,) if self.test is None else (self.train, self.test)

    def composed(self) -> Content:
        """Compose the names of both parts (:meth:`Part.composed`)."""
        return replace(
            self, train=self.train.composed(), test=None if self.test is None else self.test.composed()
        )

    def with_test(self, test: Part) -> Content:
        return replace(self, test=test)


class Columns(NamedTuple):
    """Columns of a table by name: that of the classes, and that of the texts where there are some.

    ``front_end``: recordings of words as frames of the golden front end.
    """

    label: str | None = None
    text: str | None = None
    front_end: bool = False


class Format(Protocol):
    """One kind of file or folder."""

    name: str
    #: what it is, for messages
    what: str
    #: whether a column has to be named that holds the classes
    labelled: bool

    def claims(self, path: Path) -> bool:
        """Whether a path is of this format, by its name or because it is a folder."""

    def read(self, path: Path, columns: Columns) -> Content:
        """Read the content; ValueError of one line names what is wrong, OSError what cannot be opened."""
