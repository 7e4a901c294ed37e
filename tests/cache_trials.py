"""Trials of a board whose trainer reads samples from a copy of the flash in an SDRAM."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from equilif.host.client import Client
from equilif_golden.link.flash import ERASED
from equilif_sim.board import SimulatedBoard
from tests.standalone import AREA, uploaded
from tests.standalone_trials import LIMIT, TRIALS, flash_of, power_cuts, put

#: clock cycles of :func:`exact_cycles`, by chip
CACHED = {"EM638325": 226_500, "IS42S16160": 227_228}


def exact_cycles(board: SimulatedBoard, cycles: int) -> None:
    put(board, uploaded())
    first = board.cycles
    board.work(LIMIT)
    assert board.cycles - first == cycles


def erased_blocks(board: SimulatedBoard) -> None:
    """They are read again."""
    client = Client(board, timeout=0.05)
    block, at = AREA.blocks - 1, AREA.size - 9
    for content in (b"ab", b"cd"):
        client.erase_flash(block)
        assert client.read_flash(at, 2) == bytes([ERASED]) * 2
        client.write_flash(at, content)
        assert flash_of(board)[at : at + 2] == content, "not yet written"
        assert client.read_flash(at, 2) == content


def moved_writes(board: SimulatedBoard) -> None:
    """Each begins at an address that differs in one bit from the end of the last one."""
    rng = random.Random(9)
    content = bytearray([ERASED]) * AREA.size
    put(board, content)
    board.work(LIMIT)
    client = Client(board, timeout=0.05)
    for k in range((AREA.size - 1).bit_length()):
        low = rng.randrange(1 << 17, 1 << 18) & ~(1 << k)
        high = low | 1 << k
        for at in (low - 1, high, high - 1, low):
            byte = rng.randrange(ERASED)
            client.write_flash(at, bytes([byte]))
            content[at] &= byte
    assert flash_of(board) == content


def violated_nothing(board: SimulatedBoard) -> None:
    assert not board.violations


def cache_trials(cycles: int) -> list[Callable[[SimulatedBoard], object]]:
    return [
        partial(exact_cycles, cycles=cycles),
        TRIALS["learning-5"],
        TRIALS["hostile-commands"],
        TRIALS["end-of-the-area"],
        partial(power_cuts, cuts=3),
        erased_blocks,
        moved_writes,
        violated_nothing,
    ]
