"""Errors: how far the output is from its target, and what that means for the populations before it.

    output    error = clip(rate - target, -128, 127)
    hidden    error = clip((drive + half) >> shift, -128, 127)    where 0 < rate < 255, else 0

``drive`` of a hidden neuron is W e, the errors e of its postsynaptic neurons through its own weights
(equilif_golden.blocks.synapse.backward_values, each product rounded to the nearest: in deep networks the
half of a code that rounding down loses adds up).  The condition is the slope of the clip that turns a drive
into a rate; the output has none.  Errors need no phase.

The output's are in units of 1/256.  A ``shift`` of n bits less makes those of each hidden population finer by
2**n (``error_gain`` of equilif_golden.schedule.Schedule): small errors count, large ones saturate.

Weights learn by the one rule (equilif_golden.blocks.plasticity) with u+ = u- = rate, v+ = 0 and v- = error:

    dW[i, k] = floor((-gain u[i] e[k] + dither[i, k]) / 2**shift)

An attention layer has an energy, (1/k) logsumexp(k X q), so its gradient is a difference of two nudged
states.  Its queries take the errors of what it drives, with both signs:

    q+- = q -+ V e        p+- = softmax(k X q+-)        y+- = X^T p+-

Queries learn from y+ - y-, patterns from p+ q+ - p- q-, as in nudged phases.  For small errors these are
twice the gradient, by the symmetry of the softmax's derivative.  Then v+ = -error holds for all populations,
from a second pass, and learning rates are halved.

This is Equilibrium Propagation in the limit of a small nudge and of weak feedback (FRE-RNN, arXiv
2508.11659), with mean and difference of the two nudged states as separate numbers (dual propagation: Hoier,
Staudt and Zach, ICML 2023).  In this limit the update is the gradient of |y - r|^2 / 2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.blocks.relay import SHIFTS as SHIFTS
from equilif_golden.blocks.relay import SIGNED, relay
from equilif_golden.fixed import VALUE, Raw, integers, saturate


def half(shift: int) -> int:
    """Offset before a shift, so that it rounds to the nearest."""
    return 1 << (shift - 1)


def output_error(rate: npt.ArrayLike, target: npt.ArrayLike) -> Raw:
    """Signed 8-bit errors of an output, from 8-bit rates and targets of one shape."""
    return saturate(integers(rate, "rates") - integers(target, "targets"), SIGNED)


def hidden_error(drive: npt.ArrayLike, rate: npt.ArrayLike, *, shift: int) -> Raw:
    """Signed 8-bit errors of a hidden population, from raw ``drive`` and 8-bit rates of one shape."""
    return is_inside(rate) * relay(integers(drive, "drive") + half(shift), shift=shift)


def is_inside(rate: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether 8-bit rates are neither 0 nor 255."""
    found: npt.NDArray[np.bool_] = (integers(rate, "rates") > VALUE.lo) & (integers(rate, "rates") < VALUE.hi)
    return found


def gate_shift(operand: int) -> int:
    """Shift of a rate from an operand of an instruction that may have any value."""
    return RATE_SHIFTS[0] + (operand - RATE_SHIFTS[0]) % len(RATE_SHIFTS)
