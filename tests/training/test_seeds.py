"""Parallel runs of several seeds equal single runs."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equilif.data.sets import images
from equilif.training import parallel
from equilif.training.observer import Observer
from equilif.training.run import Run
from equilif.training.settings.presets import PRESETS
from equilif.training.storage.folder import LOCK, OWNER, folder_of, seed_folders
from equilif.training.storage.history import HISTORY, NETWORK, read_history
from tests.cli import error_of, output_and_json, run
from tests.runs import trained

SMALL = ("digits", "--hidden", 4, "--epochs", 2)
PRESET = PRESETS["digits"].changed(hidden=(4,), epochs=2)


@pytest.fixture(scope="module")
def alone() -> dict[int, list[str | None]]:
    """Weights after each epoch, by seed."""
    found = {}
    for seed in range(3):
        training = trained(Run.start(PRESET, images.load("digits"), seed))
        found[seed] = [e.weights for e in training.history]
    return found


def weights(out: Path) -> dict[int, list[str | None]]:
    histories = [read_history(folder / HISTORY) for folder in seed_folders(out)]
    return {h.seed: [e.weights for e in h.epochs] for h in histories}


def test_parallel_seeds_equal_single_runs(alone, tmp_path):
    output, found = output_and_json("train", *SMALL, "--seed", "0-2", "--out", tmp_path / "out")
    assert weights(tmp_path / "out") == alone
    accuracies = [r["accuracy"] for r in found["runs"]]
    assert [r["seed"] for r in found["runs"]] == [0, 1, 2]
    assert found["accuracy"] == pytest.approx(sum(accuracies) / 3) and f"{found['accuracy']:.2%}" in output
    for folder in seed_folders(tmp_path / "out"):
        run("evaluate", folder / NETWORK)
        assert not {p.name for p in folder.iterdir()} & {LOCK, OWNER}


def test_first_seed(alone, tmp_path):
    run("train", *SMALL, "--seed", "1-2", "--out", tmp_path)
    assert weights(tmp_path) == {seed: alone[seed] for seed in (1, 2)}


def test_error_in_one_seed(alone, tmp_path):
    data = images.load("digits")
    runs = {folder_of(tmp_path, k): Run.start(PRESET, data, k) for k in range(3)}
    for folder in runs:
        folder.mkdir()

    class FullDisk(Observer):
        def epoch(self, folder, run, record):
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk"):
        parallel.train(runs, every=0, observer=FullDisk())
    assert seed_folders(tmp_path) == list(runs), "a run that had not begun cannot be resumed"
    assert weights(tmp_path) != alone
    run("train", "--resume", "--out", tmp_path)
    assert weights(tmp_path) == alone


@pytest.mark.regress
def test_ctrl_c_ends_all_seeds(tmp_path):
    line = "train --hidden 4 --epochs 60 --set learning.decay=0.99 --seed 0-2 --set run.every=0 --out"
    process = subprocess.Popen(
        [sys.executable, "-m", "equilif", *line.split(), tmp_path],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while len(seed_folders(tmp_path)) < 3 and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert (process.returncode, message) == (130, "error: interrupted\n")
    assert any(len(found) < 60 for found in weights(tmp_path).values()), "it was not interrupted"
    run("train", "--resume", "--out", tmp_path)
    preset = PRESETS["digits"].changed(hidden=(4,), epochs=60, decay=0.99)
    whole = trained(Run.start(preset, images.load("digits"), 2))
    assert weights(tmp_path)[2] == [e.weights for e in whole.history]


def test_folders_of_single_and_parallel_runs(tmp_path):
    run("train", *SMALL, "--out", tmp_path / "one")
    assert "holds a run of digits" in error_of("train", "--seed", "0-1", "--out", tmp_path / "one")
    run("train", *SMALL, "--seed", "0-0", "--out", tmp_path / "several")
    assert "holds runs of several seeds" in error_of("train", "--out", tmp_path / "several")
    assert "seed-0 holds a run of digits" in error_of("train", "--seed", "0-1", "--out", tmp_path / "several")
    assert "leave out --seed" in error_of("train", "--resume", "--seed", "0-1", "--out", tmp_path / "several")


def test_one_seed_on_a_board(tmp_path):
    message = error_of("train", "--seed", "0-1", "--port", "/dev/nothing", "--out", tmp_path / "out")
    assert "one network at a time" in message and not (tmp_path / "out").exists()


def test_run_that_is_not_tested(alone, tmp_path):
    """Equal weights; without a test accuracy it cannot be saved."""
    training = Run.start(PRESET, images.load("digits"), 0)
    assert math.isnan(training.train(test=False).test_accuracy)
    assert [e.weights for e in training.history] == alone[0]
    with pytest.raises(ValueError, match="test"):
        training.epoch(folder=tmp_path, test=False)
    with pytest.raises(ValueError, match="test_accuracy"):
        training.save(tmp_path)
    assert not list(tmp_path.iterdir())
