"""Cells, f_max and latency of a board with a front end.

Writes benchmarks/summaries/front_end.json and the pages.  Cells of each block alone are those of `yosys
synth_ecp5`.  The latency is that of the live controller from the end of a word to the start of the engine, in
simulation with an engine that is free.  --build adds cells and f_max of a board: the build in BUILD/BOARD, or
a new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from amaranth import Module
from amaranth.sim import Simulator

from benchmarks import pages, records
from benchmarks.area import alone
from benchmarks.boards import build_record
from equilif_boards import BOARDS, Board
from equilif_golden.front_end import live
from equilif_golden.front_end.segmentation import LONGEST, SHORTEST
from equilif_golden.front_end.tokens import TOKENS
from equilif_hdl.engine.port import VALUE_REGION
from equilif_hdl.front_end.filter_bank import FilterBank
from equilif_hdl.front_end.listener import Listener
from equilif_hdl.front_end.live import Live, WordSource
from equilif_hdl.front_end.pdm import PdmMicrophone
from equilif_hdl.front_end.segmentation import Segmentation

RECORD = records.SUMMARIES / "front_end.json"
FRAMES = (SHORTEST, TOKENS, LONGEST)
KINDS = {
    "LUT4": "LUT4",
    "CCU2C": "carry",
    "TRELLIS_FF": "FF",
    "DP16KD": "block RAM",
    "MULT18X18D": "multipliers",
}
#: cells of an FPGA in the reports of nextpnr
USED = {
    "TRELLIS_COMB": "logic",
    "TRELLIS_FF": "flip-flops",
    "DP16KD": "block RAM",
    "MULT18X18D": "multipliers",
}


def area(board: Board) -> dict[str, dict[str, int]]:
    """Cells of the blocks of the front end."""
    microphone = board.microphone
    assert microphone is not None
    return {
        "PDM microphone": alone(PdmMicrophone(microphone.clock_hz), KINDS),
        "filter bank": alone(FilterBank(), KINDS),
        "segmentation, ring of 256 frames": alone(Segmentation(), KINDS),
        "live controller with queue and tokens": alone(Live(board.config, WordSource(board.config)), KINDS),
        "all": alone(Listener(board.config, microphone), KINDS),
    }


def latency(board: Board, frames: int) -> int:
    """Cycles from the end of a word of ``frames`` frames to the start of the engine."""
    dut = Live(board.config, WordSource(board.config))
    front = dut.front
    m = Module()
    m.submodules.dut = dut
    m.d.comb += [dut.held.eq(dut.hold), front.granted.eq(front.read)]
    table = {0: live.MAGIC, live.CLASSES: 10, live.LABEL: live.NO_LABEL}
    first = live.table_first(board.config)
    found = []

    async def bench(ctx: Any) -> None:
        for port, value in ((dut.loaded, 1), (front.last, frames - 1), (front.peak, 200), (front.word, 1)):
            ctx.set(port, value)
        for cycle in range(100_000):
            reads = ctx.get(dut.engine.mem_read) and ctx.get(dut.engine.mem_region) == VALUE_REGION
            value = table.get(ctx.get(dut.engine.mem_addr) - first, 1)
            if ctx.get(dut.engine.start):
                found.append(cycle)
                return
            await ctx.tick()
            ctx.set(front.word, 0)
            ctx.set(dut.engine.mem_valid, bool(reads))
            ctx.set(dut.engine.mem_rdata, value)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return found[0]


def main(
    *,
    board: Annotated[str, "name of the board"] = "colorlight-i5",
    build: Annotated[Path | None, "folder for a build of the board"] = None,
) -> None:
    chosen = BOARDS[board].with_front_end("pdm")
    known = records.read(RECORD)
    found = {
        **records.stamp("front end", board),
        "area": area(chosen),
        "latency": {str(n): latency(chosen, n) for n in FRAMES},
        "boards": known.get("boards", {}),
    }
    if build is not None:
        made = build_record(chosen, build, 1, {})
        found["boards"][board] = {
            **records.stamp("front end", board),
            "title": chosen.title,
            "microphone": chosen.microphone_kind,
            "f_max": made["f_max"],
            "constraint": made["constraint"],
            "cells": {kind: list(made["utilisation"][name].values()) for name, kind in USED.items()},
        }
    pages.save(RECORD, found)
