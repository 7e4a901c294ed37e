"""Loops over samples of the front end, compiled with Numba.

Modules import this one where they call it, so that they can be read without Numba; their docstrings define
what it computes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from equilif_golden.compiled import compiled
from equilif_golden.fixed import Raw


@compiled
def modulate_samples(
    x: Raw, bits: npt.NDArray[np.uint8], state: Raw, oversampling: int, gain: int, unit: int
) -> None:
    """Error feedback by (1 - z**-1)**2; full scale of the bits is ``unit`` 2**15 oversampling."""
    full = unit * (oversampling << 15)
    random = state[3]
    before = state[0]
    e1 = state[1]
    e2 = state[2]
    for n in range(len(x)):
        for i in range(oversampling):
            w = gain * (before * oversampling + (x[n] - before) * (i + 1)) + 2 * e1 - e2
            random = (random * 1_664_525 + 1_013_904_223) & 0xFFFFFFFF
            bit = w + (random >> 9) - full // 2 >= 0  # 23 bits of the generator
            bits[n * oversampling + i] = bit
            e2 = e1
            e1 = w - full if bit else w + full
        before = x[n]
    state[3] = random
    state[0] = before
    state[1] = e1
    state[2] = e2


@compiled
def decimate(bits: Raw, integrators: Raw, combs: Raw, out: Raw, mask: int) -> None:
    """CIC samples (n,), 0 .. mask, of bits (n ratio,); the integrators and combs (order,) go on."""
    ratio = len(bits) // max(1, len(out))
    for n in range(len(out)):
        for i in range(ratio):
            x = 2 * bits[n * ratio + i] - 1
            for k in range(len(integrators)):
                x = (x + integrators[k]) & mask
                integrators[k] = x
        x = integrators[-1]
        for k in range(len(combs)):
            before = combs[k]
            combs[k] = x
            x = (x - before) & mask
        out[n] = x


@compiled
def filter_hops(
    hops: Raw, coefficients: Raw, state: Raw, sums: Raw, fraction: int, coefficient_fraction: int
) -> None:
    """Sums (n, bands) of hops (n, samples); the state (bands, sections, 2) goes on."""
    half = 1 << (coefficient_fraction - 1)
    for b in range(sums.shape[1]):
        k = coefficients[0, b]
        g = coefficients[1, b]
        a = coefficients[2, b]
        for n in range(len(hops)):
            total = 0
            for i in range(hops.shape[1]):
                u = hops[n, i] << fraction
                for s in range(state.shape[1]):
                    c1 = state[b, s, 0]
                    c2 = state[b, s, 1]
                    v0 = (k * u + half) >> coefficient_fraction
                    t = c1 + ((g * (v0 - c2) + half) >> coefficient_fraction)
                    u = (a * t + half) >> coefficient_fraction
                    v2 = c2 + ((g * u + half) >> coefficient_fraction)
                    state[b, s, 0] = 2 * u - c1
                    state[b, s, 1] = 2 * v2 - c2
                total += abs(u)
            sums[n, b] = total
