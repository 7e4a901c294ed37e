"""Relay: drive to signed 8-bit value; bit-exact with equilif_golden.blocks.relay.relay.

    drive -- >> 1 .. 4 --|-- >> 0, 4 .. 28 -- clip --|--> value
                         '--> prescaled

A shifter that saturates after every level to the range that the remaining levels can represent.  Latency 2
(bars are registers), throughput 1.  SOFTMAX uses ``prescaled``: its shifts are those of the first level.
"""

from __future__ import annotations

from amaranth import Array, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import Numerics
from equilif_hdl.fixed import saturate, shape

WIDTH = 8  #: bits of the value of a relay


class Relay(wiring.Component):
    """Members
    -------
    drive : In(accumulator)
        Static drive.
    shift_minus_1 : In(5), held
        Shift, minus 1.
    prescaled : Out(signed), 1 cycle later
        The drive, shifted by 1 to 4.
    value : Out(signed(8)), 2 cycles later
    """

    drive: Signal
    shift_minus_1: Signal
    prescaled: Signal
    value: Signal

    latency = 2

    def __init__(self, numerics: Numerics):
        acc = shape(numerics.accumulator)
        super().__init__(
            {
                "drive": In(acc),
                "shift_minus_1": In(5),
                "prescaled": Out(signed(acc.width - 1)),
                "value": Out(signed(WIDTH)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.prescaled.eq(Array(self.drive >> k for k in (1, 2, 3, 4))[self.shift_minus_1[:2]])
        value = self.prescaled
        for level in (4, 3, 2):
            step = 1 << level
            shifted = Signal.like(value, name=f"shifted{level}")
            m.d.comb += shifted.eq(Mux(self.shift_minus_1[level], value >> step, value))
            value = Signal(signed(min(len(shifted), WIDTH + step - 4)), name=f"clipped{level}")
            m.d.comb += value.eq(saturate(shifted, len(value)))
        m.d.sync += self.value.eq(value)
        return m
