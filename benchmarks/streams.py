"""Streams: prequential accuracy of equilif and of river's models, sample by sample.

    python -m benchmarks streams [--run NAME ...]

Real streams are those of river's package: Phishing, ImageSegments and Bananas.  Generated ones have drift:
the concept of SEA changes after every 1,000 samples, the attributes of LED drift, the hyperplane rotates.
"moving" are four normal classes in four dimensions whose mean moves by ten deviations.

equilif is equilif.river.StreamClassifier with its defaults, which were chosen on thirteen other streams
(docs/notes/continual_learning.md).  Models of river have its defaults; logistic regression is one against
the rest for more than two classes, after StandardScaler.  MLPClassifier of scikit-learn has a hidden layer
of the same size and partial_fit of each sample after StandardScaler.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from river import datasets, drift, forest, linear_model, multiclass, preprocessing, tree
from river.datasets import synth
from sklearn.neural_network import MLPClassifier

from benchmarks.common import choose
from equilif.river import StreamClassifier

Sample = tuple[dict[Any, float], Any]
LENGTH = 4_000  #: samples of a generated stream


def moving() -> Iterator[Sample]:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 4, (4, 4))
    y = rng.integers(0, 4, LENGTH)
    x = centres[y] + rng.normal(0, 1, (LENGTH, 4)) + np.linspace(0, 10, LENGTH)[:, None]
    return zip(map(dict, map(enumerate, x.tolist())), y.tolist(), strict=True)


def sea() -> Iterator[Sample]:
    parts = (synth.SEA(variant=k, seed=k).take(LENGTH // 4) for k in range(4))
    return itertools.chain.from_iterable(parts)


STREAMS: dict[str, Callable[[], Iterable[Sample]]] = {
    "Phishing": datasets.Phishing,
    "ImageSegments": datasets.ImageSegments,
    "Bananas": datasets.Bananas,
    "SEA": sea,
    "LED": lambda: synth.LEDDrift(seed=1, noise_percentage=0.1, n_drift_features=4).take(LENGTH),
    "hyperplane": lambda: synth.Hyperplane(seed=1, n_features=10, n_drift_features=5, mag_change=0.001).take(
        LENGTH
    ),
    "moving": moving,
}


class MlpLearner:
    """MLPClassifier of scikit-learn on single samples."""

    def __init__(self, classes: Sequence[Any]):
        self.scale: Any = preprocessing.StandardScaler()
        self.classes = list(classes)
        self.model = MLPClassifier((StreamClassifier().hidden,), random_state=0)
        self.begun = False

    def _row(self, x: dict[Any, float]) -> list[list[float]]:
        return [list(self.scale.transform_one(x).values())]

    def predict_one(self, x: dict[Any, float]) -> Any:
        return self.model.predict(self._row(x))[0] if self.begun else None

    def learn_one(self, x: dict[Any, float], y: Any) -> None:
        self.scale.learn_one(x)
        self.model.partial_fit(self._row(x), [y], classes=None if self.begun else self.classes)
        self.begun = True


def linear() -> Any:
    return preprocessing.StandardScaler() | multiclass.OneVsRestClassifier(linear_model.LogisticRegression())


MODELS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "equilif": lambda classes: StreamClassifier(),
    "without replay": lambda classes: StreamClassifier(replay=0),
    "without detection": lambda classes: StreamClassifier(drift=None),
    "ADWIN": lambda classes: StreamClassifier(drift=drift.ADWIN()),  # type: ignore[no-untyped-call]
    "logistic regression": lambda classes: (
        linear() if len(classes) > 2 else preprocessing.StandardScaler() | linear_model.LogisticRegression()
    ),
    "Hoeffding tree": lambda classes: tree.HoeffdingTreeClassifier(),
    "adaptive random forest": lambda classes: forest.ARFClassifier(seed=0),
    "MLPClassifier": MlpLearner,
}


def measure(stream: Iterable[Sample], make: Callable[[Sequence[Any]], Any]) -> tuple[float, float]:
    """Prequential accuracy, and milliseconds of a sample."""
    samples = list(stream)
    model = make(sorted({y for _, y in samples}, key=str))
    right = 0
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for x, y in samples:
            right += bool(model.predict_one(x) == y)
            model.learn_one(x, y)
    return right / len(samples), (time.process_time() - start) / len(samples) * 1000


def main(
    *,
    run: Annotated[Sequence[str], "streams (default: all)"] = (),
) -> None:
    for name in choose(run, STREAMS, "stream"):
        stream = list(STREAMS[name]())
        found = {model: measure(stream, make) for model, make in MODELS.items()}
        shown = "  ".join(f"{model} {100 * a:.1f} % ({ms:.1f} ms)" for model, (a, ms) in found.items())
        print(f"{name:14} {shown}", flush=True)
