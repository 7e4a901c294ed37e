"""How DRIVE, GATHER and LEARN go through populations of maps: a kernel at every position of ``post``.

    post (y, x) hears pre (y * stride + dy, x * stride + dx)       0 <= dy < kernel rows, 0 <= dx < columns

Neurons lie position by position, row by row, each position in whole groups.  Each offset (dy, dx) is a dense
matrix in tiles; the offsets lie one after the other.  So the weights are those of a dense synapse from all
that a position of ``post`` hears to that position (:meth:`Geometry.patches`).

A stride of 0 lays the kernel at the same place for all positions: a bias that a map shares, with one position
of ``pre``.  A kernel as large as the maps with one position of ``post`` joins them to a flat population.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from equilif_golden.blocks.geometry import under
from equilif_golden.fixed import Raw

SIDE = 63  #: most positions along a side of ``post``, and of a kernel
MAX_STRIDE = 31


class Geometry(NamedTuple):
    """Of a synapse; the way back has the same one."""

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
    def patch(self) -> int:
        """Groups of ``pre`` that a position of ``post`` hears."""
        return self.kernel_rows * self.kernel_columns * self.pre

    @property
    def tiles(self) -> int:
        return self.patch * self.post

    def sources(self) -> Raw:
        """Position of ``pre`` under each offset, (positions of post, offsets)."""
        kernel = self.kernel_rows, self.kernel_columns
        return under(kernel, (self.rows, self.columns), self.stride, self.width)

    def patches(self) -> Raw:
        """Groups of ``pre`` that each position of ``post`` hears, (positions of post, patch)."""
        groups = self.sources()[:, :, None] * self.pre + np.arange(self.pre)
        return groups.reshape(-1, self.patch)

    def commands(self, *, back: bool) -> Raw:
        """Groups that an event of each group goes to, (groups of its source,)."""
        if back:
            return np.full(self.n_post, self.patch)
        return np.bincount(self.patches().ravel(), minlength=self.n_pre) * self.post
