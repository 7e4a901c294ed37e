"""Evaluation of a network: accuracy, spikes and time steps on test samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, check_integers, integers
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows, Weights

if TYPE_CHECKING:
    from equilif_golden.engine.chip import Chip

PARTS = 50  #: reports of progress, at most
MIN_SAMPLES = 256  #: samples of a part: the threads share each of them


@dataclass(frozen=True)
class Evaluation:
    """Predictions, and what they cost.  An engine tells no rates of hidden populations and no steps."""

    accuracy: float
    confusion: npt.NDArray[np.int64]  #: counts (true, predicted)
    predictions: npt.NDArray[np.int64]
    spikes_per_sample: float
    silent: dict[str, float]  #: part of the free rates that are 0, by hidden population
    full: dict[str, float]  #: part of them that are 255
    steps: dict[int, int]  #: how many samples had how many free steps
    most: int  #: free steps that the schedule allows
    #: (samples, outputs), 8-bit, of the free phase; None from an engine
    rates: Raw | None = None
    names: tuple[str, ...] = ()  #: of the classes, or nothing: they are called by their numbers

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
            **({"labels": list(self.names)} if self.names else {}),
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
    make: Callable[..., Kernel | Chip] = Kernel,
    progress: Callable[[int], None] = lambda done: None,
) -> Evaluation:
    """The free phase of every sample.  ``make`` a Chip on a client: on a board.

    ``progress`` gets the number of samples done.
    """
    n = network.n_outputs
    most = network.schedule.free
    x = check_integers(x, "inputs", 0, 255)
    if x.ndim != 2:
        raise ValueError(f"inputs must have shape (samples, {network.n_inputs}), not {x.shape}")
    if x.shape[1] != network.n_inputs:
        raise ValueError(f"the network has {network.n_inputs} inputs, the samples have {x.shape[1]} values")
    labels = integers(labels, "labels", 0)
    if labels.shape != (len(x),) or not len(x):
        raise ValueError(f"labels must have shape {(len(x),)}, one a sample, not {labels.shape}")
    if labels.max() >= n:
        raise ValueError(f"the network has {n} outputs, the labels go up to {labels.max()}")
    chip = make(network, weights, learning_rate=0.0)
    if not isinstance(chip, Kernel):
        predictions: list[int] = []
        total = 0
        for batch in chip.infer(x, tokens=tokens):
            predictions += batch.predictions.tolist()
            total += batch.spikes
            progress(len(predictions))
        return _evaluation(n, labels, np.array(predictions, np.int64), total / len(x), {}, {}, most)
    found = [
        chip.settle(x[at], tokens=None if tokens is None else tokens.take(at))
        for at in reported(np.arange(len(x)), progress)
    ]
    free = np.concatenate([settled.rates[:, 0] for settled in found]).astype(np.int64)
    spikes = float(np.concatenate([settled.spikes for settled in found]).mean())
    steps = np.concatenate([settled.steps for settled in found])
    parts = {name: free[:, part] for name, part in network.neurons.items()}
    return _evaluation(
        n,
        labels,
        parts[network.output].argmax(axis=1),
        spikes,
        {k: v for k, v in parts.items() if k != network.output},
        {int(k): int(c) for k, c in zip(*np.unique(steps, return_counts=True), strict=True)},
        most,
        parts[network.output],
    )


def reported(samples: Raw, progress: Callable[[int], None]) -> Iterator[Raw]:
    """Positions (n,) in parts; ``progress`` gets the number done after each part."""
    done = 0
    for part in np.array_split(samples, max(1, min(PARTS, len(samples) // MIN_SAMPLES))):
        yield part
        done += len(part)
        progress(done)


def _evaluation(
    n: int,
    labels: Raw,
    predictions: Raw,
    spikes: float,
    hidden: dict[str, Raw],
    steps: dict[int, int],
    most: int,
    rates: Raw | None = None,
) -> Evaluation:
    confusion = np.zeros((n, n), np.int64)
    np.add.at(confusion, (labels, predictions), 1)
    return Evaluation(
        float(np.mean(predictions == labels)),
        confusion,
        predictions,
        spikes,
        {name: float(np.mean(r == 0)) for name, r in hidden.items()},
        {name: float(np.mean(r == 255)) for name, r in hidden.items()},
        steps,
        most,
        rates,
    )
