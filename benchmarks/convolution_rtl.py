"""Logic cells of convolutions: blocks of an engine with and without the option, each synthesised alone.

The engine is that of the ULX3S 85F with the memories of the network of docs/explanation/convolution.md.
"""

from __future__ import annotations

from dataclasses import replace

from amaranth.lib import wiring

from benchmarks.area import alone
from equilif_boards import BOARDS
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.dispatch import Dispatcher
from equilif_hdl.engine.geometry import Geometry
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.walk import Walker

PARTS = (Dispatcher, Scanner, Walker, Checker)
KINDS = {"LUT4": "LUT4", "CCU2C": "carry", "TRELLIS_FF": "FF", "MULT18X18D": "multipliers"}


def logic(component: wiring.Component) -> dict[str, int]:
    """Cells of a block; a carry takes two LUTs."""
    cells = alone(component, KINDS)
    cells["LUT4"] += 2 * cells.pop("carry")
    return cells


def main() -> None:
    board = BOARDS["ulx3s-85f"].config
    config = replace(board, lanes=16, tiles=768, state_groups=256, value_groups=512)
    for part in PARTS:
        for convolution in (False, True):
            found = logic(part(replace(config, convolution=convolution)))
            print(part.__name__, "with" if convolution else "without", found, flush=True)
    print("Geometry", logic(Geometry(replace(config, convolution=True))))
