"""Training samples per second through UDP: the complete design of the Colorlight i5 in simulation.

    python -m benchmarks.udp --data DIR              MNIST 784-56-10; DIR has its IDX files
    python -m benchmarks.udp --data DIR --json FILE  write the result with the machine

Cycles from the first bit of a frame to the last of its reply, at the pins of the PHY: one sample in a frame,
and as many as a frame carries.  Weights are those after one epoch of the golden model, and afterwards equal
the golden model's.  The host program and the network between are not included.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from equilif import results
from equilif.data import images as data
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.host.udp import UdpPort
from equilif.training.presets import PRESETS
from equilif.training.train import epoch_plan, order, train_epoch
from equilif_boards import BOARDS
from equilif_golden.engine.chip import Chip
from equilif_golden.kernel import Kernel
from equilif_golden.network import Network
from equilif_golden.samples import one_hot
from equilif_sim.board import Cable
from equilif_sim.board import Network as Ethernet

BOARD, PRESET = "colorlight-i5", "mnist"


@dataclass(frozen=True)
class Row:
    """``cycles``: per training sample, of the board's clock."""

    frames: str
    cycles: float
    samples_per_second: float

    def __str__(self) -> str:
        return f"{self.frames:22} {self.cycles:8,.1f} cycles {self.samples_per_second:8,.0f} samples/s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the IDX files of MNIST")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--json", type=Path, help="file for the result")
    args = parser.parse_args()
    board = BOARDS[BOARD].with_link("udp")
    preset = PRESETS[PRESET]
    d = data.load(PRESET, args.data)
    network = Network.chain(*board.network, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), learning_rate=preset.rate(0))
    for _ in train_epoch(kernel, d, epoch_plan(preset, d, 0, 0)):
        pass
    chosen = order(0, 1, len(d.x_train))[: 2 * args.samples]
    x, labels = d.x_train[chosen].astype(np.int64), d.y_train[chosen]
    y = one_hot(labels, network.n_outputs)

    simulated = Simulated(board)
    if board.standalone:
        simulated.board.work()  # it looks for a network in its flash
    ethernet = Ethernet(simulated.board)
    client = Client(UdpPort(Cable(ethernet), BOARD, timeout=0.02))
    rate = preset.rate(1)
    chip = Chip(client, network, kernel.weights, learning_rate=rate, counter=kernel.counter)
    golden = Kernel(network, kernel.weights, learning_rate=rate, counter=kernel.counter)
    n = args.samples

    def row(frames: str, cycles: int) -> Row:
        found = Row(frames, cycles / n, board.clock_hz * n / cycles)
        print(found, flush=True)
        return found

    start = simulated.board.cycles
    engine = sum(chip.sample(a, b).cycles for a, b in zip(x[:n], y[:n], strict=True))
    single = simulated.board.cycles - start
    start = simulated.board.cycles
    chip.train(x[n:], labels[n:])
    several = simulated.board.cycles - start
    rows = [
        row("engine alone", engine),
        row("a sample in a frame", single),
        row("several in a frame", several),
    ]
    golden.train(x, labels)
    assert client.traffic.repeated == 0
    assert all(np.array_equal(w, golden.weights[name]) for name, w in chip.weights.items())
    print(f"weights after {2 * n} samples equal the golden model's")
    if args.json:
        found = {"rows": [asdict(r) for r in rows], "samples": n, "machine": results.machine()}
        results.write_json(args.json, found)


if __name__ == "__main__":
    main()
