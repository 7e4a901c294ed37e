"""Counters of what a run does, as equilif_golden.engine.activity counts it.

    instruction --> cost of a command --- x command --+
                    cost of a fetch ----- x fetch ----+--|--> more --> [ + ]--|--> counts

Latency: 2 cycles from a strobe to its count.  Throughput: a command and a fetch a cycle.  Cost: 9 counters of
32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
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
from equilif_golden.engine.isa import MeasureMode, Op, ResetMode, ResultMode
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, has_mode

COUNTS = data.ArrayLayout(32, len(NAMES))


class Activity(wiring.Component):
    """Members
    -------
    clear : In(1)
        A run begins.
    instruction : In(INSTRUCTION)
        Held while its commands are under way.
    start, again : In(1)
        It begins; its next walk does (SOFTMAX).
    command, fetch : In(1)
        The walker issues a command; the scanner fetches a group.
    counts : Out(COUNTS)
        In the order of equilif_golden.engine.activity.NAMES.
    """

    clear: Signal
    start: Signal
    again: Signal
    instruction: Instruction
    command: Signal
    fetch: Signal
    counts: data.View[data.ArrayLayout]

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

    def elaborate(self, platform: object) -> Module:
        m = Module()
        walk = Signal(range(SOFTMAX_WALKS))  # number of the present walk
        with m.If(self.start):
            m.d.sync += walk.eq(0)
        with m.Elif(self.again):
            m.d.sync += walk.eq(walk + 1)
        coding = Signal()  # the walk writes codes
        m.d.comb += coding.eq((self.instruction.op == Op.SOFTMAX) & (walk == SOFTMAX_WALKS - 1))
        for k, name in enumerate(NAMES):
            command = self._of_command(m, name, coding)
            fetch = self._by_operation(m, FETCH, name, "fetch")
            more = Signal(range(8), name=f"{name}_more")
            m.d.sync += [
                more.eq(Mux(self.command, command, 0) + Mux(self.fetch, fetch, 0)),
                self.counts[k].eq(self.counts[k] + more),
            ]
        with m.If(self.clear):
            m.d.sync += [self.counts[k].eq(0) for k in range(len(NAMES))]
        return m

    def _of_command(self, m: Module, name: str, coding: Value) -> Value:
        """What a command of the instruction adds to a counter."""
        ins = self.instruction
        cost = self._by_operation(m, COMMAND, name, "command")
        if name in CODING:
            cost = cost | Mux(coding, CODING[name], 0)
        if name in WATCHING and self.config.early:
            cost = cost + Mux((ins.op == Op.MEASURE) & has_mode(ins, MeasureMode.WATCH), WATCHING[name], 0)
        if name == "value_writes":
            return Mux(cost != 0, has_mode(ins, ResultMode.PLUS) + has_mode(ins, ResultMode.MINUS), 0)
        if name == "spike_writes":
            return Mux((ins.op == Op.RESET) & has_mode(ins, ResetMode.STATIC), 0, cost)
        return cost

    def _by_operation(self, m: Module, table: Mapping[Op, Mapping[str, int]], name: str, of: str) -> Value:
        cost = Signal(range(4), name=f"{name}_of_{of}")
        with m.Switch(self.instruction.op):
            for op, costs in table.items():
                if name in costs:
                    with m.Case(int(op)):
                        m.d.comb += cost.eq(costs[name])
        return cost
