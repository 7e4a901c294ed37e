"""Recall of stored images: digits, and patterns with a known result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from equilif.data.sets import images as data
from equilif.training.analysis import recall
from equilif.training.storage.folder import RECALL
from equilif_golden.hopfield import Hopfield

plots = pytest.importorskip("equilif.show.plots", exc_type=ImportError)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def result(digits):
    steps = []
    out = recall.run(digits, 40, blank=0.4, progress=steps.append)
    assert steps == list(range(1, 41))
    return out


def test_half_an_image_is_enough(result):
    """Fixed point recalls as many as real arithmetic within one cue.

    The classical network is far above its capacity of 0.14 x 64.
    """
    assert result.fixed.nearest >= 0.95 and abs(result.fixed.nearest - result.real.nearest) <= 1 / 40
    assert result.fixed.exact >= 0.8 and result.fixed.error < 0.05
    assert result.hebb.nearest < 0.2 and result.hebb.exact < 0.2
    assert 1 <= result.steps < 20


def test_energies_of_integer_states(digits, result):
    assert len(result.energies) == recall.EXAMPLES and all(e[-1] < e[0] for e in result.energies)
    again = recall.run(digits, 40, blank=0.4, steps=1)
    assert [e[:2] for e in result.energies] == again.energies and again.steps == 1


def test_reported_images(digits, result):
    shown = result.images
    assert {name: a.shape for name, a in shown.items()} == dict.fromkeys(
        ("stored", "cue", "fixed", "real", "hebb"), (8, 64)
    )
    assert all((0 <= a).all() and (a <= 1).all() for a in shown.values())
    cut = round(64 * 0.6)
    assert np.abs(shown["cue"] - shown["stored"])[:, :cut].max() < 0.05, "8 bits"
    assert np.abs(shown["cue"][:, cut:] - shown["cue"][0, cut:]).max() < 1e-9, (
        "the mean image, the same for all"
    )
    assert np.abs(shown["fixed"] - shown["stored"]).mean() < 0.02


def test_same_seed_same_result(digits, result):
    again = recall.run(digits, 40, blank=0.4)
    assert again.to_dict() == result.to_dict()
    other = recall.run(digits, 40, blank=0.4, seed=1)
    assert (other.images["stored"] != result.images["stored"]).any()
    report = json.loads(json.dumps(result.to_dict()))
    assert (
        report["fixed"]
        == {"nearest": result.fixed.nearest, "exact": result.fixed.exact, "error": result.fixed.error}
        and "images" not in report
    )


def test_recall_without_blank(digits):
    whole = recall.run(digits, 30, blank=0.0)
    assert whole.fixed.nearest == whole.real.nearest == 1 and whole.fixed.error < 0.02


def test_stored_images_have_equal_norm(digits):
    x = digits.x_train[:50]
    patterns, mean, scale = recall.store(x)
    norm = np.linalg.norm(patterns, axis=1)
    assert np.ptp(norm) < 1e-9 and np.abs(patterns).max() == pytest.approx(127 / 128)
    assert mean + patterns / scale == pytest.approx(x / 255)
    with pytest.raises(ValueError, match="mean"):
        recall.store(np.full((3, 4), 7, np.uint8))


def test_bright_images_dominate_without_normalisation(digits):
    """Without equal norms far fewer cues recall their image."""
    x = digits.x_train[np.random.default_rng(0).choice(len(digits.x_train), 40, replace=False)]
    memory = Hopfield.of(x >> 1, sharpness=5)
    seen = np.arange(64) < round(64 * 0.6)
    final = np.stack([memory.recall(codes * seen)[-1] for codes in x.astype(np.int64) >> 1])
    assert ((final @ (x.astype(np.int64) >> 1).T).argmax(axis=1) == np.arange(40)).mean() < 0.6


def test_real_update_equals_ramsauer():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.4, (7, 5))
    q = rng.normal(0, 0.4, (2, 5))
    for steps in (1, 3):
        expected = q
        for _ in range(steps):
            p = np.exp(3.0 * expected @ x.T)
            expected = (p / p.sum(axis=1, keepdims=True)) @ x
        assert recall._real(x, q, 3.0, steps) == pytest.approx(expected)
    settled = recall._real(x, q, 3.0, None)
    assert recall._real(x, settled, 3.0, 1) == pytest.approx(settled, abs=1e-5)


def test_classical_hopfield_below_capacity():
    """The classical network recalls 10 random patterns of 200 signs with half of each blank, but not 100."""
    rng = np.random.default_rng(0)
    for n, at_least, at_most in ((10, 0.9, 1), (100, 0, 0.1)):
        x = rng.choice([-1, 1], (n, 200))
        final = recall._hebb(x, x * (np.arange(200) < 100), rng)
        assert at_least <= (final == x).all(axis=1).mean() <= at_most and set(np.unique(final)) <= {-1, 1}


def test_score():
    patterns = np.array([[4, 0], [0, 4]])
    score = recall._score(np.array([[4, 0], [3, 2]]), patterns)
    assert (score.nearest, score.exact, score.error) == (0.5, 0.5, (9 + 4) / 16 / 2)
    assert recall._score(patterns + 0.001, patterns, 0.01).exact == 1


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n": 1}, "images"),
        ({"n": 1438}, "images"),
        ({"n": 1100}, "1024"),
        ({"n": 9, "blank": 1.0}, "blank"),
        ({"n": 9, "blank": -0.1}, "blank"),
        ({"n": 9.0}, r"2\.\.1437"),
        ({"n": 9, "seed": -1}, "seed"),
        ({"n": 9, "steps": 0}, "steps"),
        ({"n": 9, "sharpness": 6}, "sharpness"),
    ],
)
def test_invalid_arguments(digits, options, message):
    with pytest.raises(ValueError, match=message):
        recall.run(digits, **options)


def test_picture(result, tmp_path):
    plots.recall(result, tmp_path / RECALL)
    assert (tmp_path / "recall.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="63 pixels"):
        plots.recall(replace(result, pixels=63, shape=()), tmp_path / "x.png")


def test_colour_picture(tmp_path):
    image = pytest.importorskip("matplotlib.image")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 100, (20, 4, 6, 3), dtype=np.uint8)
    x[:, 0, :3] = (255, 128, 0)
    x = x.reshape(20, -1)
    colours = data.DataSet("colours", x, np.arange(20) % 2, x, np.arange(20) % 2, shape=(4, 6, 3))
    plots.recall(recall.run(colours, 8, sharpness=2), tmp_path / "c.png")
    drawn = np.rint(image.imread(tmp_path / "c.png")[..., :3] * 255).astype(int)
    assert (np.abs(drawn - (255, 128, 0)).max(axis=-1) <= 1).sum() > 100


MNIST = Path(__file__).parents[2] / "data"


@pytest.mark.long
def test_mnist():
    """1,000 images, half of each blank."""
    try:
        mnist = data.load("mnist", MNIST)
    except ValueError:
        pytest.skip("no MNIST in data/")
    result = recall.run(mnist, 1000)
    assert result.fixed.nearest >= 0.95 and result.hebb.nearest < 0.05
