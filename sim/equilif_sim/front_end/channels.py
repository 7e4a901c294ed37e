"""Bench for equilif_hdl.front_end.channels.

State space: constant windows whose steps, and so their energies, are all powers of two; noise of every scale
for a few windows each, with noise of full scale, constants at both ends of the range and steps in half of
them; windows at both ends of the range in turn; samples at the minimum distance and at random ones.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.front_end.channels import Channels
from equilif_golden.front_end.pdm import HI, LO
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import drive, idle, reset

SAMPLES = 25  #: of the network
WINDOWS = 2  #: of a scale


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def windows(dut: Any) -> None:
    config = bench_config()
    rng = np.random.default_rng(random.getrandbits(32))
    await reset(dut, "valid", "sample")
    n = SAMPLES * config["windows"] << config["window"]
    shape = (n, config["channels"])
    noise = rng.integers(LO, HI + 1, shape)
    scales = np.resize(rng.permutation(17), (n, 1))
    scale = np.repeat(scales, WINDOWS << config["window"], axis=0)[:n]
    parts = [noise >> scale, noise, np.where(noise < 0, LO, HI), np.full(shape, LO)]
    some = np.repeat(rng.integers(0, 4, (n, 1)), 4, axis=0)[:n]
    steps = np.cumsum([5000, *((-2) ** k for k in range(16))]).repeat(1 << config["window"])
    ramps = np.outer(steps, np.resize([1, -1], shape[1]))
    ends = np.repeat([[LO], [HI]], 1 << config["window"], axis=0).repeat(shape[1], axis=1)
    x = np.concatenate([ramps, ends, np.choose(some * (scale % 2), parts)])[:n]
    score = Scoreboard()
    golden = Channels(**config).feed(x)
    assert golden.max() == 255, "no energy beyond the codes"
    for sample in golden:
        for index, value in enumerate(sample):
            score.expect((index, int(value)))
    done = 0

    async def watched() -> None:
        while True:
            await RisingEdge(dut.clk)
            await ReadOnly()
            if not dut.o_valid.value:
                continue
            score.actual((int(dut.index.value), int(dut.value.value)))

    async def counted() -> None:
        nonlocal done
        while True:
            await RisingEdge(dut.done)
            done += 1
            assert score.compared == done * golden.shape[1]

    cocotb.start_soon(watched())
    cocotb.start_soon(counted())
    for row, samples in enumerate(x, 1):
        ends = row % (1 << config["window"]) == 0
        for channel, sample in enumerate(samples, 1):
            drive(dut, valid=1, sample=int(sample))
            await RisingEdge(dut.clk)
            drive(dut, valid=0, sample=random.getrandbits(16))
            gap = 3 + 7 * config["channels"] * (ends and channel == config["channels"])
            await idle(dut, gap if random.random() < 0.8 else gap + random.randrange(20))
    await idle(dut, 5)
    score.finish(golden.size)
    assert done == SAMPLES
