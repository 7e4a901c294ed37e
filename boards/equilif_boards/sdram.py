"""SDRAM of a board: chip, pins and IO registers; and a design that tests it.

The design runs equilif_hdl.memory_test without end.  LEDs: one that changes with each test, one after a test
without errors, one after an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amaranth import ClockDomain, Elaboratable, Module, Signal
from amaranth.build import Platform
from amaranth.lib import io
from amaranth.lib.wiring import connect

from equilif_golden.sdram import CHIPS, SdramType
from equilif_hdl.memory_test import MemoryTest
from equilif_hdl.sdram import SdramController, SdramPins

if TYPE_CHECKING:
    from equilif_boards.board import Board


@dataclass(frozen=True, kw_only=True)
class Sdram:
    """SDRAM of a board.

    ``chip_name``: with the longest timings of the chips that production runs of the board have.  A design
    with external weights has ``weights`` of them, and memory for ``neurons``.
    """

    chip_name: str
    neurons: int
    weights: int = 1 << 20
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


class MemoryTestDesign(Elaboratable):
    """Top level: clock, memory test, controller, pins and LEDs."""

    def __init__(self, board: Board):
        if board.sdram is None:
            raise ValueError(f"{board.title} has no SDRAM that a design can use")
        self.board = board
        self.sdram = board.sdram

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        board, chip = self.board, self.sdram.chip
        hz = int(board.clock_hz)
        m.domains += ClockDomain("sync")
        m.submodules.clock = board.clock(board.clock_hz, {})
        m.submodules.controller = controller = SdramController(chip, chip.timing(hz))
        m.submodules.test = test = MemoryTest.of(chip, hz)
        connect(m, test.port, controller.port)
        self.sdram.join(m, platform, controller.pins)
        was_busy = Signal()
        count = Signal()
        passed = Signal()
        failed = Signal()
        m.d.comb += test.start.eq(~test.busy & ~was_busy)
        m.d.sync += was_busy.eq(test.busy)
        with m.If(was_busy & ~test.busy):
            m.d.sync += [count.eq(~count), passed.eq((test.errors == 0) & ~failed)]
        with m.If(test.errors != 0):
            m.d.sync += [failed.eq(1), passed.eq(0)]
        for (name, number), lit in zip(board.leds, (count, passed, failed), strict=True):
            m.submodules[f"{name}_{number}"] = pin = io.Buffer(
                io.Direction.Output, platform.request(name, number, dir="-")
            )
            m.d.comb += pin.o.eq(lit)
        return m
