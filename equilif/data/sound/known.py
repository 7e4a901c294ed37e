"""Known words: which words are like those of training, and which are unknown.

The output rates of a network do not tell: an unknown word excites some output as strongly as a known one.
So a word is compared with the training words themselves.  Its tokens are pooled to SPANS means of each band,
and these are projected to DIMENSIONS values, in which the spread of the words of a class is one in every
direction.  A word is unknown when its nearest training word is further away than ``threshold``.

The threshold comes from words that were held out: each of FOLDS parts of the training words is compared with
the others, and FALSE_REJECTS of them are beyond it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Floats
from equilif_golden.fixed import Raw
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.network import TokenRows

SPANS = 8
FEATURES = SPANS * BANDS
DIMENSIONS = 64
SHRINKAGE = 40  #: words of a class with equal variances, which are added to the covariance
FOLDS = 5
FALSE_REJECTS = 0.05
MIN_WORDS = 20  #: of training, to tell what is unknown
MAX_WORDS = 4000  #: that are stored


@dataclass(frozen=True, kw_only=True)
class KnownWords:
    """``projection`` (FEATURES, DIMENSIONS) and ``words`` (n, DIMENSIONS), single precision in Base64."""

    projection: str
    words: str
    threshold: float

    def __post_init__(self) -> None:
        if len(_unpacked(self.projection)) != FEATURES or not len(_unpacked(self.words)):
            raise ValueError(
                f"projection must have {FEATURES} rows of {DIMENSIONS} values, words one at least"
            )
        if not self.threshold > 0:
            raise ValueError(f"threshold must be positive, not {self.threshold:g}")

    @classmethod
    def fit(cls, tokens: TokenRows, labels: Raw) -> Self | None:
        """Fit to training words; None where they are too few."""
        if len(labels) < MIN_WORDS:
            return None
        features = _features(tokens)
        fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
        held = np.zeros(len(labels))
        for k in range(FOLDS):
            rest = fold != k
            projection = _projection(features[rest], labels[rest])
            held[~rest] = _nearest(features[~rest] @ projection, features[rest] @ projection)
        projection = _projection(features, labels)
        threshold = float(np.quantile(held, 1 - FALSE_REJECTS))
        words = (features @ projection)[:: -(-len(features) // MAX_WORDS)]
        return cls(projection=_packed(projection), words=_packed(words), threshold=max(threshold, 1e-9))

    def plus(self, tokens: TokenRows) -> Self:
        """Add further words."""
        words = np.concatenate([_unpacked(self.words), self._projected(tokens)])
        return replace(self, words=_packed(np.unique(words, axis=0)))

    def unknown(self, tokens: TokenRows) -> npt.NDArray[np.bool_]:
        """Mask (n,) of words that are like none of training."""
        far: npt.NDArray[np.bool_] = self.distances(tokens) > self.threshold
        return far

    def distances(self, tokens: TokenRows) -> Floats:
        """Distance of each word (n,) to the nearest one of training."""
        return _nearest(self._projected(tokens), _unpacked(self.words))

    def _projected(self, tokens: TokenRows) -> Floats:
        return _features(tokens) @ _unpacked(self.projection)


def _features(tokens: TokenRows) -> Floats:
    """Means (n, FEATURES) of the bands over SPANS equal spans of each word, which may cut tokens."""
    found = []
    for k in range(tokens.n_samples):
        bands = tokens.sample(k)[:, :BANDS].astype(np.float64)
        sums = np.concatenate([np.zeros((1, BANDS)), bands.cumsum(axis=0)])
        ends = np.arange(SPANS + 1) * len(bands) / SPANS
        whole = np.minimum(ends.astype(np.int64), len(bands) - 1)
        at = sums[whole] + (ends - whole)[:, None] * bands[whole]
        found.append((np.diff(at, axis=0) * (SPANS / len(bands))).ravel())
    return np.array(found)


def _projection(features: Floats, labels: Raw) -> Floats:
    """Directions (FEATURES, DIMENSIONS) in which words differ most, by the spread within their class."""
    means = {k: features[labels == k].mean(axis=0) for k in np.unique(labels)}
    within = features - np.array([means[k] for k in labels])
    covariance = within.T @ within / len(labels)
    equal = max(float(np.trace(covariance)) / FEATURES, 1e-9) * np.eye(FEATURES)
    part = SHRINKAGE / (SHRINKAGE + len(labels))
    white = np.linalg.cholesky(np.linalg.inv((1 - part) * covariance + part * equal))
    vectors = np.linalg.eigh(np.cov((features @ white).T))[1]
    found: Floats = white @ vectors[:, -DIMENSIONS:]
    return found


def _nearest(a: Floats, b: Floats) -> Floats:
    """Distance of each row of ``a`` to the nearest one of ``b``."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    found: Floats = np.sqrt(np.maximum(squares, 0).min(axis=1))
    return found


def _packed(values: Floats) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    """Values (n, DIMENSIONS); ValueError for something else."""
    values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(np.float64)
    if len(values) % DIMENSIONS or not np.isfinite(values).all():
        raise ValueError(f"known words must be finite values, {DIMENSIONS} of each word")
    return values.reshape(-1, DIMENSIONS)
