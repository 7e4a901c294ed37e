"""Accuracy against time steps, on a part that is held out of the training samples.

    python -m benchmarks.steps --data DIR                       all tasks
    python -m benchmarks.steps --only digits --only vowels --data DIR
    python -m benchmarks.steps --table                          the table of what has been measured

A point is a task, a schedule and a seed; all else is the preset of the task.  Where there are few training
samples, it is the mean over parts that are held out one after the other.  Points are kept in --out, one file
each, and are not measured again.  The test set is never looked at.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from equilif.data.dataset import DataSet
from equilif.training.description import Description
from equilif.training.presets import PRESETS
from equilif.training.run import Run

#: free phase, nudged phases, window
SCHEDULES = (
    (24, 12, 8),
    (24, 16, 8),
    (16, 8, 8),
    (16, 8, 4),
    (12, 8, 4),
    (12, 4, 4),
    (8, 8, 4),
    (8, 4, 4),
    (8, 4, 2),
    (6, 4, 2),
)


class Task(NamedTuple):
    """A data set and a network; ``held`` samples of the training set are a validation set."""

    preset: Description
    held: int
    parts: int = 1  #: that are held out, one after the other


#: settings of docs/how_to/own_networks.md, "Deep chains"
DEEP = PRESETS["mnist"].changed(hidden=(128, 64, 32), learning_rate=0.005, beta=0.5)
TASKS = {
    "digits": Task(PRESETS["digits"], 359, 4),
    "mnist": Task(PRESETS["mnist"], 10_000),
    "fashion": Task(PRESETS["fashion"], 10_000),
    "deep": Task(DEEP, 10_000),
    "vowels": Task(PRESETS["vowels"], 67, 4),
    "spoken": Task(PRESETS["spoken"], 500),
}

#: tasks whose data come with a package, not from --data
BUNDLED = ("digits", "vowels")


def held_out(data: DataSet, n: int, part: int = 0) -> DataSet:
    """``n`` training samples stand in the place of the test set: of a fixed permutation the last ones, or
    those ``part`` times ``n`` before them.
    """
    at = np.roll(np.random.default_rng(0).permutation(len(data.x_train)), part * n)
    tokens = data.tokens_train
    return dataclasses.replace(
        data,
        x_train=data.x_train[at[:-n]],
        y_train=data.y_train[at[:-n]],
        x_test=data.x_train[at[-n:]],
        y_test=data.y_train[at[-n:]],
        tokens_train=None if tokens is None else tokens.take(at[:-n]),
        tokens_test=None if tokens is None else tokens.take(at[-n:]),
    )


def measure(task: Task, data: DataSet, schedule: tuple[int, int, int], seed: int) -> dict[str, Any]:
    """Validation accuracy after the last epoch, and what a training sample took."""
    free, nudged, window = schedule
    preset = task.preset.changed(free=free, nudged=nudged, window=window)
    start = time.process_time()
    last = []
    for part in range(task.parts):
        run = Run.start(preset, held_out(data, task.held, part), seed)
        while not run.done:
            run.epoch()
        last.append(run.history[-1])
    return {
        "accuracy": statistics.fmean(e.test_accuracy for e in last),
        "train_accuracy": statistics.fmean(e.train_accuracy for e in last),
        "spikes_per_sample": statistics.fmean(e.spikes_per_sample or 0.0 for e in last),
        "steps": free + 2 * nudged,
        "seconds": time.process_time() - start,
    }


def points(out: Path, name: str, schedule: tuple[int, int, int]) -> list[dict[str, Any]]:
    label = "-".join(map(str, schedule))
    return [json.loads(p.read_text()) for p in sorted(out.glob(f"{name}-{label}-*.json"))]


def table(out: Path) -> str:
    """Markdown: mean over the seeds, and how far they spread."""
    lines = [
        "| free / nudged / window | steps | " + " | ".join(TASKS) + " |",
        "|---" * (2 + len(TASKS)) + "|",
    ]
    for schedule in SCHEDULES:
        cells = [_cell(points(out, name, schedule)) for name in TASKS]
        steps = schedule[0] + 2 * schedule[1]
        lines.append(f"| {' / '.join(map(str, schedule))} | {steps} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(found: Iterable[Mapping[str, Any]]) -> str:
    accuracies = [100 * p["accuracy"] for p in found]
    if not accuracies:
        return ""
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(accuracies) > 1 else ""
    return f"{statistics.fmean(accuracies):.2f}{spread} ({len(accuracies)})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--only", action="append", choices=TASKS, help="a task; repeat for more")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/steps"))
    parser.add_argument("--table", action="store_true", help="print what has been measured, measure nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [] if options.table else options.only or TASKS:
        task = TASKS[name]
        data = task.preset.load(None if name in BUNDLED else options.data)
        for seed in range(options.seeds):
            for schedule in SCHEDULES:
                path = options.out / f"{name}-{'-'.join(map(str, schedule))}-{seed}.json"
                if path.exists():
                    continue
                try:
                    found = measure(task, data, schedule, seed)
                except ValueError as e:  # a memory settles in whole windows
                    print(f"{path.stem}: {e}", flush=True)
                    continue
                path.write_text(json.dumps(found, indent=1))
                print(f"{path.stem}: {found['accuracy']:.2%}", flush=True)
    print(table(options.out))


if __name__ == "__main__":
    main()
