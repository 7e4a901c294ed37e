"""What docs/convolution.md counts, by other ways of counting."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", exc_type=ImportError)

import torch

from benchmarks.convolution import Convolution, bound
from equilif_golden.blocks.synapse import groups
from equilif_golden.engine.geometry import Geometry

SHAPES = [(1, 12, 8, 6, 2), (8, 12, 4, 6, 2), (5, 8, 6, 4, 2), (3, 7, 6, 3, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lanes", [2, 4])
def test_tiles_and_commands_are_those_of_the_matrix(shape, lanes):
    c, (channels, side, maps, k, stride) = Convolution(*shape), shape
    pixels = torch.eye(side**2).view(-1, 1, side, side)
    matrix = torch.nn.functional.conv2d(pixels, torch.ones(1, 1, k, k), stride=stride).flatten(1).numpy()
    assert (c.heard().ravel() == matrix.sum(axis=1)).all()
    full = np.kron(matrix, np.ones((channels, maps)))
    found = c.unrolled(lanes)
    assert found["weights"] == full.sum()
    padded = np.pad(full, [(0, -n % lanes) for n in full.shape])
    tiles = padded.reshape(padded.shape[0] // lanes, lanes, -1, lanes).any(axis=(1, 3))
    assert (found["dense"], found["occupied"]) == (tiles.size, tiles.sum())
    events = np.arange(side**2).reshape(side, side)
    g = Geometry(groups(channels, lanes), groups(maps, lanes), c.to, c.to, k, k, stride)
    by_position = g.commands(back=False).reshape(side, side, -1)[..., 0]
    assert (
        c.forward(events, lanes, clipped=True)
        == (events * by_position).sum()
        <= c.forward(events, lanes, clipped=False)
    )
    assert c.backward(np.ones((c.to, c.to), int), lanes) == g.commands(back=True).sum() // g.post
    assert c.tiles(lanes) == g.tiles


def test_a_sum_over_positions_fits_its_bits():
    for positions, gain in ((144, 1), (16, 1), (144, 31), (1, 1)):
        most = positions * gain * 255**2
        assert 2 ** (bound(positions, gain) - 2) <= most < 2 ** (bound(positions, gain) - 1)
