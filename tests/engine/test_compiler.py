"""Placement, capacity and memory images.

tests/test_kernel.py compares compiled programs with the reference.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled, engine_for, learns
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.isa import WORDS, Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel
from equilif_golden.network import Attention, Network, Population, Relay, Synapse, TokenRows
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_sim.verilated import VerilatedEngine
from tests.networks import sample

NET = Network.chain(10, 7, 3)  # at 4 lanes: 3 + 1 + 2 + 1 groups, 1 for the target
X, B, Y = Population("x", 2, "input"), Population("b", 1, "constant"), Population("y", 2)
STORED, Q = Attention("m", 6), Relay("q", 10, heads=2)
LOADED, R = Attention("n", 5, dynamic_patterns=True), Relay("r", 6, heads=2)
EDGES = (
    Synapse("x", "y"),
    Synapse("m", "q"),
    Synapse("b", "q"),
    Synapse("q", "y"),
    Synapse("n", "r", 0.0),
    Synapse("b", "r"),
    Synapse("r", "y"),
)
NETS = {
    "chain": NET,
    "stored": Network((X, B, Y, STORED, Q), EDGES[:4], "y", Schedule(nudged=16)),
    "loaded": Network((X, B, Y, LOADED, R), (EDGES[0], *EDGES[4:]), "y", Schedule(nudged=16)),
    "both": Network((X, B, Y, STORED, Q, LOADED, R), EDGES, "y", Schedule(nudged=16)),
}
CONVOLUTIONS = Network.conv((5, 7, 2), (3, 3, 2), 6, 4)
LANES = pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32])


@LANES
@pytest.mark.parametrize("net", NETS)
def test_regions_do_not_overlap(net, lanes):
    """Groups and tiles are contiguous and have one owner; scores and relay accumulators are in membrane
    memory.
    """
    net = NETS[net]
    c = Compiled(net, EngineConfig(lanes=lanes, program_words=1024))
    groups = [g for place in c.groups.values() for g in range(place.first, place.first + place.n)]
    assert sorted(groups) == list(range(c.n_groups))
    layers = net.attention_layers
    state = [*(p.name for p in net.lif), *(m.attention.name for m in layers), *["relay sum"][: len(layers)]]
    assert sorted(
        g for name in state for g in range(c.groups[name].first, c.groups[name].first + c.groups[name].n)
    ) == list(range(c.state_groups))
    if layers:
        assert c.groups["relay sum"].n == max(-(-m.relay.width // lanes) for m in layers)
    sizes = {
        s.name: sum(-(-n // lanes) * -(-m // lanes) for n, m in (np.shape(block) for block in c.blocks(s)))
        for s in net.synapses
    }
    tiles = [t for name, first in c.tiles.items() for t in range(first, first + sizes[name])]
    assert sorted(tiles) == list(range(len(tiles)))
    assert c.n_tiles == sum(sizes[s.name] for s in net.plastic)
    if net.dynamic_attention:
        assert c.tiles[net.dynamic_attention.synapse.name] == c.n_tiles


@LANES
@pytest.mark.parametrize("net", [*NETS.values(), CONVOLUTIONS], ids=[*NETS, "maps"])
def test_weights_round_trip(net, lanes):
    rng = np.random.default_rng(0)
    w = {s.name: rng.integers(-99, 99, net.shape(s)) for s in net.plastic}
    c = Compiled(net, engine_for(net, lanes=lanes))
    words = c.weight_words(w)
    assert words.shape == (c.n_tiles * lanes, lanes)
    assert all((c.weights(words)[name] == w[name]).all() for name in w)


def test_sample_with_tokens_is_one_write():
    c = Compiled(NETS["both"], EngineConfig(lanes=4, program_words=1024))
    sample = c.sample(np.array([7, 8]), np.array([255, 0]), tokens=2)
    assert sample.tolist() == [7, 8, 0, 0, 255, 255, *[0] * 6, 255, 0, 0, 0]
    assert c.sample(np.array([7, 8])).tolist() == [7, 8] + [0] * 10
    at, words = c.token_words(np.arange(6).reshape(2, 3))
    assert (
        at == c.n_tiles * 16
        and from_words(words, (2, 3), 4).tolist() == [[0, 1, 2], [3, 4, 5]]
        and len(words) == 4
    ), "whole tiles, as needed"
    first, ones = c.constants()
    assert ones.tolist() == [255, 0, 0, 0] + [255] * 6 + [0] * 2 and first == c.groups["b"].first * 4, (
        "patterns that are stored are always present"
    )
    with pytest.raises(ValueError, match="5 tokens"):
        c.sample(np.zeros(2, int), tokens=6)


@pytest.mark.parametrize(
    "make", [EngineModel, pytest.param(VerilatedEngine, marks=pytest.mark.long)], ids=["model", "rtl"]
)
@pytest.mark.parametrize("contrast", ["phases", "errors"])
def test_engine_for_sixteen_queries(make, contrast):
    """Presets for speech and reviews need more than 1,024 program words, as do two hidden populations, which
    learn from errors.
    """
    schedule = Schedule(nudged=16, contrast=contrast)
    sizes = (8, 5, 2) if schedule.errors else (8, 2)
    net = Network.attention(6, 4, 16, *sizes, schedule=schedule, feedback=not schedule.errors)
    rng = np.random.default_rng(0)
    config = engine_for(net, lanes=4)
    assert config.program_words == 2048
    weights = net.initial_weights(0, query=0.3)
    x, labels = np.zeros((3, 0), np.uint8), np.array([0, 1, 1])
    table = rng.integers(-2000, 2000, (5, 4)).astype(np.int16)
    tokens = TokenRows(table, rng.integers(0, 5, 10).astype(np.int32), np.array([0, 6, 7, 10]))
    kernel = Kernel(net, weights, learning_rate=0.05)
    chip = Chip(make(config), net, weights, learning_rate=0.05)
    kernel.train(x, labels, tokens=tokens)
    chip.train(x, labels, tokens=tokens)
    for name, w in kernel.weights.items():
        assert (chip.weights[name] == w).all(), name
    assert not all((w == weights[name]).all() for name, w in kernel.weights.items())


@pytest.mark.parametrize("eta", [0.0, 0.05])
@pytest.mark.parametrize("net, learns", [("chain", 4), ("stored", 7), ("loaded", 5), ("both", 11)])
def test_program_length(net, learns, eta):
    """The capacity check counts one LEARN for each synapse, or head of a relay, at any learning rate."""
    c = Compiled(NETS[net], EngineConfig(lanes=4, program_words=1024))
    learn = [i for i in c.program(eta) if i.op == Op.LEARN]
    assert len(learn) == (learns if eta else 0)
    words = WORDS * (len(c.program(eta)) - len(learn) + learns)
    Compiled(NETS[net], EngineConfig(lanes=4, program_words=words))
    with pytest.raises(CapacityError, match=f"{words} program.*{words - 1}"):
        Compiled(NETS[net], EngineConfig(lanes=4, program_words=words - 1))


def test_requirements_of_large_network():
    tracemalloc.start()
    try:
        with pytest.raises(CapacityError, match="25000 groups"):
            Compiled(Network.chain(784, 100_000), EngineConfig(lanes=4))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_sample_is_one_write():
    """Inputs and target are adjacent, in whole groups; constants are separate and written once."""
    net = Network(
        (
            Population("x", 5, "input"),
            Population("b", 2, "constant"),
            Population("z", 3, "input"),
            Population("y", 2),
        ),
        (Synapse("x", "y"), Synapse("z", "y"), Synapse("b", "y")),
        "y",
    )
    c = Compiled(net, EngineConfig(lanes=4))
    inputs = [1, 2, 3, 4, 5, 0, 0, 0, 6, 7, 8, 0]
    assert c.sample(np.arange(1, 9)).tolist() == inputs
    assert c.sample(np.arange(1, 9), np.array([255, 9])).tolist() == [*inputs, 255, 9, 0, 0]
    assert (c.sample_first, c.constants()[0], c.constants()[1].tolist()) == (4, 20, [255, 255, 0, 0])


def test_network_without_constants():
    net = Network((Population("x", 5, "input"), Population("y", 2)), (Synapse("x", "y"),), "y")
    assert len(Compiled(net, EngineConfig(lanes=4)).constants()[1]) == 0


FITS = EngineConfig(lanes=4, tiles=11, value_groups=8, state_groups=4)


@pytest.mark.parametrize(
    "network, config, message",
    [
        (NET, replace(FITS, tiles=10), "4x4"),
        (Network.chain(10, 17, 3), FITS, "6.*4"),
        (Network.chain(40, 7, 3), FITS, "15.*8"),
        (NET, replace(FITS, numerics=Numerics(fraction=8)), "12.*8"),
        (NET, replace(FITS, numerics=Numerics(accumulator_width=25)), "26.*25"),
        (
            NET,
            replace(FITS, numerics=Numerics(fraction=8, accumulator_width=28)),
            "fraction 12, the engine 8",
        ),
        (NETS["stored"], EngineConfig(attention=False), r"EngineConfig\.attention"),
    ],
)
def test_capacity_errors(network, config, message):
    assert Compiled(NET, FITS).n_tiles == 11, "the engine is full, so one less is too small"
    with pytest.raises(CapacityError, match=message):
        Compiled(network, config)


def test_wider_accumulators_hold_a_network():
    """The engine's sums do not wrap, so its results are those of the kernel."""
    config = replace(FITS, numerics=replace(NET.numerics, accumulator_width=32))
    x, labels = sample(NET, 20)
    chip, kernel = Chip(EngineModel(config), NET, learning_rate=0.1), Kernel(NET, learning_rate=0.1)
    assert chip.train(x, labels) == kernel.train(x, labels)
    assert all(np.array_equal(kernel.weights[name], w) for name, w in chip.weights.items())


@pytest.mark.parametrize("pipeline", Pipeline)
def test_nudged_phases_are_interleaved(pipeline):
    """With room for a second charge they run together, which takes fewer cycles and changes no bit."""
    narrow = EngineConfig(lanes=4, state_groups=4, pipeline=pipeline, attention=False)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (5, 10)), one_hot(rng.integers(0, 3, 5), 3)
    reference = Reference(NET, learning_rate=0.05)
    for j in range(len(x)):
        reference.train(x[j : j + 1], y[j : j + 1])
    cycles = {}
    for config in (narrow, replace(narrow, state_groups=8)):
        c = Compiled(NET, config)
        assert c.interleaved == (config.state_groups >= 2 * c.lif_groups)
        assert any(i.op == Op.RESTORE for i in c.program(0.0)) != c.interleaved
        assert any(i.second for i in c.program(0.0)) == c.interleaved
        chip = Chip(EngineModel(config), NET, learning_rate=0.05)
        cycles[c.interleaved] = sum(chip.sample(*sample).cycles for sample in zip(x, y, strict=True))
        assert all((chip.weights[name] == w).all() for name, w in reference.weights.items())
    assert cycles[True] < cycles[False]


def test_errors_need_more_words_than_inference():
    """An engine is chosen by the program that trains; one that only infers does not learn."""
    net = Network.attention(9, 6, 16, 5, 4, 3, schedule=Schedule(contrast="errors"), feedback=False)
    config = engine_for(net, lanes=4)
    c = Compiled(net, config)
    assert c.training_words == WORDS * len(c.program(0.05)) <= config.program_words and learns(net, config)
    short = replace(config, program_words=c.training_words - 1)
    Chip(EngineModel(short), net)
    assert not learns(net, short)


def test_silent_inputs_take_no_cycles():
    """Zeros are skipped: for a black image without spikes only weights of the constant are read."""
    c = Compiled(NET, EngineConfig(lanes=4))
    engine = EngineModel(c.config, c.program(0.05))
    engine.w[: c.n_tiles * 4] = c.weight_words(
        {n: np.full_like(w, -4096) for n, w in NET.initial_weights().items()}
    )
    first, ones = c.constants()
    engine.plus.flat[first : first + len(ones)] = ones
    sample = c.sample(np.zeros(10, int), one_hot(np.array([1]), 3)[0])
    engine.plus.flat[c.sample_first : c.sample_first + len(sample)] = sample
    engine.run(learn=False)
    assert (engine.spikes, engine.prediction) == (0, 0)
    assert engine.accesses == c.groups["hidden1"].n + c.groups["output"].n
