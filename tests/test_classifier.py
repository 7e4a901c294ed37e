"""The classifier with the interface of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pydantic")

from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from equilif import Classifier
from equilif.data import images
from equilif.data.own import of
from equilif.training.presets import own
from equilif.training.train import EquilibriumPropagation, epoch_plan, train_epoch
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
    run = EquilibriumPropagation.start(preset, data, 0)
    for epoch in range(2):
        for _ in train_epoch(run.learner, data, epoch_plan(preset, data, 0, epoch)):
            pass
    assert same_weights(Classifier(epochs=2).fit(x, y).learner_, run.learner)


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


@pytest.mark.parametrize(
    "use, value",
    [
        (lambda c, x, y: c.partial_fit(x, y), "classes"),
        (lambda c, x, y: c.partial_fit(x, y, [0, 1]), "2"),
        (lambda c, x, y: c.fit(x, np.zeros(len(y))), "0.0"),
        (lambda c, x, y: c.set_params(hidden=(0,)).fit(x, y), "0"),
        (lambda c, x, y: c.set_params(learning_rate=-1.0).fit(x, y), "-1.0"),
        (lambda c, x, y: c.set_params(random_state=-1).fit(x, y), "-1"),
        (lambda c, x, y: c.set_params(input_range=(1, 1)).fit(x, y), "input_range"),
        (lambda c, x, y: c.set_params(input_range=(np.nan, 1)).fit(x, y), "input_range"),
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
