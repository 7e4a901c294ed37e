"""Training samples per second through UDP: the complete design of the Colorlight i5 in simulation.

Cycles from the first bit of a frame to the last of its reply, at the pins of the PHY: one sample in a frame,
and as many as a frame carries.  Weights are those after one epoch of the golden model, and afterwards equal
the golden model's.  The host program and the network between are not included.
"""

from __future__ import annotations

from typing import Annotated, Any

from benchmarks.common import Data
from benchmarks.link import measure
from benchmarks.training import BOARD_PRESET, after_an_epoch
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.host.udp import UdpPort
from equilif_boards import BOARDS
from equilif_sim.board import BoardNetwork, Cable

BOARD = "colorlight-i5"


def main(*, data: Data, samples: Annotated[int, "training samples of each kind"] = 100) -> dict[str, Any]:
    board = BOARDS[BOARD].with_link("udp")
    d = BOARD_PRESET.load(data)
    kernel, chosen = after_an_epoch(board.network, d, 2 * samples)
    simulated = Simulated(board).board
    if board.standalone:
        simulated.work()  # it looks for a network in its flash
    client = Client(UdpPort(Cable(BoardNetwork(simulated)), BOARD, timeout=0.02))
    found = measure(client, simulated, kernel, d, chosen[:samples], chosen[samples:])
    cycles = {
        "engine alone": found.engine,
        "a sample in a frame": found.single,
        "several in a frame": found.several,
    }
    rows = []
    for frames, n in cycles.items():
        per_sample, per_second = n / samples, board.clock_hz * samples / n
        rows.append({"frames": frames, "cycles": per_sample, "samples_per_second": per_second})
        print(f"{frames:22} {per_sample:8,.1f} cycles {per_second:8,.0f} samples/s", flush=True)
    print(f"weights after {2 * samples} samples equal the golden model's")
    return {"rows": rows, "samples": samples}
