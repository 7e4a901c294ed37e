"""Self-attention: its description."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from equilif.convolutions import unrolled
from equilif_golden.blocks.self_attention import self_attention
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel
from equilif_golden.learning import learning_steps
from equilif_golden.network import (
    Attention,
    Constant,
    Input,
    Lif,
    Network,
    Population,
    Relay,
    Synapse,
    TransformerSizes,
)
from equilif_golden.populations import SelfAttention
from equilif_golden.schedule import Schedule

ANY: Any = SelfAttention
X = Input.of_shape("x", (3, 1, 4))
B = Constant("b", 1)
A = SelfAttention.of_shape("a", (3, 1, 6), heads=2)
Y = Lif.of_shape("y", (3, 1, 5))
JOINED = (Synapse("x", "a", kernel=1), Synapse("b", "a"), Synapse("a", "y", kernel=1))
NET = Network((X, B, A, Y), JOINED, "y")
#: of one head with an energy, which answers ``y``
E = SelfAttention.of_shape("a", (3, 1, 6), energy=True)
Z = Lif.of_shape("z", (3, 1, 2))
POSITIONED = (Synapse("x", "y", kernel=1), Synapse("b", "y", per_position=True))


ANSWERED = Network((X, B, E, Y, Z), (*POSITIONED, Synapse("y", "a", kernel=1), Synapse("b", "a")), "y")


def with_synapses(*synapses: Synapse) -> Network:
    return replace(ANSWERED, synapses=synapses)


def test_energy():
    """Queries and keys have one answer each, through the weights that project them; such a network learns."""
    assert [ANSWERED.shape(s) for s in ANSWERED.synapses[2:]] == [(5, 6), (1, 6)]
    assert E.width == 3 and E.n_drives == E.size == 18 and E.drive_parts == 2
    assert ANSWERED.has_energy and ANSWERED.trainable and not NET.has_energy
    assert Network.from_dict(ANSWERED.to_dict()) == ANSWERED
    assert "energy" not in NET.to_dict()["populations"][2]


@pytest.mark.parametrize("causal", [False, True])
def test_answers_with_an_energy(causal):
    """Answers are derivatives of the logsumexp of all queries, within the rounding of codes."""
    rng = np.random.default_rng(0)
    n, heads, width, k = 4, 2, 3, 4 * np.log(2)
    drive = rng.integers(-4096, 4096, n * 2 * heads * width)
    found = self_attention(
        drive, positions=n, heads=heads, causal=causal, shift=3, fraction=12, gain=1, energy=True
    )
    query, key = (a / 128 for a in (found.query, found.key))
    seen = np.tri(n, dtype=bool) if causal else np.ones((n, n), bool)
    p = np.where(seen, np.exp(k * query @ key.swapaxes(-1, -2)), 0)
    p /= p.sum(-1, keepdims=True)
    exact = np.stack([p @ key, p.swapaxes(-1, -2) @ query], 2).transpose(1, 2, 0, 3).ravel()
    assert np.abs(np.clip(2 * exact, -1, 127 / 128) - found.answer / 128).max() < 0.06
    assert 0.3 < np.abs(exact).mean()


def test_shapes():
    """Columns of a synapse to self-attention are query, key and value; rows of one from it are its maps."""
    assert [NET.shape(s) for s in NET.synapses] == [(4, 18), (1, 18), (6, 5)]
    assert A.size == 18 and A.width == 3 and A.n_drives == 54
    codes = replace(NET, synapses=(*JOINED, Synapse("b", "y", per_position=True)))
    assert NET.windowed and codes.shape(codes.synapses[-1]) == (1, 15)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ANY("a", 6), "shape"),
        (lambda: SelfAttention.of_shape("a", (3, 1, 6), heads=4), "6 maps"),
        (lambda: SelfAttention.of_shape("a", (33, 32, 1)), "1024"),
        (lambda: replace(NET, synapses=JOINED[:2]), "1 and 0"),
        (lambda: replace(NET, synapses=JOINED[1:]), "0 and 1"),
        (lambda: replace(NET, synapses=(Synapse("x", "a", kernel=2), *JOINED[1:])), "x-a"),
        (lambda: replace(NET, synapses=(Synapse("x", "a"), *JOINED[1:])), "x-a"),
        (
            lambda: replace(
                NET, populations=(X, B, A, Lif("y", 5)), synapses=(*JOINED[:2], Synapse("a", "y"))
            ),
            "a-y",
        ),
        (lambda: replace(NET, populations=(X, B, A, Lif.of_shape("y", (2, 1, 5)))), "a-y"),
        (lambda: replace(NET, synapses=(*JOINED, Synapse("x", "y", kernel=1, per_position=True))), "x-y"),
        (lambda: replace(NET, populations=(X, B, replace(A, sharpness=6), Y)), r"2\.\.5"),
        (lambda: replace(NET, numerics=Numerics(weight_width=12)), "13 bits"),
        (lambda: replace(NET, schedule=Schedule(free=10)), "free 10"),
        (lambda: learning_steps(NET, 0.1), "energy"),
        (lambda: Network.transformer(TransformerSizes(3, 4, 5, 1, 2, heads=2)), "5 features"),
        (lambda: SelfAttention.of_shape("a", (3, 1, 6), heads=2, energy=True), "6 maps"),
        (lambda: replace(NET, populations=(X, B, E, Y)), "0 and 1"),
        (lambda: with_synapses(*ANSWERED.synapses, Synapse("a", "z", kernel=1)), "1 and 1"),
        (lambda: with_synapses(Synapse("x", "a", kernel=1), *POSITIONED), "0 and 0"),
        (lambda: with_synapses(*ANSWERED.synapses[:-1], Synapse("b", "a", per_position=True)), "b-a"),
        (
            lambda: replace(
                ANSWERED,
                populations=(X, B, replace(E, gain=1, sharpness=2), Y, Z),
                numerics=Numerics(fraction=9, weight_width=16, charge_width=20),
                schedule=Schedule(free=8),
            ),
            "gain 1",
        ),
    ],
)
def test_invalid(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("other", [X, B, Relay("q", 6), Attention("m", 3), A, Y], ids=lambda p: p.kind)
@pytest.mark.parametrize("to", [False, True])
def test_valid_synapses(other: Population, to: bool):
    """Inputs, constants and LIF maps drive self-attention, which drives LIF maps."""
    second = replace(other, name="other") if other.kind == "self_attention" else other
    populations = {p.name: p for p in (X, B, A, Y, second)}
    ends = (second.name, "a") if to else ("a", second.name)
    kernel = None if second is B else 1
    synapses = {s.name: s for s in (*JOINED, Synapse(*ends, kernel=kernel))}
    if other.kind in (("input", "constant", "lif") if to else ("lif",)):
        Network(tuple(populations.values()), tuple(synapses.values()), "y")
    else:
        with pytest.raises(ValueError, match=f"{ends[0]}-{ends[1]}: "):
            Network(tuple(populations.values()), tuple(synapses.values()), "y")


def test_transformer():
    """Populations of a two-layer transformer, and no weights but those of its positions."""
    net = Network.transformer(TransformerSizes(8, 10, 6, 2, 4, heads=2, width=4, hidden=9))
    assert [p.name for p in net.lif if p.name.endswith("2")] == ["mixed2", "hidden2", "features2"]
    assert [p.shape for p in net.self_attention] == [(8, 1, 8)] * 2
    assert net.shape(net.synapses[2]) == (6, 24) and net.n_outputs == 32
    assert Network.transformer(TransformerSizes(64, 10, 6, 1, 4))["attention1"].shape == (32, 2, 6)
    assert Network.transformer(TransformerSizes(8, 10, 6, 1, 4), per_position=False).n_outputs == 4


def test_bias_per_position():
    """The same network without maps, whose bias is dense, has the same rates, and learns the same."""
    maps = Lif.of_shape("maps", (3, 1, 2))
    joined = (Synapse("x", "maps", kernel=1), Synapse("b", "maps", per_position=True), Synapse("maps", "y"))
    net = Network((X, B, maps, Lif("y", 4)), joined, "y")
    rng = np.random.default_rng(0)
    weights = {s.name: rng.integers(-2000, 2001, net.shape(s)) for s in net.synapses}
    flat, dense = unrolled(net, weights)
    x = rng.integers(0, 256, (5, net.n_inputs)).astype(np.uint8)
    assert (Kernel(net, weights).settle(x).rates == Kernel(flat, dense).settle(x).rates).all()
    kernel = Kernel(net, weights, learning_rate=0.05)
    kernel.train(x, rng.integers(0, 4, 5))
    assert len(set(kernel.weights["b-maps"][0] - weights["b-maps"][0])) > 2


def test_nir_has_none():
    pytest.importorskip("nir")
    to_graph = pytest.importorskip("equilif.nir").to_graph
    for net, name in ((NET, "'a'"), (replace(NET, synapses=POSITIONED, populations=(X, B, Y)), "'y'")):
        with pytest.raises(ValueError, match=name):
            to_graph(net, net.initial_weights())
