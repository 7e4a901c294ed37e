"""What an engine has or has not: the one table behind its identity, its registers and options.

Loads nothing, so that ``equilif --help`` may quote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from equilif_golden.engine.config import EngineConfig


class Feature(NamedTuple):
    """A property of EngineConfig that is true or false.

    label      what users read in a table
    text       what an engine with it has
    version    bit in the register VERSION (equilif_golden.link.registers)
    identity   bit of the flags that IDENTIFY answers (equilif_golden.link.protocol), if it tells
    """

    label: str
    text: str
    version: int
    identity: int | None = None


FEATURES: Mapping[str, Feature] = {
    "single_port": Feature("single-port weights", "weights in memories that read or write in a cycle", 16, 0),
    "forwarding": Feature(
        "forwarding", "sums that can be read in the cycle in which they are written", 17, 1
    ),
    "softmax": Feature("memories", "what memories need: SOFTMAX, RELAY, modes of DRIVE and LEARN", 18, 2),
    "counters": Feature(
        "counters", "counts of memory accesses and arithmetic of every run, a register each", 19
    ),
    "early": Feature("early ends", "loops that end when rates have settled", 20, 3),
}
#: those that a device tells over the link
IDENTIFIED = {name: f.identity for name, f in FEATURES.items() if f.identity is not None}


def has(config: EngineConfig, name: str) -> bool:
    assert name in FEATURES, name
    return bool(getattr(config, name))


def flags(config: EngineConfig) -> int:
    """Flags of the identity."""
    return sum(has(config, name) << bit for name, bit in IDENTIFIED.items())


def summary(config: EngineConfig, names: Iterable[str] = FEATURES) -> dict[str, str]:
    """Yes or no by label."""
    return {FEATURES[name].label: "yes" if has(config, name) else "no" for name in names}
