"""The reference compiled with Numba, for training: same bits as ``golden.reference``, about a thousand times faster.

A network is flattened once into integer tables (`_Plan`); one compiled function then takes samples through all phases.
Accumulators are 32-bit here: narrower ones in hardware never wrap, by Network's fan-in check.
"""
from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from golden.network import ONE, Network, Weights
from golden.plasticity import DITHER_COLUMN, DITHER_MASK, DITHER_ROW, DITHER_UPDATE
from golden.reference import learning_steps

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

W_AT, ROWS, COLUMNS, PRE, POST, CLAMPED = range(6)            # columns of the synapse table
SIZE, START = range(2)                                        # columns of the population table
FREE, NUDGED, WINDOW, THRESHOLD, STRENGTH, LEAK, RATE_SHIFT = range(7)


class _Plan(NamedTuple):
    """A network as tables.  Neuron offsets count LIF neurons in order; clamped offsets count clamped values in order."""

    synapses: npt.NDArray[np.int64]                           #: (n, 6): weight offset, rows, columns, pre, post, clamped
    populations: npt.NDArray[np.int64]                        #: (n, 2): size, first neuron
    out: int                                                  #: index of the nudged population
    n_neurons: int
    raw: npt.NDArray[np.int64]                                #: RawSchedule, in field order
    w_lo: int
    w_hi: int


def _plan(network: Network) -> _Plan:
    lif_at: dict[str, int] = {}
    clamped_at: dict[str, int] = {}
    at = [0, 0]
    for p in network.populations:
        table = clamped_at if p.clamped else lif_at
        table[p.name] = at[p.clamped]
        at[p.clamped] += p.size
    rows, w_at = [], 0
    for s in network.synapses:
        n, m = network.shape(s)
        clamped = s.pre in clamped_at
        rows.append((w_at, n, m, (clamped_at if clamped else lif_at)[s.pre], lif_at[s.post], clamped))
        w_at += n * m
    raw = network.schedule.raw(network.numerics)
    fmt = network.numerics.weight
    return _Plan(np.array(rows, np.int64).reshape(-1, 6),
                 np.array([(p.size, lif_at[p.name]) for p in network.lif], np.int64),
                 [p.name for p in network.lif].index(network.output), at[0],
                 np.array(astuple(raw), np.int64), fmt.lo, fmt.hi)


@njit(cache=True)
def _drive(plan: Any, w: Any, x: Any, base: Any) -> None:
    base[:] = 0
    for s in range(len(plan.synapses)):
        row = plan.synapses[s]
        if not row[CLAMPED]:
            continue
        m = row[COLUMNS]
        b = base[row[POST]: row[POST] + m]
        for i in range(row[ROWS]):
            xi = np.int32(x[row[PRE] + i])
            if xi:
                wi = w[row[W_AT] + i * m: row[W_AT] + (i + 1) * m]
                for k in range(m):
                    b[k] += (xi * np.int32(wi[k])) >> np.int32(8)


@njit(cache=True)
def _phase(plan: Any, w: Any, base: Any, v: Any, spikes: Any, charge: Any, acc: Any, y: Any, steps: int, strength: int) -> int:
    window, leak, th = plan.raw[WINDOW], plan.raw[LEAK], np.int32(plan.raw[THRESHOLD])
    count = 0
    for t in range(steps):
        if t == steps - window:
            for j in range(plan.n_neurons):
                charge[j] = -v[j]
        for p in range(len(plan.populations)):
            n, at = plan.populations[p, SIZE], plan.populations[p, START]
            a = acc[:n]
            a[:] = base[at: at + n]
            for s in range(len(plan.synapses)):
                row = plan.synapses[s]
                if row[CLAMPED]:
                    continue
                m = row[COLUMNS]
                if row[POST] == at:
                    for i in range(row[ROWS]):
                        if spikes[row[PRE] + i]:
                            wi = w[row[W_AT] + i * m: row[W_AT] + (i + 1) * m]
                            for k in range(m):
                                a[k] += np.int32(wi[k])
                elif row[PRE] == at:
                    for k in range(m):
                        if spikes[row[POST] + k]:
                            wk = w[row[W_AT] + k: row[W_AT] + row[ROWS] * m: m]
                            for i in range(n):
                                a[i] += np.int32(wk[i])
            if strength != 0 and p == plan.out:
                for j in range(n):
                    a[j] += np.int32(((strength * y[j]) >> 8) - strength * spikes[at + j])
            vs, ss, qs = v[at: at + n], spikes[at: at + n], charge[at: at + n]
            for j in range(n):
                u = min(max(vs[j] + a[j], -th), np.int32(2) * th)
                spike = np.int32(u >= th)
                u -= spike * th
                vs[j] = u - (u >> np.int32(leak)) if leak else u
                ss[j] = np.uint8(spike)
                qs[j] += spike * th
                count += int(spike)
    return count


@njit(cache=True)
def _measure(v: Any, charge: Any, shift: int, rate: Any) -> None:
    for j in range(len(v)):
        rate[j] = min(max((charge[j] + v[j]) >> np.int32(shift), np.int32(0)), np.int32(255))


@njit(cache=True)
def _learn(plan: Any, w: Any, x: Any, plus: Any, minus: Any, gains: Any, shifts: Any, counter: int) -> int:
    lo, hi = np.int32(plan.w_lo), np.int32(plan.w_hi)
    mask_all = np.int32(DITHER_MASK)
    for s in range(len(plan.synapses)):
        gain, shift = np.int32(gains[s]), np.int32(shifts[s])
        if not gain:
            continue
        row = plan.synapses[s]
        m = row[COLUMNS]
        vp, vm = plus[row[POST]: row[POST] + m], minus[row[POST]: row[POST] + m]
        mask = np.int32((1 << shift) - 1)
        for i in range(row[ROWS]):
            up = gain * np.int32(x[row[PRE] + i] if row[CLAMPED] else plus[row[PRE] + i])
            um = gain * np.int32(x[row[PRE] + i] if row[CLAMPED] else minus[row[PRE] + i])
            if up | um:
                wi = w[row[W_AT] + i * m: row[W_AT] + (i + 1) * m]
                d = np.int32((counter * DITHER_UPDATE + i * DITHER_ROW) & DITHER_MASK)
                for k in range(m):
                    dk = ((d + np.int32(k) * np.int32(DITHER_COLUMN)) & mask_all) & mask
                    dw = (up * vp[k] - um * vm[k] + dk) >> shift
                    wi[k] = np.int16(min(max(np.int32(wi[k]) + dw, lo), hi))
        counter = (counter + 1) & 0xFFFFFFFF
    return counter


@njit(cache=True)
def _sample(plan: Any, w: Any, x: Any, y: Any, nudged: bool, state: Any, rates: Any) -> int:
    """Phases of one sample; rates (3, neurons): free, plus, minus.  Returns the number of spikes."""
    base, v, spikes, charge, acc, v_saved, spikes_saved = state
    strength, shift = plan.raw[STRENGTH], plan.raw[RATE_SHIFT]
    _drive(plan, w, x, base)
    v[:] = plan.raw[THRESHOLD] // 2
    spikes[:] = 0
    count: int = _phase(plan, w, base, v, spikes, charge, acc, y, plan.raw[FREE], 0)
    _measure(v, charge, shift, rates[0])
    if nudged:
        v_saved[:] = v
        spikes_saved[:] = spikes
        count += _phase(plan, w, base, v, spikes, charge, acc, y, plan.raw[NUDGED], strength)
        _measure(v, charge, shift, rates[1])
        v[:] = v_saved
        spikes[:] = spikes_saved
        count += _phase(plan, w, base, v, spikes, charge, acc, y, plan.raw[NUDGED], -strength)
        _measure(v, charge, shift, rates[2])
    return count


@njit(cache=True)
def _state(n: int) -> Any:
    return (np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.uint8), np.zeros(n, np.int32), np.zeros(n, np.int32),
            np.zeros(n, np.int32), np.zeros(n, np.uint8))


@njit(cache=True)
def _train(plan: Any, w: Any, x: Any, ones: Any, labels: Any, order: Any, gains: Any, shifts: Any, counter: int) -> Any:
    state, rates = _state(plan.n_neurons), np.zeros((3, plan.n_neurons), np.int32)
    n, at = plan.populations[plan.out, SIZE], plan.populations[plan.out, START]
    y, xi = np.zeros(n, np.int64), np.zeros(x.shape[1] + len(ones), np.uint8)
    hits, spikes = 0, 0
    for j in order:
        _place(ones, x[j], xi)
        y[:] = 0
        y[labels[j]] = 255
        spikes += _sample(plan, w, xi, y, True, state, rates)
        hits += np.argmax(rates[0, at: at + n]) == labels[j]
        counter = _learn(plan, w, xi, rates[1], rates[2], gains, shifts, counter)
    return counter, hits, spikes


@njit(cache=True)
def _place(ones: Any, x: Any, out: Any) -> None:
    """Clamped values in population order: ``ones`` holds the positions of the constants."""
    c, i = 0, 0
    for j in range(len(out)):
        if c < len(ones) and ones[c] == j:
            out[j] = ONE
            c += 1
        else:
            out[j] = x[i]
            i += 1


@njit(cache=True, parallel=True)
def _rates(plan: Any, w: Any, x: Any, ones: Any, y: Any, nudged: bool, out: Any, spikes: Any) -> None:
    for j in prange(len(x)):
        state, xi = _state(plan.n_neurons), np.zeros(x.shape[1] + len(ones), np.uint8)
        _place(ones, x[j], xi)
        spikes[j] = _sample(plan, w, xi, y[j], nudged, state, out[j])


@dataclass
class Epoch:
    """What one pass of training did."""

    samples: int
    hits: int            #: samples whose free-phase prediction, before their update, was right
    spikes: int


class Kernel:
    """Compiled twin of ``golden.reference.Reference``, with the same weights, counter and learning rates."""

    def __init__(self, network: Network, weights: Weights | None = None, *, lr: float = 0.01, counter: int = 0):
        self.network = network
        self._plan = _plan(network)
        self.load_weights(weights if weights is not None else network.initial_weights())
        self.counter = counter
        self._ones = np.array([j for j, kind in enumerate(k for p in network.populations if p.clamped for k in [p.kind] * p.size)
                               if kind == "constant"], np.int64)
        self.set_learning_rate(lr)

    def load_weights(self, weights: Weights) -> None:
        checked = self.network.check_weights(weights)
        self._w = np.concatenate([w.ravel() for w in checked.values()]).astype(np.int16)

    @property
    def weights(self) -> Weights:
        """A copy of the weights by synapse."""
        cuts = np.split(self._w.astype(np.int64), np.cumsum([n * m for n, m in map(self.network.shape, self.network.synapses)])[:-1])
        return {s.name: c.reshape(self.network.shape(s)) for s, c in zip(self.network.synapses, cuts, strict=True)}

    def set_learning_rate(self, eta: float) -> None:
        steps = learning_steps(self.network, eta)
        self._gains = np.array([steps[s.name].gain for s in self.network.synapses], np.int64)
        self._shifts = np.array([steps[s.name].shift for s in self.network.synapses], np.int64)

    def _inputs(self, x: npt.ArrayLike) -> U8:
        x = self.network.numerics.value.require(x, "inputs").astype(np.uint8)
        if x.ndim != 2 or x.shape[1] != self.network.n_inputs:
            raise ValueError(f"inputs must have shape (batch, {self.network.n_inputs}), not {x.shape}")
        return x

    def train(self, x: U8, labels: npt.ArrayLike, order: npt.ArrayLike | None = None) -> Epoch:
        """Learn the samples one by one, in ``order`` (default: as they stand)."""
        x = self._inputs(x) if x.dtype != np.uint8 else x
        labels = np.asarray(labels, np.int64)
        if x.shape[1] != self.network.n_inputs or labels.shape != (len(x),):
            raise ValueError(f"{x.shape} inputs and {labels.shape} labels do not fit {self.network.n_inputs} input neurons")
        if labels.size and not 0 <= labels.min() <= labels.max() < self.network.n_outputs:
            raise ValueError(f"labels must lie in 0..{self.network.n_outputs - 1}, not {labels.min()}..{labels.max()}")
        order = np.arange(len(x)) if order is None else np.asarray(order, np.int64)
        if order.size and not 0 <= order.min() <= order.max() < len(x):
            raise ValueError(f"order must lie in 0..{len(x) - 1}, not {order.min()}..{order.max()}")
        counter, hits, spikes = _train(self._plan, self._w, x, self._ones, labels, order, self._gains, self._shifts, self.counter)
        self.counter = int(counter)
        return Epoch(len(order), int(hits), int(spikes))

    def rates(self, x: npt.ArrayLike, y: npt.ArrayLike | None = None) -> tuple[I32, npt.NDArray[np.int64]]:
        """Rates (batch, 3, neurons) of the free, +beta and -beta phases without learning, and spikes a sample (batch,).

        Without targets ``y`` (batch, n_outputs) only the free phase runs and the other two stay zero.
        """
        x = self._inputs(x)
        nudged = y is not None
        targets = np.zeros((len(x), self.network.n_outputs), np.int64) if y is None else self.network.numerics.value.require(y, "targets")
        if targets.shape != (len(x), self.network.n_outputs):
            raise ValueError(f"targets must have shape {(len(x), self.network.n_outputs)}, not {targets.shape}")
        out, spikes = np.zeros((len(x), 3, self._plan.n_neurons), np.int32), np.zeros(len(x), np.int64)
        _rates(self._plan, self._w, x, self._ones, targets, nudged, out, spikes)
        return out, spikes

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Class of each sample: the first output of largest free-phase rate."""
        at = int(self._plan.populations[self._plan.out, START])
        predictions: npt.NDArray[np.int64] = self.rates(x)[0][:, 0, at: at + self.network.n_outputs].argmax(axis=1)
        return predictions

    def accuracy(self, x: npt.ArrayLike, labels: npt.ArrayLike) -> float:
        return float(np.mean(self.predict(x) == np.asarray(labels)))
