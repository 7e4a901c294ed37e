"""Standalone training from the command line, on the model of a board."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from equilif.host import ports, standalone
from equilif.host.journal import StoreError
from equilif.host.store import FlashStore
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.history import NETWORK, digest
from equilif.training.storage.identity import NetworkIdentity
from equilif_boards import BOARDS
from equilif_golden import network as networks
from equilif_golden.link.device import Device
from equilif_golden.link.standalone import FAULTS, Fault
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from equilif_sim import flash_chip
from tests.cli import error_of, json_of, output_and_json, run
from tests.standalone import CONFIG, client_of, new, store

LINE = ("--port", "there")


@pytest.fixture
def device(monkeypatch):
    """A new board with a standalone trainer at every port."""
    found = new()
    found.trainer.work()
    monkeypatch.setattr(ports, "connect", lambda path, baud=None: client_of(found))
    monkeypatch.setattr(standalone, "POLL_SECONDS", 0)
    return found


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(5)
    file = tmp_path / "flowers.csv"
    rows = [f"{a:.2f},{b:.2f},{'left' if a < b else 'right'}" for a, b in rng.random((40, 2))]
    file.write_text("\n".join(["a,b,side", *rows]))
    return (file, "--label", "side")


PHASES = ("--set", "phases.free=4", "--set", "phases.nudged=2", "--set", "phases.window=2")
NETWORK_OPTIONS = ("--hidden", 4, "--epochs", 2, *PHASES)


def test_standalone_training_equals_golden(device, table, tmp_path):
    """Upload, watch, save; compare with training in the order of the board."""
    begin = tmp_path / "begin.npz"
    found = json_of("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", begin)
    assert found["samples"] == found["of"] > 20 and found["spared"] == 0
    assert "training: 0 of 2 epochs" in run("standalone", *LINE)
    output = run("standalone", "--watch", *LINE)
    assert "done: 2 of 2 epochs" in output and "online accuracy" in output
    run("save", tmp_path / "learnt.npz", "--like", begin, *LINE)
    run("train", *table, *NETWORK_OPTIONS, "--set", "learning.order=standalone", "--out", tmp_path / "golden")
    network, weights = networks.load(tmp_path / "learnt.npz")
    want, golden = networks.load(tmp_path / "golden" / NETWORK)
    assert network == want and digest(weights) == digest(golden) != found["sha256"]
    run("train", *table, *NETWORK_OPTIONS, "--out", tmp_path / "shuffled")
    assert digest(networks.load(tmp_path / "shuffled" / NETWORK)[1]) != digest(golden)


def test_stop_continue_restart(device, table, tmp_path):
    run("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", tmp_path / "begin.npz")
    assert "stop it" in error_of("upload", *table, *LINE, "--out", tmp_path / "other.npz")
    assert "stop it" in error_of("save", tmp_path / "l.npz", "--like", tmp_path / "begin.npz", *LINE)
    assert "stopped: 0 of 2 epochs" in run("standalone", "--stop", "--watch", *LINE)
    assert "training: 0 of 2 epochs" in run("standalone", "--start", *LINE)
    assert "done: 2 of 2" in run("standalone", "--watch", *LINE)
    generation = device.trainer.registers.generation
    assert "done" in run("standalone", "--checkpoint", "--watch", *LINE)
    assert device.trainer.registers.generation == generation + 1
    learned = device.engine.w.copy()
    device.engine.w[:] = 0
    assert "done" in run("standalone", "--boot", "--watch", *LINE)
    assert (device.engine.w == learned).all()


def test_identical_upload_writes_nothing(device, table, tmp_path):
    line = (*NETWORK_OPTIONS, *LINE, "--out", tmp_path / "begin.npz")
    run("upload", *table, *line)
    assert "done: 2 of 2" in run("standalone", "--watch", *LINE)
    output, found = output_and_json("upload", *table, *line, "--overwrite")
    assert "were in the flash already" in output and found["spared"] > 0
    assert "training: 0 of 2 epochs" in run("standalone", *LINE), "it begins again"
    run("standalone", "--stop", "--watch", *LINE)
    found = json_of("upload", *table, *line, "--overwrite", "--samples", 7, "--seed", 3)
    assert found["samples"] == 7 < found["of"] and found["seed"] == 3 and found["spared"] == 0


def test_board_evaluates_stored_tests(device, table, tmp_path):
    """After and during training, which still gives the same weights."""
    begin = tmp_path / "begin.npz"
    line = (*NETWORK_OPTIONS, *LINE, "--out", begin)
    n = json_of("upload", *table, *line)["tests"]
    assert n > 4
    before = None
    for _ in range(3):
        found = json_of("standalone", "--test", *LINE)
        assert found["tests"] == n and not found["fault"]
        if found["phase"] != "idle":
            before = found
    assert before is not None and before["epoch"] < 2, "it was asked while it learned"
    assert "done: 2 of 2 epochs" in run("standalone", "--watch", *LINE)
    before = replace(device.trainer.registers)
    weights = device.engine.w.copy()
    output, found = output_and_json("standalone", "--test", *LINE)
    assert device.trainer.registers == before and (device.engine.w == weights).all()
    run("save", tmp_path / "learnt.npz", "--like", begin, *LINE)
    run("train", *table, *NETWORK_OPTIONS, "--set", "learning.order=standalone", "--out", tmp_path / "golden")
    _, golden = networks.load(tmp_path / "golden" / NETWORK)
    assert digest(networks.load(tmp_path / "learnt.npz")[1]) == digest(golden)
    history = json.loads((tmp_path / "golden" / "history.json").read_text())
    assert f"{found['test_hits']} of {n} samples" in output
    assert found["test_hits"] / n == history["epochs"][-1]["test_accuracy"]
    run("upload", *table, *line, "--overwrite", "--tests", 0)
    assert "no test samples" in error_of("standalone", "--test", *LINE)
    assert device.trainer.registers.run, "it goes on"


@pytest.fixture
def done(device, table, tmp_path):
    """Two network files; the board has trained the first."""
    begin = tmp_path / "begin.npz"
    other = tmp_path / "other.npz"
    run("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", begin)
    run("standalone", "--watch", *LINE)
    network, _ = networks.load(begin)
    networks.save(other, network, network.initial_weights(7), networks.about(begin))
    return begin, other


@pytest.mark.parametrize("command", ["restore", "evaluate", "train"])
def test_host_network_is_not_a_result(command, device, done, table, tmp_path):
    """Commands that need a result are rejected, and the slot keeps the trained weights."""
    begin, other = done
    learned = device.engine.w.copy()
    flash = bytes(device.flash.content)
    options = {
        "restore": (other,),
        "evaluate": (other,),
        "train": (*table, *NETWORK_OPTIONS, "--out", tmp_path / "run"),
    }[command]
    assert "standalone --boot" in run(command, *options, *LINE)
    assert not (device.engine.w == learned).all()
    for refusal in (
        error_of("standalone", "--start", *LINE),
        error_of("standalone", "--test", *LINE),
        error_of("standalone", "--checkpoint", *LINE),
        error_of("save", tmp_path / "mixture.npz", "--like", begin, *LINE),
    ):
        assert "standalone --boot" in refusal
    assert bytes(device.flash.content) == flash and not (tmp_path / "mixture.npz").exists()
    assert "standalone --boot" in run("standalone", *LINE)
    assert "done" in run("standalone", "--boot", "--watch", *LINE)
    assert (device.engine.w == learned).all()
    assert "test accuracy" in run("standalone", "--test", *LINE)


def test_checkpoint_before_host_takes_over(device, table, tmp_path):
    """A board stopped within an epoch gives the weights of an uninterrupted run."""
    begin = tmp_path / "begin.npz"
    run("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", begin)
    while device.trainer.registers.seen < 9:
        device.trainer.step()
    run("standalone", "--stop", "--watch", *LINE)
    stopped = device.trainer.registers.seen, device.engine.w.copy()
    generation = device.trainer.registers.generation
    run("evaluate", begin, *LINE)
    assert device.trainer.registers.generation == generation + 1
    run("standalone", "--boot", "--watch", *LINE)
    assert device.trainer.registers.seen == stopped[0] and (device.engine.w == stopped[1]).all()
    run("standalone", "--start", "--watch", *LINE)
    run("save", tmp_path / "learnt.npz", "--like", begin, *LINE)
    run("train", *table, *NETWORK_OPTIONS, "--set", "learning.order=standalone", "--out", tmp_path / "golden")
    golden = networks.load(tmp_path / "golden" / NETWORK)[1]
    assert digest(networks.load(tmp_path / "learnt.npz")[1]) == digest(golden)


def test_upload_keeps_trained_weights(device, done, table, tmp_path):
    flash = bytes(device.flash.content)
    out = ("--out", tmp_path / "new.npz")
    assert "--overwrite" in error_of("upload", *table, *NETWORK_OPTIONS, *LINE, *out)
    assert bytes(device.flash.content) == flash and not (tmp_path / "new.npz").exists()
    (tmp_path / "old.npz").write_bytes(b"mine")  # --overwrite would discard the weights, too
    assert "learned" in error_of("upload", *table, *NETWORK_OPTIONS, *LINE, "--out", tmp_path / "old.npz")
    run("upload", *table, *NETWORK_OPTIONS, *LINE, *out, "--overwrite")


def test_upload_replaces_saved_weights(device, table, tmp_path, monkeypatch):
    """Those that were saved last, and no others; the file of the same initial network may be there."""
    monkeypatch.chdir(tmp_path)
    begin = tmp_path / "results" / "flowers-standalone.npz"
    again = ("upload", *table, *NETWORK_OPTIONS, *LINE)
    run(*again)
    run("standalone", "--watch", *LINE)
    assert "equilif save" in error_of(*again)
    for k in range(2):
        run("save", tmp_path / f"{k}.npz", "--like", begin, *LINE)
        device.engine.w[0, 0] += 1
        assert "equilif save" in error_of(*again)
        device.engine.w[0, 0] -= 1
        device.engine.counter += 1
        assert "equilif save" in error_of(*again)
        device.engine.counter -= 1
        assert begin.name in error_of(*again, "--seed", 5)
        run(*again)
        run("standalone", "--watch", *LINE)


def test_interrupted_upload(device, done, table, tmp_path, monkeypatch):
    """The board keeps the registers of the earlier upload."""

    def cut(*_):
        raise KeyboardInterrupt

    options = (*table, *NETWORK_OPTIONS, *LINE, "--out", tmp_path / "new.npz", "--overwrite")
    with monkeypatch.context() as m:
        m.setattr(FlashStore, "_write_block", cut)
        run("upload", *options, code=130)
    for command in (("--start",), ("--test",), ("--checkpoint",), ("--start", "--watch")):
        assert "equilif upload" in error_of("standalone", *command, *LINE)
    assert "equilif upload" in run("standalone", "--boot", *LINE, code=1)
    run("upload", *options[:-1])
    assert "done: 2 of 2" in run("standalone", "--watch", *LINE)


def test_save_uses_stored_network(device, done, table, tmp_path):
    """Networks of another structure or other data are rejected."""
    begin, other = done
    network, weights = networks.load(begin)
    about = networks.about(begin) or {}
    like = tmp_path / "like.npz"
    out = tmp_path / "out.npz"
    wider = Network.chain(network.n_inputs, 5, network.n_outputs)
    longer = replace(network, schedule=replace(network.schedule, free=9))
    for strange in (
        (wider, wider.initial_weights(1), about),
        (longer, weights, about),
        (network, weights, {**about, "labels": list(reversed(about["labels"]))}),
        (network, weights, None),
    ):
        networks.save(like, *strange)
        assert str(like) in error_of("save", out, "--like", like, *LINE) and not out.exists()
    networks.save(like, network, weights, {**about, "path": "/moved/there.csv"})
    run("save", out, "--like", like, *LINE)
    assert digest(networks.load(out)[1]) != digest(weights)


def test_fault_message(device):
    """The exit code is a failure."""
    output = run("standalone", *LINE, code=1)
    assert FAULTS[Fault.NO_SLOT] in " ".join(output.split())


def test_invalid_requests(device, table, tmp_path, monkeypatch):
    line = (*NETWORK_OPTIONS, *LINE)
    begin = tmp_path / "begin.npz"
    begin.write_text("mine")
    assert str(begin) in error_of("upload", *table, *line, "--out", begin)
    assert begin.read_text() == "mine"
    assert "give one of them" in error_of("standalone", "--stop", "--start", *LINE)
    assert "the network needs" in error_of(
        "upload", *table, "--hidden", 400, *LINE, "--out", tmp_path / "n.npz"
    )
    monkeypatch.setattr(ports, "connect", lambda path, baud=None: client_of(Device(CONFIG)))
    assert "no standalone trainer" in error_of("upload", *table, *line, "--out", tmp_path / "n.npz")
    assert "no standalone trainer" in error_of("standalone", *LINE)
    assert not (tmp_path / "n.npz").exists()


@pytest.mark.parametrize(
    ("chip", "message"),
    [(0xFFFFFF, "JEDEC ID ffffff"), (0, "JEDEC ID 0"), (0xC84013, "524,288 bytes")],
)
def test_unsuitable_flash(device, chip, message):
    """The flash is unchanged."""
    device.trainer.registers.chip = chip
    before = bytes(device.flash.content)
    with pytest.raises(StoreError, match=message):
        standalone.require_replaceable(client_of(device), overwrite=False)
    assert bytes(device.flash.content) == before


def test_job_of_a_data_set():
    """As a board learns it: without augmentation, which is refused otherwise."""
    data = PRESETS["digits"].load()
    moved = PRESETS["digits"].changed(random_shift=0.1, epochs=3)
    with pytest.raises(ValueError, match="random_shift"):
        standalone.job_of(data, moved)
    description, left_out = standalone.without_augmentation(moved)
    job = standalone.job_of(data, description, seed=4, samples=7, tests=0)
    assert left_out == ["random_shift"] and job.total == 7 and len(job.rates) == 3
    assert digest(job.weights) == digest(job.network.initial_weights(4))


def test_flash_image_equals_client_data(device):
    """Samples in the flash equal the RUN frames of train --port."""
    assert store().blocks[store().registers.index + 1].count(b"\xc0") == 9


def test_standalone_needs_flash(tmp_path, monkeypatch):
    monkeypatch.setitem(BOARDS, "icesugar", replace(BOARDS["icesugar"], flash=None))
    assert "no flash" in error_of("build", "icesugar", "--standalone")
    file = tmp_path / "flash.bin"
    assert "no flash" in error_of("simulate", "icesugar", "--flash", file)
    file.write_bytes(b"short")
    assert "a flash has 16777216" in error_of("simulate", "icebreaker", "--flash", file)
    assert file.read_bytes() == b"short"


def test_flash_file_belongs_to_one_board(tmp_path):
    """While a simulated board uses the file, under any name."""
    file = tmp_path / "flash.bin"
    link = tmp_path / "link.bin"
    content = flash_chip.content_of(file)
    link.symlink_to(file)
    for name in (file, link):
        assert str(name) in error_of("simulate", "icebreaker", "--flash", name)
        with pytest.raises(ValueError, match="running"):
            flash_chip.content_of(name)
    content[0] = 7
    content.close()
    assert flash_chip.content_of(link)[:2] == b"\x07\xff"


def test_identity_of_a_network():
    """Boards have it in their flash: names of fields may change, the digest may not."""
    network = Network.attention(
        7,
        5,
        3,
        6,
        4,
        schedule=Schedule(free=32, nudged=16, window=8, early_exit=3),
        table_rows=40,
        table_learning_rate_scale=1.0,
    )
    encoding = {
        "kind": "texts",
        "attention": True,
        "steps": 5,
        "words": [],
        "word_vectors": None,
        "word_vectors_digest": "",
    }
    about = {"test_fraction": 0.2, "labels": ["a", "b"], "encoding": encoding}
    assert NetworkIdentity.of(network, about) == NetworkIdentity("47e283a980457f36", "8101161766916aac")
