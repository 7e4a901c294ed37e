"""RTL of the USB link, at the pins."""

from __future__ import annotations

import pytest

from equilif_hdl.link.usb import UsbLine
from equilif_sim.tools.run import simulate

PATIENCE_BITS = 12


@pytest.mark.parametrize("period_ps", [10_418, 100_002])
def test_a_host_finds_a_serial_port_and_bytes_come_through(period_ps, tmp_path):
    """With the design at 96 MHz, and at 10 MHz."""
    config = {"patience_bits": PATIENCE_BITS, "period_ps": period_ps}
    assert simulate(UsbLine(PATIENCE_BITS), "equilif_sim.link.usb", tmp_path, config=config) == 6
