"""Self-attention: from the drives of query, key and value of every position to signed 8-bit answers.

Once per window, from the 8-bit rates r that have just been measured, for every position i and head h:

    drive      = sum (r W >> 8) + biases         accumulator, of query, key and value, by position
    code       = clip(drive >> query_shift)      relay: signed, 7 fraction bits, -1 .. 127/128
    stored     = code << (fraction - 7)          keys and values as raw weights: the same real number
    score_ij   = sum_d (stored key_jd query_id >> 8)           drive of a query code on a stored pattern
    p_i        = softmax(score_i) over all j, or j <= i        8-bit absolute codes: 255 represents 1
    answer_id  = clip(sum_j (p_ij stored value_jd >> 8) >> answer_shift)

Each product is rounded down on its own.  Probabilities have absolute codes (blocks.softmax), so that one
shift serves all positions; a code is rounded, so p below 1/512 counts as 0.  Answers have 7 fraction bits,
and drive a population like the retrievals of a relay (blocks.synapse.forward_values): a value of 1.0 counts
as a rate of 1/2.  In real numbers, with k = 2**(sharpness - 1) ln 2:

    answer_i = clip(2**gain sum_j softmax_j(k query_i key_j) value_j, -1, 1)

With an energy there is no value, and queries and keys have an answer each:

    of query i   = clip(sum_j (p_ij stored key_jd >> 8) >> answer_shift)
    of key j     = clip(sum_i ((p_ij >> 1) stored query_id >> 8) >> (answer_shift - 1))

These are 2**gain times the derivatives of (1/k) sum_i logsumexp_j(k query_i key_j).  Probabilities lose a bit
for keys, because they pass a relay, whose codes are signed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.relay import FRACTION, query_shift, relay, retrieval_shift
from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, softmax
from equilif_golden.fixed import Raw


class Attended(NamedTuple):
    """Values of a self-attention population.

    query, key, value   codes (..., heads, positions, width); with an energy, value is key
    p                   codes (..., heads, positions, positions) of probabilities: those of a query in a row
    answer              codes (..., positions x heads x width), in the order of the population's neurons; with
                        an energy (..., positions x 2 x heads x width), of queries and keys
    """

    query: Raw
    key: Raw
    value: Raw
    p: Raw
    answer: Raw


def answer_shift(fraction: int, gain: int) -> int:
    """Shift from a sum weighted with codes of p to an answer; ``gain`` in octaves."""
    return retrieval_shift(fraction, gain) + ABSOLUTE - C_MIN


def stored(codes: Raw, fraction: int) -> Raw:
    """Codes of keys and values as raw weights of the same real size."""
    return codes << (fraction - FRACTION)


def self_attention(
    drives: Raw,
    *,
    positions: int,
    heads: int,
    causal: bool,
    shift: int,
    fraction: int,
    gain: int,
    energy: bool = False,
) -> Attended:
    """Answers from raw ``drives`` (..., positions x 3 x heads x width): query, key and value of a position;
    with an ``energy`` (..., positions x 2 x heads x width), query and key.

    shift      of the softmax (Network.softmax_shift)
    fraction   fraction bits of drives and weights
    gain       octaves: answers are multiplied by 2**gain
    """
    codes = relay(drives, shift=query_shift(fraction))
    parts = codes.reshape(*drives.shape[:-1], positions, 2 if energy else 3, heads, -1)
    query, key, value = (
        np.swapaxes(parts[..., part, :, :], -3, -2) for part in ((0, 1, 1) if energy else (0, 1, 2))
    )
    scores = syn.backward_values(stored(key, fraction)[..., None, :, :], query)
    active = np.tri(positions, dtype=bool) if causal else np.ones((positions, positions), bool)
    p = softmax(scores, active, shift=shift, absolute=True).code
    gathered = syn.forward_values(stored(value, fraction)[..., None, :, :], p)
    answer = np.swapaxes(relay(gathered, shift=answer_shift(fraction, gain)), -3, -2)
    if energy:
        halves = np.swapaxes(p >> 1, -2, -1)
        gathered = syn.forward_values(stored(query, fraction)[..., None, :, :], halves)
        of_key = np.swapaxes(relay(gathered, shift=answer_shift(fraction, gain) - 1), -3, -2)
        answer = np.stack([answer, of_key], axis=-3)
    return Attended(query, key, value, p, answer.reshape(*drives.shape[:-1], -1))
