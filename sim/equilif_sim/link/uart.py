"""Bench for equilif_hdl.link.uart: receiver and transmitter, each against a line that is driven or sampled by
time, and in a loop.

State space: every byte, back to back and with gaps; clocks that are off by 3 %, or by as much as a cycle's
sampling error leaves when a bit has few cycles; broken stop bits, breaks
and glitches.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge, Timer

from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.link.uart import BITS, UartReceiver, UartTransmitter
from equilif_hdl.typed import Stream
from equilif_sim.tools.run import bench_config, cases
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import StreamSink, StreamSource, never, often

CYCLE = 10_000  #: ps


class Uart(wiring.Component):
    """Design under test: both directions; ``loop`` joins them."""

    i: Stream[Signal]
    o: Stream[Received]
    rx: Signal
    tx: Signal
    loop: Signal

    def __init__(self, divisor: int):
        self.config = {"divisor": divisor}
        self.divisor = divisor
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(RECEIVED)),
                "rx": In(1),
                "tx": Out(1),
                "loop": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        connect(m, flipped(self.i), transmitter.i)
        connect(m, receiver.o, flipped(self.o))
        m.d.comb += [self.tx.eq(transmitter.tx), receiver.rx.eq(self.rx)]
        with m.If(self.loop):
            m.d.comb += receiver.rx.eq(transmitter.tx)
        return m


class UartBench:
    def __init__(self, dut: Any, *, loop: bool, pause: Any = never):
        self.dut = dut
        self.loop = loop
        self.score = Scoreboard()
        self.divisor: int = bench_config()["divisor"]
        self.source = StreamSource(dut, "i", pause=pause)
        self.sink = StreamSink(dut, "o", self.score.actual, pause=never)

    async def reset(self) -> None:
        d = self.dut
        d.i__payload.value = 0
        d.rx.value = 1
        d.loop.value = self.loop
        Clock(d.clk, CYCLE, unit="ps", impl="gpi").start()
        d.rst.value = 1
        await ClockCycles(d.clk, 4)  # the synchronizer has no reset: what it held at first must pass
        d.rst.value = 0
        cocotb.start_soon(self.sink.run())
        await ClockCycles(d.clk, 2)

    async def line(self, bits: list[int], drift: float = 0.0) -> None:
        """Bits on rx, each as long as a bit of a sender whose clock is off by ``drift``."""
        for bit in bits:
            self.dut.rx.value = bit
            await Timer(round(self.divisor * CYCLE * (1 + drift)), unit="ps")

    async def byte(self, byte: int, *, drift: float = 0.0, stop: int = 1) -> None:
        await self.line([0, *(byte >> k & 1 for k in range(8)), stop], drift)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause=[never, often])
async def loopback(dut: Any, pause: Any) -> None:
    tb = UartBench(dut, loop=True, pause=pause)
    await tb.reset()
    sent = random.sample(range(256), cases(256))
    for byte in sent:
        tb.score.expect(byte)
        await tb.source.send(byte)
    await ClockCycles(dut.clk, 12 * tb.divisor)
    tb.score.finish(len(sent))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def transmit_timing(dut: Any) -> None:
    """Start bit, eight bits and stop bit last ``divisor`` cycles each; a waiting byte follows at once, and
    one that comes later need not wait.
    """
    tb = UartBench(dut, loop=False)
    await tb.reset()
    sent = [0x00, 0xFF, 0x55, 0xA5, *random.choices(range(256), k=20)]

    async def feed() -> None:
        for byte in sent:
            await tb.source.send(byte)

    await ClockCycles(dut.clk, 3)
    assert int(dut.tx.value) == 1
    cocotb.start_soon(feed())
    await FallingEdge(dut.tx)
    await FallingEdge(dut.clk)
    for byte in sent:
        expected = [0, *(byte >> k & 1 for k in range(8)), 1]
        for bit in expected:
            for cycle in range(tb.divisor):
                assert int(dut.tx.value) == bit, f"byte {byte:02x}: tx differs in cycle {cycle} of a bit"
                await FallingEdge(dut.clk)
    for _ in range(3 * tb.divisor):
        assert int(dut.tx.value) == 1
        assert int(dut.i__ready.value) == 1, "a byte has to wait for an idle line"
        await FallingEdge(dut.clk)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(sign=[-1, 0, 1])
async def receive(dut: Any, sign: int) -> None:
    tb = UartBench(dut, loop=False)
    drift = sign * min(0.03, (1 / 2 - 1 / tb.divisor) / (BITS + 2))
    await tb.reset()
    n = 60
    for _ in range(n):
        byte = random.choice([0x00, 0xFF, 0x55, 0xAA, random.getrandbits(8)])
        tb.score.expect(byte)
        await tb.byte(byte, drift=drift)
        if random.random() < 0.3:
            # a gap that is no multiple of a bit
            await Timer(random.randrange(20 * tb.divisor) * CYCLE + 1, unit="ps")
    await ClockCycles(dut.clk, 2 * tb.divisor)
    tb.score.finish(n)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def line_errors(dut: Any) -> None:
    """A broken stop bit and a break are one bad byte each, a glitch is nothing, and the byte after each is
    right.
    """
    tb = UartBench(dut, loop=False)
    await tb.reset()
    for _ in range(10):
        byte = random.getrandbits(8)
        tb.score.expect(1 << 8 | byte)
        await tb.byte(byte, stop=0)
        await tb.line([1])
        tb.score.expect(0x3C)
        await tb.byte(0x3C)
    tb.score.expect(1 << 8)
    await tb.line([0] * 35 + [1, 1])
    tb.score.expect(0xC3)
    await tb.byte(0xC3)
    dut.rx.value = 0
    await Timer(max(1, tb.divisor // 2 - 2) * CYCLE, unit="ps")
    await tb.line([1] * 12)
    tb.score.expect(0x99)
    await tb.byte(0x99)
    await ClockCycles(dut.clk, 2 * tb.divisor)
    tb.score.finish(23)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def lost_bytes(dut: Any) -> None:
    """A byte that is not taken in time is lost, and the next delivered byte reports it."""
    tb = UartBench(dut, loop=False)
    tb.sink._pause = lambda: blocked
    blocked = True
    await tb.reset()
    tb.score.expect(0x11)
    for byte in (0x11, 0x22, 0x33):
        await tb.byte(byte)
    await ClockCycles(dut.clk, 4)  # the last one is on its way through the receiver
    blocked = False
    await ClockCycles(dut.clk, 4)
    tb.score.expect(1 << 8 | 0x44)
    tb.score.expect(0x55)
    for byte in (0x44, 0x55):
        await tb.byte(byte)
    await RisingEdge(dut.clk)
    await ClockCycles(dut.clk, tb.divisor)
    tb.score.finish(3)
