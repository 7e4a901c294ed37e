"""Equilibrium Propagation as a backend of a run: on the golden kernel, or on a device.

The order of an epoch follows from (seed, epoch) alone, so a run is resumed from three things: weights, place
in the order, and update counter.  network.npz has the weights; of every place at which the run was saved the
history has the counter, and a digest of the weights that finds it.  Two places with the same weights are as
good as one: only the counter differs.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.data.sets.images import mirrored, shifted
from equilif.data.sets.sequences import masked, with_positions
from equilif.training.backends.backend import Backend
from equilif.training.settings.description import Description
from equilif.training.settings.tables import check_seed
from equilif.training.storage.history import HISTORY, NETWORK, EpochRecord, History, Mark, Progress, digest
from equilif_golden import network as networks
from equilif_golden import sample_order
from equilif_golden.kernel import Epoch, Kernel
from equilif_golden.network import Network, TokenRows, Weights

CHUNKS = 50  #: reports of progress in an epoch


class Learner(Protocol):
    """Holder of the weights that learns: equilif_golden.kernel.Kernel, or a device through
    equilif_golden.engine.chip.Chip.
    """

    @property
    def network(self) -> Network: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def counter(self) -> int: ...
    def set_learning_rate(self, learning_rate: float) -> None: ...
    def train(
        self,
        x: Bytes,
        labels: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
        *,
        tokens: TokenRows | None,
    ) -> Epoch: ...
    def accuracy(self, x: Bytes, labels: npt.NDArray[np.int64], *, tokens: TokenRows | None) -> float: ...


# -- an epoch --------------------------------------------------------------------------------------
def order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """Order of the samples in an epoch, counted from 0."""
    return np.random.default_rng((seed, epoch)).permutation(n)


#: see LearningTable.order
ORDERS: Mapping[str, Callable[[int, int, int], npt.NDArray[np.int64]]] = {
    "shuffled": order,
    "standalone": lambda seed, epoch, n: sample_order.order(n, seed, epoch),
}


class EpochSamples(NamedTuple):
    """Inputs and tokens of the training samples, as an epoch has them."""

    x: Bytes
    tokens: TokenRows | None


def augmented(data: DataSet, preset: Description, rng: np.random.Generator) -> Bytes:
    """Training images, some of them shifted and mirrored."""
    x = data.x_train
    for change, part in ((shifted, preset.random_shift), (mirrored, preset.horizontal_flip)):
        if part:
            x = change(x, rng, part, data.shape, channels_first=data.channels_first)
    return x


def samples(data: DataSet, preset: Description, seed: int, epoch: int) -> EpochSamples:
    """Training samples with data augmentation: images shifted and flipped, tokens dropped, cropped or
    anywhere, some of their values masked.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    x = augmented(data, preset, rng)
    tokens = data.tokens_train
    places = preset.loading.get("n_pos", 0)
    if tokens and preset.token_crop:
        tokens = with_positions(tokens.crop(rng, preset.token_crop), places)
    if tokens and preset.input_mask:
        tokens = masked(tokens, rng, preset.input_mask, places)
    return EpochSamples(
        x, tokens.dropout(rng, preset.token_dropout) if tokens and preset.token_dropout else tokens
    )


class EpochPlan(NamedTuple):
    """Learning rate and sample order of an epoch; ``samples`` draws its augmented samples."""

    learning_rate: float
    order: npt.NDArray[np.int64]
    samples: Callable[[], EpochSamples]


def epoch_plan(preset: Description, data: DataSet, seed: int, epoch: int) -> EpochPlan:
    """An epoch of a run, counted from 0."""
    return EpochPlan(
        preset.rate(epoch),
        ORDERS[preset.order](seed, epoch, len(data.x_train)),
        functools.partial(samples, data, preset, seed, epoch),
    )


def train_epoch(
    learner: Learner, data: DataSet, plan: EpochPlan, *, start_at: int = 0, parts: int = 1
) -> Iterator[Epoch]:
    """Train the rest of an epoch, from sample ``after`` on, in parts; yields the statistics of each part."""
    learner.set_learning_rate(plan.learning_rate)
    x, tokens = plan.samples()
    left = plan.order[start_at:]
    return (
        learner.train(x, data.y_train, part, tokens=tokens)
        for part in np.array_split(left, max(1, min(parts, len(left))))
    )


# -- a backend -------------------------------------------------------------------------------------
@dataclass
class EquilibriumPropagation(Backend[DataSet]):
    """A backend that learns on a golden kernel or a device; network.npz is all that it saves."""

    learner: Learner

    @classmethod
    def start(
        cls, plan: Description, data: DataSet, seed: int, make: Callable[..., Learner] = Kernel
    ) -> Self:
        check_seed(seed)
        network = plan.network(data)
        plan.check_rates(network)
        weights = plan.initial_weights(network, seed, data)
        return cls(plan, seed, data, make(network, weights, learning_rate=plan.rate(0)))

    @classmethod
    def resume(
        cls, folder: Path, saved: History, plan: Description, data: DataSet, make: Callable[..., Learner]
    ) -> tuple[Self, int]:
        network, weights = networks.load(folder / NETWORK)
        places: list[EpochRecord | Mark] = [*saved.epochs, *saved.marks]
        at = next((k for k, place in enumerate(places) if place.weights == digest(weights)), None)
        if at is None:
            raise ValueError(f"{folder / NETWORK} is not from the run of {folder / HISTORY}")
        for k, mark in enumerate(saved.marks):
            if mark.samples > len(data.x_train):
                raise ValueError(
                    f"{folder / HISTORY}: marks[{k}].samples is {mark.samples}, there are only "
                    f"{len(data.x_train)} training samples"
                )
        if min(at + 1, len(saved.epochs)) < plan.epochs:
            plan.check_rates(network)
        learner = make(network, weights, learning_rate=plan.rate(0), counter=places[at].counter)
        return cls(plan, saved.seed, data, learner), at + 1

    @property
    def network(self) -> Network:
        return self.learner.network

    @property
    def weights(self) -> Weights:
        return self.learner.weights

    @property
    def counter(self) -> int:
        return self.learner.counter

    @property
    def samples(self) -> int:
        return len(self.data.x_train)

    def prepare(self) -> None:
        """Compile the kernel, which takes long only once."""
        d = self.data
        self.learner.train(d.x_train, d.y_train, d.y_train[:0], tokens=d.tokens_train)

    def epoch(
        self, number: int, at: Mark, report: Callable[[Progress], None], *, test: bool = True
    ) -> EpochRecord:
        total = self.samples
        plan = epoch_plan(self.plan, self.data, self.seed, number)
        parts = train_epoch(self.learner, self.data, plan, start_at=at.samples, parts=CHUNKS)
        start = time.perf_counter() - at.seconds
        for did in parts:
            at = at.plus(did, time.perf_counter() - start)
            report(Progress(at.samples, total, at.samples / at.seconds, at.hits / at.samples, mark=at))
        d = self.data
        accuracy = self.learner.accuracy(d.x_test, d.y_test, tokens=d.tokens_test) if test else math.nan
        return EpochRecord(
            epoch=number + 1,
            learning_rate=plan.learning_rate,
            train_accuracy=at.hits / total,
            test_accuracy=accuracy,
            spikes_per_sample=at.spikes / total,
            samples_per_second=at.samples / at.seconds,
            steps_per_sample=at.steps / total,
        )
