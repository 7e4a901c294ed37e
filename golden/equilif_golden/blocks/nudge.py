"""The nudge that pulls an output population towards its target: the force of  -beta/2 |y - s|^2.

    drive += ((beta threshold * y) >> 8)  -  beta threshold * spike_prev          y in 0..255

``strength`` is the signed raw product beta x threshold: positive in the +beta phase, negative in the
-beta phase.
"""

from __future__ import annotations

import numpy.typing as npt

from equilif_golden.fixed import VALUE, Raw, integers, shift_right_floor


def nudge(target: npt.ArrayLike, spike_prev: npt.ArrayLike, *, strength: int) -> Raw:
    """Extra drive of a nudged population; raw membrane units, shape of ``target``."""
    pull = shift_right_floor(strength * integers(target, "targets"), VALUE.f)
    return pull - strength * integers(spike_prev, "spikes")
