"""Rate from charge and membrane, and the change of a rate; bit-exact with equilif_golden.blocks.rate.

Measure is its function ``measure``, RateChange its function ``moved``.

    charge --(+)--|-- >> shift -- clip 0..255 --> rate --(-)--|-- > tolerance --> changed
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
    """Members
    -------
    charge, v : In(charge)
        Accumulated charge, and membrane.
    shift : In(4), held
        Number of low bits of their sum that are dropped.
    rate : Out(8)

    ``registered``: register the decoded ``shift``.
    """

    charge: Signal
    v: Signal
    shift: Signal
    rate: Signal

    latency = 1

    def __init__(self, numerics: Numerics, *, registered: bool = False):
        self.registered = registered
        charge = shape(numerics.charge)
        super().__init__({"charge": In(charge), "v": In(charge), "shift": In(4), "rate": Out(8)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal.like(self.charge, reset_less=True)
        m.d.sync += total.eq(self.charge + self.v)
        # shifter with three levels, each as wide as the next one needs
        bits = total[RATE_SHIFTS[0] :]
        n = Signal(3)  # shift, minus the smallest one
        m.d["sync" if self.registered else "comb"] += n.eq(self.shift - RATE_SHIFTS[0])
        for level, width in ((2, 11), (1, 9), (0, 8)):
            bits = Mux(n[level], bits[1 << level :][:width], bits[:width])
        over = (total[RATE_SHIFTS[0] + 8 : -1] >> n).any()
        m.d.comb += self.rate.eq(Mux(total[-1], 0, Mux(over, 255, bits)))
        return m


class RateChange(wiring.Component):
    """Members
    -------
    rate, before : In(8)
        A rate, and the previous rate of the same neuron.
    tolerance : In(16), held
    changed : Out(1)
        They differ by more than ``tolerance``.
    """

    rate: Signal
    before: Signal
    tolerance: Signal
    changed: Signal

    latency = 1

    def __init__(self) -> None:
        super().__init__({"rate": In(8), "before": In(8), "tolerance": In(16), "changed": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        change = Signal(signed(9), reset_less=True)
        tolerance = Mux(self.tolerance[8:].any(), 255, self.tolerance[:8])  # the largest difference
        m.d.sync += change.eq(self.rate - self.before)
        m.d.comb += self.changed.eq((change > tolerance) | (-change > tolerance))
        return m
