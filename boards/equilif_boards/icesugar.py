"""iCESugar: the iCEBreaker's FPGA on a smaller board."""

from __future__ import annotations

from dataclasses import replace

from amaranth_boards.icesugar import ICESugarPlatform

from equilif_boards.flash import SpiFlash
from equilif_boards.icebreaker import ICEBREAKER
from equilif_boards.link import UartLink
from equilif_golden.link.flash import Area

ICESUGAR = replace(
    ICEBREAKER,
    name="icesugar",
    title="iCESugar (Lattice iCE40UP5K)",
    platform=ICESugarPlatform,
    cost=50,
    link=UartLink(baud=1_000_000, place="on the programmer's USB"),
    adc_front_end=None,
    flash=SpiFlash(area=Area(16, 112)),
    leds=(("led_g", 0), ("led_r", 0)),
    loader="",
    programming_note="copy it to the USB drive iCELink of the board",
)
