"""Bench for equilif_hdl.memory_test.MemoryTest against equilif_golden.memory_test, with controller and chip.

State space: a chip without faults, with a data line that is stuck, and with address lines that are stuck;
the tests follow each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cocotb
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect
from cocotb.triggers import ClockCycles

from equilif_golden.memory_test import PASSES, Errors, errors, lengths
from equilif_golden.sdram import BANKS, SdramType
from equilif_hdl.memory_test import MemoryTest
from equilif_hdl.sdram import SdramController
from equilif_sim.sdram import SdramBench
from equilif_sim.sdram_chip import violations
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, reset, until_low

RETENTION = 100  #: cycles
#: kinds of faults
NONE, DATA, ADDRESS, BANK = range(4)
LINE = 1  #: of address and data, that is stuck at 0


class FaultyPins(SdramController):
    """Controller with a line that is stuck at 0, by the signal ``fault``."""

    def __init__(self, chip: SdramType, hz: int):
        super().__init__(chip, chip.timing(hz))
        self.fault = Signal(2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.right = right = SdramController(self.chip, self.timing)
        connect(m, wiring.flipped(self.port), right.port)
        connect(m, wiring.flipped(self.pins), right.pins)
        # whole words: Icarus does not drive a vector in part by an assignment and in part by a process
        with m.Switch(self.fault):
            with m.Case(DATA):
                m.d.comb += right.pins.dq_i.eq(self.pins.dq_i & ~(1 << LINE))
            with m.Case(ADDRESS):
                m.d.comb += self.pins.address.eq(right.pins.address & ~(1 << LINE))
            with m.Case(BANK):
                m.d.comb += self.pins.bank.eq(right.pins.bank & ~1)
        return m


class MemoryTestBench(wiring.Component):
    """Design under test: memory test, controller and chip."""

    start: Signal
    fault: Signal
    busy: Signal
    errors: Signal
    first: Signal
    requests: Signal
    violation: Signal

    def __init__(self, chip: SdramType, hz: int):
        self.controller = FaultyPins(chip, hz)
        self.bench = SdramBench(chip, hz, controller=self.controller)
        self.test = MemoryTest(chip, retention=RETENTION)
        self.config = self.bench.config
        super().__init__(
            {
                "start": In(1),
                "fault": In(2),
                "busy": Out(1),
                "errors": Out(32),
                "first": Out(self.test.first.shape()),
                "requests": Out(16),
                "violation": Out(self.bench.violation.shape()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.test = test = self.test
        m.submodules.bench = bench = self.bench
        connect(m, test.port, bench.port)
        request = test.port.request
        m.d.sync += self.requests.eq(self.requests + (request.valid & request.ready))
        m.d.comb += [
            test.start.eq(self.start),
            self.controller.fault.eq(self.fault),
            self.busy.eq(test.busy),
            self.errors.eq(test.errors),
            self.first.eq(test.first),
            self.violation.eq(bench.violation),
        ]
        return m


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def faults(dut: Any) -> None:
    chip = SdramType(**bench_config()["chip"])
    row = (chip.columns * BANKS).bit_length() - 1 + LINE  # bit of the address of a word
    lines: dict[int, Callable[[], Errors]] = {
        NONE: lambda: errors(chip),
        DATA: lambda: errors(chip, read=lambda word: word & ~(1 << LINE)),
        ADDRESS: lambda: errors(chip, lambda address: address & ~(1 << LINE | 1 << row)),
        BANK: lambda: errors(chip, lambda address: address & ~chip.columns),
    }
    await reset(dut, "start", "fault")
    bursts = 2 * PASSES * len(list(lengths(chip)))
    for n, fault in enumerate((NONE, DATA, ADDRESS, NONE, BANK), 1):
        drive(dut, fault=fault, start=1)
        await ClockCycles(dut.clk, 1)
        drive(dut, start=0)
        limit = 10 * chip.words + 3 * RETENTION
        assert 2 * RETENTION < await until_low(dut, "busy", limit)
        expected = lines[fault]()
        assert (expected.words == 0) == (fault == NONE)
        assert int(dut.errors.value) == expected.words
        assert not expected.words or int(dut.first.value) == expected.first
        assert int(dut.requests.value) == n * bursts
        # two rows of a bank are open for the controller, if its line is stuck
        assert fault == BANK or not violations(int(dut.violation.value))
