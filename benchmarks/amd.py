"""Synthesis of the exported engine for AMD 7-series FPGAs: utilisation, no place and route.

Yosys synthesises equilif_hdl.link.bus.AxiEngine with 4 and 16 lanes, with and without attention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks import area, pages, records
from benchmarks.inputs import engine
from benchmarks.registry import Write
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.link.bus import AxiEngine

TABLE = records.SUMMARIES / "amd.json"
WEIGHTS = 65_536
#: cell name prefixes of the kinds that are counted, and how much of a resource a cell is
KINDS = {
    "LUT": ("LUT", 1.0),
    "RAM32": ("LUT RAM", 1.0),
    "RAM64": ("LUT RAM", 1.0),
    "RAM128": ("LUT RAM", 1.0),
    "RAM256": ("LUT RAM", 1.0),
    "FD": ("flip-flops", 1.0),
    "RAMB18": ("block RAM (36 Kbit)", 0.5),
    "RAMB36": ("block RAM (36 Kbit)", 1.0),
    "DSP48": ("DSP48", 1.0),
}


def measure(config: EngineConfig) -> dict[str, float]:
    """Cells by kind."""
    passes = ["synth_xilinx -family xc7 -top top -flatten"]
    found: dict[str, float] = {}
    for cell, n in area.statistics(AxiEngine(config), passes)["design"]["num_cells_by_type"].items():
        kind, part = next((kind for start, kind in KINDS.items() if cell.startswith(start)), ("", 0.0))
        if kind:
            found[kind] = found.get(kind, 0) + n * part
    return found


CONFIGS = [
    EngineConfig(lanes=lanes, tiles=WEIGHTS // lanes**2, attention=attention)
    for lanes in (4, 16)
    for attention in (False, True)
]


def designs() -> list[Callable[[], str]]:
    return [partial(engine, config, "link.bus.AxiEngine") for config in CONFIGS]


def main(*, write: Write = False) -> None:
    engines: list[dict[str, Any]] = []
    for config in CONFIGS:
        engines.append({"lanes": config.lanes, "attention": config.attention, "cells": measure(config)})
        print(engines[-1], flush=True)
    if write:
        content = {**records.stamp("amd"), "yosys": area.yosys(), "weights": WEIGHTS, "engines": engines}
        pages.save(TABLE, content, 3)
