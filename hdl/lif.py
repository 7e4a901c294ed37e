"""Leaky integrate-and-fire lane; bit-exact with golden.lif.lif_step and golden.nudge.nudge.

    a --(+)--|--(+)-- clip --|-- >= threshold --|-------------------> spike
    b ---'       |           |   - threshold    |-- - (v >> leak) --> v
    product >> 8 (-) strength if it spiked

Latency 3 (bars are registers), throughput 1.
"""
from __future__ import annotations

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.fixed import Numerics
from golden.lif import MAX_LEAK
from hdl.fixed import clip, shape


class Lif(wiring.Component):
    """Members
    -------
    a, b : In(accumulator)
        Membrane with gathered input; static drive.
    product : In(signed(25))
        strength x target, or 0.
    spiked : In(1), strength : In(signed(16))
        Spike of the step before; signed beta x threshold, 0 when not nudged.
    threshold, leak : In
        Held for the walk.
    v : Out(signed(16)), spike : Out(1)
    """

    latency = 3

    def __init__(self, numerics: Numerics):
        acc = shape(numerics.accumulator)
        super().__init__({"a": In(acc), "b": In(acc), "product": In(signed(25)), "spiked": In(1), "strength": In(signed(16)),
                          "threshold": In(15), "leak": In(4), "v": Out(signed(16)), "spike": Out(1)})

    def elaborate(self, platform):
        m = Module()
        total, force = Signal(signed(len(self.a) + 1), reset_less=True), Signal(signed(18), reset_less=True)
        m.d.sync += [total.eq(self.a + self.b), force.eq((self.product >> 8) - Mux(self.spiked, self.strength, 0))]
        u = Signal(signed(17), reset_less=True)
        m.d.sync += u.eq(clip(total + force, -self.threshold, self.threshold << 1))
        v = Signal(signed(16), reset_less=True)
        fired = Signal()
        m.d.comb += fired.eq(u >= self.threshold)
        m.d.sync += [self.spike.eq(fired), v.eq(u - Mux(fired, self.threshold, 0))]
        m.d.comb += self.v.eq(v)
        with m.Switch(self.leak):
            for leak in range(1, MAX_LEAK + 1):
                with m.Case(leak):
                    m.d.comb += self.v.eq(v - (v >> leak))
        return m
