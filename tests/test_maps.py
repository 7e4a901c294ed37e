"""Descriptions of networks with convolutions: shapes, patches, kernels, files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import DEFAULT
from equilif_golden.kernel import Kernel
from equilif_golden.network import (
    Attention,
    Constant,
    Input,
    Lif,
    Network,
    Population,
    Relay,
    Shape,
    Synapse,
    load,
    save,
)
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot

anything: Any = Population
any_network: Any = Network

MNIST = Network.conv((28, 28), (16, 3), (32, 6, 2), 10, patch=2)
X, B, F, Y = (Input.of_shape("x", (5, 4, 2)), Constant("b", 1), Lif.of_shape("f", (4, 3, 3)), Lif("y", 2))
NET = Network(
    (X, B, F, Y), (Synapse("x", "f", kernel=2), Synapse("b", "f"), Synapse("f", "y"), Synapse("b", "y")), "y"
)


def test_conv_builds_convolutions_and_chain():
    assert [(p.name, p.kind, p.shape, p.size) for p in MNIST.populations] == [
        ("input", "input", (14, 14, 4), 784),
        ("bias", "constant", None, 1),
        ("maps1", "lif", (12, 12, 16), 2304),
        ("maps2", "lif", (4, 4, 32), 512),
        ("output", "lif", None, 10),
    ]
    assert [(s.name, s.kernel, s.stride, MNIST.shape(s)) for s in MNIST.synapses] == [
        ("input-maps1", 3, 1, (36, 16)),
        ("bias-maps1", None, 1, (1, 16)),
        ("maps1-maps2", 6, 2, (576, 32)),
        ("bias-maps2", None, 1, (1, 32)),
        ("maps2-output", None, 1, (512, 10)),
        ("bias-output", None, 1, (1, 10)),
    ]


def test_conv_continues_as_chain():
    net = Network.conv((6, 8, 3), (2, 3), 7, 5, 4, learning_rate_scales=(1.0, 0.5, 0.25, 2.0), feedback=False)
    assert [(p.name, p.size) for p in net.populations] == [
        ("input", 144),
        ("bias", 1),
        ("maps1", 48),
        ("hidden1", 7),
        ("hidden2", 5),
        ("output", 4),
    ]
    assert [s.learning_rate_scale for s in net.synapses] == [1, 1, 0.5, 0.5, 0.25, 0.25, 2, 2]
    assert [s.name for s in net.feedforward] == ["maps1-hidden1", "hidden1-hidden2", "hidden2-output"]


def test_receptive_field_of_neurons():
    """Fan-in: k * k maps and a bias; feedback: at most ceil(k / stride) positions in each direction."""
    assert [MNIST.fan_in(p) for p in MNIST.lif] == [36 + 1 + 9 * 32, 576 + 1 + 10, 512 + 1]
    whole = Network.conv((7, 7), (2, 1), (3, 7), 2)  # one position with all inputs
    assert [whole.fan_in(p) for p in whole.lif] == [1 + 1 + 3, 49 * 2 + 1 + 2, 3 + 1]


@pytest.mark.parametrize(
    "kernel, stride, side", [(1, 1, 4), (2, 1, 5), (3, 2, 7), (2, 3, 8), (5, 2, 9), (5, 1, 6)]
)
def test_max_feedback_fan_in(kernel, stride, side):
    net = Network.conv((side, side), (1, 1), (3, kernel, stride), 2)
    geometry = net.geometry(net.synapses[2])
    assert geometry is not None
    receivers = np.bincount(geometry.neurons().ravel(), minlength=side * side)
    assert geometry.fan_out == receivers.max() * 3


def test_patch_becomes_maps():
    """Map (py * 2 + px) * 3 + c of (y, x) is colour c of pixel (2 y + py, 2 x + px)."""
    net = Network.conv((4, 6, 3), (2, 2), 2, patch=2)
    image = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    assert net.inputs[0].image == (4, 6, 3)
    maps = net.clamped(np.stack([image.ravel()] * 2))["input"].reshape(2, 2, 3, 12)
    for y, x, py, px, c in np.ndindex(2, 3, 2, 2, 3):
        assert (maps[:, y, x, (py * 2 + px) * 3 + c] == image[2 * y + py, 2 * x + px, c]).all()


def test_channels_first():
    """A sample is (maps, height, width), otherwise the network is that of the image."""
    net = Network.conv((4, 5, 3), (5, 2), 4, channels_first=True)
    plain = Network.conv((4, 5, 3), (5, 2), 4)
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3)).astype(np.uint8)
    swapped = images.transpose(0, 3, 1, 2).reshape(3, -1)
    targets = one_hot([0, 1, 3], 4)
    weights = net.initial_weights(1, scale=2.0)
    expected = Kernel(plain, weights).rates(images.reshape(3, -1), targets)[0]
    assert expected[:, 0].any() and (Kernel(net, weights).rates(swapped, targets)[0] == expected).all()
    reference = Reference(net, weights).train(swapped, targets, learn=False)
    assert (reference.plus["output"] == expected[:, 1, net.neurons["output"]]).all()
    assert Network.from_dict(net.to_dict()) == net != plain
    assert "channels_first" not in str(plain.to_dict())


def test_patches_of_several_inputs():
    z = Input("z", 3)
    net = replace(
        NET, populations=(z, replace(X, shape=(5, 2, 4), patch=2), B, Y), synapses=(Synapse("x", "y"),)
    )
    sample = np.arange(43)
    clamped = net.clamped(sample)
    assert clamped["z"].tolist() == [0, 1, 2]
    assert clamped["x"].tolist() == (3 + net.inputs[1].fold).tolist()
    assert sorted(clamped["x"]) == list(range(3, 43))


def test_round_trip(tmp_path):
    for net in (MNIST, NET):
        save(tmp_path / "net.npz", net, net.initial_weights())
        again, weights = load(tmp_path / "net.npz")
        assert again == net and hash(again) == hash(net)
        assert isinstance(again.populations[0].shape, Shape)
        assert [w.shape for w in weights.values()] == [net.shape(s) for s in net.synapses]


def test_files_without_maps():
    """Fields of maps are left out of files without maps."""
    written = str(Network.chain(5, 4, 3).to_dict())
    assert not any(word in written for word in ("shape", "patch", "kernel", "stride"))


def test_initial_maps_spike():
    """Fans of Glorot initialisation: 36 forward, 16 maps at up to 9 positions backward."""
    w = MNIST.initial_weights(1, bias=0.1, scale=0.5)
    limit = 0.5 * np.sqrt(6 / (36 + 9 * 16)) * 4096
    assert (w["bias-maps1"] == round(0.1 * 4096)).all()
    assert 0.95 * limit < np.abs(w["input-maps1"]).max() <= limit + 0.5


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Lif("f", 7, shape=Shape(2, 2, 2)), "2x2x2"),
        (lambda: Lif.of_shape("f", (2048, 1024, 2)), "2048x1024x2"),
        (lambda: anything("f", 8, "relay", shape=(2, 2, 2)), "shape"),
        (lambda: anything("f", 8, patch=2), "patch"),
        (lambda: Input("x", 8, patch=2), "patch"),
        (lambda: Input("x", 8, channels_first=True), "channels_first"),
        (lambda: Input.of_shape("x", (2, 2, 4), patch=2, channels_first=True), "channels_first"),
        (lambda: Input.of_shape("x", (2, 2, 6), patch=2), "2x2"),
        (lambda: Synapse("x", "f", stride=2), "x-f"),
        (lambda: Network.conv((8, 8), (16, 3)), "sizes"),
        (lambda: Network.conv((8, 8), 10, (16, 3), 10), r"\(10, \(16, 3\), 10\)"),
        (lambda: any_network.conv((8, 8), (16,), 10), r"\(16,\)"),
        (lambda: Network.conv((8, 8), (16, 9), 10), "convolution 1"),
        (lambda: Network.conv((8, 8), (4, 3), (4, 3, 2), 10), ("convolution 2")),
    ],
)
def test_invalid_parts(make, message):
    with pytest.raises(ValueError, match=message):
        make()


SHAPED = Lif.of_shape("g", (2, 1, 2))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"synapses": (Synapse("x", "f"),)}, "x-f"),
        ({"populations": (replace(X, shape=None), B, F, Y)}, "x-f"),
        ({"synapses": (Synapse("f", "y", kernel=2),)}, "f-y"),
        ({"synapses": (Synapse("y", "f"), Synapse("x", "y"))}, "y-f"),
        ({"populations": (X, replace(B, size=2), F, Y)}, "b-f"),
        ({"synapses": (Synapse("x", "f", kernel=3),)}, "x-f"),
        ({"synapses": (Synapse("x", "f", kernel=5),)}, "x-f"),
        (
            {
                "populations": (X, B, F, SHAPED, Y),
                "synapses": (*NET.synapses, Synapse("f", "g", kernel=3, stride=2)),
            },
            ("f-g"),
        ),
        (
            {
                "populations": (X, B, F, Y, Relay("q", 3), Attention("m", 4)),
                "synapses": (*NET.synapses, Synapse("m", "q"), Synapse("q", "f")),
            },
            "q-f",
        ),
    ],
)
def test_invalid_map_synapses(change, message):
    with pytest.raises(ValueError, match=message):
        replace(NET, **change)


def test_kernel_fan_in_limit():
    with pytest.raises(ValueError, match="'maps2'"):
        Network.conv((28, 28), (32, 3), (64, 6, 2), 10, patch=2, numerics=DEFAULT)


def test_engine_without_convolutions():
    with pytest.raises(ValueError, match=r"maps \(x\)"):
        Compiled(NET, EngineConfig())
