"""Equilibrium Propagation of self-attention with an energy, in floating point."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif_golden.network import Network, Synapse, TransformerSizes  # noqa: E402   torch is optional
from equilif_golden.populations import Constant, Input, Lif, SelfAttention  # noqa: E402
from equilif_golden.real import energy  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402
from equilif_golden.samples import one_hot  # noqa: E402

EXACT = {"dtype": torch.float64, "tolerance": 1e-12, "limit": 2000}


def made(*, causal: bool = False) -> tuple[Rates, Any, Any]:
    """Two heads over four positions of features, which an input and biases drive; eight samples."""
    attention = SelfAttention.of_shape("a", (4, 1, 12), heads=2, gain=1, causal=causal, energy=True)
    net = Network(
        (
            Input.of_shape("x", (4, 1, 3)),
            Constant("b", 1),
            attention,
            Lif.of_shape("r", (4, 1, 5)),
            Lif("y", 3),
        ),
        (
            Synapse("x", "r", kernel=1),
            Synapse("b", "r", per_position=True),
            Synapse("r", "a", kernel=1),
            Synapse("b", "a"),
            Synapse("x", "a", kernel=1),
            Synapse("r", "y"),
            Synapse("b", "y"),
        ),
        "y",
    )
    rng = np.random.default_rng(0)
    weights = net.initial_weights(3, scale=0.6, bias=0.25)
    for name in ("r-a", "x-a", "b-a"):  # small enough for no clip of queries, keys and answers
        weights[name] = rng.integers(-500, 501, weights[name].shape)
    x = rng.integers(0, 256, (8, net.n_inputs), dtype=np.uint8)
    return Rates(net, weights, **EXACT), torch.tensor(x), rng.integers(0, 3, 8)


@pytest.mark.parametrize("causal", [False, True])
def test_drive_is_the_derivative_of_phi(causal):
    """Of queries and keys too, and a fixed point is a stationary point."""
    model, x, _ = made(causal=causal)
    r = model(x)[0].detach().requires_grad_()
    inside = (r > 0) & (r < 1)
    (slope,) = torch.autograd.grad(energy.phi(model, x, r).sum(), r)
    assert inside.double().mean() > 0.5 and slope[inside].abs().max() < 1e-9
    other = (0.5 * r.detach() + 0.1).requires_grad_()
    (slope,) = torch.autograd.grad(energy.phi(model, x, other).sum(), other)
    rates = {n: other[:, part] for n, part in model.part.items()}
    drive = torch.cat([model.drive(p.name, rates, model.base(x), {}) for p in model.network.lif], 1)
    assert (slope - (drive - other)).abs().max() < 1e-12 and slope.abs().max() > 0.05


def test_weights_of_queries_and_keys_learn_from_their_two_ends():
    """dPhi/dW is the product of rates and answers, halved as they drive."""
    model, x, _ = made()
    r = model(x)[0].detach()
    (a,) = model.network.self_attention
    rates = {n: r[:, part] for n, part in model.part.items()}
    answers = model.attend(a, rates, model.base(x))[0].view(8, 4, 12)
    found = dict(
        zip(model.w, torch.autograd.grad(energy.phi(model, x, r).sum(), list(model.values)), strict=True)
    )
    expected = torch.einsum("nif,nid->fd", rates["r"].view(8, 4, 5), answers) / 2
    assert torch.allclose(found["r-a"], expected, atol=1e-12) and expected.abs().max() > 0.05


def test_gradient():
    """EP equals implicit differentiation as the nudge vanishes, and that equals unrolled backpropagation."""
    model, x, labels = made()
    found = energy.agreement(model.network, model.quantised(), x.numpy(), labels, betas=(0.1, 0.001))
    assert min(found[0.1].values()) > 0.95 and min(found[0.001].values()) > 0.9999
    base = model.base(x)
    unrolled = torch.zeros(8, model.n, dtype=torch.float64)
    for _ in range(150):
        unrolled = model.sweep(unrolled, base)
    target = torch.tensor(one_hot(labels, 3)).double()
    both = [
        torch.autograd.grad(((target - r[:, model.part["y"]]) ** 2).sum(), list(model.values))
        for r in (model(x)[0], unrolled)
    ]
    for name, a, b in zip(model.w, *both, strict=True):
        assert b.norm() > 0 and (a - b).norm() / b.norm() < 1e-6, name


def test_no_energy():
    net = Network.transformer(TransformerSizes(3, 2, 4, 1, 2))
    with pytest.raises(ValueError, match="energy"):
        energy.phi(Rates(net), torch.zeros(1, 6, dtype=torch.uint8), torch.zeros(1, 3))
