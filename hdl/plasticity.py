"""EP update of one bank; bit-exact with golden.plasticity.ep_update.

    gain u+ v+ + dither --(+)--|-- >> shift --(+)-- saturate --|--> o
    -gain u- -(x)---------'    |               |
    v- -------'                |               w

Latency 2 (bars are registers; 1 without the last), throughput 1.  Multiplying and adding fit one DSP block.
"""
from __future__ import annotations

from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fixed import Numerics
from golden.plasticity import GAIN_WIDTH, SHIFTS
from hdl.fixed import saturate

PRODUCT = 2 + GAIN_WIDTH + 16       #: bits of gain (u+ v+ - u- v-) + dither, signed


class Plasticity(wiring.Component):
    """Members: product In(signed PRODUCT: gain u+ v+ + dither), um In(signed 16: -gain u-), vm In(8, or signed 9), shift In(5) held;
    w In(signed 16), a cycle later; o Out(signed 16).

    ``signed_values``: u and v may be signed."""

    def __init__(self, numerics: Numerics, *, registered: bool = True, signed_values: bool = False):
        self.weight, self.latency = numerics.weight, 1 + registered
        super().__init__({"product": In(signed(PRODUCT)), "um": In(signed(16)), "vm": In(signed(9) if signed_values else 8), "shift": In(5),
                          "w": In(signed(16)), "o": Out(signed(16))})

    def elaborate(self, platform):
        m = Module()
        difference = Signal(signed(PRODUCT), reset_less=True)
        m.d.sync += difference.eq(self.um * self.vm + self.product)
        dw = Signal(signed(PRODUCT - SHIFTS[0]))
        with m.Switch(self.shift):
            for s in SHIFTS:
                with m.Case(s):
                    m.d.comb += dw.eq(difference >> s)
        m.d["sync" if self.latency > 1 else "comb"] += self.o.eq(saturate(self.w + dw, self.weight.width))
        return m
