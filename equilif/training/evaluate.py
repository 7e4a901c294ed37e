"""How well a network does on samples that it does not learn from, and what it spends on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows, Weights

if TYPE_CHECKING:
    from equilif.host.session import Session


@dataclass(frozen=True)
class Evaluation:
    """``confusion``: (true, predicted) counts.

    ``silent``, ``full``: parts of the free rates at 0 and at 255, by hidden population.

    ``steps``: how many samples had how many free steps; ``most``: what the schedule allows.  A device
    does not tell: none.
    """

    accuracy: float
    confusion: npt.NDArray[np.int64]
    predictions: npt.NDArray[np.int64]
    spikes_per_sample: float
    silent: dict[str, float]
    full: dict[str, float]
    steps: dict[int, int]
    most: int

    @property
    def steps_per_sample(self) -> float | None:
        return sum(n * k for n, k in self.steps.items()) / len(self.predictions) if self.steps else None

    @property
    def saving(self) -> float | None:
        """Part of the free steps that was not needed."""
        return None if self.steps_per_sample is None else 1 - self.steps_per_sample / self.most

    def to_dict(self) -> dict[str, Any]:
        return {
            "samples": len(self.predictions),
            "accuracy": self.accuracy,
            "confusion": self.confusion.tolist(),
            "spikes_per_sample": self.spikes_per_sample,
            "silent": self.silent,
            "full": self.full,
            "steps": self.steps,
            "steps_per_sample": self.steps_per_sample,
            "most_steps": self.most,
            "saving": self.saving,
        }


def evaluate(
    network: Network,
    weights: Weights,
    x: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    *,
    tokens: TokenRows | None = None,
    make: Callable[..., Kernel | Session] = Kernel,
) -> Evaluation:
    """The free phase of every sample.  A device (``make`` a Session) tells no rates of hidden populations."""
    if x.shape[1] != network.n_inputs:
        raise ValueError(f"the network has {network.n_inputs} inputs, the samples have {x.shape[1]} values")
    n, most = network.n_outputs, network.schedule.free
    if labels.max() >= n:
        raise ValueError(f"the network has {n} outputs, the labels go up to {labels.max()}")
    chip = make(network, weights, lr=0.0)
    if not isinstance(chip, Kernel):
        runs = list(chip.infer(x, tokens=tokens))
        return _evaluation(
            n,
            labels,
            np.array([r.prediction for r in runs], np.int64),
            np.array([r.spikes for r in runs]),
            {},
            {},
            most,
        )
    phases, spikes, steps = chip.settle(x, tokens=tokens)
    free, at, parts = phases[:, 0].astype(np.int64), 0, {}
    for p in network.lif:
        parts[p.name] = free[:, at : at + p.size]
        at += p.size
    return _evaluation(
        n,
        labels,
        parts[network.output].argmax(axis=1),
        spikes,
        {k: v for k, v in parts.items() if k != network.output},
        {int(k): int(c) for k, c in zip(*np.unique(steps, return_counts=True), strict=True)},
        most,
    )


def _evaluation(
    n: int,
    labels: Raw,
    predictions: Raw,
    spikes: Raw,
    hidden: dict[str, Raw],
    steps: dict[int, int],
    most: int,
) -> Evaluation:
    confusion = np.zeros((n, n), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    return Evaluation(
        float(np.mean(predictions == labels)),
        confusion,
        predictions,
        float(spikes.mean()),
        {name: float(np.mean(r == 0)) for name, r in hidden.items()},
        {name: float(np.mean(r == 255)) for name, r in hidden.items()},
        steps,
        most,
    )
