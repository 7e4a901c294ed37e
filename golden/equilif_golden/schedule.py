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

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
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


class Option(NamedTuple):
    """A field of :class:`Schedule` at the command line.

    help      help text
    settles   whether it is a setting of the free phase, which may differ between training and inference
    limits    smallest and largest value
    absent    text for the default, if it is the same for all networks
    needs     a field without which it has no effect, and the effect
    """

    help: str
    settles: bool = False
    limits: tuple[int, int] | None = None
    absent: str = ""
    needs: tuple[str, str] | None = None


def _field(default: Any, option: Option, **limits: Any) -> Any:
    """A field that is an option; ``limits``: gt, ge, le, and a text ``values`` if these are not enough."""
    return field(default=default, metadata={"option": option, **limits})


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

    free: int = _field(12, Option("Maximum number of time steps of the free phase.", settles=True), **STEPS)
    nudged: int = _field(4, Option("Time steps of each nudged phase."), **STEPS)
    window: int = _field(
        4,
        Option("Time steps over which rates are measured.", settles=True),
        ge=1,
        le=STEPS_MAX,
        values="1, 2, 4 .. 256",
    )
    beta: float = _field(0.5, Option("Strength of the nudge."), gt=0, le=2)
    threshold: float = field(
        default=1.0,
        metadata={
            "help": "a neuron fires when its membrane reaches it",
            "gt": 0,
            "le": 2,
            "values": "powers of two, up to 2",
        },
    )
    #: membrane loses v >> leak each step; 0: no leak
    leak: int = _field(
        0, Option("Leak of the membrane, v / 2**leak per step; 0: none."), ge=0, le=5, values="0, 2, 3, 4, 5"
    )
    early_exit: int | None = _field(
        None,
        Option(
            "End the free phase when no watched rate changes by more than this (in 1/256) between windows.",
            settles=True,
            limits=(0, 255),
            absent="never",
        ),
    )
    watch: Literal["all", "output"] = _field(
        "all",
        Option(
            "Populations whose rates must settle for an early exit.",
            settles=True,
            absent="all",
            needs=("early_exit", "says which rates end a phase early"),
        ),
    )
    min_windows: int = field(
        default=2, metadata={"help": "with early_exit: minimum number of windows", "ge": 1, "le": STEPS_MAX}
    )
    contrast: Literal["phases", "errors"] = _field(
        "phases", Option("What weights learn from: rates of two nudged phases, or errors (deep networks).")
    )
    error_gain: int = field(
        default=1,
        metadata={
            "help": "with errors: their factor from a population to the one before it",
            "ge": 1,
            "le": 8,
            "values": "1, 2, 4, 8",
        },
    )

    def __post_init__(self) -> None:
        fixed_point.set_fields(self, window=fixed_point.check_int(self.window, "window", 1, STEPS_MAX))
        if self.window & (self.window - 1):
            raise PlacedError(f"window must be a power of two, not {self.window}", ("window",))
        fixed_point.check_choice(self.contrast, "contrast", ("phases", "errors"))
        fixed_point.set_fields(self, error_gain=fixed_point.check_int(self.error_gain, "error_gain", 1, 8))
        if self.error_gain & (self.error_gain - 1):
            raise PlacedError(f"error_gain must be 1, 2, 4 or 8, not {self.error_gain}", ("error_gain",))
        at_least = "steps, at least one window"
        free = fixed_point.check_int(self.free, "free", self.window, STEPS_MAX, at_least)
        nudged = (
            fixed_point.check_int(self.nudged, "nudged", 1, STEPS_MAX)
            if self.errors
            else fixed_point.check_int(self.nudged, "nudged", self.window, STEPS_MAX, at_least)
        )
        fixed_point.set_fields(self, free=free, nudged=nudged)
        fixed_point.set_fields(
            self, leak=fixed_point.check_int(self.leak, "leak", lif.LEAKS[0], lif.LEAKS[-1])
        )
        if self.leak not in lif.LEAKS:
            raise PlacedError(f"leak must be one of {lif.LEAKS}, not {self.leak}", ("leak",))
        fixed_point.set_fields(self, beta=fixed_point.check_float(self.beta, "beta", 0, 2))
        if not self.beta:
            raise PlacedError("beta must be above 0, up to 2: a nudge of 0 gives no gradient", ("beta",))
        fixed_point.set_fields(
            self, threshold=fixed_point.check_float(self.threshold, "threshold", 0, 1 << 16)
        )
        fixed_point.check_choice(self.watch, "watch", ("all", "output"))
        fixed_point.set_fields(
            self, min_windows=fixed_point.check_int(self.min_windows, "min_windows", 1, STEPS_MAX)
        )
        if self.early_exit is not None:
            self._check_early(self.early_exit)

    def _check_early(self, early_exit: int) -> None:
        fixed_point.set_fields(
            self, early_exit=fixed_point.check_int(early_exit, "early_exit", 0, 255, "a tolerance")
        )
        if self.free % self.window:
            raise PlacedError(
                f"early_exit needs whole windows: free {self.free} must be a multiple of {self.window}",
                ("early_exit",),
            )
        if self.free < 2 * self.window:
            raise PlacedError(
                f"early_exit needs at least two windows: free must be at least "
                f"{2 * self.window}, not {self.free}",
                ("early_exit",),
            )
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

    @property
    def options(self) -> dict[str, Any]:
        """Command-line options of this schedule; None for options without effect."""
        silent = (name for name, o in OPTIONS.items() if o.needs and getattr(self, o.needs[0]) is None)
        return {name: getattr(self, name) for name in OPTIONS} | dict.fromkeys(silent)

    def idle(self, name: str) -> str:
        """Reason why a field has no effect on this schedule, and a remedy; empty if it has one."""
        option = OPTIONS.get(name)
        if option and option.needs and getattr(self, option.needs[0]) is None:
            return f"{name} {option.needs[1]}: give {option.needs[0]} too, or leave it out"
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


OPTIONS: Mapping[str, Option] = {
    f.name: f.metadata["option"] for f in fields(Schedule) if "option" in f.metadata
}


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
