"""Bench for equilif_hdl.blocks.rate.Measure.

State space: charge and membrane over the whole charge format, sums near 0 and near the largest rate;
every shift.  Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np

from equilif_golden.blocks.rate import RATE_SHIFTS, measure
from equilif_golden.engine.model import wrap
from equilif_golden.fixed import Numerics
from equilif_hdl.blocks.rate import Measure
from equilif_sim.tools.pipeline import Pipeline
from equilif_sim.tools.run import bench_config


@cocotb.test()
async def rates(dut: Any) -> None:
    fmt = Numerics(**bench_config()).charge
    tb = Pipeline(dut, inputs=("charge", "v"), outputs=("rate",), latency=Measure.latency)
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
                ]
            )
            charge = int(wrap(np.array(total - v), fmt))
            want = measure(wrap(np.array(charge + v), fmt), 0, shift=shift)
            await tb.feed({"charge": charge, "v": v}, (int(want),))
            n += 1
            if random.random() < 0.2:
                await tb.feed()
        await tb.drain()  # the shift holds until the last rate is out
    await tb.finish(n)
