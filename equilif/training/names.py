"""Names of the files of a run."""

from __future__ import annotations

from pathlib import Path

from equilif_golden import files

HISTORY = "history.json"
NETWORK = "network.npz"
CHECKPOINT = "rates.pt"  #: of a run in floating point: weights and optimiser
RUN = (HISTORY, NETWORK, CHECKPOINT)


def reads_run(folder: Path) -> None:
    """Report that the run in a folder is read (equilif_golden.files.reads): its files belong together."""
    for name in RUN:
        files.reads(folder / name)
