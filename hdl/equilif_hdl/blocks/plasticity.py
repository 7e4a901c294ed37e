"""EP update of one bank; bit-exact with equilif_golden.blocks.plasticity.ep_update.

    gain u+ v+ + dither ----(+)--|-- >> shift --[--(+)-- saturate --|--> o
    -gain u- -(x)--[---------'   |              [   |
    v- -------'                  |         w ---[---'

Latency 1 + ``registers``, throughput 1.  Bars are registers: the last is there with 1 and 2, [ with 2,
where um and vm come a cycle before the rest.  Multiplying and adding fit one DSP block.
"""

from __future__ import annotations

from amaranth import Array, Module, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import GAIN_WIDTH, SHIFTS
from equilif_golden.fixed import Numerics
from equilif_hdl.fixed import delayed, saturate

assert SHIFTS == (12, 14, 16, 18)
PRODUCT = 2 + GAIN_WIDTH + 16  #: bits of gain (u+ v+ - u- v-) + dither, signed


class Plasticity(wiring.Component):
    """Members
    -------
    product : In(signed(PRODUCT))
        gain u+ v+ and dither.
    um : In(signed(16))
        -gain u-; with two registers a cycle before ``product``.
    vm : In(8) or In(signed(9))
        v-; together with ``um``.
    shift : In(5), held, from the cycle before ``w`` on
        Of the learning rate.
    w : In(signed(16)), a cycle after ``product``
        The weight.
    o : Out(signed(16))
        The weight after the update.

    ``registers``: 0 to 2.  ``signed_values``: u and v may be signed.
    """

    product: Signal
    um: Signal
    vm: Signal
    shift: Signal
    w: Signal
    o: Signal

    def __init__(self, numerics: Numerics, *, registers: int = 1, signed_values: bool = False):
        self.weight = numerics.weight
        self.latency = 1 + registers
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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        difference = Signal(signed(PRODUCT), reset_less=True)  # gain (u+ v+ - u- v-) and dither
        dw = Signal(signed(PRODUCT - SHIFTS[0]), reset_less=True)
        product = self.um * self.vm
        w: Value = self.w[: self.weight.width].as_signed()
        which = Signal(range(len(SHIFTS)))
        m.d.sync += which.eq((self.shift - SHIFTS[0]) >> 1)
        shifted = Array(difference >> s for s in SHIFTS)[which]
        if self.latency > 2:
            product = delayed(m, product, 1, "product")
            w = delayed(m, w, 1, "w")
            m.d.sync += dw.eq(shifted)
        else:
            m.d.comb += dw.eq(shifted)
        m.d.sync += difference.eq(product + self.product)
        m.d["sync" if self.latency > 1 else "comb"] += self.o.eq(saturate(w + dw, self.weight.width))
        return m
