"""EP weight update of one bank; bit-exact with equilif_golden.blocks.plasticity.ep_update.

    gain u+ v+ + dither --------(+)--|-- >> shift --|--(+)-- saturate --[a--> o
    -gain u- -(x)--[m------------'        |             |
    v- -------'                           '--|- store -. w --'

Bars are registers, [ optional ones: ``multiplied`` after the multiplier, ``added`` after the adder.  Latency
from ``product`` 2 + ``added``, throughput 1.  Multiplier and adder fit one DSP block.
"""

from __future__ import annotations

from amaranth import Array, Module, Mux, Signal, signed
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
        gain u+ v+ + dither.
    um : In(signed(16))
        -gain u-; with ``multiplied`` one cycle before ``product``.
    vm : In(8) or In(signed(9))
        v-, in the cycle of ``um``.
    shift : In(5), held, from the cycle of ``product`` on
        Shift of the learning rate.
    w : In(signed(16)), 2 cycles after ``product``
        Weight.
    store : In(1), held, from the cycle of ``product`` on
        With ``stores``: the weight becomes the lowest bits of gain (u+ v+ - u- v-) + dither.
    o : Out(signed(16))
        Weight after the update.

    ``multiplied``, ``added``: optional registers.  ``signed_values``: u and v may be signed.
    """

    product: Signal
    um: Signal
    vm: Signal
    shift: Signal
    w: Signal
    store: Signal
    o: Signal

    def __init__(
        self,
        numerics: Numerics,
        *,
        multiplied: bool = False,
        added: bool = False,
        signed_values: bool = False,
        stores: bool = False,
    ):
        self.weight = numerics.weight
        self.stores = stores
        self.multiplied = multiplied
        self.added = added
        self.latency = 2 + added
        super().__init__(
            {
                "product": In(signed(PRODUCT)),
                "um": In(signed(16)),
                "vm": In(signed(9) if signed_values else 8),
                "shift": In(5),
                "w": In(signed(16)),
                **({"store": In(1)} if stores else {}),
                "o": Out(signed(16)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        difference = Signal(signed(PRODUCT), reset_less=True)  # gain (u+ v+ - u- v-) and dither
        dw = Signal(signed(PRODUCT - SHIFTS[0]), reset_less=True)
        product = delayed(m, self.um * self.vm, int(self.multiplied), "product")
        w = self.w[: self.weight.width].as_signed()
        which = Signal(range(len(SHIFTS)))
        m.d.sync += [
            which.eq((self.shift - SHIFTS[0]) >> 1),
            difference.eq(product + self.product),
            dw.eq(Array(difference >> s for s in SHIFTS)[which]),
        ]
        updated: Value = saturate(w + dw, self.weight.width)
        if self.stores:
            stored = Signal(signed(self.weight.width), reset_less=True)
            m.d.sync += stored.eq(difference)
            updated = Mux(self.store, stored, updated)
        m.d["sync" if self.added else "comb"] += self.o.eq(updated)
        return m
