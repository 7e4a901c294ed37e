"""Test accuracy of trained networks: the tables of README.md and docs/reference/results.md.

    python -m benchmarks.accuracy --list                 list the networks
    python -m benchmarks.accuracy --run NAME --data D    train, record the accuracy, update the pages
    python -m benchmarks.accuracy --run digits --seeds 2

benchmarks/summaries/accuracy.json has the accuracy after the last epoch on the official test split, for each
seed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import pages, records
from benchmarks.claims import NETWORKS, TRAINED, TrainedNetwork

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
        if data:
            command += ["--data", str(data)]
        subprocess.run(command, check=True, cwd=folder)
        return accuracies(json.loads((out / "found.json").read_text()))


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", action="store_true", help="list the networks")
    parser.add_argument("--run", action="append", default=[], choices=list(NETWORKS), help="train a network")
    parser.add_argument("--seeds", type=int, help="number of seeds (default: as recorded)")
    parser.add_argument("--data", type=Path, help="folder of the data set")
    given = parser.parse_args(None if arguments is None else list(arguments))
    if given.list:
        print("\n".join(NETWORKS))
    known = records.read(TABLE).get("networks", {})
    for name in given.run:
        seeds = given.seeds or len(known[name]["accuracy"])
        data = given.data and given.data.resolve()
        found = measure(NETWORKS[name], seeds, data)
        known[name] = {**records.stamp(TRAINED), "accuracy": found}
        records.write(TABLE, {"networks": {name: known[name] for name in NETWORKS if name in known}})
        print(f"{name}: {found}", flush=True)
    pages.write()


if __name__ == "__main__":
    main()
