"""Methods of learning compared: the integer update of a network, and the updates of other methods.

A method is nudged phases (the Hopfield energy of equilif_golden.network), errors
(equilif_golden.blocks.error), predictive coding, or backpropagation.  All have the same weights and samples.
Nudged phases need feedback; the others are of the same network without it.

Predictive coding has the energy of prediction errors (Whittington & Bogacz 2017)

    E(r) = sum over LIF populations p of |r_p - f_p(z_p(r))|^2 / 2  +  beta C(r_output)

z_p is the drive from the populations before p, f_p the clip to 0 .. 1 (the identity at the output), and C the
loss of :func:`equilif_golden.real.trainer.hinge`.  At beta = 0 the forward pass has E = 0 and is the minimum.
The update is that of Equilibrium Propagation with centred nudging:

    dW = -(dE/dW at the minimum with +beta  -  dE/dW at the minimum with -beta) / 2 beta

It tends to the gradient of C as beta -> 0, and errors are this limit in 8-bit integers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.fixed import MAX_ACCUMULATOR, Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.real.layers import U8, Reals, cosine, spectral_norm, summed_gradients, summed_updates
from equilif_golden.real.rates import Rates
from equilif_golden.real.trainer import hinge
from equilif_golden.real.twin import SCALE

Tensor = torch.Tensor
BETAS = (0.01, 0.1, 0.5)  #: of predictive coding
MOMENTUM = 0.9
LIMIT = 500  #: steps of descent, and sweeps of nudged phases
TOLERANCE = 1e-4  #: change of a rate in a step, in units of beta


def method_report(
    network: Network, weights: Mapping[str, Raw], x: npt.ArrayLike, y_labels: npt.ArrayLike
) -> dict[str, Any]:
    """Cosines between the integer update of a network and the updates of other methods; JSON-able.

    ``x``: (n, n_inputs) 8-bit inputs.  ``y_labels``: (n,) classes.

    samples, accuracy, schedule
    learned_by  method of the integer update
    methods     by method and LIF population: cosine of the updates of the synapses into the population,
                summed over the samples; null where one of them is zero

    ValueError for attention layers.
    """
    if network.windowed:
        raise ValueError("a comparison of methods does not support attention: leave it out")
    inputs = samples.check_inputs(network, x, None)[0]
    labels = samples.check_labels(network, y_labels, len(inputs))
    free, own = _integer(network, weights, inputs, labels)
    forward = _with_feedback(network, False)
    found: dict[str, dict[str, Reals]] = {
        "backpropagation": summed_gradients(forward, weights, inputs, labels)
    }
    for beta in BETAS:
        found[f"predictive coding, beta {beta:g}"] = predictive_coding(forward, weights, inputs, labels, beta)
    if not network.schedule.errors:
        found["errors"] = _integer(forward, weights, inputs, labels)[1]
    symmetric = network if not network.feedforward else _with_feedback(network, True)
    found[f"nudged phases, beta {network.schedule.beta:g}"] = nudged(symmetric, weights, inputs, labels)
    into = {p.name: [s.name for s in network.synapses if s.post == p.name] for p in network.lif}
    return {
        "samples": len(labels),
        "accuracy": float(np.mean(free[:, network.neurons[network.output]].argmax(axis=1) == labels)),
        "schedule": dataclasses.asdict(network.schedule),
        "learned_by": network.schedule.learned_by,
        "methods": {
            method: {
                name: cosine([own[s] for s in names], [update[s] for s in names])
                for name, names in into.items()
            }
            for method, update in found.items()
        },
    }


def _with_feedback(network: Network, feedback: bool) -> Network:
    """The network with all or no feedback, which learns from nudged phases or errors."""
    synapses = [
        dataclasses.replace(s, feedback=feedback or network[s.pre].clamped, feedback_scale=1.0)
        for s in network.synapses
    ]
    schedule = dataclasses.replace(
        network.schedule,
        contrast="phases" if feedback else "errors",
        nudged=max(network.schedule.nudged, network.schedule.window),
    )
    numerics = dataclasses.replace(network.numerics, accumulator_width=MAX_ACCUMULATOR)
    return Network(network.populations, tuple(synapses), network.output, schedule, numerics)


def _integer(
    network: Network, weights: Mapping[str, Raw], x: U8, labels: Raw
) -> tuple[Raw, dict[str, Reals]]:
    """Free rates (n, neurons), and update by synapse, of the golden model."""
    kernel = Kernel(network, dict(weights))
    free, plus, minus = kernel.rates(x, samples.one_hot(labels, network.n_outputs))[0].swapaxes(0, 1)
    return free, summed_updates(network, x, plus, minus)


def predictive_coding(
    network: Network, weights: Mapping[str, Raw], x: U8, labels: Raw, beta: float
) -> dict[str, Reals]:
    """Update by synapse of a network without feedback, summed over the samples."""
    model = Rates(network, weights, dtype=torch.float64)
    inputs, classes = torch.tensor(x), torch.tensor(labels)
    out = model.part[network.output]
    hidden = [k for name, part in model.part.items() if name != network.output for k in range(model.n)[part]]

    def energy(r: Tensor, base: Mapping[str, Tensor], beta: float) -> Tensor:
        rates = {name: r[:, part] for name, part in model.part.items()}
        total = beta * hinge(r[:, out], classes)
        for name, rate in rates.items():
            drive = model.drive(name, rates, base, {})
            predicted = drive if name == network.output else drive.clamp(0, 1)
            total = total + ((rate - predicted) ** 2).sum(1) / 2
        return total.sum()

    with torch.no_grad():
        forward, drive = model(inputs)
        forward[:, out] = drive
        static = model.base(inputs)
    step = 1 / ((1 + _coupling(network, weights)) ** 2 + beta)
    found = []
    for nudge in (beta, -beta):
        r = forward.clone()
        velocity = torch.zeros_like(r)
        for _ in range(LIMIT):
            at = r.clone().requires_grad_()
            (slope,) = torch.autograd.grad(energy(at, static, nudge), [at])
            before, r = r, r + MOMENTUM * velocity - step * slope
            r[:, hidden] = r[:, hidden].clamp(0, 1)
            velocity = r - before
            if float(velocity.abs().max()) < TOLERANCE * beta:
                break
        found.append(torch.autograd.grad(energy(r, model.base(inputs), nudge), list(model.values)))
    return {
        s.name: ((minus - plus) / (2 * beta)).numpy()
        for s, plus, minus in zip(network.plastic, *found, strict=True)
    }


def _coupling(network: Network, weights: Mapping[str, Raw]) -> float:
    """Upper bound of the norm of all synapses between LIF populations together, in thresholds."""
    between = [s for s in network.synapses if s.pre in network.neurons]
    norms = [(s.pre, s.post, spectral_norm(network, s, weights[s.name])) for s in between]
    sums = [
        sum(norm for *ends, norm in norms if ends[end] == name) for end in (0, 1) for name in network.neurons
    ]
    return max(sums)


def nudged(network: Network, weights: Mapping[str, Raw], x: U8, labels: Raw) -> dict[str, Reals]:
    """Update by synapse of nudged phases at real rates that have settled, summed over the samples."""
    model = Rates(network, weights, dtype=torch.float64)
    target = torch.tensor(samples.one_hot(labels, network.n_outputs)) / SCALE
    with torch.no_grad():
        base = model.base(torch.tensor(x))

        def settled(r: Tensor, beta: float) -> Tensor:
            for _ in range(LIMIT):
                before, r = r, model.sweep(r, base, nudge=(target, beta) if beta else None)
                if float((r - before).abs().max()) < TOLERANCE:
                    break
            return r

        free = settled(torch.zeros(len(x), model.n, dtype=torch.float64), 0)
        beta = network.schedule.beta
        plus, minus = (settled(free, b).numpy() * SCALE for b in (beta, -beta))
    return summed_updates(network, x, plus, minus)
