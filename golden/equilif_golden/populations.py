"""Populations of neurons, a class for each kind.

A network is described by them and by the synapses between them (equilif_golden.network).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from equilif_golden.fixed import keep, shown, truth, whole

MOST_NEURONS = 1 << 20
MOST_GAIN = 2
MOST_PATTERNS = 1024


@dataclass(frozen=True)
class Population:
    """``size`` neurons of one kind.

    ``Population(name, size, kind)`` makes an object of the kind's class: "input", "constant", "lif" (when no
    kind is given), "relay" or "softmax".
    """

    name: str
    size: int
    kind: str = "lif"

    #: it does not settle: its values are given
    clamped: ClassVar[bool] = False

    def __new__(cls, name: str = "", size: int = 0, kind: str = "lif", **options: Any) -> Self:
        if cls is not Population:
            return object.__new__(cls)
        if not isinstance(kind, str) or kind not in KINDS:
            known = ", ".join(KINDS)
            raise ValueError(f"population {shown(name)}: kind must be one of {known}, not {shown(kind)}")
        made = KINDS[kind]
        for option in set(options) - {f.name for f in fields(made)}:
            raise ValueError(f"population {shown(name)}: {kind} neurons have no {option}")
        return object.__new__(made)  # type: ignore[return-value]

    def __post_init__(self) -> None:
        # a synapse is called pre-post
        if not isinstance(self.name, str) or not re.fullmatch(r"[\w.]+", self.name):
            raise ValueError(
                f"a population's name is made of letters, digits, _ and ., not {shown(self.name)}"
            )
        if self.kind != type(self).kind:
            raise ValueError(f"{self.said}: kind must be {type(self).kind}, not {shown(self.kind)}")
        keep(self, size=whole(self.size, f"{self.said}: size", 1, MOST_NEURONS))

    @property
    def said(self) -> str:
        """The population in an error message."""
        return f"population {self.name!r}"

    @property
    def heads(self) -> int:
        """Parts that gather one after the other."""
        return 1

    @property
    def width(self) -> int:
        """Neurons of one head."""
        return self.size // self.heads


@dataclass(frozen=True)
class Input(Population):
    """Clamped to the sample: 8-bit values."""

    kind: Literal["input"] = "input"

    clamped: ClassVar[bool] = True


@dataclass(frozen=True)
class Constant(Population):
    """Clamped to 255/256: a synapse from it is a bias."""

    kind: Literal["constant"] = "constant"

    clamped: ClassVar[bool] = True


@dataclass(frozen=True)
class Lif(Population):
    """Leaky integrate-and-fire neurons (equilif_golden.blocks.lif)."""

    kind: Literal["lif"] = "lif"


@dataclass(frozen=True)
class Relay(Population):
    """Linear neurons that ask a memory (equilif_golden.blocks.relay).

    ``heads``: queries, side by side, each as long as a pattern.  ``gain``: in octaves; what is heard back
    counts 2**(gain - 1) times.
    """

    kind: Literal["relay"] = "relay"
    heads: int = 1
    gain: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        keep(self, heads=whole(self.heads, f"{self.said}: heads", 1, MOST_NEURONS))
        keep(self, gain=whole(self.gain, f"{self.said}: gain in octaves", 0, MOST_GAIN))
        if self.size % self.heads:
            raise ValueError(f"{self.said}: {self.size} relay neurons cannot have {self.heads} heads")


@dataclass(frozen=True)
class Softmax(Population):
    """One neuron for each pattern of a memory (equilif_golden.blocks.softmax).

    ``sharpness``: in octaves; k = 2**(sharpness - 1) ln 2.  ``loaded``: the patterns come with each sample,
    up to ``size`` of them.
    """

    kind: Literal["softmax"] = "softmax"
    sharpness: int = 3
    loaded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        keep(self, sharpness=whole(self.sharpness, f"{self.said}: sharpness in octaves", -32, 32))
        keep(self, loaded=truth(self.loaded, f"{self.said}: loaded"))
        if self.size > MOST_PATTERNS:
            raise ValueError(
                f"{self.said}: a softmax population has at most {MOST_PATTERNS} neurons, not {self.size}"
            )


KINDS: dict[str, type[Population]] = {kind.kind: kind for kind in (Input, Constant, Lif, Relay, Softmax)}
