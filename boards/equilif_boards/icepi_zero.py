"""Icepi Zero with LFE5U-25F, in the shape of a Raspberry Pi Zero.

Pins as documented at github.com/cheyao/icepi-zero.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.build import Attrs, Clock, Connector, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import LEDResources, SDRAMResource, UARTResource

from equilif_boards.link import UartLink
from equilif_boards.sdram import Sdram
from equilif_boards.ulx3s import SMALL_SDRAM, ULX3S_25F

VOLTAGE = Attrs(IO_TYPE="LVCMOS33")


class IcepiZero(LatticeECP5Platform):
    """amaranth-boards has none."""

    device, package, speed = "LFE5U-25F", "BG256", "6"
    default_clk = "clk50"
    resources = [
        Resource("clk50", 0, Pins("M1", dir="i"), Clock(50e6), VOLTAGE),
        *LEDResources(pins="E13 D14 E12 C13 D13", attrs=VOLTAGE),
        UARTResource(0, rx="K16", tx="K15", attrs=VOLTAGE),
        # the FPGA's own configuration pins; the clock is USRMCLK's
        Resource(
            "spi_flash",
            0,
            Subsignal("cs", PinsN("N8", dir="o")),
            Subsignal("copi", Pins("T8", dir="o")),
            Subsignal("cipo", Pins("T7", dir="i")),
            VOLTAGE,
        ),
        SDRAMResource(
            0,
            clk="A3",
            cke="B4",
            cs_n="B12",
            we_n="A13",
            ras_n="A12",
            cas_n="B13",
            ba="A11 B11",
            a="B10 A9 B9 A8 B8 A7 B7 A6 B6 A5 A10 B5 A4",
            dq="B16 C14 C16 C15 D16 A15 B15 A14 A2 B2 E2 D1 C2 C1 C3 B1",
            dqm="B14 B3",
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="FAST", PULLMODE="NONE"),
        ),
    ]
    connectors: list[Connector] = []


ICEPI_ZERO = replace(
    ULX3S_25F,
    name="icepi-zero",
    title="Icepi Zero (Lattice ECP5 LFE5U-25F)",
    platform=IcepiZero,
    cost=70,
    link=UartLink(baud=3_000_000),
    other_links=(),
    front_end=None,
    sdram=Sdram(chip_name="W9825G6KH", config=SMALL_SDRAM, state_ram="block", clock_hz=85e6),
    loader="icepi-zero",
)
