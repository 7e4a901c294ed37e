"""RTL of the scanner: spikes and values become events."""

from __future__ import annotations

import pytest

from equilif_hdl.engine.scan import Scanner
from equilif_sim.tools.run import simulate
from tests.engines import DEEP, ENGINE, SINGLE_PORT, WIDE, thoroughness


@thoroughness
@pytest.mark.parametrize(
    "config",
    [ENGINE, SINGLE_PORT, DEEP, pytest.param(WIDE, marks=pytest.mark.regress)],
    ids=["P4", "P4-SPRAM", "P4-all", "P16"],
)
def test_rtl(config, thorough, tmp_path):
    how = {"config": config, "simulator": "icarus", "thorough": thorough}
    assert simulate(Scanner(config), "equilif_sim.engine.scan", tmp_path, **how)
