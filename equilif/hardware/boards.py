"""Boards by name, what was measured of them, and what follows: ``equilif boards``.

``boards/measured.json`` holds a build of every board and the cycles of a sample in RTL;
benchmarks/boards.py writes it.
"""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from equilif.training import netfile
from equilif.training.pretrained import model_path
from equilif_golden.engine.compiler import CapacityError, Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import OPTIONS, has
from equilif_golden.engine.placement import Placement
from equilif_golden.extras import needs
from equilif_golden.network import Network

with needs("hdl,boards"):
    import equilif_boards
    from equilif_boards import BOARDS, Board

MEASURED = Path(equilif_boards.__file__).with_name("measured.json")
KINDS = ("training", "inference")
#: where the speed of a network that is not in measured.json comes from
SPEED = "`equilif verify` counts its cycles in RTL, `equilif report` bounds its speed on every board"


def find(name: str) -> Board:
    """A board by its name, or one defined by a Python file (docs/how_to/new_board.md)."""
    if name.endswith(".py"):
        return _own(name)
    if name not in BOARDS:
        raise ValueError(
            f"board must be one of {', '.join(BOARDS)}, or a Python file that defines one, not {name!r}"
        )
    return BOARDS[name]


def _own(file: str) -> Board:
    """ValueError unless the file makes one board, of a name that no other has."""
    if not Path(file).is_file():
        raise ValueError(f"there is no file {file}: a board is a name, or a Python file that defines one")
    try:
        made = runpy.run_path(file)
    except Exception as e:  # whatever somebody's file does
        raise ValueError(f"{file} cannot be run: {type(e).__name__}: {e}") from e
    found = [b for b in made.values() if isinstance(b, Board) and b not in BOARDS.values()]
    if len(found) != 1:
        raise ValueError(f"{file} must define exactly one equilif_boards.Board, not {len(found)}")
    board = found[0]
    if board.name in BOARDS or not re.fullmatch(r"[A-Za-z0-9][\w-]*", board.name):
        raise ValueError(
            f"{file}: a board's name is made of letters, digits and -, and none of {', '.join(BOARDS)}; "
            f"not {board.name!r}"
        )
    return board


def network_of(text: str) -> Network:
    """A chain, written 784-64-10, or the network of a file."""
    parts = text.split("-")
    if len(parts) > 1 and all(p.isdecimal() and int(p) for p in parts):
        return Network.chain(*map(int, parts))
    path = model_path(text)
    if not text or not path.exists():
        raise ValueError(
            "a network is given as layer sizes, such as 784-64-10, a network file or network.npz, "
            f"or a pretrained network (equilif models), not {text!r}"
        )
    return netfile.network_of(path)


def measured() -> dict[str, Any]:
    """By board; empty when nothing was measured yet."""
    return json.loads(MEASURED.read_text())["boards"] if MEASURED.exists() else {}


@dataclass(frozen=True)
class Fit:
    """Fit of a network on a board: reason why not, or empty; tiles needed and available."""

    board: str
    title: str
    short: str
    tiles: int
    has_tiles: int


def fits(network: Network) -> list[Fit]:
    """Fit of a network on each board."""
    return [
        Fit(
            b.name,
            b.title,
            short(b, network),
            Placement(network, b.config).all_tiles,
            b.config.tiles,
        )
        for b in BOARDS.values()
    ]


def short(board: Board, network: Network) -> str:
    """Why a network does not fit, or nothing."""
    try:
        Compiled(network, board.config)
    except CapacityError as e:
        return str(e)
    return ""


def speed(board: Board, entry: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Samples per second of the measured network at the board's clock: engine, line, and both in turn, as a
    host trains; for training also ``standalone``, if the recorded build has the trainer.
    """
    out = {}
    for kind in KINDS:
        engine = entry["cycles"][kind] / board.clock_hz
        line = entry["bytes"][kind] / board.link.bytes_per_second
        out[kind] = {"engine": 1 / engine, "link": 1 / line, "both": 1 / (engine + line)}
    if "standalone" in entry and entry["build"].get("standalone"):
        out["training"]["standalone"] = board.clock_hz / entry["standalone"]["cycles"]
    return out


def same_engine(board: Board, config: Mapping[str, Any]) -> bool:
    """Whether a measurement holds for the present board; options added since then have their defaults."""
    return EngineConfig.from_dict(config) == board.config


def f_max_by_seed(build: Mapping[str, Any]) -> dict[str, float]:
    """f_max in MHz of every seed with which a recorded build was routed."""
    return build.get("f_max_by_seed") or {str(build["seed"]): build["f_max"]}


def older(board: Board, entry: Mapping[str, Any]) -> list[str] | None:
    """What a recorded build has or lacks, unlike the board's standard bitstream; None for another engine.

    Cycles and clock of an engine with other options hold for a network that needs none of them.
    """
    built = EngineConfig.from_dict(entry["config"])
    now: dict[str, Any] = {name: has(board.config, name) for name in OPTIONS}
    if replace(built, **now) != board.config:
        return None
    parts = {OPTIONS[name].label: (has(built, name), now[name]) for name in OPTIONS}
    parts["standalone trainer"] = entry["build"].get("standalone", False), board.standalone
    return [
        f"{'with' if had else 'without'} {part}" for part, (had, wanted) in parts.items() if had != wanted
    ]


def report(network: Network | None = None) -> list[dict[str, Any]]:
    """A row for every board; ``network``: asks whether it fits."""
    known = measured()
    rows: list[dict[str, Any]] = []
    for board in BOARDS.values():
        row: dict[str, Any] = {
            "board": board.name,
            "title": board.title,
            "cost_usd": board.cost,
            "serial": board.link.place,
            "lanes": board.config.lanes,
            "weights": board.config.n_weights,
            "attention": board.config.attention,
            "errors": board.config.errors,
            "standalone": board.standalone,
            "network": "-".join(map(str, board.network)),
            "clock_hz": board.clock_hz,
            "link": str(board.link),
            "links": [{"kind": k.kind, "rate": str(k), "place": k.place} for k in board.links],
        }
        entry = known.get(board.name)
        if entry and (differs := older(board, entry)) is not None:
            row |= {
                "build": entry["build"],
                "f_max_by_seed": f_max_by_seed(entry["build"]),
                "commit": entry["commit"],
                "older": differs,
                "logic": entry["build"]["utilisation"][board.device.family.logic_name],
                "cycles": entry["cycles"],
                "bytes": entry["bytes"],
                "samples_per_second": speed(board, entry),
            }
            if "standalone" in row["samples_per_second"]["training"]:
                row["standalone_cycles"] = entry["standalone"]["cycles"]
        if network is not None:
            row["short"] = short(board, network)
        rows.append(row)
    return rows
