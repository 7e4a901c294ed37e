"""EP update of one bank; bit-exact with equilif_golden.blocks.plasticity.ep_update.

    gain u+ v+ + dither ----(+)--|-- >> shift --[--(+)-- saturate --|--> o
    -gain u- -(x)--[---------'   |              [   |
    v- -------'                  |         w ---[---'

Latency 1 + ``registers``, throughput 1.  Bars are registers: the last is there with 1 and 2, [ with 2,
where um and vm come a cycle before the rest.  Multiplying and adding fit one DSP block.
"""

from __future__ import annotations

from amaranth import Array, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import GAIN_WIDTH, SHIFTS
from equilif_golden.fixed import Numerics
from equilif_hdl.fixed import saturate

assert SHIFTS == (12, 14, 16, 18)
PRODUCT = 2 + GAIN_WIDTH + 16  #: bits of gain (u+ v+ - u- v-) + dither, signed


class Plasticity(wiring.Component):
    """Members: product In(signed PRODUCT: gain u+ v+ + dither), um In(signed 16: -gain u-), vm In(8, or
    signed 9), shift In(5) held; w In(signed 16), a cycle later; o Out(signed 16).

    ``signed_values``: u and v may be signed.
    """

    def __init__(self, numerics: Numerics, *, registers: int = 1, signed_values: bool = False):
        self.weight, self.latency = numerics.weight, 1 + registers
        super().__init__(
            {
                "product": In(signed(PRODUCT)),
                "um": In(signed(16)),
                "vm": In(signed(9) if signed_values else 8),
                "shift": In(5),
                "w": In(signed(16)),
                "o": Out(signed(16)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        difference = Signal(signed(PRODUCT), reset_less=True)
        product, w, dw = self.um * self.vm, self.w, Signal(signed(PRODUCT - SHIFTS[0]), reset_less=True)
        if self.latency > 2:
            late, late_w, which = (
                Signal(product.shape(), reset_less=True),
                Signal.like(w, reset_less=True),
                Signal(range(len(SHIFTS))),
            )
            m.d.sync += [
                late.eq(product),
                late_w.eq(w),
                which.eq((self.shift - SHIFTS[0]) >> 1),
                dw.eq(Array(difference >> s for s in SHIFTS)[which]),
            ]
            product, w = late, late_w
        else:
            with m.Switch(self.shift):
                for s in SHIFTS:
                    with m.Case(s):
                        m.d.comb += dw.eq(difference >> s)
        m.d.sync += difference.eq(product + self.product)
        m.d["sync" if self.latency > 1 else "comb"] += self.o.eq(saturate(w + dw, self.weight.width))
        return m
