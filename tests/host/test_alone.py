"""A board that learns alone, from the command line.  The board is its model behind the client."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from equilif.commands import alone as commands
from equilif.host import ports
from equilif.training.train import NETWORK, digest
from equilif_golden import network as networks
from equilif_golden.link.device import Device
from equilif_golden.link.player import FAULTS, Fault
from tests.alone import CONFIG, client_of, new, store
from tests.commands.test_cli import refused, run

LINE = ("--port", "there")


@pytest.fixture
def device(monkeypatch):
    """A board with a player at every port; it has just been built."""
    found = new()
    found.player.work()
    monkeypatch.setattr(ports, "connect", lambda path, baud=None: client_of(found))
    monkeypatch.setattr(commands, "LOOK", 0)
    return found


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(5)
    file = tmp_path / "flowers.csv"
    rows = [f"{a:.2f},{b:.2f},{'left' if a < b else 'right'}" for a, b in rng.random((40, 2))]
    file.write_text("\n".join(["a,b,side", *rows]))
    return (file, "--label", "side")


NETWORK_OPTIONS = ("--hidden", 4, "--epochs", 2, "--free", 4, "--nudged", 2, "--window", 2)


def test_a_board_learns_alone_what_the_golden_model_learns(device, table, tmp_path):
    """Upload, watch, save; and train in the board's order."""
    begin = tmp_path / "begin.npz"
    told = tmp_path / "told.json"
    run("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", begin, "--json", told)
    found = json.loads(told.read_text())
    assert found["samples"] == found["of"] > 20 and found["spared"] == 0
    assert "learning: 0 of 2 epochs" in run("alone", *LINE)
    said = run("alone", "--watch", *LINE)
    assert "done: 2 of 2 epochs" in said and "% right" in said
    run("save", tmp_path / "learnt.npz", "--like", begin, *LINE)
    run("train", *table, *NETWORK_OPTIONS, "--order", "board", "--out", tmp_path / "golden")
    network, weights = networks.load(tmp_path / "learnt.npz")
    want, golden = networks.load(tmp_path / "golden" / NETWORK)
    assert network == want and digest(weights) == digest(golden) != found["sha256"]
    run("train", *table, *NETWORK_OPTIONS, "--out", tmp_path / "shuffled")
    assert digest(networks.load(tmp_path / "shuffled" / NETWORK)[1]) != digest(golden)


def test_stop_go_on_and_begin_again(device, table, tmp_path):
    run("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", tmp_path / "begin.npz")
    assert "the board is at work: stop it" in refused(
        "upload", *table, *LINE, "--out", tmp_path / "other.npz"
    )
    assert "BUSY" in refused("save", tmp_path / "l.npz", "--like", tmp_path / "begin.npz", *LINE)
    assert "stopped: 0 of 2 epochs" in run("alone", "--stop", "--watch", *LINE)
    assert "learning: 0 of 2 epochs" in run("alone", "--start", *LINE)
    assert "done: 2 of 2" in run("alone", "--watch", *LINE)
    generation = device.player.registers.generation
    assert "done" in run("alone", "--checkpoint", "--watch", *LINE)
    assert device.player.registers.generation == generation + 1
    learned = device.engine.w.copy()
    device.engine.w[:] = 0
    assert "done" in run("alone", "--boot", "--watch", *LINE)
    assert (device.engine.w == learned).all()


def test_the_same_upload_writes_nothing_again(device, table, tmp_path):
    told = tmp_path / "told.json"
    line = (*NETWORK_OPTIONS, *LINE, "--out", tmp_path / "begin.npz")
    run("upload", *table, *line)
    assert "done: 2 of 2" in run("alone", "--watch", *LINE)
    assert "were in the flash already" in run("upload", *table, *line, "--overwrite", "--json", told)
    assert json.loads(told.read_text())["spared"] > 0
    assert "learning: 0 of 2 epochs" in run("alone", *LINE), "it begins again"
    run("alone", "--stop", "--watch", *LINE)
    run("upload", *table, *line, "--overwrite", "--samples", 7, "--seed", 3, "--json", told)
    found = json.loads(told.read_text())
    assert found["samples"] == 7 < found["of"] and found["seed"] == 3 and found["spared"] == 0


def test_the_board_answers_the_tests_in_its_flash(device, table, tmp_path):
    """When it is done, and while it learns, which it then does to the same bits."""
    begin = tmp_path / "begin.npz"
    told = tmp_path / "told.json"
    line = (*NETWORK_OPTIONS, *LINE, "--out", begin)
    run("upload", *table, *line, "--json", told)
    n = json.loads(told.read_text())["tests"]
    assert n > 4
    before = None
    for _ in range(3):
        run("alone", "--test", *LINE, "--json", told)
        found = json.loads(told.read_text())
        assert found["tests"] == n and not found["fault"]
        if found["phase"] != "idle":
            before = found
    assert before is not None and before["epoch"] < 2, "it was asked while it learned"
    assert "done: 2 of 2 epochs" in run("alone", "--watch", *LINE)
    before = replace(device.player.registers)
    weights = device.engine.w.copy()
    said = run("alone", "--test", *LINE, "--json", told)
    assert device.player.registers == before and (device.engine.w == weights).all()
    run("save", tmp_path / "learnt.npz", "--like", begin, *LINE)
    found = json.loads(told.read_text())
    run("train", *table, *NETWORK_OPTIONS, "--order", "board", "--out", tmp_path / "golden")
    _, golden = networks.load(tmp_path / "golden" / NETWORK)
    assert digest(networks.load(tmp_path / "learnt.npz")[1]) == digest(golden)
    history = json.loads((tmp_path / "golden" / "history.json").read_text())
    assert f"{found['test_hits']} of {n} test samples right" in said
    assert found["test_hits"] / n == history["epochs"][-1]["test_accuracy"]
    run("upload", *table, *line, "--overwrite", "--tests", 0)
    assert "no test samples are in the flash" in refused("alone", "--test", *LINE)
    assert device.player.registers.run, "it goes on"


def test_a_fault_is_told(device):
    """And it is a failure."""
    said = run("alone", *LINE, code=1)
    assert FAULTS[Fault.NO_SLOT] in " ".join(said.split())


def test_what_cannot_be_is_refused(device, table, tmp_path, monkeypatch):
    line = (*NETWORK_OPTIONS, *LINE)
    begin = tmp_path / "begin.npz"
    begin.write_text("mine")
    assert "is there: name another file" in refused("upload", *table, *line, "--out", begin)
    assert begin.read_text() == "mine"
    assert "give one of them" in refused("alone", "--stop", "--start", *LINE)
    assert "the network needs" in refused(
        "upload", *table, "--hidden", 400, *LINE, "--out", tmp_path / "n.npz"
    )
    monkeypatch.setattr(ports, "connect", lambda path, baud=None: client_of(Device(CONFIG)))
    assert "keeps nothing in its flash" in refused("upload", *table, *line, "--out", tmp_path / "n.npz")
    assert "this board has no player" in refused("alone", *LINE)
    assert not (tmp_path / "n.npz").exists()


@pytest.mark.parametrize(
    ("chip", "said"), [(0xFFFFFF, "no flash answers"), (0, "no flash answers"), (0xC84013, "524,288 bytes")]
)
def test_a_flash_that_is_not_what_it_should_be(device, table, tmp_path, chip, said):
    """Nothing is written."""
    device.player.registers.chip = chip
    before = bytes(device.flash.content)
    assert said in refused("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", tmp_path / "n.npz")
    assert bytes(device.flash.content) == before


def test_what_was_uploaded_is_what_a_client_sends(device):
    """The samples in the flash are the RUN frames that train --port would send."""
    assert store().blocks[store().registers.index + 1].count(b"\xc0") == 9


def test_boards_without_flash_get_no_player(tmp_path):
    assert "no flash that the design can use" in refused("build", "tang-nano-9k", "--alone")
    file = tmp_path / "flash.bin"
    assert "no flash that the design can use" in refused("simulate", "tang-nano-9k", "--flash", file)
    file.write_bytes(b"short")
    assert "a flash has 16777216" in refused("simulate", "icebreaker", "--flash", file)
    assert file.read_bytes() == b"short"
