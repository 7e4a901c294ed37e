"""Recordings of event sensors, as tonic saves them: N-MNIST, DVS Gesture, SHD and SSC."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.base.reading import reading
from equilif.data.formats.base import Columns, Content, Part
from equilif_golden import files
from equilif_golden.extras import needs

MAX_COUNTS = 1000  #: of a recording


@dataclass(frozen=True)
class Recorded:
    """A data set of tonic: its class, what its training and test part are below its folder, time bins."""

    name: str
    parts: tuple[str, str]
    bins: int
    splits: bool = False  #: whether its class has ``split`` in place of ``train``

    def chosen(self, first: bool) -> dict[str, Any]:
        """Selection of a part by its class."""
        return {"split": "train" if first else "test"} if self.splits else {"train": first}

    def among(self, path: Path) -> Path | None:
        """The ``save_to`` folder of tonic, if it has one of the parts."""
        for root in (path, path.parent):
            if root / self.name in (path, path / self.name) and any(
                (root / self.name / part).exists() for part in self.parts
            ):
                return root
        return None


#: time bins: as many as tell gestures and words apart, and leave room for pixels
KNOWN = (
    Recorded("NMNIST", ("Train", "Test"), 3),
    Recorded("DVSGesture", ("ibmGestureTrain", "ibmGestureTest"), 7),
    Recorded("SHD", ("shd_train.h5", "shd_test.h5"), 14),
    Recorded("SSC", ("ssc_train.h5", "ssc_test.h5"), 14, splits=True),
)


class EventFolders:
    """The folder in which tonic saved one of these sets, or the folder of the set in it.

    A recording becomes counts: how many events there are in a bin of its time and a block of pixels, ON and
    OFF apart; of a count n, log(1 + n).  Nothing is downloaded here.
    """

    name = "events"
    what = f"a folder of tonic's {', '.join(k.name for k in KNOWN)}"
    labelled = False

    def claims(self, path: Path) -> bool:
        return path.is_dir() and any(known.among(path) for known in KNOWN)

    def read(self, path: Path, columns: Columns) -> Content:
        found = [(known, root) for known in KNOWN if (root := known.among(path)) is not None]
        if len(found) > 1:
            several = " and ".join(known.name for known, _ in found)
            raise ValueError(f"{path} has {several}: give the folder of one of them")
        known, root = found[0]
        for part in known.parts:
            if not (root / known.name / part).exists():
                raise ValueError(
                    f"{root / known.name} has no {part}: let tonic load both parts, "
                    f"tonic.datasets.{known.name}({str(root)!r}, ...)"
                )
        with needs("events"):
            from tonic import datasets
        kind = getattr(datasets, known.name)
        block = _block(kind.sensor_size, known.bins)
        train, test = (self._part(known, kind, root, first, block) for first in (True, False))
        shape = (known.bins, *_blocks(kind.sensor_size, block))
        notes = (f"events counted in {known.bins} bins of time and blocks of {block} pixels, as log(1 + n)",)
        return Content(train, test, shape=shape, alike=True, notes=notes)

    def _part(self, known: Recorded, kind: Any, root: Path, first: bool, block: int) -> Part:
        """Recordings of one part as counts (n, bins x polarities x blocks)."""
        from tonic.transforms import ToFrame

        place = root / known.name / known.parts[not first]
        frames = ToFrame(kind.sensor_size, n_time_bins=known.bins)
        # what is there is taken as it is: tonic would download a set that it thinks is not whole
        there = type(kind.__name__, (kind,), {"_check_exists": lambda self: True})
        counts = []
        labels = []
        files.reads(place)
        with reading(place, f"a part of {known.name}"):
            part = there(str(root), **known.chosen(first))
            names = [n.decode() if isinstance(n, bytes) else str(n) for n in part.classes]
            for k in range(len(part)):
                events, label = part[k]
                if len(events) < 2:
                    raise ValueError(f"recording {k} has {len(events)} events: leave it out")
                counts.append(_counts(frames(events), block))
                labels.append(names[int(label)])
            if not counts:
                raise ValueError("it has no recording")
        return Part(np.log1p(np.stack(counts)), np.array(labels))


def _blocks(sensor: tuple[int, int, int], block: int) -> tuple[int, int, int]:
    """Polarities, and blocks from top to bottom and from left to right; what is left over is cut off."""
    width, height, polarities = sensor
    return polarities, max(1, height // block), width // block


def _block(sensor: tuple[int, int, int], bins: int) -> int:
    """The smallest blocks that leave no more counts than a network takes."""
    return next(b for b in range(1, max(sensor)) if bins * np.prod(_blocks(sensor, b)) <= MAX_COUNTS)


def _counts(frames: npt.NDArray[Any], block: int) -> npt.NDArray[np.float32]:
    """Frames (bins, polarities, height, width), or without height, summed over blocks, in a row."""
    if frames.ndim == 3:
        frames = frames[:, :, None]
    bins, polarities, height, width = frames.shape
    tall = block if height > 1 else 1
    cut = frames[:, :, : height // tall * tall, : width // block * block]
    blocks = cut.reshape(bins, polarities, height // tall, tall, width // block, block)
    counts: npt.NDArray[np.float32] = blocks.sum(axis=(3, 5), dtype=np.float32).ravel()
    return counts
