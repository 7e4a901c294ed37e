"""Training samples per second through every link of every board.

Computed: bytes at the rate of the link plus engine cycles of the benchmark boards at the clock of the board,
one after the other.  --simulate also measures cycles of the complete board in simulation (equilif_sim.board)
from the first bit of a frame to the last of its reply, one sample a frame and several, through a UART; USB
as a UART of its rate.  Weights are those after one epoch of the golden model, for representative spike
rates, and in the end equal the golden model's.  Latency of host and USB bridge is not included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np

from benchmarks.common import Data, choose
from benchmarks.training import BOARD_PRESET, after_an_epoch
from equilif.data.sets.dataset import DataSet
from equilif.hardware import boards as known
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif_boards import BOARDS, Board
from equilif_boards.link import Link
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.link.protocol import OVERHEAD, PREDICTION, TOTALS, Command, Identity
from equilif_golden.samples import one_hot
from equilif_hdl.link.uart import BITS, MIN_DIVISOR
from equilif_sim.board import SimulatedBoard

ENDS = 3  #: two around a command, one after a reply


@dataclass(frozen=True)
class LinkCycles:
    """Cycles of samples: of the engine, with a frame for each, and several in a frame."""

    engine: int
    single: int
    several: int


def measure(
    client: Client, board: SimulatedBoard, kernel: Kernel, d: DataSet, single: Raw, several: Raw
) -> LinkCycles:
    """Train the samples ``single`` one by one, then ``several`` as many as a frame carries, as the golden
    model does.
    """
    rate = BOARD_PRESET.rate(1)
    network, weights, counter = kernel.network, kernel.weights, kernel.counter
    chip = Chip(client, network, weights, learning_rate=rate, counter=counter)
    golden = Kernel(network, weights, learning_rate=rate, counter=counter)
    chosen, n = np.concatenate([single, several]), len(single)
    x, labels = d.x_train[chosen].astype(np.int64), d.y_train[chosen]
    start = board.cycles
    engine = sum(
        chip.sample(*s).cycles for s in zip(x[:n], one_hot(labels[:n], network.n_outputs), strict=True)
    )
    then = board.cycles
    chip.train(x[n:], labels[n:])
    end = board.cycles
    golden.train(x, labels)
    assert client.traffic.repeated == 0
    assert all(np.array_equal(w, golden.weights[name]) for name, w in chip.weights.items())
    return LinkCycles(engine, then - start, end - then)


@dataclass(frozen=True)
class Measured:
    """Training samples per second of the complete design, and the baud rate of its UART."""

    baud: int
    one: float  #: a frame for each sample
    several: float


@dataclass(frozen=True)
class LinkRow:
    """Bytes per training sample, in both directions, and samples per second."""

    board: str
    link: str
    cycles: float  #: of the engine
    bytes: float
    per_second: float  #: computed
    measured: Measured | None

    def __str__(self) -> str:
        text = (
            f"{self.board:16} {self.link:14} {self.cycles:7,.0f} cycles  {self.bytes:5.1f} bytes  "
            f"{self.per_second:6,.0f} samples/s"
        )
        if m := self.measured:
            text += f"  measured at {m.baud / 1e6:.3g} Mbaud: {m.one:6,.0f} -> {m.several:6,.0f} samples/s"
        return text


class ByteCounter(Client):
    """A client without a device that counts the bytes of its frames and of their replies, without escapes."""

    def __init__(self, board: Board):
        self._identity = Identity(
            board.config, 0, board.frame_bytes - OVERHEAD, max_samples=board.max_samples
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


def simulated(board: Board, link: Link, kernel: Kernel, d: DataSet, chosen: Raw) -> Measured:
    """Train the samples twice on the simulated board: one by one, and as many as a frame carries."""
    divisor = max(MIN_DIVISOR, round(board.clock_hz / (link.bytes_per_second * BITS)))
    baud = int(board.clock_hz / divisor)
    design = Simulated(board, baud).board
    cycles = measure(Client(design), design, kernel, d, chosen, chosen)
    return Measured(baud, *(board.clock_hz * len(chosen) / n for n in (cycles.single, cycles.several)))


def main(
    boards: Annotated[Sequence[str], "boards (default: all)"] = (),
    *,
    data: Data,
    samples: Annotated[int, "training samples"] = 100,
    simulate: Annotated[bool, "measure on the simulated boards"] = False,
) -> dict[str, Any]:
    d = BOARD_PRESET.load(data)
    rows = []
    for board in (BOARDS[name] for name in choose(boards, BOARDS, "board")):
        kernel, chosen = after_an_epoch(board.network, d, samples)
        compiled = Compiled(kernel.network, board.config)
        targets = one_hot(d.y_train[chosen], kernel.network.n_outputs)
        x = d.x_train[chosen].astype(np.int64)
        n_bytes = line_bytes(board, [compiled.sample(*pair) for pair in zip(x, targets, strict=True)])
        cycles = known.measured()[board.name]["cycles"]["training"]
        for link in board.links:
            seconds = n_bytes / link.bytes_per_second + cycles / board.clock_hz
            found = simulated(board, link, kernel, d, chosen) if simulate else None
            rows.append(LinkRow(board.name, str(link), cycles, n_bytes, 1 / seconds, found))
            print(rows[-1], flush=True)
    return {"rows": [asdict(row) for row in rows], "samples": samples}
