"""A board that equilif does not list, in one file.

    equilif build examples/own_board.py          its bitstream, in build/my-board
    equilif simulate examples/own_board.py       the board in simulation
    equilif flash examples/own_board.py

An iCE40UP5K on a carrier with a 12 MHz oscillator, two LEDs and a USB serial bridge at 1 Mbaud. Change pins,
clock and rate. For another FPGA see equilif_boards.device.
"""

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth.vendor import LatticeICE40Platform
from amaranth_boards.resources import UARTResource

from equilif_boards import Board
from equilif_boards.clock import Ice40Pll
from equilif_boards.device import ICE40UP5K
from equilif_boards.icebreaker import ICEBREAKER
from equilif_boards.link import UartLink
from equilif_golden.engine.config import EngineConfig, Pipeline

VOLTAGE = Attrs(IO_STANDARD="SB_LVCMOS")


class MyPlatform(LatticeICE40Platform):
    """Pins, as the schematic has them."""

    device = "iCE40UP5K"
    package = "SG48"
    default_clk = "clk12"
    resources = [
        Resource("clk12", 0, Pins("35", dir="i"), Clock(12e6), VOLTAGE),
        UARTResource(0, rx="6", tx="9", attrs=VOLTAGE),
        Resource("led", 0, PinsN("11", dir="o"), VOLTAGE),
        Resource("led", 1, PinsN("37", dir="o"), VOLTAGE),
    ]
    connectors = []


MY_BOARD = Board(
    name="my-board",
    title="My carrier (Lattice iCE40UP5K)",
    platform=MyPlatform,
    device=ICE40UP5K,
    cost=30,
    clock=Ice40Pll,
    clock_hz=18e6,
    link=UartLink(baud=1_000_000),
    # half of the weights of an iCEBreaker, no attention: `equilif build` rejects what does not fit
    config=EngineConfig(
        lanes=4, tiles=2048, value_groups=256, state_groups=64, pipeline=Pipeline.SPRAM, attention=False
    ),
    network=(784, 32, 10),
    # how Yosys uses the single-port RAM of this device: see equilif_boards.icebreaker
    synth_opts=ICEBREAKER.synth_opts,
    after_read=ICEBREAKER.after_read,
    leds=(("led", 0), ("led", 1)),  # engine busy, byte on the link
    programming_note="write it with the programmer of the carrier",
)
