"""SDRAM controller, the model of the chip, and the memory test."""

from __future__ import annotations

from dataclasses import replace

import pytest
from amaranth import Module, Signal
from amaranth.lib.wiring import connect, flipped

from equilif_golden.sdram import CHIPS, Op
from equilif_hdl.sdram import SdramController
from equilif_sim.sdram import SdramBench, small
from equilif_sim.sdram_traffic import traffic
from equilif_sim.tools.run import simulate

BENCH = "equilif_sim.sdram"
HZ = {"MT48LC16M16": 95_000_000, "EM638325": 90_000_000, "M12L64322A": 120_000_000, "W9825G6KH": 133_000_000}
MT = small("MT48LC16M16", columns=16)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", HZ)
def test_rtl(name, tmp_path):
    assert simulate(SdramBench(small(name), HZ[name]), BENCH, tmp_path) == 7


@pytest.mark.parametrize("cycles", [200_000, pytest.param(10_000_000, marks=pytest.mark.regress)])
def test_random_traffic(cycles):
    found = traffic(SdramBench(MT, HZ[MT.name]), cycles, seed=1)
    assert not found.violations and not found.wrong
    assert min(found.read, found.written) > cycles / 10


#: a timing of the controller that is a cycle shorter, and what the chip reports
SHORTER = {
    "rp": "RP",
    "rcd": "RCD",
    "ras": "RAS",
    "wr": "WR",
    "rfc": "RFC",
    "power_up": "POWER_UP",
}


@pytest.mark.parametrize("name", SHORTER)
def test_chip_reports_a_shorter_timing(name):
    timing = MT.timing(HZ[MT.name])
    short = replace(timing, **{name: getattr(timing, name) - 1})
    bench = SdramBench(MT, HZ[MT.name], controller=SdramController(MT, short))
    assert SHORTER[name] in traffic(bench, 20_000, seed=1).violations
