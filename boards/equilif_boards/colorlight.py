"""Colorlight i5 v7.0 in its extension board.

Pins as documented at github.com/wuxx/Colorlight-FPGA-Projects.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.build import Attrs, Clock, Connector, Pins, PinsN, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform
from amaranth_boards.resources import LEDResources, SDRAMResource, UARTResource

from equilif_boards.front_end import microphone_resource
from equilif_boards.link import UartLink, UdpLink, rgmii_resource
from equilif_boards.sdram import Sdram
from equilif_boards.ulx3s import FLASH, FRONT_END, SMALL_SDRAM, ULX3S_25F
from equilif_golden.link.flash import Area


class ColorlightI5(LatticeECP5Platform):
    """amaranth-boards has none."""

    device, package, speed = "LFE5U-25F", "BG381", "6"
    default_clk = "clk25"
    resources = [
        Resource("clk25", 0, Pins("P3", dir="i"), Clock(25e6), Attrs(IO_TYPE="LVCMOS33")),
        *LEDResources(pins="U16", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="H18", tx="J17", attrs=Attrs(IO_TYPE="LVCMOS33")),
        # the FPGA's own configuration pins; the clock is USRMCLK's
        Resource(
            "spi_flash",
            0,
            Subsignal("cs", PinsN("R2", dir="o")),
            Subsignal("copi", Pins("W2", dir="o")),
            Subsignal("cipo", Pins("V2", dir="i")),
            Attrs(IO_TYPE="LVCMOS33"),
        ),
        # a Pmod of connector P3
        microphone_resource(
            clock="F20", data="B20", ws="C17", text="B18", attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")
        ),
        # the other row of that Pmod: contacts to GND
        Resource("button_learn", 0, PinsN("A18", dir="i"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP")),
        *(
            Resource("switch", k, PinsN(pin, dir="i"), Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))
            for k, pin in enumerate(("A19", "B19", "D20"))
        ),
        # PHY U29, a Broadcom B50612D; the other one is U28
        rgmii_resource(
            0,
            rx=("H2", "P2", "K2 L1 N1 P1"),
            tx=("G1", "K1", "G2 H1 J1 J3"),
            reset="P4",
            attrs=Attrs(IO_TYPE="LVCMOS33"),
        ),
        # chip select, clock enable and data masks are constant on the module
        SDRAMResource(
            0,
            clk="B9",
            we_n="A10",
            ras_n="B10",
            cas_n="A9",
            ba="B11 C8",
            a="B13 C14 A16 A17 B16 B15 A14 A13 A12 A11 B12",
            dq="D15 E14 E13 D12 E12 D11 C10 B17 B8 A8 C7 A7 A6 B6 A5 B5 "
            "D5 C5 D6 C6 E7 D7 E8 D8 E9 D9 E11 C11 C12 D13 D14 C15",
            attrs=Attrs(IO_TYPE="LVCMOS33", SLEWRATE="FAST", PULLMODE="NONE"),
        ),
    ]
    connectors: list[Connector] = []


COLORLIGHT_I5 = replace(
    ULX3S_25F,
    name="colorlight-i5",
    title="Colorlight i5 (Lattice ECP5 LFE5U-25F)",
    platform=ColorlightI5,
    cost=60,
    link=UartLink(baud=1_000_000, place="on the extension board's USB"),
    other_links=(UdpLink(place="Ethernet port of PHY U29"),),
    flash=replace(FLASH, area=Area(16, 16)),  # 2 MiB in all
    front_end=replace(
        FRONT_END,
        place="connector P3: GND pin 4, clock pin 6, data pin 8, answers pin 10, WS pin 12",
        button="",
        switches=0,
        lesson_button="button_learn",
        lesson_switches=3,
        leds=(0, 0),
    ),
    sdram=Sdram(chip_name="EM638325", config=SMALL_SDRAM, state_ram="block", clock_hz=85e6),
    leds=(("led", 0),),
    loader="colorlight-i5",
)
