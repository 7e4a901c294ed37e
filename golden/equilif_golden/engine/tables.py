"""Embedding table in the SDRAM: rows that a run takes as patterns, and the cycles of their transfer.

    before a run    pattern j = row of token j                               GATHER
    after learning  pattern j = pattern j - row of token j, the change       SUBTRACT
                    pattern j = row of token j = saturated sum of the two    ADD

All tokens are subtracted before the first one is added, so a row that occurs several times gets all of its
changes, each saturated, as by equilif_golden.tokens.scatter_add.  A change fits a weight (:func:`fits`).

The columns of a row are consecutive in the SDRAM, filled up to groups of P.  Column i of a group is in bank
i ^ (j mod P) of pattern j.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.plasticity import MAX_CHANGE
from equilif_golden.blocks.synapse import groups as groups_of
from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import Fixed, Raw, check_int, integers, saturate, wrap
from equilif_golden.network import ONE, Network
from equilif_golden.sdram import BurstRequest, Controller

MAX_ROWS = 1 << 16  #: of a table: a token has 16 bits
MAX_GROUPS = (1 << 8) - 1  #: of P columns
#: cycles from a token to the request of its row
REQUEST_DELAY = 5
#: cycles from the last word of a row that is added to the request of a WRITE, without those of weights
STORE_DELAY = 3


class RowOp(IntEnum):
    CHECK = 0  #: of the row and the pattern; transfers nothing
    GATHER = 1
    SUBTRACT = 2
    ADD = 3


#: in this order, for all tokens each
SCATTER = (RowOp.SUBTRACT, RowOp.ADD)


class TableTokens(NamedTuple):
    """Tokens of a run: ``rows`` (n,) of a table.

    ``table``: its first tile, external.  ``tile``: the first tile of the patterns, on the chip.  ``groups``:
    of P columns.
    """

    table: int
    tile: int
    groups: int
    rows: Raw

    def outside(self, config: EngineConfig) -> npt.NDArray[np.bool_]:
        """(n,): the row or the pattern of a token is outside the memories."""
        p = config.lanes
        ends = self.table * p + (self.rows + 1) * self.groups
        tiles = self.tile + (np.arange(len(self.rows)) // p + 1) * self.groups
        invalid = self.table < config.tiles or not 1 <= self.groups <= MAX_GROUPS
        found: npt.NDArray[np.bool_] = (ends > config.all_tiles * p) | (tiles > config.tiles) | invalid
        return found

    def checked(self, config: EngineConfig) -> TableTokens:
        """The same with rows as int64; ValueError if the engine has no tables, or not these rows."""
        if config.external is None or not config.external.tables:
            raise ValueError("the engine has no embedding tables: write the patterns, and run without tokens")
        for name in ("table", "tile", "groups"):
            check_int(getattr(self, name), name, 0, (1 << 16) - 1)
        found = self._replace(rows=integers(self.rows, "token rows", 0, MAX_ROWS - 1))
        outside = found.outside(config)
        if outside.any():
            raise ValueError(
                f"token {int(outside.argmax())} is outside the memories of the engine: compile the network "
                "for its configuration"
            )
        return found

    def row_words(self, lanes: int) -> Raw:
        """(n, groups) numbers of the weight words of the rows."""
        return self.table * lanes + self.rows[:, None] * self.groups + np.arange(self.groups)

    def pattern_words(self, lanes: int) -> Raw:
        """The same of the patterns."""
        tile, row = np.divmod(np.arange(len(self.rows)), lanes)
        return (self.tile + tile[:, None] * self.groups + np.arange(self.groups)) * lanes + row[:, None]


def transfer(op: RowOp, w: Raw, tokens: TableTokens, weight: Fixed) -> None:
    """Transfer all rows between table and patterns in weight words ``w`` (words, P), in place."""
    p = w.shape[1]
    words = zip(tokens.row_words(p), tokens.pattern_words(p), strict=True)
    for j, (row, pattern) in enumerate(words):
        banks = np.arange(p) ^ (j % p)
        at = pattern[:, None], banks
        if op == RowOp.GATHER:
            w[at] = w[row]
        elif op == RowOp.SUBTRACT:
            w[at] = wrap(w[at] - w[row], weight)
        elif op == RowOp.ADD:
            w[at] = w[row] = saturate(w[at] + w[row], weight)


def with_presence(
    write: tuple[int, npt.ArrayLike] | None, tokens: TableTokens | None
) -> tuple[int, npt.ArrayLike] | None:
    """First element and values of a run, those of the presence of its tokens included."""
    if tokens is None:
        return write
    if write is None:
        raise ValueError("a run with tokens needs the first element of their presence: give write")
    return write[0], np.concatenate([np.full(len(tokens.rows), ONE), integers(write[1], "values")])


def fits(network: Network, config: EngineConfig) -> bool:
    """Whether the table of a network can be in the SDRAM: tokens have numbers, and the change of a row in a
    run is a weight.
    """
    table, layer = network.table, network.dynamic_attention
    if table is None or layer is None or config.external is None or not config.external.tables:
        return False
    rows, width = network.shape(table)
    change = network.learned_parts(table) * MAX_CHANGE
    return (
        rows <= MAX_ROWS
        and groups_of(width, config.lanes) <= MAX_GROUPS
        and change <= config.numerics.weight.hi
    )


class RowCycles:
    """Cycles of the transfer of rows, in those of the controller."""

    def __init__(self, controller: Controller, config: EngineConfig, groups: int):
        self._controller = controller
        self._words = config.sdram_words
        self._groups = groups
        self._read_weights = STORE_DELAY + config.registers.weight_read

    def transfer(self, op: RowOp, word: int, now: int) -> int:
        """Transfer the row that begins with a weight word, of a token in cycle ``now``; returns the cycle in
        which the next token is accepted.
        """
        if op == RowOp.CHECK:
            return now + REQUEST_DELAY - 1
        end = self._access(word, now + REQUEST_DELAY, is_write=False)
        begin = end + self._controller.timing.read_latency + 2
        if op != RowOp.ADD:
            return begin
        return self._access(word, begin + self._read_weights, is_write=True) + 2

    def _access(self, word: int, at: int, *, is_write: bool) -> int:
        n = self._groups * self._words
        return self._controller.access(BurstRequest(word * self._words, n, is_write), at)
