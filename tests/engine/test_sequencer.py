"""RTL of the sequencer: a program with its loops becomes instructions."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_hdl.engine.sequencer import Sequencer
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, SINGLE_PORT, WIDE

BENCH = "equilif_sim.engine.sequencer"


@pytest.mark.parametrize("config", [ENGINE, SINGLE_PORT, WIDE], ids=["P4", "P4-SPRAM", "P16-DEEP"])
def test_rtl(config, tmp_path):
    assert simulate(Sequencer(config), BENCH, tmp_path, config=config, simulator="icarus")


@pytest.mark.parametrize("early", [False, True])
def test_rtl_without_memories(early, tmp_path):
    """A loop deep, or two where phases may end early."""
    config = dataclasses.replace(SINGLE_PORT, early=early)
    assert config.loops == 1 + early
    assert simulate(Sequencer(config), BENCH, tmp_path, config=config, simulator="icarus")
