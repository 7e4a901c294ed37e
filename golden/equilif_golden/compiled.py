"""The reference compiled with Numba: one sample, and batches of samples.

The functions bear the names of equilif_golden.blocks, for one neuron or one matrix.  Drives are 32-bit
here: narrower accumulators in hardware never wrap, by Network's fan-in check.

All compiled functions stand in this file: what Numba has stored is renewed when the file of a function
changes, not when that of a function it calls does.  They run without Python's lock, so threads can share a
batch.  They make no arrays: what they work in is handed to them.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba.core.caching import FunctionCache

from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_DESTINATION,
    DITHER_MASK,
    DITHER_ROW,
    DITHER_SOURCE,
    DITHER_UPDATE,
)
from equilif_golden.blocks.relay import SIGNED
from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, FINE, R_MAX, RECIPROCAL, TABLE
from equilif_golden.blocks.softmax import FRACTION as EXPONENT_FRACTION
from equilif_golden.blocks.softmax import WIDTH as EXPONENT_WIDTH
from equilif_golden.fixed import VALUE, Raw
from equilif_golden.network import ONE, TokenRows
from equilif_golden.plan import Attending, Head, Matrix, Plan, Shared, Table, Update

I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Reals = npt.NDArray[np.float64]
Function = TypeVar("Function", bound=Callable[..., object])

# compiled code takes numbers and arrays from its file, not attributes of Python's objects
EXPONENTIALS = TABLE.astype(np.int32)
EXPONENT_HI = (1 << (EXPONENT_WIDTH - 1)) - 1
EXPONENT_LO = -EXPONENT_HI - 1
VALUE_HI = VALUE.hi
VALUE_WIDTH = VALUE.width
VALUE_F = VALUE.f
#: steps after which the charge of a neuron that always fires still has 32 bits
CHARGED = 1 << 16
SIGNED_HI = SIGNED.hi
SIGNED_LO = SIGNED.lo


class Store(FunctionCache):  # type: ignore[misc]
    """Numba's files of compiled code, without which everything still runs, only later."""

    def load_overload(self, *args: object) -> object:
        found = None
        try:
            found = super().load_overload(*args)
        except Exception:  # a damaged file may raise anything: it is written again
            with suppress(OSError):
                self.flush()
        if found is None:
            announce()
        return found

    def save_overload(self, *args: object) -> None:
        with suppress(OSError):  # a full disk
            super().save_overload(*args)


@functools.cache
def announce() -> None:
    """Say to a person, once, why nothing happens for a while."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        print("equilif: compiling the kernel, about 20 s, only the first time", file=sys.stderr)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end: raised in one of the compiler's callbacks it would end the process."""
    handler = signal.getsignal(signal.SIGINT)
    # no other thread is interrupted
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    pressed: list[Any] = []
    signal.signal(signal.SIGINT, lambda *how: pressed.append(how))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed:
            handler(*pressed[0])


def compiled(function: Function) -> Function:
    """Compiled on its first call, and stored where a folder for it can be had."""
    # without Numba's memory: counting the references to slices took half of the time
    made: Any = numba.njit(function, nogil=True, _nrt=False)
    made.compile = uninterrupted()(made.compile)
    # RuntimeError: neither the package's folder nor the user's can be written
    with suppress(RuntimeError):
        made._cache = Store(function)
    return cast(Function, made)


def inlined(function: Function) -> Function:
    """Becomes part of the compiled function that calls it."""
    made: Function = numba.njit(function, inline="always", nogil=True)
    return made


class State(NamedTuple):
    """Raw state of a network during a sample; one per thread."""

    values: I16  #: (3, n_values), of the free, +beta and -beta phases
    static: I32  #: (n_drives,), drives from clamped populations
    base: I32  #: (n_neurons,), static drives and the last retrievals
    v: I32  #: (n_neurons,), membranes
    spikes: U8  #: (n_neurons,), of the last step
    charge: I32  #: (n_neurons,), since the window began
    v_saved: I32  #: (n_neurons,), at the end of the free phase
    spikes_saved: U8  #: (n_neurons,), at the end of the free phase
    drive: I32  #: (n_drives,), of the population or the head at work
    query_drive: I32  #: (n_drives - n_neurons,), drives of relays and self-attention
    scores: I32  #: (most_patterns,), of the head at work, and their exponentials
    patterns: I16  #: (most_patterns, width), dynamic patterns of this sample
    learned: I16  #: (most_patterns, width), the same after training
    target: I32  #: (n_outputs,), 8-bit values
    events: I32  #: (n_values,), of the scan at work


def new_state(plan: Plan, width: int = 0) -> State:
    """Zeroed state; ``width``: of dynamic patterns."""
    n = plan.n_neurons
    values = np.zeros((3, plan.n_values), np.int16)
    values[:, plan.constants : plan.queries] = ONE
    return State(
        values,
        np.zeros(plan.n_drives, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.uint8),
        np.zeros(n, np.int32),
        np.zeros(n, np.int32),
        np.zeros(n, np.uint8),
        np.zeros(plan.n_drives, np.int32),
        np.zeros(plan.n_drives - n, np.int32),
        np.zeros(plan.most_patterns, np.int32),
        np.zeros((plan.most_patterns, width), np.int16),
        np.zeros((plan.most_patterns, width), np.int16),
        np.zeros(plan.output.size, np.int32),
        np.zeros(plan.n_values, np.int32),
    )


@inlined
def i32(x: int) -> int:
    """``x`` in 32 bits, which a processor adds eight or sixteen at a time; it always fits."""
    return np.int32(x)  # type: ignore[return-value]


@inlined
def clip(x: int, lo: int, hi: int) -> int:
    return min(max(x, lo), hi)


@inlined
def product(value: int, weight: int) -> int:
    """An 8-bit value times a weight, rounded down on its own."""
    return i32(i32(value) * i32(weight)) >> VALUE_F


@inlined
def scan(values: npt.NDArray[Any], events: I32) -> int:
    """Positions of the values that are not zero, and how many.

    One pass without a branch: which neurons fire cannot be predicted.
    """
    n = 0
    for i in range(len(values)):
        events[n] = i
        n += values[i] != 0
    return n


@inlined
def forward(w: I16, spikes: U8, drive: I32, events: I32) -> None:
    """Drive of the columns from spikes of the rows; ``w``: row after row."""
    columns = len(drive)
    for e in range(scan(spikes, events)):
        first = events[e] * columns
        row = w[first : first + columns]
        for k in range(columns):
            drive[k] += i32(row[k])


@inlined
def backward(w: I16, spikes: U8, drive: I32, events: I32, shift: int) -> None:
    """Drive of the rows from spikes of the columns."""
    columns = len(spikes)
    half = i32(1 << shift >> 1)
    for e in range(scan(spikes, events)):
        column = w[events[e] :: columns]
        for i in range(len(drive)):
            drive[i] += (i32(column[i]) + half) >> i32(shift)


@inlined
def forward_values(w: I16, values: I16, drive: I32, events: I32) -> None:
    """Drive of the columns from values of the rows."""
    columns = len(drive)
    for e in range(scan(values, events)):
        first = events[e] * columns
        row = w[first : first + columns]
        value = values[events[e]]
        for k in range(columns):
            drive[k] += product(value, row[k])


@inlined
def backward_values(w: I16, values: I16, drive: I32) -> None:
    """Drive of the rows from values of the columns."""
    columns = len(values)
    for i in range(len(drive)):
        total = i32(0)
        for k in range(columns):
            total += product(values[k], w[i * columns + k])
        drive[i] += total


@inlined
def add_rows(w: I16, first: int, stride: int, events: I32, drive: I32) -> None:
    """Weights of neurons that have fired, ``stride`` apart.

    Three at a time, so that drives are fetched and put back less often.
    """
    n = len(events)
    for e in range(0, n - 2, 3):
        a = w[first + events[e] * stride :]
        b = w[first + events[e + 1] * stride :]
        c = w[first + events[e + 2] * stride :]
        for k in range(len(drive)):
            drive[k] += i32(a[k]) + i32(b[k]) + i32(c[k])
    for e in range(n - n % 3, n):
        a = w[first + events[e] * stride :]
        for k in range(len(drive)):
            drive[k] += i32(a[k])


@compiled
def forward_shared(plan: Plan, w: I16, m: Shared, spikes: U8, drive: I32, events: I32) -> None:
    """Drive of all positions from spikes of those whose weights they share."""
    for q in range(m.positions):
        n = scan(spikes[q * m.maps : (q + 1) * m.maps], events)
        if n:
            for j in range(plan.edge_starts[m.edge_start + q], plan.edge_starts[m.edge_start + q + 1]):
                first = plan.edges[j, 0]
                target = drive[first : first + m.columns]
                add_rows(w, plan.edges[j, 1], m.columns, events[:n], target)


@compiled
def forward_values_shared(plan: Plan, w: I16, m: Shared, values: I16, drive: I32, events: I32) -> None:
    """Drive of all positions from values of those whose weights they share."""
    for q in range(m.positions):
        n = scan(values[q * m.maps : (q + 1) * m.maps], events)
        for j in range(
            plan.edge_starts[m.edge_start + q], plan.edge_starts[m.edge_start + q + 1] if n else 0
        ):
            first = plan.edges[j, 0]
            target = drive[first : first + m.columns]
            for e in range(n):
                value = values[q * m.maps + events[e]]
                at = plan.edges[j, 1] + events[e] * m.columns
                row = w[at : at + m.columns]
                for k in range(len(target)):
                    target[k] += product(value, row[k])


@compiled
def backward_values_shared(plan: Plan, w: I16, m: Shared, values: I16, drive: I32, events: I32) -> None:
    """Drive of all positions of ``pre`` from values of ``post``."""
    for q in range(m.targets):
        first = q * m.columns
        n = scan(values[first : first + m.columns], events)
        for e in range(n):
            value = values[first + events[e]]
            for j in range(m.runs):
                to = plan.runs[m.run_start + q * m.runs + j]
                at = m.back + events[e] * m.rows + j * m.run
                row = w[at : at + m.run]
                target = drive[to : to + m.run]
                for k in range(len(target)):
                    target[k] += product(value, row[k])


@compiled
def backward_shared(plan: Plan, w: I16, m: Shared, spikes: U8, drive: I32, events: I32) -> None:
    """Drive of all positions of ``pre`` from spikes of ``post``."""
    for q in range(m.targets):
        n = scan(spikes[q * m.columns : (q + 1) * m.columns], events)
        for r in range(m.runs if n else 0):
            first = plan.runs[m.run_start + q * m.runs + r]
            target = drive[first : first + m.run]
            add_rows(w, m.back + r * m.run, m.rows, events[:n], target)


@compiled
def transpose_shared(w: I16, m: Shared) -> None:
    """The copy of the weights that lies column after column."""
    for k in range(m.columns):
        column = w[m.back + k * m.rows : m.back + (k + 1) * m.rows]
        for i in range(len(column)):
            column[i] = (i32(w[m.at + i * m.columns + k]) + (1 << m.feedback >> 2)) >> (
                m.feedback - 1 if m.feedback else 0
            )


@inlined
def block(w: I16, s: Matrix) -> I16:
    """The weights of one synapse."""
    return w[s.at : s.at + s.rows * s.columns]


@inlined
def copy_to(values: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """``values`` into ``out``, of the same length; several times faster than an assignment of slices."""
    for i in range(len(out)):
        out[i] = values[i]


@inlined
def lif_step(v: int, drive: int, threshold: int, leak: int) -> tuple[int, int]:
    """Membrane and spike of a neuron after a step."""
    u = clip(i32(v + drive), -threshold, 2 * threshold)
    spike = i32(u >= threshold)
    u -= spike * threshold
    return u - (u >> leak) if leak else u, spike


@inlined
def nudge(target: int, spike: int, strength: int) -> int:
    return ((strength * target) >> VALUE_F) - strength * spike


@inlined
def measure(charge: int, v: int, shift: int) -> int:
    """8-bit rate of a neuron."""
    return clip(i32(charge + v) >> i32(shift), 0, VALUE_HI)


@inlined
def moved(rate: int, before: int, tolerance: int) -> bool:
    return abs(rate - before) > tolerance


@inlined
def relay(drive: int, shift: int) -> int:
    """Signed 8-bit value of a relay neuron."""
    return clip(drive >> shift, SIGNED_LO, SIGNED_HI)


@compiled
def exponentials(scores: I32, shift: int) -> tuple[int, int]:
    """Scores become mantissas of one exponent; returns their sum and its octave c."""
    top = EXPONENT_LO
    for t in range(len(scores)):
        scores[t] = clip(scores[t] >> shift, EXPONENT_LO, EXPONENT_HI)
        top = max(top, scores[t] >> EXPONENT_FRACTION)
    total = 0
    for t in range(len(scores)):
        down = top - (scores[t] >> EXPONENT_FRACTION)
        mantissa = EXPONENTIALS[scores[t] & ((1 << EXPONENT_FRACTION) - 1)]
        scores[t] = mantissa >> down if down < VALUE_WIDTH else 0
        total += scores[t]
    c = C_MIN
    while total >> (c + 1):
        c += 1
    return total, c


@inlined
def reciprocal(total: int, c: int) -> int:
    """Factor from a mantissa to the code of p at exponent ``c``."""
    return min(((1 << (c + RECIPROCAL + 1)) // max(total, 1) + 1) >> 1, R_MAX)


@inlined
def code(mantissa: int, r: int) -> int:
    return min((mantissa * r + (1 << (RECIPROCAL - 1))) >> RECIPROCAL, VALUE_HI)


@inlined
def dither(counter: int, row: int, source: int, destination: int) -> int:
    """Of the first column; the next ones are DITHER_COLUMN apart."""
    return i32(
        (
            counter * DITHER_UPDATE
            + row * DITHER_ROW
            + source * DITHER_SOURCE
            + destination * DITHER_DESTINATION
        )
        & DITHER_MASK
    )


@inlined
def moves(up: int, um: int, changed: int) -> bool:
    """Whether a row of weights can move.

    A zero difference never moves one, and most samples that are known make no other.
    """
    return up != um or up != 0 and changed != 0


@inlined
def move(
    row: I16, up: int, um: int, v_plus: I16, v_minus: I16, dither: int, s: Update, w_lo: int, w_hi: int
) -> None:
    """A row of weights; ``up``, ``um``: its rates times the gain."""
    shift = i32(s.shift)
    mask = i32((1 << s.shift) - 1)
    for k in range(len(row)):
        difference = i32(up * v_plus[k]) - i32(um * v_minus[k])
        dw = i32(difference + (i32(dither + i32(k * DITHER_COLUMN)) & mask)) >> shift
        row[k] = clip(i32(row[k] + dw), w_lo, w_hi)


@compiled
def ep_update_shared(plan: Plan, w: I16, m: Shared, s: Update, plus: I16, minus: I16, counter: int) -> None:
    """Update shared weights after a sample, position by position of ``post``."""
    gain = i32(s.gain)
    for q in range(m.targets):
        first = s.v + q * m.columns
        v_plus = plus[first : first + s.columns]
        v_minus = minus[first : first + s.columns]
        changed = i32(0)
        some = i32(0)
        for k in range(len(v_plus)):
            changed |= v_plus[k] ^ v_minus[k]
            some |= v_plus[k] | v_minus[k]
        for r in range(m.runs if some else 0):
            for i in range(m.run):
                neuron = plan.runs[m.run_start + q * m.runs + r] + i
                up = i32(gain * plus[s.u + neuron])
                um = i32(gain * minus[s.u + neuron])
                if moves(up, um, changed):
                    at = s.at + (r * m.run + i) * s.stride
                    row = w[at : at + s.columns]
                    d = dither(counter, neuron % m.maps, neuron // m.maps, q)
                    move(row, up, um, v_plus, v_minus, d, s, plan.w_lo, plan.w_hi)


@compiled
def ep_update(w: I16, s: Update, plus: I16, minus: I16, counter: int, w_lo: int, w_hi: int) -> None:
    """Update the weights of one matrix after a sample, from the values at +beta and at -beta."""
    gain = i32(s.gain)
    v_plus = plus[s.v : s.v + s.columns]
    v_minus = minus[s.v : s.v + s.columns]
    changed = i32(0)
    for k in range(s.columns):
        changed |= v_plus[k] ^ v_minus[k]
    for source in range(s.rows // s.maps):
        for m in range(s.maps):
            i = source * s.maps + m
            up = i32(gain * plus[s.u + i])
            um = i32(gain * minus[s.u + i])
            if moves(up, um, changed):
                row = w[s.at + i * s.stride : s.at + i * s.stride + s.columns]
                move(row, up, um, v_plus, v_minus, dither(counter, m, source, 0), s, w_lo, w_hi)


@inlined
def rounded_product(value: int, weight: int) -> int:
    """An error times a weight, rounded to the nearest on its own."""
    return i32(i32(value) * i32(weight) + i32(1 << (VALUE_F - 1))) >> VALUE_F


@compiled
def errors_back(w: I16, m: Matrix, errors: I16, drive: I32, events: I32) -> None:
    """Drive of the rows from errors of the columns."""
    if not scan(errors, events):
        return
    columns = len(errors)
    for i in range(len(drive)):
        total = i32(0)
        for k in range(columns):
            total += rounded_product(errors[k], w[m.at + i * columns + k])
        drive[i] += total


@compiled
def errors_back_shared(plan: Plan, w: I16, m: Shared, errors: I16, drive: I32, events: I32) -> None:
    """Drive of all positions of ``pre`` from errors of ``post``."""
    for q in range(m.targets):
        first = q * m.columns
        n = scan(errors[first : first + m.columns], events)
        for e in range(n):
            error = errors[first + events[e]]
            for j in range(m.runs):
                to = plan.runs[m.run_start + q * m.runs + j]
                at = m.back + events[e] * m.rows + j * m.run
                row = w[at : at + m.run]
                target = drive[to : to + m.run]
                for k in range(len(target)):
                    target[k] += rounded_product(error, row[k])


@compiled
def pass_errors(plan: Plan, w: I16, s: State) -> None:
    """Errors of all LIF populations, at ``plan.errors`` of ``s.values[2]``, from the free rates and the
    target; the free rates are those from which weights learn.
    """
    shift = plan.raw.hidden_error_shift
    rates = s.values[0]
    for k in range(1, 3):
        copy_to(rates[: plan.n_neurons], s.values[k, : plan.n_neurons])
    errors = s.values[2, plan.errors : plan.errors + plan.n_neurons]
    errors[:] = 0
    output = plan.output
    for j in range(output.size):
        errors[output.first + j] = clip(rates[output.first + j] - s.target[j], SIGNED_LO, SIGNED_HI)
    for p in range(len(plan.layers) - 1, -1, -1):
        first = plan.layers[p].first
        if first == output.first:
            continue
        drive = s.drive[: plan.layers[p].size]
        drive[:] = 1 << (shift - 1)
        for k in range(len(plan.joins)):
            m = plan.joins[k]
            if m.pre == first:
                errors_back(w, m, errors[m.post : m.post + m.columns], drive, s.events)
        for k in range(plan.n_static, plan.n_joins):
            c = plan.shared[k]
            if c.pre == first:
                errors_back_shared(
                    plan, w, c, errors[c.post : c.post + c.targets * c.columns], drive, s.events
                )
        for j in range(len(drive)):
            rate = rates[first + j]
            errors[first + j] = relay(drive[j], shift) if 0 < rate < VALUE_HI else 0


@compiled
def add_retrievals(plan: Plan, w: I16, s: State, values: I16) -> None:
    """Base drive: static drive and the last retrievals."""
    copy_to(s.static, s.base)
    for k in range(len(plan.recalls)):
        m = plan.recalls[k]
        first = values[m.pre : m.pre + m.rows]
        forward_values(block(w, m), first, s.base[m.post : m.post + m.columns], s.events)
    for k in range(plan.n_projections, len(plan.shared)):
        c = plan.shared[k]
        drive = s.base[c.post : c.post + c.targets * c.columns]
        answers = values[c.pre : c.pre + c.positions * c.maps]
        forward_values_shared(plan, w, c, answers, drive, s.events)
    for k in range(len(plan.attending)):
        a = plan.attending[k]
        for i in range(plan.n_joins, plan.n_projections if a.energy else plan.n_joins):
            c = plan.shared[i]
            if c.post == a.projections:
                answers = values[a.answers : a.answers + c.targets * c.columns]
                drive = s.base[c.pre : c.pre + c.positions * c.maps]
                backward_values_shared(plan, w, c, answers, drive, s.events)


@compiled
def settle(plan: Plan, w: I16, s: State, steps: int, strength: int) -> int:
    """Time steps: each LIF population in order, from the newest spikes of its neighbours (Gauss-Seidel).

    Returns the number of spikes.
    """
    threshold = i32(plan.raw.threshold)
    leak = i32(plan.raw.leak)
    # taken out of the tuple once, not in every step
    base = s.base
    all_v = s.v
    all_spikes = s.spikes
    all_charge = s.charge
    all_drive = s.drive
    count = 0
    for _ in range(steps):
        for p in range(len(plan.layers)):
            first = plan.layers[p].first
            last = first + plan.layers[p].size
            v = all_v[first:last]
            spikes = all_spikes[first:last]
            charge = all_charge[first:last]
            drive = all_drive[: last - first]
            copy_to(base[first:last], drive)
            for k in range(len(plan.joins)):
                m = plan.joins[k]
                if m.post == first:
                    forward(block(w, m), all_spikes[m.pre : m.pre + m.rows], drive, s.events)
                elif m.pre == first and m.feedback:
                    backward(
                        block(w, m), all_spikes[m.post : m.post + m.columns], drive, s.events, m.feedback - 1
                    )
            for k in range(plan.n_static, plan.n_joins):
                c = plan.shared[k]
                if c.post == first:
                    n = c.positions * c.maps
                    forward_shared(plan, w, c, all_spikes[c.pre : c.pre + n], drive, s.events)
                elif c.pre == first and c.feedback:
                    n = c.targets * c.columns
                    backward_shared(plan, w, c, all_spikes[c.post : c.post + n], drive, s.events)
            if strength and first == plan.output.first:
                for j in range(len(v)):
                    drive[j] += nudge(s.target[j], spikes[j], strength)
            for j in range(len(v)):
                v[j], spike = lif_step(v[j], drive[j], threshold, leak)
                spikes[j] = spike
                charge[j] += spike * threshold
                count += spike
    return count


@inlined
def mark(s: State) -> None:
    """A window begins."""
    for j in range(len(s.v)):
        s.charge[j] = -s.v[j]


@compiled
def measure_all(plan: Plan, s: State, values: I16) -> bool:
    """Rates of the window that ends; returns whether no watched one has moved."""
    first = 0
    last = plan.n_neurons
    if plan.raw.watch_output:
        first = plan.output.first
        last = first + plan.output.size
    settled = True
    for j in range(plan.n_neurons):
        rate = measure(s.charge[j], s.v[j], plan.raw.rate_shift)
        if first <= j < last and moved(rate, values[j], plan.raw.early_exit):
            settled = False
        values[j] = rate
    return settled


@compiled
def recall(plan: Plan, w: I16, s: State, values: I16, n_loaded: int) -> None:
    """Each memory once, from the rates just measured: queries, then head by head the softmax."""
    copy_to(s.static[plan.n_neurons :], s.query_drive)
    for k in range(len(plan.recalls)):
        m = plan.recalls[k]
        first = m.pre - plan.n_neurons
        backward_values(
            block(w, m), values[m.post : m.post + m.columns], s.query_drive[first : first + m.rows]
        )
    for j in range(plan.n_relays):
        values[plan.queries + j] = relay(s.query_drive[j], plan.query_shift)
    for k in range(len(plan.heads)):
        head = plan.heads[k]
        if head.patterns < 0:
            ask(head, s.patterns[:n_loaded].reshape(n_loaded * head.width), s, values)
        else:
            ask(head, w[head.patterns : head.patterns + head.n_patterns * head.width], s, values)
    for k in range(plan.n_joins, plan.n_projections):
        c = plan.shared[k]
        first = c.post - plan.n_neurons
        drive = s.query_drive[first : first + c.targets * c.columns]
        forward_values_shared(plan, w, c, values[c.pre : c.pre + c.positions * c.maps], drive, s.events)
    for j in range(plan.n_relays, len(s.query_drive)):
        values[plan.n_neurons + j] = relay(s.query_drive[j], plan.query_shift)
    for k in range(len(plan.attending)):
        attend(plan, plan.attending[k], s, values)


@compiled
def attend(plan: Plan, a: Attending, s: State, values: I16) -> None:
    """Answers of a self-attention population from the codes of query, key and value of its positions."""
    stored = plan.query_shift  # codes of 7 fraction bits become weights
    columns = a.heads * a.width
    parts = 2 if a.energy else 3
    answers = parts * columns if a.energy else columns  # of a position
    back = s.query_drive[a.projections - plan.n_neurons :]  # of keys, in the place of their drives
    if a.energy:
        back[: a.positions * answers] = 0
    for head in range(a.heads):
        first = a.projections + head * a.width
        for i in range(a.positions):
            query = values[first + parts * i * columns : first + parts * i * columns + a.width]
            scores = s.scores[: i + 1 if a.causal else a.positions]
            for j in range(len(scores)):
                at = first + (parts * j + 1) * columns
                key = values[at : at + a.width]
                total = i32(0)
                for d in range(a.width):
                    total += product(query[d], i32(key[d]) << stored)
                scores[j] = total
            total, _ = exponentials(scores, a.softmax_shift)
            r = reciprocal(total, ABSOLUTE)
            drive = s.drive[: a.width]
            drive[:] = 0
            for j in range(len(scores)):
                p = code(scores[j], r)
                if p:
                    at = first + (parts * j + parts - 1) * columns
                    value = values[at : at + a.width]
                    for d in range(a.width):
                        drive[d] += product(p, i32(value[d]) << stored)
                    at -= a.projections
                    for d in range(a.width if a.energy else 0):
                        back[at + d] += product(p >> 1, i32(query[d]) << stored)
            at = a.answers + i * answers + head * a.width
            for d in range(a.width):
                values[at + d] = relay(drive[d], a.answer_shift)
    for i in range(a.positions if a.energy else 0):
        at = i * answers + columns
        for d in range(columns):
            values[a.answers + at + d] = relay(back[at + d], a.answer_shift - 1)


@compiled
def ask(head: Head, x: I16, s: State, values: I16) -> None:
    """One head: ``x`` are its patterns, one after the other."""
    scores = s.scores[: len(x) // head.width]
    scores[:] = 0
    backward_values(x, values[head.query : head.query + head.width], scores)
    total, c = exponentials(scores, head.softmax_shift)
    drive = s.drive[: head.width]
    drive[:] = 0
    r = reciprocal(total, c)
    for t in range(len(scores)):
        p = code(scores[t], r)
        if p:
            for j in range(head.width):
                drive[j] += product(p, x[t * head.width + j])
    for j in range(head.width):
        values[head.retrieval + j] = relay(drive[j], head.retrieval_shift + c - C_MIN)
    if head.codes >= 0:
        r = reciprocal(total, FINE if head.patterns < 0 else ABSOLUTE)
        for t in range(len(scores)):
            values[head.codes + t] = code(scores[t], r)
        for t in range(len(scores), head.n_patterns):
            values[head.codes + t] = 0


@compiled
def phase(
    plan: Plan, w: I16, s: State, k: int, n_loaded: int, steps: int, strength: int, early_exit: bool
) -> tuple[int, int]:
    """Settle and measure into ``s.values[k]``; attention layers are evaluated after every window.

    Returns the number of spikes and of steps, which is less than ``steps`` when an ``early`` phase has
    settled.
    """
    raw = plan.raw
    values = s.values[k]
    window = raw.window if len(plan.heads) or len(plan.attending) or early_exit else steps
    count = 0
    for done in range(window, steps + 1, window):
        add_retrievals(plan, w, s, values)
        count += settle(plan, w, s, window - raw.window, strength)
        mark(s)
        count += settle(plan, w, s, raw.window, strength)
        settled = measure_all(plan, s, values)
        recall(plan, w, s, values, n_loaded)
        if early_exit and settled and done >= raw.min_windows * raw.window:
            return count, done
    return count, steps


@compiled
def begin(plan: Plan, w: I16, s: State, x: U8) -> None:
    """Inputs, static drives, membranes at half of the threshold, no spikes, nothing recalled."""
    for k in range(3):
        inputs = s.values[k, plan.inputs : plan.constants]
        if len(plan.fold):
            for i in range(len(inputs)):
                inputs[i] = x[plan.fold[i]]
        else:
            copy_to(x, inputs)
        s.values[k, plan.n_neurons : plan.inputs] = 0
    s.static[:] = 0
    for k in range(len(plan.static)):
        m = plan.static[k]
        forward_values(
            block(w, m),
            s.values[0, m.pre : m.pre + m.rows],
            s.static[m.post : m.post + m.columns],
            s.events,
        )
    for k in range(plan.n_static):
        c = plan.shared[k]
        n = c.positions * c.maps
        drive = s.static[c.post : c.post + c.targets * c.columns]
        forward_values_shared(plan, w, c, s.values[0, c.pre : c.pre + n], drive, s.events)
    s.v[:] = plan.raw.threshold // 2
    s.spikes[:] = 0


@compiled
def load(plan: Plan, w: I16, tokens: TokenRows, j: int, s: State) -> int:
    """Patterns of sample j, and how many."""
    if not len(tokens.off):
        return 0
    first = tokens.off[j]
    n: int = tokens.off[j + 1] - first
    width = s.patterns.shape[1]
    for t in range(n):
        row = tokens.rows[first + t]
        if plan.table < 0:
            copy_to(tokens.table[row], s.patterns[t])
        else:
            at = plan.table + row * width
            copy_to(w[at : at + width], s.patterns[t])
            copy_to(s.patterns[t], s.learned[t])
    return n


@compiled
def unload(plan: Plan, w: I16, tokens: TokenRows, j: int, s: State) -> None:
    """Add the changes of the patterns of sample j to the table, token by token."""
    first = tokens.off[j]
    width = s.patterns.shape[1]
    for t in range(tokens.off[j + 1] - first):
        at = plan.table + tokens.rows[first + t] * width
        row = w[at : at + width]
        for k in range(width):
            change = i32(s.learned[t, k]) - i32(s.patterns[t, k])
            row[k] = clip(i32(row[k]) + change, plan.w_lo, plan.w_hi)


@compiled
def sample(plan: Plan, w: I16, s: State, n_loaded: int, nudged: bool) -> tuple[int, int]:
    """The phases of a sample that has begun.  Returns the number of spikes, and of free steps."""
    raw = plan.raw
    spikes, steps = phase(plan, w, s, 0, n_loaded, raw.free, 0, raw.early_exit >= 0)
    if nudged and plan.errors >= 0:
        pass_errors(plan, w, s)
    elif nudged:
        copy_to(s.v, s.v_saved)
        copy_to(s.spikes, s.spikes_saved)
        for k in range(1, 3):
            copy_to(s.v_saved, s.v)
            copy_to(s.spikes_saved, s.spikes)
            copy_to(s.values[0, plan.n_neurons : plan.inputs], s.values[k, plan.n_neurons : plan.inputs])
            strength = raw.strength if k == 1 else -raw.strength
            spikes += phase(plan, w, s, k, n_loaded, raw.nudged, strength, False)[0]
    return spikes, steps


@compiled
def learn(plan: Plan, updates: Table, w: I16, s: State, counter: int) -> int:
    """All updates after a sample; returns the counter."""
    for k in range(len(updates)):
        u = updates[k]
        if u.dynamic:
            x = s.learned.reshape(s.learned.size)
            ep_update(x, u, s.values[1], s.values[2], counter, plan.w_lo, plan.w_hi)
        elif u.shared < 0:
            ep_update(w, u, s.values[1], s.values[2], counter, plan.w_lo, plan.w_hi)
        else:
            c = plan.shared[u.shared]
            ep_update_shared(plan, w, c, u, s.values[1], s.values[2], counter)
            transpose_shared(w, c)
        counter = (counter + 1) & 0xFFFFFFFF
    return counter


@compiled
def train_samples(
    plan: Plan,
    updates: Table,
    w: I16,
    s: State,
    x: U8,
    tokens: TokenRows,
    labels: Raw,
    order: Raw,
    counter: int,
) -> tuple[int, int, int, int]:
    """Samples one by one; returns the counter, hits, spikes and free steps."""
    output = plan.output
    hits = 0
    spikes = 0
    steps = 0
    for j in order:
        begin(plan, w, s, x[j])
        n_loaded = load(plan, w, tokens, j, s)
        s.target[:] = 0
        s.target[labels[j]] = VALUE_HI
        more_spikes, more_steps = sample(plan, w, s, n_loaded, True)
        spikes += more_spikes
        steps += more_steps
        hits += np.argmax(s.values[0, output.first : output.first + output.size]) == labels[j]
        counter = learn(plan, updates, w, s, counter)
        if plan.table >= 0:
            unload(plan, w, tokens, j, s)
    return counter, hits, spikes, steps


@compiled
def settle_samples(
    plan: Plan,
    w: I16,
    s: State,
    x: U8,
    tokens: TokenRows,
    y: U8,
    rates: I32,
    spikes: Raw,
    steps: Raw,
    first: int,
    last: int,
) -> None:
    """Samples ``first`` to ``last``; without targets ``y`` the free phase only."""
    for j in range(first, last):
        begin(plan, w, s, x[j])
        n_loaded = load(plan, w, tokens, j, s)
        if len(y):
            copy_to(y[j], s.target)
        spikes[j], steps[j] = sample(plan, w, s, n_loaded, len(y) > 0)
        for k in range(3 if len(y) else 1):
            copy_to(s.values[k], rates[j, k])
        if len(y) and plan.errors >= 0:
            copy_to(s.values[2, plan.errors :], rates[j, 2])


@compiled
def average_samples(
    plan: Plan, w: I16, s: State, x: U8, times: Raw, spikes: Raw, drives: I32, out: Reals
) -> None:
    """A long free phase: average spikes per step since its start, and static drives.

    ``spikes`` (n_neurons,) is worked in.
    """
    for j in range(len(x)):
        begin(plan, w, s, x[j])
        add_retrievals(plan, w, s, s.values[0])
        copy_to(s.static, drives[j])
        spikes[:] = 0
        done = 0
        for k in range(len(times)):
            while done < times[k]:
                steps = min(times[k] - done, CHARGED)
                s.charge[:] = 0
                settle(plan, w, s, steps, 0)
                done += steps
                for i in range(plan.n_neurons):
                    spikes[i] += s.charge[i] // plan.raw.threshold
            for i in range(plan.n_neurons):
                out[k, j, i] = spikes[i] / done
