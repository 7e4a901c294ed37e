"""What Yosys makes of the engine for the iCE40UP5K still learns bit for bit.

SPRAM, block RAM and DSP mapping included.
"""

import numpy as np

from equilif.data import images as data
from equilif_boards.icebreaker import ICEBREAKER
from equilif_golden.engine.chip import Chip
from equilif_golden.network import Network
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_sim.verilated import Synthesis, VerilatedEngine

NETLIST = Synthesis(
    (*ICEBREAKER.after_read, f"synth_ice40 {ICEBREAKER.synth_opts} -top engine"),
    "ice40/cells_sim.v",
    ("NO_ICE40_DEFAULT_ASSIGNMENTS",),
)


def test_icebreaker_netlist_learns_as_the_reference():
    digits = data.load("digits")
    network = Network.chain(64, 64, 10)
    reference = Reference(network, lr=0.05)
    engine = VerilatedEngine(ICEBREAKER.config, synthesis=NETLIST)
    chip = Chip(engine, network, reference.weights, lr=0.05)
    for x, label in zip(digits.x_train[:20].astype(np.int64), digits.y_train, strict=False):
        y = one_hot(np.array([label]), 10)
        want = reference.train(x[None], y)
        got = chip.sample(x, y[0])
        assert (got.prediction, got.spikes) == (want.prediction[0], want.spikes)
    for synapse, w in chip.weights.items():
        assert np.array_equal(w, reference.weights[synapse]), synapse
