"""Training in floating point as a backend of a run, saved as the network that the engine runs.

``rates.pt`` holds the real weights, the optimiser and how many epochs they have seen: all that a resumed
run needs besides its history, written whole or not at all.  ``network.npz`` is the quantised network that
evaluate, verify and simulate take.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from equilif.data.base.arrays import Bytes
from equilif.data.sets.dataset import DataSet
from equilif.training.backends import phases
from equilif.training.backends.backend import Backend, D
from equilif.training.backends.phases import augmented
from equilif.training.names import reads_run
from equilif.training.settings.description import Description
from equilif.training.settings.tables import MAX_EPOCHS, check_seed
from equilif.training.storage.history import CHECKPOINT, HISTORY, EpochRecord, History, Mark, Progress, digest
from equilif.training.storage.records import reading, record
from equilif_golden import files
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw, check_int
from equilif_golden.network import Network, Weights

with needs("torch"):
    import torch

    from equilif_golden.real.rates import Rates
    from equilif_golden.real.trainer import Distributed, Trainer, TrainerSettings, predict

SOLVER: dict[str, Any] = {"tolerance": 1e-3}  #: of a rate: a quarter of its 8-bit code


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Content of rates.pt."""

    epochs: int  #: that the state has seen
    state: Mapping[str, Any]  #: of the trainer

    def __post_init__(self) -> None:
        check_int(self.epochs, "epochs", 0, MAX_EPOCHS)
        for name in ("model", "optimiser", "decay"):
            if not isinstance(self.state.get(name), Mapping):
                raise ValueError(f"state has no {name}")
        for name, value in _tensors("state", self.state):
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be finite")
        check_int(self.state["decay"].get("last_epoch"), ("state", "decay", "last_epoch"), 0, 1 << 40)

    def check_optimiser(self, model: torch.nn.Module) -> None:
        """ValueError unless the optimiser's averages have the shapes of the weights that they are of."""
        moments = self.state["optimiser"]["state"]
        for k, weights in enumerate(model.parameters()):
            for name, value in _tensors(f"state.optimiser.state.{k}", moments.get(k, {})):
                if value.ndim and value.shape != weights.shape:
                    raise ValueError(
                        f"{name} must have shape {tuple(weights.shape)}, not {tuple(value.shape)}"
                    )


def _tensors(at: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of nested mappings, and where they stand."""
    if isinstance(value, torch.Tensor):
        yield at, value
    elif isinstance(value, Mapping):
        for name, v in value.items():
            yield from _tensors(f"{at}.{name}", v)


def read(folder: Path) -> Checkpoint:
    """The checkpoint of a run.

    It never runs code.  ValueError names the file, and the key that is something else.
    """
    reads_run(folder)
    with _checkpoint(folder / CHECKPOINT):
        try:
            with warnings.catch_warnings(action="ignore"):
                found = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as e:
            # what torch says is left out: it advises to load it unsafely
            raise ValueError("it is damaged, or was not saved by this command") from e
        return record(Checkpoint, found)


def _checkpoint(path: Path) -> Any:
    return reading(path, "a checkpoint of this run")


def leads() -> bool:
    """Whether this process is alone, or the one that writes for those that train together (torchrun)."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def inputs(settings: Description, d: DataSet, seed: int, epoch: int) -> Bytes:
    """Training images of an epoch."""
    return augmented(d, settings, np.random.default_rng((seed, epoch, 1)))


def order(settings: Description, d: DataSet, seed: int, epoch: int) -> Raw:
    """Order of the training samples in an epoch, without those of classes that are held back."""
    drawn = phases.order(seed, epoch, len(d.x_train))
    return drawn[~np.isin(d.y_train[drawn], settings.excluded_classes)]


@dataclass
class FloatingPoint(Backend[D]):
    """A backend that learns in floating point."""

    trainer: Trainer
    distributed: Distributed

    files: ClassVar[tuple[str, ...]] = (CHECKPOINT,)

    @classmethod
    def resume(
        cls, folder: Path, saved: History, plan: Description, data: D, make: Callable[..., Any]
    ) -> tuple[Self, int]:
        checkpoint = read(folder)
        backend = cls.start(plan, data, saved.seed, make)
        with _checkpoint(folder / CHECKPOINT):
            backend.restore(checkpoint.state)
            checkpoint.check_optimiser(backend.trainer.model)
        epochs = checkpoint.epochs
        if epochs > len(saved.epochs) or (
            epochs and saved.epochs[epochs - 1].weights != digest(backend.weights)
        ):
            raise ValueError(f"{folder / CHECKPOINT} is not from the run of {folder / HISTORY}")
        return backend, epochs

    @property
    def model(self) -> Rates:
        found = self.trainer.model
        assert isinstance(found, Rates)
        return found

    @property
    def network(self) -> Network:
        return self.model.network

    @property
    def weights(self) -> Weights:
        """Weights quantised for the engine."""
        return self.model.deployed()

    @property
    def counter(self) -> int:
        return int(self.trainer.decay.last_epoch)

    @property
    def leads(self) -> bool:
        return self.distributed.rank == 0

    @property
    def machine(self) -> Mapping[str, Any]:
        return {"processes": self.distributed.world, "device": str(self.trainer.device)}

    def state(self) -> dict[str, Any]:
        """Content of rates.pt that a resumed run restores."""
        return self.trainer.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self.trainer.restore(state)

    def save(self, folder: Path, epochs: int) -> None:
        buffer = io.BytesIO()
        torch.save({"epochs": epochs, "state": self.state()}, buffer)
        files.write(folder / CHECKPOINT, buffer.getvalue())

    def close(self) -> None:
        """Leave the processes that train together."""
        self.distributed.leave()


class ImplicitDifferentiation(FloatingPoint[DataSet]):
    """Training on a data set."""

    @classmethod
    def start(cls, plan: Description, data: DataSet, seed: int, make: object = None) -> Self:
        """Start a run; in several processes (torchrun) each takes its part of every batch."""
        network = plan.network(data)
        model = Rates(network, plan.initial_weights(network, check_seed(seed), data), **SOLVER)
        table = network.table
        distributed = Distributed.join()
        steps = plan.epochs * -(-len(order(plan, data, seed, 0)) // plan.batch_size)
        trainer = Trainer(
            model,
            TrainerSettings(
                steps=steps,
                learning_rate=plan.learning_rate,
                weight_decay=plan.weight_decay,
                dropout=plan.dropout,
                batch=plan.batch_size,
                token_dropout=plan.token_dropout,
            ),
            scales={table.name: plan.table_learning_rate} if table else None,
            distributed=distributed,
        )
        return cls(plan, seed, data, trainer, distributed)

    @property
    def samples(self) -> int:
        return len(order(self.plan, self.data, self.seed, 0))

    def epoch(
        self, number: int, at: Mark, report: Callable[[Progress], None], *, test: bool = True
    ) -> EpochRecord:
        """Whole epochs only: what dropout draws within one is not saved."""
        s = self.plan
        d = self.data
        learning_rate = self.trainer.learning_rate
        drawn = order(s, d, self.seed, number)
        x = inputs(s, d, self.seed, number)
        start = time.perf_counter()

        def step(samples: int, loss: float) -> None:
            report(Progress(samples, len(drawn), samples / (time.perf_counter() - start), loss=loss))

        p = self.trainer.epoch(
            x, d.y_train, drawn, tokens=d.tokens_train, seed=1000 * self.seed + number, progress=step
        )
        seconds = time.perf_counter() - start
        right = predict(self.model, d.x_test, tokens=d.tokens_test) == d.y_test if test else math.nan
        return EpochRecord(
            epoch=number + 1,
            learning_rate=learning_rate,
            loss=p.loss,
            train_accuracy=p.hits / p.samples,
            test_accuracy=float(np.mean(right)),
            forward_iterations=p.forward,
            backward_iterations=p.adjoint,
            converged=p.settled,
            samples_per_second=p.samples / seconds,
        )
