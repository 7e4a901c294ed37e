"""Training on the golden kernel or on a device, in a way that can be interrupted and resumed without
changing a bit.

The order of an epoch follows from (seed, epoch) alone, so a run is resumed from three things: weights,
place in the order, and update counter. A folder holds them in two files, ``history.json`` and
``network.npz``.  The history is written first and names the weights of every place at which the run was
saved by a digest, so after an interruption between the two the network tells where it stands.  Two places
with the same weights are as good as one: nothing was learnt between them but the counter, which the
history has.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from equilif import results
from equilif.data.images import Bytes, DataSet, shifted
from equilif.training.presets import Preset
from equilif_golden import network as networks
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Epoch, Kernel
from equilif_golden.network import Network, TokenRows, Weights

#: the last of equilif.training.rates
NETWORK, HISTORY, RATES = "network.npz", "history.json", "rates.json"
CHUNKS = 50  #: reports of progress in an epoch


class Learner(Protocol):
    """What holds the weights and learns: equilif_golden.kernel.Kernel, or a device through
    equilif.host.session.Session.
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


def digest(weights: Mapping[str, Raw]) -> str:
    """SHA-256 of the weights, in synapse order."""
    h = hashlib.sha256()
    for name, w in weights.items():
        h.update(name.encode() + b"\0" + np.ascontiguousarray(w, "<i2").tobytes())
    return h.hexdigest()


def order(seed: int, epoch: int, n: int) -> npt.NDArray[np.int64]:
    """Order of the samples in an epoch, counted from 0."""
    return np.random.default_rng((seed, epoch)).permutation(n)


def inputs(data: DataSet, preset: Preset, seed: int, epoch: int) -> Bytes:
    """Training inputs of an epoch: those of the data set, or some of them shifted."""
    return (
        shifted(data.x_train, np.random.default_rng((seed, epoch, 1)), preset.shift)
        if preset.shift
        else data.x_train
    )


@dataclass
class Training:
    """A run: its preset and seed, the data, the kernel that holds the weights, and what happened so far.

    ``marks``: of the epoch under way, where it was saved.
    """

    preset: Preset
    seed: int
    data: DataSet
    kernel: Learner
    history: list[EpochRecord] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    @classmethod
    def start(cls, preset: Preset, data: DataSet, seed: int, make: Callable[..., Learner] = Kernel) -> Self:
        """``make``: what learns, of network, weights, ``lr`` and ``counter``."""
        network = preset.network(data)
        for epoch in range(preset.epochs):
            Kernel(network, lr=preset.rate(epoch))  # a rate that has no code is found out now
        return cls(
            preset, seed, data, make(network, preset.initial_weights(network, seed), lr=preset.rate(0))
        )

    @classmethod
    def resume(
        cls,
        folder: Path,
        data: Path | None = None,
        *,
        epochs: int | None = None,
        make: Callable[..., Learner] = Kernel,
    ) -> Self:
        """The run that was saved in ``folder``, its samples in ``data``; ``epochs`` lengthens or shortens
        the run.
        """
        network, weights = networks.load(folder / NETWORK)
        preset, seed, history, marks = _read(folder / HISTORY)
        places: list[EpochRecord | Mark] = [*history, *marks]
        at = next((k for k, place in enumerate(places) if place.weights == digest(weights)), None)
        if at is None:
            raise ValueError(f"{folder / NETWORK} is not from the run of {folder / HISTORY}")
        if epochs is not None:
            preset = dataclasses.replace(preset, epochs=epochs)
        marks, history = marks[: max(0, at + 1 - len(history))], history[: at + 1]
        return cls(
            preset,
            seed,
            preset.load(data),
            make(network, weights, lr=preset.rate(0), counter=places[at].counter),
            history,
            marks,
        )

    @property
    def network(self) -> Network:
        return self.kernel.network

    @property
    def weights(self) -> Weights:
        return self.kernel.weights

    @property
    def sizes(self) -> str:
        m = self.network.loaded
        first = (
            f"{m.softmax.size} tokens of {m.relay.width} x {m.relay.heads} heads"
            if m
            else self.data.n_features
        )
        return "-".join(map(str, (first, *self.preset.hidden, self.data.n_classes)))

    @property
    def done(self) -> bool:
        return len(self.history) >= self.preset.epochs

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
        epoch, n = len(self.history), len(self.data.x_train)
        eta = self.preset.rate(epoch)
        self.kernel.set_learning_rate(eta)
        at = self.marks[-1] if self.marks else Mark(0, 0, 0, 0.0, self.kernel.counter, "")
        hits, spikes, steps, samples = at.hits, at.spikes, at.steps, at.samples
        x = inputs(self.data, self.preset, self.seed, epoch)
        if folder and not self.history and not self.marks:
            weights = self.weights
            self.marks.append(dataclasses.replace(at, weights=digest(weights)))
            self.save(folder, weights)
        start = time.perf_counter() - at.seconds
        saved, seconds = time.perf_counter(), at.seconds
        left = order(self.seed, epoch, n)[samples:]
        for part in np.array_split(left, max(1, min(CHUNKS, len(left)))):
            did = self.kernel.train(x, self.data.y_train, part, tokens=self.data.tokens_train)
            hits, spikes, steps, samples = (
                hits + did.hits,
                spikes + did.spikes,
                steps + did.steps,
                samples + did.samples,
            )
            seconds = time.perf_counter() - start
            progress(Progress(samples, n, hits / samples, samples / seconds))
            if folder and time.perf_counter() - saved >= every:
                weights = self.weights
                self.marks.append(
                    Mark(samples, hits, spikes, seconds, self.kernel.counter, digest(weights), steps)
                )
                self.save(folder, weights)
                saved = time.perf_counter()
        speed = samples / seconds
        test_accuracy = self.kernel.accuracy(self.data.x_test, self.data.y_test, tokens=self.data.tokens_test)
        weights = self.weights
        record = EpochRecord(
            epoch + 1,
            eta,
            hits / n,
            test_accuracy,
            spikes / n,
            speed,
            self.kernel.counter,
            digest(weights),
            steps / n,
        )
        self.history.append(record)
        self.marks.clear()
        if folder:
            self.save(folder, weights)
        return record

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data.name,
            "sizes": self.sizes,
            "seed": self.seed,
            "preset": self.preset.to_dict(),
            "machine": results.machine(),
            "epochs": [dataclasses.asdict(r) for r in self.history],
            "marks": [dataclasses.asdict(m) for m in self.marks],
        }

    def save(self, folder: Path, weights: Weights | None = None) -> None:
        """Both files; an interruption at any point leaves a folder that can be resumed."""
        folder.mkdir(parents=True, exist_ok=True)
        weights = weights or self.weights
        results.write_json(folder / HISTORY, self.to_dict())
        networks.save(folder / NETWORK, self.network, weights)


def read_history(path: Path) -> tuple[Preset, int, list[EpochRecord]]:
    """Preset, seed and epochs of a history.json; ValueError names the file when it is something else."""
    return _read(path)[:3]


def _read(path: Path) -> tuple[Preset, int, list[EpochRecord], list[Mark]]:
    text = path.read_text()
    try:
        raw = json.loads(text)
        marks = [Mark(**m) for m in raw.get("marks", [])]  # not in a history of 0.1
        return (
            Preset.from_dict(raw["preset"]),
            int(raw["seed"]),
            [EpochRecord(**r) for r in raw["epochs"]],
            marks,
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{path} is not a training history of equilif: {e}") from e
