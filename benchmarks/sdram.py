"""Bandwidth of the SDRAM controller, training with external weights, and a build of the memory test for the
boards that have an SDRAM.

Bandwidth: words per cycle by equilif_golden.sdram, which has the cycles of the RTL, refreshes included.
--data DIR trains networks of MNIST with external weights on the engine model, whose cycles are those of the
RTL, after an epoch on the kernel, and compares the weights with it.
--maps N --data DIR trains N samples of Fashion-MNIST by a network of convolutions on the RTL of an engine
with 32 lanes, which no board has, with the model of an SDRAM, after an epoch on the kernel, and compares
predictions, spikes and weights with it.  Samples are kept in build/sdram_maps, so an interrupted run goes on.
--build DIR builds the memory test of a board with some seeds: cells, f_max, and DIR/SEED/top.bit to load.
--external --build DIR takes the build of a board with external weights in DIR/BOARD, or makes it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np

from benchmarks.boards import build_record
from benchmarks.common import BUILD, Data, choose, read, write
from benchmarks.training import BOARD_PRESET, after_an_epoch, plan_after_an_epoch, request
from equilif.data.sets import images
from equilif.data.sets.dataset import DataSet
from equilif.training.resolve import resolve
from equilif_boards import BOARDS, Board
from equilif_boards.build import NAME, REPORT, executable, report_of
from equilif_boards.memory_test import MemoryTestDesign
from equilif_boards.sdram import Sdram
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import Numerics, Raw
from equilif_golden.kernel import Kernel
from equilif_golden.samples import one_hot
from equilif_golden.sdram import CHIPS, bandwidth
from equilif_sim.verilated import VerilatedEngine, library, rtl

LENGTHS = (1, 4, 16, 64, 256, 1024, 16384)
MHZ = 95
BOARD = "ulx3s-25f"
BUILDS = tuple(name for name, board in BOARDS.items() if board.sdram)


def bandwidths(mhz: float) -> list[dict[str, Any]]:
    """Words per cycle of consecutive bursts, and MB/s of the longest."""
    out = []
    for name in CHIPS:
        chip = CHIPS[name]
        for is_write in (False, True):
            rates = [bandwidth(chip, int(mhz * 1e6), n, is_write) for n in LENGTHS]
            direction = "write" if is_write else "read"
            speed = rates[-1] * mhz * chip.width / 8
            out.append(
                {
                    "chip": name,
                    "direction": direction,
                    "words": dict(zip(map(str, LENGTHS), (round(r, 3) for r in rates), strict=True)),
                    "MB/s": round(speed, 1),
                }
            )
    return out


def plan(name: str, mhz: float, options: str = "") -> Any:
    """Amaranth's plan of a build of the memory test."""
    board = replace(BOARDS[name], clock_hz=1e6 * mhz)
    overrides = board.overrides()
    overrides["nextpnr_opts"] += f" --report {REPORT} --timing-allow-fail {options}"
    design = MemoryTestDesign(board)
    return board.platform().prepare(design, NAME, emit_src=False, **overrides)


def designs() -> list[Callable[[], str]]:
    return [lambda: str(plan(BOARD, MHZ).files[f"{NAME}.il"])]


def built(name: str, mhz: float, seeds: int, folder: Path) -> dict[str, Any]:
    """f_max in MHz by seed, and cells."""
    board = BOARDS[name]
    f_max: dict[str, float] = {}
    cells: dict[str, tuple[int, int]] = {}
    tools = dict(os.environ)
    for tool in board.pypi_tools:
        tools[tool.upper().replace("-", "_")] = executable(tool, new=board.pypi_tools)
    for seed in range(1, seeds + 1):
        out = folder / str(seed)
        plan(name, mhz, f"--seed {seed}").execute_local(out, env=tools)
        timing, cells = report_of(out / REPORT)
        f_max[str(seed)] = timing.f_max
        print(f"{board.title}, seed {seed}: {timing.f_max} MHz", flush=True)
    return {"title": board.title, "constraint": mhz, "f_max": f_max, "cells": cells}


TRAINED = ("ulx3s-25f", "colorlight-i5", "tang-nano-20k")  #: boards with external weights
HIDDEN = (256, 512)


def trained(name: str, kernel: Kernel, data: DataSet, order: Raw) -> dict[str, Any]:
    """Samples on the engine model and on a copy of the kernel: samples/s, and words of the SDRAM a sample."""
    network = kernel.network
    config = BOARDS[name].with_sdram().config
    assert config.external is not None
    start: dict[str, Any] = {"learning_rate": BOARD_PRESET.rate(1), "counter": kernel.counter}
    model = EngineModel(config)
    chip = Chip(model, network, kernel.weights, **start)
    copy = Kernel(network, kernel.weights, **start)
    cycles = read = written = 0
    for j in order:
        cycles += chip.sample(data.x_train[j], one_hot(data.y_train[[j]], network.n_outputs)[0]).cycles
        read += model.external_words[0]
        written += model.external_words[1]
    copy.train(data.x_train, data.y_train, order)
    same = all(np.array_equal(copy.weights[name], w) for name, w in chip.weights.items())
    n = len(order)
    return {
        "board": name,
        "chip": config.external.chip_name,
        "network": "-".join(str(p.size) for p in network.populations if p.kind != "constant"),
        "samples": n,
        "cycles": round(cycles / n),
        "samples/s": round(n * config.external.hz / cycles),
        "read": round(read / n),
        "written": round(written / n),
        "equals kernel": same,
    }


MAPS_BOARD = "ulx3s-85f-maps"
MAPS_COMMAND = "equilif train fashion --hidden conv:64 --hidden conv:128"
STEP = 10  #: samples after which weights are compared


class SimulatedSample(NamedTuple):
    """Cycles of a sample, its spikes, and whether prediction and spikes are those of the kernel."""

    cycles: int
    spikes: int
    equal: bool


def maps_board() -> Board:
    """Board with 32 lanes for the network of convolutions; in simulation only, it does not route."""
    board = BOARDS[MAPS_BOARD]
    config = replace(board.config, lanes=32, tiles=64, numerics=Numerics(accumulator_width=28))
    return replace(board, sdram=Sdram(chip_name="IS42S16160", config=config)).with_sdram()


def simulate_maps(board: Board, text: str, data: DataSet, n: int, store: Path) -> list[SimulatedSample]:
    """Samples of the network of convolutions on the RTL ``text``; ``store`` has the first ones."""
    samples = [SimulatedSample(*each) for each in read(store).get("samples", [])]
    if len(samples) >= n:
        return samples[:n]
    plan = resolve(request(MAPS_COMMAND, data)).description
    kernel, order = plan_after_an_epoch(plan, data, n)
    start: dict[str, Any] = {"learning_rate": plan.rate(1), "counter": kernel.counter}
    kernel = Kernel(kernel.network, kernel.weights, **start)
    kernel.train(data.x_train, data.y_train, order[: len(samples)])
    engine = VerilatedEngine(board.config, made=library(board.config, text))
    chip = Chip(engine, kernel.network, kernel.weights, **start | {"counter": kernel.counter})
    for first in range(len(samples), n, STEP):
        for j in order[first : first + STEP]:
            x, label = data.x_train[j], data.y_train[[j]]
            run = chip.sample(x, one_hot(label, kernel.network.n_outputs)[0])
            prediction = kernel.predict(x[None])[0]
            spikes = kernel.train(data.x_train, data.y_train, np.array([j])).spikes
            equal = bool(run.prediction == prediction and run.spikes == spikes)
            samples.append(SimulatedSample(run.cycles, run.spikes, equal))
            print(len(samples), samples[-1], flush=True)
        assert all(np.array_equal(kernel.weights[name], w) for name, w in chip.weights.items())
        assert not engine.violations, engine.violations
        write(store, {"samples": samples})
    return samples


def simulated_maps(data: Path, n: int) -> dict[str, Any]:
    """Record of the network of convolutions on the RTL of its board."""
    board = maps_board()
    text = rtl(board.config, board.state_ram)
    store = BUILD / "sdram_maps" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    fashion = images.fashion(data)
    samples = simulate_maps(board, text, fashion, n, store)
    cycles = sum(sample.cycles for sample in samples)
    network = resolve(request(MAPS_COMMAND, fashion)).description.network(fashion)
    shapes = [p.shape or [p.size] for p in network.populations if p.kind != "constant"]
    assert board.sdram is not None
    return {
        "lanes": board.config.lanes,
        "mhz": board.clock_hz / 1e6,
        "chip": board.sdram.chip_name,
        "network": " - ".join("x".join(map(str, shape)) for shape in shapes),
        "samples": n,
        "cycles": round(cycles / n),
        "samples/s": round(n * board.clock_hz / cycles, 1),
        "mismatches": sum(not sample.equal for sample in samples),
    }


def main(
    *,
    board: Annotated[str, "name of the board"] = BOARD,
    mhz: Annotated[float, "clock of the controller"] = MHZ,
    build: Annotated[Path | None, "folder for builds of the board"] = None,
    seeds: Annotated[int, "number of seeds"] = 1,
    data: Data | None = None,
    samples: Annotated[int, "training samples"] = 200,
    external: Annotated[bool, "build the board with external weights"] = False,
    maps: Annotated[int, "training samples of convolutions on the RTL"] = 0,
) -> None:
    if external:
        if build is None:
            raise ValueError("--external needs --build, the folder of the builds")
        (board,) = choose([board], BUILDS, "board")
        print(build_record(BOARDS[board].with_sdram(), build, seeds, {}), flush=True)
        return
    if maps:
        if data is None:
            raise ValueError("--maps needs --data, the folder of Fashion-MNIST")
        print(simulated_maps(data, maps), flush=True)
        return
    for row in bandwidths(mhz):
        print(row, flush=True)
    if data is not None:
        mnist = BOARD_PRESET.load(data)
        for hidden in HIDDEN:
            kernel, order = after_an_epoch((784, hidden, 10), mnist, samples)
            for name in TRAINED:
                try:
                    print(trained(name, kernel, mnist, order), flush=True)
                except CapacityError as e:
                    print(f"{name} does not hold 784-{hidden}-10: {e}", flush=True)
    if build is not None:
        print(board, built(board, mhz, seeds, build), flush=True)
