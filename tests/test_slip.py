"""RTL of the SLIP blocks against sliplib."""
from __future__ import annotations

from sim.run import simulate
from sim.slip import Slip


def test_encode_decode(tmp_path):
    assert simulate(Slip(), "sim.slip", tmp_path) == 12
