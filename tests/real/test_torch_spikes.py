"""Averages of spikes in floating point: as the kernel counts them, with the gradient of the equilibrium."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif_golden.kernel import Kernel  # noqa: E402   torch is optional
from equilif_golden.network import Network, TransformerSizes  # noqa: E402
from equilif_golden.real import rates as rates_module  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402
from equilif_golden.real.spikes import Averages, averages  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402

SCHEDULE = Schedule(free=32, nudged=8, window=8)


def made(scale: float = 0.35, **options: object) -> tuple[Rates, object]:
    net = Network.transformer(TransformerSizes(5, 4, 6, 2, 4, heads=2), schedule=SCHEDULE, **options)
    model = Rates(net, net.initial_weights(1, scale=scale, bias=0.1), dtype=torch.float64)
    return model, torch.tensor(np.random.default_rng(0).integers(0, 256, (40, net.n_inputs), dtype=np.uint8))


def test_averages_are_those_of_the_kernel():
    """Large weights, so that membranes reach their bounds: the equilibrium is elsewhere."""
    model, x = made(scale=4.0)
    found = averages(model, model.base(x), SCHEDULE)
    kernel = Kernel(model.network, model.quantised()).settle(x.numpy()).rates[:, 0] / 256
    equilibrium = model(x)[0].detach()
    for name, part in model.part.items():
        error = (found.measured[name] - torch.tensor(kernel[:, part])).abs().mean()
        assert error < 0.03, name
        if name != "embedding":
            assert (equilibrium[:, part] - found.measured[name]).abs().mean() > 2 * error, name
        assert set((found.spikes[name] * 8 % 1).unique().tolist()) == {0.0}


def test_gradient_is_that_of_the_equilibrium(monkeypatch):
    """The same where spikes average to the rates; values are those of spikes."""
    model, x = made()
    rates, drive = model(x)
    there = {name: rates[:, part].detach() for name, part in model.part.items()}
    weights = torch.linspace(-1, 1, rates.shape[1], dtype=torch.float64)

    def gradients(rates, drive):
        loss = (rates * weights).square().sum() + drive.square().sum()
        return torch.autograd.grad(loss, list(model.values))

    expected = gradients(rates, drive)
    monkeypatch.setattr(rates_module, "averages", lambda *given: Averages(there, there))
    for a, b in zip(gradients(*model(x, spikes=SCHEDULE)), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12) and b.norm() > 0
    monkeypatch.undo()
    found, last = model(x, spikes=SCHEDULE)
    measured = averages(model, model.base(x), SCHEDULE).measured
    assert torch.equal(found.detach(), torch.cat(list(measured.values()), 1))
    assert torch.allclose(last.clamp(0, 1), measured["output"], atol=0.13)


def test_feedback_has_no_averages():
    model, x = made(feedback=True)
    with pytest.raises(ValueError, match="feedback"):
        model(x, spikes=SCHEDULE)
