"""Modern Hopfield memory on its own: from a cue to the stored pattern.

It is made of the operations of equilif_golden.blocks.softmax, relay and synapse only.

    E(q) = 1/2 |q|^2 - (1/k) logsumexp(k X q)         q <- X^T softmax(k X q)

(Ramsauer et al. 2021, eq. 2-3).  The state q (d,) is a relay's value, 8 bits with 7 fraction bits.  The
patterns X (n, d) are raw weights that stand for -1 .. 127/128, the range of q.  A synapse shifts every
product by 8, which halves a value of 7 fraction bits: k = 2**(sharpness - 1) ln 2.

How far rounding can raise the energy in a step.  logsumexp is convex and its gradient is the exact new state
r.  So for any new state q'

    E(q') - E(q)  <=  1/2 |q' - r|^2 - 1/2 |q - r|^2  <=  1/2 |q' - r|^2

and |q' - r| is at most the sum of three parts.

    D (T + F)
        D is the largest distance of two patterns.  The floors of up to d products, that of the exponent and
        the table's rounding multiply each exponential by a factor in some [lo, lo rho].  No sum of
        probabilities moves by more than T = e rho / (e rho + 1 - e) - e, where e is the smaller of 1 - max p
        and 1 / (1 + sqrt rho).  F is the share that shifting cuts from the exponentials: at most
        (n - 1) / (n + 127), and at most 1 - max p + T.

    B M 2**-c (1/2 + 255 / 2**14)
        Rounding of codes.  M exponentials are not zero; if M = 1, none is rounded.  B is the largest norm
        of a pattern.

    sqrt(d) (M 2**(15 - fraction - c) + 1) / 128
        The floors of M products and of the relay.  The relay's clip only brings q' nearer to r.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks import synapse as syn
from equilif_golden.fixed import DEFAULT, Fixed, Numerics, Raw, check_int, short_repr
from equilif_golden.network import MAX_PATTERNS

F64 = npt.NDArray[np.float64]
STATE = Fixed(1, relay.FRACTION)  #: of a state
MAX_STEPS = 511  #: of a program
MAX_OCTAVES = 64  #: of a sharpness, wide of the mark
#: largest ratio of two factors by which cut exponents and the rounded table miss 2**x
TABLE_RHO = float(
    (softmax.TABLE / 2.0 ** (np.arange(1 << softmax.FRACTION) / (1 << softmax.FRACTION))).max()
    / (softmax.TABLE / 2.0 ** (np.arange(1, (1 << softmax.FRACTION) + 1) / (1 << softmax.FRACTION))).min()
)


class Hopfield:
    """``patterns`` (n, d): raw weights that stand for -1 .. 127/128.

    ValueError when a state exists that an accumulator or exponent cannot hold.
    """

    def __init__(self, patterns: npt.ArrayLike, *, sharpness: int = 3, numerics: Numerics = DEFAULT):
        if not isinstance(numerics, Numerics):
            raise ValueError(f"Numerics are wanted, not {short_repr(numerics)}")
        x = numerics.weight.require(patterns, "patterns")
        if x.ndim != 2 or not x.size or len(x) > MAX_PATTERNS:
            raise ValueError(f"patterns must have shape (1 to {MAX_PATTERNS}, at least 1), not {x.shape}")
        if x.min() < -numerics.one or x.max() > numerics.one * 127 // 128:
            raise ValueError(
                f"patterns must lie in {-numerics.one}..{numerics.one * 127 // 128}, the range of a state, "
                f"not {x.min()}..{x.max()}"
            )
        octaves = numerics.fraction - softmax.FRACTION  # less a shift of the softmax block: a sharpness
        self.sharpness = check_int(sharpness, "sharpness", -MAX_OCTAVES, MAX_OCTAVES)
        self.shift = octaves - self.sharpness
        if self.shift not in softmax.SHIFTS:
            raise ValueError(
                f"sharpness must be in {octaves - softmax.SHIFTS[-1]}..{octaves - softmax.SHIFTS[0]} "
                f"octaves, not {sharpness}"
            )
        self.patterns = x
        self.numerics = numerics
        self.retrieval_shift = relay.retrieval_shift(numerics.fraction, 0)
        if self.retrieval_shift not in relay.SHIFTS:
            raise ValueError(f"a memory needs 9 to 13 fraction bits, not {numerics.fraction}")
        score = int(np.abs(x).sum(axis=1).max()) // 2 + x.shape[1]
        # codes sum to 2**c and half of one each, and 2**c <= 255 n
        largest = max(score, (257 * len(x) * int(np.abs(x).max()) >> 8) + len(x))
        if largest > numerics.accumulator.hi:
            raise ValueError(
                f"sums of up to {largest} overflow the {numerics.accumulator_width}-bit accumulator: "
                "fewer, shorter or smaller patterns"
            )
        if score >> self.shift >= 1 << (softmax.WIDTH - 1):
            raise ValueError(
                f"scores of up to {score} saturate the {softmax.WIDTH}-bit exponent: "
                "a lower sharpness or smaller patterns"
            )
        self.real = x / numerics.one
        self._norms = (self.real**2).sum(axis=1)

    @classmethod
    def of(cls, codes: npt.ArrayLike, *, sharpness: int = 3, numerics: Numerics = DEFAULT) -> Hopfield:
        """Patterns as signed 8-bit codes, like states."""
        if numerics.fraction < relay.FRACTION:
            raise ValueError(
                f"8-bit patterns need at least {relay.FRACTION} fraction bits, not {numerics.fraction}"
            )
        return cls(
            STATE.require(codes, "patterns") << (numerics.fraction - relay.FRACTION),
            sharpness=sharpness,
            numerics=numerics,
        )

    @property
    def k(self) -> float:
        return float(2.0 ** (self.sharpness - 1) * np.log(2))

    # -- dynamics ----------------------------------------------------------------------------------
    def scores(self, q: Raw) -> Raw:
        """X q of one state (d,), raw."""
        return syn.backward_values(self.patterns, q)

    def probabilities(self, q: Raw) -> softmax.Probabilities:
        return softmax.softmax(self.scores(q), shift=self.shift)

    def step(self, q: Raw) -> Raw:
        """Next state of one state (d,)."""
        p = self.probabilities(q)
        on = np.flatnonzero(p.code)  # zeros cost nothing
        return relay.retrieval(
            syn.forward_values(self.patterns[on], p.code[on]), p.c, fraction=self.numerics.fraction, gain=0
        )

    def recall(self, cue: npt.ArrayLike, steps: int | None = None) -> Raw:
        """States (steps + 1, d) from the cue (d,) on, 8-bit codes.

        Without ``steps``: until the state no longer changes, but not more than MAX_STEPS.
        """
        states = [self.check(cue)]
        if steps is not None:
            check_int(steps, "steps", 0, 1 << 20)
        for _ in range(MAX_STEPS if steps is None else steps):
            states.append(self.step(states[-1]))
            if steps is None and (states[-1] == states[-2]).all():
                break
        return np.stack(states)

    def check(self, cue: npt.ArrayLike) -> Raw:
        """The cue as codes; ValueError when it is none."""
        q = STATE.require(cue, "a cue")
        if q.shape != self.patterns.shape[1:]:
            raise ValueError(f"a cue must have shape {self.patterns.shape[1:]}, not {q.shape}")
        return q

    # -- energy ------------------------------------------------------------------------------------
    def energy(self, q: npt.ArrayLike) -> F64:
        """E of states (..., d), 8-bit codes, in real arithmetic."""
        states = STATE.require(q, "states")
        width = self.patterns.shape[1]
        if states.shape[-1:] != (width,):
            raise ValueError(f"states must have shape (..., {width}), not {states.shape}")
        r = STATE.real(states)
        a = self.k * (r @ self.real.T)
        top = a.max(axis=-1)
        lse = top + np.log(np.exp(a - top[..., None]).sum(axis=-1))
        return np.asarray((r**2).sum(axis=-1) / 2 - lse / self.k)

    def largest_rise(self, q: Raw) -> float:
        """Bound of the module's docstring on E(step(q)) - E(q)."""
        n, d = self.patterns.shape
        a = self.k * (self.real @ STATE.real(q))
        p = np.exp(a - a.max())
        rest = float(1 - 1 / p.sum())  # 1 - max p
        rho = TABLE_RHO * 2.0 ** (d / 2 ** (self.shift + softmax.FRACTION))
        e = min(rest, 1 / (1 + rho**0.5))
        t = e * rho / (e * rho + 1 - e) - e
        cut = min((n - 1) / (n + 127), rest + t)
        octave = softmax.exponents(self.scores(q), shift=self.shift) >> softmax.FRACTION
        m = int((octave > octave.max() - 8).sum())
        c = int(self.probabilities(q).c)
        distance = self.diameter * (t + cut)
        rounding = float(self._norms.max()) ** 0.5 * m * 2.0**-c * (0.5 + 255 / 2**14) if m > 1 else 0.0
        floors = d**0.5 * (m * 2.0 ** (15 - self.numerics.fraction - c) + 1) / (1 << relay.FRACTION)
        return float((distance + rounding + floors) ** 2 / 2)

    @cached_property
    def diameter(self) -> float:
        """Largest distance of two patterns."""
        squares = self._norms[:, None] + self._norms - 2 * self.real @ self.real.T
        return float(np.sqrt(max(squares.max(), 0.0)))
