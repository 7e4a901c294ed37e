"""Training in real numbers by implicit differentiation, saved as the network that the engine runs.

A folder holds ``rates.pt`` (settings, history, real weights and the optimiser: all that a resumed run
needs, written whole or not at all), the same history to read in ``rates.json``, and ``network.npz``, the
quantised network that evaluate, verify and simulate take.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from equilif import results
from equilif.data import own
from equilif.data.about import About
from equilif.data.arrays import Bytes
from equilif.data.dataset import DataSet
from equilif.extras import needs
from equilif.training import train
from equilif.training.description import Description
from equilif.training.records import (
    check_data,
    check_digest,
    check_name,
    check_numbers,
    reading,
    record,
    save_network,
)
from equilif.training.settings import RateEpoch, RateHistory, check_known, current
from equilif.training.tables import check_seed
from equilif.training.train import NETWORK, augmented
from equilif_golden import files
from equilif_golden.fixed import Raw, whole
from equilif_golden.network import Network, Weights

with needs("torch"):
    import torch

    from equilif_golden.real.rates import Rates
    from equilif_golden.real.trainer import Distributed, Trainer, predict

CHECKPOINT = "rates.pt"
HISTORY = "rates.json"
SOLVER: dict[str, Any] = {"tolerance": 1e-3}  #: of a rate: a quarter of its 8-bit code


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Content of rates.pt.  Version 0.1.0 first wrote it without ``data_digest`` and ``version``."""

    settings: Description
    seed: int = 0
    about: About | None = None
    data_digest: str | None = None  #: equilif.data.dataset.DataSet.digest
    version: str | None = None  #: of equilif
    history: tuple[RateEpoch, ...]
    state: Mapping[str, Any]  #: of the trainer

    def __post_init__(self) -> None:
        check_known(self.settings, self.about)
        check_seed(self.seed)
        check_digest(self.data_digest, "data_digest")
        check_numbers([e.epoch for e in self.history])
        for name in ("model", "optimiser", "decay"):
            if not isinstance(self.state.get(name), Mapping):
                raise ValueError(f"state has no {name}")
        for name, value in _tensors("state", self.state):
            if not bool(torch.isfinite(value).all()):
                raise ValueError(f"{name} must be finite")
        whole(self.state["decay"].get("last_epoch"), "state.decay.last_epoch", 0, 1 << 40)

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
    """The checkpoint of a run; ValueError names the file, and the key that is something else."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise ValueError(f"there is no run in {folder}: it has no {CHECKPOINT}")
    with _checkpoint(path):
        return record(Checkpoint, current(_load(path), folder))


def _load(path: Path) -> Any:
    """Content of a checkpoint, which never runs code; ValueError when it is damaged.

    What torch says of a damaged file is left out: it advises to load it unsafely.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise ValueError("it is damaged, or was not saved by this command") from e


def _checkpoint(path: Path) -> Any:
    return reading(path, "a checkpoint of `equilif rates`")


def leads() -> bool:
    """Whether this process is alone, or the one that writes for those that train together (torchrun)."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def model_of(settings: Description, d: DataSet, seed: int = 0) -> Rates:
    """What learns: the mean rates of a network."""
    network = settings.network(d)
    return Rates(network, settings.initial_weights(network, seed, d), **SOLVER)


def inputs(settings: Description, d: DataSet, seed: int, epoch: int) -> Bytes:
    """Training images of an epoch."""
    return augmented(d, settings, np.random.default_rng((seed, epoch, 1)))


def order(settings: Description, d: DataSet, seed: int, epoch: int) -> Raw:
    """Order of the training samples in an epoch, without those of classes that are held back."""
    drawn = train.order(seed, epoch, len(d.x_train))
    return drawn[~np.isin(d.y_train[drawn], settings.without)]


@dataclass
class RateTraining:
    """A run: settings, data, what learns, and what happened so far.

    ``version``: of equilif that saved it last, None for a run that was not resumed.
    """

    settings: Description
    data: DataSet
    trainer: Trainer
    distributed: Distributed
    seed: int = 0
    history: list[RateEpoch] = field(default_factory=list)
    version: str | None = None

    @classmethod
    def start(cls, settings: Description, data: Path | DataSet | None = None, seed: int = 0) -> Self:
        """In several processes (torchrun) each makes the same run and takes its part of every batch.

        ``data``: the folder of the data set, or what ``settings.load`` made of it.
        """
        loaded = data if isinstance(data, DataSet) else settings.load(data)
        model = model_of(settings, loaded, check_seed(seed))
        table = model.network.table
        distributed = Distributed.join()
        steps = settings.epochs * -(-len(order(settings, loaded, seed, 0)) // settings.batch)
        trainer = Trainer(
            model,
            steps=steps,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            dropout=settings.dropout,
            batch=settings.batch,
            scales={table.name: settings.table_lr} if table else None,
            token_dropout=settings.token_dropout,
            distributed=distributed,
        )
        return cls(settings, loaded, trainer, distributed, seed)

    @classmethod
    def resume(
        cls,
        folder: Path,
        data: Path | DataSet | None = None,
        *,
        name: str | None = None,
        epochs: int | None = None,
    ) -> Self:
        """The run saved in ``folder``; ValueError when ``data`` is not what it was begun with.

        ``name``: of the data set, where a certain one is asked for.  ``epochs`` lengthens or shortens the
        run, and with it the fall of the learning rate.
        """
        saved = read(folder)
        settings = saved.settings
        check_name(folder, settings.data, name)
        if epochs is not None:
            settings = settings.changed(epochs=epochs)
        if isinstance(data, DataSet):
            loaded = data
        elif saved.about is not None:
            loaded = settings.selected(own.again(saved.about, data, name=settings.data))
        else:
            loaded = settings.load(data)
        check_data(folder, settings.data, saved.data_digest, loaded)
        run = cls.start(settings, loaded, saved.seed)
        with _checkpoint(folder / CHECKPOINT):
            run.trainer.restore(saved.state)
            saved.check_optimiser(run.trainer.model)
        run.history = list(saved.history)
        run.version = saved.version
        return run

    @property
    def done(self) -> bool:
        return len(self.history) >= self.settings.epochs

    @property
    def samples(self) -> int:
        """Of an epoch."""
        return len(order(self.settings, self.data, self.seed, 0))

    @property
    def sizes(self) -> str:
        middle = [*(f"{p.maps} maps" for p in self.model.network.lif if p.shape), *self.settings.hidden]
        m = self.settings.memory
        first = f"{m.size} tokens x {self.settings.heads} queries" if m else self.data.n_features
        return "-".join(map(str, (first, *middle, self.data.n_classes)))

    def epoch(self, progress: Callable[[int, float], None] = lambda samples, loss: None) -> RateEpoch:
        """The next epoch, and the accuracy on the test set after it.

        ``progress``: samples so far and their mean loss.
        """
        epoch = len(self.history)
        s = self.settings
        d = self.data
        lr = self.trainer.lr
        start = time.perf_counter()
        p = self.trainer.epoch(
            inputs(s, d, self.seed, epoch),
            d.y_train,
            order(s, d, self.seed, epoch),
            tokens=d.tokens_train,
            seed=1000 * self.seed + epoch,
            progress=progress,
        )
        seconds = time.perf_counter() - start
        predictions = predict(self.trainer.model, d.x_test, tokens=d.tokens_test)
        done = RateEpoch(
            epoch=epoch + 1,
            lr=lr,
            loss=p.loss,
            train_accuracy=p.hits / p.samples,
            test_accuracy=float(np.mean(predictions == d.y_test)),
            there=p.there,
            back=p.back,
            settled=p.settled,
            samples_per_second=p.samples / seconds,
        )
        self.history.append(done)
        return done

    @property
    def model(self) -> Rates:
        found = self.trainer.model
        assert isinstance(found, Rates)
        return found

    @property
    def deployed(self) -> tuple[Network, Weights]:
        """The network as the engine takes it."""
        return self.model.network, self.model.deployed()

    def to_dict(self) -> dict[str, Any]:
        """Content of rates.json."""
        history = dataclasses.asdict(
            RateHistory(
                data=self.data.name,
                data_digest=self.data.digest,
                version=results.version(),
                sizes=self.sizes,
                settings=self.settings,
                seed=self.seed,
                about=self.data.about,
                machine=results.machine(),
                processes=self.distributed.world,
                device=str(self.trainer.device),
                epochs=tuple(self.history),
            )
        )
        return history | {"settings": self.settings.to_dict()}

    def save(self, folder: Path) -> list[str]:
        """Names of the files; with several processes the first one writes."""
        if self.distributed.rank:
            return []
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": self.settings.to_dict(),
                "seed": self.seed,
                "about": None if self.data.about is None else dataclasses.asdict(self.data.about),
                "data_digest": self.data.digest,
                "version": results.version(),
                "history": [dataclasses.asdict(r) for r in self.history],
                "state": self.trainer.state(),
            },
            buffer,
        )
        files.write(folder / CHECKPOINT, buffer.getvalue())
        results.write_json(folder / HISTORY, self.to_dict())
        save_network(folder / NETWORK, *self.deployed, self.data)
        return [CHECKPOINT, HISTORY, NETWORK]
