"""Bench for equilif_hdl.blocks.plasticity.Plasticity.

State space: weights at and near both rails and anywhere, rates 0, 255 and anywhere (``signed``: -128 to
127 too), every gain and shift, any dither. Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb

from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS, Step, dither, ep_update
from equilif_golden.fixed import Numerics
from equilif_sim.tools.pipeline import Pipeline, bits
from equilif_sim.tools.run import bench_config


def two_rates(signed: bool) -> list[int]:
    """Of one neuron, at +beta and at -beta."""
    lo, hi = random.choice([(0, 255), (-128, 127)]) if signed else (0, 255)
    return [random.choice([lo, hi, random.randint(lo, hi)]) for _ in range(2)]


@cocotb.test()
async def updates(dut: Any) -> None:
    config = bench_config()
    signed = config.pop("signed")
    latency = config.pop("latency")
    weight = Numerics(**config).weight
    ahead = int(latency > 2)  # um and vm before the product
    tb = Pipeline(
        dut,
        inputs=("um", "vm"),
        later={"product": ahead, "w": ahead + 1},
        outputs=("o",),
        latency=latency + ahead,
    )
    await tb.reset()
    n = 0
    for shift in SHIFTS:
        await tb.hold(shift=shift)
        for _ in range(800):
            gain = random.randint(0, GAIN_MAX)
            counter = random.getrandbits(18)
            w = random.choice(
                [
                    weight.lo,
                    weight.hi,
                    weight.lo + random.randint(0, 40),
                    weight.hi - random.randint(0, 40),
                    random.randint(weight.lo, weight.hi),
                ]
            )
            up, um = two_rates(signed)
            if random.random() < 0.3:
                gain = 1 << random.randrange(GAIN_MAX.bit_length())  # a single bit beyond the limit
            vp, vm = two_rates(signed)
            want = ep_update(
                [[w]], [up], [um], [vp], [vm], step=Step(gain, shift), counter=counter, weight=weight
            )[0, 0]
            product = gain * up * vp + (int(dither(counter, 0, 0)) & ((1 << shift) - 1))
            await tb.feed({"product": product, "um": -gain * um, "vm": vm, "w": w}, (bits(want, 16),))
            n += 1
            if random.random() < 0.2:
                await tb.feed()
        await tb.drain()
    await tb.finish(n)
