"""A design with its SDRAM at its pins.

Its Verilog needs the module equilif_sim.sdram_chip.WORDS.
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.sdram import IO_DELAY, ClockedSdram
from equilif_hdl.engine.engine import Engine
from equilif_hdl.top import Top
from equilif_sim.sdram_chip import Rule, SdramChip


class WithSdram(wiring.Component):
    """Members
    -------
    violation : Out
        Of the chip.

    The others are those of the design.
    """

    violation: Signal

    def __init__(self, design: Engine | Top, sdram: ClockedSdram):
        self.design = design
        self.sdram = sdram
        self.members = {name: member for name, member in design.signature.members.items() if name != "sdram"}
        super().__init__({**self.members, "violation": Out(len(Rule))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = design = self.design
        m.submodules.chip = chip = SdramChip(self.sdram.chip, self.sdram.timing, large=True)
        for name, member in self.members.items():
            outer, inner = getattr(self, name), getattr(design, name)
            if member.is_signature:
                connect(m, flipped(outer), inner)
            elif member.flow is In:
                m.d.comb += inner.eq(outer)
            else:
                m.d.comb += outer.eq(inner)
        m.d.comb += self.violation.eq(chip.violation)
        # as registers in IO cells
        assert IO_DELAY == 2
        m.d.sync += design.sdram.dq_i.eq(chip.pins.dq_i)
        for name in ("op", "bank", "address", "dq_o", "dq_oe"):
            m.d.sync += getattr(chip.pins, name).eq(getattr(design.sdram, name))
        return m
