"""Logarithm to base 2 with 4 fraction bits; bit-exact with equilif_golden.front_end.log2.

    a --> leading one --|-- exponent, 5 bits below it --|-- 16 exponent + TABLE --> code

Latency 2 (bars), throughput 1.
"""

from __future__ import annotations

from amaranth import Array, Const, Module, Mux, Signal
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

    latency = 2

    def __init__(self, width: int):
        self.width = check_int(width, "width", MANTISSA + 1, 48)
        super().__init__({"a": In(width), "code": Out(range((width << FRACTION) + 1))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # shifted to the left, with the leading one in the highest bit; the exponent counts down
        bits: Value = self.a
        width = self.width
        steps = max(1, (width - 1).bit_length())
        zeros = Signal(steps)
        for k in reversed(range(steps)):
            empty = ~bits[max(0, width - (1 << k)) :].any()
            m.d.comb += zeros[k].eq(empty)
            shifted = Signal(width, name=f"shifted_{k}")
            m.d.comb += shifted.eq(Mux(empty, bits << (1 << k), bits))
            bits = shifted
        exponent = Signal(range(width))
        mantissa = Signal(MANTISSA)
        # of 0 all bits of `zeros` are set
        last = width - 1
        m.d.sync += [
            exponent.eq(Mux(self.a == 0, 0, last - zeros)),
            mantissa.eq(bits[width - 1 - MANTISSA : width - 1]),
        ]
        table = Array(Const(int(value), FRACTION + 1) for value in TABLE)
        m.d.sync += self.code.eq((exponent << FRACTION) + table[mantissa])
        return m
