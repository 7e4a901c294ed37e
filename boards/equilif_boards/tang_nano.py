"""Sipeed Tang Nano 9K and 20K: Gowin.  Weights and neuron state in block RAM, tools from PyPI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from amaranth.build import Attrs, Clock, Connector, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, SPIFlashResources, UARTResource
from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from equilif_boards.board import COLLISION_DONT_CARE, Board
from equilif_boards.clock import GowinPll
from equilif_boards.device import GW1NR_9, GW2AR_18
from equilif_boards.flash import SpiFlash
from equilif_boards.link import UartLink
from equilif_boards.sdram import GowinSdram
from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import Area


class Himbaechel(GowinPlatform):
    """Amaranth 0.5 calls nextpnr-gowin, which no longer exists."""

    _design: Any  # of Platform.prepare
    _apicula_required_tools = ["yosys", "nextpnr-himbaechel", "gowin_pack"]
    _apicula_command_templates = [
        GowinPlatform._apicula_command_templates[0],
        r"""
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform._chipdb_device}}
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """,
        # after configuration the flash pins belong to the design
        GowinPlatform._apicula_command_templates[2].replace("-o ", "--mspi_as_gpio -o "),
    ]

    def iter_port_constraints_bits(self) -> Iterator[tuple[str, str, Attrs]]:
        """Constraints of ports that have pins; those of a memory in the package have none."""
        for name, port, _ in self._design.ports:
            for bit, pin in enumerate(port.metadata):
                if pin is not None:
                    yield (name if len(port) == 1 else f"{name}[{bit}]"), pin.name, pin.attrs


class TangNano9K(Himbaechel, TangNano9kPlatform):
    pass


class TangNano20K(Himbaechel):
    """Not in amaranth-boards.  Pins: wiki.sipeed.com/nano20k."""

    part, family = "GW2AR-LV18QN88C8/I7", "GW2A-18C"
    default_clk = "clk27"
    resources = [
        Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), Attrs(IO_TYPE="LVCMOS33")),
        *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=Attrs(IO_TYPE="LVCMOS33")),
        UARTResource(0, rx="70", tx="69", attrs=Attrs(IO_TYPE="LVCMOS33")),
        # configuration pins of the package, as on the 9K
        *SPIFlashResources(0, cs_n="60", clk="59", copi="61", cipo="62", attrs=Attrs(IO_TYPE="LVCMOS33")),
    ]
    connectors: list[Connector] = []

    def parse_part(self) -> None:
        """The die of this package is that of the GW2A-18C, which Amaranth rejects."""
        self.series, self.size, self.subseries_f = "GW2A", "18", "C"


TANG_NANO_9K = Board(
    name="tang-nano-9k",
    title="Tang Nano 9K (Gowin GW1NR-9)",
    platform=TangNano9K,
    device=GW1NR_9,
    cost=20,
    clock=GowinPll,
    clock_hz=72e6,
    link=UartLink(baud=3_000_000),
    # external flash of 4 MiB; the bitstream is in the internal one
    flash=SpiFlash(area=Area(1, 63)),
    config=EngineConfig(lanes=4, tiles=1024, value_groups=256, state_groups=32, attention=False),
    network=(784, 20, 10),
    frame_bytes=2048,  # one block RAM, as for less
    after_read=(COLLISION_DONT_CARE,),
    pypi_tools=("yosys",),
    leds=(("led", 0), ("led", 1), ("led", 2)),
    loader="tangnano9k",
)

#: engine of the Tang Nano 20K
ENGINE_20K = EngineConfig(lanes=8, tiles=512, value_groups=128, state_groups=32, attention=False)
#: with weights in an SDRAM: memory for more neurons in place of weights
SDRAM_20K = replace(ENGINE_20K, tiles=256, value_groups=256, state_groups=64)

TANG_NANO_20K = Board(
    name="tang-nano-20k",
    title="Tang Nano 20K (Gowin GW2AR-18)",
    platform=TangNano20K,
    device=GW2AR_18,
    cost=30,
    clock=GowinPll,
    clock_hz=120e6,
    link=UartLink(baud=3_000_000),
    # 8 MiB, of which the bitstream takes less than one
    flash=SpiFlash(area=Area(32, 96)),
    config=ENGINE_20K,
    network=(784, 40, 10),
    frame_bytes=2048,  # one block RAM, as for less
    after_read=TANG_NANO_9K.after_read,
    sdram=GowinSdram(chip_name="M12L64322A", config=SDRAM_20K),
    synth_opts="-family gw2a",
    pypi_tools=("yosys",),
    leds=TANG_NANO_9K.leds,
    loader="tangnano20k",
)
