"""Training that several benchmarks share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.inputs import ROOT
from equilif.data import SOURCES, Name
from equilif.data.sets.dataset import DataSet
from equilif.training.backends.phases import EquilibriumPropagation, epoch_plan, order, train_epoch
from equilif.training.resolve import Request, resolve
from equilif.training.settings.description import Description
from equilif.training.settings.patches import split
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import digest
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import TokenRows

#: preset of the networks of boards
BOARD_PRESET = PRESETS["mnist"]


def after_an_epoch(sizes: Sequence[int], data: DataSet, n: int) -> tuple[Kernel, Raw]:
    """A dense network after one epoch, for representative spike rates, and the next ``n`` samples."""
    return plan_after_an_epoch(BOARD_PRESET.changed(hidden=tuple(sizes[1:-1])), data, n)


def plan_after_an_epoch(plan: Description, data: DataSet, n: int) -> tuple[Kernel, Raw]:
    """The same for the network of a plan."""
    trained = EquilibriumPropagation.start(plan, data, 0)
    assert isinstance(trained.learner, Kernel)
    for _ in train_epoch(trained.learner, data, epoch_plan(trained.plan, data, 0, 0)):
        pass
    return trained.learner, order(0, 1, len(data.x_train))[:n]


# -- a few samples, which tell whether training has changed ----------------------------------------
OPTIONS = ("--config", "--hidden", "--set", "--epochs")  #: that say how a network learns
FEW = 60  #: samples to train on, and to test on
#: shape of a sample, and number of classes; for sequences tokens of a sample and width of a token
SHAPES: dict[str, tuple[tuple[int, ...], int]] = {
    "digits": ((8, 8), 10),
    "mnist": ((28, 28), 10),
    "fashion": ((28, 28), 10),
    "imdb": ((400, 50), 2),
    "sst2": ((64, 50), 2),
    "spoken": ((32, 36), 10),
    "vowels": ((32, 28), 9),
}


def random_data(name: str) -> DataSet:
    """Random samples in the shape of a data set."""
    shape, classes = SHAPES[name]
    rng = np.random.default_rng(0)
    y = np.arange(2 * FEW) % classes
    if SOURCES[Name(name)].kind == "images":
        every = rng.integers(0, 256, (2 * FEW, *shape)) * (rng.random((2 * FEW, *shape)) < 0.3)
        x = every.reshape(2 * FEW, -1).astype(np.uint8)
        return DataSet(name, x[:FEW], y[:FEW], x[FEW:], y[FEW:], shape=shape)
    tokens, width = shape
    table = rng.integers(-4064, 4065, (10 * FEW, width)).astype(np.int16)
    rows = rng.integers(0, len(table), FEW * tokens).astype(np.int32)
    found = TokenRows(table, rows, np.arange(0, FEW * tokens + 1, tokens))
    nothing = np.zeros((FEW, 0), np.uint8)
    return DataSet(name, nothing, y[:FEW], nothing, y[FEW:], found, found)


def request(command: str, data: DataSet | Name) -> Request:
    """Request of an `equilif train` command, for these data."""
    words = shlex.split(command)
    after = {word: [b for a, b in pairwise(words) if a == word] for word in OPTIONS}
    return Request(
        data=data,
        config=ROOT / after["--config"][0] if after["--config"] else None,
        hidden=tuple(int(h) if h.isdigit() else h for h in after["--hidden"]) or None,
        changes=split(after["--set"]),
        settings={"epochs": int(after["--epochs"][0])} if after["--epochs"] else {},
    )


def few_samples(command: str) -> tuple[list[float], str, list[int]]:
    """Learning rates of all epochs, weights after a few samples of the first and last epoch, and predictions
    of the network that a command trains.
    """
    data = random_data(shlex.split(command)[2])
    plan = resolve(request(command, data)).description
    trained = EquilibriumPropagation.start(plan, data, plan.seeds[0])
    for number in (0, plan.epochs - 1):
        for _ in train_epoch(trained.learner, data, epoch_plan(plan, data, 0, number)):
            pass
    learner: Any = trained.learner
    predicted = learner.predict(data.x_test, tokens=data.tokens_test)
    rates = [round(plan.rate(number), 9) for number in range(plan.epochs)]
    return rates, digest(trained.weights), predicted.tolist()


def loader(command: str) -> str:
    """File with the loader of the data of a command."""
    module = SOURCES[Name(shlex.split(command)[2])].loader.rpartition(".")[0]
    return f"equilif/data/{module.replace('.', '/')}.py"
