"""Networks that several tests share."""

from __future__ import annotations

import numpy as np
import pytest

from equilif_golden.network import Network, Population, Synapse

CHAIN = Network.chain(12, 9, 4)
#: inputs on both sides of the constants, two hidden populations joined to each other, a skip, output
#: updated before its sources
GRAPH = Network(
    (
        Population("x", 7, "input"),
        Population("out", 4),
        Population("b", 1, "constant"),
        Population("h1", 6),
        Population("z", 5, "input"),
        Population("h2", 5),
    ),
    (
        Synapse("x", "h1"),
        Synapse("z", "h2"),
        Synapse("h1", "h2"),
        Synapse("h1", "out"),
        Synapse("out", "h2"),
        Synapse("x", "out"),
        Synapse("b", "h1"),
        Synapse("b", "h2"),
        Synapse("b", "out"),
    ),
    "out",
)
NETWORKS = pytest.mark.parametrize("network", [CHAIN, GRAPH], ids=["chain", "graph"])


def sample(network, n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, network.n_inputs)).astype(np.uint8), rng.integers(0, network.n_outputs, n)
