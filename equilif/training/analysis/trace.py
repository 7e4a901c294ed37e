"""One sample through the phases, step by step: its spikes, and the rates that would be measured."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from equilif_golden import samples
from equilif_golden.blocks.rate import measure
from equilif_golden.fixed import Raw
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.reference import Reference, SampleResult, State


@dataclass(frozen=True)
class Trace:
    """A sample in the free, +beta and -beta phases, one after the other as they are run.

    The -beta phase begins where the free phase ended, and its first windows reach back there.
    """

    network: Network
    x: Raw  #: (inputs,)
    label: int
    spikes: dict[str, Raw]  #: (steps, neurons) by population
    #: (steps, outputs), 8-bit, of the window that ends with each step; NaN before the first window is full
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


def record(
    network: Network, weights: Weights, x: npt.ArrayLike, label: int, tokens: TokenRows | None = None
) -> Trace:
    """The steps of one sample: ``x`` (n_inputs,) 8-bit values and its class; ``tokens`` of that sample
    only, for an attention layer over tokens.

    Does not learn; all phases have full length.
    """
    batch = samples.check_inputs(network, np.asarray(x)[None], tokens)[0].astype(np.int64)
    target = samples.one_hot(samples.check_labels(network, [label], 1), network.n_outputs)
    network = replace(network, schedule=network.schedule.with_fixed_phases())
    recorder = _Recorder(network, weights)
    result = recorder.train(batch, target, tokens, record=True, learn=False)
    spikes = {name: raster[:, 0] for name, raster in result.raster.items()}
    raw = recorder.raw
    out = spikes[network.output]
    v = np.stack(recorder.membranes)
    fired = np.concatenate([np.zeros((1, network.n_outputs), np.int64), out])
    free = raw.free
    plus = raw.free + raw.nudged
    rates = np.full(out.shape, np.nan)
    # the steps that lead to each step: the -beta phase goes back to the end of the free phase
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
    return Trace(network, batch[0], int(label), spikes, rates, result)
