"""Meaning of a network's inputs: pixels of an image, or columns of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from equilif.convolutions import dense, to_kernel
from equilif.data.encoding.about import About
from equilif.data.encoding.scaling import TOP, Column
from equilif_golden.fixed import Raw
from equilif_golden.network import Input, Lif, Network, Synapse, Weights

Reals = npt.NDArray[np.float64]
NONE = -1  #: an input that a value does not have


@dataclass(frozen=True)
class Inputs:
    """A value of a sample is one input, or the difference of two rails.

    ``plus``, ``minus`` (values,): input of each value, and its negative rail, or NONE.  ``shape`` of an
    image, () for other samples; ``names`` of the values; ``columns``: how they were scaled, or nothing.
    """

    plus: Raw
    minus: Raw
    shape: tuple[int, ...]
    names: tuple[str, ...]
    columns: tuple[Column, ...] = ()

    @classmethod
    def of(cls, n_inputs: int, about: About | None, shape: tuple[int, ...] = ()) -> Inputs:
        """Inputs of own data, or of a named data set: images of this ``shape``, or square."""
        if about is None:
            side = math.isqrt(n_inputs)
            one = np.arange(n_inputs)
            if not shape and side * side == n_inputs and side > 1:
                shape = (side, side)
            return cls(one, np.full(n_inputs, NONE), shape, _numbered(n_inputs))
        scaling = about.scaling
        columns = scaling.columns * (scaling.width // max(1, len(scaling.columns)))
        if scaling.kind == "common" and columns[0].kind == "rails":
            plus = np.arange(scaling.width)
            minus = plus + scaling.width  # all positive rails, then all negative ones
        elif scaling.kind == "columns":
            widths = np.array([c.width for c in columns])
            first = np.cumsum(widths) - widths
            plus = np.where(widths > 0, first, NONE)
            minus = np.where(widths > 1, first + 1, NONE)
        else:
            plus = np.arange(scaling.width)
            minus = np.full(scaling.width, NONE)
        names = scaling.names or about.encoding.words or _numbered(scaling.width)
        return cls(plus, minus, about.shape if _image(about.shape) else (), names, columns)

    def signed(self, x: npt.NDArray[np.generic]) -> Raw:
        """Values (..., values) of inputs (..., inputs): the positive rail less the negative one."""
        padded = np.concatenate([x.astype(np.int64), np.zeros((*x.shape[:-1], 1), np.int64)], axis=-1)
        difference: Raw = padded[..., self.plus] - padded[..., self.minus]
        return difference

    def original(self, x: npt.NDArray[np.uint8]) -> Reals:
        """Values (..., values) in the units of their columns, as far as 8 bits tell; NaN where a column was
        left out.
        """
        values = self.signed(x).astype(np.float64)
        if not self.columns:
            return values
        scaled = [_unscaled(values[..., k], column) for k, column in enumerate(self.columns)]
        return np.stack(scaled, axis=-1)


def _numbered(n: int) -> tuple[str, ...]:
    return tuple(f"input {k}" for k in range(n))


def _image(shape: tuple[int, ...]) -> bool:
    """Height and width, and at most four colours."""
    return len(shape) == 2 and min(shape) > 1 or len(shape) == 3 and shape[2] <= 4


def _unscaled(values: Reals, column: Column) -> Reals:
    if column.kind == "constant":
        return np.full_like(values, np.nan)
    if column.kind == "range":
        return column.low + values / TOP * (column.high - column.low)
    return values / TOP * max(-column.low, column.high)


# -- what neurons look at --------------------------------------------------------------------------
@dataclass(frozen=True)
class ReceptiveFields:
    """Receptive fields of a population: weights (values, neurons) from the inputs, in thresholds.

    Of maps (values of a kernel, maps): all positions of a map have the same.  ``shape`` of the values where
    they are pixels, else ().  ``favours`` (neurons,): the class that a neuron, or all of a map, drives most,
    None where it drives none directly.
    """

    population: str
    weights: Reals
    favours: Raw | None
    shape: tuple[int, ...] = ()

    @classmethod
    def of(cls, network: Network, weights: Weights, inputs: Inputs) -> ReceptiveFields | None:
        """Fields of the first population with a synapse from the inputs; None when there is none."""
        scale = network.numerics.one * network.schedule.threshold
        first = {}
        at = 0
        for source in network.inputs:
            first[source.name] = at
            at += source.size
        for p in network.lif:
            sources = [s for s in network.synapses if s.post == p.name and s.pre in first]
            if not sources:
                continue
            if sources[0].kernel is not None:
                kernel = _kernel(network, sources[0], weights)
                values = kernel.reshape(-1, kernel.shape[-1])
                return cls(p.name, values / scale, _favours(network, weights, p), kernel.shape[:-1])
            raw = np.zeros((network.n_inputs, p.size), np.int64)
            for s in sources:
                raw[first[s.pre] :][: network[s.pre].size] += dense(network, s, weights[s.name])
            values = inputs.signed(raw.T).T
            return cls(p.name, values / scale, _favours(network, weights, p), inputs.shape)
        return None

    def strongest(self, limit: int) -> Raw:
        """Neurons of the largest weights, those that favour the same class side by side."""
        order = np.argsort(-np.square(self.weights).sum(axis=0), kind="stable")[:limit]
        if self.favours is not None:
            order = order[np.argsort(self.favours[order], kind="stable")]
        return order


def _kernel(network: Network, s: Synapse, weights: Weights) -> Raw:
    """Weights of a kernel over an image, (rows, columns, colours, maps)."""
    source = network[s.pre]
    geometry = network.geometry(s)
    assert geometry is not None and isinstance(source, Input)
    return to_kernel(weights[s.name], geometry, source.patch).transpose(2, 3, 1, 0)


def _favours(network: Network, weights: Weights, population: Lif) -> Raw | None:
    if population.name == network.output:
        return np.arange(population.size)
    name = f"{population.name}-{network.output}"
    if name not in weights:
        return None
    w = weights[name]
    if population.shape:
        w = w.reshape(population.shape.positions, population.maps, -1).sum(axis=0)
    favours: Raw = w.argmax(axis=1)
    return favours
