"""Test of a board's SDRAM through its link, with the external weights of the engine.

    lines        words with one bit set or clear; words at addresses that differ in one bit
    retention    the same words, some retention times later
    bursts       LEARN of rows of all lengths, compared with the engine model

It reaches the part of the memory that holds weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from equilif_golden.blocks.plasticity import SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import SLOTS, Groups, Instruction, Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Engine, Region
from equilif_golden.fixed import Raw
from equilif_golden.sdram import RETENTION_NS

SCATTERED = 64  #: words at random addresses, in addition to those that test lines
WAIT = 4 * RETENTION_NS / 1e9  #: seconds
THRESHOLD = 1 << 12
RATE_SHIFT = 4


@dataclass(frozen=True)
class MemoryCheck:
    """Chip, words that were written and read one by one, the longest burst in words, and the first
    difference, empty if there is none.
    """

    chip: str
    words: int
    longest: int
    difference: str

    def __str__(self) -> str:
        tested = f"{self.words} words, retention, bursts of up to {self.longest} words"
        return f"{self.chip}: {self.difference or tested}"


def check(engine: Engine, wait: Callable[[float], None] = time.sleep) -> MemoryCheck:
    """Test the SDRAM of an engine with external weights.  It overwrites weights, values and the program."""
    external = engine.config.external
    assert external is not None
    addresses = _addresses(engine.config)
    lengths = range(1, _longest(engine.config) + 1)
    difference = (
        _data_lines(engine)
        or next(filter(None, (_words(engine, addresses, flip, wait) for flip in (0, -1))), "")
        or _bursts(engine, lengths)
    )
    longest = lengths[-1] * engine.config.sdram_words
    return MemoryCheck(external.chip_name, len(addresses), longest, difference)


def _width(config: EngineConfig) -> int:
    """Weights of 16 bits in a word of the SDRAM."""
    assert config.external is not None
    return config.external.chip.width // 16


def _signed(words: Raw, n: int) -> Raw:
    """Weights of words of n weights, low one first."""
    parts = words[:, None] >> 16 * np.arange(n) & 0xFFFF
    return ((parts ^ 0x8000) - 0x8000).ravel()


def _differs(test: str, address: int, found: Raw, expected: Raw) -> str:
    """Message on the first word that differs."""
    wrong = np.flatnonzero((found != expected).any(axis=1))
    if not len(wrong):
        return ""
    at = int(wrong[0])
    board, wanted = (
        " ".join(f"{int(w) & 0xFFFF:04x}" for w in words[at][::-1]) for words in (found, expected)
    )
    return f"SDRAM, {test}: word {address + at:#x} is {board}, not {wanted}"


def _data_lines(engine: Engine) -> str:
    n = _width(engine.config)
    bits = 1 << np.arange(16 * n)
    weights = _signed(np.concatenate([bits, ~bits]), n)
    first = engine.config.n_weights
    engine.write(Region.WEIGHT, first, weights)
    found = engine.read(Region.WEIGHT, first, len(weights))
    return _differs("data lines", first // n, found.reshape(-1, n), weights.reshape(-1, n))


def _addresses(config: EngineConfig) -> list[int]:
    """Words of the SDRAM: the first and the last one, those that differ from these in one line, and some at
    random.
    """
    n = _width(config)
    first, end = config.n_weights // n, config.all_tiles * config.lanes**2 // n
    lines = {edge ^ (1 << k) for edge in (first, end - 1) for k in range(end.bit_length())}
    scattered = np.random.default_rng(0).integers(first, end, SCATTERED).tolist()
    return [first, *sorted({a for a in {*lines, *scattered, end - 1} if first < a < end})]


def _words(engine: Engine, addresses: list[int], flip: int, wait: Callable[[float], None]) -> str:
    """Words that are all different, or their complement, at once and after some retention times."""
    n = _width(engine.config)
    words = np.random.default_rng(1).permutation(1 << 16)[: len(addresses)] * 0x10001 ^ flip
    expected = _signed(words, n).reshape(-1, n)
    for address, weights in zip(addresses, expected, strict=True):
        engine.write(Region.WEIGHT, address * n, weights)
    for test, seconds in (("address lines", 0.0), ("retention", WAIT)):
        wait(seconds)
        for address, weights in zip(addresses, expected, strict=True):
            found = engine.read(Region.WEIGHT, address * n, n)
            difference = _differs(test, address, found[None], weights[None])
            if difference:
                return difference
    return ""


def _longest(config: EngineConfig) -> int:
    """Groups of the longest row."""
    assert config.external is not None
    return min(config.state_groups, config.value_groups - 1, config.tiles // SLOTS, config.external.tiles)


def _program(config: EngineConfig, n: int) -> Iterator[Instruction]:
    """Update a row of ``n`` groups, from the source group after them."""
    groups = Groups(0, n)
    yield Op.RESET(groups, value=0)
    yield Op.RESET(groups, value=THRESHOLD // 2, static=True)
    yield Op.MARK(groups)
    yield Op.STEP(groups, threshold=THRESHOLD, leak=0)
    yield Op.MEASURE(groups, shift=RATE_SHIFT, plus=True)
    yield Op.LEARN(Groups(n, 1), groups, tile=config.tiles, gain=1, shift=SHIFTS[0])
    yield Op.HALT()


def _bursts(engine: Engine, lengths: range) -> str:
    """A row of each length is fetched, changed and written back."""
    config = engine.config
    p = config.lanes
    model = EngineModel(config)
    weights = np.random.default_rng(2).integers(-(1 << 14), 1 << 14, lengths[-1] * p * p)
    for each in (engine, model):
        each.write(Region.COUNTER, 0, np.zeros(1, np.int64))
        each.write(Region.WEIGHT, config.n_weights, weights)
    for n in lengths:
        lane = n % p
        values = np.zeros((n + 1) * p, np.int64)
        values[n * p + lane] = 255
        for each in (engine, model):
            each.write(Region.VALUE, 0, values)
            each.load([*_program(config, n)])
            each.run(learn=True)
        row = config.n_weights + lane * n * p
        found, expected = (each.read(Region.WEIGHT, row, n * p) for each in (engine, model))
        width = _width(config)
        test = f"bursts of {n * config.sdram_words} words"
        difference = _differs(test, row // width, found.reshape(-1, width), expected.reshape(-1, width))
        if difference:
            return difference
    return ""
