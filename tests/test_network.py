"""Network descriptions: errors name the thing, files round trip and are never half written."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from golden.fixed import Numerics
from golden.network import Network, Population, Synapse, load, save
from golden.schedule import Schedule

X, B, H, Y = Population("x", 3, "input"), Population("b", 1, "constant"), Population("h", 4), Population("y", 2)
NET = Network((X, B, H, Y), (Synapse("x", "h"), Synapse("b", "h"), Synapse("h", "y"), Synapse("x", "y", 0.5)), "y")


@pytest.mark.parametrize("change, message", [
    ({"populations": (X, B, H, Y, Population("h", 1))}, "names must differ.*'h'"),
    ({"synapses": (Synapse("x", "z"),)}, "synapse x-z: there is no population 'z'; there are x, b, h, y"),
    ({"synapses": (Synapse("h", "x"),)}, "synapse h-x: lif to input is not possible; turn it round: x-h"),
    ({"synapses": (Synapse("h", "h"),)}, "synapse h-h: a population cannot be joined to itself"),
    ({"synapses": (Synapse("h", "y"), Synapse("h", "y"))}, "synapse h-y occurs twice"),
    ({"output": "x"}, "output must name a lif population, not 'x'"),
    ({"output": "z"}, "output must name a lif population, not 'z'"),
    ({"populations": (B, H, Y), "synapses": (Synapse("h", "y"),)}, "needs an input population"),
    ({"synapses": ()}, "a network needs a synapse"),
    ({"populations": (replace(X, size=2000), B, H, Y)}, "population 'h' has fan-in 2003"),
    ({"numerics": Numerics(charge_width=16)}, "window 8 overflows the 16-bit charge"),
    ({"schedule": Schedule(threshold=4.0)}, "threshold must be a power of two in 16/4096..2, not 4.0"),
])
def test_validation_names_the_thing(change, message):
    with pytest.raises(ValueError, match=message):
        replace(NET, **change)


@pytest.mark.parametrize("make, message", [
    (lambda: Population("h", 0), "population 'h' needs at least one neuron, not 0"),
    (lambda: Population("h", 1, "dense"), "population 'h': kind must be one of input, constant, lif, relay, softmax, not 'dense'"),
    (lambda: Network.chain(3), "needs an input and an output size"),
    (lambda: Network.chain(3, 4, 2, rate_scales=(1.0,)), "rate_scales must name 2 layers, not 1"),
    (lambda: Schedule(free=4), r"free must be in 8\.\.511 steps"),
    (lambda: Schedule(nudged=512), r"nudged must be in 8\.\.511 steps.*not 512"),
    (lambda: Schedule(window=6), "window must be a power of two, not 6"),
    (lambda: Schedule(leak=9), "leak must be .* not 9"),
    (lambda: Schedule(beta=0), r"beta must be in \(0, 2\], not 0"),
    (lambda: Schedule(threshold=0.3).raw(), "threshold must be a power of two"),
    (lambda: Schedule(beta=1e-5).raw(), "below one step of the membrane"),
    (lambda: Schedule(beta=2, threshold=2.0, window=4).raw(Numerics(fraction=13)), "beta x threshold = 4.0 is above the largest nudge"),
])
def test_parts_say_what_is_wrong(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_chain_joins_neighbours_and_biases():
    net = Network.chain(5, 4, 3, 2, rate_scales=(1.0, 0.5, 0.25))
    assert [s.name for s in net.synapses] == ["input-hidden1", "bias-hidden1", "hidden1-hidden2", "bias-hidden2", "hidden2-output",
                                              "bias-output"]
    assert [s.rate_scale for s in net.synapses] == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    assert (net.n_inputs, net.n_outputs, net.n_weights) == (5, 2, 5 * 4 + 4 + 4 * 3 + 3 + 3 * 2 + 2)


def test_initial_weights_start_alive():
    """Biases are exact; weights stay within half a Glorot limit and fill it."""
    w = Network.chain(64, 64, 10).initial_weights(3)
    limit = 0.5 * np.sqrt(6 / 128) * 4096
    assert (w["bias-hidden1"] == round(0.2 * 4096)).all()
    assert 0.95 * limit < np.abs(w["input-hidden1"]).max() <= limit + 0.5


@pytest.mark.parametrize("spoil, message", [
    (lambda w: w.pop("x-h"), r"weights are for .* the network has \['b-h', 'h-y', 'x-h', 'x-y'\]"),
    (lambda w: w.update({"x-h": np.zeros((4, 3))}), r"weights of x-h have shape \(4, 3\), not \(3, 4\)"),
    (lambda w: w["h-y"].fill(2**15), r"weights of h-y must lie in -32768\.\.32767"),
])
def test_check_weights_names_the_synapse(spoil, message):
    w = NET.initial_weights()
    spoil(w)
    with pytest.raises(ValueError, match=message):
        NET.check_weights(w)


def test_round_trip(tmp_path):
    net = replace(NET, schedule=Schedule(free=30, beta=0.25, leak=3), numerics=Numerics(fraction=8, weight_width=10))
    w = net.initial_weights(1)
    save(tmp_path / "net.npz", net, w)
    again, weights = load(tmp_path / "net.npz")
    assert again == net and list(weights) == list(w) and all((weights[n] == w[n]).all() for n in w)
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
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
    with pytest.raises(ValueError, match="must lie in"):
        save(tmp_path / "net.npz", NET, {n: w + 2**16 for n, w in NET.initial_weights().items()})
    assert not (tmp_path / "net.npz").exists()


def test_files_that_are_no_network_are_named(tmp_path):
    save(tmp_path / "whole.npz", NET, NET.initial_weights())
    whole = (tmp_path / "whole.npz").read_bytes()
    for raw in (b"", b"hello", whole[: len(whole) // 2]):
        (tmp_path / "broken.npz").write_bytes(raw)
        with pytest.raises(ValueError, match=r"broken\.npz is not a network saved by equilif"):
            load(tmp_path / "broken.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz is not a network"):
        load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.npz")


@pytest.mark.parametrize("name", ["", "a-b", "(target)", "a b"])
def test_population_names_are_plain(name):
    with pytest.raises(ValueError, match="letters, digits"):
        Population(name, 3)
