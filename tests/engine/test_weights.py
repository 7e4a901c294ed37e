"""RTL of the weights: rows and columns against NumPy; division of banks into blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from equilif_hdl.engine.weights import BLOCK, MIN_WORDS, WeightArray, segments
from equilif_sim.tools.run import simulate
from tests.engines import DEEP, SINGLE_PORT, WIDE

#: banks of 2,800 words: blocks of 2,048 and 1,024 words
CUT = {"tiles": 700}


@pytest.mark.parametrize(
    "config", [SINGLE_PORT, WIDE, replace(DEEP, **CUT)], ids=["P4-SPRAM", "P16", "P4-cut"]
)
def test_rtl(config, tmp_path):
    assert simulate(
        WeightArray(config), "equilif_sim.engine.weights", tmp_path, config=config, simulator="icarus"
    )


def test_bank_block_count():
    for words in (1, 80, 1024, 1025, 2800, 6144, 12288, 16384, 16385, 40000):
        cut = segments(words)
        assert sum(BLOCK // segment.width for segment in cut) >= words
        assert sum(-(-16 // segment.width) for segment in cut) == -(-words // MIN_WORDS)
        at = 0
        for segment in cut:
            assert segment.first == at and at % segment.words == 0
            assert segment.words * segment.width == BLOCK
            at += segment.words


def test_bank_depth_cascade():
    assert segments(6144) == [(0, 4096, 4), (4096, 2048, 8)]
    assert segments(12288) == [(0, 8192, 2), (8192, 4096, 4)]
