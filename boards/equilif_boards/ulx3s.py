"""ULX3S.  Weights in block RAM, neuron state in distributed RAM."""

from __future__ import annotations

from dataclasses import replace

from amaranth.build import Attrs
from amaranth_boards.ulx3s import ULX3S_25F_Platform, ULX3S_85F_Platform

from equilif_boards.board import COLLISION_DONT_CARE, Board
from equilif_boards.clock import Ecp5GlobalReset, Ecp5Pll
from equilif_boards.device import LFE5U_25F, LFE5U_85F
from equilif_boards.flash import SpiFlash
from equilif_boards.front_end import FrontEnd, microphone_resource
from equilif_boards.link import UartLink, UsbLink
from equilif_boards.sdram import Sdram
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.link.flash import Area

#: after 2 MiB of bitstream; its clock is a dedicated configuration pin
FLASH = SpiFlash(area=Area(32, 224), resource="spi_flash", clock_cell="USRMCLK")

#: options of nextpnr: wires of the static placer are a fifth shorter, and router2 often does not finish
NEXTPNR = "--placer static --router router1"
#: the static placer of 0.7, which distributions have, makes wires twice as long
PYPI_TOOLS = ("nextpnr-ecp5",)

#: pins of the header, which also has 3.3 V and GND
MICROPHONE = microphone_resource(
    clock="2+",
    data="2-",
    ws="3+",
    text="3-",
    conn=("gpio", 0),
    attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"),
)
#: the front end has six block RAMs, two more are for programs
FRONT_END = FrontEnd(
    place="header J1: clock GP2, data GN2, WS GP3, answers GN3",
    tiles=640,
    program_words=1024,
    frame_bytes=4096,
    button="button_fire",
    switches=4,
    leds=(4, 4),
)


class ULX3S25F(ULX3S_25F_Platform):
    resources = [*ULX3S_25F_Platform.resources, MICROPHONE]


ULX3S_85F = Board(
    name="ulx3s-85f",
    title="ULX3S 85F (Lattice ECP5 LFE5U-85F)",
    platform=ULX3S_85F_Platform,
    device=LFE5U_85F,
    cost=180,
    clock=Ecp5GlobalReset,
    clock_hz=81.25e6,
    link=UartLink(baud=3_000_000, high=("uart_tx_enable",)),
    flash=FLASH,
    standalone=True,
    frame_bytes=4096,
    sdram=Sdram(chip_name="IS42S16160", clock_hz=70e6),  # at 81.25 MHz the routing did not finish
    config=EngineConfig(
        lanes=32,
        tiles=192,
        value_groups=64,
        state_groups=16,
        pipeline=Pipeline.DEEP,
        program_words=1024,
        errors=True,
    ),
    network=(784, 224, 10),
    state_ram="distributed",
    after_read=(COLLISION_DONT_CARE,),
    nextpnr_opts=f"{NEXTPNR} --tmg-ripup",  # late wires are routed again
    pypi_tools=PYPI_TOOLS,
    leds=(("led", 0), ("led", 1), ("led", 2)),
    loader="ulx3s",
)

#: engine for convolutions and many queries: fewer weights, and neuron state in block RAM
MAPS = replace(
    ULX3S_85F.config,
    lanes=16,
    tiles=384,
    value_groups=1024,
    state_groups=512,
    program_words=2048,
    convolution=True,
)

ULX3S_85F_MAPS = replace(
    ULX3S_85F,
    name="ulx3s-85f-maps",
    title="ULX3S 85F with convolutions (Lattice ECP5 LFE5U-85F)",
    clock=Ecp5Pll,
    clock_hz=70e6,
    link=UartLink(baud=2_000_000, high=("uart_tx_enable",)),
    config=MAPS,
    network=(784, 112, 10),
    sdram=None,  # the routing of convolutions with the controller does not finish
    state_ram="block",
    nextpnr_opts=NEXTPNR,
)

#: engine of all boards with an LFE5U-25F
SMALL = EngineConfig(
    lanes=8,
    tiles=768,
    value_groups=256,
    state_groups=32,
    pipeline=Pipeline.DEEP,
    program_words=512,
    errors=True,
)
#: with weights in an SDRAM: memory for more neurons in place of weights
SMALL_SDRAM = replace(SMALL, tiles=512, state_groups=128)

ULX3S_25F = Board(
    name="ulx3s-25f",
    title="ULX3S 25F (Lattice ECP5 LFE5U-25F)",
    platform=ULX3S25F,
    device=LFE5U_25F,
    cost=130,
    clock=Ecp5Pll,
    clock_hz=90e6,
    link=UartLink(baud=3_000_000, high=("uart_tx_enable",)),
    other_links=(UsbLink(place="on the connector US2"),),
    flash=FLASH,
    standalone=True,
    frame_bytes=2048,
    sdram=Sdram(chip_name="IS42S16160", config=SMALL_SDRAM, state_ram="block", clock_hz=85e6),
    config=SMALL,
    network=(784, 56, 10),
    state_ram="distributed",
    after_read=ULX3S_85F.after_read,
    nextpnr_opts=NEXTPNR,
    pypi_tools=PYPI_TOOLS,
    front_end=FRONT_END,
    leds=ULX3S_85F.leds,
    loader=ULX3S_85F.loader,
)
