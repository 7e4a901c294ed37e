"""Benches for equilif_hdl.blocks.rate: ``rates`` of Measure and ``changes`` of RateChange.

State space of Measure: charge and membrane over the charge format, sums near 0 and near the largest rate;
every shift.  Of RateChange: every pair of rates whose change is near a tolerance, and random ones.
Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from equilif_golden.blocks.rate import RATE_SHIFTS, measure, moved
from equilif_golden.fixed import Numerics, wrap
from equilif_hdl.blocks.rate import Measure, RateChange
from equilif_sim.tools.pipeline import PipelineBench
from equilif_sim.tools.run import bench_config


@cocotb.test()
async def rates(dut: Any) -> None:
    fmt = Numerics(**bench_config()).charge
    tb = PipelineBench(dut, inputs=("charge", "v"), outputs=("rate",), latency=Measure.latency)
    await tb.reset()
    n = 0
    for shift in RATE_SHIFTS:
        await tb.hold(shift=shift)
        for _ in range(300):
            v = random.choice([fmt.lo, fmt.hi, 0, random.randint(fmt.lo, fmt.hi)])
            total = random.choice(
                [
                    random.randint(fmt.lo, fmt.hi),
                    random.randint(-3, 3),
                    (255 << shift) + random.randint(-3, 3 + (1 << shift)),
                    random.randint(0, 256 << shift),
                    1 << random.randrange(fmt.width - 1),  # one bit above the largest rate
                ]
            )
            charge = int(wrap(np.array(total - v), fmt))
            want = measure(wrap(np.array(charge + v), fmt), 0, shift=shift)
            await tb.feed({"charge": charge, "v": v}, (int(want),))
            n += 1
            if random.random() < 0.2:
                await tb.feed()
        await tb.drain()  # the shift is held until the last rate is compared
    await tb.finish(n)


@cocotb.test()
async def changes(dut: Any) -> None:
    tb = PipelineBench(dut, inputs=("rate", "before"), outputs=("changed",), latency=RateChange.latency)
    await tb.reset()
    n = 0
    seen = set()
    for tolerance in (0, 1, 15, 16, 127, 128, 254, 255, 256, 1 << 15, (1 << 16) - 1):
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
        await tb.drain()  # the tolerance is held until the last output is compared
    assert len(seen) == 18  # the largest change is 255
    await tb.finish(n)
