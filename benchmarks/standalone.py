"""Cycles of a board that trains standalone, and those of its engine.

The complete design of a board with a standalone trainer, flash chip included, learns MNIST images in
simulation.  Cycles of a sample are the difference between runs with few and with more samples, so start and
checkpoint cancel; engine cycles are the mean over the same samples with a host.  --write updates all boards
with the same engine, network and frame.  Large engines compile for minutes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np

from benchmarks import pages
from benchmarks.records import stamp
from benchmarks.registry import Data, Write, choose
from benchmarks.training import BOARD_PRESET
from equilif.data.sets.dataset import DataSet
from equilif.hardware import boards as known
from equilif.host.client import Client
from equilif.host.store import FlashStore, StoredSamples, TrainingJob
from equilif.show.console import console, table
from equilif_boards import BOARDS, Board
from equilif_golden.engine.chip import Chip
from equilif_golden.link.flash import BLOCK, ERASED
from equilif_golden.samples import one_hot
from equilif_sim import board as simulation

FEW = 20
MORE = 120


def measured(board: Board, data: DataSet) -> tuple[float, float, float]:
    """Engine cycles, standalone cycles and flash bytes of a training sample."""
    preset = BOARD_PRESET.changed(hidden=board.network[1:-1])
    network = preset.network(data)
    weights = preset.initial_weights(network, 0, data)
    area = board.with_standalone().area
    assert area is not None
    simulated = simulation.SimulatedBoard(
        board.config,
        flash=area,
        state_ram=board.state_ram,
        frame_bytes=board.frame_bytes,
        max_samples=board.max_samples,
    )
    simulated.work()
    client = Client(simulated)
    cycles = []
    for n in (FEW, MORE):
        store = FlashStore.of_job(
            client.identity,
            TrainingJob(
                network=network,
                weights=weights,
                rates=[preset.rate(0)],
                samples=StoredSamples(labels=data.y_train[:n], x=data.x_train[:n]),
                seed=1,
            ),
        )
        assert simulated.flash is not None
        simulated.flash[:] = bytes([ERASED]) * len(simulated.flash)
        for block, content in store.blocks.items():
            at = (area.first + block) * BLOCK
            simulated.flash[at : at + BLOCK] = content.ljust(BLOCK, bytes([ERASED]))
        simulated.reset()
        first = simulated.cycles
        simulated.work()
        cycles.append(simulated.cycles - first)
        assert client.registers.seen == n and not client.registers.fault
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
            entry["standalone"] = {**stamp("standalone", name), **found}
    pages.save(known.MEASURED, whole, 3)


def _engine(board: Board) -> tuple[object, ...]:
    return board.config, board.network, board.frame_bytes, board.max_samples


def main(
    boards: Annotated[Sequence[str], "boards (default: icebreaker)"] = (), *, data: Data, write: Write = False
) -> None:
    mnist = BOARD_PRESET.load(data)
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
