"""LIF neuron: every membrane in [-threshold, threshold), drives beyond both clips, every leak."""

from __future__ import annotations

import math

import numpy as np
import pytest

from equilif_golden.blocks.lif import LEAKS, lif_step
from equilif_golden.fixed import DEFAULT
from equilif_hdl.blocks.lif import Lif
from equilif_sim.tools.run import simulate

THRESHOLD = 64


def scalar_step(v: int, drive: int, leak: int) -> tuple[int, int]:
    """The equations of the docstring in Python integers."""
    u = min(max(v + drive, -THRESHOLD), 2 * THRESHOLD)
    spike = int(u >= THRESHOLD)
    u -= spike * THRESHOLD
    return (u - math.floor(u / 2**leak) if leak else u), spike


@pytest.mark.parametrize("leak", LEAKS)
def test_every_state_and_drive(leak):
    v, drive = np.meshgrid(np.arange(-THRESHOLD, THRESHOLD + 1), np.arange(-4 * THRESHOLD, 4 * THRESHOLD + 1))
    after, spike = lif_step(v, drive, threshold=THRESHOLD, leak=leak)
    expected = [scalar_step(int(a), int(b), leak) for a, b in zip(v.flat, drive.flat, strict=True)]
    assert after.ravel().tolist() == [e[0] for e in expected] and spike.ravel().tolist() == [
        e[1] for e in expected
    ]
    assert after.min() >= -THRESHOLD and after.max() <= THRESHOLD, (
        "the next step must find the membrane within its range"
    )


def test_charge_is_conserved_unless_clipped():
    """Without leak: v' + threshold x spike - v = drive, exactly, while v + drive is inside the clips."""
    v, drive = np.meshgrid(np.arange(-THRESHOLD, THRESHOLD), np.arange(-2 * THRESHOLD, 2 * THRESHOLD))
    after, spike = lif_step(v, drive, threshold=THRESHOLD, leak=0)
    inside = (v + drive >= -THRESHOLD) & (v + drive <= 2 * THRESHOLD)
    assert ((after + THRESHOLD * spike - v == drive) == inside).all() and inside.any() and not inside.all()


def test_recovery_from_lowest_membrane():
    v, _ = lif_step(0, -100 * THRESHOLD, threshold=THRESHOLD, leak=0)
    v, first = lif_step(v, THRESHOLD, threshold=THRESHOLD, leak=0)
    _, second = lif_step(v, THRESHOLD, threshold=THRESHOLD, leak=0)
    assert (first, second) == (0, 1)


# -- RTL equals the golden function under stalls; the bench checks cycles ------ -------------------
def test_rtl(tmp_path):
    assert simulate(Lif(DEFAULT), "equilif_sim.blocks.lif", tmp_path, config=DEFAULT, simulator="icarus")
