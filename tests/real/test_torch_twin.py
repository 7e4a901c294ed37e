"""Floating-point twin: gradient, convergence of EP to it, agreement of the integers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif_golden.fixed import Numerics  # noqa: E402   torch is optional
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network  # noqa: E402
from equilif_golden.real.twin import Ends, Twin, ep_direction, gradient_report  # noqa: E402
from equilif_golden.samples import one_hot  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402
from tests.networks import CHAIN, GRAPH, NETWORKS, sample  # noqa: E402


def settled(network, weights_seed=1):
    x, labels = sample(network)
    twin = Twin(network, network.initial_weights(weights_seed, scale=0.8))
    return twin, x, one_hot(labels, network.n_outputs), twin.settle(twin.clamp(x))


@NETWORKS
def test_settled_rates_satisfy_equation(network):
    twin, x, y, _ = settled(network)
    target = twin.targets(y)
    beta = 0.5
    rates = twin.settle(twin.clamp(x), target, beta)
    for p in network.lif:
        drive = sum(
            rates[:, twin.part[s.pre]] @ twin.weights[s.name] for s in network.synapses if s.post == p.name
        )
        drive = drive + sum(
            rates[:, twin.part[s.post]] @ twin.weights[s.name].T for s in network.synapses if s.pre == p.name
        )
        if p.name == network.output:
            drive = drive + beta * (target - rates[:, twin.part[p.name]])
        assert (rates[:, twin.part[p.name]] - drive.clamp(0, 1)).abs().max() < 1e-9


WITH_MAPS = pytest.mark.parametrize(
    "network", [CHAIN, GRAPH, Network.conv((3, 4), (3, 2), (3, 2), 4)], ids=["chain", "graph", "convolutions"]
)


@WITH_MAPS
def test_implicit_and_unrolled_gradients_agree(network):
    twin, x, y, free = settled(network)
    descent = twin.descent(free, twin.targets(y))
    unrolled = twin.unrolled_gradient(x, y, steps=1500)
    for s in network.synapses:
        gradient = unrolled[s.name]
        assert gradient.norm() > 0.01
        assert (descent.update(twin.ends(s)) + gradient).abs().max() < 1e-7 * gradient.abs().max()


def test_gradient_equals_finite_difference():
    """Central differences of one weight of each synapse; the loss is smooth there."""
    twin, x, y, free = settled(GRAPH)
    x = x[:5]
    y = y[:5]
    free = free[:5]
    descent = twin.descent(free, twin.targets(y))
    target = twin.targets(y)
    h = 1e-5
    for s in GRAPH.synapses:
        slopes = []
        for sign in (1, -1):
            twin.weights[s.name][0, 1] += sign * h
            r = twin.settle(free, tolerance=1e-13)
            slopes.append(float(((target - r[:, twin.out]) ** 2).sum() / 2))
            twin.weights[s.name][0, 1] -= sign * h
        expected = -float(descent.update(twin.ends(s))[0, 1])
        assert (slopes[0] - slopes[1]) / (2 * h) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@WITH_MAPS
def test_float_ep_tends_to_the_gradient(network):
    """Without crossings of the clip limits the error of the update falls with beta squared."""
    twin, _, y, free = settled(network)
    target = twin.targets(y)

    def inside(r):
        return (r > 1e-6) & (r < 1 - 1e-6)

    calm = torch.stack(
        [(inside(twin.settle(free, target, b)) == inside(free)).all(1) for b in (0.02, -0.02)]
    ).all(0)
    assert calm.sum() >= 5
    free = free[calm]
    target = target[calm]
    descent = twin.descent(free, target)
    errors = []
    for beta in (0.02, 0.01):
        plus = twin.settle(free, target, beta, tolerance=1e-12)
        minus = twin.settle(free, target, -beta, tolerance=1e-12)
        errors.append(float((ep_direction(plus, minus, beta).slope - descent.slope).norm()))
    assert 3.5 < errors[0] / errors[1] < 4.5


def test_update_direction():
    """Slope times mean rates is exactly (u+ v+ - u- v-) / 2 beta, and inner products need no matrix."""
    rng = np.random.default_rng(0)
    plus, minus, other = (torch.tensor(rng.integers(0, 256, (6, 9)) / 256) for _ in range(3))
    a = ep_direction(plus, minus, 0.5)
    b = ep_direction(other, plus, 0.5)
    pre = slice(0, 4)
    post = slice(4, 9)
    ends = Ends(pre, post)
    beta = 0.5

    def each(p, m):
        return (p[:, pre, None] * p[:, None, post] - m[:, pre, None] * m[:, None, post]) / (2 * beta)

    first = each(plus, minus)
    second = each(other, plus)
    assert torch.allclose(a.update(ends), first.sum(0), atol=1e-12)
    assert torch.allclose(a.inner(b, ends), (first * second).sum((1, 2)), atol=1e-12)
    cosines = (first * second).sum((1, 2)) / (first.norm(dim=(1, 2)) * second.norm(dim=(1, 2)))
    assert torch.allclose(a.cosines(b, ends), cosines)
    assert ep_direction(plus, plus, beta).cosines(a, ends).isnan().all()


def test_inner_products_of_shared_weights():
    network = Network.conv((4, 5), (3, 2), 4)
    twin = Twin(network, network.initial_weights(1))
    rng = np.random.default_rng(0)
    plus, minus, other = (torch.tensor(rng.integers(0, 256, (6, twin.n)) / 256) for _ in range(3))
    a = ep_direction(plus, minus, 0.5)
    b = ep_direction(other, plus, 0.5)
    for s in network.synapses[:2]:
        ends = twin.ends(s)
        assert ends.geometry is not None
        single = [a.only(torch.arange(6) == k).update(ends) for k in range(6)]
        others = [b.only(torch.arange(6) == k).update(ends) for k in range(6)]
        inner = torch.stack([(x * y).sum() for x, y in zip(single, others, strict=True)])
        assert torch.allclose(a.inner(b, ends), inner, atol=1e-12)
        assert torch.allclose(torch.stack(single), a.each(ends), atol=1e-12)


def test_integer_rates_approach_twin():
    """Longer phases and windows are closer, down to the resolution of a rate: one code for rounding down, one
    at 255/256.
    """
    twin, x, _, free = settled(CHAIN)
    errors = []
    for window in (4, 32):
        network = replace(
            CHAIN,
            schedule=Schedule(free=8 * window, nudged=window, window=window),
            numerics=Numerics(charge_width=20),
        )
        rates = torch.tensor(Kernel(network, CHAIN.initial_weights(1, scale=0.8)).rates(x)[0][:, 0] / 256)
        errors.append(float((rates - free[:, twin.n_clamped :]).abs().median()))
    assert errors[1] <= 1 / 256 < errors[0], errors


def test_integer_updates_descend():
    """On an untrained network the update of every synapse descends the gradient."""
    network = replace(CHAIN, schedule=Schedule(beta=0.25))
    report = gradient_report(network, network.initial_weights(), *sample(network, 100))
    for name, pairs in report["synapses"].items():
        assert pairs["integer_gradient"]["sum"] > 0.9, name
        assert pairs["integer_ep"]["sum"] > 0.95 and pairs["ep_gradient"]["sum"] > 0.9, name
        assert pairs["integer_gradient"]["strong"]["samples"] > 10
    assert sum(report["gradients"].values()) == report["samples"] == 100
    assert json.loads(json.dumps(report)) == report


def test_zero_gradient_is_reported():
    """All rates clipped at 0: no gradient, no update, no NaN in JSON."""
    network = replace(CHAIN, schedule=Schedule(beta=0.25))
    weights = {n: np.full_like(w, -4096) for n, w in network.initial_weights().items()}
    x, labels = sample(network, 10)
    report = gradient_report(network, weights, x, labels)
    assert report["gradients"] == {"strong": 0, "weak": 0, "zero": 10} and report["zero_share"] == 0.0
    assert report["saturated"] == {"hidden1": 1.0, "output": 1.0}
    assert report["synapses"]["hidden1-output"]["integer_gradient"]["sum"] is None
    json.dumps(report, allow_nan=False)


def test_energy_needs_feedback():
    network = Network.chain(12, 9, 4, feedback=False)
    with pytest.raises(ValueError, match="hidden1-output"):
        Twin(network, network.initial_weights())


def test_unsettled_rates():
    twin, x, _, _ = settled(CHAIN)
    with pytest.raises(ArithmeticError, match="40 samples"):
        twin.settle(twin.clamp(x), tolerance=0.0, limit=50)


def test_attention_is_refused():
    network = Network.attention(4, 3, 2, 5, 3)
    with pytest.raises(ValueError, match="'memory'"):
        Twin(network, network.initial_weights())
