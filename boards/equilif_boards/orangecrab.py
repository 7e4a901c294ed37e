"""OrangeCrab r0.2 with LFE5U-25F.

USB is connected to the FPGA.  The alternative UART needs an adapter at header pins 0 (tx) and 1 (rx).
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform
from amaranth_boards.resources import UARTResource

from equilif_boards.front_end import microphone_resource
from equilif_boards.link import UartLink, UsbLink
from equilif_boards.ulx3s import FLASH, FRONT_END, ULX3S_25F


class OrangeCrab(OrangeCrabR0_2_25FPlatform):
    resources = [
        *OrangeCrabR0_2_25FPlatform.resources,
        UARTResource(0, rx="1", tx="0", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33")),
        microphone_resource(
            clock="5",
            data="6",
            ws="9",
            text="11",
            conn=("io", 0),
            attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"),
        ),
    ]


ORANGECRAB = replace(
    ULX3S_25F,
    name="orangecrab",
    title="OrangeCrab r0.2 25F (Lattice ECP5 LFE5U-25F)",
    platform=OrangeCrab,
    cost=130,
    clock_hz=96e6,
    link=UsbLink(),
    other_links=(UartLink(baud=3_000_000, place="an adapter at header pins 0 and 1"),),
    flash=replace(FLASH, resource="spi_flash_1x"),
    sdram=None,  # it has DDR3
    leds=(),
    front_end=replace(
        FRONT_END,
        place="header: clock pin 5, data pin 6, WS pin 9, answers pin 11",
        button="",
        switches=0,
        leds=(0, 0),
    ),
    loader="orangeCrab",
)
