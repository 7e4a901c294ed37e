"""Training samples a second that line and engine allow, and what a frame with packed zeros saves.

    python -m benchmarks.link                    digits, on the iCEBreaker's engine
    python -m benchmarks.link --data DIR         MNIST too, and on the ULX3S from the cycles that
    benchmarks.boards measured
    python -m benchmarks.link --json FILE        result with the machine that it was measured on

Computed: 10 bits a byte at the line's rate, then the engine's cycles at the board's clock, one after the
other as the device does it. Measured: cycles of the whole board in simulation (equilif_sim.board) from
the first bit of a sample to the last of its reply.  Weights are those of one epoch of the golden model,
so that spikes are as frequent as in training.  Not in either: the time of the host and its USB bridge.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from equilif import results
from equilif.data import images as data
from equilif.hardware import boards as known
from equilif.host.client import Client
from equilif.host.simulate import Simulated
from equilif.training.presets import PRESETS
from equilif.training.train import lesson, order, taught
from equilif_boards import BOARDS, Board
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import Compiled
from equilif_golden.kernel import Kernel
from equilif_golden.link.protocol import OVERHEAD, RESULT, RUN_HEADER, pack
from equilif_golden.network import Network
from equilif_golden.samples import one_hot
from equilif_hdl.link.uart import SMALLEST_DIVISOR

RATES = (1_000_000, 3_000_000, 12_000_000)
ENDS = 3  #: two around a command, one behind a reply
FAST = 48e6  #: the slowest clock that makes 12 Mbaud


@dataclass
class Row:
    board: str
    network: str
    baud: int
    clock_hz: float
    bytes_plain: float  #: both ways, with every value sent
    bytes_packed: float  #: as they went over the line
    cycles: float  #: of the engine
    computed_plain: float  #: samples a second
    computed: float
    measured: float | None
    compute_bound: float
    link_bound: float


def rows(
    board: Board, name: str, sizes: tuple[int, ...], n: int, folder: Path | None, *, measure: bool
) -> list[Row]:
    preset, d = PRESETS[name], data.load(name, folder)
    network = Network.chain(*sizes, schedule=preset.schedule)
    kernel = Kernel(network, preset.initial_weights(network, 0), lr=preset.rate(0))
    for _ in taught(kernel, d, lesson(preset, d, 0, 0)):
        pass
    compiled, chosen = Compiled(network, board.config), order(0, 1, len(d.x_train))[:n]
    plain = (
        len(compiled.sample(d.x_train[0].astype(np.int64), np.zeros(sizes[-1], np.int64)))
        + RUN_HEADER.size
        + RESULT.size
        + 2 * OVERHEAD
        + ENDS
    )
    out = []
    for baud in RATES:
        clock = board.clock_hz if board.clock_hz / baud >= SMALLEST_DIVISOR else FAST
        if measure:
            simulated = Simulated(replace(board, clock_hz=clock), baud).board
            client = Client(simulated)
            chip = Chip(client, network, kernel.weights, lr=preset.rate(1), counter=kernel.counter)
            before, start, cycles = replace(client.traffic), simulated.cycles, 0
            for j in chosen:
                x, y = d.x_train[j].astype(np.int64), one_hot(d.y_train[j : j + 1], sizes[-1])[0]
                cycles += chip.sample(x, y).cycles
            assert client.traffic.repeated == 0
            packed = (client.traffic.sent - before.sent + client.traffic.received - before.received) / n
            cycles, measured = cycles / n, clock * n / (simulated.cycles - start)
        else:
            entry = known.measured()[board.name]  # of its own network
            cycles, packed, measured = entry["cycles"]["training"], entry["bytes"]["training"], None
        link, engine = 10 * packed / baud, cycles / clock
        out.append(
            Row(
                board.title,
                "-".join(map(str, sizes)),
                baud,
                clock,
                plain,
                packed,
                cycles,
                1 / (10 * plain / baud + engine),
                1 / (link + engine),
                measured,
                1 / engine,
                1 / link,
            )
        )
        print(
            "{:12} {:11} {:5.0f} Mbaud {:3.0f} MHz  {:5.0f} bytes, packed {:4.0f}  {:6,.0f} cycles  plain {:6,.0f}/s  computed {:6,.0f}/s  "
            "measured {}  engine alone {:6,.0f}/s  line alone {:6,.0f}/s".format(
                board.name,
                out[-1].network,
                baud / 1e6,
                clock / 1e6,
                plain,
                packed,
                cycles,
                out[-1].computed_plain,
                out[-1].computed,
                f"{measured:6,.0f}/s" if measured else "-",
                1 / engine,
                1 / link,
            ),
            flush=True,
        )
    return out


def sent(values: np.ndarray) -> int:
    """Bytes of a sample and its reply on the line, without the few that SLIP escapes."""
    raw = values.astype(np.uint8).tobytes()
    return min(len(raw), len(pack(raw))) + RUN_HEADER.size + RESULT.size + 2 * OVERHEAD + ENDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with MNIST's IDX files")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write the result here")
    args = parser.parse_args()
    ice, ulx = BOARDS["icebreaker"], BOARDS["ulx3s-85f"]
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
