"""Engines in Verilator that several tests share."""

from __future__ import annotations

import pytest

from tests.engines import CONFIGS, verilated


@pytest.fixture(scope="session", params=CONFIGS, ids=str)
def engine(request):
    return verilated(CONFIGS[request.param])
