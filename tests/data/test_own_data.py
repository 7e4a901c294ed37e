"""Own data: from file to trained network; errors of files."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import json
import re
import shutil
import struct
import sys
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import equilif
from equilif.data import formats, imported, own
from equilif.data.encoding import scaling, spans
from equilif.data.formats import Series
from equilif.data.own import parts as parts_of
from equilif.training.settings import presets
from equilif.training.storage.history import read_history
from equilif.training.storage.records import read_identity
from equilif_golden import network as networks
from equilif_golden.engine.compiler import engine_for
from tests.cli import json_of, refused
from tests.cli import run_line as run
from tests.data_files import blobs, events, nmnist, npz, shd
from tests.files import content, write_wav
from tests.networks import PHASES

Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
CLASSES = ("ape", "bee", "cow")
X = np.arange(40.0).reshape(10, 4)
Y = np.arange(10) % 2


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def json_output(line: str) -> dict[str, Any]:
    """JSON output of a successful command."""
    found: dict[str, Any] = json_of(*line.split())
    return found


# -- files -----------------------------------------------------------------------------------------


def write_table(path: str, header: list[str], rows: list[list[Any]], delimiter: str = ",") -> None:
    with Path(path).open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f, delimiter=delimiter)
        writer.writerows([header, *rows])


def table(path: str = "t.csv", *, delimiter: str = ",", seed: int = 0) -> str:
    x, y = blobs(seed=seed)
    rows = [[*r, CLASSES[k]] for r, k in zip(x.tolist(), y, strict=True)]
    write_table(path, ["a", "b", "c", "d", "kind"], rows, delimiter)
    return path


def images(path: str = "pictures", *, n: int = 10, kind: str = "png", mode: str = "L", side: int = 6) -> str:
    rng = np.random.default_rng(1)
    for k, name in enumerate(CLASSES):
        (Path(path) / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 60, (side, side, 3) if mode == "RGB" else (side, side))
            pixels[2 * k : 2 * k + 2] += 180
            Image.fromarray(pixels.astype(np.uint8)).save(Path(path) / name / f"{i}.{kind}")
    return path


def parquet(path: str = "t.parquet") -> str:
    pyarrow = pytest.importorskip("pyarrow")
    module = pytest.importorskip("pyarrow.parquet")
    x, y = blobs()
    columns = {name: x[:, k] for k, name in enumerate("abcd")}
    module.write_table(pyarrow.table({**columns, "kind": [CLASSES[k] for k in y]}), path)
    return path


def parts(path: str = "parts.npz") -> str:
    x, y = blobs()
    return npz(path, x=None, y=None, x_train=x[:45], y_train=y[:45], x_test=x[45:], y_test=y[45:])


def image_parts(path: str = "both") -> str:
    images(f"{path}/train")
    images(f"{path}/test", n=3)
    return path


def series(n: int = 45, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Series (9 to 15 steps, 2) of three classes: a bump at the beginning, in the middle or at the end."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    out = []
    for k in y:
        t = np.linspace(0, 2, rng.integers(9, 16))
        out.append(np.stack((np.exp(-8 * (t - k) ** 2), t), axis=1) + rng.normal(0, 0.05, (len(t), 2)))
    return out, y


def ragged(path: str = "r.npz", **changed: Any) -> str:
    x, y = series()
    off = np.cumsum([0, *map(len, x)])
    return npz(path, **{"x": np.concatenate(x), "offsets": off, "y": y, **changed})


def ts(path: str = "bumps_TRAIN.ts", *, seed: int = 0, head: str = "", line: str = "") -> str:
    x, y = series(seed=seed)
    rows = [
        ":".join(",".join(f"{v:.4f}" for v in channel) for channel in s.T) + f":{CLASSES[k]}"
        for s, k in zip(x, y, strict=True)
    ]
    return text(f"@problemName bumps\n{head}@data\n" + "\n".join([*rows, line]), path)


def ts_parts() -> str:
    ts("bumps_TEST.ts", seed=1)
    return ts()


def sounds(path: str = "sounds", *, n: int = 8, rate: int = 4000, width: int = 2, channels: int = 1) -> str:
    """Tones of three pitches with different lengths and amplitudes."""
    rng = np.random.default_rng(2)
    for k, name in enumerate(CLASSES):
        (Path(path) / name).mkdir(parents=True)
        for i in range(n):
            t = np.arange(rng.integers(rate // 8, rate // 4)) / rate
            tone = rng.uniform(0.3, 0.9) * np.sin(2 * np.pi * (200 + 500 * k) * t)
            write_wav(Path(path) / name / f"{i}.wav", tone, rate, width, channels)
    return path


def gestures(path: str = "seen", n: int = 6) -> str:
    """Arrays in the format of DVS Gesture from tonic: x, y, polarity, milliseconds."""
    pytest.importorskip("tonic")
    rng = np.random.default_rng(5)
    for part, i, k in itertools.product(("Train", "Test"), range(n), range(3)):
        x, y, t, p = events(k, rng).T
        folder = Path(path) / "DVSGesture" / f"ibmGesture{part}" / f"user{i:02}_led"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{k}.npy", np.stack((3 * x, 3 * y, p, t // 1000), axis=1))
    return f"{path}/DVSGesture"


REVIEWS = ("a good and kind film", "good, kind and warm", "a bad and dull film", "dull, bad and cold")


def reviews(path: str = "r.tsv", n: int = 40, more: str = "") -> str:
    rows = [f"{i}\t{REVIEWS[i % 4]} {i}\t{'yes' if i % 4 < 2 else 'no'}" for i in range(n)]
    return text("number\treview\tliked\n" + "\n".join(rows) + "\n" + more, path)


def review_table(path: str = "r.parquet") -> str:
    pyarrow = pytest.importorskip("pyarrow")
    module = pytest.importorskip("pyarrow.parquet")
    columns = {"review": [REVIEWS[i % 4] for i in range(40)], "liked": [i % 4 < 2 for i in range(40)]}
    module.write_table(pyarrow.table(columns), path)
    return path


def vectors(path: str = "v.txt") -> str:
    """Word vectors for the reviews; positive words on one side."""
    rng = np.random.default_rng(3)
    sides = {"good": 2, "kind": 2, "warm": 2, "bad": -2, "dull": -2, "cold": -2, "film": 0, "and": 0}
    lines = []
    for word, side in sides.items():
        values = rng.normal(0, 0.3, 8)
        values[:2] += side
        lines.append(f"{word} {' '.join(f'{v:.3f}' for v in values)}")
    return text("\n".join(lines), path)


R = "--set data.text=review --label liked"


FORMATS: dict[str, tuple[Callable[[], str], str]] = {
    "csv": (table, "--label kind"),
    "semicolons": (lambda: table(delimiter=";"), "--label kind"),
    "tsv": (lambda: table("t.tsv", delimiter="\t"), "--label kind"),
    "parquet": (parquet, "--label kind"),
    "npz": (npz, "--set data.test_fraction=0.3"),
    "npz of two parts": (parts, ""),
    "npz of images": (lambda: npz(x=RNG.random((60, 5, 5)) / 3 + np.arange(60)[:, None, None] % 3 / 3), ""),
    "npz of texts": (lambda: npz(y=np.array(CLASSES)[np.arange(60) % 3]), ""),
    "png": (images, ""),
    "jpeg": (lambda: images(kind="jpg", mode="RGB"), ""),
    "png of two parts": (image_parts, ""),
    "npz of series": (ragged, ""),
    "ts": (ts, ""),
    "ts of two parts": (ts_parts, ""),
    "wav": (sounds, ""),
    "wav of 24 bits in stereo": (lambda: sounds(width=3, channels=2), ""),
    "events of N-MNIST": (nmnist, ""),
    "events of DVS Gesture": (gestures, ""),
    "events of SHD": (shd, ""),
    "texts": (reviews, R),
    "texts in parquet": (review_table, R),
    "series in a memory": (ts_parts, "--set data.attention=true"),
    "wav in a memory": (sounds, "--set data.attention=true"),
    "texts in a memory": (
        lambda: (vectors(), reviews())[1],
        f"{R} --set data.attention=true --set data.word_vectors=v.txt",
    ),
}


# -- from file to trained network ------------------------------------------------------------------
@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", FORMATS)
def test_train_and_evaluate(name):
    make, options = FORMATS[name]
    train_and_evaluate(make(), options)


def train_and_evaluate(path, options):
    seen = json_output(f"inspect {path} {options}")
    epochs = 20 if "data.attention" in options else 8
    trained = json_output(f"train {path} {options} --hidden 16 --epochs {epochs} --out run")
    assert trained["accuracy"] > 0.7, "the classes are easy to tell apart"
    assert trained["data_digest"] == seen["digest"] == trained["about"]["digest"]
    assert seen["training"] + seen["test"] == sum(c["training"] + c["test"] for c in seen["classes"].values())
    network, _ = networks.load("run/network.npz")
    assert network.n_inputs == seen["inputs"] and network.n_outputs == len(seen["classes"]) in (2, 3)
    for again in ("", path):
        found = json_output(f"evaluate run/network.npz {again}")
        assert found["accuracy"] == trained["accuracy"] and found["samples"] == seen["test"]
        assert found["labels"] == list(seen["classes"])


class JsonLines:
    """A format that only this test knows: a sample a line, values and class."""

    name = "jsonl"
    what = "a .jsonl file"
    labelled = False

    def claims(self, path):
        return path.suffix == ".jsonl"

    def read(self, path, columns):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return formats.Content(
            formats.Part(np.array([r["x"] for r in rows]), np.array([r["y"] for r in rows]))
        )


def test_a_new_format_needs_no_other_file(monkeypatch):
    """See docs/how_to/add_a_data_format.md."""
    module = types.ModuleType("equilif.data.formats.jsonl")
    module.JsonLines = JsonLines
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, imported("formats.jsonl.JsonLines")()))
    x, y = blobs()
    lines = [json.dumps({"x": r, "y": CLASSES[k]}) for r, k in zip(x.tolist(), y, strict=True)]
    Path("t.jsonl").write_text("\n".join(lines))
    train_and_evaluate("t.jsonl", "")
    assert "no t.unknown" in refused("inspect t.unknown")
    Path("t.unknown").touch()
    assert JsonLines.what in refused("inspect t.unknown")


def test_class_names_in_confusion_matrix():
    run(f"train {table()} --label kind --hidden 8 --epochs 1 --out run")
    printed = run("evaluate run/network.npz")
    assert all(name in printed for name in CLASSES)


def test_second_file_is_test_set():
    table("more.csv", seed=1)
    found = json_output(
        f"train {table()} --set data.test=more.csv --label kind --hidden 8 --epochs 3 --out run"
    )
    history = read_history(Path("run/history.json"))
    assert history.about is not None and history.about.test == str(Path("more.csv").resolve())
    assert history.about.test_fraction is None
    assert json_output("evaluate run/network.npz")["samples"] == 60
    assert json_output("evaluate run/network.npz more.csv")["accuracy"] == found["accuracy"]


def test_column_order():
    run(f"train {table()} --label kind --hidden 8 --epochs 3 --out run")
    with Path("t.csv").open(newline="") as f:
        rows = [[r["kind"], r["d"], r["c"], r["b"], r["a"]] for r in csv.DictReader(f)]
    write_table("turned.csv", ["kind", "d", "c", "b", "a"], rows)
    shutil.copy("t.csv", "same.csv")
    write_table("all.csv", ["kind", "d", "c", "b", "a"], rows[:59])
    assert json_output("evaluate run/network.npz same.csv")["samples"] == 12, "the data of its training"
    turned = json_output("evaluate run/network.npz turned.csv")
    assert turned == {**json_output("evaluate run/network.npz t.csv")}
    assert json_output("evaluate run/network.npz all.csv")["samples"] == 59


def test_evaluation_keeps_scaling():
    """A file of one class and another range uses the scaling of the training set and reports clipping."""
    run(f"train {table()} --label kind --hidden 8 --epochs 3 --out run")
    about = read_identity(Path("run/network.npz"))
    assert about is not None
    x = np.array([[50.0, 20, 20, 20], [1000.0, 20, 20, 20]])
    write_table("other.csv", ["a", "b", "c", "d", "kind"], [[*r, "ape"] for r in x.tolist()])
    seen = own.samples(about, Path("other.csv"))
    assert seen.clipped == 1 and seen.x[1, 0] == 255
    assert (seen.x == about.scaling.apply(x, "x").x).all()
    assert json_output("evaluate run/network.npz other.csv")["samples"] == 2


def test_resume_after_file_moved():
    whole = json_output(f"train {table()} --label kind --hidden 8 --epochs 2 --out whole")
    json_output("train t.csv --label kind --hidden 8 --epochs 2 --out run")
    Path("t.csv").rename("moved.csv")
    assert "give the path" in refused("train --resume --out run --epochs 3")
    table("other.csv", seed=2)
    assert "other.csv" in refused("train other.csv --resume --out run --epochs 3")
    longer = json_output("train moved.csv --resume --out run --epochs 3")
    assert longer["data"] == "t.csv" and len(longer["epochs"]) == 3
    assert [e["weights"] for e in longer["epochs"][:2]] == [e["weights"] for e in whole["epochs"]]
    assert longer["about"]["path"] == str(Path("moved.csv").resolve())


def test_training_options_on_own_data():
    phases = PHASES | {"contrast": "phases"}  # the contrast of errors has no nudged phases
    found = json_output(
        f"train {images()} --hidden 8 --hidden 6 --epochs 1 --set learning.learning_rate=0.03 "
        "--set learning.decay=0.5 --set learning.random_shift=0.5 "
        f"{' '.join(f'--set phases.{name}={value}' for name, value in phases.items())} --seed 3 --out run",
    )
    assert (
        found["preset"]["learning"]["random_shift"] == 0.5
        and found["seed"] == 3
        and found["sizes"] == "36-8-6-3"
    )


def test_verify_on_own_data(monkeypatch):
    pytest.importorskip("equilif.hardware.verify")
    seen = []

    def stop(title, network, weights, config, data, plan, *more, **options):
        seen.append((network, data))
        raise ValueError("seen")

    monkeypatch.setattr("equilif.show.hardware.compare", stop)
    refused(f"verify {table()} --label kind --samples 2")
    network, data = seen[0]
    assert network.n_inputs == 4 and data.about.labels == CLASSES
    run("train t.csv --label kind --hidden 8 --epochs 1 --out run")
    refused("verify t.csv --label kind --network run/network.npz")
    assert seen[1][0].shape(seen[1][0].synapses[0]) != network.shape(network.synapses[0])
    error = refused("verify t.csv --label kind --set data.test_fraction=0.5 --network run/network.npz")
    assert "in another split" in error and len(seen) == 2


@pytest.mark.long
def test_rtl_and_golden_model_agree_on_own_data():
    pytest.importorskip("equilif.hardware.verify")
    run(f"verify {table()} --label kind --samples 5")


def test_rate_training_on_own_data():
    pytest.importorskip("torch")
    line = "train-rates t.csv --label kind --hidden 8 --epochs"
    table()
    trained = json_output(f"{line} 3 --out whole")
    json_output(f"{line} 2 --out run")
    deployed = json_output("deploy run --samples 4 --steps 4")
    assert deployed["data"] == "t.csv" and deployed["sizes"] == "4-8-3"
    assert json_output("evaluate run/network.npz")["labels"] == list(CLASSES)
    assert "leave out --label" in refused("train-rates --resume --out run --label kind")
    Path("t.csv").rename("moved.csv")
    assert "give the path" in refused("train-rates --resume --out run --epochs 3")
    longer = json_output("train-rates moved.csv --resume --out run --epochs 3")
    assert longer["data"] == "t.csv" and longer["data_digest"] == trained["data_digest"]


def test_own_data_in_all_commands():
    pytest.importorskip("torch")
    images(n=4)
    found = json_output("recall pictures --stored 8 --out recalled")
    assert found["data"] == "pictures" and found["stored"] == 8 and found["pixels"] == 36
    table()
    reports = json_output("gradient t.csv --label kind --epochs 1 --samples 9")["reports"]
    assert list(reports) == ["untrained", "1 epoch"]
    run("train t.csv --label kind --hidden 4 --epochs 1 --out run")
    reports = json_output("gradient t.csv --label kind --network run/network.npz --samples 9")["reports"]
    assert list(reports) == ["network.npz"]


def test_other_sampling_rate_or_image_shape():
    run(f"train {sounds()} --hidden 4 --epochs 1 --out heard")
    sounds("fast", rate=8000)
    images("tall", n=4)
    run("train tall --hidden 4 --epochs 1 --out seen")
    for name in CLASSES:
        for file in Path("tall", name).iterdir():
            with Image.open(file) as image:
                image.resize((4, 9)).save(file)
    Path("tall").rename("wide")
    assert "resample, at the same rate" in refused("evaluate heard/network.npz fast")
    assert "resample, at the same rate" in refused("train sounds --set data.test=fast --out other")
    assert "shape (9, 4), those of training (6, 6)" in refused("evaluate seen/network.npz wide")


def test_attention_shows_words():
    vectors()
    run(
        f"train {reviews()} {R} --set data.attention=true --set data.word_vectors=v.txt "
        "--hidden 8 --epochs 1 --out run"
    )
    found = json_output("attention run/network.npz --sample 0")
    assert found["data"] == "r.tsv"
    assert set(found["samples"][0]["tokens"]) <= set("good kind warm bad dull cold film and".split())


@pytest.mark.parametrize("more", ["", "--set data.attention=true --set data.word_vectors=v.txt"])
def test_texts_without_a_known_word(more):
    """They are counted, in training data and in other ones."""
    vectors()
    reviews(more="900\tzzz\tyes\n" * 9)
    run(f"train r.tsv {R} {more} --hidden 4 --epochs 1 --out run")
    text("number\treview\tliked\n1\tgood film\tyes\n2\tqqq\tno\n3\txxx yyy\tno\n", "other.tsv")
    assert "2 texts have no word" in run("evaluate run/network.npz other.tsv")
    found = json_output(f"inspect r.tsv {R} {more}")
    assert any(("9 texts have none" in note) == bool(more) for note in found["notes"])
    assert ("texts have no word" in run("evaluate run/network.npz")) == bool(more)


# -- inspect ---------------------------------------------------------------------------------------
def test_inspect_output():
    x, y = blobs()
    rows = [[*r, 7, k - 1.5, CLASSES[c]] for r, k, c in zip(x.tolist(), range(60), y, strict=True)]
    rows[3][1] = ""
    write_table("t.csv", ["a", "b", "c", "d", "same", "signed", "kind"], rows)
    found = json_output("inspect t.csv --label kind --set data.missing=mean")
    assert found["inputs"] == 4 + 2 and found["left_out"] == ["'same'"] and found["missing"] == 1
    assert {c["becomes"] for c in found["columns"]} == {"range", "constant", "rails"}
    assert found["network"] == [6, 128, 3] and found["classes"]["ape"] == {"training": 16, "test": 4}
    printed = run("inspect t.csv --label kind --set data.missing=mean")
    for part in ("left out, because they never change", "two rails", "1 missing values filled"):
        assert part in printed


def test_inspect_draws_images():
    pytest.importorskip("matplotlib")
    found = json_output(f"inspect {images(mode='RGB')} --out seen")
    assert found["files"] == ["samples.png"] and found["shape"] == [6, 6, 3]
    with Image.open("seen/samples.png") as drawn:
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20
    assert sorted(p.name for p in Path().iterdir()) == ["pictures", "seen"]


@pytest.mark.parametrize("make, options", [(ts_parts, ""), (table, "--label kind"), (nmnist, "")])
def test_inspect_draws_series_tables_and_events(make, options):
    pytest.importorskip("matplotlib")
    assert json_output(f"inspect {make()} {options} --out drawn")["files"] == ["samples.png"]
    with Image.open("drawn/samples.png") as drawn:
        assert len(np.unique(np.asarray(drawn.convert("L")))) > 20


def test_inspect_texts():
    printed = run(f"inspect {reviews()} {R} --out drawn")
    assert "yes: a good and kind film" in printed and "no: a bad and dull film" in printed
    assert "texts are not drawn" in printed and not Path("drawn").exists()


def test_skipped_images_are_reported():
    images()
    Path("pictures/ape/notes.txt").write_text("x")
    Path("pictures/ape/.hidden").write_text("x")
    assert any(note.startswith("1 files") for note in json_output("inspect pictures")["notes"])


# -- split -----------------------------------------------------------------------------------------
def test_split_is_stratified_and_deterministic():
    y = np.repeat([0, 1, 2], [50, 20, 4])
    train, held = parts_of.split(y, 0.2, CLASSES)
    assert np.bincount(y[held]).tolist() == [10, 4, 1]
    assert sorted([*train, *held]) == list(range(74))
    assert (parts_of.split(y, 0.2, CLASSES)[1] == held).all()
    assert [len(part) for part in parts_of.split(np.array([0, 0, 1, 1]), 0.9, ("a", "b"))] == [2, 2]


def test_too_many_columns():
    """The data record of a network must fit into its file."""
    pyarrow = pytest.importorskip("pyarrow")
    module = pytest.importorskip("pyarrow.parquet")
    x, y = blobs()
    module.write_table(pyarrow.table({"a" * (5 << 20): x[:, 0], "b": x[:, 1], "kind": y}), "t.parquet")
    error = refused("train t.parquet --label kind")
    assert "shorter names" in error and not Path("results").exists()


# -- scaling ---------------------------------------------------------------------------------------
def fitted(x: Any, **options: Any) -> scaling.FittedScaling:
    x = np.asarray(x)
    return scaling.fit(x, (), **{"alike": False, "missing": "refuse", **options})


def test_uint8_images_are_unchanged():
    x = RNG.integers(0, 256, (50, 9), dtype=np.uint8)
    s = fitted(x, alike=True)
    assert s.kind == "bytes" and (s.apply(x, "x").x == x).all()


def test_float_images_are_scaled():
    x = np.linspace(0, 1, 60).reshape(10, 6)
    s = fitted(x, alike=True)
    assert s.kind == "common" and (s.apply(x, "x").x == np.floor(x * 255 + 0.5)).all()


def test_pixel_table_has_one_scale():
    x = np.tile(np.arange(17.0), (20, 1))
    x[::2] = x[::2, ::-1]
    x[:, 0] = np.arange(20) % 17
    s = fitted(np.minimum(RNG.integers(0, 17, (60, 20)), 16).astype(float))
    assert s.kind == "common" and s.columns[0].high == 16


def test_signed_column_has_two_rails():
    s = fitted([[-4.0], [0.0], [2.0], [4.0]])
    assert s.n_inputs == 2
    assert s.apply(np.array([[-4.0], [2.0], [0.0]]), "x").x.tolist() == [[0, 255], [128, 0], [0, 0]]


def test_negative_column_scaling():
    s = fitted([[-4.0], [-3.0], [-2.0], [0.0]])
    assert s.apply(np.array([[-4.0], [0.0]]), "x").x.tolist() == [[0], [255]]


def test_outlier_scaling():
    x = np.append(np.linspace(0, 1, 99), 1e6)[:, None]
    seen = fitted(x).apply(x, "x")
    assert seen.clipped == 1 and seen.x[:99].max() > 50


def test_missing_values_are_training_means():
    s = fitted([[0.0], [4.0], [np.nan]], missing="mean")
    assert s.apply(np.array([[np.nan]]), "x").x.tolist() == [[128]]


def test_scaling_is_fitted_on_training_samples():
    x, y = blobs()
    other = own.of(x[:45], y[:45], 100 * x[45:], y[45:])
    same = own.of(x[:45], y[:45], x[45:], y[45:])
    assert other.about.scaling == same.about.scaling
    assert (other.x_train == same.x_train).all()


def test_resampling_of_series():
    x = Series.of([np.arange(8.0)[:, None], np.array([[1.0], [5.0]])])
    assert spans(x, 4).tolist() == [[0.5, 2.5, 4.5, 6.5], [1, 1, 5, 5]]
    assert spans(x, 3)[0].tolist() == [0.5, 3, 6]


def test_missing_step_affects_one_span():
    x = Series.of([np.array([[1.0, 2.0], [np.nan, 4.0], [np.nan, 6.0], [7.0, 8.0]])] * 2)
    assert spans(x, 2)[0].tolist() == [1, 3, 7, 7]
    assert np.isnan(spans(x, 4)[0]).tolist() == [False, False, True, False, True, False, False, False]


def test_constant_channel_is_dropped():
    rng = np.random.default_rng(0)
    x = [np.stack((rng.normal(size=n), np.full(n, 0.1)), axis=1) for n in rng.integers(9, 40, 30)]
    data = own.of(x, np.arange(30) % 2)
    steps = data.about.encoding.steps
    assert data.n_features == 2 * steps and len(data.about.scaling.dropped) == steps
    tokens = own.of(x, np.arange(30) % 2, attention=True)
    assert [c.kind for c in tokens.about.scaling.columns] == ["range", "constant"]
    assert not (tokens.tokens_train.table[:, 1]).any()


def test_series_with_missing_steps():
    found = json_output(f"inspect {ts(line='1,?,2,3:1,1,1,1:ape')} --set data.missing=mean")
    assert found["missing"] == 1 and found["columns"][0]["missing"] == 1
    found = json_output("inspect bumps_TRAIN.ts --set data.missing=mean --set data.attention=true")
    assert found["missing"] == 1


# -- in Python -------------------------------------------------------------------------------------
def frame(**changed: Any) -> Any:
    pandas = pytest.importorskip("pandas")
    x, y = blobs()
    kinds = [CLASSES[k] for k in y]
    return pandas.DataFrame({**{n: x[:, k] for k, n in enumerate("abcd")}, "kind": kinds, **changed})


def pandas_array(values: list[Any]) -> Any:
    return pytest.importorskip("pandas").array(values, dtype="Int64")


def test_pandas_equals_csv():
    table = frame()
    table.to_csv("t.csv", index=False)
    data = own.of(table, label="kind")
    assert data.digest == own.load("t.csv", label="kind").digest and data.about.labels == CLASSES
    y = table.pop("kind")
    assert own.of(table, y).digest == data.digest
    turned = own.of(table[:45], y[:45], table[45:][["d", "c", "b", "a"]], y[45:])
    assert turned.digest == own.of(table[:45], y[:45], table[45:], y[45:]).digest
    assert turned.about.scaling.names == tuple("abcd")


def test_pandas_missing_values():
    pandas = pytest.importorskip("pandas")
    table = frame(a=pandas.array([None, *range(59)], dtype="Int64"))
    with pytest.raises(ValueError, match=r"\b1\b"):
        own.of(table, label="kind")
    assert own.of(table, label="kind", missing="mean").about.scaling.columns[0].kind == "range"


def test_torch_dataset_equals_arrays():
    torch = pytest.importorskip("torch")
    x, y = blobs()
    pairs = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
    assert own.of(pairs).digest == own.of(x, y).digest == own.of(torch.tensor(x), torch.tensor(y)).digest
    halves = torch.utils.data.random_split(pairs, [45, 15], torch.Generator().manual_seed(0))
    at = halves[0].indices
    held = halves[1].indices
    assert own.of(halves[0], x_test=halves[1]).digest == own.of(x[at], y[at], x[held], y[held]).digest


def test_torch_image_layout():
    torch = pytest.importorskip("torch")
    x = np.round(RNG.random((12, 5, 4, 3)), 3)
    y = np.arange(12) % 2
    colour = [(torch.tensor(np.moveaxis(image, -1, 0)), k) for image, k in zip(x, y, strict=True)]
    grey = [(torch.tensor(image[None, ..., 0]), k) for image, k in zip(x, y, strict=True)]
    assert own.of(colour).digest == own.of(x, y).digest and own.of(colour).about.shape == (5, 4, 3)
    assert own.of(grey).about.shape == (5, 4)


def test_lists_equal_files():
    x, y = series()
    assert own.of(x, y).digest == own.load(ragged()).digest
    texts = [f"{REVIEWS[i % 4]} {i}" for i in range(40)]
    liked = ["yes" if i % 4 < 2 else "no" for i in range(40)]
    data = own.of(texts, liked)
    assert data.digest == own.load(reviews(), label="liked", text="review").digest
    pandas = pytest.importorskip("pandas")
    both = pandas.DataFrame({"said": texts, "liked": liked})
    assert own.of(both, label="liked", text="said").digest == data.digest


GIVEN: dict[str, tuple[Callable[[], Any], str]] = {
    "no classes": (lambda: own.of(X), "classes.*x.*y"),
    "no pairs": (lambda: own.of([[1, 2, 3]] * 4), "item 0.*x"),
    "nothing": (lambda: own.of([]), "^x .*sample"),
    "label of an array": (lambda: own.of(X, Y, label="kind"), "label.*DataFrame"),
    "no label": (lambda: own.of(frame()), "label.*y:"),
    "no such column": (lambda: own.of(frame(), label="sort"), "'sort'.*a, b, c, d, kind"),
    "classes twice": (lambda: own.of(frame(), np.arange(60) % 3, label="kind"), "label.*y:"),
    "texts as numbers": (
        lambda: own.of(frame(a=["x"] * 60), label="kind"),
        "'a'.*'x'",
    ),
    "no class": (
        lambda: own.of(frame(kind=[None, *["a", "b"] * 29, "a"]), label="kind"),
        "sample 0 .*kind",
    ),
    "no class of pandas": (
        lambda: own.of(frame(kind=pandas_array([None, *([1, 2] * 30)[:59]])), label="kind"),
        "sample 0 .*kind",
    ),
    "no text": (lambda: own.of(frame(a=["", *["x"] * 59]), label="kind", text="a"), "row 0 .*'a'"),
    "empty table": (lambda: own.of(frame()[:0], label="kind"), "^x .*sample"),
    "other columns": (lambda: own.of(frame(), x_test=frame(e=1), label="kind"), "x_test.*columns"),
    "an array to test": (lambda: own.of(frame(), x_test=X, label="kind"), "x_test.*columns"),
    "half a test": (lambda: own.of(X, Y, X), "x_test.*y_test"),
    "empty text": (lambda: own.of(["a b", " "], [0, 1]), "^x .*sample 1"),
    "series of words": (lambda: own.of([["a"], ["b", "c"]], [0, 1]), "series 0 .*<U1"),
    "series of other channels": (lambda: own.of([X[:2], X[:3, :2]], [0, 1]), "series 1 .*shape"),
    "series and other classes": (lambda: own.of([X[:2], X[:3]], [0]), r"^y .*\(2,\).*\(1,\)"),
    "series to test": (lambda: own.of([X[:2], X[:3]] * 4, Y[:8], ["a", "b"], [0, 1]), "^x_test .*series"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_invalid_arrays(name):
    make, message = GIVEN[name]
    with pytest.raises(ValueError, match=message):
        make()


#: labels of six samples, repeated: class names, or part of the error
LABELS: dict[str, tuple[list[Any], tuple[str, ...] | str]] = {
    "numbers": ([2, 10, 0] * 2, ("0", "2", "10")),
    "whole floats": ([2, 10.0, 0] * 2, ("0", "2", "10")),
    "texts": (["01", "1", "1e2"] * 2, ("01", "1", "1e2")),
    "NumPy's": ([np.int8(3), np.float32(4), np.array(5)] * 2, ("3", "4", "5")),
    "bytes": ([b"ape", "b\u00e9e".encode(), b"cow"] * 2, ("ape", "b\u00e9e", "cow")),
    "decomposed": (["e\u0301", "f"] * 3, ("f", "\u00e9")),
    "in two forms of Unicode": (["e\u0301", "\u00e9", "a"] * 2, "Unicode"),
    "bytes of no text": ([b"\xff", b"a", b"b"] * 2, "UTF-8"),
    "mixed": ([1, 1.0, "1"] * 2, "mixes"),
    "NaN": (["a", np.nan, "b"] * 2, "sample 1 "),
    "NaN that NumPy made a text": (["a", "nan", "b"] * 2, "missing"),
    "None": (["a", None, "b"] * 2, "sample 1 "),
    "masked": ([0, np.ma.masked, 1] * 2, "masked"),
    "one-hot": (list(np.eye(3, dtype=int)) * 2, "argmax"),
    "one-hot lists": ([[1, 0], [0, 1]] * 3, "argmax"),
    "dates": ([np.datetime64("2020-01-01", "ns"), np.datetime64("2021-01-01", "ns")] * 3, "datetime64"),
    "fractions": ([0, 0.5, 1] * 2, "0.5"),
}


def as_objects(classes: list[Any]) -> np.ndarray:
    return np.fromiter(classes, object, len(classes))


#: inputs with classes, ten samples per class
ENTRIES: dict[str, Callable[[list[Any]], Any]] = {
    "list": lambda y: own.of(blobs()[0], y),
    "array": lambda y: own.of(blobs()[0], as_objects(y)),
    "test part": lambda y: own.of(blobs()[0], y, blobs(seed=1)[0], y),
    "series": lambda y: own.of([np.full((2 + k % 3, 2), k) for k in range(60)], y),
    "texts": lambda y: own.of([f"word {k % 3}" for k in range(60)], y),
    "data set": lambda y: own.of(list(zip(blobs()[0], y, strict=True))),
    "column": lambda y: own.of(frame(kind=as_objects(y)), label="kind"),
}


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_classes_agree_across_inputs(entry, case):
    classes, wanted = LABELS[case]
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            ENTRIES[entry](classes * 10)
    else:
        assert ENTRIES[entry](classes * 10).about.labels == wanted


@pytest.mark.parametrize(
    "cells, wanted",
    [
        (("2", "10", "0"), ("0", "2", "10")),
        (("2.0", "10.0", "0.0"), ("0", "2", "10")),
        (("01", "1", "10"), ("01", "1", "10")),
        (("1e2", "100", "1"), ("1", "100", "1e2")),
        (("007", "7", "x"), ("007", "7", "x")),
        (("1.0", "x", "2"), ("1", "2", "x")),
        (("1.0", "1", "x"), None),
        (("e\u0301", "\u00e9", "x"), None),
    ],
)
def test_classes_of_table(cells, wanted):
    lines = "".join(f"{k},{cells[k % 3]}\n" for k in range(30))
    text("a,kind\n" + lines)
    if wanted is None:
        with pytest.raises(ValueError, match=r"t\.csv"):
            own.load("t.csv", label="kind")
    else:
        assert own.load("t.csv", label="kind").about.labels == wanted
        own.load("t.csv", label="kind", test=text("a,kind\n1," + cells[0] + "\n", "u.csv"))


@pytest.mark.parametrize(
    "header, label, named",
    [
        ("0,1,2", "2", True),
        ("1,2,3", "3", True),
        ("0,1,kind", "kind", True),
        ("5,7,kind", "kind", True),
        ("0,1,2", None, False),
        ("3,5,7", "7", False),
        ("1.5,2.5,x", "kind", False),
    ],
)
def test_numeric_header(header, label, named):
    text(header + "\n" + "".join(f"{k},{k % 5},{k % 2}\n" for k in range(20)))
    if named:
        data = own.load("t.csv", label=label)
        assert data.about.scaling.names == tuple(header.split(",")[:2])
        assert len(data.x_train) + len(data.x_test) == 20
    else:
        with pytest.raises(ValueError, match=r"t\.csv"):
            own.load("t.csv", label=label)


@pytest.mark.parametrize(
    "options",
    [{"missing": v} for v in ("median", "drop", True, None, 1)]
    + [{"attention": v} for v in ("yes", 1, None)]
    + [{"word_vectors": v} for v in (b"v.txt", 3, "")],
    ids=str,
)
def test_option_types(options):
    name, value = next(iter(options.items()))
    for make in (lambda: own.of(*blobs(), **options), lambda: own.load(npz(), **options)):
        with pytest.raises(ValueError, match=rf"\b{name} .*{re.escape(repr(value))}"):
            make()


@pytest.mark.parametrize("path", [None, b"t.npz", 3, ""], ids=repr)
def test_path_types(path):
    npz()
    for given in ({"path": path}, {"path": "t.npz", "test": path or ""}):
        with pytest.raises(ValueError, match=r"pathlib\.Path"):
            own.load(**given)


def test_array_kinds():
    torch = pytest.importorskip("torch")
    x, y = blobs()
    wanted = own.of(x, y).digest
    tensor = torch.tensor(x, requires_grad=True)
    for form in (tensor, list(tensor), np.ma.masked_array(x), x.tolist(), np.asfortranarray(x)):
        assert own.of(form, y).digest == wanted
    assert own.of(list(zip(tensor, torch.tensor(y), strict=True))).digest == wanted
    masked = np.ma.masked_greater(x, 50)
    for form in (masked, list(masked)):
        with pytest.raises(ValueError, match="masked"):
            own.of(form, y)
    with pytest.raises(ValueError, match="numbers"):
        own.of(np.full((60, 2), "2020-01-01", "M8[ns]"), y)
    with pytest.raises(ValueError, match="'a' holds '2020"):
        own.of(frame(a=np.full(60, "2020-01-01", "M8[ns]")), label="kind")


def test_series_of_equal_length():
    samples, y = series()
    alike = [s[:5] for s in samples]
    wanted = own.of(samples, y, alike[:1], y[:1])
    assert wanted.about.encoding.kind == "series" and len(wanted.x_test) == 1
    assert own.of(samples, y, np.stack(alike[:1]), y[:1]).digest == wanted.digest
    assert own.of(alike, y, samples[:9], y[:9]).about.encoding.kind == "series"


def test_exif_orientation():
    images()
    before = own.load("pictures")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # inverse transposition of each orientation
    for orientation, turn in turns.items():
        path = Path(f"pictures/ape/{orientation}.png")
        with Image.open(path) as image:
            changed = image.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = orientation
        changed.save(path, exif=exif)
    found = own.read("pictures")
    assert found.data.digest == before.digest
    assert any("7 images turned upright" in note for note in found.notes)


def test_public_names():
    x, y = blobs()
    assert equilif.make_data(x, y).digest == equilif.load_data(npz()).digest
    assert {"load_data", "make_data"} <= set(dir(equilif))


# -- wrong files -----------------------------------------------------------------------------------
def text(content: str | bytes, path: str = "t.csv") -> str:
    Path(path).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def good(n: int = 9) -> str:
    return "a,b,kind\n" + "".join(f"{k},{k * k},{'xyz'[k % 3]}\n" for k in range(n))


def pictures(change: Callable[[Path], object]) -> str:
    images()
    change(Path("pictures"))
    return "pictures"


def bomb(path: Path) -> None:
    """An image whose header claims 60,000 x 60,000 pixels."""
    png(path / "ape/0.png", 60_000, b"\x08\0", bytes(1000))


def deep(path: Path) -> None:
    """A 16-bit RGB image."""
    png(path / "ape/0.png", 6, b"\x10\x02", bytes(6 * (1 + 6 * 6)))


def png(path: Path, side: int, kind: bytes, pixels: bytes) -> None:
    """A PNG file; ``kind``: bit depth and colour type."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    header = side.to_bytes(4, "big") * 2 + kind + b"\0\0\0"
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def animated(path: Path) -> None:
    pictures = [Image.new("L", (6, 6), shade) for shade in (0, 9)]
    pictures[0].save(path / "ape/0.png", save_all=True, append_images=pictures[1:])


def deep_sound(path: Path) -> None:
    """A WAV file of integers of 64 bits."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 4000, 32_000, 8, 64)
    body = b"WAVE" + head + struct.pack("<4sI", b"data", 3200) + bytes(range(200)) * 16
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)


def noise(change: Callable[[Path], object]) -> str:
    """Recordings, one of them changed."""
    sounds()
    change(Path("sounds/bee/1.wav"))
    return "sounds"


TONE = np.sin(np.arange(800))
K = "--label kind"
#: by name: writer of a file, options, parts of the error
WRONG: dict[str, tuple[Callable[[], str], str, str]] = {
    "no such file": (lambda: "nowhere.csv", K, "there is no"),
    "no label said": (lambda: text(good()), "", "--label"),
    "empty file": (lambda: text(""), K, "t.csv"),
    "header alone": (lambda: text("a,b,kind\n"), K, "no samples"),
    "one column": (lambda: text("kind\nx\ny\n"), K, "one column"),
    "same name twice": (lambda: text("a,a,kind\n1,2,x\n"), K, "two columns 'a'"),
    "name missing": (lambda: text(",a,kind\n1,2,x\n"), K, "column 1 has no name"),
    "ragged line": (lambda: text(good() + "1,2\n"), K, "line 11"),
    "decimal comma": (lambda: text('a,b,kind\n"1,5",2,x\n'), K, "'a'"),
    "underscore": (lambda: text(good() + "1_0,2,x\n"), K, "'1_0'"),
    "missing value": (lambda: text(good() + ",2,x\n" * 3), K, "missing values"),
    "infinite": (lambda: text(good() + "1e999,2,x\n"), K, "infinite"),
    "beyond single precision": (lambda: text(good() + "1e308,2,x\n"), K, "beyond"),
    "tested on what it learned": (
        lambda: (table("u.csv"), table())[1],
        f"{K} --set data.test=u.csv",
        "u.csv",
    ),
    "no class": (lambda: text(good() + "1,2,\n"), K, "line 11"),
    "negative label": (lambda: text(good() + "1,2,-1\n"), K, "'kind'"),
    "a class a sample": (
        lambda: text("a,kind\n" + "".join(f"{k},{k}\n" for k in range(9))),
        K,
        "9 classes for 9 samples",
    ),
    "one class": (lambda: text("a,kind\n1,x\n2,x\n"), K, "'x'"),
    "nothing changes": (lambda: text("a,kind\n" + "1,x\n1,y\n" * 4), K, "nothing to learn from"),
    "no UTF-8": (lambda: text(good().encode() + b"\xff,2,x\n"), K, "line 11"),
    "open quotes": (lambda: text(good() + '"1,2,x\n'), K, "t.csv"),
    "all of it missing": (
        lambda: text("a,b,kind\n" + ",1,x\n,2,y\n" * 4),
        f"{K} --set data.missing=mean",
        "'a'",
    ),
    "hold out nothing": (table, f"{K} --set data.test_fraction=0", "data.test_fraction"),
    "hold out NaN": (table, f"{K} --set data.test_fraction=nan", "data.test_fraction"),
    "hold out of parts": (parts, "--set data.test_fraction=0.2", "data.test_fraction"),
    "test of parts": (parts, "--set data.test=parts.npz", "already has a test set"),
    "no test file": (table, f"{K} --set data.test=nowhere.csv", "there is no nowhere.csv"),
    "folder of named data": (table, f"{K} --data .", "--data"),
    "npz of something": (lambda: npz(x=None), "", "x_train"),
    "npz half": (lambda: text(Path(npz()).read_bytes()[:-40], "h.npz"), "", "h.npz"),
    "npz of one dimension": (lambda: npz(x=X[:, 0], y=Y), "", "x must have shape"),
    "npz of other lengths": (lambda: npz(x=X, y=Y[:-1]), "", "y must have shape (10,)"),
    "npz of nothing": (lambda: npz(x=X[:0], y=Y[:0]), "", "x has no sample"),
    "npz pickled": (lambda: npz(x=X.astype(object), y=Y), "", "t.npz"),
    "npz all zero": (lambda: npz(x=np.zeros((10, 4), np.uint8), y=Y), "", "all training values are 0"),
    "npz of other shapes": (
        lambda: npz("p.npz", x=None, y=None, x_train=X, y_train=Y, x_test=X[:, :3], y_test=Y),
        "",
        "one shape",
    ),
    "no class folders": (lambda: (Path("e").mkdir(), "e")[1], "", "e has no folders"),
    "empty class": (lambda: pictures(lambda p: (p / "dog").mkdir()), "", "dog"),
    "cut image": (
        lambda: pictures(lambda p: (p / "ape/0.png").write_bytes((p / "ape/1.png").read_bytes()[:-30])),
        "",
        "ape/0.png",
    ),
    "other size": (lambda: pictures(lambda p: Image.new("L", (7, 6)).save(p / "bee/3.png")), "", "bee/3.png"),
    "deep image": (lambda: pictures(deep), "", "ape/0.png"),
    "animated image": (lambda: pictures(animated), "", "ape/0.png"),
    "huge image": (lambda: pictures(bomb), "", "ape/0.png"),
    "text named parquet": (lambda: text("hello", "h.parquet"), K, "h.parquet is not a Parquet table"),
    "too many columns": (lambda: npz(x=RNG.normal(size=(60, 190, 190))), "", "72,200 inputs"),
    "no such text column": (reviews, "--set data.text=words --label liked", "'words'"),
    "text of arrays": (npz, "--set data.text=review", "data.text"),
    "texts as classes": (reviews, "--set data.text=liked --label liked", "two columns"),
    "no text": (lambda: reviews(more="7\t\tyes\n"), R, "line 42"),
    "no word twice": (
        lambda: text("a,kind\n" + "".join(f"w{k}x,{k % 2}\n" for k in range(9))),
        "--set data.text=a --label kind",
        "no two texts",
    ),
    "table in a memory": (table, f"{K} --set data.attention=true", "data.attention"),
    "vectors without memory": (reviews, f"{R} --set data.word_vectors=v.txt", "data.word_vectors"),
    "no file of vectors": (
        reviews,
        f"{R} --set data.attention=true --set data.word_vectors=v.txt",
        "no word vectors at",
    ),
    "series of no step": (lambda: npz(x=X, offsets=[0, 5, 5, 10], y=[0, 1, 0]), "", "at least one step"),
    "offsets and other classes": (lambda: ragged(y=Y), "", "y must have shape (45,)"),
    "offsets of one sample": (lambda: ragged(offsets=[3]), "", "offsets must have shape"),
    "offsets of one part": (
        lambda: npz(x=None, y=None, x_train=X, y_train=Y, x_test=X, y_test=Y, offsets_test=[0, 1]),
        "",
        "offsets_test alone",
    ),
    "series of three dimensions": (lambda: ragged(x=np.zeros((9, 2, 2))), "", "(steps, channels)"),
    "ts of words": (lambda: ts(line="a,b:1,2:ape"), "", "line 48"),
    "ts of times": (lambda: ts(head="@timeStamps true\n"), "", "time stamps"),
    "ts of other test": (
        lambda: (text("@data\n1,2:ape\n2,1:bee\n", "bumps_TEST.ts"), ts())[1],
        "",
        "2 channels",
    ),
    "events of one part": (
        lambda: (nmnist(), shutil.rmtree("seen/NMNIST/Test"))[0],
        "",
        "seen/NMNIST has no Test",
    ),
    "no events": (
        lambda: (nmnist(), Path("seen/NMNIST/Train/1/00002.bin").write_bytes(b""))[0],
        "",
        "seen/NMNIST/Train",
    ),
    "no HDF5": (lambda: (shd(), Path("heard/SHD/shd_test.h5").write_text("x"))[0], "", "shd_test.h5"),
    "other rate": (lambda: noise(lambda p: write_wav(p, TONE, 8000)), "", "1.wav"),
    "deep recording": (lambda: noise(deep_sound), "", "1.wav"),
    "silent recording": (lambda: noise(lambda p: write_wav(p, 0 * TONE, 4000)), "", "1.wav is silent"),
    "empty recording": (lambda: noise(lambda p: write_wav(p, TONE[:0], 4000)), "", "1.wav holds no sound"),
}


@pytest.mark.parametrize(
    "command", ["inspect", *(pytest.param(name, marks=pytest.mark.regress) for name in ("train", "verify"))]
)
@pytest.mark.parametrize("name", WRONG)
def test_invalid_files(name, command, folder):
    make, options, word = WRONG[name]
    if command == "inspect" and "--data" in options:
        command = "train"  # inspect has no --data
    path = make()
    before = content(folder)
    error = refused(f"{command} {path} {options}")
    assert "Errno" not in error and word in error
    assert content(folder) == before, "nothing is written"


@pytest.mark.parametrize("width, heads", [(50, 8), (300, 3), (1019, 1)])
def test_number_of_queries(width, heads):
    text(
        "\n".join(f"{w} {'1 ' * k}{'0 ' * (width - k)}" for k, w in enumerate(("good", "bad", "kind"))),
        "v.txt",
    )
    data = own.load(reviews(), label="liked", text="review", attention=True, word_vectors="v.txt")
    assert presets.own(data).heads == heads
    assert presets.own(data).network(data).n_outputs == 2


def test_suggested_attention_fits_engine():
    for path, options in ((ts_parts(), {}), (reviews(), {"label": "liked", "text": "review"})):
        vectors = {"word_vectors": fifty()} if options else {}
        data = own.load(path, attention=True, **options, **vectors)
        engine_for(presets.own(data).network(data), lanes=4)


def fifty() -> str:
    """Word vectors of dimension 50."""
    return text("\n".join(f"{w} {'1 ' * k}{'0 ' * (50 - k)}" for k, w in enumerate(("good", "bad"))), "w.txt")


def test_word_vectors_too_wide():
    text("\n".join(f"{w} {'1 ' * k}{'0 ' * (2000 - k)}" for k, w in enumerate(("good", "bad"))), "v.txt")
    error = refused(f"train {reviews()} {R} --set data.attention=true --set data.word_vectors=v.txt")
    assert "narrower vectors" in error and not Path("results").exists()


#: evaluations of a network trained on t.csv
REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "other class": (lambda: text("a,b,c,d,kind\n1,2,3,4,gnu\n", "u.csv"), "'gnu'"),
    "other columns": (lambda: text("a,b,c,e,kind\n1,2,3,4,ape\n", "u.csv"), "'d'"),
    "missing": (lambda: text("a,b,c,d,kind\n1,,3,4,ape\n", "u.csv"), "missing values"),
    "changed": (lambda: table("t.csv", seed=5), "t.csv"),
    "named set": (lambda: "digits", "ape, bee, cow"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run on t.csv."""
    path = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(path):
        run(f"train {table()} --label kind --hidden 4 --epochs 1 --out run")
    return path


@pytest.fixture
def trained(finished, folder) -> None:
    """A copy of this run, with paths in the present folder."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    about = networks.about("run/network.npz")
    assert about is not None
    networks.save(
        "run/network.npz", *networks.load("run/network.npz"), about | {"path": str(folder / "t.csv")}
    )


@pytest.mark.parametrize("name", REFUSED)
def test_evaluate_refuses_other_data(name, trained):
    make, word = REFUSED[name]
    assert word in refused(f"evaluate run/network.npz {make()}")


@pytest.mark.parametrize(
    "line, message",
    [
        ("train digits --label kind", "data.label"),
        ("train t.csv --label kind --set learning.random_shift=0.5", "random_shift"),
        ("verify digits --set data.missing=mean", "data.missing is only for"),
        ("train-rates t.csv --label kind --set rates.random_shift=0.5", "random_shift"),
        ("gradient t.csv --label kind --network net.npz", "training data"),
        ("recall t.csv --label kind", "recall"),
        ("recall digits --label kind", "data.label"),
        ("recall imdb", "recall"),
        ("attention own.npz", "data.attention"),
    ],
)
def test_options_of_own_data_elsewhere(line, message):
    table()
    net = networks.Network.chain(64, 4, 10)
    networks.save("net.npz", net, net.initial_weights())
    data = own.load("t.csv", label="kind")
    net = presets.own(data).network(data)
    networks.save("own.npz", net, net.initial_weights(), dataclasses.asdict(data.about))
    error = refused(line)
    assert message in error


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(digest="x"),
        lambda a: a.update(labels=["a"]),
        lambda a: a["scaling"].update(width=0),
        lambda a: a["scaling"].update(kind="x"),
        lambda a: a["scaling"]["columns"].pop(),
        lambda a: a["scaling"]["columns"][0].update(low=99.0),
        lambda a: a.pop("path"),
        lambda a: a.update(more=1),
        lambda a: a.update(test_fraction=2.0),
        lambda a: a["encoding"].update(kind="x"),
        lambda a: a["encoding"].update(kind="texts"),
        lambda a: a["encoding"].update(kind="series"),
        lambda a: a["encoding"].update(kind="series", steps=4),
        lambda a: a["encoding"].update(attention=True),
        lambda a: a["encoding"].update(words=["a"]),
    ],
)
def test_damaged_data_record(change, trained):
    about = networks.about("run/network.npz")
    change(about)
    networks.save("bad.npz", *networks.load("run/network.npz"), about)
    error = refused("evaluate bad.npz")
    assert "bad.npz" in error or "t.csv is" in error


def test_name_of_a_named_set(tmp_path):
    """Own data with the name ``vowels`` are not taken for the named set, which has tokens."""
    file = tmp_path / "data.csv"
    file.write_text("a,side\n" + "".join(f"{k},{'lr'[k % 2]}\n" for k in range(20)))
    data = own.load(file, label="side", name="vowels")
    assert data.name == "own-vowels"
    assert presets.own(data).network(data).n_inputs == 1
