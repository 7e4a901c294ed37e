"""Counters of what a run does, as equilif_golden.engine.activity counts it.

    instruction --> cost of a command --- x valid --+--> [ + ] --> counts, one register later
                    cost of a fetch ----- x fetch --+

Latency: 2 cycles from a strobe to its count.  Cost: 9 counters of 32 bits.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.activity import (
    CODING,
    COMMAND,
    FETCH,
    NAMES,
    SOFTMAX_WALKS,
    WATCHING,
)
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import MINUS, PLUS, STATIC, WATCH, Op
from equilif_hdl.engine.isa import INSTRUCTION, has_mode

COUNTS = data.ArrayLayout(32, len(NAMES))


class Activity(wiring.Component):
    """Members
    -------
    clear : In(1)
        A run begins.
    start, again, instruction : In(1), In(1), In(INSTRUCTION)
        An instruction begins, or its next walk; held while its commands are under way.
    command, fetch : In(1)
        The walker issues a command; the scanner fetches a group.
    counts : Out(COUNTS)
        In the order of equilif_golden.engine.activity.NAMES.
    """

    latency = 2

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "again": In(1),
                "instruction": In(INSTRUCTION),
                "command": In(1),
                "fetch": In(1),
                "counts": Out(COUNTS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        ins, walk = self.instruction, Signal(range(SOFTMAX_WALKS))
        with m.If(self.start):
            m.d.sync += walk.eq(0)
        with m.Elif(self.again):
            m.d.sync += walk.eq(walk + 1)

        def cost(table, name):
            """Of the present instruction, by its operation."""
            value = Signal(range(4), name=f"{name}_each")
            with m.Switch(ins.op):
                for op, costs in table.items():
                    if name in costs:
                        with m.Case(int(op)):
                            m.d.comb += value.eq(costs[name])
            return value

        coding = Signal()
        m.d.comb += coding.eq((ins.op == Op.SOFTMAX) & (walk == SOFTMAX_WALKS - 1))
        for k, name in enumerate(NAMES):
            command, fetch, more = (
                cost(COMMAND, name),
                cost(FETCH, name),
                Signal(range(8), name=f"{name}_more"),
            )
            if name in CODING:
                command = command | Mux(coding, CODING[name], 0)
            if name in WATCHING and self.config.early:
                command = command + Mux((ins.op == Op.MEASURE) & has_mode(ins, WATCH), WATCHING[name], 0)
            if name == "value_writes":
                command = Mux(command != 0, has_mode(ins, PLUS) + has_mode(ins, MINUS), 0)
            if name == "spike_writes":
                command = Mux((ins.op == Op.RESET) & has_mode(ins, STATIC), 0, command)
            m.d.sync += [
                more.eq(Mux(self.command, command, 0) + Mux(self.fetch, fetch, 0)),
                self.counts[k].eq(self.counts[k] + more),
            ]
        with m.If(self.clear):
            m.d.sync += [self.counts[k].eq(0) for k in range(len(NAMES))]
        return m
