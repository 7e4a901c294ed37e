"""The one learning rule: Equilibrium Propagation with a symmetric (three-phase) difference.

    dW[i, k] = floor((gain (u+[i] v+[k] - u-[i] v-[k]) + dither[i, k]) / 2**shift)      W = saturate(W + dW)

u, v are 8-bit rates of the two populations that the synapse joins, at +beta and at -beta (Bal & Sengupta,
ISCAS 2024, eq. 5; Laborieux et al. 2021 for the symmetric form).  In real numbers

    dW = factor (u+ v+ - u- v-)        factor = gain 2**(16 - fraction - shift) = eta / (2 beta)

with eta the learning rate of the paper.

Rounding is stochastic: ``dither`` is a Weyl sequence in (update, row, column), so every weight sees all
roundings equally often, the result does not depend on the number of lanes, and a zero difference never
moves a weight.

A weight that several positions of maps share moves once for every pair of neurons that it joins, each with a
rounding of its own, and saturates each time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.geometry import Geometry
from equilif_golden.fixed import Fixed, Raw, integers, saturate, shift_right_floor

SHIFTS = (12, 14, 16, 18)
#: of a product of shifts and adds in hardware; factors come in steps of 3 to 12 %
GAIN_WIDTH = 5
GAIN_MAX = (1 << GAIN_WIDTH) - 1
#: largest change of a weight in an update, of either sign
MAX_CHANGE = -(-GAIN_MAX * 255**2 >> min(SHIFTS))
DITHER_WIDTH = max(SHIFTS)
DITHER_MASK = (1 << DITHER_WIDTH) - 1
# The steps of the dither are odd and near 2**18 times the inverse powers of the root of x**4 = x + 1, which
# make the R3 low-discrepancy lattice (Roberts 2018).
DITHER_UPDATE = 214749
DITHER_ROW = 175923
DITHER_COLUMN = 144115
# Steps from position to position of maps, found by search: no small combination of the five, and none of
# what a weight of a convolution meets as its kernel moves, comes near a whole turn.
DITHER_SOURCE = 122921
DITHER_DESTINATION = 152107


class Step(NamedTuple):
    """A factor of the learning rule as the hardware holds it."""

    gain: int
    shift: int

    def rate(self, fraction: int) -> float:
        """Real factor of this step."""
        return float(self.gain * 2.0 ** (16 - fraction - self.shift))


def learning_step(factor: float, *, fraction: int) -> Step:
    """The nearest factor that has a step, with the finest gain.  Zero freezes the synapse."""
    if factor < 0 or not np.isfinite(factor):
        raise ValueError(f"learning rate / (2 beta) must be a finite number >= 0, not {factor}")
    for shift in reversed(SHIFTS):
        steps = factor * 2.0 ** (fraction + shift - 16)
        if steps <= GAIN_MAX + 1 and round(steps) <= GAIN_MAX:
            return Step(round(steps), shift)
    largest = Step(GAIN_MAX, SHIFTS[0]).rate(fraction)
    raise ValueError(f"learning rate / (2 beta) = {factor:g} is above the largest one, {largest:g}")


def dither(
    counter: int,
    row: npt.ArrayLike,
    column: npt.ArrayLike,
    source: npt.ArrayLike = 0,
    destination: npt.ArrayLike = 0,
) -> Raw:
    """Dither of update number ``counter`` for a pair of neurons that a weight joins.

    ``row``, ``column``: their numbers in their populations, or in maps the numbers of their maps; ``source``,
    ``destination``: in maps their positions, y * width + x.
    """
    d = (
        counter * DITHER_UPDATE
        + integers(row, "rows") * DITHER_ROW
        + integers(column, "columns") * DITHER_COLUMN
        + integers(source, "positions") * DITHER_SOURCE
        + integers(destination, "positions") * DITHER_DESTINATION
    )
    return d & DITHER_MASK


def ep_update(
    w: npt.ArrayLike,
    u_plus: npt.ArrayLike,
    u_minus: npt.ArrayLike,
    v_plus: npt.ArrayLike,
    v_minus: npt.ArrayLike,
    *,
    step: Step,
    counter: int,
    weight: Fixed,
    maps: int | None = None,
    geometry: Geometry | None = None,
) -> Raw:
    """New weights of one synapse after one sample.

    ``w``: (n, m) raw weights; ``u_*``: (n,) and ``v_*``: (m,) 8-bit rates; ``counter``: the number of
    this update; ``maps``: of ``pre``, all of whose neurons it has.

    ``geometry``: of a convolution; ``u_*`` and ``v_*`` are all of its neurons then.  The pairs that share a
    weight are added one after the other, those of the first source first.
    """
    u = np.stack([integers(u_plus, "rates"), integers(u_minus, "rates")])
    v = np.stack([integers(v_plus, "rates"), integers(v_minus, "rates")])
    w = integers(w, "weights")
    n, m = w.shape
    column = np.arange(m)
    if geometry is None:
        source, row = np.divmod(np.arange(n), maps or n)
        d = dither(counter, row[:, None], column, source[:, None])
        return saturate(w + weight_change(u, v, d, step), weight)
    # a weight meets its sources in the order of its destinations
    for destination, neurons in enumerate(geometry.neurons()):
        source, row = np.divmod(neurons, geometry.pre.maps)
        d = dither(counter, row[:, None], column, source[:, None], destination)
        w = saturate(w + weight_change(u[:, neurons], v[:, destination * m + column], d, step), weight)
    return w


def weight_change(u: Raw, v: Raw, dither: Raw, step: Step) -> Raw:
    """dW (n, m), from rates (2, n) and (2, m) at +beta and at -beta."""
    difference = np.outer(u[0], v[0]) - np.outer(u[1], v[1])
    return shift_right_floor(step.gain * difference + (dither & ((1 << step.shift) - 1)), step.shift)
