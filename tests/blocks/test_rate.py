"""Rate measurement and nudge against real arithmetic, with derived bounds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from equilif_golden.blocks.lif import lif_step
from equilif_golden.blocks.nudge import nudge
from equilif_golden.blocks.rate import measure, rate_shift
from equilif_golden.fixed import DEFAULT
from equilif_hdl.blocks.rate import Measure
from equilif_sim.tools.run import simulate

THRESHOLD, WINDOW = 256, 8


@pytest.mark.parametrize("threshold, window", [(128, 8), (1024, 1), (4096, 8), (4096, 32)])
def test_rate_is_the_real_quotient_rounded_down(threshold, window):
    """0 <= (charge + v) / (threshold x window) - rate/256 < 1/256 wherever the quotient lies in [0, 1);
    clipped outside.

    256 = 2**8, and threshold x window = 2**(8 + shift), so the only error is the floor of one shift.
    """
    scale = threshold * window
    total = np.unique(
        np.r_[
            np.linspace(-2 * scale, 3 * scale, 4001).astype(int), 0, -1, scale - 1, scale, scale * 255 // 256
        ]
    )
    rate = measure(total - 7, np.full_like(total, 7), shift=rate_shift(threshold, window))
    error = [Fraction(int(t), scale) - Fraction(int(r), 256) for t, r in zip(total, rate, strict=True)]
    inside = (total >= 0) & (total < scale)
    assert all(0 <= e < Fraction(1, 256) for e, i in zip(error, inside, strict=True) if i)
    assert (
        (rate[total < 0] == 0).all() and (rate[total >= scale] == 255).all() and 0 < inside.sum() < len(total)
    )


@pytest.mark.parametrize("threshold, window", [(100, 8), (64, 8), (512, 3), (0, 8), (4096, 64)])
def test_rate_shift_needs_a_power_of_two(threshold, window):
    with pytest.raises(ValueError, match=f"{threshold} x {window}"):
        rate_shift(threshold, window)


def test_rate_of_constant_drive():
    """Every drive in 0..threshold-1 from every starting membrane: rate = floor(256 drive / threshold),
    exactly.

    From v in [0, threshold), v + drive stays below 2 threshold, so nothing is clipped and the charge is
    conserved: charge + v_end = window x drive.  The spike count alone would be off by up to a whole
    1/window.
    """
    drive, v = np.meshgrid(np.arange(THRESHOLD), np.arange(THRESHOLD))
    charge, count = -v, np.zeros_like(v)
    for _ in range(WINDOW):
        v, spike = lif_step(v, drive, threshold=THRESHOLD, leak=0)
        charge, count = charge + THRESHOLD * spike, count + spike
    rate = measure(charge, v, shift=rate_shift(THRESHOLD, WINDOW))
    assert (rate == drive * 256 // THRESHOLD).all()
    assert np.abs(count / WINDOW - drive / THRESHOLD).max() > 0.9 / WINDOW


@pytest.mark.parametrize("drive", [-3 * THRESHOLD, -1, 0, THRESHOLD, 3 * THRESHOLD])
def test_drive_is_clipped(drive):
    v, charge = np.array(THRESHOLD // 2), np.array(0)
    for t in range(24):
        if t == 24 - WINDOW:
            charge = -v
        v, spike = lif_step(v, drive, threshold=THRESHOLD, leak=0)
        charge = charge + THRESHOLD * spike
    assert measure(charge, v, shift=rate_shift(THRESHOLD, WINDOW)) == (0 if drive <= 0 else 255)


@pytest.mark.parametrize("strength", [1, 77, 2048, 4096, -1, -77, -2048, -4096])
def test_nudge_is_beta_times_the_error(strength):
    """strength (y/256 - spike), with the target's product rounded down: 0 <= error < 1 raw unit."""
    y, spike = np.meshgrid(np.arange(256), [0, 1])
    for got, a, s in zip(nudge(y, spike, strength=strength).flat, y.flat, spike.flat, strict=True):
        assert 0 <= strength * (Fraction(int(a), 256) - int(s)) - int(got) < 1


def test_nudge_is_zero():
    """Padding lanes have target 0 and no spikes: no strength may drive them."""
    assert all(nudge(0, 0, strength=s) == 0 for s in (-4096, -1, 1, 4096))


# -- RTL: equals the golden function, exactly, under stalls; its bench counts cycles ---------------
def test_rtl_of_measure(tmp_path):
    bench = "equilif_sim.blocks.rate"
    assert simulate(Measure(DEFAULT), bench, tmp_path, config=DEFAULT, simulator="icarus", only="rates")
