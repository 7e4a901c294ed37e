"""Convolutions on the engine: CONVOLVE and its address generation.

The random programs of test_engine.py contain them as well.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from equilif_golden.blocks.plasticity import Step, dither
from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled, engine_for
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import Groups, Instruction, Op, ProgramError, assemble, check, disassemble
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.network import Attention, Constant, Input, Lif, Network, Relay, Synapse
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.engine.geometry import Geometry as GeometryRtl
from equilif_sim.tools.programs import random_program, random_values, random_weights
from equilif_sim.tools.run import simulate
from equilif_sim.verilated import VerilatedEngine
from tests.engines import ENGINE, WIDE, compare, verilated

CONFIG = EngineConfig(
    lanes=4, tiles=96, value_groups=64, state_groups=32, program_words=192, convolution=True
)
ODD = {
    "of a column": Geometry(2, 1, 5, 1, 3, 1, 1),
    "of a row": Geometry(1, 2, 1, 5, 1, 2, 2),
    "of a position": Geometry(1, 1, 1, 1, 1, 1, 1),
    "one group, overlapping": Geometry(1, 1, 3, 4, 3, 2, 1),
    "a stride that is no part of the kernel": Geometry(1, 1, 2, 2, 3, 3, 2),
    "a stride larger than the kernel": Geometry(1, 1, 2, 3, 1, 2, 3),
    "a kernel as large as the maps": Geometry(2, 2, 1, 1, 3, 4, 1),
    "a bias that maps share": Geometry(1, 2, 3, 4, 1, 1, 0),
    "joint windows of several positions": Geometry(1, 1, 2, 3, 2, 3, 0),
}


def pairs(g):
    """Definition, by loops: source position, destination position and kernel offset of all connections."""
    return [
        ((y * g.stride + dy) * g.width + x * g.stride + dx, y * g.columns + x, dy * g.kernel_columns + dx)
        for y in range(g.rows)
        for x in range(g.columns)
        for dy in range(g.kernel_rows)
        for dx in range(g.kernel_columns)
    ]


# -- the instruction -------------------------------------------------------------------------------
def test_opcode_of_convolve():
    """The fifth bit is a mode bit that DRIVE does not use."""
    i = Op.CONVOLVE(pre=1, post=2, rows=3, columns=4, kernel_rows=5, kernel_columns=6, stride=7)
    assert i.geometry == Geometry(1, 2, 3, 4, 5, 6, 7)
    assert i.encode() & 0xFF == Op.DRIVE | 8 << 4
    assert disassemble(assemble([i])) == [i]
    with pytest.raises(ValueError, match="DRIVE"):
        Instruction(op=Op.DRIVE, mode=8).encode()


FIRST = Op.CONVOLVE(1, 2, 3, 4, 2, 2, 1)  # 4 x 5 positions of one group to 3 x 4 of two
GATHER = Op.GATHER(Groups(0, 20), Groups(8, 24), tile=88)


@pytest.mark.parametrize(
    "program, index, problem",
    [
        ([dataclasses.replace(FIRST, src=64), GATHER], 0, r"CONVOLVE.*rows.*1\.\.63.*64"),
        ([FIRST, Op.HALT()], 1, "HALT.*CONVOLVE"),
        ([FIRST, FIRST, GATHER], 1, "CONVOLVE.*CONVOLVE"),
        ([FIRST, Op.REPEAT(2), GATHER, Op.NEXT()], 1, "REPEAT.*CONVOLVE"),
        ([FIRST, dataclasses.replace(GATHER, n_src=19)], 1, "GATHER.*sources.*20.*19"),
        ([FIRST, dataclasses.replace(GATHER, n_dst=23)], 1, "GATHER.*groups.*24"),
        ([FIRST, dataclasses.replace(GATHER, mode=1)], 1, "GATHER.*sources.*24"),
        ([FIRST, dataclasses.replace(GATHER, dst=9)], 1, r"GATHER.*9\.\.32.*0\.\.31"),
        ([FIRST, dataclasses.replace(GATHER, operand=89)], 1, r"GATHER.*89\.\.96.*0\.\.95"),
        # after the GATHER: dense again
        ([FIRST, GATHER, GATHER], 2, r"GATHER.*88\.\.567.*0\.\.95"),
    ],
)
def test_check_of_convolve(program, index, problem):
    check([FIRST, GATHER, Op.HALT()], CONFIG)
    with pytest.raises(ProgramError, match=problem) as e:
        check([*program, Op.HALT()], CONFIG)
    assert e.value.index == index


def test_engine_without_convolutions():
    with pytest.raises(ProgramError, match="CONVOLVE"):
        check([FIRST, GATHER, Op.HALT()], dataclasses.replace(CONFIG, convolution=False))


# -- semantics -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ODD)
def test_geometry_equals_definition(name):
    g = ODD[name]
    found = [
        (int(source), position, offset)
        for position, sources in enumerate(g.sources())
        for offset, source in enumerate(sources)
    ]
    assert found == pairs(g)
    joined = np.bincount([source for source, _, _ in found], minlength=g.height * g.width)
    assert (g.commands(back=False) == np.repeat(joined, g.pre) * g.post).all()
    assert (g.commands(back=True) == g.patch).all() and len(g.commands(back=True)) == g.n_post


@pytest.mark.parametrize("name", ODD)
def test_model_equals_unrolled_network(name):
    """Sums over all connected pairs; LEARN in the order of sources, then destinations."""
    g = ODD[name]
    p = CONFIG.lanes
    rng = np.random.default_rng(1)
    engine = EngineModel(CONFIG)
    engine.w[:] = random_weights(rng, CONFIG)
    engine.counter = 77
    engine.s[:] = rng.integers(0, 2, engine.s.shape)
    engine.plus.flat = random_values(rng, CONFIG)
    engine.minus.flat = random_values(rng, CONFIG)
    w = from_words(engine.w[p:][: g.tiles * p], (g.patch * p, g.post * p), p)
    pre = Groups(0, g.n_pre)
    post = Groups(64 - g.n_post, g.n_post)
    low = Groups(0, g.n_post)
    joined = sorted(
        (s * g.pre * p + i, d * g.post * p + k, offset * g.pre * p + i, k, s, d, i)
        for s, d, offset in pairs(g)
        for i in range(g.pre * p)
        for k in range(g.post * p)
    )
    forth = np.zeros(g.n_post * p, np.int64)
    back = np.zeros(g.n_pre * p, np.int64)
    driven = np.zeros(g.n_post * p, np.int64)
    for i, k, row, column, *_ in joined:
        forth[k] += engine.s.flat[i] * w[row, column]
        back[i] += engine.s.flat[k] * w[row, column]
        driven[k] += engine.plus.flat[i] * w[row, column] >> 8

    def after(*program):
        engine.a[:] = engine.b[:] = 0
        engine.load([Op.CONVOLVE(**g._asdict()), *program, Op.HALT()])
        engine.run(learn=True)

    after(Op.GATHER(pre, low, tile=1))
    assert (engine.a.ravel()[: len(forth)] == forth).all()
    after(Op.GATHER(low, pre, tile=1, column=True))
    assert (engine.a.ravel()[: len(back)] == back).all()
    after(Op.DRIVE(pre, low, tile=1))
    assert (engine.b.ravel()[: len(driven)] == driven).all()

    step = Step(9, 14)
    fmt = CONFIG.numerics.weight
    u = [v.ravel() for v in (engine.plus, engine.minus)]
    v = [v.ravel()[post.first * p :] for v in (engine.plus, engine.minus)]
    noise = dither(77, *(np.array(joined)[:, column] for column in (6, 3, 4, 5))) & (1 << 14) - 1
    for (i, k, row, column, *_), n in zip(joined, noise.tolist(), strict=True):
        change = step.gain * (u[0][i] * v[0][k] - u[1][i] * v[1][k]) + n >> step.shift
        w[row, column] = min(max(w[row, column] + change, fmt.lo), fmt.hi)
    after(Op.LEARN(pre, post, tile=1, gain=step.gain, shift=step.shift))
    assert (from_words(engine.w[p:][: g.tiles * p], w.shape, p) == w).all()
    assert engine.counter == 78


def test_dense_synapse_is_one_position():
    rng = np.random.default_rng(2)
    sources, groups = Groups(3, 4), Groups(40, 5)
    engines = [EngineModel(CONFIG) for _ in range(2)]
    weights = random_weights(rng, CONFIG)
    values = random_values(rng, CONFIG)
    learn = Op.LEARN(sources, groups, tile=2, gain=30, shift=12)
    for engine, program in zip(engines, ([learn], [Op.CONVOLVE(4, 5, 1, 1, 1, 1, 1), learn]), strict=True):
        engine.w[:] = weights
        engine.plus.flat = values
        engine.load([*program, Op.HALT()])
        engine.run(learn=True)
    assert (engines[0].w == engines[1].w).all() and (engines[0].w != weights).any()


# -- networks --------------------------------------------------------------------------------------
SHORT = Schedule(free=16, nudged=16, beta=1.0)
NETWORKS = {
    "two convolutions": Network.conv((6, 6), (3, 3), (5, 2, 2), 5, schedule=SHORT),
    "patches": Network.conv((8, 8), (5, 2), (6, 2, 1), 4, patch=2, schedule=SHORT),
    "channels first": Network.conv((4, 5, 3), (5, 2), 4, channels_first=True, schedule=SHORT),
    "colours, a hidden population": Network.conv((5, 7, 2), (3, 3, 2), 6, 4, schedule=SHORT),
    "one position": Network.conv((3, 3), (9, 3), 4, schedule=SHORT),
    "a graph": Network(
        (
            Input.of_shape("x", (4, 5, 3)),
            Input("z", 7),
            Constant("bias", 1),
            Lif.of_shape("a", (3, 4, 2)),
            Lif.of_shape("b", (4, 5, 6)),
            Lif.of_shape("c", (2, 3, 5)),
            Lif("y", 3),
        ),
        (
            Synapse("x", "a", kernel=2),
            Synapse("x", "b", 0.5, kernel=1),
            Synapse("a", "c", kernel=2),
            Synapse("bias", "a"),
            Synapse("bias", "c"),
            Synapse("b", "y"),
            Synapse("c", "y"),
            Synapse("z", "y"),
            Synapse("x", "y"),
        ),
        "y",
        SHORT,
    ),
    "an output of maps": Network(
        (Input.of_shape("x", (3, 2, 2)), Lif.of_shape("y", (2, 1, 8))),
        (Synapse("x", "y", kernel=2),),
        "y",
        SHORT,
    ),
    "a memory that maps ask": Network(
        (
            Input.of_shape("x", (2, 3, 3)),
            Attention("stored", 6),
            Relay("look", 8, heads=2, gain=1),
            Constant("bias", 1),
            Lif("y", 4),
        ),
        (Synapse("stored", "look"), Synapse("x", "look"), Synapse("look", "y"), Synapse("bias", "y")),
        "y",
        Schedule(free=16, nudged=16, window=8, beta=1.0),
    ),
}


def learns_as_the_reference(engine, network, *, samples):
    reference = Reference(network, network.initial_weights(1, scale=2.0), learning_rate=0.2)
    before = {name: w.copy() for name, w in reference.weights.items()}
    chip = Chip(engine, network, reference.weights, learning_rate=0.2)
    rng = np.random.default_rng(2)
    spikes = 0
    for k in range(samples):
        x = rng.integers(0, 256, network.n_inputs)
        y = one_hot(rng.integers(0, network.n_outputs, 1), network.n_outputs)
        want = reference.train(x[None], y)
        got = chip.sample(x, y[0])
        assert (got.prediction, got.spikes) == (want.prediction[0], want.spikes), f"sample {k}"
        for rates, expected in zip(chip.rates(), (want.plus, want.minus), strict=True):
            assert (rates == np.concatenate([expected[p.name][0] for p in network.lif])).all(), k
        spikes += got.spikes
    weights = chip.weights
    assert all((w == reference.weights[synapse]).all() for synapse, w in weights.items())
    assert sum((w != before[synapse]).any() for synapse, w in weights.items()) > len(weights) / 2
    want = reference.infer(x[None])
    assert chip.sample(x).prediction == want.prediction[0] and spikes > 100
    assert (chip.rates().plus == np.concatenate([want.free[p.name][0] for p in network.lif])).all()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lanes", [4, 8])
def test_networks_learn_as_reference(name, lanes):
    """Maps of a fraction of a group, of one group and of several."""
    network = NETWORKS[name]
    learns_as_the_reference(EngineModel(engine_for(network, lanes=lanes)), network, samples=6)


def test_convolve_precedes_use():
    """Three per step between maps, one for each DRIVE and LEARN, shared biases included."""
    network = NETWORKS["two convolutions"]
    compiled = Compiled(network, engine_for(network, lanes=4))
    program = compiled.program(0.05)
    uses = [j.op for i, j in zip(program, program[1:], strict=False) if i.op == Op.CONVOLVE]
    assert uses.count(Op.DRIVE) == 1 + 2 and uses.count(Op.LEARN) == 3 + 2
    assert uses.count(Op.GATHER) == 3 * (2 + 2)
    assert sum(i.op == Op.GATHER for i in program) == 3 * (2 + 2)


MNIST = Network.conv((28, 28), (12, 3), (32, 6, 2), 10, patch=2)


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"convolution": False}, r"maps \(input\)"),
        ({"state_groups": 128}, "177"),
        ({"value_groups": 256}, "375"),
        ({"tiles": 110}, "117"),
        ({"program_words": 128}, "216"),
    ],
)
def test_capacity_errors_of_maps(sizes, message):
    """The reference example, 14x14x4 - 12x12x12 - 4x4x32 - 10, with 16 lanes."""
    fits = EngineConfig(
        lanes=16,
        tiles=117,
        value_groups=512,
        state_groups=256,
        program_words=256,
        convolution=True,
        numerics=MNIST.numerics,
    )
    Compiled(MNIST, fits)
    with pytest.raises(CapacityError, match=message):
        Compiled(MNIST, dataclasses.replace(fits, **sizes))


@pytest.mark.parametrize(
    "network, message",
    [
        (Network.conv((70, 8), (4, 2), 3), "input-maps1"),
        (
            Network(
                (Input.of_shape("x", (2, 2, 2)), Lif.of_shape("y", (1, 1, 5))),
                (Synapse("x", "y", kernel=2),),
                "y",
            ),
            "5 maps",
        ),
    ],
)
def test_unsupported_networks(network, message):
    with pytest.raises(CapacityError, match=message):
        Compiled(network, EngineConfig(lanes=4, convolution=True, numerics=network.numerics))


# -- RTL -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [ENGINE, WIDE], ids=["P4", "P16"])
def test_rtl_of_geometry(config, tmp_path):
    config = dataclasses.replace(config, convolution=True)
    dut = GeometryRtl(config)
    assert simulate(dut, "equilif_sim.engine.geometry", tmp_path, config=config, simulator="icarus")


@pytest.mark.long
@pytest.mark.parametrize("pipeline", Pipeline)
def test_random_programs_with_maps(pipeline):
    """420 programs with a convolution on larger engines: memories, counts and cycles.  Also all odd shapes
    with every neuron active, where LEARN returns to a weight after the fewest cycles.
    """
    config = dataclasses.replace(CONFIG, lanes=8, pipeline=pipeline, **EVERYTHING)
    rtl = VerilatedEngine(config)
    model = EngineModel(config)
    rng = np.random.default_rng(5)
    n = 0
    while n < 420:
        program = random_program(rng, config)
        convolves = any(i.op == Op.CONVOLVE for i in program)
        if convolves:
            same_run(rtl, model, program, rng, f"program {n}")
        n += convolves
    for name, g in ODD.items():
        for _ in range(5):
            program = every_way(g, config, rng)
            same_run(rtl, model, program, rng, name, full=True)


def unequal(n):
    """Set V- of the first groups to 0; a host writes both V+ and V-."""
    groups = Groups(0, n)
    return [Op.RESET(groups, value=0), Op.MARK(groups), Op.MEASURE(groups, shift=2, minus=True)]


def every_way(g, config, rng):
    convolve = Op.CONVOLVE(**g._asdict())
    tile = int(rng.integers(config.tiles - g.tiles + 1))
    everyone = Groups(0, config.state_groups)
    pre = Groups(0, g.n_pre)
    post = Groups(0, g.n_post)
    program = [*unequal(everyone.n), Op.RESET(everyone, value=1), Op.STEP(everyone, threshold=1, leak=0)]
    for i in (
        Op.LEARN(pre, post, tile=tile, gain=int(rng.integers(4)), shift=14),
        Op.DRIVE(pre, post, tile=tile),
        Op.GATHER(pre, post, tile=tile),
        Op.GATHER(post, pre, tile=tile, column=True),
        Op.LEARN(pre, post, tile=tile, gain=31, shift=12),
    ):
        program += [convolve, i]
    return [*program, Op.HALT()]


def same_run(rtl, model, program, rng, what, *, full=False):
    config = model.config
    model.w[:] = random_weights(rng, config)
    rtl.write(Region.WEIGHT, 0, model.w.ravel())
    values = (
        random_values(rng, config) if not full else rng.integers(1, 256, config.value_groups * config.lanes)
    )
    for engine in (rtl, model):
        engine.write(Region.VALUE, 0, values)
        engine.load(program)
    want = model.run(learn=True)
    got = rtl.run(learn=True, max_cycles=1_000_000)
    for name in ("prediction", "spikes", "accesses", "activity", "cycles"):
        assert getattr(got, name) == getattr(want, name), f"{what}: {name}"
    compare(rtl, model, what)


@pytest.mark.parametrize("g", [Geometry(1, 1, 2, 4, 1, 1, 0), Geometry(1, 1, 2, 4, 1, 1, 1)], ids=str)
def test_learning_waits_for_writes(engine, g):
    """One weight shared by two maps, updated at the highest rate: one active lane."""
    if not engine.config.convolution:
        pytest.skip("an engine without convolutions")
    engine = verilated(engine.config)  # a separately compiled engine
    model = EngineModel(engine.config)
    rng = np.random.default_rng(6)
    learn = Op.LEARN(Groups(8, g.n_pre), Groups(0, g.n_post), tile=0, gain=3, shift=14)
    program = [*unequal(8), Op.CONVOLVE(**g._asdict()), learn, Op.HALT()]
    values = rng.integers(1, 256, (model.config.value_groups, model.config.lanes))
    values[8:, 1:] = 0
    model.w[:] = random_weights(rng, model.config) // 2
    before = model.w.copy()
    for each in (engine, model):
        each.write(Region.WEIGHT, 0, before.ravel())
        each.write(Region.VALUE, 0, values.ravel())
        each.write(Region.COUNTER, 0, [0])
        each.load(program)
    for k in range(4):
        assert engine.run(learn=True).cycles == model.run(learn=True).cycles, k
        assert (engine.read(Region.WEIGHT, 0, model.w.size) == model.w.ravel()).all(), k
    assert (model.w != before).sum() >= model.config.lanes // 2


def test_network_learns_in_rtl(engine):
    """3x3 to 2x2x2 to 2, with biases."""
    if not engine.config.convolution:
        pytest.skip("an engine without convolutions")
    network = Network.conv((3, 3), (2, 2), 2, schedule=SHORT, numerics=engine.config.numerics)
    learns_as_the_reference(verilated(engine.config), network, samples=6)


@pytest.mark.long
@pytest.mark.parametrize("pipeline", Pipeline)
@pytest.mark.parametrize("lanes", [4, 16])
def test_networks_learn_in_rtl(pipeline, lanes):
    """All networks on every pipeline."""
    config = EngineConfig(
        lanes=lanes, tiles=512, value_groups=256, state_groups=256, program_words=1024, pipeline=pipeline,
        convolution=True,
    )  # fmt: skip
    rtl = VerilatedEngine(config)
    for network in NETWORKS.values():
        same = dataclasses.replace(network, numerics=config.numerics)
        learns_as_the_reference(rtl, same, samples=6)
