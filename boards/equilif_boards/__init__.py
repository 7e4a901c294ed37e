"""Boards as data, and the build from a board to its bitstream."""

from __future__ import annotations

from equilif_golden.extras import needs

with needs("hdl,boards"):
    from equilif_boards.board import Board
    from equilif_boards.colorlight import COLORLIGHT_I5
    from equilif_boards.icebreaker import ICEBREAKER
    from equilif_boards.icepi_zero import ICEPI_ZERO
    from equilif_boards.icesugar import ICESUGAR
    from equilif_boards.orangecrab import ORANGECRAB
    from equilif_boards.tang_nano import TANG_NANO_9K, TANG_NANO_20K
    from equilif_boards.ulx3s import ULX3S_25F, ULX3S_85F, ULX3S_85F_MAPS

BOARDS: dict[str, Board] = {
    b.name: b
    for b in (
        ICEBREAKER,
        ICESUGAR,
        ULX3S_25F,
        ULX3S_85F,
        ULX3S_85F_MAPS,
        ORANGECRAB,
        COLORLIGHT_I5,
        ICEPI_ZERO,
        TANG_NANO_9K,
        TANG_NANO_20K,
    )
}

__all__ = ["BOARDS", "Board"]
