"""Leaky integrate-and-fire neuron; bit-exact with equilif_golden.blocks.lif.lif_step.

    total --|-- >= threshold: clear its bit --|--------------------> spike
            |   out of range: clip            |-- - (v >> leak) ---> v

The threshold is a power of two: the comparison is an OR of the upper bits, and the reset by subtraction
clears one bit.  Latency 2 (bars are registers), throughput 1.
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
        Sum of membrane, gathered input and static drive.
    threshold : In(15), held
        A power of two.
    neg_threshold : In(17), held
        -threshold.
    leak : In(4), held
        Shift of the leak; 0: no leak.
    v : Out(signed(16))
        Membrane after reset and leak.
    spike : Out(1)
        The neuron fires.

    ``registered``: register the decoded ``leak``.
    """

    total: Signal
    threshold: Signal
    neg_threshold: Signal
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
                "neg_threshold": In(17),
                "leak": In(4),
                "v": Out(signed(16)),
                "spike": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sum_low = Signal(17, reset_less=True)  # low bits of the sum
        sign = Signal(reset_less=True)  # the sum is negative
        overflow = Signal(reset_less=True)  # it needs more bits than those
        sum_high = self.total[len(sum_low) - 1 :]
        m.d.sync += [
            sum_low.eq(self.total),
            sign.eq(self.total[-1]),
            overflow.eq(sum_high.any() & ~sum_high.all()),
        ]
        fired = Signal()  # the sum is at least the threshold
        clip_high = Signal()  # the sum is at least twice the threshold
        clip_low = Signal()  # the sum is below -threshold
        after_reset = Signal(17)  # the sum after the reset
        v = Signal(signed(16), reset_less=True)  # the membrane, within -threshold .. threshold
        # in -threshold all bits from that of the threshold upwards are set: a mask for the comparisons
        neg_threshold = self.neg_threshold
        m.d.comb += [
            fired.eq(~sign & (overflow | (sum_low & neg_threshold).any())),
            clip_high.eq(~sign & (overflow | (sum_low & (neg_threshold << 1)[:17]).any())),
            clip_low.eq(sign & (overflow | (~sum_low & neg_threshold).any())),
            after_reset.eq(Mux(fired, sum_low & (neg_threshold << 1 | ~neg_threshold), sum_low)),
        ]
        m.d.sync += [
            self.spike.eq(fired),
            v.eq(Mux(clip_high, self.threshold, Mux(clip_low, neg_threshold, after_reset))),
        ]
        leaks = Signal()
        shift = Signal(2)  # shift of the leak, minus the smallest one
        loss = Signal(signed(14))
        m.d["sync" if self.registered else "comb"] += [
            leaks.eq(self.leak != 0),
            shift.eq(self.leak - LEAKS[1]),
        ]
        with m.If(leaks):
            m.d.comb += loss.eq((v >> LEAKS[1]) >> shift)
        m.d.comb += self.v.eq(v - loss)
        return m
