"""Bench for equilif_hdl.blocks.plasticity.Plasticity.

State space: weights at both limits, near them and random; rates 0, 255 and random (``signed``: also -128 to
127); every gain and shift, random dither, and updates next to a rounding step.  Stalls: random idle cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb

from equilif_golden.blocks.plasticity import (
    DITHER_MASK,
    DITHER_UPDATE,
    DITHER_WIDTH,
    GAIN_MAX,
    SHIFTS,
    Step,
    dither,
    ep_update,
)
from equilif_golden.fixed import Numerics
from equilif_sim.tools.pipeline import PipelineBench, bits
from equilif_sim.tools.run import bench_config


def two_rates(signed: bool) -> list[int]:
    """Rates of a neuron at +beta and at -beta."""
    lo, hi = random.choice([(0, 255), (-128, 127)]) if signed else (0, 255)
    return [random.choice([lo, hi, random.randint(lo, hi)]) for _ in range(2)]


def update_near(difference: int, shift: int, place: int = 0) -> int:
    """Number of an update whose dither completes the difference to a multiple of 2**shift, or 1 less, so that
    an error of the lowest bit changes the weight.  ``place``: dither of row and column.
    """
    low = random.choice([0, -1]) - difference - place & ((1 << shift) - 1)
    wanted = low | random.getrandbits(DITHER_WIDTH) << shift
    return wanted * pow(DITHER_UPDATE, -1, 1 << DITHER_WIDTH) & DITHER_MASK


@cocotb.test()
async def updates(dut: Any) -> None:
    config = bench_config()
    signed = config.pop("signed")
    latency = config.pop("latency")
    ahead = int(config.pop("multiplied"))  # cycles of um and vm before the product
    weight = Numerics(**config).weight
    tb = PipelineBench(
        dut,
        inputs=("um", "vm"),
        later={"product": ahead, "w": ahead + 2},
        outputs=("o",),
        latency=latency + ahead,
    )
    await tb.reset()
    n = 0
    for shift in SHIFTS:
        await tb.hold(shift=shift)
        for _ in range(800):
            gain = random.randint(0, GAIN_MAX)
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
            vp, vm = two_rates(signed)
            if random.random() < 0.3:  # one bit above the limit
                gain = 1 << random.randrange(GAIN_MAX.bit_length())
                power = -128 if signed else 128
                up, um, vp, vm = random.choice([(power, 0, power, 0), (0, power, 0, power), (up, um, vp, vm)])
            difference = gain * (up * vp - um * vm)
            counter = random.choice([random.getrandbits(18), update_near(difference, shift)])
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
