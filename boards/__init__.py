"""Boards as data, and the build from a board to its bitstream."""
from __future__ import annotations

from boards.board import Board
from boards.icebreaker import ICEBREAKER
from boards.ulx3s import ULX3S_85F

BOARDS: dict[str, Board] = {b.name: b for b in (ICEBREAKER, ULX3S_85F)}

__all__ = ["BOARDS", "Board"]
