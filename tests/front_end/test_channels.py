"""Plain front end: reader of an ADC."""

from __future__ import annotations

import gc

import pytest

from equilif_hdl.front_end.adc import AdcReader
from equilif_hdl.front_end.divider import FractionalDivider
from equilif_sim.tools.run import simulate


@pytest.mark.parametrize("channels, width, clock_hz", [(3, 12, 8_000_000), (8, 10, 13_700_000)])
def test_rtl_of_adc_reader(channels, width, clock_hz, tmp_path):
    config = {"channels": channels, "width": width}
    reader = AdcReader(clock_hz, 1_000_000, **config)
    assert simulate(reader, "equilif_sim.front_end.adc", tmp_path, config=config, simulator="icarus") == 1


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: FractionalDivider(7_999_999, 1_000_000), "7,999,999"),
        (lambda: AdcReader(8_000_000, 1_000_000, channels=9), "9"),
        (lambda: AdcReader(8_000_000, 1_000_000, channels=4, width=8), "8"),
    ],
)
def test_limits(make, named):
    with pytest.raises(ValueError, match=named):
        make()
    gc.collect()
