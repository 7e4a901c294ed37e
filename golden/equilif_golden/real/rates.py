"""Networks of equilif_golden.network as differentiable equilibria: fixed point by Anderson acceleration,
gradient by implicit differentiation.

Mean rates of a LIF network settle to the fixed point of a rate network (Bal & Sengupta, ISCAS 2024),
populations in update order, each from the newest rates of its neighbours, as spikes do on the engine:

    r = f(r)          r_p <- clip(z_p(r), 0, 1)        z_p: drive of every synapse, both ways unless
                      without feedback, in thresholds

For a symmetric network one such sweep is a block-coordinate ascent of Phi.  A memory answers the rates
before the sweep with the map of equilif_golden.real.attention, so stored and loaded memories are part of
f like any population.  Whatever f is made of, the gradient of a loss L at the fixed point needs no trace
of how it was reached (Bai, Kolter & Koltun 2019):

    a = dL/dr + a J          J = df/dr, solved like the fixed point          dL/dw = a df/dw

Anderson acceleration (Walker & Ni 2011) mixes the last few iterates of every sample so that their
residuals cancel best.
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

from equilif_golden.fixed import Raw
from equilif_golden.network import ONE, Network, TokenRows, Weights
from equilif_golden.real.attention import batch as loaded
from equilif_golden.real.twin import SCALE, Twin, ep_direction

Tensor = Any  # torch.Tensor: torch is optional, so type checkers do not look into it
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Convergence:
    """Of one batch: evaluations of f, and by sample the largest |f(r) - r| that is left."""

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
    """Fixed point of ``f``, (n, d) to (n, d) sample by sample, from ``start``; the iterate of least residual
    where ``limit`` evaluations end it.
    """
    n, d = start.shape
    images, residuals = start.new_zeros(n, memory, d), start.new_zeros(n, memory, d)
    ridge = (
        math.sqrt(torch.finfo(start.dtype).eps)
        / 100
        * torch.eye(memory, dtype=start.dtype, device=start.device)
    )
    x = best = start
    least, count = start.new_full((n,), torch.inf), 0
    while True:
        fx, slot = f(x), count % memory
        images[:, slot], residuals[:, slot] = fx, fx - x
        residual = residuals[:, slot].abs().amax(1)
        better = residual < least
        best, least = torch.where(better[:, None], fx, best), torch.where(better, residual, least)
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
    """What networks and convolutions share: solver settings, and the last batch's convergence, there and back.

    ``tolerance``: of a rate, and of the adjoint relative to the largest entry of the sample's gradient.
    """

    def __init__(self, *, tolerance: float = 1e-4, limit: int = 60, memory: int = 5):
        super().__init__()
        self.tolerance, self.limit, self.memory = tolerance, limit, memory
        self.there: Convergence | None = None
        self.back: Convergence | None = None

    def settle(self, f: Callable[[Tensor], Tensor], start: Tensor, *, direct: bool = False) -> Tensor:
        """Differentiable fixed point (n, d) of ``f``, reached from ``start``; ``direct``: in one step,
        wherever it starts.
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

        return _Implicit.apply(image, adjoint)


class Rates(Equilibrium):
    """A network with real weights, in thresholds, as a torch module.

    forward: 8-bit inputs (n, n_inputs), and where a memory is loaded patterns (n, longest, width), real,
    and presences (n, longest), to rates (n, LIF neurons) in population order and the drive of the output
    (n, n_outputs): the rates before the clip, which a loss can use where rates say no more.
    """

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, Raw] | None = None,
        *,
        dtype: Any = torch.float32,
        **solver: Any,
    ):
        super().__init__(**solver)
        if network.memories and network.schedule.threshold != 1:
            raise ValueError(
                f"a memory's queries and patterns are in units of 1.0: its threshold must be 1, not {network.schedule.threshold:g}"
            )
        self.network = network
        threshold = network.schedule.raw(network.numerics).threshold
        checked = network.check_weights(weights if weights is not None else network.initial_weights())
        self.values = torch.nn.ParameterList(
            [torch.nn.Parameter(torch.tensor(w / threshold, dtype=dtype)) for w in checked.values()]
        )
        self.part: dict[str, slice] = {}
        at = 0
        for p in network.lif:
            self.part[p.name] = slice(at, at + p.size)
            at += p.size
        self.n = at
        order = [p.name for p in network.lif]
        #: nothing comes back, and every population is updated after those that it hears: a sweep settles
        self.direct = not network.memories and all(
            not s.feedback and order.index(s.pre) < order.index(s.post)
            for s in network.synapses
            if s.pre in order
        )

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
        raw, fmt = self.network.schedule.raw(self.network.numerics), self.network.numerics.weight
        with torch.no_grad():
            for w in self.values:
                w.clamp_(fmt.lo / raw.threshold, fmt.hi / raw.threshold)

    def base(self, x: Tensor) -> dict[str, Tensor]:
        """Static drive by population, relays included, from 8-bit inputs (n, n_inputs)."""
        net, w, at = self.network, self.w, 0
        x = x.to(self.values[0].dtype) / SCALE
        clamped = {}
        for p in net.populations:
            if p.kind == "input":
                clamped[p.name] = x[:, at : at + p.size]
                at += p.size
            elif p.kind == "constant":
                clamped[p.name] = x.new_full((1, p.size), ONE / SCALE)
        base = {p.name: x.new_zeros(len(x), p.size) for p in net.populations if p.kind in ("lif", "relay")}
        for s in net.synapses:
            if s.pre in clamped:
                base[s.post] = base[s.post] + clamped[s.pre] @ w[s.name]
        return base

    def recall(
        self, rates: Mapping[str, Tensor], base: Mapping[str, Tensor], patterns: Tensor, present: Tensor
    ) -> dict[str, Tensor]:
        """Retrieval (n, heads x width) of every relay, from the rates of those it listens to."""
        net, w, out = self.network, self.w, {}
        for m in net.memories:
            drive = base[m.relay.name]
            for s in net.synapses:
                if s.pre == m.relay.name:
                    drive = drive + rates[s.post] @ w[s.name].T
            q = drive.view(len(drive), m.relay.heads, m.relay.width).clamp(-1, 1)
            x = patterns if m.softmax.loaded else w[m.synapse.name][None]
            scores = 2.0 ** (m.softmax.sharpness - 1) * math.log(2) * q @ x.transpose(1, 2)
            if m.softmax.loaded:
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
        w, z = self.w, base[name]
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
        patterns: Tensor = None,
        present: Tensor = None,
        masks: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """New rates (n, neurons) of every LIF population, one after the other.

        ``masks``: by population, what multiplies the rates that the others hear (dropout).
        """
        heard = self._heard(r, masks)
        recalled, rates = self.recall(heard, base, patterns, present), []
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
        patterns: Tensor = None,
        present: Tensor = None,
        *,
        dropout: float = 0.0,
        generator: Any = None,
    ) -> tuple[Tensor, Tensor]:
        """``dropout``: part of the hidden neurons that a sample does without, drawn with ``generator``; the
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
    """(n,): |y - z|^2 / 2 for one-hot y, without what the clip makes right: z above 1 of the class, z below 0 of the others.

    Where z is inside (0, 1) it is the loss of Equilibrium Propagation; where the clip hides a wrong
    answer its gradient stays.
    """
    y = torch.nn.functional.one_hot(labels, drive.shape[1]).to(drive.dtype)
    return (torch.where(y > 0, (1 - drive).clamp(min=0), drive.clamp(min=0)) ** 2).sum(1) / 2


@dataclass(frozen=True)
class Distributed:
    """This process among those that train together; by itself it is all of them."""

    rank: int = 0
    world: int = 1
    store: Any = None

    @classmethod
    def join(cls) -> Distributed:
        """From the environment that ``torchrun`` sets; NCCL where there is a GPU, else Gloo.  :meth:`leave`
        when all is done.
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
        """Together, and not by a sum over the processes: one that closes its connections may take the last
        sum from the others.
        """
        if self.store is not None:
            self.store.set(f"left {self.rank}", "")
            self.store.wait([f"left {rank}" for rank in range(self.world)])
            torch.distributed.destroy_process_group()


def device() -> Any:
    """The GPU of this process where there is one, else the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


@dataclass(frozen=True)
class Pass:
    """One pass over the samples.

    ``there``, ``back``: mean evaluations of f a batch; ``settled``: part of the samples within the
    tolerance.
    """

    loss: float
    hits: int
    samples: int
    there: float
    back: float
    settled: float


class Trainer:
    """Minibatches, AdamW and a learning rate that falls to zero as a cosine; in several processes each takes
    its part of every batch.

    ``model``: of ``forward(x, dropout=, generator=)`` to rates and output drive, such as :class:`Rates`.
    """

    def __init__(
        self,
        model: Any,
        *,
        steps: int,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        dropout: float = 0.0,
        batch: int = 128,
        distributed: Distributed | None = None,
        on: Any = None,
    ):
        distributed = distributed or Distributed()
        if batch < distributed.world:
            raise ValueError(f"a batch of {batch} has nothing for some of {distributed.world} processes")
        self.device = on or device()
        self.model = model.to(self.device)
        self.distributed, self.batch, self.dropout = distributed, batch, dropout
        self.module = (
            torch.nn.parallel.DistributedDataParallel(self.model) if distributed.world > 1 else self.model
        )
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=weight_decay)
        self.decay = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: (1 + math.cos(math.pi * min(1.0, step / steps))) / 2
        )

    def epoch(
        self,
        x: U8,
        labels: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
        *,
        tokens: TokenRows | None = None,
        seed: int = 0,
        progress: Callable[[int, float], None] = lambda samples, loss: None,
    ) -> Pass:
        """Samples in ``order``, the same in all processes.

        ``progress``: samples of the order done, and running mean loss.
        """
        d, table = self.distributed, _table(self.model, tokens)
        generator = torch.Generator(self.device).manual_seed(seed * d.world + d.rank)
        loss, hits, done, there, back, settled, batches = 0.0, 0, 0, 0.0, 0.0, 0.0, 0
        for first in range(0, len(order), self.batch):
            whole = order[first : first + self.batch]
            mine = whole[d.rank :: d.world]
            if len(whole) < d.world:  # a last batch too small to go round
                break
            y = torch.as_tensor(labels[mine], device=self.device)
            inputs = (
                torch.as_tensor(x[mine], device=self.device),
                *(loaded(table, tokens, mine) if tokens else ()),
            )
            each = hinge(drive := self.module(*inputs, dropout=self.dropout, generator=generator)[1], y)
            self.optimiser.zero_grad()
            # processes average their gradients: this makes it the mean over the whole batch, however it
            # was divided
            (each.sum() * d.world / len(whole)).backward()
            self.optimiser.step()
            self.decay.step()
            self.model.constrain()
            loss, hits, done = (
                loss + float(each.detach().sum()),
                hits + int((drive.argmax(1) == y).sum()),
                done + len(mine),
            )
            there, back = (
                there + self.model.there.iterations,
                back + (self.model.back.iterations if self.model.back else 0),
            )
            settled, batches = settled + self.model.there.settled * len(mine), batches + 1
            progress(min(first + len(whole), len(order)), loss / done)
        totals = torch.tensor(
            [loss, hits, done, settled, there, back, batches], dtype=torch.float64, device=self.device
        )
        if d.world > 1:
            torch.distributed.all_reduce(totals)
        loss, hits, done, settled, there, back, batches = totals.tolist()
        return Pass(
            loss / max(1, done),
            int(hits),
            int(done),
            there / max(1, batches),
            back / max(1, batches),
            settled / max(1, done),
        )

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


def _table(model: Any, tokens: TokenRows | None) -> Tensor:
    """Token table in real numbers, where the model is."""
    if tokens is None:
        return None
    values = next(model.parameters())
    return torch.tensor(tokens.table, dtype=values.dtype, device=values.device) / model.network.numerics.one


def predict(
    model: Any, x: U8, *, tokens: TokenRows | None = None, batch: int = 1000
) -> npt.NDArray[np.int64]:
    """Class of each sample: the first output of largest rate, as on the engine."""
    model.eval()
    on, parts, table = next(model.parameters()).device, [], _table(model, tokens)
    with torch.no_grad():
        for first in range(0, len(x), batch):
            some = np.arange(first, min(first + batch, len(x)))
            # a copy: files are read-only
            inputs = torch.tensor(x[some], device=on), *(loaded(table, tokens, some) if tokens else ())
            drive = model(*inputs)[1]
            parts.append(drive.clamp(0, 1).argmax(1).cpu().numpy())
    model.train()
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def integer_rates(
    network: Network,
    weights: Mapping[str, Raw],
    drives: npt.ArrayLike,
    start: npt.ArrayLike | None = None,
    *,
    tolerance: float = 1e-9,
) -> tuple[npt.NDArray[np.float64], Convergence]:
    """Exact fixed point (n, LIF neurons) that the spikes of the integer network average to, the one reached
    from rates ``start`` (default: 0).

    ``drives``: raw static drive (n, LIF neurons), each product of an input and a weight rounded as on the
    engine (equilif_golden.kernel, averages).
    """
    model = Rates(network, weights, dtype=torch.float64)
    static = torch.tensor(np.asarray(drives) / network.schedule.raw(network.numerics).threshold)
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

    samples      n, and of them ``elsewhere``: where plain sweeps and the solver find different fixed
                 points (strong feedback has several), and
                 ``crossed``: where a nudge of +beta or -beta moves a neuron across an edge of the clip;
                 both are left out
    synapses     by name, cosine of the implicit gradient with ``unrolled`` backpropagation through
                 ``steps`` sweeps, and with ``ep``, the
                 symmetric update of Equilibrium Propagation at ``beta`` (equilif_golden.real.twin); null
                 where nothing moves
    all          the same over all weights together
    ep_all       ``ep`` over all weights with the crossed samples left in
    """
    labels = np.asarray(labels, np.int64)
    model, twin = (
        Rates(network, weights, dtype=torch.float64, tolerance=1e-10, limit=2000),
        Twin(network, weights),
    )
    inputs = torch.tensor(np.asarray(x))
    target = twin.targets(np.eye(network.n_outputs, dtype=np.int64)[labels] * 255)
    out = model.part[network.output]

    def gradients(r: Tensor, chosen: Tensor) -> list[Tensor]:
        loss = ((target - r[:, out])[chosen] ** 2).sum() / 2
        return list(torch.autograd.grad(loss, list(model.values), retain_graph=True))

    settled = model(inputs)[0]
    base = model.base(inputs)
    unrolled = settled.new_zeros(len(labels), model.n)
    for _ in range(steps):
        unrolled = model.sweep(unrolled, base)
    free = torch.cat([twin.clamp(x)[:, : twin.n_clamped], settled.detach()], 1)
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
        u, v = (torch.cat([t.flatten() for t in ts]) for ts in (a, b))
        norm = float(u.norm() * v.norm())
        return float(u @ v) / norm if norm else None

    implicit, through, whole = (
        gradients(settled, calm),
        gradients(unrolled, calm),
        gradients(settled, ~elsewhere),
    )
    return {
        "samples": len(labels),
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
        "ep_all": cosine(whole, updates[1]),
    }
