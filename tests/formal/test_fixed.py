"""Primitives of equilif_hdl.fixed, for all inputs."""

from __future__ import annotations

import pytest
from amaranth import Array, Cat, Const, Signal, signed
from amaranth.hdl import Value

from equilif_golden import fixed as golden
from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_ROW, DITHER_WIDTH, GAIN_WIDTH
from equilif_golden.fixed import SQ
from equilif_hdl.fixed import (
    at_least,
    butterfly,
    lowest_set,
    popcount,
    saturate,
    times_index,
    times_small,
    total,
)
from tests.formal.prove import Proof, agree, clipped, needs_prover

pytestmark = needs_prover
FIXED = "equilif_hdl.fixed"
#: widths of the widest accumulator and of a product
WIDEST = 34
#: widths of weights, values and intermediate results
WIDTHS = (4, 8, 10, 12, 16, 18, 20)


def test_clipping_equals_golden():
    for width in (4, 7, 12):
        fmt = SQ(width, 0)
        cases = [{"value": v} for v in range(-(1 << 12), 1 << 12)]
        done = agree(
            lambda value, fmt=fmt: [clipped(value, fmt.lo, fmt.hi)],
            {"value": signed(13)},
            lambda value, fmt=fmt: [golden.saturate(value, fmt)],
            cases,
        )
        assert done == len(cases)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("width", WIDTHS)
def test_saturate(width):
    """From one additional bit, several, and the maximum."""
    p = Proof("saturate = clip", FIXED)
    value = p.any(signed(WIDEST), "value")
    fmt = SQ(width, 0)
    for wide in {width, width + 1, width + 2, width + 6, WIDEST - 1, WIDEST}:
        narrow = Signal(signed(WIDEST), name=f"narrow{wide}")
        p.m.d.comb += narrow.eq(value[:wide].as_signed())
        want = clipped(narrow, fmt.lo, fmt.hi)
        p.claim(f"{wide} to {width}", saturate(value[:wide].as_signed(), width) == want)
    p.cover("saturates upwards", (saturate(value, 16) == 32767) & (value > 32767))
    p.cover("saturates downwards", (saturate(value, 16) == -32768) & (value < -32768))
    p.cover("fits", (saturate(value, 16) == value) & (value < 0))
    p.always()


def test_at_least():
    p = Proof("at_least = comparison", FIXED)
    value = p.any(5, "value")
    for least in range(32):
        p.claim(f"{least}", at_least(value, least) == (value >= least))
        p.claim(f"{least % 4} of two bits", at_least(value[:2], least % 4) == (value[:2] >= least % 4))
    p.cover("less", ~at_least(value, 17) & (value == 16))
    p.always()


def test_total_and_popcount():
    p = Proof("total = sum, popcount = number of bits set", FIXED)
    bits = p.any(16, "bits")
    items = [p.any(signed(6), f"item{k}") for k in range(5)]
    for n in range(1, 17):
        chain: Value = Const(0, 5)
        for bit in bits[:n]:
            chain = (chain + bit)[:5]
        p.claim(f"popcount of {n}", popcount(bits[:n]) == chain)
    for n in range(1, 6):
        exact = Signal(signed(10), name=f"sum{n}")
        chain = Const(0, signed(10))
        for item in items[:n]:
            chain = (chain + item)[:10].as_signed()
        p.m.d.comb += exact.eq(chain)
        p.claim(f"total of {n}", total(items[:n]) == exact)
    p.cover("all bits", popcount(bits) == 16)
    p.cover("a negative sum", total(items) == -160)
    p.always()


def test_times_small():
    """Gains of the learning rule for unsigned rates and signed values."""
    p = Proof("times_small = product", FIXED)
    gain = p.any(GAIN_WIDTH, "gain")
    plain = p.any(8, "plain")
    either = p.any(signed(9), "either")
    p.claim("unsigned", times_small(plain, gain) == plain * gain)
    p.claim("signed", times_small(either, gain) == either * gain)
    p.cover("largest", times_small(plain, gain) == 255 * 31)
    p.cover("smallest", times_small(either, gain) == -256 * 31)
    p.always()


def test_times_index():
    p = Proof("times_index = product modulo the width", FIXED)
    index = p.any(4, "index")
    for constant in (DITHER_ROW, DITHER_COLUMN):
        for bits in range(1, 5):
            product = (index[:bits] * constant)[:DITHER_WIDTH]
            p.claim(f"{constant} x {bits} bits", times_index(index[:bits], constant, DITHER_WIDTH) == product)
    p.cover("wraps", times_index(index, DITHER_ROW, DITHER_WIDTH) == 15 * DITHER_ROW % (1 << DITHER_WIDTH))
    p.always()


def test_lowest_set():
    p = Proof("lowest_set = index of the lowest bit that is set", FIXED)
    mask = p.any(16, "mask")
    for n in range(1, 17):
        some = mask[:n]
        at = lowest_set(some)
        right = [some[k] & ~some[:k].any() & (at == k) for k in range(n)]
        p.claim(f"of {n}", (some == 0) | Cat(right).any())
    p.cover("the last one", (mask != 0) & (lowest_set(mask) == 15))
    p.always()


def test_exchange():
    """In one go, and in two halves as a deep pipeline has it."""
    p = Proof("butterfly = word j comes from j ^ index", FIXED)
    for lanes in (4, 8, 16):
        words = [p.any(2, f"word{lanes}_{k}") for k in range(lanes)]
        levels = lanes.bit_length() - 1
        across = p.any(levels, f"across{lanes}")
        whole = butterfly(p.m, words, across, f"whole{lanes}")
        half = levels // 2
        halves = butterfly(p.m, words, across[:half], f"low{lanes}")
        halves = butterfly(p.m, halves, across[half:], f"high{lanes}", half)
        for j in range(lanes):
            want = Array(words[j ^ k] for k in range(lanes))[across]
            p.claim(f"{j} of {lanes}", (whole[j] == want) & (halves[j] == want))
        p.cover(f"{lanes}, by all but one", (across == lanes - 1) & (whole[0] == 3) & (words[0] == 0))
    p.always()
