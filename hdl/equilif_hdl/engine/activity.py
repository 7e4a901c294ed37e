"""Activity counters of a run; bit-exact with equilif_golden.engine.activity.

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

from equilif_golden.engine.activity import COMMAND, FETCH, LAST, NAMES, cost_of_mode
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import OPERATIONS, Kind, Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, has_mode

COUNTS = data.ArrayLayout(32, len(NAMES))


class Activity(wiring.Component):
    """Members
    -------
    clear : In(1)
        A run begins.
    instruction : In(INSTRUCTION)
        Held while its commands are issued.
    start, restart_walk : In(1)
        It begins; another walk of SOFTMAX begins.
    command, fetch : In(1)
        The walker issues a command; the scanner fetches a group.
    counts : Out(COUNTS)
        In the order of equilif_golden.engine.activity.NAMES.
    """

    clear: Signal
    start: Signal
    restart_walk: Signal
    instruction: Instruction
    command: Signal
    op: Signal
    fetch: Signal
    counts: data.View[data.ArrayLayout]

    latency = 2

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "restart_walk": In(1),
                "instruction": In(INSTRUCTION),
                "command": In(1),
                "op": In(4),
                "fetch": In(1),
                "counts": Out(COUNTS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        longest = max(o.walks for o in OPERATIONS.values())
        walk = Signal(range(longest))  # number of the present walk
        with m.If(self.start):
            m.d.sync += walk.eq(0)
        with m.Elif(self.restart_walk):
            m.d.sync += walk.eq(
                Mux(walk == longest - 1, 0, walk + 1) if self.config.self_attention else walk + 1
            )
        for k, name in enumerate(NAMES):
            command = self._of_command(m, name, walk)
            fetch = self._by_operation(m, FETCH, name, "fetch")
            more = Signal(range(8), name=f"{name}_more")
            m.d.sync += [
                more.eq(Mux(self.command, command, 0) + Mux(self.fetch, fetch, 0)),
                self.counts[k].eq(self.counts[k] + more),
            ]
        with m.If(self.clear):
            m.d.sync += [self.counts[k].eq(0) for k in range(len(NAMES))]
        return m

    def _of_command(self, m: Module, name: str, walk: Value) -> Value:
        """Increment of a counter for a command of the instruction."""
        ins = self.instruction
        cost = Signal(range(8), name=f"{name}_of_command")
        with m.Switch(self.op):
            for op, o in OPERATIONS.items():
                if o.kind == Kind.PREFIX:  # never executed
                    continue
                last = LAST[op].get(name, 0)
                modes = {flag: cost_of_mode(mode, self.config).get(name, 0) for flag, mode in o.modes.items()}
                total: Value | int = last
                for flag, more in modes.items():
                    if more:
                        total = total + Mux(has_mode(ins, flag), more, 0)
                if o.walks > 1:
                    total = Mux(walk == o.walks - 1, total, 0)
                with m.Case(int(op)):
                    m.d.comb += cost.eq(COMMAND[op].get(name, 0) + total)
        return cost

    def _by_operation(self, m: Module, table: Mapping[Op, Mapping[str, int]], name: str, of: str) -> Value:
        cost = Signal(range(4), name=f"{name}_of_{of}")
        with m.Switch(self.instruction.op):
            for op, costs in table.items():
                if name in costs:
                    with m.Case(int(op)):
                        m.d.comb += cost.eq(costs[name])
        return cost
