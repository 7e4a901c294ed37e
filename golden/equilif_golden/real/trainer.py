"""Training by implicit differentiation: a loss at the equilibrium, epochs, several processes together."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.fixed import check_float, check_int, integers
from equilif_golden.network import TokenRows
from equilif_golden.real.distillation import Distillation
from equilif_golden.real.equilibrium import MAX_SEED, MAX_STEPS, Equilibrium
from equilif_golden.schedule import Schedule

Tensor = torch.Tensor
U8 = npt.NDArray[np.uint8]
RESTART = 1 / 3  #: of the learning rate, that it rises to after a restart


def pad_batch(table: Tensor, tokens: TokenRows, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Patterns (n, longest, width) and presence (n, longest) of the samples at ``indices``.

    ``table``: table of the tokens in real numbers, on the device for the result.  Its gradient flows to the
    rows of the samples.
    """
    lengths = np.diff(tokens.off)[indices]
    present = np.arange(lengths.max()) < lengths[:, None]
    rows = np.zeros(present.shape, np.int64)
    rows[present] = tokens.take(indices).rows
    on = table.device
    return torch.nn.functional.embedding(torch.tensor(rows, device=on), table), torch.tensor(
        present, device=on
    )


def by_length(tokens: TokenRows, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of samples sorted by length, so that batches need little padding."""
    return indices[np.argsort(np.diff(tokens.off)[indices], kind="stable")]


def hinge(drive: Tensor, labels: Tensor) -> Tensor:
    """Loss (n,) of drives z (n, classes): |y - z|^2 / 2 for one-hot y, without terms that the clip corrects.

    These are z above 1 of the class, and z below 0 of the others.  For z in (0, 1) it is the loss of
    Equilibrium Propagation; a wrong output outside of it still has a gradient.
    """
    y = torch.nn.functional.one_hot(labels, drive.shape[1]).to(drive.dtype)
    return (torch.where(y > 0, (1 - drive).clamp(min=0), drive.clamp(min=0)) ** 2).sum(1) / 2


@dataclass(frozen=True)
class Distributed:
    """Rank of this process in distributed training; the default is a single process."""

    rank: int = 0
    world: int = 1
    store: Any = None

    @classmethod
    def join(cls) -> Distributed:
        """Join the group that ``torchrun`` describes in the environment, by NCCL with a GPU, else Gloo.

        Call :meth:`leave` at the end.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if torch.cuda.is_available():
            torch.cuda.set_device(device())
        store, rank, world = next(torch.distributed.rendezvous("env://"))
        torch.distributed.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo",
            rank=rank,
            world_size=world,
            store=torch.distributed.PrefixStore("group", store),
        )
        return cls(rank, world, store)

    def leave(self) -> None:
        """Together: a process that closes its connections may take a last sum from the others.

        So they meet at the store, not in a sum.
        """
        if self.store is not None:
            self.store.set(f"left {self.rank}", "")
            self.store.wait([f"left {rank}" for rank in range(self.world)])
            torch.distributed.destroy_process_group()


def device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def groups(model: Equilibrium, learning_rate: float, scales: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser; ``scales``: relative learning rates by name of the weights.

    ValueError for an unknown name.
    """
    named = model.w if scales else {}
    unknown = sorted(set(scales) - set(named))
    if unknown:
        raise ValueError(f"scales are of {', '.join(unknown)}, the weights are {', '.join(named)}")
    if not scales:
        return [{"params": list(model.parameters())}]
    return [
        {"params": [w], "lr": learning_rate * check_float(scales.get(name, 1.0), ("scales", name), 0, 1e6)}
        for name, w in named.items()
    ]


@dataclass(frozen=True)
class Pass:
    """One pass over the samples."""

    loss: float  #: mean
    hits: int  #: samples predicted correctly before their update
    samples: int
    forward: float  #: evaluations of f per batch, to the fixed point
    adjoint: float  #: the same for the adjoint
    settled: float  #: fraction of samples within the tolerance


@dataclass
class _Sums:
    """Sums of a pass, as numbers that processes can add."""

    loss: float = 0.0
    hits: float = 0
    samples: float = 0
    settled: float = 0.0  #: samples
    forward: float = 0
    adjoint: float = 0
    batches: float = 0

    def over(self, distributed: Distributed, on: torch.device) -> _Sums:
        """Sums over all processes."""
        sums = torch.tensor(list(vars(self).values()), dtype=torch.float64, device=on)
        if distributed.world > 1:
            torch.distributed.all_reduce(sums)
        return _Sums(*sums.tolist())


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Hyperparameters of a Trainer; ValueError for values out of range."""

    steps: int  #: number of updates until the learning rate is zero
    learning_rate: float = 1e-3  #: largest
    warm_up: int = 0  #: steps in which it rises
    restart: int | None = None  #: step from which it rises once more, to a third, and decays; None: never
    weight_decay: float = 0.0
    dropout: float = 0.0  #: fraction of hidden neurons dropped per sample
    noise: float = 0.0  #: standard deviation of noise on the rates of hidden neurons
    batch: int = 128  #: samples per step, over all processes
    clip: float | None = None  #: largest norm of the gradient; None: any
    token_dropout: float = 0.0  #: fraction of tokens dropped per sample, redrawn each epoch

    def __post_init__(self) -> None:
        check_int(self.steps, "steps", 1, MAX_STEPS)
        check_int(self.batch, "batch", 1, MAX_STEPS)
        check_int(self.warm_up, "warm_up", 0, MAX_STEPS)
        check_float(self.learning_rate, "learning_rate", 0, 1e6)
        check_float(self.weight_decay, "weight_decay", 0, 1e6)
        if check_float(self.dropout, "dropout", 0, 1) == 1:
            raise ValueError("dropout must be below 1, which drops all hidden neurons")
        check_float(self.token_dropout, "token_dropout", 0, 1)
        check_float(self.noise, "noise", 0, 1)
        if self.clip is not None:
            check_float(self.clip, "clip", 0, math.inf)
        if self.restart is not None:
            check_int(self.restart, "restart", 1, self.steps)

    def learning_rate_factor(self, step: int) -> float:
        """Learning rate of a step relative to the largest: a linear rise, then a cosine to zero."""
        first, last = 0, self.steps if self.restart is None else self.restart
        largest = 1.0
        if self.restart is not None and step >= self.restart:
            first, last = self.restart, self.steps
            largest = RESTART
        at = step - first
        rising = largest * min(1.0, (at + 1) / (self.warm_up + 1))
        return rising * (1 + math.cos(math.pi * min(1.0, at / max(1, last - first)))) / 2


class Trainer:
    """Training with minibatches and AdamW; the learning rate rises linearly, then decays to zero as a cosine.

    model           a network in real numbers
    settings        hyperparameters
    scales          relative learning rates by name of the weights
    loss            of output drives and labels, (n,)
    distillation    a teacher, whose loss is added (equilif_golden.real.distillation)
    centres         mean presynaptic rates by name of the weights: the bias of the same population keeps the
                    drive of these rates while the weights learn, which improves the conditioning
    distributed     this process in distributed training
    on              device; None: a GPU if there is one

    ``spikes`` is the schedule of the spikes whose rates take the place of the equilibrium's (Rates.forward);
    None, as at the start: the equilibrium.  It may change between steps.
    """

    def __init__(
        self,
        model: Equilibrium,
        settings: TrainerSettings,
        *,
        scales: Mapping[str, float] | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = hinge,
        distillation: Distillation | None = None,
        centres: Mapping[str, float] | None = None,
        distributed: Distributed | None = None,
        on: torch.device | None = None,
    ):
        self.settings = settings
        self.distributed = distributed or Distributed()
        if settings.batch < self.distributed.world:
            raise ValueError(
                f"batch {settings.batch} must be at least the number of processes, {self.distributed.world}"
            )
        self.device = on or device()
        self.model = model.to(self.device)
        self.spikes: Schedule | None = None
        self.loss = loss
        self.distillation = None if distillation is None else distillation.to(self.device)
        self.centred = self._centred(centres or {})
        self.module: torch.nn.Module = self.model
        if self.distributed.world > 1:
            self.module = torch.nn.parallel.DistributedDataParallel(self.model)
        learning_rate = settings.learning_rate
        self.optimiser = torch.optim.AdamW(
            groups(self.model, learning_rate, scales or {}),
            lr=learning_rate,
            weight_decay=settings.weight_decay,
        )
        if self.distillation is not None:
            if learned := [p for p in self.distillation.parameters() if p.requires_grad]:
                self.optimiser.add_param_group({"params": learned, "lr": learning_rate})
        # a function: the state of a scheduler contains the attributes of other callables
        self.decay = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: settings.learning_rate_factor(step)
        )

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step, before ``scales``."""
        return self.settings.learning_rate * self.settings.learning_rate_factor(self.decay.last_epoch)

    def epoch(
        self,
        x: npt.ArrayLike,
        labels: npt.ArrayLike,
        order: npt.ArrayLike,
        *,
        tokens: TokenRows | None = None,
        seed: int = 0,
        progress: Callable[[int, float], None] = lambda samples, loss: None,
    ) -> Pass:
        """Train on samples in ``order``, the same in all processes.

        ``progress`` is called with the number of processed samples and the running mean loss.
        """
        inputs, rows = self.model.check(x, tokens)
        classes = integers(labels, "labels", 0, self.model.n_outputs - 1)
        if classes.shape != (len(inputs),):
            raise ValueError(f"labels must have shape {(len(inputs),)}, one a sample, not {classes.shape}")
        at = samples.check_order(order, len(inputs))
        d = self.distributed
        check_int(seed, "seed", 0, MAX_SEED // d.world - d.world)
        generator = torch.Generator(self.device).manual_seed(seed * d.world + d.rank)
        table = None if rows is None else self.model.table(rows)
        sums = _Sums()
        if rows is not None and self.settings.token_dropout:
            rows = rows.dropout(np.random.default_rng(seed), self.settings.token_dropout)
        for first in range(0, len(at), self.settings.batch):
            chosen = at[first : first + self.settings.batch]
            if len(chosen) < d.world:  # a last batch too small to go round
                break
            mine = chosen[d.rank :: d.world]
            if rows is not None:
                mine = by_length(rows, mine)
            y = torch.as_tensor(classes[mine], device=self.device)
            given = [torch.as_tensor(inputs[mine], device=self.device)]
            if rows is not None and table is not None:
                given += pad_batch(table, rows, mine)
            each, drive = self.step(given, y, len(chosen), generator)
            self._count(sums, each, drive, y)
            progress(min(first + len(chosen), len(at)), sums.loss / sums.samples)
        sums = sums.over(d, self.device)
        return Pass(
            loss=sums.loss / max(1, sums.samples),
            hits=int(sums.hits),
            samples=int(sums.samples),
            forward=sums.forward / max(1, sums.batches),
            adjoint=sums.adjoint / max(1, sums.batches),
            settled=sums.settled / max(1, sums.samples),
        )

    def _centred(self, centres: Mapping[str, float]) -> list[tuple[Tensor, Tensor, float]]:
        """Weights, the bias that all positions of their population share, and their centre; none without a
        bias.
        """
        found = []
        for name, centre in centres.items():
            post = name.partition("-")[2]
            shared = [b for n, b in self.model.w.items() if n.endswith(f"-{post}") and len(b) == 1]
            found += [(self.model.w[name], bias, centre) for bias in shared[:1]]
        return found

    def step(
        self, given: Sequence[Tensor], labels: Tensor, batch: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One update: losses (n,) and output drives (n, n_outputs) before it.

        ``given``: arguments of the model for n samples, of ``batch`` over all processes.
        """
        options = {
            "dropout": self.settings.dropout,
            "noise": self.settings.noise,
            "generator": generator,
            "spikes": self.spikes,
        }
        rates, drive = self.module(*given, **{name: value for name, value in options.items() if value})
        each = self.loss(drive, labels)
        if self.distillation is not None:
            each = self.distillation(given, rates, drive, each)
        self.optimiser.zero_grad()
        # processes average their gradients: this makes it the mean over the whole batch, however it
        # was divided
        (each.sum() * self.distributed.world / batch).backward()
        before = [w.detach().sum(0) for w, _, _ in self.centred]
        for w, bias, centre in self.centred:
            if w.grad is not None and bias.grad is not None:
                w.grad -= centre * bias.grad
        if self.settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(list(self.model.parameters()), self.settings.clip)
        self.optimiser.step()
        with torch.no_grad():
            for (w, bias, centre), old in zip(self.centred, before, strict=True):
                bias -= centre * (w.sum(0) - old)
        self.decay.step()
        self.model.constrain()
        return each, drive

    def _count(self, sums: _Sums, loss: Tensor, drive: Tensor, y: Tensor) -> None:
        """Add a batch."""
        there = self.model.there
        back = self.model.back
        sums.loss += float(loss.detach().sum())
        sums.hits += int((drive.argmax(1) == y).sum())
        sums.samples += len(y)
        sums.forward += there.iterations if there else 0
        sums.adjoint += back.iterations if back else 0
        sums.settled += there.settled * len(y) if there else 0
        sums.batches += 1

    def state(self) -> dict[str, Any]:
        """State for torch.save: weights, optimiser and learning rate."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "decay": self.decay.state_dict(),
            **({"maps": self.distillation.maps.state_dict()} if self.distillation is not None else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        if self.distillation is not None:
            self.distillation.maps.load_state_dict(state["maps"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.decay.load_state_dict(state["decay"])
        for group, base, scale in zip(
            self.optimiser.param_groups, self.decay.base_lrs, self.decay.lr_lambdas, strict=True
        ):
            # a run that is lengthened falls from another place
            group["lr"] = base * scale(self.decay.last_epoch)


def predict(
    model: Equilibrium, x: npt.ArrayLike, *, tokens: TokenRows | None = None, batch: int = 1000
) -> npt.NDArray[np.int64]:
    """Class of each sample: the first output of largest rate, as on the engine."""
    inputs, rows = model.check(x, tokens)
    check_int(batch, "batch", 1, MAX_STEPS)
    model.eval()
    on = next(model.parameters()).device
    table = None if rows is None else model.table(rows)
    at = np.arange(len(inputs))
    if rows is not None:
        at = by_length(rows, at)
    out = np.zeros(len(inputs), np.int64)
    with torch.no_grad():
        for first in range(0, len(inputs), batch):
            some = at[first : first + batch]
            # a copy: files are read-only
            given = [torch.tensor(inputs[some], device=on)]
            if rows is not None and table is not None:
                given += pad_batch(table, rows, some)
            drive = model(*given)[1]
            out[some] = drive.clamp(0, 1).argmax(1).cpu().numpy()
    model.train()
    return out
