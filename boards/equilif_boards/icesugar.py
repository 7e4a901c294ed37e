"""iCESugar: the iCEBreaker's FPGA on a smaller board."""

from __future__ import annotations

from dataclasses import replace

from amaranth_boards.icesugar import ICESugarPlatform

from equilif_boards.icebreaker import ICEBREAKER

ICESUGAR = replace(
    ICEBREAKER,
    name="icesugar",
    title="iCESugar (Lattice iCE40UP5K)",
    platform=ICESugarPlatform,
    cost=50,
    baud=1_000_000,
    leds=(("led_g", 0), ("led_r", 0)),
    loader="",
    by_hand="copy it to the drive iCELink, as which the board shows itself",
    serial="on the programmer's USB",
)
