"""SDRAM controller, the model of the chip, and the memory test."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from amaranth import Module, Signal
from amaranth.lib.wiring import connect, flipped

from equilif_golden.sdram import (
    CHIPS,
    IO_DELAY,
    MAX_HZ,
    MAX_REFRESH_DELAY,
    MIN_HZ,
    RETENTION_NS,
    SdramOp,
    SdramTiming,
    SdramType,
    bandwidth,
)
from equilif_hdl.sdram import SdramController
from equilif_sim.memory_test import MemoryTestBench
from equilif_sim.sdram import SdramBench, small
from equilif_sim.sdram_chip import Rule
from equilif_sim.sdram_traffic import traffic
from equilif_sim.tools.run import simulate
from tests.engines import thoroughness

BENCH = "equilif_sim.sdram"
HZ = {"MT48LC16M16": 95_000_000, "EM638325": 90_000_000, "M12L64322A": 120_000_000, "W9825G6KH": 133_000_000}
MT = small("MT48LC16M16", columns=16)


@thoroughness
@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", HZ)
def test_rtl(name, thorough, tmp_path):
    n = simulate(SdramBench(small(name), HZ[name]), BENCH, tmp_path, thorough=thorough)
    assert n == (8 if thorough else 6)


@pytest.mark.parametrize("cycles", [200_000, pytest.param(10_000_000, marks=pytest.mark.regress)])
def test_random_traffic(cycles):
    found = traffic(SdramBench(MT, HZ[MT.name]), cycles, seed=1)
    assert not found.violations and not found.wrong
    assert min(found.read, found.written) > cycles / 10


#: a timing of the controller that is shorter, by how many cycles, and what the chip reports
SHORTER = {
    "rp": (1, Rule.RP),
    "rcd": (1, Rule.RCD),
    "ras": (1, Rule.RAS),
    "wr": (1, Rule.WR),
    "rfc": (1, Rule.RFC),
    "read_to_write": (1, Rule.CONTENTION),
    "power_up": (IO_DELAY + 1, Rule.POWER_UP),  # the first command needs as long to the chip
}


class EarlyWrite(SdramTiming):
    @property
    def read_to_write(self) -> int:
        return super().read_to_write - 1


@pytest.mark.parametrize("name", SHORTER)
def test_chip_reports_a_shorter_timing(name):
    timing = MT.timing(HZ[MT.name])
    cycles, rule = SHORTER[name]
    if name == "read_to_write":
        short = EarlyWrite(**asdict(timing))
    else:
        short = replace(timing, **{name: getattr(timing, name) - cycles})
    bench = SdramBench(MT, HZ[MT.name], controller=SdramController(MT, short))
    assert rule.name in traffic(bench, 20_000, seed=1).violations


class FaultyController(SdramController):
    """One of many commands is replaced: a refresh by nothing, or another command by that of another bank."""

    EVERY = 16

    def __init__(self, chip: SdramType, timing: SdramTiming, op: SdramOp):
        super().__init__(chip, timing)
        self.op = op

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.right = right = SdramController(self.chip, self.timing)
        connect(m, flipped(self.port), right.port)
        connect(m, flipped(self.pins), right.pins)
        count = Signal(range(self.EVERY))
        with m.If(right.pins.op == self.op):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self.EVERY - 1):
                if self.op == SdramOp.REFRESH:
                    m.d.comb += self.pins.op.eq(SdramOp.NOP)
                else:
                    m.d.comb += self.pins.bank.eq(right.pins.bank ^ 1)
        return m


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "op", [SdramOp.REFRESH, SdramOp.ACTIVATE, SdramOp.PRECHARGE, SdramOp.READ, SdramOp.WRITE]
)
def test_bench_finds_a_wrong_command(op):
    bench = SdramBench(MT, HZ[MT.name], controller=FaultyController(MT, MT.timing(HZ[MT.name]), op))
    found = traffic(bench, 30_000, seed=1)
    if op == SdramOp.REFRESH:
        assert found.violations == [Rule.LATE_REFRESH.name]
    assert found.violations or found.wrong


def test_table_of_chips():
    """Figures of data sheets, by the frequency."""
    at_100 = CHIPS["MT48LC16M16"].timing(100_000_000)
    assert (at_100.rp, at_100.rcd, at_100.ras, at_100.wr, at_100.rfc) == (2, 2, 5, 2, 7)
    assert (at_100.cas, at_100.interval) == (2, 781)
    assert CHIPS["EM638325"].timing(50_000_000).wr == 2
    assert CHIPS["M12L64322A"].timing(120_000_000).cas == 3
    sizes = {name: chip.size >> 20 for name, chip in CHIPS.items()}
    assert sizes["MT48LC16M16"] == 32 and sizes["AS4C32M16"] == 64 and sizes["EM638325"] == 8
    for chip in CHIPS.values():
        for hz in (MIN_HZ, 25_000_000, 95_000_000, MAX_HZ):
            t = chip.timing(hz)
            # all rows within the retention time, the last one late
            assert (chip.refreshes * t.interval + MAX_REFRESH_DELAY) * 10**9 <= RETENTION_NS * hz
    with pytest.raises(ValueError, match="hz"):
        CHIPS["EM638325"].timing(MAX_HZ + 1)


@pytest.mark.parametrize("name", CHIPS)
def test_bandwidth_of_long_bursts(name):
    for words in (CHIPS[name].columns, 4096):
        assert min(bandwidth(CHIPS[name], 95_000_000, words, w) for w in (False, True)) > 0.93


def test_memory_test_finds_faults(tmp_path):
    chip = small("MT48LC16M16", columns=16)
    assert simulate(MemoryTestBench(chip, 95_000_000), "equilif_sim.memory_test", tmp_path) == 1
