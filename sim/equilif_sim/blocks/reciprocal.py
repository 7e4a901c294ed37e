"""Bench for equilif_hdl.blocks.softmax.Reciprocal.

State space: every total from ``first`` up to ``last``, which the configuration gives, both kinds.  The
cycles of each are counted.
"""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.softmax import ABSOLUTE, C_MIN, RECIPROCAL
from equilif_hdl.blocks.softmax import Reciprocal
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, now, reset


@cocotb.test()
async def totals(dut: Any) -> None:
    raw = bench_config()
    await reset(dut, "start", "absolute", "total")
    n = 0
    for total in [0, *range(max(1 << C_MIN, raw["first"]), raw["last"])]:
        for absolute in (0, 1):
            drive(dut, total=total, absolute=absolute, start=1)
            await RisingEdge(dut.clk)
            began = now()
            dut.start.value = 0
            await ReadOnly()
            assert dut.busy.value
            await dut.busy.falling_edge
            assert now() - began == Reciprocal.latency
            await ReadOnly()
            c = ABSOLUTE if absolute else max(total.bit_length() - 1, C_MIN)
            assert int(dut.c.value) == c
            if total:
                assert int(dut.r.value) == ((2 << (c + RECIPROCAL)) + total) // (2 * total), (total, absolute)
                n += 1
            await RisingEdge(dut.clk)
    assert n == 2 * (raw["last"] - max(1 << C_MIN, raw["first"]))
