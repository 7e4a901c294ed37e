"""RTL of the program checker: the same verdicts as the golden check."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import EVERYTHING
from equilif_hdl.engine.checker import Checker
from equilif_sim.tools.run import simulate
from tests.engines import EVEN, ODD, thoroughness

MANY = EngineConfig(lanes=2, tiles=1 << 15, value_groups=1024, state_groups=4, program_words=96, **EVERYTHING)
WITH_MAPS = dataclasses.replace(ODD, convolution=True, attention=False)


@thoroughness
@pytest.mark.parametrize(
    "config",
    [ODD, EVEN, pytest.param(MANY, marks=pytest.mark.regress), WITH_MAPS],
    ids=["odd", "even", "many", "with-maps"],
)
def test_rtl(config, thorough, tmp_path):
    how = {"config": config, "simulator": "icarus", "thorough": thorough}
    assert simulate(Checker(config), "equilif_sim.engine.checker", tmp_path, **how) == 3
