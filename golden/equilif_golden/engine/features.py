"""Features of an engine: the table behind its identity, its registers and its options.

An option is a field of :class:`Options`, with its texts, bits and default; EngineConfig has these fields.

Imports no NumPy, so that ``equilif --help`` starts fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from equilif_golden.network import Network


def _never(network: Network) -> str:
    return ""


class Feature(NamedTuple):
    """A property of EngineConfig that is true or false.

    label      column or row of a table
    text       description for help texts
    version    bit in the register VERSION (equilif_golden.link.registers)
    identity   bit of the flags in the reply to IDENTIFY (equilif_golden.link.protocol), or None
    flag       name on the command line
    nests      whether programs may nest loops
    default    whether an engine has it by default
    needed     for what a network needs it, in words; empty if it does not
    """

    label: str
    text: str
    version: int
    identity: int | None = None
    flag: str = ""
    nests: bool = False
    default: bool = False
    needed: Callable[[Network], str] = _never


def _option(feature: Feature) -> bool:
    """A field of :class:`Options`."""
    made: bool = field(default=feature.default, metadata={"feature": feature})
    return made


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options with which an engine is built."""

    attention: bool = _option(
        Feature(
            "attention",
            "attention layers: SOFTMAX, RELAY, modes of DRIVE and LEARN",
            version=18,
            identity=2,
            flag="attention",
            nests=True,
            default=True,
            needed=lambda network: "an attention layer" if network.attends else "",
        ),
    )
    counters: bool = _option(
        Feature(
            "counters",
            "counters of memory accesses and arithmetic, one register each",
            version=19,
            flag="counters",
        ),
    )
    early_exit: bool = _option(
        Feature(
            "early exit",
            "early exit of loops when rates have settled",
            version=20,
            identity=3,
            flag="early-exit",
            nests=True,
            needed=lambda network: "" if network.schedule.fixed else "a free phase that ends early",
        ),
    )
    convolution: bool = _option(
        Feature(
            "convolutions",
            "convolutions: CONVOLVE",
            version=21,
            identity=4,
            flag="convolutions",
            needed=lambda network: f"maps ({network.maps[0].name})" if network.maps else "",
        ),
    )
    self_attention: bool = _option(
        Feature(
            "self-attention",
            "self-attention, with attention and convolutions: rows of SOFTMAX, STORE mode of LEARN",
            version=22,
            identity=5,
            flag="self-attention",
            needed=lambda network: (
                f"self-attention ({network.self_attention[0].name})" if network.self_attention else ""
            ),
        ),
    )
    errors: bool = _option(
        Feature(
            "errors",
            "learning from errors, with attention: modes of NUDGE and RELAY, rounded products of DRIVE",
            version=17,
            identity=6,
            flag="errors",
        ),
    )


OPTIONS: Mapping[str, Feature] = {option.name: option.metadata["feature"] for option in fields(Options)}
#: for an engine that has all of them
EVERYTHING: Mapping[str, Any] = dict.fromkeys(OPTIONS, True)
FEATURES: Mapping[str, Feature] = {
    # of the pipeline
    "single_port": Feature(
        "single-port weights", "weight memory that either reads or writes in a cycle", 16, 0
    ),
    **OPTIONS,
}
#: those that a device tells over the link
IDENTIFIED = {name: f.identity for name, f in FEATURES.items() if f.identity is not None}


def has(config: Options, name: str) -> bool:
    assert name in FEATURES, name
    return bool(getattr(config, name))


def flags(config: Options) -> int:
    """Flags of the identity."""
    return sum(has(config, name) << bit for name, bit in IDENTIFIED.items())


def summary(config: Options, names: Iterable[str] = FEATURES) -> dict[str, str]:
    """Yes or no by label."""
    return {FEATURES[name].label: "yes" if has(config, name) else "no" for name in names}
