"""Compiled executor of the engine's program for one lane, decoded by equilif_golden.decoder.

The operations build vector code (equilif_golden.vectors), which is part of the one compiled function,
:func:`execute`.

Drives are 32-bit here: narrower accumulators in hardware never wrap, by Network's fan-in check.  Rows of
weights are added in 16 bits, as many at a time as cannot overflow with the largest weight of their region.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks import plasticity, softmax
from equilif_golden.blocks.relay import SIGNED
from equilif_golden.compiled import compiled
from equilif_golden.decoder import FEW, FORK, I32, DecodedProgram
from equilif_golden.engine import isa
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import VALUE, Raw
from equilif_golden.network import TokenRows
from equilif_golden.vectors import (
    CACHE_LINE,
    Code,
    Elements,
    Struct,
    Value,
    Variable,
    emitted,
    new_array,
    totals,
)

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
I16_HI = (1 << 15) - 1
#: of 16-bit factors whose product's high half is that of a value and a weight: value << 7, weight << 1
VALUE_SHIFT = 15 - VALUE_F
#: elements of a vector: of membranes and values, of weights, of values that are scanned
LANES, WEIGHTS, SCAN = 32, 32, 64
#: active neurons that a scan writes at a time
BRANCHLESS = 8
#: vectors of weights that are added side by side
SIDE = 4
#: second state of a population: none, one whose spikes are those of the first, one with others
SAME, EQUAL, DIFFERENT = range(3)
#: HALTs to the end of each part of a program
INFERRED, SETTLED, TRAINED = 1, 2, 3
#: registers
COUNTER, SCALE, MOVED, PREDICTION, SPIKES, SKIPPED, PRESENT = range(7)


class Memories(NamedTuple):
    """Memories of an engine, and what its instructions work in; one per thread."""

    w: I16  #: weights
    table: I16  #: embedding table, (rows, width); without one (0, width)
    patterns: I16  #: (patterns, width), of the sample before it is learned
    back: I16  #: transposed copies of weights
    stale: U8  #: whether the weights of each of them have changed
    rows: I32  #: of each region of weights: rows whose sum has 16 bits
    a: I32  #: membranes, of the first state and of the second or saved one
    b: I32  #: static drives
    q: I32  #: charges, as membranes
    s: U8  #: spikes, as membranes
    forked: U8  #: of each population: one of SAME, EQUAL, DIFFERENT
    plus: U8  #: values
    minus: U8
    events: I32  #: active neurons of a scan
    found: Raw  #: of SCAN neurons of a scan each: bits of the active ones
    ranks: I32  #: how many are active before them
    joined: I32  #: events of several edges
    joined_rows: I32  #: their rows
    sent: I16  #: values << VALUE_SHIFT
    v: I16  #: destination of LEARN at +beta, at -beta, and their difference
    work: I32
    registers: Raw
    loops: Raw  #: (3, 2): first instruction, iterations left


def new_memories(p: DecodedProgram, states: int, values: int, w: I16, table: I16, patterns: int) -> Memories:
    """Zeroed memories of ``states`` and ``values`` neurons, with weights that are not copied."""

    return Memories(
        w=w,
        table=table,
        patterns=np.zeros((patterns, table.shape[1]), np.int16),
        back=new_array(p.n_copied, np.int16),
        stale=np.ones(len(p.copies), np.uint8),
        rows=np.zeros(len(p.regions), np.int32),
        a=new_array(2 * states, np.int32),
        b=new_array(states, np.int32),
        q=new_array(2 * states, np.int32),
        s=new_array(2 * states, np.uint8),
        forked=np.full(p.n_populations, EQUAL, np.uint8),
        plus=new_array(values, np.uint8),
        minus=new_array(values, np.uint8),
        events=new_array(values, np.int32),
        found=new_array(values // SCAN + 2, np.int64),
        ranks=new_array(values // SCAN + 2, np.int32),
        joined=new_array(values, np.int32),
        joined_rows=new_array(values, np.int32),
        sent=new_array(values, np.int16),
        v=new_array(3 * (values + WEIGHTS), np.int16),
        work=new_array(values, np.int32),
        registers=np.zeros(7, np.int64),
        loops=np.zeros((3, 2), np.int64),
    )


# -- arithmetic ------------------------------------------------------------------------------------
def to_signed(code: Value, flag: Value) -> Value:
    """8-bit codes, signed if ``flag`` is 128, else 0."""
    return (code ^ flag) - flag


def flag_of(mode: Value, bit: int) -> Value:
    """128 if a mode has this bit, else 0."""
    return ((mode & bit) != 0).unsigned(32) << 7


def rate_of(q: Value, a: Value, shift: Value) -> Value:
    return ((q + a) >> shift).clip(0, VALUE_HI)


@contextmanager
def blocks(c: Code, n: Value, lanes: int = LANES) -> Iterator[tuple[Value, Value]]:
    """A loop over ``n`` neurons: the first one of each block, and the mask of those that there are."""
    with c.range(0, n, lanes) as k:
        yield k, c.below(n - k, lanes)


def copy(c: Code, n: Value, memories: Iterable[Elements], start: Value, to: Value) -> None:
    """Copy ``n`` neurons inside of each memory."""
    for memory in memories:
        with blocks(c, n) as (k, mask):
            memory.store(to + k, memory.load(start + k, LANES), mask)


# -- scans -----------------------------------------------------------------------------------------
#: function of a neuron and a number of lanes, for as many values from the neuron on
Values = Callable[[Value, int], Value]


def scan(c: Code, n: Value, values: Values, m: Struct) -> Value:
    """Numbers below ``n`` whose values are not zero, and how many.

    Some at a time without a branch: which neurons fire cannot be predicted.
    """
    count = Variable(c.number(0))
    with c.range(0, n, SCAN) as k:
        left = n - k
        rest = Variable(c.number(0))
        # what an instruction has just written is read at once in pieces as large, not in larger ones
        with c.either(left > LANES) as branches:
            for lanes, branch in zip((SCAN, LANES), branches, strict=True):
                with branch:
                    rest.set((values(k, lanes) != 0).mask().unsigned(64))
        bits = rest.now & (left >= SCAN).select(c.number(-1), (1 << left) - 1)
        m.found[k >> 6], m.ranks[k >> 6] = bits, count.now
        at = m.events + count.now
        if c.compresses:
            at.store(0, c.lanes(SCAN, 8).compressed(bits).unsigned(32) + k)
        else:
            rest.set(bits)
            with c.range(0, bits.ones(), BRANCHLESS) as first:
                for i in range(BRANCHLESS):
                    now = rest.now
                    at[first + i] = k + now.trailing_zeros()
                    rest.set(now & (now - 1))
        count.add(bits.ones())
    m.found[(n + SCAN - 1) >> 6], m.ranks[(n + SCAN - 1) >> 6] = c.number(0), count.now
    return count.now


def rank(m: Struct, neuron: Value) -> Value:
    """Active neurons of the last scan before one of them."""
    before = (1 << (neuron & (SCAN - 1))) - 1
    found: Value = m.ranks[neuron >> 6].to(64) + (m.found[neuron >> 6] & before).ones()
    return found


# -- sums ------------------------------------------------------------------------------------------
#: of an event: function of a column and a number of lanes, for the summands of these columns
Row = Callable[[Value, int], Value]


def add_rows(
    c: Code, n: Value, rows: Value, row: Callable[[Value], Row], out: Elements, length: Value
) -> None:
    """Add ``n`` rows of 16-bit numbers, ``rows`` of them at a time in 16 bits."""

    @contextmanager
    def parts() -> Iterator[AbstractContextManager[Value]]:
        with c.range(0, n, rows) as first:
            yield c.range(first, (first + rows).min(n))

    add_parts(c, parts, row, out, length)


def add_parts(
    c: Code,
    parts: Callable[[], AbstractContextManager[AbstractContextManager[Value]]],
    row: Callable[[Value], Row],
    out: Elements,
    length: Value,
) -> None:
    """Add rows of 16-bit numbers.  ``parts``: loops over events whose rows have a sum of 16 bits."""

    def block(k: Value, lanes: int, side: int) -> None:
        at = [k + i * lanes for i in range(side)]
        with parts() as part:
            sums = [Variable(c.number(0, 16, lanes)) for _ in range(side)]
            with part as e:
                summand = row(e)
                for j, total in zip(at, sums, strict=True):
                    total.add(summand(j, lanes))
            with c.when(length - k < lanes * side):
                for j, total in zip(at, sums, strict=True):
                    total.set(c.below(length - j, lanes).select(total.now, 0))
            for j, total in zip(at, sums, strict=True):
                out.store(j, out.load(j, lanes) + total.now.to(32))

    def choose(k: Value, shapes: list[tuple[int, int]]) -> None:
        """A block of the first shape that is not twice as large as what is left."""
        (lanes, side), *others = shapes
        if not others:
            block(k, lanes, side)
            return
        with c.either(length - k > lanes * side // 2) as (large, small):
            with large:
                block(k, lanes, side)
            with small:
                choose(k, others)

    with c.range(0, length, SIDE * WEIGHTS) as k:
        choose(k, [(WEIGHTS, SIDE), (WEIGHTS, SIDE // 2), (WEIGHTS, 1), (WEIGHTS // 2, 1)])


def product(weight: Value, sent: Value, *, rounded: bool) -> Value:
    """Products of weights of 15 bits and values << VALUE_SHIFT."""
    if rounded:
        return weight.high_rounded(sent)
    # a sum that LLVM does not make a shift of, which fewer units of a processor do
    return weight.add_saturated(weight).high(sent)


def wide_product(weight: Value, sent: Value, half: Value) -> Value:
    """The same of weights of 16 bits, in 32 bits."""
    return (weight.to(32) * (sent.to(32) >> VALUE_SHIFT) + half) >> VALUE_F


@contextmanager
def edges(c: Code, p: Struct, first: Value, end: Value) -> Iterator[tuple[Value, Value]]:
    """A loop over edges: first neuron of ``pre``, first row of weights."""
    with c.range(first, end) as j:
        yield p.edges[j * 2].to(64), p.edges[j * 2 + 1].to(64)


def edges_of(c: Code, p: Struct, position: Value) -> AbstractContextManager[tuple[Value, Value]]:
    """The same, over the edges of a position."""
    return edges(c, p, p.edge_starts[position], p.edge_starts[position + 1])


class Sums(NamedTuple):
    """Rows of weights that are added."""

    n: Value
    events: Elements  #: their neurons in the source, from ``source`` on
    source: Value
    rows: Elements  #: their numbers in ``weights``
    weights: Elements
    out: Value  #: first neuron
    length: Value


@contextmanager
def sums(c: Code, p: Struct, t: Struct, m: Struct, w: Elements, values: Values) -> Iterator[Sums]:
    """A loop over positions of ``post`` and, backwards, their edges; ``values``: of the source, as of
    :func:`scan`.

    Forwards the source is scanned once, and the events of several edges of a position become one list.
    """
    back = t.backwards != 0
    maps, length = t.maps, t.length
    n, n_rows = Variable(c.number(0)), Variable(c.number(0))
    with c.range(0, t.positions) as q:
        here = q * maps
        source = back.select(here, 0)
        with c.when(back | (q == 0)):
            n.set(scan(c, back.select(maps, t.n_src), lambda k, lanes: values(source + k, lanes), m))
            n_rows.set(n.now)
        with c.when(n.now != 0):
            first, end = (p.edge_starts[t.edge_start + q + i].to(64) for i in range(2))
            joined = (back == 0) & (end - first > 1)
            single = (back | joined) == 0
            with c.when(joined):
                n_rows.set(c.number(0))
                with edges(c, p, first, end) as (neuron, row):
                    start = rank(m, neuron)
                    part = rank(m, neuron + length) - start
                    with c.range(0, part, LANES) as k:
                        event = m.events.load(start + k, LANES)
                        m.joined.store(n_rows.now + k, event)
                        m.joined_rows.store(n_rows.now + k, event + (row - neuron))
                    n_rows.add(part)
            with edges(c, p, first, back.select(end, first + 1)) as (neuron, row):
                start = single.select(rank(m, neuron), 0)
                yield Sums(
                    single.select(rank(m, neuron + length) - start, n_rows.now),
                    m.joined.choose(joined, m.events) + start,
                    source,
                    m.joined_rows.choose(joined, m.events) + start,
                    w + back.select(row, single.select((row - neuron) * t.stride, 0)),
                    back.select(neuron, here),
                    back.select(length, maps),
                )


def renew(c: Code, p: Struct, m: Struct, copied: Value) -> None:
    """Make a transposed copy again if its weights have changed."""
    with c.when(m.stale[copied] != 0):
        first, rows, width, shift, to = (p.copies[copied * 5 + k] for k in range(5))
        half = (1 << shift) >> 1
        m.stale[copied] = 0
        with c.range(0, rows) as i:
            row = m.w + (first.to(64) + i * width)
            out = m.back + (to.to(64) + i)
            with c.range(0, width) as k:
                out[k * rows] = (row[k] + half) >> shift


def weights_of(c: Code, p: Struct, t: Struct, m: Struct) -> Elements:
    """The weights, or transposed copies, that a scan reads."""
    copied = t.copy
    with c.when(copied >= 0):
        renew(c, p, m, copied)
    chosen: Elements = m.w.choose(copied < 0, m.back) + t.at
    return chosen


def source_of(t: Struct, m: Struct) -> Elements:
    """Spikes of the source of GATHER: of the second state if it has one."""
    spikes: Elements = m.s + (t.src + (m.forked[t.source] != SAME).select(t.second, 0))
    return spikes


@emitted
def gather(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    rows, stride, w = m.rows[t.region].to(64), t.stride, weights_of(c, p, t, m)
    spikes, out = source_of(t, m), m.a + (t.dst + t.second)
    is_dense_back = (t.backwards != 0) & (t.length == t.n_dst) & (t.maps == t.n_src)
    with c.either(is_dense_back & (t.n_src <= FEW) & (rows >= FEW)) as (few, many):
        with few:
            fired = (spikes.load(0, LANES) != 0).mask().unsigned(64) & ((1 << t.n_src) - 1)

            def row_of(neuron: Value) -> Row:
                at: Elements = w + neuron * stride
                return at.load

            with c.when(fired != 0):
                add_parts(c, lambda: nullcontext(c.set_bits(fired)), row_of, out, t.n_dst)
        with many, sums(c, p, t, m, w, spikes.load) as part:

            def row(e: Value) -> Row:
                at: Elements = part.weights + part.rows[e].to(64) * stride
                return at.load

            add_rows(c, part.n, rows, row, out + part.out, part.length)


@emitted
def gather_rows(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """The same for few neurons with dense weights: each one's row of the transposed copy."""
    w = weights_of(c, p, t, m)
    spikes, out = source_of(t, m), m.a + (t.dst + t.second)
    n, n_dst = t.n_src, t.n_dst
    found = Variable(c.number(0, 32, FEW))
    for first in range(0, FEW, SIDE):
        with c.when(n_dst > first):
            rows = [w + (n_dst - 1).min(first + i) * n for i in range(SIDE)]
            sums = [Variable(c.number(0, 32, WEIGHTS // 2)) for _ in rows]
            with c.range(0, n, WEIGHTS) as k:
                fired = c.below(n - k, WEIGHTS).select(spikes.load(k, WEIGHTS, bits=16), 0)
                for row, total in zip(rows, sums, strict=True):
                    total.add(row.load(k, WEIGHTS).pairs(fired))
            found.add(totals([total.now for total in sums]).widened(FEW, first))
    drive = c.below(n_dst, FEW).select(found.now, 0)
    out.store(0, out.load(0, FEW) + drive)
    one_source = (t.twin != 0) & (m.forked[t.source] == SAME)
    with c.when(one_source & (m.forked[t.population] != SAME)):
        other = out + t.twin
        other.store(0, other.load(0, FEW) + drive)


def add_columns(c: Code, n: Value, rows: Value, summand: Callable[[Value], Value]) -> Value:
    """Sum of ``n`` 16-bit numbers."""
    total = Variable(c.number(0, 32, WEIGHTS))
    step = rows.to(64) * WEIGHTS
    with c.range(0, n, step) as first:
        partial = Variable(c.number(0, 16, WEIGHTS))
        with c.range(first, (first + step).min(n), WEIGHTS) as k:
            partial.add(summand(k))
        total.add(partial.now.to(32))
    return total.now.total()


def send(c: Code, values: Elements, n: Value, flag: Value, m: Struct) -> None:
    """Values of the source of DRIVE as factors of 16 bits, and zeros after them."""
    with blocks(c, n, WEIGHTS) as (k, mask):
        sent = to_signed(values.load(k, WEIGHTS, bits=16), flag.to(16)) << VALUE_SHIFT
        m.sent.store(k, mask.select(sent, 0))


@emitted
def drive(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    mode, stride = t.mode, t.stride
    values = m.plus.choose((mode & OF_MINUS) == 0, m.minus) + t.src
    half = t.gain.to(32)
    rows = m.rows[t.region].to(64)
    drives = m.b + t.dst
    send(c, values, t.n_src, flag_of(mode, IS_SIGNED), m)
    with sums(c, p, t, m, weights_of(c, p, t, m), values.load) as part:
        sent, out, length = m.sent + part.source, drives + part.out, part.length

        def row(e: Value, rounded: bool) -> Row:
            at, value = part.weights + part.rows[e].to(64) * stride, sent.load(part.events[e])
            return lambda k, lanes: product(at.load(k, lanes), value.splat(lanes), rounded=rounded)

        with c.either(rows < 2) as (yes, no):
            with yes:
                with blocks(c, length) as (k, mask), c.range(0, part.n) as e:
                    weights = (part.weights + part.rows[e].to(64) * stride).load(k, LANES)
                    total = out.load(k, LANES) + wide_product(weights, sent.load(part.events[e]), half)
                    out.store(k, total, mask)
            with no, c.either(half != 0) as (rounded, floor):
                with rounded:
                    add_rows(c, part.n, rows, lambda e: row(e, True), out, length)
                with floor:
                    add_rows(c, part.n, rows, lambda e: row(e, False), out, length)


@emitted
def drive_rows(c: Code, t: Struct, m: Struct) -> None:
    """Drive of the rows of a dense synapse: most values are not zero, so rows are read from end to end."""
    mode, n = t.mode, t.n_src
    values = m.plus.choose((mode & OF_MINUS) == 0, m.minus) + t.src
    flag = flag_of(mode, IS_SIGNED)
    half = t.gain.to(32)
    rows = m.rows[t.region]
    send(c, values, n, flag, m)
    present = (t.loaded != 0).select(t.n_dst.min(m.registers[PRESENT]), t.n_dst)
    at, out = m.w + t.at, m.b + t.dst
    with c.range(0, present) as i:
        row = at + i * n
        with c.either(rows < 2) as (yes, no):
            with yes:
                total = Variable(c.number(0, 32, LANES))
                with blocks(c, n) as (k, mask):
                    summands = wide_product(row.load(k, LANES), m.sent.load(k, LANES), half)
                    total.add(mask.select(summands, 0))
                out[i] = out[i] + total.now.total()
            with no, c.either(half != 0) as branches:
                for rounded, branch in zip((True, False), branches, strict=True):

                    def summand(k: Value, rounded: bool = rounded) -> Value:
                        sent = m.sent.load(k, WEIGHTS)
                        return product(row.load(k, WEIGHTS), sent, rounded=rounded)

                    with branch:
                        out[i] = out[i] + add_columns(c, n, rows, summand)


# -- learning --------------------------------------------------------------------------------------
def limit(c: Code, m: Struct, region: Value, largest: Value) -> None:
    """Weights of a region have changed, to at most ``largest``."""
    rows = c.number(I16_HI) // largest.to(64).max(1)
    m.rows[region] = m.rows[region].to(64).min(rows.max(1))


@emitted
def measure_regions(c: Code, p: Struct, m: Struct) -> None:
    """Rows that can be added in 16 bits, from all weights."""
    with c.range(0, p.n_regions) as region:
        first = p.regions[region * 2].to(64)
        largest = Variable(c.number(0, 32, WEIGHTS))
        with blocks(c, p.regions[region * 2 + 1].to(64) - first, WEIGHTS) as (k, mask):
            w = mask.select(m.w.load(first + k, WEIGHTS, bits=32), 0)
            largest.set(largest.now.max(w.max(0 - w)))
        m.rows[region] = I16_HI
        limit(c, m, region, largest.now.largest())


def mark_stale(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """The weights of a synapse have changed: mark their copies."""
    start, end = t.weights, t.weights + t.n_weights
    with c.range(0, p.n_copies) as k:
        first, rows, width = (p.copies[k * 5 + i].to(64) for i in range(3))
        with c.when((first < end) & (start < first + rows * width)):
            m.stale[k] = 1


def destinations(c: Code, t: Struct, m: Struct, shift: Value) -> list[Elements]:
    """Values of the destination of LEARN at +beta and at -beta, and differences, << ``shift``."""
    flag = flag_of(t.mode, IS_SIGNED_DST).to(16)
    dst, n = t.dst, t.n_dst
    found = [m.v + (n + WEIGHTS) * k for k in range(3)]
    with blocks(c, n, WEIGHTS) as (k, mask):
        plus, minus = (
            mask.select(to_signed(x.load(dst + k, WEIGHTS, bits=16), flag), 0) << shift
            for x in (m.plus, m.minus)
        )
        for memory, values in zip(found, (plus, minus, plus - minus), strict=True):
            memory.store(k, values)
    return found


class WideProduct(NamedTuple):
    """A 32-bit number in halves: half as many vectors as in one piece."""

    high: Value
    low: Value

    @classmethod
    def of(cls, x: Value, y: Value) -> WideProduct:
        return cls(x.high(y), x * y)

    def __sub__(self, other: WideProduct) -> WideProduct:
        high = self.high - other.high
        borrow = self.low.below_unsigned(other.low)
        return WideProduct(borrow.select(high - 1, high), self.low - other.low)


class Noise(NamedTuple):
    """Dither in halves: of columns, or the part of a row.

    In a unit of 2**-16 weights, where the high half is 0, or ``coarse`` 2**-18.  ``low`` of columns: its
    complement, which is below what overflows when it is added.
    """

    high: Value
    low: Value

    @classmethod
    def of_columns(cls, c: Code, k: Value, shift: Value, *, coarse: bool) -> Noise:
        """Of WEIGHTS columns from ``k`` on."""
        start = k.to(32) * plasticity.DITHER_COLUMN
        if not coarse:
            lanes = (c.lanes(WEIGHTS) * plasticity.DITHER_COLUMN).to(16) + start.to(16)
            return cls(c.number(0, 16, WEIGHTS), (lanes << shift.to(16)) ^ -1)
        columns = c.lanes(WEIGHTS) * plasticity.DITHER_COLUMN + start
        return cls((columns >> 16).to(16), columns.to(16) ^ -1)

    def added(self, change: WideProduct, row: Noise, *, coarse: bool) -> Value:
        """Weights that a change and the dither make, rounded down."""
        low = self.low - row.low
        carry = low.below_unsigned(change.low)
        high = change.high
        if coarse:
            noise = self.high + row.high
            noise = self.low.below_unsigned(low).select(noise + 1, noise) & 3
            high = high + noise
        high = carry.select(high + 1, high)
        return high >> 2 if coarse else high


@emitted
def learn(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """Position by position of ``post``.

    A zero difference never moves a weight, so rows whose values and whose destinations are equal stay, and of
    rows whose values are equal the blocks of columns whose destinations are.
    """
    # products with 16 fraction bits, or 18
    unit = (16 - t.shift.to(32)).max(0)
    values = destinations(c, t, m, (unit >> 1).to(16))
    mode, width, length, shift = t.mode, t.maps, t.length, t.shift
    flag, gain = flag_of(mode, IS_SIGNED), t.gain.to(32) << (unit >> 1)
    src, edge, at, noise_maps = t.src, t.edge_start, t.at, t.noise_maps.to(32)
    base = (m.registers[COUNTER] * plasticity.DITHER_UPDATE).to(32)
    lo, hi = p.w_lo.to(16), p.w_hi.to(16)
    highest, lowest = (Variable(c.number(0, 16, WEIGHTS)) for _ in range(2))
    moved = Variable(c.number(0))

    def units() -> Iterator[tuple[bool, Any]]:
        """Code for both units of the dither."""
        with c.either(shift > 16) as branches:
            yield from zip((True, False), branches, strict=True)

    def move(w: Elements, k: Value, mask: Value, added: Value) -> None:
        """Change WEIGHTS weights."""
        new = w.load(k, WEIGHTS).add_saturated(added).clip(lo, hi)
        w.store(k, new, mask)
        highest.set(highest.now.max(new))
        lowest.set(lowest.now.min(new))

    with c.range(0, t.positions) as q:
        v = [memory + q * width for memory in values]
        some, n_differing = Variable(c.number(0, WEIGHTS)), Variable(c.number(0))
        with blocks(c, width, WEIGHTS) as (k, mask):
            x, y = (memory.load(k, WEIGHTS) for memory in v[:2])
            some.set(some.now | (((x | y) != 0) & mask).mask())
            m.work[n_differing.now] = k
            n_differing.add((((x != y) & mask).mask() != 0).unsigned(64))
        differing = n_differing.now != 0
        with c.when((some.now != 0) & (differing | (t.clamped == 0))), edges_of(c, p, edge + q) as edge_:
            neuron, weight = edge_
            plus, minus = (x + (src + neuron) for x in (m.plus, m.minus))
            first_noise = base + q.to(32) * plasticity.DITHER_DESTINATION

            def row_of(event: Value, neuron: Value = neuron, weight: Value = weight) -> Elements:
                row: Elements = m.w + (at + (weight + event) * width)
                return row

            def noise_of(event: Value, neuron: Value = neuron, first: Value = first_noise) -> Noise:
                number = neuron.to(32) + event
                source = Variable(number.like(0))
                with c.when(number >= noise_maps):
                    source.set(number // noise_maps)
                in_map = number - source.now * noise_maps
                dither = in_map * plasticity.DITHER_ROW + source.now * plasticity.DITHER_SOURCE + first
                return Noise(dither >> 16, dither << unit)

            def value_of(values: Elements, event: Value) -> Value:
                value: Value = gain * to_signed(values[event], flag)
                return value.to(16).splat(WEIGHTS)

            with c.when(t.clamped == 0):
                n = scan(c, length, lambda k, lanes: plus.load(k, lanes) ^ minus.load(k, lanes), m)
                moved.add(n)
                with c.range(0, n) as e:
                    event = m.events[e]
                    up, um, noise = value_of(plus, event), value_of(minus, event), noise_of(event)
                    row = row_of(event)
                    with blocks(c, width, WEIGHTS) as (k, mask):
                        x, y = (memory.load(k, WEIGHTS) for memory in v[:2])
                        change = WideProduct.of(x, up) - WideProduct.of(y, um)
                        for coarse, branch in units():
                            with branch:
                                columns = Noise.of_columns(c, k, unit, coarse=coarse)
                                move(row, k, mask, columns.added(change, noise, coarse=coarse))
            with c.when(differing):

                def equal(k: Value, lanes: int, plus: Elements = plus, minus: Elements = minus) -> Value:
                    x, y = plus.load(k, lanes), minus.load(k, lanes)
                    return (x == y).select(x, 0)

                n = scan(c, length, equal, m)
                moved.add(n)
                with c.range(0, n_differing.now) as block:
                    k = m.work[block].to(64)
                    difference, mask = v[2].load(k, WEIGHTS), c.below(width - k, WEIGHTS)
                    for coarse, branch in units():
                        with branch:
                            columns = Noise.of_columns(c, k, unit, coarse=coarse)
                            with c.range(0, n) as e:
                                event = m.events[e]
                                change = WideProduct.of(difference, value_of(plus, event))
                                added = columns.added(change, noise_of(event), coarse=coarse)
                                move(row_of(event), k, mask, added)
    m.registers[COUNTER] = (m.registers[COUNTER] + 1) & 0xFFFFFFFF
    with c.when(moved.now != 0):
        limit(c, m, t.region, highest.now.max(-1 - lowest.now).largest().to(64) + 1)
        mark_stale(c, p, t, m)


@emitted
def store(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """Rows of the active sources become their values times those of the destination."""
    values, *_ = destinations(c, t, m, c.number(0, 16))
    flag, gain = flag_of(t.mode, IS_SIGNED), t.gain.to(32)
    src, edge, at, width, length = t.src, t.edge_start, t.at, t.maps, t.length
    largest = Variable(c.number(0, 32, LANES))
    with c.range(0, t.positions) as q:
        v = values + q * width
        with edges_of(c, p, edge + q) as (neuron, weight):
            plus, minus = (x + (src + neuron) for x in (m.plus, m.minus))

            def active(k: Value, lanes: int, plus: Elements = plus, minus: Elements = minus) -> Value:
                return plus.load(k, lanes) | minus.load(k, lanes)

            n = scan(c, length, active, m)
            with c.range(0, n) as e:
                i = m.events[e]
                u = gain * to_signed(plus[i], flag)
                w = m.w + (at + (weight + i) * width)
                with blocks(c, width) as (k, mask):
                    new = (u * v.load(k, LANES, bits=32)).to(16).to(32)
                    w.store(k, new, mask)
                    largest.set(largest.now.max(mask.select(new.max(0 - new), 0)))
    limit(c, m, t.region, largest.now.largest())
    mark_stale(c, p, t, m)


# -- walks -----------------------------------------------------------------------------------------
@emitted
def step(c: Code, t: Struct, m: Struct) -> None:
    """One time step of the destination: membranes, spikes, charges and the count of spikes."""
    first = m.s + t.dst
    a, q, s = (memory + (t.dst + t.second) for memory in (m.a, m.q, m.s))
    b = m.b + t.dst
    threshold, leak = t.value.to(32), t.shift.to(32)
    low, high = 0 - threshold, threshold * 2
    leaks = leak != 0
    count = Variable(c.number(0))
    with blocks(c, t.n_dst) as (k, mask):
        before = a.load(k, LANES)
        u = (before + b.load(k, LANES)).clip(low, high)
        fires = (u >= threshold) & mask
        charge = fires.select(threshold.splat(LANES), 0)
        u = u - charge
        u = u - leaks.select(u >> leak, u.like(0))
        a.store(k, mask.select(u, before))
        s.store(k, fires.unsigned(8), mask)
        q.store(k, q.load(k, LANES) + charge)
        count.add(fires.mask().ones().unsigned(64))
    # those of a second state that there is not are the same
    both = (t.twin != 0) & (m.forked[t.population] == SAME)
    m.registers[SPIKES] = m.registers[SPIKES] + (count.now << both.unsigned(64))
    with c.when(t.second != 0):
        differing = Variable(c.number(0, LANES))
        with blocks(c, t.n_dst) as (k, mask):
            differing.set(differing.now | ((first.load(k, LANES) != s.load(k, LANES)) & mask).mask())
        m.forked[t.population] = (differing.now != 0).select(c.number(DIFFERENT, 8), EQUAL)


def put(c: Code, mode: Value, m: Struct, at: Value, n: Value, value: Callable[[Value], Value]) -> None:
    """Write values; ``value``: LANES of them from one on."""
    for bit, memory in ((TO_PLUS, m.plus), (TO_MINUS, m.minus)):
        with c.when((mode & bit) != 0), blocks(c, n) as (k, mask):
            memory.store(at + k, value(k), mask)


@emitted
def measure(c: Code, t: Struct, m: Struct) -> None:
    a, q = (memory + (t.dst + t.second) for memory in (m.a, m.q))
    plus = m.plus + t.dst
    n, mode, shift, tolerance = t.n_dst, t.mode, t.shift.to(32), t.gain.to(32)

    def rates(k: Value) -> Value:
        return rate_of(q.load(k, LANES), a.load(k, LANES), shift)

    with c.when((mode & WATCH) != 0):
        with blocks(c, n) as (k, mask):
            change = rates(k) - plus.load(k, LANES, bits=32)
            moved = (change.max(0 - change) > tolerance) & mask
            m.registers[MOVED] = m.registers[MOVED] | moved.mask().unsigned(64)
    put(c, mode, m, t.dst, n, rates)


@emitted
def relay(c: Code, t: Struct, m: Struct) -> None:
    mode = t.mode
    shift = (t.shift + ((mode & SCALED) != 0).select(m.registers[SCALE], 0)).to(32)
    rate_shift = t.gain.to(32)
    a, b, q = (memory + t.dst for memory in (m.a, m.b, m.q))
    gated = (mode & GATED) != 0

    def values(k: Value) -> Value:
        value = (b.load(k, LANES) >> shift).clip(SIGNED.lo, SIGNED.hi)
        rate = rate_of(q.load(k, LANES), a.load(k, LANES), rate_shift)
        opened: Value = ((rate > 0) & (rate < VALUE_HI)) | (gated == 0)
        return opened.select(value, 0)

    put(c, mode, m, t.src, t.n_dst, values)


@emitted
def softmax_rows(c: Code, t: Struct, m: Struct, table: Elements) -> None:
    """Row by row; the exponent is that of the last one."""
    mode, shift, size = t.mode, t.shift.to(32), t.number
    src, dst, n_dst = t.src, t.dst, t.n_dst
    fixed = (mode & (IS_ABSOLUTE | IS_FINE)) != 0
    absolute = ((mode & IS_FINE) != 0).select(c.number(softmax.FINE), softmax.ABSOLUTE)
    with c.range(0, n_dst, size) as first:
        n = size.min(n_dst - first)
        a, b = (memory + (dst + first) for memory in (m.a, m.b))
        highest = Variable(c.number(EXPONENT_LO, 32, LANES))
        with blocks(c, n) as (k, mask):
            exponent = (b.load(k, LANES) >> shift).clip(EXPONENT_LO, EXPONENT_HI)
            m.work.store(k, exponent)
            active = (a.load(k, LANES) >= 0) & mask
            highest.set(highest.now.max(active.select(exponent >> softmax.FRACTION, EXPONENT_LO)))
        top = highest.now.largest()
        total = Variable(c.number(0))
        with c.range(0, n) as j:
            exponent = m.work[j]
            down = top - (exponent >> softmax.FRACTION)
            mantissa = table[exponent & ((1 << softmax.FRACTION) - 1)]
            present = (a[j] >= 0) & (down < VALUE_WIDTH)
            code = present.select(mantissa >> present.select(down, 0), 0)
            m.work[j] = code
            total.add(code.to(64))
        sum_ = total.now.max(1)
        floating = (63 - sum_.leading_zeros()).max(softmax.C_MIN)
        scale = fixed.select(absolute, floating)
        reciprocal = (((1 << (scale + (softmax.RECIPROCAL + 1))) // sum_ + 1) >> 1).min(softmax.R_MAX).to(32)
        m.registers[SCALE] = scale - softmax.C_MIN

        def codes(k: Value, reciprocal: Value = reciprocal) -> Value:
            scaled: Value = m.work.load(k, LANES) * reciprocal + (1 << (softmax.RECIPROCAL - 1))
            return (scaled >> softmax.RECIPROCAL).min(VALUE_HI)

        put(c, mode, m, src + first, n, codes)


@emitted
def nudge(c: Code, t: Struct, m: Struct) -> None:
    static = (t.mode & STATIC_NUDGE) != 0
    at = t.dst + t.second
    strength, plus, s = t.value.to(32), m.plus + t.src, m.s + at
    out = m.b.choose(static, m.a) + at
    with blocks(c, t.n_dst) as (k, mask):
        pull = (plus.load(k, LANES, bits=32) * strength) >> VALUE_F
        push = s.load(k, LANES, bits=32) * static.select(c.number(0, 32), strength)
        out.store(k, out.load(k, LANES) + (pull - push), mask)


@emitted
def reset(c: Code, t: Struct, m: Struct) -> None:
    n, dst, value = t.n_dst, t.dst, t.value.to(32)
    static = (t.mode & STATIC) != 0
    out = m.b.choose(static, m.a) + dst
    with blocks(c, n) as (k, mask):
        out.store(k, value.splat(LANES), mask)
    with c.when(static == 0), blocks(c, n) as (k, mask):
        m.s.store(dst + k, c.number(0, 8, LANES), mask)


@emitted
def mark(c: Code, t: Struct, m: Struct) -> None:
    a, q = (memory + (t.dst + t.second) for memory in (m.a, m.q))
    with blocks(c, t.n_dst) as (k, mask):
        q.store(k, 0 - a.load(k, LANES), mask)


@emitted
def save(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """Copy states, or leave that to FORK."""
    with c.either(t.second != 0) as (later, now):
        with later, c.range(1, p.n_populations) as k:
            m.forked[k] = c.number(SAME)
        with now:
            copy(c, t.n_dst, (m.a, m.s), t.dst, t.dst + p.n_states)


@emitted
def restore(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    copy(c, t.n_dst, (m.a, m.s), t.dst + p.n_states, t.dst)


@emitted
def fork(c: Code, p: Struct, t: Struct, m: Struct) -> None:
    """Give a population a second state."""
    m.forked[t.population] = c.number(EQUAL)
    copy(c, t.n_dst, (m.a, m.s, m.q), t.dst, t.dst + p.n_states)


@emitted
def argmax(c: Code, t: Struct, m: Struct) -> None:
    """The first of the largest values."""
    values = m.plus + t.src
    best, at = Variable(c.number(-1, 32)), Variable(c.number(0))
    with c.range(0, t.n_src) as k:
        value = values[k]
        larger = value > best.now
        at.set(larger.select(k, at.now))
        best.set(larger.select(value, best.now))
    m.registers[PREDICTION] = at.now


# -- samples ---------------------------------------------------------------------------------------
class Places(NamedTuple):
    """First elements of what changes from sample to sample, and sizes."""

    fold: Raw  #: index in the sample of every input; empty: no folding
    inputs: int
    n_inputs: int
    present: int  #: of dynamic patterns
    tokens: int  #: first weight of dynamic patterns
    target: int
    n_outputs: int
    errors: int  #: of the second error, 0 without errors
    error_flag: int  #: 128: errors have a sign
    n_neurons: int  #: of LIF populations, which are first
    free: int  #: time steps of a free phase that is not shortened
    window: int


class Samples(NamedTuple):
    """Samples and the order in which they run; ``y``: targets (batch, n_outputs), or none to take labels."""

    x: U8
    tokens: TokenRows
    y: U8
    labels: Raw
    order: Raw


class Results(NamedTuple):
    """Results of samples; ``rates`` (batch, 3, neurons) as in Kernel.settle, or none, the others (batch,)."""

    rates: I32
    predictions: Raw
    spikes: Raw
    steps: Raw


def new_results(n: int, neurons: int) -> Results:
    """Zeroed results of ``n`` samples; without ``neurons`` no rates."""
    counts = (np.zeros(n, np.int64) for _ in range(3))
    return Results(np.zeros((n if neurons else 0, 3, neurons), np.int32), *counts)


@emitted
def put_values(c: Code, n: Value, x: Elements, at: Value, m: Struct, to: Value) -> None:
    """Copy values that no phase changes."""
    whole = n & -SCAN
    for memory in (m.plus, m.minus):
        with c.range(0, whole, SCAN) as k:
            memory.store(to + k, x.load(at + k, SCAN))
        with c.range(whole, n) as k:  # samples have no room after their ends
            memory[to + k] = x[at + k]


@emitted
def prefetch(c: Code, n: Value, x: Elements, labels: Elements, sample: Value) -> None:
    """Ask for the next sample, which is in no cache when the order is random."""
    labels.prefetch(sample)
    with c.range(0, n, CACHE_LINE) as k:
        x.prefetch(sample * n + k)


@emitted
def put_folded(c: Code, n: Value, fold: Elements, x: Elements, at: Value, m: Struct, to: Value) -> None:
    """The same, each from its index in ``fold``."""
    with c.range(0, n) as k:
        value = x[at + fold[k]]
        for memory in (m.plus, m.minus):
            memory[to + k] = value


@emitted
def put_patterns(
    c: Code,
    p: Struct,
    m: Struct,
    n: Value,
    width: Value,
    learned: Value,
    other: Elements,
    rows: Elements,
    to: Value,
) -> None:
    """Copy rows of the table, if it is ``learned``, or of another one to patterns and to weights."""
    table = m.table.choose(learned != 0, other)
    largest = Variable(c.number(0, 32, LANES))
    with c.range(0, n) as i:
        row = table + rows[i].to(64) * width
        kept, w = m.patterns + i * width, m.w + (to + i * width)
        with c.range(0, width) as k:
            kept[k] = row[k]
            w[k] = row[k]
            largest.set(largest.now.max(row[k].max(0 - row[k])))
    limit(c, m, p.loaded_region, largest.now.largest())
    m.registers[PRESENT] = n


@emitted
def put_label(c: Code, m: Struct, label: Value, n: Value, to: Value) -> None:
    """Targets of a class."""
    with c.range(0, n) as k:
        for memory in (m.plus, m.minus):
            memory[to + k] = (k == label).select(c.number(VALUE_HI), 0)


@emitted
def put_present(c: Code, m: Struct, n: Value, size: Value, to: Value) -> None:
    """Say which patterns there are."""
    with c.range(0, size) as k:
        for memory in (m.plus, m.minus):
            memory[to + k] = (k < n).select(c.number(VALUE_HI), 0)


@emitted
def learn_table(c: Code, p: Struct, m: Struct, n: Value, width: Value, rows: Elements, to: Value) -> None:
    """Add the changes of patterns to their rows of the table, one by one."""
    lo, hi = p.w_lo.to(32), p.w_hi.to(32)
    with c.range(0, n) as i:
        row = m.table + rows[i].to(64) * width
        kept, w = m.patterns + i * width, m.w + (to + i * width)
        with c.range(0, width) as k:
            row[k] = (row[k] + (w[k] - kept[k])).clip(lo, hi)


@emitted
def rates_of(c: Code, n: Value, values: Elements, at: Value, flag: Value, out: Elements, to: Value) -> None:
    """Copy values to rates, signed if ``flag`` is 128."""
    with c.range(0, n) as k:
        out[to + k] = to_signed(values[at + k], flag.to(32))


@compiled
def keep_rates(m: Memories, at: Places, rates: I32, j: int, done: int) -> None:
    """Rates of sample ``j`` after HALT number ``done``."""
    n = at.n_neurons
    if done == 1:
        rates_of(n, m.plus, 0, 0, rates, j * 3 * n)
    elif done == 2:
        rates_of(n, m.plus, 0, 0, rates, (j * 3 + 1) * n)
        rates_of(n, m.minus, at.errors, at.error_flag, rates, (j * 3 + 2) * n)


@compiled
def put_tokens(p: DecodedProgram, m: Memories, at: Places, tokens: TokenRows, j: int) -> None:
    """Rows of the table of sample ``j``."""
    rows, present = tokens.rows[tokens.off[j] :], tokens.off[j + 1] - tokens.off[j]
    put_patterns(p, m, present, m.patterns.shape[1], len(m.table), tokens.table, rows, at.tokens)
    put_present(m, present, len(m.patterns), at.present)


@compiled
def keep_tokens(p: DecodedProgram, m: Memories, at: Places, tokens: TokenRows, j: int) -> None:
    """Rows of the table of sample ``j`` after learning."""
    rows = tokens.rows[tokens.off[j] :]
    learn_table(p, m, m.registers[PRESENT], m.patterns.shape[1], rows, at.tokens)


@compiled
def execute(
    p: DecodedProgram,
    m: Memories,
    at: Places,
    batch: Samples,
    found: Results,
    first: int,
    last: int,
    halts: int,
    start: int,
) -> int:
    """Run samples ``first`` to ``last`` of the order, each to its HALT number ``halts``.

    Targets are set after the first HALT.  ``start``: first instruction; if it is not 0, the sample in the
    memories goes on.  Returns the instruction after the last one.
    """
    x = batch.x
    pc = start
    if start == 0:
        measure_regions(p, m)
    for k in range(first, last):
        j = batch.order[k]
        pc = start
        if start == 0:
            if k + 1 < last:
                prefetch(x.shape[1], x, batch.labels, batch.order[k + 1])
            m.registers[MOVED] = m.registers[SPIKES] = m.registers[SKIPPED] = 0
            if len(at.fold):
                put_folded(at.n_inputs, at.fold, x, j * x.shape[1], m, at.inputs)
            else:
                put_values(at.n_inputs, x, j * at.n_inputs, m, at.inputs)
            if len(batch.tokens.off):
                put_tokens(p, m, at, batch.tokens, j)
        depth = done = 0
        while True:
            t = p.instructions[np.uint64(pc)]  # not counted from the end
            pc += 1
            op = t.op
            if t.second:
                # there is no second state, or it has received all from the first GATHER
                received = t.by_rows and m.forked[t.source] == SAME
                if received or m.forked[t.population] == SAME:
                    continue
            if op == HALT:
                done += 1
                if len(found.rates):
                    keep_rates(m, at, found.rates, j, done)
                if done == halts:
                    break
                if done == 1 and len(batch.y):
                    put_values(at.n_outputs, batch.y, j * at.n_outputs, m, at.target)
                elif done == 1:
                    put_label(m, batch.labels[j], at.n_outputs, at.target)
            elif op == REPEAT:
                depth += 1
                m.loops[depth, 0], m.loops[depth, 1] = pc, t.number
            elif op == NEXT:
                left, settled = m.loops[depth, 1], False
                if t.mode & EARLY_EXIT:
                    settled = not m.registers[MOVED] and left <= t.number
                    m.registers[MOVED] = 0
                m.loops[depth, 1] = left - 1
                if left > 1 and not settled:
                    pc = m.loops[depth, 0]
                else:
                    m.registers[SKIPPED] += left - 1
                    depth -= 1
            elif op == GATHER and t.by_rows:
                gather_rows(p, t, m)
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
            elif op == SAVE:
                save(p, t, m)
            elif op == RESTORE:
                restore(p, t, m)
            elif op == FORK:
                forks = t.source == 0 or m.forked[t.source] == DIFFERENT
                if forks and m.forked[t.population] == SAME:
                    fork(p, t, m)
            elif op == DRIVE and t.by_rows:
                drive_rows(t, m)
            elif op == DRIVE:
                drive(p, t, m)
            elif op == LEARN and t.mode & STORE:
                store(p, t, m)
            elif op == LEARN:
                learn(p, t, m)
            elif op == ARGMAX:
                argmax(t, m)
            elif op == RELAY:
                relay(t, m)
            elif op == SOFTMAX:
                softmax_rows(t, m, EXPONENTIALS)
        if len(m.table) and done == TRAINED:
            keep_tokens(p, m, at, batch.tokens, j)
        found.predictions[k] = m.registers[PREDICTION]
        found.spikes[k] = m.registers[SPIKES]
        found.steps[k] = at.free - at.window * m.registers[SKIPPED]
    return pc
