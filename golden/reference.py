"""The specification: one sample through a network, in plain NumPy.

Reads like the paper: settle, nudge, measure, learn.  ``golden.kernel`` is the same thing compiled, ``golden.engine`` the same
thing as instructions on lanes and memories; tests prove all three equal bit for bit.
"""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from golden import synapse as syn
from golden.fixed import Raw
from golden.lif import lif_step
from golden.network import ONE, Network, Weights
from golden.nudge import nudge
from golden.plasticity import Step, ep_update, learning_step
from golden.rate import measure


@dataclass
class State:
    """Raw state of the LIF populations; every array is (batch, size)."""

    v: dict[str, Raw]
    spikes: dict[str, Raw]
    base: dict[str, Raw]                                          #: static drive from clamped populations
    charge: dict[str, Raw] = field(default_factory=dict)
    spike_count: int = 0

    def copy_dynamic(self) -> tuple[dict[str, Raw], dict[str, Raw]]:
        return {k: a.copy() for k, a in self.v.items()}, {k: a.copy() for k, a in self.spikes.items()}


@dataclass(frozen=True)
class SampleResult:
    """Rates are 8-bit, (batch, size), by population; ``prediction`` is the first output of largest free rate."""

    free: dict[str, Raw]
    plus: dict[str, Raw]
    minus: dict[str, Raw]
    prediction: Raw
    spikes: int
    raster: dict[str, Raw]                                         #: (steps, batch, size) spikes, when recorded


class Reference:
    """A network with its weights.  ``counter`` numbers the updates for the dither and belongs to the state, like the weights."""

    def __init__(self, network: Network, weights: Weights | None = None, *, lr: float = 0.01, counter: int = 0):
        self.network = network
        self.raw = network.schedule.raw(network.numerics)
        self.weights = network.check_weights(weights if weights is not None else network.initial_weights())
        self.counter = counter
        self.set_learning_rate(lr)

    def set_learning_rate(self, eta: float) -> None:
        """``eta`` as in the paper: dW = eta / (2 beta) times the rate-product difference."""
        self.steps: dict[str, Step] = learning_steps(self.network, eta)

    # -- the three operations on the state ------------------------------------------------------------------------------
    def _begin(self, x: Raw) -> tuple[State, dict[str, Raw]]:
        net, batch = self.network, len(x)
        clamped, at = {}, 0
        for p in net.populations:
            if p.kind == "input":
                clamped[p.name] = x[:, at: at + p.size]
                at += p.size
            elif p.kind == "constant":
                clamped[p.name] = np.full((batch, p.size), ONE, np.int64)
        zeros = {p.name: np.zeros((batch, p.size), np.int64) for p in net.lif}
        state = State({k: z + self.raw.threshold // 2 for k, z in zeros.items()}, dict(zeros), dict(zeros))
        for s in net.synapses:
            if s.pre in clamped:
                state.base[s.post] = state.base[s.post] + syn.forward_values(self.weights[s.name], clamped[s.pre])
        return state, clamped

    def _step(self, state: State, target: Raw | None, strength: int) -> None:
        """One time step: each population in order, from the newest spikes of its neighbours (Gauss-Seidel)."""
        for p in self.network.lif:
            drive = state.base[p.name]
            for s in self.network.synapses:
                if s.post == p.name and s.pre in state.spikes:
                    drive = drive + syn.forward(self.weights[s.name], state.spikes[s.pre])
                elif s.pre == p.name:
                    drive = drive + syn.backward(self.weights[s.name], state.spikes[s.post])
            if strength and p.name == self.network.output:
                assert target is not None
                drive = drive + nudge(target, state.spikes[p.name], strength=strength)
            state.v[p.name], spike = lif_step(state.v[p.name], drive, threshold=self.raw.threshold, leak=self.raw.leak)
            state.spikes[p.name] = spike
            state.charge[p.name] = state.charge[p.name] + self.raw.threshold * spike
            state.spike_count += int(spike.sum())

    def _phase(self, state: State, steps: int, target: Raw | None, strength: int, raster: list[dict[str, Raw]] | None) -> dict[str, Raw]:
        state.charge = {k: -v for k, v in state.v.items()}
        for t in range(steps):
            if t == steps - self.raw.window:
                state.charge = {k: -v for k, v in state.v.items()}
            self._step(state, target, strength)
            if raster is not None:
                raster.append(dict(state.spikes))
        return {k: measure(state.charge[k], state.v[k], shift=self.raw.rate_shift) for k in state.v}

    # -- what users call -------------------------------------------------------------------------------------------------
    def infer(self, x: Raw, *, record: bool = False) -> SampleResult:
        """Free phase only.  ``x``: (batch, n_inputs) 8-bit values."""
        return self._run(x, None, learn=False, record=record)

    def train(self, x: Raw, y: Raw, *, record: bool = False, learn: bool = True) -> SampleResult:
        """Three phases and, unless ``learn`` is false, the update; then x must be one sample, (1, n_inputs), with y (1, n_outputs)."""
        if learn and len(x) != 1:
            raise ValueError(f"learning is one sample at a time, as on the chip, not {len(x)}")
        return self._run(x, y, learn=learn, record=record)

    def _run(self, x: Raw, y: Raw | None, *, learn: bool, record: bool) -> SampleResult:
        net, value = self.network, self.network.numerics.value
        x = value.require(x, "inputs")
        if x.ndim != 2 or x.shape[1] != net.n_inputs:
            raise ValueError(f"inputs must have shape (batch, {net.n_inputs}), not {x.shape}")
        raster: list[dict[str, Raw]] | None = [] if record else None
        state, clamped = self._begin(x)
        free = self._phase(state, self.raw.free, None, 0, raster)
        plus, minus = free, free
        if y is not None:
            y = value.require(y, "targets")
            if y.shape != (len(x), net.n_outputs):
                raise ValueError(f"targets must have shape {(len(x), net.n_outputs)}, not {y.shape}")
            v, spikes = state.copy_dynamic()
            plus = self._phase(state, self.raw.nudged, y, self.raw.strength, raster)
            state.v, state.spikes = v, spikes
            minus = self._phase(state, self.raw.nudged, y, -self.raw.strength, raster)
            if learn:
                self._learn({**clamped, **plus}, {**clamped, **minus})
        frames = {p.name: np.stack([f[p.name] for f in raster]) for p in net.lif} if raster else {}
        return SampleResult(free, plus, minus, free[net.output].argmax(axis=1), state.spike_count, frames)

    def _learn(self, plus: dict[str, Raw], minus: dict[str, Raw]) -> None:
        for s in self.network.synapses:
            if self.steps[s.name].gain:
                self.weights[s.name] = ep_update(
                    self.weights[s.name], plus[s.pre][0], minus[s.pre][0], plus[s.post][0], minus[s.post][0],
                    step=self.steps[s.name], counter=self.counter, weight=self.network.numerics.weight)
                self.counter = (self.counter + 1) & 0xFFFFFFFF


def learning_steps(network: Network, eta: float) -> dict[str, Step]:
    """Gain and shift of every synapse at learning rate ``eta``."""
    lr = eta / (2 * network.schedule.beta)
    return {s.name: learning_step(lr * s.rate_scale, fraction=network.numerics.fraction) for s in network.synapses}


def one_hot(labels: Raw, n: int) -> Raw:
    """Targets (batch, n): 255 at the label, 0 elsewhere."""
    return np.eye(n, dtype=np.int64)[labels] * 255
