"""Synthesis of the exported engine for AMD 7-series FPGAs: utilisation, no place and route.

    python -m benchmarks.amd --write     # benchmarks/summaries/amd.json, some minutes

Yosys synthesises equilif_hdl.link.bus.AxiEngine with 4 and 16 lanes, with and without attention.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from benchmarks import area, pages, records
from benchmarks.claims import BUILT
from equilif.results import ToolFailed
from equilif_boards.build import executable
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
    """Cells by kind; ToolFailed with the message of Yosys."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "top.il").write_text(rtlil.convert(AxiEngine(config), name="top", emit_src=False))
        script = (
            "read_rtlil top.il; synth_xilinx -family xc7 -top top -flatten; tee -q -o stat.json stat -json"
        )
        done = subprocess.run(
            [executable("yosys"), "-q", "-p", script], cwd=work, capture_output=True, text=True
        )
        if done.returncode:
            raise ToolFailed(f"Yosys: {done.stderr.strip()[-300:]}")
        stat = json.loads((work / "stat.json").read_text())["design"]["num_cells_by_type"]
    found: Counter[str] = Counter()
    for cell, n in stat.items():
        kind = next((kind for start, kind in KINDS.items() if cell.startswith(start)), None)
        if kind:
            found[kind[0]] += n * kind[1]
    return dict(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the table")
    given = parser.parse_args()
    engines: list[dict[str, Any]] = []
    for lanes in (4, 16):
        for attention in (False, True):
            config = EngineConfig(lanes=lanes, tiles=WEIGHTS // lanes**2, attention=attention)
            cells = measure(config)
            engines.append({"lanes": lanes, "attention": attention, "cells": cells})
            print(engines[-1], flush=True)
    if given.write:
        content = {**records.stamp(BUILT), "yosys": area.yosys(), "weights": WEIGHTS, "engines": engines}
        records.write(TABLE, content, 3)
        pages.write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
