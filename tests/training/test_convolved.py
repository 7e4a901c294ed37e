"""Convolutional networks at the command line: shapes, errors."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from equilif import make_data
from equilif.data import own
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.backends import phases
from equilif.training.resolve import Request, resolve
from equilif.training.run import Run
from equilif.training.settings import convolved, netfile
from equilif.training.settings.convolved import ConvSpec
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import HISTORY, NETWORK, read_history
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from tests.cli import error_of, json_of, run
from tests.data_files import nmnist, npz, shd


@pytest.mark.parametrize(
    "image, options, patch, layers",
    [
        ((28, 28), ["16", "32"], 2, [(16, 3, 1), (32, 6, 2)]),
        ((28, 28, 1), ["16"], 2, [(16, 6, 2)]),
        ((32, 32, 3), ["8", "16", "32"], 2, [(8, 3, 1), (16, 6, 2), (32, 3, 1)]),
        ((8, 8), ["16", "32"], 1, [(16, 3, 1), (32, 3, 1)]),
        ((17, 30), ["4", "4"], 1, [(4, 3, 1), (4, 3, 1)]),
        ((28, 28), ["16:5", "32:4:2"], 2, [(16, 5, 1), (32, 4, 2)]),
    ],
)
def test_default_kernels(image, options, patch, layers):
    assert convolved.layers(image, [ConvSpec.of(text) for text in options]) == (patch, layers)


@pytest.mark.parametrize(
    "shape, taken",
    [((1, 8, 8), False), ((3, 8, 8), False), ((8, 8, 3), True), ((3, 8, 4), True), ((3, 4, 4), True)],
)
def test_colours_come_last(shape, taken):
    """Images of torch have them first, and would be convolved across rows and colours."""
    x = np.random.default_rng(0).integers(0, 256, (12, *shape))
    data = make_data(x, np.arange(12) % 2)
    with contextlib.nullcontext() if taken else pytest.raises(ValueError, match="colours"):
        convolved.network(data, [ConvSpec(4)])


@pytest.mark.parametrize("text", ["", "a", "16x3", "16:", "16:3:2:1", "-1", "16.5", "²"])
def test_invalid_convolution(text):
    with pytest.raises(ValueError, match="conv:MAPS"):
        ConvSpec.of(text)


def test_learning_rate_scale_of_output():
    """The scale keeps changes of the drive equal."""
    few, many = (
        convolved.preset(images.digits(), [ConvSpec(8), ConvSpec(maps)]).network(images.digits())
        for maps in (32, 256)
    )
    rates = [{s.post: s.learning_rate_scale for s in network.synapses}["output"] for network in (few, many)]
    assert rates == [1.0, round(512 / 4096, 3)]


def test_recipe_of_single_convolution():
    x = np.zeros((10, 28 * 28), np.uint8)
    data = DataSet("fashion", x, np.arange(10), x, np.arange(10), shape=(28, 28))
    single = convolved.preset(data, [ConvSpec(64, 3, 1)])
    assert single.schedule == Schedule(free=8, nudged=6, window=4)
    assert [s.learning_rate_scale for s in single.network(data).synapses] == [0.8, 0.8, 0.2, 0.2]


@pytest.mark.parametrize("name", ["mnist", "fashion", "digits", "things"])
def test_several_layers_learn_from_errors(name):
    """One convolution by nudged phases."""
    x = np.zeros((10, 28 * 28), np.uint8)
    data = DataSet(name, x, np.arange(10), x, np.arange(10), shape=(28, 28))
    assert not convolved.preset(data, [ConvSpec(16)]).schedule.errors
    for more, gain in (
        (convolved.preset(data, [ConvSpec(16), ConvSpec(32)]), 4 if name == "fashion" else 1),
        (convolved.preset(data, [ConvSpec(128, 4, 2)], [64]), 1),
    ):
        expected = Schedule(free=8, window=8, contrast="errors", error_gain=gain)
        assert more.schedule == expected and not more.feedback


def test_colours_become_maps():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, 6 * 5 * 3)).astype(np.uint8)
    data = DataSet("things", x, np.arange(12) % 3, x, np.arange(12) % 3, shape=(6, 5, 3))
    network = convolved.preset(data, [ConvSpec(4, 2), ConvSpec(3, 2)], [7]).network(data)
    assert [p.shape or p.size for p in network.populations] == [(6, 5, 3), 1, (5, 4, 4), (4, 3, 3), 7, 3]


def test_convolution_run(tmp_path):
    """Save, show, evaluate, export as a network file."""
    out = tmp_path / "run"
    output = run("train", "digits", "--hidden", "conv:6", "--hidden", "conv:8", "--epochs", "4", "--out", out)
    assert "digits 8x8x1-6x6x6-4x4x8-10" in output
    network, weights = networks.load(out / NETWORK)
    assert [p.shape for p in network.maps] == [(8, 8, 1), (6, 6, 6), (4, 4, 8)]
    again = Run.start(read_history(out / HISTORY).preset, images.digits(), 0)
    for _ in range(4):
        again.epoch()
    assert all((again.weights[name] == w).all() for name, w in weights.items())
    assert again.history[-1].test_accuracy > 0.6
    shown = json_of("show", out)
    assert [s["kernel"] for s in shown["synapses"]] == [3, None, 3, None, None, None]
    assert shown["weights"] == 9 * 6 + 6 + 9 * 6 * 8 + 8 + 128 * 10 + 10
    run("init", out, "--out", tmp_path / "net.toml")
    assert netfile.read(tmp_path / "net.toml").network(images.digits()) == network
    assert f"{again.history[-1].test_accuracy:.2%}" in run("evaluate", out / NETWORK)


@pytest.mark.parametrize("words", [("conv:6", "conv:8"), ("conv:6:2", "7"), ("7",), ("9", "7")])
def test_init_writes_the_network_that_train_trains(words, tmp_path):
    net = tmp_path / "net.toml"
    options = [option for word in words for option in ("--hidden", word)]
    run("init", "digits", *options, "--out", net)
    trained, written = (
        resolve(Request(data="digits", hidden=words)),
        resolve(Request(data="digits", config=net)),
    )
    assert written.description == trained.description


def test_init_refuses_what_train_refuses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in ("conv:8:9", "conv:x", "x", "0"):
        refused = [error_of(command, "digits", "--hidden", word) for command in ("init", "train")]
        assert refused[0] == refused[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("sst2", "--hidden", "conv:8"), "conv: is for images"),
        (("digits", "--hidden", "conv:8:9"), "1..8, not 9"),
        (("digits", "--hidden", "conv:8:3:2"), "edge of 8x8"),
        (("digits", "--hidden", "conv:8", "--config", "net.toml"), "config"),
        (("--resume", "--hidden", "conv:8"), "leave out --hidden"),
    ],
)
def test_refused_options(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.toml").write_text(netfile.written(PRESETS["digits"]))
    assert message in error_of("train", *arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["net.toml"]


def test_example_network_equals_conv():
    """For images of the size of MNIST."""
    x = np.zeros((2, 784), np.uint8)
    data = DataSet("other", x, np.arange(2), x, np.arange(2), shape=(28, 28))
    made = convolved.preset(data, [ConvSpec(16), ConvSpec(32)]).network(data)
    assert made.populations == Network.conv((28, 28), (16, 3), (32, 6, 2), 2, patch=2).populations


def test_horizontal_flip():
    """The requested fraction of training images, redrawn each epoch; test images are unchanged."""
    data = images.digits()
    preset = convolved.preset(data, [ConvSpec(4)]).changed(horizontal_flip=0.5, random_shift=0.0)
    first, second = (phases.samples(data, preset, 0, epoch).x for epoch in range(2))
    turned = data.x_train.reshape(-1, 8, 8)[:, :, ::-1].reshape(first.shape)
    moved = (first != data.x_train).any(1)
    assert 0.4 < moved.mean() < 0.6 and (first[moved] == turned[moved]).all()
    assert (first != second).any()
    assert "horizontal_flip" in error_of("train", "vowels", "--set", "learning.horizontal_flip=0.5")


def test_events_are_images(tmp_path, monkeypatch):
    """Convolutions take recordings with rows and columns; the order of the values stays that of chains."""
    monkeypatch.chdir(tmp_path)
    seen = own.load(Path(nmnist()))
    assert seen.about.shape == (3, 2, 11, 11) and seen.image == (11, 11, 6) and seen.channels_first
    assert own.load(Path(shd())).image is None
    line = "train seen --hidden conv:4 --epochs 1 --out a --set learning.random_shift=0.3"
    out = run(*line.split())
    assert "seen 11x11x6-4x4x4-3" in out
    network, weights = networks.load("a/network.npz")
    swapped = seen.x_test.reshape(-1, 6, 121).swapaxes(1, 2).reshape(len(seen.x_test), -1)
    plain = Network.conv((11, 11, 6), (4, 5, 2), 3, schedule=network.schedule)
    predictions = Kernel(plain, weights).predict(swapped)
    assert predictions.tolist() == Kernel(network, weights).predict(seen.x_test).tolist()
    assert f"{(predictions == seen.y_test).mean():.2%}" in run("evaluate", "a/network.npz")
    run("init", "a", "--out", "a.toml")
    Path("b.toml").write_text(Path("a.toml").read_text().replace("channels_first = true\n", ""))
    assert "channels_first" in error_of("train", "seen", "--config", "b.toml", "--out", "b")
    assert "conv:" in error_of("train", "heard", "--hidden", "conv:4", "--out", "b")


def test_arrays_of_event_counts_are_images(tmp_path, monkeypatch):
    """x (samples, height, width, polarities)"""
    monkeypatch.chdir(tmp_path)
    counts = np.random.default_rng(0).integers(0, 9, (60, 6, 5, 2))
    counts[np.arange(60), np.arange(60) % 3] += 9
    data = own.load(Path(npz(x=counts, y=np.arange(60) % 3)))
    assert data.image == (6, 5, 2) and not data.channels_first
    assert "6x5x2" in run("train", "t.npz", "--hidden", "conv:4", "--epochs", 1, "--out", "a")
