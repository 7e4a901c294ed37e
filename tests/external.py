"""Small engines with external weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equilif_golden.engine.config import ExternalWeights
from tests.engines import ROOMY

MT = ExternalWeights(chip_name="MT48LC16M16", hz=95_000_000, tiles=90)
EM = replace(MT, chip_name="EM638325", hz=90_000_000)
#: lanes and chips; P weights are 1, 2, 8 and 16 words of the SDRAM
EXTERNAL = {
    "P4": replace(ROOMY, external=replace(EM, tables=True), tiles=40),
    "P2": replace(ROOMY, external=replace(EM, tiles=200), lanes=2, tiles=101),
    "P8": replace(ROOMY, external=replace(MT, tables=True), lanes=8, tiles=15),
    "P16": replace(ROOMY, external=replace(EM, tables=True), lanes=16, tiles=8),
}


ENGINES = pytest.mark.parametrize(
    "name", ["P4", *(pytest.param(n, marks=pytest.mark.regress) for n in EXTERNAL if n != "P4")]
)
