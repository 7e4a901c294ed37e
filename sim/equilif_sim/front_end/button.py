"""Bench for equilif_hdl.front_end.button.

State space: random presses of every length up to beyond LONG, with bounces between samples of the pin.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.front_end.button import LONG, Button
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, reset


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def presses(dut: Any) -> None:
    await reset(dut, "i")
    divisor, ticks = bench_config()["divisor"], bench_config()["ticks"]
    button = Button()
    state = 0
    left = 0
    want = ""
    made: set[str] = set()
    cycle = int(dut.cycle.value)
    for _ in range(divisor * ticks):
        if cycle == divisor - 1:
            if not left:
                state = 1 - state
                left = random.choice((1, 2, *random.choices(range(1, LONG), k=4), LONG - 1, LONG, LONG + 3))
            left -= 1
        pin = state if cycle == divisor - 1 else random.randrange(2)
        drive(dut, i=pin)
        await ReadOnly()
        assert int(dut.short.value) == (want == "short")
        assert int(dut.long.value) == (want == "long")
        want = button.tick(bool(pin)) if cycle == divisor - 1 else ""
        made.add(want)
        cycle = (cycle + 1) % divisor
        await RisingEdge(dut.clk)
    assert made == {"", "short", "long"}
