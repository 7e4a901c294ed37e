"""Each block's RTL equals its golden function, exactly, under stalls; cycles are counted in the benches.  One bench a block: sim/<block>.py."""
import dataclasses

import pytest

from golden.fixed import DEFAULT, Numerics
from golden.isa import EngineConfig
from hdl.lif import Lif
from hdl.plasticity import Plasticity
from hdl.rate import Measure, Moved
from hdl.relay import Relay
from hdl.scan import Scanner
from hdl.sequencer import Sequencer
from hdl.softmax import Reciprocal, Softmax
from hdl.walk import Walker
from hdl.weights import WeightArray
from sim.run import simulate

NARROW = Numerics(fraction=8, weight_width=10, accumulator_width=20, charge_width=15)
ENGINE = EngineConfig(lanes=4, tiles=20, value_groups=16, state_groups=8, program_words=96)
SINGLE_PORT = dataclasses.replace(ENGINE, single_port=True, forwarding=False, softmax=False)
WIDE = dataclasses.replace(ENGINE, lanes=16, weight_stages=2, early=True)


@pytest.mark.parametrize("numerics", [DEFAULT, NARROW], ids=["default", "narrow"])
@pytest.mark.parametrize("block, bench", [(Lif, "sim.lif"), (Measure, "sim.rate"), (Relay, "sim.relay")], ids=["lif", "rate", "relay"])
def test_lane_block(block, bench, numerics, tmp_path):
    assert simulate(block(numerics), bench, tmp_path, config=numerics, simulator="icarus")


def test_moved(tmp_path):
    assert simulate(Moved(), "sim.moved", tmp_path, config={}, simulator="icarus")


@pytest.mark.parametrize("early", [False, True])
def test_sequencer_without_memories(early, tmp_path):
    """A loop deep, or two where phases may end early."""
    config = dataclasses.replace(SINGLE_PORT, early=early)
    assert config.loops == 1 + early and simulate(Sequencer(config), "sim.sequencer", tmp_path, config=config, simulator="icarus")


@pytest.mark.parametrize("lanes, numerics", [(4, NARROW), (4, DEFAULT), (8, DEFAULT), (16, DEFAULT)], ids=["narrow", "P4", "P8", "P16"])
def test_softmax(lanes, numerics, tmp_path):
    config = dataclasses.replace(ENGINE, lanes=lanes, numerics=numerics)
    assert simulate(Softmax(config), "sim.softmax", tmp_path, config=config, simulator="icarus") == 4


def test_reciprocal(tmp_path):
    assert simulate(Reciprocal(18), "sim.reciprocal", tmp_path, config={"first": 0, "last": 1 << 12}, simulator="icarus")


@pytest.mark.long
def test_every_reciprocal(tmp_path):
    """All sums that 1,032 neurons can make."""
    assert simulate(Reciprocal(18), "sim.reciprocal", tmp_path, config={"first": 0, "last": 1 << 18}, simulator="verilator")


@pytest.mark.parametrize("registers", [0, 1, 2])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("numerics", [DEFAULT, NARROW], ids=["default", "narrow"])
def test_plasticity(numerics, signed, registers, tmp_path):
    block = Plasticity(numerics, registers=registers, signed_values=signed)
    assert simulate(block, "sim.plasticity", tmp_path, simulator="icarus",
                    config={**dataclasses.asdict(numerics), "signed": signed, "latency": block.latency})


@pytest.mark.parametrize("config", [ENGINE, SINGLE_PORT, WIDE], ids=["P4", "P4-single-port", "P16"])
@pytest.mark.parametrize("block, bench", [(WeightArray, "sim.weights"), (Scanner, "sim.scan"), (Walker, "sim.walk"), (Sequencer, "sim.sequencer")],
                         ids=["weights", "scan", "walk", "sequencer"])
def test_engine_block(block, bench, config, tmp_path):
    assert simulate(block(config), bench, tmp_path, config=config, simulator="icarus")
