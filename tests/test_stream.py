"""Streams: a learner of single samples, its files and the command."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")

from typer.testing import CliRunner

from equilif import Classifier, cli
from equilif.stream import (
    RECENT,
    REPLAY_PER_SAMPLE,
    ErrorTest,
    Prequential,
    StreamLearner,
    follow,
    read_samples,
)
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from tests.cli import exit_code, output_and_json, run

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


class Alarm:
    """Detector that detects a drift at one sample."""

    def __init__(self, at: int):
        self.at, self.seen, self.drift_detected = at, [], False

    def update(self, x: bool) -> None:
        self.seen.append(x)
        self.drift_detected = len(self.seen) == self.at


@pytest.mark.parametrize("predicts", [True, False])
def test_a_drift_renews_the_classes_that_occur(predicts):
    """The detector gets whether predictions are wrong, which learn_one makes where predict_one did not."""
    xs, ys = moving(300)
    learner = StreamLearner(hidden=8, replay=200, drift=Alarm(200))
    wrong = []
    for k, (x, label) in enumerate(zip(xs, ys, strict=True)):
        y = "class 1" if k >= 50 and label == "class 0" else label
        if learner.model is not None:
            twin = learner if predicts else copy.deepcopy(learner)
            wrong.append(twin.predict_one(x) != y)
        learner.learn_one(x, y)
        if learner.n_drifts:
            break
    assert learner._detector.seen == wrong and any(wrong)
    # class 0 did not occur among the last samples: what is stored of it stays
    seen = learner.model.learner_.replay.seen
    kept = seen[learner.model._order[0]]
    assert kept == ys[:50].count("class 0") and seen.sum() == kept + RECENT


@pytest.mark.parametrize("drift", ["ADWIN", 3])
def test_invalid_detectors(drift):
    with pytest.raises(ValueError, match=f"drift.*{drift}"):
        StreamLearner(drift=drift)


@pytest.mark.parametrize("first, then, detected", [(0.1, 0.1, False), (0.1, 0.35, True), (0.35, 0.1, False)])
def test_errors_that_become_more_frequent_are_a_drift(first, then, detected):
    rng = np.random.default_rng(2)
    test = ErrorTest()
    found = []
    for share in (first, then):
        for wrong in rng.random(1500) < share:
            test.update(bool(wrong))
            found.append(test.drift_detected)
    assert any(found) == detected and not any(found[:1500]) and sum(found) == detected


def test_direct_network_continues_on_the_engine():
    """The network of a stream, with a new class, learns the same in kernel and engine model."""
    xs, ys = moving(40)
    learner = StreamLearner(hidden=8, replay=10, replay_per_sample=2)
    accuracy(learner, xs[:30], ys[:30], 1)
    kernel = learner.model.learner_
    assert {s.name for s in kernel.network.plastic} > {"input-output", "hidden1-output"}
    engine = EngineConfig(lanes=4, tiles=128, value_groups=32, state_groups=16)
    chip = Chip(
        EngineModel(engine), kernel.network, kernel.weights, learning_rate=0.03, counter=kernel.counter
    )
    x, labels = np.random.default_rng(0).integers(0, 256, (5, 8)).astype(np.uint8), np.arange(5) % 3
    for learns in (kernel, chip):
        learns.replay = None
        learns.train(x, labels, np.arange(5))
    a, b = kernel.weights, chip.weights
    assert all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("x", [{"a": "red"}, {"a": np.nan}, {"a": 1e300}, {"a": [1]}])
def test_features_are_numbers(x):
    learner = StreamLearner(hidden=8)
    learner.learn_one({"a": 0, "b": 1}, 0)
    with pytest.raises(ValueError, match=r"1e\+38"):
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
        ("", "stream.txt"),
        ("a,b\n1,2\n", "--label"),
        ("kind\nx\n", "stream.txt"),
        ("a,a,kind\n1,2,x\n", "columns"),
        (",a,kind\n0,2,x\n", "column 1"),
        (f"{HEADER}\n1,2\n", "line 2"),
        (f"{HEADER}\n1,2,x\n1,red,x\n", "line 3"),
        (f'{HEADER}\n1,"2,x\n', "line 2"),
        ('{"a": 1}\n{"a": [2]}\n', "line 2"),
        ('{"a": 1}\n[1]\n', "line 2"),
        ('{"a": 1}\n{"a": 1\n', "line 2"),
        ('{"kind": 1}\n', "line 1"),
        ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2"),
        ('{"a": 1}\n{"a": 1, "kind": ["x"]}\n', "line 2"),
        ('{"a": 1}\n{"a": 1, "kind": "x\\ny"}\n', "line 2"),
        ('{"a": 1, "state": "x"}\n', "--label"),
    ],
)
def test_invalid_streams(text, message, tmp_path):
    path = tmp_path / "stream.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(read_samples(path, "kind"))


def test_tables_and_json_are_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("\ufeffa, b, kind\n\n1,-2, x\n.5,?,\n3,4,1.0\n")
    (tmp_path / "a.tsv").write_text("a\tb\tkind\n1\t-2\tx\n.5\tNA\t\n3\t4\t1\n")
    objects = [
        {"a": 1, "b": -2, "kind": " x "},
        {"b": None, "a": 0.5, "kind": None},
        {"a": 3, "b": 4, "kind": 1.0},
    ]
    (tmp_path / "a.json").write_text("\n".join(map(json.dumps, objects)))
    found = [[s[1:] for s in read_samples(tmp_path / f"a.{kind}", "kind")] for kind in ("csv", "tsv", "json")]
    assert (
        found[0]
        == found[1]
        == found[2]
        == [({"a": 1, "b": -2}, "x"), ({"a": 0.5, "b": None}, ""), ({"a": 3, "b": 4}, "1")]
    )


def test_command(tmp_path):
    xs, ys = moving(120)
    lines = ["a,b,c,d,kind", *(",".join([*map(str, x.values()), y]) for x, y in zip(xs, ys, strict=True))]
    lines[-1] = lines[-1].rpartition(",")[0] + ","
    (tmp_path / "stream.csv").write_text("\n".join(lines))
    out = tmp_path / "out.jsonl"
    arguments = ("stream", tmp_path / "stream.csv", "--label", "kind", "--hidden", 8, "--out", out)
    printed, found = output_and_json(*arguments, "--save", tmp_path / "net.npz", "--window", 50)
    score = Prequential()
    follow(StreamLearner(hidden=8), read_samples(tmp_path / "stream.csv", "kind"), score)
    assert (found["samples"], found["unlabelled"], found["accuracy"]) == (119, 1, score.accuracy)
    assert "50 samples" in printed and len(out.read_text().splitlines()) == 120
    assert json.loads(out.read_text().splitlines()[-1])["prediction"] in found["classes"]
    again = ["stream", "-", "--label", "kind", "--network", str(tmp_path / "net.npz"), "--drift", "off"]
    done = CliRunner().invoke(cli.app, again, input="\n".join(lines[:4]))
    assert done.exit_code == 0 and "3 samples" in done.output


@pytest.mark.parametrize("keys", [(0, 1), ("a", "b")])
def test_features_keep_their_names_in_a_file(keys, tmp_path):
    learner = StreamLearner(hidden=8)
    for k in range(20):
        learner.learn_one(dict(zip(keys, (k % 2, -k), strict=True)), k % 2)
    learner.save(tmp_path / "network.npz")
    again = StreamLearner.of(Classifier.load(tmp_path / "network.npz"))
    x = dict(zip(keys, (1, 0), strict=True))
    assert again.predict_proba_one(x) == learner.predict_proba_one(x)
    assert again.predict_proba_one({str(key): value for key, value in x.items()}) == again.predict_proba_one(
        x
    )
    with pytest.raises(ValueError, match=f"{keys[0]}, {keys[1]}.*c"):
        again.predict_one({"c": 1})


def test_missing_features_are_the_mean_and_counted():
    """Also in the first samples; a feature that the first one lacks is known by its name."""
    complete, learner = StreamLearner(hidden=8), StreamLearner(hidden=8)
    for k, y in enumerate("xxyxyy"):
        complete.learn_one({"a": k, "b": 300 if k < 3 else k}, y)
        other = {} if k == 0 else {"c": 1}
        learner.learn_one({"a": k, "b": None if k == 0 else 300 if k < 3 else k} | other, y)
    assert (learner.n_missing, [*learner.ignored]) == (1, ["c"]) and complete.n_missing == 0
    assert learner.model.scaling_ == complete.model.scaling_


def test_classes_are_numbers_where_those_of_the_network_are():
    for classes, names in (([1, 2], ["1", "2"]), ([1.0, 2.0], ["1", "2"]), (["1", "x"], ["1", "x"])):
        model = Classifier(hidden=(4,)).fit([[0.0], [1.0]], classes)
        learner = StreamLearner.of(model)
        assert [learner.class_of(name) for name in names] == classes
        assert learner.class_of("007") == "007"


def test_what_was_learned_before_an_error_is_saved(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("a,b,kind\n" + "1,2,x\n2,1,y\n" * 5)
    (tmp_path / "b.csv").write_text("a,b,kind\n" + "1,2,x\n2,1,y\n" * 5 + "1,red,x\n1,2,y\n")
    for name, code in (("a", 0), ("b", 2)):
        assert (
            exit_code(
                f"stream {tmp_path}/{name}.csv --label kind --hidden 4 --save {tmp_path}/{name}.npz "
                f"--out {tmp_path}/{name}.jsonl"
            )
            == code
        )
    assert "line 12" in capsys.readouterr().err
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_notes_of_a_stream(tmp_path):
    (tmp_path / "stream.csv").write_text("amperes,kind\n1e-9,x\n2e-9,y\n")
    assert "unit" in run("stream", tmp_path / "stream.csv", "--label", "kind", "--hidden", 4)


def test_a_network_without_stored_samples_gets_replay(tmp_path):
    (tmp_path / "stream.csv").write_text("0,kind\n1,x\n2,y\n3,x\n")
    Classifier(hidden=(4,)).fit(np.eye(4)[:, :1], ["x", "y", "x", "y"]).save(tmp_path / "old.npz")
    arguments = ("stream", tmp_path / "stream.csv", "--label", "kind", "--network", tmp_path / "old.npz")
    assert "no samples" in run(*arguments)
    assert "no samples" not in run(*arguments, "--replay", 10, "--save", tmp_path / "new.npz")
    kept = Classifier.load(tmp_path / "new.npz")
    assert (kept.replay, kept.replay_per_sample, len(kept.learner_.replay.labels)) == (
        10,
        REPLAY_PER_SAMPLE,
        3,
    )
    refused = f"stream {tmp_path}/stream.csv --label kind --network {tmp_path}/new.npz --replay 20"
    assert exit_code(refused) == 2


@pytest.mark.parametrize("continued", [False, True])
@pytest.mark.parametrize("options, detects", [((), True), (("errors",), True), (("off",), False)])
def test_drift_option(options, detects, continued, tmp_path, monkeypatch):
    (tmp_path / "stream.csv").write_text("0,kind\n1,x\n2,y\n3,x\n")
    made = []
    monkeypatch.setattr(StreamLearner, "learn_one", lambda self, x, y: made.append(self._detector))
    arguments = ["stream", tmp_path / "stream.csv", "--label", "kind"]
    if continued:
        Classifier(hidden=(4,)).fit(np.eye(4)[:, :1], [0, 1, 0, 1]).save(tmp_path / "net.npz")
        arguments += ["--network", tmp_path / "net.npz"]
    run(*arguments, *(("--drift", *options) if options else ()))
    assert [isinstance(detector, ErrorTest) for detector in made] == [detects] * 3


def test_river():
    evaluate, metrics, synth = map(
        pytest.importorskip, ("river.evaluate", "river.metrics", "river.datasets.synth")
    )
    StreamClassifier = pytest.importorskip("equilif.river").StreamClassifier
    model = StreamClassifier(hidden=8, replay=10)
    found = evaluate.progressive_val_score(synth.SEA(seed=1).take(200), model.clone(), metrics.Accuracy())
    assert found.get() > 0.7 and model.clone().replay == 10
