"""Drivers for amaranth.lib.stream ports as they appear in Verilog: <port>__payload, <port>__valid,
<port>__ready.

A structured payload is one number; ``Layout.const({...}).as_value().value`` makes it,
``Layout.from_bits(n)`` reads it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

Pause = Callable[[], bool]  #: true: do not offer (or take) in this cycle


def now(period_ns: int = 10) -> int:
    """Number of the present clock cycle."""
    return int(get_sim_time("ns")) // period_ns


async def reset(dut: Any, *inputs: str) -> None:
    """Start the clock, drive ``inputs`` to 0 and reset for two cycles."""
    for name in inputs:
        getattr(dut, name).value = 0
    Clock(dut.clk, 10, unit="ns", impl="gpi").start()
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0


def never() -> bool:
    return False


def often() -> bool:
    return random.random() < 0.5


class StreamSource:
    def __init__(self, dut: Any, port: str, *, pause: Pause = never):
        self._dut, self._pause = dut, pause
        self._payload, self._valid, self._ready = (
            getattr(dut, f"{port}__{name}") for name in ("payload", "valid", "ready")
        )
        self._valid.value = 0

    async def send(self, payload: int) -> None:
        """Returns after the clock edge of the transfer."""
        while self._pause():
            await RisingEdge(self._dut.clk)
        self._payload.value = payload
        self._valid.value = 1
        while True:
            await ReadOnly()
            taken = bool(self._ready.value)
            await RisingEdge(self._dut.clk)
            if taken:
                break
        self._valid.value = 0


class StreamSink:
    """Receives for ever; also checks the stream contract: payload and valid hold until the transfer."""

    def __init__(self, dut: Any, port: str, on_transfer: Callable[[int], None], *, pause: Pause = never):
        self._dut, self._on_transfer, self._pause = dut, on_transfer, pause
        self._payload, self._valid, self._ready = (
            getattr(dut, f"{port}__{name}") for name in ("payload", "valid", "ready")
        )
        self._ready.value = 0

    async def run(self) -> None:
        held: int | None = None
        while True:
            self._ready.value = not self._pause()
            await ReadOnly()
            valid = bool(self._valid.value)
            assert valid or held is None, "valid fell before the transfer"
            if valid:
                now = int(self._payload.value)
                assert held in (None, now), "payload changed before the transfer"
                taken = bool(self._ready.value)
                held = None if taken else now
                if taken:
                    self._on_transfer(now)
            await RisingEdge(self._dut.clk)
