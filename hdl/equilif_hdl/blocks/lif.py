"""Leaky integrate-and-fire lane; bit-exact with equilif_golden.blocks.lif.lif_step.

    total -- saturate --|-- >= threshold: clear its bit --|--------------------> spike
                        |   beyond the limits: clip       |-- - (v >> leak) ---> v

With a threshold that is a power of two, comparing is looking at the bits above it, and resetting by
subtraction is clearing one bit.  Latency 2 (bars are registers), throughput 1.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.lif import LEAKS
from equilif_golden.fixed import Numerics
from equilif_hdl.fixed import saturate, shape


class Lif(wiring.Component):
    """Members
    -------
    total : In(accumulator)
        Membrane, gathered input and static drive.
    threshold : In(15), above : In(17), leak : In(4)
        Power of two; -threshold; 0 is no leak.  Held for the walk.  ``registered``: what ``leak`` means
        is a register.
    v : Out(signed(16)), spike : Out(1)
    """

    latency = 2

    def __init__(self, numerics: Numerics, *, registered: bool = False):
        self.registered = registered
        super().__init__(
            {
                "total": In(shape(numerics.accumulator)),
                "threshold": In(15),
                "above": In(17),
                "leak": In(4),
                "v": Out(signed(16)),
                "spike": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        near = Signal(signed(17), reset_less=True)
        m.d.sync += near.eq(saturate(self.total, 17))
        # -threshold has the bits from the threshold's upwards set: they are those that tell whether a sum
        # lies beyond it
        above, kept = self.above, Signal(17)
        sign, fired, over, under, v = (
            near[-1],
            Signal(),
            Signal(),
            Signal(),
            Signal(signed(16), reset_less=True),
        )
        m.d.comb += [
            fired.eq(~sign & (near & above).any()),
            over.eq(~sign & (near & (above << 1)[:17]).any()),
            under.eq(sign & (~near & above).any()),
            kept.eq(Mux(fired, near & (above << 1 | ~above), near)),
        ]
        m.d.sync += [
            self.spike.eq(fired),
            v.eq(Mux(over, self.threshold, Mux(under, above, kept))),
        ]
        loss, leaks, shift = Signal(signed(14)), Signal(), Signal(2)
        m.d["sync" if self.registered else "comb"] += [
            leaks.eq(self.leak != 0),
            shift.eq(self.leak - LEAKS[1]),
        ]
        with m.If(leaks):
            m.d.comb += loss.eq((v >> LEAKS[1]) >> shift)
        m.d.comb += self.v.eq(v - loss)
        return m
