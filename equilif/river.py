"""equilif as a classifier of river: in its pipelines, metrics and evaluation.

from equilif.river import StreamClassifier
evaluate.progressive_val_score(datasets.Phishing(), StreamClassifier(), metrics.Accuracy())
"""

from __future__ import annotations

from equilif.stream import StreamLearner
from equilif_golden.extras import needs

with needs("stream"):
    from river import base


class StreamClassifier(StreamLearner, base.Classifier):  # type: ignore[misc]
    """A spiking network that learns a stream by Equilibrium Propagation, see StreamLearner."""

    @property
    def _multiclass(self) -> bool:
        return True
