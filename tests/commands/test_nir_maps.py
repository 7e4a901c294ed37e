"""Convolutions and pooling in NIR: round trips, handwritten graphs, comparison with torch."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("nir", exc_type=ImportError)
import nir as library

from equilif import nir
from equilif.convolutions import channels_first, unrolled
from equilif_golden.kernel import Kernel
from equilif_golden.network import Input, Lif, Network, Population, Synapse
from equilif_golden.schedule import Schedule
from tests.nir_graphs import random_weights

RNG = np.random.default_rng(0)
FORWARD = Network.conv((8, 8), (3, 2), (5, 3), 4, patch=2, feedback=False)
NETWORKS = {
    "folded": FORWARD,
    "not folded": Network.conv((9, 9), (3, 3, 2), (4, 2), 6, 3, feedback=False),
    "colours": Network.conv((8, 6, 3), (4, 2), 3, patch=2, feedback=False, schedule=Schedule(leak=3)),
    "channels first": Network.conv((6, 5, 3), (4, 2), 3, channels_first=True, feedback=False),
    "symmetric channels first": Network.conv((6, 5, 3), (4, 2), 3, channels_first=True),
    "symmetric": Network.conv((12, 12), (3, 3), (4, 2, 2), 5, patch=2, schedule=Schedule(threshold=0.5)),
    "symmetric colours": Network.conv((8, 8, 3), (2, 3), 6, 3, patch=2, learning_rate_scales=(1, 0.5, 2)),
    "dense too": Network(
        (
            Input.of_shape("x", (3, 3, 8), patch=2),
            Lif.of_shape("m", (2, 2, 3)),
            Lif("h", 5),
            Lif("y", 2),
            Population("one", 1, "constant"),
        ),
        (
            Synapse("x", "m", kernel=2),
            Synapse("x", "h"),
            Synapse("m", "y", feedback=False),
            Synapse("h", "y"),
            Synapse("one", "m"),
        ),
        "y",
    ),
}


def neurons(*shape: int, **changed: Any) -> library.IF:
    values = {"r": 1.0, "v_threshold": 1.0, "v_reset": 0.0, **changed}
    return library.IF(**{k: np.broadcast_to(v, shape).copy() for k, v in values.items()})


def conv(out: int, into: int, k: int, stride: Any = 1, **changed: Any) -> library.Conv2d:
    options = {
        "input_shape": None,
        "weight": RNG.normal(size=(out, into, k, k)) / 4,
        "stride": stride,
        "padding": 0,
        "dilation": 1,
        "groups": 1,
        "bias": RNG.normal(size=out) / 4,
        **changed,
    }
    return library.Conv2d(**options)


def pool(side: int, kind: Any = library.AvgPool2d, **changed: Any) -> Any:
    options = {"kernel_size": side, "stride": side, "padding": 0, **changed}
    return kind(**{k: np.broadcast_to(np.array(v), 2) for k, v in options.items()})


FLAT = library.Flatten({"input": None})


def graph(image: tuple[int, ...], *layers: Any) -> library.NIRGraph:
    names = ["in", *(f"n{k}" for k in range(len(layers))), "out"]
    nodes = [library.Input(input_type=np.array(image)), *layers, library.Output(output_type=np.array([1]))]
    edges = list(zip(names[:-1], names[1:], strict=True))
    return library.NIRGraph(dict(zip(names, nodes, strict=True)), edges, type_check=False)


# -- round trip ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_round_trip(name, tmp_path):
    network = NETWORKS[name]
    weights = random_weights(network)
    nir.save(tmp_path / "a.nir", network, weights)
    found = nir.load(tmp_path / "a.nir")
    assert found.network == network
    assert all(np.array_equal(found.weights[n], w) for n, w in weights.items())
    assert not any(m.moved or m.clipped for m in found.moved)


def test_matrices_only_with_feedback():
    """NIR has no transposed convolutions."""
    for name, network in NETWORKS.items():
        kinds = {type(n).__name__ for n in nir.to_graph(network, random_weights(network)).nodes.values()}
        assert ("Conv2d" in kinds) == (not name.startswith("symmetric")), name


@pytest.mark.parametrize("name", ["folded", "not folded", "colours"])
def test_kernels_without_metadata(name):
    """Without metadata of equilif: the patch is the largest that fits, drives are equal."""
    network = NETWORKS[name]
    weights = random_weights(network)
    written = nir.to_graph(network, weights)
    written.metadata = {}
    found = nir.from_graph(written, schedule={"threshold": network.schedule.threshold})
    assert found.network.inputs[0].patch == network.inputs[0].patch
    assert [p.shape for p in found.network.lif] == [p.shape for p in network.lif]
    assert all(np.array_equal(found.weights[n], w) for n, w in weights.items())


def test_matrices_without_shared_weights():
    network = NETWORKS["symmetric"]
    written = nir.to_graph(network, random_weights(network))
    w = written.nodes["maps1-maps2"].weight
    w[0, np.flatnonzero(w[0])[0]] += 1 / 4096
    written.nodes["maps1-maps2-back"].weight = w.T
    with pytest.raises(ValueError, match="maps1-maps2"):
        nir.from_graph(written)


def test_damaged_map_metadata():
    written = nir.to_graph(FORWARD, random_weights(FORWARD))
    own = json.loads(written.metadata[nir.OWN])
    for name, wrong in (("shapes", {"input": [1, 2]}), ("kernels", []), ("patches", {"input": [0]})):
        written.metadata = {nir.OWN: json.dumps({**own, name: wrong})}
        with pytest.raises(ValueError, match="'equilif'"):
            nir.from_graph(written)


@pytest.mark.parametrize("patch", [3, 5, 64])
def test_patch_must_divide_image(patch):
    written = nir.to_graph(FORWARD, random_weights(FORWARD))
    own = json.loads(written.metadata[nir.OWN])
    written.metadata = {nir.OWN: json.dumps({**own, "patches": {"input": [patch]}})}
    with pytest.raises(ValueError, match=f"'input'.*{patch}x{patch}"):
        nir.from_graph(written)


# -- semantics -------------------------------------------------------------------------------------
def drives(found: nir.Imported, x: np.ndarray) -> np.ndarray:
    """Static drive of the first maps, (channels, height, width) in thresholds, from images in order."""
    network, weights = unrolled(found.network, found.weights)
    first = network.synapses[0]
    p = found.network[first.post]
    raw = x.reshape(-1) @ weights[first.name] / 256
    raw = raw + weights[f"bias-{p.name}"][0] * 255 / 256
    shaped = raw[channels_first(p)] / network.schedule.raw(network.numerics).threshold
    return shaped.reshape(p.shape.maps, p.shape.height, p.shape.width)


@pytest.mark.parametrize(
    "case",
    ["plain", "stride", "average behind", "sum before", "two convolutions", "groups", "dilation", "colours"],
)
def test_nodes_between_neurons_become_one_kernel(case):
    torch = pytest.importorskip("torch")
    colours = 2 if case in ("groups", "colours") else 1
    layers: dict[str, list[Any]] = {
        "plain": [conv(3, 1, 3)],
        "stride": [conv(3, 1, 4, (2, 2))],
        "average behind": [conv(3, 1, 5), pool(2)],
        "sum before": [pool(2, library.SumPool2d), conv(3, 1, 2)],
        "two convolutions": [conv(2, 1, 3), pool(2), conv(3, 2, 2)],
        "groups": [conv(4, 1, 3, groups=2, weight=RNG.normal(size=(4, 1, 3, 3)) / 4)],
        "dilation": [conv(3, 1, 3, dilation=2)],
        "colours": [conv(3, 2, 3)],
    }
    x = RNG.integers(0, 256, (colours, 12, 12))
    y = torch.tensor(x[None] / 256)
    for node in layers[case]:
        if isinstance(node, library.Conv2d):
            w, b = torch.tensor(node.weight), torch.tensor(node.bias)
            y = torch.nn.functional.conv2d(
                y, w, b, stride=node.stride, dilation=node.dilation, groups=node.groups
            )
        else:
            y = torch.nn.functional.avg_pool2d(y, 2) * (4 if isinstance(node, library.SumPool2d) else 1)
    c, h, w = y.shape[1:]
    rest = [FLAT, library.Linear(weight=np.ones((2, c * h * w)) / 8), neurons(2)]
    made = graph(x.shape, *layers[case], neurons(c, h, w), *rest)
    found = nir.from_graph(made, fraction=13)
    got = drives(found, x.transpose(1, 2, 0))
    # each weight is rounded to 2**-13, and so is the bias
    fan_in = found.network.shape(found.network.synapses[0])[0]
    assert np.abs(got - y[0].numpy()).max() <= (fan_in + 1) * 0.5 / 8192 + 1e-9


def test_convolution_and_average_pooling_are_merged():
    """5x5 and 2x2: 6x6 in steps of 2, folded to 3x3."""
    layers = [conv(3, 1, 5), pool(2), neurons(3, 12, 12), conv(4, 3, 5), pool(2), neurons(4, 4, 4)]
    found = nir.from_graph(
        graph((1, 28, 28), *layers, FLAT, library.Linear(weight=np.ones((10, 64)) / 8), neurons(10))
    ).network
    assert [p.shape for p in found.populations[:3]] == [(14, 14, 4), (12, 12, 3), (4, 4, 4)]
    assert [(s.kernel, s.stride) for s in found.synapses[:3]] == [(3, 1), (6, 2), (None, 1)]


def test_pooling_is_merged_into_matrix():
    """Spikes, 2x2 sum, flatten, Linear become spikes and a matrix with each weight four times."""
    w = RNG.normal(size=(2, 3 * 2 * 2)) / 4
    layers = [conv(3, 1, 3), neurons(3, 4, 4), pool(2, library.SumPool2d), FLAT, library.Linear(weight=w)]
    found = nir.from_graph(graph((1, 6, 6), *layers, neurons(2)))
    wanted = np.repeat(np.repeat(w.reshape(2, 3, 2, 2), 2, 2), 2, 3)  # (neurons, channels, 4, 4)
    rows = wanted.transpose(2, 3, 1, 0).reshape(-1, 2)
    assert np.array_equal(found.weights["n1-n5"], np.floor(rows * 4096 + 0.5))


def test_biases_pass_through_pooling():
    first = conv(3, 1, 3)
    layers = [first, pool(2, library.SumPool2d), neurons(3, 2, 2)]
    found = nir.from_graph(
        graph((1, 6, 6), *layers, FLAT, library.Linear(weight=np.ones((2, 12))), neurons(2))
    )
    wanted = np.floor(4 * first.bias * 256 / 255 * 4096 + 0.5)
    assert np.array_equal(found.weights["bias-n2"][0], wanted)


def test_flatten_order_of_colours():
    w = RNG.normal(size=(2, 12))
    found = nir.from_graph(graph((3, 2, 2), FLAT, library.Linear(weight=w), neurons(2)))
    wanted = w.reshape(2, 3, 2, 2).transpose(2, 3, 1, 0).reshape(12, 2)
    assert np.array_equal(found.weights["in-n2"], np.floor(wanted * 4096 + 0.5))


def test_matrix_export_spikes_alike():
    """An exported file with a symmetric convolution, run without maps."""
    network = NETWORKS["symmetric colours"]
    weights = {n: w >> 4 for n, w in random_weights(network).items()}
    written = nir.to_graph(network, weights)
    own = json.loads(written.metadata[nir.OWN])
    written.metadata = {nir.OWN: json.dumps({k: v for k, v in own.items() if k not in ("shapes", "kernels")})}
    found = nir.from_graph(written)
    assert not found.network.maps and not found.network.feedforward
    x = RNG.integers(0, 256, (5, network.n_inputs), dtype=np.uint8)
    flat, matrices = unrolled(network, weights)
    same = Kernel(flat, matrices).rates(x)
    for a, b in zip(
        Kernel(replace(found.network, numerics=flat.numerics), found.weights).rates(x), same, strict=True
    ):
        assert np.array_equal(a, b)
    assert same[1].sum() > 0


@pytest.mark.parametrize("name", ["folded", "colours", "symmetric"])
def test_snntorch_runs_exported_maps(name):
    """As Conv2d and as matrices: all spikes are equal with the list equilif.nir.OPEN applied."""
    interchange = pytest.importorskip("tests.snntorch_networks", exc_type=ImportError)

    network = NETWORKS[name]
    weights = network.initial_weights(1, bias=0.3, scale=1.0)
    x = RNG.integers(0, 256, (8, network.n_inputs), dtype=np.uint8)
    equal = interchange.compare(network, weights, x, interchange.LEAK)
    assert equal.spikes > 500 and equal.differ == 0 and equal.same == 8


# -- errors ----------------------------------------------------------------------------------------
FLATTENED = library.Flatten({"input": np.array([3, 4, 4])}, start_dim=0)
END = (FLATTENED, library.Linear(weight=np.ones((2, 3 * 4 * 4))), neurons(2))


@pytest.mark.parametrize(
    "layers, message",
    [
        ([conv(3, 1, 3, padding=1), neurons(3, 6, 6)], r"'n0'.*padding \(1, 1\)"),
        ([conv(3, 1, 3, padding="same"), neurons(3, 6, 6)], "'n0'.*padding 'same'"),
        ([conv(3, 1, 3, (1, 2)), neurons(3, 4, 4)], "'n0'.*stride"),
        ([conv(3, 1, 3, weight=np.ones((3, 1, 3, 2))), neurons(3, 4, 4)], r"'n0'.*\(3, 1, 3, 2\)"),
        ([conv(3, 2, 3), neurons(3, 4, 4)], "'n0'.*2 channels.*3x3"),
        ([conv(3, 1, 7), neurons(3, 1, 1)], "'n0'.*7x7.*1 channels.*6x6"),
        ([conv(3, 1, 3, 2), neurons(3, 2, 2)], "'n0'.*3x3.*2.*6x6"),
        ([conv(3, 1, 2), pool(2), neurons(3, 2, 2)], "'n1'.*3x3"),
        ([conv(3, 1, 3, groups=2), neurons(3, 4, 4)], "'n0'.*3 channels"),
        (
            [conv(3, 1, 3), neurons(3, 4, 4, v_threshold=RNG.uniform(1, 2, (3, 4, 4)))],
            "'n1'.*v_threshold",
        ),
        (
            [library.Linear(weight=np.ones((36, 36))), neurons(36), conv(3, 1, 3), neurons(3, 4, 4)],
            "'n2'",
        ),
        ([pool(2, kernel_size=1.5), neurons(1, 3, 3)], "'n0'.*kernel_size"),
    ],
)
def test_unsupported_kernels(layers, message):
    with pytest.raises(ValueError, match=message) as e:
        nir.from_graph(graph((1, 6, 6), *layers, *END))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "image, layers",
    [
        ((1, 100_000, 100_000), [pool(50_000), FLAT, library.Linear(weight=np.ones((2, 4))), neurons(2)]),
        ((1, 99_999, 99_999), [conv(1, 1, 3, dilation=49_999), neurons(1, 1, 1)]),
        ((1, 20_000, 20_000), [pool(141), pool(141), neurons(1, 1, 1)]),
        ((1, 30_000, 30_000), [conv(1, 1, 2), neurons(1, 1, 1)]),
    ],
)
def test_claimed_sizes_allocate_nothing(image, layers):
    message = r"'(n\d|in)'.*[\d,]+ (numbers|neurons)"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            nir.from_graph(graph(image, *layers))
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_branching_graphs_terminate():
    made = graph(
        (1, 40, 40),
        conv(1, 1, 1),
        neurons(1, 40, 40),
        FLAT,
        library.Linear(weight=np.ones((2, 1600))),
        neurons(2),
    )
    names = ["n0"]
    for k in range(20):
        for side in "ab":
            made.nodes[f"{side}{k}"] = conv(1, 1, 1)
            made.edges += [(name, f"{side}{k}") for name in names]
        names = [f"a{k}", f"b{k}"]
    made.edges += [(name, "n1") for name in names]
    with pytest.raises(ValueError, match="100,000 nodes"):
        nir.from_graph(made)


def test_matrix_to_maps_is_refused():
    made = graph((1, 6, 6), conv(3, 1, 3), neurons(3, 4, 4), *END)
    made.nodes["back"] = library.Linear(weight=np.ones((48, 2)))
    made.edges += [("n4", "back"), ("back", "n1")]
    with pytest.raises(ValueError, match="'back'.*'n4'.*'n1'"):
        nir.from_graph(made)


def test_network_too_large_for_matrices():
    network = Network.conv((64, 64), (16, 3), (16, 6, 2), 10, patch=2)
    with pytest.raises(ValueError, match=r"[\d,]+ weights.*33,554,432"):
        nir.to_graph(network, network.initial_weights())
