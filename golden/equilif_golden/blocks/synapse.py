"""Symmetric synapse: one matrix W (n rows of the ``pre`` population, m columns of the ``post`` population),
used both ways.

    forward  (row axpy)      drive_post += s_pre W            s: spikes, or 8-bit values with each product
             shifted right by 8
    backward (column axpy)   drive_pre  += W s_post         the same
    scaled                   W for a feedback scale: each weight shifted right, rounded to the nearest

Each product is rounded on its own and sums are exact, so order never matters and neither does the number
of lanes.

``to_words`` / ``from_words`` give the transposable layout of the weight array: tiles of P x P, element
(i, k) of tile (I, K) in bank i ^ k at word  tile * P + i, where ^ is the exclusive or of their bits.  A row
of a tile then meets P different banks at one word, a column meets P different banks at word offsets bank ^ k:
both directions read P weights a cycle from one stored copy.  P is a power of two.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.geometry import Geometry
from equilif_golden.fixed import VALUE, Raw, integers, shift_right_floor


def forward(w: Raw, spikes: Raw, geometry: Geometry | None = None) -> Raw:
    """Drive of ``post`` from spikes (..., n) of ``pre``.

    ``geometry``: of a convolution, whose weights all positions share.
    """
    drive: Raw = presynaptic(spikes, geometry) @ w
    return drive if geometry is None else drive.reshape(*spikes.shape[:-1], -1)


def scaled(w: Raw, shift: int) -> Raw:
    """Weights for a feedback scale of 2**-shift, each rounded to the nearest."""
    return shift_right_floor(w + (1 << shift >> 1), shift)


def backward(w: Raw, spikes: Raw, geometry: Geometry | None = None) -> Raw:
    """Drive of ``pre`` from spikes (..., m) of ``post``."""
    if geometry is None:
        return spikes @ w.T
    sent = spikes.reshape(*spikes.shape[:-1], geometry.post.positions, geometry.columns) @ w.T
    drive = np.zeros((*spikes.shape[:-1], geometry.pre.size), np.int64)
    for position, neurons in enumerate(geometry.neurons()):
        drive[..., neurons] += sent[..., position, :]
    return drive


def forward_values(w: Raw, values: Raw, geometry: Geometry | None = None, *, rounded: bool = False) -> Raw:
    """Drive of ``post`` from 8-bit values (..., n) of ``pre``, each product rounded down on its own, or
    ``rounded`` to the nearest.
    """
    products = presynaptic(values, geometry)[..., :, None] * w + (rounded << (VALUE.f - 1))
    drive: Raw = shift_right_floor(products, VALUE.f).sum(axis=-2)
    return drive if geometry is None else drive.reshape(*values.shape[:-1], -1)


def backward_values(w: Raw, values: Raw, geometry: Geometry | None = None, *, rounded: bool = False) -> Raw:
    """Drive of ``pre`` from 8-bit values (..., m) of ``post``, each product rounded down on its own, or
    ``rounded`` to the nearest.
    """
    if geometry is None:
        products = w * values[..., None, :] + (rounded << (VALUE.f - 1))
        total: Raw = shift_right_floor(products, VALUE.f).sum(axis=-1)
        return total
    drive = np.zeros((*values.shape[:-1], geometry.pre.size), np.int64)
    at = values.reshape(*values.shape[:-1], geometry.post.positions, geometry.columns)
    for position, neurons in enumerate(geometry.neurons()):
        drive[..., neurons] += backward_values(w, at[..., position, :], rounded=rounded)
    return drive


def presynaptic(sent: Raw, geometry: Geometry | None) -> Raw:
    """Values of ``pre`` (..., n) per row of the weights; with a kernel (..., positions of post, rows)."""
    return sent if geometry is None else sent[..., geometry.neurons()]


def groups(size: int, lanes: int) -> int:
    """Number of groups of ``lanes`` neurons that hold a population."""
    return -(-size // lanes)


def _bank_word(lanes: int) -> tuple[Raw, Raw]:
    i, k = np.meshgrid(np.arange(lanes), np.arange(lanes), indexing="ij")
    return i ^ k, i


def to_words(w: npt.ArrayLike, lanes: int) -> Raw:
    """(n, m) weights to (tiles x lanes, lanes) words x banks, zero-padded to whole tiles."""
    w = integers(w, "weights")
    rows = groups(w.shape[0], lanes)
    columns = groups(w.shape[1], lanes)
    padded = np.zeros((rows * lanes, columns * lanes), np.int64)
    padded[: w.shape[0], : w.shape[1]] = w
    tiles = padded.reshape(rows, lanes, columns, lanes).swapaxes(1, 2).reshape(-1, lanes, lanes)
    bank, word = _bank_word(lanes)
    out = np.empty_like(tiles)
    out[:, word, bank] = tiles
    return out.reshape(-1, lanes)


def from_words(words: npt.ArrayLike, shape: tuple[int, int], lanes: int) -> Raw:
    """Inverse of :func:`to_words`."""
    rows = groups(shape[0], lanes)
    columns = groups(shape[1], lanes)
    tiles = integers(words, "weight words").reshape(rows * columns, lanes, lanes)
    bank, word = _bank_word(lanes)
    padded = (
        tiles[:, word, bank]
        .reshape(rows, columns, lanes, lanes)
        .swapaxes(1, 2)
        .reshape(rows * lanes, columns * lanes)
    )
    return padded[: shape[0], : shape[1]]
