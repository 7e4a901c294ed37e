"""Boards by name, what was measured of them, and what follows: ``equilif boards``.

``boards/measured.json`` holds a build of every board and the cycles of a sample in RTL;
benchmarks/boards.py writes it.
"""

from __future__ import annotations

import contextlib
import json
import re
import runpy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from equilif.data.encoding import Encoding
from equilif.data.encoding.sensor import mismatch
from equilif.training.settings import netfile
from equilif.training.storage import saved
from equilif.training.storage.pretrained import model_path
from equilif_golden.engine.compiler import CapacityError, Compiled, learns
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import OPTIONS, has
from equilif_golden.engine.placement import Placement
from equilif_golden.extras import needs
from equilif_golden.front_end import live
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


def network_of(text: str) -> tuple[Network, Encoding | None]:
    """A chain, written 784-64-10, or the network of a file; with the encoding of its samples, if known."""
    parts = text.split("-")
    if len(parts) > 1 and all(p.isdecimal() and int(p) for p in parts):
        return Network.chain(*map(int, parts)), None
    path = model_path(text)
    if not text or not path.exists():
        raise ValueError(
            "a network is given as layer sizes, such as 784-64-10, a network file or network.npz, "
            f"or a pretrained network (equilif models), not {text!r}"
        )
    if path.suffix == netfile.SUFFIX:
        return netfile.network_of(path), None
    found = saved.read(path)
    return found.network, found.encoding


def measured() -> dict[str, Any]:
    """Measurements by board; empty when nothing was measured yet."""
    return json.loads(MEASURED.read_text())["boards"] if MEASURED.exists() else {}


def builds(board: Board) -> dict[str, Board]:
    """Builds of a board by the options of ``equilif build``: the standard one, those with front ends, and the
    one with weights in the SDRAM.
    """
    front_ends = {f"--front-end {kind}": board.with_front_end(kind) for kind in board.front_ends}
    return {"": board, **front_ends, **({"--sdram": board.with_sdram()} if board.sdram else {})}


@dataclass(frozen=True)
class Fit:
    """Fit of a network on a board.

    ``design``: the board as ``equilif build`` makes it with ``options``.  ``short``: why it does not hold the
    network, or empty.  ``tiles``: of weights on the FPGA, needed.  ``external``: weights in the SDRAM.
    ``learns``: whether it can train the network.
    """

    design: Board
    options: str
    short: str
    tiles: int
    external: int
    learns: bool

    @property
    def build(self) -> str:
        """Arguments of ``equilif build``."""
        return f"{self.design.name} {self.options}".strip()

    def to_dict(self) -> dict[str, Any]:
        return {
            "board": self.design.name,
            "title": self.design.title,
            "options": self.options,
            "short": self.short,
            "tiles": self.tiles,
            "has_tiles": self.design.config.tiles,
            "external_weights": self.external,
            "learns": self.learns,
        }


def fits(network: Network, encoding: Encoding | None = None) -> list[Fit]:
    """Fit of a network on each board.

    ``encoding``: of its samples.  Features of a front end need a build with this front end.
    """
    return [fit(board, network, encoding) for board in BOARDS.values()]


def fit(board: Board, network: Network, encoding: Encoding | None = None) -> Fit:
    """The first build of a board that holds a network; if none does, the first one that has its front end, or
    the standard one.
    """
    found = []
    for options, design in builds(board).items():
        placed = Placement(network, design.config)
        missing = short(design, network, encoding)
        able = not missing and learns(network, design.config)
        found.append(Fit(design, options, missing, placed.all_tiles + placed.window, placed.n_external, able))
    return min(found, key=lambda f: (bool(f.short), not _has_front_end(f.design, encoding)))


def with_options(
    board: Board,
    sizes: Mapping[str, Any] = MappingProxyType({}),
    *,
    standalone: bool | None = None,
    front_end: str | None = None,
    link: str | None = None,
    clock: float | None = None,
    sdram: bool = False,
) -> Board:
    """A board with the options of `equilif build` that were given; ``sizes``: those of the engine."""
    board = board.with_size(**sizes)
    if standalone is not None:
        board = board.with_standalone(standalone)
    if link is not None:
        board = board.with_link(link)
    if front_end is not None:
        board = board.with_front_end(front_end).with_standalone(bool(standalone))
    if sdram:
        board = board.with_sdram(samples=bool(standalone)).with_size(**sizes)
    return board if clock is None else board.with_clock(clock)


def short(design: Board, network: Network, encoding: Encoding | None = None) -> str:
    """Why a build does not hold a network, or nothing."""
    if lacking := _lacks_front_end(design, encoding):
        return lacking if short(design, network) else f"{lacking}: a host must send the samples"
    try:
        if encoding is None or not encoding.front_end:
            Compiled(network, design.config)
        else:
            live.placed(network, design.config, encoding.sensor.size if encoding.sensor else None)
    except CapacityError as e:
        return f"{e}{_option_hint(design, network)}"
    except ValueError as e:  # it is no network for the front end
        if encoding is None or not encoding.front_end:
            raise
        return str(e)
    return ""


def _has_front_end(design: Board, encoding: Encoding | None) -> bool:
    """Whether a build has the kind of front end that samples need, if they need one."""
    if encoding is None or not encoding.front_end:
        return True
    return bool(design.microphone_kind) if encoding.sensor is None else design.has_adc


def _lacks_front_end(design: Board, encoding: Encoding | None) -> str:
    """The front end that samples need and a build does not have, or nothing."""
    if not _has_front_end(design, encoding):
        words = encoding is not None and encoding.sensor is None
        return "it has no microphone" if words else "it has no front end for a sensor"
    if encoding is None or encoding.sensor is None:
        return ""
    assert design.adc_front_end is not None
    return mismatch(encoding.sensor.sizes, design.adc_front_end.sizes)


def _option_hint(design: Board, network: Network) -> str:
    """Options of ``equilif build`` with which a design may hold a network, or nothing."""
    if design.sdram and not design.config.external:
        with contextlib.suppress(ValueError):  # it has a front end, or does not hold it either
            Compiled(network, design.with_sdram().config)
            return "; a build with --sdram holds it"
    lacking = [name for name, o in OPTIONS.items() if o.needed(network) and not has(design.config, name)]
    if not lacking:
        return ""
    options: dict[str, Any] = dict.fromkeys(lacking, True)
    try:
        config = replace(design.config, **options)
        Compiled(network, config)
    except ValueError:
        return ""
    if design.device.shortage(config, standalone=design.standalone):
        return ""
    flags = " ".join(f"--{OPTIONS[name].flag}" for name in lacking)
    return f"; a build with {flags} has it, if it can be placed"


def proposal(network: Network) -> str:
    """Builds that hold a network, to complete the message of a :class:`CapacityError`, or nothing."""
    held = [found.build for found in fits(network) if not found.short]
    return f"; builds that hold it: {', '.join(held)}" if held else ""


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


def recorded_speed(board: Board, network: Network | None = None) -> dict[str, Any]:
    """Measured network and its samples per second; empty if the engine, or another ``network``, was not
    measured.
    """
    entry = measured().get(board.name)
    if network not in (None, Network.chain(*board.network)):
        return {}
    if not entry or not same_engine(board, entry["config"]):
        return {}
    return {"network": "-".join(map(str, board.network)), "samples_per_second": speed(board, entry)}


def f_max_by_seed(build: Mapping[str, Any]) -> dict[str, float]:
    """f_max in MHz of every seed with which a recorded build was routed."""
    return build.get("f_max_by_seed") or {str(build["seed"]): build["f_max"]}


def older(board: Board, entry: Mapping[str, Any]) -> list[str] | None:
    """Differences of a recorded build from the board's standard bitstream; None for another engine.

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


def _sdram(board: Board) -> dict[str, Any] | None:
    """The build with an SDRAM: its chip, and what the engine holds."""
    if board.sdram is None:
        return None
    c = board.with_sdram().config
    assert c.external is not None
    return {
        "chip": c.external.chip_name,
        "mib": c.external.chip.size >> 20,
        "external_weights": c.external.tiles * c.lanes**2,
        "lanes": c.lanes,
        "weights": c.n_weights,
        "neurons": c.state_groups * c.lanes,
    }


def report(network: Network | None = None, encoding: Encoding | None = None) -> list[dict[str, Any]]:
    """A row for every board; ``network``: asks whether it fits, see :func:`fits`."""
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
            **{name: has(board.config, name) for name in OPTIONS},
            "standalone": board.standalone,
            "network": "-".join(map(str, board.network)),
            "clock_hz": board.clock_hz,
            "link": str(board.link),
            "links": [{"kind": k.kind, "rate": str(k), "place": k.place} for k in board.links],
            "front_ends": [{"kind": k, "place": board.front_end_place(k)} for k in board.front_ends],
            "sdram": _sdram(board),
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
            found = fit(board, network, encoding)
            row |= {"short": found.short, "options": found.options, "learns": found.learns}
            row |= {"external_weights": found.external}
        rows.append(row)
    return rows
