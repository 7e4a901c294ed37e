"""Clock of a sensor, from the clock of the design.

    increment --> [ phase modulo m ] --carry--> toggle --> clock      rise, fall

The mean frequency is exact; every edge is late by less than one cycle of the design's clock.
"""

from __future__ import annotations

import math

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

#: cycles of the design's clock in a period: less than a half is left after the synchronizer of the data
MIN_CYCLES = 8


class FractionalDivider(wiring.Component):
    """Members
    -------
    clock : Out(1)
        Clock for the sensor; a register.
    rise, fall : Out(1)
        Strobes in the cycle before ``clock`` changes.

    ``clock_hz``, ``rate_hz``: integers.  ValueError if a period is shorter than MIN_CYCLES.
    """

    clock: Signal
    rise: Signal
    fall: Signal

    def __init__(self, clock_hz: int, rate_hz: int):
        if clock_hz < MIN_CYCLES * rate_hz:
            raise ValueError(
                f"a sensor clock of {rate_hz:,} Hz needs a clock of at least {MIN_CYCLES * rate_hz:,} Hz, "
                f"not {clock_hz:,}: take a faster clock"
            )
        common = math.gcd(clock_hz, 2 * rate_hz)
        self.modulus = clock_hz // common
        self.increment = 2 * rate_hz // common
        super().__init__({"clock": Out(1), "rise": Out(1), "fall": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        phase = Signal(range(self.modulus))
        carry = Signal()  # registered: the comparison is off the paths that follow
        m.d.sync += [
            carry.eq(phase >= self.modulus - self.increment),
            phase.eq(
                phase
                + Mux(phase >= self.modulus - self.increment, self.increment - self.modulus, self.increment)
            ),
            self.clock.eq(self.clock ^ carry),
        ]
        m.d.comb += [self.rise.eq(carry & ~self.clock), self.fall.eq(carry & self.clock)]
        return m
