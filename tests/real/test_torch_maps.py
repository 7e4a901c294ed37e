"""Convolutions in floating point: equal to unrolled networks and to average spiking rates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif.convolutions import unrolled  # noqa: E402   torch is optional
from equilif.data.sets import images  # noqa: E402
from equilif.training.run import Run  # noqa: E402
from equilif.training.settings import convolved  # noqa: E402
from equilif.training.settings.presets import RATES  # noqa: E402
from equilif.training.storage.history import HISTORY  # noqa: E402
from equilif_golden import network as networks  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network  # noqa: E402
from equilif_golden.real.rates import Rates, integer_rates  # noqa: E402
from equilif_golden.real.trainer import hinge  # noqa: E402
from tests.cli import error_of, json_of, run  # noqa: E402

EXACT = {"dtype": torch.float64, "tolerance": 1e-12, "limit": 1000}
NETWORKS = {
    "grey": Network.conv((8, 8), (3, 2), (5, 3), 4, patch=2),
    "not folded": Network.conv((9, 7), (3, 3, 2), (4, 2), 6, 3),
    "colours, forward": Network.conv((8, 6, 3), (4, 2), 5, 3, patch=2, feedback=False),
}


def made(network: Network, seed: int = 0) -> tuple[networks.Weights, Any]:
    """Weights and five samples."""
    weights = network.initial_weights(seed, bias=0.3, scale=0.5)
    x = np.random.default_rng(seed).integers(0, 256, (5, network.n_inputs), dtype=np.uint8)
    return weights, torch.tensor(x)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_maps_equal_dense_network(network):
    """The gradient of a shared weight is the sum over its copies."""
    weights, x = made(network)
    flat, matrices = unrolled(network, weights)
    shared = Rates(network, weights, **EXACT)
    apart = Rates(flat, matrices, **EXACT)
    y = torch.arange(5) % network.n_outputs
    found = []
    for model in (shared, apart):
        r, drive = model(x)
        grads = torch.autograd.grad(hinge(drive, y).sum(), list(model.values))
        found.append((r.detach(), dict(zip(model.w, grads, strict=True))))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-9)
    assert float(found[0][0].std()) > 0.05
    for s in network.synapses:
        one, many = found[0][1][s.name], found[1][1][s.name].numpy()
        geometry = network.geometry(s)
        pre, post = network[s.pre], network[s.post]
        if geometry is None:
            summed = many
        else:
            if getattr(pre, "patch", 1) > 1:
                many = many[pre.fold]
            blocks = many.reshape(pre.size, post.shape.positions, post.maps)
            summed = sum(blocks[rows, p] for p, rows in enumerate(geometry.neurons()))
        assert np.allclose(one.numpy(), summed, atol=1e-9) and np.abs(summed).max() > 1e-6, s.name


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_spike_average_tends_to_fixed_point(network):
    weights, x = made(network)
    averages, drives = Kernel(network, weights).averages(x.numpy(), [31, 3079])
    exact, found = integer_rates(network, weights, drives, averages[-1])
    assert found.settled == 1.0
    errors = np.abs(averages - exact).mean(axis=(1, 2))
    assert errors[1] < 2e-3 and errors[1] < errors[0] / 5


# -- the command line ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    pytest.importorskip("sklearn")
    out = tmp_path_factory.mktemp("conv") / "run"
    options = "--hidden conv:12:6:2 --epochs 6 --set rates.learning_rate=0.01 --out"
    run("train-rates", "digits", *options.split(), out)
    return out


def test_trained_maps_as_spikes(trained):
    """Trained, saved, deployed and evaluated: 8x8 - 12 maps of 2x2 - 10."""
    network = networks.load(trained / "network.npz")[0]
    assert [p.shape for p in network.maps] == [(8, 8, 1), (2, 2, 12)] and not network.feedforward
    real = json.loads((trained / HISTORY).read_text())
    assert real["sizes"] == "8x8x1-2x2x12-10" and real["epochs"][-1]["test_accuracy"] > 0.93
    found = json_of("deploy", trained, "--steps", 24, "--samples", 20)
    assert found["float"] == real["epochs"][-1]["test_accuracy"]
    assert abs(found["rates"] - found["float"]) <= 0.01
    cosines = found["gradients"]["all"]
    assert cosines["unrolled"] > 1 - 1e-6 and cosines["ep"] > 1 - 1e-4
    (spiking,) = found["spiking"]
    assert spiking["accuracy"] > found["rates"] - 0.02 and found["convergence"]["slope"] < -0.8
    assert json_of("evaluate", trained / "network.npz")["accuracy"] > found["rates"] - 0.02


def test_run_with_maps_continues_with_ep(trained):
    run("train-rates", "--resume", "--epochs", 7, "--out", trained)
    network, weights = networks.load(trained / "network.npz")
    chip = Kernel(network, weights, learning_rate=0.002)
    d = images.digits()
    before = chip.accuracy(d.x_test, d.y_test)
    chip.train(d.x_train[:500], d.y_train[:500])
    assert any((chip.weights[n] != w).any() for n, w in weights.items())
    assert chip.accuracy(d.x_test, d.y_test) > before - 0.05


def test_dense_populations_follow_maps():
    digits = images.digits()
    settings = convolved.rates(digits, [convolved.ConvSpec(6, 3)], (20,), RATES["digits"], feedback=True)
    run_ = Run.start(settings, digits)
    assert [p.size for p in run_.network.lif] == [216, 20, 10] and run_.sizes == "8x8x1-6x6x6-20-10"


@pytest.mark.parametrize(
    "conv, message",
    [(("2:9",), "1..8, not 9"), (("2:3", "2:7"), "1..6, not 7"), (("2x3",), "a convolution is conv:MAPS")],
)
def test_invalid_convolutions(conv, message, tmp_path):
    given = [word for text in conv for word in ("--hidden", f"conv:{text}")]
    assert message in error_of("train-rates", "digits", *given, "--out", tmp_path / "o")
    assert not (tmp_path / "o").exists()
