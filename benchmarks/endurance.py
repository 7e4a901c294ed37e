"""Ten million updates in a row: accuracy, weights, and neurons that no longer fire.

    python -m benchmarks endurance [--write]

Digits, 64-64-10, with the schedule of the preset at a constant learning rate: the training samples again and
again, in another random order each time, seed 0.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import pages, records
from benchmarks.registry import Write
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.phases import order
from equilif.training.settings.presets import PRESETS
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel

SUMMARY = records.SUMMARIES / "endurance.json"
PRESET = PRESETS["digits"]
CHECKED = (1_437, 14_370, 100_000, 1_000_000, 3_000_000, 5_000_000, 10_000_000)  #: updates


def state(kernel: Kernel, data: DataSet) -> dict[str, float]:
    """Accuracy in per cent, weights, and neurons whose free rate is 0 for all training samples."""
    weights = np.concatenate([w.ravel() for w in kernel.weights.values()]).astype(np.int64)
    limit = (1 << kernel.network.numerics.weight_width - 1) - 1
    rates, _ = kernel.rates(data.x_train)
    return {
        "training": round(100 * kernel.accuracy(data.x_train, data.y_train), 2),
        "test": round(100 * kernel.accuracy(data.x_test, data.y_test), 2),
        "saturated": int((np.abs(weights) >= limit).sum()),
        "largest": int(np.abs(weights).max()),
        "rms": round(float(np.sqrt(np.mean(weights**2))), 1),
        "silent": int((rates[:, 0].max(axis=0) == 0).sum()),
    }


def measure(checked: tuple[int, ...] = CHECKED) -> dict[str, Any]:
    """The state after each of these numbers of updates."""
    data = images.load("digits")
    network = PRESET.network(data)
    kernel = Kernel(network, PRESET.initial_weights(network, 0, data), learning_rate=PRESET.rate(0))
    n = len(data.x_train)
    found = {}
    for before, updates in pairwise((0, *checked)):
        for first in range(before, updates, n):
            kernel.train(data.x_train, data.y_train, orders(first, min(first + n, updates), n))
        found[f"{updates:,}"] = state(kernel, data)
        print(f"{updates:,}: {found[f'{updates:,}']}", flush=True)
    return found


def orders(first: int, last: int, n: int) -> Raw:
    """Samples of the updates first .. last - 1."""
    epochs = range(first // n, -(-last // n))
    return np.concatenate([order(0, epoch, n) for epoch in epochs])[first % n :][: last - first]


def main(*, write: Write = False) -> None:
    found = measure()
    if write:
        pages.save(SUMMARY, {**records.stamp("endurance"), "updates": found})
