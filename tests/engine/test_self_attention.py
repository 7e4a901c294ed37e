"""Self-attention on an engine: instructions, programs, and a two-layer network in RTL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from equilif_boards import BOARDS
from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled, engine_for
from equilif_golden.engine.config import Pipeline
from equilif_golden.engine.isa import Groups, LearnMode, Op, rows_of
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, region_size
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TransformerSizes
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from tests.engines import DEEP, verilated
from tests.networks import with_energy

SMALL = Network.transformer(TransformerSizes(5, 3, 4, 1, 4, heads=2), schedule=Schedule(free=8, window=4))
SMALL_ENGINE = replace(
    engine_for(SMALL, lanes=4), tiles=64, value_groups=256, state_groups=128, program_words=1024
)


def lively(network, seed=0):
    rng = np.random.default_rng(seed)
    return {s.name: rng.integers(-3000, 3001, network.shape(s)) for s in network.plastic}


def sequences(network, n, seed=0):
    """One-hot codes of ``n`` random sequences."""
    shape = network["tokens"].shape
    symbols = np.random.default_rng(seed).integers(0, shape.maps, (n, shape.positions))
    return (np.eye(shape.maps, dtype=np.uint8)[symbols] * 255).reshape(n, -1)


def test_store_writes_rows():
    """W = gain u v in the rows whose u is not zero, signed, without an update or noise; others stay."""
    engine = EngineModel(DEEP)
    p = DEEP.lanes
    engine.w[:] = 99
    engine.plus[0] = engine.minus[0] = [0, 4, 0, 2]
    engine.plus[1] = [1, 255, 128, 127]
    store = Op.LEARN(Groups(0, 1), Groups(1, 1), tile=0, gain=16, shift=12, store=True, signed_dst=True)
    engine.load([store, Op.HALT()])
    engine.run(learn=False)
    w = from_words(engine.w[:p], (p, p), p)
    assert w.tolist() == [[99] * 4, [64, -64, -8192, 8128], [99] * 4, [32, -32, -4096, 4064]]
    assert engine.counter == 0


def test_softmax_of_rows():
    """Each row is a softmax, the last one of fewer groups; an engine without the option has one row."""
    rng = np.random.default_rng(1)
    i = Op.SOFTMAX(Groups(0, 5), values=Groups(8, 5), shift=1, row=2, absolute=True, plus=True)
    assert rows_of(i, DEEP) == [(0, 2), (2, 2), (4, 1)]
    assert rows_of(i, replace(DEEP, self_attention=False)) == [(0, 5)]
    engines = EngineModel(DEEP), EngineModel(DEEP)
    engines[0].b[:5] = engines[1].b[:5] = rng.integers(-3000, 3000, (5, DEEP.lanes))
    engines[0].load([i, Op.HALT()])
    engines[1].load(
        [
            Op.SOFTMAX(Groups(k, n), values=Groups(8 + k, n), shift=1, absolute=True, plus=True)
            for k, n in rows_of(i, DEEP)
        ]
        + [Op.HALT()]
    )
    for engine in engines:
        engine.run(learn=False)
    assert engines[0].plus[8:13].tolist() == engines[1].plus[8:13].tolist()
    assert abs(engines[0].plus[12].sum() - 256) <= 4


@pytest.mark.parametrize("option", ["self_attention", "attention", "convolution"])
def test_missing_option(option):
    config = engine_for(SMALL, lanes=4)
    with pytest.raises(CapacityError, match=option):
        Compiled(SMALL, replace(config, **{option: False}))


def test_program_has_one_free_phase():
    """No nudged phase and no update, and the program does not grow with the number of positions."""
    programs = [
        Compiled(net, engine_for(net, lanes=4)).program(0.0)
        for net in (
            SMALL,
            Network.transformer(TransformerSizes(12, 3, 4, 1, 4, heads=2), schedule=SMALL.schedule),
        )
    ]
    assert len(programs[0]) == len(programs[1])
    assert not [
        i for i in programs[0] if i.op == Op.SAVE or i.op == Op.LEARN and not i.mode & LearnMode.STORE
    ]


def test_positions_beyond_a_geometry():
    net = Network.transformer(TransformerSizes(67, 2, 4, 1, 4), schedule=SMALL.schedule)
    with pytest.raises(CapacityError, match=r"1\.\.63"):
        engine_for(net, lanes=4)


def check_rtl(network, config, x):
    """RTL = engine model = kernel: rates, spikes, prediction and cycles."""
    weights = lively(network)
    rates = Kernel(network, weights).settle(x)
    model = Chip(EngineModel(config), network, weights)
    rtl = Chip(verilated(config), network, weights)
    for j, sample in enumerate(x):
        expected = model.sample(sample)
        found = rtl.sample(sample)
        assert (found.prediction, found.spikes, found.cycles) == (
            expected.prediction,
            expected.spikes,
            expected.cycles,
        )
        assert rtl.rates().plus.tolist() == model.rates().plus.tolist() == rates.rates[j, 0].tolist()
        assert found.spikes == rates.spikes[j]
    return expected.cycles


@pytest.mark.parametrize("pipeline", Pipeline)
def test_rtl_small(pipeline):
    check_rtl(SMALL, replace(SMALL_ENGINE, pipeline=pipeline), sequences(SMALL, 3))


@pytest.mark.parametrize("pipeline", Pipeline)
def test_rtl_learns_with_an_energy(pipeline):
    """RTL = reference over three phases and the update: rates, spikes and every weight; whatever another
    network left in the memories.
    """
    net = with_energy()
    config = replace(SMALL_ENGINE, pipeline=pipeline)
    weights = lively(net)
    reference = Reference(net, weights, learning_rate=0.05)
    rng = np.random.default_rng(2)
    engine = verilated(config)
    for region in (Region.WEIGHT, Region.VALUE):
        engine.write(region, 0, rng.integers(0, 256, region_size(config, region)))
    rtl = Chip(engine, net, weights, learning_rate=0.05)
    for k in range(4):
        x = rng.integers(0, 256, (1, net.n_inputs))
        y = one_hot(np.array([k % 3]), 3)
        expected = reference.train(x, y)
        found = rtl.sample(x[0], y[0])
        assert (found.prediction, found.spikes) == (expected.prediction[0], expected.spikes)
        for name, w in rtl.weights.items():
            assert (w == reference.weights[name]).all(), name
    assert all((w != weights[name]).any() for name, w in reference.weights.items())
    answers = expected.recalled[1].answer["attention"] - expected.recalled[2].answer["attention"]
    assert answers.reshape(6, 4, 3).any(axis=(0, 2)).all()  # of both queries and both keys


@pytest.mark.regress
def test_rtl_two_layers():
    """Two layers of 32 positions x 32 features on the engine of a board: 20 sequences, every rate."""
    schedule = Schedule(free=32, window=8, nudged=8)
    net = Network.transformer(TransformerSizes(32, 16, 32, 2, 16, heads=2, hidden=16), schedule=schedule)
    config = replace(BOARDS["ulx3s-85f-maps"].config, self_attention=True)
    check_rtl(net, config, sequences(net, 20))
