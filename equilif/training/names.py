"""Names of the files of a run."""

from __future__ import annotations

from pathlib import Path

from equilif_golden import files

HISTORY = "history.json"
NETWORK = "network.npz"
CHECKPOINT = "rates.pt"  #: of a run in floating point: weights and optimiser
OLD_HISTORY = (
    "rates.json"  #: of a run in floating point, in place of history.json, as version 0.1.0 first wrote it
)
TEXT = "text.pt"  #: state of `equilif train-text`
RUN = (HISTORY, NETWORK, OLD_HISTORY, CHECKPOINT, TEXT)


def reads_run(folder: Path) -> None:
    """Report that the run in a folder is read (equilif_golden.files.reads): its files belong together."""
    for name in RUN:
        files.reads(folder / name)
