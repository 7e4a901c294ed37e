"""Shared weights: a convolution equals a dense network with tied weights and sequential updates."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.geometry import Geometry, Shape
from equilif_golden.blocks.plasticity import Step, dither, ep_update
from equilif_golden.fixed import SQ
from equilif_golden.network import Input, Network
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule

#: kernel and stride for a shape: odd sides, strides up to and above the kernel, a kernel of the full shape, a
#: bias
CASES = [
    Geometry(Shape(5, 4, 2), Shape(4, 3, 3), 2, 1),
    Geometry(Shape(7, 5, 1), Shape(3, 2, 4), 3, 2),
    Geometry(Shape(8, 5, 3), Shape(3, 2, 2), 2, 3),
    Geometry(Shape(3, 3, 2), Shape(1, 1, 5), 3, 1),
    Geometry(Shape(1, 1, 1), Shape(3, 2, 4), 1, 0),
]
GEOMETRIES = pytest.mark.parametrize("g", CASES, ids=str)
NETWORKS = pytest.mark.parametrize(
    "network",
    [
        Network.conv((6, 6), (3, 3), (4, 2, 2), 5),
        Network.conv((10, 6), (2, 2), (3, 2, 1), 4, 3, patch=2, feedback=False),
        Network.conv((5, 7, 2), (3, 3, 2), 6, 4, schedule=Schedule(free=8, leak=3)),
    ],
    ids=["two convolutions", "patches, no feedback", "colours, a hidden population"],
)


def pairs(g):
    """Connected neuron pairs and their weights, by definition."""
    for i, j in product(range(g.pre.size), range(g.post.size)):
        (source, m), (destination, n) = divmod(i, g.pre.maps), divmod(j, g.post.maps)
        (y, x), (v, u) = divmod(source, g.pre.width), divmod(destination, g.post.width)
        dy, dx = y - v * g.stride, x - u * g.stride
        if 0 <= dy < g.kernel and 0 <= dx < g.kernel:
            yield i, j, ((dy * g.kernel + dx) * g.pre.maps + m, n), (m, n, source, destination)


def unrolled(g, w):
    """The dense matrix with tied weights."""
    dense = np.zeros((g.pre.size, g.post.size), np.int64)
    for i, j, at, _ in pairs(g):
        dense[i, j] = w[at]
    return dense


def flat(network, weights):
    """The dense network with tied weights, for patched inputs."""
    populations = tuple(
        replace(p, shape=None, **({"patch": 1} if isinstance(p, Input) else {})) if p.shape else p
        for p in network.populations
    )
    synapses = tuple(replace(s, kernel=None, stride=1) for s in network.synapses)
    dense = {
        s.name: unrolled(g, weights[s.name]) if (g := network.geometry(s)) else weights[s.name]
        for s in network.synapses
    }
    return replace(network, populations=populations, synapses=synapses), dense


@GEOMETRIES
def test_drives_equal_dense(g):
    rng = np.random.default_rng(0)
    w = rng.integers(-(2**15), 2**15, (g.rows, g.columns))
    dense = unrolled(g, w)
    there, back = rng.integers(0, 2, (3, g.pre.size)), rng.integers(0, 2, (3, g.post.size))
    values = rng.integers(0, 256, (3, g.pre.size))
    assert (syn.forward(w, there, g) == syn.forward(dense, there)).all()
    assert (syn.backward(w, back, g) == syn.backward(dense, back)).all()
    assert (syn.forward_values(w, values, g) == syn.forward_values(dense, values)).all()
    assert g.rows == (dense[:, 0] != 0).sum() or (w == 0).any()


@NETWORKS
def test_network_equals_dense_with_tied_weights(network):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, (4, network.n_inputs))
    y = one_hot(rng.integers(0, network.n_outputs, 4), network.n_outputs)
    weights = network.initial_weights(2, scale=2.0)
    dense, tied = flat(network, weights)
    got = Reference(network, weights).train(x, y, learn=False)
    expected = Reference(dense, tied).train(network.clamped(x)["input"], y, learn=False)
    assert got.spikes == expected.spikes > 0
    for name in network.neurons:
        for phase in ("free", "plus", "minus"):
            assert (getattr(got, phase)[name] == getattr(expected, phase)[name]).all()
    assert any((got.plus[name] != got.minus[name]).any() for name in network.neurons)


@GEOMETRIES
@pytest.mark.parametrize("reach", [100, 2**15 - 1], ids=["far from its limits", "saturating"])
def test_updates_in_order_of_pairs(g, reach):
    """Sources in ascending order, for each its destinations (docs/explanation/convolution.md)."""
    rng = np.random.default_rng(3)
    weight, step, counter = SQ(4, 12), Step(31, 12), 123456
    w = rng.choice([-reach, 0, reach], (g.rows, g.columns))
    u = rng.integers(0, 256, (2, g.pre.size)) * rng.integers(0, 2, g.pre.size)
    v = rng.integers(0, 256, (2, g.post.size))
    got = ep_update(w, *u, *v, step=step, counter=counter, weight=weight, geometry=g)
    expected = w.copy()
    limits = 0
    for i, j, at, place in pairs(g):
        difference = int(u[0, i] * v[0, j]) - int(u[1, i] * v[1, j])
        d = int(dither(counter, *place)) % 2**step.shift
        moved = expected[at] + (step.gain * difference + d >> step.shift)
        expected[at] = min(max(moved, weight.lo), weight.hi)
        limits += expected[at] != moved
    assert (got == expected).all() and (got != w).any() and (limits > 0) == (reach > 100)


@GEOMETRIES
def test_update_equals_sum_of_unrolled(g):
    """Without rounding and saturation."""
    rng = np.random.default_rng(4)
    u, v = 64 * rng.integers(0, 4, (2, g.pre.size)), 64 * rng.integers(0, 4, (2, g.post.size))
    step, weight = Step(1, 12), SQ(4, 12)
    zero = np.zeros((g.rows, g.columns), np.int64)
    got = ep_update(zero, *u, *v, step=step, counter=9, weight=weight, geometry=g)
    dense = ep_update(unrolled(g, zero), *u, *v, step=step, counter=5, weight=weight)
    total = zero.copy()
    for i, j, at, _ in pairs(g):
        total[at] += dense[i, j]
    assert (got == total).all() and got.any()


def test_dither_of_dense_synapse_from_maps():
    """Rounding does not depend on the padding of positions in an engine."""
    u, v = np.full(6, 3), np.full(4, 5)
    step = Step(1, 12)
    w = np.zeros((6, 4), np.int64)
    got = ep_update(w, u, 0 * u, v, 0 * v, step=step, counter=77, weight=SQ(4, 12), maps=2)
    row, column, source = np.arange(6)[:, None] % 2, np.arange(4), np.arange(6)[:, None] // 2
    d = dither(77, row, column, source) % 2**step.shift
    assert (got == (15 + d) >> step.shift).all()
    changed = [
        (ep_update(w, u * 9, 0 * u, v * 9, 0 * v, step=step, counter=c, weight=SQ(4, 12), maps=2)
         != ep_update(w, u * 9, 0 * u, v * 9, 0 * v, step=step, counter=c, weight=SQ(4, 12))).any()
        for c in range(20)
    ]  # fmt: skip
    assert any(changed)
