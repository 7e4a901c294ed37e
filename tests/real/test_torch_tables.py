"""Learned embedding tables: gradients, training in one process and in two, deployment."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from equilif.training.run import Run  # noqa: E402   torch is optional
from equilif.training.settings import tables  # noqa: E402
from equilif.training.settings.description import Description  # noqa: E402
from equilif.training.settings.presets import RATES  # noqa: E402
from equilif.training.storage.history import HISTORY, NETWORK  # noqa: E402
from equilif_golden.kernel import Kernel  # noqa: E402
from equilif_golden.network import Network, TokenRows, load, save  # noqa: E402
from equilif_golden.real.rates import PART, Rates  # noqa: E402
from equilif_golden.real.trainer import (  # noqa: E402
    Trainer,
    TrainerSettings,
    by_length,
    hinge,
    pad_batch,
    predict,
)
from equilif_golden.reference import Reference  # noqa: E402
from equilif_golden.schedule import Schedule  # noqa: E402
from tests.cli import json_of, run  # noqa: E402
from tests.rates import EXACT, in_one_and_two_processes, slope  # noqa: E402

ROWS, WIDTH, CLASSES = 12, 6, 3


def network(rows=ROWS, hidden=8):
    return Network.attention(5, WIDTH, 2, hidden, CLASSES, table_rows=rows)


def sequences(n=200, seed=0):
    """Samples with one of the tokens 0 to 2, which determines the class, and up to four others."""
    rng = np.random.default_rng(seed)
    table = rng.integers(-200, 201, (ROWS, WIDTH)).astype(np.int16)
    labels = rng.integers(0, CLASSES, n)
    lengths = rng.integers(1, 6, n)
    rows = [
        rng.permutation([label, *rng.integers(CLASSES, ROWS, k - 1)])
        for label, k in zip(labels, lengths, strict=True)
    ]
    return TokenRows(table, np.concatenate(rows).astype(np.int32), np.cumsum([0, *lengths])), labels


def begun(net, tokens, seed=1, **options):
    weights = net.initial_weights(seed)
    if net.table is not None:
        weights[net.table.name] = tokens.table.astype(np.int64)
    return Rates(net, weights, **options)


def test_gradient_of_row_sums_its_tokens():
    """Against finite differences; unused rows have no gradient."""
    table = np.random.default_rng(2).integers(-3000, 3001, (ROWS, WIDTH)).astype(np.int16)
    # row 4 is repeated, and is in two samples
    tokens = TokenRows(table, np.array([4, 1, 4, 4, 7], np.int32), np.array([0, 3, 5]))
    model = begun(network(), tokens, **EXACT)

    def loss():
        given = pad_batch(model.table(tokens), tokens, np.arange(2))
        return hinge(model(torch.zeros(2, 0), *given)[1], torch.tensor([0, 2])).sum()

    w = model.w["memory-query"]
    gradient = torch.autograd.grad(loss(), [w])[0]
    for row in (1, 4, 7):
        column = int(gradient[row].abs().argmax())
        assert gradient[row, column] != 0
        found = slope(loss, w, (row, column))
        assert found == pytest.approx(float(gradient[row, column]), rel=1e-4), row
    others = [row for row in range(ROWS) if row not in (1, 4, 7)]
    assert not gradient[others].any()


def test_learning_table_starts_as_frozen():
    """Equal rates; the table of the data is no longer used."""
    tokens, _ = sequences(20)
    table = tokens.table * 15
    tokens = tokens._replace(table=table)
    learning = begun(network(), tokens, **EXACT)
    frozen = Rates(
        network(rows=None), {n: w for n, w in learning.quantised().items() if n != "memory-query"}, **EXACT
    )
    given = [pad_batch(m.table(tokens), tokens, np.arange(20)) for m in (learning, frozen)]
    rates = [m(torch.zeros(20, 0), *g)[0] for m, g in zip((learning, frozen), given, strict=True)]
    assert torch.allclose(*rates, atol=1e-12) and rates[0].std() > 0
    assert (
        predict(learning, None, tokens=tokens._replace(table=table * 0))
        == predict(learning, None, tokens=tokens)
    ).all()


def test_uninformative_tokens_learn(tmp_path):
    tokens, labels = sequences()
    tokens = tokens._replace(table=np.zeros_like(tokens.table))
    x = np.zeros((len(labels), 0), np.uint8)
    net = network(hidden=16)

    def trained(net, scales=None, **options):
        model = begun(net, tokens, tolerance=1e-3)
        epochs = 8
        trainer = Trainer(
            model, TrainerSettings(steps=epochs * 10, learning_rate=1e-2, batch=20, **options), scales=scales
        )
        rng = np.random.default_rng(0)
        for e in range(epochs):
            trainer.epoch(x, labels, rng.permutation(len(labels)), tokens=tokens, seed=e)
        return model, float(np.mean(predict(model, x, tokens=tokens) == labels))

    model, real = trained(net, scales={"memory-query": 3.0}, weight_decay=0.01)
    frozen = trained(replace(net, populations=network(rows=None, hidden=16).populations))[1]
    assert real > 0.95 and frozen < 0.5
    # deployed: saved with its table; kernel equals reference
    save(tmp_path / "network.npz", model.network, model.deployed())
    deployed, weights = load(tmp_path / "network.npz")
    assert deployed == net and weights["memory-query"].shape == (ROWS, WIDTH)
    kernel = Kernel(deployed, weights)
    assert np.mean(kernel.predict(None, tokens=tokens) == labels) > real - 0.05
    some = tokens.take(np.arange(10))
    reference = Reference(deployed, weights).infer(np.zeros((10, 0), int), some)
    assert (reference.prediction == kernel.predict(None, tokens=some)).all()


def test_deployed_biases_compensate_rounding():
    """Long-run rates are closer to the model; only biases at and after the attention layer change."""
    tokens, _ = sequences(40)
    net = Network.attention(
        5, WIDTH, 30, 12, CLASSES, table_rows=ROWS, schedule=Schedule(free=256, nudged=16, window=16)
    )
    model = begun(net, tokens._replace(table=tokens.table * 15), tolerance=1e-6)
    with torch.no_grad():
        given = pad_batch(model.table(tokens), tokens, np.arange(40))
        real = model(torch.zeros(40, 0), *given)[0].numpy()
    plain, deployed = model.quantised(), model.deployed()

    def error(weights):
        return (Kernel(net, weights).rates(None, tokens=tokens)[0][:, 0] / 256 - real).mean()

    moved = {n for n, w in deployed.items() if (w != plain[n]).any()}
    assert moved == {"bias-query", "bias-hidden1"}
    assert error(plain) < -0.01 and abs(error(deployed)) < abs(error(plain)) / 3
    chain = Rates(Network.chain(12, 9, 4))
    assert all((w == chain.quantised()[n]).all() for n, w in chain.deployed().items())


def test_empty_sample_leaves_table():
    """Full token dropout keeps the last token of each sample: only these rows change."""
    tokens = TokenRows(sequences()[0].table, np.array([0, 1, 2, 3, 4, 5], np.int32), np.array([0, 3, 6]))
    model = begun(network(), tokens)
    before = model.w["memory-query"].detach().clone()
    trainer = Trainer(model, TrainerSettings(steps=1, batch=2, token_dropout=1.0))
    trainer.epoch(None, np.array([0, 1]), np.arange(2), tokens=tokens)
    moved = (model.w["memory-query"].detach() != before).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [2, 5]


def test_sample_order_and_padding():
    """More samples than a padded batch, in any order, one without tokens."""
    tokens, _ = sequences(2 * PART + 5)
    off = np.concatenate([[0], tokens.off])
    tokens = TokenRows(tokens.table * 15, tokens.rows, off)
    model = begun(network(), tokens, **EXACT)
    n = tokens.n_samples

    def rates(at):
        return model(torch.zeros(len(at), 0), *pad_batch(model.table(tokens), tokens, at))[0]

    mixed = np.random.default_rng(3).permutation(n)
    ordered = by_length(tokens, mixed)
    alone = torch.cat([rates(np.array([j])) for j in range(n)])
    for at in (mixed, ordered):
        assert sorted(at) == list(range(n)) and torch.allclose(rates(at), alone[at], atol=1e-9)
    lengths = np.diff(tokens.off)[ordered]
    assert (lengths[1:] >= lengths[:-1]).all() and lengths[0] == 0
    assert len(model.tokens(*pad_batch(model.table(tokens), tokens, ordered))) == 3
    expected = [
        model(torch.zeros(1, 0), *pad_batch(model.table(tokens), tokens, [j]))[1].argmax() for j in mixed
    ]
    assert predict(model, None, tokens=tokens.take(mixed), batch=9).tolist() == [int(c) for c in expected]


def test_learning_rate_scales():
    model = begun(network(), sequences()[0])
    trainer = Trainer(
        model, TrainerSettings(steps=4, learning_rate=1e-2, batch=10), scales={"memory-query": 3.0}
    )
    rates = dict(zip(model.w, trainer.optimiser.param_groups, strict=True))
    assert rates["memory-query"]["lr"] == pytest.approx(3e-2)
    assert rates["hidden1-output"]["lr"] == trainer.learning_rate == 1e-2
    tokens, labels = sequences(20)
    trainer.epoch(None, labels, np.arange(20), tokens=tokens)
    assert trainer.learning_rate == pytest.approx(5e-3) and rates["memory-query"]["lr"] == pytest.approx(
        1.5e-2
    )
    with pytest.raises(ValueError, match="memory-query, bias-query"):
        Trainer(model, TrainerSettings(steps=1), scales={"nothing": 2.0})
    with pytest.raises(ValueError, match="token_dropout"):
        Trainer(model, TrainerSettings(steps=1, token_dropout=1.5))


def test_rows_of_other_table():
    tokens, labels = sequences(10)
    other = tokens._replace(table=np.zeros((ROWS + 1, WIDTH), np.int16))
    model = begun(network(), tokens)
    for ask in (
        lambda: predict(model, None, tokens=other),
        lambda: Trainer(model, TrainerSettings(steps=1)).epoch(None, labels, np.arange(10), tokens=other),
    ):
        with pytest.raises(ValueError, match="tokens"):
            ask()


TWO = """
import sys
import numpy as np, torch
from tests.real.test_torch_tables import begun, network, sequences
from equilif_golden.real.trainer import Distributed, Trainer, TrainerSettings
distributed = Distributed.join()
tokens, labels = sequences(43)
model = begun(network(), tokens, dtype=torch.float64, tolerance=1e-10, limit=500)
trainer = Trainer(model, TrainerSettings(steps=20, learning_rate=1e-2, batch=8, token_dropout=0.3),
                  scales={"memory-query": 2.0}, distributed=distributed)
rng = np.random.default_rng(0)
for seed in range(2):
    trainer.epoch(None, labels, rng.permutation(43), tokens=tokens, seed=seed)
if distributed.rank == 0:
    np.savez(sys.argv[1], gradient=model.w["memory-query"].grad.numpy(),
             **{n: w.detach().numpy() for n, w in model.w.items()})
distributed.leave()
"""


@pytest.mark.regress
def test_table_of_two_processes_equals_one(tmp_path):
    one, two = in_one_and_two_processes(TWO, tmp_path)
    for name in one.files:
        assert np.abs(one[name] - two[name]).max() < 1e-7, name


# -- the command -----------------------------------------------------------------------------------
@pytest.fixture
def reviews(tmp_path):
    """30 reviews per class and part in the layout of Maas."""
    words = {"neg": ("bad", "dull"), "pos": ("good", "fine")}
    (tmp_path / "glove.txt").write_text(
        "".join(f"{w} 0.1 {k / 4}\n" for k, w in enumerate(("film", "plot", "cast", "end")))
        + "".join(f"{w} 0.3 0.2\n" for w in ("bad", "dull", "good", "fine"))
    )
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for sign, adjectives in words.items():
            folder = tmp_path / "aclImdb" / part / sign
            folder.mkdir(parents=True)
            for k in range(30):
                about = rng.choice(["film", "plot", "cast", "end"], 4)
                (folder / f"{k}_1.txt").write_text(" ".join([*about, adjectives[k % 2]]))
    return tmp_path


def test_reviews_end_to_end(reviews, monkeypatch):
    few = Description.of({**RATES["imdb"].content(), **tables.memory(5, 2, 64), "loading": {}}, "imdb")
    monkeypatch.setitem(RATES._read, "imdb", few)  # needs 50 words
    out = reviews / "run"
    rates = ("table_learning_rate=10", "learning_rate=0.003", "weight_decay=0", "batch_size=6")
    keys = (
        "loading.bigrams=3",
        "loading.tokens=12",
        "rates.token_dropout=0.1",
        *(f"rates.{key}" for key in rates),
    )
    options = ("--hidden", 6, *(word for key in keys for word in ("--set", key)))
    run("train-rates", "imdb", "--data", reviews, *options, "--epochs", 12, "--out", out)
    history = json.loads((out / HISTORY).read_text())
    assert history["preset"]["population"]["memory"]["size"] == 12
    assert history["preset"]["loading"]["bigrams"] == 3
    assert history["sizes"] == "12 tokens of 2 x 2 heads-6-2" and history["epochs"][-1]["test_accuracy"] > 0.9
    net, weights = load(out / NETWORK)
    assert net.table is not None and weights[net.table.name].shape == (8 + 3, 2)
    run("train-rates", "imdb", "--data", reviews, "--resume", "--epochs", 13, "--out", out)
    assert len(json.loads((out / HISTORY).read_text())["epochs"]) == 13
    deployed = json_of("deploy", out, "--data", reviews, "--steps", 24)
    assert deployed["settled"] == 1 and deployed["spiking"][0]["accuracy"] > 0.9
    assert deployed["quantisation"][0]["synapse"] == "memory-query"


def test_frozen_table_is_of_data(reviews):
    content = {**RATES["imdb"].content(), **tables.memory(12, 2, 4), "loading": {}}
    frozen = Description.of(content, "imdb").changed(table_learning_rate=0.0, validation_samples=20, epochs=1)
    begun_ = Run.start(frozen, reviews)
    assert begun_.network.table is None
    begun_.epoch()
    d = frozen.load(reviews)
    assert (len(d.y_train), len(d.y_test), d.tokens_train.n_samples, d.tokens_test.n_samples) == (
        40,
        20,
        40,
        20,
    )
    whole = frozen.changed(validation_samples=0).load(reviews)
    held = sorted(d.tokens_train.rows_of(j).tolist() for j in range(40))
    held += [d.tokens_test.rows_of(j).tolist() for j in range(20)]
    assert sorted(held) == sorted(whole.tokens_train.rows_of(j).tolist() for j in range(60))


@pytest.mark.parametrize(
    "options, message",
    [
        (("digits", "--set", "rates.table_learning_rate=2"), "rates.table_learning_rate=2"),
        (("digits", "--set", "rates.token_dropout=0.5"), "rates.token_dropout=0.5"),
        (("digits", "--set", "loading.tokens=5"), "tokens"),
        (("digits", "--set", "loading.bigrams=5"), "bigrams"),
        (("vowels", "--set", "loading.bigrams=5"), "'bigrams', only max_tokens"),
        (("imdb", "--set", "loading.tokens=2000"), "1024"),
        (("imdb", "--set", "rates.token_dropout=2"), "token_dropout"),
        (("imdb", "--set", "rates.table_learning_rate=-1"), "table_learning_rate"),
        (("imdb", "--resume", "--set", "loading.bigrams=5"), "--set loading.bigrams"),
        (("imdb", "--data", "/nowhere"), "aclImdb/train/pos"),
    ],
)
def test_invalid_token_options(options, message, tmp_path):
    assert message in run("train-rates", *options, "--out", tmp_path / "out", code=2)
    assert not list(tmp_path.iterdir())
