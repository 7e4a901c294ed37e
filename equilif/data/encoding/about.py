"""Record of a user's data in a network: enough to read and scale such data again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from equilif.data.base.reading import check_range
from equilif.data.encoding import Encoding
from equilif.data.encoding.scaling import FittedScaling, Scaled
from equilif.data.formats.events import EventFolders
from equilif.data.formats.from_arrays import columns_of, is_table
from equilif.data.sound.known import KnownWords
from equilif_golden.files import printable
from equilif_golden.fixed import as_array, check_float
from equilif_golden.places import PlacedError

LabelType = Literal["", "text", "integer", "real", "boolean"]


@dataclass(frozen=True, kw_only=True)
class About:
    """Plain values only: it goes into history.json and network.npz, and comes back from there.

    ``path`` and ``test`` (a second file to test on) are absolute; ``label`` and ``text`` are columns of a
    table; ``labels`` are the names of the classes, by number; ``shape`` is that of a sample, of a series that
    of a step; ``test_fraction`` is None when the data have a test part; ``digest`` is that of the data set,
    and ``digest_train`` that of its training samples where they are in a file without the others, or empty.
    Of a network of equilif.Classifier ``label_type`` is the type of its classes and ``parameters`` are those
    of the class; else both are empty.  ``known`` says which words are like those of training, in the file of
    a network of words.
    """

    path: str
    format: str
    label: str | None = None
    text: str | None = None
    test: str | None = None
    test_fraction: float | None = None
    labels: tuple[str, ...]
    shape: tuple[int, ...]
    encoding: Encoding = Encoding()
    scaling: FittedScaling
    digest: str = ""
    digest_train: str = ""
    label_type: LabelType = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    known: KnownWords | None = None

    def __post_init__(self) -> None:
        if self.test_fraction is not None:
            check_test_fraction(self.test_fraction)
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise ValueError("labels must be two names at least, each only once")

    @property
    def name(self) -> str:
        """Name of the file or folder."""
        return printable(Path(self.path).name)

    @property
    def image(self) -> tuple[int, ...]:
        """Height, width and, if the data have them, colours of an image whose values are an input each; () of
        other samples.
        """
        if math.prod(self.shape) != self.scaling.n_inputs:
            return ()
        if self.channels_first:
            bins, polarities, height, width = self.shape
            return height, width, bins * polarities
        return self.shape if len(self.shape) in (2, 3) else ()

    @property
    def channels_first(self) -> bool:
        """Whether the values of an image lie channel by channel: counts of events by time and polarity."""
        return self.format == EventFolders.name and len(self.shape) == 4 and self.shape[2] > 1

    def encode(self, x: Any, what: str) -> Scaled:
        """Rows or images (n, ...) as inputs, and the number of values beyond the scale.

        ``x``: an array, or a DataFrame whose columns are those of training, in any order.  ValueError for
        another shape, other columns, and for what is no finite number.
        """
        if is_table(x):
            x = columns_of(x, what, self.scaling.names)
        values = as_array(x, what, "numbers")
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{what} must be numbers, not {values.dtype}")
        shape = values.shape[1:]
        if shape != self.shape and shape != (self.scaling.width,):
            raise ValueError(
                f"{what} must have shape (samples, {', '.join(map(str, self.shape))}), not {values.shape}"
            )
        check_range(values, what)
        return self.scaling.apply(values.reshape(len(values), -1), what)


def check_test_fraction(part: float) -> float:
    """ValueError unless it is a part of the samples, neither none nor all."""
    if not 0 < check_float(part, ("data", "test_fraction"), 0, 1) < 1:
        raise PlacedError(
            f"data.test_fraction is the part of the samples to test on: above 0 and below 1, not {part:g}",
            ("data", "test_fraction"),
        )
    return part
