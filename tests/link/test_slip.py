"""RTL of the SLIP blocks against sliplib."""

from __future__ import annotations

from equilif_sim.link.slip import Slip
from equilif_sim.tools.run import simulate
from tests.engines import thoroughness


@thoroughness
def test_encode_decode(thorough, tmp_path):
    n = simulate(Slip(), "equilif_sim.link.slip", tmp_path, thorough=thorough)
    assert n == (16 if thorough else 8)
