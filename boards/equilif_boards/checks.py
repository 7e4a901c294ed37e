"""Checks of an elaborated design before synthesis: its pins, and its block RAMs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from amaranth.build import Platform

from equilif_boards.device import Family

#: user pins by device and package, names of both as in Amaranth (projects IceStorm and Trellis)
PINS = Path(__file__).with_name("pins.json")
#: a component and its pin in constraints for nextpnr: iCE40, ECP5, Gowin
CONSTRAINT = re.compile(
    r'^(?:set_io (\S+) (\w+)|LOCATE COMP "(\S+)" SITE "(\w+)"|IO_LOC "(\S+)" (\w+))', re.M
)
MEMORY = re.compile(r"((?:^ *attribute .*\n)*)^ *memory width (\d+) size (\d+) ", re.M)
#: a memory of fewer words is in registers or LUTs, unless the design wants a block RAM
MIN_WORDS = 64


def pins(constraints: Mapping[str, str]) -> dict[str, str]:
    """Pins of a design by component, such as ``uart_0__rx__io``, from its constraint files."""
    found = (match for text in constraints.values() for match in CONSTRAINT.findall(text))
    return dict(tuple(filter(None, match)) for match in found)


def part(platform: Platform) -> str:
    """Device and package of a platform."""
    return " ".join(getattr(platform, name, "") for name in ("device", "package"))


def unknown_pins(platform: Platform, pins: Mapping[str, str]) -> dict[str, str]:
    """The used pins that the package does not have; none where its pins are not known."""
    known = json.loads(PINS.read_text()).get(part(platform))
    return {} if known is None else {c: pin for c, pin in pins.items() if pin not in known.split()}


def block_rams(rtlil: str, family: Family) -> int:
    """Block RAMs of a design; weights in RAM of another kind are not counted."""
    return sum(
        min(-(-width // bits) * -(-words // depth) for depth, bits in family.ram_shapes)
        for width, words in _memories(rtlil, family)
    )


def _memories(rtlil: str, family: Family) -> Iterator[tuple[int, int]]:
    """Width and words of the memories in block RAM."""
    for attributes, width, words in MEMORY.findall(rtlil):
        style = re.search(r'ram_style "(\w+)"', attributes)
        large = int(words) >= MIN_WORDS and int(width) * int(words) >= family.ram_bits
        if style[1] == "block" if style else large:
            yield int(width), int(words)
