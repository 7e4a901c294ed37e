"""Bench for equilif_hdl.engine.weights.WeightArray: rows and columns of tiles against a matrix.

State space: every tile, row and column, writes of whole rows and of single banks, reads and writes in the
same cycle (not on a single port). Stalls: cycles without access.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from equilif_golden.blocks.synapse import to_words
from equilif_hdl.engine.weights import WeightArray
from equilif_sim.tools.pipeline import UNSEEN, Pipeline, bits
from equilif_sim.tools.run import bench_config, engine_config


@cocotb.test()
async def rows_and_columns(dut: Any) -> None:
    config = engine_config(bench_config())
    p, tiles, width = config.lanes, config.tiles, config.numerics.weight_width
    rng = np.random.default_rng(random.getrandbits(32))
    tb = Pipeline(
        dut,
        inputs=("read", "tile", "e", "column", "write", "w_tile", "w_e", "w_data"),
        outputs=("data",),
        latency=WeightArray(config).latency,
    )
    await tb.reset()
    # tile t: rows t p .. t p + p - 1
    matrix = rng.integers(config.numerics.weight.lo, config.numerics.weight.hi + 1, (tiles * p, p))
    words = to_words(matrix, p)
    quiet = {"read": 0, "tile": 0, "e": 0, "column": 0, "write": 0, "w_tile": 0, "w_e": 0, "w_data": 0}

    def pack(row: Any) -> int:
        return sum(bits(int(w), 16) << (16 * b) for b, w in enumerate(row))

    async def silent(changes: dict[str, int]) -> None:
        await tb.feed({**quiet, **changes}, UNSEEN)

    for word, row in enumerate(words):
        await silent({"write": (1 << p) - 1, "w_tile": word // p, "w_e": word % p, "w_data": pack(row)})
    n = 0
    for _ in range(1500):
        changes: dict[str, int] = {}
        expected: int | None = None
        if random.random() < 0.4:
            word, mask = random.randrange(tiles * p), random.choice([(1 << p) - 1, 1 << random.randrange(p)])
            fresh = rng.integers(-(1 << (width - 1)), 1 << (width - 1), p)
            changes |= {"write": mask, "w_tile": word // p, "w_e": word % p, "w_data": pack(fresh)}
        if random.random() < 0.7 and not (config.single_port and changes):
            tile, e, column = random.randrange(tiles), random.randrange(p), random.randrange(2)
            banks = np.arange(p)
            at = tile * p + ((banks - e) % p if column else e)
            # read and written at once: of no defined value
            if not (changes and word in np.unique(at)):
                expected = pack(words[at, banks])
                changes |= {"read": 1, "tile": tile, "e": e, "column": column}
                # the same by coordinates, so that the layout is checked too: bank (row + column) mod P
                rows, columns = (
                    ((banks - e) % p, np.full(p, e)) if column else (np.full(p, e), (banks - e) % p)
                )
                assert np.array_equal(words[at, banks], from_tile(words, tile, rows, columns, p))
        if expected is None:
            await silent(changes)
        else:
            await tb.feed({**quiet, **changes}, (expected,))
            n += 1
        if "write" in changes:
            on = [b for b in range(p) if changes["write"] >> b & 1]
            words[word, on] = fresh[on]
    await tb.finish(n)


def from_tile(words: Any, tile: int, rows: Any, columns: Any, p: int) -> Any:
    """Elements of a tile by row and column."""
    return words[tile * p + rows, (rows + columns) % p]
