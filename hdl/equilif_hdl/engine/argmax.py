"""Argmax: number of the first neuron with the largest value, from the events of a scan.

    events --> [ > largest ]--|--> largest, place

Latency: 1 cycle.  Throughput: an event a cycle.
"""

from __future__ import annotations

from amaranth import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import Event, event, group_bits, lane_bits


class Argmax(wiring.Component):
    """Members
    -------
    clear : In(1)
        A scan begins.
    valid, i : In(1), In(event)
        A neuron with a non-zero value, in ascending order.
    place : Out
        Number of the neuron; 0 without events.
    """

    clear: Signal
    valid: Signal
    i: Event
    place: Signal

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "valid": In(1),
                "i": In(event(config)),
                "place": Out(group_bits(config) + lane_bits(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        largest = Signal(8)
        with m.If(self.clear):
            m.d.sync += [largest.eq(0), self.place.eq(0)]
        with m.Elif(self.valid & (self.i.plus > largest)):
            m.d.sync += [largest.eq(self.i.plus), self.place.eq(Cat(self.i.e, self.i.group))]
        return m
