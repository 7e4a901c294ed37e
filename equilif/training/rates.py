"""Training in real numbers by implicit differentiation, saved as the network that the engine runs.

A folder holds ``rates.pt`` (settings, history, real weights and the optimiser: all that a resumed run
needs, written whole or not at all), the same history to read in ``rates.json``, and ``network.npz``, the
quantised network that evaluate, verify and simulate take.
"""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from equilif import results
from equilif.data import images
from equilif.data.images import Bytes, DataSet
from equilif.extras import needs
from equilif.training.presets import PRESETS
from equilif.training.train import NETWORK
from equilif.training.train import RATES as HISTORY
from equilif_golden import network as networks
from equilif_golden.network import Network, Weights
from equilif_golden.schedule import Schedule

with needs("torch"):
    import torch

    from equilif_golden.real.conv import ConvRates
    from equilif_golden.real.rates import Distributed, Rates, Trainer, predict

CHECKPOINT = "rates.pt"
HELD = 99  #: seed of what is held out: the same images for every seed of a run
SOLVER = {"tolerance": 1e-3}  #: of a rate: a quarter of its 8-bit code


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run.  ``channels``: of convolutions in place of hidden populations; ``without``: classes that are
    not trained.
    """

    data: str
    hidden: tuple[int, ...]
    epochs: int
    batch: int = 128
    lr: float = 2e-3  #: of AdamW in the first step, falling to zero as a cosine
    weight_decay: float = 0.0
    dropout: float = 0.0
    shift: float = 0.0  #: part of the training images moved by a pixel, anew each epoch
    flip: float = 0.0  #: part of them mirrored
    feedback: bool = True
    channels: tuple[int, ...] = ()
    without: tuple[int, ...] = ()
    #: training images to choose settings by: they are not learned from, and stand for the test set
    hold_out: int = 0
    seed: int = 0
    schedule: Schedule = Schedule()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 1 << 20),
            ("batch", 1, 1 << 20),
            ("lr", 1e-9, 10),
            ("weight_decay", 0, 10),
            ("dropout", 0, 0.99),
            ("shift", 0, 1),
            ("flip", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be in {low:g}..{high:g}, not {getattr(self, name)}")

    def load(self, folder: Path | None = None) -> DataSet:
        d = PRESETS[self.data].load(folder)
        if not self.hold_out:
            return d
        there = 0 if d.tokens_train is not None else len(d.x_train)
        if not self.hold_out < there:
            raise ValueError(
                f"hold_out is for images, fewer than there are to learn from; {d.name} has {there:,}"
            )
        order = np.random.default_rng(HELD).permutation(len(d.x_train))
        learned, held = order[: -self.hold_out], order[-self.hold_out :]
        return dataclasses.replace(
            d,
            x_train=d.x_train[learned],
            y_train=d.y_train[learned],
            x_test=d.x_train[held],
            y_test=d.y_train[held],
        )

    def network(self, d: DataSet) -> Network:
        """A sequence has the memory of its preset in front."""
        if d.tokens_train is not None:
            return dataclasses.replace(
                PRESETS[self.data], hidden=self.hidden, schedule=self.schedule
            ).network(d)
        return Network.chain(
            d.n_features, *self.hidden, d.n_classes, schedule=self.schedule, feedback=self.feedback
        )

    def model(self, d: DataSet) -> Any:
        if self.channels:
            if d.tokens_train is not None:
                raise ValueError(f"convolutions are for images, {d.name} has none")
            side = round(d.n_features**0.5)
            return ConvRates(
                side,
                self.channels,
                5 if side > 16 else 3,
                d.n_classes,
                feedback=self.feedback,
                seed=self.seed,
                **SOLVER,
            )
        network = self.network(d)
        weights = (
            PRESETS[self.data].initial_weights(network, self.seed)
            if network.memories
            else network.initial_weights(self.seed)
        )
        return Rates(network, weights, **SOLVER)

    def inputs(self, d: DataSet, epoch: int) -> Bytes:
        """Training images of an epoch."""
        rng = np.random.default_rng((self.seed, epoch, 1))
        x = images.shifted(d.x_train, rng, self.shift) if self.shift else d.x_train
        return images.mirrored(x, rng, self.flip) if self.flip else x

    def order(self, d: DataSet, epoch: int) -> Any:
        order = np.random.default_rng((self.seed, epoch)).permutation(len(d.x_train))
        return order[~np.isin(d.y_train[order], self.without)]

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        return cls(
            **{
                **d,
                **{k: tuple(d[k]) for k in ("hidden", "channels", "without")},
                "schedule": Schedule(**d["schedule"]),
            }
        )


SETTINGS = {
    s.data: s
    for s in (
        Settings(
            data="digits", hidden=(64,), epochs=20, batch=32, lr=3e-3, schedule=PRESETS["digits"].schedule
        ),
        Settings(data="mnist", hidden=(512,), epochs=20, shift=0.7, schedule=PRESETS["mnist"].schedule),
        Settings(
            data="fashion",
            hidden=(1000,),
            epochs=100,
            lr=1e-3,
            weight_decay=0.01,
            dropout=0.1,
            shift=0.2,
            flip=0.5,
            feedback=False,
            schedule=PRESETS["fashion"].schedule,
        ),
        Settings(
            data="vowels", hidden=(128,), epochs=40, batch=16, lr=3e-3, schedule=PRESETS["vowels"].schedule
        ),
        Settings(data="spoken", hidden=(128,), epochs=20, batch=32, schedule=PRESETS["spoken"].schedule),
    )
}


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history.

    ``there``, ``back``: mean evaluations of the fixed point's map a batch, for the rates and for the
    gradient.
    """

    epoch: int  #: from 1
    lr: float  #: of its first step
    loss: float
    train_accuracy: float  #: running: each prediction before its update
    test_accuracy: float
    there: float
    back: float
    settled: float  #: samples within the solver's tolerance
    samples_per_second: float


@dataclass
class Training:
    """A run: settings, data, what learns, and what happened so far."""

    settings: Settings
    data: DataSet
    trainer: Trainer
    distributed: Distributed
    history: list[EpochRecord] = field(default_factory=list)

    @classmethod
    def start(cls, settings: Settings, data: Path | None = None) -> Self:
        """In several processes (torchrun) each makes the same run and takes its part of every batch."""
        loaded, distributed = settings.load(data), Distributed.join()
        steps = settings.epochs * -(-len(settings.order(loaded, 0)) // settings.batch)
        trainer = Trainer(
            settings.model(loaded),
            steps=steps,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            dropout=settings.dropout,
            batch=settings.batch,
            distributed=distributed,
        )
        return cls(settings, loaded, trainer, distributed)

    @classmethod
    def resume(cls, folder: Path, data: Path | None = None, *, epochs: int | None = None) -> Self:
        """The run saved in ``folder``; ``epochs`` lengthens or shortens it, and with it the fall of the
        learning rate.
        """
        saved = read(folder)
        settings = Settings.from_dict(saved["settings"])
        run = cls.start(settings if epochs is None else dataclasses.replace(settings, epochs=epochs), data)
        run.trainer.restore(saved["state"])
        run.history = [EpochRecord(**r) for r in saved["history"]]
        return run

    @property
    def done(self) -> bool:
        return len(self.history) >= self.settings.epochs

    @property
    def sizes(self) -> str:
        middle = [f"{c} maps" for c in self.settings.channels] or self.settings.hidden
        m = PRESETS[self.data.name].memory
        first = f"{m.tokens} tokens x {m.heads} queries" if m else self.data.n_features
        return "-".join(map(str, (first, *middle, self.data.n_classes)))

    def epoch(self, progress: Callable[[int, float], None] = lambda samples, loss: None) -> EpochRecord:
        """The next epoch, and the accuracy on the test set after it.

        ``progress``: samples so far and their mean loss.
        """
        epoch, s = len(self.history), self.settings
        lr, order, start = (
            self.trainer.optimiser.param_groups[0]["lr"],
            s.order(self.data, epoch),
            time.perf_counter(),
        )
        p = self.trainer.epoch(
            s.inputs(self.data, epoch),
            self.data.y_train,
            order,
            tokens=self.data.tokens_train,
            seed=1000 * s.seed + epoch,
            progress=progress,
        )
        seconds = time.perf_counter() - start
        test = float(
            np.mean(
                predict(self.trainer.model, self.data.x_test, tokens=self.data.tokens_test)
                == self.data.y_test
            )
        )
        self.history.append(
            EpochRecord(
                epoch + 1,
                lr,
                p.loss,
                p.hits / p.samples,
                test,
                p.there,
                p.back,
                p.settled,
                p.samples / seconds,
            )
        )
        return self.history[-1]

    @property
    def deployed(self) -> tuple[Network, Weights] | None:
        """The network as the engine takes it; convolutions have none."""
        model = self.trainer.model
        return (model.network, model.quantised()) if isinstance(model, Rates) else None

    def to_dict(self) -> dict[str, Any]:
        return {
            "data": self.data.name,
            "sizes": self.sizes,
            "settings": dataclasses.asdict(self.settings),
            "machine": results.machine(),
            "processes": self.distributed.world,
            "device": str(self.trainer.device),
            "epochs": [dataclasses.asdict(r) for r in self.history],
        }

    def save(self, folder: Path) -> list[str]:
        """Names of the files; with several processes the first one writes."""
        if self.distributed.rank:
            return []
        buffer = io.BytesIO()
        torch.save(
            {
                "settings": dataclasses.asdict(self.settings),
                "history": [dataclasses.asdict(r) for r in self.history],
                "state": self.trainer.state(),
            },
            buffer,
        )
        results.write_bytes(folder / CHECKPOINT, buffer.getvalue())
        results.write_json(folder / HISTORY, self.to_dict())
        if self.deployed:
            networks.save(folder / NETWORK, *self.deployed)
        return [CHECKPOINT, HISTORY, *([NETWORK] if self.deployed else [])]


def read(folder: Path) -> dict[str, Any]:
    """A checkpoint; ValueError names the file when it is something else."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise ValueError(f"there is no run in {folder}: it has no {CHECKPOINT}")
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        Settings.from_dict(saved["settings"])
    except Exception as e:
        raise ValueError(f"{path} is not a checkpoint of `equilif rates`: {str(e).splitlines()[0]}") from e
    return saved
