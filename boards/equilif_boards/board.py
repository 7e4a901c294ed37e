"""What a board is: data, and the shell that joins the design with its pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from amaranth import ClockDomain, Elaboratable, Module
from amaranth.build import Platform
from amaranth.lib import io

from equilif_boards.clock import Pll
from equilif_boards.device import Device
from equilif_boards.flash import SpiFlash
from equilif_boards.link import Link
from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import finite, whole
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import FRAME_BYTES
from equilif_hdl.top import Top

#: Yosys: no reader uses what it read from a word that was being written (of memories that have a clock; those
#: between a link's clocks have two)
ANY_WHILE_WRITTEN = "setparam -set COLLISION_X_MASK 1'b1 t:$memrd_v2 r:CLK_ENABLE=1 %i *.line.*/c:* %d"
#: fewest and most tiles of P x P weights of an engine
TILES = (4, 1 << 15)
#: MHz, beyond which no PLL goes
CLOCKS = (1.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and what is built for it; everything that a build depends on, apart from the tools."""

    name: str
    title: str
    platform: Callable[[], Platform]
    device: Device
    #: US dollars, about, as sold in 2025
    cost: int
    clock: type[Pll[Any]]
    clock_hz: float
    link: Link
    #: other ways to the host, that a build may take
    other_links: tuple[Link, ...] = ()
    config: EngineConfig
    #: the flash beside the FPGA, and the design's area of it; None where the board has none
    flash: SpiFlash | None = None
    #: whether the design has a standalone trainer, which works with it
    standalone: bool = False
    #: sizes of the largest chain that the board is meant for
    network: tuple[int, ...]
    #: memory style of neuron state, see equilif_hdl.engine.engine.Engine
    state_ram: str | None = None
    #: longest frame; a program is one, so this bounds its length
    frame_bytes: int = FRAME_BYTES
    synth_opts: str = ""
    nextpnr_opts: str = ""
    #: seed of place and route that is tried first
    seed: int = 1
    #: Yosys passes before synthesis
    after_read: tuple[str, ...] = ()
    #: resource names and numbers of LEDs, for engine and link; of a standalone trainer, for its activity and
    #: its fault
    leds: tuple[tuple[str, int], ...] = ()
    #: openFPGALoader's name of the board
    loader: str = ""
    #: how to program a board that openFPGALoader does not know
    by_hand: str = ""
    #: tools that are taken from PyPI, as the distribution's may be too old
    new_tools: tuple[str, ...] = ()

    def resized(self, *, lanes: int | None = None, weights: int | None = None, **options: Any) -> Board:
        """With other lanes and as many weights, values and neurons, other weights, other options of
        EngineConfig; ValueError when no engine has such sizes.
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
                **options,
            ),
        )

    def with_standalone(self) -> Board:
        """With a standalone trainer; ValueError when the board has no flash for it."""
        if self.flash is None:
            raise ValueError(f"{self.title} has no flash that the design can use")
        return replace(self, standalone=True)

    @property
    def links(self) -> tuple[Link, ...]:
        """All ways to the host, the one that it has first."""
        return (self.link, *self.other_links)

    def with_link(self, kind: str) -> Board:
        """Joined with the host by the link of this kind; ValueError for one that the board has not."""
        links = {link.kind: link for link in self.links}
        if kind not in links:
            raise ValueError(f"{self.title} has no link {kind!r}, it has {' and '.join(links)}")
        found = replace(self, link=links.pop(kind), other_links=tuple(links.values()))
        return found.clocked(found.clock_hz / 1e6)

    @property
    def area(self) -> Area | None:
        """Of its flash, where the design uses it."""
        return self.flash.area if self.standalone and self.flash else None

    def clocked(self, mhz: float) -> Board:
        """With another clock; ValueError for one that the PLL cannot make."""
        hz = 1e6 * finite(mhz, "clock in MHz", *CLOCKS)
        self.clock.dividers.find(self.platform().default_clk_frequency, hz, tuple(self.link.clocks.values()))
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

    def __init__(self, board: Board):
        self.board = board
        self.top = Top(
            board.config,
            transport=board.link.transport(board.clock_hz),
            state_ram=board.state_ram,
            frame_bytes=board.frame_bytes,
            flash=board.area,
            lookup=board.device.family.lookup,
        )

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        link = self.board.link
        m.domains += [ClockDomain(name) for name in ("sync", *link.clocks)]
        m.submodules.clock = self.board.clock(self.board.clock_hz, link.clocks)
        m.submodules.top = top = self.top
        link.join(m, platform, top.pins)
        lights = [top.busy, top.link]
        if self.board.standalone and self.board.flash:
            self.board.flash.join(m, platform, top.flash)
            lights = [top.active, top.fault]
        for (name, number), lit in zip(self.board.leds, lights, strict=False):
            m.submodules[f"{name}_{number}"] = pin = io.Buffer(
                io.Direction.Output, platform.request(name, number, dir="-")
            )
            m.d.comb += pin.o.eq(lit)
        return m
