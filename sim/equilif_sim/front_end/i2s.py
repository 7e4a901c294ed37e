"""Bench for equilif_hdl.front_end.i2s: a model of a microphone at the pins.

State space: words of all bits, the extremes among them; noise in the unused bits and in the right slot.
Checks the clocks: 64 periods in a frame, and ws changes at the falling edge.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from equilif_golden.front_end.i2s import WIDTH, samples
from equilif_hdl.front_end.i2s import FRAME_BITS, SLOT_BITS
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import reset

WORDS = 60


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def words(dut: Any) -> None:
    await reset(dut, "data")
    score = Scoreboard()
    half = 1 << (WIDTH - 1)
    sent = [-half, half - 1, -1, 0, *(random.randrange(-half, half) for _ in range(WORDS - 4))]
    for sample in samples(np.array(sent)):
        score.expect(int(sample))

    async def watched() -> None:
        while True:
            await RisingEdge(dut.valid)
            await ReadOnly()
            score.actual(dut.o.value.to_signed())

    await FallingEdge(dut.ws)
    cocotb.start_soon(watched())
    for word in sent:
        bits = [word >> k & 1 for k in reversed(range(WIDTH))]
        bits += [random.getrandbits(1) for _ in range(FRAME_BITS - WIDTH)]
        for place, bit in enumerate(bits, 1):
            assert int(dut.clock.value) == 0
            await FallingEdge(dut.clock)
            await ReadOnly()
            assert int(dut.ws.value) == (place % FRAME_BITS >= SLOT_BITS)
            await RisingEdge(dut.clk)
            dut.data.value = bit
    score.finish(WORDS)
