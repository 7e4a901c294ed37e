"""Synapses in real numbers, forward and backward: a matrix, a kernel over maps, a shared bias.

Neurons of maps lie position by position (equilif_golden.populations), torch's layout "channels last": a
convolution needs no copy of them.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from equilif_golden.network import Geometry, Network, Shape, Synapse

Tensor = torch.Tensor


def carried(network: Network, s: Synapse, w: Tensor, rates: Tensor) -> Tensor:
    """Drive of ``post`` (n, size) from rates of ``pre`` (n, size); ``w`` in the layout of the weights."""
    geometry = network.geometry(s)
    if geometry is None or s.kernel is None:
        drive = rates @ w
        return drive.repeat(1, geometry.post.positions) if geometry else drive
    if geometry.kernel == geometry.stride == 1:
        return (rates.view(-1, *geometry.pre) @ w).flatten(1)
    maps = functional.conv2d(_maps(rates, geometry.pre), _kernel(w, geometry), stride=geometry.stride)
    return _rows(maps)


def carried_back(network: Network, s: Synapse, w: Tensor, rates: Tensor) -> Tensor:
    """Drive of ``pre`` from rates of ``post``, through the same weights."""
    geometry = network.geometry(s)
    if geometry is None:
        return rates @ w.T
    if geometry.kernel == geometry.stride == 1:
        return (rates.view(-1, *geometry.post) @ w.T).flatten(1)
    maps = _maps(rates, geometry.post)
    return _rows(functional.conv_transpose2d(maps, _kernel(w, geometry), stride=geometry.stride))


def _maps(rates: Tensor, shape: Shape) -> Tensor:
    """Rates (n, size) as (n, maps, height, width)."""
    return rates.view(-1, *shape).permute(0, 3, 1, 2)


def _rows(maps: Tensor) -> Tensor:
    """(n, maps, height, width) as (n, size)."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _kernel(w: Tensor, geometry: Geometry) -> Tensor:
    """Weights of a kernel as (maps of post, maps of pre, k, k)."""
    k = geometry.kernel
    return w.view(k, k, geometry.pre.maps, geometry.post.maps).permute(3, 2, 0, 1)
