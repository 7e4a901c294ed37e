"""The engine's RTL equals the golden engine model, memory by memory."""

import dataclasses

import numpy as np
import pytest
from amaranth.back import verilog

from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import (
    Groups,
    Instruction,
    Op,
    ResultMode,
    SoftmaxMode,
    SourceMode,
)
from equilif_golden.engine.memories import skips_unchanged
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, region_size
from equilif_golden.kernel import Kernel
from equilif_golden.network import Attention, Network, Population, Relay, Synapse
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.engine.engine import Engine
from equilif_sim.tools.run import simulate
from equilif_sim.verilated import VerilatedEngine, library
from tests.engines import (
    CONFIGS,
    NARROW,
    ROOMY,
    SMALL,
    cycles,
    run_random_programs,
    verilated,
    visible,
    walk,
)
from tests.networks import SKIPS, memory_case

PLAIN = dict.fromkeys(EVERYTHING, False)


def test_every_pipeline_is_tested():
    assert {config.pipeline for config in CONFIGS.values()} == set(Pipeline)


@pytest.mark.regress
@pytest.mark.parametrize(
    "options", [PLAIN, PLAIN | {"attention": True}, EVERYTHING], ids=["plain", "attention", "all"]
)
def test_32_lanes_take_two_more_cycles(options):
    """One additional register in the butterfly and one after the leak."""
    config = dataclasses.replace(CONFIGS["P8"], lanes=32, **options)
    assert walk(config, 1) == walk(CONFIGS["P8"], 1) + 2
    engine = verilated(config)
    run_random_programs(engine, 12 if config.early_exit else 3)
    test_read_after_write(engine)
    test_cycles_of_walks(engine, Op.MARK)
    test_cycles_of_walks(engine, Op.RELAY)
    test_cycles_of_softmax(engine)


def test_read_after_write(engine):
    engine = verilated(engine.config)  # the others start after a reset
    for region in (Region.VALUE, Region.WEIGHT, Region.COUNTER):
        for k in range(min(9, region_size(engine.config, region))):
            written = np.array([(77 * k + 5) % 200])
            engine.write(region, k, written)
            assert engine.read(region, k, 1) == written * (0x101 if region == Region.VALUE else 1)


@pytest.mark.parametrize("n", [40, pytest.param(300, marks=pytest.mark.regress)])
def test_random_programs(engine, n):
    """300 programs on each engine; memories persist between programs."""
    run_random_programs(verilated(engine.config), n)


@pytest.mark.regress
def test_state_in_block_ram():
    """Neuron state that is read a cycle earlier, as on the ULX3S 85F with convolutions."""
    config = CONFIGS["P4-wide"]
    text = verilog.convert(Engine(config, state_ram="block"), name="engine", emit_src=False)
    run_random_programs(VerilatedEngine(config, made=library(config, text)), 150)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if config.convolution])
def test_random_programs_without_convolutions(name):
    """300 programs on engines that have convolutions in the test above."""
    run_random_programs(verilated(dataclasses.replace(CONFIGS[name], convolution=False)))


def test_icarus(tmp_path):
    """Random programs in another simulator than the other tests of this file."""
    config = dataclasses.replace(
        SMALL,
        pipeline=Pipeline.SPRAM,
        tiles=24,
        value_groups=32,
        program_words=400,
    )
    assert simulate(
        Engine(config),
        "equilif_sim.engine.engine",
        tmp_path,
        simulator="icarus",
        visible=visible("engine *", "*state *_memory"),
        config={"engine": dataclasses.asdict(config), "seed": 1, "programs": 4},
        only="random_programs",
    )


NETWORKS = {
    "one layer": Network.chain(20, 5, schedule=Schedule(free=8, nudged=8)),
    "two hidden": Network.chain(20, 17, 9, 5, schedule=Schedule(free=12, nudged=8)),
    "graph with skips": SKIPS,
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lanes", [4, 8])
def test_networks_learn_as_reference(name, lanes):
    network = NETWORKS[name]
    reference = Reference(network, network.initial_weights(1), learning_rate=0.05)
    rtl = Chip(
        VerilatedEngine(dataclasses.replace(ROOMY, lanes=lanes)),
        network,
        reference.weights,
        learning_rate=0.05,
    )
    rng = np.random.default_rng(2)
    for k in range(8):
        x = rng.integers(0, 256, network.n_inputs)
        y = one_hot(rng.integers(0, 5, 1), 5)
        want = reference.train(x[None], y)
        got = rtl.sample(x, y[0])
        assert (got.prediction, got.spikes) == (want.prediction[0], want.spikes), f"sample {k}"
        plus, minus = rtl.rates()
        assert np.array_equal(plus, np.concatenate([want.plus[p.name][0] for p in network.lif])), (
            f"sample {k}"
        )
        assert np.array_equal(minus, np.concatenate([want.minus[p.name][0] for p in network.lif])), (
            f"sample {k}"
        )
    for synapse, w in rtl.weights.items():
        assert np.array_equal(w, reference.weights[synapse]), synapse
    want, got = reference.infer(x[None]), rtl.sample(x)
    assert got.prediction == want.prediction[0] and np.array_equal(
        rtl.rates()[0], np.concatenate([want.free[p.name][0] for p in network.lif])
    )


MEMORIES = {
    "one head": Network.attention(5, 6, 1, 4),
    "three heads, hidden": Network.attention(
        21,
        13,
        3,
        9,
        4,
        gain=2,
        query_learning_rate_scale=2.0,
        schedule=Schedule(free=32, nudged=16, window=8),
    ),
    "four heads of one": Network.attention(9, 1, 4, 3, gain=0, sharpness=2),
    "stored": Network(
        (
            Population("x", 11, "input"),
            Population("bias", 1, "constant"),
            Attention("stored", 18, sharpness=4),
            Relay("query", 10, heads=2, gain=1),
            Population("hidden", 7),
            Population("out", 4),
        ),
        (
            Synapse("stored", "query"),
            Synapse("x", "query"),
            Synapse("bias", "query"),
            Synapse("query", "hidden"),
            Synapse("x", "hidden"),
            Synapse("hidden", "out"),
            Synapse("query", "out", 0.5),
        ),
        "out",
        Schedule(free=32, nudged=32, window=8),
    ),
    "tokens that learn": Network.attention(
        7,
        5,
        3,
        6,
        4,
        schedule=Schedule(free=32, nudged=16, window=8),
        table_rows=40,
        table_learning_rate_scale=1.0,
    ),
    # fewer rows than tokens
    "stored, and tokens that learn": Network(
        (
            Population("x", 5, "input"),
            Population("out", 4),
            Attention("stored", 6, sharpness=4),
            Relay("recall", 4, heads=2),
            Attention("tokens", 9, dynamic_patterns=True, table_rows=6),
            Relay("look", 12, heads=4, gain=1),
            Population("bias", 1, "constant"),
        ),
        (
            Synapse("tokens", "look"),
            Synapse("stored", "recall", 0.5),
            Synapse("bias", "look"),
            Synapse("x", "recall"),
            Synapse("look", "out"),
            Synapse("recall", "out"),
            Synapse("bias", "out"),
        ),
        "out",
        Schedule(free=32, nudged=32, window=8),
    ),
    "stored and loaded": Network(
        (
            Population("out", 5),
            Attention("tokens", 6, dynamic_patterns=True),
            Relay("look", 12, heads=2, gain=2),
            Attention("stored", 5, sharpness=5),
            Relay("recall", 3),
            Population("bias", 2, "constant"),
        ),
        (
            Synapse("tokens", "look", 0.0),
            Synapse("stored", "recall", 0.5),
            Synapse("bias", "look"),
            Synapse("bias", "recall"),
            Synapse("look", "out"),
            Synapse("recall", "out"),
            Synapse("bias", "out"),
        ),
        "out",
        Schedule(free=32, nudged=16, window=8),
    ),
}


@pytest.mark.sampled(7)
@pytest.mark.parametrize("lanes", [4, 8, pytest.param(16, marks=pytest.mark.regress)])
@pytest.mark.parametrize("name", MEMORIES)
def test_attention_learns_as_kernel(name, lanes):
    memories_learn(name, dataclasses.replace(ROOMY, lanes=lanes))


@pytest.mark.long
@pytest.mark.parametrize("pipeline", [p for p in Pipeline if p != ROOMY.pipeline])
@pytest.mark.parametrize("name", MEMORIES)
def test_attention_learns_in_every_pipeline(name, pipeline):
    """Pipelines that the test above omits."""
    memories_learn(name, dataclasses.replace(ROOMY, pipeline=pipeline))


def memories_learn(name, config):
    """Rates of all phases, predictions, spikes, cycles and weights of the trained and of the inferred, a
    sample at a time.
    """
    network = MEMORIES[name]
    rng = np.random.default_rng(4)
    weights, x, labels, tokens = memory_case(network, rng, 6)
    kernel = Kernel(network, weights, learning_rate=0.06)
    rtl = Chip(VerilatedEngine(config), network, weights, learning_rate=0.06)
    model = Chip(EngineModel(config), network, weights, learning_rate=0.06)
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        rates, spikes = kernel.rates(x[j : j + 1], y[None], tokens=tokens[j])
        inferred = rtl.sample(x[j], tokens=tokens[j])
        assert inferred.prediction == kernel.predict(x[j : j + 1], tokens=tokens[j])[0]
        assert np.array_equal(rtl.rates()[0], rates[0, 0])
        assert inferred.cycles == model.sample(x[j], tokens=tokens[j]).cycles
        result = rtl.sample(x[j], y, tokens=tokens[j])
        assert (result.prediction, result.spikes) == (inferred.prediction, spikes[0])
        assert np.array_equal(rtl.rates(), rates[0, 1:])
        assert result.cycles == model.sample(x[j], y, tokens=tokens[j]).cycles
        kernel.train(x[j : j + 1], labels[j : j + 1], tokens=tokens[j])
        for synapse, w in rtl.weights.items():
            assert np.array_equal(w, kernel.weights[synapse]), (j, synapse)
    changed = {s for s, w in weights.items() if (w != kernel.weights[s]).any()}
    assert changed == set(weights), "every synapse has learned"


def test_other_formats():
    """Narrower weights and another binary point: the same RTL, parameterised."""
    network = Network.chain(12, 9, 4, schedule=Schedule(free=8, nudged=8), numerics=NARROW)
    config = EngineConfig(lanes=4, tiles=48, value_groups=16, state_groups=8, numerics=NARROW)
    kernel = Kernel(network, learning_rate=0.1)
    rtl = Chip(VerilatedEngine(config), network, kernel.weights, learning_rate=0.1)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (10, 12)).astype(np.uint8)
    labels = rng.integers(0, 4, 10)
    for j in range(10):
        rtl.sample(x[j], one_hot(labels[j : j + 1], 4)[0])
    kernel.train(x, labels)
    for synapse, w in rtl.weights.items():
        assert np.array_equal(w, kernel.weights[synapse]), synapse


# -- cycle counts: exact.  equilif_golden.engine.cycles has them all; these say what they amount to
def spikes_at(engine, groups_of_lanes):
    """Make neurons of the first groups spike: membrane 1, threshold 1."""
    p = engine.config.lanes
    w = np.zeros((engine.config.tiles * p, p), np.int64)
    engine.write(Region.WEIGHT, 0, np.ravel(w))
    engine.load(
        [
            Instruction(op=Op.RESET, operand=0, dst=0, n_dst=8),
            Instruction(op=Op.RESET, mode=1, operand=0, dst=0, n_dst=8),
            Instruction(op=Op.RESET, operand=1, dst=0, n_dst=groups_of_lanes),
            Instruction(op=Op.STEP, gain=1, dst=0, n_dst=8),
            Instruction(op=Op.HALT),
        ]
    )
    assert engine.run(learn=False).spikes == groups_of_lanes * p


@pytest.mark.parametrize("op", [Op.MARK, Op.RELAY])
def test_cycles_of_walks(engine, op):
    """A walk takes one cycle per group."""
    config = engine.config
    if config.attention or op == Op.MARK:
        for n in range(1, 9):
            assert cycles(engine, Instruction(op=op, shift=2, dst=0, n_dst=n)) == walk(config, n)


def test_cycles_of_softmax(engine):
    """Three walks, each drained through lanes and tree, and a division."""
    config = engine.config
    if config.attention:
        levels = (config.lanes - 1).bit_length()
        registers = config.registers
        stages = levels + registers.weight_read + registers.butterfly + registers.exponential
        for n in range(1, 9):
            for mode in (0, SoftmaxMode.ABSOLUTE | ResultMode.PLUS):
                measured = cycles(engine, Instruction(op=Op.SOFTMAX, mode=mode, shift=2, dst=0, n_dst=n))
                assert measured == 3 * (n + stages) + 46 + (registers.queue > 0)


def test_cycles_of_drive(engine):
    """One cycle per event and group, by row and by column, from V.plus and V.minus, signed or not."""
    p = engine.config.lanes
    values = np.zeros(engine.config.value_groups * p, np.int64)
    values[: 2 * p] = 200
    engine.write(Region.VALUE, 0, values)
    for mode in range(8) if engine.config.attention else [0]:

        def drive(n_dst, mode=mode):
            return cycles(engine, Instruction(op=Op.DRIVE, mode=mode, src=0, n_src=2, dst=0, n_dst=n_dst))

        for n_dst in range(2, 8):
            assert drive(n_dst + 1) - drive(n_dst) == 2 * p, (mode, n_dst)


def test_cycles_of_gather(engine):
    """One cycle per event and group in both directions; on single-port weights a single group takes two."""
    p = engine.config.lanes
    spikes_at(engine, 2)
    for mode in (0, SourceMode.COLUMN):

        def gather(n_dst, mode=mode):
            return cycles(engine, Instruction(op=Op.GATHER, mode=mode, src=0, n_src=2, dst=0, n_dst=n_dst))

        for n_dst in range(2, 8):
            assert gather(n_dst + 1) - gather(n_dst) == 2 * p, n_dst
        assert gather(2) - gather(1) == (1 if engine.config.single_port else 2 * p)


def test_cycles_of_learn(engine):
    """One cycle per event and group, two on single-port weights; on dual-port weights the scanner takes one
    per event, or reads every group once.
    """
    config = engine.config
    p = config.lanes
    values = np.zeros(config.value_groups * p, np.int64)
    values[: 2 * p] = 200
    engine.write(Region.VALUE, 0, values)
    # a rate of 0 at -beta, so that there is something to learn
    first = Groups(0, 1)
    cycles(engine, Op.RESET(first, value=0), Op.MARK(first), Op.MEASURE(first, shift=7, minus=True))

    def learn(n_dst):
        return cycles(engine, Instruction(op=Op.LEARN, gain=1, shift=18, src=0, n_src=2, dst=0, n_dst=n_dst))

    for n_dst in range(3, 8):
        more = 2 * p * (2 if config.single_port else 1) + skips_unchanged(config)
        assert learn(n_dst + 1) - learn(n_dst) == more, n_dst
