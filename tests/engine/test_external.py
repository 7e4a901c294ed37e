"""External weights: placement, and the engine with its SDRAM against the model and the kernel."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from equilif.host import memory_check
from equilif.host.client import Client
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.external import from_rows, to_rows
from equilif_golden.engine.isa import Groups, Op, ProgramError
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import WRITE_HEADER, Command, Status, seal
from equilif_golden.network import Attention, Network, Population, Relay, Synapse
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_hdl.link.bus import AxiEngine
from equilif_hdl.link.uart import Uart
from equilif_hdl.top import Top
from equilif_sim.board import SimulatedBoard
from tests.engines import ROOMY, run_random_programs, verilated
from tests.external import EM, ENGINES, EXTERNAL, MT
from tests.networks import GRAPH, SKIPS, sample
from tests.ports import DevicePort, Faulty

MEMORY = Network(
    (
        Population("x", 20, "input"),
        Population("h", 9),
        Population("y", 4),
        Attention("m", 6),
        Relay("q", 10, heads=2),
    ),
    (Synapse("x", "h"), Synapse("h", "y"), Synapse("m", "q"), Synapse("x", "q"), Synapse("q", "y")),
    "y",
    Schedule(nudged=16),
)
ERRORS = replace(SKIPS, schedule=Schedule(free=8, window=4, contrast="errors"))
MAPS = Network.conv(
    (6, 6), (3, 3), (4, 2, 2), 4, feedback=False, schedule=Schedule(free=8, window=8, contrast="errors")
)
EARLY = replace(GRAPH, schedule=Schedule(free=24, nudged=8, window=4, early_exit=2))
NETWORKS = {
    "skips": SKIPS,
    "graph": GRAPH,
    "memory": MEMORY,
    "errors": ERRORS,
    "early exit": EARLY,
    "maps": MAPS,
}
WITH_SDRAM = replace(ROOMY, external=MT)


def squeezed(network: Network, config: EngineConfig) -> EngineConfig:
    """The engine with the fewest tiles on the chip that holds the network."""
    for tiles in range(4, config.tiles + 1):
        smaller = replace(config, tiles=tiles)
        try:
            Compiled(network, smaller)
        except CapacityError:
            continue
        return smaller
    raise AssertionError


def _fits(network: Network, config: EngineConfig) -> bool:
    """Whether it fits, with external weights."""
    try:
        return bool(Compiled(network, config).external)
    except CapacityError:
        return False


def train_both(network: Network, config: EngineConfig, engine, n: int = 12) -> None:
    """Samples on an engine and on the model: results, cycles and weights, which are those of the kernel."""
    assert Compiled(network, config).external
    x, labels = sample(network, n)
    targets = one_hot(labels, network.n_outputs)
    chips = [Chip(each, network, learning_rate=0.05) for each in (engine, EngineModel(config))]
    for j in range(n):
        target = targets[j] if j % 4 else None
        found, expected = (chip.sample(x[j], target) for chip in chips)
        assert found.cycles == expected.cycles, f"sample {j}"
        assert (found.prediction, found.spikes) == (expected.prediction, expected.spikes), f"sample {j}"
    kernel = Kernel(network, learning_rate=0.05)
    kernel.train(x, labels, np.flatnonzero(np.arange(n) % 4))
    for name, weights in kernel.weights.items():
        for chip in chips:
            assert np.array_equal(chip.weights[name], weights), name


def test_largest_synapses_of_inputs_leave_the_chip():
    whole = Compiled(SKIPS, ROOMY)
    config = replace(WITH_SDRAM, tiles=whole.all_tiles)
    assert not Compiled(SKIPS, config).external
    placed = Compiled(SKIPS, replace(config, tiles=whole.all_tiles - 1))
    assert [s.name for s in placed.external] == ["x-h1"]
    assert placed.tiles["x-h1"] == placed.config.tiles
    assert placed.all_tiles + placed.window <= placed.config.tiles
    assert placed.synapse_of(placed.tiles["x-h1"]) == "x-h1 (external)"
    assert placed.synapse_of(placed.tiles["h1-h2"]) == "h1-h2"
    smallest = Compiled(SKIPS, squeezed(SKIPS, config))
    assert {s.pre for s in smallest.external} == {"x", "bias", "h1", "h2"}
    with pytest.raises(CapacityError, match="tiles"):
        Compiled(SKIPS, replace(smallest.config, tiles=smallest.config.tiles - 1))
    with pytest.raises(CapacityError, match="75 tiles"):
        Compiled(SKIPS, replace(smallest.config, external=replace(MT, tiles=8)))


def test_matrices_between_lif_neurons_leave_the_chip_last():
    """They are read in every time step, those of inputs once a sample."""
    network = Network.chain(9, 40, 40, 4)
    found = set()
    for tiles in range(60, Compiled(network, ROOMY).all_tiles):
        placed = Compiled(network, replace(WITH_SDRAM, tiles=tiles, external=replace(MT, tiles=200)))
        pre = {network[s.pre].kind for s in placed.external}
        assert pre <= {"input", "constant"} or placed.external[0].name == "hidden1-hidden2"
        found |= pre
    assert found == {"input", "constant", "lif"}


def test_blocks_backwards():
    """Each neuron of ``pre`` is in one block, each tile, too."""
    for network, name in ((MAPS, "maps1-maps2"), (MAPS, "maps2-output"), (SKIPS, "h1-h2")):
        placed = Compiled(network, ROOMY)
        s = next(s for s in network.synapses if s.name == name)
        blocks = placed.blocks_backwards(s)
        assert sum(block.geometry.tiles for block in blocks) == placed.shape(s).tiles
        assert [b.tile for b in blocks] == [
            sum(c.geometry.tiles for c in blocks[:k]) for k in range(len(blocks))
        ]


@pytest.mark.parametrize("lanes", [2, 8])
def test_order_of_rows(lanes):
    words = np.arange(3 * 5 * lanes * lanes).reshape(-1, lanes)
    rows = to_rows(words, 5, lanes)
    # tile of group 1, destination 2, row 1
    assert np.array_equal(rows[(1 * lanes + 1) * 5 + 2], words[(1 * 5 + 2) * lanes + 1])
    assert np.array_equal(from_rows(rows, 5, lanes), words)


@pytest.mark.parametrize(
    "name, lanes, external",
    [(name, 4, MT) for name in NETWORKS]
    + [("skips", 2, EM), ("graph", 2, EM), ("memory", 8, EM), ("maps", 8, EM)],
)
def test_model_equals_kernel(name, lanes, external):
    network = NETWORKS[name]
    config = squeezed(network, replace(ROOMY, lanes=lanes, external=external))
    train_both(network, config, EngineModel(config), 5)


@ENGINES
def test_rtl_equals_model(name):
    """Networks and random programs, to which the window, the SDRAM and cycles belong."""
    config = EXTERNAL[name]
    engine = verilated(config)
    run_random_programs(engine, 40 if name == "P4" else 300)
    trained = [network for network in NETWORKS.values() if _fits(network, config)]
    assert len(trained) >= 2
    for network in trained:
        train_both(network, config, engine)
    assert not engine.violations


def trains_over_the_link(config: EngineConfig, port, **options) -> None:
    client = Client(port, **options)
    assert client.identify().config == config
    x, labels = sample(SKIPS, 8)
    chip = Chip(client, SKIPS, learning_rate=0.05)
    kernel = Kernel(SKIPS, learning_rate=0.05)
    assert chip.train(x, labels) == kernel.train(x, labels)
    assert chip.predict(x).tolist() == kernel.predict(x).tolist()
    for name, weights in kernel.weights.items():
        assert np.array_equal(chip.weights[name], weights), name


def test_link():
    """Identity, check of programs, and access to external weights."""
    config = replace(EXTERNAL["P4"], counters=False)
    trains_over_the_link(config, DevicePort(Device(config)))


def test_faulty_link():
    """Lost, damaged and repeated frames."""
    config = replace(EXTERNAL["P4"], counters=False)
    port = Faulty(DevicePort(Device(config)), 0.2, random.Random(1))
    trains_over_the_link(config, port, timeout=0.02, deadline=20.0, run_deadline=20.0)
    assert all(port.faults.values())


@pytest.mark.regress
def test_simulated_board():
    """A frame of weights is written faster than an SDRAM of 16 bits takes single words."""
    config = replace(EXTERNAL["P4"], counters=False, external=replace(MT, tables=True))
    board = SimulatedBoard(config)
    assert not memory_check.check(Client(board), lambda seconds: None).difference
    trains_over_the_link(config, board)
    assert not board.violations


@pytest.mark.parametrize(
    "first, n, status",
    [
        (1, 2, Status.BAD_ADDRESS),
        (0, 1, Status.BAD_LENGTH),
        (-1, 2, Status.BAD_LENGTH),
        (-1, 3, Status.OK),
        (-1, 1, Status.OK),
    ],
)
def test_write_of_half_a_word(first, n, status):
    """The RTL gives the same replies (tests/link/test_host.py)."""
    device = Device(replace(EXTERNAL["P4"], counters=False))
    header = WRITE_HEADER.pack(Region.WEIGHT, device.engine.config.n_weights + first)
    assert device.reply(seal(Command.WRITE, 1, header + bytes([1] * 2 * n)))[0] == status
    assert device.engine.w.any() == (status == Status.OK)


@ENGINES
def test_host_reads_what_it_writes(name):
    config = EXTERNAL[name]
    assert config.external is not None
    engine = verilated(config)
    first, n = config.n_weights, config.external.tiles * config.lanes**2
    values = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, n)
    engine.write(Region.WEIGHT, first, values)
    engine.write(Region.WEIGHT, first - 2, np.array([1, 2, 3, 4]))
    values[:2] = 3, 4
    assert np.array_equal(engine.read(Region.WEIGHT, first, n), values)
    assert engine.read(Region.WEIGHT, first - 1, 2).tolist() == [2, 3]
    if config.external.chip.width == 32:
        for at, count in ((first + 1, 2), (first, 1), (first - 1, 2)):
            with pytest.raises(ValueError, match=rf"\b{at}\.\.{at + count - 1}"):
                engine.write(Region.WEIGHT, at, np.zeros(count, np.int64))
    assert not engine.violations


@pytest.mark.parametrize(
    "instruction, message",
    [
        (Op.GATHER(Groups(0, 7), Groups(0, 7), tile=48, column=True), "GATHER"),
        (Op.DRIVE(Groups(0, 7), Groups(0, 7), tile=48, column=True), "DRIVE"),
        (Op.LEARN(Groups(0, 1), Groups(0, 1), tile=48, gain=1, shift=8, store=True), "LEARN"),
        (Op.DRIVE(Groups(0, 3), Groups(0, 4), tile=127), "tiles 127..138"),
        (Op.DRIVE(Groups(0, 3), Groups(0, 4), tile=46), "tiles 46..57"),
        (Op.DRIVE(Groups(0, 17), Groups(0, 1), tile=48), "sources"),
        (Op.DRIVE(Groups(0, 1), Groups(0, 16), tile=48), "window"),
    ],
)
def test_invalid_instructions(instruction, message):
    config = replace(ROOMY, value_groups=16, state_groups=16, tiles=48, external=MT)
    if message == "window":
        instruction = replace(instruction, operand=30)
        config = replace(config, tiles=30)
    model = EngineModel(config)
    with pytest.raises(ProgramError, match=message):
        model.load([instruction, Op.HALT()])
    drive = Op.DRIVE(Groups(0, 1), Groups(0, 2), tile=60, column=True)
    with pytest.raises(ProgramError, match="instruction 1: DRIVE"):
        model.load([Op.CONVOLVE(1, 1, 1, 1, 2, 1, 1), drive, Op.HALT()])


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_designs_without_external_weights():
    config = EXTERNAL["P4"]
    with pytest.raises(ValueError, match=r"EngineConfig\.external"):
        AxiEngine(config)
    with pytest.raises(ValueError, match="trainer"):
        Top(config, transport=Uart(4), flash=Area(1, 2))
    with pytest.raises(ValueError, match="trainer"):
        Top(ROOMY, transport=Uart(4), sdram=MT)
