"""Training samples per second by link and engine, and the saving by packed frames.

    python -m benchmarks.link                digits on the engine of the iCEBreaker
    python -m benchmarks.link --data DIR     also MNIST, and the ULX3S with cycles of benchmarks.boards
    python -m benchmarks.link --json FILE    write the result with the machine

Computed: bytes at the line rate plus engine cycles at the clock of the board, in sequence as in the device.
Measured: cycles of the complete board in simulation (equilif_sim.board) from the first bit of a sample to the
last of its reply.  Weights are those after one epoch of the golden model, for representative spike rates.
Host and USB bridge are not included.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
from equilif_boards.link import UartLink
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Kernel
from equilif_golden.link.protocol import (
    OVERHEAD,
    PACKED,
    PREDICTION,
    RESULT,
    RUN_HEADER,
    TOTALS,
    Command,
    Identity,
    unpack,
)
from equilif_golden.network import Network
from equilif_golden.samples import one_hot
from equilif_hdl.link.uart import MIN_DIVISOR

RATES = (1_000_000, 3_000_000, 12_000_000)
ENDS = 3  #: two around a command, one after a reply
FAST = 48e6  #: lowest clock for 12 Mbaud


@dataclass
class Cost:
    """Cost of a training sample."""

    bytes: float  #: packed bytes, both directions
    cycles: float  #: of the engine
    measured: float | None  #: samples per second, simulated board


@dataclass
class Row:
    board: str
    network: str
    baud: int
    clock_hz: float
    bytes_plain: float  #: unpacked bytes, both directions
    bytes_packed: float  #: bytes on the line
    cycles: float  #: of the engine
    computed_plain: float  #: samples per second
    computed: float
    measured: float | None
    compute_bound: float
    link_bound: float

    def __str__(self) -> str:
        measured = f"{self.measured:6,.0f}/s" if self.measured else "-"
        return (
            f"{self.board:32} {self.network:11} {self.baud / 1e6:5.0f} Mbaud {self.clock_hz / 1e6:3.0f} MHz  "
            f"{self.bytes_plain:5.0f} bytes, packed {self.bytes_packed:4.0f}  {self.cycles:6,.0f} cycles  "
            f"plain {self.computed_plain:6,.0f}/s  computed {self.computed:6,.0f}/s  measured {measured}  "
            f"engine alone {self.compute_bound:6,.0f}/s  line alone {self.link_bound:6,.0f}/s"
        )


def rows(
    board: Board, name: str, sizes: tuple[int, ...], n: int, folder: Path | None, *, measure: bool
) -> list[Row]:
    """One row per baud rate; ``measure``: on the simulated board, otherwise from boards/measured.json."""
    preset = PRESETS[name]
    d = data.load(name, folder)
    network = Network.chain(*sizes, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), learning_rate=preset.rate(0))
    for _ in train_epoch(kernel, d, epoch_plan(preset, d, 0, 0)):
        pass
    chosen = order(0, 1, len(d.x_train))[:n]
    x = d.x_train[chosen].astype(np.int64)
    y = one_hot(d.y_train[chosen], sizes[-1])
    values = Compiled(network, board.config).sample(x[0], y[0])
    plain = len(values) + RUN_HEADER.size + RESULT.size + 2 * OVERHEAD + ENDS
    out = []
    for baud in RATES:
        clock = board.clock_hz if board.clock_hz / baud >= MIN_DIVISOR else FAST
        if measure:
            cost = measured(replace(board, clock_hz=clock), baud, kernel, preset.rate(1), x, y)
        else:  # for the network of the board
            entry = known.measured()[board.name]
            cost = Cost(entry["bytes"]["training"], entry["cycles"]["training"], None)
        bytes_per_second = UartLink(baud=baud).bytes_per_second
        link = cost.bytes / bytes_per_second
        engine = cost.cycles / clock
        row = Row(
            board=board.title,
            network="-".join(map(str, sizes)),
            baud=baud,
            clock_hz=clock,
            bytes_plain=plain,
            bytes_packed=cost.bytes,
            cycles=cost.cycles,
            computed_plain=1 / (plain / bytes_per_second + engine),
            computed=1 / (link + engine),
            measured=cost.measured,
            compute_bound=1 / engine,
            link_bound=1 / link,
        )
        out.append(row)
        print(row, flush=True)
    return out


def measured(board: Board, baud: int, kernel: Kernel, eta: float, x: Raw, y: Raw) -> Cost:
    """Train samples on the simulated board."""
    simulated = Simulated(board, baud).board
    client = Client(simulated)
    chip = Chip(client, kernel.network, kernel.weights, learning_rate=eta, counter=kernel.counter)
    before = replace(client.traffic)
    start = simulated.cycles
    cycles = sum(chip.sample(a, b).cycles for a, b in zip(x, y, strict=True))
    assert client.traffic.repeated == 0
    n = len(x)
    bytes_sent = client.traffic.sent - before.sent
    bytes_received = client.traffic.received - before.received
    return Cost(
        (bytes_sent + bytes_received) / n, cycles / n, board.clock_hz * n / (simulated.cycles - start)
    )


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

    def command(self, command: Command, payload: bytes = b"") -> bytes:
        samples = unpack(payload[RUN_HEADER.size :])[0] if payload[0] & PACKED else [payload]
        reply = bytes(len(samples) * PREDICTION.size + TOTALS.size)
        self.bytes += len(payload) + len(reply) + 2 * OVERHEAD + ENDS
        return reply


def line_bytes(board: Board, samples: Sequence[Raw]) -> float:
    """Mean bytes per sample of frames and replies, without SLIP escapes."""
    counter = ByteCounter(board)
    for _ in counter.run_samples(0, samples, learn=False):
        pass
    return counter.bytes / len(samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the IDX files of MNIST")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--json", type=Path, help="file for the result")
    args = parser.parse_args()
    ice = BOARDS["icebreaker"]
    ulx = BOARDS["ulx3s-85f"]
    found = rows(ice, "digits", (64, 64, 10), args.samples, None, measure=True)
    if args.data:
        found += rows(ice, "mnist", (784, 64, 10), args.samples, args.data, measure=True)
        found += rows(ulx, "mnist", (784, 224, 10), args.samples, args.data, measure=False)
    if args.json:
        results.write_json(
            args.json,
            {"rows": [asdict(r) for r in found], "samples": args.samples, "machine": results.machine()},
        )


if __name__ == "__main__":
    main()
