"""Continual learning of MNIST: tasks that come one after the other, each sample once.

    python -m benchmarks continual --data DIR [--run NAME ...] [--validation] [--write]

split      five tasks of two digits each.  Class-incremental: one output a digit, and the test is on all ten;
           task-agnostic: neither learning nor test is told a task.
permuted   ten tasks of all digits, each with another fixed permutation of the pixels; the test is on all
           permutations.

The network is 784-128-10, bit for bit as on an engine, with the schedule of the preset.  Samples of a task
are in random order and are learned one by one, one pass.  At most 64 kB are stored for replay: the packed
samples of a reservoir and their labels, or the sums of the classes.  Backpropagation is a network of the same
size, in floating point, with the same replays.

--validation trains on 50,000 of the training samples and tests on the others: settings were chosen so, with
seed 0, see docs/notes/continual_learning.md; --learning-rate tries another one.

Commands with different methods can run at the same time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, NamedTuple

import numpy as np

from benchmarks.common import Data, choose
from benchmarks.training import BOARD_PRESET
from equilif.bench.compiled_backpropagation import CompiledBackpropagation
from equilif.data.base.arrays import Bytes
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.lesson_settings import BOARD_SETTINGS
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.replay import ClassMeans, Replay, Reservoir

LIMIT = 64 * 1024  #: bytes of what is stored
PER_SAMPLE = BOARD_SETTINGS.replay_per_sample
N_TASKS = {"split": 5, "permuted": 10}
N_SEEDS = {"split": 5, "permuted": 3}
VALIDATION = 10_000


class Method(NamedTuple):
    """A network and its replay: ``make`` with a seed."""

    make: Callable[[int], Replay | None]
    learning_rate: float
    protocol: str = "split"
    backpropagation: bool = False


def reservoir(size: int, bits: int) -> Callable[[int], Replay]:
    return lambda seed: Reservoir(size, PER_SAMPLE, bits=bits, seed=seed)


def nothing(seed: int) -> None:
    """No replay."""


def means(seed: int) -> Replay:
    return ClassMeans(PER_SAMPLE)


METHODS = {
    "none": Method(nothing, 0.01),
    "means": Method(means, 0.00125),
    "8 bits": Method(reservoir(340, 8), 0.01),
    "4 bits": Method(reservoir(610, 4), 0.02),
    "1 bit": Method(reservoir(1900, 1), 0.01),
    "backpropagation, none": Method(nothing, 0.02, backpropagation=True),
    "backpropagation, means": Method(means, 0.0003, backpropagation=True),
    "backpropagation, 4 bits": Method(reservoir(610, 4), 0.01, backpropagation=True),
    "backpropagation, 1 bit": Method(reservoir(1900, 1), 0.01, backpropagation=True),
    "permuted, none": Method(nothing, 0.02, "permuted"),
    "permuted, 1 bit": Method(reservoir(720, 1), 0.005, "permuted"),
    "permuted, backpropagation, none": Method(nothing, 0.005, "permuted", True),
    "permuted, backpropagation, 1 bit": Method(reservoir(720, 1), 0.005, "permuted", True),
}


def validation_part(data: DataSet) -> DataSet:
    """Training samples, and 10,000 of them to test on."""
    order = np.random.default_rng(0).permutation(len(data.x_train))
    test, train = order[:VALIDATION], order[VALIDATION:]
    return replace(
        data,
        x_train=data.x_train[train],
        y_train=data.y_train[train],
        x_test=data.x_train[test],
        y_test=data.y_train[test],
    )


def tasks(data: DataSet, protocol: str, seed: int) -> Iterator[tuple[Bytes, Raw, Bytes]]:
    """Samples and classes of each task, and the test samples as they are in it."""
    rng = np.random.default_rng(seed)
    x, y = data.x_train, data.y_train
    for task in range(N_TASKS[protocol]):
        if protocol == "split":
            at = rng.permutation(np.flatnonzero(y // 2 == task))
            yield x[at], y[at], data.x_test
        else:
            at = rng.permutation(len(y))
            pixels = rng.permutation(x.shape[1]) if task else np.arange(x.shape[1])
            yield x[at][:, pixels], y[at], data.x_test[:, pixels]


class ReplayLearner:
    """A network with its replay."""

    def __init__(self, data: DataSet, method: Method, seed: int):
        self.replay = method.make(seed)
        self.y_test = data.y_test
        self.learner: CompiledBackpropagation | Kernel
        if method.backpropagation:
            self.learner = CompiledBackpropagation(data, seed, method.learning_rate)
            return
        network = BOARD_PRESET.network(data)
        self.learner = Kernel(
            network,
            BOARD_PRESET.initial_weights(network, seed, data),
            learning_rate=method.learning_rate,
            threads=1,
            replay=self.replay,
        )

    def train(self, x: Bytes, y: Raw) -> None:
        order = np.arange(len(y))
        if isinstance(self.learner, Kernel):
            self.learner.train(x, y, order)
            return
        if self.replay is not None:
            mixed = self.replay.plan(x, y, order)
            x, y, order = mixed.x, mixed.labels, mixed.order
            mixed.commit()
        self.learner.put(x, y)
        self.learner.train(order)

    def accuracies(self, x: Bytes) -> list[float]:
        """Accuracy of each class."""
        found = self.learner.predict(x)
        return [float((found[self.y_test == k] == k).mean()) for k in range(10)]


def measure(data: DataSet, method: Method, seed: int) -> dict[str, Any]:
    """Accuracy at the end, its course over the tasks, and the bytes stored."""
    learner = ReplayLearner(data, method, seed)
    shares = np.bincount(data.y_test, minlength=10) / len(data.y_test)
    seen: list[Bytes] = []
    course: list[list[float]] = []
    for x, y, x_test in tasks(data, method.protocol, seed):
        learner.train(x, y)
        if method.protocol == "permuted" or not seen:
            seen.append(x_test)
        if method.protocol == "split":
            course.append([round(100 * a, 2) for a in learner.accuracies(x_test)])
    last = [float(np.dot(learner.accuracies(x), shares)) for x in seen]
    return {
        "accuracy": round(100 * statistics.mean(last), 2),
        "bytes": 0 if learner.replay is None else learner.replay.n_bytes,
        "classes after each task": course,
    }


def main(
    *,
    data: Data,
    run: Annotated[Sequence[str], "methods (default: all)"] = (),
    seeds: Annotated[int | None, "number of seeds, from 0 (default: 5, of permuted 3)"] = None,
    validation: Annotated[bool, "test on 10,000 training samples"] = False,
    learning_rate: Annotated[float | None, "another learning rate, for --validation"] = None,
) -> None:
    if learning_rate and not validation:
        raise ValueError("--learning-rate is for --validation")
    every = images.load("mnist", data)
    if validation:
        every = validation_part(every)
    for name in choose(run, METHODS, "method"):
        method = METHODS[name]
        if learning_rate:
            method = method._replace(learning_rate=learning_rate)
        found = []
        for seed in range(seeds or N_SEEDS[method.protocol]):
            found.append(measure(every, method, seed))
            print(f"{name}, seed {seed}: {found[-1]['accuracy']:.2f} %", flush=True)
        stored = max(f["bytes"] for f in found)
        if stored > LIMIT:
            raise ValueError(f"{name} stores {stored:,} bytes, more than {LIMIT:,}")
        accuracy = [f["accuracy"] for f in found]
        print(f"{name:34} {statistics.mean(accuracy):6.2f} %  {accuracy}  {stored:,} bytes", flush=True)
