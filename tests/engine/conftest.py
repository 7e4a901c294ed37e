"""Engines in Verilator that several tests share."""

from __future__ import annotations

import pytest

from tests.engines import CONFIGS, verilated

#: sixteen lanes take as long as all of four
ENGINES = [pytest.param(name, marks=[pytest.mark.regress] * (name == "P16")) for name in CONFIGS]


@pytest.fixture(scope="session", params=ENGINES, ids=str)
def engine(request):
    return verilated(CONFIGS[request.param])
