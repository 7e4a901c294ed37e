"""Accuracy against the fraction of flipped weight bits.

Digits, 64-64-10, trained in the golden model; then each bit of each 16-bit weight flips independently (boards
have no parity).  Accuracy is measured at once and after another epoch of training.
"""

from __future__ import annotations

import numpy as np

from benchmarks import pages, records
from benchmarks.registry import Epochs, Seeds
from equilif.data.sets import images as data
from equilif.show.console import counted
from equilif.training.backends.phases import epoch_plan, train_epoch
from equilif.training.settings.presets import PRESETS
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Weights

SUMMARY = records.SUMMARIES / "flips.json"
PART = (0.0, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1)  #: fractions of all bits
BITS = 16


def flipped(weights: Weights, part: float, rng: np.random.Generator) -> Weights:
    """Flip every bit with this probability."""
    out = {}
    for name, w in weights.items():
        bits = (rng.random((*w.shape, BITS)) < part) @ (1 << np.arange(BITS))
        out[name] = ((w ^ bits) + (1 << BITS - 1) & (1 << BITS) - 1) - (1 << BITS - 1)
    return out


def measure(seed: int, epochs: int) -> list[tuple[float, float]]:
    """Accuracy at once and an epoch later, for each fraction."""
    preset = PRESETS["digits"]
    d = data.load("digits")
    network = Network.chain(64, 64, 10, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, seed), learning_rate=preset.rate(0))

    def epoch(number: int) -> None:
        kernel.set_learning_rate(preset.rate(number))
        for _ in train_epoch(kernel, d, epoch_plan(preset, d, seed, number)):
            pass

    for number in range(epochs):
        epoch(number)
    trained = {name: w.copy() for name, w in kernel.weights.items()}
    out = []
    for k, part in enumerate(PART):
        damaged = flipped(trained, part, np.random.default_rng([seed, k]))
        kernel = Kernel(network, damaged, learning_rate=preset.rate(epochs - 1))
        at_once = kernel.accuracy(d.x_test, d.y_test)
        epoch(epochs - 1)
        out.append((at_once, kernel.accuracy(d.x_test, d.y_test)))
    return out


def summary(found: np.ndarray) -> list[tuple[str, list[float], list[float]]]:
    """Mean, minimum and maximum accuracy at once and an epoch later, for each fraction."""
    out = []
    for k, part in enumerate(PART):
        at_once, later = (
            [round(float(v), 1) for v in (a.mean(), a.min(), a.max())] for a in 100 * found[:, k].T
        )
        out.append((f"1 in {round(1 / part):,}" if part else "none", at_once, later))
    return out


def main(*, seeds: Seeds = 5, epochs: Epochs = 20) -> None:
    found = []
    with counted("seeds", seeds) as progress:
        for seed in range(seeds):
            found.append(measure(seed, epochs))
            progress(seed + 1)
    rows = summary(np.array(found))
    pages.save(SUMMARY, {**records.stamp("flips"), "seeds": seeds, "epochs": epochs, "rows": rows})
