"""Golden model against backpropagation: who learns faster on one core.

All have the same populations, the same order of the same samples and one thread.  Time is CPU time of
training; tests are not counted.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
#: of backpropagation, by data set and batch size: those with which samples that were held out of the training
#: set were right first, 97 % of them, 2 seeds (MNIST in batches: 1).  .05 is also the best of .02, .05 and .1
#: for 64-64-32-16-10 on the digits, and of .02 and .05 for convolutions of 16 and 32 maps, batch 1
LEARNING_RATES = {"digits": {1: 0.05, 32: 0.8, 128: 1.2}, "mnist": {1: 0.01, 32: 0.3, 128: 0.8}}

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


Make = Callable[[DataSet, int], OnlineLearner]


def paces(makes: Mapping[str, Make], data: DataSet, limit: float) -> dict[str, Pace]:
    """Learners in turn, a part of an epoch each: the load of the machine is the same for all.

    Each seed trains for at least an epoch, until the target or the limit of CPU time is reached.
    """
    results: dict[str, list[_Result]] = {name: [] for name in makes}
    for seed in SEEDS:
        runs = {name: _run(make(data, seed), seed, len(data.x_train), limit) for name, make in makes.items()}
        while runs:
            for name, run in list(runs.items()):
                if (result := next(run)) is not None:
                    results[name].append(result)
                    del runs[name]
    return {name: _pace(found, len(data.x_train)) for name, found in results.items()}


class _Result(NamedTuple):
    samples: int
    seconds: float
    reached: float | None  #: seconds to the target
    accuracy: float  #: at the end


def _pace(results: Sequence[_Result], n: int) -> Pace:
    known = [r.reached for r in results if r.reached is not None]
    rate = statistics.median(r.samples / r.seconds for r in results)
    return Pace(
        samples_per_second=rate,
        epoch=n / rate,
        to_target=statistics.median(known) if len(known) == len(results) else None,
        accuracy=statistics.median(r.accuracy for r in results),
        seeds=len(results),
    )


def _run(learner: OnlineLearner, seed: int, n: int, limit: float) -> Iterator[_Result | None]:
    """None after each part of an epoch, and the result after the last one."""
    samples = 0
    seconds = 0.0
    reached = None
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
                yield _Result(samples, seconds, reached, accuracy)
                return
            yield None


def accuracy_after(make: Make, data: DataSet, samples: int) -> float:
    """Test accuracy after this many training samples, median over the seeds."""
    n = len(data.x_train)
    accuracies = []
    for seed in SEEDS:
        learner = make(data, seed)
        for epoch, first in enumerate(range(0, samples, n)):
            learner.begin(epoch)
            learner.train(order(seed, epoch, n)[: samples - first])
        accuracies.append(learner.accuracy())
    return statistics.median(accuracies)


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
