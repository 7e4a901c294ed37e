"""Networks with changed data: the right result or one error.

For every kind of data a small network is trained, the files are changed, and every command that reads a
network and data is run.  Printed accuracies are compared with those by the scaling and class names of the
training.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from equilif import Classifier
from equilif.data import formats, own
from equilif.data.encoding.about import About
from equilif.data.formats import Columns, Part
from equilif.data.own.build import encoded
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.report import metrics
from equilif.training.storage import saved
from equilif.training.storage.records import about_data, read_identity
from equilif_golden import network as networks
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows
from tests.cli import exit_code as run
from tests.source_kinds import (
    CLASSES,
    KINDS,
    Data,
    SourceKind,
    pictures,
    rows,
    texts,
    write_csv,
    write_folders,
    write_vectors,
)

# -- changes of the files --------------------------------------------------------------------------
ROTATED = dict(zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True))
#: replacements of the samples
CONTENTS: dict[str, Callable[[SourceKind, Data], Data]] = {
    "same": lambda kind, data: data,
    "other samples": lambda kind, data: kind.make(7),
    "classes permuted": lambda kind, data: data.renamed(ROTATED),
    "classes renamed": lambda kind, data: data.renamed({c: c.upper() for c in CLASSES}),
    "one class renamed": lambda kind, data: data.renamed({"cow": "yak"}),
    "class missing": lambda kind, data: data.take(lambda k: data.names[k] != "bee"),
    "class added": lambda kind, data: Data([*data.x, *data.x[:4]], [*data.names, *["gnu"] * 4]),
    "order reversed": lambda kind, data: Data(data.x[::-1], data.names[::-1]),
    "scaled": lambda kind, data: data if kind.make is texts else Data([x // 2 for x in data.x], data.names),
    "narrower": lambda kind, data: Data([kind.narrower(x) for x in data.x], data.names),
}


def truncated(path: Path) -> None:
    if path.is_dir():
        path = next(p for p in path.rglob("*.*") if p.is_file())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def removed(path: Path) -> None:
    path.rename("elsewhere") if path.exists() else None


DAMAGES: dict[str, Callable[[Path], None]] = {"truncated": truncated, "moved": removed}
#: commands, and whether they take a path to other data
COMMANDS = {
    "evaluate": "evaluate run/network.npz",
    "evaluate path": "evaluate run/network.npz {path}",
    "evaluate copy": "evaluate run/network.npz copied/{path}",
    "resume": "train --resume --out run --epochs 2",
    "resume path": "train {path} --resume --out run --epochs 2",
    "report": "report run --data {path}",
    "attention": "attention run/network.npz",
    "classifier": "",  # not a command: Classifier.load, and predictions of the samples of {path}
}


QUICK = ("images", "texts")  #: kinds tested by default


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=() if kind in QUICK else pytest.mark.regress) for kind in KINDS],
)
def trained(request, tmp_path_factory) -> tuple[str, Path]:
    """A kind of data, and a folder with its files and a run."""
    kind = KINDS[request.param]
    folder = tmp_path_factory.mktemp("identity")
    with chdir(folder):
        write_vectors()
        kind.write(Path(kind.path), kind.make())
        assert run(f"train {kind.path} --hidden 4 --epochs 1 --out run", *kind.options) == 0
    return request.param, folder


def accuracy(path: Path) -> float:
    """Accuracy of the network of ``run`` on a file, by the scaling and class names of its training."""
    network, weights = networks.load("run/network.npz")
    about = read_identity(Path("run/network.npz"))
    part = formats.read(path, Columns(about.label, about.text, about.encoding.front_end))[1].train
    unlabelled = Part(part.x, np.full(len(part.labels), CLASSES[0]))
    given = encoded(about, (unlabelled,), ("samples",))
    predicted = Kernel(network, weights, learning_rate=0.0).predict(given.x[0], tokens=given.tokens[0])
    return float(np.mean(np.array(about.labels)[predicted] == part.labels))


def classified(path: Path) -> tuple[int, str, dict[str, Any]]:
    """Outcome of a Classifier of the network of ``run`` on a table, as a DataFrame, or on arrays."""
    pandas = pytest.importorskip("pandas")
    try:
        model = Classifier.load("run/network.npz")
        if path.suffix == ".csv":
            table = pandas.read_csv(path)
            x, y = table.drop(columns="kind"), table["kind"]
        else:
            with np.load(path) as z:
                x, y = z["x"], z["y"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            score = model.score(x, y)
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as e:
        return 2, str(e).splitlines()[0], {}
    return 0, "", {"accuracy": score, "labels": list(model.classes_)}


def outcome(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, dict[str, Any]]:
    """Exit code, error and JSON of a command."""
    capsys.readouterr()
    Path("output.json").unlink(missing_ok=True)
    code = run(line, "--json", "output.json")
    report = json.loads(Path("output.json").read_text()) if code == 0 else {}
    return code, capsys.readouterr().err, report


def prepared(folder: Path, work: Path, kind: SourceKind) -> About:
    """A copy of a trained folder; its network refers to the data of the copy."""
    shutil.copytree(folder, work)
    about = read_identity(work / "run/network.npz")
    assert isinstance(about, About)
    code = about.encoding
    if code.word_vectors:
        code = dataclasses.replace(code, word_vectors=str(work / "vectors.txt"))
    about = dataclasses.replace(about, path=str(work / kind.path), encoding=code)
    network, weights = networks.load(work / "run/network.npz")
    networks.save(work / "run/network.npz", network, weights, dataclasses.asdict(about))
    history = json.loads((work / "run/history.json").read_text())
    (work / "run/history.json").write_text(json.dumps({**history, "about": dataclasses.asdict(about)}))
    (work / "copied").mkdir()
    kind.write(work / "copied" / kind.path, kind.make())
    return about


def test_changed_data_is_detected(trained, tmp_path, capsys, monkeypatch):
    """Commands x changes, more than 60 for each of six kinds: one error or the right accuracy."""
    name, folder = trained
    kind = KINDS[name]
    monkeypatch.setattr(metrics, "_accesses", lambda *_: (1.0, 1.0))  # most of the time of a report
    original = kind.make()
    own_accuracy = json.loads((folder / "run/history.json").read_text())["epochs"][-1]["test_accuracy"]
    tried = 0
    for change, (command, line) in itertools.product((*CONTENTS, *DAMAGES, "vectors"), COMMANDS.items()):
        work = tmp_path / f"{change} {command}"
        about = prepared(folder, work, kind)
        monkeypatch.chdir(work)
        if command == "attention" and not about.encoding.attention:
            continue
        if command == "classifier" and name not in ("table", "arrays"):
            continue
        target = Path("copied" if "copied" in line else ".") / kind.path
        data = CONTENTS[change](kind, original) if change in CONTENTS else original
        if change in DAMAGES:
            DAMAGES[change](target)
        elif change == "vectors":
            write_vectors(5)
        else:
            kind.write(target, data)
        same = (
            data is original
            and change not in DAMAGES
            and (change != "vectors" or not about.encoding.word_vectors)
        )
        run_ = classified(target) if command == "classifier" else outcome(line.format(path=kind.path), capsys)
        code, error, found = run_
        tried += 1
        what = f"{name}, {change}, {command}: exit {code}, {error}"
        assert code in (0, 2), what
        if code == 2:
            assert not same and len(error.strip().splitlines()) == 1, what
        elif command.startswith(("evaluate", "classifier")):
            whole = same and command != "classifier"  # Classifier has no test part
            assert found["accuracy"] == pytest.approx(own_accuracy if whole else accuracy(target)), what
            assert tuple(found["labels"]) == CLASSES
        else:
            assert same, what
    assert tried >= 60


# -- named data sets, networks without a data record -----------------------------------------------
def digit_folders(names: Sequence[str]) -> str:
    """The first 200 of the test digits as images, in folders of these names."""
    d = images.digits()
    for k in range(200):
        folder = Path("written") / names[d.y_test[k]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(d.x_test[k].reshape(8, 8)).save(folder / f"{k:03}.png")
    return "written"


def test_classes_are_matched_by_name(tmp_path, monkeypatch, capsys):
    """A network trained on either is evaluated on the other with equal results, for any folder order."""
    monkeypatch.chdir(tmp_path)
    d = images.digits()
    net = Network.chain(64, 16, 10)
    kernel = Kernel(net, net.initial_weights(), learning_rate=0.05)
    kernel.train(d.x_train, d.y_train)
    networks.save("n.npz", net, kernel.weights, about_data(d))
    path = digit_folders("0123456789")
    code, _, found = outcome(f"evaluate n.npz {path}", capsys)
    right = kernel.predict(d.x_test[:200]) == d.y_test[:200]
    assert code == 0 and found["accuracy"] == pytest.approx(float(right.mean()))
    networks.save("own.npz", net, kernel.weights, about_data(own.load(path)))
    assert outcome("evaluate own.npz digits", capsys)[2]["accuracy"] == pytest.approx(
        kernel.accuracy(d.x_test, d.y_test)
    )
    shutil.rmtree(path)
    digit_folders("zero one two three four five six seven eight nine".split())
    assert "eight" in outcome(f"evaluate n.npz {path}", capsys)[1]
    networks.save("own.npz", net, kernel.weights, about_data(own.load(path)))
    assert "zero" in outcome("evaluate own.npz digits", capsys)[1]


def test_network_without_data_record(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    d = images.digits()
    net = Network.chain(64, 4, 10)
    weights = net.initial_weights()
    networks.save("bare.npz", net, weights)
    np.savez("raw.npz", x=d.x_test, y=d.y_test)
    np.savez("real.npz", x=d.x_test / 255, y=d.y_test)
    wanted = Kernel(net, weights, learning_rate=0.0).accuracy(d.x_test, d.y_test)
    for line in ("evaluate bare.npz raw.npz", "evaluate bare.npz digits"):
        capsys.readouterr()
        assert run(line, "--json", "found.json", "--overwrite") == 0
        assert "bare.npz does not record" in " ".join(capsys.readouterr().out.split())
        assert json.loads(Path("found.json").read_text())["accuracy"] == wanted
    for line in ("evaluate bare.npz real.npz", "evaluate bare.npz", "attention bare.npz"):
        assert run(line) == 2, line


def test_network_refuses_other_data(tmp_path, monkeypatch):
    """Check of verify, energy and gradient for every pair of data."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 8, 8)).astype(np.uint8)
    y = np.arange(40) % 2
    sets = {
        "digits": images.digits(),
        "bytes": own.of(x, y),
        "renamed": own.of(x, np.array(["a", "b"])[y]),
        "scaled": own.of(x / 1000, y),
        "wide": own.of(x.reshape(40, 4, 16), y),
        "table": own.of(x.reshape(40, 64), y),
    }
    tokens = TokenRows(np.zeros((2, 4), np.int16), np.zeros(40, np.int32), np.arange(41))
    parts = (np.zeros((40, 0), np.uint8), y, np.zeros((40, 0), np.uint8), y, tokens, tokens)
    for name, loading in (("sequences", {"max_tokens": 4}), ("other tokens", {"max_tokens": 5})):
        sets[name] = DataSet("vowels", *parts, classes=("0", "1"), loading=loading)
    net = Network.chain(1, 2)
    for a, data in sets.items():
        network = saved.Saved(Path(f"{a}.npz"), net, net.initial_weights(), data.identity)
        for b, other in sets.items():
            if a == b:
                assert network.check(other) == ()
            else:
                with pytest.raises(ValueError):
                    network.check(other)


def test_moved_training_file_is_not_test_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_csv(Path("a.csv"), rows(0))
    write_csv(Path("b.csv"), rows(1))
    assert run("train a.csv --label kind --set data.test=b.csv --hidden 4 --epochs 1 --out run") == 0
    wanted = json.loads(Path("run/history.json").read_text())["epochs"][0]["test_accuracy"]
    Path("moved").mkdir()
    for name in ("a.csv", "b.csv"):
        Path(name).rename(Path("moved") / name)
    assert run("evaluate run/network.npz moved/a.csv") == 2
    assert outcome("evaluate run/network.npz moved/b.csv", capsys)[2]["accuracy"] == wanted


def test_input_shape_of_network_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folders(Path("pictures"), pictures())
    assert run("init pictures --out net.toml") == 0
    text = Path("net.toml").read_text().replace('kind = "input"', 'kind = "input"\nshape = [8, 6, 1]', 1)
    Path("net.toml").write_text(text)
    capsys.readouterr()
    assert run("train pictures --config net.toml --epochs 1 --out run") == 2
    assert "(6, 8, 1)" in capsys.readouterr().err
