"""Leaky integrate-and-fire neuron (Bal & Sengupta, ISCAS 2024, eq. 1, with reset by subtraction).

    u  = clip(v + drive, -threshold, 2 threshold)
    s  = u >= threshold
    u' = u - s threshold
    v' = u' - (u' >> leak)          leak in 2 .. 5, or 0 for no leak

The floor at ``-threshold`` lets a silent neuron recover within a step or two of drive.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, integers, shift_right_floor

LEAKS = (0, 2, 3, 4, 5)


def lif_step(v: npt.ArrayLike, drive: npt.ArrayLike, *, threshold: int, leak: int) -> tuple[Raw, Raw]:
    """One time step on raw membranes of any shape; returns (membrane, spike in 0/1)."""
    u = np.clip(integers(v, "membranes") + integers(drive, "drive"), -threshold, 2 * threshold)
    spike = (u >= threshold).astype(np.int64)
    u = u - threshold * spike
    if leak:
        u = u - shift_right_floor(u, leak)
    return u, spike
