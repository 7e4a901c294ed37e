"""Convolution: which neurons of two populations of maps a shared weight joins.

A kernel of k x k lies at every position (y, x) of ``post``, ``stride`` positions of ``pre`` apart, never over
an edge:

    post (y, x) receives from pre (y * stride + dy, x * stride + dx)        0 <= dy, dx < k

Its weights are one matrix, (k * k * maps of pre, maps of post), row (dy * k + dx) * maps of pre + map.  It is
a dense synapse with weights tied together: used both ways, the way back being the transposed convolution.

With a stride of 0 all positions of ``post`` receive from one position: a bias that a map shares.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equilif_golden.fixed import Raw


class Shape(NamedTuple):
    """Shape of a population of maps."""

    height: int
    width: int
    maps: int

    @property
    def positions(self) -> int:
        return self.height * self.width

    @property
    def size(self) -> int:
        return self.positions * self.maps

    def __str__(self) -> str:
        return f"{self.height}x{self.width}x{self.maps}"


class Geometry(NamedTuple):
    """A kernel between two populations of maps."""

    pre: Shape
    post: Shape
    kernel: int
    stride: int

    @property
    def rows(self) -> int:
        """Rows of the weights: presynaptic neurons of a position of ``post``."""
        return self.kernel**2 * self.pre.maps

    @property
    def columns(self) -> int:
        """Columns of the weights: maps of ``post``."""
        return self.post.maps

    @property
    def fan_out(self) -> int:
        """Largest number of neurons of ``post`` that receive from a neuron of ``pre``."""
        if not self.stride:
            return self.post.size
        offsets = -(-self.kernel // self.stride)
        return min(offsets, self.post.height) * min(offsets, self.post.width) * self.post.maps

    def sources(self) -> Raw:
        """Position of ``pre`` under every offset, (positions of post, k * k)."""
        return under((self.kernel, self.kernel), self.post[:2], self.stride, self.pre.width)

    def neurons(self) -> Raw:
        """Index in ``pre`` of the neuron of each row, (positions of post, rows)."""
        neurons = self.sources()[:, :, None] * self.pre.maps + np.arange(self.pre.maps)
        return neurons.reshape(self.post.positions, self.rows)


def under(kernel: tuple[int, int], post: tuple[int, int], stride: int, width: int) -> Raw:
    """Position of ``pre`` under every offset, (positions of post, offsets); ``kernel``, ``post``: rows and
    columns; ``width``: columns of ``pre``.
    """
    y, x = np.divmod(np.arange(post[0] * post[1])[:, None], post[1])
    dy, dx = np.divmod(np.arange(kernel[0] * kernel[1]), kernel[1])
    found: Raw = (y * stride + dy) * width + x * stride + dx
    return found


#: what a constant is to the maps that share it
CONSTANT = Shape(1, 1, 1)


def positions(side: int, kernel: int, stride: int) -> int | None:
    """Positions of a kernel along a side; None when they do not reach both of its ends."""
    left = side - kernel
    return None if left < 0 or left % stride else left // stride + 1
