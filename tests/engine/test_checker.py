"""RTL of the program checker: the same verdicts as the golden check."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.config import EngineConfig, ExternalWeights
from equilif_golden.engine.features import EVERYTHING
from equilif_hdl.engine.checker import Checker
from equilif_sim.tools.run import simulate
from tests.engines import EVEN, ODD, thoroughness

MANY = EngineConfig(lanes=2, tiles=1 << 15, value_groups=1024, state_groups=4, program_words=96, **EVERYTHING)
WITH_MAPS = dataclasses.replace(ODD, convolution=True, attention=False)

WITH_SDRAM = dataclasses.replace(
    ODD,
    **EVERYTHING,
    program_words=96,
    external=ExternalWeights(chip_name="MT48LC16M16", hz=90_000_000, tiles=150),
)


@thoroughness
@pytest.mark.parametrize(
    "config",
    [ODD, EVEN, pytest.param(MANY, marks=pytest.mark.regress), WITH_MAPS, WITH_SDRAM],
    ids=["odd", "even", "many", "with-maps", "with-sdram"],
)
def test_rtl(config, thorough, tmp_path):
    how = {"config": config, "simulator": "icarus", "thorough": thorough}
    assert simulate(Checker(config), "equilif_sim.engine.checker", tmp_path, **how) == 3
