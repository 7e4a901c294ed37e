"""Rate networks: fixed points, gradients by three methods, training in one process and in two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from equilif.data.sets import images as data  # noqa: E402   torch is optional
from equilif_golden.fixed import Numerics  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import (  # noqa: E402
    Attention,
    Network,
    Population,
    Relay,
    Synapse,
    TokenRows,
)
from equilif_golden.real.equilibrium import anderson  # noqa: E402
from equilif_golden.real.rates import Rates, agreement, integer_rates  # noqa: E402
from equilif_golden.real.trainer import (  # noqa: E402
    Distributed,
    Trainer,
    TrainerSettings,
    hinge,
    pad_batch,
    predict,
)
from equilif_golden.real.twin import Twin, gradient_report  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402
from tests.hostile import arrays  # noqa: E402
from tests.networks import CHAIN, NETWORKS, sample  # noqa: E402
from tests.rates import EXACT, in_one_and_two_processes, slope, torch


# -- solver ----------------------------------------------------------------------------------------
def test_anderson_acceleration():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(20, 20, dtype=torch.float64, generator=generator)
    a = 0.95 * (a + a.T) / torch.linalg.matrix_norm(a + a.T, 2)
    b = torch.randn(7, 20, dtype=torch.float64, generator=generator)
    start = torch.zeros(7, 20, dtype=torch.float64)
    r, found = anderson(lambda r: r @ a + b, start, tolerance=1e-10, limit=500)
    assert torch.allclose(r, b @ torch.linalg.inv(torch.eye(20, dtype=torch.float64) - a), atol=1e-8)
    plain = anderson(lambda r: r @ a + b, start, tolerance=1e-10, limit=500, memory=1)[1]
    assert (
        found.settled == plain.settled == 1.0
        and found.worst <= 1e-10
        and found.iterations < plain.iterations / 2
    )


def test_unsettled_samples_are_reported():
    """r -> 1 - r oscillates from 0; the other sample is a fixed point."""
    r, found = anderson(
        lambda r: torch.stack([r[0] * 0 + (r[0] == 0), r[1]]),
        torch.zeros(2, 3),
        tolerance=1e-6,
        limit=9,
        memory=1,
    )
    assert (found.iterations, found.settled, found.worst) == (9, 0.5, 1.0) and found.residual.tolist() == [
        1.0,
        0.0,
    ]


def test_sweeps_settle_strong_feedback():
    network = Network.chain(40, 60, 10)
    model = Rates(network, network.initial_weights(0, scale=2.5), limit=200)
    model(torch.tensor(sample(network)[0]))
    assert torch.linalg.matrix_norm(model.w["hidden1-output"].detach(), 2) > 2 and model.there.settled == 1.0


# -- networks --------------------------------------------------------------------------------------
@NETWORKS
def test_rates_equal_twin(network):
    x, _ = sample(network)
    weights = network.initial_weights(1, scale=0.8)
    twin = Twin(network, weights)
    model = Rates(network, weights, **EXACT)
    rates, drive = model(torch.tensor(x))
    start = twin.clamp(x)
    there = torch.cat([start[:, : twin.n_clamped], rates.detach()], 1)
    # a stable fixed point of the twin
    assert (twin.settle(there) - there).abs().max() < 1e-9
    same = (twin.settle(start) - there).abs().amax(1) < 1e-9  # strong feedback has several
    assert same.sum() >= 0.9 * len(x)
    assert torch.allclose(drive.clamp(0, 1), rates[:, model.part[network.output]])
    assert all((model.quantised()[n] == w).all() for n, w in weights.items())


@NETWORKS
def test_gradients_agree(network):
    """Implicit, unrolled and EP; most samples have no rate at a clip limit."""
    x, labels = sample(network, 100)
    found = agreement(network, network.initial_weights(1, scale=0.8), x, labels)
    assert found["elsewhere"] == 0 and found["crossed"] < 10
    assert set(found["synapses"]) == {s.name for s in network.synapses}
    for name, cosines in found["synapses"].items():
        assert cosines["unrolled"] > 1 - 1e-9 and cosines["ep"] > 1 - 1e-4, name
    assert found["all"]["unrolled"] > 0.999 and found["ep_all"] > 0.99


def test_gradient_without_feedback_is_backpropagation():
    network = Network.chain(12, 9, 7, 4, feedback=False)
    backwards = replace(network, populations=network.populations[:2] + network.populations[:1:-1])
    x, labels = sample(network)
    # the same network with sweeps in another order
    other = Rates(backwards, network.initial_weights(1, scale=0.8), **EXACT)
    model = Rates(network, network.initial_weights(1, scale=0.8), **EXACT)
    labels = torch.tensor(labels)
    implicit = torch.autograd.grad(hinge(model(torch.tensor(x))[1], labels).sum(), list(model.values))
    r = torch.tensor(x).double() / 256
    w = model.w
    for pre, post in (("input", "hidden1"), ("hidden1", "hidden2"), ("hidden2", "output")):
        z = r @ w[f"{pre}-{post}"] + w[f"bias-{post}"] * 255 / 256
        r = z.clamp(0, 1)
    assert model.there.iterations == 1 and model.back is None
    for a, b in zip(implicit, torch.autograd.grad(hinge(z, labels).sum(), list(model.values)), strict=True):
        assert a.norm() > 0 and torch.allclose(a, b, atol=1e-12)
    slow = torch.autograd.grad(hinge(other(torch.tensor(x))[1], labels).sum(), list(other.values))
    assert other.there.iterations > 3 and other.back.iterations > 1
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(implicit, slow, strict=True))


def attention_windows(network, weights, rows, j):
    """Output rates of sample ``j`` after the windows of the free phase."""
    relay = network.dynamic_attention.relay
    real = {name: w / 4096 for name, w in weights.items()}
    bias = {name: real[f"bias-{name}"].reshape(-1) * 255 / 256 for name in ("query", "hidden1", "output")}
    v, u = real["query-hidden1"], real["hidden1-output"]
    x = rows.table[rows.rows_of(j)] / 4096
    k = 2.0 ** (network.dynamic_attention.attention.sharpness - 1) * np.log(2)
    retrieved = np.zeros(relay.size)
    hidden, output = np.zeros(len(u)), np.zeros(u.shape[1])
    for window in range(network.schedule.free // network.schedule.window):
        if window:
            query = np.clip(bias["query"] + v @ hidden, -1, 1).reshape(relay.heads, relay.width)
            p = np.exp(k * query @ x.T)
            p /= p.sum(axis=1, keepdims=True)
            retrieved = np.clip(2.0**relay.gain * p @ x, -1, 1).ravel()
        for _ in range(2):
            hidden = np.clip(retrieved @ v / 2 + bias["hidden1"] + u @ output, 0, 1)
            output = np.clip(hidden @ u + bias["output"], 0, 1)
    return output


def test_attention_fixed_point_equals_windows():
    """Equal to the rates after many windows, each of which has one retrieval and two updates.

    Gradients of a query, a synapse to the relay and a readout against finite differences.
    """
    network = Network.attention(5, 6, 2, 8, 3, schedule=Schedule(free=320, nudged=16))
    rng = np.random.default_rng(0)
    rows = TokenRows(
        rng.integers(-4096, 4097, (9, 6)).astype(np.int16),
        rng.integers(0, 9, 12).astype(np.int32),
        np.array([0, 5, 8, 12]),
    )
    weights = network.initial_weights(1, bias=0.3, scale=0.8)
    model = Rates(network, weights, **EXACT)
    inputs = torch.zeros(3, 0), *pad_batch(model.table(rows), rows, np.arange(3))

    def loss():
        return hinge(model(*inputs)[1], torch.tensor([0, 1, 2])).sum()

    settled = model(*inputs)[0][:, -3:].detach().numpy()
    for j, rates in enumerate(settled):
        np.testing.assert_allclose(rates, attention_windows(network, weights, rows, j), atol=1e-5)
    gradient = dict(zip(model.w, torch.autograd.grad(loss(), list(model.values)), strict=True))
    for name in ("bias-query", "query-hidden1", "hidden1-output"):
        at = np.unravel_index(int(gradient[name].abs().argmax()), gradient[name].shape)
        assert gradient[name][at] != 0 and slope(loss, model.w[name], at) == pytest.approx(
            float(gradient[name][at]), rel=1e-4
        ), name


def test_stored_patterns_learn():
    network = Network(
        (
            Population("x", 6, "input"),
            Population("b", 1, "constant"),
            Population("y", 4),
            Attention("m", 5),
            Relay("q", 3),
        ),
        (Synapse("x", "y"), Synapse("b", "y"), Synapse("m", "q"), Synapse("b", "q"), Synapse("q", "y")),
        "y",
        Schedule(nudged=16),
    )
    rng = np.random.default_rng(0)
    model = Rates(
        network,
        {n: rng.integers(-2000, 2001, w.shape) for n, w in network.initial_weights().items()},
        **EXACT,
    )
    x = torch.tensor(rng.integers(0, 256, (5, 6)))
    y = torch.tensor([0, 1, 2, 3, 0])

    def loss():
        return hinge(model(x)[1], y).sum()

    gradient = dict(zip(model.w, torch.autograd.grad(loss(), list(model.values)), strict=True))
    for name in ("m-q", "b-q", "q-y"):
        assert gradient[name][0, 1] != 0 and slope(loss, model.w[name], (0, 1)) == pytest.approx(
            float(gradient[name][0, 1]), rel=1e-4
        ), name
    with pytest.raises(ValueError, match=r"\b1\b"):
        Rates(replace(network, schedule=Schedule(nudged=16, threshold=0.5)))


def test_trained_sequences_as_spikes():
    """One informative token among up to four others."""
    network = Network.attention(5, 8, 2, 16, 3)
    rng = np.random.default_rng(0)
    table = rng.integers(-4096, 4097, (20, 8)).astype(np.int16)
    labels = rng.integers(0, 3, 300)
    lengths = rng.integers(1, 6, 300)
    rows = [
        rng.permutation([label, *rng.integers(3, 20, n - 1)])
        for label, n in zip(labels, lengths, strict=True)
    ]
    tokens = TokenRows(table, np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths]))
    model = Rates(network, network.initial_weights(1), tolerance=1e-3)
    x = np.zeros((300, 0), np.uint8)
    trainer = Trainer(model, TrainerSettings(steps=8 * 20, learning_rate=2e-2, batch=15))
    for e in range(8):
        trainer.epoch(x, labels, rng.permutation(300), tokens=tokens, seed=e)
    # no patterns, no retrieval
    empty = TokenRows(table, tokens.rows[:0], np.zeros(2, np.int64))
    assert Kernel(network, model.quantised()).predict(None, tokens=empty) == predict(
        model, x[:1], tokens=empty
    )
    predictions = predict(model, x, tokens=tokens)
    assert np.mean(predictions == labels) > 0.9
    assert np.mean(Kernel(network, model.quantised()).predict(None, tokens=tokens) == predictions) > 0.9


def test_loss():
    drive = torch.tensor([[0.4, 0.3, 0.9], [1.5, -0.5, 0.2], [-0.5, 1.5, -1.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 0])
    y = torch.tensor([1.0, 0, 0])
    assert float(hinge(drive, labels)[0].detach()) == pytest.approx(
        float(((drive[0].detach() - y) ** 2).sum() / 2)
    )
    gradient = torch.autograd.grad(hinge(drive, labels).sum(), drive)[0]
    assert torch.allclose(gradient, torch.tensor([[-0.6, 0.3, 0.9], [0.0, 0.0, 0.2], [-1.5, 1.5, 0.0]]))


# -- training --------------------------------------------------------------------------------------
def trained(network=None, epochs=7, **options):
    d = data.load("digits")
    model = Rates(network or Network.chain(64, 32, 10))
    trainer = Trainer(
        model,
        TrainerSettings(steps=epochs * -(-len(d.x_train) // 32), learning_rate=3e-3, batch=32, **options),
    )
    passes = [
        trainer.epoch(d.x_train, d.y_train, np.random.default_rng(e).permutation(len(d.x_train)), seed=e)
        for e in range(epochs)
    ]
    return d, model, passes


@pytest.mark.parametrize("feedback, options", [(True, {"dropout": 0.05, "weight_decay": 0.01}), (False, {})])
def test_trained_digits_as_spikes(feedback, options):
    """Accuracy in floating point, and quantised on the golden kernel in 24 steps."""
    d, model, passes = trained(Network.chain(64, 32, 10, feedback=feedback), **options)
    real = float(np.mean(predict(model, d.x_test) == d.y_test))
    assert real > 0.93 and passes[-1].loss < passes[0].loss / 3 and passes[-1].hits > 0.9 * passes[-1].samples
    assert min(p.settled for p in passes) > 0.99
    assert abs(Kernel(model.network, model.quantised()).accuracy(d.x_test, d.y_test) - real) < 0.02


def test_weights_stay_in_format():
    narrow = replace(Network.chain(64, 8, 10), numerics=Numerics(weight_width=10))
    _, model, _ = trained(narrow, epochs=2)
    limit = 512 / 4096
    largest = max(float(w.detach().abs().max()) for w in model.values)
    assert largest == pytest.approx(limit)  # the clip limit was reached
    assert all(w.min() >= -512 and w.max() <= 511 for w in model.quantised().values())


def test_deployed_rates_equal_model():
    """Long windows of the golden kernel against the settled rates."""
    d, model, _ = trained(epochs=3)
    weights = model.quantised()
    x = d.x_test[:50]
    with torch.no_grad():
        real = model(torch.tensor(x))[0].numpy()
    spikes = Kernel(
        replace(
            model.network,
            schedule=Schedule(free=256, nudged=32, window=32),
            numerics=Numerics(charge_width=20),
        ),
        weights,
    )
    # one code: rounding down, and 255/256 for 1
    assert np.median(np.abs(spikes.rates(x)[0][:, 0] / 256 - real)) <= 1 / 256


TWO = """
import sys
import numpy as np, torch
from equilif_golden.network import Network
from equilif_golden.real.rates import Rates
from equilif_golden.real.trainer import Distributed, Trainer, TrainerSettings
distributed = Distributed.join()
network = Network.chain(12, 9, 4)
model = Rates(network, network.initial_weights(1, scale=0.8), dtype=torch.float64, tolerance=1e-10, limit=500)
trainer = Trainer(model, TrainerSettings(steps=20, learning_rate=1e-2, batch=8), distributed=distributed)
rng = np.random.default_rng(0)
x, labels = rng.integers(0, 256, (43, 12)).astype(np.uint8), rng.integers(0, 4, 43)
passes = [trainer.epoch(x, labels, rng.permutation(43)) for _ in range(2)]
if distributed.rank == 0:
    np.savez(sys.argv[1], loss=[p.loss for p in passes], samples=[p.samples for p in passes],
             world=distributed.world, gradient=model.values[0].grad.numpy(),
             **{n: w.detach().numpy() for n, w in model.w.items()})
distributed.leave()
"""


@pytest.mark.regress
def test_two_processes_equal_one(tmp_path):
    """Gloo on the CPU, batches that do not divide evenly: gradients and weights equal those of the whole
    batch.
    """
    one, two = in_one_and_two_processes(TWO, tmp_path)
    assert (int(one["world"]), int(two["world"])) == (1, 2) and one["samples"].tolist() == two[
        "samples"
    ].tolist() == [43, 43]
    for name in set(one.files) - {"world"}:
        assert np.abs(one[name] - two[name]).max() < 1e-7, name


def test_batch_covers_processes():
    with pytest.raises(ValueError, match=r"\b2\b"):
        Trainer(Rates(CHAIN), TrainerSettings(steps=1, batch=2), distributed=Distributed(0, 4))


# -- errors ----------------------------------------------------------------------------------------
X, Y = sample(CHAIN, 8)
WEIGHTS = CHAIN.initial_weights()
#: functions of samples; of samples and labels; and of an order, too
CALLS: dict[str, tuple[Callable[..., object], int]] = {
    "predict": (lambda x: predict(Rates(CHAIN), x), 1),
    "clamp": (lambda x: Twin(CHAIN, WEIGHTS).clamp(x), 1),
    "agreement": (lambda x, labels: agreement(CHAIN, WEIGHTS, x, labels), 2),
    "report": (lambda x, labels: gradient_report(CHAIN, WEIGHTS, x, labels), 2),
    "epoch": (lambda *given: Trainer(Rates(CHAIN), TrainerSettings(steps=1)).epoch(*given), 3),
}


@pytest.mark.parametrize("name", CALLS)
def test_samples_are_refused_as_by_kernel(name):
    """With the same error."""
    call, n = CALLS[name]
    kernel = Kernel(CHAIN, learning_rate=0.05)
    methods: dict[int, Callable[..., object]] = {1: kernel.predict, 2: kernel.accuracy, 3: kernel.train}
    good = (X, Y, np.arange(8))[:n]
    refused = 0
    for k, value in enumerate(good):
        for other in (None, 1, *arrays(value)):
            arguments = (*good[:k], other, *good[k + 1 :])
            try:
                methods[n](*arguments)
            except (ValueError, TypeError) as wanted:
                with pytest.raises(type(wanted)) as e:
                    call(*arguments)
                assert str(wanted).startswith(str(e.value))  # noqa: PT017
                refused += 1
    assert refused > 60 * n


def test_drives_of_integer_rates():
    with pytest.raises(ValueError, match="drives"):
        integer_rates(CHAIN, WEIGHTS, np.zeros((2, 13)))
    with pytest.raises(ValueError, match="drives"):
        integer_rates(CHAIN, WEIGHTS, np.zeros((2, 5), int))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"batch": 2.5}, "batch"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
    ],
)
def test_invalid_training_options(options, message):
    with pytest.raises(ValueError, match=message):
        TrainerSettings(**{"steps": 1, **options})


def test_invalid_tokens():
    network = Network.attention(6, 8, 2, 5, 3)
    table = np.zeros((4, 8), np.int16)
    good = TokenRows(table, np.arange(4, dtype=np.int32), np.array([0, 2, 4]))
    model = Rates(network)
    with pytest.raises(ValueError, match="offsets"):
        predict(model, None, tokens=good._replace(off=np.array([0, 10**6, 4])))
    with pytest.raises(ValueError, match="rows"):
        predict(model, None, tokens=good._replace(rows=np.arange(4) + 1))
    with pytest.raises(ValueError, match="patterns"):
        predict(model, None, tokens=good._replace(table=table / 2))
    with pytest.raises(ValueError, match="tokens"):
        predict(model, np.zeros((2, 0), np.uint8))
    with pytest.raises(ValueError, match="tokens"):
        predict(Rates(CHAIN), X, tokens=good)


def test_token_fraction_bits():
    """Patterns mean code / 2**fraction for any number of fraction bits."""
    network = Network.attention(6, 8, 2, 5, 3, numerics=Numerics(fraction=10))
    tokens = TokenRows(np.full((1, 8), 512, np.int16), np.zeros(1, np.int32), np.array([0, 1]))
    assert float(Rates(network).table(tokens)[0, 0]) == 0.5
