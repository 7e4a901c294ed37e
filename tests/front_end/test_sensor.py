"""Sensor at an ADC: golden model, controller, and learning at the pins of a simulated board."""

from __future__ import annotations

import gc
import shutil
from dataclasses import replace

import numpy as np
import pytest
from amaranth import Module
from amaranth.sim import Simulator

from equilif.host.client import Client
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.front_end import live
from equilif_golden.front_end.channels import Channels
from equilif_golden.front_end.segmentation import Verdict
from equilif_golden.front_end.sensor import ChannelScaling, Sensor, SensorTable
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_hdl.engine.port import VALUE_REGION
from equilif_hdl.front_end.sensor import Adc, SensorController

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


@pytest.mark.parametrize(
    "network, config, error, named",
    [
        (Network.chain(SIZE + 1, 16, CLASSES), CONFIG, ValueError, str(SIZE)),
        (Network.chain(SIZE, 16, live.MAX_CLASSES + 1), CONFIG, ValueError, "101"),
        (Network.chain(SIZE, 30, 20), replace(CONFIG, value_groups=64), CapacityError, "56"),
    ],
)
def test_networks_of_a_table(network, config, error, named):
    with pytest.raises(error, match=named):
        SensorTable(network, SIZE, SCALING).content(config)


def test_channels_of_a_scaling():
    wide = ChannelScaling(np.zeros(32, np.int64), np.ones(32, np.int64))
    with pytest.raises(ValueError, match="15"):
        SensorTable(Network.chain(64, 16, CLASSES), 64, wide).content(CONFIG)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_limits():
    for named, changed in (("7,936", {"rate_hz": 15_874}), ("8", {"width": 8})):
        with pytest.raises(ValueError, match=named):
            replace(ADC, sck_hz=500_000, **changed)
    with pytest.raises(ValueError, match="'pdm'.* adc"):
        BOARDS["icebreaker"].with_front_end("pdm")
    with pytest.raises(ValueError, match="'adc'.* pdm and i2s"):
        BOARDS["colorlight-i5"].with_front_end("adc")
    with pytest.raises(ValueError, match="listen_on_a_board"):
        BOARDS["ulx3s-85f"].with_front_end("adc")
    gc.collect()


def test_samples_lost_while_the_host_uses_the_engine():
    """The first of three samples waits for the engine.  The second is lost, the third, which begins after the
    first was taken, is not.
    """
    dut = SensorController(CONFIG, CHANNELS, SIZE)
    m = Module()
    m.submodules.dut = dut
    first = live.table_first(CONFIG)
    memory = {first + k: int(b) for k, b in enumerate(SensorTable(NETWORK, SIZE, SCALING).content(CONFIG))}
    inputs = memory[first + live.PRESENT]
    text = bytearray()
    runs = []

    async def engine(ctx):
        reply = None
        while True:
            ctx.set(dut.engine.mem_valid, reply is not None)
            ctx.set(dut.engine.mem_rdata, reply or 0)
            reply = None
            if ctx.get(dut.engine.mem_region) == VALUE_REGION:
                address = ctx.get(dut.engine.mem_addr)
                if ctx.get(dut.engine.mem_write):
                    memory[address] = ctx.get(dut.engine.mem_wdata) & 0xFF
                if ctx.get(dut.engine.mem_read):
                    reply = memory.get(address, 0)
            if ctx.get(dut.engine.start):
                runs.append([memory[inputs + k] for k in range(SIZE)])
            if ctx.get(dut.text.valid):
                text.append(ctx.get(dut.text.payload))
            await ctx.tick()

    async def bench(ctx):
        rng = np.random.default_rng(0)
        samples = rng.integers(0, 256, (3, SIZE))
        ctx.set(dut.loaded, 1)
        ctx.set(dut.text.ready, 1)
        ctx.set(dut.engine.prediction, 2)
        for n, sample in enumerate(samples):
            for k, value in enumerate(sample):
                ctx.set(dut.index, k)
                ctx.set(dut.value, int(value))
                ctx.set(dut.i_valid, 1)
                await ctx.tick()
                ctx.set(dut.i_valid, 0)
                if n == 1 and k == SIZE // 2:  # in the middle of the second sample
                    await ctx.tick().until(dut.hold)
                    ctx.set(dut.held, 1)
                    await ctx.tick().until(~dut.hold)
                    ctx.set(dut.held, 0)
                    await ctx.tick().repeat(200)
            ctx.set(dut.done, 1)
            await ctx.tick()
            ctx.set(dut.done, 0)
        await ctx.tick().repeat(200)
        ctx.set(dut.held, 1)
        await ctx.tick().until(~dut.hold)
        ctx.set(dut.held, 0)
        await ctx.tick().repeat(200)
        scaled = SCALING.inputs(samples)
        assert runs == [scaled[0].tolist(), scaled[2].tolist()]
        assert bytes(text) == live.answer("C", 2) + live.answer("X", live.LOST) + live.answer("C", 2)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(engine, background=True)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(runs) == 2


class SensorBoard:
    """A simulated board, and the golden model of what it does.  Where nothing is played the ADC gives half of
    its range, as whole readings of all channels.
    """

    def __init__(self):
        from equilif_sim.board import SimulatedBoard

        self.board = SimulatedBoard(CONFIG, adc=ADC, build_id=0, max_samples=1)
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
    here = SensorBoard()
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
    SensorTable(NETWORK, SIZE, SCALING).load(here.client)
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
