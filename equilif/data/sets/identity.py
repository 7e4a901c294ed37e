"""Identity of the named data set that a network belongs to.

A network's file says what its inputs and outputs mean: of a user's own data by
equilif.data.encoding.about.About, of a data set with a name by :class:`NamedSet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from equilif.data import Name


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """A data set of the table, as a network was trained on it.

    labels : names of the classes, by output
    shape : of an image, (height, width) or (height, width, colours); () of sequences
    digest : equilif.data.sets.dataset.DataSet.digest
    loading : options of the loader of a set of sequences
    """

    name: str
    labels: tuple[str, ...]
    shape: tuple[int, ...] = ()
    digest: str
    loading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in set(Name):
            raise ValueError(f"name must be one of {', '.join(Name)}, not {self.name!r}")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels must be names, each only once")
