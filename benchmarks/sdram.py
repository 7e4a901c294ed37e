"""Bandwidth of the SDRAM controller, and a build of the memory test for the boards that have an SDRAM.

Bandwidth: words per cycle by equilif_golden.sdram, which has the cycles of the RTL, refreshes included.
--build DIR builds the memory test of a board with some seeds: cells, f_max, and DIR/SEED/top.bit to load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from benchmarks import pages, records
from benchmarks.registry import Write
from equilif_boards import BOARDS
from equilif_boards.build import NAME, REPORT, report_of
from equilif_boards.sdram import SDRAMS, MemoryTestDesign
from equilif_golden.sdram import CHIPS, bandwidth

RECORD = records.SUMMARIES / "sdram.json"
LENGTHS = (1, 4, 16, 64, 256, 1024, 16384)
MHZ = 95
BOARD = "ulx3s-25f"


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
    design = MemoryTestDesign(board, SDRAMS[name])
    return board.platform().prepare(design, NAME, emit_src=False, **overrides)


def designs() -> list[Callable[[], str]]:
    return [lambda: str(plan(BOARD, MHZ).files[f"{NAME}.il"])]


def built(name: str, mhz: float, seeds: int, folder: Path) -> dict[str, Any]:
    """f_max in MHz by seed, and cells."""
    board = BOARDS[name]
    f_max: dict[str, float] = {}
    cells: dict[str, tuple[int, int]] = {}
    for seed in range(1, seeds + 1):
        out = folder / str(seed)
        plan(name, mhz, f"--seed {seed}").execute_local(out)
        timing, cells = report_of(out / REPORT)
        f_max[str(seed)] = timing.f_max
        print(f"{board.title}, seed {seed}: {timing.f_max} MHz", flush=True)
    return {"title": board.title, "constraint": mhz, "f_max": f_max, "cells": cells}


def main(
    *,
    board: Annotated[str, "name of the board"] = BOARD,
    mhz: Annotated[float, "clock of the controller"] = MHZ,
    build: Annotated[Path | None, "folder for builds of the board"] = None,
    seeds: Annotated[int, "number of seeds"] = 1,
    write: Write = False,
) -> None:
    known = records.read(RECORD)
    found = {
        **records.stamp("sdram"),
        "mhz": mhz,
        "bandwidth": bandwidths(mhz),
        "boards": known.get("boards", {}),
    }
    for row in found["bandwidth"]:
        print(row, flush=True)
    if build is not None:
        found["boards"][board] = {**records.stamp("sdram"), **built(board, mhz, seeds, build)}
    if write:
        pages.save(RECORD, found, 3)
