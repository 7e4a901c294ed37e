"""Softmax of a population, in three passes (walks) over its groups; bit-exact with
equilif_golden.blocks.softmax.softmax.

    scores -- saturate --|-- octave --> [ max: tree, a register a level ] --> top           first walk
                       |                                                     |
                       |-- top - octave --|--+                               |
                       '-- 2 ** frac -----|-- >> --|--> e --> [ sum: tree ] --> S         second
                                                   |                            |
                            x R + 1/2, rounded down <-- R = round(2 ** (c + 13) / S)      third
                    (a multiplier of the lane)

The third walk computes e again, which is cheaper than storing it.  The pipeline drains between walks; R is a
restoring division.  Latency: 2 cycles from ``scores`` to ``e`` (bars are registers); 3 with
``registers.exponential``, after saturation.  Throughput: a group a cycle.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, FINE, FRACTION, R_MAX, RECIPROCAL, TABLE, WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import EXPONENTIAL, PRODUCT
from equilif_hdl.fixed import domain, lanes_of, saturate

OCTAVE = WIDTH - FRACTION  #: bits of an octave
STEPS = RECIPROCAL + 3  #: bits of 2 R <= 2 ** 15


class Softmax(wiring.Component):
    """Members
    -------
    start : In(1)
        The first walk begins.
    absolute, fine : In(1), held
        c is a constant.
    idle : In(1)
        The walk is finished, and its last group has arrived.
    valid : In(1)
        Strobe of a group.
    scores : In
        Its drives after the shift, P lanes side by side.
    active : In(P)
        Its active lanes.
    more : In(1)
        With ``self_attention``: another row follows.
    next_row : Out(1)
        With ``self_attention``: strobe, the walks of the next row begin in the next cycle.
    restart_walk : Out(1)
        The next walk must begin.
    busy : Out(1)
        From the cycle after start until the last code is ready to be written.
    e, reciprocal : Out(8 P), Out(15)
        Exponentials of the group, ``latency`` cycles after it; R.
    coding : Out(1)
        Third walk: code = (e * reciprocal + half) >> RECIPROCAL, at most 255.
    coded : Out(1)
        Strobe: codes of a group are ready, PRODUCT cycles after e.
    scale : Out
        c - C_MIN of the last softmax.
    """

    start: Signal
    absolute: Signal
    fine: Signal
    idle: Signal
    valid: Signal
    scores: Signal
    active: Signal
    more: Signal
    next_row: Signal
    restart_walk: Signal
    busy: Signal
    coding: Signal
    coded: Signal
    e: Signal
    reciprocal: Signal
    scale: Signal

    def __init__(self, config: EngineConfig):
        p = config.lanes
        self.registers = config.registers.exponential
        self.latency = EXPONENTIAL + self.registers
        self.rows = config.self_attention
        self.lanes = p
        self.drive = config.numerics.accumulator_width - 1
        self.total_width = (int(TABLE.max()) * config.state_groups * p).bit_length()
        super().__init__(
            {
                "start": In(1),
                "absolute": In(1),
                "fine": In(1),
                "idle": In(1),
                "valid": In(1),
                "scores": In(self.drive * p),
                "active": In(p),
                **({"more": In(1), "next_row": Out(1)} if self.rows else {}),
                "restart_walk": Out(1),
                "busy": Out(1),
                "coding": Out(1),
                "coded": Out(1),
                "e": Out(8 * p),
                "reciprocal": Out(15),
                "scale": Out(range(max(FINE + 1, self.total_width) - C_MIN)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        p = self.lanes
        levels = (p - 1).bit_length()  # registers of a tree
        top = Signal(OCTAVE)  # largest octave
        total = Signal(self.total_width)  # sum of the exponentials
        octaves = [self._lane(m, j, top) for j in range(p)]
        largest = tree(m, octaves, lambda a, b: Mux(a > b, a, b), "largest")
        sum_ = tree(m, lanes_of(self.e, p), lambda a, b: a + b, "sum")
        # groups in the pipeline: flight[k] is `valid` of k cycles ago
        flight = [self.valid]
        for k in range(1, self.latency + max(levels, PRODUCT) + 1):
            flight.append(Signal(name=f"flight{k}"))
            m.d.sync += flight[k].eq(flight[k - 1])
        m.submodules.divider = divider = Reciprocal(self.total_width)
        done = Signal()
        m.d.comb += [
            done.eq(self.idle & ~Cat(flight).any()),
            divider.total.eq(total),
            divider.absolute.eq(self.absolute),
            divider.fine.eq(self.fine),
            self.reciprocal.eq(divider.r),
            self.scale.eq(divider.c - C_MIN),
        ]
        # registered: a write strobe of all lanes
        m.d.sync += self.coded.eq(self.coding & flight[self.latency + PRODUCT - 1])
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [top.eq(0), total.eq(0)]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "MAX"
            with m.State("MAX"):
                with m.If(flight[levels + self.registers] & (largest > top)):
                    m.d.sync += top.eq(largest)
                with m.If(done):
                    m.d.comb += self.restart_walk.eq(1)
                    m.next = "SUM"
            with m.State("SUM"):
                with m.If(flight[self.latency + levels]):
                    m.d.sync += total.eq(total + sum_)
                with m.If(done):
                    m.d.comb += divider.start.eq(1)
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                with m.If(~divider.busy):
                    m.d.comb += self.restart_walk.eq(1)
                    m.d.sync += self.coding.eq(1)
                    m.next = "CODE"
            with m.State("CODE"):
                with m.If(done):
                    m.d.sync += [self.busy.eq(0), self.coding.eq(0)]
                    m.next = "IDLE"
                    if self.rows:
                        with m.If(self.more):
                            m.d.comb += self.next_row.eq(1)
                            m.d.sync += self.busy.eq(1)
                            m.next = "ROW"
            if self.rows:
                with m.State("ROW"):
                    m.d.comb += self.restart_walk.eq(1)
                    m.d.sync += [top.eq(0), total.eq(0)]
                    m.next = "MAX"
        return m

    def _lane(self, m: Module, j: int, top: Value) -> Value:
        """The octave of a lane, unsigned, 0 if it is not active; assigns its exponential to ``e``."""
        scores = self.scores.word_select(j, self.drive)
        active = Signal(name=f"active{j}")
        e = self.e.word_select(j, 8)
        y = Signal(signed(WIDTH), name=f"y{j}")  # exponent in fixed point: octave and fraction
        octave = Signal(OCTAVE, name=f"octave{j}")
        below = Signal(OCTAVE, name=f"below{j}")  # octaves below the largest
        distance = Signal(3, name=f"distance{j}")  # `below`, if e is not 0
        negligible = Signal(name=f"negligible{j}")  # e is 0
        mantissa = Signal(8, name=f"mantissa{j}")
        saturated = m.d[domain(self.registers)]
        saturated += [
            y.eq(saturate(scores, WIDTH) if self.drive > WIDTH else scores.as_signed()),
            active.eq(self.active[j]),
        ]
        m.d.comb += [
            octave.eq(Cat(y[FRACTION:-1], ~y[-1])),
            below.eq(top - octave),
        ]
        m.d.sync += [
            mantissa.eq(Array(Const(int(t), 8) for t in TABLE)[y[:FRACTION]]),
            distance.eq(below),
            negligible.eq(below[len(distance) :].any() | ~active),
            e.eq(Mux(negligible, 0, mantissa >> distance)),
        ]
        return Mux(active, octave, 0)


class Reciprocal(wiring.Component):
    """R = round(2 ** (c + RECIPROCAL) / total), rounding half up.

    2 ** c is the largest power of two not above ``total``.  ``absolute``: c = ABSOLUTE.  ``fine``: c = FINE,
    and R is clipped to R_MAX.

    Members
    -------
    start : In(1)
        Begin.
    absolute, fine, total : In(1), In(1), In, held until not busy
        ``total`` is 0, with c = C_MIN and an undefined R, or at least 2 ** C_MIN.
    busy : Out(1)
        For ``latency`` cycles from the cycle after start.
    c, r : Out(5), Out(15)
    """

    start: Signal
    absolute: Signal
    fine: Signal
    total: Signal
    busy: Signal
    c: Signal
    r: Signal

    latency = STEPS + 1

    def __init__(self, width: int):
        self.width = width
        super().__init__(
            {
                "start": In(1),
                "absolute": In(1),
                "fine": In(1),
                "total": In(width),
                "busy": Out(1),
                "c": Out(5),
                "r": Out(15),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        remainder = Signal(self.width + 1)
        difference = Signal(signed(self.width + 2))  # remainder - total
        c = Signal(5, init=C_MIN)  # before the first softmax the scale is 0
        m.d.comb += self.c.eq(c)
        quotient = Signal(STEPS)
        left = Signal(range(STEPS + 1))  # steps left
        aligned = Signal()  # the first remainder is computed
        small = Signal()  # R would be larger than R_MAX
        lead: Value = Const(C_MIN, 5)  # index of the highest set bit of the total
        for k in range(C_MIN + 1, self.width):
            lead = Mux(self.total[k], k, lead)
        m.d.comb += [
            difference.eq(remainder - self.total),
            self.r.eq(Mux(small, R_MAX, (quotient + 1) >> 1)),
        ]
        # `busy` is registered: the wire to the walker is long
        m.d.sync += aligned.eq(self.busy)
        with m.If(self.start):
            fixed = Mux(self.fine, FINE, ABSOLUTE)
            m.d.sync += [
                c.eq(Mux(self.absolute | self.fine, fixed, lead)),
                small.eq(self.fine & ~self.total[FINE - 1 :].any()),
                left.eq(STEPS),
                self.busy.eq(1),
            ]
        with m.Elif(self.busy & ~aligned):
            # the first power of two is below the total (absolute, fine: not above), so STEPS bits suffice
            m.d.sync += remainder.eq(1 << (c - 1)[:5])
        with m.Elif(self.busy):
            m.d.sync += [
                quotient.eq(Cat(~difference[-1], quotient)),
                left.eq(left - 1),
                self.busy.eq(left != 1),
                remainder.eq(Mux(difference[-1], remainder, difference) << 1),
            ]
        return m


def tree(m: Module, items: list[Value], combine: Callable[[Value, Value], Value], name: str) -> Value:
    """Reduction of all items in a binary tree, with a register at each level."""
    level = 0
    while len(items) > 1:
        level += 1
        results = [combine(a, b) for a, b in zip(items[::2], items[1::2], strict=True)]
        items = [
            Signal(r.shape(), name=f"{name}_{level}_{k}", reset_less=True) for k, r in enumerate(results)
        ]
        m.d.sync += [i.eq(r) for i, r in zip(items, results, strict=True)]
    return items[0]
