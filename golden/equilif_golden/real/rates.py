"""Networks of equilif_golden.network as differentiable equilibria.

Mean rates of a LIF network settle to the fixed point of a rate network (Bal & Sengupta, ISCAS 2024).
Populations come in update order, each from the newest rates of its neighbours, as spikes do on the engine:

    r = f(r)          r_p <- clip(z_p(r), 0, 1)

where z_p is the drive of every synapse, both ways unless it has no feedback, in thresholds.  For a symmetric
network one such sweep is a block-coordinate ascent of Phi.  A memory answers the rates before the sweep, so
attention layers are part of f like any population:

    q_h = clip(Q_h + V_h r)      p_h = softmax(k X q_h)      m_h = clip(2**gain X^T p_h)

Self-attention answers the newest rates when its target is updated.
equilif_golden.real.equilibrium finds the fixed point and its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.blocks.relay import query_shift
from equilif_golden.fixed import Raw, integers
from equilif_golden.network import ONE, Network, TokenRows, Weights
from equilif_golden.populations import Attention, Lif, Relay, SelfAttention
from equilif_golden.real.equilibrium import Convergence, Equilibrium, anderson, eight_bit
from equilif_golden.real.maps import carried, carried_back
from equilif_golden.real.spikes import averages
from equilif_golden.real.twin import SCALE, Twin, ep_direction
from equilif_golden.schedule import Schedule

Tensor = torch.Tensor
U8 = npt.NDArray[np.uint8]
PART = 32  #: samples whose tokens are padded to the same length


class Patterns(NamedTuple):
    """Patterns (n, longest, width) of some samples, and their presence (n, longest)."""

    patterns: Tensor
    present: Tensor

    def retrieve(self, query: Tensor) -> Tensor:
        """Retrieval (n, heads, width) for queries (n, heads, width); zero without patterns."""
        scores = (query @ self.patterns.transpose(1, 2)).masked_fill(~self.present[:, None], -1e9)
        return scores.softmax(-1) @ self.patterns * self.present.any(1)[:, None, None]


@dataclass
class Disturbance:
    """Factors and noise (n, size) by population, between rates and what synapses carry of them."""

    masks: dict[str, Tensor] = field(default_factory=dict)
    noise: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, name: str, rates: Tensor) -> Tensor:
        if name in self.masks:
            rates = rates * self.masks[name]
        return rates + self.noise[name] if name in self.noise else rates


def self_attention(population: SelfAttention, drive: Tensor) -> tuple[Tensor, Tensor]:
    """Answers (n, size) of self-attention in -1 .. 1, and its probabilities (n, heads, positions, positions).

    ``drive`` (n, positions x 3 maps): query, key and value of every position, each head by head.

        q, k, v = clip(drive, -1, 1)
        p_ij = softmax_j(sharpness q_i k_j)        answer_i = clip(2**gain sum_j p_ij v_j, -1, 1)

    With an energy ``drive`` (n, positions x maps) has no v, which is k, and keys have answers, too:

        answer of key j = clip(2**gain sum_i p_ij q_i, -1, 1)
    """
    shape = population.shape
    assert shape is not None
    n, positions, heads = len(drive), shape.positions, population.heads
    parts = drive.clamp(-1, 1).view(n, positions, -1, heads, population.width)
    query, key, *rest = parts.permute(2, 0, 3, 1, 4)
    value = key if population.energy else rest[0]
    scores = sharpness(population) * query @ key.transpose(-1, -2)
    if population.causal:
        later = torch.ones(positions, positions, dtype=torch.bool, device=drive.device).triu(1)
        scores = scores.masked_fill(later, -torch.inf)
    p = scores.softmax(-1)
    answers = [p @ value]
    if population.energy:
        answers.append(p.mT @ query)
    answer = (2.0**population.gain * torch.stack(answers, 2)).clamp(-1, 1)
    return answer.permute(0, 3, 2, 1, 4).reshape(n, -1), p


def sharpness(population: Attention | SelfAttention) -> float:
    """Inverse temperature k of a softmax."""
    return 2.0 ** (population.sharpness - 1) * math.log(2)


class Rates(Equilibrium):
    """A network in real numbers as a torch module; weights are in thresholds.

    forward takes 8-bit inputs (n, n_inputs) and, with dynamic patterns, real patterns (n, longest, width) and
    their presence (n, longest).  It returns rates (n, LIF neurons) in population order and the drive of the
    output (n, n_outputs): its rates before the clip, for the loss.
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
        if network.attends and network.schedule.threshold != 1:
            raise ValueError(
                "queries, keys and patterns of attention are in units of 1.0: "
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
        #: synapses between LIF neurons that also carry spikes of ``post``
        self.backward = tuple(
            s
            for s in network.synapses
            if s.feedback and s.pre in self.part and s not in network.self_attention_synapses
        )
        self.attending = {p.name: p for p in network.self_attention}
        order = [p.name for p in network.lif]
        sources = {
            p: [s.pre for s in network.synapses if s.post == p and s.pre in order] for p in self.attending
        }
        #: feedforward, and every population follows its presynaptic ones: one sweep settles
        answered = any(a.energy for a in network.self_attention)
        once = all(map(network.evaluated_once, network.attention_layers))
        self.direct = (
            once
            and not (self.backward or answered)
            and all(
                order.index(pre) < order.index(s.post)
                for s in network.synapses
                if s.post in order
                for pre in sources.get(s.pre, [s.pre])
                if pre in order
            )
        )

    @property
    def n_inputs(self) -> int:
        return self.network.n_inputs

    @property
    def n_outputs(self) -> int:
        return self.network.n_outputs

    def check(self, x: npt.ArrayLike, tokens: TokenRows | None) -> tuple[U8, TokenRows | None]:
        values, rows = samples.check_inputs(self.network, x, tokens)
        return values, None if tokens is None else rows

    def table(self, tokens: TokenRows) -> Tensor:
        """Token table in real numbers, where the model is: the network's own, which learns, or that of the
        tokens.
        """
        if self.network.table is not None:
            return self.w[self.network.table.name]
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

    def deployed(self) -> Weights:
        """:meth:`quantised`, with biases that make up for what the engine rounds down around a memory.

        It rounds every product of a value and a weight down, by half a code on average, and so a query and
        a retrieval.  A hidden neuron receives from hundreds of relay neurons, all with the same
        bias.
        """
        net = self.network
        weights = self.quantised()
        fmt = net.numerics.weight
        half = query_shift(net.numerics.fraction)
        lost = {m.relay.name: np.full(m.relay.size, (1 << half) / 2) for m in net.attention_layers}
        for s in net.synapses:
            if net[s.pre].kind == "relay":
                n, size = net.shape(s)
                lost[s.pre] = lost[s.pre] + size / 2
                # a retrieval of 1.0 is 128 codes, and drives like a rate of 1/2
                lost[s.post] = lost.get(s.post, 0) + n / 2 + weights[s.name].sum(axis=0) / 512
        biases = {s.post: s.name for s in net.synapses if net[s.pre].kind == "constant"}
        for name, codes in lost.items():
            if name in biases:
                row = weights[biases[name]]
                row[0] = np.clip(row[0] + np.rint(codes).astype(np.int64), fmt.lo, fmt.hi)
        return weights

    def constrain(self) -> None:
        """Back into the range of the weights' format."""
        raw = self.network.schedule.raw(self.network.numerics)
        fmt = self.network.numerics.weight
        with torch.no_grad():
            for w in self.values:
                w.clamp_(fmt.lo / raw.threshold, fmt.hi / raw.threshold)

    def base(self, x: Tensor) -> dict[str, Tensor]:
        """Static drive by population, relays included, from 8-bit inputs (n, n_inputs)."""
        eight_bit(x, self.network.n_inputs)
        return self.static(x.to(self.values[0].dtype) / SCALE)

    def static(self, x: Tensor) -> dict[str, Tensor]:
        """:meth:`base` from real inputs (n, n_inputs) in 0 .. 1, which may have a gradient."""
        net = self.network
        w = self.w
        parts = x.split([p.size for p in net.inputs], dim=1)
        clamped = {p.name: part[:, p.fold] for p, part in zip(net.inputs, parts, strict=True)}
        for p in net.populations:
            if p.kind == "constant":
                clamped[p.name] = x.new_full((1, p.size), ONE / SCALE)
        driven = Lif | Relay | SelfAttention
        base = {p.name: x.new_zeros(1, p.n_drives) for p in net.populations if isinstance(p, driven)}
        for s in net.synapses:
            if s.pre in clamped:
                base[s.post] = base[s.post] + carried(net, s, w[s.name], clamped[s.pre])
        return {name: drive.expand(len(x), -1) for name, drive in base.items()}

    def tokens(self, patterns: Tensor | None, present: Tensor | None) -> list[Patterns]:
        """Dynamic patterns in parts of ``PART`` samples, each as long as its longest sample.

        Empty without dynamic patterns; ValueError if the network has them and none are given.
        """
        if self.network.dynamic_attention is None:
            return []
        if patterns is None or present is None:
            raise ValueError("this network has dynamic patterns: give tokens")
        parts = []
        for x, there in zip(patterns.split(PART), present.split(PART), strict=True):
            longest = int(there.sum(1).max())
            parts.append(Patterns(x[:, :longest], there[:, :longest]))
        return parts

    def recall(
        self, rates: Mapping[str, Tensor], base: Mapping[str, Tensor], tokens: Sequence[Patterns]
    ) -> dict[str, Tensor]:
        """Retrieval (n, heads x width) of every relay, from the rates of its presynaptic populations."""
        net = self.network
        w = self.w
        out = {}
        for m in net.attention_layers:
            drive = base[m.relay.name]
            for s in net.synapses:
                if s.pre == m.relay.name and s.feedback:
                    drive = drive + rates[s.post] @ w[s.name].T
            q = drive.view(len(drive), m.relay.heads, m.relay.width).clamp(-1, 1)
            k = sharpness(m.attention)
            if m.attention.dynamic_patterns:
                parts = zip(q.split(PART), tokens, strict=True)
                found = torch.cat([t.retrieve(k * query) for query, t in parts])
            else:
                x = w[m.synapse.name][None]
                found = (k * q @ x.transpose(1, 2)).softmax(-1) @ x
            out[m.relay.name] = (2.0**m.relay.gain * found).clamp(-1, 1).flatten(1)
        return out

    def attend(
        self, population: SelfAttention, rates: Mapping[str, Tensor], base: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """:func:`self_attention` of a population to these rates."""
        return self_attention(population, self.drive(population.name, rates, base, {}))

    def drive(
        self,
        name: str,
        rates: Mapping[str, Tensor],
        base: Mapping[str, Tensor],
        recalled: Mapping[str, Tensor],
        measured: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Drive (n, n_drives) of one population, LIF or self-attention.

        ``measured``: the rates that self-attention reads, if others than ``rates``, which synapses carry.
        """
        w = self.w
        z = base[name]
        for s in self.network.synapses:
            if s.post == name and s.pre in recalled:
                # 8-bit signed codes: 1.0 drives like a rate of 1/2
                z = z + recalled[s.pre] @ w[s.name] / 2
            elif s.post == name and s.pre in self.attending:
                answers, _ = self.attend(self.attending[s.pre], rates if measured is None else measured, base)
                z = z + carried(self.network, s, w[s.name], answers) / 2
            elif s.post == name and s.pre in rates:
                z = z + carried(self.network, s, w[s.name], rates[s.pre])
            elif s.pre == name and s.post in self.attending and self.network.answers_back(s):
                answers, _ = self.attend(self.attending[s.post], rates, base)
                z = z + carried_back(self.network, s, w[s.name], answers) / 2
            elif s.pre == name and s in self.backward:
                z = z + s.feedback_scale * carried_back(self.network, s, w[s.name], rates[s.post])
        return z

    def sweep(
        self,
        r: Tensor,
        base: Mapping[str, Tensor],
        tokens: Sequence[Patterns] = (),
        disturbed: Disturbance | None = None,
        nudge: tuple[Tensor, float] | None = None,
    ) -> Tensor:
        """New rates (n, neurons) of every LIF population, one after the other.

        ``disturbed``: what the presynaptic side of synapses sees of them.  ``nudge``: target rates
        (n, n_outputs) and beta.
        """
        disturbed = disturbed or Disturbance()
        presynaptic = self._presynaptic(r, disturbed)
        recalled = self.recall(presynaptic, base, tokens)
        rates = []
        for p in self.network.lif:
            drive = self.drive(p.name, presynaptic, base, recalled)
            if nudge and p.name == self.network.output:
                target, beta = nudge
                drive = (drive + beta * target) / (1 + beta)  # r = drive + beta (target - r)
            rates.append(drive.clamp(0, 1))
            presynaptic[p.name] = disturbed(p.name, rates[-1])
        return torch.cat(rates, 1)

    def _presynaptic(self, r: Tensor, disturbed: Disturbance) -> dict[str, Tensor]:
        return {n: disturbed(n, r[:, part]) for n, part in self.part.items()}

    def forward(
        self,
        x: Tensor,
        patterns: Tensor | None = None,
        present: Tensor | None = None,
        *,
        dropout: float = 0.0,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
        spikes: Schedule | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rates (n, LIF neurons) and drive of the output (n, n_outputs).

        ``dropout``: probability that a hidden neuron is dropped, drawn with ``generator``; the others are
        scaled up.  ``noise``: standard deviation of noise on the rates of hidden neurons, such as that of few
        spikes.  ``spikes``: rates are those of spikes with this schedule, without dropout and noise; the
        gradient is that of the equilibrium.
        """
        tokens = self.tokens(patterns, present)
        return self.respond(
            self.base(x), tokens, dropout=dropout, noise=noise, generator=generator, spikes=spikes
        )

    def respond(
        self,
        base: Mapping[str, Tensor],
        tokens: Sequence[Patterns] = (),
        *,
        dropout: float = 0.0,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
        spikes: Schedule | None = None,
    ) -> tuple[Tensor, Tensor]:
        """:meth:`forward` from the static drive by population."""
        if spikes is not None:
            return self._of_spikes(base, spikes)
        n = len(next(iter(base.values())))
        on = self.values[0].device
        disturbed = Disturbance()
        for p in self.network.lif:
            if p.name == self.network.output:
                continue
            size = n, p.size
            if dropout:
                kept = torch.rand(size, generator=generator, device=on) >= dropout
                disturbed.masks[p.name] = kept / (1 - dropout)
            if noise:
                drawn = torch.randn(size, generator=generator, device=on)
                disturbed.noise[p.name] = noise * drawn.to(self.values[0].dtype)
        start = self.values[0].new_zeros(n, self.n)
        r = self.settle(lambda r: self.sweep(r, base, tokens, disturbed), start, direct=self.direct)
        presynaptic = self._presynaptic(r, disturbed)
        return r, self.drive(self.network.output, presynaptic, base, self.recall(presynaptic, base, tokens))

    def _of_spikes(self, base: Mapping[str, Tensor], schedule: Schedule) -> tuple[Tensor, Tensor]:
        """Rates and drive of the output, with the values of spikes and the gradient of the equilibrium."""
        found = averages(self, base, schedule)
        measured: dict[str, Tensor] = {}
        presynaptic: dict[str, Tensor] = {}
        for p in self.network.lif:
            drive = self.drive(p.name, presynaptic, base, {}, measured)
            rates = drive.clamp(0, 1)
            measured[p.name] = rates + (found.measured[p.name] - rates).detach()
            presynaptic[p.name] = rates + (found.spikes[p.name] - rates).detach()
            if p.name == self.network.output:
                output = drive + (found.measured[p.name] - rates).detach()
        return torch.cat(list(measured.values()), 1), output

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """Probabilities (n, heads, positions, positions) at the fixed point, by self-attention population."""
        base = self.base(x)
        rates = self._presynaptic(self(x)[0], Disturbance())
        return {name: self.attend(p, rates, base)[1] for name, p in self.attending.items()}


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
    inputs = torch.tensor(samples.check_inputs(network, x, None)[0])
    classes = samples.check_labels(network, labels, len(inputs))
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
        [-ep.only(chosen).update(twin.ends(s)) for s in network.synapses] for chosen in (calm, ~elsewhere)
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
