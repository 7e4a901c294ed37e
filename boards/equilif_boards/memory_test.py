"""Design that tests the SDRAM of a board.

It runs equilif_hdl.memory_test without end.  LEDs: one that changes with each test, one after a test without
errors, one after an error.
"""

from __future__ import annotations

from amaranth import ClockDomain, Elaboratable, Module, Signal
from amaranth.build import Platform
from amaranth.lib import io
from amaranth.lib.wiring import connect

from equilif_boards.board import Board
from equilif_hdl.memory_test import MemoryTest
from equilif_hdl.sdram import SdramController


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
