"""Cycles of a board that trains standalone, and those of its engine.

The complete design of a board with a standalone trainer, flash chip included, learns MNIST images in
simulation.  Cycles of a sample are the difference between runs with few and with more samples, so start and
checkpoint cancel; engine cycles are the mean over the same samples with a host.  --write updates all boards
with the same engine, network and frame.  Large engines compile for minutes.

--sdram compares samples in the flash and in the SDRAM: of the first epoch, of a later one, and of tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import numpy as np

from benchmarks import common
from benchmarks.common import Data, choose
from benchmarks.training import BOARD_PRESET
from equilif.data.sets.dataset import DataSet
from equilif.hardware import boards as known
from equilif.host.client import Client
from equilif.host.journal import StoredTests, begin_tests
from equilif.host.store import FlashStore, StoredSamples, TrainingJob
from equilif.show.console import console, table
from equilif_boards import BOARDS, Board
from equilif_golden.engine.chip import Chip
from equilif_golden.link.flash import BLOCK, ERASED
from equilif_golden.samples import one_hot
from equilif_sim import board as simulation

FEW = 20
MORE = 120
SDRAM_BOARD = "ulx3s-25f"


class StandaloneBoard:
    """A simulated board with a standalone trainer, and jobs of a network that fits."""

    def __init__(self, board: Board, data: DataSet):
        board = board if board.standalone else board.with_standalone()
        self.data = data
        self.preset = BOARD_PRESET.changed(hidden=board.network[1:-1])
        self.network = self.preset.network(data)
        self.weights = self.preset.initial_weights(self.network, 0, data)
        assert board.area is not None
        self.area = board.area
        self.simulated = simulation.SimulatedBoard(
            board.config,
            flash=board.area,
            state_ram=board.state_ram,
            frame_bytes=board.frame_bytes,
            max_samples=board.max_samples,
            sdram=board.sample_memory,
        )
        self.simulated.work()
        self.client = Client(self.simulated)

    def store(self, n: int, *, epochs: int = 1, tests: int = 0) -> FlashStore:
        """Flash content of a job with ``n`` training samples, and a checkpoint at its end."""
        data = self.data
        job = TrainingJob(
            network=self.network,
            weights=self.weights,
            rates=[self.preset.rate(0)] * epochs,
            samples=StoredSamples(labels=data.y_train[:n], x=data.x_train[:n]),
            tests=StoredSamples(labels=data.y_test[:tests], x=data.x_test[:tests]) if tests else None,
            seed=1,
            pause=0xFF,
        )
        return FlashStore.of_job(self.client.identity, job)

    def cycles(self, store: FlashStore) -> int:
        """Cycles from a reset to the end of the job."""
        simulated = self.simulated
        assert simulated.flash is not None
        simulated.flash[:] = bytes([ERASED]) * len(simulated.flash)
        for block, content in store.blocks.items():
            at = (self.area.first + block) * BLOCK
            simulated.flash[at : at + BLOCK] = content.ljust(BLOCK, bytes([ERASED]))
        simulated.reset()
        first = simulated.cycles
        simulated.work()
        assert self.client.registers.seen == store.n and not self.client.registers.fault
        return simulated.cycles - first

    def test_cycles(self, tests: StoredTests, n: int) -> int:
        """Cycles of the first ``n`` stored tests."""
        before = begin_tests(self.client, StoredTests(tests.index, n))
        first = self.simulated.cycles
        self.simulated.work()
        cycles = self.simulated.cycles - first
        assert self.client.registers.seen == n and not self.client.registers.fault
        self.client.control_trainer(run=0)
        self.client.set_registers(before)
        return cycles


def by_memory(board: Board, data: DataSet) -> list[dict[str, Any]]:
    """Cycles of a sample of the first epoch, of a later one and of tests, from flash and SDRAM."""
    out = []
    for name, design in {"flash": board, "SDRAM": board.with_sdram(samples=True)}.items():
        trainer = StandaloneBoard(design, data)
        few, more = (trainer.cycles(trainer.store(n)) for n in (FEW, MORE))
        both = trainer.cycles(store := trainer.store(MORE, epochs=2, tests=MORE))
        assert store.tests is not None
        for _ in range(2):  # the second time all lines are in the SDRAM
            tested = [trainer.test_cycles(store.tests, n) for n in (FEW, MORE)]
        out.append(
            {
                "memory": name,
                "first": round((more - few) / (MORE - FEW), 1),
                "later": round((both - more) / MORE, 1),
                "test": round((tested[1] - tested[0]) / (MORE - FEW), 1),
                "violations": trainer.simulated.violations,
            }
        )
        print(out[-1], flush=True)
    return out


def measured(board: Board, data: DataSet) -> tuple[float, float, float]:
    """Engine cycles, standalone cycles and flash bytes of a training sample."""
    trainer = StandaloneBoard(board, data)
    client, network, weights, preset = trainer.client, trainer.network, trainer.weights, trainer.preset
    stores = [trainer.store(n) for n in (FEW, MORE)]
    cycles = [trainer.cycles(store) for store in stores]
    store = stores[-1]
    samples = sum(len(content) for block, content in store.blocks.items() if block > store.registers.index)
    # with a host, from the initial state of the standalone board
    chip = Chip(client, network, weights, learning_rate=preset.rate(0))
    targets = one_hot(data.y_train[FEW:MORE], network.n_outputs)
    runs = [chip.sample(x, y) for x, y in zip(data.x_train[FEW:MORE], targets, strict=True)]
    engine = float(np.mean([run.cycles for run in runs]))
    return engine, (cycles[1] - cycles[0]) / (MORE - FEW), samples / MORE


def note(board: Board, found: dict[str, float]) -> None:
    """Write to the measurements of the board and of equal boards."""
    whole = json.loads(known.MEASURED.read_text())
    for name, entry in whole["boards"].items():
        other = BOARDS[name]
        if other.standalone and _engine(other) == _engine(board) and known.older(other, entry) is not None:
            entry["standalone"] = {"date": str(date.today()), "commit": common.commit(), **found}
    common.write(known.MEASURED, whole, 3)


def _engine(board: Board) -> tuple[object, ...]:
    return board.config, board.network, board.frame_bytes, board.max_samples


def main(
    boards: Annotated[Sequence[str], "boards (default: icebreaker)"] = (),
    *,
    data: Data,
    sdram: Annotated[bool, "compare samples in flash and SDRAM"] = False,
    write: Annotated[bool, "write boards/measured.json"] = False,
) -> None:
    mnist = BOARD_PRESET.load(data)
    if sdram:
        for name in boards or [SDRAM_BOARD]:
            print(by_memory(BOARDS[name], mnist), flush=True)
        return
    rows = []
    for name in choose(boards or ["icebreaker"], BOARDS, "board"):
        board = BOARDS[name]
        engine, standalone, size = measured(board, mnist)
        if write:
            note(board, {"engine": round(engine, 1), "cycles": round(standalone, 1), "bytes": round(size, 1)})
        hz = board.clock_hz
        rows.append(
            [
                name,
                "-".join(map(str, board.network)),
                f"{size:.0f}",
                f"{engine:,.0f}",
                f"{standalone:,.0f}",
                f"{engine / standalone:.0%}",
                f"{hz / engine:,.0f}",
                f"{hz / standalone:,.0f}",
            ]
        )
    columns = ["board", "network", "bytes", "engine", "standalone", "rate", "engine, samples/s", "standalone"]
    console.print(table("cycles of a training sample", columns, rows, left=2))
