"""Builds of boards with small engines, up to the constraint files."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from equilif_boards import BOARDS
from equilif_boards.build import BuildPlan
from equilif_boards.checks import pins

#: the boards with a small engine (elaborates in a second)
SMALL = {
    name: replace(board, config=replace(board.config, lanes=2, tiles=512, value_groups=64, state_groups=16))
    for name, board in BOARDS.items()
}
#: BuildPlan.of, cached
planned = cache(BuildPlan.of)


def pads(board) -> set[str]:
    """Pads of a build, except that of the clock."""
    used = pins(planned(board).constraints)
    return {pin for component, pin in used.items() if not component.startswith("clk12")}
