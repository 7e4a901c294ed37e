"""Numbers of a report; the page only lays them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.report.inputs import Inputs
from equilif.training.analysis.evaluate import Evaluation
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Raw
from equilif_golden.lazy import lazy
from equilif_golden.network import (
    Attention,
    Constant,
    Input,
    Network,
    Relay,
    SelfAttention,
    TokenRows,
    Weights,
)
from equilif_golden.samples import one_hot

with lazy():  # optional packages
    from equilif.hardware import boards as known_boards

if TYPE_CHECKING:
    from equilif.data.encoding import Encoding
    from equilif_golden.engine.config import EngineConfig

COUNTED_SAMPLES = 4  #: samples of each kind whose work on an engine is counted
MAX_CONFUSED = 8
MAX_COLUMNS = 8  #: of a sample of a table
FULL = 255


# -- samples ---------------------------------------------------------------------------------------
class Example(NamedTuple):
    """A test sample, by its index, and its margin.

    ``margin``: the rate of the true class less that of the strongest other one, in spikes a step.
    """

    at: int
    true: int
    predicted: int
    margin: float


def examples(found: Evaluation, labels: Raw, limit: int) -> list[Example]:
    """The samples of smallest margin, the worst mistakes first."""
    assert found.rates is not None
    own = found.rates[np.arange(len(labels)), labels]
    others = found.rates.copy()
    others[np.arange(len(labels)), labels] = -1
    margin = own - others.max(axis=1)
    # a tie is right or wrong by the order of the outputs: the wrong ones first
    order = np.lexsort((found.predictions == labels, margin))[:limit]
    return [
        Example(int(j), int(labels[j]), int(found.predictions[j]), float(margin[j] / (FULL + 1)))
        for j in order
    ]


def closest(found: Evaluation, labels: Raw) -> Example:
    """The correctly classified sample with the smallest margin, ties excluded; else the worst mistake."""
    ordered = examples(found, labels, len(labels))
    return next((e for e in ordered if e.margin > 0), ordered[0])


class Confused(NamedTuple):
    """Count of samples of a class that were predicted as another."""

    true: int
    predicted: int
    samples: int
    part: float  #: of the samples of the true class


def confused(found: Evaluation) -> list[Confused]:
    """The most frequent mistakes."""
    wrong = found.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSED]
    pairs = [(int(k) // len(wrong), int(k) % len(wrong)) for k in order]
    sums = found.confusion.sum(axis=1)
    return [
        Confused(t, s, int(wrong[t, s]), float(wrong[t, s] / max(1, sums[t])))
        for t, s in pairs
        if wrong[t, s]
    ]


class Cell(NamedTuple):
    """A value of a sample, and the training means of two classes."""

    name: str
    value: float
    true: float
    predicted: float


def columns(data: DataSet, inputs: Inputs, example: Example) -> list[Cell]:
    """The values that are farthest from those of the true class, in its standard deviations."""
    value = inputs.original(data.x_test[example.at])
    true = inputs.original(data.x_train[data.y_train == example.true])
    predicted = inputs.original(data.x_train[data.y_train == example.predicted])
    spread = true.std(axis=0)
    far = np.abs(value - true.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    known = np.flatnonzero(~np.isnan(value))
    order = known[np.argsort(-far[known], kind="stable")[:MAX_COLUMNS]]
    return [
        Cell(inputs.names[k], float(value[k]), float(true[:, k].mean()), float(predicted[:, k].mean()))
        for k in order
    ]


# -- the network -----------------------------------------------------------------------------------
class PopulationMetrics(NamedTuple):
    """A population; ``silent``, ``full``: part of its free rates, None where it is not known."""

    name: str
    kind: str
    size: int
    silent: float | None
    full: float | None


KINDS = {
    Input: "input, clamped",
    Constant: "constant, for biases",
    Relay: "relay",
    Attention: "attention",
    SelfAttention: "self-attention",
}


def parts(network: Network, found: Evaluation | None) -> list[PopulationMetrics]:
    silent = {} if found is None else found.silent
    full = {} if found is None else found.full
    return [
        PopulationMetrics(
            p.name, KINDS.get(type(p), "LIF neurons"), p.size, silent.get(p.name), full.get(p.name)
        )
        for p in network.populations
    ]


class Joint(NamedTuple):
    """A synapse; ``rms`` and ``largest`` weight in thresholds; ``saturated``: weights at an end of their
    format.
    """

    name: str
    rows: int
    columns: int
    rms: float
    largest: float
    saturated: int

    @property
    def weights(self) -> int:
        return self.rows * self.columns


def joints(network: Network, weights: Weights) -> list[Joint]:
    code = network.numerics.weight
    unit = network.numerics.one * network.schedule.threshold
    found = []
    for s in network.plastic:
        w = weights[s.name]
        ends = int(((w == code.lo) | (w == code.hi)).sum())
        rms = float(np.sqrt(np.mean(np.square(w / unit))))
        found.append(Joint(s.name, *network.shape(s), rms, float(np.abs(w).max() / unit), ends))
    return found


# -- boards ----------------------------------------------------------------------------------------
class OnBoard(NamedTuple):
    """A build of a board: why it does not hold the network, or the most samples a second that its engine can
    do.  ``options``: of `equilif build`.
    """

    name: str
    title: str
    options: str
    cost: int
    lanes: int
    mhz: float
    short: str
    training: float | None
    inference: float | None


def boards(
    network: Network,
    weights: Weights,
    data: DataSet | None,
    learning_rate: float,
    encoding: Encoding | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> list[OnBoard]:
    """Every board.  An engine touches a word of weights a cycle at most: what a sample touches, counted on
    the first test and training samples, bounds the speed; with weights in an SDRAM its cycles.

    ``data`` None: no speed is known.  ``encoding``: of the samples.  A network that is not trainable has no
    speed of training.
    """
    found = []
    counted: dict[EngineConfig, tuple[float | None, float | None]] = {}
    for fit in known_boards.fits(network, encoding):
        board = fit.design
        progress(f"{board.name}: how fast it is")
        speed: Sequence[float | None] = (None, None)
        if data is not None and not fit.short:
            if board.config not in counted:
                rate = learning_rate if fit.learns else None
                chip = Chip(EngineModel(board.config), network, weights, learning_rate=rate)
                counted[board.config] = _accesses(chip, data)
            speed = [n and board.clock_hz / n for n in counted[board.config]]
        mhz = board.clock_hz / 1e6
        row = (board.name, board.title, fit.options, board.cost, board.config.lanes, mhz, fit.short)
        found.append(OnBoard(*row, *speed))
    return found


def _accesses(chip: Chip, data: DataSet) -> tuple[float | None, float | None]:
    """Mean accesses to weights per training and per test sample; with an SDRAM mean cycles.

    None for training where the network cannot learn.
    """
    counted = attrgetter("cycles" if chip.engine.config.external else "accesses")
    test = [counted(chip.sample(x, tokens=tokens)) for x, tokens in _first(data.x_test, data.tokens_test)]
    train = []
    if chip.learns:
        targets = one_hot(data.y_train[:COUNTED_SAMPLES], chip.network.n_outputs)
        first = zip(_first(data.x_train, data.tokens_train), targets, strict=True)
        train = [counted(chip.sample(x, y, tokens=tokens)) for (x, tokens), y in first]
    return _mean(train), _mean(test)


def _first(x: Bytes, tokens: TokenRows | None) -> list[tuple[Bytes, TokenRows | None]]:
    return [
        (values, None if tokens is None else tokens.take([j])) for j, values in enumerate(x[:COUNTED_SAMPLES])
    ]


def _mean(values: Sequence[int]) -> float | None:
    return float(np.mean(values)) if values else None
