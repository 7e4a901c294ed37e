"""Networks and weights of the NIR tests."""

from __future__ import annotations

import numpy as np

from equilif_golden import network as networks
from equilif_golden.network import Network


def random_weights(network: Network, seed: int = 0) -> networks.Weights:
    rng = np.random.default_rng(seed)
    fmt = network.numerics.weight
    return {s.name: rng.integers(fmt.lo, fmt.hi + 1, network.shape(s)) for s in network.synapses}
