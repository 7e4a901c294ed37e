"""Bench for equilif_hdl.front_end.segmentation.

State space: streams of random scenes: silence, hum that rises and falls, clicks, words of every length with
pauses of every length, words without a pause, overload, a microphone that is lost in a word and outside of
one; levels near the thresholds.  Compares every word, and the bytes of the ring after it.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from equilif_golden.front_end.filter_bank import Frames
from equilif_golden.front_end.segmentation import HANG, LONGEST, RING, Segmentation, Verdict
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, idle, reset

BYTES = 3  #: bands that change from frame to frame


def scene(rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Levels, clipped and stuck flags of some frames."""
    kind = rng.integers(8)
    quiet = rng.integers(0, 60, rng.integers(1, 2 * HANG))
    loud = rng.integers(90, 256, rng.integers(1, 60))
    if kind == 0:
        levels = np.linspace(0, rng.integers(60, 200), rng.integers(10, 200)).astype(int)
    elif kind == 1:
        levels = rng.integers(50, 100, rng.integers(1, 100))  # near the thresholds
    elif kind == 2:
        levels = rng.integers(150, 256, LONGEST + rng.integers(-12, 13))
    else:
        levels = np.concatenate([quiet, loud, quiet[: rng.integers(len(quiet) + 1)]])
    clipped = (rng.random(len(levels)) < rng.choice([0, 0, 0.1, 0.3])) & (levels > 80)
    stuck = rng.random(len(levels)) < rng.choice([0, 0, 0, 0.02])
    return levels, clipped, stuck


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def words(dut: Any) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    await reset(dut, "i_valid", "band", "code", "frame", "clipped", "stuck", "read", "index")
    scenes = [scene(rng) for _ in range(bench_config()["scenes"])]
    levels, clipped, stuck = map(np.concatenate, zip(*scenes, strict=True))
    codes = rng.integers(0, 60, (len(levels), BYTES))
    codes[np.arange(len(levels)), rng.integers(0, BYTES, len(levels))] = levels
    golden = Segmentation()
    ring = np.zeros((RING, BYTES), int)
    seen = set()
    for n in range(len(levels)):
        for band in rng.permutation(BYTES):
            drive(dut, i_valid=1, band=int(band), code=int(codes[n, band]))
            await RisingEdge(dut.clk)
        drive(dut, i_valid=0, frame=1, clipped=int(clipped[n]), stuck=int(stuck[n]))
        await RisingEdge(dut.clk)
        drive(dut, frame=0, clipped=random.getrandbits(1), stuck=random.getrandbits(1))
        ring[n % RING] = codes[n]
        found = golden.feed(Frames(codes[n : n + 1], clipped[n : n + 1], stuck[n : n + 1]))
        if not found:
            await idle(dut, 8)
            assert not int(dut.word.value)
            assert int(dut.in_word.value) == (golden.state == 1)
            continue
        await RisingEdge(dut.word)
        (word,) = found
        seen.add(word.verdict)
        got = tuple(int(getattr(dut, name).value) for name in ("first", "last", "peak", "verdict"))
        assert got == (word.first % RING, word.last % RING, word.peak, word.verdict), word
        await compared(dut, ring, random.randrange(word.first, word.last + 1) % RING)
    assert seen == set(Verdict)


async def compared(dut: Any, ring: Any, frame: int) -> None:
    """Read the bytes of a frame that have changed."""
    for band in range(BYTES):
        drive(dut, read=1, index=frame * FRAME_BYTES + band)
        await Timer(1, unit="ns")
        while not int(dut.granted.value):
            await RisingEdge(dut.clk)
            await Timer(1, unit="ns")
        await RisingEdge(dut.clk)
        drive(dut, read=0)
        await RisingEdge(dut.clk)
        await Timer(1, unit="ns")
        assert int(dut.data.value) == ring[frame, band], (frame, band)
        await RisingEdge(dut.clk)
