"""One sample through the phases, step by step: spikes, membranes, and the rate that a measurement would give
at every step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.rate import measure
from equilif_golden.fixed import Raw
from equilif_golden.network import Network, Weights
from equilif_golden.reference import Reference, SampleResult, State
from equilif_golden.samples import one_hot


@dataclass(frozen=True)
class Trace:
    """A sample in the free, +beta and -beta phases, one after the other as they are run.

    ``spikes``: (steps, neurons) by population.  ``rates``: (steps, outputs), 8-bit, of the window that
    ends with each step; NaN before the first window is full.  The -beta phase begins where the free phase
    ended, and its first windows reach back there.
    """

    network: Network
    x: Raw
    label: int
    spikes: dict[str, Raw]
    rates: npt.NDArray[np.float64]
    result: SampleResult


class _Recorder(Reference):
    """The specification, with a note of the membranes after every step."""

    def __init__(self, network: Network, weights: Weights):
        super().__init__(network, weights)
        self.membranes: list[Raw] = [np.full(network.n_outputs, self.raw.threshold // 2)]

    def _step(self, state: State, target: Raw | None, strength: int) -> None:
        super()._step(state, target, strength)
        self.membranes.append(state.v[self.network.output][0])


def record(network: Network, weights: Weights, x: Raw, label: int) -> Trace:
    """``x``: (n_inputs,) 8-bit values.  Nothing is learnt, and no phase ends early."""
    network = replace(network, schedule=replace(network.schedule, early=None))
    recorder = _Recorder(network, weights)
    result = recorder.train(
        np.asarray(x, np.int64)[None], one_hot(np.array([label]), network.n_outputs), record=True, learn=False
    )
    spikes = {name: raster[:, 0] for name, raster in result.raster.items()}
    raw, out = recorder.raw, spikes[network.output]
    v, fired = np.stack(recorder.membranes), np.concatenate([np.zeros((1, network.n_outputs), np.int64), out])
    free, plus = raw.free, raw.free + raw.nudged
    rates = np.full(out.shape, np.nan)
    # steps whose membranes and spikes lead to each step: the -beta phase goes back to the end of the free
    # phase
    for first, last, history in (
        (0, free, range(free + 1)),
        (free, plus, range(plus + 1)),
        (plus, len(out), [*range(free + 1), *range(plus + 1, len(out) + 1)]),
    ):
        path = np.array(history)
        for t in range(first, last):
            at = len(path) - (last - t)
            if at >= raw.window:
                steps = path[at - raw.window : at + 1]
                charge = raw.threshold * fired[steps[1:]].sum(axis=0) - v[steps[0]]
                rates[t] = measure(charge, v[steps[-1]], shift=raw.rate_shift)
    return Trace(network, np.asarray(x, np.int64), label, spikes, rates, result)
