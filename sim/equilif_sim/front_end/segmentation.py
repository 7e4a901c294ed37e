"""Bench for equilif_hdl.front_end.segmentation.

State space: streams of random scenes: silence, hum that rises and falls, clicks, words of every length with
pauses of every length, words without a pause, overload, a microphone that is lost in a word and outside of
one.  Levels at and next to the present thresholds; lengths, pauses, trimmed ends and clipped frames at and
next to their limits.  Compares every word, and the bytes of the ring after it.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer, with_timeout

from equilif_golden.front_end.filter_bank import Frames
from equilif_golden.front_end.segmentation import (
    FLOOR_FRACTION,
    HANG,
    LONGEST,
    LOWEST,
    OFF,
    ON,
    PRE,
    RING,
    SHORTEST,
    TRIM,
    Segmentation,
    Verdict,
)
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import PERIOD_NS, drive, idle, reset

MAX_LATENCY = 9 * LONGEST + 12  #: cycles
BYTES = 3  #: bands that change from frame to frame
#: levels that are relative to a threshold of the present floor
RELATIVE = {-1: (OFF, -1), -2: (OFF, 0), -3: (ON, -1), -4: (ON, 0)}


def spoken(rng: np.random.Generator) -> tuple[Any, Any]:
    """Levels and clipped flags of a word, between pauses, sometimes after silence."""
    n = int(rng.choice([2, 3, SHORTEST - 1, SHORTEST, SHORTEST + 1, 16, int(rng.integers(9, 60))]))
    peak = int(rng.integers(LOWEST + TRIM, 256))
    body = rng.integers(peak - TRIM, peak + 1, n)
    body[rng.integers(n)] = peak
    ends = [
        rng.choice([-1, -2, peak - TRIM - 1, peak - TRIM], rng.choice([0, 0, 1, PRE + 1])) for _ in range(2)
    ]
    pauses = [
        np.full(n, -1) for n in (rng.choice([0, 0, 1, PRE, PRE + 2]), rng.choice([HANG - 1, HANG, HANG, 5]))
    ]
    silence = np.full(rng.choice([0, 0, 120]), rng.integers(LOWEST))  # the floor falls
    before = [silence, pauses[0], ends[0]]
    levels = np.concatenate([*before, body, ends[1], pauses[1]])
    clipped = np.zeros(len(levels), bool)
    overloads = min(n, int(rng.choice([0, n // 8, n // 8 + 1, n // 2])))
    first = sum(map(len, before))
    clipped[first + rng.choice(n, overloads, replace=False)] = True
    return levels, clipped


def scene(rng: np.random.Generator, kind: int) -> tuple[Any, Any, Any]:
    """Levels (see RELATIVE), clipped and stuck flags of some frames."""
    pause, short_pause = [-1] * HANG, [-1] * (HANG - 1)
    levels: Any = None
    if kind == 0:
        levels = np.linspace(0, rng.integers(60, 200), rng.integers(10, 100)).astype(int)
    elif kind == 1:
        levels = rng.choice([*RELATIVE, -4, -4], rng.integers(1, 60))
    elif kind == 2:
        long = rng.integers(150, 256, LONGEST + rng.integers(-12, 4))
        levels = np.concatenate([long, short_pause, [250] * 4, pause, [250] * 12, pause])
    elif kind == 3:
        levels = np.array([*pause, *[200] * 12, *short_pause, *[250] * 4, *pause])
    elif kind in (4, 5):
        levels = np.array([*pause, *[200] * (12 + kind), *pause])
    if levels is None:
        levels, clipped = spoken(rng)
    else:
        clipped = np.zeros(len(levels), bool)
    stuck = rng.random(len(levels)) < rng.choice([0, 0, 0, 0.03])
    if kind in (3, 4, 5):
        at = np.arange(len(levels))
        stuck = (kind == 3) & (at == HANG + 11)  # the last frame of a word
        clipped = (kind != 3) & (at >= HANG + 5) & (at < HANG + 7)  # an eighth of 16 frames, less of 17
    return levels, clipped, stuck


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def words(dut: Any) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    await reset(dut, "i_valid", "band", "code", "frame", "clipped", "stuck", "read", "index")
    scenes = [scene(rng, k % 16) for k in range(bench_config()["scenes"])]
    levels, clipped, stuck = map(np.concatenate, zip(*scenes, strict=True))
    below = rng.integers(0, rng.choice([16, 256], (len(levels), 1)), (len(levels), BYTES))
    codes = np.zeros_like(below)
    golden = Segmentation()
    ring = np.zeros((RING, BYTES), int)
    seen = set()
    for n in range(len(levels)):
        level = levels[n]
        if level < 0:
            threshold, offset = RELATIVE[level]
            level = min(255, max((golden.floor >> FLOOR_FRACTION) + threshold, LOWEST) + offset)
        codes[n] = np.maximum(level - below[n], 0)
        codes[n, rng.integers(BYTES)] = level
        for band in rng.permutation(BYTES):
            drive(dut, i_valid=1, band=int(band), code=int(codes[n, band]))
            await RisingEdge(dut.clk)
        drive(
            dut, i_valid=0, code=random.getrandbits(8), frame=1, clipped=int(clipped[n]), stuck=int(stuck[n])
        )
        await RisingEdge(dut.clk)
        drive(dut, frame=0, clipped=random.getrandbits(1), stuck=random.getrandbits(1))
        ring[n % RING] = codes[n]
        found = golden.feed(Frames(codes[n : n + 1], clipped[n : n + 1], stuck[n : n + 1]))
        if not found:
            await idle(dut, 8)
            assert not int(dut.word.value)
            assert int(dut.in_word.value) == (golden.state == 1)
            continue
        await with_timeout(RisingEdge(dut.word), MAX_LATENCY * PERIOD_NS, "ns")
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
