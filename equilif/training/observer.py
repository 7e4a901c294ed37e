"""Observer of training runs, which the command line shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from equilif.training.run import Run
    from equilif.training.storage.history import EpochRecord, Progress


class Observer:
    """Observer of runs, by folder, that does nothing."""

    def progress(self, folder: Path, run: Run, state: Progress) -> None:
        """Within an epoch, in the thread of the run."""

    def epoch(self, folder: Path, run: Run, record: EpochRecord) -> None:
        """After an epoch, in the thread of the run."""

    def done(self, folder: Path, run: Run) -> None:
        """After the last epoch, in the thread of the caller."""
