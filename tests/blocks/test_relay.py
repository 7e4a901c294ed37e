"""Relay (signed 8-bit values): every 12-bit drive at every shift, and drives beyond the clip."""

from __future__ import annotations

import numpy as np
import pytest

from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.relay import SHIFTS, query_shift, relay, retrieval, retrieval_shift
from equilif_golden.blocks.softmax import C_MIN
from equilif_golden.fixed import DEFAULT
from equilif_hdl.blocks.relay import Relay
from equilif_sim.tools.run import simulate


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_drive(shift):
    edges = np.array(
        [-(2**25), 2**25 - 1, (-128 << shift) - 1, -128 << shift, (128 << shift) - 1, 128 << shift]
    )
    drive = np.concatenate([np.arange(-2048, 2048), edges])
    assert relay(drive, shift=shift).tolist() == [min(max(int(z) // 2**shift, -128), 127) for z in drive]


@pytest.mark.parametrize("fraction", range(8, 14))
def test_query_scale(fraction):
    """Within one code, below: 1.0 is 128 codes and saturates."""
    real = np.linspace(-1, 127 / 128, 999)
    codes = relay(np.floor(real * 2**fraction).astype(int), shift=query_shift(fraction))
    assert ((codes <= 128 * real) & (128 * real < codes + 1 + 128 / 2**fraction)).all()
    assert relay([1 << fraction, -2 << fraction], shift=query_shift(fraction)).tolist() == [127, -128]


@pytest.mark.parametrize("gain", [0, 1, 2])
@pytest.mark.parametrize("fraction", [9, 12, 13])
def test_retrieval_is_mean_of_patterns(fraction, gain):
    """Values equal 2**gain X^T p for any shared exponent, within one code of the relay and n rounded
    products.
    """
    rng = np.random.default_rng(fraction)
    for c in range(C_MIN, C_MIN + 8):
        if retrieval_shift(fraction, gain) + c < C_MIN:
            continue
        n = 2 ** (c - C_MIN) * 3
        codes = rng.integers(0, 2**C_MIN * 2 // 3 // 2, n)
        x = rng.integers(-(1 << fraction), 1 << fraction, (n, 5)) >> gain
        values = retrieval(syn.forward_values(x, codes), np.array(c), fraction=fraction, gain=gain)
        exact = 128 * 2**gain * (codes / 2**c) @ (x / 2**fraction)
        floors = 1 + n * 128 * 2**gain * 256 / 2**c / 2**fraction
        inside = (exact > -128) & (exact < 127)
        assert inside.any() and ((values <= exact + 1e-9) & (exact - values < floors))[inside].all()


def test_retrieval_of_one_pattern():
    """Exact for 8-bit patterns: p = 1 is the code 128 at c = 7."""
    x = np.arange(-128, 128)[None] << 5
    drive = syn.forward_values(x, np.array([128]))
    assert retrieval(drive, np.array(C_MIN), fraction=12, gain=0).tolist() == list(range(-128, 128))
    assert (
        retrieval(drive[None], np.array([C_MIN]), fraction=12, gain=1)[0].tolist()
        == np.clip(2 * np.arange(-128, 128), -128, 127).tolist()
    )
    assert retrieval(2 * drive, np.array(C_MIN + 1), fraction=12, gain=0).tolist() == list(range(-128, 128))


# -- RTL: equals the golden function, exactly, under stalls; its bench counts cycles ---------------
def test_rtl(tmp_path):
    assert simulate(Relay(DEFAULT), "equilif_sim.blocks.relay", tmp_path, config=DEFAULT, simulator="icarus")
