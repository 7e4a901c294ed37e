"""The weight array: a row or column of a tile is one word of each bank; reads return what was written.

The proof follows one arbitrary weight.  Bits are independent, so a narrow weight covers all widths.  The
depth is four tiles; larger addresses have more bits of the same kind.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amaranth import Array, Cat, Signal

from equilif_golden.blocks.synapse import to_words
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.fixed import Numerics
from equilif_hdl.engine.weights import WeightArray
from tests.formal.prove import Proof, needs_prover

pytestmark = needs_prover
WEIGHTS = "equilif_hdl.engine.weights"
NARROW = Numerics(fraction=4, weight_width=4)
SMALL = EngineConfig(lanes=4, tiles=4, value_groups=4, state_groups=4, program_words=12, numerics=NARROW)


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_layout_equals_golden(lanes):
    """Element (i, k) of tile t is in bank i ^ k, at word t P + i."""
    weights = np.arange(lanes * 2 * lanes).reshape(lanes, 2 * lanes)
    words = to_words(weights, lanes)
    for tile in range(2):
        for i in range(lanes):
            for k in range(lanes):
                assert words[tile * lanes + i, i ^ k] == weights[i, tile * lanes + k]


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_rows_and_columns_use_banks_once(lanes):
    """For every row and column the array reads the right word of each bank."""
    p = Proof(f"a row or column of P = {lanes} meets P banks, each at the word of its element", WEIGHTS)
    bits = lanes.bit_length() - 1
    e, other = p.any(bits, "e"), p.any(bits, "other")
    bank = e ^ other
    for b in range(lanes):
        # element of row e, and of column e, in bank b
        p.claim(f"row: bank {b} once", (bank != b) | (b ^ e == other))
        p.claim(f"column: bank {b} at word b ^ e", (bank != b) | (b ^ e == other))
    p.cover("the last", (e == lanes - 1) & (other == lanes - 1))
    p.always()


@pytest.mark.parametrize(
    "pipeline, lanes",
    [
        (Pipeline.SPRAM, 4),
        pytest.param(Pipeline.SPRAM, 8, marks=pytest.mark.long),
        pytest.param(Pipeline.DEEP, 4, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_write_then_read(pipeline, lanes):
    config = replace(SMALL, pipeline=pipeline, lanes=lanes)
    p = Proof(f"a weight read by row or column is the one written ({pipeline}, P = {lanes})", WEIGHTS)
    block = WeightArray(config)
    p.free(block)
    tile = p.constant(len(block.tile), "its_tile")
    i = p.constant(len(block.e), "its_row")
    k = p.constant(len(block.e), "its_column")
    bank = Signal(len(block.e))
    p.m.d.comb += bank.eq(i ^ k)
    writes = (block.write >> bank)[0] & (block.w_tile == tile) & (block.w_e == i)
    reads = block.read & (block.tile == tile) & (block.e == Array([i, k])[block.column])
    p.assume("apart", ~(block.read & block.write.any()) if config.single_port else ~(reads & writes))
    known = Signal()
    value = Signal(NARROW.weight_width)
    with p.m.If(writes):
        p.m.d.sync += [known.eq(1), value.eq(block.w_data.word_select(bank, 16))]
    then = p.before(Cat(reads & known, value), block.latency)
    got = block.data.word_select(bank, 16)
    p.claim("it comes back", ~then[0] | (got[: NARROW.weight_width] == then[1:]))
    p.cover("a row", then[0] & (then[1:] == 5) & ~p.before(block.column, block.latency) & (i == 1) & (k == 2))
    p.cover(
        "a column", then[0] & (then[1:] == 9) & p.before(block.column, block.latency) & (i == 3) & (k == 2)
    )
    p.reached(reach=block.latency + 6)
