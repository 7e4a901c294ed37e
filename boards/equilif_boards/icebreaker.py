"""iCEBreaker: iCE40UP5K.  Weights in the four SPRAMs, one bank each."""

from __future__ import annotations

from amaranth.build import Attrs
from amaranth_boards.icebreaker import ICEBreakerPlatform

from equilif_boards.board import COLLISION_DONT_CARE, Board
from equilif_boards.clock import Ice40Pll
from equilif_boards.device import ICE40UP5K
from equilif_boards.flash import SpiFlash
from equilif_boards.front_end import AdcFrontEnd, adc_resource
from equilif_boards.link import UartLink
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.front_end.sensor import RATE_HZ, WINDOW, WINDOWS
from equilif_golden.link.flash import Area


class ICEBreaker(ICEBreakerPlatform):
    resources = [
        *ICEBreakerPlatform.resources,
        # pinout of SPI Pmods; PULLUP is a numeric cell parameter
        adc_resource(
            cs="1",
            mosi="2",
            miso="3",
            sck="4",
            text="7",
            conn=("pmod", 1),
            attrs=Attrs(IO_STANDARD="SB_LVCMOS", PULLUP=1),  # type: ignore[arg-type]
        ),
        *ICEBreakerPlatform.break_off_pmod,
    ]


ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker (Lattice iCE40UP5K)",
    platform=ICEBreaker,
    device=ICE40UP5K,
    cost=80,
    clock=Ice40Pll,
    clock_hz=30e6,
    link=UartLink(baud=6_000_000),
    flash=SpiFlash(area=Area(16, 240)),  # after 1 MiB of bitstreams
    config=EngineConfig(
        lanes=4, tiles=4096, value_groups=256, state_groups=128, pipeline=Pipeline.SPRAM, attention=False
    ),
    # of 4 lanes the front end would need 600 logic cells more than the FPGA has
    adc_front_end=AdcFrontEnd(
        place="connector PMOD1B: CS pin 1, MOSI pin 2, MISO pin 3, SCK pin 4, answers pin 7",
        config=EngineConfig(
            lanes=2, tiles=8192, value_groups=512, state_groups=256, pipeline=Pipeline.SPRAM, attention=False
        ),
        channels=6,
        window=WINDOW,
        windows=WINDOWS,
        rate_hz=RATE_HZ,
        sck_hz=1_000_000,
        button=("button", 0),
        switches=(("button", 1), ("button", 2)),
        leds=(("led", 2), ("led", 3), ("led", 4), ("led", 5)),
    ),
    max_samples=1,  # several need 80 LUTs and a block RAM
    network=(784, 64, 10),
    seed=2,  # 1 misses timing by some tenths of a MHz
    synth_opts="-dsp -spram -abc9 -device u",
    after_read=(
        # SPRAM has no initial content, which Yosys does not drop
        "delete t:$meminit_v2 r:MEMID=*bank* %i",
        COLLISION_DONT_CARE,
        # abc9 optimises critical paths for delay, the others for area.  Target delay and wire delay in ps: by
        # default wires are too fast, and every path is critical
        "scratchpad -set abc9.D 23000",
        "scratchpad -set synth_ice40.abc9.W 1800",
    ),
    leds=(("led_g", 0), ("led_r", 0)),
    loader="ice40_generic",
)
