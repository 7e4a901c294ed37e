"""Bench for equilif_hdl.blocks.relay.Relay.

State space: drives over the whole accumulator, dense around both clips at every shift and small; every
shift a retrieval can have.  Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb

from equilif_golden.blocks.relay import relay
from equilif_golden.fixed import Numerics
from equilif_hdl.blocks.relay import Relay
from equilif_sim.tools.pipeline import PipelineBench, bits
from equilif_sim.tools.run import bench_config


@cocotb.test()
async def values(dut: Any) -> None:
    acc = Numerics(**bench_config()).accumulator
    tb = PipelineBench(dut, inputs=("drive",), outputs=("value",), latency=Relay.latency)
    await tb.reset()
    n = 0
    for shift in range(1, 33):
        await tb.hold(shift_minus_1=shift - 1)
        edges = [
            max(acc.lo, min(acc.hi, (k << shift) + d))
            for k in (-129, -128, -127, -1, 0, 1, 127, 128)
            for d in (-1, 0, 1)
        ]
        for _ in range(300):
            drive = random.choice(
                [
                    acc.lo,
                    acc.hi,
                    *random.choices(edges, k=2),
                    random.randint(acc.lo, acc.hi),
                    random.randint(-300, 300),
                    # one bit above the limit
                    random.choice((-1, 1)) * (1 << random.randrange(acc.width - 1)),
                    ~(1 << random.randrange(acc.width - 1)),
                ]
            )
            await tb.feed({"drive": drive}, (bits(int(relay(drive, shift=shift)), 8),))
            n += 1
            if random.random() < 0.2:
                await tb.feed()
        await tb.drain()  # the shift is held until the last value is compared
    await tb.finish(n)
