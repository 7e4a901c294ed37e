"""RTL of the sequencer: a program with its loops becomes instructions."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.features import OPTIONS
from equilif_hdl.engine.sequencer import Sequencer
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, SINGLE_PORT, WIDE, thoroughness

BENCH = "equilif_sim.engine.sequencer"


#: the longest program
LONG = dataclasses.replace(ENGINE, program_words=2048)


@thoroughness
@pytest.mark.parametrize(
    "config",
    [SINGLE_PORT, WIDE, pytest.param(LONG, marks=pytest.mark.regress)],
    ids=["P4-SPRAM", "P16-DEEP", "P4-long"],
)
def test_rtl(config, thorough, tmp_path):
    n = simulate(Sequencer(config), BENCH, tmp_path, config=config, simulator="icarus", thorough=thorough)
    assert n == (6 if thorough else 3)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "attention"])
def test_rtl_without_memories(option, tmp_path):
    """A loop deep, or two where an option has loops in loops."""
    config = dataclasses.replace(SINGLE_PORT, **{option: True})
    assert config.loops == 1 + OPTIONS[option].nests
    assert simulate(Sequencer(config), BENCH, tmp_path, config=config, simulator="icarus")
