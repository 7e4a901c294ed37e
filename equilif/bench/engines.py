"""Comparison of this engine with published engines, a row each.

Ours come from boards/measured.json (benchmarks.boards), the others from others.toml; a cell that is not known
is None.  Synaptic operations of ours are words of P weights a cycle, times P, of a training sample.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from equilif.hardware import boards
from equilif_golden.extras import needs

with needs("boards"):
    from equilif_boards import BOARDS

#: cells of nextpnr that are memory, and their names here
MEMORY = {"ICESTORM_RAM": "block RAM", "DP16KD": "block RAM", "BSRAM": "block RAM", "ICESTORM_SPRAM": "SPRAM"}
#: and what their logic is called there
FAMILIES = {"ICESTORM_LC": "iCE40UP5K", "TRELLIS_COMB": "ECP5", "LUT4": "Gowin"}


@dataclass(frozen=True)
class EngineRow:
    """``logic``: cells and their name; ``f_max`` in MHz; ``per_cycle`` synaptic operations; ``training``
    samples a second.
    """

    name: str
    does: str
    source: str
    device: str = ""
    logic: tuple[int, str] | None = None
    memory: str | None = None
    f_max: float | None = None
    per_cycle: float | None = None
    training: float | None = None

    @property
    def per_second(self) -> float | None:
        """Synaptic operations, at f_max."""
        return None if self.f_max is None or self.per_cycle is None else self.f_max * 1e6 * self.per_cycle

    @property
    def per_cell(self) -> float | None:
        """Synaptic operations a second of 1,000 cells of logic."""
        return (
            None if self.per_second is None or self.logic is None else self.per_second * 1e3 / self.logic[0]
        )

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "per_second": self.per_second, "per_cell": self.per_cell}


def rows() -> list[EngineRow]:
    """Ours first."""
    return [*_ours(), *_others()]


def _others() -> Iterator[EngineRow]:
    text = resources.files("equilif.bench").joinpath("others.toml").read_text()
    for raw in tomllib.loads(text)["engine"]:
        yield EngineRow(**{**raw, "logic": tuple(raw["logic"]) if "logic" in raw else None})


def _ours() -> Iterator[EngineRow]:
    """The boards whose engine is the one that was measured."""
    for r in boards.report():
        if "build" not in r:
            continue
        used = r["build"]["utilisation"]
        board = BOARDS[r["board"]]
        yield EngineRow(
            name=f"equilif, {r['title']}",
            does=f"learns on chip (EP), {r['network']}",
            device=FAMILIES[board.device.family.logic_name],
            source="boards/measured.json",
            logic=(
                r["logic"]["used"],
                board.device.family.logic_name.removeprefix("TRELLIS_").removeprefix("ICESTORM_"),
            ),
            memory=", ".join(f"{used[k]['used']} {name}" for k, name in MEMORY.items() if k in used),
            f_max=r["build"]["f_max"],
            per_cycle=boards.measured()[r["board"]]["ideal"]["training"]
            * r["lanes"]
            / r["cycles"]["training"],
            training=r["samples_per_second"]["training"]["engine"],
        )
