"""``equilif bench``: counts and output, not speed."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from equilif.bench import cycles, engines, throughput
from equilif.bench.compiled_backpropagation import CompiledBackpropagation
from equilif.data.sets import images
from equilif.hardware import boards
from equilif.hardware.verify import VerificationPlan, compare
from equilif.results import ToolFailed
from equilif.training.backends.phases import epoch_plan, order, train_epoch
from equilif.training.resolve import Request, resolve
from equilif.training.settings import netfile
from equilif.training.settings.presets import PRESETS
from equilif_boards import BOARDS
from equilif_golden.engine.compiler import engine_for
from equilif_golden.kernel import Kernel
from tests.cli import error_of, run

SLOW = 0.002  #: CPU seconds of a part of an epoch of a scripted learner

BACKPROPAGATION = "equilif.bench.backpropagation"  # needs torch


class Scripted:
    """A learner with given accuracies; the last one repeats."""

    def __init__(self, accuracies):
        self.accuracies = list(accuracies)
        self.parts = []
        self.epochs = []

    def begin(self, epoch):
        self.epochs.append(epoch)

    def train(self, order, x=None):
        self.parts.append(order)
        end = time.process_time() + SLOW
        while time.process_time() < end:
            pass

    def accuracy(self):
        return self.accuracies.pop(0) if len(self.accuracies) > 1 else self.accuracies[0]


@pytest.fixture(scope="module")
def digits():
    return images.load("digits")


def scripted(digits, accuracies, limit=60.0):
    learners = []

    def make(data, seed):
        learners.append(Scripted(accuracies))
        return learners[-1]

    return throughput.paces({"scripted": make}, digits, limit)["scripted"], learners


def test_time_to_target_ends_with_its_epoch(digits):
    found, learners = scripted(digits, [0.5, 0.98])
    for seed, learner in zip(throughput.SEEDS, learners, strict=True):
        assert np.array_equal(np.concatenate(learner.parts), order(seed, 0, 1437)) and learner.epochs == [0]
    assert found.to_target == pytest.approx(2 * SLOW, abs=SLOW)
    assert found.samples_per_second < 1437 / (throughput.PARTS * SLOW)
    assert found.epoch * found.samples_per_second == pytest.approx(1437)


def test_time_to_target_takes_several_epochs(digits):
    found, learners = scripted(digits, [0.9] * 13 + [0.97])
    assert {len(learner.parts) for learner in learners} == {14} and learners[0].epochs == [0, 1]
    assert found.to_target >= 14 * SLOW and found.accuracy == 0.97


def test_no_time_when_target_is_not_reached(digits):
    found, learners = scripted(digits, [0.5], limit=3 * SLOW)
    assert found.to_target is None and all(len(learner.parts) <= 3 for learner in learners)


def test_learners_train_in_turn(digits, monkeypatch):
    monkeypatch.setattr(throughput, "SEEDS", (0,))
    trained = []

    class Named(Scripted):
        def train(self, order, x=None):
            super().train(order, x)
            trained.append(self)

    makes = {"a": lambda *_: Named([0.98]), "b": lambda *_: Named([0.5])}
    throughput.paces(makes, digits, 12 * SLOW)
    first, second = trained[:2]
    assert trained[: 2 * throughput.PARTS] == throughput.PARTS * [first, second]


@pytest.mark.regress
def test_golden_learner_equals_kernel(digits):
    preset = PRESETS["digits"]
    network = preset.network(digits)
    kernel = Kernel(network, preset.initial_weights(network, 1), learning_rate=preset.rate(0))
    learner = throughput.Golden(digits, 1)
    for epoch in range(2):
        kernel.set_learning_rate(preset.rate(epoch))
        kernel.train(digits.x_train, digits.y_train, order(1, epoch, 1437))
        learner.begin(epoch)
        for part in np.array_split(order(1, epoch, 1437), throughput.PARTS):
            learner.train(part)
    assert all(np.array_equal(w, learner.kernel.weights[name]) for name, w in kernel.weights.items())


@pytest.mark.parametrize("batch", [1, 32])
def test_backpropagation_learns_the_digits(batch, digits):
    Backpropagation = pytest.importorskip(BACKPROPAGATION, exc_type=ImportError).Backpropagation

    learner = Backpropagation(digits, 0, batch=batch)
    for epoch in range(2 if batch == 1 else 8):
        learner.train(order(0, epoch, 1437))
    assert learner.accuracy() > 0.9
    sizes = [tuple(p.shape) for p in learner.model.parameters()]
    assert sizes == [(64, 64), (64,), (10, 64), (10,)]


@pytest.mark.regress
def test_compiled_backpropagation_equals_pytorch(digits):
    """From the same weights, but for the rounding of another order of sums."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    Backpropagation = pytest.importorskip(BACKPROPAGATION, exc_type=ImportError).Backpropagation

    theirs, ours = Backpropagation(digits, 0), CompiledBackpropagation(digits, 0)
    w1, b1, w2, b2 = (p.detach().numpy().copy() for p in theirs.model.parameters())
    ours.weights = w1.T.copy(), b1, w2, b2
    for learner in (theirs, ours):
        learner.train(order(0, 0, 1437)[:200])
    with torch.no_grad():
        w1, b1, w2, b2 = (p.numpy() for p in theirs.model.parameters())
    for got, expected in zip(ours.weights, (w1.T, b1, w2, b2), strict=True):
        assert np.allclose(got, expected, atol=1e-4)
    assert ours.accuracy() > 0.5


def test_accuracy_after_equal_time(digits):
    learners = []

    def make(data, seed):
        learners.append(Scripted([0.5 + seed / 10]))
        return learners[-1]

    assert throughput.accuracy_after(make, digits, 2000) == pytest.approx(0.6)
    assert all([len(part) for part in learner.parts] == [1437, 563] for learner in learners)


# -- the engine ------------------------------------------------------------------------------------
@pytest.mark.regress
def test_cycles_equal_those_of_verify(digits, monkeypatch):
    monkeypatch.setattr(cycles, "LANES", (4,))
    (found,) = cycles.measure([digits], 5)
    preset = PRESETS["digits"]
    network = preset.network(digits)
    kernel = Kernel(network, preset.initial_weights(network, 0), learning_rate=preset.rate(0))
    for _ in train_epoch(kernel, digits, epoch_plan(preset, digits, 0, 0)):
        pass
    shown = epoch_plan(preset, digits, 0, 1)
    plan = VerificationPlan([shown._replace(order=shown.order[:5])], 5)
    config = engine_for(network, lanes=4)
    report = compare(network, kernel.weights, config, digits, plan, counter=kernel.counter)
    training = report.training.per_sample()
    inference = report.inference.per_sample()
    assert (found.training, found.ideal_training) == (training["cycles"], training["ideal"])
    assert (found.inference, found.ideal_inference) == (inference["cycles"], inference["ideal"])
    assert found.training > found.ideal_training > 0 and found.per_second > 0


@pytest.mark.regress
def test_mismatch_gives_no_cycles(digits, monkeypatch):
    monkeypatch.setattr(cycles, "LANES", (4,))
    monkeypatch.setattr(Kernel, "train", lambda *_, **__: None)
    with pytest.raises(ToolFailed, match="RTL.*digits"):
        list(cycles.measure([digits], 2))


# -- other work ------------------------------------------------------------------------------------
def test_own_rows():
    rows = {r.name.removeprefix("equilif, "): r for r in engines.rows() if r.name.startswith("equilif")}
    measured = boards.measured()
    built = [b for b in BOARDS.values() if b.name in measured]
    known = [b for b in built if boards.older(b, measured[b.name]) is not None]
    assert set(rows) == {b.title for b in known}
    for board in known:
        row = rows[board.title]
        entry = measured[board.name]
        assert row.logic is not None
        assert row.logic[0] == entry["build"]["utilisation"][board.device.family.logic_name]["used"]
        assert row.f_max == entry["build"]["f_max"]
        assert row.per_cycle is not None and row.f_max is not None
        assert 0 < row.per_cycle <= board.config.lanes
        assert row.per_second == pytest.approx(row.per_cycle * row.f_max * 1e6)
        assert row.training == pytest.approx(board.clock_hz / entry["cycles"]["training"])


def test_other_works_have_sources():
    rows = [r for r in engines.rows() if not r.name.startswith("equilif")]
    assert len(rows) >= 7 and all(r.source for r in rows)
    odin = next(r for r in rows if r.name == "ODIN")
    assert odin.per_second == pytest.approx(5.4e6) and odin.memory is None and odin.training is None
    assert odin.per_cell == pytest.approx(5.4e6 / 14.789)
    assert replace(odin, f_max=None).per_second is None and replace(odin, logic=None).per_cell is None


# -- the command -----------------------------------------------------------------------------------
@pytest.mark.regress
def test_bench_output_and_files(tmp_path, monkeypatch):
    pytest.importorskip("torch", exc_type=ImportError)
    monkeypatch.setattr(throughput, "compile_seconds", lambda: 10.0)
    output = run("bench", "learning", "others", "--seconds", 0.2, "--out", tmp_path)
    found = json.loads((tmp_path / "bench.json").read_text())
    assert set(found["learning"]["data"]) == {"digits"} and "engine" not in found
    paces = found["learning"]["data"]["digits"]
    batches = {f"PyTorch, batch {batch}" for batch in (1, 32, 128)}
    assert set(paces) == {"golden model", "Numba, batch 1", *batches}
    for name, pace in paces.items():
        assert pace["samples_per_second"] > 0 and 0 < pace["equal_time"] < 1
        ratio = paces["golden model"]["samples_per_second"] / pace["samples_per_second"]
        shown = re.search(rf"(?m)^digits +{name} +[\d,]+ +([\d.]+)", output)
        assert shown is not None and shown[1] == f"{ratio:.2f}"
    assert {r["name"] for r in found["others"]} >= {"ODIN", "ConvCoTM"}


def test_missing_package_or_tool(tmp_path, monkeypatch):
    """A named part fails; without names it is skipped."""

    def missing(*_):
        raise ToolFailed("Verilator is not here")

    for part, found in (("_engine", missing), ("_learning", lambda *_, **__: {})):
        monkeypatch.setattr(f"equilif.commands.overview.{part}", found)
    assert "Verilator is not here" in error_of("bench", "engine", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "Verilator" in run("bench", "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert "engine" not in found and "others" in found


def test_missing_data(tmp_path):
    assert "no mnist IDX files" in error_of("bench", "--data", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.regress
@pytest.mark.parametrize("hidden, method", [((), "nudged phases"), (("conv:4", 16), "errors")])
def test_final_accuracy(hidden, method, tmp_path, monkeypatch):
    pytest.importorskip("torch", exc_type=ImportError)
    monkeypatch.setattr("equilif.training.settings.description.Description.epochs", 1)
    layers = [word for layer in hidden for word in ("--hidden", layer)]
    output = run("bench", "accuracy", *layers, "--seeds", 2, "--out", tmp_path)
    learners = json.loads((tmp_path / "bench.json").read_text())["accuracy"]["digits"]["learned_by"]
    assert list(learners) == [method, "backpropagation"]
    assert all(len(a) == 2 and min(a) > 0.15 for a in learners.values())
    assert "standard error" in output


def test_backpropagation_of_convolutions(digits):
    """Layers of the network; a step with an augmented image changes all of them; other graphs are refused."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    Backpropagation = pytest.importorskip(BACKPROPAGATION, exc_type=ImportError).Backpropagation

    found = resolve(Request(data=digits, hidden=("conv:4", "conv:6", 12))).description
    learner = Backpropagation(digits, 0, found)
    before = [p.detach().clone() for p in learner.model.parameters()]
    learner.train(np.arange(1), digits.x_train[::-1].copy())
    after = list(learner.model.parameters())
    assert [tuple(p.shape) for p in after[::2]] == [(4, 1, 3, 3), (6, 4, 3, 3), (12, 96), (10, 12)]
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    skip = netfile.read(Path("examples/own_network.toml")).description
    with pytest.raises(ValueError, match="chain"):
        Backpropagation(digits, 0, skip)


@pytest.mark.parametrize("option", [("--hidden", 8), ("--set", "learning.epochs=1"), ("--seeds", 2)])
def test_options_of_accuracy(option, tmp_path):
    assert option[0] in error_of("bench", *option, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
