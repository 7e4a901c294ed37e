"""RTL of the counters of memory accesses and arithmetic."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.features import OPTIONS
from equilif_hdl.engine.activity import Activity
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE


@pytest.mark.parametrize("whole", [False, True])
def test_rtl(whole, tmp_path):
    """Of an engine with all options, or with none but this."""
    config = dataclasses.replace(ENGINE, **dict.fromkeys(OPTIONS, whole) | {"counters": True})
    assert simulate(
        Activity(config), "equilif_sim.engine.activity", tmp_path, config=config, simulator="icarus"
    )
