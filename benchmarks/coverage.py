"""Line and toggle coverage of the RTL by the benches, measured by Verilator.

Engines run the directed and random programs of benchmarks.campaign; checker and link run their cocotb
benches. build/records/coverage has the counts of all points.  A line is a branch of the generated Verilog; a
toggle is a rising or falling bit.  Instances of a block are merged: a bit that toggles in one lane is
covered.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from amaranth.back import verilog

from benchmarks import pages, records
from benchmarks.campaign import chain_of, difference, directed
from benchmarks.registry import choose
from equilif.results import write_json
from equilif.show.console import stages
from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.link.protocol import MAX_SAMPLES
from equilif_hdl.engine.checker import Checker
from equilif_hdl.link.flash import FlashController
from equilif_hdl.link.frame import Framer
from equilif_hdl.link.spi import SpiLine
from equilif_sim.board import SimulatedBoard
from equilif_sim.library import compiled
from equilif_sim.link.engine_stub import HostBench
from equilif_sim.link.slip import Slip
from equilif_sim.link.uart import Uart
from equilif_sim.tools.run import simulate
from equilif_sim.verilated import VerilatedEngine, library, rtl
from tests.engines import CONFIGS, ODD
from tests.standalone import AREA, CONFIG
from tests.standalone_trials import TRIALS

SUMMARY = records.SUMMARIES / "coverage.json"
RESULTS = records.FULL / "coverage"
OPTIONS = ["--coverage-line", "--coverage-toggle"]
#: one for each pipeline
ENGINES = ("P4-SPRAM", "P4-without-attention", "P8")
BUILD_ID = 0xDBC0_1234
#: modules around a block in its bench
BENCHES = ("hostbench", "engine_stub")
#: modules with separate benches
AROUND = {"host": ("checker", "crc", "decoder", "encoder", "framer")}
SAVE_BOARD = """
extern "C" void board_coverage(Board *b, const char *path) { b->context.coveragep()->write(path); }
"""
SAVE = """void sim_coverage(Sim *s, const char *path) { s->context.coveragep()->write(path); }
"""


class CoveragePoint(NamedTuple):
    """A coverage point: ``kind`` line or toggle, ``signal`` that toggles or is assigned, ``where`` bit or
    line.
    """

    block: str
    kind: str
    signal: str
    where: str


Counts = dict[CoveragePoint, int]


def read(path: Path, text: str) -> Counts:
    """Hits of each point in a file of Verilator, instances of a block merged."""
    lines = text.splitlines()
    out: Counts = defaultdict(int)
    for line in path.read_text(errors="replace").splitlines():
        if not line.startswith("C "):
            continue
        fields = dict(re.findall(r"\x01([^\x02]+)\x02([^\x01']*)", line))
        page, _, module = fields["page"].partition("/")
        kind = "toggle" if "toggle" in page else "line"
        block = re.sub(r"(?<=\D)(\$?\d+|\$)$", "", module.removeprefix("\\").strip().rpartition(".")[2])
        if kind == "toggle":
            name = _name(fields["o"])
            signal = re.split(r"[\[:]", name)[0]
            where = name.removeprefix(signal)
        else:
            number = int(fields["l"])
            if never(lines, number) and fields["o"] in ("if", "elsif"):
                continue
            signal, where = assigned(lines, number), f"{number}:{fields['n']} {fields['o']}"
        if "$" in signal or block in BENCHES:
            continue  # no name in the source, or not part of the design
        out[CoveragePoint(block, kind, signal, where)] += int(line.rsplit(" ", 1)[1])
    return out


def _name(mangled: str) -> str:
    """Verilog name: Verilator encodes characters invalid in C++ as ``__0`` and two digits."""
    return re.sub(r"__0([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), mangled)


def never(lines: Sequence[str], number: int) -> bool:
    """True if the condition of the line is a constant 0 of its module."""
    asks = re.search(r"if \((\\\$\d+) \)", lines[number - 1])
    if not asks:
        return False
    begin = next(k for k in range(number - 1, -1, -1) if lines[k].startswith("module"))
    end = next(k for k in range(number - 1, len(lines)) if lines[k].startswith("endmodule"))
    return f"  assign {asks[1]}  = 1'h0;" in lines[begin:end]


def assigned(lines: Sequence[str], number: int) -> str:
    """The source signal that the statement on a line assigns."""
    begin = next(
        k for k in range(number - 1, -1, -1) if re.match(r" *(always|assign|initial|module)\b", lines[k])
    )
    statement = (
        re.search(r"(\\?[\w.$]+) *(\[[^]]*\] *)?<?= ", line.split("*)")[-1]) for line in lines[begin:]
    )
    name = next(m[1] for m in statement if m)
    end = next(k for k in range(begin, len(lines)) if lines[k].startswith("endmodule"))
    begin = next(k for k in range(begin, -1, -1) if lines[k].startswith("module"))
    for _ in range(9):  # follow names generated by Yosys to one of the source
        if "$" not in name:
            break
        takes = re.compile(rf"(\\?[\w.$]+) *(?:\[[^]]*\] *)?<?= .*{re.escape(name)}(?!\d)")
        name = next((m[1] for line in lines[begin:end] if (m := takes.search(line.split("*)")[-1]))), "?")
    return name.removeprefix("\\")


def plain(text: str) -> str:
    """Verilog without the empty ``if`` by which Yosys triggers a block at time 0."""
    return re.sub(r"^ *if \(\\\$auto\$verilog_backend\S+ \) begin end\n", "", text, flags=re.M)


def engine(config: EngineConfig, chains: int) -> Counts:
    text = plain(rtl(config))
    made = library(config, text, extra=OPTIONS, functions=SAVE)
    total: Counts = defaultdict(int)
    for k in range(chains + 1):
        rng = np.random.default_rng([1, k])
        one = VerilatedEngine(config, made=made)
        model = EngineModel(config)
        given = chain_of(config, rng) if k else directed(config, rng)
        counter = rng.integers(0, DITHER_MASK + 1, 1)
        for each in (one, model):
            each.write(Region.COUNTER, 0, counter)
        for j, case in enumerate(given):
            found = difference(one, model, case, weights=j + 1 == len(given))
            assert not found, found
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "coverage.dat"
            one._lib.sim_coverage(one._sim, ctypes.c_char_p(os.fsencode(file)))
            for point, n in read(file, text).items():
                total[point] += n
    return total


def bench(make: Callable[[], Any], module: str, config: Any) -> Counts:
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        work = Path(folder)
        dut = make()
        text = plain(verilog.convert(dut, name=type(dut).__name__.lower()))
        how = {"config": config, "coverage": True, "text": text, "thorough": True}
        simulate(dut, module, work, simulator="verilator", **how)
        return read(next(work.rglob("coverage.dat")), text)


class _Covered(SimulatedBoard):
    """A complete design, without generated statements."""

    def _compiled(self, text: str, driver: str) -> Path:
        self.text = plain(text)
        return compiled("board", self.text, driver + SAVE_BOARD, extra=OPTIONS)


def standalone(*blocks: str) -> Counts:
    """Hits in a board with a standalone trainer."""
    board = _Covered(CONFIG, flash=AREA, build_id=0)
    for trial in TRIALS.values():
        trial(board)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "coverage.dat"
        board._lib.board_coverage(board._board, ctypes.c_char_p(os.fsencode(file)))
        return {point: n for point, n in read(file, board.text).items() if point.block in blocks}


BLOCKS: dict[str, Callable[[], Counts]] = {
    "checker": lambda: bench(lambda: Checker(ODD), "equilif_sim.engine.checker", ODD),
    "uart": lambda: bench(lambda: Uart(13), "equilif_sim.link.uart", {"divisor": 13}),
    "spi": lambda: bench(lambda: SpiLine(12), "equilif_sim.link.spi", {"reply_timeout_bits": 12}),
    "standalone": lambda: standalone("standalone"),
    "flash": lambda: bench(lambda: FlashController(AREA), "equilif_sim.link.flash", dataclasses.asdict(AREA)),
    "slip": lambda: bench(Slip, "equilif_sim.link.slip", {}),
    "frame": lambda: bench(lambda: Framer(frame_bytes=45), "equilif_sim.link.frame", {"frame_bytes": 45}),
    "host": lambda: bench(
        lambda: HostBench(ODD, build_id=BUILD_ID, frame_bytes=160, max_samples=MAX_SAMPLES),
        "equilif_sim.link.host",
        {
            "engine": dataclasses.asdict(ODD),
            "n_bad": 500,
            "frame_bytes": 160,
            "max_samples": MAX_SAMPLES,
            "build_id": BUILD_ID,
        },
    ),
}


# -- explained points ------------------------------------------------------------------------------
class Reason(NamedTuple):
    """Why points of ``block`` and ``signal`` (regular expressions) are not covered, from bit ``bit`` on
    (lines and single bits: 0).
    """

    block: str
    signal: str
    bit: int
    why: str

    def fits(self, point: CoveragePoint) -> bool:
        numbers = bits(point)
        return bool(
            re.fullmatch(self.block, point.block)
            and re.fullmatch(self.signal, point.signal)
            and (numbers[0] >= self.bit if numbers else not self.bit)
        )


def bits(point: CoveragePoint) -> list[int]:
    """The bit of a toggle; empty for single-bit signals and lines."""
    return [int(n) for n in re.findall(r"\[(\d+)\]", point.where)[-1:]] if point.kind == "toggle" else []


_HOST = "a host alone writes several values at once: tests/link/test_host.py, tests/host/test_simulated.py"
_TABLE = "what an operation costs is a number of a table; none has these bits, or costs this at its fetch"
_LONG = "counters of 32 bits, and a program of the campaign has thousands of cycles"
_EARLY = "these engines have no early end: tests/engine/test_early.py"
_SHORT = "programs of the campaign have few instructions and iterations: tests/engine/test_sequencer.py"
_FULL = "a softmax over nearly all patterns, with equal scores: proven (tests/formal/test_softmax.py)"
_CONSTANT = "constant in an engine of this size and pipeline, from reset on"
_PORTS = "its memories have two ports, so nothing waits for one"
_READY = "a stream that is never made to wait here, or a strobe that comes with the reset alone"
_TRAINER = "of a host with a standalone trainer: tests/link/test_standalone_rtl.py"
_STAND_IN = "the engine's place is taken by memories that count few runs: tests/host/test_simulated.py"
_LARGE = "operands of larger engines: tests/engine/test_checker.py"
_SAVED = "charges that SAVE has copied: some bits of some words, of which all others are seen"
_MAPS = "maps, kernels and groups of the largest sizes: the benches of geometry, scanner and walker"
_EXTREME = "an accumulator near its end: the bench of the block, and proofs"
_CHIP = "there is one chip, of one name, and its area lies at the begin"

REASONS = (
    Reason("flashcontroller", "physical", 21, _CHIP),
    Reason("flashcontroller", "port__chip", 0, _CHIP),
    Reason("engine|access", "host__mem_repeat|repeats", 0, _HOST),
    Reason("activity", ".*_(of_command|of_fetch|more)", 0, _TABLE),
    Reason("activity|engine", "counts|host__(activity|accesses|spikes|cycles)", 8, _LONG),
    Reason("engine", "host__prediction", 6, _CONSTANT),
    Reason("sequencer", "early_exit|moved|addr|done|jump|left_0", 0, _EARLY),
    Reason("sequencer", "first_[01]|left_1|pc|word_addr", 3, _SHORT),
    Reason("divider|softmax", "c|total", 4, _FULL),
    Reason("lanes", "scale", 3, _FULL),
    Reason("divider", "remainder", 0, _CONSTANT),
    Reason("softmax", r"mantissa\d", 7, _CONSTANT),
    Reason("lane", "column", 16, _CONSTANT),
    Reason("scanner", "done|rest", 0, _CONSTANT),
    Reason("scanner|engine|walker", "allow|pause|next_run|restart_walk|by_minus", 0, _PORTS),
    Reason("relay", "clipped4", 0, _EXTREME),
    Reason("geometry|positions", ".*", 2, _MAPS),
    Reason(".*", r"(.*[._])?(columns|rows|columns_left|rows_left|(kernel|window)_(columns|rows))", 3, _MAPS),
    Reason(".*", r"steps(\..*)?|i|o|place|o__payload|i__payload|next_place|stride", 3, _MAPS),
    Reason(".*", r"(instruction|issued)\.n?_?dst", 4, _MAPS),
    Reason("state", "s_memory", 0, _SAVED),
    Reason("engine", "local_mem_repeat", 0, _HOST),
    Reason("engine", "(fetching__)?addr", 7, _SHORT),
    Reason("walker", "left", 4, _MAPS),
    Reason("weights", r"selected.*_late", 0, _CONSTANT),
    Reason("softmax", r"y\d", 0, _FULL),
    Reason("framer|crc|decoder|host", "i__ready|o__ready|start", 0, _READY),
    Reason("host", "fsm_state", 0, _READY),
    Reason("framer|host", r"trainer_frame|line_lost|dropped|dropped_end|status", 0, _TRAINER),
    Reason("host", "engine__(prediction|cycles|spikes|accesses)", 5, _STAND_IN),
    Reason("host", "(engine__)?mem_rdata", 18, _CONSTANT),
    Reason("checker", "base|total", 10, _LARGE),
)


def why(point: CoveragePoint) -> str:
    return next((reason.why for reason in REASONS if reason.fits(point)), "")


# -- summary ---------------------------------------------------------------------------------------
def part(counts: Mapping[CoveragePoint, int], kind: str) -> list[float]:
    """Number of points, per cent covered, per cent covered or explained."""
    of = {point: n for point, n in counts.items() if point.kind == kind}
    missed = [point for point, n in of.items() if not n]
    unexplained = sum(not why(point) for point in missed)
    all_points = max(1, len(of))
    return [len(of), *(round(100 * (1 - n / all_points), 1) for n in (len(missed), unexplained))]


def summary(counts: Mapping[CoveragePoint, int]) -> dict[str, Any]:
    """Lines, toggles, and uncovered unexplained signals of a design."""
    left = [point for point, n in counts.items() if not n and not why(point)]
    return {"lines": part(counts, "line"), "toggles": part(counts, "toggle"), "unexplained": _signals(left)}


def _signals(points: Iterable[CoveragePoint]) -> str:
    """Blocks, signals and bits of points; lines are listed by the assigned signal."""
    seen: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for point in sorted(points):
        seen[point.block][point.signal].update(bits(point))
    return "; ".join(
        f"`{block}`: " + ", ".join(f"`{signal}{_span(bits)}`" for signal, bits in signals.items())
        for block, signals in seen.items()
    )


def _span(bits: set[int]) -> str:
    return f"[{min(bits)}..{max(bits)}]" if len(bits) > 1 else "".join(f"[{n}]" for n in bits)


def main(
    *,
    chains: Annotated[int, "number of chains of 25 random programs"] = 20,
    only: Annotated[Sequence[str], "designs (default: all)"] = (),
) -> None:
    names = choose(only, (*ENGINES, *BLOCKS), "design")
    known = records.read(SUMMARY).get("designs", {})
    with stages("coverage", len(names)) as begin:
        for name in names:
            begin(name)
            counts = BLOCKS[name]() if name in BLOCKS else engine(CONFIGS[name], chains)
            others = (*BENCHES, *AROUND.get(name, ()))
            counts = {point: n for point, n in counts.items() if point.block not in others}
            write_json(RESULTS / f"{name}.json", [[*point, n] for point, n in counts.items()])
            known[name] = {**records.stamp(), **summary(counts)}
            designs = {name: known[name] for name in (*ENGINES, *BLOCKS) if name in known}
            pages.save(SUMMARY, {"designs": designs})
