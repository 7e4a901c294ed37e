"""Training samples per second through every link of every board: one sample a frame, and several.

    python -m benchmarks.link --data DIR                  computed, for all boards; DIR has MNIST's IDX files
    python -m benchmarks.link --data DIR --simulate       also measured on the complete design in simulation
    python -m benchmarks.link --data DIR --json FILE      write the result with the machine

Version 6 is the protocol with one sample a frame and a pair of bytes for each run of zeros.  Computed: bytes
at the rate of the link plus engine cycles of benchmarks.boards at the clock of the board, one after the
other.  Measured: cycles of the complete board in simulation (equilif_sim.board) from the first bit of a frame
to the last of its reply, through a UART; USB and SPI as a UART of their rate.  Weights are those after one
epoch of the golden model, for representative spike rates, and in the end equal the golden model's.  Host and
USB bridge with their latency are not included.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from equilif import results
from equilif.data import images as data
from equilif.hardware import boards as known
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.training.presets import PRESETS
from equilif.training.train import epoch_plan, order, train_epoch
from equilif_boards import BOARDS, Board
from equilif_boards.link import Link
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.link.protocol import (
    OVERHEAD,
    PREDICTION,
    RESULT,
    RUN_HEADER,
    TOTALS,
    Command,
    Identity,
)
from equilif_golden.network import Network
from equilif_golden.samples import one_hot
from equilif_hdl.link.uart import BITS, MIN_DIVISOR

PRESET = "mnist"
ENDS = 3  #: two around a command, one after a reply
PAIRS = re.compile(rb"\0{1,256}")  #: packing of version 6: a zero and the number of further zeros


@dataclass(frozen=True)
class Measured:
    """Training samples per second of the complete design, and the baud rate of its UART."""

    baud: int
    one: float  #: a frame for each sample
    several: float


@dataclass(frozen=True)
class Row:
    """Bytes per training sample, in both directions, and samples per second."""

    board: str
    link: str
    cycles: float  #: of the engine
    bytes_version_6: float
    bytes: float
    version_6: float  #: samples per second, computed
    several: float
    measured: Measured | None

    def __str__(self) -> str:
        text = (
            f"{self.board:16} {self.link:14} {self.cycles:7,.0f} cycles  "
            f"{self.bytes_version_6:5.1f} -> {self.bytes:5.1f} bytes  "
            f"{self.version_6:6,.0f} -> {self.several:6,.0f} samples/s"
        )
        if m := self.measured:
            text += f"  measured at {m.baud / 1e6:.3g} Mbaud: {m.one:6,.0f} -> {m.several:6,.0f} samples/s"
        return text


class ByteCounter(Client):
    """A client without a device that counts the bytes of its frames and of their replies, without escapes."""

    def __init__(self, board: Board):
        self._identity = Identity(
            board.config,
            0,
            board.frame_bytes - OVERHEAD,
            max_samples=board.max_samples,
        )
        self.bytes = 0

    def command(self, command: Command, payload: bytes = b"", *, samples: int = 1) -> bytes:
        reply = bytes(samples * PREDICTION.size + TOTALS.size)
        self.bytes += len(payload) + len(reply) + 2 * OVERHEAD + ENDS
        return reply


def line_bytes(board: Board, samples: Sequence[Raw]) -> float:
    """Mean bytes per sample of frames and replies, without SLIP escapes."""
    counter = ByteCounter(board)
    for _ in counter.run_samples(0, samples, learn=False):
        pass
    return counter.bytes / len(samples)


def line_bytes_version_6(samples: Sequence[Raw]) -> float:
    """:func:`line_bytes` of protocol version 6."""
    raw = [values.astype(np.uint8).tobytes() for values in samples]
    packed = [PAIRS.sub(lambda zeros: bytes((0, len(zeros[0]) - 1)), v) for v in raw]
    frames = RUN_HEADER.size + RESULT.size + 2 * OVERHEAD + ENDS
    return float(np.mean([min(len(a), len(b)) + frames for a, b in zip(raw, packed, strict=True)]))


class Training:
    """Training samples of MNIST on the network of a board."""

    def __init__(self, board: Board, d: data.DataSet, n: int):
        self.board = board
        preset = PRESETS[PRESET]
        self.network = Network.chain(*board.network, schedule=preset.schedule)
        self.rate = preset.rate(1)
        self.kernel = Kernel(
            self.network, preset.initial_weights(self.network, 0), learning_rate=preset.rate(0)
        )
        for _ in train_epoch(self.kernel, d, epoch_plan(preset, d, 0, 0)):
            pass
        chosen = order(0, 1, len(d.x_train))[:n]
        self.x = d.x_train[chosen].astype(np.int64)
        self.labels = d.y_train[chosen]
        self.targets = one_hot(self.labels, self.network.n_outputs)
        compiled = Compiled(self.network, board.config)
        self.samples = [compiled.sample(x, y) for x, y in zip(self.x, self.targets, strict=True)]

    def measured(self, link: Link) -> Measured:
        """Train the samples twice on the simulated board: one by one, and as many as a frame carries."""
        board = self.board
        divisor = max(MIN_DIVISOR, round(board.clock_hz / (link.bytes_per_second * BITS)))
        baud = int(board.clock_hz / divisor)
        simulated = Simulated(board, baud).board
        client = Client(simulated)
        weights, counter = self.kernel.weights, self.kernel.counter
        chip = Chip(client, self.network, weights, learning_rate=self.rate, counter=counter)
        golden = Kernel(self.network, weights, learning_rate=self.rate, counter=counter)
        n = len(self.x)
        first = simulated.cycles
        for x, y in zip(self.x, self.targets, strict=True):
            chip.sample(x, y)
        then = simulated.cycles
        chip.train(self.x, self.labels)
        end = simulated.cycles
        for _ in range(2):
            golden.train(self.x, self.labels)
        assert client.traffic.repeated == 0
        assert all((w == golden.weights[name]).all() for name, w in chip.weights.items())
        return Measured(baud, *(board.clock_hz * n / cycles for cycles in (then - first, end - then)))


def rows(training: Training, *, simulate: bool) -> list[Row]:
    """A row for each link of a board."""
    board = training.board
    cycles = known.measured()[board.name]["cycles"]["training"]
    before = line_bytes_version_6(training.samples)
    after = line_bytes(board, training.samples)
    out = []
    for link in board.links:
        byte = 1 / link.bytes_per_second
        engine = cycles / board.clock_hz
        row = Row(
            board.name,
            str(link),
            cycles,
            before,
            after,
            1 / (before * byte + engine),
            1 / (after * byte + engine),
            training.measured(link) if simulate else None,
        )
        out.append(row)
        print(row, flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("boards", nargs="*", default=list(BOARDS), metavar="BOARD")
    parser.add_argument("--data", type=Path, required=True, help="folder with the IDX files of MNIST")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--simulate", action="store_true", help="measure on the simulated boards")
    parser.add_argument("--json", type=Path, help="file for the result")
    args = parser.parse_args()
    d = data.load(PRESET, args.data)
    found = [
        row
        for name in args.boards
        for row in rows(Training(BOARDS[name], d, args.samples), simulate=args.simulate)
    ]
    if args.json:
        results.write_json(
            args.json,
            {"rows": [asdict(r) for r in found], "samples": args.samples, "machine": results.machine()},
        )


if __name__ == "__main__":
    main()
