"""Replay of stored samples: procedure, packed samples, files; kernel, engine and classifier with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from equilif.data.sets import images
from equilif_golden import network as networks
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.replay import BITS, ClassMeans, Reservoir, from_state, pack, unpack
from equilif_golden.sample_order import order
from tests.engines import ROOMY, verilated

NETWORK = Network.chain(6, 5, 4)
ENGINE = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16)


KINDS = [lambda: Reservoir(10, 2, bits=4, seed=5), lambda: ClassMeans(2)]


def stream(n: int = 60, classes: int = 4):
    """Samples that come class by class."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (n, 6)).astype(np.uint8), np.sort(rng.integers(0, classes, n))


def same_weights(a, b) -> bool:
    return all(np.array_equal(w, b.weights[name]) for name, w in a.weights.items())


@settings(deadline=None)
@given(st.data(), st.sampled_from(BITS), st.integers(0, 3), st.integers(1, 40))
def test_packed_samples_are_unpacked(data, bits, n, n_inputs):
    values = st.one_of(st.just(0), st.integers(0, (1 << bits) - 1))
    codes = data.draw(arrays(np.uint8, (n, n_inputs), elements=values))
    assert np.array_equal(unpack(pack(codes, bits), bits, n, n_inputs), codes)


@pytest.mark.parametrize("make", KINDS)
def test_calls_divide_a_stream_anywhere(make):
    """One call, calls of a sample, and a replay out of a file give the same samples in the same order."""
    x, y = stream()
    at = np.arange(len(y))
    whole, parts = make(), make()
    plan = whole.plan(x, y, at)
    plan.commit()
    learned = []
    for j in at:
        one = parts.plan(x[j : j + 1], y[j : j + 1], at[:1])
        learned.append(one.x[one.order])
        one.commit()
        if j == 30:
            parts = from_state(parts.state(), 6, 4)
    assert np.array_equal(np.concatenate(learned), plan.x[plan.order])
    for name, values in whole.state().items():
        assert np.array_equal(values, parts.state()[name])


def test_replays_are_in_the_order_of_the_standalone_trainer():
    x, y = stream(8)
    reservoir = Reservoir(8, 8, seed=3)
    reservoir.store(x, y)
    for epoch in range(3):
        plan = reservoir.plan(x[:1], y[:1], np.array([0]))
        # the new sample comes first, then those in the slots
        assert np.array_equal(plan.order, [0, *(order(8, 3, epoch) + 1)])
        plan.commit()


@pytest.mark.parametrize("size", [1, 7, 20])
def test_classes_are_balanced(size):
    """Each class has its share, however unequal the stream; each sample of a class has the same chance."""
    x = np.arange(400, dtype=np.uint8)[:, None] % 251
    y = np.repeat([0, 1, 2], [300, 60, 40])
    chosen = np.zeros(3)
    for seed in range(40):
        reservoir = Reservoir(size, 1, seed=seed)
        reservoir.store(x, y)
        counts = np.bincount(reservoir.labels, minlength=3)
        assert counts.sum() == size and counts.max() - counts.min() <= 1
        chosen += [(reservoir.x[:, 0] < k).sum() for k in (83, 166, 251)]
    assert size < 20 or 0.2 < chosen[0] / chosen[2] < 0.6


@pytest.mark.parametrize("make", KINDS)
def test_forgotten_classes_leave_the_others(make):
    x, y = stream()
    replay, others = make(), make()
    kept = ~np.isin(y, [1, 3])
    replay.store(x, y)
    replay.forget(np.array([1, 3, 7]))
    assert replay.seen.tolist() == [(y == 0).sum(), 0, (y == 2).sum(), 0]
    again = from_state(replay.state(), 6, 4)
    plan = again.plan(x[:1], y[:1], np.array([0]))
    assert set(plan.labels[plan.order]) <= {0, 2}
    others.store(x[kept], y[kept])
    if isinstance(replay, ClassMeans):
        assert np.array_equal(replay.sums[:3], others.sums)
    else:
        assert set(replay.labels) == {0, 2} and len(replay.x) == len(replay.labels)
    replay.store(x, y)
    assert set(np.flatnonzero(replay.seen)) == {0, 1, 2, 3}


def test_stored_values_are_stretched():
    reservoir = Reservoir(1, 1, bits=2)
    assert reservoir.quantized(np.array([[0, 63, 64, 128, 255]], np.uint8)).tolist() == [[0, 0, 85, 170, 255]]


def test_means_move_samples():
    """A sample, moved from the mean of its class to that of the next other one."""
    x = np.array([[10, 250], [30, 10], [20, 100]], np.uint8)
    means = ClassMeans(2)
    means.store(x[:2], np.array([0, 1]))
    plan = means.plan(x, np.array([0, 1, 1]), np.array([2]))
    # the mean of class 1 is (25, 55) with the new sample
    assert plan.x[plan.order].tolist() == [[20, 100], [5, 255]]
    assert plan.labels[plan.order].tolist() == [1, 0]


@pytest.mark.parametrize("make, trained", zip(KINDS, (40 + 2 * 39 - 1, None), strict=True))
def test_kernel_and_engine_learn_the_same(make, trained):
    x, y = stream(40)
    learners = [
        Kernel(NETWORK, learning_rate=0.1, replay=make()),
        Chip(EngineModel(ENGINE), NETWORK, learning_rate=0.1, replay=make()),
    ]
    for learner in learners:
        # sorted by class, which needs an order without replay
        done = [learner.train(x[part], y[part]) for part in (slice(20), slice(20, 40))]
        assert trained in (None, sum(epoch.samples for epoch in done))
    assert same_weights(*learners)
    plain = Kernel(NETWORK, learning_rate=0.1)
    plain.train(x, y, np.arange(40))
    assert not same_weights(plain, learners[0])


@pytest.mark.parametrize("make", KINDS)
def test_replay_goes_on_from_a_file(make, tmp_path):
    x, y = stream(40)
    first = Kernel(NETWORK, learning_rate=0.1, replay=make())
    first.train(x[:20], y[:20], np.arange(20))
    first.save(tmp_path / "network.npz")
    again = Kernel.load(tmp_path / "network.npz", learning_rate=0.1)
    for kernel in (first, again):
        kernel.train(x[20:], y[20:], np.arange(20))
    assert same_weights(first, again)
    networks.load(tmp_path / "network.npz")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.array([9])},
        {"labels": np.zeros(11, int)},
        {"codes": np.zeros(3, np.uint8)},
        {"codes": np.full(3, 255, np.uint8)},
        {"settings": np.array([10, 2, 3, 0])},
        {"settings": np.array([10, 2, 4])},
        {"progress": np.array([10, 0, 1])},
        {"progress": np.array([0, 0, 0])},
        {"seen": np.zeros(4, int)},
        {"seen": np.full(5, 9)},
        {"other": np.zeros(1, int)},
    ],
)
def test_damaged_files(change):
    reservoir = Reservoir(10, 2, bits=4)
    reservoir.store(*stream(20))
    with pytest.raises(ValueError):
        from_state(reservoir.state() | change, 6, 4)


@pytest.mark.parametrize(
    "change",
    [
        {"seen": np.zeros(4, int)},
        {"seen": np.full(5, 9)},
        {"sums": np.zeros(3, int)},
        {"labels": np.zeros(1)},
    ],
)
def test_damaged_means(change):
    means = ClassMeans(2)
    means.store(*stream(20))
    with pytest.raises(ValueError):
        from_state(means.state() | change, 6, 4)


@pytest.mark.parametrize(
    "size, per_sample, bits", [(0, 1, 8), (1 << 21, 1, 8), (1, -1, 8), (1, 256, 8), (1, 1, 3), (1, 1, 16)]
)
def test_invalid_settings(size, per_sample, bits):
    with pytest.raises(ValueError):
        Reservoir(size, per_sample, bits=bits)


def test_samples_of_another_network_are_rejected():
    reservoir = Reservoir(10, 2)
    reservoir.store(*stream(20))
    for other in (Network.chain(5, 4, 4), Network.chain(6, 4, 3), Network.attention(4, 4, 1, 4)):
        with pytest.raises(ValueError, match="replay"):
            Kernel(other, replay=reservoir)


@pytest.mark.regress
def test_rtl_learns_200_digits_with_replay():
    """Digits that come class by class: every weight equals that of the kernel."""
    data = images.load("digits")
    at = np.argsort(data.y_train[:200], kind="stable")
    network = Network.chain(64, 32, 10)
    engine = verilated(ROOMY)
    for make in (lambda: Reservoir(50, 4, bits=4), lambda: ClassMeans(4)):
        kernel = Kernel(network, learning_rate=0.05, replay=make())
        chip = Chip(engine, network, learning_rate=0.05, replay=make())
        done = [learner.train(data.x_train, data.y_train, at) for learner in (kernel, chip)]
        assert done[0] == done[1] and done[0].samples > 800
        assert same_weights(kernel, chip) and kernel.counter == chip.counter
