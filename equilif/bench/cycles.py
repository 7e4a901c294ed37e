"""The engine in simulation: cycles of a sample against the fewest that are possible, and simulated cycles a
second.

The ideal engine touches a word of P weights in every cycle.  Cycles are those of the RTL, compiled by
Verilator, on a network after an epoch of training, so that spikes are as frequent as in training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from equilif.data.sets.dataset import DataSet
from equilif.results import ToolFailed
from equilif.training.backends.phases import epoch_plan, order, train_epoch
from equilif.training.settings.presets import PRESETS
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import engine_for
from equilif_golden.extras import needs
from equilif_golden.kernel import Kernel
from equilif_golden.samples import one_hot

with needs("hdl,sim"):
    from amaranth._toolchain import ToolNotFound
    from amaranth.back.verilog import YosysError

    from equilif_sim.library import BuildFailed
    from equilif_sim.verilated import VerilatedEngine

LANES = (4, 16, 32)
SEED = 0


@dataclass(frozen=True)
class Cycles:
    """Mean cycles per sample in training and inference; the results are compared bit for bit."""

    data: str
    network: str
    lanes: int
    samples: int
    training: float
    ideal_training: float
    inference: float
    ideal_inference: float
    per_second: float  #: simulated cycles a second of CPU time, samples' way in and out included


def measure(
    sets: Sequence[DataSet], samples: int, progress: Callable[[str], None] = lambda what: None
) -> Iterator[Cycles]:
    """Every data set on every number of lanes.  One engine of a size serves all of them.

    ``progress``: called with each step.  ToolFailed without Verilator, or when RTL and golden model differ.
    """
    largest = max(sets, key=lambda data: PRESETS[data.name].network(data).n_weights)
    for lanes in LANES:
        config = engine_for(PRESETS[largest.name].network(largest), lanes=lanes)
        progress(f"an engine of {lanes} lanes is compiled")
        try:
            VerilatedEngine(config)
        except (BuildFailed, YosysError, ToolNotFound) as e:
            raise ToolFailed(str(e)) from e
        for data in sets:
            progress(f"{data.name} on {lanes} lanes")
            yield _measure(data, VerilatedEngine(config), samples)


def _measure(data: DataSet, engine: VerilatedEngine, samples: int) -> Cycles:
    preset = PRESETS[data.name]
    network = preset.network(data)
    kernel = Kernel(network, preset.initial_weights(network, SEED), learning_rate=preset.rate(0))
    for _ in train_epoch(kernel, data, epoch_plan(preset, data, SEED, 0)):
        pass
    learning_rate = preset.rate(1)
    kernel.set_learning_rate(learning_rate)
    chip = Chip(engine, network, kernel.weights, learning_rate=learning_rate, counter=kernel.counter)
    chosen = order(SEED, 1, len(data.x_train))[:samples]
    targets = one_hot(data.y_train, network.n_outputs)
    tests = data.x_test[:samples]
    start = time.process_time()
    training = [chip.sample(data.x_train[j], targets[j]) for j in chosen]
    inference = [chip.sample(x) for x in tests]
    seconds = time.process_time() - start
    kernel.train(data.x_train, data.y_train, chosen)
    if any(not np.array_equal(w, chip.weights[name]) for name, w in kernel.weights.items()):
        raise ToolFailed(f"RTL and golden model differ on {data.name}: see equilif verify {data.name}")
    runs = (*training, *inference)
    return Cycles(
        data=data.name,
        network="-".join(map(str, (data.n_features, *preset.hidden, network.n_outputs))),
        lanes=engine.config.lanes,
        samples=samples,
        training=float(np.mean([run.cycles for run in training])),
        ideal_training=float(np.mean([run.accesses for run in training])),
        inference=float(np.mean([run.cycles for run in inference])),
        ideal_inference=float(np.mean([run.accesses for run in inference])),
        per_second=sum(run.cycles for run in runs) / seconds,
    )
