"""Bench for equilif_hdl.front_end.filter_bank.

State space: silence, noise of a few units from the first sums on, of a few hundred and of full scale, steps
between the ends of the range, a tone in the middle of a band, constants; hops in which one sample, the first,
the last or another one, differs, is at an end of the range or next to it; samples at the minimum distance and
at random ones.  Compares every code and both flags of every frame, and the latency.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.front_end.filter_bank import BANDS, HOP, FilterBank
from equilif_golden.front_end.pdm import HI, LO
from equilif_hdl.front_end.filter_bank import MIN_CYCLES
from equilif_sim.tools.run import bench_config, cases
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import drive, idle, now, reset


def sound(rng: np.random.Generator, hop: int) -> Any:
    """Hops of all cases."""
    t = np.arange(hop)
    first, middle, last = t == 0, t == hop // 2, t == hop - 1
    hops = [
        np.zeros(hop),
        # noise of a few units has sums near 0 in short hops, that of a few hundred shows the lowest bit of a
        # coefficient
        *(
            rng.integers(low, high, hop)
            for low, high in ((-2, 3), (-300, 301), (LO, HI + 1))
            for _ in range(1 if hop == HOP else cases(24))
        ),
        np.where(t // max(1, hop // 12) % 2, LO, HI),
        np.full(hop, LO + 1),
        np.where(first, HI - 1, LO + 1),
        np.where(last, HI - 1, LO + 1),
        *(np.where(at, end, -1234) for at, end in ((first, LO), (middle, HI), (last, LO))),
        *(np.full(hop, -1234) for _ in range(2)),
    ]
    if hop == HOP:
        hops.append(20000 * np.sin(2 * np.pi * 1033 / 16000 * t))
    return np.concatenate(hops).astype(np.int64)


@cocotb.test(timeout_time=30, timeout_unit="ms")
async def frames(dut: Any) -> None:
    hop, offset = bench_config()["hop"], bench_config()["offset"]
    await reset(dut, "valid", "sample")
    samples = sound(np.random.default_rng(random.getrandbits(32)), hop)
    want = FilterBank(hop, offset).feed(samples)
    codes = Scoreboard()
    flags = Scoreboard()
    for frame in range(len(want.codes)):
        for band in range(BANDS):
            codes.expect((band, int(want.codes[frame, band])))
        flags.expect((bool(want.clipped[frame]), bool(want.stuck[frame])))
    assert want.stuck.any() and want.clipped.any() and want.codes.min() == 0

    ends: list[int] = []

    async def watched_codes() -> None:
        while True:
            await RisingEdge(dut.o_valid)
            await ReadOnly()
            codes.actual((int(dut.band.value), int(dut.code.value)))

    async def watched_flags() -> None:
        while True:
            await RisingEdge(dut.frame)
            await ReadOnly()
            flags.actual((bool(dut.clipped.value), bool(dut.stuck.value)))
            ends.append(now())

    cocotb.start_soon(watched_codes())
    cocotb.start_soon(watched_flags())
    starts = []
    for n, sample in enumerate(samples, 1):
        drive(dut, sample=int(sample), valid=1)
        if n % hop == 0:
            starts.append(now())
        await RisingEdge(dut.clk)
        drive(dut, sample=random.getrandbits(16), valid=0)
        cycles = MIN_CYCLES - 1 + (random.random() < 0.02) * random.randrange(40)
        await idle(dut, cycles)
    await idle(dut, 20)
    codes.finish(want.codes.size)
    flags.finish(len(want.codes))
    latencies = {end - start for start, end in zip(starts, ends, strict=True)}
    assert latencies == {MIN_CYCLES + 5}, latencies
