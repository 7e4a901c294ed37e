"""Validation accuracy against the number of time steps.

    python -m benchmarks.steps --data DIR                       all tasks
    python -m benchmarks.steps --only digits --only vowels --data DIR
    python -m benchmarks.steps --only mnist --data DIR --hidden 224 --beta 0.75 --out OTHER
    python -m benchmarks.steps --table                          print the table of results

A point is a task, a schedule and a seed; everything else is the preset of the task, or --hidden and --beta.
Tasks with few training samples use cross-validation.  Points are stored in --out, one file each, and not
measured again.  The test set is not used.
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
    (4, 4, 4),
    (6, 4, 2),
    (6, 3, 2),
    (5, 3, 2),
    (4, 3, 2),
)


class Task(NamedTuple):
    """A data set and a network; ``held``: number of validation samples from the training set."""

    preset: Description
    held: int
    parts: int = 1  #: number of validation splits


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
    """Replace the test set by ``n`` training samples: the last ones of a fixed permutation, or those ``part``
    times ``n`` before them.
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
    """Validation accuracy after the last epoch, and steps per training sample."""
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
    """Markdown table: mean and spread over the seeds."""
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
    parser.add_argument("--only", action="append", choices=TASKS, help="task (repeatable)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hidden", type=int, help="neurons of one hidden layer, in place of the preset's")
    parser.add_argument("--beta", type=float, help="strength of the nudge, in place of the preset's")
    parser.add_argument("--out", type=Path, default=Path("results/steps"))
    parser.add_argument("--table", action="store_true", help="print the table of results only")
    options = parser.parse_args()
    changes: dict[str, Any] = {"hidden": (options.hidden,)} if options.hidden else {}
    if options.beta:
        changes["beta"] = options.beta
    options.out.mkdir(parents=True, exist_ok=True)
    for name in [] if options.table else options.only or TASKS:
        task = TASKS[name]._replace(preset=TASKS[name].preset.changed(**changes))
        data = task.preset.load(None if name in BUNDLED else options.data)
        for seed in range(options.seeds):
            for schedule in SCHEDULES:
                path = options.out / f"{name}-{'-'.join(map(str, schedule))}-{seed}.json"
                if path.exists():
                    continue
                try:
                    found = measure(task, data, schedule, seed)
                except ValueError as e:  # attention settles in whole windows
                    print(f"{path.stem}: {e}", flush=True)
                    continue
                path.write_text(json.dumps(found, indent=1))
                print(f"{path.stem}: {found['accuracy']:.2%}", flush=True)
    print(table(options.out))


if __name__ == "__main__":
    main()
