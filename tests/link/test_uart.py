"""RTL of the UART."""

from __future__ import annotations

import gc

import pytest

from equilif_hdl.link.uart import UartReceiver, UartTransmitter
from equilif_sim.link.uart import Uart
from equilif_sim.tools.run import simulate


@pytest.mark.sampled(2)
@pytest.mark.parametrize("divisor", [4, 13, 16])
def test_bit_timing_and_errors(divisor, tmp_path):
    assert simulate(Uart(divisor), "equilif_sim.link.uart", tmp_path) == 8


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("block", [UartReceiver, UartTransmitter])
def test_min_cycles_per_bit(block):
    with pytest.raises(ValueError, match="4 clock"):
        block(3)
    # the discarded object warns here, not in another test
    gc.collect()
