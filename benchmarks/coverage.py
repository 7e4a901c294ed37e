"""Coverage of lines and toggles of the RTL by the benches, measured by Verilator.

    python -m benchmarks.coverage            writes docs/coverage.md
    python -m benchmarks.coverage --chains 40

Engines run the programs of benchmarks.campaign, directed and random; blocks of the link run their cocotb
benches.  A line is a branch of the Verilog that Amaranth makes; a toggle is a bit that went up, or down.
Instances of a block count together: a bit that toggles in one lane is covered.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from amaranth.back import verilog

from benchmarks.campaign import chain_of, difference, directed
from benchmarks.pages import DOCS, write_table
from equilif.show.console import stages
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.model import EngineModel
from equilif_hdl.link.frame import Framer
from equilif_sim.link.slip import Slip
from equilif_sim.link.stand_in import HostBench
from equilif_sim.link.uart import Uart
from equilif_sim.tools.run import simulate
from equilif_sim.verilated import VerilatedEngine, library, rtl
from tests.engines import CONFIGS

PAGE = DOCS / "coverage.md"
OPTIONS = ["--coverage-line", "--coverage-toggle"]
#: a pipeline each
ENGINES = ("P4", "P4-SPRAM", "P4-SMALL-without-memories", "P4-REGISTERED", "P8-DEEP")
ODD = EngineConfig(lanes=2, tiles=23, value_groups=32, state_groups=8, program_words=32)
BUILD_ID = 0xDBC0_1234
SAVE = """void sim_coverage(Sim *s, const char *path) { s->context.coveragep()->write(path); }
"""


class Point(NamedTuple):
    """``kind``: line or toggle; ``what``: the place in the block."""

    block: str
    kind: str
    what: str


Counts = dict[Point, int]


def read(path: Path) -> Counts:
    """Of Verilator's file: how often each point was seen, instances of a block together."""
    out: Counts = defaultdict(int)
    for line in path.read_text(errors="replace").splitlines():
        if not line.startswith("C "):
            continue
        fields = dict(re.findall(r"\x01([^\x02]+)\x02([^\x01']*)", line))
        kind, _, module = fields["page"].partition("/")
        block = re.sub(r"(?<=\D)(\$?\d+|\$)$", "", module.removeprefix("\\").strip().rpartition(".")[2])
        what = fields["o"] if "toggle" in kind else f"{fields['l']}:{fields['n']} {fields['o']}"
        if "toggle" in kind and "__024" in what:
            continue  # $: no name of the source
        n = int(line.rsplit(" ", 1)[1])
        out[Point(block, "toggle" if "toggle" in kind else "line", what)] += n
    return out


def plain(text: str) -> str:
    """Without the ``if`` of nothing by which Yosys wakes a block at time 0: nobody wrote it."""
    return re.sub(r"^ *if \(\\\$auto\$verilog_backend\S+ \) begin end\n", "", text, flags=re.M)


def engine(config: EngineConfig, chains: int) -> Counts:
    made = library(config, plain(rtl(config)), extra=OPTIONS, functions=SAVE)
    total: Counts = defaultdict(int)
    for k in range(chains + 1):
        rng = np.random.default_rng([1, k])
        one = VerilatedEngine(config, made=made)
        model = EngineModel(config)
        given = chain_of(config, rng) if k else directed(config, rng)
        for j, case in enumerate(given):
            found = difference(one, model, case, weights=j + 1 == len(given))
            assert not found, found
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "coverage.dat"
            one._lib.sim_coverage(one._sim, ctypes.c_char_p(os.fsencode(file)))
            for point, n in read(file).items():
                total[point] += n
    return total


def bench(make: Callable[[], Any], module: str, config: Any) -> Counts:
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        work = Path(folder)
        dut = make()
        text = plain(verilog.convert(dut, name=type(dut).__name__.lower()))
        simulate(dut, module, work, simulator="verilator", config=config, coverage=True, text=text)
        return read(next(work.rglob("coverage.dat")))


LINK: dict[str, Callable[[], Counts]] = {
    "uart": lambda: bench(lambda: Uart(13), "equilif_sim.link.uart", {"divisor": 13}),
    "slip": lambda: bench(Slip, "equilif_sim.link.slip", {}),
    "frame": lambda: bench(lambda: Framer(frame_bytes=45), "equilif_sim.link.frame", {"frame_bytes": 45}),
    "host": lambda: bench(
        lambda: HostBench(ODD, build_id=BUILD_ID, frame_bytes=160),
        "equilif_sim.link.host",
        {"engine": dataclasses.asdict(ODD), "n_bad": 500, "frame_bytes": 160, "build_id": BUILD_ID},
    ),
}


# -- page ------------------------------------------------------------------------------------------
def part(counts: Mapping[Point, int], block: str | None, kind: str) -> str:
    of = [n for point, n in counts.items() if point.kind == kind and block in (None, point.block)]
    return f"{100 * sum(map(bool, of)) / len(of):.1f} % of {len(of):,}" if of else ""


def page(found: Mapping[str, Counts]) -> str:
    out = ["| design | block | lines | toggles |", "|---|---|---|---|"]
    for name, counts in found.items():
        out.append(f"| **{name}** | all | {part(counts, None, 'line')} | {part(counts, None, 'toggle')} |")
        for block in sorted({p.block for p in counts}):
            cells = (part(counts, block, kind) for kind in ("line", "toggle"))
            out.append(f"| {name} | `{block}` | " + " | ".join(cells) + " |")
    out += ["", "Signals with bits that never toggled, and lines that were not reached:", ""]
    for name, counts in found.items():
        missed: dict[str, set[str]] = defaultdict(set)
        for point, n in counts.items():
            if not n:
                missed[point.block].add(re.sub(r"\[\d+\]|:.*->.*", "", point.what))
        for block, what in sorted(missed.items()):
            names = ", ".join(f"`{w}`" for w in sorted(what)[:30])
            more = f" and {len(what) - 30} more" if len(what) > 30 else ""
            out.append(f"* {name}, `{block}`: {names}{more}")
    return "\n".join(out)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=20, help="of 25 random programs (%(default)s)")
    parser.add_argument("--only", action="append", choices=[*ENGINES, *LINK], help="a design; default: all")
    given = parser.parse_args(None if arguments is None else list(arguments))
    names = given.only or [*ENGINES, *LINK]
    found: dict[str, Counts] = {}
    with stages("coverage", len(names)) as begin:
        for name in names:
            begin(name)
            found[name] = LINK[name]() if name in LINK else engine(CONFIGS[name], given.chains)
    write_table(PAGE, page(found))


if __name__ == "__main__":
    main()
