"""SDRAM of a board: chip, pins and IO registers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amaranth import Module
from amaranth.build import Platform
from amaranth.lib import io

from equilif_golden.sdram import CHIPS, SdramType
from equilif_hdl.sdram import SdramPins


@dataclass(frozen=True, kw_only=True)
class Sdram:
    """SDRAM of a board.

    ``chip_name``: with the longest timings of the chips that production runs of the board have.  A design
    with external weights has ``weights`` of them, and memory for ``neurons``.
    """

    chip_name: str
    neurons: int
    weights: int = 1 << 21
    resource: str = "sdram"

    @property
    def chip(self) -> SdramType:
        return CHIPS[self.chip_name]

    def join(self, m: Module, platform: Platform, pins: SdramPins.Members) -> None:
        """Connect the pins of the controller to those of the board, by a register in each IO cell.

        The clock of the chip is the inverted one of the design, from a DDR output cell, so that commands
        and data change half a cycle before its edge.
        """
        port = platform.request(self.resource, 0, dir="-")
        clk: Any = io.DDRBuffer(io.Direction.Output, port.clk)
        m.submodules.sdram_clk = clk
        m.d.comb += [clk.o[0].eq(0), clk.o[1].eq(1)]
        ras_cas_we = {"ras": pins.op[2], "cas": pins.op[1], "we": pins.op[0]}
        for name, value in {**ras_cas_we, "ba": pins.bank, "a": pins.address}.items():
            m.submodules[f"sdram_{name}"] = out = io.FFBuffer(io.Direction.Output, getattr(port, name))
            m.d.comb += out.o.eq(value)
        for name, level in {"cs": 1, "clk_en": 1, "dqm": 0}.items():
            if hasattr(port, name):
                m.submodules[f"sdram_{name}"] = constant = io.Buffer(io.Direction.Output, getattr(port, name))
                m.d.comb += constant.o.eq(level * ((1 << len(constant.o)) - 1))
        # a buffer for each bit: the register of each output enable is in its cell
        for k in range(len(pins.dq_o)):
            m.submodules[f"sdram_dq_{k}"] = dq = io.FFBuffer(io.Direction.Bidir, port.dq[k])
            m.d.comb += [dq.o.eq(pins.dq_o[k]), dq.oe.eq(pins.dq_oe), pins.dq_i[k].eq(dq.i)]
