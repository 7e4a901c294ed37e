"""What a board is: data, and the shell that joins the design with its pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from amaranth import ClockDomain, Elaboratable, Module
from amaranth.build import Platform
from amaranth.lib import io

from equilif_boards.clock import Ecp5Pll, GowinPll, Ice40Pll
from equilif_boards.device import Device
from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import finite, whole
from equilif_golden.link.protocol import FRAME_BYTES
from equilif_hdl.top import Top

#: fewest and most tiles of P x P weights of an engine
TILES = (4, 1 << 15)
#: MHz, beyond which no PLL goes
CLOCKS = (1.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and what is built for it; everything that a build depends on, apart from the tools.

    ``network`` is the largest chain that the board is meant for, ``after_read`` Yosys passes before
    synthesis, ``leds`` the resource names of LEDs for engine and link, ``high`` of outputs that must be
    high for the UART to work, ``loader`` openFPGALoader's name of the board, ``by_hand`` how to program
    one that it does not know.  A program is one frame, so ``frame_bytes`` bounds its length. ``cost``: US
    dollars, about, as sold in 2025.  ``serial``: where the link's serial port is.  ``new_yosys``: the
    distribution's may be too old.
    """

    name: str
    title: str
    platform: Callable[[], Platform]
    device: Device
    cost: int
    clock: type[Ice40Pll] | type[Ecp5Pll] | type[GowinPll]
    clock_hz: float
    baud: int
    config: EngineConfig
    network: tuple[int, ...]
    state_ram: str | None = None
    frame_bytes: int = FRAME_BYTES
    synth_opts: str = ""
    nextpnr_opts: str = ""
    after_read: tuple[str, ...] = ()
    leds: tuple[tuple[str, int], ...] = ()
    loader: str = ""
    high: tuple[str, ...] = ()
    serial: str = "on the board's USB"
    by_hand: str = ""
    new_yosys: bool = False

    def resized(
        self,
        *,
        lanes: int | None = None,
        weights: int | None = None,
        softmax: bool | None = None,
        early: bool | None = None,
    ) -> Board:
        """With other lanes and as many weights, values and neurons, other weights, memories or none, early
        ends or none; ValueError when no engine has such sizes.
        """
        c = self.config
        # ValueError for a number of lanes that no engine has, before it is divided by
        p = c.lanes if lanes is None else replace(c, lanes=lanes).lanes
        n = c.n_weights if weights is None else whole(weights, "weights", *(t * p**2 for t in TILES))
        return replace(
            self,
            config=replace(
                c,
                lanes=p,
                tiles=-(-n // p**2),
                value_groups=-(-c.value_groups * c.lanes // p),
                state_groups=-(-c.state_groups * c.lanes // p),
                softmax=c.softmax if softmax is None else softmax,
                early=c.early if early is None else early,
            ),
        )

    def clocked(self, mhz: float) -> Board:
        """With another clock; ValueError for one that the PLL cannot make."""
        hz = 1e6 * finite(mhz, "clock in MHz", *CLOCKS)
        self.clock.dividers.find(self.platform().default_clk_frequency, hz)
        return replace(self, clock_hz=hz)

    def overrides(self) -> dict[str, str]:
        """Keywords for ``Platform.prepare``."""
        return {
            "synth_opts": self.synth_opts,
            "nextpnr_opts": " ".join(
                filter(None, (self.nextpnr_opts, self.clock.nextpnr_opts(self.clock_hz)))
            ),
            "script_after_read": "\n".join(self.after_read),
        }


class Shell(Elaboratable):
    """Top on the pins of a board."""

    def __init__(self, board: Board, *, build_id: int = 0):
        self.board = board
        self.top = Top(
            board.config,
            clock_hz=board.clock_hz,
            baud=board.baud,
            build_id=build_id,
            state_ram=board.state_ram,
            frame_bytes=board.frame_bytes,
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.submodules.clock = self.board.clock(self.board.clock_hz)
        m.submodules.top = top = self.top
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [top.rx.eq(rx.i), tx.o.eq(top.tx)]
        for name in self.board.high:
            m.submodules[name] = pin = io.Buffer("o", platform.request(name, 0, dir="-"))
            m.d.comb += pin.o.eq(1)
        for (name, number), lit in zip(self.board.leds, (top.busy, top.link), strict=False):
            m.submodules[f"{name}_{number}"] = pin = io.Buffer("o", platform.request(name, number, dir="-"))
            m.d.comb += pin.o.eq(lit)
        return m
