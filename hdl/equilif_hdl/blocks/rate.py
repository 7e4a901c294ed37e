"""Rate from charge and membrane, and whether it has moved; bit-exact with equilif_golden.blocks.rate.measure
and equilif_golden.blocks.rate.moved.

    charge --(+)--|-- >> shift -- clip 0..255 --> rate --(-)--|-- > tolerance --> far
    v --------'                                before ---'

Latency 1 (a bar) each, throughput 1.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.fixed import Numerics
from equilif_hdl.fixed import shape


class Measure(wiring.Component):
    """Members: charge In(charge), v In(charge), shift In(4) held; rate Out(8).

    ``registered``: what ``shift`` means is a register.
    """

    latency = 1

    def __init__(self, numerics: Numerics, *, registered: bool = False):
        self.registered = registered
        charge = shape(numerics.charge)
        super().__init__({"charge": In(charge), "v": In(charge), "shift": In(4), "rate": Out(8)})

    def elaborate(self, platform):
        m = Module()
        total = Signal.like(self.charge, reset_less=True)
        m.d.sync += total.eq(self.charge + self.v)
        # three levels of shifting, each keeping only what the next can reach
        bits, n = total[RATE_SHIFTS[0] :], Signal(3)
        m.d["sync" if self.registered else "comb"] += n.eq(self.shift - RATE_SHIFTS[0])
        for level, width in ((2, 11), (1, 9), (0, 8)):
            bits = Mux(n[level], bits[1 << level :][:width], bits[:width])
        over = (total[RATE_SHIFTS[0] + 8 : -1] >> n).any()
        m.d.comb += self.rate.eq(Mux(total[-1], 0, Mux(over, 255, bits)))
        return m


class Moved(wiring.Component):
    """Members: rate In(8), before In(8), tolerance In(8) held; far Out(1)."""

    latency = 1

    def __init__(self):
        super().__init__({"rate": In(8), "before": In(8), "tolerance": In(8), "far": Out(1)})

    def elaborate(self, platform):
        m = Module()
        change = Signal(signed(9), reset_less=True)
        m.d.sync += change.eq(self.rate - self.before)
        m.d.comb += self.far.eq((change > self.tolerance) | (-change > self.tolerance))
        return m
