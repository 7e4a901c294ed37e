"""Bench for equilif_hdl.front_end.tokens.

State space: words of the shortest and of the longest length, of each number of tokens and of lengths around
the largest one, at any place in the ring; random codes, some of them near the peak, others far below;
scalings at both ends of their ranges; a ring that answers late, or at once: then the word takes its exact
cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.segmentation import LONGEST, RING, SHORTEST
from equilif_golden.front_end.tokens import MAX_SCALE, POSITIONS, TOKENS, Scaling
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_sim.tools.run import cases, is_thorough
from equilif_sim.tools.stream import drive, now, reset

LENGTHS = (SHORTEST, TOKENS - 1, TOKENS, TOKENS + 1, LONGEST)
#: of a thorough bench: each number of tokens, and lengths that are no multiple of a power of two
MORE = (*range(SHORTEST + 1, TOKENS - 1), *range(TOKENS + 2, LONGEST, 17))


def cycles(frames: int) -> int:
    """From ``start`` to ``done``, if ring and scalings answer in the next cycle."""
    tokens = min(frames, TOKENS)
    band = 2 + 3 * frames + 9 * tokens
    position = 1 + 3 + 2 + POSITIONS + 1
    subtractions = (2 * tokens - 1) * (POSITIONS - 1) // (2 * tokens)  # of all positions
    return BANDS * band + tokens * position + subtractions


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def words(dut: Any) -> None:
    rng = np.random.default_rng(random.getrandbits(32))
    await reset(dut, "start", "first", "frames", "peak", "granted", "data", "scaled", "center", "scale")
    more = MORE if is_thorough() else ()
    for k, n in enumerate((*LENGTHS, *more, *rng.integers(SHORTEST, LONGEST + 1, cases(3)))):
        is_late = k % 2 > 0
        codes = rng.integers(0, rng.choice([40, 256]), (n, BANDS))
        center = rng.integers(0, 4096, BANDS)
        scale = rng.integers(1, MAX_SCALE + 1, BANDS)
        center[0], scale[0], center[1], scale[1] = 0, MAX_SCALE, 4080, 1
        first = int(rng.integers(RING))
        ring = np.zeros((RING, FRAME_BYTES), int)
        ring[(first + np.arange(n)) % RING, :BANDS] = codes
        content = ring.ravel()
        want = Scaling(center, scale).tokens(codes)
        got = np.full(want.shape, 999)
        drive(dut, first=first, frames=n, peak=int(codes.max()))
        await RisingEdge(dut.clk)
        drive(dut, start=1)
        await RisingEdge(dut.clk)
        drive(dut, start=0, granted=1)
        begin = now()
        count = 0
        read = 0  # of the ring, in the next cycle
        while True:
            await ReadOnly()
            granted = int(dut.granted.value)
            index = int(dut.index.value)
            request = int(dut.request.value)
            band = int(dut.band.value)
            reading = int(dut.read.value)
            if dut.valid.value:
                at = int(dut.row.value), int(dut.column.value)
                assert got[at] == 999, at
                got[at] = dut.value.value.to_signed()
                count += 1
            if dut.done.value:
                break
            await RisingEdge(dut.clk)
            drive(dut, data=read)
            read = int(content[index]) if granted and reading else random.getrandbits(8)
            drive(dut, granted=not is_late or random.random() < 0.7)
            if request:
                drive(
                    dut, scaled=not is_late or random.random() < 0.5, center=center[band], scale=scale[band]
                )
            else:
                drive(dut, scaled=0)
        assert (got == want).all(), np.argwhere(got != want)[:4]
        assert count == want.size
        assert int(dut.count.value) == len(want)
        assert is_late or now() - begin == cycles(n), (n, now() - begin, cycles(n))
        await RisingEdge(dut.clk)
