"""Tokens of a word; bit-exact with equilif_golden.front_end.tokens.

    first, frames, peak --> spans --> ring: codes --> sum of a span --.
                            center, scale, RECIPROCAL, RAMP ----------+--> multiplier --> row, column, value

Band by band, and in each band token by token; then the position codes, token by token.

    IDLE -> SCALE -> SPAN -> READ -> CODE -> MEAN -> BAND -> ELEMENT     then  PLACE -> LOW -> HIGH -> BUMPS

Latency: in each band 2 cycles, 3 for each frame and 9 for each token; then 23 to 38 for each position.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.segmentation import LONGEST, RING, SHORTEST
from equilif_golden.front_end.tokens import (
    MAX_SCALE,
    MEAN_FRACTION,
    POSITIONS,
    RAMP,
    RAMP_SHIFT,
    RECIPROCAL,
    SCALE_SHIFT,
    SPAN,
    TOKENS,
)
from equilif_hdl.front_end.segmentation import FRAME_BYTES

WIDTH = BANDS + POSITIONS  #: values of a token
MEAN = 8 + MEAN_FRACTION  #: bits of a mean
LIMIT = 127
A, B = 16, 14  #: bits of the operands of the multiplier, signed
PRODUCT_CYCLES = 2


class _Multiplier(NamedTuple):
    """Operands, their product PRODUCT_CYCLES later, and the cycles so far."""

    a: Signal
    b: Signal
    product: Signal
    wait: Signal


class Tokens(wiring.Component):
    """Members
    -------
    start, first, frames, peak : In(1), In, In, In(8)
        Strobe; first frame in the ring, number of frames, SHORTEST to LONGEST, and peak of the word.  Held
        from the cycle before ``start`` until ``done``.
    done, count : Out(1), Out
        Strobe after the last element; number of tokens.
    read, index, granted, data
        Of equilif_hdl.front_end.segmentation.Segmentation.
    request, band : Out(1), Out
        ``request``: needs the scaling of ``band``.
    scaled, center, scale : In(1), In, In
        Strobe: the scaling is there; it is held until the next request.
    valid, row, column, value : Out
        Strobe, token, column and value of an element.
    """

    start: Signal
    first: Signal
    frames: Signal
    peak: Signal
    done: Signal
    count: Signal
    read: Signal
    index: Signal
    granted: Signal
    data: Signal
    request: Signal
    band: Signal
    scaled: Signal
    center: Signal
    scale: Signal
    valid: Signal
    row: Signal
    column: Signal
    value: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "first": In(range(RING)),
                "frames": In(range(LONGEST + 1)),
                "peak": In(8),
                "done": Out(1),
                "count": Out(range(TOKENS + 1)),
                "read": Out(1),
                "index": Out(range(RING * FRAME_BYTES)),
                "granted": In(1),
                "data": In(8),
                "request": Out(1),
                "band": Out(range(BANDS)),
                "scaled": In(1),
                "center": In(MEAN),
                "scale": In(range(MAX_SCALE + 1)),
                "valid": Out(1),
                "row": Out(range(TOKENS)),
                "column": Out(range(WIDTH)),
                "value": Out(signed(8)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # a word of at most TOKENS frames has a frame in each token; of a longer one ``reached`` counts
        # frames x tokens, of which the lower bits are the remainder of the division by TOKENS
        few = Signal()
        low = TOKENS.bit_length() - 1
        reached = Signal(range(LONGEST * TOKENS + 1))
        next_reached = Signal.like(reached)
        frame = Signal(range(LONGEST + 1))
        span = Signal(range(SPAN + 2))
        total = Signal(range(SPAN * 255 + 1))
        mean = Signal(MEAN)
        wait = Signal(range(PRODUCT_CYCLES + 1))
        a = Signal(signed(A))
        b = Signal(signed(B))
        product = Signal(signed(A + B))
        multiplier = _Multiplier(a, b, product, wait)
        m.d.sync += product.eq(a * b)
        # both are stable for some cycles before they are used
        m.d.sync += [
            few.eq(self.frames <= TOKENS),
            next_reached.eq(reached + Mux(few, TOKENS, self.frames)),
        ]
        last_row = self.row == (self.count - 1)[: len(self.row)]
        m.d.comb += [
            self.index.eq(Cat(self.band, (self.first + frame)[: len(self.first)])),
        ]
        level = Signal(signed(10))
        m.d.comb += level.eq(self.data + 255 - self.peak)
        quotient = Signal(range(POSITIONS))
        remainder = Signal(range(2 * TOKENS + 2 * POSITIONS))
        ramp = Signal(range(int(RAMP[SHORTEST]) + 1))
        ramps = Array(Const(int(RAMP[k]) if k >= SHORTEST else 0, len(ramp)) for k in range(TOKENS + 1))
        reciprocals = Array(Const(int(r), B - 1) for r in RECIPROCAL)
        m.d.sync += [ramp.eq(ramps[self.count]), self.done.eq(0), self.valid.eq(0), wait.eq(0)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [
                    self.band.eq(0),
                    self.row.eq(0),
                    reached.eq(0),
                    frame.eq(0),
                    self.count.eq(Mux(few, self.frames, TOKENS)),
                ]
                with m.If(self.start):
                    m.next = "SCALE"
            with m.State("SCALE"):
                m.d.comb += self.request.eq(1)
                m.d.sync += [total.eq(0), span.eq(0)]
                with m.If(self.scaled):
                    m.next = "SPAN"
            with m.State("SPAN"):
                with m.If(frame == next_reached[low:]):
                    m.d.sync += [a.eq(total), b.eq(reciprocals[span]), reached.eq(next_reached)]
                    m.next = "MEAN"
                with m.Else():
                    m.d.comb += self.read.eq(1)
                    with m.If(self.granted):
                        m.next = "READ"
            with m.State("READ"):
                m.next = "CODE"
            with m.State("CODE"):
                with m.If(level > 0):
                    m.d.sync += total.eq(total + level)
                m.d.sync += [frame.eq(frame + 1), span.eq(span + 1)]
                m.next = "SPAN"
            with m.State("MEAN"):
                m.d.sync += [wait.eq(wait + 1), mean.eq((product + 128) >> 8)]
                with m.If(wait == PRODUCT_CYCLES):
                    m.d.sync += wait.eq(0)
                    m.next = "CENTER"
            with m.State("CENTER"):
                m.d.sync += [a.eq(mean - self.center), b.eq(self.scale)]
                m.next = "BAND"
            with m.State("BAND"):
                code = Signal(signed(A + B - SCALE_SHIFT + 1))
                m.d.comb += code.eq((product + (1 << (SCALE_SHIFT - 1))) >> SCALE_SHIFT)
                m.d.sync += [
                    wait.eq(wait + 1),
                    self.column.eq(self.band),
                    self.value.eq(Mux(code > LIMIT, LIMIT, Mux(code < -LIMIT, -LIMIT, code))),
                ]
                with m.If(wait == PRODUCT_CYCLES):
                    m.d.sync += [wait.eq(0), self.valid.eq(1)]
                    m.next = "ELEMENT"
            with m.State("ELEMENT"):
                m.d.sync += [self.row.eq(self.row + 1), total.eq(0), span.eq(0)]
                m.next = "SPAN"
                with m.If(last_row):
                    m.d.sync += [self.row.eq(0), reached.eq(0), frame.eq(0), self.band.eq(self.band + 1)]
                    m.next = "SCALE"
                    with m.If(self.band == BANDS - 1):
                        m.d.sync += [quotient.eq(0), remainder.eq(POSITIONS - 1)]
                        m.next = "PLACE"
            self._positions(m, multiplier, last_row, quotient, remainder, ramp)
        return m

    def _positions(
        self,
        m: Module,
        multiplier: _Multiplier,
        last_row: Value,
        quotient: Signal,
        remainder: Signal,
        ramp: Signal,
    ) -> None:
        """States of the position codes, token by token.

        ``quotient``, ``remainder``: of (2 row + 1) (POSITIONS - 1) by 2 tokens.  ``ramp``: RAMP of the word.
        """
        a, b, product, wait = multiplier
        double = Signal(range(2 * TOKENS + 1))
        m.d.comb += double.eq(self.count << 1)
        lower = Signal(8)
        place = Signal(range(POSITIONS))
        rounded = (product + (1 << (RAMP_SHIFT - 1))) >> RAMP_SHIFT
        with m.State("PLACE"):
            m.d.sync += [a.eq(ramp), b.eq(double - remainder), place.eq(0)]
            m.next = "LOW"
            with m.If(remainder >= double):
                m.d.sync += [remainder.eq(remainder - double), quotient.eq(quotient + 1)]
                m.next = "PLACE"
        with m.State("LOW"):
            m.d.sync += [wait.eq(wait + 1), lower.eq(rounded)]
            with m.If(wait == PRODUCT_CYCLES):
                m.d.sync += [wait.eq(0), b.eq(remainder)]
                m.next = "HIGH"
        with m.State("HIGH"):
            m.d.sync += wait.eq(wait + 1)
            with m.If(wait == PRODUCT_CYCLES - 1):
                m.d.sync += wait.eq(0)
                m.next = "BUMPS"
        with m.State("BUMPS"):
            upper = place == (quotient + 1)
            m.d.sync += [
                self.valid.eq(1),
                self.column.eq(BANDS + place),
                self.value.eq(Mux(place == quotient, lower, Mux(upper, rounded, 0))),
                place.eq(place + 1),
            ]
            with m.If(place == POSITIONS - 1):
                m.next = "TOKEN"
        with m.State("TOKEN"):
            m.d.sync += [
                self.row.eq(self.row + 1),
                remainder.eq(remainder + 2 * (POSITIONS - 1)),
            ]
            m.next = "PLACE"
            with m.If(last_row):
                m.d.sync += self.done.eq(1)
                m.next = "IDLE"
