"""Engines in Verilator that several tests share."""

from __future__ import annotations

import pytest

from equilif_sim.verilated import VerilatedEngine
from tests.engines import CONFIGS


@pytest.fixture(scope="session", params=CONFIGS, ids=str)
def engine(request):
    return VerilatedEngine(CONFIGS[request.param])
