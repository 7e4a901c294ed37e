"""Streams on which the defaults of equilif.stream were chosen, none of which is in benchmarks.streams.

Five of river's generators; four made here: a noisy linear boundary, binary features, a boundary that turns,
and one that changes at once; classes of unequal frequency; and three data sets of scikit-learn in random
order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from river.datasets import synth
from sklearn import datasets

Sample = tuple[dict[Any, float], Any]
Reals = npt.NDArray[np.float64]
LENGTH = 1_500  #: samples of river's generators


def held_out() -> dict[str, list[Sample]]:
    """Samples by name of the stream."""
    drift = synth.RandomRBFDrift(
        seed_model=1,
        seed_sample=1,
        n_classes=4,
        n_features=6,
        n_centroids=12,
        change_speed=0.001,
        n_drift_centroids=6,
    )
    generators = {
        "RandomRBFDrift": drift,
        "Agrawal": synth.Agrawal(classification_function=2, seed=1),
        "Sine": synth.Sine(classification_function=2, seed=1),
        "Waveform": synth.Waveform(seed=1),
        "Mixed": synth.Mixed(classification_function=1, seed=1),
    }
    found = {name: list(stream.take(LENGTH)) for name, stream in generators.items()}
    return found | {name: _samples(x, y) for name, x, y in _made()}


def _samples(x: Reals, y: Iterable[int]) -> list[Sample]:
    return [(dict(enumerate(row)), int(label)) for row, label in zip(np.asarray(x).tolist(), y, strict=True)]


def _made() -> Iterator[tuple[str, Reals, Any]]:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 8))
    z = x @ rng.normal(size=8)
    yield "logistic", x, rng.random(2000) < 1 / (1 + np.exp(-3 * z / z.std()))
    shares = rng.beta(0.6, 0.6, size=(5, 12))
    y = rng.integers(0, 5, 2000)
    yield "binary", (rng.random((2000, 12)) < shares[y]).astype(float), y
    x = rng.uniform(0, 1, (3000, 4))
    angle = np.linspace(0, 3, 3000)
    yield "turning", x, (x[:, 0] - 0.5) * np.cos(angle) + (x[:, 1] - 0.5) * np.sin(angle) > 0
    for load, n in (
        (datasets.load_breast_cancer, 569),
        (datasets.load_wine, 178),
        (datasets.load_digits, 1000),
    ):
        x, y = load(return_X_y=True)
        order = rng.permutation(len(y))[:n]
        yield load.__name__.removeprefix("load_"), x[order], y[order]
    rng = np.random.default_rng(9)
    y = rng.choice(3, 2000, p=[0.7, 0.2, 0.1])
    centres = rng.normal(0, 1.2, (3, 5))
    yield "unequal", centres[y] + rng.normal(size=(2000, 5)), y
    x = rng.uniform(0, 10, (3000, 5))
    y = np.zeros(3000, int)
    for k in range(0, 3000, 750):
        z = x[k : k + 750] @ rng.normal(size=5)
        y[k : k + 750] = z > np.quantile(z, 0.4)
    yield "switch", x, y
