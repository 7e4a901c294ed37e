"""Verilated engines shared by tests."""

from __future__ import annotations

import pytest

from tests.engines import CONFIGS, verilated

#: 16 lanes take as long as all others together
ENGINES = [pytest.param(name, marks=[pytest.mark.regress] * (name == "P16")) for name in CONFIGS]


@pytest.fixture(scope="session", params=ENGINES, ids=str)
def engine(request):
    return verilated(CONFIGS[request.param])
