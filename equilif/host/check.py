"""Whether a board computes what the golden model computes, and how fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from equilif.data.sets.dataset import DataSet
from equilif.host import memory_check
from equilif.host.client import Client
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot

HIDDEN = (128, 64, 32, 16, 8, 4)  #: sizes of the hidden population; the largest that fits is taken
LEARNING_RATE = 0.05


@dataclass(frozen=True)
class BoardCheck:
    """Training and inference samples that were compared, samples per second through the link, and the first
    difference, empty where all numbers are equal.  ``memory``: the test of an SDRAM, if the board has one.
    """

    sizes: tuple[int, ...]
    samples: int
    training_rate: float
    inference_rate: float
    difference: str
    memory: memory_check.MemoryCheck | None = None


def largest(config: EngineConfig, data: DataSet) -> Network:
    """The largest chain for the data that an engine holds; CapacityError when there is none."""
    for hidden in HIDDEN:
        network = Network.chain(data.n_features, hidden, data.n_classes, numerics=config.numerics)
        try:
            Compiled(network, config)
        except CapacityError:
            continue
        return network
    raise CapacityError(f"the engine is too small for {data.n_features}-{HIDDEN[-1]}-{data.n_classes}")


def check(client: Client, data: DataSet, samples: int) -> BoardCheck:
    """Test the SDRAM, if there is one.  Train and infer the first samples of the data on a board and on the
    golden model; compare predictions, spikes, rates and weights.
    """
    network = largest(client.config, data)
    sizes = tuple(p.size for p in network.populations if p.name != "bias")
    memory = memory_check.check(client) if client.config.external else None
    if memory and memory.difference:
        return BoardCheck(sizes, 0, 0.0, 0.0, memory.difference, memory)
    chip = Chip(client, network, learning_rate=LEARNING_RATE)
    golden = Kernel(network, learning_rate=LEARNING_RATE)
    n = min(samples, len(data.y_train), len(data.y_test))
    x = data.x_train[:n]
    y = data.y_train[:n]
    targets = one_hot(y, network.n_outputs)
    start = time.perf_counter()
    trained = [chip.sample(x[k], targets[k]) for k in range(n)]
    training_rate = n / (time.perf_counter() - start)
    expected = []
    for k in range(n):
        prediction = int(golden.predict(x[[k]])[0])  # before the update
        expected.append((prediction, golden.train(x, y, [k]).spikes))
    difference = _first("training sample", [(run.prediction, run.spikes) for run in trained], expected)
    difference = difference or _weights(chip, golden)
    settled = golden.settle(data.x_test[:n])
    outputs = golden.network.neurons[network.output]
    start = time.perf_counter()
    inferred = [chip.sample(row, read=chip.outputs) for row in data.x_test[:n]]
    inference_rate = n / (time.perf_counter() - start)
    difference = difference or _first(
        "test sample",
        [(run.spikes, [int(v) & 0xFF for v in run.values]) for run in inferred],
        [(int(settled.spikes[k]), settled.rates[k, 0, outputs].tolist()) for k in range(n)],
    )
    return BoardCheck(sizes, n, training_rate, inference_rate, difference, memory)


def _first(what: str, board: Sequence[object], golden: Sequence[object]) -> str:
    """The first sample that differs."""
    for k, (a, b) in enumerate(zip(board, golden, strict=True)):
        if a != b:
            return f"{what} {k}: board {a}, golden model {b}"
    return ""


def _weights(chip: Chip, golden: Kernel) -> str:
    """The first weight that differs."""
    board = chip.weights
    for name, w in golden.weights.items():
        wrong = np.argwhere(board[name] != w)
        if len(wrong):
            i, k = wrong[0]
            return f"weight {name}[{i}, {k}]: board {board[name][i, k]}, golden model {w[i, k]}"
    return ""
