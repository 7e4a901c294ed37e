"""Driver for blocks without handshake: inputs in any cycle, outputs a fixed number of cycles later.

In idle cycles the inputs are random, which detects unintended state of a block.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from cocotb.triggers import ReadOnly, RisingEdge

from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import drive, reset

UNSEEN = ()  #: expected outputs of a cycle that is not compared


class PipelineBench:
    """``latency``: cycles from ``feed`` until the outputs are compared; ``later``: delay of inputs."""

    def __init__(
        self,
        dut: Any,
        *,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        latency: int,
        later: Mapping[str, int] | None = None,
    ):
        self.dut = dut
        self.outputs = outputs
        self.latency = latency
        self.delays = dict.fromkeys(inputs, 0) | dict(later or {})
        self.score = Scoreboard()
        self._due: list[bool] = [False] * latency
        self._fed: list[Mapping[str, int] | None] = [None] * max(self.delays.values(), default=0)

    async def reset(self) -> None:
        await reset(self.dut, *self.delays)

    async def hold(self, **values: int) -> None:
        """Set constant inputs."""
        drive(self.dut, **values)

    async def feed(
        self, inputs: Mapping[str, int] | None = None, expected: tuple[int, ...] | None = None
    ) -> None:
        """One cycle: inputs, or noise, and the expected outputs."""
        assert (inputs is None) == (expected is None)
        self._fed.insert(0, inputs)
        for name, cycles in self.delays.items():
            fed = self._fed[cycles]
            width = len(getattr(self.dut, name))
            drive(self.dut, **{name: random.getrandbits(width) if fed is None else fed[name]})
        self._fed.pop()
        if expected:
            self.score.expect(expected)
        self._due.append(bool(expected))
        await ReadOnly()
        if self._due.pop(0):
            self.score.actual(tuple(int(getattr(self.dut, name).value) for name in self.outputs))
        await RisingEdge(self.dut.clk)

    async def drain(self) -> None:
        """Feed noise until the last expected outputs are compared."""
        for _ in range(self.latency):
            await self.feed()

    async def finish(self, count: int) -> None:
        await self.drain()
        self.score.finish(count)


def bits(value: int, width: int) -> int:
    """A signed number as the unsigned value of a port."""
    return int(value) & ((1 << width) - 1)
