"""Test accuracy of trained networks: the tables of README.md and docs/reference/results.md.

--run trains networks, records the accuracy and updates the pages; without it the networks are listed.
benchmarks/summaries/accuracy.json has the accuracy after the last epoch on the official test split, for each
seed.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from benchmarks import pages, records
from benchmarks.claims import NETWORKS, TrainedNetwork
from benchmarks.registry import Data, choose

TABLE = records.SUMMARIES / "accuracy.json"


def accuracies(found: dict[str, Any]) -> list[float]:
    """Accuracy in per cent for each seed, from the JSON of `equilif train` (one run or several)."""
    runs = found.get("runs", [found])
    return [round(100 * run["epochs"][-1]["test_accuracy"], 2) for run in runs]


def measure(network: TrainedNetwork, seeds: int, data: Path | None) -> list[float]:
    """Train with the first seeds; CalledProcessError when the command fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        command = [sys.executable, "-m", *shlex.split(network.command), "--seed", f"0-{seeds - 1}"]
        command += ["--json", str(out / "found.json"), "--out", str(out / "run")]
        if data and "digits" not in command:  # which come with scikit-learn
            command += ["--data", str(data.resolve())]
        subprocess.run(command, check=True, cwd=records.ROOT)
        return accuracies(json.loads((out / "found.json").read_text()))


def main(
    *,
    run: Annotated[Sequence[str], "networks to train"] = (),
    seeds: Annotated[int | None, "number of seeds (default: as recorded)"] = None,
    data: Data | None = None,
) -> None:
    if not run:
        print("\n".join(NETWORKS))
        return
    known = records.read(TABLE).get("networks", {})
    for name in choose(run, NETWORKS, "network"):
        found = measure(NETWORKS[name], seeds or len(known[name]["accuracy"]), data)
        entry = {**records.stamp("accuracy", name), "accuracy": found}
        pages.save_entry(TABLE, "networks", name, entry, NETWORKS)
        print(f"{name}: {found}", flush=True)
