"""Bench for equilif_hdl.blocks.lif.Lif.

State space: sums over the range of the accumulator, dense around the threshold and both limits; every
threshold and leak.  Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb

from equilif_golden.blocks.lif import LEAKS, lif_step
from equilif_golden.engine.isa import THRESHOLD_MAX
from equilif_golden.fixed import Numerics
from equilif_hdl.blocks.lif import Lif
from equilif_sim.tools.pipeline import PipelineBench, bits
from equilif_sim.tools.run import bench_config


@cocotb.test()
async def sums(dut: Any) -> None:
    acc = Numerics(**bench_config()).accumulator
    tb = PipelineBench(dut, inputs=("total",), outputs=("v", "spike"), latency=Lif.latency)
    await tb.reset()
    n = 0
    for leak in LEAKS:
        for threshold in (1 << k for k in range(THRESHOLD_MAX.bit_length())):
            await tb.hold(threshold=threshold, neg_threshold=-threshold, leak=leak)
            edges = [k * threshold + d for k in (-2, -1, 0, 1, 2, 3) for d in (-1, 0, 1)]
            for _ in range(60):
                total = random.choice(
                    [
                        acc.lo,
                        acc.hi,
                        random.choice(edges),
                        random.choice(edges),
                        random.randint(acc.lo, acc.hi),
                        random.randint(-3 * threshold, 3 * threshold),
                        # one bit above the limit
                        1 << random.randrange(acc.width - 1),
                        ~(1 << random.randrange(acc.width - 1)),
                    ]
                )
                v, spike = lif_step(total, 0, threshold=threshold, leak=leak)
                await tb.feed({"total": total}, (bits(int(v), 16), int(spike)))
                n += 1
                if random.random() < 0.2:
                    await tb.feed()
            await tb.drain()  # constants are held until the last sum is compared
    await tb.finish(n)
