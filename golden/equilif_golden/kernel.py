"""The reference compiled with Numba, for training: same bits as ``equilif_golden.reference``, about a
thousand times faster.

A network is flattened once into integer tables (`_Plan`); one compiled function then takes samples
through all phases. Accumulators are 32-bit here: narrower ones in hardware never wrap, by Network's
fan-in check.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit, prange

from equilif_golden import samples
from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_MASK,
    DITHER_ROW,
    DITHER_UPDATE,
)
from equilif_golden.blocks.relay import query_shift, retrieval_shift
from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, RECIPROCAL, TABLE
from equilif_golden.blocks.softmax import FRACTION as EXPONENT_FRACTION
from equilif_golden.blocks.softmax import WIDTH as EXPONENT_WIDTH
from equilif_golden.fixed import integers, whole
from equilif_golden.learning import NO_RATE, learning_steps
from equilif_golden.network import ONE, Network, TokenRows, Weights

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
EXPONENTIALS = TABLE.astype(np.int32)

# columns of the synapse table; PRE and POST are first neurons, among those of the population's kind
W_AT, ROWS, COLUMNS, PRE, POST, KIND, FEEDBACK = range(7)
CLAMPED_LIF, LIF_LIF, CLAMPED_RELAY, RELAY_LIF, SOFTMAX_RELAY = range(5)
SIZE, START = range(2)  # of the population table
# of the memory table
RELAY_AT, HEADS, WIDTH, CODES_AT, N_PATTERNS, PATTERNS_AT, SHIFT, Q_SHIFT, R_SHIFT = range(9)
FREE, NUDGED, WINDOW, THRESHOLD, STRENGTH, LEAK, RATE_SHIFT, EARLY, WATCH_OUTPUT, LEAST = range(10)


class _Plan(NamedTuple):
    """A network as tables.

    Neurons of one kind (clamped, LIF, relay; the codes of softmax populations head by head) count on from
    0.
    """

    synapses: npt.NDArray[np.int64]  #: (n, 7)
    populations: npt.NDArray[np.int64]  #: (n, 2): LIF populations
    memories: npt.NDArray[np.int64]  #: (n, 9); PATTERNS_AT -1: loaded
    #: by synapse: neurons of one head of the relay at its end, 0 without
    relay_width: npt.NDArray[np.int64]
    out: int  #: index of the nudged population
    n_neurons: int
    n_relay: int
    n_codes: int
    most_patterns: int
    raw: npt.NDArray[np.int64]  #: RawSchedule, in field order
    w_lo: int
    w_hi: int


def _plan(network: Network) -> _Plan:
    at: dict[str, int] = {}
    count = {"clamped": 0, "lif": 0, "relay": 0, "softmax": 0}
    heads = {m.softmax.name: m.relay.heads for m in network.memories}
    for p in network.populations:
        kind = "clamped" if p.clamped else p.kind
        at[p.name] = count[kind]
        count[kind] += p.size * heads.get(p.name, 1)
    kinds = {
        ("clamped", "lif"): CLAMPED_LIF,
        ("lif", "lif"): LIF_LIF,
        ("clamped", "relay"): CLAMPED_RELAY,
        ("relay", "lif"): RELAY_LIF,
        ("softmax", "relay"): SOFTMAX_RELAY,
    }
    rows, w_at, patterns_at = [], 0, {}
    for s in network.plastic:
        n, m = network.shape(s)
        rows.append(
            (w_at, n, m, at[s.pre], at[s.post], kinds[network.side(s.pre), network.side(s.post)], s.feedback)
        )
        patterns_at[s.name] = w_at
        w_at += n * m
    raw, fmt, fraction = (
        network.schedule.raw(network.numerics),
        network.numerics.weight,
        network.numerics.fraction,
    )
    memories = [
        (
            at[m.relay.name],
            m.relay.heads,
            m.relay.width,
            at[m.softmax.name],
            m.softmax.size,
            patterns_at.get(m.synapse.name, -1),
            network.softmax_shift(m.softmax),
            query_shift(fraction),
            retrieval_shift(fraction, m.relay.gain),
        )
        for m in network.memories
    ]
    width = [
        next((q.width for q in (network[s.pre], network[s.post]) if q.kind == "relay"), 0)
        for s in network.plastic
    ]
    return _Plan(
        np.array(rows, np.int64).reshape(-1, 7),
        np.array([(p.size, at[p.name]) for p in network.lif], np.int64),
        np.array(memories, np.int64).reshape(-1, 9),
        np.array(width, np.int64),
        [p.name for p in network.lif].index(network.output),
        count["lif"],
        count["relay"],
        count["softmax"],
        max((m.softmax.size for m in network.memories), default=0),
        np.array(raw, np.int64),
        fmt.lo,
        fmt.hi,
    )


@njit(cache=True)
def _drive(plan: Any, w: Any, x: Any, base: Any) -> None:
    base[:] = 0
    for s in range(len(plan.synapses)):
        row = plan.synapses[s]
        if row[KIND] != CLAMPED_LIF:
            continue
        m = row[COLUMNS]
        b = base[row[POST] : row[POST] + m]
        for i in range(row[ROWS]):
            xi = np.int32(x[row[PRE] + i])
            if xi:
                wi = w[row[W_AT] + i * m : row[W_AT] + (i + 1) * m]
                for k in range(m):
                    b[k] += (xi * np.int32(wi[k])) >> np.int32(8)


@njit(cache=True)
def _axpy(w: Any, at: int, n: int, m: int, values: Any, out: Any) -> None:
    """out[:m] += (values[:n] W) >> 8, product by product."""
    for i in range(n):
        vi = np.int32(values[i])
        if vi:
            wi = w[at + i * m : at + (i + 1) * m]
            for k in range(m):
                out[k] += (vi * np.int32(wi[k])) >> np.int32(8)


@njit(cache=True)
def _listen(plan: Any, w: Any, retrieval: Any, static: Any, base: Any) -> None:
    """Static drive, and what the memories last said."""
    base[:] = static
    for s in range(len(plan.synapses)):
        row = plan.synapses[s]
        if row[KIND] == RELAY_LIF:
            _axpy(
                w,
                row[W_AT],
                row[ROWS],
                row[COLUMNS],
                retrieval[row[PRE] :],
                base[row[POST] : row[POST] + row[COLUMNS]],
            )


@njit(cache=True)
def _softmax(z: Any, n: int, shift: int, e: Any) -> Any:
    """Exponentials in e[:n]; returns (their sum, c)."""
    low, high = -(1 << (EXPONENT_WIDTH - 1)), (1 << (EXPONENT_WIDTH - 1)) - 1
    top = low
    for t in range(n):
        z[t] = min(max(z[t] >> shift, low), high)
        top = max(top, z[t] >> EXPONENT_FRACTION)
    total = np.int64(0)
    for t in range(n):
        down = top - (z[t] >> EXPONENT_FRACTION)
        e[t] = EXPONENTIALS[z[t] & ((1 << EXPONENT_FRACTION) - 1)] >> down if down < 8 else 0
        total += e[t]
    c = C_MIN
    while total >> (c + 1):
        c += 1
    return total, c


@njit(cache=True)
def _recall(
    plan: Any, w: Any, x: Any, patterns: Any, n_loaded: int, rates: Any, said: Any, work: Any
) -> None:
    """Each memory once, from ``rates``; ``said``: query, retrieval (relay neurons) and absolute codes of p."""
    query, retrieval, codes = said
    z, e, acc = work
    for a in range(len(plan.memories)):
        memory = plan.memories[a]
        width, loaded = memory[WIDTH], memory[PATTERNS_AT] < 0
        n = n_loaded if loaded else memory[N_PATTERNS]
        for head in range(memory[HEADS]):
            first = memory[RELAY_AT] + head * width
            q, r = query[first : first + width], retrieval[first : first + width]
            acc[:width] = 0
            for s in range(len(plan.synapses)):
                row = plan.synapses[s]
                if row[KIND] == CLAMPED_RELAY and row[POST] == memory[RELAY_AT]:
                    for i in range(row[ROWS]):
                        xi = np.int32(x[row[PRE] + i])
                        wi = w[row[W_AT] + i * row[COLUMNS] + head * width :]
                        for j in range(width):
                            acc[j] += (xi * np.int32(wi[j])) >> np.int32(8)
                elif row[KIND] == RELAY_LIF and row[PRE] == memory[RELAY_AT]:
                    m = row[COLUMNS]
                    for j in range(width):
                        wj = w[row[W_AT] + (head * width + j) * m : row[W_AT] + (head * width + j + 1) * m]
                        sum_j = np.int32(0)
                        for k in range(m):
                            sum_j += (np.int32(rates[row[POST] + k]) * np.int32(wj[k])) >> np.int32(8)
                        acc[j] += sum_j
            for j in range(width):
                q[j] = min(max(acc[j] >> memory[Q_SHIFT], -128), 127)
            for t in range(n):
                xt = (
                    patterns[t]
                    if loaded
                    else w[memory[PATTERNS_AT] + t * width : memory[PATTERNS_AT] + (t + 1) * width]
                )
                score = np.int32(0)
                for j in range(width):
                    score += (q[j] * np.int32(xt[j])) >> np.int32(8)
                z[t] = score
            total, c = _softmax(z, n, memory[SHIFT], e)
            half = 1 << (RECIPROCAL - 1)
            scale = ((1 << (c + RECIPROCAL + 1)) // max(total, 1) + 1) >> 1
            acc[:width] = 0
            for t in range(n):
                code = np.int32(min((e[t] * scale + half) >> RECIPROCAL, 255))
                if code:
                    xt = (
                        patterns[t]
                        if loaded
                        else w[memory[PATTERNS_AT] + t * width : memory[PATTERNS_AT] + (t + 1) * width]
                    )
                    for j in range(width):
                        acc[j] += (code * np.int32(xt[j])) >> np.int32(8)
            for j in range(width):
                r[j] = min(max(acc[j] >> (memory[R_SHIFT] + c - C_MIN), -128), 127)
            if not loaded:
                scale = ((1 << (ABSOLUTE + RECIPROCAL + 1)) // max(total, 1) + 1) >> 1
                p = codes[memory[CODES_AT] + head * n : memory[CODES_AT] + (head + 1) * n]
                for t in range(n):
                    p[t] = min((e[t] * scale + half) >> RECIPROCAL, 255)


@njit(cache=True)
def _steps(
    plan: Any,
    w: Any,
    base: Any,
    v: Any,
    spikes: Any,
    charge: Any,
    acc: Any,
    y: Any,
    steps: int,
    strength: int,
) -> int:
    window, leak, th = plan.raw[WINDOW], plan.raw[LEAK], np.int32(plan.raw[THRESHOLD])
    count = 0
    for t in range(steps):
        if t == steps - window:
            for j in range(plan.n_neurons):
                charge[j] = -v[j]
        for p in range(len(plan.populations)):
            n, at = plan.populations[p, SIZE], plan.populations[p, START]
            a = acc[:n]
            a[:] = base[at : at + n]
            for s in range(len(plan.synapses)):
                row = plan.synapses[s]
                if row[KIND] != LIF_LIF:
                    continue
                m = row[COLUMNS]
                if row[POST] == at:
                    for i in range(row[ROWS]):
                        if spikes[row[PRE] + i]:
                            wi = w[row[W_AT] + i * m : row[W_AT] + (i + 1) * m]
                            for k in range(m):
                                a[k] += np.int32(wi[k])
                elif row[PRE] == at and row[FEEDBACK]:
                    for k in range(m):
                        if spikes[row[POST] + k]:
                            wk = w[row[W_AT] + k : row[W_AT] + row[ROWS] * m : m]
                            for i in range(n):
                                a[i] += np.int32(wk[i])
            if strength != 0 and p == plan.out:
                for j in range(n):
                    a[j] += np.int32(((strength * y[j]) >> 8) - strength * spikes[at + j])
            vs, ss, qs = v[at : at + n], spikes[at : at + n], charge[at : at + n]
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
def _measure(v: Any, charge: Any, shift: int, rate: Any, first: int, last: int) -> int:
    """Returns the largest change of the rates ``first`` to ``last``."""
    largest = 0
    for j in range(len(v)):
        new = min(max((charge[j] + v[j]) >> np.int32(shift), np.int32(0)), np.int32(255))
        if first <= j < last:
            largest = max(largest, abs(new - rate[j]))
        rate[j] = new
    return largest


@njit(cache=True)
def _phase(
    plan: Any,
    w: Any,
    x: Any,
    patterns: Any,
    n_loaded: int,
    state: Any,
    said: Any,
    work: Any,
    y: Any,
    steps: int,
    strength: int,
    early: int,
    rates: Any,
) -> Any:
    """Settle and measure; memories are asked after every window.

    ``early``: tolerance of a phase that may end early, else -1.

    Returns the number of spikes and of steps.
    """
    static, base, v, spikes, charge, acc, _, _ = state
    window = plan.raw[WINDOW] if len(plan.memories) or early >= 0 else steps
    first, last = 0, plan.n_neurons
    if plan.raw[WATCH_OUTPUT]:
        first = plan.populations[plan.out, START]
        last = first + plan.populations[plan.out, SIZE]
    count, done = 0, 0
    for k in range(steps // window):
        _listen(plan, w, said[1], static, base)
        count += _steps(plan, w, base, v, spikes, charge, acc, y, window, strength)
        change = _measure(v, charge, plan.raw[RATE_SHIFT], rates, first, last)
        _recall(plan, w, x, patterns, n_loaded, rates, said, work)
        done += window
        if k + 1 >= plan.raw[LEAST] and change <= early:
            break
    return count, done


@njit(cache=True)
def _update(
    w: Any,
    at: int,
    stride: int,
    n: int,
    m: int,
    up: Any,
    um: Any,
    vp: Any,
    vm: Any,
    gain: Any,
    shift: Any,
    counter: int,
    lo: Any,
    hi: Any,
) -> None:
    """EP update of an (n, m) block of weights whose rows are ``stride`` apart."""
    mask_all, mask = np.int32(DITHER_MASK), np.int32((1 << shift) - 1)
    for i in range(n):
        ui_plus, ui_minus = gain * np.int32(up[i]), gain * np.int32(um[i])
        if ui_plus | ui_minus:
            wi = w[at + i * stride : at + i * stride + m]
            d = np.int32((counter * DITHER_UPDATE + i * DITHER_ROW) & DITHER_MASK)
            for k in range(m):
                dk = ((d + np.int32(k) * np.int32(DITHER_COLUMN)) & mask_all) & mask
                dw = (ui_plus * np.int32(vp[k]) - ui_minus * np.int32(vm[k]) + dk) >> shift
                wi[k] = np.int16(min(max(np.int32(wi[k]) + dw, lo), hi))


@njit(cache=True)
def _learn(
    plan: Any,
    w: Any,
    x: Any,
    rates: Any,
    said_plus: Any,
    said_minus: Any,
    gains: Any,
    shifts: Any,
    counter: int,
) -> int:
    lo, hi = np.int32(plan.w_lo), np.int32(plan.w_hi)
    plus, minus = rates[1], rates[2]
    for s in range(len(plan.synapses)):
        gain, shift = np.int32(gains[s]), np.int32(shifts[s])
        if not gain:
            continue
        row, width = plan.synapses[s], plan.relay_width[s]
        at, n, m, pre, post, kind = row[W_AT], row[ROWS], row[COLUMNS], row[PRE], row[POST], row[KIND]
        heads = 1
        if kind == SOFTMAX_RELAY:
            for a in range(len(plan.memories)):
                if plan.memories[a, CODES_AT] == pre and plan.memories[a, PATTERNS_AT] >= 0:
                    heads = plan.memories[a, HEADS]
        elif kind == RELAY_LIF:
            heads = n // width
        elif kind == CLAMPED_RELAY:
            heads = m // width
        for head in range(heads):
            if kind == LIF_LIF:
                _update(
                    w,
                    at,
                    m,
                    n,
                    m,
                    plus[pre:],
                    minus[pre:],
                    plus[post:],
                    minus[post:],
                    gain,
                    shift,
                    counter,
                    lo,
                    hi,
                )
            elif kind == CLAMPED_LIF:
                _update(
                    w, at, m, n, m, x[pre:], x[pre:], plus[post:], minus[post:], gain, shift, counter, lo, hi
                )
            elif kind == CLAMPED_RELAY:
                _update(
                    w,
                    at + head * width,
                    m,
                    n,
                    width,
                    x[pre:],
                    x[pre:],
                    said_plus[1][post + head * width :],
                    said_minus[1][post + head * width :],
                    gain,
                    shift,
                    counter,
                    lo,
                    hi,
                )
            elif kind == RELAY_LIF:
                _update(
                    w,
                    at + head * width * m,
                    m,
                    width,
                    m,
                    said_plus[1][pre + head * width :],
                    said_minus[1][pre + head * width :],
                    plus[post:],
                    minus[post:],
                    gain,
                    shift,
                    counter,
                    lo,
                    hi,
                )
            else:
                _update(
                    w,
                    at,
                    m,
                    n,
                    m,
                    said_plus[2][pre + head * n :],
                    said_minus[2][pre + head * n :],
                    said_plus[0][post + head * width :],
                    said_minus[0][post + head * width :],
                    gain,
                    shift,
                    counter,
                    lo,
                    hi,
                )
            counter = (counter + 1) & 0xFFFFFFFF
    return counter


@njit(cache=True)
def _sample(
    plan: Any,
    w: Any,
    x: Any,
    patterns: Any,
    n_loaded: int,
    y: Any,
    nudged: bool,
    state: Any,
    said: Any,
    work: Any,
    rates: Any,
) -> Any:
    """Phases of one sample; rates and ``said`` (3, ...): free, plus, minus.

    Returns the number of spikes, and of free steps.
    """
    static, base, v, spikes, charge, acc, v_saved, spikes_saved = state
    strength = plan.raw[STRENGTH]
    _drive(plan, w, x, static)
    v[:] = plan.raw[THRESHOLD] // 2
    spikes[:] = 0
    said[0][1][:] = 0
    count, steps = _phase(
        plan, w, x, patterns, n_loaded, state, said[0], work, y, plan.raw[FREE], 0, plan.raw[EARLY], rates[0]
    )
    if nudged:
        v_saved[:] = v
        spikes_saved[:] = spikes
        for k in range(1, 3):
            v[:] = v_saved
            spikes[:] = spikes_saved
            said[k][1][:] = said[0][1]
            count += _phase(
                plan,
                w,
                x,
                patterns,
                n_loaded,
                state,
                said[k],
                work,
                y,
                plan.raw[NUDGED],
                strength if k == 1 else -strength,
                -1,
                rates[k],
            )[0]
    return count, steps


@njit(cache=True)
def _state(plan: Any) -> Any:
    n = plan.n_neurons
    return (
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.uint8),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.uint8),
    )


@njit(cache=True)
def _said(plan: Any) -> Any:
    return (
        np.zeros(plan.n_relay, np.int32),
        np.zeros(plan.n_relay, np.int32),
        np.zeros(plan.n_codes, np.int32),
    )


@njit(cache=True)
def _work(plan: Any) -> Any:
    return (
        np.zeros(plan.most_patterns, np.int32),
        np.zeros(plan.most_patterns, np.int32),
        np.zeros(plan.n_relay, np.int32),
    )


@njit(cache=True)
def _load(tokens: Any, j: int, patterns: Any) -> int:
    """Patterns of sample j, and how many."""
    if len(tokens.off) == 0:
        return 0
    first = tokens.off[j]
    n: int = tokens.off[j + 1] - first
    for t in range(n):
        patterns[t] = tokens.table[tokens.rows[first + t]]
    return n


@njit(cache=True)
def _train(
    plan: Any,
    w: Any,
    x: Any,
    ones: Any,
    tokens: Any,
    labels: Any,
    order: Any,
    gains: Any,
    shifts: Any,
    counter: int,
) -> Any:
    state, work, rates = _state(plan), _work(plan), np.zeros((3, plan.n_neurons), np.int32)
    said = (_said(plan), _said(plan), _said(plan))
    patterns = np.zeros((plan.most_patterns, tokens.table.shape[1]), np.int16)
    n, at = plan.populations[plan.out, SIZE], plan.populations[plan.out, START]
    y, xi = np.zeros(n, np.int64), np.zeros(x.shape[1] + len(ones), np.uint8)
    hits, spikes, steps = 0, 0, 0
    for j in order:
        _place(ones, x[j], xi)
        n_loaded = _load(tokens, j, patterns)
        y[:] = 0
        y[labels[j]] = 255
        did = _sample(plan, w, xi, patterns, n_loaded, y, True, state, said, work, rates)
        spikes += did[0]
        steps += did[1]
        hits += np.argmax(rates[0, at : at + n]) == labels[j]
        counter = _learn(plan, w, xi, rates, said[1], said[2], gains, shifts, counter)
    return counter, hits, spikes, steps


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
def _rates(
    plan: Any, w: Any, x: Any, ones: Any, tokens: Any, y: Any, nudged: bool, out: Any, spikes: Any, steps: Any
) -> None:
    for j in prange(len(x)):
        state, xi = _state(plan), np.zeros(x.shape[1] + len(ones), np.uint8)
        said = (_said(plan), _said(plan), _said(plan))
        patterns = np.zeros((plan.most_patterns, tokens.table.shape[1]), np.int16)
        _place(ones, x[j], xi)
        n_loaded = _load(tokens, j, patterns)
        spikes[j], steps[j] = _sample(
            plan, w, xi, patterns, n_loaded, y[j], nudged, state, said, _work(plan), out[j]
        )


@njit(cache=True)
def _averages(plan: Any, w: Any, x: Any, ones: Any, times: Any, drives: Any, out: Any) -> None:
    """Of a plan whose window no call of _steps reaches, so that charges go on counting."""
    y = np.zeros(plan.populations[plan.out, SIZE], np.int64)
    for j in range(len(x)):
        static, _, v, spikes, charge, acc, _, _ = _state(plan)
        xi = np.zeros(x.shape[1] + len(ones), np.uint8)
        _place(ones, x[j], xi)
        _drive(plan, w, xi, static)
        drives[j] = static
        v[:] = plan.raw[THRESHOLD] // 2
        done = 0
        for k in range(len(times)):
            _steps(plan, w, static, v, spikes, charge, acc, y, times[k] - done, 0)
            done = times[k]
            for i in range(plan.n_neurons):
                out[k, j, i] = charge[i] / (plan.raw[THRESHOLD] * done)


@dataclass
class Epoch:
    """What one pass of training did."""

    samples: int
    hits: int  #: samples whose free-phase prediction, before their update, was right
    spikes: int
    steps: int = 0  #: of the free phases; 0 when a device does not tell


class Settled(NamedTuple):
    """Rates (batch, 3, neurons) of the free, +beta and -beta phases, spikes (batch,) of them all, and steps
    (batch,) of the free phase.
    """

    rates: I32
    spikes: npt.NDArray[np.int64]
    steps: npt.NDArray[np.int64]


class Kernel:
    """Compiled twin of ``equilif_golden.reference.Reference``, with the same weights, counter and learning
    rates.
    """

    def __init__(
        self, network: Network, weights: Weights | None = None, *, lr: float | None = None, counter: int = 0
    ):
        self.network = network
        self._plan = _plan(network)
        self.load_weights(weights if weights is not None else network.initial_weights())
        self.counter = whole(counter, "counter", 0, 0xFFFFFFFF)
        self._ones = np.array(
            [
                j
                for j, kind in enumerate(
                    k for p in network.populations if p.clamped for k in [p.kind] * p.size
                )
                if kind == "constant"
            ],
            np.int64,
        )
        self.learns = lr is not None
        self.set_learning_rate(lr or 0.0)

    def load_weights(self, weights: Weights) -> None:
        checked = self.network.check_weights(weights)
        self._w = np.concatenate([w.ravel() for w in checked.values()]).astype(np.int16)

    @property
    def weights(self) -> Weights:
        """A copy of the weights by synapse."""
        cuts = np.split(
            self._w.astype(np.int64),
            np.cumsum([n * m for n, m in map(self.network.shape, self.network.plastic)])[:-1],
        )
        return {
            s.name: c.reshape(self.network.shape(s)) for s, c in zip(self.network.plastic, cuts, strict=True)
        }

    def set_learning_rate(self, eta: float) -> None:
        self.learns |= eta > 0
        steps = learning_steps(self.network, eta)
        self._gains = np.array([steps[s.name].gain for s in self.network.plastic], np.int64)
        self._shifts = np.array([steps[s.name].shift for s in self.network.plastic], np.int64)

    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Learn the samples one by one, in ``order`` (default: as they stand).

        ``x`` may be None where there is no input population.
        """
        x, tokens = samples.inputs(self.network, x, tokens)
        labels = samples.labels(self.network, labels, len(x))
        order = samples.order(order, len(x))
        if not self.learns:
            raise ValueError(NO_RATE)
        counter, hits, spikes, steps = _train(
            self._plan, self._w, x, self._ones, tokens, labels, order, self._gains, self._shifts, self.counter
        )
        self.counter = int(counter)
        return Epoch(len(order), int(hits), int(spikes), int(steps))

    def rates(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> tuple[I32, npt.NDArray[np.int64]]:
        """Rates and spikes of :meth:`settle`."""
        return self.settle(x, y, tokens=tokens)[:2]

    def settle(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> Settled:
        """All phases without learning.

        Without targets ``y`` (batch, n_outputs) only the free phase runs and the other rates stay zero.
        """
        x, tokens = samples.inputs(self.network, x, tokens)
        nudged = y is not None
        targets = samples.targets(
            self.network, np.zeros((len(x), self.network.n_outputs), np.int64) if y is None else y, len(x)
        )
        found = Settled(
            np.zeros((len(x), 3, self._plan.n_neurons), np.int32),
            np.zeros(len(x), np.int64),
            np.zeros(len(x), np.int64),
        )
        _rates(self._plan, self._w, x, self._ones, tokens, targets, nudged, *found)
        return found

    def averages(self, x: npt.ArrayLike, times: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], I32]:
        """Average spiking rates (times, batch, neurons) of a free phase that goes on: spikes a step from its
        beginning to each of ``times``.

        Also the raw static drive (batch, neurons) from the clamped populations.  ``times`` rise, up to
        2**18.  Not for memories.
        """
        x, _ = samples.inputs(self.network, x, None)
        if self.network.memories:
            raise ValueError(
                "averages of a network with a memory are not defined: it is asked window by window"
            )
        times = integers(times, "times")
        if (
            times.ndim != 1
            or not len(times)
            or times[0] < 1
            or (np.diff(times) < 1).any()
            or times[-1] > 1 << 18
        ):
            raise ValueError(f"times must rise from at least 1 to at most {1 << 18}, not {times.tolist()}")
        raw = self._plan.raw.copy()
        raw[WINDOW] = 1 << 20
        out, drives = (
            np.zeros((len(times), len(x), self._plan.n_neurons)),
            np.zeros((len(x), self._plan.n_neurons), np.int32),
        )
        _averages(self._plan._replace(raw=raw), self._w, x, self._ones, times, drives, out)
        return out, drives

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> npt.NDArray[np.int64]:
        """Class of each sample: the first output of largest free-phase rate."""
        at = int(self._plan.populations[self._plan.out, START])
        predictions: npt.NDArray[np.int64] = self.rates(x, tokens=tokens)[0][
            :, 0, at : at + self.network.n_outputs
        ].argmax(axis=1)
        return predictions

    def accuracy(
        self, x: npt.ArrayLike | None, labels: npt.ArrayLike, *, tokens: TokenRows | None = None
    ) -> float:
        return samples.accuracy(self.network, self.predict(x, tokens=tokens), labels)
