"""Netlists of the engine learn bit for bit as the reference.

iCE40UP5K with SPRAM, block RAM and DSP mapping; ECP5 after the passes of equilif_boards.ecp5 and
equilif_boards.floorplan; Gowin GW1N and GW2A with block RAMs, distributed RAMs and multipliers.  Yosys has no
models of the block RAMs and multipliers of ECP5 and Gowin: equilif_sim/ecp5.v and equilif_sim/gowin.v have
them.
"""

import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from equilif.data.sets import images as data
from equilif_boards.icebreaker import ICEBREAKER
from equilif_boards.tang_nano import TANG_NANO_9K, TANG_NANO_20K
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.network import Network
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_sim.verilated import VerilatedEngine
from tests.netlists import ECP5, GOWIN, GOWIN_2A, ICE40, as_shipped


def learns_as_the_reference(engine, *, samples):
    digits = data.load("digits")
    network = Network.chain(64, 64, 10)
    reference = Reference(network, learning_rate=0.05)
    chip = Chip(engine, network, reference.weights, learning_rate=0.05)
    for x, label in zip(digits.x_train[:samples].astype(np.int64), digits.y_train, strict=False):
        y = one_hot(np.array([label]), 10)
        want = reference.train(x[None], y)
        got = chip.sample(x, y[0])
        assert (got.prediction, got.spikes) == (want.prediction[0], want.spikes)
    for synapse, w in chip.weights.items():
        assert np.array_equal(w, reference.weights[synapse]), synapse


@pytest.mark.regress
def test_icebreaker_netlist_learns_as_reference():
    learns_as_the_reference(VerilatedEngine(ICEBREAKER.config, synthesis=ICE40), samples=20)


@pytest.mark.long
@pytest.mark.parametrize("lanes, tiles", [(4, 700), (8, 350), (32, 64)])
def test_ecp5_netlist_learns_as_reference(lanes, tiles):
    """As shipped: registers packed into blocks, floorplan regions, duplicated registers and LUTs.  For 4 and
    8 lanes a bank has 2,800 words, in cascaded blocks of 2,048 and 1,024 words.
    """
    took: Counter[str] = Counter()
    synthesis = replace(ECP5, after=lambda netlist, rtlil: took.update(as_shipped(netlist, rtlil)))
    config = EngineConfig(lanes=lanes, tiles=tiles, value_groups=128, state_groups=32, attention=False)
    learns_as_the_reference(VerilatedEngine(config, synthesis=synthesis), samples=20)
    assert took["MULT18X18D"] == took["multipliers placed"] == 2 * lanes
    assert took["DP16KD"] >= lanes and took["block RAMs placed"] >= lanes
    assert took["registers copied"] and took["LUTs copied"]


#: block RAMs without a model in equilif_sim/gowin.v: black boxes in simulation
EMPTY = {"SP", "SPX9", "SDP", "SDPX9", "DP", "DPX9"}


@pytest.mark.long
@pytest.mark.skipif(not shutil.which(GOWIN.yosys), reason="needs the Yosys of the Gowin boards")
@pytest.mark.parametrize(
    "config, synthesis",
    [
        pytest.param(TANG_NANO_9K.config, GOWIN, id="tang-nano-9k"),
        # half the lanes, to save time
        pytest.param(replace(TANG_NANO_20K.config, lanes=4), GOWIN_2A, id="tang-nano-20k"),
    ],
)
def test_gowin_netlist_learns_as_reference(config, synthesis):
    took: Counter[str] = Counter()

    def count(netlist, rtlil):
        took.update(cell["type"] for cell in netlist["modules"]["engine"]["cells"].values())

    engine = VerilatedEngine(config, synthesis=replace(synthesis, after=count))
    learns_as_the_reference(engine, samples=20)
    assert took["MULT18X18"] == 2 * config.lanes
    assert took["DPB"] + took["DPX9B"] >= config.lanes and took["SDPX9B"]
    assert not EMPTY & set(took)
