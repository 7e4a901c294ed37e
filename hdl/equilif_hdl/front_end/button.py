"""Learn button: debounced short and long presses; bit-exact with equilif_golden.front_end.button.

divider --> sample of the pin --> [ samples of this press ] --> short, long

Latency: ``short`` or ``long`` in the cycle after the sample.
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.button import LONG, SHORT


class Button(wiring.Component):
    """Members
    -------
    i : In(1)
        The pin, synchronous.
    short, long : Out(1)
        Strobes of presses.

    ``divisor``: cycles from one sample to the next.
    """

    i: Signal
    short: Signal
    long: Signal

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"i": In(1), "short": Out(1), "long": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cycle = Signal(range(self.divisor))
        held = Signal(range(LONG + 1))
        m.d.sync += [cycle.eq(cycle + 1), self.short.eq(0), self.long.eq(0)]
        with m.If(cycle == self.divisor - 1):
            m.d.sync += cycle.eq(0)
            with m.If(self.i):
                m.d.sync += self.long.eq(held == LONG - 1)
                with m.If(held != LONG):
                    m.d.sync += held.eq(held + 1)
            with m.Else():
                m.d.sync += [held.eq(0), self.short.eq((held >= SHORT) & (held < LONG))]
        return m
