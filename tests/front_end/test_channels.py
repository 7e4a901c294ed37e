"""Plain front end: reader of an ADC, windows of its channels."""

from __future__ import annotations

import gc

import pytest

from equilif_hdl.front_end.adc import AdcReader
from equilif_hdl.front_end.channels import Channels
from equilif_hdl.front_end.divider import FractionalDivider
from equilif_sim.tools.run import simulate


@pytest.mark.parametrize("channels, width, clock_hz", [(3, 12, 8_000_000), (8, 10, 13_700_000)])
def test_rtl_of_adc_reader(channels, width, clock_hz, tmp_path):
    config = {"clock_hz": clock_hz, "sck_hz": 1_000_000, "channels": channels, "width": width}
    reader = AdcReader(**config)
    assert simulate(reader, "equilif_sim.front_end.adc", tmp_path, config=config, simulator="icarus") == 1


@pytest.mark.parametrize(
    "channels, window, windows", [(3, 4, 2), pytest.param(1, 0, 1, marks=pytest.mark.regress)]
)
def test_rtl_of_channels(channels, window, windows, tmp_path):
    config = {"channels": channels, "window": window, "windows": windows}
    bench = "equilif_sim.front_end.channels"
    assert simulate(Channels(**config), bench, tmp_path, config=config, simulator="icarus") == 1


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: FractionalDivider(7_999_999, 1_000_000), "7,999,999"),
        (lambda: AdcReader(8_000_000, 1_000_000, channels=9), "9"),
        (lambda: AdcReader(8_000_000, 1_000_000, channels=4, width=8), "8"),
        (lambda: Channels(17, 4, 2), "17"),
    ],
)
def test_limits(make, named):
    with pytest.raises(ValueError, match=named):
        make()
    gc.collect()
