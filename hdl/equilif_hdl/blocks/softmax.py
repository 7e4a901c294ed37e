"""Softmax of a population, in three walks over its groups; bit-exact with
equilif_golden.blocks.softmax.softmax.

    near -- saturate --|-- octave --> [ max: tree, a register a level ] --> top            first walk
                       |                                                     |
                       |-- top - octave --|--+                               |
                       '-- 2 ** frac -----|-- >> --|--> e --> [ sum: tree ] --> S          second
                                                   |                            |
                                          x R + 1/2 (a multiplier of the lane) <-- R = round(2 ** (c + 13)
                                          / S)     third

e is made anew in the third walk, which is cheaper than keeping it.  Between the walks the pipeline runs
empty; R is a restoring division.  Latency 2 from ``near`` to ``e`` (bars are registers), throughput 1.
"""

from __future__ import annotations

from collections.abc import Callable

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, FRACTION, RECIPROCAL, TABLE, WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.fixed import lanes_of, saturate

OCTAVE = WIDTH - FRACTION  #: bits of an octave
STEPS = RECIPROCAL + 3  #: bits of 2 R <= 2 ** 15


class Softmax(wiring.Component):
    """Members
    -------
    start, absolute : In(1)
        The first walk begins; ``absolute`` is held until not busy.
    idle : In(1)
        The walk is over, and its last group has gone by.
    valid, near, active : In
        A group: drives, less the shift, P lanes side by side, and who takes part.
    again : Out(1)
        The next walk must begin.
    busy : Out(1)
        From the cycle after start until the last code can be written.
    coding : Out(1)
        Third walk: code = (e * reciprocal + half) >> RECIPROCAL, at most 255, a product that comes
        ``latency`` + 2 cycles after its group:
    coded : Out(1)
        now.
    e, reciprocal : Out(8 P), Out(15)
    scale : Out
        c - C_MIN of the last softmax.
    """

    latency = 2

    def __init__(self, config: EngineConfig):
        self.lanes, self.drive = config.lanes, config.numerics.accumulator_width - 1
        self.total_width = (int(TABLE.max()) * config.state_groups * config.lanes).bit_length()
        super().__init__(
            {
                "start": In(1),
                "absolute": In(1),
                "idle": In(1),
                "valid": In(1),
                "near": In(self.drive * config.lanes),
                "active": In(config.lanes),
                "again": Out(1),
                "busy": Out(1),
                "coding": Out(1),
                "coded": Out(1),
                "e": Out(8 * config.lanes),
                "reciprocal": Out(15),
                "scale": Out(range(max(ABSOLUTE + 1, self.total_width) - C_MIN)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self.lanes
        levels = (p - 1).bit_length()
        top, total = Signal(OCTAVE), Signal(self.total_width)

        # -- lanes: key, an octave as an unsigned number, 0 for who takes no part ------------------
        keys, exponentials = [], []
        for j, (near, e) in enumerate(zip(lanes_of(self.near, p), lanes_of(self.e, p), strict=True)):
            y = Signal(signed(WIDTH), name=f"y{j}")
            m.d.comb += y.eq(saturate(near, WIDTH) if self.drive > WIDTH else near.as_signed())
            key = Signal(OCTAVE, name=f"key{j}")
            m.d.comb += key.eq(Cat(y[FRACTION:-1], ~y[-1]))
            keys.append(Mux(self.active[j], key, 0))
            below, mantissa, distance, gone = (
                Signal(OCTAVE, name=f"below{j}"),
                Signal(8, name=f"mantissa{j}"),
                Signal(3),
                Signal(),
            )
            m.d.comb += below.eq(top - key)
            m.d.sync += [
                mantissa.eq(Array(Const(int(t), 8) for t in TABLE)[y[:FRACTION]]),
                distance.eq(below),
                gone.eq(below[3:].any() | ~self.active[j]),
                e.eq(Mux(gone, 0, mantissa >> distance)),
            ]
            exponentials.append(e)

        # -- all lanes -----------------------------------------------------------------------------
        flight = [self.valid]
        for k in range(1, max(levels, 2) + 3):
            flight.append(Signal(name=f"flight{k}"))
            m.d.sync += flight[k].eq(flight[k - 1])
        largest, sum_ = (
            tree(m, keys, lambda a, b: Mux(a > b, a, b), "largest"),
            tree(m, exponentials, lambda a, b: a + b, "sum"),
        )

        m.submodules.divider = divider = Reciprocal(self.total_width)
        done = Signal()
        m.d.comb += [
            done.eq(self.idle & ~Cat(flight).any()),
            self.busy.eq(1),
            divider.total.eq(total),
            divider.absolute.eq(self.absolute),
            self.reciprocal.eq(divider.r),
            self.scale.eq(divider.c - C_MIN),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(0)
                m.d.sync += [top.eq(0), total.eq(0)]
                with m.If(self.start):
                    m.next = "MAX"
            with m.State("MAX"):
                with m.If(flight[levels] & (largest > top)):
                    m.d.sync += top.eq(largest)
                with m.If(done):
                    m.d.comb += self.again.eq(1)
                    m.next = "SUM"
            with m.State("SUM"):
                with m.If(flight[self.latency + levels]):
                    m.d.sync += total.eq(total + sum_)
                with m.If(done):
                    m.d.comb += divider.start.eq(1)
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                with m.If(~divider.busy):
                    m.d.comb += self.again.eq(1)
                    m.next = "CODE"
            with m.State("CODE"):
                m.d.comb += [self.coding.eq(1), self.coded.eq(flight[self.latency + 2])]
                with m.If(done):
                    m.next = "IDLE"
        return m


class Reciprocal(wiring.Component):
    """R = round(2 ** (c + RECIPROCAL) / total), halves upwards, with 2 ** c the largest power of two up to
    the total; ``absolute``: c = ABSOLUTE.

    Members
    -------
    start, absolute, total : In
        Begin; both are held until not busy.  A total is 0, whose R has no meaning and whose c is C_MIN,
        or at least 2 ** C_MIN.
    busy : Out(1)
        For ``latency`` cycles from the cycle after start.
    c, r : Out(5), Out(15)
    """

    latency = STEPS + 1

    def __init__(self, width: int):
        self.width = width
        super().__init__(
            {"start": In(1), "absolute": In(1), "total": In(width), "busy": Out(1), "c": Out(5), "r": Out(15)}
        )

    def elaborate(self, platform):
        m = Module()
        remainder, quotient, difference = (
            Signal(self.width + 1),
            Signal(STEPS),
            Signal(signed(self.width + 2)),
        )
        left, aligned = Signal(range(STEPS + 1)), Signal()
        lead: Value = Const(C_MIN, 5)
        for k in range(C_MIN + 1, self.width):
            lead = Mux(self.total[k], k, lead)
        m.d.comb += [
            self.busy.eq(left != 0),
            difference.eq(remainder - self.total),
            self.r.eq((quotient + 1) >> 1),
        ]
        m.d.sync += aligned.eq(self.busy)
        with m.If(self.start):
            m.d.sync += [self.c.eq(Mux(self.absolute, ABSOLUTE, lead)), left.eq(STEPS)]
        with m.Elif(self.busy & ~aligned):
            # 2 ** (c + RECIPROCAL + 1) from a power of two that is below the total (absolute: not above),
            # so that STEPS bits are enough
            m.d.sync += remainder.eq(1 << Mux(self.absolute, C_MIN, (self.c - 1)[:5]))
        with m.Elif(self.busy):
            m.d.sync += [
                quotient.eq(Cat(~difference[-1], quotient)),
                left.eq(left - 1),
                remainder.eq(Mux(difference[-1], remainder, difference) << 1),
            ]
        return m


def tree(m: Module, items: list[Value], combine: Callable[[Value, Value], Value], name: str) -> Value:
    """All items combined, a level and a register a cycle."""
    level = 0
    while len(items) > 1:
        level += 1
        results = [combine(a, b) for a, b in zip(items[::2], items[1::2], strict=True)]
        items = [
            Signal(r.shape(), name=f"{name}_{level}_{k}", reset_less=True) for k, r in enumerate(results)
        ]
        m.d.sync += [i.eq(r) for i, r in zip(items, results, strict=True)]
    return items[0]
