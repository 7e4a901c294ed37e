"""Symmetric synapse and the transposable layout of weights."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from equilif_golden.blocks import synapse as syn

SHAPES = [(1, 1), (4, 4), (5, 3), (16, 9), (1, 33)]


def test_forward_and_backward_share_weights():
    rng = np.random.default_rng(0)
    w, s, t = rng.integers(-(2**15), 2**15, (7, 5)), rng.integers(0, 2, (3, 7)), rng.integers(0, 2, (3, 5))
    assert (syn.forward(w, s) * t).sum(-1).tolist() == (syn.backward(w, t) * s).sum(-1).tolist()
    assert syn.forward(w, s)[1].tolist() == [sum(int(w[i, k]) for i in range(7) if s[1, i]) for k in range(5)]


def test_each_product_is_rounded_down():
    """0 <= exact sum - result < number of rows, in raw units; a sum of rounded products may differ from a
    rounded sum.
    """
    rng = np.random.default_rng(1)
    w, x = rng.integers(-(2**15), 2**15, (9, 4)), rng.integers(0, 256, (20, 9))
    got = syn.forward_values(w, x)
    for b, k in np.ndindex(20, 4):
        exact = sum(Fraction(int(x[b, i]) * int(w[i, k]), 256) for i in range(9))
        assert 0 <= exact - int(got[b, k]) < 9
    assert (got != (x @ w) >> 8).any()


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layout_round_trip(shape, lanes):
    w = np.random.default_rng(2).integers(-(2**15), 2**15, shape)
    words = syn.to_words(w, lanes)
    assert words.shape == (syn.groups(shape[0], lanes) * syn.groups(shape[1], lanes) * lanes, lanes)
    assert (syn.from_words(words, shape, lanes) == w).all()
    assert np.count_nonzero(words) == np.count_nonzero(w), "padding must be zero"


@pytest.mark.parametrize("lanes", [2, 4, 8, 16])
def test_rows_and_columns_use_each_bank_once(lanes):
    """P weights of a row or column are in P banks."""
    w = 1 + np.arange((2 * lanes) * (3 * lanes)).reshape(2 * lanes, 3 * lanes)
    word, bank = np.empty_like(w), np.empty_like(w)
    words = syn.to_words(w, lanes)
    for at in np.ndindex(words.shape):
        i, k = divmod(int(words[at]) - 1, 3 * lanes)
        word[i, k], bank[i, k] = at
        assert (
            at[1] == (i ^ k) % lanes
            and at[0] // lanes == (i // lanes) * 3 + k // lanes
            and at[0] % lanes == i % lanes
        )
    for i, k in np.ndindex(w.shape):
        row, column = (
            slice(i // lanes * lanes, i // lanes * lanes + lanes),
            slice(k // lanes * lanes, k // lanes * lanes + lanes),
        )
        assert len(set(bank[i, column])) == lanes == len(set(bank[row, k]))
        assert len(set(word[i, column])) == 1, "a row lies in one word"
