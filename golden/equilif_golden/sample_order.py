"""Order of stored samples, as the standalone trainer of a board has it: a permutation of their numbers that
changes each epoch.
"""

from __future__ import annotations

import numpy as np

from equilif_golden.fixed import Raw, check_int

KEY_STEP = 0x9E3779B9  #: added to the key after each epoch: 2**32 over the golden ratio
ROUNDS = 4
MAX_HALF_BITS = 10  #: bits of half an index
SAMPLE_BITS = 2 * MAX_HALF_BITS


def half_of(samples: int) -> int:
    """Smallest ``half`` whose order has all samples; ValueError when there is none."""
    n = check_int(samples, "samples", 1, 1 << SAMPLE_BITS, "on a board")
    return next(h for h in range(1, MAX_HALF_BITS + 1) if n <= 1 << 2 * h)


def order(samples: int, seed: int, epoch: int) -> Raw:
    """Order in which a board learns its samples: a permutation of 0 .. samples - 1.

    A Feistel network of four rounds turns the numbers below 4**half about; those of no sample are left out.
    """
    key = (check_int(seed, "seed", 0, 0xFFFFFFFF) + epoch * KEY_STEP) & 0xFFFFFFFF
    half = half_of(samples)
    turn = np.arange(1 << 2 * half)
    out = shuffled(turn >> half, turn & (1 << half) - 1, half, key)
    return out[out < samples]


def shuffled(left: Raw, right: Raw, half: int, key: int) -> Raw:
    """Number of the sample at each turn, whose halves these are."""
    mask = (1 << half) - 1
    for k in range(ROUNDS):
        f = (5 * right + (key >> 8 * k & 0xFF)) & ((1 << MAX_HALF_BITS) - 1)
        left, right = right, left ^ (f ^ f >> 3) & mask
    return left << half | right
