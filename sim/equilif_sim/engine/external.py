"""Engine with the SDRAM of its external weights."""

from __future__ import annotations

from dataclasses import replace

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.sdram import BANKS
from equilif_hdl.engine.engine import Engine
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.sdram import IO_DELAY
from equilif_sim.sdram_chip import Rule, SdramChip


class ExternalEngine(wiring.Component):
    """Members
    -------
    host : In(EnginePort)
    violation : Out
        Of the chip, which has as many rows as the weights need.
    """

    host: EnginePort.Members
    violation: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__({"host": In(EnginePort(config)), "violation": Out(len(Rule))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        external = config.external
        assert external is not None
        words = config.all_tiles * config.lanes * config.sdram_words
        rows = 1 << (words // (BANKS * external.chip.columns)).bit_length()
        m.submodules.engine = engine = Engine(config)
        m.submodules.chip = chip = SdramChip(replace(external.chip, rows=rows), external.timing)
        connect(m, flipped(self.host), engine.host)
        m.d.comb += self.violation.eq(chip.violation)
        # as registers in IO cells
        assert IO_DELAY == 2
        m.d.sync += engine.sdram.dq_i.eq(chip.pins.dq_i)
        for name in ("op", "bank", "address", "dq_o", "dq_oe"):
            m.d.sync += getattr(chip.pins, name).eq(getattr(engine.sdram, name))
        return m
