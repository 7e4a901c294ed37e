"""Bench for equilif_hdl.front_end.adc: a model of an MCP3208 or MCP3008 at the pins.

State space: readings of all channels, the extremes among them; starts at any time, also during a reading.
Checks the command, the order of the channels, the timing of the pins, the cycle of every edge of sck, from
the initial values and from a reset, and that a start during a reading is ignored.
"""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, with_timeout

from equilif_hdl.front_end.adc import COMMAND_BITS, SAMPLING_BITS
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import PERIOD_NS, drive, now

READINGS = 12


class AdcModel:
    """The chip: answers commands, and expects its readings at the outputs of the reader."""

    def __init__(self, dut: Any, width: int, score: Scoreboard):
        self.dut = dut
        self.width = width
        self.score = score
        self.frames = 0

    async def run(self) -> None:
        while True:
            await FallingEdge(self.dut.csn)
            assert int(self.dut.sck.value) == 0, "sck is high at the falling edge of csn"
            await self.frame()
            self.frames += 1

    async def frame(self) -> None:
        command = 0
        for k in range(COMMAND_BITS):
            if k:
                await FallingEdge(self.dut.sck)
            await ClockCycles(self.dut.clk, 2)
            before = int(self.dut.mosi.value)
            await RisingEdge(self.dut.sck)
            assert int(self.dut.mosi.value) == before, "mosi changes before the rising edge of sck"
            command = command << 1 | int(self.dut.mosi.value)
        assert command >> 3 == 0b11, f"start and single-ended are {command >> 3:02b}"
        value = random.choice([0, (1 << self.width) - 1, random.getrandbits(self.width)])
        self.score.expect((command & 7, value))
        bits = [random.getrandbits(1), 0, *(value >> k & 1 for k in reversed(range(self.width)))]
        for bit in bits:
            await FallingEdge(self.dut.sck)
            self.dut.miso.value = bit
        assert len(bits) == SAMPLING_BITS + self.width
        await RisingEdge(self.dut.sck)
        await RisingEdge(self.dut.csn)
        self.dut.miso.value = random.getrandbits(1)


async def clocked(dut: Any, edges: list[int]) -> None:
    """Cycles in which sck changes."""
    while True:
        await RisingEdge(dut.sck)
        await ReadOnly()
        assert not int(dut.csn.value), "sck rises between frames"
        edges.append(now())
        await FallingEdge(dut.sck)
        edges.append(now())


def edge_cycles(first: int, last: int) -> set[int]:
    """Cycles of the edges of the divider's clock, whose phase is 0 before cycle ``first``."""
    config = bench_config()
    half = Fraction(config["clock_hz"], 2 * config["sck_hz"])
    return {first + math.ceil(k * half) for k in range(1, int((last - first) / half) + 1)}


async def watched(dut: Any, score: Scoreboard) -> None:
    while True:
        await ReadOnly()
        if dut.valid.value:
            score.actual((int(dut.channel.value), int(dut.o.value)))
        await RisingEdge(dut.clk)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def channels_in_order(dut: Any) -> None:
    config = bench_config()
    channels = config["channels"]
    score = Scoreboard()
    adc = AdcModel(dut, config["width"], score)
    edges: list[int] = []
    drive(dut, start=0, miso=0, rst=0)
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)
    cocotb.start_soon(adc.run())
    cocotb.start_soon(watched(dut, score))
    cocotb.start_soon(clocked(dut, edges))
    first_cycle = now()
    for n in range(READINGS):
        if n == READINGS // 2:
            assert edges and set(edges) <= edge_cycles(first_cycle, now())
            edges.clear()
            dut.rst.value = 1
            await ClockCycles(dut.clk, 2)
            dut.rst.value = 0
            first_cycle = now() + 1
        await ClockCycles(dut.clk, random.randrange(1, 40))
        first = score.compared
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        for _ in range(channels):
            await with_timeout(RisingEdge(dut.valid), 100, "us")
            dut.start.value = random.random() < 0.5 and score.compared < first + channels - 1
            await RisingEdge(dut.clk)
            dut.start.value = 0
        await ClockCycles(dut.clk, 40)
        assert score.compared == first + channels == (n + 1) * channels
        assert int(dut.csn.value) == 1
    assert edges and set(edges) <= edge_cycles(first_cycle, now())
    score.finish(READINGS * channels)
    assert adc.frames == READINGS * channels
