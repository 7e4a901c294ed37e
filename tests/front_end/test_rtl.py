"""RTL of the front end against its golden model."""

from __future__ import annotations

import pytest

from equilif_golden.front_end.filter_bank import HOP, OFFSET
from equilif_golden.front_end.segmentation import SHORTEST
from equilif_hdl.front_end.filter_bank import FilterBank
from equilif_hdl.front_end.i2s import I2sMicrophone
from equilif_hdl.front_end.log2 import Log2
from equilif_hdl.front_end.pdm import PdmDecimator, PdmMicrophone
from equilif_hdl.front_end.queue import WordQueue
from equilif_hdl.front_end.segmentation import Segmentation
from equilif_hdl.front_end.tokens import Tokens
from equilif_sim.front_end.live import KINDS, LiveBench
from equilif_sim.tools.run import simulate
from tests.engines import thoroughness, visible


@pytest.mark.regress
def test_pdm_decimator(tmp_path):
    bench = "equilif_sim.front_end.pdm"
    assert simulate(PdmDecimator(), bench, tmp_path, config={}, simulator="icarus", only="decimated") == 1


@pytest.mark.parametrize("clock_hz", [8_192_000, pytest.param(13_700_000, marks=pytest.mark.regress)])
def test_pdm_microphone(clock_hz, tmp_path):
    config = {"clock_hz": clock_hz}
    microphone = PdmMicrophone(clock_hz)
    bench = "equilif_sim.front_end.pdm"
    assert simulate(microphone, bench, tmp_path, config=config, simulator="icarus", only="pins") == 1


@pytest.mark.parametrize("clock_hz", [8_192_000, pytest.param(11_111_111, marks=pytest.mark.regress)])
def test_i2s_microphone(clock_hz, tmp_path):
    microphone = I2sMicrophone(clock_hz)
    assert simulate(microphone, "equilif_sim.front_end.i2s", tmp_path, config={}, simulator="icarus") == 1


@pytest.mark.parametrize(
    "hop, offset, simulator",
    [(3, 40, "icarus"), pytest.param(HOP, OFFSET, "verilator", marks=pytest.mark.regress)],
)
def test_filter_bank(hop, offset, simulator, tmp_path):
    """A short hop with codes of small sums, in which a rounding shows; the one of a board."""
    bench = "equilif_sim.front_end.filter_bank"
    config = {"hop": hop, "offset": offset}
    design = FilterBank(**config)
    options = {"config": config, "simulator": simulator, "visible": visible("filterbank *")}
    assert simulate(design, bench, tmp_path, **options) == 1


@pytest.mark.parametrize(
    "width", [17, 33, *(pytest.param(width, marks=pytest.mark.regress) for width in (6, 7, 31, 32, 48))]
)
def test_log2(width, tmp_path):
    """The widths of channels and filter bank; the ends of the range, and powers of two."""
    config = {"width": width}
    assert simulate(Log2(**config), "equilif_sim.front_end.log2", tmp_path, config=config) == 1


@pytest.mark.parametrize("scenes", [36, pytest.param(200, marks=pytest.mark.regress)])
def test_segmentation(scenes, tmp_path):
    bench = "equilif_sim.front_end.segmentation"
    assert simulate(Segmentation(), bench, tmp_path, config={"scenes": scenes}, simulator="icarus") == 1


@thoroughness
def test_tokens(thorough, tmp_path):
    how = {"config": {}, "simulator": "icarus", "thorough": thorough}
    assert simulate(Tokens(), "equilif_sim.front_end.tokens", tmp_path, **how) == 1


def test_queue(tmp_path):
    bench = "equilif_sim.front_end.queue"
    assert simulate(WordQueue(), bench, tmp_path, config={"phases": 24}, simulator="icarus") == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("cases", [0, pytest.param(40, marks=pytest.mark.regress)])
@pytest.mark.parametrize("kind", KINDS)
def test_live(kind, cases, tmp_path):
    """Directed cases, then random ones."""
    bench = LiveBench(kind)
    config = {"kind": kind, "random": cases, "longest": 40 if cases else SHORTEST + 1, "inputs": bench.inputs}
    assert simulate(bench, "equilif_sim.front_end.live", tmp_path, config=config, simulator="icarus") == 1
