"""Record of a user's data in a network: enough to read and scale such data again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from equilif.data.encoding import Encoding
from equilif.data.formats.events import EventFolders
from equilif.data.scaling import Scaling
from equilif_golden.fixed import check_float


@dataclass(frozen=True, kw_only=True)
class About:
    """Plain values only: it goes into history.json and network.npz, and comes back from there.

    ``path`` and ``test`` (a second file to test on) are absolute; ``label`` and ``text`` are columns of a
    table; ``labels`` are the names of the classes, by number; ``shape`` is that of a sample, of a series that
    of a step; ``test_fraction`` is None when the data have a test part; ``digest`` is that of the data set,
    and ``digest_train`` that of its training samples where they are in a file without the others, or empty.
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
    scaling: Scaling
    digest: str = ""
    digest_train: str = ""

    def __post_init__(self) -> None:
        if self.test_fraction is not None:
            check_test_fraction(self.test_fraction)
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise ValueError("labels must be two names at least, each only once")

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


def check_test_fraction(part: float) -> float:
    """ValueError unless it is a part of the samples, neither none nor all."""
    if not 0 < check_float(part, "data.test_fraction", 0, 1) < 1:
        raise ValueError(
            f"data.test_fraction is the part of the samples to test on: above 0 and below 1, not {part:g}"
        )
    return part
