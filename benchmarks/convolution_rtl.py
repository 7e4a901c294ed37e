"""Logic cells of convolutions: blocks of an engine with and without the option, each synthesised alone.

    python -m benchmarks.convolution_rtl

The engine is that of the ULX3S 85F with the memories of the network of docs/explanation/convolution.md.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from equilif_boards import BOARDS
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.dispatch import Dispatcher
from equilif_hdl.engine.geometry import Geometry
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.walk import Walker

PARTS = (Dispatcher, Scanner, Walker, Checker)


def logic(component: wiring.Component, target: str = "ecp5") -> dict[str, int]:
    """Cells of a block after ``synth_<target>`` of Yosys."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.il").write_text(rtlil.convert(component, name="top", emit_src=False))
        subprocess.run(
            ["yosys", "-q", "-p", f"read_rtlil a.il; synth_{target} -top top; tee -o stat.txt stat"],
            cwd=folder,
            check=True,
            capture_output=True,
        )
        stat = (Path(folder) / "stat.txt").read_text()
    cells = {name: int(n) for name, n in re.findall(r"^\s+(\S+)\s+(\d+)$", stat, re.M)}
    return {
        "LUT4": cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0),
        "FF": cells.get("TRELLIS_FF", 0),
        "multipliers": cells.get("MULT18X18D", 0),
    }


def sizes() -> EngineConfig:
    """Configuration of the measured engine."""
    return replace(BOARDS["ulx3s-85f"].config, lanes=16, tiles=768, state_groups=256, value_groups=512)


def main() -> None:
    config = sizes()
    for part in PARTS:
        for convolution in (False, True):
            found = logic(part(replace(config, convolution=convolution)))
            print(part.__name__, "with" if convolution else "without", found, flush=True)
    print("Geometry", logic(Geometry(replace(config, convolution=True))))


if __name__ == "__main__":
    main()
