"""RTL of the scanner: spikes and values become events."""

from __future__ import annotations

import pytest

from equilif_hdl.engine.scan import Scanner
from equilif_sim.tools.run import simulate
from tests.engines import DEEP, ENGINE, SINGLE_PORT, WIDE, thoroughness


@thoroughness
@pytest.mark.parametrize(
    "config",
    [SINGLE_PORT, DEEP, *(pytest.param(c, marks=pytest.mark.regress) for c in (ENGINE, WIDE))],
    ids=["P4-SPRAM", "P4-all", "P4", "P16"],
)
def test_rtl(config, thorough, tmp_path):
    how = {"config": config, "simulator": "icarus", "thorough": thorough}
    assert simulate(Scanner(config), "equilif_sim.engine.scan", tmp_path, **how)
