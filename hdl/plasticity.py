"""EP update of one bank; bit-exact with golden.plasticity.ep_update.

    u+ v+ --(-)--(+)--|-- >> shift --(+)-- saturate --|--> w
    u- v- ---'    |                   |
         dither --'   w --------|-----'

Latency 2 (bars), throughput 1.  The products come from the lane's multipliers.
"""
from __future__ import annotations

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fixed import Numerics
from golden.plasticity import DITHER_WIDTH, SHIFTS
from hdl.fixed import saturate


class Plasticity(wiring.Component):
    """Members: w In(signed 16), plus, minus In(signed 25: gain u v), dither In(20), shift In(5) held; o Out(signed 16)."""

    latency = 2

    def __init__(self, numerics: Numerics):
        self.weight = numerics.weight
        super().__init__({"w": In(signed(16)), "plus": In(signed(25)), "minus": In(signed(25)), "dither": In(DITHER_WIDTH),
                          "shift": In(5), "o": Out(signed(16))})

    def elaborate(self, platform):
        m = Module()
        difference, w = Signal(signed(25), reset_less=True), Signal(signed(16), reset_less=True)
        noise, dw = Signal(DITHER_WIDTH), Signal(signed(25 - SHIFTS[0]))
        with m.Switch(self.shift):
            for s in SHIFTS:
                with m.Case(s):
                    m.d.comb += [noise.eq(self.dither[:s]), dw.eq(difference >> s)]
        m.d.sync += [w.eq(self.w), difference.eq(self.plus - self.minus + noise)]
        m.d.sync += self.o.eq(saturate(w + dw, self.weight.width))
        return m
