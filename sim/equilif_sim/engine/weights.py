"""Bench for equilif_hdl.engine.weights.WeightArray: rows and columns of tiles against a matrix.

State space: every tile, row and column, writes of whole rows and of single banks, reads and writes in the
same cycle.  Stalls: cycles without access and with random addresses.  Without registers, banks hold their
outputs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import cocotb
import numpy as np

from equilif_golden.blocks.synapse import to_words
from equilif_golden.fixed import Raw
from equilif_hdl.engine.weights import WeightArray
from equilif_sim.tools.pipeline import UNSEEN, PipelineBench, bits
from equilif_sim.tools.run import engine_config


@cocotb.test()
async def rows_and_columns(dut: Any) -> None:
    config = engine_config()
    p = config.lanes
    tiles = config.tiles
    weight = config.numerics.weight
    rng = np.random.default_rng(random.getrandbits(32))
    quiet = dict.fromkeys(("read", "tile", "e", "column", "write", "w_tile", "w_e", "w_data"), 0)
    tb = PipelineBench(dut, inputs=tuple(quiet), outputs=("data",), latency=WeightArray(config).latency)
    await tb.reset()
    # tile t: rows t p .. t p + p - 1
    matrix = rng.integers(weight.lo, weight.hi + 1, (tiles * p, p))
    words = to_words(matrix, p)

    def written(word: int, mask: int, row: Raw) -> dict[str, int]:
        return {"write": mask, "w_tile": word // p, "w_e": word % p, "w_data": pack(row)}

    every_bank = (1 << p) - 1
    for word, row in enumerate(words):
        await tb.feed({**quiet, **written(word, every_bank, row)}, UNSEEN)
    n = 0
    shown: list[int | None] = [None] * p  # output of each bank, if known
    for _ in range(1500):
        # without access, addresses and data are noise
        inputs = {name: random.getrandbits(len(getattr(dut, name))) for name in quiet} | {
            "read": 0,
            "write": 0,
        }
        fresh = rng.integers(weight.lo, weight.hi + 1, p)
        word = random.randrange(tiles * p)
        mask = random.choice([every_bank, 1 << random.randrange(p)]) if random.random() < 0.4 else 0
        banks = [b for b in range(p) if mask >> b & 1]
        if mask:
            inputs |= written(word, mask, fresh)
        reads = random.random() < 0.7
        if reads:
            tile = random.randrange(tiles)
            e = random.randrange(p)
            column = random.randrange(2)
            at = words_of(tile, e, column, p)
            row = words[at, np.arange(p)]
            assert np.array_equal(row, by_coordinates(matrix, tile, e, column, p))
            inputs |= {"read": 1, "tile": tile, "e": e, "column": column}
            for b in range(p):
                if b not in banks:
                    shown[b] = int(row[b])
                elif not config.single_port:
                    # a word that is read and written in one cycle is undefined
                    shown[b] = int(row[b]) if at[b] != word else None
        looked_at = (reads or config.single_port) and None not in shown
        await tb.feed(inputs, (pack(shown),) if looked_at else UNSEEN)
        n += looked_at
        if mask:
            words[word, banks] = fresh[banks]
            columns = [b ^ word % p for b in banks]
            matrix[word, columns] = fresh[banks]
    await tb.finish(n)


def pack(row: Iterable[Any]) -> int:
    """Weights in bank order as the value of a port."""
    return sum(bits(int(w), 16) << (16 * b) for b, w in enumerate(row))


def words_of(tile: int, e: int, column: int, p: int) -> Raw:
    """Address of each bank."""
    banks = np.arange(p)
    return np.asarray(tile * p + (banks ^ e if column else np.full(p, e)))


def by_coordinates(matrix: Raw, tile: int, e: int, column: int, p: int) -> Raw:
    """The weights by row and column of the matrix, which checks the layout."""
    other = np.arange(p) ^ e
    if column:
        return np.asarray(matrix[tile * p + other, e])
    return np.asarray(matrix[tile * p + e, other])
