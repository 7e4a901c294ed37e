"""Cycles of a sample by lanes, of the DEEP pipeline, by equilif_golden.engine.cycles.

    python -m benchmarks.cycles --data DIR [--samples N]

Networks have learned for an epoch.  *Ideal* are the words of P weights that a sample touches, one a cycle;
LEARN touches those that can change.  RTL and this model agree in every cycle (tests/engine/test_engine.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from equilif.data import images
from equilif.data.dataset import DataSet
from equilif.show.console import console, counted, table
from equilif.training.presets import PRESETS
from equilif.training.train import lesson, order, taught
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

NETWORKS = (("digits", 64), ("mnist", 128), ("mnist", 224))  #: data, hidden neurons
LANES = (4, 16, 32)
KINDS = ("training", "inference")
COLUMNS = ["network", "P", "cycles", "ideal", "ratio"]


def learnt(data: DataSet, hidden: int) -> Kernel:
    """A network after an epoch."""
    preset = PRESETS[data.name]
    network = Network.chain(data.n_features, hidden, data.n_classes, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), lr=preset.rate(0))
    for _ in taught(kernel, data, lesson(preset, data, 0, 0)):
        pass
    return kernel


def costs(
    config: EngineConfig, kernel: Kernel, data: DataSet, samples: int
) -> dict[str, tuple[float, float]]:
    """Cycles and ideal of a sample of each kind."""
    chip = Chip(
        EngineModel(config),
        kernel.network,
        kernel.weights,
        lr=PRESETS[data.name].rate(1),
        counter=kernel.counter,
    )
    targets = one_hot(data.y_train, data.n_classes)
    places = order(0, 1, len(data.x_train))[:samples]
    runs = (
        [chip.sample(data.x_train[j], targets[j]) for j in places],
        [chip.sample(x) for x in data.x_test[:samples]],
    )
    return {
        kind: (float(np.mean([run.cycles for run in of])), float(np.mean([run.accesses for run in of])))
        for kind, of in zip(KINDS, runs, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--samples", type=int, default=100, help="of training, and of the test set")
    chosen = parser.parse_args()
    sets = {"digits": images.digits(), "mnist": images.load("mnist", chosen.data)}
    rows: dict[str, list[list[str]]] = {kind: [] for kind in KINDS}
    with counted("engines", len(NETWORKS) * len(LANES)) as done:
        for name, hidden in NETWORKS:
            kernel = learnt(sets[name], hidden)
            network = kernel.network
            for lanes in LANES:
                config = engine_for(network, lanes=lanes)
                found = costs(config, kernel, sets[name], chosen.samples)
                for kind, (took, ideal) in found.items():
                    rows[kind].append(
                        [
                            f"{name} {network.n_inputs}-{hidden}-{network.n_outputs}",
                            f"{lanes}",
                            f"{took:,.0f}",
                            f"{ideal:,.0f}",
                            f"{took / ideal:.2f}",
                        ]
                    )
                done(len(rows["training"]))
    for kind in KINDS:
        console.print(table(f"\ncycles of a sample, {kind}", COLUMNS, rows[kind]))


if __name__ == "__main__":
    main()
