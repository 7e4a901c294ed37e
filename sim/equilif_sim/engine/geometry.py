"""Bench for equilif_hdl.engine.geometry.Geometry: steps of random geometries, in both directions, and of
dense instructions between them.

State space: all operands of CONVOLVE, groups and tiles that wrap.  Stalls: the next instruction begins
immediately or later.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from amaranth import Const
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.plasticity import DITHER_DESTINATION
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import MAX_STRIDE, SIDE, Geometry
from equilif_golden.engine.isa import Instruction, Op, SourceMode
from equilif_hdl.engine import geometry as hdl
from equilif_sim.tools.run import engine_config
from equilif_sim.tools.stream import drive, reset


def steps_of(config: EngineConfig, i: Instruction, geometry: Geometry | None) -> dict[str, int]:
    """Relevant steps by name, as in equilif_hdl.engine.geometry.Steps."""
    back = geometry is not None and i.backwards
    g = geometry or i.dense
    x_tile = g.pre * g.post
    y_tile = x_tile * g.kernel_columns
    found = {
        "convolved": geometry is not None,
        "groups_per_position": g.post if i.backwards else g.pre,
        "columns": g.columns,
        "rows": g.rows,
        "window_columns": 1 if back else g.kernel_columns,
        "window_rows": 1 if back else g.kernel_rows,
        "stride": 1 if back else g.stride,
        "shared_bias": not back and g.stride == 0,
        "backwards": back,
        "run": g.patch // g.kernel_rows if i.backwards else g.post,
        "run_tile": g.post if i.backwards else 1,
    }
    if geometry is not None:
        found |= {
            "x_tile": 0 if back else x_tile,
            "x_back": 0 if back else x_tile * g.stride,
            "y_tile": -y_tile if back else y_tile,
            "y_back": -y_tile if back else y_tile * g.stride,
            "x_group": g.pre * g.stride if back else g.post,
            "y_group": g.pre * g.width * g.stride if back else g.post * g.columns,
            "row_return": DITHER_DESTINATION * (1 - g.columns),
            "kernel_rows": g.kernel_rows,
            "row_group": g.pre * g.width if back else g.post * g.columns,
            "row_dither": DITHER_DESTINATION * g.columns,
        }
    layout = hdl.steps(config)
    return {name: int(value) % (1 << layout[name].width) for name, value in found.items()}


def code_of(config: EngineConfig, i: Instruction, geometry: Geometry | None) -> int:
    """Value of the port ``steps``; irrelevant fields are noise."""
    layout = hdl.steps(config)
    names = hdl.Steps.__annotations__
    noise = {name: random.getrandbits(layout[name].width) for name in names}
    return int(Const.cast(layout.const(noise | steps_of(config, i, geometry))).value)


def random_numbers(config: EngineConfig) -> Geometry:
    """Random operands of CONVOLVE, regardless of memory sizes."""
    most = random.choice([2, SIDE])
    pre, post = (random.randint(1, random.choice([3, config.value_groups - 1])) for _ in range(2))
    rows, columns, *kernel = (random.randint(1, most) for _ in range(4))
    stride = random.choice([0, 1, 2, random.randint(0, MAX_STRIDE)])
    return Geometry(pre, post, rows, columns, kernel[0], kernel[1], stride)


@cocotb.test()
async def every_step(dut: Any) -> None:
    config = engine_config()
    layout = hdl.steps(config)
    await reset(dut, "take", "begin", "i")
    n = 0
    for k in range(300):
        geometry = random_numbers(config) if k % 3 else None
        if geometry is not None:
            drive(dut, i=Op.CONVOLVE(**geometry._asdict()).encode(), take=1)
            await RisingEdge(dut.clk)
            dut.take.value = 0
            cycles = 0
            while True:
                cycles += 1
                await ReadOnly()
                if not dut.busy.value:
                    break
                await RisingEdge(dut.clk)
            assert cycles == hdl.Geometry.latency
            for _ in range(random.choice([0, 0, 3])):
                await RisingEdge(dut.clk)
        await RisingEdge(dut.clk)
        i = Instruction(
            op=random.choice([Op.DRIVE, Op.GATHER, Op.LEARN]),
            mode=random.choice([0, SourceMode.COLUMN]) if config.attention else 0,
            n_src=random.randint(1, config.value_groups),
            n_dst=random.randint(1, config.value_groups),
        )
        drive(dut, i=i.encode(), begin=1)
        await RisingEdge(dut.clk)
        dut.begin.value = 0
        await ReadOnly()
        got = layout.from_bits(int(dut.steps.value))
        for name, want in steps_of(config, i, geometry).items():
            assert int(got[name]) == want, (name, geometry, i)
            n += 1
        await RisingEdge(dut.clk)
    assert n > 4000
