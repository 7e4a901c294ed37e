"""RTL of the walker: events become commands."""

from __future__ import annotations

import pytest

from equilif_hdl.engine.walk import Walker
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, SINGLE_PORT, WIDE


@pytest.mark.parametrize("config", [ENGINE, SINGLE_PORT, WIDE], ids=["P4", "P4-SPRAM", "P16-DEEP"])
def test_rtl(config, tmp_path):
    assert simulate(Walker(config), "equilif_sim.engine.walk", tmp_path, config=config, simulator="icarus")
