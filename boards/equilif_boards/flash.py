"""Configuration flash of a board: its pins, and the area that the design may use."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth import Instance, Module
from amaranth.build import Platform
from amaranth.lib import io

from equilif_golden.link.flash import Area
from equilif_hdl.link.flash import FlashPins


@dataclass(frozen=True, kw_only=True)
class SpiFlash:
    """A serial flash.

    ``area``: the blocks after the bitstream.  ``resource``: its name on the board.  ``clock_cell``: primitive
    that drives its clock, if that is no user pin (ECP5: USRMCLK).
    """

    area: Area
    resource: str = "spi_flash_1x"
    clock_cell: str | None = None

    def join(self, m: Module, platform: Platform, pins: FlashPins.Members) -> None:
        """Connect the pins of the controller to those of the board."""
        port = platform.request(self.resource, 0, dir="-")
        outputs = {"cs": pins.cs}
        if self.clock_cell is None:
            outputs["clk"] = pins.clk
        else:
            m.submodules.flash_clk = Instance(self.clock_cell, i_USRMCLKI=pins.clk, i_USRMCLKTS=0)
        for name, signal in outputs.items():
            m.submodules[f"flash_{name}"] = out = io.Buffer(io.Direction.Output, getattr(port, name))
            m.d.comb += out.o.eq(signal)
        # declared as an output by the board, but an input for reads of two bits a clock
        copi = io.SingleEndedPort(port.copi.io, invert=port.copi.invert, direction=io.Direction.Bidir)
        m.submodules.flash_copi = data = io.Buffer(io.Direction.Bidir, copi)
        m.d.comb += [data.o.eq(pins.copi), data.oe.eq(pins.copi_oe), pins.sio.eq(data.i)]
        for name in ("wp", "hold"):  # not protected, not on hold
            if hasattr(port, name):
                m.submodules[f"flash_{name}"] = io.Buffer(io.Direction.Output, getattr(port, name))
        m.submodules.flash_cipo = cipo = io.Buffer(io.Direction.Input, port.cipo)
        m.d.comb += pins.cipo.eq(cipo.i)
