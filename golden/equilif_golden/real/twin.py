"""Float twin of a network in the rate domain.

What the integers should do, and the gradient that they should follow.

A LIF population with reset by subtraction and no leak keeps its membrane bounded only if its mean drive
equals threshold x rate.  So mean rates settle to the fixed point

    r = clip(z(r) + beta (y - r) [output only], 0, 1)

where z(r) sums over all synapses, both ways, in units of the threshold.  It is a stationary point of Phi
(equilif_golden.network) in the box 0 <= r <= 1.  A leak is not modelled.  With feedback scales g the drive of
a neuron from those after it is multiplied by g, and its terms in Phi have a factor e (Network.energy_scale).

With L = |y - r|^2 / 2 at the free fixed point, everything that moves a synapse has one form, a *slope* d of
the rates times the rates themselves:

    dW = d_pre r_post^T + r_pre d_post^T

    EP          d = (r+ - r-) / 2 beta,  r = (r+ + r-) / 2
                exactly (r+_pre r+_post - r-_pre r-_post) / 2 beta
    gradient    d = -(I - D C D)^-1 D dL/dr,  r = free rates
                exactly -dL/dW, by implicit differentiation

C is the coupling of all LIF neurons, symmetric without feedback scales.  With them slopes are divided by e,
and dW is -dL/dW divided by e of the postsynaptic population.  D is the clip's derivative, 1 where z is inside
(0, 1).  EP tends to the gradient as beta -> 0 (Scellier & Bengio 2017, theorem 1), the symmetric difference
to second order (Laborieux et al. 2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Geometry, Network, Synapse

Tensor = torch.Tensor
SCALE = 256  #: 8-bit values and rates are in 1/256


class Unsettled(ArithmeticError, ValueError):
    """Rates that did not come to rest."""


@dataclass(frozen=True)
class Ends:
    """Positions of the neurons of a synapse's two populations, and those that share weights."""

    pre: slice
    post: slice
    geometry: Geometry | None = None

    def of(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(n, positions, rows) of ``a`` and (n, positions, columns) of ``b``: pairs that meet in a weight."""
        if self.geometry is None:
            return a[:, None, self.pre], b[:, None, self.post]
        presynaptic = a[:, self.pre][:, torch.as_tensor(self.geometry.neurons())]
        return presynaptic, b[:, self.post].unflatten(
            1, (self.geometry.post.positions, self.geometry.columns)
        )

    def unrolled(self, w: Tensor) -> Tensor:
        """Weights as the matrix of all pairs of neurons."""
        if self.geometry is None:
            return w
        rows = torch.as_tensor(self.geometry.neurons())[:, :, None]
        columns = torch.arange(self.geometry.post.size).view(self.geometry.post.positions, 1, -1)
        dense = torch.zeros(self.geometry.pre.size, self.geometry.post.size, dtype=w.dtype)
        return dense.index_put((rows, columns), w)


@dataclass(frozen=True)
class Direction:
    """Direction in which each of n samples moves the synapses.

    ``rates`` and ``slope`` are (n, neurons), clamped neurons included.
    """

    rates: Tensor
    slope: Tensor

    def update(self, ends: Ends) -> Tensor:
        """(rows, columns): sum over the samples."""
        r = self.rates
        d = self.slope
        d_pre, r_post = (t.flatten(0, 1) for t in ends.of(d, r))
        r_pre, d_post = (t.flatten(0, 1) for t in ends.of(r, d))
        return d_pre.T @ r_post + r_pre.T @ d_post

    def each(self, ends: Ends) -> Tensor:
        """(n, rows, columns): the same sample by sample."""
        r = self.rates
        d = self.slope
        d_pre, r_post = ends.of(d, r)
        r_pre, d_post = ends.of(r, d)
        return d_pre.mT @ r_post + r_pre.mT @ d_post

    def only(self, chosen: Tensor) -> Direction:
        """The samples of a boolean mask (n,)."""
        return Direction(self.rates[chosen], self.slope[chosen])

    def inner(self, other: Direction, ends: Ends) -> Tensor:
        """(n,): Frobenius inner products of the two updates sample by sample.

        Only updates of weights that positions share are formed.
        """
        if ends.geometry is not None:
            return (self.each(ends) * other.each(ends)).sum((1, 2))
        pre = ends.pre
        post = ends.post

        def dot(a: Tensor, b: Tensor, part: slice) -> Tensor:
            return (a[:, part] * b[:, part]).sum(1)

        r = self.rates
        d = self.slope
        q = other.rates
        e = other.slope
        return (
            dot(d, e, pre) * dot(r, q, post)
            + dot(d, q, pre) * dot(r, e, post)
            + dot(r, e, pre) * dot(d, q, post)
            + dot(r, q, pre) * dot(d, e, post)
        )

    def cosines(self, other: Direction, ends: Ends) -> Tensor:
        """(n,): cosine of each sample's two updates; NaN where one of them is zero."""
        norm = (self.inner(self, ends).clamp(min=0) * other.inner(other, ends).clamp(min=0)).sqrt()
        return torch.where(norm > 0, self.inner(other, ends) / norm, torch.nan)


class Twin:
    """A network with real weights; clamped neurons are counted first, then LIF ones, both in its order.

    ValueError for a network that has no energy, or a memory.
    """

    def __init__(self, network: Network, weights: Mapping[str, Raw]):
        if network.feedforward:
            raise ValueError(
                f"synapse {network.feedforward[0].name} is without feedback: there is no energy to follow; "
                "see equilif_golden.real.rates"
            )
        attention = [*(m.attention for m in network.attention_layers), *network.self_attention]
        if attention:
            raise ValueError(
                f"population {attention[0].name!r}: attention is not modelled here; "
                "see equilif_golden.real.rates and, with an energy, equilif_golden.real.energy"
            )
        self.network = network
        threshold = network.schedule.raw(network.numerics).threshold
        self.weights = {
            n: torch.tensor(w / threshold, dtype=torch.float64)
            for n, w in network.check_weights(weights).items()
        }
        self.part: dict[str, slice] = {}
        at = 0
        for p in network.populations:
            if p.clamped:
                self.part[p.name] = slice(at, at + p.size)
                at += p.size
        self.n_clamped = at
        for name, part in network.neurons.items():
            self.part[name] = slice(at + part.start, at + part.stop)
        self.n = at + sum(p.size for p in network.lif)
        self.out = self.part[network.output]
        self.energy = torch.ones(self.n, dtype=torch.float64)  #: factor of each neuron's terms in Phi
        for p in network.lif:
            self.energy[self.part[p.name]] = network.energy_scale(p.name)

    def matrix(self, weights: Mapping[str, Tensor]) -> Tensor:
        """(neurons, neurons): the matrix of all synapses, from row to column."""
        m = torch.zeros(self.n, self.n, dtype=torch.float64)
        for s in self.network.synapses:
            w = self.ends(s).unrolled(weights[s.name])
            m[self.part[s.pre], self.part[s.post]] += w
            m[self.part[s.post], self.part[s.pre]] += s.feedback_scale * w.T
        return m

    def ends(self, s: Synapse) -> Ends:
        return Ends(self.part[s.pre], self.part[s.post], self.network.geometry(s))

    def clamp(self, x: npt.ArrayLike) -> Tensor:
        """8-bit inputs (n, n_inputs) to initial rates (n, neurons): inputs, constants, silent LIF neurons."""
        checked, _ = samples.check_inputs(self.network, x, None)
        r = torch.zeros(len(checked), self.n, dtype=torch.float64)
        for name, values in self.network.clamped(checked).items():
            r[:, self.part[name]] = torch.tensor(values, dtype=torch.float64) / SCALE
        return r

    def targets(self, y: npt.ArrayLike) -> Tensor:
        """8-bit targets (n, n_outputs) as rates."""
        checked = samples.check_targets(self.network, y, len(np.asarray(y)))
        return torch.tensor(checked, dtype=torch.float64) / SCALE

    def _step(self, r: Tensor, matrix: Tensor, rate: float, target: Tensor | None, beta: float) -> Tensor:
        """One damped iteration of the LIF neurons.

        It descends -Phi in the box while rate < 2 / (1 + |beta| + norm of C).
        """
        z = r @ matrix[:, self.n_clamped :]
        if target is not None:
            z = z + beta * torch.nn.functional.pad(
                target - r[:, self.out], (self.out.start - self.n_clamped, self.n - self.out.stop)
            )
        lif = r[:, self.n_clamped :]
        return torch.cat([r[:, : self.n_clamped], lif + rate * (z.clamp(0, 1) - lif)], 1)

    def _rate(self, matrix: Tensor, beta: float) -> float:
        coupling = matrix[self.n_clamped :, self.n_clamped :].detach()
        return 1 / (1 + abs(beta) + float(torch.linalg.matrix_norm(coupling, 2)))

    def settle(
        self,
        r: Tensor,
        target: Tensor | None = None,
        beta: float = 0.0,
        *,
        tolerance: float = 1e-10,
        limit: int = 100_000,
    ) -> Tensor:
        """Fixed point (n, neurons) reached from ``r``.

        Unsettled when |clip(z) - r| does not fall below ``tolerance`` in ``limit`` iterations.
        """
        matrix = self.matrix(self.weights)
        rate = self._rate(matrix, beta)
        settled = r.clone()
        todo = torch.arange(len(r))
        every = 50  # iterations from look to look
        for _ in range(0, limit, every):
            r = settled[todo]
            y = None if target is None else target[todo]
            for _ in range(every):
                before = r
                r = self._step(r, matrix, rate, y, beta)
            settled[todo] = r
            error = (r - before).abs().amax(1) / rate
            # a few samples near a fold of the fixed point take much longer
            todo = todo[error >= tolerance]
            if not len(todo):
                return settled
        raise Unsettled(
            f"rates of {len(todo)} samples still move by up to {float(error.max()):.1e} "
            f"after {limit} iterations"
        )

    def live(self, free: Tensor) -> Tensor:
        """(n, LIF neurons): whose drive lies inside (0, 1).

        Not told by the rates: a damped iteration never quite reaches 0 or 1.
        """
        z = free @ self.matrix(self.weights)[:, self.n_clamped :]
        return (z > 0) & (z < 1)

    def ep(self, free: Tensor, target: Tensor, beta: float) -> Direction:
        """Direction of the symmetric EP update at real rates."""
        return ep_direction(self.settle(free, target, beta), self.settle(free, target, -beta), beta)

    def descent(self, free: Tensor, target: Tensor) -> Direction:
        """Minus the gradient of |y - r|^2 / 2 at the free fixed point.

        By implicit differentiation on the active set, the neurons whose drive lies inside (0, 1).
        """
        coupling = self.matrix(self.weights)[self.n_clamped :, self.n_clamped :]
        d = self.live(free).to(torch.float64)
        error = torch.zeros_like(free)
        error[:, self.out] = target - free[:, self.out]
        system = torch.eye(len(coupling), dtype=torch.float64) - d[:, :, None] * coupling * d[:, None, :]
        slope = torch.zeros_like(free)
        slope[:, self.n_clamped :] = torch.linalg.solve(system, d * error[:, self.n_clamped :])
        return Direction(free, slope / self.energy)

    def unrolled_gradient(self, x: npt.ArrayLike, y: npt.ArrayLike, *, steps: int) -> dict[str, Tensor]:
        """Gradient of the summed loss by backpropagation through ``steps`` iterations.

        An independent check of :meth:`descent`.
        """
        weights = {n: w.clone().requires_grad_() for n, w in self.weights.items()}
        matrix = self.matrix(weights)
        r = self.clamp(x)
        rate = self._rate(matrix, 0.0)
        for _ in range(steps):
            r = self._step(r, matrix, rate, None, 0.0)
        loss = ((self.targets(y) - r[:, self.out]) ** 2).sum() / 2
        return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def ep_direction(plus: Tensor, minus: Tensor, beta: float) -> Direction:
    """EP update of rates (n, neurons) at +beta and -beta, integer or real, before any rounding."""
    return Direction((plus + minus) / 2, (plus - minus) / (2 * beta))


def _summary(cosines: Tensor, chosen: Tensor) -> dict[str, Any]:
    valid = chosen & ~cosines.isnan()
    n = int(valid.sum())
    return {"mean": float(cosines[valid].mean()) if n else None, "samples": n}


def _cosine(a: Tensor, b: Tensor) -> float | None:
    norm = float(a.norm() * b.norm())
    return float((a * b).sum()) / norm if norm else None


def gradient_report(
    network: Network, weights: Mapping[str, Raw], x: npt.ArrayLike, y_labels: npt.ArrayLike
) -> dict[str, Any]:
    """Cosines between the integer update, the float EP update and the true descent direction, by synapse.

    ``x``: (n, n_inputs) 8-bit inputs.  ``y_labels``: (n,) classes.  What comes back is JSON-able:

    samples         n
    accuracy        of the integer free phase
    loss            mean of |y - r|^2 / 2 at the float fixed point
    schedule        of the network
    gradients       how many samples have a gradient that is zero (all they could move is clipped), weak
                    (below a tenth of the largest) or strong
    elsewhere       how many samples have a free rate that differs by more than 1/4 between integers and
                    float: a network with strong feedback has several fixed points, and the two find
                    different ones
    zero_share      part of the integer updates, by squared norm, that samples of zero gradient made: a finite
                    nudge moves neurons across the edge of the clip, where the gradient sees nothing
    synapses        by name and by the pair that is compared (``integer_gradient``, ``integer_ep``,
                    ``ep_gradient``):
        sum                     cosine of the updates summed over the samples; null where one of them is zero
        sum_same                the same without the samples that settle elsewhere
        each, strong, weak      mean cosine of single samples, of all of them and of those of strong and of
                                weak gradient; and how many had a direction on both sides
    rates           rms difference of integer and float rates: free, plus, minus
    saturated       part of the LIF neurons that the float free phase leaves outside (0, 1), by population
    """
    twin = Twin(network, weights)
    kernel = Kernel(network, dict(weights))
    start = twin.clamp(x)
    labels = samples.check_labels(network, y_labels, len(start))
    y = samples.one_hot(labels, network.n_outputs)
    target = twin.targets(y)
    beta = network.schedule.beta
    free = twin.settle(start)
    plus = twin.settle(free, target, beta)
    minus = twin.settle(free, target, -beta)
    phases = torch.tensor(kernel.rates(x, y)[0].astype(np.float64) / SCALE)
    measured = [torch.cat([start[:, : twin.n_clamped], phases[:, k]], 1) for k in range(3)]
    integer = ep_direction(measured[1], measured[2], beta)
    ep = ep_direction(plus, minus, beta)
    descent = twin.descent(free, target)
    pairs = {
        "integer_gradient": (integer, descent),
        "integer_ep": (integer, ep),
        "ep_gradient": (ep, descent),
    }
    parts = {s.name: twin.ends(s) for s in network.synapses}
    none = torch.zeros(len(labels), dtype=torch.float64)
    size = sum((descent.inner(descent, p) for p in parts.values()), none).clamp(min=0).sqrt()
    zero = size == 0
    strong = ~zero & (size >= size.max() / 10)
    same = (measured[0] - free).abs().amax(1) <= 0.25
    moved = sum((integer.inner(integer, p) for p in parts.values()), none)
    synapses: dict[str, Any] = {}
    for name, p in parts.items():
        synapses[name] = {}
        for pair, (a, b) in pairs.items():
            each = a.cosines(b, p)
            synapses[name][pair] = {
                "sum": _cosine(a.update(p), b.update(p)),
                "sum_same": _cosine(a.only(same).update(p), b.only(same).update(p)),
                "each": _summary(each, torch.ones_like(strong)),
                "strong": _summary(each, strong),
                "weak": _summary(each, ~strong & ~zero),
            }
    live = twin.live(free).to(torch.float64)
    return {
        "samples": len(labels),
        "accuracy": float(np.mean(measured[0][:, twin.out].argmax(1).numpy() == labels)),
        "loss": float(((target - free[:, twin.out]) ** 2).sum(1).mean() / 2),
        "schedule": asdict(network.schedule),
        "gradients": {
            "strong": int(strong.sum()),
            "weak": int((~strong & ~zero).sum()),
            "zero": int(zero.sum()),
        },
        "elsewhere": int((~same).sum()),
        "zero_share": float(moved[zero].sum() / moved.sum()) if moved.sum() else 0.0,
        "synapses": synapses,
        "rates": {
            name: float(((a - b) ** 2)[:, twin.n_clamped :].mean().sqrt())
            for name, a, b in zip(("free", "plus", "minus"), measured, (free, plus, minus), strict=True)
        },
        "saturated": {
            name: 1 - float(live[:, part.start - twin.n_clamped : part.stop - twin.n_clamped].mean())
            for name, part in twin.part.items()
            if not network[name].clamped
        },
    }
