"""RTL of the USB link, at the pins."""

from __future__ import annotations

import dataclasses

import pytest

from equilif_golden.engine.config import EngineConfig
from equilif_hdl.link.usb import Usb, UsbLine
from equilif_hdl.top import Top
from equilif_sim.tools.run import simulate
from tests.engines import thoroughness

REPLY_TIMEOUT_BITS = 12


@pytest.mark.regress  # by default: within the complete design
@pytest.mark.parametrize("period_ps", [10_418, 100_002])
def test_enumeration_and_transfer(period_ps, tmp_path):
    """With the design at 96 MHz and 10 MHz."""
    config = {"reply_timeout_bits": REPLY_TIMEOUT_BITS, "period_ps": period_ps}
    assert simulate(UsbLine(REPLY_TIMEOUT_BITS), "equilif_sim.link.usb", tmp_path, config=config) == 6


@thoroughness
def test_complete_design_over_usb(thorough, tmp_path):
    config = EngineConfig(
        lanes=2, tiles=32, value_groups=32, state_groups=8, program_words=128, attention=False
    )
    options = {"build_id": 0x1234, "frame_bytes": 300}
    top = Top(config, transport=Usb(REPLY_TIMEOUT_BITS), **options)
    settings = {"engine": dataclasses.asdict(config), "transport": "usb", "period_ps": 10_418, **options}
    assert simulate(top, "equilif_sim.link.design", tmp_path, config=settings, thorough=thorough) == 1
