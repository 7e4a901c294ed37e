"""Golden model against plain backpropagation: who learns faster on one core.

Both have the same populations, the same order of the same samples, batch 1 and one thread.  Time is CPU time
of training; tests are not counted.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.phases import epoch_plan, order
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif_golden.kernel import Kernel

TARGET = 0.97  #: accuracy on the test set
PARTS = 10  #: tests in an epoch
SEEDS = (0, 1, 2)
REPEATS = 3  #: of an inference; the fastest counts

Order = npt.NDArray[np.int64]


class OnlineLearner(Protocol):
    """A network that learns samples one by one; ``x``: augmented ones, of this epoch on."""

    def begin(self, epoch: int) -> None: ...
    def train(self, order: Order, x: Bytes | None = None) -> None: ...
    def accuracy(self) -> float: ...


class Golden:
    """The golden kernel; ``description``: network and training, by default the preset of the data."""

    def __init__(self, data: DataSet, seed: int, description: Description | None = None):
        self.data = data
        self.description = plan = description or PRESETS[data.name]
        network = plan.network(data)
        weights = plan.initial_weights(network, seed, data)
        self.kernel = Kernel(network, weights, learning_rate=plan.rate(0))
        self.train(np.arange(0))  # compiles

    def begin(self, epoch: int) -> None:
        self.kernel.set_learning_rate(self.description.rate(min(epoch, self.description.epochs - 1)))

    def train(self, order: Order, x: Bytes | None = None) -> None:
        self.kernel.train(self.data.x_train if x is None else x, self.data.y_train, order)

    def accuracy(self) -> float:
        return self.kernel.accuracy(self.data.x_test, self.data.y_test)


@dataclass(frozen=True)
class Pace:
    """Speed of one learner on one data set: medians over the seeds.

    ``to_target``: seconds of training to the target test accuracy; None: a seed did not get there
    within its limit.
    """

    samples_per_second: float
    epoch: float  #: seconds
    to_target: float | None
    accuracy: float  #: at the end
    seeds: int


def pace(make: Callable[[DataSet, int], OnlineLearner], data: DataSet, limit: float) -> Pace:
    """Each seed trains for at least an epoch, until the target or the limit of CPU time is reached."""
    n = len(data.x_train)
    rates = []
    reached = []
    accuracies = []
    for seed in SEEDS:
        learner = make(data, seed)
        samples, seconds, at, accuracy = _run(learner, seed, n, limit)
        rates.append(samples / seconds)
        reached.append(at)
        accuracies.append(accuracy)
    known = [at for at in reached if at is not None]
    rate = statistics.median(rates)
    return Pace(
        samples_per_second=rate,
        epoch=n / rate,
        to_target=statistics.median(known) if len(known) == len(reached) else None,
        accuracy=statistics.median(accuracies),
        seeds=len(SEEDS),
    )


def _run(learner: OnlineLearner, seed: int, n: int, limit: float) -> tuple[int, float, float | None, float]:
    """Samples, seconds, seconds to the target, accuracy at the end."""
    samples = 0
    seconds = 0.0
    reached = None
    accuracy = 0.0
    for epoch in itertools.count():
        learner.begin(epoch)
        for part in np.array_split(order(seed, epoch, n), PARTS):
            start = time.process_time()
            learner.train(part)
            seconds += time.process_time() - start
            samples += len(part)
            accuracy = learner.accuracy()
            if reached is None and accuracy >= TARGET:
                reached = seconds
            if seconds >= limit or (reached is not None and samples >= n):
                return samples, seconds, reached, accuracy
    raise AssertionError("never")


def final_accuracy(
    make: Callable[[DataSet, int, Description], OnlineLearner],
    data: DataSet,
    description: Description,
    seeds: Sequence[int],
    report: Callable[[], object],
) -> list[float]:
    """Test accuracy of each seed after all epochs of a description, with its data augmentation.

    ``report`` is called after each epoch.
    """
    accuracies = []
    for seed in seeds:
        learner = make(data, seed, description)
        for epoch in range(description.epochs):
            plan = epoch_plan(description, data, seed, epoch)
            learner.begin(epoch)
            learner.train(plan.order, plan.samples().x)
            report()
        accuracies.append(learner.accuracy())
    return accuracies


def inference(data: DataSet) -> float:
    """Samples a second by the clock on the wall, on all threads."""
    kernel = Golden(data, SEEDS[0]).kernel
    kernel.predict(data.x_train[:1])
    return max(_rate(kernel, data) for _ in range(REPEATS))


def _rate(kernel: Kernel, data: DataSet) -> float:
    start = time.perf_counter()
    kernel.predict(data.x_train)
    return len(data.x_train) / (time.perf_counter() - start)


def compile_seconds() -> float:
    """CPU time of the first training step and prediction in a process, with an empty compilation cache."""
    code = (
        "import time, numpy as np\n"
        "from equilif_golden.kernel import Kernel\n"
        "from equilif_golden.network import Network\n"
        "x = np.zeros((1, 8), np.uint8)\n"
        "kernel = Kernel(Network.chain(8, 4, 2), learning_rate=0.01)\n"
        "start = time.process_time()\n"
        "kernel.train(x, [0])\n"
        "kernel.predict(x)\n"
        "print(time.process_time() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        process = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=environment
        )
    return float(process.stdout)
