"""Sensor at an ADC: golden model, controller, and learning at the pins of a simulated board."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace

import numpy as np
import pytest

from equilif.host.client import Client
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.front_end import live
from equilif_golden.front_end.channels import Channels
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import ChannelScaling, Sensor
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_hdl.front_end.sensor import Adc
from equilif_sim.board import SimulatedBoard

CONFIG = EngineConfig(
    lanes=2, tiles=512, value_groups=128, state_groups=32, pipeline=Pipeline.SPRAM, attention=False
)
CHANNELS, WINDOW, WINDOWS, WIDTH = 3, 1, 2, 12
TOP = (1 << WIDTH) - 1
SIZE = 2 * CHANNELS * WINDOWS
STEPS = WINDOWS << WINDOW
CLASSES = 3
NETWORK = Network.chain(SIZE, 16, CLASSES)
LEARNING_RATE = 0.1
SCALING = ChannelScaling(np.array([20, 90, 0, 60, 100, 10]), np.array([40, 255, 16, 30, 1, 22]))
#: a sample is answered in a period of the readings, 6,400 cycles
ADC = Adc(
    channels=CHANNELS,
    window=WINDOW,
    windows=WINDOWS,
    width=WIDTH,
    rate_hz=1_250,
    sck_hz=1_000_000,
    clock_hz=8_000_000,
)


def test_golden():
    """Readings in parts are as the whole stream; 16-bit samples of the plain front end; stuck readings."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, TOP + 1, (5 * STEPS + 1, CHANNELS))
    x[STEPS : 2 * STEPS] = TOP
    x[2 * STEPS : 3 * STEPS] = 0
    x[3 * STEPS : 4 * STEPS - 1] = 0
    found = Sensor(CHANNELS, WINDOW, WINDOWS, WIDTH).feed(x)
    assert [c.stuck for c in found] == [False, True, True, False, False]
    want = Channels(CHANNELS, WINDOW, WINDOWS).feed((x - 2048) * 16)
    assert (np.array([c.values for c in found]) == want).all()
    parts = Sensor(CHANNELS, WINDOW, WINDOWS, WIDTH)
    pieces = [c for part in np.split(x, [1, 3, 10]) for c in parts.feed(part)]
    assert all(
        (a.values == b.values).all() and a.stuck == b.stuck for a, b in zip(found, pieces, strict=True)
    )
    assert len(found[0].values) == parts.size == SIZE


def test_scaling():
    rng = np.random.default_rng(0)
    values = rng.integers(50, 90, (20, SIZE))
    scaling = ChannelScaling.of(values, CHANNELS)
    inputs = scaling.inputs(values)
    assert inputs.shape == values.shape and inputs.min() == 0 and 240 <= inputs.max() <= 255
    assert (scaling.inputs(values + 100) == 255).all() and (scaling.inputs(values - 50) == 0).all()


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_limits():
    for named, changed in (("7,936", {"rate_hz": 15_874}), ("8", {"width": 8})):
        with pytest.raises(ValueError, match=named):
            replace(ADC, sck_hz=500_000, **changed)
    with pytest.raises(ValueError, match="'pdm'"):
        BOARDS["icebreaker"].with_front_end("pdm")
    with pytest.raises(ValueError, match="'adc'"):
        BOARDS["colorlight-i5"].with_front_end("adc")
    with pytest.raises(ValueError, match="listen_on_a_board"):
        BOARDS["ulx3s-85f"].with_front_end("adc")
    gc.collect()


class ModelledBoard:
    """A simulated board, and the golden model of what it does.  Where nothing is played the ADC gives half of
    its range, as whole readings of all channels.
    """

    def __init__(self):
        self.board = SimulatedBoard(CONFIG, front_end=ADC, build_id=0, max_samples=1)
        self.client = Client(self.board)
        self.golden = Sensor(CHANNELS, WINDOW, WINDOWS, WIDTH)
        self.idle = 0  #: readings of all channels that were not played
        self.steps = 0  #: all of them

    def feed(self, readings):
        self.steps += len(readings)
        return self.golden.feed(readings)

    def catch_up(self):
        idle = -(-self.board.idle_bits // CHANNELS) - self.idle
        self.idle += idle
        return self.feed(np.full((idle, CHANNELS), 1 << WIDTH - 1))

    def align(self):
        """Play to the end of a sample."""
        self.catch_up()
        if rest := -self.steps % STEPS:
            self.capture(np.full((rest, CHANNELS), 1 << WIDTH - 1))

    def capture(self, readings, label=None):
        """Samples of the golden model; the board has taken the label of the last one."""
        self.board.button(label is not None, label or 0)
        self.board.play_readings(readings)
        found = self.catch_up()
        self.board.finish(ADC.period // 2)
        self.board.button(False)
        return found + self.feed(readings)


@pytest.mark.regress
@pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")
def test_board_equals_golden():
    """Samples are rejected without a network; then classified and learned, by the label of pins or table.  No
    ADC and a label that is no class change nothing.  Inputs and weights are compared, too.
    """
    here = ModelledBoard()
    rng = np.random.default_rng(0)
    here.align()

    def answer_to(readings, label=None, table_label=None):
        here.align()
        if table_label is not None:
            live.set_label(here.client, table_label)
            here.align()
        sample = here.capture(readings, label)[-1]
        here.board.finish(8_000)
        return sample, here.board.answers[-4:]

    def readings():
        return rng.integers(0, TOP + 1, (STEPS, CHANNELS)) // rng.integers(1, 9)

    assert answer_to(readings())[1] == live.answer("X", live.NO_NETWORK)
    weights = NETWORK.initial_weights(seed=3)
    chip = Chip(here.client, NETWORK, weights, learning_rate=LEARNING_RATE)
    live.Table(NETWORK, SCALING, SIZE).load(here.client)
    kernel = Kernel(NETWORK, weights, learning_rate=LEARNING_RATE)
    for label in (None, 1, None, 2, 0, None):
        sample, text = answer_to(readings(), label)
        x = SCALING.inputs(sample.values)[None]
        want = int(kernel.predict(x)[0])
        assert text == (live.answer("C", want) if label is None else live.answer("L", label))
        if label is not None:
            kernel.train(x, [label])
    for stuck in (0, TOP):
        assert answer_to(np.full((STEPS, CHANNELS), stuck))[1] == live.answer("X", Verdict.STUCK)
    assert answer_to(readings(), 3)[1] == live.answer("X", live.NO_CLASS)
    found = read_weights(here.client, chip.compiled)
    assert all((found[s.name] == kernel.weights[s.name]).all() for s in NETWORK.plastic)
    assert any((found[s.name] != weights[s.name]).any() for s in NETWORK.plastic)
