"""Convolutions as other frameworks have them, and as networks have them here.

Elsewhere values of an image or of maps are (channels, height, width) and kernels (out, in, k, k).  Here they
lie position by position, the maps innermost, and the weights of a kernel are a matrix
(equilif_golden.blocks.geometry).

Convolutions and sums over windows one after the other are one convolution, and a matrix behind them is one
matrix: nothing that is linear is lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import MAX_ACCUMULATOR, Raw
from equilif_golden.network import Geometry, Input, Network, Population, Shape, Synapse, Weights

Real = npt.NDArray[np.float64]
Matrix = npt.NDArray[Any]
MAX_WEIGHTS = 1 << 25  #: of an unrolled network


@dataclass(frozen=True)
class Conv:
    """``weight`` (out, in, k, k), at every ``stride``-th position, without padding."""

    weight: Real
    stride: int = 1

    @property
    def side(self) -> int:
        return int(self.weight.shape[2])

    def positions(self, side: int) -> int:
        """Positions of the kernel along a side; a remainder at its end is ignored."""
        return (side - self.side) // self.stride + 1

    def after(self, first: Conv) -> Conv:
        """Merge this convolution and the one before it."""
        inner = first.side
        k = inner + first.stride * (self.side - 1)
        weight = np.zeros((len(self.weight), first.weight.shape[1], k, k))
        for y in range(self.side):
            for x in range(self.side):
                rows = slice(y * first.stride, y * first.stride + inner)
                columns = slice(x * first.stride, x * first.stride + inner)
                weight[:, :, rows, columns] += np.tensordot(self.weight[:, :, y, x], first.weight, 1)
        return Conv(weight, first.stride * self.stride)

    def under(self, matrix: Real, height: int, width: int) -> Real:
        """A matrix (n, out, rows, columns) of its results as one (n, in, height, width) of its inputs."""
        found = np.zeros((len(matrix), self.weight.shape[1], height, width))
        for y in range(matrix.shape[2]):
            for x in range(matrix.shape[3]):
                rows = slice(y * self.stride, y * self.stride + self.side)
                columns = slice(x * self.stride, x * self.stride + self.side)
                found[:, :, rows, columns] += np.tensordot(matrix[:, :, y, x], self.weight, 1)
        return found


def window(channels: int, side: int, stride: int, *, mean: bool) -> Conv:
    """Sum or mean over a window of each channel: pooling."""
    weight = np.zeros((channels, channels, side, side))
    weight[np.arange(channels), np.arange(channels)] = 1 / side**2 if mean else 1.0
    return Conv(weight, stride)


def filled(weight: Real, *, groups: int, dilation: int) -> Real:
    """A kernel (out, in / groups, k, k) with zeros where groups and dilation leave places out."""
    out, each, k, _ = weight.shape
    wide = dilation * (k - 1) + 1
    found = np.zeros((out, each * groups, wide, wide))
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        found[rows, g * each : (g + 1) * each, ::dilation, ::dilation] = weight[rows]
    return found


# -- orders ----------------------------------------------------------------------------------------
def channels_first(population: Population) -> Raw:
    """Neuron of a population for every value of (channels, height, width); of an input that is folded, for
    every value of the image.
    """
    if population.shape is None:
        return np.arange(population.size)
    if isinstance(population, Input) and population.image is not None:
        image = population.image
        neuron = np.empty(population.size, np.int64)
        neuron[population.fold] = np.arange(population.size)  # by place in the sample
        if population.channels_first:
            return neuron
    else:
        image = population.shape
        neuron = np.arange(population.size)
    found: Raw = neuron.reshape(image).transpose(2, 0, 1).ravel()
    return found


def to_kernel(matrix: Matrix, geometry: Geometry, patch: int = 1) -> Matrix:
    """Weights of a synapse as a kernel (out, in, k, k) of an image that is not folded."""
    k = geometry.kernel
    channels = geometry.pre.maps // patch**2
    kernel = matrix.reshape(k, k, patch, patch, channels, -1).transpose(5, 4, 0, 2, 1, 3)
    return kernel.reshape(-1, channels, k * patch, k * patch)


def from_kernel(kernel: Matrix, patch: int = 1) -> Matrix:
    """Weights of a synapse from a kernel (out, in, k, k), of an image that is then folded."""
    out, channels, side, _ = kernel.shape
    k = side // patch
    matrix = kernel.reshape(out, channels, k, patch, k, patch).transpose(2, 4, 3, 5, 1, 0)
    return matrix.reshape(-1, out)


# -- without maps ----------------------------------------------------------------------------------
def unrolled(network: Network, weights: Weights) -> tuple[Network, Weights]:
    """The same network without maps: a weight for each pair of neurons that a kernel joins, 0 for others.

    Inputs are in the order of the sample.
    """
    n = sum(network[s.pre].size * network[s.post].size for s in network.synapses)
    if n > MAX_WEIGHTS:
        raise ValueError(
            f"its maps written as matrices, a network with feedback would have {n:,} weights, more than "
            f"{MAX_WEIGHTS:,}: take fewer maps, or none with feedback"
        )
    flat = {s.name: dense(network, s, weights[s.name]) for s in network.synapses}
    populations = tuple(Population(p.name, p.size, p.kind) if p.shape else p for p in network.populations)
    synapses = tuple(replace(s, kernel=None, stride=1, per_position=False) for s in network.synapses)
    widest = replace(network.numerics, accumulator_width=MAX_ACCUMULATOR)
    return Network(populations, synapses, network.output, network.schedule, widest), flat


def dense(network: Network, s: Synapse, w: Matrix) -> Matrix:
    """Weights of a synapse as the matrix of all pairs of neurons; those of an input in the order of the
    sample.
    """
    pre = network[s.pre]
    post = network[s.post]
    geometry = network.geometry(s)
    if geometry is not None:
        matrix = np.zeros((pre.size, post.size), w.dtype)
        neurons = geometry.neurons()
        for position, rows in enumerate(neurons):
            columns = slice(position * geometry.columns, (position + 1) * geometry.columns)
            matrix[rows, columns] = w
    else:
        matrix = w
    if not isinstance(pre, Input) or not pre.folded:
        return matrix
    in_order = np.empty_like(matrix)
    in_order[pre.fold] = matrix
    return in_order


def rolled(network: Network, flat: Weights) -> Weights:
    """Weights of a network from those that :func:`unrolled` gives; ValueError names a synapse whose weights
    are not tied so.
    """
    found = {s.name: _rolled(network, s, flat[s.name]) for s in network.synapses}
    for s in network.synapses:
        if not np.array_equal(dense(network, s, found[s.name]), flat[s.name]):
            raise ValueError(f"weights of {s.name} are not those of one kernel at every position")
    return found


def _rolled(network: Network, s: Synapse, w: Matrix) -> Matrix:
    pre = network[s.pre]
    if isinstance(pre, Input) and pre.folded:
        w = w[pre.fold]
    geometry = network.geometry(s)
    if geometry is not None:
        return w[geometry.neurons()[0], : geometry.columns]
    return w


def patch_of(image: Shape, windows: list[tuple[int, int]]) -> int:
    """The largest patch into which an image can be folded, for kernels of these sizes and strides."""
    sides = [image.height, image.width, *(n for sizes in windows for n in sizes)]
    return math.gcd(*sides) if windows else 1
