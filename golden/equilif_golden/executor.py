"""Compiled executor of the engine's program for one lane, decoded by equilif_golden.decoder.

All compiled functions stand in this file, see equilif_golden.compiled.  Short operations are inlined into
:func:`run`: a call passes the memories one by one, which takes longer than they do.

Drives are 32-bit here: narrower accumulators in hardware never wrap, by Network's fan-in check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types
from numba.extending import intrinsic

from equilif_golden.blocks import plasticity, softmax
from equilif_golden.blocks.relay import SIGNED
from equilif_golden.compiled import compiled, inlined
from equilif_golden.decoder import I32, DecodedInstruction, DecodedProgram
from equilif_golden.engine import isa
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import VALUE, Raw
from equilif_golden.network import TokenRows

I16 = npt.NDArray[np.int16]
U8 = npt.NDArray[np.uint8]

# compiled code takes numbers from modules, not attributes of other objects
HALT, REPEAT, NEXT, RESET, NUDGE, STEP, MARK, MEASURE, SAVE, RESTORE = map(int, list(Op)[:10])
DRIVE, GATHER, LEARN, ARGMAX, SOFTMAX, RELAY = map(int, list(Op)[10:16])
EARLY_EXIT = int(isa.NextMode.EARLY_EXIT)
STATIC, STATIC_NUDGE = int(isa.ResetMode.STATIC), int(isa.NudgeMode.STATIC)
COLUMN, OF_MINUS, IS_SIGNED, IS_SIGNED_DST = map(int, isa.SourceMode)
STORE, WATCH = int(isa.LearnMode.STORE), int(isa.MeasureMode.WATCH)
TO_PLUS, TO_MINUS = map(int, isa.ResultMode)
IS_ABSOLUTE, IS_FINE = map(int, isa.SoftmaxMode)
SCALED, GATED = map(int, isa.RelayMode)
EXPONENTIALS = softmax.TABLE.astype(np.int32)
EXPONENT_HI = (1 << (softmax.WIDTH - 1)) - 1
EXPONENT_LO = -EXPONENT_HI - 1
VALUE_HI, VALUE_F, VALUE_WIDTH = VALUE.hi, VALUE.f, VALUE.width
SIGNED_HI, SIGNED_LO = SIGNED.hi, SIGNED.lo
#: registers
PC, COUNTER, SCALE, MOVED, PREDICTION, SPIKES, SKIPPED, PRESENT = range(8)


class Memories(NamedTuple):
    """Memories of an engine, and what its instructions work in; one per thread."""

    w: I16  #: weights
    table: I16  #: embedding table, (rows, width); without one (0, width)
    patterns: I16  #: (patterns, width), of the sample before it is learned
    back: I16  #: transposed copies of weights
    stale: U8  #: whether the weights of each of them have changed
    a: I32  #: membranes
    b: I32  #: static drives
    q: I32  #: charges
    s: U8  #: spikes
    plus: U8  #: values
    minus: U8
    a_saved: I32
    s_saved: U8
    events: I32  #: first weight of the row of each active neuron of a scan
    sent: I32  #: their values
    v: I16  #: (3, values): destination of LEARN at +beta, at -beta, and their difference
    registers: Raw
    loops: Raw  #: (3, 2): first instruction, iterations left


def new_memories(p: DecodedProgram, states: int, values: int, w: I16, table: I16, patterns: int) -> Memories:
    """Zeroed memories of ``states`` and ``values`` neurons, with weights that are not copied."""
    return Memories(
        w=w,
        table=table,
        patterns=np.zeros((patterns, table.shape[1]), np.int16),
        back=np.zeros(p.n_copied, np.int16),
        stale=np.ones(len(p.copies), np.uint8),
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
        registers=np.zeros(8, np.int64),
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


add, sub, mul, shl, shr = map(operation, ("add", "sub", "mul", "shl", "ashr"))
both, either, differing = map(operation, ("and_", "or_", "xor"))


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
def copy_to(values: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
    """``values`` into ``out``, of the same length; several times faster than an assignment of slices."""
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
def rate_of(q: int, a: int, shift: int) -> int:
    return clip(shr(add(q, a), shift), 0, VALUE_HI)


# -- scans -----------------------------------------------------------------------------------------
@inlined
def scan(values: U8, stride: int, events: I32) -> int:
    """First weights of the rows of the neurons that are not zero, and how many.

    One pass without a branch: which neurons fire cannot be predicted.
    """
    n = 0
    at = i32(0)
    for i in range(len(values)):
        events[n] = at
        at = add(at, stride)
        n += values[i] != 0
    return n


@inlined
def scan_values(values: U8, stride: int, flag: int, events: I32, sent: I32) -> int:
    """The same with the values."""
    n = 0
    at = i32(0)
    for i in range(len(values)):
        events[n] = at
        sent[n] = to_signed(values[i], flag)
        at = add(at, stride)
        n += values[i] != 0
    return n


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
def transpose(p: DecodedProgram, m: Memories, copy: int) -> None:
    """Renew a transposed copy."""
    first, rows, columns, shift, to = p.copies[copy]
    half = i32(1 << shift >> 1)
    m.stale[copy] = 0
    for k in range(columns):
        column = m.back[to + k * rows : to + (k + 1) * rows]
        for i in range(rows):
            column[i] = (i32(m.w[first + i * columns + k]) + half) >> i32(shift)


@inlined
def weights_of(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> I16:
    """The weights, or transposed copies, that a scan reads."""
    if t.copy < 0:
        return m.w
    if m.stale[t.copy]:
        transpose(p, m, t.copy)
    return m.back


@inlined
def mark_stale(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> None:
    """The weights of a synapse have changed: mark their copies."""
    last = t.weights + t.n_weights
    for k in range(len(p.copies)):
        first, rows, columns = p.copies[k][:3]
        if first < last and t.weights < first + rows * columns:
            m.stale[k] = 1


@inlined
def gather(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> None:
    w = weights_of(p, t, m)
    for q in range(t.positions):
        first = t.src + q * t.maps
        n = scan(m.s[first : first + t.maps], t.stride, m.events)
        edge = t.edge_start + q
        for j in range(p.edge_starts[edge], p.edge_starts[edge + 1] if n else 0):
            to = t.dst + p.edges[j, 0]
            add_rows(w, t.at + p.edges[j, 1], m.events, n, m.a[to : to + t.length])


@inlined
def drive(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> None:
    values = (m.minus if t.mode & OF_MINUS else m.plus)[t.src : t.src + t.n_src]
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    half = i32(t.gain)
    if t.mode & COLUMN and t.copy < 0:
        add_row_sums(t, m, values, flag, half)
        return
    w = weights_of(p, t, m)
    for q in range(t.positions):
        part = values[q * t.maps : (q + 1) * t.maps]
        n = scan_values(part, t.stride, flag, m.events, m.sent)
        edge = t.edge_start + q
        for j in range(p.edge_starts[edge], p.edge_starts[edge + 1] if n else 0):
            to = t.dst + p.edges[j, 0]
            add_products(w, t.at + p.edges[j, 1], m.events, m.sent, n, half, m.b[to : to + t.length])


@inlined
def add_row_sums(t: DecodedInstruction, m: Memories, values: U8, flag: int, half: int) -> None:
    """Drive of the rows of a dense synapse: most values are not zero, so rows are read from end to end."""
    sent = m.sent[: len(values)]
    for k in range(len(values)):
        sent[k] = to_signed(values[k], flag)
    for i in range(min(t.n_dst, m.registers[PRESENT]) if t.loaded else t.n_dst):
        total = i32(0)
        row = m.w[t.at + i * len(sent) :]
        for k in range(len(sent)):
            total = add(total, product(sent[k], row[k], half))
        m.b[t.dst + i] = add(m.b[t.dst + i], total)


# -- learning --------------------------------------------------------------------------------------
@inlined
def noise(dither: int, k: int, mask: int) -> int:
    return both(add(dither, mul(k, plasticity.DITHER_COLUMN)), mask)


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
def destinations(t: DecodedInstruction, m: Memories) -> None:
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


@inlined
def learn(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> None:
    """Position by position of ``post``.

    A zero difference never moves a weight, so rows whose values and whose destinations are equal stay.
    """
    destinations(t, m)
    shift, lo, hi, gain = i32(t.shift), i32(p.w_lo), i32(p.w_hi), i32(t.gain)
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    u_plus = m.plus[t.src : t.src + t.n_src]
    u_minus = m.minus[t.src : t.src + t.n_src]
    base = m.registers[COUNTER] * plasticity.DITHER_UPDATE
    noise_maps = np.uint32(t.noise_maps)
    columns, length = t.maps, t.length
    for q in range(t.positions):
        v_plus = m.v[0, q * columns : (q + 1) * columns]
        v_minus = m.v[1, q * columns : (q + 1) * columns]
        v_difference = m.v[2, q * columns : (q + 1) * columns]
        differ = i32(0)
        some = i32(0)
        for k in range(columns):
            differ = either(differ, v_difference[k])
            some = either(some, either(v_plus[k], v_minus[k]))
        edge = t.edge_start + q
        for j in range(p.edge_starts[edge], p.edge_starts[edge + 1] if some else 0):
            first = p.edges[j, 0]
            for i in range(length):
                up = i16(mul(gain, to_signed(u_plus[first + i], flag)))
                um = i16(mul(gain, to_signed(u_minus[first + i], flag)))
                if up == um and (up == 0 or differ == 0):
                    continue
                neuron = np.uint32(first + i)
                source = neuron // noise_maps
                lane = neuron - source * noise_maps
                dither = (
                    base
                    + lane * plasticity.DITHER_ROW
                    + source * plasticity.DITHER_SOURCE
                    + q * plasticity.DITHER_DESTINATION
                )
                d = i32(dither & plasticity.DITHER_MASK)
                at = t.at + (p.edges[j, 1] + i) * columns
                row = m.w[at : at + columns]
                if up == um:
                    move_equal(row, up, v_difference, d, shift, lo, hi)
                else:
                    move(row, up, um, v_plus, v_minus, d, shift, lo, hi)
    m.registers[COUNTER] = (m.registers[COUNTER] + 1) & 0xFFFFFFFF
    mark_stale(p, t, m)


@inlined
def store(p: DecodedProgram, t: DecodedInstruction, m: Memories) -> None:
    """Rows of the active sources become their values times those of the destination."""
    destinations(t, m)
    flag = i32(128 if t.mode & IS_SIGNED else 0)
    for q in range(t.positions):
        v = m.v[0, q * t.maps : (q + 1) * t.maps]
        edge = t.edge_start + q
        for j in range(p.edge_starts[edge], p.edge_starts[edge + 1]):
            for i in range(t.length):
                neuron = t.src + p.edges[j, 0] + i
                if m.plus[neuron] | m.minus[neuron]:
                    u = mul(t.gain, to_signed(m.plus[neuron], flag))
                    at = t.at + (p.edges[j, 1] + i) * t.maps
                    for k in range(t.maps):
                        m.w[at + k] = mul(u, v[k])
    mark_stale(p, t, m)


# -- walks -----------------------------------------------------------------------------------------
@inlined
def step(t: DecodedInstruction, m: Memories) -> None:
    """One time step of the destination: membranes, spikes, charges and the count of spikes."""
    a = m.a[t.dst : t.dst + t.n_dst]
    b = m.b[t.dst : t.dst + t.n_dst]
    q = m.q[t.dst : t.dst + t.n_dst]
    s = m.s[t.dst : t.dst + t.n_dst]
    threshold, leak = i32(t.value), i32(t.shift)
    low, high = sub(0, threshold), mul(2, threshold)
    count = i32(0)
    for j in range(len(a)):
        u = clip(add(a[j], b[j]), low, high)
        spike = i32(u >= threshold)
        u = sub(u, mul(spike, threshold))
        a[j] = sub(u, shr(u, leak)) if leak else u
        s[j] = spike
        q[j] = add(q[j], mul(spike, threshold))
        count = add(count, spike)
    m.registers[SPIKES] += count


@inlined
def measure(t: DecodedInstruction, m: Memories) -> None:
    a = m.a[t.dst : t.dst + t.n_dst]
    q = m.q[t.dst : t.dst + t.n_dst]
    plus = m.plus[t.dst : t.dst + t.n_dst]
    minus = m.minus[t.dst : t.dst + t.n_dst]
    shift, tolerance = i32(t.shift), i32(t.gain)
    if t.mode & WATCH:
        moved = 0
        for j in range(len(a)):
            moved |= abs(rate_of(q[j], a[j], shift) - i32(plus[j])) > tolerance
        m.registers[MOVED] |= moved
    if t.mode & TO_PLUS:
        for j in range(len(a)):
            plus[j] = rate_of(q[j], a[j], shift)
    if t.mode & TO_MINUS:
        for j in range(len(a)):
            minus[j] = rate_of(q[j], a[j], shift)


@inlined
def put(t: DecodedInstruction, m: Memories, at: int, n: int) -> None:
    """Write the values at work, ``sent``."""
    if t.mode & TO_PLUS:
        for j in range(n):
            m.plus[at + j] = both(m.sent[j], 255)
    if t.mode & TO_MINUS:
        for j in range(n):
            m.minus[at + j] = both(m.sent[j], 255)


@inlined
def relay(t: DecodedInstruction, m: Memories) -> None:
    shift = i32(t.shift + (m.registers[SCALE] if t.mode & SCALED else 0))
    b = m.b[t.dst : t.dst + t.n_dst]
    for j in range(len(b)):
        m.sent[j] = clip(shr(b[j], shift), SIGNED_LO, SIGNED_HI)
    if t.mode & GATED:
        a = m.a[t.dst : t.dst + t.n_dst]
        q = m.q[t.dst : t.dst + t.n_dst]
        for j in range(len(b)):
            rate = rate_of(q[j], a[j], t.gain)
            m.sent[j] = m.sent[j] if 0 < rate < VALUE_HI else 0
    put(t, m, t.src, t.n_dst)


@inlined
def softmax_rows(t: DecodedInstruction, m: Memories) -> None:
    """Row by row; the exponent is that of the last one."""
    for first in range(0, t.n_dst, t.number):
        n = min(t.number, t.n_dst - first)
        a = m.a[t.dst + first : t.dst + first + n]
        b = m.b[t.dst + first : t.dst + first + n]
        top = EXPONENT_LO
        for j in range(n):
            m.sent[j] = clip(b[j] >> t.shift, EXPONENT_LO, EXPONENT_HI)
            if a[j] >= 0:
                top = max(top, m.sent[j] >> softmax.FRACTION)
        total = 0
        for j in range(n):
            down = top - (m.sent[j] >> softmax.FRACTION)
            mantissa = EXPONENTIALS[m.sent[j] & ((1 << softmax.FRACTION) - 1)]
            m.sent[j] = mantissa >> down if a[j] >= 0 and down < VALUE_WIDTH else 0
            total += m.sent[j]
        c = softmax.C_MIN
        while total >> (c + 1):
            c += 1
        if t.mode & (IS_ABSOLUTE | IS_FINE):
            c = softmax.FINE if t.mode & IS_FINE else softmax.ABSOLUTE
        r = min(((1 << (c + softmax.RECIPROCAL + 1)) // max(total, 1) + 1) >> 1, softmax.R_MAX)
        for j in range(n):
            m.sent[j] = min((m.sent[j] * r + (1 << (softmax.RECIPROCAL - 1))) >> softmax.RECIPROCAL, VALUE_HI)
        m.registers[SCALE] = c - softmax.C_MIN
        put(t, m, t.src + first, n)


@inlined
def nudge(t: DecodedInstruction, m: Memories) -> None:
    static = t.mode & STATIC_NUDGE
    total = (m.b if static else m.a)[t.dst : t.dst + t.n_dst]
    for j in range(t.n_dst):
        spike = 0 if static else m.s[t.dst + j]
        pull = sub(shr(mul(t.value, m.plus[t.src + j]), VALUE_F), mul(t.value, spike))
        total[j] = add(total[j], pull)


@inlined
def reset(t: DecodedInstruction, m: Memories) -> None:
    last = t.dst + t.n_dst
    if t.mode & STATIC:
        m.b[t.dst : last] = t.value
    else:
        m.a[t.dst : last] = t.value
        m.s[t.dst : last] = 0


@inlined
def mark(t: DecodedInstruction, m: Memories) -> None:
    for j in range(t.dst, t.dst + t.n_dst):
        m.q[j] = sub(0, m.a[j])


@inlined
def save(t: DecodedInstruction, m: Memories) -> None:
    last = t.dst + t.n_dst
    if t.op == SAVE:
        copy_to(m.a[t.dst : last], m.a_saved[t.dst : last])
        copy_to(m.s[t.dst : last], m.s_saved[t.dst : last])
    else:
        copy_to(m.a_saved[t.dst : last], m.a[t.dst : last])
        copy_to(m.s_saved[t.dst : last], m.s[t.dst : last])


# -- programs --------------------------------------------------------------------------------------
@inlined
def next_iteration(t: DecodedInstruction, m: Memories, loop: Raw) -> bool:
    """Go back to the first instruction of a loop, or leave it; returns whether it is left."""
    settled = t.mode & EARLY_EXIT and not m.registers[MOVED] and loop[1] <= t.number
    if t.mode & EARLY_EXIT:
        m.registers[MOVED] = 0
    loop[1] -= 1
    if loop[1] and not settled:
        m.registers[PC] = loop[0]
        return False
    m.registers[SKIPPED] += loop[1]
    return True


@compiled
def run(p: DecodedProgram, m: Memories) -> None:
    """Run from instruction PC, outside of loops, to the next HALT of any mode."""
    depth = 0
    m.loops[0] = 0
    while True:
        t = p.instructions[m.registers[PC]]
        m.registers[PC] += 1
        op = t.op
        if op == HALT:
            return
        if op == REPEAT:
            depth += 1
            m.loops[depth, 0] = m.registers[PC]
            m.loops[depth, 1] = t.number
        elif op == NEXT:
            depth -= next_iteration(t, m, m.loops[depth])
        elif op == GATHER:
            gather(p, t, m)
        elif op == STEP:
            step(t, m)
        elif op == NUDGE:
            nudge(t, m)
        elif op == RESET:
            reset(t, m)
        elif op == MARK:
            if t.number == 0 or t.number == m.loops[depth, 1]:
                mark(t, m)
        elif op == MEASURE:
            measure(t, m)
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
            relay(t, m)
        elif op == SOFTMAX:
            softmax_rows(t, m)


class Places(NamedTuple):
    """First elements of what changes from sample to sample, and sizes."""

    fold: Raw  #: index in the sample of every input; empty: no folding
    inputs: int
    n_inputs: int
    present: int  #: of dynamic patterns
    tokens: int  #: first weight of dynamic patterns
    target: int
    n_outputs: int
    errors: int  #: -1: none
    n_neurons: int  #: of LIF populations, which are first
    free: int  #: time steps of a free phase that is not shortened
    window: int


class Settled(NamedTuple):
    """Results of a batch.

    rates (batch, 3, neurons): 8-bit rates of the free, +beta and -beta phases, neurons as in Network.neurons.
    spikes (batch,): spikes of all phases.  steps (batch,): time steps of the free phase.
    """

    rates: I32
    spikes: Raw
    steps: Raw


@inlined
def put_both(m: Memories, at: int, value: int) -> None:
    m.plus[at] = value
    m.minus[at] = value


@compiled
def begin(m: Memories, at: Places, x: U8, tokens: TokenRows, j: int) -> None:
    """Inputs and patterns of sample ``j``."""
    for values in (m.plus, m.minus):
        inputs = values[at.inputs : at.inputs + at.n_inputs]
        if len(at.fold):
            for i in range(len(inputs)):
                inputs[i] = x[j, at.fold[i]]
        else:
            copy_to(x[j], inputs)
    m.registers[PC] = m.registers[MOVED] = m.registers[SPIKES] = m.registers[SKIPPED] = 0
    if not len(tokens.off):
        return
    first = tokens.off[j]
    n = tokens.off[j + 1] - first
    size, width = m.patterns.shape
    for k in range(n):
        row = tokens.rows[first + k]
        if len(m.table):
            copy_to(m.table[row], m.patterns[k])
        else:
            copy_to(tokens.table[row], m.patterns[k])
        copy_to(m.patterns[k], m.w[at.tokens + k * width : at.tokens + (k + 1) * width])
    m.registers[PRESENT] = n
    for k in range(size):
        put_both(m, at.present + k, VALUE_HI if k < n else 0)


@compiled
def end(p: DecodedProgram, m: Memories, at: Places, tokens: TokenRows, j: int) -> None:
    """Add the changes of the patterns of sample ``j`` to the table, token by token."""
    first = tokens.off[j]
    width = m.patterns.shape[1]
    for t in range(tokens.off[j + 1] - first):
        row = m.table[tokens.rows[first + t]]
        learned = m.w[at.tokens + t * width : at.tokens + (t + 1) * width]
        for k in range(width):
            row[k] = clip(add(row[k], sub(learned[k], m.patterns[t, k])), p.w_lo, p.w_hi)


@compiled
def train_samples(
    p: DecodedProgram, m: Memories, at: Places, x: U8, tokens: TokenRows, labels: Raw, order: Raw
) -> tuple[int, int, int]:
    """Samples one by one; returns hits, spikes and free steps."""
    hits = 0
    spikes = 0
    steps = 0
    for j in order:
        begin(m, at, x, tokens, j)
        for k in range(at.n_outputs):
            put_both(m, at.target + k, VALUE_HI if k == labels[j] else 0)
        while m.registers[PC] < len(p.instructions):
            run(p, m)
        hits += m.registers[PREDICTION] == labels[j]
        spikes += m.registers[SPIKES]
        steps += at.free - at.window * m.registers[SKIPPED]
        if len(m.table):
            end(p, m, at, tokens, j)
    return hits, spikes, steps


@compiled
def settle_samples(
    p: DecodedProgram,
    m: Memories,
    at: Places,
    x: U8,
    tokens: TokenRows,
    y: U8,
    found: Settled,
    first: int,
    last: int,
) -> None:
    """Samples ``first`` to ``last``; without targets ``y`` the free phase only."""
    n = at.n_neurons
    for j in range(first, last):
        begin(m, at, x, tokens, j)
        run(p, m)
        copy_to(m.plus[:n], found.rates[j, 0])
        if len(y):
            for k in range(at.n_outputs):
                put_both(m, at.target + k, y[j, k])
            run(p, m)
            copy_to(m.plus[:n], found.rates[j, 1])
            copy_to(m.minus[:n], found.rates[j, 2])
            for k in range(n if at.errors >= 0 else 0):
                found.rates[j, 2, k] = to_signed(m.minus[at.errors + k], 128)
        found.spikes[j] = m.registers[SPIKES]
        found.steps[j] = at.free - at.window * m.registers[SKIPPED]
