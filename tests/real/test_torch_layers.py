"""Report on each population: against NumPy, on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from equilif.data.sets import images
from equilif_golden.network import Network
from equilif_golden.real.layers import error_report, layer_report
from equilif_golden.schedule import Schedule

ERRORS = Schedule(free=16, window=16, contrast="errors")
DIGITS = images.load("digits")
X, Y = DIGITS.x_test[:100], DIGITS.y_test[:100]


@pytest.mark.parametrize(
    "network, least",
    [
        (Network.chain(64, 24, 16, 10, schedule=ERRORS, feedback=False), 0.9),
        (Network.conv((8, 8), (6, 3), (8, 4, 2), 10, schedule=ERRORS, feedback=False), 0.8),
        (Network.chain(64, 24, 10, schedule=Schedule(free=24, nudged=12, window=8)), 0.8),
    ],
    ids=["errors", "convolutions", "phases"],
)
def test_updates_follow_the_gradient(network, least):
    report = layer_report(network, network.initial_weights(bias=0.1, scale=0.8), X, Y)
    assert list(report) == [p.name for p in network.lif]
    assert all(found["cosine"] > least for found in report.values()), report
    assert all(found["nudge"] > 0 for found in report.values())
    if network.schedule.errors:
        synapses = error_report(network, network.initial_weights(bias=0.1, scale=0.8), X, Y)["synapses"]
        assert list(synapses) == [s.name for s in network.synapses]
        assert all(found["integer_gradient"]["sum"] > least for found in synapses.values()), synapses
    else:
        with pytest.raises(ValueError, match="gradient_report"):
            error_report(network, network.initial_weights(), X, Y)


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
    with pytest.raises(ValueError, match="attention"):
        layer_report(network, network.initial_weights(), np.zeros((1, 0), np.uint8), [0])
