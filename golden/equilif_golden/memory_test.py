"""Test of an SDRAM: pseudo-random words to all addresses, and then their complement.

    pass: write all words --> wait for the retention time --> read all words, compare

A fault of a data line, an address line, a cell or a timing returns another word than the one of its place in
the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import NamedTuple

from equilif_golden.sdram import SdramType

SEED = 1  #: of xorshift32 (Marsaglia 2003)
SHIFTS = (13, -17, 5)  #: to the left, to the right, to the left
PASSES = 2
PAIR = 64  #: words of two bursts, which have k and PAIR - k words


class Errors(NamedTuple):
    """``words``: wrong ones.  ``first``: address of the first of them."""

    words: int
    first: int


def words(chip: SdramType, test_pass: int) -> Iterator[int]:
    """Words of a pass, in the order of addresses."""
    mask = (1 << chip.width) - 1
    state = SEED
    for _ in range(chip.words):
        yield (state ^ -test_pass) & mask
        for shift in SHIFTS:
            state ^= state << shift & 0xFFFFFFFF if shift > 0 else state >> -shift


def lengths(chip: SdramType) -> Iterator[int]:
    """Numbers of words of the bursts of a pass: all from 1 to PAIR - 1, again and again."""
    pairs = chip.words // PAIR
    for _, k in zip(range(pairs), cycle(range(1, PAIR)), strict=False):
        yield from (k, PAIR - k)


def errors(
    chip: SdramType,
    place: Callable[[int], int] = lambda address: address,
    read: Callable[[int], int] = lambda word: word,
) -> Errors:
    """Errors of a chip that has a word of another ``place``, or reads another word."""
    count, first = 0, 0
    for test_pass in range(PASSES):
        content = {place(address): word for address, word in enumerate(words(chip, test_pass))}
        for address, word in enumerate(words(chip, test_pass)):
            if read(content[place(address)]) != word:
                first = first if count else address
                count += 1
    return Errors(count, first)
