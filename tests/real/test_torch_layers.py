"""Report on each population: against NumPy, on networks whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from equilif.data.sets import images
from equilif_golden.network import Input, Network, Synapse, TokenRows
from equilif_golden.real.layers import attention_updates, cosine, layer_report, summed_gradients
from equilif_golden.real.methods import method_report
from equilif_golden.schedule import Schedule

ERRORS = Schedule(free=16, window=16, contrast="errors")
DIGITS = images.load("digits")
X, Y = DIGITS.x_test[:100], DIGITS.y_test[:100]


def chain(**options):
    return Network.chain(64, 24, 16, 10, **options)


def maps(**options):
    return Network.conv((8, 8), (6, 3), (8, 4, 2), 10, **options)


@pytest.mark.parametrize(
    "network, least",
    [
        (chain(schedule=ERRORS, feedback=False), 0.9),
        (maps(schedule=ERRORS, feedback=False), 0.8),
        (Network.chain(64, 24, 10, schedule=Schedule(free=24, nudged=12, window=8)), 0.8),
    ],
    ids=["errors", "convolutions", "phases"],
)
def test_updates_follow_the_gradient(network, least):
    report = layer_report(network, network.initial_weights(bias=0.1, scale=0.8), X, Y)
    assert list(report) == [p.name for p in network.lif]
    assert all(found["cosine"] > least for found in report.values()), report
    assert all(found["nudge"] > 0 for found in report.values())


@pytest.mark.parametrize("made", [chain, maps], ids=["chain", "convolutions"])
def test_errors_are_predictive_coding_with_a_small_nudge(made):
    """The update of errors follows backpropagation, and predictive coding less the larger the nudge; that of
    nudged phases follows the settled rates of its own energy.
    """
    network = made(schedule=ERRORS, feedback=False)
    weights = network.initial_weights(bias=0.1, scale=0.8)
    report = method_report(network, weights, X, Y)
    exact, *coded, phases = (list(found.values()) for found in report["methods"].values())
    assert report["learned_by"] == "errors" and min(exact) > 0.8 and len(phases) == 3
    assert coded[0] == pytest.approx(exact, abs=5e-3)
    assert np.mean(coded[0]) > np.mean(coded[1]) > np.mean(coded[2]) > np.mean(phases)
    network = made(schedule=Schedule(free=48, nudged=48, window=16))
    halved = [s if network[s.pre].clamped else replace(s, feedback_scale=0.5) for s in network.synapses]
    network = replace(network, synapses=tuple(halved))
    found = method_report(network, weights, X, Y)["methods"]
    assert min(found["nudged phases, beta 0.5"].values()) > 0.9
    assert len(found["errors"]) == len(found["backpropagation"]) == 3


@pytest.mark.parametrize("error_gain", [1, 2])
@pytest.mark.parametrize("kind", ["stored", "table", "tokens"])
def test_errors_through_attention_follow_the_gradient(kind, error_gain):
    """Through retrieval and softmax into queries, patterns and an embedding table."""
    rng = np.random.default_rng(0)
    # fine codes of p end at 1/16: a table needs long sequences
    size, width, classes, n = 64 if kind == "table" else 24, 8, 3, 60
    table = np.clip(rng.normal(0, 1500, (40, width)), -4096, 4095).astype(np.int16)
    network = Network.attention(
        size,
        width,
        4,
        *(24, 16, classes),
        schedule=Schedule(free=16, window=16, contrast="errors", error_gain=error_gain),
        table_rows=len(table) if kind == "table" else None,
        feedback=False,
    )
    lengths = rng.integers(size // 2, size + 1, n)
    rows = rng.integers(0, len(table), lengths.sum()).astype(np.int32)
    tokens = TokenRows(table, rows, np.r_[0, lengths.cumsum()])
    weights = network.initial_weights(1, bias=0.15, scale=0.9)
    x = np.zeros((n, 0), np.uint8)
    if kind == "table":
        weights["memory-query"] = table.astype(np.int64)
    elif kind == "stored":
        # an input moves the queries, so that samples differ
        memory, query = network.attention_layers[0].attention, network.attention_layers[0].relay
        populations = (*network.populations[:1], replace(memory, dynamic_patterns=False), query)
        network = replace(
            network,
            populations=(*populations, *network.lif, Input("x", 20)),
            synapses=(*network.synapses, Synapse("x", "query")),
        )
        weights |= {"memory-query": table[:size].astype(np.int64)}
        weights |= {"x-query": rng.integers(-1500, 1501, (20, 4 * width))}
        x, tokens = rng.integers(0, 256, (n, 20)).astype(np.uint8), None
    labels = rng.integers(0, classes, n)
    updates = attention_updates(network, weights, x, labels, tokens)
    gradients = summed_gradients(network, weights, x, labels, tokens)
    cosines = {s.name: cosine([updates[s.name]], [gradients[s.name]]) for s in network.plastic}
    assert all(c is not None and c > 0.9 for c in cosines.values()), cosines


def test_silent_and_saturated_populations():
    network = Network.chain(64, 5, 4, 10, schedule=ERRORS, feedback=False)
    weights = {name: np.zeros_like(w) for name, w in network.initial_weights().items()}
    weights["bias-hidden1"][:, :2] = -4096
    weights["bias-hidden1"][:, 2:] = 8192
    weights["bias-hidden2"][:] = 2048
    report = layer_report(network, weights, X, Y)
    first, second, output = report.values()
    assert (first["silent"], first["saturated"], first["active"]) == (0.4, 0.6, 0)
    assert (second["silent"], second["saturated"], second["active"]) == (0, 0, 1)
    assert first["drift"] == 0 and first["steps"] == ERRORS.window
    assert first["cosine"] is None and output["cosine"] > 0.99


def test_coupling_is_the_spectral_norm():
    network = Network.conv((8, 8), (3, 3), (4, 4, 2), 9, 10, schedule=ERRORS, feedback=False)
    weights = network.initial_weights(3)
    report = layer_report(network, weights, X, Y)
    dense = weights["hidden1-output"] / 4096
    assert report["maps1"]["coupling"] == 0
    assert report["output"]["coupling"] == pytest.approx(np.linalg.norm(dense, 2), rel=1e-2)
    geometry = network.geometry(network.synapses[2])
    unrolled = np.zeros((geometry.pre.size, geometry.post.size))
    for position, neurons in enumerate(geometry.neurons()):
        unrolled[neurons, position * 4 : position * 4 + 4] = weights["maps1-maps2"] / 4096
    assert report["maps2"]["coupling"] == pytest.approx(np.linalg.norm(unrolled, 2), rel=1e-2)


def test_attention_is_refused():
    network = Network.attention(4, 5, 2, 3)
    for report in (layer_report, method_report):
        with pytest.raises(ValueError, match="attention"):
            report(network, network.initial_weights(), np.zeros((1, 0), np.uint8), [0])
