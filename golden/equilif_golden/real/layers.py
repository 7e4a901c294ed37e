"""Report on each LIF population of a network: which neurons work, what a nudge does, and where it points."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif_golden import samples
from equilif_golden.blocks import synapse as syn
from equilif_golden.extras import needs
from equilif_golden.fixed import VALUE, Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Synapse, TokenRows
from equilif_golden.reference import Reference

with needs("torch"):
    import torch

    from equilif_golden.real.rates import Rates
    from equilif_golden.real.trainer import hinge, pad_batch

WINDOWS = 16  #: windows of the longest free phase
SETTLED = 4  #: change of a rate between windows, rms in 1/256, of a population that has settled
ITERATIONS = 50  #: of the power method

Reals = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]


def layer_report(
    network: Network, weights: Mapping[str, Raw], x: npt.ArrayLike, y_labels: npt.ArrayLike
) -> dict[str, dict[str, Any]]:
    """Statistics of each LIF population over samples, by name; JSON-able.

    ``x``: (n, n_inputs) 8-bit inputs.  ``y_labels``: (n,) classes.

    silent      fraction of the neurons whose free rate is 0 for all samples
    saturated   fraction of the neurons whose free rate is 255 for all samples
    active      fraction of the rates inside 1..254
    coupling    spectral norm of the weights from the LIF populations before it, in thresholds
    steps       time steps until its free rates change by no more than 4/256 (rms) to the next window; null
                if they do not within 16 windows
    drift       rms change of its free rates to the next window, without a nudge, in 1/256
    nudge       rms difference of its rates at +beta and -beta, or with contrast "errors" of its errors, in
                1/256
    cosine      of the update of its synapses, summed over the samples, with the gradient of the loss of
                equilif_golden.real.trainer at the fixed point of the rates; null where one of them is zero

    ValueError for attention layers.
    """
    if network.windowed:
        raise ValueError("a report of populations does not support attention: leave it out")
    inputs = samples.check_inputs(network, x, None)[0]
    labels = samples.check_labels(network, y_labels, len(inputs))
    kernel = Kernel(network, dict(weights))
    free, plus, minus = kernel.rates(inputs, samples.one_hot(labels, network.n_outputs))[0].swapaxes(0, 1)
    schedule = network.schedule.with_fixed_phases()
    windows = _windows(network, weights, inputs)
    later = _free(network, weights, inputs, schedule.free + schedule.window)
    errors = network.schedule.errors
    changes = summed_updates(network, inputs, plus, minus)
    slopes = summed_gradients(network, weights, inputs, labels)
    report = {}
    for name, part in network.neurons.items():
        change = [_rms(b[:, part] - a[:, part]) for a, b in zip(windows[:-1], windows[1:], strict=True)]
        settled = [k for k, moved in enumerate(change, 1) if moved <= SETTLED]
        into = [s.name for s in network.synapses if s.post == name]
        report[name] = {
            "silent": float((free[:, part].max(0) == VALUE.lo).mean()),
            "saturated": float((free[:, part].min(0) == VALUE.hi).mean()),
            "active": float(((free[:, part] > VALUE.lo) & (free[:, part] < VALUE.hi)).mean()),
            "coupling": max(
                [
                    spectral_norm(network, s, weights[s.name])
                    for s in network.synapses
                    if s.post == name and s.pre in network.neurons
                ],
                default=0.0,
            ),
            "steps": settled[0] * schedule.window if settled else None,
            "drift": _rms(later[:, part] - free[:, part]),
            "nudge": _rms(minus[:, part] if errors else plus[:, part] - minus[:, part])
            / network.error_scale(name),
            "cosine": cosine([changes[n] for n in into], [slopes[n] for n in into]),
        }
    return report


def _rms(values: Raw) -> float:
    return float(np.sqrt((values.astype(np.float64) ** 2).mean()))


def _free(network: Network, weights: Mapping[str, Raw], x: U8, steps: int) -> Raw:
    """Rates (n, neurons) of the last window of a free phase."""
    schedule = dataclasses.replace(network.schedule.with_fixed_phases(), free=steps)
    longer = dataclasses.replace(network, schedule=schedule)
    return Kernel(longer, dict(weights)).rates(x)[0][:, 0].astype(np.int64)


def _windows(network: Network, weights: Mapping[str, Raw], x: U8) -> list[Raw]:
    """Rates of consecutive windows."""
    window = network.schedule.window
    return [_free(network, weights, x, k * window) for k in range(1, WINDOWS + 1)]


def summed_updates(network: Network, x: U8, plus: Raw, minus: Raw) -> dict[str, Reals]:
    """Updates by synapse, summed over the samples, without learning rate and rounding."""
    errors = network.schedule.errors
    clamped = network.clamped(x.astype(np.float64))
    found: dict[str, Reals] = {}
    for s in network.synapses:
        post = network.neurons[s.post]
        u: list[Any] = [clamped[s.pre]] * 2 if s.pre in clamped else []
        u = u or [r[:, network.neurons[s.pre]] for r in (plus, minus)]
        v = [plus[:, post], minus[:, post]]
        if errors:
            u[1] = u[0]
            v[0] = np.zeros_like(v[1])
        at = [syn.presynaptic(each, network.geometry(s)) for each in u]
        geometry = network.geometry(s)
        shape = (len(x), geometry.post.positions, geometry.columns) if geometry else (len(x), 1, -1)
        found[s.name] = sum(
            sign * np.einsum("npi,npk->ik", a.reshape(*shape[:2], -1), b.reshape(shape).astype(np.float64))
            for sign, a, b in zip((1, -1), at, v, strict=True)
        )
    return found


def attention_updates(
    network: Network, weights: Mapping[str, Raw], x: U8, labels: Raw, tokens: TokenRows | None
) -> dict[str, Reals]:
    """:func:`summed_updates` of a network with attention layers; rows of an embedding table learn in the
    table.
    """
    reference = Reference(network, dict(weights))
    result = reference.train(x, samples.one_hot(labels, network.n_outputs), tokens, learn=False)
    clamped = network.clamped(x.astype(np.int64))
    found = {s.name: np.zeros(network.shape(s)) for s in network.plastic}
    for s in network.plastic:
        for head in range(network.learned_parts(s)):
            for j in range(len(x)):
                u_plus, u_minus, v_plus, v_minus = reference.ends(s, head, result, clamped, j)
                change = np.outer(u_plus, v_plus) - np.outer(u_minus, v_minus)
                if s == network.table and tokens is not None:
                    rows = tokens.rows_of(j)
                    np.add.at(found[s.name], rows, change[: len(rows)])
                else:
                    found[s.name][reference.part(s, head)] += change
    return found


def summed_gradients(
    network: Network, weights: Mapping[str, Raw], x: U8, labels: Raw, tokens: TokenRows | None = None
) -> dict[str, Reals]:
    """Minus the gradient of the summed loss, by synapse."""
    model = Rates(network, weights, dtype=torch.float64, tolerance=1e-8, limit=2000)
    patterns = () if tokens is None else pad_batch(model.table(tokens), tokens, np.arange(len(x)))
    loss = hinge(model(torch.tensor(x), *patterns)[1], torch.tensor(labels)).sum()
    found = torch.autograd.grad(loss, list(model.values))
    return {s.name: -g.numpy() for s, g in zip(network.plastic, found, strict=True)}


def cosine(a: list[Reals], b: list[Reals]) -> float | None:
    u = np.concatenate([each.ravel() for each in a])
    v = np.concatenate([each.ravel() for each in b])
    norm = float(np.linalg.norm(u) * np.linalg.norm(v))
    return float(u @ v) / norm if norm else None


def spectral_norm(network: Network, s: Synapse, w: Raw) -> float:
    """Spectral norm of a synapse, by the power method on its rates."""
    raw = network.schedule.raw(network.numerics)
    v: Any = np.random.default_rng(0).standard_normal((1, network[s.pre].size))
    real: Any = w / raw.threshold
    size = 0.0
    for _ in range(ITERATIONS):
        v = v / max(float(np.linalg.norm(v)), 1e-300)
        forward: Any = syn.forward(real, v, network.geometry(s))
        size = float(np.linalg.norm(forward))
        v = _back(real, forward, network, s)
    return size


def _back(w: Reals, sent: Reals, network: Network, s: Synapse) -> Reals:
    """Transpose of the synapse."""
    geometry = network.geometry(s)
    if geometry is None:
        return sent @ w.T
    out = np.zeros((1, network[s.pre].size))
    parts = sent.reshape(1, geometry.post.positions, geometry.columns) @ w.T
    for position, neurons in enumerate(geometry.neurons()):
        out[:, neurons] += parts[:, position]
    return out
