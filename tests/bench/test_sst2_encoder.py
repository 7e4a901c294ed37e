"""The encoder of benchmarks/sst2_encoder.py: sentences of several lengths, words, batches."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import sst2_encoder as bench  # noqa: E402   torch is optional
from equilif.data.ragged import Ragged  # noqa: E402
from equilif_golden.real.rates import Rates  # noqa: E402


@pytest.mark.regress
def test_encoder_is_the_network_of_as_many_positions():
    """Without padding: the rates of Network.transformer for the length of the sentence, pooled."""
    rng = np.random.default_rng(0)
    model = bench.Encoder(rng.normal(0, 1, (20, 6)), 0)
    with torch.no_grad():
        model.words.copy_((model.words * 255).round() / 256)
    words = torch.tensor(rng.integers(0, 21, (3, 5)))
    rates, drive = model(words)
    net = bench.network(5, 6)
    inside = Rates(net, model.sentence(5).quantised())
    x = (model.words[words] * 256).round().to(torch.uint8).flatten(1)
    expected, last = inside(x)
    assert torch.allclose(drive, last.view(3, 5, 2).mean(1), atol=1e-3)
    output = expected[:, inside.part["output"]].view(3, 5, 2).mean(1)
    assert torch.allclose(model.answer(words), output, atol=1e-3)
    assert rates.shape == (3, sum(p.maps for p in net.lif))
    (drive**2).sum().backward()
    used = model.words.grad.abs().sum(1) > 0
    assert set(used.nonzero()[:, 0].tolist()) == set(words.flatten().tolist())
    codes = model.w["bias-embedding"].grad.view(bench.POSITIONS, -1).abs().sum(1) > 0
    assert codes[:5].all() and not codes[5:].any()


@pytest.mark.regress
def test_masked_words_are_learned_from_their_neighbours(tmp_path, monkeypatch):
    """Reviews that count up modulo 12: both neighbours name a masked word; chance is log 12 at best."""
    monkeypatch.setattr(bench, "MASKED_LENGTHS", (8,))
    monkeypatch.setattr(bench, "MASKED_WORDS", 256)
    rng = np.random.default_rng(0)
    reviews = Ragged.of([(k + np.arange(20)) % 12 for k in range(12)], np.zeros(12, np.int64))
    vectors = rng.normal(0, 1, (12, 6))
    corpus = bench.Corpus(reviews, reviews, reviews, vectors, rng.normal(0, 1, (12, 4)))
    model = bench.masked(corpus, 100, 0, tmp_path / "masked.pt")
    again = bench.Masked(corpus.both, 1)
    again.load_state_dict(torch.load(tmp_path / "masked.pt"))
    words = torch.tensor(reviews.rows.reshape(12, 20)[:, :8]).long()
    where = torch.zeros_like(words, dtype=torch.bool)
    where[:, 4] = True
    rates, found = again(torch.where(where, 12, words), where)
    assert found.shape == (12, 10) and torch.equal(rates, model(torch.where(where, 12, words), where)[0])
    loss = model.loss(found, words[where], torch.arange(12))
    assert loss.shape == (12,) and float(loss.detach().mean()) < 0.5 * np.log(12)
    # a word is not told from itself
    assert float(model.loss(found[:1], words[where][:1], words[where][:1].repeat(3)).detach()) == 0
    tuned = bench.encoder(
        corpus, corpus.both, 0, start=model, settings=bench.FineTuning(epochs=1, learning_rate=0.0)
    )
    assert all(torch.equal(w, tuned.w[name]) for name, w in model.w.items() if name != "prediction")


def test_batches_have_one_length_and_every_sentence_once():
    part = Ragged.of([[k] * (1 + k % 3) for k in range(10)], [k % 2 for k in range(10)])
    for rng in (None, np.random.default_rng(0)):
        found = [(w.tolist(), y.tolist()) for w, y in bench.batches(part, 2, rng)]
        assert len(found) == 6
        rows = [row for w, _ in found for row in w]
        assert all(len({len(row) for row in w}) == 1 for w, _ in found)
        assert sorted(row[0] for row in rows) == list(range(10))
        assert [y for _, ys in found for (y,) in ys] == [row[0] % 2 for row in rows]


def test_words_of_one_topic_end_close():
    """Two sets of words that never meet in a review; in Python, as it is compiled for the reviews."""
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 10, 30) + 10 * (k % 2) for k in range(40)])
    a = rng.normal(0, 0.1, (20, 8)).astype(np.float32)
    b = np.zeros_like(a)
    kept, noise = np.ones(20), np.arange(20)
    off = np.arange(41) * 30
    losses = [bench.predict_words(words, off, kept, noise, a, b, 0.2, 0.1, rng) for _ in range(3)]
    unit = a / np.linalg.norm(a, axis=1, keepdims=True)
    near = unit @ unit.T
    assert losses[2] < losses[0] and near[:10, :10].mean() > near[:10, 10:].mean() + 0.5
