"""SDRAM of a board: chip, pins and IO registers."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from amaranth import Module
from amaranth.build import Platform
from amaranth.hdl import IOPort
from amaranth.lib import io

from equilif_golden.sdram import CHIPS, SdramType
from equilif_hdl.sdram import SdramPins


@dataclass(frozen=True, kw_only=True)
class Sdram:
    """SDRAM of a board.

    ``chip_name``: with the longest timings of the chips that production runs of the board have.  A design
    with external weights has ``weights`` of them, memory for ``neurons``, for at least ``values``, and on the
    chip ``tiles``, neuron state in ``state_ram`` and a clock of ``clock_hz``, if they are not those of the
    board.
    """

    chip_name: str
    neurons: int
    values: int = 0
    tiles: int | None = None
    state_ram: str | None = None
    weights: int = 1 << 21
    clock_hz: float | None = None
    resource: str = "sdram"

    @property
    def chip(self) -> SdramType:
        return CHIPS[self.chip_name]

    def ports(self, platform: Platform) -> Any:
        """Ports by their names in amaranth_boards."""
        return platform.request(self.resource, 0, dir="-")

    def join(self, m: Module, platform: Platform, pins: SdramPins.Members) -> None:
        """Connect the pins of the controller to those of the board, by a register in each IO cell.

        The clock of the chip is the inverted one of the design, from a DDR output cell, so that commands
        and data change half a cycle before its edge.
        """
        port = self.ports(platform)
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


@dataclass(frozen=True, kw_only=True)
class GowinSdram(Sdram):
    """SDRAM inside the package of a Gowin FPGA: it has no pins, but ports with the names of the vendor, by
    which nextpnr places them.
    """

    def ports(self, platform: Platform) -> Any:
        def port(name: str, width: int = 1, *, low: bool = False) -> io.SingleEndedPort:
            return io.SingleEndedPort(IOPort(width, name=name), invert=low)

        return SimpleNamespace(
            clk=port("O_sdram_clk"),
            clk_en=port("O_sdram_cke"),
            cs=port("O_sdram_cs_n", low=True),
            ras=port("O_sdram_ras_n", low=True),
            cas=port("O_sdram_cas_n", low=True),
            we=port("O_sdram_wen_n", low=True),
            dqm=port("O_sdram_dqm", self.chip.width // 8),
            ba=port("O_sdram_ba", 2),
            a=port("O_sdram_addr", self.chip.address_bits),
            dq=port("IO_sdram_dq", self.chip.width),
        )
