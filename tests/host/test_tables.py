"""Learned embedding tables on a board: the host keeps the table and exchanges the rows of each sample.

The board is a model; test_simulated.py uses RTL.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import random

import numpy as np
import pytest

from equilif.data.sets import sequences
from equilif.hardware.verify import VerificationPlan, compare
from equilif.host import ports
from equilif.host.client import Client, LinkError
from equilif.report import page as pages
from equilif.report import run as reported
from equilif.training.analysis import attention, trace
from equilif.training.backends.phases import epoch_plan
from equilif.training.run import Run
from equilif.training.settings import netfile, tables
from equilif.training.settings.description import Description
from equilif.training.storage.history import HISTORY, NETWORK, digest
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip, CounterMismatch
from equilif_golden.engine.config import EngineConfig, ExternalWeights
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import OVERHEAD
from equilif_golden.network import Network
from equilif_golden.samples import one_hot
from equilif_golden.tokens import TokenRows
from tests.cli import json_of, output_and_json, run
from tests.networks import LEARNS, data_set
from tests.ports import Faulty, client_of
from tests.runs import Interrupted, stop_after, trained

CONFIG = EngineConfig(lanes=4, tiles=128, value_groups=64, state_groups=32, program_words=512)
SDRAM = ExternalWeights(chip_name="IS42S16160", hz=90_000_000, tiles=64, tables=True)
IN_SDRAM = dataclasses.replace(CONFIG, external=SDRAM)
TABLE = "memory-query"


def board(config=CONFIG, **options):
    return client_of(Device(config, frame_bytes=4096), **options)[0]


@pytest.fixture
def connected(monkeypatch, tmp_path, request):
    """Data with a table, a network file, and a board at every port."""
    data = data_set()
    monkeypatch.setattr(sequences, "data_set", lambda name, folder, options: data)
    client = board(getattr(request, "param", CONFIG))
    monkeypatch.setattr(ports, "connect", lambda path, baud=None: client)
    (tmp_path / "net.toml").write_text(netfile.written(LEARNS))
    return client


def whole_run(learner=Kernel, **options):
    return trained(Run.start(LEARNS, data_set(), 0, learner), **options)


# -- training --------------------------------------------------------------------------------------
@pytest.mark.regress
@pytest.mark.parametrize("connected", [CONFIG, IN_SDRAM], indirect=True, ids=["host", "sdram"])
def test_table_learns_as_golden(connected, tmp_path):
    """From the command line: train, resume, evaluate."""
    want = whole_run()
    line = ("--port", "there", "--out", tmp_path / "run")
    run("train", "vowels", "--config", tmp_path / "net.toml", "--epochs", 1, *line)
    run("train", "--resume", "--epochs", 2, *line)
    network, weights = networks.load(tmp_path / "run" / NETWORK)
    assert network == want.network and digest(weights) == digest(want.weights)
    assert (weights[TABLE] != data_set().tokens_train.table).any()
    history = json.loads((tmp_path / "run" / HISTORY).read_text())["epochs"]
    assert [e["weights"] for e in history] == [e.weights for e in want.history]
    found = {}
    for where in ((), ("--port", "there")):
        found[where] = json_of("evaluate", tmp_path / "run" / NETWORK, *where)
    got, golden = found["--port", "there"], found[()]
    assert got["confusion"] == golden["confusion"] and got["accuracy"] == want.history[-1].test_accuracy
    assert got["spikes_per_sample"] == golden["spikes_per_sample"]


@pytest.mark.regress
def test_table_resume_within_epoch(tmp_path):
    make = functools.partial(Chip, board())
    with pytest.raises(Interrupted):
        Run.start(LEARNS, data_set(), 0, make).epoch(stop_after(17), folder=tmp_path, every=0)
    again = Run.resume(tmp_path, data_set(), make=make)
    assert 0 < again.marks[-1].samples <= 17 and not again.history
    assert digest(trained(again).weights) == digest(whole_run().weights)


def test_damaged_frames_change_nothing():
    """Patterns are written, run and read exactly once."""
    client = board()
    client.port = line = Faulty(client.port, 0.05, random.Random(1))
    assert digest(whole_run(functools.partial(Chip, client)).weights) == digest(whole_run().weights)
    assert sum(line.faults.values()) > 20 and client.traffic.repeated > 0


# -- faults ----------------------------------------------------------------------------------------
def chip_and_sample(client):
    data = data_set()
    network = LEARNS.network(data)
    chip = Chip(client, network, LEARNS.initial_weights(network, 0, data), learning_rate=LEARNS.learning_rate)
    return chip, one_hot(data.y_train[:1], 2)[0], data.tokens_train.take([0])


def test_wrong_patterns_are_detected(monkeypatch):
    """The board has learned and the table has not, so both are invalid."""
    client = board()
    chip, y, tokens = chip_and_sample(client)
    chip.sample([], y, tokens=tokens)
    assert chip.weights
    with monkeypatch.context() as broken:
        broken.setattr(Client, "read", lambda *what: (_ for _ in ()).throw(LinkError("unplugged")))
        with pytest.raises(LinkError, match="unplugged"):
            chip.sample([], y, tokens=tokens)
    with pytest.raises(CounterMismatch, match="update"):
        _ = chip.weights


def test_board_reset_is_detected():
    client = board()
    chip, y, tokens = chip_and_sample(client)
    chip.sample([], y, tokens=tokens)
    client.write(Region.COUNTER, 0, [0])
    with pytest.raises(CounterMismatch, match="update 0"):
        _ = chip.weights


@pytest.mark.parametrize(
    "tokens, message",
    [
        (lambda t: None, "tokens"),
        (lambda t: t.sample(0), "tokens"),
        (lambda t: data_set().tokens_train, "tokens"),
        (lambda t: t._replace(rows=t.rows + 20), "rows"),
        (lambda t: t._replace(table=t.table[:7]), "7.*20"),
        (lambda t: TokenRows(t.table, np.zeros(9, np.int32), np.array([0, 9])), "8 tokens"),
    ],
)
def test_tokens_are_checked_before_sending(tokens, message):
    client = board()
    chip, y, right = chip_and_sample(client)
    commands = client.traffic.commands
    with pytest.raises(ValueError, match=message):
        chip.sample([], y, tokens=tokens(right))
    assert client.traffic.commands == commands


# -- saved and restored ----------------------------------------------------------------------------
def test_save_keeps_table(connected, tmp_path):
    want = whole_run()
    networks.save(tmp_path / "n.npz", want.network, want.weights)
    held = want.network.n_weights - 20 * 6
    output = run("restore", tmp_path / "n.npz", "--port", "there")
    assert f"{held:,} weights of {tmp_path / 'n.npz'}" in output
    assert "120 weights" in output
    output = run("save", tmp_path / "s.npz", "--like", tmp_path / "n.npz", "--port", "there")
    assert "120 of them" in output and str(tmp_path / "n.npz") in output
    network, weights = networks.load(tmp_path / "s.npz")
    assert network == want.network and digest(weights) == digest(want.weights)


@pytest.mark.parametrize("connected", [IN_SDRAM], indirect=True)
def test_save_reads_table_from_sdram(connected, tmp_path):
    network = LEARNS.network(data_set())
    known, held = (network.initial_weights(seed) for seed in (1, 2))
    held[TABLE] = np.arange(20 * 6).reshape(20, 6)
    networks.save(tmp_path / "like.npz", network, known)
    networks.save(tmp_path / "n.npz", network, held)
    output = run("restore", tmp_path / "n.npz", "--port", "there")
    assert f"{network.n_weights:,} weights of" in output and "embedding table" not in output
    line = ("save", tmp_path / "s.npz", "--like", tmp_path / "like.npz", "--port", "there")
    assert "embedding table" not in run(*line)
    _, weights = networks.load(tmp_path / "s.npz")
    assert digest(weights) == digest(held)


def test_save_without_table(connected, tmp_path):
    network = Network.attention(8, 6, 2, 8, 2)
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    for arguments in (("restore",), ("save", tmp_path / "s.npz", "--like")):
        assert "embedding table" not in run(*arguments, tmp_path / "n.npz", "--port", "there")


def test_data_with_other_table(connected, tmp_path):
    network = Network.attention(8, 6, 2, 8, 2, table_rows=21)
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    wanted = "tokens have a table of 20 rows, the network has one of 21: they are of other data"
    for where in ((), ("--port", "there")):
        assert wanted in run("evaluate", tmp_path / "n.npz", "vowels", *where, code=2)


# -- compared with RTL -----------------------------------------------------------------------------
#: also compiled for tests/engine/test_engine.py
ROOMY = EngineConfig(lanes=4, tiles=256, value_groups=128, state_groups=32, program_words=1024)


def compared():
    data = data_set()
    network = LEARNS.network(data)
    plan = VerificationPlan([epoch_plan(LEARNS, data, 0, 0)._replace(order=np.arange(6))], 2)
    return compare(network, LEARNS.initial_weights(network, 0, data), ROOMY, data, plan)


def test_verify_compares_table():
    found = compared()
    network = LEARNS.network(data_set())
    assert found.mismatch is None and found.compared.weights == 2 * network.n_weights
    assert (found.weights[TABLE] != data_set().tokens_train.table).any()


def test_verify_reports_table_mismatch(monkeypatch):
    monkeypatch.setattr("equilif_golden.engine.chip.scatter_add", lambda *what: None)
    found = compared()
    assert "training sample 1, synapse memory-query, element [" in str(found.mismatch)


# -- cost ------------------------------------------------------------------------------------------
def test_cost_of_table():
    """A training sample takes one more SOFTMAX per head and window of the nudged phases, one LEARN per head,
    and the transfer of patterns to the host.  Fixed rows have no cost.
    """
    rng = np.random.default_rng(1)
    table = rng.integers(-6000, 6001, (20, 6)).astype(np.int16)
    tokens = TokenRows(table, rng.integers(0, 20, 8).astype(np.int32), np.array([0, 8]))
    weights = {}
    cycles = []
    commands = []
    received = []
    for rows, scale in ((None, 0.0), (20, 0.0), (20, 4.0)):
        network = Network.attention(
            8, 6, 2, 8, 2, schedule=LEARNS.schedule, table_rows=rows, table_learning_rate_scale=scale
        )
        weights = weights or {s.name: rng.integers(-3000, 3001, network.shape(s)) for s in network.plastic}
        own = weights if rows is None else weights | {TABLE: table.astype(np.int64)}
        client = board()
        chip = Chip(client, network, own, learning_rate=LEARNS.learning_rate)
        model = Chip(EngineModel(CONFIG), network, own, learning_rate=LEARNS.learning_rate)
        before = dataclasses.replace(client.traffic)
        result = chip.sample([], [255, 0], tokens=tokens)
        assert result.cycles == model.sample([], [255, 0], tokens=tokens).cycles
        cycles.append(result.cycles)
        commands.append(client.traffic.commands - before.commands)
        received.append(client.traffic.received - before.received)
    assert cycles[0] == cycles[1] < cycles[2]
    assert commands == [2, 2, 3], "rows that do not learn do not come back"
    assert abs(received[1] - received[0]) < 12, "but for escapes: a client's numbers are random"
    patterns = 2 * 2 * CONFIG.lanes**2  # 8 x 6, padded to tiles
    assert 0 <= received[2] - received[1] - 2 * patterns - OVERHEAD < 12, "but for escapes and ENDs"


# -- output ----------------------------------------------------------------------------------------
def test_show_table(connected, tmp_path):
    """With data, which give its size, and for a saved network."""
    file = tmp_path / "net.toml"
    outputs = ("--out", tmp_path / "n.md", "--overwrite")
    networks.save(tmp_path / "n.npz", network := LEARNS.network(data_set()), network.initial_weights())
    for arguments in ((file, "vowels"), (tmp_path / "n.npz",)):
        output, shown = output_and_json("show", *arguments, *outputs)
        assert "120 of these weights" in output
        assert "no, tokens" not in output
        (found,) = (s for s in shown["synapses"] if s["table"])
        assert (found["rows"], found["columns"], found["weights"], found["learning_rate_scale"]) == (
            20,
            6,
            120,
            4,
        )
        assert "memory" in (tmp_path / "n.md").read_text()
    output, shown = output_and_json("show", file, *outputs)
    assert "embedding table" not in output
    (found,) = (s for s in shown["synapses"] if s["table"])
    assert found["rows"] is None


def test_report_and_attention_use_table(connected, tmp_path):
    """Rows of the network, not of the data."""
    made = whole_run(folder=tmp_path / "run")
    data = data_set()
    index = 3
    (found,) = attention.look(made.network, made.weights, data, [index])
    rows = data.tokens_test.take([index])
    learned = rows._replace(table=made.weights[TABLE].astype(np.int16))
    fixed = Description.of({**LEARNS.content(), **tables.memory(8, 2, 8)}, "vowels").network(data)
    others = {name: w for name, w in made.weights.items() if name != TABLE}
    (want,) = attention.look(
        fixed,
        others,
        dataclasses.replace(data, tokens_test=data.tokens_test._replace(table=learned.table)),
        [index],
    )
    assert (found.p == want.p).all() and found.prediction == want.prediction
    traced = trace.record(made.network, made.weights, [], 0, rows)
    same = trace.record(fixed, others, [], 0, learned)
    assert all((traced.spikes[name] == same.spikes[name]).all() for name in same.spikes)
    page = pages.write(reported.read(tmp_path / "run"), data)
    assert TABLE in page.html and {j["name"]: j["rows"] for j in page.metrics["synapses"]}[TABLE] == 20


def test_program_of_table(tmp_path):
    network = LEARNS.network(data_set())
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    output = run("program", tmp_path / "n.npz", "--learning-rate", 0.025)
    assert output.count("memory codes 0") and TABLE in output


def test_nir_refuses_a_table(tmp_path):
    network = LEARNS.network(data_set())
    networks.save(tmp_path / "n.npz", network, network.initial_weights())
    assert "a network with attention layers cannot be exported" in run(
        "convert", tmp_path / "n.npz", tmp_path / "n.nir", code=2
    )
