"""Deployment from floating point to spikes, step by step, with the predictions of each.

    float       real weights, fixed point of the mean rates
    rates       weights in their fixed-point format, exact fixed point; the attention layer, integer on the
                engine, in floating point
    spikes      the same weights on the golden kernel, for several numbers of time steps

And how fast the average spiking rates come to the fixed point: like 1/T without a leak, down to a floor with
one (Bal & Sengupta, ISCAS 2024).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data.sets.dataset import DataSet
from equilif.training.run import Run
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.extras import needs
from equilif_golden.fixed import check_int
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.schedule import STEPS_MAX

with needs("torch"):
    import torch

    from equilif.training.backends.rates import ImplicitDifferentiation
    from equilif_golden.real.rates import Rates, agreement, integer_rates
    from equilif_golden.real.trainer import predict

STEPS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
#: odd, as drives are multiples of 1/4096: at a power of two every membrane is soon back where it began, and
#: the error is 0
TIMES = (5, 7, 11, 15, 23, 31, 47, 63, 97, 193, 389, 769, 1543, 3079)
WIDEST = 16  #: time steps: a window that the default charge holds


@dataclass(frozen=True)
class Quantised:
    """Quantisation error of one synapse's weights, in thresholds."""

    synapse: str
    weights: int  #: how many
    largest: float  #: of the weights
    step: float  #: of one code
    error: float  #: largest
    rms: float  #: of the errors
    saturated: int  #: weights outside the format


@dataclass(frozen=True)
class Spiking:
    """Accuracy in spikes for a number of time steps."""

    steps: int
    window: int  #: the last steps, over which rates are measured
    accuracy: float
    parted: int  #: predictions that differ from those of the exact rates
    spikes_per_sample: float


@dataclass(frozen=True)
class RateConvergence:
    """Convergence of average firing rates to the fixed point."""

    samples: int
    times: tuple[int, ...]  #: time steps
    #: mean |average rate - fixed point| over neurons and samples at each time, by leak (0: none)
    errors: dict[int, list[float]]
    slope: float  #: of a straight line through the logarithms, without a leak
    floors: dict[int, float]  #: error at the last time, by leak


@dataclass(frozen=True)
class Deployment:
    """All of it."""

    samples: int
    real: float  #: accuracy in floating point
    rates: float  #: accuracy of the exact rates
    parted: int  #: predictions of the exact rates that differ from those in floating point
    settled: float  #: part of the samples whose exact rates the solver found
    spiking: list[Spiking]
    quantisation: list[Quantised]
    convergence: RateConvergence | None  #: None with an attention layer, which answers window by window
    #: equilif_golden.real.rates.agreement; None with an attention layer, or without feedback
    gradients: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "float": self.real}


def trained_model(run: Run) -> Rates:
    """The trained model of a run; ValueError unless it was trained by implicit differentiation."""
    if not isinstance(run.backend, ImplicitDifferentiation):
        raise ValueError(
            f"the run is from `equilif {run.plan.command}`: deploy needs a run of `equilif train-rates`"
        )
    return run.backend.model


def window(steps: int) -> int:
    """The longest window in which to measure rates after ``steps``: a power of two, half of them or less."""
    return min(WIDEST, 1 << max(1, (steps // 2).bit_length() - 1))


def quantisation(model: Rates) -> list[Quantised]:
    threshold = model.network.schedule.raw(model.network.numerics).threshold
    fmt = model.network.numerics.weight
    out = []
    for (name, codes), real in zip(model.quantised().items(), model.values, strict=True):
        w = real.detach().cpu().double().numpy()
        error = np.abs(codes / threshold - w)
        outside = (w * threshold < fmt.lo - 0.5) | (w * threshold >= fmt.hi + 0.5)
        out.append(
            Quantised(
                name,
                w.size,
                float(np.abs(w).max()),
                1 / threshold,
                float(error.max()),
                float(np.sqrt((error**2).mean())),
                int(outside.sum()),
            )
        )
    return out


def converge(
    network: Network, weights: Weights, x: npt.NDArray[np.uint8], times: Sequence[int] = TIMES
) -> RateConvergence:
    """Mean distance of average rates from the fixed point after ``times`` steps, for every leak.

    Rates are those of the golden kernel's neurons.  Without a leak they approach the fixed point, which is
    computed from their last average.
    """
    errors: dict[int, list[float]] = {}
    fixed = np.zeros(0)
    for leak in LEAKS:
        schedule = dataclasses.replace(network.schedule, leak=leak)
        kernel = Kernel(dataclasses.replace(network, schedule=schedule), weights)
        averages, drives = kernel.averages(x, times)
        if leak == 0:
            fixed = integer_rates(network, weights, drives, averages[-1])[0]
        errors[leak] = np.abs(averages - fixed).mean(axis=(1, 2)).tolist()
    slope = float(np.polyfit(np.log(times), np.log(errors[0]), 1)[0])
    return RateConvergence(
        len(x), tuple(times), errors, slope, {leak: e[-1] for leak, e in errors.items() if leak}
    )


def fixed_points(
    solver: Rates, x: npt.NDArray[np.uint8], tokens: TokenRows | None, batch: int = 1000
) -> tuple[npt.NDArray[np.int64], float]:
    """Classes (n,) of samples, and for which part of them the solver found the fixed point."""
    classes = []
    settled = 0.0
    for at in np.split(np.arange(len(x)), range(batch, len(x), batch)):
        some = None if tokens is None else tokens.take(at)
        classes.append(predict(solver, x[at], tokens=some, batch=batch))
        settled += (solver.there.settled if solver.there else 1.0) * len(at)
    return np.concatenate(classes), settled / len(x)


def deploy(
    model: Rates,
    data: DataSet,
    *,
    steps: Sequence[int] = STEPS,
    samples: int = 100,
    progress: Callable[[str], None] = lambda what: None,
) -> Deployment:
    """A model from floating point to spikes.

    Accuracies are of the whole test set.  The convergence is of its first ``samples``, the gradients are of
    as many of the training set, or of all there are.  ``steps``: after how many time steps to ask the spikes.
    """
    for n in steps:
        check_int(n, "steps", 2, STEPS_MAX)
    check_int(samples, "samples", 1, 1 << 31)
    network = model.network
    weights = model.quantised()
    x = data.x_test
    labels = data.y_test
    tokens = data.tokens_test
    if network.schedule.leak:
        raise ValueError("the exact rates of a network with a leak are not known: deploy one with leak = 0")
    out = model.part[network.output]
    progress("floating point")
    real = predict(model, x, tokens=tokens)
    progress("exact rates of the quantised network")
    if network.attends:
        exact, settled = fixed_points(Rates(network, weights, tolerance=1e-6, limit=2000), x, tokens)
    else:
        rates, found = integer_rates(
            network, weights, Kernel(network, weights).averages(x, [1])[1], tolerance=1e-6
        )
        exact = rates[:, out].argmax(axis=1)
        settled = found.settled
    spiking = []
    weights = model.deployed()
    for n in steps:
        progress(f"spikes, {n} steps")
        w = window(n)
        kernel = Kernel(
            dataclasses.replace(
                network, schedule=dataclasses.replace(network.schedule, free=n, nudged=w, window=w)
            ),
            weights,
        )
        phases, spikes = kernel.rates(x, tokens=tokens)
        predictions = phases[:, 0, out].argmax(axis=1)
        spiking.append(
            Spiking(
                n,
                w,
                float(np.mean(predictions == labels)),
                int((predictions != exact).sum()),
                float(spikes.mean()),
            )
        )
    convergence = None
    gradients = None
    if not network.attends:
        progress("convergence of average rates")
        convergence = converge(network, weights, x[:samples])
        if network.has_energy:
            progress("gradients")
            with torch.enable_grad():
                gradients = agreement(network, weights, data.x_train[:samples], data.y_train[:samples])
    return Deployment(
        len(labels),
        float(np.mean(real == labels)),
        float(np.mean(exact == labels)),
        int((exact != real).sum()),
        settled,
        spiking,
        quantisation(model),
        convergence,
        gradients,
    )
