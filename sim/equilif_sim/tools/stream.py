"""Reset, port access and waiting for benches, and drivers for streams.

A stream is an amaranth.lib.stream port as it appears in Verilog: <port>__payload, <port>__valid,
<port>__ready.  A structured payload is one number: ``Const.cast(layout.const({...})).value`` makes it,
``layout.from_bits(n)`` reads it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer
from cocotb.utils import get_sim_time

from equilif_sim.tools.run import is_thorough

PERIOD_NS = 10
Pause = Callable[[], bool]  #: true: do not offer, or accept, in this cycle


def now(period_ns: int = PERIOD_NS) -> int:
    """Index of the present clock cycle."""
    return int(get_sim_time("ns")) // period_ns


def drive(dut: Any, **values: int) -> None:
    """Set ports of a device, truncated to their widths."""
    for name, value in values.items():
        port = getattr(dut, name)
        port.value = int(value) & ((1 << len(port)) - 1)


async def reset(dut: Any, *inputs: str) -> None:
    """Start the clock, drive ``inputs`` to 0 and reset for two cycles."""
    drive(dut, **dict.fromkeys(inputs, 0))
    dut.rst.value = 1
    # low at first: an edge before there are values would leave X in what has no reset
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0


async def until_low(dut: Any, busy: str, most: int) -> int:
    """Wait until the port is low, and leave that cycle; returns the number of cycles before.

    AssertionError when it is still high after ``most``.
    """
    port = getattr(dut, busy)
    for cycles in range(most):
        await ReadOnly()
        high = bool(port.value)
        await RisingEdge(dut.clk)
        if not high:
            return cycles
    raise AssertionError(f"{busy} is still high after {most} cycles")


def never() -> bool:
    return False


def often() -> bool:
    return random.random() < 0.5


def with_pauses(**pauses: Sequence[Pause]) -> Callable[[Any], Any]:
    """Parametrize a bench with all combinations of pauses, or with each pause at least once."""
    choices = [*pauses.values()]
    combinations = [*itertools.product(*choices)]
    if not is_thorough():
        combinations = [tuple(c[k % len(c)] for c in choices) for k in range(max(map(len, choices)))]
    return cocotb.parametrize((tuple(pauses), combinations))


class _Stream:
    """Signals of a stream."""

    def __init__(self, dut: Any, port: str, *, pause: Pause):
        self._dut = dut
        self._pause = pause
        self._payload = getattr(dut, f"{port}__payload")
        self._valid = getattr(dut, f"{port}__valid")
        self._ready = getattr(dut, f"{port}__ready")


class StreamSource(_Stream):
    """Offers payloads; noise in between."""

    def __init__(self, dut: Any, port: str, *, pause: Pause = never):
        super().__init__(dut, port, pause=pause)
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
        self._payload.value = random.getrandbits(len(self._payload))


class StreamSink(_Stream):
    """Receives, and checks that payload and valid are held until the transfer."""

    def __init__(self, dut: Any, port: str, on_transfer: Callable[[int], None], *, pause: Pause = never):
        super().__init__(dut, port, pause=pause)
        self._on_transfer = on_transfer
        self._ready.value = 0

    async def run(self) -> None:
        held: int | None = None  # a payload that is offered and not yet accepted
        while True:
            self._ready.value = not self._pause()
            await ReadOnly()
            valid = bool(self._valid.value)
            assert valid or held is None, "valid fell before the transfer"
            if valid:
                payload = int(self._payload.value)
                assert held in (None, payload), "payload changed before the transfer"
                taken = bool(self._ready.value)
                held = None if taken else payload
                if taken:
                    self._on_transfer(payload)
            await RisingEdge(self._dut.clk)


async def idle(dut: Any, cycles: int) -> None:
    """Wait for some cycles without a callback in each; returns after a rising edge of the clock."""
    await Timer(cycles * PERIOD_NS - 1, unit="ns")
    await RisingEdge(dut.clk)
