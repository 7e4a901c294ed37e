"""Curves and histograms of a run for TensorBoard, epoch by epoch.

accuracy/test, accuracy/training     parts of 1
error/test                           1 - accuracy; loss/training, loss/test where there is a loss
rate/learning, spikes/sample, speed/samples a second
saturation/<synapse>                 part of the weights that stand at an end of their format
weights/<synapse>                    histogram, in thresholds
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from equilif.training.storage.history import EpochRecord
from equilif_golden import files
from equilif_golden.extras import needs
from equilif_golden.network import Network, Weights

with needs("tensorboard"):
    from tensorboardX import SummaryWriter


class TensorBoardWriter:
    """Writes into a folder, which TensorBoard reads: ``tensorboard --logdir FOLDER``.

    OSError when nothing can be written there, before anything is.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        files.check_folder(folder)

    def __enter__(self) -> Self:
        # tensorboardX names files by the second: two runs in one would share a file; they are read by name
        self._writer = SummaryWriter(str(self.folder), filename_suffix=f".{time.time_ns()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def epoch(
        self, record: EpochRecord, network: Network | None = None, weights: Weights | None = None
    ) -> None:
        """An epoch, with the weights after it."""
        for tag, value in _scalars(record).items():
            self._writer.add_scalar(tag, value, record.epoch)
        if network is None or weights is None:
            return
        code = network.numerics.weight
        threshold = network.numerics.one * network.schedule.threshold
        for name, w in weights.items():
            ends = float(((w == code.lo) | (w == code.hi)).mean())
            self._writer.add_scalar(f"saturation/{name}", ends, record.epoch)
            self._writer.add_histogram(f"weights/{name}", w / threshold, record.epoch)
        self._writer.flush()


def _scalars(record: EpochRecord) -> Mapping[str, float]:
    """Values of an epoch."""
    found = {
        "accuracy/test": record.test_accuracy,
        "accuracy/training": record.train_accuracy,
        "error/test": 1 - record.test_accuracy,
        "rate/learning": record.learning_rate,
        "speed/samples a second": record.samples_per_second,
    }
    optional = {
        "spikes/sample": record.spikes_per_sample,
        "steps/free": record.steps_per_sample or None,
        "loss/training": record.loss,
        "loss/test": record.test_loss,
    }
    return found | {tag: value for tag, value in optional.items() if value is not None}
