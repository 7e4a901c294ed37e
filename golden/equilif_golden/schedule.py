"""Phase schedule of one training sample: free, +beta, -beta (Laborieux et al. 2021; Bal & Sengupta, ISCAS
2024, sec. II).

    membranes at threshold/2, no spikes
    free phase        `free` steps                     rate of the last `window` -> prediction; state saved
    +beta phase       `nudged` steps from that state   rate of the last `window` -> r+
    -beta phase       `nudged` steps from that state   rate of the last `window` -> r-
    learn             every plastic synapse, once

With early exit the free phase ends after the first window in which no watched rate has changed by more than a
tolerance since the window before.  The nudged phases start from that state.

With contrast "errors" there are no nudged phases: the output's error goes back through the weights as 8-bit
values, population by population, and nudges the queries of attention layers (equilif_golden.blocks.error).

Imports no NumPy, so that ``equilif --help`` starts fast.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from equilif_golden.lazy import lazy
from equilif_golden.places import PlacedError

with lazy():  # they need NumPy
    from equilif_golden import fixed as fixed_point
    from equilif_golden.blocks import error, lif, rate

#: a signed 16-bit operand of the instruction that nudges
STRENGTH_MAX = (1 << 15) - 1
#: a 9-bit count of the instruction that repeats
STEPS_MAX = 511
#: limits of a phase
STEPS = {"ge": 1, "le": STEPS_MAX, "values": f"window..{STEPS_MAX}"}
#: fields without effect on weights that learn from errors
NUDGES = ("nudged", "beta")


def _field(default: Any, text: str, **limits: Any) -> Any:
    """A field with its help text and limits, as those of equilif_golden.fixed.option.

    ``settles``: a setting of the free phase, which may differ between training and inference.
    """
    return field(default=default, metadata={"help": text, **limits})


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Phase lengths in time steps, and the constants of the neuron and of the nudge.

    early_exit    tolerance in 1/256 of the largest rate: the free phase, of at most ``free`` steps, ends
                  when its rates have settled; None: never
    watch         rates that must settle: of all LIF populations, or of the output alone
    min_windows   minimum number of windows of the free phase
    contrast      what weights learn from: rates of the two nudged phases, or errors; ``nudged`` and ``beta``
                  have no effect with errors
    error_gain    errors of a population k synapses before the output are in units of
                  1/(256 error_gain**k), and learning rates are divided accordingly; no effect with phases
    """

    free: int = _field(12, "maximum number of time steps of the free phase", settles=True, **STEPS)
    nudged: int = _field(4, "time steps of each nudged phase", **STEPS)
    window: int = _field(
        4,
        "time steps over which rates are measured",
        settles=True,
        ge=1,
        le=STEPS_MAX,
        values="1, 2, 4 .. 256",
    )
    beta: float = _field(0.5, "strength of the nudge", gt=0, le=2)
    threshold: float = _field(
        1.0, "a neuron fires when its membrane reaches it", gt=0, le=2, values="powers of two, up to 2"
    )
    #: membrane loses v >> leak each step; 0: no leak
    leak: int = _field(
        0, "leak of the membrane, v / 2**leak per step; 0: none", ge=0, le=5, values="0, 2, 3, 4, 5"
    )
    early_exit: int | None = _field(
        None,
        "end the free phase when no watched rate changes by more than this (in 1/256) between windows",
        settles=True,
        absent="never",
        ge=0,
        le=255,
    )
    watch: Literal["all", "output"] = _field(
        "all", "populations whose rates must settle for an early exit", settles=True, absent="all"
    )
    min_windows: int = _field(2, "with early_exit: minimum number of windows", ge=1, le=STEPS_MAX)
    contrast: Literal["phases", "errors"] = _field(
        "phases", "what weights learn from: rates of two nudged phases, or errors (deep networks)"
    )
    error_gain: int = _field(
        1,
        "with errors: their factor from a population to the one before it",
        ge=1,
        le=8,
        values="1, 2, 4, 8",
    )

    def __post_init__(self) -> None:
        fixed_point.check_fields(self)
        fixed_point.check_choice(self.contrast, "contrast", ("phases", "errors"))
        fixed_point.check_choice(self.watch, "watch", ("all", "output"))
        if self.window & (self.window - 1):
            raise PlacedError(f"window must be a power of two, not {self.window}", ("window",))
        if self.error_gain & (self.error_gain - 1):
            raise PlacedError(f"error_gain must be 1, 2, 4 or 8, not {self.error_gain}", ("error_gain",))
        for name in ("free",) if self.errors else ("free", "nudged"):
            steps = getattr(self, name)
            fixed_point.check_int(steps, name, self.window, STEPS_MAX, "steps, at least one window")
        if self.leak not in lif.LEAKS:
            raise PlacedError(f"leak must be one of {lif.LEAKS}, not {self.leak}", ("leak",))
        if self.early_exit is not None:
            self._check_early_exit()

    def _check_early_exit(self) -> None:
        problem = ""
        if self.free % self.window:
            problem = f"whole windows: free {self.free} must be a multiple of {self.window}"
        elif self.free < 2 * self.window:
            problem = f"at least two windows: free must be at least {2 * self.window}, not {self.free}"
        if problem:
            raise PlacedError(f"early_exit needs {problem}", ("early_exit",))
        windows = self.free // self.window
        fixed_point.check_int(self.min_windows, "min_windows", 2, windows, f"of the {self.free} free steps")

    def __str__(self) -> str:
        text = (
            f"phases {self.free}/{self.nudged}/{self.nudged} steps, window {self.window}, beta {self.beta:g}"
        )
        if self.errors:
            text = f"{self.free} steps, window {self.window}, errors"
        return text if self.fixed else f"{text}; {self.end}"

    @property
    def fixed(self) -> bool:
        """Whether every free phase has ``free`` steps."""
        return self.early_exit is None

    @property
    def errors(self) -> bool:
        """Whether weights learn from errors, without nudged phases."""
        return self.contrast == "errors"

    @property
    def learned_by(self) -> str:
        """Method by which weights learn with this schedule: "nudged phases" or "errors"."""
        return "errors" if self.errors else "nudged phases"

    @property
    def training_steps(self) -> int:
        """Time steps of a training sample, at most."""
        return self.free if self.errors else self.free + 2 * self.nudged

    @property
    def end(self) -> str:
        """End of the free phase, as text."""
        if self.early_exit is None:
            return f"free phase of {self.free} steps"
        rates = "all rates" if self.watch == "all" else "the output rates"
        return f"free phase until {rates} move by no more than {self.early_exit}/256"

    def idle(self, name: str) -> str:
        """Reason why a field has no effect on this schedule, and a remedy; empty if it has one."""
        if self.fixed and name == "watch":
            return f"{name} says which rates end a phase early: give early_exit too, or leave it out"
        if self.errors and name in NUDGES:
            return (
                f'{name} has no effect with contrast "errors", which has no nudged phases: leave it '
                "out, or set phases.contrast=phases"
            )
        if not self.errors and name == "error_gain":
            return f'{name} is that of contrast "errors": leave it out, or set phases.contrast=errors'
        if self.fixed and name == "min_windows":
            return f"{name} is that of an early exit: leave it out, or set phases.early_exit"
        return ""

    def check_options(self, given: Collection[str]) -> None:
        """PlacedError for a field without effect on this schedule."""
        for name in given:
            if reason := self.idle(name):
                raise PlacedError(reason, (name,))
        shortest = self.min_windows * self.window
        if "early_exit" in given and not self.fixed and shortest >= self.free:
            raise PlacedError(
                f"early_exit cannot shorten a free phase of {self.free} steps: it has at least "
                f"{self.min_windows} windows of {self.window}; give a longer one, such as "
                f"free = {3 * shortest}",
                ("early_exit",),
            )

    def with_fixed_phases(self) -> Schedule:
        """The same without early exit."""
        return replace(self, early_exit=None)

    def raw(self, numerics: fixed_point.Numerics | None = None) -> RawSchedule:
        """The integers that golden model and engine work with, in these formats or the default ones.

        PlacedError when a constant has no exact code.
        """
        if numerics is None:
            numerics = fixed_point.DEFAULT
        threshold = round(self.threshold * numerics.one)
        exact = threshold == self.threshold * numerics.one
        if not exact or threshold < 16 or threshold > 2 * numerics.one or threshold & (threshold - 1):
            raise PlacedError(
                f"threshold must be a power of two in 16/{numerics.one}..2, not {self.threshold}",
                ("threshold",),
            )
        strength = 0 if self.errors else round(self.beta * threshold)
        nudge = f"beta x threshold = {self.beta * self.threshold}"
        error_shift = threshold.bit_length() - 9
        hidden_shift = error_shift - (self.error_gain.bit_length() - 1)
        if self.errors and hidden_shift not in error.SHIFTS:
            raise PlacedError(
                f'contrast "errors" with error_gain {self.error_gain} needs a threshold of '
                f"{self.error_gain << 8 + error.SHIFTS[0]}/{numerics.one} or more, not {self.threshold}",
                ("contrast",),
            )
        if strength < 1 and not self.errors:
            raise PlacedError(f"{nudge} is below one step of the membrane, {1 / numerics.one:g}", ("beta",))
        if strength > STRENGTH_MAX:
            raise PlacedError(
                f"{nudge} is above the largest nudge, {STRENGTH_MAX / numerics.one:g}", ("beta",)
            )
        return RawSchedule(
            free=self.free,
            nudged=0 if self.errors else self.nudged,
            window=self.window,
            threshold=threshold,
            strength=strength,
            leak=self.leak,
            rate_shift=rate.rate_shift(threshold, self.window),
            early_exit=-1 if self.early_exit is None else self.early_exit,
            watch_output=int(self.watch == "output"),
            min_windows=self.min_windows,
            error_shift=error_shift if self.errors else -1,
            hidden_error_shift=hidden_shift if self.errors else -1,
        )


class RawSchedule(NamedTuple):
    """A schedule in raw integers."""

    free: int
    nudged: int  #: 0: errors in place of nudged phases
    window: int
    threshold: int
    strength: int  #: of the nudge: beta x threshold; 0: none
    leak: int
    rate_shift: int  #: from charge to rate, see equilif_golden.blocks.rate
    early_exit: int  #: -1: never
    watch_output: int
    min_windows: int
    error_shift: int  #: from drive to error of the output, see equilif_golden.blocks.error; -1: nudged phases
    hidden_error_shift: int  #: from drive to error of a hidden population; less by log2 of ``error_gain``
