"""I2S microphone: this side makes the clocks, the microphone sends 24 bits in the left slot; bit-exact with
equilif_golden.front_end.i2s.

    divider --> clock; ws low: left slot, high: right slot
    data --> [2 FF] --> at the rising edge of clock: bits 1 to 24 of the slot, first the highest
         --> >> SHIFT --> o

A slot has 32 bits; bit 0 is of the previous slot, as the standard has it.  The sensor changes ``data`` at the
falling edge of clock.

Latency: ``o`` is valid in the cycle after the one that samples bit 24.  Throughput: a sample in 64 periods of
clock.
"""

from __future__ import annotations

from amaranth import Cat, Module, Signal, signed
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.i2s import SHIFT, WIDTH
from equilif_golden.front_end.pdm import RATE
from equilif_hdl.front_end.divider import FractionalDivider

SLOT_BITS = 32
#: periods of clock in a sample
FRAME_BITS = 2 * SLOT_BITS


class I2sMicrophone(wiring.Component):
    """Members
    -------
    clock, ws : Out(1), data : In(1)
        Pins.  ``data`` is asynchronous.
    valid : Out(1), o : Out(signed(16))
        Strobe and sample, RATE a second.

    ``clock_hz``: of the design.
    """

    clock: Signal
    ws: Signal
    data: Signal
    valid: Signal
    o: Signal

    def __init__(self, clock_hz: int):
        self.divider = FractionalDivider(clock_hz, FRAME_BITS * RATE)
        super().__init__(
            {"clock": Out(1), "ws": Out(1), "data": In(1), "valid": Out(1), "o": Out(signed(WIDTH - SHIFT))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.divider = divider = self.divider
        data = Signal()
        m.submodules.synchronizer = cdc.FFSynchronizer(self.data, data)
        place = Signal(range(FRAME_BITS))  # bit in the frame
        shift = Signal(WIDTH)
        m.d.comb += [self.clock.eq(divider.clock), self.ws.eq(place[-1]), self.o.eq(shift >> SHIFT)]
        m.d.sync += self.valid.eq(divider.rise & (place == WIDTH))
        with m.If(divider.fall):
            m.d.sync += place.eq(place + 1)
        with m.If(divider.rise & (place <= WIDTH)):
            m.d.sync += shift.eq(Cat(data, shift[:-1]))
        return m
