"""Bench for equilif_hdl.front_end.log2.

State space: 0; the limits of all mantissas with every exponent, so all powers of two, and their neighbours;
random numbers of every length; in random order.  Compares every code, and so the latency.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.front_end.log2 import MANTISSA, log2
from equilif_hdl.front_end.log2 import Log2
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import drive, reset

RANDOM = 20  #: numbers of each length


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def codes(dut: Any) -> None:
    width = bench_config()["width"]
    limits = {
        (m << exponent >> MANTISSA) + d
        for exponent in range(width)
        for m in range(1 << MANTISSA, 2 << MANTISSA)
        for d in (-1, 0, 1)
    }
    numbers = [a for a in limits if a < 1 << width]
    numbers += [random.getrandbits(n) for n in range(1, width + 1) for _ in range(RANDOM)]
    random.shuffle(numbers)
    score = Scoreboard()
    await reset(dut, "a")
    for n, a in enumerate(numbers + [0] * Log2.latency):
        drive(dut, a=a)
        await ReadOnly()
        if n >= Log2.latency:
            score.actual(int(dut.code.value))
        score.expect(int(log2(a)))
        await RisingEdge(dut.clk)
    assert score.compared == len(numbers)
