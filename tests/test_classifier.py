"""The classifier with the interface of scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from equilif import Classifier
from equilif.data.own import of
from equilif.data.sets import images
from equilif.training.run import Run
from equilif.training.settings.presets import own
from equilif_golden import network as networks
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.device import Device
from tests.standalone import client_of


@pytest.mark.sampled(15)
@parametrize_with_checks([Classifier(hidden=(16,), epochs=20)])
def test_scikit_learn_interface(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def iris():
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order], y[order]


@pytest.fixture(scope="module")
def fitted(iris):
    x, y = iris
    return Classifier(hidden=(16,), epochs=30).fit(x[:100], y[:100])


def same_weights(a, b) -> bool:
    return all(np.array_equal(w, b.weights[name]) for name, w in a.weights.items())


def test_iris(iris, fitted):
    x, y = iris
    assert fitted.score(x[100:], y[100:]) > 0.85


def test_weights_equal_those_of_a_run(iris):
    """Equal to `equilif train` on the same samples."""
    x, y = iris
    data = of(x, y, x, y)
    preset = own(data).changed(epochs=2)
    run = Run.start(preset, data, 0)
    assert 0 < run.train().test_accuracy <= 1
    assert same_weights(Classifier(epochs=2).fit(x, y).learner_, run)


def test_class_sorted_samples_are_shuffled():
    x, y = load_iris(return_X_y=True)
    assert np.all(np.diff(y) >= 0)
    assert Classifier(hidden=(16,), epochs=30).fit(x, y).score(x, y) > 0.9


def test_partial_fit_one_sample_at_a_time():
    digits = images.digits()
    x, y = digits.x_train, digits.y_train
    one = Classifier(hidden=(32,), input_range=(0, 255))
    for k in range(300):
        one.partial_fit(x[k : k + 1], y[k : k + 1], classes=range(10))
    together = Classifier(hidden=(32,), input_range=(0, 255)).partial_fit(x[:300], y[:300], range(10))
    assert same_weights(one.learner_, together.learner_)
    assert together.score(digits.x_test, digits.y_test) > 0.5


def test_names_of_classes_and_pipelines(iris, tmp_path):
    x, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = make_pipeline(StandardScaler(), Classifier(hidden=(16,), epochs=10)).fit(x, names)
    assert set(model.predict(x)) <= set(names)
    assert clone(model)[-1].get_params()["hidden"] == (16,)
    model[-1].save(tmp_path / "network.npz")
    again = Classifier.load(tmp_path / "network.npz")
    assert np.array_equal(again.predict(model[0].transform(x)), model.predict(x))


def test_saved_network_continues(iris, tmp_path):
    x, y = iris
    first = Classifier(hidden=(8,), learning_rate=0.03).partial_fit(x[:40], y[:40], range(3))
    first.save(tmp_path / "network.npz")
    again = Classifier.load(str(tmp_path / "network.npz"), learning_rate=0.03)
    assert np.array_equal(again.predict(x), first.predict(x))
    for model in (first, again):
        model.partial_fit(x[40:60], y[40:60])
    assert same_weights(first.learner_, again.learner_)


@pytest.mark.parametrize(
    "names",
    [(0, 1, 2), (-1, 0, 7), ("5", "10", "90"), ("01", "1", "x"), (1.0, 2.0, 3.0), (False, True, True)],
)
def test_saved_classes_and_columns(names, iris, tmp_path):
    """Type, order and columns; a clone is the same network."""
    x, y = iris
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=list("abcd"))
    y = np.array(names)[y]
    model = Classifier(hidden=(8, 7), epochs=2, random_state=3).fit(frame, y)
    model.save(tmp_path / "network.npz")
    again = Classifier.load(tmp_path / "network.npz")
    assert again.classes_.dtype.kind == y.dtype.kind and np.array_equal(again.classes_, np.unique(y))
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.predict(frame), model.predict(frame))
    assert same_weights(clone(again).fit(frame, y).learner_, model.learner_)
    for use in (again.predict, lambda permuted: again.partial_fit(permuted, y)):
        with pytest.raises(ValueError, match="feature"):
            use(frame[["d", "b", "c", "a"]])
    for fitted in (model, again):
        fitted.partial_fit(frame, y)
    assert same_weights(again.learner_, model.learner_)


def test_network_of_train_is_loaded(iris, tmp_path):
    x, y = iris
    data = of(x, y)
    run = Run.start(own(data).changed(hidden=(6,), epochs=1), data, 0)
    run.save(tmp_path)
    model = Classifier.load(tmp_path / "network.npz")
    assert (model.hidden, list(model.classes_)) == ((6,), [0, 1, 2])
    assert np.array_equal(model.predict(x), run.backend.learner.predict(data.encode(x)))


def test_decision_function(iris):
    x, y = iris
    three = Classifier(hidden=(8,), epochs=5).fit(x, y)
    rates = three.decision_function(x)
    assert rates.shape == (150, 3) and np.array_equal(rates.argmax(axis=1), three.predict(x))
    two = Classifier(hidden=(8,), epochs=5).fit(x, y == 2)
    assert roc_auc_score(y == 2, two.decision_function(x)) > 0.95


@pytest.mark.parametrize("input_range, accuracy", [("running", 0.85), (None, 0.5)])
def test_drift(input_range, accuracy, iris, tmp_path):
    """The mean moves by ten deviations; the statistics are saved."""
    x, y = iris
    at = np.random.default_rng(1).integers(0, len(y), 3000)
    moved = x[at] + np.linspace(0, 10, 3000)[:, None] * x.std(axis=0)
    model = Classifier(hidden=(16,), input_range=input_range)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in np.array_split(np.arange(2700), 9):
            model.partial_fit(moved[part], y[at][part], classes=range(3))
        model.save(tmp_path / "network.npz")
        again = Classifier.load(tmp_path / "network.npz")
        for fitted in (model, again):
            fitted.partial_fit(moved[2700:2900], y[at][2700:2900])
        assert same_weights(again.learner_, model.learner_)
        found = again.score(moved[2900:], y[at][2900:])
    assert (found > accuracy) == (input_range == "running")
    if input_range is None:
        assert model.n_clipped_ > 1000
        with pytest.warns(UserWarning, match="outside"):
            model.predict(moved[2900:])


def test_running_scale_of_any_batches(iris):
    x, y = iris
    one, together = (Classifier(hidden=(8,), input_range="running") for _ in range(2))
    for k in range(40):
        one.partial_fit(x[k : k + 1], y[k : k + 1], classes=range(3))
    together.partial_fit(x[:40], y[:40], classes=range(3))
    assert same_weights(one.learner_, together.learner_) and one.scaling_ == together.scaling_


def test_feature_that_is_constant_at_first(iris):
    x, y = iris
    first = x.copy()
    first[:, 2] = 4
    model = Classifier(hidden=(8,)).partial_fit(first, y, classes=range(3))
    assert model.learner_.network.n_inputs == 4
    assert len(np.unique(model.scaling_.apply(x, "x").x[:, 2])) > 20


def test_parameters_between_calls(iris):
    x, y = iris
    slow, fast = (Classifier(hidden=(8,), learning_rate=0.01).partial_fit(x, y, range(3)) for _ in range(2))
    fast.set_params(learning_rate=0.05).partial_fit(x, y)
    slow.partial_fit(x, y)
    assert not same_weights(slow.learner_, fast.learner_)
    with pytest.raises(ValueError, match="hidden"):
        slow.set_params(hidden=(9,)).partial_fit(x, y)


def test_range_of_8_bit_values():
    """Values of 0 to 16 for a network of 0 to 255."""
    digits = images.digits()
    model = Classifier(hidden=(8,), epochs=1).fit(digits.x_train, digits.y_train)
    assert model.scaling_.kind == "bytes"
    with pytest.warns(UserWarning, match="largest"):
        model.predict(digits.x_test // 16)


@pytest.mark.parametrize("parameters", [{"hidden": 16}, {"epochs": np.int64(2)}, {"random_state": None}])
def test_types_of_parameters(parameters, iris):
    assert Classifier(**{"hidden": (4,), "epochs": 1, **parameters}).fit(*iris).predict(iris[0]).shape == (
        150,
    )


def test_network_of_another_kind(tmp_path):
    network = networks.Network.chain(4, 3, 2)
    networks.save(tmp_path / "network.npz", network, network.initial_weights())
    with pytest.raises(ValueError, match=r"network\.npz"):
        Classifier.load(tmp_path / "network.npz")


def test_rejected_samples_change_nothing(iris):
    x, y = iris
    model = Classifier(hidden=(8,))
    with pytest.raises(ValueError, match="2"):
        model.partial_fit(x, y, [0, 1])
    assert not hasattr(model, "classes_")
    model.partial_fit(x, y, [0, 1, 2])


def digits_by_class(**parameters):
    """Accuracy on the digits 0 to 4 after them, and on all digits after the others, which are new classes."""
    data = images.load("digits", None)
    x, y = data.x_train.astype(np.int64), data.y_train
    old = y < 5
    model = Classifier(hidden=(32,), input_range=(0, 255), learning_rate=0.05, **parameters)
    for _ in range(2):
        model.partial_fit(x[old], y[old], range(5))
    before = model.score(data.x_test[data.y_test < 5], data.y_test[data.y_test < 5])
    for _ in range(2):
        model.partial_fit(x[~old], y[~old])
    return model, before, model.score(data.x_test, data.y_test), data


def test_replay_keeps_old_classes(tmp_path):
    model, before, after, data = digits_by_class(replay=100, replay_bits=4)
    assert before > 0.9 and after > 0.8 and len(model.classes_) == 10
    assert digits_by_class()[2] < 0.65
    model.save(tmp_path / "network.npz")
    again = Classifier.load(tmp_path / "network.npz")
    assert again.get_params() == {**model.get_params(), "learning_rate": again.learning_rate}
    for each in (model, again):
        each.partial_fit(data.x_test[:20].astype(np.int64), data.y_test[:20])
    assert same_weights(model.learner_, again.learner_)


@pytest.mark.parametrize("learn", ["fit", "partial_fit"])
def test_values_too_small_for_a_running_scale(learn, iris, recwarn):
    """They would all be 0; a column of zeros is none of them."""
    x, y = iris
    options = {"classes": range(3)} if learn == "partial_fit" else {}
    model = Classifier(hidden=(4,), epochs=1, input_range="running")
    getattr(clone(model), learn)(x * [1, 1, 0, 1], y, **options)
    assert not recwarn
    with pytest.warns(UserWarning, match="column 2"):
        getattr(model, learn)(x * [1, 1, 1e-12, 1], y, **options)


@pytest.mark.parametrize(
    "name, value", [("hidden", (9,)), ("input_range", (0, 9)), ("direct", True), ("replay", 5)]
)
def test_parameters_of_a_file_are_not_replaced(name, value, iris, tmp_path):
    """Those that only fit changes; the file's own are accepted."""
    x, y = iris
    Classifier(hidden=(8,), replay=9, input_range="running").partial_fit(x, y, range(3)).save(
        tmp_path / "n.npz"
    )
    again = Classifier.load(tmp_path / "n.npz", hidden=[8], replay=9, epochs=3)
    assert (again.replay, again.epochs) == (9, 3)
    with pytest.raises(ValueError, match=f"^{name} is"):
        Classifier.load(tmp_path / "n.npz", **{name: value})


def test_a_new_class_changes_no_old_rate(iris):
    x, y = iris
    model = Classifier(hidden=(8,)).partial_fit(x[y < 2], y[y < 2], [0, 2, 1])
    before = model.decision_function(x)
    model.set_params(learning_rate=0.0001).partial_fit(x[:1], y[:1], range(-1, 4))
    assert model.classes_.tolist() == [-1, 0, 1, 2, 3]
    model.learner_.load_weights(model.learner_.weights)
    assert np.abs(model.decision_function(x)[:, 1:4] - before).max() < 0.1


def test_fit_stores_samples_for_later(iris):
    x, y = iris
    model = Classifier(hidden=(8,), epochs=2, replay=30).fit(x[y < 2], y[y < 2])
    assert np.bincount(model.learner_.replay.labels).tolist() == [15, 15]
    assert same_weights(model.learner_, Classifier(hidden=(8,), epochs=2).fit(x[y < 2], y[y < 2]).learner_)
    model.partial_fit(x[y == 2], y[y == 2])
    assert np.bincount(model.learner_.replay.labels).tolist() == [10, 10, 10]


@pytest.mark.parametrize(
    "use, value",
    [
        (lambda c, x, y: c.partial_fit(x, y, range(3)).partial_fit(x, y, [0, 1, 3]), "3"),
        (lambda c, x, y: c.partial_fit(x, y, range(3)).partial_fit(x, y, range(4)[1:]), "0"),
        (lambda c, x, y: c.partial_fit(x, y, range(3)).partial_fit(x, y.astype(str)), "type"),
        (lambda c, x, y: c.partial_fit(x, y, range(3)).partial_fit(x[:1], ["z"]), "type"),
        (lambda c, x, y: c.partial_fit(x, y.astype(str), list("012")).partial_fit(x[:1], [""]), "line"),
        (lambda c, x, y: c.fit(x, np.array(["e\u0301", "b", "c"])[y]), "NFC"),
        (lambda c, x, y: c.partial_fit(x, y.astype(str), list("012")).partial_fit(x[:1], ["e\u0301"]), "NFC"),
        (lambda c, x, y: c.set_params(replay=-1).fit(x, y), "replay"),
        (lambda c, x, y: c.set_params(replay=9, replay_bits=3).fit(x, y), "replay_bits"),
        (lambda c, x, y: c.partial_fit(x, y), "classes"),
        (lambda c, x, y: c.partial_fit(x, y, [0, 1]), "2"),
        (lambda c, x, y: c.fit(x, np.zeros(len(y))), "0.0"),
        (lambda c, x, y: c.set_params(hidden=(0,)).fit(x, y), "0"),
        (lambda c, x, y: c.set_params(direct=True, hidden=(8, 8)).fit(x, y), "direct"),
        (lambda c, x, y: c.set_params(direct=1).fit(x, y), "direct"),
        (lambda c, x, y: c.fit(x, y).renew_replay(x[:2], [0, 9]), "class 9"),
        (lambda c, x, y: c.set_params(learning_rate=-1.0).fit(x, y), "-1.0"),
        (lambda c, x, y: c.set_params(random_state=-1).fit(x, y), "-1"),
        (lambda c, x, y: c.set_params(input_range=(1, 1)).fit(x, y), "input_range"),
        (lambda c, x, y: c.set_params(input_range=(np.nan, 1)).fit(x, y), "input_range"),
        (lambda c, x, y: c.set_params(input_range=(0, 1, 2)).fit(x, y), "input_range"),
        (lambda c, x, y: c.set_params(input_range=5).fit(x, y), "input_range"),
        (lambda c, x, y: c.fit(np.ma.masked_less(x, 1), y), "masked"),
        (lambda c, x, y: c.set_params(hidden="deep").fit(x, y), "deep"),
    ],
)
def test_invalid_use(use, value, iris):
    with pytest.raises(ValueError, match=value):
        use(Classifier(), *iris)


def test_learning_goes_on_at_a_board(iris, monkeypatch):
    """Training through the protocol on a model of a board gives the same weights."""
    x, y = iris
    config = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16)
    monkeypatch.setattr("equilif.host.ports.the_one", lambda port, baud: client_of(Device(config)))
    golden = Classifier(hidden=(8,)).partial_fit(x[:10], y[:10], range(3))
    board = clone(golden).partial_fit(x[:10], y[:10], range(3)).to_board("/dev/ttyUSB1")
    assert np.array_equal(board.predict(x[10:20]), golden.predict(x[10:20]))
    for model in (golden, board):
        model.partial_fit(x[10:20], y[10:20])
    assert same_weights(board.learner_, golden.learner_)
