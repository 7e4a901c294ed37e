"""Training on the golden kernel, epoch by epoch, in a way that can be interrupted and resumed without changing a bit.

The order of an epoch follows from (seed, epoch) alone, so a run is resumed from three things: weights, epoch and update counter.
A folder holds them in two files, ``history.json`` and ``network.npz``.  The history is written first and names the weights of
every epoch by a digest, so after an interruption between the two the network tells which epoch it stands at.
"""
from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from equilif import results
from equilif.presets import Preset
from golden import network as networks
from golden.data import Bytes, DataSet, shifted
from golden.fixed import Raw
from golden.kernel import Kernel
from golden.network import Network, Weights

NETWORK, HISTORY = "network.npz", "history.json"
CHUNKS = 50                   #: reports of progress in an epoch


@dataclass(frozen=True)
class Progress:
    """Where an epoch stands."""

    samples: int
    total: int
    accuracy: float               #: of the free-phase predictions so far, each before its update
    samples_per_second: float


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history."""

    epoch: int                    #: from 1
    eta: float
    train_accuracy: float         #: running: each prediction before its update
    test_accuracy: float
    spikes_per_sample: float      #: all three phases
    samples_per_second: float
    counter: int                  #: of updates, after the epoch
    weights: str                  #: digest of the weights after the epoch


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
    return shifted(data.x_train, np.random.default_rng((seed, epoch, 1)), preset.shift) if preset.shift else data.x_train


@dataclass
class Training:
    """A run: its preset and seed, the data, the kernel that holds the weights, and what happened so far."""

    preset: Preset
    seed: int
    data: DataSet
    kernel: Kernel
    history: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def start(cls, preset: Preset, data: DataSet, seed: int) -> Self:
        network = preset.network(data)
        for epoch in range(preset.epochs):
            Kernel(network, lr=preset.rate(epoch))         # a rate that has no code is found out now
        return cls(preset, seed, data, Kernel(network, preset.initial_weights(network, seed), lr=preset.rate(0)))

    @classmethod
    def resume(cls, folder: Path, data: Path | None = None, *, epochs: int | None = None) -> Self:
        """The run that was saved in ``folder``, its samples in ``data``; ``epochs`` lengthens or shortens the run."""
        network, weights = networks.load(folder / NETWORK)
        preset, seed, history = read_history(folder / HISTORY)
        at = next((k for k, record in enumerate(history) if record.weights == digest(weights)), None)
        if at is None:
            raise ValueError(f"{folder / NETWORK} is not from the run of {folder / HISTORY}")
        if epochs is not None:
            preset = dataclasses.replace(preset, epochs=epochs)
        history = history[: at + 1]
        return cls(preset, seed, preset.load(data), Kernel(network, weights, lr=preset.rate(0), counter=history[-1].counter), history)

    @property
    def network(self) -> Network:
        return self.kernel.network

    @property
    def weights(self) -> Weights:
        return self.kernel.weights

    @property
    def sizes(self) -> str:
        m = self.network.loaded
        first = f"{m.softmax.size} tokens of {m.relay.width} x {m.relay.heads} heads" if m else self.data.n_features
        return "-".join(map(str, (first, *self.preset.hidden, self.data.n_classes)))

    @property
    def done(self) -> bool:
        return len(self.history) >= self.preset.epochs

    def epoch(self, progress: Callable[[Progress], None] = lambda p: None) -> EpochRecord:
        """The next epoch, and the accuracy on the test set after it."""
        epoch, n = len(self.history), len(self.data.x_train)
        eta = self.preset.rate(epoch)
        self.kernel.set_learning_rate(eta)
        hits = spikes = samples = 0
        x = inputs(self.data, self.preset, self.seed, epoch)
        start = time.perf_counter()
        for part in np.array_split(order(self.seed, epoch, n), min(CHUNKS, n)):
            did = self.kernel.train(x, self.data.y_train, part, tokens=self.data.tokens_train)
            hits, spikes, samples = hits + did.hits, spikes + did.spikes, samples + did.samples
            speed = samples / (time.perf_counter() - start)
            progress(Progress(samples, n, hits / samples, speed))
        test_accuracy = self.kernel.accuracy(self.data.x_test, self.data.y_test, tokens=self.data.tokens_test)
        record = EpochRecord(epoch + 1, eta, hits / n, test_accuracy, spikes / n, speed, self.kernel.counter, digest(self.weights))
        self.history.append(record)
        return record

    def to_dict(self) -> dict[str, Any]:
        return {"data": self.data.name, "sizes": self.sizes, "seed": self.seed,
                "preset": self.preset.to_dict(), "machine": results.machine(), "epochs": [dataclasses.asdict(r) for r in self.history]}

    def save(self, folder: Path) -> None:
        """Both files; an interruption at any point leaves a folder that can be resumed."""
        folder.mkdir(parents=True, exist_ok=True)
        results.write_json(folder / HISTORY, self.to_dict())
        networks.save(folder / NETWORK, self.network, self.weights)


def read_history(path: Path) -> tuple[Preset, int, list[EpochRecord]]:
    """Preset, seed and epochs of a history.json; ValueError names the file when it is something else."""
    text = path.read_text()
    try:
        raw = json.loads(text)
        return Preset.from_dict(raw["preset"]), int(raw["seed"]), [EpochRecord(**r) for r in raw["epochs"]]
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"{path} is not a training history of equilif: {e}") from e
