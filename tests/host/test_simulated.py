"""Training from the command line on a simulated board equals the golden model, with faults of program and
line.

Short tests learn part of an epoch of the digits, long tests the whole preset.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import serial

from equilif.host.client import LinkError
from equilif.host.ports import BAUDS, connect
from equilif.host.simulate import Simulated
from equilif.training.run import Run
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import HISTORY, NETWORK, digest
from equilif_boards import BOARDS
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip, CounterMismatch
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.port import Region
from equilif_golden.link.protocol import Command
from equilif_golden.network import Network
from equilif_sim.board import SimulatedBoard, Terminal
from equilif_sim.tools import verilator
from tests.ports import Faulty
from tests.runs import Interrupted, stop_after, trained

# just large enough for the digits
SMALL = dataclasses.replace(
    BOARDS["icebreaker"],
    config=EngineConfig(
        lanes=4,
        tiles=512,
        value_groups=64,
        state_groups=32,
        program_words=192,
        pipeline=Pipeline.SPRAM,
        attention=False,
    ),
)
#: as in docs/how_to/train_on_a_board.md
DIGITS = PRESETS["digits"].changed(free=24, nudged=12, window=8, epochs=15)
PHASES = ("--set", "phases.free=24", "--set", "phases.nudged=12", "--set", "phases.window=8")
SEED = 0
ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def serving(board: SimulatedBoard) -> Iterator[str]:
    """Path of a port that is connected to this board."""
    with Terminal(board) as terminal:
        thread = threading.Thread(target=terminal.serve, daemon=True)
        thread.start()
        try:
            yield terminal.path
        finally:
            terminal.stop()
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def board() -> SimulatedBoard:
    try:
        return Simulated(SMALL).board
    except verilator.MissingVerilator as e:
        pytest.skip(str(e))


@pytest.fixture
def port(board: SimulatedBoard) -> Iterator[str]:
    with serving(board) as path:
        yield path


def digits(n_train: int, n_test: int):
    d = DIGITS.load()
    return dataclasses.replace(
        d,
        x_train=d.x_train[:n_train],
        y_train=d.y_train[:n_train],
        x_test=d.x_test[:n_test],
        y_test=d.y_test[:n_test],
    )


def preset(epochs: int):
    return DIGITS.changed(epochs=epochs)


def golden(epochs: int, data=None) -> Run:
    return trained(Run.start(preset(epochs), data or DIGITS.load(), SEED))


def assert_same(got: Run, want: Run) -> None:
    """Compare weights, counter and statistics."""
    for name, w in want.weights.items():
        np.testing.assert_array_equal(got.weights[name], w)
    assert got.backend.counter == want.backend.counter
    clock = {"samples_per_second": 0.0}
    assert [dataclasses.replace(r, **clock) for r in got.history] == [
        dataclasses.replace(r, **clock) for r in want.history
    ]


# -- training --------------------------------------------------------------------------------------
@pytest.mark.parametrize("epochs, n", [(2, 60), pytest.param(DIGITS.epochs, 1437, marks=pytest.mark.long)])
def test_training_on_board(epochs, n, port):
    data = digits(n, 360 if n == 1437 else 30)
    client = connect(port)
    got = trained(Run.start(preset(epochs), data, SEED, functools.partial(Chip, client)))
    want = golden(epochs, data)
    assert_same(got, want)
    assert client.traffic.commands > epochs * n
    if n == 1437:
        assert got.history[-1].test_accuracy > 0.98


@pytest.mark.parametrize("epochs, n", [(1, 300), pytest.param(DIGITS.epochs, 1437, marks=pytest.mark.long)])
def test_one_frame_in_twenty_is_damaged(epochs, n, port):
    """Lost, damaged or repeated frames in both directions; by the counter of the device each sample is
    learned once.
    """
    data = digits(n, 20)
    client = connect(port)
    client.port = line = Faulty(client.port, 0.05, random.Random(n))
    client.timeout = 0.05  # a simulated board answers at once
    got = trained(Run.start(preset(epochs), data, SEED, functools.partial(Chip, client)))
    assert_same(got, golden(epochs, data))
    print(dict(line.faults), client.traffic)
    assert min(line.faults.values()) > 0 and client.traffic.repeated > 0


@pytest.mark.parametrize(
    "phases, epochs, kills, pause",
    [
        pytest.param((), 1, 2, 1.0, marks=pytest.mark.regress),
        pytest.param(PHASES, 1, 4, 3.0, marks=pytest.mark.regress),
        pytest.param(PHASES, DIGITS.epochs, 20, 10.0, marks=pytest.mark.long),
    ],
)
def test_killed_at_any_moment(phases, epochs, kills, pause, port, tmp_path):
    """SIGKILL at random times, then --resume: weights equal those of an uninterrupted run."""
    rng, places = random.Random(epochs), []
    line = f"-m equilif train digits --port {port} --out {tmp_path} --set run.every=0.3"
    command = [sys.executable, *line.split()]
    for k in range(kills + 1):
        resume = ["--resume"] if (tmp_path / NETWORK).exists() else [*phases, "--epochs", str(epochs)]
        history = tmp_path / HISTORY
        before = history.read_bytes() if history.exists() else b""
        process = subprocess.Popen(
            [*command, *resume], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while k % 2 and process.poll() is None and (not history.exists() or history.read_bytes() == before):
            # every other run is killed only after it has saved progress
            time.sleep(0.05)
        try:
            output, _ = process.communicate(timeout=rng.uniform(0.2, pause) if k < kills else None)
            assert process.returncode == 0, output
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            if history.exists():
                raw = json.loads(history.read_text())
                places.append((len(raw["epochs"]), raw["marks"][-1]["samples"] if raw["marks"] else 0))
    print(f"{len(places)} kills after a checkpoint, last ones at (epoch, sample) {places}")
    assert len(set(places)) >= kills // 2, "too few kills hit the training"
    network, weights = networks.load(tmp_path / NETWORK)
    chosen = DIGITS if phases else PRESETS["digits"]
    want = trained(Run.start(chosen.changed(epochs=epochs), DIGITS.load(), SEED))
    assert network == want.network and digest(weights) == digest(want.weights)
    assert [r["weights"] for r in json.loads((tmp_path / HISTORY).read_text())["epochs"]] == [
        r.weights for r in want.history
    ]


def test_resume_within_epoch(tmp_path):
    """On the golden model, which saves after every part here."""
    data, want = digits(120, 10), golden(2, digits(120, 10))
    for stop in (1, 3, 60, 118, 120):
        run, folder = Run.start(preset(2), data, SEED), tmp_path / str(stop)
        with pytest.raises(Interrupted):
            run.epoch(stop_after(stop), folder=folder, every=0)
        again = Run.resume(folder, data)
        assert len(again.marks) >= 1 and again.marks[-1].samples < stop + 3 and not again.history
        trained(again, folder=folder, every=0)
        assert_same(again, want)
        whole = Run.resume(folder, data)
        assert whole.done and not whole.marks


# -- other properties ------------------------------------------------------------------------------
def test_engine_too_small(port):
    with pytest.raises(CapacityError, match="has 32"):
        Chip(connect(port), Network.chain(64, 400, 10))


def test_device_reset_is_detected(port):
    """Its counter differs from the expected one."""
    client = connect(port)
    chip = Chip(client, Network.chain(8, 8, 4), learning_rate=0.01)
    chip.sample(np.arange(8), np.arange(4))
    client.write(Region.COUNTER, 0, [0])
    with pytest.raises(CounterMismatch, match="update 0"):
        _ = chip.weights


def test_partial_frame(port):
    """Left over from a killed program."""
    with serial.Serial(port, timeout=0.02) as half:
        half.write(b"\xc0" + bytes((Command.RUN, 7, 1)))
    assert connect(port).identify().config == SMALL.config


def test_silent_port():
    ours, theirs = os.openpty()
    with pytest.raises(LinkError, match="/dev/"):
        connect(os.ttyname(theirs), 1_000_000)
    os.close(ours)
    os.close(theirs)


def test_baud_rates_are_probed():
    links = {link for b in BOARDS.values() for link in b.links}
    assert {link.baud for link in links if link.kind == "uart"} <= set(BAUDS)


def test_other_sizes():
    wide = BOARDS["icebreaker"].with_size(lanes=8)
    assert (wide.config.lanes, wide.config.n_weights, wide.config.value_groups, wide.config.state_groups) == (
        8,
        65536,
        128,
        64,
    )
    assert BOARDS["icebreaker"].with_size(weights=1000).config.n_weights == 1008
    with pytest.raises(ValueError, match="lanes"):
        BOARDS["icebreaker"].with_size(lanes=5)


def test_simulate_command(tmp_path):
    """``equilif simulate`` in a process at the real UART rate; Ctrl-C ends it and removes the link."""
    link, says = tmp_path / "board", tmp_path / "says.json"
    line = f"simulate icebreaker --weights 8192 --baud 2000000 --link {link} --json {says}"
    process = subprocess.Popen(
        [sys.executable, "-m", "equilif", *line.split()],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for _ in range(3000):
        if link.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    assert link.exists(), process.communicate()[0]
    client = connect(str(link))
    assert client.identity.config.n_weights == 8192 and client.identity.build_id != 0
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "30 MHz, 2 Mbaud" in " ".join(output.split()) and str(link) in output
    found = json.loads(says.read_text())
    assert (
        # bits of IDENTIFY and its answer, 15 cycles each; the last stop bit is not waited for
        found["cycles"] > 15 * (10 * (8 + 31) - 1)
        and found["board_seconds"] == found["cycles"] / 30e6
        and not link.is_symlink()
    )
