"""Board description, and the top level that connects the design to the pins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from amaranth import ClockDomain, Elaboratable, Module
from amaranth.build import Platform
from amaranth.hdl import Value
from amaranth.lib import io

from equilif_boards.clock import Pll
from equilif_boards.device import Fpga
from equilif_boards.flash import SpiFlash
from equilif_boards.front_end import AdcFrontEnd, FrontEnd
from equilif_boards.link import Link
from equilif_boards.sdram import Sdram
from equilif_golden.engine.config import MAX_ADDRESSED_TILES, EngineConfig, ExternalWeights
from equilif_golden.fixed import check_float, check_int
from equilif_golden.link.flash import Area
from equilif_golden.link.protocol import FRAME_BYTES, MAX_SAMPLES
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.front_end import listener
from equilif_hdl.front_end.listener import Microphone
from equilif_hdl.front_end.sensor import Adc
from equilif_hdl.top import Top

#: Yosys: read data are don't care while the word is written, except in FIFOs between clock domains
COLLISION_DONT_CARE = "setparam -set COLLISION_X_MASK 1'b1 t:$memrd_v2 r:CLK_ENABLE=1 %i *.line.*/c:* %d"
#: kind of front end of a sensor
ADC = "adc"
#: range of the number of tiles of P x P weights
TILES = (4, 1 << 15)
#: range of PLL output frequencies, in MHz
CLOCKS = (1.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board and its design: everything that determines a build, except tool versions."""

    name: str
    title: str
    platform: Callable[[], Platform]
    device: Fpga
    #: approximate price in US dollars, 2025
    cost: int
    clock: type[Pll[Any]]
    clock_hz: float
    link: Link
    #: alternative links
    other_links: tuple[Link, ...] = ()
    config: EngineConfig
    #: configuration flash, and the area of it that the design may use; None without one
    flash: SpiFlash | None = None
    #: whether the design has a standalone trainer, which uses the flash
    standalone: bool = False
    #: what the board has for a microphone, and the kind of microphone that the design is for; empty: none
    front_end: FrontEnd | None = None
    microphone_kind: str = ""
    #: what the board has for an ADC, and whether the design is for one
    adc_front_end: AdcFrontEnd | None = None
    has_adc: bool = False
    #: memory beside the FPGA, and whether the standalone trainer reads its samples there
    sdram: Sdram | None = None
    samples_in_sdram: bool = False
    #: layer sizes of a network that fits
    network: tuple[int, ...]
    #: memory style of neuron state, see equilif_hdl.engine.engine.Engine
    state_ram: str | None = None
    #: maximum frame length; limits the length of a program
    frame_bytes: int = FRAME_BYTES
    #: samples of a frame
    max_samples: int = MAX_SAMPLES
    synth_opts: str = ""
    nextpnr_opts: str = ""
    #: first seed of place and route
    seed: int = 1
    #: Yosys passes before synthesis
    after_read: tuple[str, ...] = ()
    #: resource names and numbers of LEDs: engine or standalone trainer active; byte on the link; fault of the
    #: trainer
    leds: tuple[tuple[str, int], ...] = ()
    #: board name in openFPGALoader
    loader: str = ""
    #: programming instructions, if openFPGALoader does not support the board
    programming_note: str = ""
    #: tools that are taken from PyPI, as those of distributions may be too old
    pypi_tools: tuple[str, ...] = ()

    def with_size(self, *, lanes: int | None = None, weights: int | None = None, **options: Any) -> Board:
        """Copy with another number of lanes, of weights, or other options of EngineConfig.

        ``lanes`` alone preserves the number of weights, values and neurons.  ValueError for invalid sizes.
        """
        c = self.config
        # ValueError for an invalid number of lanes, before the division
        p = c.lanes if lanes is None else replace(c, lanes=lanes).lanes
        least, most = (t * p**2 for t in TILES)
        n = c.n_weights if weights is None else check_int(weights, "weights", least, most)
        sized = replace(
            c,
            lanes=p,
            tiles=-(-n // p**2),
            value_groups=-(-c.value_groups * c.lanes // p),
            state_groups=-(-c.state_groups * c.lanes // p),
            external=None,
            **options,
        )
        return self._with_external(sized) if c.external else replace(self, config=sized)

    def with_standalone(self, standalone: bool = True) -> Board:
        """Copy with a standalone trainer, or without; ValueError if the board has no flash for it, or has a
        front end without a learn button.
        """
        if standalone and self.flash is None:
            raise ValueError(f"{self.title} has no flash that the design can use")
        if standalone and self.has_adc:
            raise ValueError("the front end of a sensor takes the place of the standalone trainer")
        if standalone and self.microphone_kind and self.front_end and not self.front_end.learn_button:
            raise ValueError(
                f"the front end of {self.title} has no learn button, so it takes the place of the standalone "
                "trainer: leave out --standalone"
            )
        return replace(self, standalone=standalone)

    def with_sdram(self, *, samples: bool = False) -> Board:
        """Copy with external weights and embedding tables in place of a standalone trainer; ValueError if
        the board has no SDRAM, the link is too fast for it, or there is a front end.  ``samples``: copy whose
        standalone trainer reads its samples from the SDRAM, with any link.
        """
        if self.sdram is None:
            raise ValueError(f"{self.title} has no SDRAM that the design can use")
        if self.microphone_kind or self.has_adc:
            raise ValueError("a design with an SDRAM has no front end: leave out --front-end or --sdram")
        if samples:
            return replace(self.with_standalone(), samples_in_sdram=True)
        if self.link.kind == "udp":
            raise ValueError(
                "a design with an SDRAM has no link by UDP: take another link, or leave out --sdram"
            )
        board = replace(self, standalone=False, state_ram=self.sdram.state_ram or self.state_ram)
        board = board._with_external(self.sdram.config or self.config)
        return board.with_clock(self.sdram.clock_hz / 1e6) if self.sdram.clock_hz else board

    def _with_external(self, config: EngineConfig) -> Board:
        """Copy with this engine and weights in the SDRAM."""
        assert self.sdram is not None
        p = config.lanes
        external = ExternalWeights(
            chip_name=self.sdram.chip_name,
            hz=int(self.clock_hz),
            tiles=min(self.sdram.weights // p**2, MAX_ADDRESSED_TILES - config.tiles),
            tables=config.attention and 16 * p >= 2 * self.sdram.chip.width,
        )
        return replace(self, config=replace(config, external=external))

    @property
    def sample_memory(self) -> ClockedSdram | None:
        """SDRAM for the samples of the standalone trainer, if the design has one."""
        if self.sdram is None or not (self.samples_in_sdram and self.standalone):
            return None
        return ClockedSdram(self.sdram.chip_name, int(self.clock_hz))

    @property
    def front_ends(self) -> tuple[str, ...]:
        """Kinds of front ends that the board has pins for."""
        return (*(listener.KINDS if self.front_end else ()), *((ADC,) if self.adc_front_end else ()))

    def front_end_place(self, kind: str) -> str:
        """Connector and pins of a kind of front end."""
        front_end = self.adc_front_end if kind == ADC else self.front_end
        return front_end.place if front_end else ""

    def with_front_end(self, kind: str) -> Board:
        """Copy with the front end of a microphone, pdm or i2s, or of a sensor, adc, in place of a standalone
        trainer.  With a microphone, by :meth:`with_standalone` afterwards, words are learned without a host.

        ValueError if the board has no pins for it, or there is no such front end.
        """
        if kind not in self.front_ends:
            raise ValueError(
                f"{self.title} has no front end {kind!r}: "
                + (
                    f"it has {' and '.join(self.front_ends)}"
                    if self.front_ends
                    else "take a board that has one (docs/how_to/listen_on_a_board.md)"
                )
            )
        if kind == ADC:
            assert self.adc_front_end is not None
            board = replace(self, standalone=False, has_adc=True, config=self.adc_front_end.config)
            assert board.adc
            return board
        assert self.front_end is not None
        sizes = self.front_end
        config = replace(self.config, tiles=sizes.tiles, program_words=sizes.program_words)
        board = replace(
            self,
            standalone=False,
            microphone_kind=kind,
            config=config,
            frame_bytes=sizes.frame_bytes,
        )
        assert board.microphone
        return board

    @property
    def microphone(self) -> Microphone | None:
        """Microphone of the design, if it has one."""
        return Microphone(self.microphone_kind, int(self.clock_hz)) if self.microphone_kind else None

    @property
    def adc(self) -> Adc | None:
        """ADC of the design, if it has one."""
        return self.adc_front_end.described(self.clock_hz) if self.has_adc and self.adc_front_end else None

    @property
    def links(self) -> tuple[Link, ...]:
        """All links, the selected one first."""
        return (self.link, *self.other_links)

    def with_link(self, kind: str) -> Board:
        """Copy with the link of this kind; ValueError if the board does not have it."""
        links = {link.kind: link for link in self.links}
        if kind not in links:
            raise ValueError(f"{self.title} has no link {kind!r}, it has {' and '.join(links)}")
        board = replace(self, link=links.pop(kind), other_links=tuple(links.values()))
        return board.with_clock(board.clock_hz / 1e6)

    @property
    def area(self) -> Area | None:
        """Flash area of the design, if it uses one."""
        return self.flash.area if self.standalone and self.flash else None

    def with_clock(self, mhz: float) -> Board:
        """Copy with another clock; ValueError if the PLL cannot generate it."""
        hz = 1e6 * check_float(mhz, "mhz", *CLOCKS, "clock")
        self.clock.dividers.find(self.platform().default_clk_frequency, hz, tuple(self.link.clocks.values()))
        external = self.config.external
        config = replace(self.config, external=external and replace(external, hz=int(hz)))
        return replace(self, clock_hz=hz, config=config)

    def overrides(self) -> dict[str, str]:
        """Keyword arguments of ``Platform.prepare``."""
        return {
            "synth_opts": self.synth_opts,
            "nextpnr_opts": " ".join(
                filter(None, (self.nextpnr_opts, self.clock.nextpnr_opts(self.clock_hz)))
            ),
            "script_after_read": "\n".join(self.after_read),
        }


class Shell(Elaboratable):
    """Top level of a board: Top, clock, link and LED pins."""

    def __init__(self, board: Board):
        self.board = board
        self.top = Top(
            board.config,
            transport=board.link.transport(board.clock_hz),
            state_ram=board.state_ram,
            frame_bytes=board.frame_bytes,
            max_samples=board.max_samples,
            flash=board.area,
            lookup=board.device.family.lookup,
            front_end=board.microphone or board.adc,
            sdram=board.sample_memory,
        )

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        link = self.board.link
        m.domains += [ClockDomain(name) for name in ("sync", *link.clocks)]
        m.submodules.clock = self.board.clock(self.board.clock_hz, link.clocks)
        m.submodules.top = top = self.top
        link.join(m, platform, top.pins)
        lights: list[Value] = [top.busy, top.link]
        if self.board.standalone and self.board.flash:
            self.board.flash.join(m, platform, top.flash)
            lights = [top.busy | top.active, top.link, top.fault]
        if self.board.microphone and self.board.front_end:
            self.board.front_end.join(m, platform, top.microphone, lessons=self.board.standalone)
            hears = top.busy | top.in_word
            lights = [hears | top.active, top.link, top.fault] if self.board.standalone else [hears, top.link]
        if self.board.has_adc and self.board.adc_front_end:
            self.board.adc_front_end.join(m, platform, top.sensor)
        if self.board.sdram and top.clocked_sdram:
            self.board.sdram.join(m, platform, top.sdram)
        for (name, number), lit in zip(self.board.leds, lights, strict=False):
            m.submodules[f"{name}_{number}"] = pin = io.Buffer(
                io.Direction.Output, platform.request(name, number, dir="-")
            )
            m.d.comb += pin.o.eq(lit)
        return m
