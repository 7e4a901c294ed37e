"""RTL of the framer against equilif_golden.link.protocol."""

from __future__ import annotations

import gc

import pytest

from equilif_hdl.link.frame import Framer
from equilif_sim.tools.run import simulate
from tests.engines import thoroughness


@thoroughness
@pytest.mark.sampled(1)
@pytest.mark.parametrize("frame_bytes", [32, 45])
def test_frame_handling(frame_bytes, thorough, tmp_path):
    """Buffers that fill their memory, and others."""
    block = Framer(frame_bytes=frame_bytes)
    config = {"frame_bytes": frame_bytes}
    n = simulate(block, "equilif_sim.link.frame", tmp_path, config=config, thorough=thorough)
    assert n == (16 if thorough else 8)


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize("frame_bytes", [16, 4097, 64.0])
def test_frame_size(frame_bytes):
    with pytest.raises(ValueError, match="frame_bytes"):
        Framer(frame_bytes=frame_bytes)
    # the discarded object warns here, not in another test
    gc.collect()
