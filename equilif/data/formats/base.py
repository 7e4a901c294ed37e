"""What every format of own data comes to: numbers and the names of their classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Part:
    """Samples (n, width) as they were read, NaN where a value is missing, and their classes by name (n,)."""

    x: npt.NDArray[Any]
    labels: npt.NDArray[np.str_]


@dataclass(frozen=True)
class Content:
    """What a file holds.  ``test``: None when it has no part of its own to test on.

    ``names`` of the columns, or nothing; ``shape`` of a sample before it was laid out in a row; ``alike``:
    columns are pixels; ``notes``: what a user should know.
    """

    train: Part
    test: Part | None = None
    names: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    alike: bool = False
    notes: tuple[str, ...] = ()


class Format(Protocol):
    """One kind of file or folder."""

    name: str
    #: what it is, for messages
    what: str
    #: whether a column has to be named that holds the classes
    labelled: bool

    def claims(self, path: Path) -> bool:
        """Whether a path is of this format, by its name or because it is a folder."""

    def read(self, path: Path, label: str | None) -> Content:
        """Its content; ValueError of one line names what is wrong, OSError what cannot be opened."""
