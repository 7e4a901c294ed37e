"""Bench for equilif_hdl.blocks.rate.Moved.

State space: every pair of rates whose change lies near a tolerance, and random ones.  Stalls: random idle
cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb

from equilif_golden.blocks.rate import moved
from equilif_hdl.blocks.rate import Moved
from equilif_sim.tools.pipeline import Pipeline


@cocotb.test()
async def changes(dut: Any) -> None:
    tb = Pipeline(dut, inputs=("rate", "before"), outputs=("far",), latency=Moved.latency)
    await tb.reset()
    n = 0
    seen = set()
    for tolerance in (0, 1, 15, 16, 127, 128, 254, 255):
        await tb.hold(tolerance=tolerance)
        pairs = [
            (rate, rate + sign * (tolerance + d))
            for rate in range(256)
            for sign in (-1, 1)
            for d in (-1, 0, 1)
        ]
        pairs += [(random.randrange(256), random.randrange(256)) for _ in range(100)]
        for rate, before in pairs:
            if 0 <= before < 256:
                want = bool(moved(rate, before, tolerance=tolerance))
                await tb.feed({"rate": rate, "before": before}, (int(want),))
                n += 1
                seen.add((tolerance, want))
                if random.random() < 0.1:
                    await tb.feed()
        await tb.drain()  # the tolerance holds until the last answer is out
    assert len(seen) == 15  # nothing moves by more than 255
    await tb.finish(n)
