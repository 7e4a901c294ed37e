"""Learning a word or a class of a sensor: new samples and stored ones of the old classes, which would be
forgotten otherwise.

The memory of stored samples is a file beside the network (:func:`memory_path`).  It begins with samples of
the training data; those of every lesson are added.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Bytes
from equilif.data.base.reading import read_npz
from equilif.data.encoding.about import About
from equilif.data.own.parts import check_class
from equilif.data.sets.dataset import DataSet
from equilif.training.lesson_settings import SETTINGS, LessonSettings
from equilif.training.storage.saved import Saved
from equilif_golden import files
from equilif_golden import network as networks
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows, Weights


class LessonLearner(Protocol):
    """A golden kernel or an engine."""

    def set_learning_rate(self, learning_rate: float) -> None: ...
    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Any: ...


@dataclass(frozen=True)
class Words:
    """Samples of words: tokens as raw weights, and class numbers (n,)."""

    tokens: TokenRows
    labels: Raw
    unit: ClassVar = "words"

    @classmethod
    def of(cls, tables: Sequence[npt.ArrayLike], labels: Sequence[int], width: int) -> Words:
        """Make words of the tokens (m, width) of each."""
        arrays = [np.asarray(t, np.int16).reshape(-1, width) for t in tables]
        off = np.cumsum([0, *map(len, arrays)])
        table = np.concatenate([np.zeros((0, width), np.int16), *arrays])
        return cls(TokenRows(table, np.arange(len(table), dtype=np.int32), off), np.array(labels, np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, at: npt.ArrayLike) -> Words:
        """The words at these indices."""
        return Words(self.tokens.take(at), self.labels[np.asarray(at)])

    def plus(self, other: Words) -> Words:
        a, b = self.tokens, other.tokens
        return Words(
            TokenRows(
                np.concatenate([a.table, b.table]),
                np.concatenate([a.rows, b.rows + np.int32(len(a.table))]),
                np.concatenate([a.off, b.off[1:] + a.off[-1]]),
            ),
            np.concatenate([self.labels, other.labels]),
        )

    def train(self, learner: LessonLearner, order: Raw) -> None:
        learner.train(None, self.labels, order, tokens=self.tokens)

    def accuracy(self, kernel: Kernel) -> float:
        return kernel.accuracy(None, self.labels, tokens=self.tokens)

    def save(self, path: Path) -> None:
        """Write the file of a memory."""
        content = io.BytesIO()
        table = self.tokens.table[self.tokens.rows]
        np.savez_compressed(content, table=table, off=self.tokens.off, labels=self.labels)
        files.write(path, content.getvalue())

    @classmethod
    def load(cls, path: Path, network: Network) -> Words:
        """Read a memory; ValueError for another file, or one that is not of this network."""
        found = read_npz(path, {"table": "i", "off": "iu", "labels": "iu"})
        layer = network.dynamic_attention
        assert layer is not None
        table = found["table"]
        tokens = TokenRows(table, np.arange(len(table), dtype=np.int32), found["off"]).checked(
            layer.attention.size, layer.relay.width, network.numerics.weight
        )
        labels = found["labels"].astype(np.int64)
        known = (labels >= 0) & (labels < network.n_outputs)
        if len(labels) != tokens.n_samples or not known.all():
            raise ValueError(
                f"{path} holds no words of {network.n_outputs} classes: remove it, or give another network"
            )
        return cls(tokens, labels)


@dataclass(frozen=True)
class SensorSamples:
    """Samples of a sensor: inputs (n, inputs), 0 .. 255, and class numbers (n,)."""

    x: Bytes
    labels: Raw
    unit: ClassVar = "samples"

    def __len__(self) -> int:
        return len(self.labels)

    def plus(self, other: SensorSamples) -> SensorSamples:
        return SensorSamples(np.concatenate([self.x, other.x]), np.concatenate([self.labels, other.labels]))

    def train(self, learner: LessonLearner, order: Raw) -> None:
        learner.train(self.x, self.labels, order)

    def accuracy(self, kernel: Kernel) -> float:
        return kernel.accuracy(self.x, self.labels)

    def save(self, path: Path) -> None:
        """Write the file of a memory."""
        content = io.BytesIO()
        np.savez_compressed(content, x=self.x, labels=self.labels)
        files.write(path, content.getvalue())

    @classmethod
    def load(cls, path: Path, network: Network) -> SensorSamples:
        """Read a memory; ValueError for another file, or one that is not of this network."""
        found = read_npz(path, {"x": "iu", "labels": "iu"})
        x, labels = found["x"], found["labels"].astype(np.int64)
        known = (labels >= 0) & (labels < network.n_outputs)
        if x.dtype != np.uint8 or x.shape != (len(labels), network.n_inputs) or not known.all():
            raise ValueError(
                f"{path} holds no samples of {network.n_inputs} inputs and {network.n_outputs} classes: "
                "remove it, or give another network"
            )
        return cls(x, labels)


#: samples of a lesson
Samples = Words | SensorSamples


def memory_path(network: Path, unit: str = Words.unit) -> Path:
    """File of the stored samples of a network; ``unit``: what they are."""
    return network.with_suffix(f".{unit}.npz")


def memory(saved: Saved, stored: int = SETTINGS.stored) -> Samples:
    """Stored samples of a network: its file, or else ``stored`` of each class of its training data."""
    kind = SensorSamples if saved.network.n_inputs else Words
    path = memory_path(saved.path, kind.unit)
    if path.exists():
        return kind.load(path, saved.network)
    data = saved.data_set()
    if kind is Words:
        return drawn(data, stored)
    chosen = _chosen(data, stored, 0)
    return SensorSamples(data.x_train[chosen], data.y_train[chosen])


def drawn(data: DataSet, stored: int, seed: int = 0) -> Words:
    """``stored`` training samples of each class, or all where there are fewer."""
    tokens = data.tokens_train
    assert tokens is not None
    chosen = _chosen(data, stored, seed)
    tables = [tokens.table[tokens.rows[tokens.off[j] : tokens.off[j + 1]]] for j in chosen]
    return Words.of(tables, [int(data.y_train[j]) for j in chosen], tokens.table.shape[1])


def _chosen(data: DataSet, stored: int, seed: int) -> list[int]:
    """Indices of ``stored`` training samples of each class."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for k in range(int(data.y_train.max()) + 1):
        at = np.flatnonzero(data.y_train == k)
        chosen += list(rng.permutation(at)[:stored])
    return chosen


def with_class(network: Network, weights: Mapping[str, Raw]) -> tuple[Network, Weights]:
    """The network with one more output, whose weights are 0: it is silent until it learns, and the other
    neurons and predictions are as before.
    """
    populations = tuple(
        replace(p, size=p.size + 1) if p.name == network.output else p for p in network.populations
    )
    wider = replace(network, populations=populations)
    found = {}
    for s in wider.plastic:
        old = weights[s.name]
        found[s.name] = np.zeros(wider.shape(s), np.int64)
        found[s.name][: old.shape[0], : old.shape[1]] = old
    return wider, found


def with_label(labels: tuple[str, ...], label: str) -> tuple[str, ...]:
    """Classes after a lesson of this one, which may be new; ValueError for a name that cannot be one."""
    check_class(label)
    if label != normalize("NFC", label.strip()):
        raise ValueError(f"the class {label!r} has spaces at its ends, or is not in Unicode's form NFC")
    return labels if label in labels else (*labels, label)


def learn(
    learner: LessonLearner,
    words: Samples,
    settings: LessonSettings = SETTINGS,
    *,
    report: Callable[[int], None] = lambda k: None,
) -> None:
    """Train on all samples in every pass, in random order."""
    for k in range(settings.passes):
        order = np.random.default_rng((0, k)).permutation(len(words))
        learner.set_learning_rate(settings.learning_rate * (1 - k / settings.passes))
        words.train(learner, order)
        report(k + 1)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """New samples of a class, stored ones of all classes, and the network before it learns them.

    saved : the network's file, without a new class.
    network, weights, labels : with an output for each class.
    left_out : segments of recordings that are no samples, by reason.
    """

    saved: Saved
    network: Network
    weights: Weights
    labels: tuple[str, ...]
    new: Samples
    stored: Samples
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def samples(self) -> Samples:
        """Stored samples, and then the new ones."""
        both: Samples = self.stored.plus(self.new)  # type: ignore[arg-type]
        return both

    def learned(
        self, settings: LessonSettings = SETTINGS, *, report: Callable[[int], None] = lambda k: None
    ) -> Weights:
        """Weights that the golden kernel learns; ``report`` gets the number of each pass."""
        kernel = Kernel(self.network, self.weights, learning_rate=settings.learning_rate, threads=1)
        learn(kernel, self.samples, settings, report=report)
        return kernel.weights

    def accuracy(self, weights: Weights) -> dict[str, list[float]]:
        """Accuracy on new and on stored samples, before the lesson and with these weights."""
        kernels = [Kernel(self.network, w) for w in (self.weights, weights)]
        parts = {"new": self.new, "stored": self.stored}
        return {name: [part.accuracy(kernel) for kernel in kernels] for name, part in parts.items()}

    def save(self, path: Path, weights: Weights) -> Path:
        """Write the network after the lesson, and its memory, whose file is returned."""
        assert isinstance(self.saved.identity, About)
        samples = self.samples
        known = self.saved.identity.known
        if known is not None and isinstance(samples, Words):
            known = known.plus(samples.tokens)
        memory = memory_path(path, samples.unit)
        samples.save(memory)
        about = replace(self.saved.identity, labels=self.labels, known=known)
        networks.save(path, self.network, weights, asdict(about))
        return memory
