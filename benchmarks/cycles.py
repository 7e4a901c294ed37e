"""Cycles of a sample by pipeline and lanes, by equilif_golden.engine.cycles.

    python -m benchmarks.cycles --data DIR [--samples N]

Networks have learned for an epoch.  *Ideal* are words of P weights, one a cycle: those that a sample touches
in a FORWARDING engine, and those that are left where LEARN looks at its destination first (DEEP).  RTL and
this model agree in every cycle (tests/engine/test_engine.py).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from equilif.data import images
from equilif.data.dataset import DataSet
from equilif.show.console import console, counted, table
from equilif.training.presets import PRESETS
from equilif.training.train import lesson, order, taught
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

NETWORKS = (("digits", 64), ("mnist", 128), ("mnist", 224))  #: data, hidden neurons
LANES = (4, 16, 32)
PIPELINES = (Pipeline.FORWARDING, Pipeline.DEEP)
KINDS = ("training", "inference")
COLUMNS = ["network", "P", "FORWARDING", "ideal", "ratio", "DEEP", "ideal", "ratio", "to the first ideal"]


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
                found = [
                    costs(replace(config, pipeline=pipeline), kernel, sets[name], chosen.samples)
                    for pipeline in PIPELINES
                ]
                for kind in KINDS:
                    (plain, ideal), (deep, less) = (one[kind] for one in found)
                    rows[kind].append(
                        [
                            f"{name} {network.n_inputs}-{hidden}-{network.n_outputs}",
                            f"{lanes}",
                            f"{plain:,.0f}",
                            f"{ideal:,.0f}",
                            f"{plain / ideal:.2f}",
                            f"{deep:,.0f}",
                            f"{less:,.0f}",
                            f"{deep / less:.2f}",
                            f"{deep / ideal:.2f}",
                        ]
                    )
                done(len(rows["training"]))
    for kind in KINDS:
        console.print(table(f"\ncycles of a sample, {kind}", COLUMNS, rows[kind]))


if __name__ == "__main__":
    main()
