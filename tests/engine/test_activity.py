"""RTL of the counters of memory accesses and arithmetic."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_hdl.engine.activity import Activity
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE


@pytest.mark.parametrize("early", [False, True])
def test_rtl(early, tmp_path):
    config = dataclasses.replace(ENGINE, softmax=early, early=early, counters=True)
    assert simulate(
        Activity(config), "equilif_sim.engine.activity", tmp_path, config=config, simulator="icarus"
    )
