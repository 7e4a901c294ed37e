"""Embedding tables in the SDRAM: model, RTL and link against the kernel."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from equilif.host.client import Client, LinkError
from equilif_golden.blocks.synapse import from_words, to_words
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.engine.tables import RowOp, TableTokens
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import (
    END,
    LEARN,
    PACKED,
    RUN_HEADER,
    TOKENS,
    TOKENS_HEADER,
    Command,
    Status,
    pack,
    seal,
    slip,
    unslip,
)
from equilif_golden.network import Attention, Network, Population, Relay, Synapse, TokenRows
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_golden.tokens import scatter_add
from equilif_sim.board import SimulatedBoard
from equilif_sim.tables import compare_transfers
from tests.engines import ROOMY, verilated
from tests.external import ENGINES, EXTERNAL, MT
from tests.networks import LEARNS, data_set
from tests.ports import Faulty, client_of

WITH_TABLES = replace(ROOMY, external=replace(MT, tables=True))
#: inputs and tokens
BOTH = Network(
    (
        Population("x", 5, "input"),
        Attention("m", 6, dynamic_patterns=True, table_rows=20),
        Relay("q", 12, heads=2),
        Population("y", 2),
    ),
    (Synapse("m", "q", learning_rate_scale=4.0), Synapse("x", "q"), Synapse("q", "y")),
    "y",
    Schedule(nudged=16),
)


def narrowed(config: EngineConfig, bits: int) -> EngineConfig:
    return replace(config, numerics=replace(config.numerics, weight_width=bits))


def filled(config: EngineConfig, *engines) -> np.ndarray:
    """The same random weights in all engines; a program that does nothing."""
    weight = config.numerics.weight
    words = np.random.default_rng(5).integers(weight.lo, weight.hi + 1, config.all_tiles * config.lanes**2)
    for engine in engines:
        engine.write(Region.WEIGHT, 0, words)
        engine.load([Op.HALT()])
    return words


def trains_as_kernel(engine, network: Network, x, tokens: TokenRows, labels) -> Chip:
    weights = network.initial_weights(3)
    weights[network.table.name] = np.random.default_rng(2).integers(-4096, 4097, (20, 6))
    chip = Chip(engine, network, weights, learning_rate=LEARNS.learning_rate)
    kernel = Kernel(network, weights, learning_rate=LEARNS.learning_rate)
    assert chip.compiled.table is not None
    assert chip.train(x, labels, tokens=tokens) == kernel.train(x, labels, tokens=tokens)
    assert chip.predict(x, tokens=tokens).tolist() == kernel.predict(x, tokens=tokens).tolist()
    learned = chip.weights
    for name, expected in kernel.weights.items():
        assert np.array_equal(learned[name], expected), name
    assert (learned[network.table.name] != weights[network.table.name]).any()
    return chip


def samples(network: Network, n: int = 12):
    """Inputs, tokens and labels."""
    data = data_set(n)
    x = np.random.default_rng(1).integers(0, 256, (n, network.n_inputs)).astype(np.uint8)
    cut = [data.tokens_train.rows_of(j)[: network.dynamic_attention.attention.size] for j in range(n)]
    off = np.cumsum([0, *map(len, cut)])
    return x, data.tokens_train._replace(rows=np.concatenate(cut).astype(np.int32), off=off), data.y_train


# -- golden model ----------------------------------------------------------------------------------
@pytest.mark.parametrize("bits", [16, 10])
@pytest.mark.parametrize("lanes", [2, 8])
def test_changes_are_scattered_as_by_the_host(lanes, bits):
    config = narrowed(replace(WITH_TABLES, lanes=lanes), bits)
    weight = config.numerics.weight
    rng = np.random.default_rng(lanes)
    width = 3 * lanes - 1
    for _ in range(5):
        table = rng.integers(weight.lo, weight.hi + 1, (7, width))
        rows = rng.integers(0, 7, 20)
        change = rng.integers(weight.lo, weight.hi + 1, (20, width)) // 2
        tokens = TableTokens(config.tiles + 1, 2, 3, rows)
        model = EngineModel(config)
        first = tokens.table * lanes
        stored = model.w[first : first + 7 * 3]
        stored[:] = np.pad(table, ((0, 0), (0, 1))).reshape(-1, lanes)
        model.transfer(RowOp.GATHER, tokens)
        loaded = model.w[tokens.tile * lanes :][: -(-20 // lanes) * 3 * lanes]
        patterns = from_words(loaded, (20, width), lanes)
        assert np.array_equal(patterns, table[rows])
        learned = np.clip(patterns + change, weight.lo, weight.hi)
        loaded[:] = to_words(learned, lanes)
        model.scatter(tokens)
        scatter_add(table, rows, patterns, learned, weight)
        assert np.array_equal(stored.reshape(7, -1)[:, :width], table)


def test_table_is_on_the_host_where_it_does_not_fit():
    assert Compiled(BOTH, WITH_TABLES).table == WITH_TABLES.tiles
    assert Compiled(BOTH, ROOMY).table is None
    assert Compiled(BOTH, replace(WITH_TABLES, external=MT)).table is None
    needed = 20 * 2 // 4
    for tiles, table in ((needed, WITH_TABLES.tiles), (needed - 1, None)):
        small = replace(WITH_TABLES, external=replace(WITH_TABLES.external, tiles=tiles))
        assert Compiled(BOTH, small).table == table
    # the changes of 9 heads may exceed a weight of 13 bits
    populations = tuple(replace(p, size=54, heads=9) if isinstance(p, Relay) else p for p in BOTH.populations)
    for bits, table in ((14, WITH_TABLES.tiles), (13, None)):
        config = replace(narrowed(WITH_TABLES, bits), program_words=2048)
        network = replace(BOTH, populations=populations, numerics=config.numerics)
        assert Compiled(network, config).table == table


@pytest.mark.parametrize("lanes", [2, 8])
@pytest.mark.parametrize("network", [BOTH, LEARNS.network(data_set())], ids=["inputs", "tokens"])
def test_model_equals_kernel(network, lanes):
    config = replace(WITH_TABLES, lanes=lanes, tiles=512 // lanes)
    trains_as_kernel(EngineModel(config), network, *samples(network))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"table": 255}, "token 0"),
        ({"table": 346}, "token 0"),
        ({"tile": 255}, "token 0"),
        ({"tile": 253}, "token 4"),
        ({"groups": 0}, "token 0"),
        ({"groups": 256}, "token 0"),
        ({"table": 326, "rows": np.array([0, 41])}, "token 1"),
        ({"rows": np.array([1 << 16])}, "rows"),
    ],
)
def test_invalid_tokens(change, message):
    model = EngineModel(WITH_TABLES)
    model.load([Op.HALT()])
    right = TableTokens(256, 0, 2, np.arange(6))
    model.run(learn=True, write=(0, []), tokens=right)
    before = model.w.copy()
    with pytest.raises(ValueError, match=message):
        model.run(learn=True, write=(0, []), tokens=right._replace(**change))
    with pytest.raises(ValueError, match="write"):
        model.run(learn=True, tokens=right)
    assert np.array_equal(model.w, before)
    plain = EngineModel(ROOMY)
    plain.load([Op.HALT()])
    with pytest.raises(ValueError, match="tables"):
        plain.run(learn=True, write=(0, []), tokens=right)


# -- link ------------------------------------------------------------------------------------------
def device_of(config: EngineConfig, **options) -> Device:
    return Device(replace(config, counters=False), frame_bytes=2048, **options)


@pytest.mark.parametrize("faults", [0.0, 0.05])
def test_link(faults):
    """A sample sends the numbers of its tokens, exactly once."""
    network = LEARNS.network(data_set())
    client, _ = client_of(device_of(WITH_TABLES))
    if faults:
        client.port = Faulty(client.port, faults, random.Random(1))
    chip = trains_as_kernel(client, network, *samples(network))
    x, tokens, labels = samples(network)
    sent, commands = client.traffic.sent, client.traffic.commands
    one = tokens.take([0])
    chip.sample(x[0], one_hot(labels[:1], 2)[0], tokens=one)
    assert client.traffic.commands == commands + 1
    overhead = RUN_HEADER.size + TOKENS_HEADER.size + 6 + 8
    assert faults or client.traffic.sent - sent < 2 * len(one.rows) + overhead + 6, "but for escapes"


def test_values_and_tokens_that_do_not_fit_a_frame():
    network = BOTH
    x, tokens, labels = samples(network)
    client, _ = client_of(Device(replace(WITH_TABLES, counters=False), frame_bytes=2048, max_samples=1))
    chip = Chip(client, network, learning_rate=LEARNS.learning_rate)
    known = client.identity
    full = known.max_payload
    short = RUN_HEADER.size + TOKENS_HEADER.size + 2 * 6
    expected = Chip(EngineModel(WITH_TABLES), network, learning_rate=LEARNS.learning_rate)
    for room in (full, short):
        client._identity = replace(known, max_payload=room)
        chip.train(x, labels, tokens=tokens)
        expected.train(x, labels, tokens=tokens)
        assert all(np.array_equal(w, expected.weights[name]) for name, w in chip.weights.items())
    client._identity = replace(known, max_payload=short - 1)
    with pytest.raises(LinkError, match="frame_bytes"):
        chip.train(x, labels, tokens=tokens)


def exchange(board: SimulatedBoard, frame: bytes) -> bytes:
    data = bytes([END]) + slip(frame)
    received = b""
    while not received.endswith(bytes([END])):
        taken, found, _ = board.run(data)
        data = data[taken:]
        received += found
    return unslip(received[:-1])[0]


def random_run(rng: random.Random, k: int) -> bytes:
    """A RUN with tokens, valid or not."""
    rows = [rng.choice([0, 1, 2, 3, rng.randrange(300)]) for _ in range(rng.choice([0, 1, 2, 5, 9]))]
    n = len(rows) + rng.choice([0] * 9 + [1, -1 if rows else 1])
    flags = TOKENS | rng.choice([0, LEARN]) | rng.choice([0, PACKED]) | rng.choice([0] * 19 + [2, 16])
    address = rng.choice([0, 20, 40]) if rng.random() < 0.8 else rng.choice([120, 500, 512, 1 << 20])
    values = bytes(rng.choice([0, 0, 0, 255, 7]) for _ in range(rng.choice([0, 3, 10, 30])))
    place = rng.choice([40, 50, 100, 39, 129]), rng.choice([0, 5, 5, 5, 38, 40]), rng.choice([1, 2, 2, 3, 0])
    payload = RUN_HEADER.pack(flags, rng.choice([0, 3]), rng.choice([0, 4]), address)
    payload += TOKENS_HEADER.pack(*place, n) + np.array(rows, "<u2").tobytes()
    payload += pack(values) if flags & PACKED else values
    if rng.random() < 0.1:
        payload = payload[: rng.randrange(len(payload))]
    if rng.random() < 0.05:
        payload += bytes([0]) + pack(b"12")
    repeats = rng.random() < 0.1
    return seal(Command.RUN, (k - repeats) & 0xFF, payload)


@pytest.mark.regress
def test_simulated_board():
    """Training, then random frames: every reply and all memories are those of the model."""
    config = replace(EXTERNAL["P4"], counters=False)
    board = SimulatedBoard(config, frame_bytes=2048)
    client = Client(board)
    network = LEARNS.network(data_set())
    chip = trains_as_kernel(client, network, *samples(network))
    device = device_of(config, build_id=board.build_id)
    model, _ = client_of(device)
    n = len(filled(config, client, model))
    for each in (client, model):
        each.load(chip.compiled.program(LEARNS.learning_rate))
        each.write(Region.COUNTER, 0, np.array([0]))
        each.write(Region.VALUE, 0, np.zeros(config.value_groups * config.lanes, np.int64))
    rng = random.Random(3)
    found = set()
    for k in range(300):
        frame = random_run(rng, k)
        expected = device.reply(frame)
        assert exchange(board, frame) == expected, f"frame {k}: {frame.hex()}"
        found.add(Status(expected[0]))
    assert found == {Status.OK, Status.BAD_LENGTH, Status.BAD_ADDRESS, Status.BAD_FLAGS}
    assert np.array_equal(client.read(Region.WEIGHT, 0, n), device.engine.w.ravel())
    assert np.array_equal(client.read(Region.VALUE, 0, 512), model.read(Region.VALUE, 0, 512))
    assert not board.violations


# -- RTL -------------------------------------------------------------------------------------------
@ENGINES
def test_rtl_equals_model(name):
    """Random tokens: weights, rows outside, and the cycles of every transfer, refreshes included."""
    config = EXTERNAL[name]
    if not config.external.tables:
        pytest.skip("no tables")
    engine, model = verilated(config), EngineModel(config)
    n = len(filled(config, engine, model))
    rng = np.random.default_rng(0)
    for _ in range(40):
        compare_transfers(engine, model, rng)
    assert np.array_equal(engine.read(Region.WEIGHT, 0, n), model.w.ravel())
    assert not engine.violations


def test_rtl_trains_as_the_kernel():
    engine = verilated(EXTERNAL["P4"])
    network = LEARNS.network(data_set())
    trains_as_kernel(engine, network, *samples(network))
    assert not engine.violations
