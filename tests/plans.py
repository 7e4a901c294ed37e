"""Builds of boards with small engines, up to the constraint files."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from equilif_boards import BOARDS
from equilif_boards.build import Plan

#: the boards with a small engine (elaborates in a second)
SMALL = {
    name: replace(board, config=replace(board.config, lanes=2, tiles=512, value_groups=64, state_groups=16))
    for name, board in BOARDS.items()
}
#: Plan.of, cached
planned = cache(Plan.of)


def pads(board) -> set[str]:
    """Pads of a build, except that of the clock."""
    files = planned(board).files
    found = re.findall(r'LOCATE COMP "[\w\[\]]+" SITE "(\w+)"', files.get("top.lpf", ""))
    found += re.findall(r"set_io (?!clk12)\w+ (\d+)", files.get("top.pcf", ""))
    return set(found)
