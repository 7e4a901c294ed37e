"""Run folders: one run at a time, no overwriting, no resume with other data; validation of files."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilif.data.sets import images
from equilif.data.sets.characters import OTHER, Alphabet, Text
from equilif.data.sets.dataset import DataSet
from equilif.training.run import Run
from equilif.training.settings.description import Description
from equilif.training.settings.patches import FEEDBACK, patched
from equilif.training.settings.presets import PRESETS, RATES, transformer
from equilif.training.storage.folder import LOCK, MADE, OWNER, RUN, RunFolder
from equilif.training.storage.history import HISTORY, NETWORK, digest, read_history
from equilif_golden import files, network
from tests.cli import error_of, json_of, run
from tests.data_files import write_random
from tests.runs import Interrupted, trained

PHASES = [word for key in ("free=24", "nudged=12", "window=8") for word in ("--set", f"phases.{key}")]
#: options of `equilif train digits --seed 0`, and the digest of the final weights
DIGITS = {
    "preset": ((), "be77af96f84f"),
    "phases of 24, 12 and 12 steps": ((*PHASES, "--epochs", 15), "77d30742973f"),
}


def write_idx(folder: Path, seed: int) -> Path:
    """Small sets of 8 x 8 images with the file names of MNIST."""
    return write_random(folder, 8, 60, 20, seed)


def content(folder: Path) -> dict[str, bytes]:
    """Contents of all files of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a run of one epoch."""
    out = tmp_path_factory.mktemp("finished")
    run("train", "digits", "--epochs", 1, "--out", out)
    return content(out)


@pytest.fixture
def done(finished, tmp_path) -> Path:
    """A copy of that run."""
    out = tmp_path / "done"
    out.mkdir()
    for name, text in finished.items():
        (out / name).write_bytes(text)
    return out


def edited(folder: Path, **keys: Any) -> None:
    """Change values of a history.json; None: remove the key."""
    path = folder / HISTORY
    raw = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))


# -- digests ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", DIGITS)
def test_digest_of_digits_training(name, tmp_path):
    options, weights = DIGITS[name]
    run("train", "digits", "--seed", 0, *options, "--out", tmp_path)
    assert read_history(tmp_path / HISTORY).epochs[-1].weights.startswith(weights)


# -- one run at a time -----------------------------------------------------------------------------
@pytest.fixture
def busy(tmp_path) -> Iterator[tuple[Path, multiprocessing.process.BaseProcess]]:
    """A folder and a process with a run in it."""
    fork = multiprocessing.get_context("fork")
    out, inside = tmp_path / "busy", fork.Event()

    def hold() -> None:
        with RunFolder(out):
            inside.set()
            time.sleep(600)

    process = fork.Process(target=hold)
    process.start()
    assert inside.wait(30)
    yield out, process
    process.kill()
    process.join()


@pytest.mark.parametrize(
    "command",
    [("train", "--resume"), ("train",), ("train", "--overwrite"), ("demo",), ("train-rates",), ("sweep",)],
)
def test_folder_in_use(command, busy, finished):
    needed = {"train-rates": "torch", "sweep": "distributed"}.get(command[0])
    if needed:
        pytest.importorskip(needed, exc_type=ImportError)
    out, process = busy
    (out / NETWORK).write_bytes(finished[NETWORK])
    (out / HISTORY).write_bytes(finished[HISTORY])
    before = content(out)
    message = error_of(*command, "--out", out)
    assert f"{out} is in use by process {process.pid}" in message and "give another --out" in message
    assert content(out) == before


def test_killed_run_releases_folder(busy):
    out, process = busy
    assert (out / LOCK).exists()
    process.kill()
    process.join()
    run("train", "--epochs", 1, "--out", out)
    assert {p.name for p in out.iterdir()} >= {NETWORK, HISTORY}
    assert not {p.name for p in out.iterdir()} & {LOCK, OWNER}


def test_simultaneous_runs(tmp_path):
    command = [sys.executable, "-m", "equilif", "train", "digits", "--epochs", "8", "--out", tmp_path / "out"]
    both = [
        subprocess.Popen(
            [*command, "--seed", str(k)], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
        )
        for k in range(2)
    ]
    errors = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 2], errors
    winner = codes.index(0)
    assert "is in use by" in errors[1 - winner] or "holds a run of digits" in errors[1 - winner]
    history = read_history(tmp_path / "out" / HISTORY)
    assert history.seed == winner and len(history.epochs) == 8
    assert digest(network.load(tmp_path / "out" / NETWORK)[1]) == history.epochs[-1].weights


def test_unused_folder_is_removed(tmp_path):
    for arguments in (("--set", "learning.learning_rate=1e-9"), ("--resume",)):
        error_of("train", *arguments, "--out", tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())


def test_damaged_lock_note(busy):
    out, _ = busy
    for text in ("", "[", "3", '{"pid": 1}', "[" * 100_000):
        (out / OWNER).write_text(text)
        assert "is in use by another run" in error_of("train", "--out", out)


def test_stale_lock(tmp_path):
    """As after a kill: files exist, no process holds the lock."""
    (tmp_path / LOCK).touch()
    (tmp_path / OWNER).write_text('{"pid": 1, "host": "h", "command": "c", "start": "s"}')
    for name in (NETWORK, "learning_curve.png"[:16], ".equilif-owner", "try"):
        (tmp_path / f".{name}.17.0a1b2c3d.part").write_bytes(b"half a netw")
    with RunFolder(tmp_path):
        assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["/proc/equilif", "/dev/null/x"])
def test_unwritable_run_folder(out):
    assert f"{out}" in error_of("train", "--out", out)


# -- no overwriting --------------------------------------------------------------------------------
def test_finished_run_is_not_overwritten(done):
    before = content(done)
    message = error_of("train", "digits", "--out", done)
    assert f"{done} holds a run of digits, 64-64-10, 1 of 1 epochs done, " in message and "% right" in message
    assert f"`equilif train --resume --out {done}`" in message
    assert "--overwrite" in message and "another --out" in message
    assert content(done) == before


@pytest.mark.parametrize("there", RUN)
def test_existing_run_files_are_kept(there, tmp_path):
    (tmp_path / there).write_bytes(b"somebody's")
    for command in (("train",), ("demo",)):
        message = error_of(*command, "--out", tmp_path)
        assert f"{tmp_path} holds " in message and "--resume" not in message
    assert content(tmp_path) == {there: b"somebody's"}


def test_overwrite_removes_old_run(done):
    for name in (*RUN, *MADE):
        if not (done / name).exists():
            (done / name).write_bytes(b"old")
    (done / "notes.txt").write_bytes(b"the user's own")
    run("train", "digits", "--hidden", 8, "--epochs", 1, "--out", done, "--overwrite")
    assert {p.name for p in done.iterdir()} == {HISTORY, NETWORK, "learning_curve.png", "notes.txt"}
    assert read_history(done / HISTORY).sizes == "64-8-10"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--set", "learning.learning_rate=1e-9"),
        ("--epochs", 2_000_000_000),
        ("--set", "phases.window=6"),
        ("--hidden", 5_000_000),
        ("--seed", -1),
        ("--set", "run.every=nan"),
        ("--port", "/dev/nowhere"),
        ("--data", "/nowhere"),
    ],
)
def test_overwrite_after_checks(wrong, done):
    before = content(done)
    data = "mnist" if "--data" in wrong else "digits"
    error_of("train", data, *wrong, "--out", done, "--overwrite")
    assert content(done) == before


def test_run_without_epochs_restarts(done):
    """As after a kill between the first two files."""
    (done / NETWORK).unlink()
    assert "holds a run of digits" in error_of("train", "--out", done)
    edited(done, epochs=[])
    run("train", "--epochs", 1, "--out", done)


def test_demo_replaces_demo_only(done):
    demo = ("demo", "--epochs", 1, "--samples", 3, "--skip-bitstream", "--out", done)
    before = content(done)
    assert "holds a run of digits" in error_of(*demo)
    assert content(done) == before
    edited(done, command="demo")
    run(*demo)
    assert read_history(done / HISTORY).command == "demo"
    assert "holds a run of digits" in error_of("train", "--out", done)
    before = content(done)
    assert "board must be one of" in error_of(*demo, "--board", "etch-a-sketch", "--overwrite")
    assert content(done) == before
    run("train", "--resume", "--epochs", 2, "--out", done)
    assert "2 of 2 epochs done" in error_of(*demo), "it went on as its user's own"


def test_sweep_and_run_folders(done, tmp_path):
    pytest.importorskip("distributed", exc_type=ImportError)
    assert "holds a run of digits" in error_of("sweep", "--out", done)
    (tmp_path / "swept" / "points").mkdir(parents=True)
    for overwrite in ((), ("--overwrite",)):
        assert "holds a sweep" in error_of("train", "--out", tmp_path / "swept", *overwrite)


def test_rate_run_overwrites(done):
    pytest.importorskip("torch")
    settings = ("train-rates", "digits", "--hidden", "conv:2", "--epochs", 1, "--out", done)
    assert "holds a run of digits" in error_of(*settings)
    run(*settings, "--overwrite")
    files = {"rates.pt", HISTORY, NETWORK, "learning_curve.png"}
    assert {p.name for p in done.iterdir()} == files
    message = error_of("train-rates", "digits", "--out", done)
    assert "holds a run of digits, 8x8x1-6x6x2-10, 1 of 1 epochs done" in message
    assert f"`equilif train-rates --resume --out {done}`" in message


# -- targets ---------------------------------------------------------------------------------------
def test_unwritable_picture(tmp_path):
    (tmp_path / "learning_curve.png").mkdir()
    for command in ("train", "demo"):
        assert "learning_curve.png: " in error_of(command, "--out", tmp_path)
    (tmp_path / "recall.png").mkdir()
    assert "recall.png: " in error_of("recall", "--stored", 1400, "--out", tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"learning_curve.png", "recall.png"}


def test_full_disk(tmp_path, monkeypatch):
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_replace", lambda path, *rest: full(path) if path.name == HISTORY else None)
    output = run("train", "--out", tmp_path, code=2).splitlines()
    assert output[-1] == f"error: {tmp_path / HISTORY}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_brackets_in_folder(tmp_path):
    out = tmp_path / "a [bold] b[/x]"
    assert f" in {out}\n" in run("train", "--epochs", 1, "--out", out)
    assert "holds a run" in error_of("train", "--out", out) and str(out) in error_of("train", "--out", out)
    assert f" in {out}\n" in run("recall", "--stored", 5, "--steps", 1, "--out", out)
    pytest.importorskip("amaranth")
    assert f" in {out / 'e'}\n" in run("export", out / "e", "--lanes", 2, "--tiles", 4)


# -- resume with other data ------------------------------------------------------------------------
@pytest.fixture
def small(tmp_path) -> tuple[Path, Path]:
    """A run on a small data set, and the folder of the data."""
    data = write_idx(tmp_path / "data", 0)
    out = tmp_path / "small"
    run("train", "mnist", "--data", data, "--hidden", 4, "--epochs", 1, "--out", out)
    return out, data


def test_history_has_versions(small):
    out, data = small
    raw = json.loads((out / HISTORY).read_text())
    assert raw["data"] == raw["preset"]["data"] == "mnist"
    assert raw["data_digest"] == images.load("mnist", data).digest
    assert raw["version"] == raw["machine"]["equilif"] and raw["command"] == "train"


def test_resume_with_other_data(small, tmp_path):
    out, data = small
    before = content(out)
    other = write_idx(tmp_path / "other", 1)
    message = error_of("train", "--resume", "--epochs", 2, "--data", other, "--out", out)
    for folder in (data, other):
        assert images.load("mnist", folder).digest[:12] in message
    assert "--data" in message and "--out" in message and content(out) == before


def test_resume_with_moved_data(small, tmp_path):
    out, data = small
    data.rename(tmp_path / "moved")
    run("train", "--resume", "--epochs", 2, "--data", tmp_path / "moved", "--out", out)
    assert len(read_history(out / HISTORY).epochs) == 2


def test_resume_with_other_data_set_name(done):
    message = error_of("train", "mnist", "--resume", "--out", done)
    assert f"the run in {done} is one of digits, not of mnist" in message
    run("train", "digits", "--resume", "--out", done)


def test_resume_of_other_version(done):
    edited(done, version="0.0.9")
    output = run("train", "--resume", "--epochs", 2, "--out", done)
    assert output.count("\n") > 2 and output.splitlines()[0].startswith(
        "this run was written by equilif 0.0.9"
    )


@pytest.mark.parametrize("options", [("--overwrite",), ("--seed", 1), ("--set", "phases.window=8")])
def test_resume_refuses_settings(options, done):
    message = error_of("train", "--resume", *options, "--out", done)
    assert "--resume" in message or "leave out" in message
    assert options[0] in message


def test_rate_resume_with_other_data(tmp_path):
    pytest.importorskip("torch")
    data = write_idx(tmp_path / "data", 0)
    out = tmp_path / "out"
    start = ("train-rates", "mnist", "--hidden", 4, "--epochs", 1, "--data", data, "--out", out)
    run(*start)
    before = content(out)
    other = write_idx(tmp_path / "other", 1)
    for command in (("train-rates", "--resume", "--epochs", 2, "--out", out), ("deploy", out)):
        message = error_of(*command, "--data", other)
        assert all(images.load("mnist", folder).digest[:12] in message for folder in (data, other))
    assert "is one of mnist, not of digits" in error_of("train-rates", "digits", "--resume", "--out", out)
    assert content(out) == before
    run("train-rates", "--resume", "--epochs", 2, "--data", data, "--out", out)
    raw = json.loads((out / HISTORY).read_text())
    assert (
        len(raw["epochs"]) == 2 and raw["data_digest"] == images.load("mnist", data).digest and raw["version"]
    )


# -- kill and resume -------------------------------------------------------------------------------
@pytest.mark.sampled(1)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_resume_after_signal(how, finished, tmp_path):
    """The lock ends with the process; partial files are not read."""
    rng = random.Random(how)
    command = [sys.executable, "-m", "equilif", "train", "--out", tmp_path, "--set", "run.every=0"]
    stopped = 0
    for k in range(3):
        more = ["--resume"] if (tmp_path / NETWORK).exists() else ["digits", "--epochs", "3"]
        process = subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while not (tmp_path / LOCK).exists() and process.poll() is None:
            time.sleep(0.01)
        try:
            output, _ = process.communicate(timeout=rng.uniform(0.05, 0.3) if k < 2 else 120)
            assert process.returncode == 0, output
            break
        except subprocess.TimeoutExpired:
            process.send_signal(how)
            output, _ = process.communicate()
            stopped += 1
            assert process.returncode in (-how, 128 + how, 0), output
    assert stopped >= 1
    whole = trained(Run.start(PRESETS["digits"].changed(epochs=3), images.load("digits"), 0))
    history = read_history(tmp_path / HISTORY)
    assert [e.weights for e in history.epochs] == [e.weights for e in whole.history]
    assert digest(network.load(tmp_path / NETWORK)[1]) == digest(whole.weights)
    assert {p.name for p in tmp_path.iterdir()} == {HISTORY, NETWORK, "learning_curve.png"}


@pytest.mark.parametrize("plan", ["train", "rates", "text"])
def test_resume_after_partial_save(plan, tmp_path, monkeypatch):
    """Of a text also its noise, drawn from the seed, and its last updates, which learn from spikes."""
    preset = PRESETS["digits"].changed(hidden=(4,), epochs=2)
    data: DataSet | Text = images.load("digits")
    if plan != "train":
        pytest.importorskip("torch")
        preset = RATES["digits"].changed(hidden=(4,), epochs=2, batch_size=512)
    if plan == "text":
        codes = np.arange(300, dtype=np.uint8) % 4
        data = Text(Alphabet("abcd" + OTHER), codes, codes[:50], positions=4)
        shape = {"layers": 1, "features": 4, "heads": 2, "hidden": 4}
        preset = transformer(data, **shape, epochs=2, steps=4, batch_size=2, noise=0.1, spike_steps=3)
    whole = trained(Run.start(preset, data))
    write = files.write

    for stop in itertools.count():
        out = tmp_path / str(stop)
        out.mkdir()
        left = stop

        def broken(*arguments: Any) -> None:
            nonlocal left
            if not left:
                raise Interrupted
            left -= 1
            write(*arguments)

        monkeypatch.setattr(files, "write", broken)
        first = Run.start(preset, data)
        with contextlib.suppress(Interrupted):
            while not first.done:
                first.epoch(folder=out)
        monkeypatch.setattr(files, "write", write)
        if first.done and left:
            break
        state = out / (NETWORK if plan == "train" else "rates.pt")
        assert state.exists() == (stop > 1)
        again = Run.resume(out, data) if state.exists() else Run.start(preset, data)
        again.begin(out)
        trained(again, folder=out)
        assert [e.weights for e in again.history] == [e.weights for e in whole.history]
        assert digest(network.load(out / NETWORK)[1]) == whole.history[-1].weights
    assert stop == (9 if plan == "train" else 10)


# -- options without effect ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 250}, "epoch 103 of 250"),
        ({"epochs": 1 << 20}, "epoch 103 of 1048576"),
        ({"decay": 0.0}, "epoch 2 of 15"),
        ({"decay": 0.5}, "epoch 12 of 15"),
        ({"schedule": "linear", "decay": 0.0}, "epoch 15 of 15"),
        ({"learning_rate": 1e-9}, "smallest"),
    ],
)
def test_learning_rate_too_small(options, message):
    preset = PRESETS["digits"].changed(**{"epochs": 15} | options)
    start = time.process_time()
    with pytest.raises(ValueError, match=message):
        Run.start(preset, images.load("digits"), 0)
    assert time.process_time() - start < 2


def test_last_valid_epoch_learns():
    data = images.load("digits")
    preset = PRESETS["digits"].changed(epochs=102)
    last = Run.start(preset, data, 0)
    last.backend.learner.set_learning_rate(preset.rate(101))
    before = last.backend.learner.counter
    last.backend.learner.train(data.x_train, data.y_train, np.arange(5), tokens=None)
    assert last.backend.learner.counter > before
    with pytest.raises(ValueError, match="3.08e-05"):
        last.backend.learner.set_learning_rate(preset.rate(102))


def test_long_schedule_starts_quickly():
    """A million learning rates are not checked one by one."""
    preset = PRESETS["digits"].changed(schedule="linear", decay=0.5, epochs=1 << 20)
    data = images.load("digits")
    start = time.process_time()
    Run.start(preset, data, 0)
    assert time.process_time() - start < 2


def test_finished_run_needs_no_learning_rate(done):
    """Also where another epoch would be below the smallest learning rate."""
    raw = json.loads((done / HISTORY).read_text())
    learning = {**raw["preset"]["learning"], "epochs": 250}
    edited(done, preset={**raw["preset"], "learning": learning})
    assert "from epoch 103 of 250" in error_of("train", "--resume", "--out", done)
    run("train", "--resume", "--epochs", 1, "--out", done)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("train", "--set", "run.every=nan"), "run.every"),
        (("train", "--set", "run.baud=9600"), "give --port"),
        (("train", "vowels", "--set", "learning.random_shift=0.5"), "random_shift"),
    ],
)
def test_option_without_effect(arguments, message, tmp_path):
    assert message in error_of(*arguments, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options, message",
    [
        (("--epochs", 0), "1..1048576"),
        (("--set", "rates.excluded_classes=99"), "0..9, not 99"),
        (("--set", "rates.excluded_classes=-1"), "0..9, not -1"),
        (("--set", f"rates.excluded_classes={[*range(10)]}"), "excluded_classes leaves 0 of 10 classes"),
        (("--set", f"rates.excluded_classes={[*range(9)]}"), "excluded_classes leaves 1 of 10 classes"),
        (("--resume", "--hidden", "conv:3"), "no run to resume|--hidden"),
    ],
)
def test_rate_option_without_effect(options, message, tmp_path):
    pytest.importorskip("torch")
    error = error_of("train-rates", "digits", *options, "--out", tmp_path / "out")
    assert any(part in error for part in message.split("|"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "key, text", [("rates.random_shift", "0.5"), ("rates.horizontal_flip", "0.5"), (FEEDBACK, "false")]
)
def test_image_options_on_sequences(key, text):
    with pytest.raises(ValueError, match=key.rpartition(".")[2]):
        patched(RATES["vowels"], {key: text})


def test_baud_needs_port(done):
    assert "give --port too" in error_of("evaluate", done / NETWORK, "--baud", 9600)


def test_gradient_of_network_is_untrained(done):
    pytest.importorskip("torch")
    for option in (("--epochs", 2), ("--seed", 1), ("--hidden", 4), ("--set", "phases.free=9")):
        message = error_of("gradient", "--network", done / NETWORK, *option)
        assert (
            "--network" in message
            and f"leave out {'--epochs' if option[1] in (1, 2) else '--hidden'}" in message
        )


def test_folder_of_a_run_is_its_network(done, tmp_path):
    assert json_of("evaluate", done) == json_of("evaluate", done / "network.npz")
    assert "network.npz" in error_of("evaluate", tmp_path)


# -- validation of files ---------------------------------------------------------------------------
GARBAGE = {
    "nothing": b"",
    "a list": b"[]",
    "null": b"null",
    "an empty object": b"{}",
    "nested deeply": b"[" * 200_000,
    "latin-1": '{"data": "é"}'.encode("latin-1"),
    "utf-16 of no JSON": "weights".encode("utf-16"),
    "NaN": b'{"data": NaN}',
}

#: keys of a history.json, their values, part of the error
WRONG = [
    (("epochs", 0, "counter"), ["abc", 1.5, None, -1, 1 << 70, True], "epochs[0]"),
    (("epochs", 0, "test_accuracy"), [None, "x", -0.1, 1.5, 1e999], "epochs[0]"),
    (("epochs", 0, "weights"), ["", 3, "z" * 64, "A" * 64], "epochs[0].weights"),
    (("epochs", 0, "epoch"), [0, 2, "1"], "epochs[0]"),
    (("epochs", 0, "samples_per_second"), [None, -1.0], "epochs[0]"),
    (("epochs", 0), [None, [], 3], "epochs[0]"),
    (("epochs",), [None, {}, 3], "epochs"),
    (("marks",), [3, [{}], [None]], "marks"),
    (("seed",), [-1, "0", 0.5, None], "seed"),
    (("data",), ["zzz", 3, None], "data"),
    (("data_digest",), ["12", 5, None], "data_digest"),
    (("version",), [3, [], None], "version"),
    (("preset",), [None, [], {}], "preset"),
    (("preset", "population", "hidden1", "size"), ["a", 0, 1.5], "preset.population.hidden1.size"),
    (("preset", "population"), [3, None, {}], "preset"),
    (("preset", "loading"), [3, {"n_pos": 1}], "preset.loading"),
    (("surprise",), [1], "surprise"),
    # earlier names
    (("preset", "learning", "eta"), [0.05], "preset.learning.eta"),
    (("preset", "hidden"), [[8]], "preset.hidden"),
    (("epochs", 0, "eta"), [0.05], "epochs[0] has eta"),
]


@pytest.mark.parametrize("kind", GARBAGE)
@pytest.mark.parametrize(
    "command", [("train", "--resume", "--out", "{}"), ("report", "{}"), ("train", "--out", "{}")]
)
def test_invalid_history(kind, command, done):
    (done / HISTORY).write_bytes(GARBAGE[kind])
    message = error_of(*(a.format(done) for a in command))
    assert f"{done / HISTORY} is not a training history of equilif: " in message


@pytest.mark.parametrize(
    "key, values, named", WRONG, ids=lambda v: ".".join(map(str, v)) if v and isinstance(v, tuple) else ""
)
def test_invalid_history_value(key, values, named, done):
    raw = json.loads((done / HISTORY).read_text())
    for value in values:
        wrong = copy.deepcopy(raw)
        at: Any = wrong
        for step in key[:-1]:
            at = at[step]
        at[key[-1]] = value
        (done / HISTORY).write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match="history.json") as e:
            read_history(done / HISTORY)
        assert named in str(e.value) and str(done / HISTORY) in str(e.value) and "\n" not in str(e.value)
        assert len(str(e.value)) < 400
        assert str(done / HISTORY) in error_of("train", "--resume", "--out", done)


def test_invalid_marks(done):
    raw = json.loads((done / HISTORY).read_text())
    weights = raw["epochs"][0]["weights"]
    mark = {
        "samples": 10,
        "hits": 5,
        "spikes": 9,
        "seconds": 1.0,
        "counter": 40,
        "weights": weights,
        "steps": 3,
    }
    for change in (
        {"samples": -500},
        {"samples": 10.5},
        {"hits": 11},
        {"counter": 1 << 32},
        {"seconds": None},
    ):
        edited(done, epochs=[], marks=[{**mark, **change}])
        assert "marks[0]" in error_of("train", "--resume", "--out", done)
    edited(done, epochs=[], marks=[mark, {**mark, "samples": 9}])
    assert "marks[1].samples must be at least 10, not 9" in error_of("train", "--resume", "--out", done)
    edited(done, epochs=[], marks=[{**mark, "samples": 2000}])
    message = error_of("train", "--resume", "--out", done)
    assert "marks[0].samples is 2000" in message


def test_settings_round_trip():
    for preset in (*PRESETS.values(), *RATES.values()):
        assert Description.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


@pytest.fixture(scope="module")
def by_rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a small rate-based run."""
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("by_rates")
    run("train-rates", "digits", "--hidden", 4, "--epochs", 1, "--out", out)
    return content(out)


def _spoilt(saved: dict[str, Any], kind: str) -> Any:
    """An invalid checkpoint."""
    import torch

    state = saved["state"]
    weights = next(iter(state["model"].values()))
    moments = state["optimiser"]["state"][0]
    if kind == "a list":
        return []
    if kind in saved:
        return {name: value for name, value in saved.items() if name != kind}
    if kind == "other sizes":
        state["model"] = {name: value[..., :1] for name, value in state["model"].items()}
    elif kind == "a weight that is no number":
        weights[0, 0] = torch.nan
    elif kind == "another shape":
        moments["exp_avg"] = torch.zeros(3, 3)
    elif kind == "steps":
        state["decay"]["last_epoch"] = "x"
    elif kind == "no moments":
        state["optimiser"] = {}
    elif kind == "surprise":
        saved["surprise"] = 1
    return saved


FAULTS = ("a list", "state", "other sizes", "a weight that is no number", "another shape", "steps")


@pytest.mark.parametrize("kind", [*FAULTS, "no moments", "surprise", "epochs"])
def test_invalid_checkpoint(kind, by_rates, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "rates.pt"
    path.write_bytes(by_rates[path.name])
    (tmp_path / HISTORY).write_bytes(by_rates[HISTORY])
    torch.save(_spoilt(torch.load(path, weights_only=True), kind), path)
    for command in (("train-rates", "--resume", "--epochs", 2, "--out", tmp_path), ("deploy", tmp_path)):
        assert f"{path} is not a checkpoint of this run: " in error_of(*command)


def test_checkpoint_of_other_run(by_rates, tmp_path):
    torch = pytest.importorskip("torch")
    for name, text in by_rates.items():
        (tmp_path / name).write_bytes(text)
    path = tmp_path / "rates.pt"
    saved = torch.load(path, weights_only=True)
    for epochs, scale in ((1, -1.0), (2, 1.0)):
        state = saved["state"]
        model = {name: value * scale for name, value in state["model"].items()}
        torch.save({"epochs": epochs, "state": {**state, "model": model}}, path)
        assert f"{path} is not from the run of" in error_of(
            "train-rates", "--resume", "--epochs", 2, "--out", tmp_path
        )


@pytest.mark.parametrize("text", [b"", b"x", b"[" * 100_000, b"\x80\x02c"])
def test_checkpoint_of_other_kind(text, by_rates, tmp_path):
    pytest.importorskip("torch")
    (tmp_path / HISTORY).write_bytes(by_rates[HISTORY])
    (tmp_path / "rates.pt").write_bytes(text)
    assert "is not a checkpoint of this run: " in error_of("train-rates", "--resume", "--out", tmp_path)


def test_resume_names_command(by_rates, done, tmp_path):
    for name, text in by_rates.items():
        (tmp_path / name).write_bytes(text)
    assert "equilif train-rates" in error_of("train", "--resume", "--epochs", 2, "--out", tmp_path)
    assert "rates.pt" in error_of("train-rates", "--resume", "--epochs", 2, "--out", done)
    assert content(tmp_path).items() >= by_rates.items()
