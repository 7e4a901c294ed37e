"""Leaky integrate-and-fire lane; bit-exact with equilif_golden.blocks.lif.lif_step.

    total --|-- >= threshold: clear its bit --|--------------------> spike
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
from equilif_hdl.fixed import shape


class Lif(wiring.Component):
    """Members
    -------
    total : In(accumulator)
        Membrane, gathered input and static drive.
    threshold : In(15), held
        A power of two.
    above : In(17), held
        -threshold.
    leak : In(4), held
        Shift of the leak; 0 is no leak.
    v : Out(signed(16))
        The membrane after reset and leak.
    spike : Out(1)
        The neuron has fired.

    ``registered``: what ``leak`` means is a register.
    """

    total: Signal
    threshold: Signal
    above: Signal
    leak: Signal
    v: Signal
    spike: Signal

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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        near = Signal(17, reset_less=True)  # the sum's low bits
        sign = Signal(reset_less=True)  # the sum is negative
        beyond = Signal(reset_less=True)  # it needs more bits
        higher = self.total[len(near) - 1 :]
        m.d.sync += [
            near.eq(self.total),
            sign.eq(self.total[-1]),
            beyond.eq(higher.any() & ~higher.all()),
        ]
        fired = Signal()  # the sum is at least the threshold
        over = Signal()  # the sum is at least twice the threshold
        under = Signal()  # the sum is below -threshold
        kept = Signal(17)  # the sum after the reset
        v = Signal(signed(16), reset_less=True)  # the membrane, within -threshold .. threshold
        # -threshold has the bits from the threshold's upwards set: they are those that tell whether a sum
        # lies beyond it
        above = self.above
        m.d.comb += [
            fired.eq(~sign & (beyond | (near & above).any())),
            over.eq(~sign & (beyond | (near & (above << 1)[:17]).any())),
            under.eq(sign & (beyond | (~near & above).any())),
            kept.eq(Mux(fired, near & (above << 1 | ~above), near)),
        ]
        m.d.sync += [
            self.spike.eq(fired),
            v.eq(Mux(over, self.threshold, Mux(under, above, kept))),
        ]
        leaks = Signal()
        shift = Signal(2)  # shift of the leak, beyond the smallest one
        loss = Signal(signed(14))
        m.d["sync" if self.registered else "comb"] += [
            leaks.eq(self.leak != 0),
            shift.eq(self.leak - LEAKS[1]),
        ]
        with m.If(leaks):
            m.d.comb += loss.eq((v >> LEAKS[1]) >> shift)
        m.d.comb += self.v.eq(v - loss)
        return m
