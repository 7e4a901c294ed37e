"""Rate from charge and membrane; bit-exact with golden.rate.measure.

    charge --(+)--|-- >> shift -- clip 0..255 --> rate
    v --------'

Latency 1 (the bar), throughput 1.
"""
from __future__ import annotations

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fixed import Numerics
from hdl.fixed import clip, shape


class Measure(wiring.Component):
    """Members: charge In(charge), v In(accumulator), shift In(4) held; rate Out(8)."""

    latency = 1

    def __init__(self, numerics: Numerics):
        super().__init__({"charge": In(shape(numerics.charge)), "v": In(shape(numerics.accumulator)), "shift": In(4), "rate": Out(8)})

    def elaborate(self, platform):
        m = Module()
        total = Signal(signed(max(len(self.charge), len(self.v)) + 1), reset_less=True)
        m.d.sync += total.eq(self.charge + self.v)
        m.d.comb += self.rate.eq(clip(total >> self.shift, 0, 255))
        return m
