"""Memories of neurons and values, a table for the model, the RTL and their comparison.

a       membrane with accumulated input
b       static drive
q       charge
s       spikes
plus    8-bit values and rates at +beta, and ``minus`` at -beta
"""

from __future__ import annotations

from typing import NamedTuple

from equilif_golden.engine.config import EngineConfig


class Size(NamedTuple):
    """Size of a memory, whose words are P elements.

    width    bits of an element
    groups   words, without the copies
    signed   whether an element is
    saved    SAVE copies each word to an upper half
    """

    width: int
    groups: int
    signed: bool = False
    saved: bool = False

    @property
    def depth(self) -> int:
        return self.groups * (1 + self.saved)


def memories(config: EngineConfig) -> dict[str, Size]:
    """Memories of an engine, by name."""
    states = config.state_groups
    values = config.value_groups
    formats = config.numerics
    return {
        "a": Size(formats.accumulator_width, states, signed=True, saved=True),
        "b": Size(formats.accumulator_width, states, signed=True),
        "q": Size(formats.charge_width, states, signed=True),
        "s": Size(1, states, saved=True),
        "plus": Size(8, values),
        "minus": Size(8, values),
    }


def has_nonzero_flag(config: EngineConfig) -> bool:
    """Whether the RTL stores a ninth bit with each value: the value is not zero.

    A block RAM has that bit to spare, and one bit is faster to test than eight.
    """
    return not config.single_port


def has_spike_flag(config: EngineConfig) -> bool:
    """Whether the RTL stores a bit with each group of spikes: one of them is set.

    Whether a group of 16 or 32 lanes has a spike is then known when it is read.
    """
    return not config.single_port and config.lanes > 8


def word_bits(config: EngineConfig, name: str) -> int:
    """Bits of a word of a memory in the RTL, with its flags: of each value, or in the last bit of spikes."""
    width = memories(config)[name].width
    if name in ("plus", "minus") and has_nonzero_flag(config):
        width += 1
    return width * config.lanes + (name == "s" and has_spike_flag(config))


def skips_unchanged(config: EngineConfig) -> bool:
    """Whether LEARN reads its destination first and skips weights that cannot change.

    A weight can only change if a rate at either end of its synapse differs between +beta and -beta.  If no
    rate of the destination differs, LEARN scans only the sources whose own rate differs.
    """
    return not config.single_port
