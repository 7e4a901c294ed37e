"""Self-attention in floating point: its fixed point, its gradient by three methods, and what it may see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif_golden.network import Network, TransformerSizes  # noqa: E402   torch is optional
from equilif_golden.populations import SelfAttention  # noqa: E402
from equilif_golden.real.rates import Rates, self_attention  # noqa: E402
from equilif_golden.real.twin import Twin  # noqa: E402

EXACT = {"dtype": torch.float64, "tolerance": 1e-12, "limit": 1000}


def made(*, feedback: bool, **options: Any) -> tuple[Rates, Any]:
    """A transformer of two layers whose rates are mostly between 0 and 1, and seven samples."""
    net = Network.transformer(TransformerSizes(5, 4, 6, 2, 4, heads=2), feedback=feedback, **options)
    model = Rates(net, net.initial_weights(1, scale=0.35, bias=0.1), **EXACT)
    x = np.random.default_rng(0).integers(0, 256, (7, net.n_inputs), dtype=np.uint8)
    return model, torch.tensor(x)


def gradients(model: Rates, rates: Any) -> Any:
    weights = torch.linspace(-1, 1, rates.shape[1], dtype=torch.float64)
    return torch.autograd.grad((rates * weights).square().sum(), list(model.values))


@pytest.mark.parametrize("causal", [False, True])
def test_answers(causal):
    """Position by position and head by head, as the definition says."""
    p = SelfAttention.of_shape("a", (2, 2, 6), heads=2, causal=causal, sharpness=4, gain=1)
    drive = torch.randn(3, 4 * 18, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    answers, shares = self_attention(p, drive)
    codes = drive.view(3, 4, 18).clamp(-1, 1)
    for n, i, h in np.ndindex(3, 4, 2):
        q, k, v = (codes[n, :, 6 * part + 3 * h : 6 * part + 3 * h + 3] for part in range(3))
        seen = i + 1 if causal else 4
        share = torch.softmax(2.0**3 * np.log(2) * (k[:seen] @ q[i]), 0)
        expected = (2 * share @ v[:seen]).clamp(-1, 1)
        assert torch.allclose(answers.view(3, 4, 6)[n, i, 3 * h : 3 * h + 3], expected, atol=1e-12)
        assert torch.allclose(shares[n, h, i, :seen], share) and (shares[n, h, i, seen:] == 0).all()


@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradient_equals_unrolled_backpropagation(feedback, reverse):
    """Also where the update order is against the flow, so that many sweeps are needed."""
    model, x = made(feedback=feedback)
    if reverse:
        net = model.network
        other = replace(net, populations=net.populations[:2] + net.populations[:1:-1])
        model = Rates(other, model.quantised(), **EXACT)
    assert model.direct == (not feedback and not reverse)
    rates = model(x)[0]
    assert model.there.settled == 1.0
    base = model.base(x)
    unrolled = torch.zeros_like(rates)
    for _ in range(150):
        unrolled = model.sweep(unrolled, base)
    assert (unrolled - rates).abs().max() < 1e-9
    assert ((rates > 0) & (rates < 1)).double().mean() > 0.5
    for s, a, b in zip(
        model.network.synapses, gradients(model, rates), gradients(model, unrolled), strict=True
    ):
        assert b.norm() > 0 and (a - b).norm() / b.norm() < 1e-6, s.name


def test_gradient_equals_finite_difference():
    model, x = made(feedback=True)
    found = dict(zip(model.w, gradients(model, model(x)[0]), strict=True))
    for name in ("bias-embedding", "embedding-attention1", "attention2-mixed2", "bias-attention2"):
        w, slope = model.w[name], found[name]
        at = np.unravel_index(int(slope.abs().argmax()), slope.shape)
        losses = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                w[at] += step
                rates = model(x)[0]
            weights = torch.linspace(-1, 1, rates.shape[1], dtype=torch.float64)
            losses.append(float((rates * weights).square().sum()))
        with torch.no_grad():
            w[at] += 1e-6
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(float(slope[at]), rel=1e-4), name


@pytest.mark.parametrize("feedback", [False, True])
def test_causal_positions_see_no_later_ones(feedback):
    """A change at position 3 reaches the positions from 3 on, in every layer."""
    for causal in (True, False):
        model, x = made(feedback=feedback, causal=causal)
        other = x.clone()
        other[:, 3 * 4 : 4 * 4] = 255 - other[:, 3 * 4 : 4 * 4]
        drives = [model(part)[1].detach().view(7, 5, 4) for part in (x, other)]
        changed = (drives[0] - drives[1]).abs().amax((0, 2)) > 1e-9
        assert changed.tolist() == [not causal] * 3 + [True] * 2


def test_default_tolerance_settles():
    """99 % of samples to 1/1000 of a rate."""
    net = Network.transformer(TransformerSizes(16, 8, 16, 2, 8, heads=2), feedback=True)
    model = Rates(net, net.initial_weights(0, scale=0.35, bias=0.1), tolerance=1e-3)
    model(torch.tensor(np.random.default_rng(0).integers(0, 256, (100, net.n_inputs), dtype=np.uint8)))
    assert model.there.settled >= 0.99 and 2 < model.there.iterations < 60


def test_no_energy():
    net = Network.transformer(TransformerSizes(3, 4, 6, 1, 2, heads=3), feedback=True)
    with pytest.raises(ValueError, match="'attention1'"):
        Twin(net, net.initial_weights())
