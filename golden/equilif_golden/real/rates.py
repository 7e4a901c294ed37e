"""Networks of equilif_golden.network as differentiable equilibria.

Mean rates of a LIF network settle to the fixed point of a rate network (Bal & Sengupta, ISCAS 2024).
Populations come in update order, each hears the newest rates of its neighbours, as spikes do on the engine:

    r = f(r)          r_p <- clip(z_p(r), 0, 1)

where z_p is the drive of every synapse, both ways unless it has no feedback, in thresholds.  For a symmetric
network one such sweep is a block-coordinate ascent of Phi.  A memory answers the rates before the sweep with
the map of equilif_golden.real.attention, so stored and loaded memories are part of f like any population.

The fixed point is found by Anderson acceleration (Walker & Ni 2011): the last few iterates of every sample
are mixed so that their residuals cancel best.  Whatever f is made of, the gradient of a loss L at the fixed
point needs no trace of how it was reached (implicit differentiation: Bai, Kolter & Koltun 2019):

    a = dL/dr + a J          J = df/dr, solved like the fixed point          dL/dw = a df/dw
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.fixed import Raw, finite, integers, required, whole
from equilif_golden.network import ONE, Network, TokenRows, Weights
from equilif_golden.real.attention import batch as loaded
from equilif_golden.real.twin import SCALE, Twin, ep_direction

Tensor = torch.Tensor
U8 = npt.NDArray[np.uint8]
MOST_STEPS = 1 << 40  #: of an optimiser
MOST_SEED = (1 << 62) - 1


@dataclass(frozen=True)
class Convergence:
    """How one batch settled: evaluations of f, and by sample the largest |f(r) - r| that is left."""

    iterations: int
    residual: Tensor
    tolerance: float

    @property
    def settled(self) -> float:
        """Part of the samples within the tolerance."""
        return float((self.residual <= self.tolerance).double().mean()) if len(self.residual) else 1.0

    @property
    def worst(self) -> float:
        return float(self.residual.max()) if len(self.residual) else 0.0


def anderson(
    f: Callable[[Tensor], Tensor], start: Tensor, *, tolerance: float, limit: int = 100, memory: int = 5
) -> tuple[Tensor, Convergence]:
    """Fixed point of ``f``, (n, d) to (n, d) sample by sample, reached from ``start``.

    Where ``limit`` evaluations end it, the iterate of least residual.
    """
    n, d = start.shape
    images = start.new_zeros(n, memory, d)
    residuals = start.new_zeros(n, memory, d)
    ridge = (
        math.sqrt(torch.finfo(start.dtype).eps)
        / 100
        * torch.eye(memory, dtype=start.dtype, device=start.device)
    )
    x = start
    best = start
    least = start.new_full((n,), torch.inf)
    count = 0
    while True:
        fx = f(x)
        slot = count % memory
        images[:, slot] = fx
        residuals[:, slot] = fx - x
        residual = residuals[:, slot].abs().amax(1)
        better = residual < least
        best = torch.where(better[:, None], fx, best)
        least = torch.where(better, residual, least)
        count += 1
        if count >= limit or not bool((least > tolerance).any()):
            break
        # a minimises |sum a_i g_i| with sum a_i = 1; correlations in place of inner products, as the
        # newest g is far shorter than the oldest
        m = min(count, memory)
        inner = residuals[:, :m] @ residuals[:, :m].transpose(1, 2)
        size = inner.diagonal(dim1=1, dim2=2).sqrt().clamp(min=1e-12)
        shrink = size.amin(1, keepdim=True) / size
        a = torch.linalg.solve(inner / (size[:, :, None] * size[:, None]) + ridge[:m, :m], shrink) * shrink
        mixed = ((a / a.sum(1, keepdim=True))[:, None] @ images[:, :m])[:, 0]
        # across the kinks of the clip a mixture can lead nowhere: a sweep does not
        x = torch.where(better[:, None], mixed, fx)
    return best, Convergence(count, least, tolerance)


class _Implicit(torch.autograd.Function):
    """The identity on f(r*), whose gradient comes back as the adjoint of the fixed point."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, adjoint: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.adjoint = adjoint
        return image.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.adjoint(grad), None


class Equilibrium(torch.nn.Module):
    """What networks and convolutions share: how they settle, and how the last batch did, there and back.

    ``tolerance``: of a rate, and of the adjoint relative to the largest entry of the sample's gradient.
    ``limit``: evaluations at most.  ``memory``: iterates that are mixed.
    """

    def __init__(self, *, tolerance: float = 1e-4, limit: int = 60, memory: int = 5):
        super().__init__()
        self.tolerance = finite(tolerance, "tolerance", 0, 1)
        self.limit = whole(limit, "limit", 1, MOST_STEPS)
        self.memory = whole(memory, "memory", 1, 1000)
        self.there: Convergence | None = None
        self.back: Convergence | None = None

    @property
    def n_inputs(self) -> int:
        """Values of a sample."""
        raise NotImplementedError

    @property
    def n_outputs(self) -> int:
        """Classes."""
        raise NotImplementedError

    def constrain(self) -> None:
        """Weights back into the range of their format, where they have one."""

    def check(self, x: npt.ArrayLike, tokens: TokenRows | None) -> tuple[U8, TokenRows | None]:
        """Samples as they are given to :meth:`forward`; ValueError when they do not fit."""
        if tokens is not None:
            raise ValueError("this network has no memory to load tokens into")
        values = required(x, "inputs", 0, 255)
        _check_shape(values.shape, self.n_inputs)
        return np.ascontiguousarray(values, np.uint8), None

    def table(self, tokens: TokenRows) -> Tensor:
        """Token table in real numbers, where the model is."""
        raise NotImplementedError

    def settle(self, f: Callable[[Tensor], Tensor], start: Tensor, *, direct: bool = False) -> Tensor:
        """Differentiable fixed point (n, d) of ``f``, reached from ``start``.

        ``direct``: one step leads there, wherever it starts.
        """
        self.back = None
        if direct:
            self.there = Convergence(1, start.new_zeros(len(start)), self.tolerance)
            return f(start)
        with torch.no_grad():
            r, self.there = anderson(f, start, tolerance=self.tolerance, limit=self.limit, memory=self.memory)
        if not torch.is_grad_enabled():
            return r
        r.requires_grad_()
        image = f(r)

        def adjoint(grad: Tensor) -> Tensor:
            size = grad.abs().amax(1, keepdim=True).clamp(min=torch.finfo(grad.dtype).tiny)
            unit = grad / size

            def transposed(a: Tensor) -> Tensor:
                return unit + torch.autograd.grad(image, r, a, retain_graph=True)[0]

            a, self.back = anderson(
                transposed, unit, tolerance=self.tolerance, limit=self.limit, memory=self.memory
            )
            return a * size

        settled: Tensor = _Implicit.apply(image, adjoint)
        return settled


def _check_shape(shape: tuple[int, ...], n_inputs: int) -> None:
    if len(shape) != 2 or shape[1] != n_inputs:
        raise ValueError(f"inputs must have shape (batch, {n_inputs}), not {tuple(shape)}")


def eight_bit(x: Tensor, n_inputs: int) -> None:
    """ValueError unless ``x`` is (n, n_inputs) 8-bit values: integers, not parts of 1."""
    if x.dtype != torch.uint8:
        integers(x.detach().cpu().numpy(), "inputs", 0, 255)
    _check_shape(x.shape, n_inputs)


class Rates(Equilibrium):
    """A network with real weights, in thresholds, as a torch module.

    forward takes 8-bit inputs (n, n_inputs), and where a memory is loaded also patterns (n, longest, width),
    real, and presences (n, longest).  It gives rates (n, LIF neurons) in population order and the drive of
    the output (n, n_outputs): its rates before the clip, which a loss can use where the rates say no more.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, Raw] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        **solver: Any,
    ):
        super().__init__(**solver)
        if network.memories and network.schedule.threshold != 1:
            raise ValueError(
                "a memory's queries and patterns are in units of 1.0: "
                f"its threshold must be 1, not {network.schedule.threshold:g}"
            )
        self.network = network
        threshold = network.schedule.raw(network.numerics).threshold
        checked = network.check_weights(weights if weights is not None else network.initial_weights())
        self.values = torch.nn.ParameterList(
            [torch.nn.Parameter(torch.tensor(w / threshold, dtype=dtype)) for w in checked.values()]
        )
        self.part = network.neurons
        self.n = sum(p.size for p in network.lif)
        order = [p.name for p in network.lif]
        #: nothing comes back, and every population is updated after those that it hears: a sweep settles
        self.direct = not network.memories and all(
            not s.feedback and order.index(s.pre) < order.index(s.post)
            for s in network.synapses
            if s.pre in order
        )

    @property
    def n_inputs(self) -> int:
        return self.network.n_inputs

    @property
    def n_outputs(self) -> int:
        return self.network.n_outputs

    def check(self, x: npt.ArrayLike, tokens: TokenRows | None) -> tuple[U8, TokenRows | None]:
        values, rows = samples.inputs(self.network, x, tokens)
        return values, None if tokens is None else rows

    def table(self, tokens: TokenRows) -> Tensor:
        w = self.values[0]
        return torch.tensor(tokens.table, dtype=w.dtype, device=w.device) / self.network.numerics.one

    @property
    def w(self) -> dict[str, Tensor]:
        return dict(zip([s.name for s in self.network.plastic], self.values, strict=True))

    def quantised(self) -> Weights:
        """Raw weights: rounded, and saturated where the format ends."""
        threshold = self.network.schedule.raw(self.network.numerics).threshold
        fmt = self.network.numerics.weight
        return {
            n: fmt.quantize(w.detach().cpu().double().numpy() * threshold / (1 << fmt.f))
            for n, w in self.w.items()
        }

    def constrain(self) -> None:
        """Back into the range of the weights' format."""
        raw = self.network.schedule.raw(self.network.numerics)
        fmt = self.network.numerics.weight
        with torch.no_grad():
            for w in self.values:
                w.clamp_(fmt.lo / raw.threshold, fmt.hi / raw.threshold)

    def base(self, x: Tensor) -> dict[str, Tensor]:
        """Static drive by population, relays included, from 8-bit inputs (n, n_inputs)."""
        net = self.network
        w = self.w
        eight_bit(x, net.n_inputs)
        x = x.to(self.values[0].dtype) / SCALE
        parts = x.split([p.size for p in net.inputs], dim=1)
        clamped = {p.name: part for p, part in zip(net.inputs, parts, strict=True)}
        for p in net.populations:
            if p.kind == "constant":
                clamped[p.name] = x.new_full((1, p.size), ONE / SCALE)
        base = {p.name: x.new_zeros(len(x), p.size) for p in net.populations if p.kind in ("lif", "relay")}
        for s in net.synapses:
            if s.pre in clamped:
                base[s.post] = base[s.post] + clamped[s.pre] @ w[s.name]
        return base

    def recall(
        self,
        rates: Mapping[str, Tensor],
        base: Mapping[str, Tensor],
        patterns: Tensor | None,
        present: Tensor | None,
    ) -> dict[str, Tensor]:
        """Retrieval (n, heads x width) of every relay, from the rates of those it listens to."""
        net = self.network
        w = self.w
        out = {}
        for m in net.memories:
            drive = base[m.relay.name]
            for s in net.synapses:
                if s.pre == m.relay.name:
                    drive = drive + rates[s.post] @ w[s.name].T
            q = drive.view(len(drive), m.relay.heads, m.relay.width).clamp(-1, 1)
            if not m.softmax.loaded:
                x = w[m.synapse.name][None]
            elif patterns is None or present is None:
                raise ValueError("this network's memory is loaded with each sample: give tokens")
            else:
                x = patterns
            scores = 2.0 ** (m.softmax.sharpness - 1) * math.log(2) * q @ x.transpose(1, 2)
            if m.softmax.loaded and present is not None:
                # of no pattern at all, nothing
                p = torch.where(present[:, None], scores, -1e9).softmax(-1) * present[:, None]
            else:
                p = scores.softmax(-1)
            out[m.relay.name] = (2.0**m.relay.gain * (p @ x)).clamp(-1, 1).flatten(1)
        return out

    def drive(
        self,
        name: str,
        rates: Mapping[str, Tensor],
        base: Mapping[str, Tensor],
        recalled: Mapping[str, Tensor],
    ) -> Tensor:
        """Drive (n, size) of one LIF population."""
        w = self.w
        z = base[name]
        for s in self.network.synapses:
            if s.post == name and s.pre in recalled:
                # 8-bit signed codes: 1.0 drives like a rate of 1/2
                z = z + recalled[s.pre] @ w[s.name] / 2
            elif s.post == name and s.pre in rates:
                z = z + rates[s.pre] @ w[s.name]
            elif s.pre == name and s.feedback:
                z = z + rates[s.post] @ w[s.name].T
        return z

    def sweep(
        self,
        r: Tensor,
        base: Mapping[str, Tensor],
        patterns: Tensor | None = None,
        present: Tensor | None = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """New rates (n, neurons) of every LIF population, one after the other.

        ``masks``: by population, what multiplies the rates that the others hear (dropout).
        """
        heard = self._heard(r, masks)
        recalled = self.recall(heard, base, patterns, present)
        rates = []
        for p in self.network.lif:
            rates.append(self.drive(p.name, heard, base, recalled).clamp(0, 1))
            heard[p.name] = rates[-1] * masks[p.name] if masks and p.name in masks else rates[-1]
        return torch.cat(rates, 1)

    def _heard(self, r: Tensor, masks: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
        return {
            n: r[:, part] * masks[n] if masks and n in masks else r[:, part] for n, part in self.part.items()
        }

    def forward(
        self,
        x: Tensor,
        patterns: Tensor | None = None,
        present: Tensor | None = None,
        *,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rates and drive of the output.

        ``dropout``: part of the hidden neurons that a sample does without, drawn with ``generator``; the
        others are heard more.
        """
        base = self.base(x)
        masks = (
            {
                p.name: (torch.rand(len(x), p.size, generator=generator, device=x.device) >= dropout)
                / (1 - dropout)
                for p in self.network.lif
                if p.name != self.network.output
            }
            if dropout
            else None
        )
        start = self.values[0].new_zeros(len(x), self.n)
        r = self.settle(lambda r: self.sweep(r, base, patterns, present, masks), start, direct=self.direct)
        heard = self._heard(r, masks)
        return r, self.drive(self.network.output, heard, base, self.recall(heard, base, patterns, present))


def hinge(drive: Tensor, labels: Tensor) -> Tensor:
    """Loss (n,) of drives z (n, classes): |y - z|^2 / 2 for one-hot y, without what the clip makes right.

    Right are z above 1 of the class, and z below 0 of the others.  Where z is inside (0, 1) it is the loss of
    Equilibrium Propagation; where the clip hides a wrong answer its gradient stays.
    """
    y = torch.nn.functional.one_hot(labels, drive.shape[1]).to(drive.dtype)
    return (torch.where(y > 0, (1 - drive).clamp(min=0), drive.clamp(min=0)) ** 2).sum(1) / 2


@dataclass(frozen=True)
class Distributed:
    """This process among those that train together; alone it is all of them."""

    rank: int = 0
    world: int = 1
    store: Any = None

    @classmethod
    def join(cls) -> Distributed:
        """From the environment that ``torchrun`` sets: NCCL where there is a GPU, else Gloo.

        :meth:`leave` when all is done.
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


@dataclass(frozen=True)
class Pass:
    """One pass over the samples."""

    loss: float  #: mean
    hits: int  #: samples whose prediction, before their update, was right
    samples: int
    there: float  #: evaluations of f a batch, to the fixed point
    back: float  #: and for its adjoint
    settled: float  #: part of the samples within the tolerance


@dataclass
class _Sums:
    """What a pass adds up, in numbers that processes can add."""

    loss: float = 0.0
    hits: float = 0
    samples: float = 0
    settled: float = 0.0  #: samples
    there: float = 0
    back: float = 0
    batches: float = 0

    def over(self, distributed: Distributed, on: torch.device) -> _Sums:
        """The same of all processes together."""
        sums = torch.tensor(list(vars(self).values()), dtype=torch.float64, device=on)
        if distributed.world > 1:
            torch.distributed.all_reduce(sums)
        return _Sums(*sums.tolist())


class Trainer:
    """Minibatches, AdamW, and a learning rate that falls to zero as a cosine.

    In several processes each takes its part of every batch.
    """

    def __init__(
        self,
        model: Equilibrium,
        *,
        steps: int,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        batch: int = 128,
        distributed: Distributed | None = None,
        on: torch.device | None = None,
    ):
        whole(steps, "steps", 1, MOST_STEPS)
        whole(batch, "batch", 1, MOST_STEPS)
        finite(lr, "lr", 0, 1e6)
        finite(weight_decay, "weight_decay", 0, 1e6)
        if finite(dropout, "dropout", 0, 1) == 1:
            raise ValueError("dropout must be below 1: of all hidden neurons nothing is left")
        self.distributed = distributed or Distributed()
        if batch < self.distributed.world:
            raise ValueError(f"a batch of {batch} has nothing for some of {self.distributed.world} processes")
        self.device = on or device()
        self.model = model.to(self.device)
        self.batch = batch
        self.dropout = dropout
        self.module: torch.nn.Module = self.model
        if self.distributed.world > 1:
            self.module = torch.nn.parallel.DistributedDataParallel(self.model)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=weight_decay)
        self.decay = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
        )

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
        """Samples in ``order``, the same in all processes.

        ``progress``: samples of the order done, and running mean loss.
        """
        inputs, rows = self.model.check(x, tokens)
        classes = integers(labels, "labels", 0, self.model.n_outputs - 1)
        if classes.shape != (len(inputs),):
            raise ValueError(f"labels must have shape {(len(inputs),)}, one a sample, not {classes.shape}")
        at = samples.order(order, len(inputs))
        d = self.distributed
        whole(seed, "seed", 0, MOST_SEED // d.world - d.world)
        generator = torch.Generator(self.device).manual_seed(seed * d.world + d.rank)
        table = None if rows is None else self.model.table(rows)
        sums = _Sums()
        for first in range(0, len(at), self.batch):
            chosen = at[first : first + self.batch]
            if len(chosen) < d.world:  # a last batch too small to go round
                break
            mine = chosen[d.rank :: d.world]
            y = torch.as_tensor(classes[mine], device=self.device)
            given = [torch.as_tensor(inputs[mine], device=self.device)]
            if rows is not None and table is not None:
                given += loaded(table, rows, mine)
            drive = self.module(*given, dropout=self.dropout, generator=generator)[1]
            each = hinge(drive, y)
            self.optimiser.zero_grad()
            # processes average their gradients: this makes it the mean over the whole batch, however it
            # was divided
            (each.sum() * d.world / len(chosen)).backward()
            self.optimiser.step()
            self.decay.step()
            self.model.constrain()
            self._count(sums, each, drive, y)
            progress(min(first + len(chosen), len(at)), sums.loss / sums.samples)
        sums = sums.over(d, self.device)
        return Pass(
            loss=sums.loss / max(1, sums.samples),
            hits=int(sums.hits),
            samples=int(sums.samples),
            there=sums.there / max(1, sums.batches),
            back=sums.back / max(1, sums.batches),
            settled=sums.settled / max(1, sums.samples),
        )

    def _count(self, sums: _Sums, loss: Tensor, drive: Tensor, y: Tensor) -> None:
        """Add a batch."""
        there = self.model.there
        back = self.model.back
        sums.loss += float(loss.detach().sum())
        sums.hits += int((drive.argmax(1) == y).sum())
        sums.samples += len(y)
        sums.there += there.iterations if there else 0
        sums.back += back.iterations if back else 0
        sums.settled += there.settled * len(y) if there else 0
        sums.batches += 1

    def state(self) -> dict[str, Any]:
        """For torch.save: weights, optimiser and learning rate."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "decay": self.decay.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
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
    whole(batch, "batch", 1, MOST_STEPS)
    model.eval()
    on = next(model.parameters()).device
    table = None if rows is None else model.table(rows)
    parts = [np.zeros(0, np.int64)]
    with torch.no_grad():
        for first in range(0, len(inputs), batch):
            some = np.arange(first, min(first + batch, len(inputs)))
            # a copy: files are read-only
            given = [torch.tensor(inputs[some], device=on)]
            if rows is not None and table is not None:
                given += loaded(table, rows, some)
            drive = model(*given)[1]
            parts.append(drive.clamp(0, 1).argmax(1).cpu().numpy())
    model.train()
    return np.concatenate(parts)


def integer_rates(
    network: Network,
    weights: Mapping[str, Raw],
    drives: npt.ArrayLike,
    start: npt.ArrayLike | None = None,
    *,
    tolerance: float = 1e-9,
) -> tuple[npt.NDArray[np.float64], Convergence]:
    """Exact fixed point (n, LIF neurons) that the spikes of the integer network average to.

    ``drives``: raw static drive (n, LIF neurons), each product of an input and a weight rounded as on the
    engine (:meth:`equilif_golden.kernel.Kernel.averages`).  ``start``: rates from which the fixed point is
    reached, 0 by default.
    """
    model = Rates(network, weights, dtype=torch.float64)
    raw = integers(drives, "drives")
    if raw.ndim != 2 or raw.shape[1] != model.n:
        raise ValueError(f"drives must have shape (batch, {model.n}), not {raw.shape}")
    static = torch.tensor(raw / network.schedule.raw(network.numerics).threshold)
    base = {n: static[:, part] for n, part in model.part.items()}
    first = torch.zeros_like(static) if start is None else torch.tensor(np.asarray(start, np.float64))
    with torch.no_grad():
        r, found = anderson(lambda r: model.sweep(r, base), first, tolerance=tolerance, limit=2000)
    return r.numpy(), found


def agreement(
    network: Network,
    weights: Mapping[str, Raw],
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    beta: float = 1e-3,
    steps: int = 200,
) -> dict[str, Any]:
    """Three ways to one gradient, of |y - r|^2 / 2 summed over the samples, in double precision; JSON-able.

    samples         n
    elsewhere       how many of them settle to different fixed points under plain sweeps and under the solver:
                    strong feedback has several
    crossed         for how many a nudge of +beta or -beta moves a neuron across an edge of the clip
    synapses        by name: cosine of the implicit gradient with ``unrolled``, backpropagation through
                    ``steps`` sweeps, and with ``ep``, the symmetric update of Equilibrium Propagation at
                    ``beta`` (equilif_golden.real.twin); null where nothing moves
    all             the same over all weights together
    ep_all          ``ep`` over all weights with the crossed samples left in

    Samples that are elsewhere or crossed are left out of all cosines but the last.
    """
    inputs = torch.tensor(samples.inputs(network, x, None)[0])
    classes = samples.labels(network, labels, len(inputs))
    model = Rates(network, weights, dtype=torch.float64, tolerance=1e-10, limit=2000)
    twin = Twin(network, weights)
    target = twin.targets(samples.one_hot(classes, network.n_outputs))
    out = model.part[network.output]

    def gradients(r: Tensor, chosen: Tensor) -> list[Tensor]:
        loss = ((target - r[:, out])[chosen] ** 2).sum() / 2
        return list(torch.autograd.grad(loss, list(model.values), retain_graph=True))

    settled = model(inputs)[0]
    base = model.base(inputs)
    unrolled = settled.new_zeros(len(classes), model.n)
    for _ in range(steps):
        unrolled = model.sweep(unrolled, base)
    free = torch.cat([twin.clamp(inputs.numpy())[:, : twin.n_clamped], settled.detach()], 1)
    phases = [twin.settle(free, target, b) for b in (0.0, beta, -beta)]
    inside = [(r > 1e-6) & (r < 1 - 1e-6) for r in phases]
    crossed = (inside[0] != inside[1]).any(1) | (inside[0] != inside[2]).any(1)
    elsewhere = ((unrolled - settled).detach().abs().amax(1) > 1e-6) | (
        (phases[0] - free).abs().amax(1) > 1e-6
    )
    calm = ~crossed & ~elsewhere
    ep = ep_direction(phases[1], phases[2], beta)
    updates = [
        [-ep.only(chosen).update(twin.part[s.pre], twin.part[s.post]) for s in network.synapses]
        for chosen in (calm, ~elsewhere)
    ]

    def cosine(a: list[Tensor], b: list[Tensor]) -> float | None:
        u = torch.cat([t.flatten() for t in a])
        v = torch.cat([t.flatten() for t in b])
        norm = float(u.norm() * v.norm())
        return float(u @ v) / norm if norm else None

    implicit = gradients(settled, calm)
    through = gradients(unrolled, calm)
    with_crossed = gradients(settled, ~elsewhere)
    return {
        "samples": len(classes),
        "elsewhere": int(elsewhere.sum()),
        "crossed": int((crossed & ~elsewhere).sum()),
        "beta": beta,
        "steps": steps,
        "synapses": {
            s.name: {
                "unrolled": cosine([implicit[k]], [through[k]]),
                "ep": cosine([implicit[k]], [updates[0][k]]),
            }
            for k, s in enumerate(network.synapses)
        },
        "all": {"unrolled": cosine(implicit, through), "ep": cosine(implicit, updates[0])},
        "ep_all": cosine(with_crossed, updates[1]),
    }
