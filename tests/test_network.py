"""Network descriptions: validation, files."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from equilif_golden.fixed import DEFAULT, Numerics
from equilif_golden.learning import learning_steps
from equilif_golden.network import (
    KINDS,
    Attention,
    Constant,
    Input,
    Lif,
    Network,
    Population,
    Relay,
    Synapse,
    Tokens,
    TransformerSizes,
    load,
    save,
)
from equilif_golden.schedule import Schedule
from tests.networks import GRAPH, SCHEDULES

#: untyped, to test invalid arguments
anything: Any = Population

X, B, H, Y = (
    Population("x", 3, "input"),
    Population("b", 1, "constant"),
    Population("h", 4),
    Population("y", 2),
)
NET = Network(
    (X, B, H, Y), (Synapse("x", "h"), Synapse("b", "h"), Synapse("h", "y"), Synapse("x", "y", 0.5)), "y"
)
M, Q = Attention("m", 5), Relay("q", 6, heads=2)
MEMORY = Network(
    (X, B, Y, M, Q), (Synapse("x", "y"), Synapse("m", "q"), Synapse("b", "q"), Synapse("q", "y")), "y"
)
LOADED = replace(MEMORY, populations=(X, B, Y, replace(M, dynamic_patterns=True), Q))


def attention_network(*populations, synapses=MEMORY.synapses, **change):
    return replace(MEMORY, populations=(X, B, Y, *populations), synapses=synapses, **change)


SHORT = Schedule(free=8, nudged=8, window=8)
#: networks and parts that are refused, and the place of the error or a word of it
INVALID = [
    (lambda: Lif("a-b", 1), ("population", "a-b")),
    (lambda: Lif("", 1), "letters"),
    (lambda: Lif.of_shape("h", (0, 1, 1)), ("population", "h", "shape")),
    (lambda: Population("h", 1, "dense"), ("population", "h", "kind")),
    (lambda: anything("h", 6, heads=2), ("population", "h", "heads")),
    (lambda: Relay("q", 5, heads=2), ("population", "q", "heads")),
    (lambda: Synapse("h", "y", stride=2), ("synapse", "h", "y", "stride")),
    (lambda: Schedule(beta=1e-5).raw(), ("beta",)),
    (lambda: Schedule(beta=2, threshold=2.0, window=4).raw(Numerics(fraction=13)), "beta"),
    (lambda: replace(NET, populations=(X, B, H, Y, Population("h", 1))), "names"),
    (lambda: replace(NET, populations=(B, H, Y), synapses=(Synapse("h", "y"),)), "input"),
    (lambda: replace(NET, populations=(replace(X, size=2000), B, H, Y)), ("population", "h")),
    (lambda: replace(NET, synapses=(Synapse("h", "y"), Synapse("h", "y"))), "h-y"),
    (lambda: replace(NET, synapses=(Synapse("x", "h", feedback=False),)), "feedback"),
    (lambda: replace(NET, synapses=(Synapse("h", "h"),)), ("synapse", "h", "h")),
    (lambda: replace(NET, synapses=(Synapse("x", "z"),)), ("synapse", "x", "z", "post")),
    (lambda: replace(NET, synapses=()), "synapse"),
    (lambda: replace(NET, output="x"), ("output",)),
    (lambda: replace(NET, schedule=Schedule(threshold=0.3)), ("phases", "threshold")),
    (
        lambda: replace(NET, numerics=Numerics(charge_width=16), schedule=SHORT),
        "16-bit",
    ),
    (lambda: replace(MEMORY, schedule=Schedule(nudged=6)), ("phases", "nudged")),
    (lambda: attention_network(replace(M, sharpness=6), Q), ("population", "m", "sharpness")),
    (lambda: attention_network(M, Q, synapses=(MEMORY.synapses[0], *MEMORY.synapses[2:])), "'m'"),
    (lambda: attention_network(Q, synapses=(Synapse("x", "y"), Synapse("q", "y"))), "'q'"),
    (
        lambda: attention_network(M, Q, replace(Q, name="r"), synapses=(*MEMORY.synapses, Synapse("m", "r"))),
        "'m'",
    ),
    (
        lambda: attention_network(M, Q, replace(M, name="n"), synapses=(*MEMORY.synapses, Synapse("n", "q"))),
        "'q'",
    ),
    (lambda: attention_network(M, replace(Q, size=2046), synapses=MEMORY.synapses[:3]), "'m'"),
    (
        lambda: attention_network(
            replace(M, sharpness=2), replace(Q, gain=2), numerics=Numerics(fraction=10)
        ),
        "'q'",
    ),
    (lambda: Network.conv((5, 5), (3, 9), 2), ("convolution", 1, "kernel")),
    (lambda: Network.attention(5, 4, 2), "output"),
    (lambda: Network.chain(3), "output"),
    (lambda: Network.chain(3, 4, 2, learning_rate_scales=(1.0,)), "layers"),
    (lambda: Tokens.of([np.zeros((3, 2), int), np.zeros((4, 2), int)], 3), "width"),
    (lambda: LOADED.check_tokens(None, 1), "tokens"),
    (lambda: MEMORY.check_tokens(Tokens.of([np.zeros((5, 3), int)], 5), 1), "tokens"),
    (lambda: LOADED.check_tokens(Tokens.of([np.zeros((5, 3), int)] * 2, 5), 1), r"\(2, 5\)"),
    (lambda: LOADED.check_tokens(Tokens.of([np.full((5, 3), 32768)], 5), 1), "patterns"),
]


@pytest.mark.parametrize("make, place", INVALID)
def test_invalid_networks(make, place):
    with pytest.raises(ValueError, match=place if isinstance(place, str) else None) as e:
        make()
    assert isinstance(place, str) or e.value.place == place


def test_one_dynamic_attention():
    second = (replace(M, name="n", dynamic_patterns=True), replace(Q, name="r"))
    with pytest.raises(ValueError, match="dynamic"):
        replace(
            LOADED, populations=LOADED.populations + second, synapses=(*LOADED.synapses, Synapse("n", "r"))
        )


#: those that need no shape
FLAT = [kind for kind in KINDS if kind != "self_attention"]


@pytest.mark.parametrize("pre", FLAT)
@pytest.mark.parametrize("post", FLAT)
def test_valid_synapses(pre, post):
    """Seven pairs of kinds; the error suggests the reverse direction where it is valid."""
    pairs = {
        ("input", "lif"),
        ("constant", "lif"),
        ("lif", "lif"),
        ("input", "relay"),
        ("constant", "relay"),
        ("relay", "lif"),
        ("attention", "relay"),
    }
    one = {p.kind: p for p in (X, B, H, Q, M)}[pre]
    other = (
        replace(X, name="x2"),
        replace(B, name="b2"),
        Y,
        replace(Q, name="q2") if pre == "relay" else Q,
        replace(M, name="m2"),
    )
    two = {p.kind: p for p in other}[post]
    populations = {p.name: p for p in (X, B, H, Y, M, Q, one, two)}
    synapses = {s.name: s for s in (Synapse("x", "y"), Synapse("m", "q"), Synapse(one.name, two.name))}
    if (pre, post) in pairs:
        Network(tuple(populations.values()), tuple(synapses.values()), "y")
    else:
        hint = f"; use {two.name}-{one.name}" if (post, pre) in pairs else ""
        with pytest.raises(ValueError, match=f"{one.name}-{two.name}: {pre}.*{post}.*possible{hint}$"):
            Network(tuple(populations.values()), tuple(synapses.values()), "y")


def test_errors_need_no_nudge():
    """``nudged`` and ``beta``, which errors do not use, may have any value, and cannot be set for one run."""
    schedule = Schedule(free=8, window=8, nudged=1, beta=1e-5, contrast="errors")
    raw = schedule.raw()
    assert (raw.nudged, raw.strength, schedule.training_steps) == (0, 0, 8)
    assert Schedule(free=12, nudged=5).training_steps == 22
    for name in ("nudged", "beta"):
        with pytest.raises(ValueError, match=name):
            schedule.check_options([name])
        Schedule().check_options([name])
    for name, other in (("error_gain", schedule), ("min_windows", Schedule(early_exit=8))):
        with pytest.raises(ValueError, match=name):
            Schedule().check_options([name])
        other.check_options([name])


def test_error_gain_needs_equal_paths():
    """Errors of a population have one unit, which learning rates are divided by."""
    schedule = Schedule(contrast="errors", error_gain=4)
    net = Network.chain(6, 5, 4, 3, feedback=False, schedule=schedule)
    assert [net.error_scale(p.name) for p in net.lif] == [16, 4, 1]
    assert Network.from_dict(net.to_dict()) == net
    plain = replace(net, schedule=Schedule(contrast="errors"))
    assert "error_gain" not in plain.to_dict()["schedule"]
    ratios = [learning_steps(n, 0.0625)["input-hidden1"].rate(n.numerics.fraction) for n in (plain, net)]
    assert ratios[0] == 16 * ratios[1]
    skip = (*net.synapses, Synapse("hidden1", "output", feedback=False))
    with pytest.raises(ValueError, match="'hidden1'"):
        replace(net, synapses=skip)
    assert replace(plain, synapses=skip).trainable
    with pytest.raises(ValueError, match="error_gain"):
        Schedule(error_gain=3)


def test_token_padding():
    tokens = Tokens.of([[[1, 2]], np.zeros((0, 2), int), [[3, 4], [5, 6]]], 2)
    assert tokens.patterns.tolist() == [[[1, 2], [0, 0]], [[0, 0], [0, 0]], [[3, 4], [5, 6]]]
    assert tokens.present.tolist() == [[True, False], [False, False], [True, True]]
    assert (
        LOADED.check_tokens(Tokens.of([np.zeros((1, 3), int)], 5), 1) is None
        and MEMORY.check_tokens(None, 1) is None
    )


def test_attention_in_network():
    """Heads share patterns of the width of one head; dynamic patterns are not weights."""
    assert [(m.attention.name, m.relay.name, m.synapse.name) for m in MEMORY.attention_layers] == [
        ("m", "q", "m-q")
    ]
    assert MEMORY.shape(MEMORY.attention_layers[0].synapse) == (5, 3) and MEMORY.dynamic_attention is None
    assert MEMORY.n_weights == LOADED.n_weights + 15 == 6 + 15 + 6 + 12
    assert LOADED.dynamic_attention == LOADED.attention_layers[0] and [s.name for s in LOADED.plastic] == [
        "x-y",
        "b-q",
        "q-y",
    ]
    w = MEMORY.initial_weights()
    assert not w["m-q"].any() and 0.1 * 4096 < w["b-q"].std() < 0.6 * 4096, "empty memory, queries apart"


def test_attention_network():
    net = Network.attention(9, 4, 2, 6, 3, gain=2, sharpness=4, query_learning_rate_scale=0.5)
    assert [(p.name, p.size, p.kind) for p in net.populations] == [
        ("bias", 1, "constant"),
        ("memory", 9, "attention"),
        ("query", 8, "relay"),
        ("hidden1", 6, "lif"),
        ("output", 3, "lif"),
    ]
    assert [(s.name, s.learning_rate_scale) for s in net.synapses] == [
        ("memory-query", 0.0),
        ("bias-query", 0.5),
        *((name, 1.0) for name in ("query-hidden1", "bias-hidden1", "hidden1-output", "bias-output")),
    ]
    assert (
        net["query"].heads,
        net["query"].gain,
        net["memory"].sharpness,
        net["memory"].dynamic_patterns,
        net.n_inputs,
    ) == (2, 2, 4, True, 0)


def test_accumulator_width_of_network():
    """Networks that fit keep the default formats; given formats are kept or rejected."""
    assert Network.chain(1011, 4, 10).numerics == Network.chain(4, 1021, 2).numerics == DEFAULT
    for sizes, fan_in in (
        ((1018, 4, 2), 1021),
        ((1020, 4, 2), 1023),
        ((3072, 64, 10), 3083),
        ((65_533, 2), 65_534),
    ):
        n = Network.chain(*sizes).numerics
        assert n.max_fan_in >= fan_in and (n == DEFAULT) == (fan_in <= DEFAULT.max_fan_in)
        narrower = replace(n, accumulator_width=n.accumulator_width - 1)
        assert n == DEFAULT or narrower.max_fan_in < fan_in
    with pytest.raises(ValueError, match="32-bit"):
        Network.chain(65_534, 2)
    with pytest.raises(ValueError, match="26-bit"):
        Network.chain(1020, 4, 2, numerics=DEFAULT)


def test_chain():
    net = Network.chain(5, 4, 3, 2, learning_rate_scales=(1.0, 0.5, 0.25))
    names = "input-hidden1 bias-hidden1 hidden1-hidden2 bias-hidden2 hidden2-output bias-output"
    assert [s.name for s in net.synapses] == names.split()
    assert [s.learning_rate_scale for s in net.synapses] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert (net.n_inputs, net.n_outputs, net.n_weights) == (5, 2, 5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2)


def test_initial_network_spikes():
    """Biases are exact; weights fill the range of half a Glorot limit."""
    w = Network.chain(64, 64, 10).initial_weights(3)
    limit = 0.5 * np.sqrt(6 / 128) * 4096
    assert (w["bias-hidden1"] == round(0.2 * 4096)).all()
    assert 0.95 * limit < np.abs(w["input-hidden1"]).max() <= limit + 0.5


@pytest.mark.parametrize(
    "net",
    [
        *(replace(NET, schedule=schedule) for schedule in SCHEDULES),
        replace(
            NET, schedule=Schedule(free=30, beta=0.25, leak=3), numerics=Numerics(fraction=8, weight_width=10)
        ),
        MEMORY,
        LOADED,
        Network.chain(3, 4, 2, feedback=False),
        Network.transformer(TransformerSizes(4, 3, 6, 1, 2, heads=3)),
    ],
)
def test_round_trip(net, tmp_path):
    w = net.initial_weights(1)
    save(tmp_path / "net.npz", net, w)
    again, weights = load(tmp_path / "net.npz")
    assert again == net and list(weights) == list(w) and all((weights[n] == w[n]).all() for n in w)
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


@pytest.mark.parametrize(
    "made, same",
    [
        (Population("x", 3, "input"), Input("x", 3)),
        (Population("x", 3, kind="constant"), Constant("x", 3)),
        (Population("x", 3), Lif("x", 3)),
        (anything("x", 6, "relay", heads=2, gain=1), Relay("x", 6, heads=2, gain=1)),
        (anything("x", 6, "attention", dynamic_patterns=True), Attention("x", 6, dynamic_patterns=True)),
    ],
    ids=str,
)
def test_population_classes(made, same):
    assert made == same and type(made) is type(same) is KINDS[made.kind] and hash(made) == hash(same)
    for again in (copy.deepcopy(made), pickle.loads(pickle.dumps(made)), replace(made)):
        assert again == made and type(again) is type(made)
    assert made != replace(made, size=12)
    assert made.clamped == (made.kind in ("input", "constant"))


def test_failed_save_keeps_old_file(tmp_path, monkeypatch):
    path, w = tmp_path / "net.npz", NET.initial_weights(1)
    save(path, NET, w)

    def full_disk(file, **_):
        file.write(b"PK half a file")
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save(path, NET, NET.initial_weights(2))
    assert (load(path)[1]["x-h"] == w["x-h"]).all()


def test_bad_weights_are_not_saved(tmp_path):
    with pytest.raises(ValueError, match="weights"):
        save(tmp_path / "net.npz", NET, {n: w + 2**16 for n, w in NET.initial_weights().items()})
    assert not (tmp_path / "net.npz").exists()


def test_path_kinds(tmp_path):
    w = NET.initial_weights(1)
    (tmp_path / "link.npz").symlink_to("net.npz")
    for path in (str(tmp_path / "deep" / "net.npz"), tmp_path / "link.npz"):
        save(path, NET, w)
        again, weights = load(path)
        assert again == NET and all((weights[n] == w[n]).all() for n in w)
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "net.npz").exists()


def parts(**change):
    """Arrays of a saved network, some replaced or removed (None)."""
    w = NET.initial_weights()
    arrays = {"network": np.array(json.dumps(NET.to_dict()))}
    arrays |= {f"weights/{n}": a.astype(np.int16) for n, a in w.items()}
    return {n: a for n, a in (arrays | change).items() if a is not None}


def described(**change):
    return np.array(json.dumps(NET.to_dict() | change))


X_H = NET.initial_weights()["x-h"]
DAMAGED = {
    "a text": b"hello, world\n" * 9,
    "no network": parts(network=None),
    "one array too few": parts(**{"weights/x-h": None}),
    "one array too many": parts(extra=np.zeros(3)),
    "real weights": parts(**{"weights/x-h": X_H / 4096}),
    "weights that wrap": parts(**{"weights/x-h": np.full(X_H.shape, 2**64 - 7, np.uint64)}),
    "turned weights": parts(**{"weights/x-h": X_H.T}),
    "a network that is a number": parts(network=np.array(3)),
    "several networks": parts(network=np.array(["{}"] * 2)),
    "a network that is no JSON": parts(network=np.array("{")),
    "a network that is a list": parts(network=np.array("[]")),
    "a network without populations": parts(network=np.array("{}")),
    "a deep network": parts(network=np.array("[" * 5000)),
    "populations that are no list": parts(network=described(populations=5)),
    "populations that are no records": parts(network=described(populations=[5])),
    "a size that is no integer": parts(
        network=described(populations=[{"name": "x", "size": 64.0, "kind": "input"}])
    ),
    "a threshold without end": parts(
        network=np.array(json.dumps(NET.to_dict()).replace('"threshold": 1.0', '"threshold": 1e999'))
    ),
    "an unknown field": parts(network=described(numerics={"width": 3})),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_files(kind, tmp_path):
    path = tmp_path / "net.npz"
    if isinstance(DAMAGED[kind], bytes):
        path.write_bytes(DAMAGED[kind])
    else:
        np.savez(path, **DAMAGED[kind])
    with pytest.raises(ValueError, match=r"net\.npz") as e:
        load(path)
    assert "\n" not in str(e.value) and "pickle" not in str(e.value)


def test_decompression_limit(tmp_path):
    """200 MB of zeros, compressed to 200 kB."""
    big = np.zeros(100_000_000, np.int16)
    for name, change in (
        ("extra", {"extra": big}),
        ("weights", {"weights/x-h": big}),
        ("text", {"network": big}),
    ):
        path = tmp_path / f"{name}.npz"
        np.savez_compressed(path, **parts(**change))
        assert path.stat().st_size < 1_000_000
        tracemalloc.start()
        with pytest.raises(ValueError, match=f"{name}.npz"):
            load(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10_000_000, name


def test_clamped_populations():
    network = GRAPH
    places = network.neurons
    assert list(places) == [p.name for p in network.lif] == ["out", "h1", "h2"]
    neurons = np.arange(15)
    assert [neurons[places[p.name]].tolist() for p in network.lif] == [
        list(range(4)),
        list(range(4, 10)),
        list(range(10, 15)),
    ]
    x = np.arange(24, dtype=np.uint8).reshape(2, 12)
    clamped = network.clamped(x)
    assert {n: a.tolist() for n, a in clamped.items()} == {
        "x": x[:, :7].tolist(),
        "b": [[255], [255]],
        "z": x[:, 7:].tolist(),
    }
    assert {n: a.shape for n, a in network.clamped(x[0]).items()} == {"x": (7,), "b": (1,), "z": (5,)}


def test_unknown_population():
    with pytest.raises(KeyError, match="x, b, h, y"):
        NET["q"]
