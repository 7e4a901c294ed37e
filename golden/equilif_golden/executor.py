"""Compiled executor of the engine's program: a network on memories as wide as it needs.

The program is that of equilif_golden.engine.compiler for one lane, decoded once (equilif_golden.steps).  The
same functions execute a program for an engine of P lanes, memory by memory as EngineModel.

All compiled functions of the executor stand in this file, as in equilif_golden.compiled.  Operations are
inlined into :func:`run`: a call would pass the memories one by one, which took longer than a short operation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from equilif_golden import samples
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
from equilif_golden.compiled import I16, I32, U8, compiled, inlined
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import Unlimited
from equilif_golden.engine.isa import (
    HaltMode,
    LearnMode,
    MeasureMode,
    NextMode,
    NudgeMode,
    Op,
    RelayMode,
    ResetMode,
    ResultMode,
    SoftmaxMode,
    SourceMode,
)
from equilif_golden.fixed import VALUE, Raw, check_int
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.plan import fold_of
from equilif_golden.samples import Epoch
from equilif_golden.steps import Step, Steps, decode

# compiled code takes numbers from its file, not attributes of Python's objects
HALT, REPEAT, NEXT, RESET, NUDGE, STEP = (
    int(o) for o in (Op.HALT, Op.REPEAT, Op.NEXT, Op.RESET, Op.NUDGE, Op.STEP)
)
MARK, MEASURE, SAVE, RESTORE, DRIVE = (int(o) for o in (Op.MARK, Op.MEASURE, Op.SAVE, Op.RESTORE, Op.DRIVE))
GATHER, LEARN, ARGMAX, SOFTMAX, RELAY = (
    int(o) for o in (Op.GATHER, Op.LEARN, Op.ARGMAX, Op.SOFTMAX, Op.RELAY)
)
INFER = int(HaltMode.INFER)
EARLY_EXIT = int(NextMode.EARLY_EXIT)
STATIC = int(ResetMode.STATIC)
STATIC_NUDGE = int(NudgeMode.STATIC)
COLUMN, OF_MINUS, IS_SIGNED, IS_SIGNED_DST = (int(mode) for mode in SourceMode)
STORE = int(LearnMode.STORE)
TO_PLUS, TO_MINUS = (int(mode) for mode in ResultMode)
WATCH = int(MeasureMode.WATCH)
IS_ABSOLUTE, IS_FINE = (int(mode) for mode in SoftmaxMode)
SCALED, GATED = (int(mode) for mode in RelayMode)
EXPONENTIALS = TABLE.astype(np.int32)
EXPONENT_HI = (1 << (EXPONENT_WIDTH - 1)) - 1
EXPONENT_LO = -EXPONENT_HI - 1
VALUE_HI, VALUE_F, VALUE_WIDTH = VALUE.hi, VALUE.f, VALUE.width
SIGNED_HI, SIGNED_LO = SIGNED.hi, SIGNED.lo
#: registers
COUNTER, SCALE, MOVED, PREDICTION, SPIKES, SHORTENED, SKIPPED, VERSION, PRESENT = range(9)


class Memories(NamedTuple):
    """Memories of an engine, and what its instructions work in; one per thread."""

    w: I16  #: weights, tile by tile
    back: I16  #: transposed copies of weights
    versions: Raw  #: of the weights in each of them
    a: I32
    b: I32
    q: I32
    s: U8
    plus: U8
    minus: U8
    a_saved: I32
    s_saved: U8
    events: I32  #: first weight of the row of each active neuron of a scan
    sent: I32  #: their values
    v: I16  #: (3, values): destination of LEARN at +beta, at -beta, and their difference
    registers: Raw
    loops: Raw  #: (3, 2): first instruction, iterations left


def new_memories(steps: Steps, states: int, values: int, weights: int) -> Memories:
    """Zeroed memories; sizes in neurons and weights."""
    return Memories(
        w=np.zeros(weights, np.int16),
        back=np.zeros(steps.copies.sum(), np.int16),
        versions=np.full(len(steps.copies), -1, np.int64),
        a=np.zeros(states, np.int32),
        b=np.zeros(states, np.int32),
        q=np.zeros(states, np.int32),
        s=np.zeros(states, np.uint8),
        plus=np.zeros(values, np.uint8),
        minus=np.zeros(values, np.uint8),
        a_saved=np.zeros(states, np.int32),
        s_saved=np.zeros(states, np.uint8),
        events=np.zeros(values, np.int32),
        sent=np.zeros(values, np.int32),
        v=np.zeros((3, values), np.int16),
        registers=np.zeros(9, np.int64),
        loops=np.zeros((3, 2), np.int64),
    )


# -- arithmetic ------------------------------------------------------------------------------------
def operation(name: str) -> Callable[[int, int], int]:
    """An operation in 32 bits.  Numba computes sums, products and shifts of such numbers in 64 bits, of which
    a processor does half as many at a time.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def made(typing: Any, x: Any, y: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments)

        return types.int32(types.int32, types.int32), code

    found: Callable[[int, int], int] = made
    return found


add = operation("add")
sub = operation("sub")
mul = operation("mul")
shl = operation("shl")
shr = operation("ashr")
both = operation("and_")
either = operation("or_")
differing = operation("xor")


@inlined
def i32(x: int) -> int:
    return np.int32(x)  # type: ignore[return-value]


@inlined
def i16(x: int) -> int:
    return np.int16(x)  # type: ignore[return-value]


@inlined
def clip(x: int, lo: int, hi: int) -> int:
    return min(max(i32(x), i32(lo)), i32(hi))


@inlined
def wrap(x: int, bits: int) -> int:
    """Two's complement in ``bits`` less than 32."""
    return shr(shl(x, bits), bits)


@inlined
def wrap_all(x: I32, bits: int) -> None:
    if bits:
        for k in range(len(x)):
            x[k] = wrap(x[k], bits)


@inlined
def copy_to(values: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    for i in range(len(out)):
        out[i] = values[i]


@inlined
def to_signed(code: int, flag: int) -> int:
    """An 8-bit code, signed if ``flag`` is 128, else 0."""
    return sub(differing(code, flag), flag)


@inlined
def product(value: int, weight: int, half: int) -> int:
    return shr(add(mul(value, weight), half), VALUE_F)


@inlined
def rate_of(q: int, a: int, bits: int, shift: int) -> int:
    return clip(shr(wrap(add(q, a), bits), shift), 0, VALUE_HI)


# -- scans -----------------------------------------------------------------------------------------
@inlined
def scan(values: U8, t: Step, events: I32) -> int:
    """First weights of the rows of the neurons that are not zero, and how many.  No branch: see compiled."""
    n = 0
    if t.lanes_log2:
        low = (1 << t.lanes_log2) - 1
        for i in range(len(values)):
            events[n] = (i >> t.lanes_log2) * t.block + ((i & low) << t.lanes_log2)
            n += values[i] != 0
    else:
        at = i32(0)
        for i in range(len(values)):
            events[n] = at
            at = add(at, t.block)
            n += values[i] != 0
    return n


@inlined
def scan_columns(values: U8, rows: int, events: I32) -> int:
    """The same in a transposed copy."""
    n = 0
    at = i32(0)
    for i in range(len(values)):
        events[n] = at
        at = add(at, rows)
        n += values[i] != 0
    return n


@inlined
def collect(values: U8, flag: int, sent: I32) -> None:
    """Values that are not zero."""
    n = 0
    for i in range(len(values)):
        sent[n] = to_signed(values[i], flag)
        n += values[i] != 0


@inlined
def add_rows(w: I16, first: int, events: I32, n: int, drive: I32) -> None:
    """Rows of weights, six at a time, so that drives are fetched and put back less often."""
    e = 0
    while e + 6 <= n:
        a = w[first + events[e] :]
        b = w[first + events[e + 1] :]
        c = w[first + events[e + 2] :]
        d = w[first + events[e + 3] :]
        f = w[first + events[e + 4] :]
        g = w[first + events[e + 5] :]
        for k in range(len(drive)):
            total = add(add(add(a[k], b[k]), add(c[k], d[k])), add(f[k], g[k]))
            drive[k] = add(drive[k], total)
        e += 6
    while e + 2 <= n:
        a = w[first + events[e] :]
        b = w[first + events[e + 1] :]
        for k in range(len(drive)):
            drive[k] = add(drive[k], add(a[k], b[k]))
        e += 2
    if e < n:
        a = w[first + events[e] :]
        for k in range(len(drive)):
            drive[k] = add(drive[k], a[k])


@inlined
def add_products(w: I16, first: int, events: I32, sent: I32, n: int, half: int, drive: I32) -> None:
    """Rows of weights times values, each product rounded on its own."""
    e = 0
    while e + 4 <= n:
        a = w[first + events[e] :]
        b = w[first + events[e + 1] :]
        c = w[first + events[e + 2] :]
        d = w[first + events[e + 3] :]
        u = sent[e]
        x = sent[e + 1]
        y = sent[e + 2]
        z = sent[e + 3]
        for k in range(len(drive)):
            total = add(product(u, a[k], half), product(x, b[k], half))
            total = add(total, add(product(y, c[k], half), product(z, d[k], half)))
            drive[k] = add(drive[k], total)
        e += 4
    while e < n:
        a = w[first + events[e] :]
        u = sent[e]
        for k in range(len(drive)):
            drive[k] = add(drive[k], product(u, a[k], half))
        e += 1


@inlined
def row_at(t: Step, row: int) -> int:
    """First weight of a row."""
    return t.at + (row >> t.lanes_log2) * t.block + ((row & ((1 << t.lanes_log2) - 1)) << t.lanes_log2)


@compiled
def transpose(t: Step, m: Memories) -> None:
    """Renew the transposed copy of the weights of an instruction."""
    m.versions[t.copy] = m.registers[VERSION]
    for k in range(t.columns):
        column = m.back[t.back + k * t.rows : t.back + (k + 1) * t.rows]
        segment = k // t.length
        at = segment * t.length * t.length + k - segment * t.length
        for i in range(t.rows):
            column[i] = m.w[at + row_at(t, i)]


@inlined
def add_row_sums(t: Step, m: Memories, values: U8, flag: int, half: int, drive: I32) -> None:
    """Drive of the rows of a dense synapse: most values are not zero, so rows are read from end to end."""
    for k in range(len(values)):
        m.sent[k] = to_signed(values[k], flag)
    for i in range(min(len(drive), m.registers[PRESENT]) if t.loaded else len(drive)):
        total = i32(0)
        for s in range(t.segments):
            k = s * t.length
            at = row_at(t, i) + k * t.length
            row = m.w[at : at + t.length]
            sent = m.sent[k : k + t.length]
            for j in range(len(row)):
                total = add(total, product(sent[j], row[j], half))
        drive[i] = add(drive[i], total)


@inlined
def gather(p: Steps, t: Step, m: Memories) -> None:
    spikes = m.s[t.src : t.src + t.n_src]
    drive = m.a[t.dst : t.dst + t.n_dst]
    if t.mode & COLUMN:
        if m.versions[t.copy] != m.registers[VERSION]:
            transpose(t, m)
        for q in range(t.targets):
            n = scan_columns(spikes[q * t.columns : (q + 1) * t.columns], t.rows, m.events)
            for r in range(t.runs if n else 0):
                first = p.runs[t.run_start + q * t.runs + r]
                add_rows(m.back, t.back + r * t.run, m.events, n, drive[first : first + t.run])
    else:
        for q in range(t.positions):
            n = scan(spikes[q * t.maps : (q + 1) * t.maps], t, m.events)
            edge = t.edge_start + q
            for j in range(p.edge_starts[edge], p.edge_starts[edge + 1] if n else 0):
                for k in range(t.segments):
                    first = p.edges[j, 0] + k * t.length
                    at = t.at + p.edges[j, 1] + k * t.length * t.length
                    add_rows(m.w, at, m.events, n, drive[first : first + t.length])
    wrap_all(drive, p.drive_bits)


@inlined
def drive(p: Steps, t: Step, m: Memories) -> None:
    values = (m.minus if t.mode & OF_MINUS else m.plus)[t.src : t.src + t.n_src]
    drive = m.b[t.dst : t.dst + t.n_dst]
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    half = i32(t.gain)
    if t.mode & COLUMN and t.targets == 1:
        add_row_sums(t, m, values, flag, half, drive)
    elif t.mode & COLUMN:
        if m.versions[t.copy] != m.registers[VERSION]:
            transpose(t, m)
        for q in range(t.targets):
            part = values[q * t.columns : (q + 1) * t.columns]
            n = scan_columns(part, t.rows, m.events)
            collect(part, flag, m.sent)
            for r in range(t.runs if n else 0):
                first = p.runs[t.run_start + q * t.runs + r]
                target = drive[first : first + t.run]
                add_products(m.back, t.back + r * t.run, m.events, m.sent, n, half, target)
    else:
        for q in range(t.positions):
            part = values[q * t.maps : (q + 1) * t.maps]
            n = scan(part, t, m.events)
            collect(part, flag, m.sent)
            edge = t.edge_start + q
            for j in range(p.edge_starts[edge], p.edge_starts[edge + 1] if n else 0):
                for k in range(t.segments):
                    first = p.edges[j, 0] + k * t.length
                    at = t.at + p.edges[j, 1] + k * t.length * t.length
                    add_products(m.w, at, m.events, m.sent, n, half, drive[first : first + t.length])
    wrap_all(drive, p.drive_bits)


# -- learning --------------------------------------------------------------------------------------
@inlined
def noise(dither: int, k: int, mask: int) -> int:
    return both(add(dither, mul(k, DITHER_COLUMN)), mask)


@inlined
def move(
    row: I16, up: int, um: int, v_plus: I16, v_minus: I16, dither: int, shift: int, lo: int, hi: int
) -> None:
    """A row of weights; ``up``, ``um``: its values times the gain."""
    mask = sub(shl(1, shift), 1)
    for k in range(len(row)):
        difference = sub(mul(up, v_plus[k]), mul(um, v_minus[k]))
        row[k] = clip(add(row[k], shr(add(difference, noise(dither, k, mask)), shift)), lo, hi)


@inlined
def move_equal(row: I16, u: int, v: I16, dither: int, shift: int, lo: int, hi: int) -> None:
    """The same for a row whose two values are equal; ``v``: differences."""
    mask = sub(shl(1, shift), 1)
    for k in range(len(row)):
        row[k] = clip(add(row[k], shr(add(mul(u, v[k]), noise(dither, k, mask)), shift)), lo, hi)


@inlined
def destinations(t: Step, m: Memories) -> None:
    """Values of the destination of LEARN, as 16-bit numbers."""
    flag = i32(128 if t.mode & IS_SIGNED_DST else 0)
    plus = m.plus[t.dst : t.dst + t.n_dst]
    minus = m.minus[t.dst : t.dst + t.n_dst]
    for k in range(t.n_dst):
        m.v[0, k] = to_signed(plus[k], flag)
    for k in range(t.n_dst):
        m.v[1, k] = to_signed(minus[k], flag)
    for k in range(t.n_dst):
        m.v[2, k] = m.v[0, k] - m.v[1, k]


@compiled
def learn(p: Steps, t: Step, m: Memories) -> None:
    """Position by position of ``post``.

    A zero difference never moves a weight, so rows whose values and whose destinations are equal stay.
    """
    destinations(t, m)
    shift, lo, hi, gain = i32(t.shift), i32(p.w_lo), i32(p.w_hi), i32(t.gain)
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    u_plus = m.plus[t.src : t.src + t.n_src]
    u_minus = m.minus[t.src : t.src + t.n_src]
    base = m.registers[COUNTER] * DITHER_UPDATE
    noise_maps = np.uint32(t.noise_maps)
    columns, length, run = t.columns, t.length, t.run
    for q in range(t.targets):
        v_plus = m.v[0, q * columns : (q + 1) * columns]
        v_minus = m.v[1, q * columns : (q + 1) * columns]
        v_difference = m.v[2, q * columns : (q + 1) * columns]
        changed = i32(0)
        some = i32(0)
        for k in range(columns):
            changed = either(changed, v_difference[k])
            some = either(some, either(v_plus[k], v_minus[k]))
        for r in range(t.runs if some else 0):
            first = p.runs[t.run_start + q * t.runs + r]
            for i in range(run):
                up = i16(mul(gain, to_signed(u_plus[first + i], flag)))
                um = i16(mul(gain, to_signed(u_minus[first + i], flag)))
                if up == um and (up == 0 or changed == 0):
                    continue
                neuron = np.uint32(first + i)
                source = neuron // noise_maps
                lane = neuron - source * noise_maps
                dither = base + lane * DITHER_ROW + source * DITHER_SOURCE + q * DITHER_DESTINATION
                at = row_at(t, r * run + i)
                for s in range(t.segments):
                    k = s * length
                    row = m.w[at + k * length : at + k * length + length]
                    d = i32((dither + k * DITHER_COLUMN) & DITHER_MASK)
                    if up == um:
                        move_equal(row, up, v_difference[k : k + length], d, shift, lo, hi)
                    else:
                        move(row, up, um, v_plus[k : k + length], v_minus[k : k + length], d, shift, lo, hi)
    m.registers[COUNTER] = (m.registers[COUNTER] + 1) & 0xFFFFFFFF
    m.registers[VERSION] += 1


@compiled
def store(p: Steps, t: Step, m: Memories) -> None:
    """Rows of the active sources become their values times those of the destination."""
    destinations(t, m)
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    for q in range(t.targets):
        for r in range(t.runs):
            first = p.runs[t.run_start + q * t.runs + r]
            for i in range(t.run):
                if not m.plus[t.src + first + i] | m.minus[t.src + first + i]:
                    continue
                u = mul(t.gain, to_signed(m.plus[t.src + first + i], flag))
                at = row_at(t, r * t.run + i)
                for k in range(t.columns):
                    segment = k // t.length
                    to = at + segment * t.length * t.length + k - segment * t.length
                    m.w[to] = wrap(mul(u, m.v[0, q * t.columns + k]), p.weight_bits)
    m.registers[VERSION] += 1


# -- walks -----------------------------------------------------------------------------------------
@inlined
def step(p: Steps, t: Step, m: Memories) -> None:
    a = m.a[t.dst : t.dst + t.n_dst]
    b = m.b[t.dst : t.dst + t.n_dst]
    q = m.q[t.dst : t.dst + t.n_dst]
    s = m.s[t.dst : t.dst + t.n_dst]
    threshold, leak, bits = i32(t.value), i32(t.shift), i32(p.drive_bits)
    low, high = sub(0, threshold), mul(2, threshold)
    count = i32(0)
    for j in range(len(a)):
        u = clip(wrap(add(a[j], b[j]), bits), low, high)
        spike = i32(u >= threshold)
        u = sub(u, mul(spike, threshold))
        a[j] = sub(u, shr(u, leak)) if leak else u
        s[j] = spike
        q[j] = add(q[j], mul(spike, threshold))
        count = add(count, spike)
    wrap_all(q, p.charge_bits)
    m.registers[SPIKES] += count


@inlined
def measure(p: Steps, t: Step, m: Memories) -> None:
    a = m.a[t.dst : t.dst + t.n_dst]
    q = m.q[t.dst : t.dst + t.n_dst]
    plus = m.plus[t.dst : t.dst + t.n_dst]
    minus = m.minus[t.dst : t.dst + t.n_dst]
    shift, bits, tolerance = i32(t.shift), i32(p.charge_bits), i32(t.gain)
    if t.mode & WATCH:
        moved = 0
        for j in range(len(a)):
            moved |= abs(rate_of(q[j], a[j], bits, shift) - i32(plus[j])) > tolerance
        m.registers[MOVED] |= moved
    if t.mode & TO_PLUS:
        for j in range(len(a)):
            plus[j] = rate_of(q[j], a[j], bits, shift)
    if t.mode & TO_MINUS:
        for j in range(len(a)):
            minus[j] = rate_of(q[j], a[j], bits, shift)


@inlined
def put(t: Step, m: Memories, at: int, n: int) -> None:
    """Write the values at work, ``sent``."""
    if t.mode & TO_PLUS:
        for j in range(n):
            m.plus[at + j] = both(m.sent[j], 255)
    if t.mode & TO_MINUS:
        for j in range(n):
            m.minus[at + j] = both(m.sent[j], 255)


@inlined
def relay(p: Steps, t: Step, m: Memories) -> None:
    shift = i32(t.shift + (m.registers[SCALE] if t.mode & SCALED else 0))
    b = m.b[t.dst : t.dst + t.n_dst]
    for j in range(len(b)):
        m.sent[j] = clip(shr(b[j], shift), SIGNED_LO, SIGNED_HI)
    if t.mode & GATED:
        a = m.a[t.dst : t.dst + t.n_dst]
        q = m.q[t.dst : t.dst + t.n_dst]
        for j in range(len(b)):
            rate = rate_of(q[j], a[j], p.charge_bits, t.gain)
            m.sent[j] = m.sent[j] if 0 < rate < VALUE_HI else 0
    put(t, m, t.src, t.n_dst)


@compiled
def softmax(t: Step, m: Memories) -> None:
    """Row by row; the exponent is that of the last one."""
    for first in range(0, t.n_dst, t.number):
        n = min(t.number, t.n_dst - first)
        a = m.a[t.dst + first : t.dst + first + n]
        b = m.b[t.dst + first : t.dst + first + n]
        top = EXPONENT_LO
        for j in range(n):
            m.sent[j] = clip(b[j] >> t.shift, EXPONENT_LO, EXPONENT_HI)
            if a[j] >= 0:
                top = max(top, m.sent[j] >> EXPONENT_FRACTION)
        total = 0
        for j in range(n):
            down = top - (m.sent[j] >> EXPONENT_FRACTION)
            mantissa = EXPONENTIALS[m.sent[j] & ((1 << EXPONENT_FRACTION) - 1)]
            m.sent[j] = mantissa >> down if a[j] >= 0 and down < VALUE_WIDTH else 0
            total += m.sent[j]
        c = C_MIN
        while total >> (c + 1):
            c += 1
        if t.mode & (IS_ABSOLUTE | IS_FINE):
            c = FINE if t.mode & IS_FINE else ABSOLUTE
        r = min(((1 << (c + RECIPROCAL + 1)) // max(total, 1) + 1) >> 1, R_MAX)
        for j in range(n):
            m.sent[j] = min((m.sent[j] * r + (1 << (RECIPROCAL - 1))) >> RECIPROCAL, VALUE_HI)
        m.registers[SCALE] = c - C_MIN
        put(t, m, t.src + first, n)


@inlined
def nudge(p: Steps, t: Step, m: Memories) -> None:
    static = t.mode & STATIC_NUDGE
    total = (m.b if static else m.a)[t.dst : t.dst + t.n_dst]
    for j in range(t.n_dst):
        spike = 0 if static else m.s[t.dst + j]
        pull = sub(shr(mul(t.value, m.plus[t.src + j]), VALUE_F), mul(t.value, spike))
        total[j] = add(total[j], pull)
    wrap_all(total, p.drive_bits)


@inlined
def reset(t: Step, m: Memories) -> None:
    last = t.dst + t.n_dst
    if t.mode & STATIC:
        m.b[t.dst : last] = t.value
    else:
        m.a[t.dst : last] = t.value
        m.s[t.dst : last] = 0


@inlined
def mark(p: Steps, t: Step, m: Memories) -> None:
    for j in range(t.dst, t.dst + t.n_dst):
        m.q[j] = wrap(sub(0, m.a[j]), p.charge_bits)


@inlined
def save(t: Step, m: Memories) -> None:
    last = t.dst + t.n_dst
    if t.op == SAVE:
        copy_to(m.a[t.dst : last], m.a_saved[t.dst : last])
        copy_to(m.s[t.dst : last], m.s_saved[t.dst : last])
    else:
        copy_to(m.a_saved[t.dst : last], m.a[t.dst : last])
        copy_to(m.s_saved[t.dst : last], m.s[t.dst : last])


# -- programs --------------------------------------------------------------------------------------
@inlined
def execute(p: Steps, t: Step, m: Memories) -> None:
    """An instruction that is not the sequencer's."""
    op = t.op
    if op == GATHER:
        gather(p, t, m)
    elif op == STEP:
        step(p, t, m)
    elif op == NUDGE:
        nudge(p, t, m)
    elif op == RESET:
        reset(t, m)
    elif op == MARK:
        mark(p, t, m)
    elif op == MEASURE:
        measure(p, t, m)
    elif op == SAVE or op == RESTORE:
        save(t, m)
    elif op == DRIVE:
        drive(p, t, m)
    elif op == LEARN:
        if t.mode & STORE:
            store(p, t, m)
        else:
            learn(p, t, m)
    elif op == ARGMAX:
        m.registers[PREDICTION] = np.argmax(m.plus[t.src : t.src + t.n_src])
    elif op == RELAY:
        relay(p, t, m)
    elif op == SOFTMAX:
        softmax(t, m)


@compiled
def run(p: Steps, m: Memories, trains: bool) -> None:
    """From the first instruction to HALT."""
    pc = 0
    depth = 0
    m.loops[0] = 0
    m.registers[MOVED] = m.registers[SPIKES] = m.registers[SHORTENED] = m.registers[SKIPPED] = 0
    while True:
        t = p.steps[pc]
        pc += 1
        if t.op == HALT:
            if not (t.mode & INFER and trains):
                return
        elif t.op == REPEAT:
            depth += 1
            m.loops[depth, 0] = pc
            m.loops[depth, 1] = t.number
        elif t.op == NEXT:
            left = m.loops[depth, 1]
            settled = t.mode & EARLY_EXIT and not m.registers[MOVED] and left <= t.number
            if t.mode & EARLY_EXIT:
                m.registers[MOVED] = 0
            m.loops[depth, 1] = left - 1
            if left > 1 and not settled:
                pc = m.loops[depth, 0]
            else:
                m.registers[SHORTENED] += left > 1
                m.registers[SKIPPED] += left - 1
                depth -= 1
        elif t.op != MARK or t.number == 0 or t.number == m.loops[depth, 1]:
            execute(p, t, m)


class Places(NamedTuple):
    """First elements of what changes from sample to sample, and sizes."""

    inputs: int
    n_inputs: int
    present: int  #: of dynamic patterns
    n_present: int
    target: int
    n_outputs: int
    tokens: int  #: first weight of dynamic patterns
    width: int  #: of a pattern


@inlined
def put_both(m: Memories, at: int, value: int) -> None:
    m.plus[at] = value
    m.minus[at] = value


@compiled
def begin(
    m: Memories, at: Places, fold: Raw, x: U8, tokens: TokenRows, j: int, table: I16, patterns: I16
) -> None:
    """Inputs and patterns of sample ``j``."""
    for values in (m.plus, m.minus):
        inputs = values[at.inputs : at.inputs + at.n_inputs]
        if len(fold):
            for i in range(len(inputs)):
                inputs[i] = x[j, fold[i]]
        else:
            copy_to(x[j], inputs)
    if not len(tokens.off):
        return
    first = tokens.off[j]
    n = tokens.off[j + 1] - first
    for k in range(n):
        row = tokens.rows[first + k]
        copy_to(table[row] if len(table) else tokens.table[row], patterns[k])
        copy_to(patterns[k], m.w[at.tokens + k * at.width : at.tokens + (k + 1) * at.width])
    m.registers[VERSION] += 1
    m.registers[PRESENT] = n
    for k in range(at.n_present):
        put_both(m, at.present + k, VALUE_HI if k < n else 0)


@compiled
def end(p: Steps, m: Memories, at: Places, tokens: TokenRows, j: int, table: I16, patterns: I16) -> None:
    """Add the changes of the patterns of sample ``j`` to the table, token by token."""
    first = tokens.off[j]
    for t in range(tokens.off[j + 1] - first):
        row = table[tokens.rows[first + t]]
        learned = m.w[at.tokens + t * at.width : at.tokens + (t + 1) * at.width]
        for k in range(at.width):
            row[k] = clip(add(row[k], sub(learned[k], patterns[t, k])), p.w_lo, p.w_hi)


@compiled
def run_samples(
    p: Steps,
    m: Memories,
    at: Places,
    fold: Raw,
    x: U8,
    tokens: TokenRows,
    table: I16,
    patterns: I16,
    order: Raw,
    labels: Raw,
    rates: U8,
) -> tuple[int, int, int]:
    """Samples one by one: training, or without ``labels`` inference, into ``rates`` (samples, neurons).

    Returns hits, spikes, and iterations of loops that an early exit left out.  One function for both: the
    program's operations are compiled with it.
    """
    trains = len(labels) > 0
    hits = 0
    spikes = 0
    skipped = 0
    for j in order:
        begin(m, at, fold, x, tokens, j, table, patterns)
        if trains:
            for k in range(at.n_outputs):
                put_both(m, at.target + k, VALUE_HI if k == labels[j] else 0)
        run(p, m, trains)
        spikes += m.registers[SPIKES]
        skipped += m.registers[SKIPPED]
        if trains:
            hits += m.registers[PREDICTION] == labels[j]
        else:
            copy_to(m.plus, rates[j])
        if trains and len(table):
            end(p, m, at, tokens, j, table, patterns)
    return hits, spikes, skipped


class Executor:
    """A network whose program is executed; arguments as equilif_golden.kernel.Kernel.

    It trains and infers as Kernel, bit for bit.  It does not replace it yet: it has no threads, no rates of
    the nudged phases, and no averages.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights | None = None,
        *,
        learning_rate: float = 0.0,
        counter: int = 0,
    ):
        self.network = network
        config = Unlimited(network.numerics)
        self.compiled = placed = Compiled(network, config)
        self._steps = decode(
            placed.program(learning_rate),
            config,
            wraps=False,
            loaded=placed.tokens_first if network.dynamic_attention else None,
        )
        self._memories = m = new_memories(self._steps, placed.state_groups, placed.n_groups, placed.all_tiles)
        first, constants = placed.constants()
        for values in (m.plus, m.minus):
            values[first : first + len(constants)] = constants
        layer = network.dynamic_attention
        width = layer.relay.width if layer else 0
        size = layer.attention.size if layer else 0
        self._places = Places(
            inputs=placed.sample_first if network.n_inputs or layer else 0,
            n_inputs=network.n_inputs,
            present=placed.groups[f"{layer.attention.name} present"].first if layer else 0,
            n_present=size,
            target=placed.groups[placed.target].first,
            n_outputs=network.n_outputs,
            tokens=placed.tokens_first if layer else 0,
            width=width,
        )
        self._fold = fold_of(network)
        self._patterns = np.zeros((size, width), np.int16)
        self._table = np.zeros((0, width), np.int16)
        self.load_weights(network.initial_weights() if weights is None else weights)
        m.registers[COUNTER] = check_int(counter, "counter", 0, 0xFFFFFFFF)

    @property
    def counter(self) -> int:
        """Weight updates so far, modulo 2**32."""
        return int(self._memories.registers[COUNTER])

    def load_weights(self, weights: Weights) -> None:
        """Replace all weights; the counter stays."""
        words = self.compiled.weight_words(weights).ravel()
        self._memories.w[: len(words)] = words
        self._memories.registers[VERSION] += 1
        if self.network.table:
            self._table = weights[self.network.table.name].astype(np.int16)

    @property
    def weights(self) -> Weights:
        """Raw weights by synapse name; a copy."""
        words = self._memories.w[: self.compiled.n_tiles].astype(np.int64)
        found = self.compiled.weights(words[:, None])
        if self.network.table:
            found[self.network.table.name] = self._table.astype(np.int64)
        return {s.name: found[s.name] for s in self.network.plastic}

    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Train on one sample after the other, as Kernel.train."""
        values, rows = samples.check_inputs(self.network, x, tokens)
        known = samples.check_labels(self.network, labels, len(values))
        at = samples.check_order(order, len(values), known)
        hits, spikes, skipped = self._run(values, rows, at, known, np.zeros((0, 0), np.uint8))
        raw = self.network.schedule.raw(self.network.numerics)
        return Epoch(len(at), int(hits), int(spikes), int(len(at) * raw.free - skipped * raw.window))

    def _run(self, x: U8, tokens: TokenRows, order: Raw, labels: Raw, rates: U8) -> tuple[int, int, int]:
        return run_samples(
            self._steps,
            self._memories,
            self._places,
            self._fold,
            x,
            tokens,
            self._table,
            self._patterns,
            order,
            labels,
            rates,
        )

    def output_rates(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """8-bit rates of the output neurons in the free phase, (batch, n_outputs)."""
        values, rows = samples.check_inputs(self.network, x, tokens)
        found = np.zeros((len(values), self.compiled.lif_groups), np.uint8)
        self._run(values, rows, np.arange(len(values)), np.zeros(0, np.int64), found)
        output = self.compiled.groups[self.network.output]
        return found[:, output.slice].astype(np.int64)

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """Class of each sample, (batch,)."""
        predictions: Raw = self.output_rates(x, tokens=tokens).argmax(axis=1)
        return predictions
