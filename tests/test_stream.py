"""Streams: a learner of single samples, its files and the command."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")

from typer.testing import CliRunner

from equilif import Classifier, cli
from equilif.stream import Prequential, StreamLearner, follow, read_samples
from tests.cli import run

HEADER = "a,b,kind"


def moving(n: int = 800, classes: int = 4, drift: float = 10.0):
    """Samples of normal classes whose means move by ``drift`` deviations in all."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, n)
    centres = rng.normal(0, 4, (classes, 4))
    x = centres[y] + rng.normal(0, 1, (n, 4)) + np.linspace(0, drift, n)[:, None]
    return [dict(zip("abcd", row.tolist(), strict=True)) for row in x], [f"class {k}" for k in y]


def accuracy(learner, xs, ys, last: int) -> float:
    right = []
    for x, y in zip(xs, ys, strict=True):
        right.append(learner.predict_one(x) == y)
        learner.learn_one(x, y)
    return float(np.mean(right[-last:]))


def test_moving_means_are_followed():
    xs, ys = moving()
    assert accuracy(StreamLearner(hidden=32), xs, ys, 400) > 0.9


def test_classes_and_types_are_those_of_the_stream():
    learner = StreamLearner(hidden=8)
    assert learner.predict_one({"a": 1}) is None and learner.predict_proba_one({"a": 1}) == {}
    for k, y in enumerate((True, True, False)):
        learner.learn_one({"a": k, "b": -k}, y)
    assert type(learner.predict_one({"a": 1, "b": 0, "other": 3})) is bool
    assert sum(learner.predict_proba_one({"a": 1}).values()) == pytest.approx(1)
    numbers = StreamLearner(hidden=8)
    for k in (3, 3, 1, 7):
        numbers.learn_one({"a": k}, k)
    assert list(numbers.predict_proba_one({"a": 1})) == [1, 3, 7]


@pytest.mark.parametrize("x", [{"a": "red"}, {"a": np.nan}, {"a": 1e300}, {"a": [1]}])
def test_features_are_numbers(x):
    learner = StreamLearner(hidden=8)
    learner.learn_one({"a": 0, "b": 1}, 0)
    with pytest.raises(ValueError, match="a must"):
        learner.learn_one(x, 1)


def test_a_saved_stream_goes_on(tmp_path):
    xs, ys = moving(60)
    first = StreamLearner(hidden=8, replay=20)
    accuracy(first, xs[:40], ys[:40], 1)
    first.save(tmp_path / "network.npz")
    again = StreamLearner.of(Classifier.load(tmp_path / "network.npz"))
    for learner in (first, again):
        accuracy(learner, xs[40:], ys[40:], 1)
    a, b = (learner.model.learner_.weights for learner in (first, again))
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no sample"),
        ("a,b\n1,2\n", "columns"),
        ("kind\nx\n", "columns"),
        ("a,a,kind\n1,2,x\n", "columns"),
        (f"{HEADER}\n1,2\n", "line 2"),
        (f"{HEADER}\n1,2,x\n1,red,x\n", "line 3"),
        (f'{HEADER}\n1,"2,x\n', "line 2"),
        ('{"a": 1}\n{"a": [2]}\n', "line 2"),
        ('{"a": 1}\n[1]\n', "line 2"),
        ('{"a": 1}\n{"a": 1\n', "line 2"),
        ('{"kind": 1}\n', "line 1"),
    ],
)
def test_invalid_streams(text, message, tmp_path):
    path = tmp_path / "stream.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_samples(path, "kind"))


def test_tables_and_json_are_the_same(tmp_path):
    (tmp_path / "a.csv").write_text(f"\ufeff{HEADER}\n\n1,-2,x\n.5,?,\n3,4,y\n")
    (tmp_path / "a.tsv").write_text("a\tb\tkind\n1\t-2\tx\n.5\tNA\t\n3\t4\ty\n")
    objects = [
        {"a": 1, "b": -2, "kind": "x"},
        {"b": None, "a": 0.5, "kind": None},
        {"a": 3, "b": 4, "kind": "y"},
    ]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, objects)))
    found = [[s[1:] for s in read_samples(tmp_path / f"a.{kind}", "kind")] for kind in ("csv", "tsv", "json")]
    assert (
        found[0]
        == found[1]
        == found[2]
        == [({"a": 1, "b": -2}, "x"), ({"a": 0.5}, ""), ({"a": 3, "b": 4}, "y")]
    )


def test_command(tmp_path):
    xs, ys = moving(120)
    lines = ["a,b,c,d,kind", *(",".join([*map(str, x.values()), y]) for x, y in zip(xs, ys, strict=True))]
    lines[-1] = lines[-1].rpartition(",")[0] + ","
    (tmp_path / "stream.csv").write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    arguments = ("stream", tmp_path / "stream.csv", "--label", "kind", "--hidden", 8, "--out", out)
    printed = run(
        *arguments, "--save", tmp_path / "net.npz", "--window", 50, "--json", tmp_path / "found.json"
    )
    found = json.loads((tmp_path / "found.json").read_text())
    score = Prequential()
    follow(StreamLearner(hidden=8), read_samples(tmp_path / "stream.csv", "kind"), score)
    assert (found["samples"], found["unlabelled"], found["accuracy"]) == (119, 1, score.accuracy)
    assert "50 samples" in printed and len(out.read_text().splitlines()) == 120
    assert json.loads(out.read_text().splitlines()[-1])["prediction"] in found["classes"]
    again = ["stream", "-", "--label", "kind", "--network", str(tmp_path / "net.npz")]
    done = CliRunner().invoke(cli.app, again, input="\n".join(lines[:4]))
    assert done.exit_code == 0 and "3 samples" in done.output


def test_river():
    evaluate, metrics, synth = map(
        pytest.importorskip, ("river.evaluate", "river.metrics", "river.datasets.synth")
    )
    StreamClassifier = pytest.importorskip("equilif.river").StreamClassifier
    model = StreamClassifier(hidden=8, replay=10)
    found = evaluate.progressive_val_score(synth.SEA(seed=1).take(200), model.clone(), metrics.Accuracy())
    assert found.get() > 0.7 and model.clone().replay == 10
