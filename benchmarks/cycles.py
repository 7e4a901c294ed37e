"""Cycles of a sample of MNIST on engines of large devices, by equilif_golden.engine.cycles.

    python -m benchmarks.cycles --data DIR [--samples N]

Networks are those of the boards, after an epoch; the pipeline is DEEP.  *Ideal* are the words of P weights
that the sample touches.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from equilif.data import images
from equilif.training.presets import PRESETS
from equilif.training.train import lesson, order, taught
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

#: hidden neurons, lanes and tiles
ENGINES = ((56, 8, 768), (224, 16, 768), (224, 32, 192))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's IDX files")
    parser.add_argument("--samples", type=int, default=60, help="of training, and of the test set")
    chosen = parser.parse_args()
    data = images.load("mnist", chosen.data)
    preset = PRESETS["mnist"]
    for hidden, lanes, tiles in ENGINES:
        network = Network.chain(data.n_features, hidden, 10, schedule=preset.schedule)
        kernel = Kernel(network, preset.initial_weights(network, 0), lr=preset.rate(0))
        for _ in taught(kernel, data, lesson(preset, data, 0, 0)):
            pass
        engine = EngineModel(
            EngineConfig(
                lanes=lanes,
                tiles=tiles,
                value_groups=2048 // lanes,
                state_groups=512 // lanes,
                program_words=512,
                pipeline=Pipeline.DEEP,
            )
        )
        chip = Chip(engine, network, kernel.weights, lr=preset.rate(1), counter=kernel.counter)
        places = order(0, 1, len(data.x_train))[: chosen.samples]
        targets = one_hot(data.y_train, 10)
        training = [chip.sample(data.x_train[j], targets[j]) for j in places]
        inference = [chip.sample(x) for x in data.x_test[: chosen.samples]]
        for kind, runs in (("training", training), ("inference", inference)):
            cycles = np.mean([run.cycles for run in runs])
            ideal = np.mean([run.accesses for run in runs])
            print(
                f"784-{hidden}-10, {lanes} lanes, {kind}: {cycles:,.0f} cycles, ideal {ideal:,.0f}, "
                f"ratio {cycles / ideal:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
