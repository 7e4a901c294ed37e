"""TensorBoard files, read back record by record."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from equilif.training.storage.history import HISTORY, NETWORK
from equilif_golden import network
from tests.cli import error_of, run

pytest.importorskip("tensorboardX")


def values(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag; for histograms the number of weights."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        at = 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)  # followed by a checksum and the record
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 16 + length
            for v in event.summary.value:
                number = v.histo.num if v.HasField("histo") else v.simple_value
                found.setdefault(v.tag, []).append((event.step, number))
    return found


def test_curves_and_weights(tmp_path):
    out = tmp_path / "out"
    board = tmp_path / "board" / "one"
    run("train", "digits", "--hidden", 6, "--epochs", 2, "--out", out, "--set", f"run.tensorboard={board}")
    run("train", "--resume", "--epochs", 3, "--out", out, "--set", f"run.tensorboard={board}")
    found = values(board)
    epochs = json.loads((out / HISTORY).read_text())["epochs"]
    for tag, name in (
        ("accuracy/test", "test_accuracy"),
        ("accuracy/training", "train_accuracy"),
        ("rate/learning", "learning_rate"),
        ("spikes/sample", "spikes_per_sample"),
    ):
        assert [step for step, _ in found[tag]] == [1, 2, 3]
        assert [v for _, v in found[tag]] == pytest.approx([e[name] for e in epochs])
    assert [v for _, v in found["error/test"]] == pytest.approx([1 - e["test_accuracy"] for e in epochs])
    _, weights = network.load(out / NETWORK)
    for name, w in weights.items():
        assert [n for _, n in found[f"weights/{name}"]] == [w.size] * 3
        assert all(0 <= part <= 1 for _, part in found[f"saturation/{name}"])


def test_rate_loss(tmp_path):
    pytest.importorskip("torch")
    board = tmp_path / "board"
    base = (
        "train-rates",
        "digits",
        "--epochs",
        1,
        "--set",
        "rates.batch_size=512",
        "--out",
        tmp_path / "out",
    )
    run(*base, "--hidden", 4, "--set", f"run.tensorboard={board}")
    found = values(board)
    (epoch,) = json.loads((tmp_path / "out" / HISTORY).read_text())["epochs"]
    assert found["loss/training"] == [(1, pytest.approx(epoch["loss"]))]
    assert "weights/input-hidden1" in found
    run(*base, "--hidden", "conv:2", "--overwrite", "--set", f"run.tensorboard={tmp_path / 'conv'}")
    assert "weights/input-maps1" in values(tmp_path / "conv")


def test_unwritable_log_folder(tmp_path):
    (tmp_path / "file").write_text("")
    message = error_of(
        "train", "--epochs", 1, "--out", tmp_path / "out", "--set", f"run.tensorboard={tmp_path / 'file'}"
    )
    assert str(tmp_path / "file") in message
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
