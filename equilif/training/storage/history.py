"""Content of history.json, for every backend.

No torch here, and nothing that trains.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from equilif.data import own
from equilif.data.encoding.about import About
from equilif.data.sets.characters import Text, TextFiles
from equilif.data.sets.dataset import DataSet
from equilif.training.names import CHECKPOINT as CHECKPOINT
from equilif.training.names import HISTORY as HISTORY
from equilif.training.names import NETWORK as NETWORK
from equilif.training.names import reads_run
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif.training.settings.tables import MAX_EPOCHS, check_seed
from equilif.training.storage.records import (
    check_data,
    check_digest,
    check_numbers,
    load_json,
    reading,
    record,
)
from equilif_golden.fixed import Raw, check_float, check_int

if TYPE_CHECKING:
    from equilif_golden.kernel import Epoch

MAX_UPDATES = (1 << 32) - 1  #: the counter of updates has 32 bits
UNLIMITED = float("inf")  #: no limit, but finite
PARTS = ("train_accuracy", "test_accuracy", "converged")  #: of all samples


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history; None: a number that the backend has not."""

    epoch: int  #: from 1
    learning_rate: float  #: learning rate, of the first update
    train_accuracy: float  #: running: each prediction before its update
    test_accuracy: float  #: NaN where it was not measured
    samples_per_second: float
    weights: str | None = None  #: digest of the weights of network.npz after the epoch
    counter: int | None = None  #: of updates, after the epoch
    # -- Equilibrium Propagation -------------------------------------------------------------------
    spikes_per_sample: float | None = None  #: all three phases
    steps_per_sample: float | None = None  #: of the free phase; 0 when a device does not tell
    # -- floating point ----------------------------------------------------------------------------
    loss: float | None = None  #: mean; of a text bits per character
    test_loss: float | None = None  #: of a text: bits per character of the validation sequences
    forward_iterations: float | None = None  #: of the solver, mean per batch, for the rates
    backward_iterations: float | None = None  #: and for the gradient
    converged: float | None = None  #: fraction of the samples within the solver's tolerance

    def __post_init__(self) -> None:
        check_int(self.epoch, "epoch", 1, MAX_EPOCHS)
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            untested = f.name == "test_accuracy" and math.isnan(self.test_accuracy)
            if isinstance(value, float) and not untested:
                check_float(value, f.name, 0, 1 if f.name in PARTS else UNLIMITED)
        if self.counter is not None:
            check_int(self.counter, "counter", 0, MAX_UPDATES)


@dataclass(frozen=True)
class Mark:
    """State of an epoch at a save point: sums over the samples so far, and what EpochRecord has of
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
        check_int(self.samples, "samples", 0, 1 << 40)
        check_int(self.hits, "hits", 0, self.samples)
        check_int(self.spikes, "spikes", 0, 1 << 62)
        check_float(self.seconds, "seconds", 0, UNLIMITED)
        check_int(self.counter, "counter", 0, MAX_UPDATES)
        check_int(self.steps, "steps", 0, 1 << 62)

    def plus(self, part: Epoch, seconds: float) -> Mark:
        """The mark after another part of the epoch, ``seconds`` after its beginning."""
        return dataclasses.replace(
            self,
            samples=self.samples + part.samples,
            hits=self.hits + part.hits,
            spikes=self.spikes + part.spikes,
            steps=self.steps + part.steps,
            seconds=seconds,
        )


@dataclass(frozen=True)
class Progress:
    """Progress of an epoch; ``mark``: its state to save, None where only complete epochs are saved."""

    samples: int
    total: int
    samples_per_second: float
    accuracy: float | None = None  #: of the free-phase predictions so far, each before its update
    loss: float | None = None  #: mean so far
    mark: Mark | None = None


@dataclass(frozen=True, kw_only=True)
class History:
    """Content of history.json.

    ``preset``: the network and how it learns, by Equilibrium Propagation or in floating point.  ``marks``: of
    the epoch under way, where it was saved.  ``command``: what began the run, or resumed it.  ``about``: of
    a user's own data, how they were read and scaled, or the files of a text; None for a data set of the
    table.
    """

    data: str
    data_digest: str  #: equilif.data.sets.dataset.DataSet.digest, or that of a text
    version: str  #: of equilif
    command: str
    sizes: str
    seed: int
    preset: Description
    machine: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[EpochRecord, ...]
    marks: tuple[Mark, ...] = ()
    about: About | TextFiles | None = None

    def __post_init__(self) -> None:
        if self.about is None and self.data not in PRESETS or self.data != self.preset.data:
            raise ValueError(
                f"data must be one of {', '.join(PRESETS)} and that of its preset, not {self.data!r} and "
                f"{self.preset.data!r}"
            )
        _ = self.preset.method  # there is one
        if isinstance(self.about, TextFiles) != (self.preset.text is not None):
            raise ValueError("preset must have a table text exactly when about is of a text")
        if not self.real and isinstance(self.about, About) and self.about.digest != self.data_digest:
            raise ValueError("about.digest must be data_digest: they are of the same data")
        check_seed(self.seed)
        check_digest(self.data_digest, "data_digest")
        check_numbers([e.epoch for e in self.epochs])
        for k, e in enumerate(self.epochs):
            needed = "weights", "counter", "loss" if self.real else "spikes_per_sample"
            missing = [name for name in needed if getattr(e, name) is None]
            if missing:
                raise ValueError(f"epochs[{k}] has no {', '.join(missing)}")
            check_digest(e.weights, f"epochs[{k}].weights")
            check_float(e.test_accuracy, f"epochs[{k}].test_accuracy", 0, 1)
        before = 0
        for k, mark in enumerate(self.marks):
            check_digest(mark.weights, f"marks[{k}].weights")
            if mark.samples < before:
                raise ValueError(f"marks[{k}].samples must be at least {before}, not {mark.samples}")
            before = mark.samples

    @property
    def real(self) -> bool:
        """Whether it was trained in floating point."""
        return self.preset.learning is None

    @property
    def begun(self) -> bool:
        """Whether any sample was trained."""
        return bool(self.epochs) or any(mark.samples for mark in self.marks)

    def knows(self, weights: Mapping[str, Raw]) -> bool:
        """Whether the run had these weights."""
        known = {e.weights for e in self.epochs} | {mark.weights for mark in self.marks}
        return digest(weights) in known

    def load(self, folder: Path, data: Any = None) -> Any:
        """The data of the run in ``folder``.

        ``data``: the folder of a data set with a name, the path of its user's own data or the paths of its
        text when they have moved, or the data set or text itself.  ValueError or OSError when they are not
        there, or others.
        """
        if isinstance(data, DataSet | Text):
            loaded: DataSet | Text = data
        elif isinstance(self.about, TextFiles):
            paths = [data] if isinstance(data, Path) else data or ()
            loaded = self.about.again(paths, self.preset.sequence[0], self.data)
        elif self.about is not None:
            loaded = self.preset.selected(own.reload(self.about, data, name=self.data))
        else:
            loaded = self.preset.load(data)
        check_data(folder, self.data, self.data_digest, loaded)
        return loaded

    def to_dict(self) -> dict[str, Any]:
        """Content of history.json: without what only the other backend has."""
        found = {**dataclasses.asdict(self), "preset": self.preset.to_dict()}
        found["epochs"] = [{k: v for k, v in e.items() if v is not None} for e in found["epochs"]]
        return found


def digest(weights: Mapping[str, Raw]) -> str:
    """SHA-256 of the weights, in synapse order."""
    h = hashlib.sha256()
    for name, w in weights.items():
        h.update(name.encode() + b"\0" + np.ascontiguousarray(w, "<i2").tobytes())
    return h.hexdigest()


# -- files -----------------------------------------------------------------------------------------
def read_history(path: Path) -> History:
    """A history.json; ValueError names the file, and the key that is something else."""
    reads_run(path.parent)
    with reading(path, "a training history of equilif"):
        return record(History, load_json(path))


def saved_history(folder: Path) -> History | None:
    """History of the run in a folder; None when there is none.

    ValueError names the file that is damaged, and the key.
    """
    path = folder / HISTORY
    return read_history(path) if path.exists() else None
