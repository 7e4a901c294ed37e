"""SDRAM controller and the model of the chip."""

from __future__ import annotations

import pytest

from equilif_sim.sdram import SdramBench, small
from equilif_sim.tools.run import simulate


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name, hz", [("MT48LC16M16", 95_000_000)])
def test_rtl(name, hz, tmp_path):
    assert simulate(SdramBench(small(name), hz), "equilif_sim.sdram", tmp_path) == 7
