"""Cell counts of every block in every pipeline.

Yosys synthesises the design of a board (equilif_hdl.top.Top) with a small engine and all options, without
flattening.  The pipeline for single-port memories uses iCE40 cells, the other ECP5 cells, each with the
passes of a board with this pipeline.  Instances of a block are one row with the largest counts.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from amaranth.back import rtlil

from benchmarks.common import choose
from equilif.results import ToolFailed
from equilif_boards import BOARDS, Board
from equilif_boards.build import executable
from equilif_boards.device import ECP5, ICE40, Family
from equilif_boards.link import UartLink
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.link.flash import Area
from equilif_hdl.top import Top

LANES = 4
AREA = Area(16, 240)  #: flash area: the design includes a standalone trainer
CLOCK_HZ = 48e6
BAUD = 1_000_000
#: kinds of cells by name prefix;
KINDS = {
    "LUT4": "LUT",
    "SB_LUT4": "LUT",
    "CCU2C": "carry",
    "SB_CARRY": "carry",
    "PFUMX": "mux",
    "L6MUX21": "mux",
    "TRELLIS_FF": "FF",
    "SB_DFF": "FF",
    "TRELLIS_DPR16X4": "LUT RAM",
    "DP16KD": "block RAM",
    "SB_RAM40": "block RAM",
    "SB_SPRAM": "SPRAM",
    "MULT18X18D": "multiplier",
    "SB_MAC16": "multiplier",
}
Cells = dict[str, int]
Blocks = dict[str, Cells]


class AreaPasses(NamedTuple):
    """Passes from RTLIL to cells; ``state_ram``: option of the design."""

    family: str
    passes: tuple[str, ...]
    state_ram: str | None


def synthesis(pipeline: Pipeline) -> AreaPasses:
    """Synthesis of a board with this pipeline, without flattening."""
    family = ICE40 if pipeline is Pipeline.SPRAM else ECP5
    board = _board(pipeline, family)
    after = board.after_read if board else ()
    options = board.synth_opts if board else ""
    state_ram = board.state_ram if board else None
    name = "ice40" if family is ICE40 else "ecp5"
    # abc9 of Yosys 0.52 fails an assertion without flattening
    return AreaPasses(name, (*after, f"synth_{name} {options} -noabc9 -noflatten -top top"), state_ram)


def _board(pipeline: Pipeline, family: Family) -> Board | None:
    fit = (b for b in BOARDS.values() if b.config.pipeline is pipeline and b.device.family is family)
    return next(fit, None)


def statistics(design: Any, passes: Iterable[str], what: str = "synthesis") -> Mapping[str, Any]:
    """Statistics of Yosys after these passes; ToolFailed with the message of Yosys."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        (work / "top.il").write_text(rtlil.convert(design, name="top"))
        script = "; ".join(["read_rtlil top.il", *passes, "tee -q -o stat.json stat -json"])
        command = [executable("yosys"), "-q", "-p", script]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True)
        if done.returncode:
            raise ToolFailed(f"Yosys, {what}: {done.stderr.strip()[-300:]}")
        found: dict[str, Any] = json.loads((work / "stat.json").read_text())
    return found


def measure(pipeline: Pipeline) -> Blocks:
    """Cells of every block."""
    return blocks(statistics(design(pipeline), synthesis(pipeline).passes, f"pipeline {pipeline}"))


def design(pipeline: Pipeline) -> Top:
    config = EngineConfig(lanes=LANES, pipeline=pipeline, attention=True, early_exit=True)  # as most boards
    line = UartLink(baud=BAUD).transport(CLOCK_HZ)
    return Top(config, transport=line, state_ram=synthesis(pipeline).state_ram, flash=AREA)


def blocks(stat: Mapping[str, Any]) -> Blocks:
    """Cells by block from the statistics of Yosys, without those of submodules."""
    found: dict[str, list[Cells]] = defaultdict(list)
    for module, module_stat in stat["modules"].items():
        found[_block(module)].append(_kinds(module_stat["num_cells_by_type"]))
    largest = {name: max(cells, key=lambda c: sum(c.values())) for name, cells in sorted(found.items())}
    whole: Cells = defaultdict(int)
    for cells in found.values():
        for one in cells:
            for kind, n in one.items():
                whole[kind] += n
    return {"all": dict(sorted(whole.items())), **largest}


def _block(module: str) -> str:
    """Block of a module: ``top.engine.lanes.lane0.lif`` is engine.lanes.lane.lif."""
    path = re.sub(r"\$\d+$", "", module.removeprefix("\\")).split(".")
    return ".".join(re.sub(r"(?<=\D)\d+$", "", part) for part in path[1:]) or "top"


def _kinds(by_type: Mapping[str, int]) -> Cells:
    found: Cells = defaultdict(int)
    for cell, n in by_type.items():
        kind = next((kind for start, kind in KINDS.items() if cell.startswith(start)), None)
        if kind:
            found[kind] += n
    return dict(sorted(found.items()))


def main(*, only: Annotated[Sequence[str], "pipelines (default: all)"] = ()) -> None:
    for pipeline in map(Pipeline, choose(only, Pipeline, "pipeline")):
        for block, cells in measure(pipeline).items():
            print(
                f"{pipeline}  {block:24} {', '.join(f'{n:,} {kind}' for kind, n in cells.items())}",
                flush=True,
            )
