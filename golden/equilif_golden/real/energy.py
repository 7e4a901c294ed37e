"""Equilibrium Propagation in real numbers, for networks with an energy, self-attention included.

Phi of equilif_golden.network at rates r, in thresholds, with x = 1/2 for the factor of 8-bit answers:

    Phi = sum_synapses r_pre W r_post  -  1/2 |r|^2
          +  sum_heads x 2**gain / k  sum_i logsumexp_j(k query_i key_j)         query | key = r W

Its derivatives are the drive of every population and, for weights, the products of what its two ends send:

    dPhi/d query_i = x 2**gain sum_j p_ij key_j       dPhi/d key_j = x 2**gain sum_i p_ij query_i
    dPhi/dr        = z(r) - r                         z: the drive, with W^T dPhi/d(query | key)
    dPhi/dW        = r_pre (dPhi/d(query | key))^T    for a synapse to self-attention

So the rates that settle under a nudge of +-beta give the gradient of |y - r|^2 / 2 as beta goes to 0
(Scellier & Bengio 2017; symmetric difference: Laborieux et al. 2021).  The term of self-attention is that of
the Energy Transformer (Hoover et al. 2023), in the rates of populations.  Where queries, keys or answers are
clipped, z is not exactly the derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.network import Network, Weights
from equilif_golden.real.equilibrium import anderson
from equilif_golden.real.maps import carried
from equilif_golden.real.rates import Rates, sharpness
from equilif_golden.real.twin import SCALE

Tensor = torch.Tensor


def phi(model: Rates, x: Tensor, r: Tensor) -> Tensor:
    """Phi (n,) of rates (n, LIF neurons) for 8-bit inputs (n, n_inputs).  ValueError without an energy."""
    net = model.network
    if not net.has_energy or net.attention_layers or len(set(net.energy_scales.values())) > 1:
        raise ValueError(
            "Phi is that of LIF populations and of self-attention with an energy, all with feedback of scale "
            "1: this network has other populations or synapses"
        )
    base = model.base(x)
    rates = {name: r[:, part] for name, part in model.part.items()}
    total = -(r**2).sum(1) / 2
    for name, rate in rates.items():
        total = total + (base[name] * rate).sum(1)
    for s in model.backward:
        total = total + (carried(net, s, model.w[s.name], rates[s.pre]) * rates[s.post]).sum(1)
    for a in net.self_attention:
        assert a.shape is not None
        drive = model.drive(a.name, rates, base, {})
        query, key = drive.view(len(x), a.shape.positions, 2, a.heads, a.width).permute(2, 0, 3, 1, 4)
        k = sharpness(a)
        scores = k * query @ key.mT
        if a.causal:
            scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
        total = total + 2.0 ** (a.gain - 1) / k * scores.logsumexp(-1).sum((1, 2))
    return total


def settle(
    model: Rates, x: Tensor, target: Tensor | None = None, beta: float = 0.0, start: Tensor | None = None
) -> Tensor:
    """Rates (n, LIF neurons) at the fixed point reached from ``start``, with a nudge towards ``target``."""
    nudge = None if target is None else (target, beta)
    first = model.values[0].new_zeros(len(x), model.n) if start is None else start
    with torch.no_grad():
        base = model.base(x)
        return anderson(
            lambda r: model.sweep(r, base, nudge=nudge), first, tolerance=model.tolerance, limit=model.limit
        )[0]


def ep_update(model: Rates, x: Tensor, target: Tensor, beta: float, free: Tensor) -> dict[str, Tensor]:
    """Update by name of a synapse, summed over the samples: the difference of dPhi/dW at +beta and at -beta,
    over 2 beta.
    """
    found = []
    for sign in (1, -1):
        r = settle(model, x, target, sign * beta, free)
        found.append(torch.autograd.grad(phi(model, x, r).sum(), list(model.values)))
    return {name: (plus - minus) / (2 * beta) for name, plus, minus in zip(model.w, *found, strict=True)}


def agreement(
    network: Network,
    weights: Weights,
    x: npt.ArrayLike,
    labels: npt.ArrayLike,
    betas: Sequence[float] = (0.5, 0.1, 0.01),
) -> dict[float, dict[str, float]]:
    """Cosine of :func:`ep_update` with minus the gradient of |y - r|^2 / 2, by beta and synapse.

    ``x``: (n, n_inputs) 8-bit inputs.  ``labels``: (n,) classes.  The gradient is that of implicit
    differentiation, in double precision.
    """
    values = torch.tensor(samples.check_inputs(network, x, None)[0])
    classes = samples.check_labels(network, labels, len(values))
    target = torch.tensor(samples.one_hot(classes, network.n_outputs)).double() / SCALE
    model = Rates(network, weights, dtype=torch.float64, tolerance=1e-11, limit=2000)
    free = model(values)[0]
    loss = ((target - free[:, model.part[network.output]]) ** 2).sum() / 2
    gradient = dict(zip(model.w, torch.autograd.grad(loss, list(model.values)), strict=True))
    found: dict[float, dict[str, Any]] = {}
    for beta in betas:
        update = ep_update(model, values, target, beta, free.detach())
        found[beta] = {
            name: float(torch.cosine_similarity(-gradient[name].flatten(), u.flatten(), dim=0))
            for name, u in update.items()
        }
    return found
