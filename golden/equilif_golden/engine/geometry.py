"""Addresses of a convolution for DRIVE, GATHER and LEARN: a kernel at every position of ``post``.

    post (y, x)  <--  pre (y * stride + dy, x * stride + dx)       0 <= dy < kernel rows, 0 <= dx < columns

Neurons are ordered by row and position, each position in whole groups.  Each offset (dy, dx) is a dense
matrix in tiles, one after the other.  So the weights are those of a dense synapse from the patch of a
position of ``post`` to that position (:meth:`Geometry.patches`).

With a stride of 0 the kernel is at the same place for all positions: a bias that a map shares, from one
position of ``pre``.  A kernel as large as the maps with one position of ``post`` joins them to a flat
population.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from equilif_golden.blocks.geometry import under
from equilif_golden.blocks.synapse import groups
from equilif_golden.fixed import Raw
from equilif_golden.network import Network, Synapse

SIDE = 63  #: largest number of positions along a side of ``post``, and of a kernel
MAX_STRIDE = 31


class Geometry(NamedTuple):
    """Geometry of a synapse, the same in both directions."""

    #: groups of a position of ``pre``, and of ``post``
    pre: int
    post: int
    #: positions of ``post``
    rows: int
    columns: int
    #: of the kernel
    kernel_rows: int
    kernel_columns: int
    stride: int

    @property
    def height(self) -> int:
        """Rows of ``pre``."""
        return (self.rows - 1) * self.stride + self.kernel_rows

    @property
    def width(self) -> int:
        """Columns of ``pre``."""
        return (self.columns - 1) * self.stride + self.kernel_columns

    @property
    def n_pre(self) -> int:
        """Groups."""
        return self.height * self.width * self.pre

    @property
    def n_post(self) -> int:
        """Groups."""
        return self.rows * self.columns * self.post

    @property
    def offsets(self) -> int:
        """Positions of ``pre`` under a kernel."""
        return self.kernel_rows * self.kernel_columns

    @property
    def patch(self) -> int:
        """Groups in the patch of ``pre`` under a kernel."""
        return self.offsets * self.pre

    @property
    def tiles(self) -> int:
        return self.patch * self.post

    def sources(self) -> Raw:
        """Position of ``pre`` under each offset, (positions of post, offsets)."""
        kernel = self.kernel_rows, self.kernel_columns
        return under(kernel, (self.rows, self.columns), self.stride, self.width)

    def patches(self) -> Raw:
        """Groups of ``pre`` under each kernel, (positions of post, patch)."""
        groups = self.sources()[:, :, None] * self.pre + np.arange(self.pre)
        return groups.reshape(-1, self.patch)

    def commands(self, *, back: bool) -> Raw:
        """Number of groups to which an event of each group is sent, (groups of its source,)."""
        if back:
            return np.full(self.n_post, self.patch)
        return np.bincount(self.patches().ravel(), minlength=self.n_pre) * self.post


@cache
def offsets_of(geometry: Geometry) -> tuple[tuple[int, ...], ...]:
    """Offset of each position of ``pre`` under the kernels that contain it, (positions of pre,)."""
    found: list[list[int]] = [[] for _ in range(geometry.height * geometry.width)]
    for kernel in geometry.sources().tolist():
        for offset, position in enumerate(kernel):
            found[position].append(offset)
    return tuple(map(tuple, found))


def geometry_of(network: Network, s: Synapse, lanes: int) -> Geometry | None:
    """Geometry of the instructions of a synapse with maps at an end; None for a dense synapse.

    With self-attention at an end, that of one head, and of its query, key or value.
    """
    pre = network[s.pre]
    post = network[s.post]
    g = network.geometry(s)
    if g is not None:
        ends = groups(g.pre.maps // pre.heads, lanes), groups(g.post.maps // post.drive_parts, lanes)
        return Geometry(*ends, g.post.height, g.post.width, g.kernel, g.kernel, g.stride)
    if pre.shape is None:
        return None
    # a kernel of the size of the maps
    ends = groups(pre.maps, lanes), groups(post.width, lanes)
    return Geometry(*ends, 1, 1, pre.shape.height, pre.shape.width, 1)
