"""Boards by name."""
from __future__ import annotations

from equilif.extras import needs

with needs("hdl,boards"):
    from boards import BOARDS, Board


def find(name: str) -> Board:
    if name not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
