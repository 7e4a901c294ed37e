"""RTL of the SLIP blocks against sliplib."""

from __future__ import annotations

from equilif_sim.link.slip import Slip
from equilif_sim.tools.run import simulate


def test_encode_decode(tmp_path):
    assert simulate(Slip(), "equilif_sim.link.slip", tmp_path) == 16
