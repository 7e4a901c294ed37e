"""RTL of the walker: events become commands."""

from __future__ import annotations

import pytest

from equilif_hdl.engine.walk import Walker
from equilif_sim.tools.run import simulate
from tests.engines import SINGLE_PORT, WIDE, thoroughness


@thoroughness
@pytest.mark.parametrize("config", [SINGLE_PORT, WIDE], ids=["P4-SPRAM", "P16-DEEP"])
def test_rtl(config, thorough, tmp_path):
    how = {"config": config, "simulator": "icarus", "thorough": thorough}
    assert simulate(Walker(config), "equilif_sim.engine.walk", tmp_path, **how)
