"""Benches for equilif_hdl.front_end.pdm: ``decimated`` of PdmDecimator, ``pins`` of PdmMicrophone.

State space: silence, random bits, full scale of both signs, a sine at, and above, the full scale of a
modulator; bits at the minimum distance and at random ones.  Of the pins: data that come as late as a
microphone's may, and noise when the other channel sends.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, Timer

from equilif_golden.front_end.pdm import HI, OVERSAMPLING, RATE, Pdm, modulate
from equilif_hdl.front_end.divider import MIN_CYCLES
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import PERIOD_NS, idle, now, reset


def sound(samples: int) -> Any:
    """Bits of all cases one after the other, (64 x 5 x ``samples``,)."""
    sine = HI * np.sin(2 * np.pi * 1000 / 16000 * np.arange(2 * samples))
    rng = np.random.default_rng(random.getrandbits(32))
    parts = [
        modulate(np.rint(sine).astype(np.int64)),
        np.ones(OVERSAMPLING * samples, np.uint8),
        np.zeros(OVERSAMPLING * samples, np.uint8),
        rng.integers(0, 2, OVERSAMPLING * samples).astype(np.uint8),
    ]
    return np.concatenate(parts)


async def watched(dut: Any, valid: str, score: Scoreboard) -> None:
    port = getattr(dut, valid)
    while True:
        await RisingEdge(port)
        await ReadOnly()
        score.actual(dut.o.value.to_signed())


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def decimated(dut: Any) -> None:
    await reset(dut, "valid", "bit")
    score = Scoreboard()
    cocotb.start_soon(watched(dut, "o_valid", score))
    bits = sound(10)
    want = Pdm().feed(bits)
    for sample in want:
        score.expect(int(sample))
    for bit in bits:
        dut.bit.value = int(bit)
        dut.valid.value = 1
        await RisingEdge(dut.clk)
        dut.valid.value = 0
        dut.bit.value = random.getrandbits(1)
        gap = MIN_CYCLES - 1
        await idle(dut, gap if random.random() < 0.9 else random.randrange(gap, 3 * gap))
    await ClockCycles(dut.clk, 50)
    score.finish(len(want))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def pins(dut: Any) -> None:
    """A bit is at the pin until the clock has risen; then there is noise.  The mean frequency is exact."""
    config = bench_config()
    await reset(dut, "data")
    score = Scoreboard()
    bits = sound(2)
    want = Pdm().feed(bits)
    for sample in want:
        score.expect(int(sample))
    cocotb.start_soon(watched(dut, "valid", score))
    rises = []
    for bit in bits:
        dut.data.value = int(bit)
        await RisingEdge(dut.clock)
        rises.append(now())
        await Timer(1, unit="ns")
        dut.data.value = random.getrandbits(1)
        await FallingEdge(dut.clock)
        await Timer(random.randrange(1, PERIOD_NS), unit="ns")
    await ClockCycles(dut.clk, 60)
    score.finish(len(want))
    cycles = config["clock_hz"] / (OVERSAMPLING * RATE)
    late = np.array(rises) - rises[0] - cycles * np.arange(len(rises))
    assert np.abs(late).max() < 1, late
