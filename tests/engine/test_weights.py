"""RTL of the weights: rows and columns, against NumPy."""

from __future__ import annotations

import pytest

from equilif_hdl.engine.weights import WeightArray
from equilif_sim.tools.run import simulate
from tests.engines import ENGINE, REGISTERED, SINGLE_PORT, WIDE


@pytest.mark.parametrize(
    "config",
    [ENGINE, SINGLE_PORT, REGISTERED, WIDE],
    ids=["P4", "P4-SPRAM", "P4-REGISTERED", "P16-DEEP"],
)
def test_rtl(config, tmp_path):
    assert simulate(
        WeightArray(config), "equilif_sim.engine.weights", tmp_path, config=config, simulator="icarus"
    )
