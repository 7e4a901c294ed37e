"""Update of a network on a board: exact cycles of the engine model, time, and estimated energy.

    python -m benchmarks updates --data DIR [--write]

An update is a training sample, new or replayed.  Networks learn in the kernel first, the one of MNIST an
epoch; then the engine model learns 20 samples and counts.  Its counts are those of the RTL, as tests show.
Energy is that of `equilif energy`: arithmetic and memories at 45 nm, no measurement of the FPGA.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks import pages, records
from benchmarks.registry import Data, Write
from benchmarks.streams import STREAMS
from benchmarks.training import BOARD_PRESET, after_an_epoch
from equilif.data.base.arrays import Bytes
from equilif.data.sets import images
from equilif.hardware import boards
from equilif.hardware.energy import COUNTS, energy, run_counts
from equilif.stream import LEARNING_RATE, StreamLearner
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.network import Network, Weights
from equilif_golden.replay import Reservoir
from equilif_golden.samples import one_hot

SUMMARY = records.SUMMARIES / "updates.json"
BOARDS = ("icebreaker", "ulx3s-25f")
HIDDEN = (56, 64, 128)  #: neurons of the networks of MNIST
LEARNED = 500  #: samples of the stream before the first one that is counted
SAMPLES = 20


class UpdateCase(NamedTuple):
    """A network that has learned, and samples that it learns next."""

    name: str
    network: Network
    weights: Weights
    learning_rate: float
    x: Bytes
    labels: Raw


def cases(data: Data) -> Iterator[UpdateCase]:
    learner = StreamLearner()
    for x, y in itertools.islice(STREAMS["Phishing"](), LEARNED):
        learner.learn_one(x, y)
    model = learner.model
    assert model is not None
    replay = model.learner_.replay
    assert isinstance(replay, Reservoir)
    network = model.learner_.network
    sizes = f"{network.inputs[0].size}-{learner.hidden}-{network.n_outputs}, direct"
    yield UpdateCase(
        f"stream, {sizes}", network, model.learner_.weights, LEARNING_RATE, replay.x, replay.labels
    )
    mnist = images.load("mnist", data)
    for hidden in HIDDEN:
        layers = 784, hidden, 10
        kernel, at = after_an_epoch(layers, mnist, SAMPLES)
        yield UpdateCase(
            f"MNIST, {'-'.join(map(str, layers))}",
            kernel.network,
            kernel.weights,
            BOARD_PRESET.rate(1),
            mnist.x_train[at],
            mnist.y_train[at],
        )


def measure(case: UpdateCase, board: str) -> dict[str, Any] | None:
    """Cycles, microseconds and nanojoules of an update; None where the engine does not hold the network."""
    found = boards.find(board)
    config = dataclasses.replace(found.config, counters=True)
    try:
        chip = Chip(EngineModel(config), case.network, case.weights, learning_rate=case.learning_rate)
    except CapacityError:
        return None
    cycles, counts = 0, np.zeros(len(COUNTS))
    for x, y in zip(case.x[:SAMPLES], case.labels[:SAMPLES], strict=True):
        run = chip.sample(x, one_hot(np.array([y]), case.network.n_outputs)[0])
        cycles += run.cycles
        counts += run_counts(run)
    mean = dict(zip(COUNTS, (counts / SAMPLES).tolist(), strict=True))
    return {
        "lanes": config.lanes,
        "cycles": round(cycles / SAMPLES),
        "microseconds": round(cycles / SAMPLES / found.clock_hz * 1e6, 1),
        "nanojoules": round(sum(energy(mean, config).values()) / 1000, 1),
    }


def main(*, data: Data, write: Write = False) -> None:
    found = {case.name: {board: measure(case, board) for board in BOARDS} for case in cases(data)}
    for name, of in found.items():
        print(name, of)
    if write:
        pages.save(SUMMARY, {**records.stamp("updates"), "samples": SAMPLES, "networks": found})
