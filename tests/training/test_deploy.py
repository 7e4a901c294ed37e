"""equilif train-rates and deploy: spiking networks, convergence of average rates."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif.data.sets import images as data  # noqa: E402
from equilif.show import training as show_training  # noqa: E402
from equilif.training.analysis.deploy import TIMES, converge, deploy, quantisation, window  # noqa: E402
from equilif.training.backends.rates import order  # noqa: E402
from equilif.training.settings.presets import RATES  # noqa: E402
from equilif.training.storage.folder import CURVE, DEPLOYMENT  # noqa: E402
from equilif.training.storage.history import CHECKPOINT, HISTORY, NETWORK  # noqa: E402
from equilif_golden import network  # noqa: E402
from equilif_golden.fixed import Numerics  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network  # noqa: E402
from equilif_golden.real.rates import Rates, integer_rates  # noqa: E402
from equilif_golden.real.trainer import Trainer, TrainerSettings  # noqa: E402
from equilif_golden.reference import Reference  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402
from tests.cli import json_of, output_and_json, run  # noqa: E402


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a run of three epochs."""
    out = tmp_path_factory.mktemp("rates")
    run("train-rates", "digits", "--hidden", 24, "--epochs", 3, "--out", out, "--json", out / "printed.json")
    return out


def test_save_and_evaluate(trained):
    printed, history = (json.loads((trained / name).read_text()) for name in ("printed.json", HISTORY))
    assert printed["files"] == [NETWORK, HISTORY, CHECKPOINT, CURVE] and all(
        (trained / f).exists() for f in printed["files"]
    )
    assert printed["epochs"] == history["epochs"] and [e["epoch"] for e in history["epochs"]] == [1, 2, 3]
    assert history["epochs"][0]["learning_rate"] > history["epochs"][-1]["learning_rate"] > 0
    assert printed["accuracy"] == history["epochs"][-1]["test_accuracy"] > 0.7
    output, found = output_and_json("evaluate", trained / NETWORK)
    assert "digits: " in output and found["accuracy"] > 0.7
    assert "equilif train-rates digits" in run("init", trained, "--out", trained / "net.toml")


def test_deployment_report(trained):
    found = json_of("deploy", trained, "--steps", 4, "--steps", 32, "--samples", 40)
    assert (trained / DEPLOYMENT).exists()
    assert abs(found["float"] - found["rates"]) < 0.01 and found["settled"] == 1.0
    coarse, fine = found["spiking"]
    assert (coarse["steps"], coarse["window"], fine["steps"], fine["window"]) == (4, 2, 32, 16)
    assert fine["parted"] < coarse["parted"] and abs(fine["accuracy"] - found["rates"]) < 0.02
    for q in found["quantisation"]:
        assert 0 < q["rms"] < q["error"] <= q["step"] / 2 and q["saturated"] == 0
    assert found["gradients"]["all"]["unrolled"] > 0.999 and found["gradients"]["all"]["ep"] > 0.99


def test_attention_deployment(tmp_path):
    """Three informative tokens, one per class, among others; the picture has one panel."""
    rng = np.random.default_rng(0)
    table = rng.integers(-4096, 4097, (13, 8)).astype(np.int16)
    labels = np.arange(90) % 3
    rows = np.stack([np.where(rng.permutation(6) < 2, y, rng.integers(3, 13, 6)) for y in labels]).astype(
        np.int32
    )
    tokens = network.TokenRows(table, rows.ravel(), np.arange(0, 541, 6))
    nothing = np.zeros((90, 0), np.uint8)
    d = data.DataSet("kinds", nothing, labels, nothing, labels, tokens, tokens)
    net = Network.attention(6, 8, 2, 16, 3)
    model = Rates(net, net.initial_weights(0, scale=0.5), tolerance=1e-4)
    trainer = Trainer(model, TrainerSettings(steps=300, learning_rate=1e-2, batch=30))
    for epoch in range(100):
        trainer.epoch(d.x_train, labels, rng.permutation(90), tokens=tokens, seed=epoch)
    found = deploy(model, d, steps=(4, 64))
    assert (
        found.convergence is None and found.gradients is None and found.settled == 1.0 and found.samples == 90
    )
    assert (
        found.real > 0.9
        and abs(found.real - found.rates) < 0.03
        and abs(found.spiking[1].accuracy - found.rates) < 0.05
    )
    show_training.deployment(found, "kinds", tmp_path)
    assert (tmp_path / DEPLOYMENT).exists()
    with pytest.raises(ValueError, match="free 7"):
        deploy(model, d, steps=(7,))


def test_excluded_classes():
    d = data.load("digits")
    settings = RATES["digits"].changed(excluded_classes=[3, 9])
    assert set(d.y_train[order(settings, d, 0, 0)]) == set(range(10)) - {3, 9}


def test_validation_samples():
    d = data.load("digits")
    held = RATES["digits"].changed(validation_samples=200).load()
    assert len(held.x_train) == 1237 and len(held.x_test) == 200
    images = sorted(
        (*x, y)
        for part in ((held.x_train, held.y_train), (held.x_test, held.y_test))
        for x, y in zip(*part, strict=True)
    )
    assert images == sorted((*x, y) for x, y in zip(d.x_train, d.y_train, strict=True))
    assert "validation_samples must leave training samples, digits has 1,437: hold out fewer" in run(
        "train-rates", "digits", "--set", "rates.validation_samples=1437", code=2
    )


@pytest.mark.parametrize("checkpoint", [None, b"PK\x03\x04"])
def test_not_a_run(checkpoint, tmp_path):
    if checkpoint:
        (tmp_path / CHECKPOINT).write_bytes(checkpoint)
    output = run("deploy", tmp_path, code=2)
    assert "there is no run in" in output and len(output.strip().splitlines()) == 1


# -- average rates ---------------------------------------------------------------------------------
def small(feedback=True, leak=0):
    net = Network.chain(12, 10, 8, 4, feedback=feedback, schedule=Schedule(free=60, leak=leak))
    x = np.random.default_rng(0).integers(0, 256, (6, 12)).astype(np.uint8)
    return net, net.initial_weights(1, scale=0.3), x


@pytest.mark.parametrize("feedback", [True, False])
@pytest.mark.parametrize("leak", [0, 3])
def test_averages_equal_reference_spikes(feedback, leak):
    net, w, x = small(feedback, leak)
    raster = Reference(net, w).infer(x, record=True).raster
    spikes = np.concatenate([raster[p.name] for p in net.lif], axis=2)
    averages, drives = Kernel(net, w).averages(x, [1, 7, 60])
    for t, got in zip((1, 7, 60), averages, strict=True):
        assert (got == spikes[:t].sum(0) / t).all()
    base = Reference(net, w)._begin(x.astype(np.int64), None).base
    assert (drives == np.concatenate([base[p.name] for p in net.lif], axis=1)).all()


@pytest.mark.parametrize("feedback", [True, False])
def test_average_rates_converge(feedback):
    """Slope within 10 % of -1 without leak; with leak a floor that falls with the leak."""
    net, w, x = small(feedback)
    found = converge(net, w, np.concatenate([x, 255 - x]))
    assert -1.1 < found.slope < -0.9 and found.times == TIMES
    assert found.errors[0][-1] < 1e-3 < found.floors[5] < found.floors[4] < found.floors[3] < found.floors[2]
    for leak in found.floors:  # no further decrease
        assert found.errors[leak][-1] > 0.9 * found.errors[leak][-4]


def test_exact_rates_of_integer_network():
    """They include the rounding of products, unlike the fixed point of the float model."""
    net, w, x = small()
    averages, drives = Kernel(net, w).averages(x, [1 << 15])
    exact, found = integer_rates(net, w, drives)
    model = Rates(net, w, tolerance=1e-6)(torch.tensor(x))[0].detach().numpy()
    assert found.settled == 1.0
    assert np.abs(exact - averages[0]).max() < 2e-4 < 1e-3 < np.abs(model - averages[0]).max()


def test_window_lengths():
    assert [window(n) for n in (2, 3, 4, 6, 8, 15, 16, 24, 32, 64)] == [2, 2, 2, 2, 4, 4, 8, 8, 16, 16]


def test_quantisation_counts_clipped_weights():
    narrow = replace(Network.chain(4, 2), numerics=Numerics(weight_width=10))
    model = Rates(narrow)
    model.values[0].data[0, 0] = 1.0  # the format is limited to 511 / 4096
    found = quantisation(model)[0]
    assert (found.synapse, found.saturated, found.largest) == (
        "input-output",
        1,
        1.0,
    ) and found.error == pytest.approx(1 - 511 / 4096)
