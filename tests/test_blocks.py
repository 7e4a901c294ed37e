"""Each block's RTL equals its golden function, exactly, under stalls; cycles are counted in the benches.

One bench a block: equilif_sim/blocks/<block>.py and equilif_sim/engine/<block>.py.
"""

import dataclasses
import re

import pytest

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.fixed import DEFAULT, Numerics
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.plasticity import Plasticity
from equilif_hdl.blocks.rate import Measure, Moved
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.blocks.softmax import Reciprocal, Softmax
from equilif_hdl.engine.activity import Activity
from equilif_hdl.engine.lane import Lane
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.stages import Timing
from equilif_hdl.engine.walk import Walker
from equilif_hdl.engine.weights import WeightArray
from equilif_sim.tools.run import simulate

NARROW = Numerics(fraction=8, weight_width=10, accumulator_width=20, charge_width=15)
ENGINE = EngineConfig(lanes=4, tiles=20, value_groups=16, state_groups=8, program_words=96)
SINGLE_PORT = dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, softmax=False)
REGISTERED = dataclasses.replace(ENGINE, pipeline=Pipeline.REGISTERED, early=True)
WIDE = dataclasses.replace(ENGINE, lanes=16, pipeline=Pipeline.DEEP, early=True)
LANES = {
    "FORWARDING": (dataclasses.replace(ENGINE, early=True), 1),
    "SPRAM": (dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, numerics=NARROW), 2),
    "SMALL-without-memories": (dataclasses.replace(ENGINE, pipeline=Pipeline.SMALL, softmax=False), 3),
    "REGISTERED": (REGISTERED, 0),
    "DEEP": (WIDE, 11),
}


@pytest.mark.parametrize("numerics", [DEFAULT, NARROW], ids=["default", "narrow"])
@pytest.mark.parametrize(
    "block, bench, only",
    [
        (Lif, "equilif_sim.blocks.lif", None),
        (Measure, "equilif_sim.blocks.rate", "rates"),
        (Relay, "equilif_sim.blocks.relay", None),
    ],
    ids=["lif", "rate", "relay"],
)
def test_lane_block(block, bench, only, numerics, tmp_path):
    assert simulate(block(numerics), bench, tmp_path, config=numerics, simulator="icarus", only=only)


def test_moved(tmp_path):
    done = simulate(
        Moved(), "equilif_sim.blocks.rate", tmp_path, config={}, simulator="icarus", only="changes"
    )
    assert done == 1


@pytest.mark.parametrize("early", [False, True])
def test_sequencer_without_memories(early, tmp_path):
    """A loop deep, or two where phases may end early."""
    config = dataclasses.replace(SINGLE_PORT, early=early)
    assert config.loops == 1 + early and simulate(
        Sequencer(config), "equilif_sim.engine.sequencer", tmp_path, config=config, simulator="icarus"
    )


@pytest.mark.parametrize(
    "lanes, numerics",
    [(4, NARROW), (4, DEFAULT), (8, DEFAULT), (16, DEFAULT)],
    ids=["narrow", "P4", "P8", "P16"],
)
def test_softmax(lanes, numerics, tmp_path):
    config = dataclasses.replace(ENGINE, lanes=lanes, numerics=numerics)
    only = "softmaxes|every"
    bench = "equilif_sim.blocks.softmax"
    assert simulate(Softmax(config), bench, tmp_path, config=config, simulator="icarus", only=only) == 4


def test_reciprocal(tmp_path):
    assert simulate(
        Reciprocal(18),
        "equilif_sim.blocks.softmax",
        tmp_path,
        config={"first": 0, "last": 1 << 12},
        simulator="icarus",
        only="totals",
    )


@pytest.mark.long
def test_every_reciprocal(tmp_path):
    """All sums that 1,032 neurons can make."""
    assert simulate(
        Reciprocal(18),
        "equilif_sim.blocks.softmax",
        tmp_path,
        config={"first": 0, "last": 1 << 18},
        simulator="verilator",
        only="totals",
    )


@pytest.mark.parametrize("registers", [0, 1, 2])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("numerics", [DEFAULT, NARROW], ids=["default", "narrow"])
def test_plasticity(numerics, signed, registers, tmp_path):
    block = Plasticity(numerics, registers=registers, signed_values=signed)
    assert simulate(
        block,
        "equilif_sim.blocks.plasticity",
        tmp_path,
        simulator="icarus",
        config={**dataclasses.asdict(numerics), "signed": signed, "latency": block.latency},
    )


@pytest.mark.parametrize("config", [ENGINE, SINGLE_PORT, WIDE], ids=["P4", "P4-SPRAM", "P16-DEEP"])
@pytest.mark.parametrize(
    "block, bench",
    [
        (WeightArray, "equilif_sim.engine.weights"),
        (Scanner, "equilif_sim.engine.scan"),
        (Walker, "equilif_sim.engine.walk"),
        (Sequencer, "equilif_sim.engine.sequencer"),
    ],
    ids=["weights", "scan", "walk", "sequencer"],
)
def test_engine_block(block, bench, config, tmp_path):
    assert simulate(block(config), bench, tmp_path, config=config, simulator="icarus")


@pytest.mark.parametrize(
    "block, bench",
    [(WeightArray, "equilif_sim.engine.weights"), (Scanner, "equilif_sim.engine.scan")],
    ids=["weights", "scan"],
)
def test_registers_behind_the_weights(block, bench, tmp_path):
    assert simulate(block(REGISTERED), bench, tmp_path, config=REGISTERED, simulator="icarus")


def test_the_table_of_stages_is_true():
    """That of the docstring, pipeline by pipeline."""
    table = [line.split() for line in Timing.__doc__.splitlines() if re.match(r" {4}\w+ +-?\d", line)]
    header = re.search(r"^ +(SPRAM.*)$", Timing.__doc__, flags=re.MULTILINE)[1].split()
    small = vars(Timing(EngineConfig(pipeline=Pipeline.SMALL)))
    assert small == vars(Timing(EngineConfig(pipeline=Pipeline.FORWARDING)))
    for column, name in enumerate(header, 1):
        timing = vars(Timing(EngineConfig(pipeline=Pipeline[name])))
        assert {row[0]: int(row[column]) for row in table} == {
            name: stage for name, stage in timing.items() if name not in ("update_registers", "deep_domain")
        }


@pytest.mark.parametrize("name", LANES)
def test_lane(name, tmp_path):
    """Every output of a lane, in every pipeline."""
    config, index = LANES[name]
    assert {config.pipeline for config, _ in LANES.values()} == set(Pipeline)
    assert simulate(
        Lane(config, index),
        "equilif_sim.engine.lane",
        tmp_path,
        config={"engine": dataclasses.asdict(config), "index": index},
        simulator="icarus",
    )


@pytest.mark.parametrize("early", [False, True])
def test_activity(early, tmp_path):
    config = dataclasses.replace(ENGINE, softmax=early, early=early, counters=True)
    assert simulate(
        Activity(config), "equilif_sim.engine.activity", tmp_path, config=config, simulator="icarus"
    )
