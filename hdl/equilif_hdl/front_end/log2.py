"""Logarithm to base 2 with 4 fraction bits; bit-exact with equilif_golden.front_end.log2.

    a --> leading one, upper bits --|-- lower bits, 5 bits below it --|-- 16 exponent + TABLE --> code

Latency 3 (bars and the output), throughput 1.
"""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import check_int
from equilif_golden.front_end.log2 import FRACTION, MANTISSA, TABLE


class Log2(wiring.Component):
    """Members
    -------
    a : In(width), code : Out

    0 has the code of 1.
    """

    a: Signal
    code: Signal

    latency = 3

    def __init__(self, width: int):
        self.width = check_int(width, "width", MANTISSA + 1, 48)
        super().__init__({"a": In(width), "code": Out(range((width << FRACTION) + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # shifted to the left, with the leading one in the highest bit; the exponent counts down
        bits: Value = self.a
        width = self.width
        steps = max(1, (width - 1).bit_length())
        half = steps // 2  # the lower steps are in the second stage
        zeros = Signal(steps)
        counted = Signal(steps)
        for k in reversed(range(steps)):
            empty = ~bits[max(0, width - (1 << k)) :].any()
            m.d.comb += zeros[k].eq(empty)
            shifted = Signal(width, name=f"shifted_{k}")
            m.d.comb += shifted.eq(Mux(empty, bits << (1 << k), bits))
            bits = shifted
            if k == half:
                bits = Signal.like(shifted, name="shifted")
                m.d.sync += [bits.eq(shifted), counted[half:].eq(zeros[half:])]
        mantissa = Signal(MANTISSA)
        count = Signal(steps)
        m.d.sync += [
            count.eq(Cat(zeros[:half], counted[half:])),
            mantissa.eq(bits[width - 1 - MANTISSA : width - 1]),
        ]
        exponent = Signal(range(width))
        m.d.comb += exponent.eq(Mux(count.all(), 0, width - 1 - count))  # of 0 all bits are set
        table = Array(Const(int(value), FRACTION + 1) for value in TABLE)
        m.d.sync += self.code.eq((exponent << FRACTION) + table[mantissa])
        return m
