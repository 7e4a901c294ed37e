"""Networks and schedules shared by tests."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import strategies as st

from equilif.data.sets.dataset import DataSet
from equilif.training.settings import tables
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.network import Network, Population, Synapse, TokenRows
from equilif_golden.populations import Constant, Input, Lif, SelfAttention
from equilif_golden.schedule import STRENGTH_MAX, Schedule

CHAIN = Network.chain(12, 9, 4)
#: inputs before and after the constants, two connected hidden populations, a skip connection, an output that
#: is updated before its sources
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


#: three layers with skip connections
SKIPS = Network(
    (
        Population("x", 19, "input"),
        Population("bias", 1, "constant"),
        Population("h1", 13),
        Population("h2", 9),
        Population("out", 5),
    ),
    (
        Synapse("x", "h1"),
        Synapse("bias", "h1"),
        Synapse("x", "h2", 2.0),
        Synapse("h1", "h2"),
        Synapse("h1", "out"),
        Synapse("h2", "out", 0.5),
        Synapse("bias", "out"),
    ),
    "out",
    Schedule(free=10, nudged=6, window=4, leak=3),
)


#: a value for every option of the phases
PHASES = {
    "free": 32,
    "nudged": 16,
    "window": 4,
    "beta": 1.0,
    "leak": 5,
    "early_exit": 16,
    "watch": "output",
    "contrast": "errors",
}
#: phases of fixed length, and with early exit
SCHEDULES = (
    Schedule(free=24),
    Schedule(free=24, early_exit=24),
    Schedule(free=24, early_exit=24, watch="output", min_windows=3),
)


@st.composite
def schedules(draw, window, threshold, one, *, whole_windows, errors=False):
    """Schedules with a window and a raw threshold.

    ``whole_windows``: phase lengths are multiples of the window.  ``errors``: weights learn from errors.
    """
    free, nudged = (
        window * draw(st.integers(1, 3)) if whole_windows else window + draw(st.integers(0, 6))
        for _ in range(2)
    )
    settles = {}
    if draw(st.booleans()):
        n = draw(st.integers(2, 5))
        free = n * window
        settles = {
            "early_exit": draw(st.sampled_from([0, 1, 4, 16, 64, 255])),
            "watch": draw(st.sampled_from(["all", "output"])),
            "min_windows": draw(st.integers(2, n)),
        }
    strengths = [b for b in (0.125, 0.3, 0.5, 1.0, 2.0) if 1 <= round(b * threshold) <= STRENGTH_MAX]
    return Schedule(
        window=window,
        free=free,
        nudged=1 if errors else nudged,
        beta=draw(st.sampled_from(strengths)),
        threshold=threshold / one,
        leak=draw(st.sampled_from(LEAKS)),
        contrast="errors" if errors else "phases",
        **settles,
    )


def memory_case(network, rng, n):
    """Lively weights, and n samples: inputs, labels and, for a memory that is loaded, patterns or rows of the
    network's table; some sequences are full, one is empty, and one has a row of the table twice.
    """
    weights = {s.name: rng.integers(-3000, 3001, network.shape(s)) for s in network.plastic}
    x = rng.integers(0, 256, (n, network.n_inputs)).astype(np.uint8)
    labels = rng.integers(0, network.n_outputs, n)
    if not network.dynamic_attention:
        return weights, x, labels, [None] * n
    size = network.dynamic_attention.attention.size
    lengths = np.r_[size, 0, rng.integers(1, size + 1, n - 2)]
    n_rows = network.dynamic_attention.attention.table_rows or lengths.sum()
    table = rng.integers(-6000, 6001, (n_rows, network.dynamic_attention.relay.width)).astype(np.int16)
    at = np.arange(n_rows)
    if network.table:
        weights[network.table.name] = table.astype(np.int64)
        at = rng.integers(0, n_rows, lengths.sum())
        at[1] = at[0]
    off = np.r_[0, lengths.cumsum()].astype(np.int64)
    rows = TokenRows(table, at.astype(np.int32), off)
    return weights, x, labels, [rows.take([j]) for j in range(n)]


def data_set(n=30):
    """Sequences of two classes: even rows and odd rows."""
    rng = np.random.default_rng(4)
    y = np.arange(n) % 2
    at = [2 * rng.integers(0, 10, rng.integers(3, 9)) + label for label in y]
    off = np.cumsum([0, *map(len, at)])
    codes = rng.integers(-4096, 4097, (20, 6)).astype(np.int16)
    rows = TokenRows(codes, np.concatenate(at).astype(np.int32), off)
    x = np.zeros((n, 0), np.uint8)
    return DataSet("vowels", x, y, x, y, rows, rows)


LEARNS = Description.of(
    {
        **PRESETS["vowels"].content(),
        **tables.memory(8, 2, 8, table_learning_rate_scale=4.0),
        "learning": {
            "epochs": 2,
            "learning_rate": 0.02,
            "decay": 0.1,
            "schedule": "linear",
            "token_dropout": 0.1,
        },
        "loading": {},
    },
    "vowels",
)


def with_energy() -> Network:
    """Two heads over the features of six positions, which learn; no size is a multiple of four lanes."""
    return Network(
        (
            Input.of_shape("x", (3, 2, 3)),
            Constant("bias", 1),
            Lif.of_shape("features", (3, 2, 4)),
            SelfAttention.of_shape("attention", (3, 2, 12), heads=2, gain=1, energy=True),
            Lif("output", 3),
        ),
        (
            Synapse("x", "features", kernel=1),
            Synapse("bias", "features", per_position=True),
            Synapse("features", "attention", kernel=1),
            Synapse("bias", "attention"),
            Synapse("features", "output"),
            Synapse("bias", "output"),
        ),
        "output",
        Schedule(free=12, window=4, nudged=8),
    )
