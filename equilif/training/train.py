"""Training on the golden kernel or on a device, in a way that can be interrupted and resumed without
changing a bit.

The order of an epoch follows from (seed, epoch) alone, so a run is resumed from three things: weights, place
in the order, and update counter.  A folder holds them in two files, ``history.json`` and ``network.npz``.
The history is written first.  It names the weights of every place at which the run was saved by a digest, so
after an interruption between the two files the network tells where it stands.  Two places with the same
weights are as good as one: nothing was learnt between them but the counter, which the history has.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from equilif import results
from equilif.data import own
from equilif.data.about import About
from equilif.data.arrays import Bytes
from equilif.data.dataset import DataSet
from equilif.data.images import mirrored, shifted
from equilif.data.sequences import masked, placed
from equilif.training.description import Description
from equilif.training.presets import PRESETS
from equilif.training.records import (
    check_data,
    check_digest,
    check_name,
    check_numbers,
    load_json,
    reading,
    record,
    save_network,
)
from equilif.training.tables import MAX_EPOCHS, check_seed
from equilif_golden import network as networks
from equilif_golden.fixed import Raw, finite, whole
from equilif_golden.kernel import Epoch, Kernel
from equilif_golden.link import player
from equilif_golden.network import Network, TokenRows, Weights

NETWORK = "network.npz"
HISTORY = "history.json"
CHUNKS = 50  #: reports of progress in an epoch
MOST_UPDATES = (1 << 32) - 1  #: the counter of updates has 32 bits
MOST = float("inf")  #: no limit, but finite


class Learner(Protocol):
    """What holds the weights and learns: equilif_golden.kernel.Kernel, or a device through
    equilif_golden.engine.chip.Chip.
    """

    @property
    def network(self) -> Network: ...
    @property
    def weights(self) -> Weights: ...
    @property
    def counter(self) -> int: ...
    def set_learning_rate(self, eta: float) -> None: ...
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
    "board": lambda seed, epoch, n: player.order(n, seed, epoch),
}


class Samples(NamedTuple):
    """Inputs and tokens of the training samples, as an epoch has them."""

    x: Bytes
    tokens: TokenRows | None


def augmented(data: DataSet, preset: Description, rng: np.random.Generator) -> Bytes:
    """Training images, some of them shifted and mirrored."""
    x = shifted(data.x_train, rng, preset.shift, data.shape) if preset.shift else data.x_train
    return mirrored(x, rng, preset.flip, data.shape) if preset.flip else x


def samples(data: DataSet, preset: Description, seed: int, epoch: int) -> Samples:
    """Those of the data set: some images shifted and mirrored, some tokens left out, at the ends or
    anywhere, some of their values masked.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    x = augmented(data, preset, rng)
    tokens = data.tokens_train
    places = preset.loading.get("n_pos", 0)
    if tokens and preset.crop:
        tokens = placed(tokens.cropped(rng, preset.crop), places)
    if tokens and preset.mask:
        tokens = masked(tokens, rng, preset.mask, places)
    return Samples(x, tokens.thinned(rng, preset.dropout) if tokens and preset.dropout else tokens)


class Lesson(NamedTuple):
    """What an epoch teaches: how fast, which samples one after the other, and, when asked, the samples."""

    eta: float
    order: npt.NDArray[np.int64]
    samples: Callable[[], Samples]


def lesson(preset: Description, data: DataSet, seed: int, epoch: int) -> Lesson:
    """An epoch of a run, counted from 0."""
    return Lesson(
        preset.rate(epoch),
        ORDERS[preset.order](seed, epoch, len(data.x_train)),
        functools.partial(samples, data, preset, seed, epoch),
    )


def taught(
    learner: Learner, data: DataSet, lesson: Lesson, *, after: int = 0, parts: int = 1
) -> Iterator[Epoch]:
    """Teach what is left of a lesson ``after`` so many samples, in parts; what each of them did."""
    learner.set_learning_rate(lesson.eta)
    x, tokens = lesson.samples()
    left = lesson.order[after:]
    return (
        learner.train(x, data.y_train, part, tokens=tokens)
        for part in np.array_split(left, max(1, min(parts, len(left))))
    )


# -- what is recorded ------------------------------------------------------------------------------
@dataclass(frozen=True)
class Progress:
    """Where an epoch stands."""

    samples: int
    total: int
    accuracy: float  #: of the free-phase predictions so far, each before its update
    samples_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history."""

    epoch: int  #: from 1
    eta: float
    train_accuracy: float  #: running: each prediction before its update
    test_accuracy: float
    spikes_per_sample: float  #: all three phases
    samples_per_second: float
    counter: int  #: of updates, after the epoch
    weights: str  #: digest of the weights after the epoch
    steps_per_sample: float = 0.0  #: of the free phase; 0 when a device does not tell

    def __post_init__(self) -> None:
        whole(self.epoch, "epoch", 1, MAX_EPOCHS)
        finite(self.train_accuracy, "train_accuracy", 0, 1)
        finite(self.test_accuracy, "test_accuracy", 0, 1)
        for name in ("eta", "spikes_per_sample", "samples_per_second", "steps_per_sample"):
            finite(getattr(self, name), name, 0, MOST)
        whole(self.counter, "counter", 0, MOST_UPDATES)


@dataclass(frozen=True)
class Mark:
    """Where an epoch stood when the run was saved: sums over the samples so far, and what EpochRecord has of
    the same names.
    """

    samples: int
    hits: int
    spikes: int
    seconds: float
    counter: int
    weights: str
    steps: int = 0

    def __post_init__(self) -> None:
        whole(self.samples, "samples", 0, 1 << 40)
        whole(self.hits, "hits", 0, self.samples)
        whole(self.spikes, "spikes", 0, 1 << 62)
        finite(self.seconds, "seconds", 0, MOST)
        whole(self.counter, "counter", 0, MOST_UPDATES)
        whole(self.steps, "steps", 0, 1 << 62)

    def plus(self, did: Epoch, seconds: float) -> Mark:
        """After a part of the epoch, ``seconds`` after its beginning."""
        return dataclasses.replace(
            self,
            samples=self.samples + did.samples,
            hits=self.hits + did.hits,
            spikes=self.spikes + did.spikes,
            steps=self.steps + did.steps,
            seconds=seconds,
        )


@dataclass(frozen=True, kw_only=True)
class History:
    """Content of history.json.  Version 0.1.0 first wrote it without ``data_digest``, ``version`` and
    ``command``.

    ``marks``: of the epoch under way, where it was saved.  ``command``: what began the run, or resumed it.
    ``about``: of a user's own data, how they were read and scaled; None for a data set of the table.
    """

    data: str
    data_digest: str | None = None  #: equilif.data.dataset.DataSet.digest
    version: str | None = None  #: of equilif
    command: str = "train"
    sizes: str
    seed: int
    preset: Description
    machine: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[EpochRecord, ...]
    marks: tuple[Mark, ...] = ()
    about: About | None = None

    def __post_init__(self) -> None:
        if self.about is None and self.data not in PRESETS or self.data != self.preset.data:
            raise ValueError(
                f"data must be one of {', '.join(PRESETS)} and that of its preset, not {self.data!r} and "
                f"{self.preset.data!r}"
            )
        if self.preset.learning is None:
            raise ValueError("preset must have the table learning")
        if self.about is not None and self.about.digest != self.data_digest:
            raise ValueError("about.digest must be data_digest: they are of the same data")
        check_seed(self.seed)
        check_digest(self.data_digest, "data_digest")
        check_numbers([e.epoch for e in self.epochs])
        for k, e in enumerate(self.epochs):
            check_digest(e.weights, f"epochs[{k}].weights")
        before = 0
        for k, mark in enumerate(self.marks):
            check_digest(mark.weights, f"marks[{k}].weights")
            if mark.samples < before:
                raise ValueError(f"marks[{k}].samples must be at least {before}, not {mark.samples}")
            before = mark.samples

    @property
    def begun(self) -> bool:
        """Whether anything was learnt."""
        return bool(self.epochs) or any(mark.samples for mark in self.marks)


def read_history(path: Path) -> History:
    """A history.json; ValueError names the file, and the key that is something else."""
    with reading(path, "a training history of equilif"):
        return record(History, load_json(path))


def digest(weights: Mapping[str, Raw]) -> str:
    """SHA-256 of the weights, in synapse order."""
    h = hashlib.sha256()
    for name, w in weights.items():
        h.update(name.encode() + b"\0" + np.ascontiguousarray(w, "<i2").tobytes())
    return h.hexdigest()


# -- a run -----------------------------------------------------------------------------------------
@dataclass
class Training:
    """A run: its preset and seed, the data, what holds the weights and learns, and what happened so far.

    ``marks``: of the epoch under way, where it was saved.  ``command``: what began it; a run that is resumed
    is its user's own.  ``version``: of equilif that saved it last, None for a run that was not resumed.
    """

    preset: Description
    seed: int
    data: DataSet
    learner: Learner
    history: list[EpochRecord] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    command: str = "train"
    version: str | None = None

    @classmethod
    def start(
        cls,
        preset: Description,
        data: DataSet,
        seed: int,
        make: Callable[..., Learner] = Kernel,
        *,
        command: str = "train",
    ) -> Self:
        """``make``: what learns, of network, weights, ``lr`` and ``counter``; it is called when all else is
        right.
        """
        check_seed(seed)
        network = preset.network(data)
        preset.check_rates(network)
        learner = make(network, preset.initial_weights(network, seed, data), lr=preset.rate(0))
        return cls(preset, seed, data, learner, command=command)

    @classmethod
    def resume(
        cls,
        folder: Path,
        data: Path | DataSet | None = None,
        *,
        name: str | None = None,
        epochs: int | None = None,
        make: Callable[..., Learner] = Kernel,
    ) -> Self:
        """The run that was saved in ``folder``.

        ``data``: the folder of its data set, the path of its user's own data when they have moved, or the
        data set itself; ValueError when it is another one.
        ``name``: of the data set, where a certain one is asked for.  ``epochs`` lengthens or shortens the
        run.
        """
        saved = read_history(folder / HISTORY)
        check_name(folder, saved.data, name)
        network, weights = networks.load(folder / NETWORK)
        places: list[EpochRecord | Mark] = [*saved.epochs, *saved.marks]
        at = next((k for k, place in enumerate(places) if place.weights == digest(weights)), None)
        if at is None:
            raise ValueError(f"{folder / NETWORK} is not from the run of {folder / HISTORY}")
        preset = saved.preset.changed(epochs=epochs)
        history = list(saved.epochs[: at + 1])
        marks = list(saved.marks[: max(0, at + 1 - len(saved.epochs))])
        if isinstance(data, DataSet):
            loaded = data
        elif saved.about is not None:
            loaded = own.again(saved.about, data, name=saved.data)
        else:
            loaded = preset.load(data)
        check_data(folder, saved.data, saved.data_digest, loaded)
        for k, mark in enumerate(marks):
            if mark.samples > len(loaded.x_train):
                raise ValueError(
                    f"{folder / HISTORY}: marks[{k}].samples is {mark.samples}, there are only "
                    f"{len(loaded.x_train)} training samples"
                )
        if len(history) < preset.epochs:
            preset.check_rates(network)
        learner = make(network, weights, lr=preset.rate(0), counter=places[at].counter)
        return cls(preset, saved.seed, loaded, learner, history, marks, version=saved.version)

    @property
    def network(self) -> Network:
        return self.learner.network

    @property
    def weights(self) -> Weights:
        return self.learner.weights

    @property
    def sizes(self) -> str:
        m = self.network.loaded
        first: object = self.data.n_features
        if m:
            first = f"{m.softmax.size} tokens of {m.relay.width} x {m.relay.heads} heads"
        elif len(self.network.inputs) == 1 and self.network.inputs[0].shape:
            first = self.network.inputs[0].shape
        hidden = [p.shape or p.size for p in self.network.lif if p.name != self.network.output]
        return "-".join(map(str, (first, *hidden, self.network.n_outputs)))

    @property
    def done(self) -> bool:
        return len(self.history) >= self.preset.epochs

    @property
    def _start(self) -> Mark:
        """Where an epoch begins."""
        return Mark(0, 0, 0, 0.0, self.learner.counter, "")

    def begin(self, folder: Path) -> None:
        """Save a run that has done nothing yet, so that it can be resumed."""
        if not self.history and not self.marks:
            self._mark(self._start, folder)

    def epoch(
        self,
        progress: Callable[[Progress], None] = lambda p: None,
        *,
        folder: Path | None = None,
        every: float = 30.0,
    ) -> EpochRecord:
        """The next epoch, or what is left of the one under way, and the accuracy on the test set after it.

        With a ``folder`` the run is saved there at its beginning, after every epoch, and within it about
        every ``every`` seconds.
        """
        total = len(self.data.x_train)
        plan = lesson(self.preset, self.data, self.seed, len(self.history))
        if folder:
            self.begin(folder)
        at = self.marks[-1] if self.marks else self._start
        parts = taught(self.learner, self.data, plan, after=at.samples, parts=CHUNKS)
        saved = time.perf_counter()
        start = saved - at.seconds
        for did in parts:
            at = at.plus(did, time.perf_counter() - start)
            progress(Progress(at.samples, total, at.hits / at.samples, at.samples / at.seconds))
            if folder and time.perf_counter() - saved >= every:
                self._mark(at, folder)
                saved = time.perf_counter()
        test_accuracy = self.learner.accuracy(
            self.data.x_test, self.data.y_test, tokens=self.data.tokens_test
        )
        weights = self.weights
        done = EpochRecord(
            epoch=len(self.history) + 1,
            eta=plan.eta,
            train_accuracy=at.hits / total,
            test_accuracy=test_accuracy,
            spikes_per_sample=at.spikes / total,
            samples_per_second=at.samples / at.seconds,
            counter=self.learner.counter,
            weights=digest(weights),
            steps_per_sample=at.steps / total,
        )
        self.history.append(done)
        self.marks.clear()
        if folder:
            self.save(folder, weights)
        return done

    def _mark(self, at: Mark, folder: Path) -> None:
        """Save the run within an epoch."""
        weights = self.weights
        self.marks.append(dataclasses.replace(at, counter=self.learner.counter, weights=digest(weights)))
        self.save(folder, weights)

    def to_dict(self) -> dict[str, Any]:
        """Content of history.json."""
        history = dataclasses.asdict(
            History(
                data=self.data.name,
                data_digest=self.data.digest,
                version=results.version(),
                command=self.command,
                sizes=self.sizes,
                seed=self.seed,
                preset=self.preset,
                machine=results.machine(),
                epochs=tuple(self.history),
                marks=tuple(self.marks),
                about=self.data.about,
            )
        )
        return history | {"preset": self.preset.to_dict()}

    def save(self, folder: Path, weights: Weights | None = None) -> None:
        """Both files; an interruption at any point leaves a folder that can be resumed."""
        weights = weights or self.weights
        results.write_json(folder / HISTORY, self.to_dict())
        save_network(folder / NETWORK, self.network, weights, self.data)
