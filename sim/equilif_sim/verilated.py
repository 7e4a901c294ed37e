"""The engine's RTL as a Python object.

Verilator compiles it to a shared library, ctypes drives it at millions of cycles a second.

For long runs, where a bench that wakes Python every cycle would take hours: whole training runs,
thousands of random programs, cycle counts on real data.  The interface is the engine's host port, plus a
look into the memories of the lanes.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.back import rtlil, verilog

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction, assemble, check
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Raw
from equilif_golden.network import Weights
from equilif_hdl.engine.engine import Engine
from equilif_sim.library import call, compiled

MEMORIES = ("a", "b", "q", "s", "plus", "minus")

DRIVER = r"""
#include "Vengine.h"
#include "Vengine___024root.h"
#include "verilated.h"
#include <cstdint>
#include <memory>
struct Sim {
    VerilatedContext context; std::unique_ptr<Vengine> top; uint64_t cycles = 0;
    Sim() : top(new Vengine(&context)) { top->rst = 1; tick(); tick(); top->rst = 0; }
    void tick() { top->clk = 0; top->eval(); top->clk = 1; top->eval(); cycles++; }
};
#define HOST(name) s->top->host___05F##name
extern "C" {
Sim *sim_new() { return new Sim; }
void sim_free(Sim *s) { Verilated::threadContextp(&s->context); delete s; }   // the destructor uses the thread's context
void sim_write(Sim *s, int region, int first, int n, const uint32_t *data) {
    HOST(mem_region) = region; HOST(mem_write) = 1;
    for (int k = 0; k < n; k++) { HOST(mem_addr) = first + k; HOST(mem_wdata) = data[k]; s->tick(); }
    HOST(mem_write) = 0;
}
void sim_read(Sim *s, int region, int first, int n, uint32_t *data) {
    HOST(mem_region) = region;
    for (int k = 0; k < n; k++) {
        HOST(mem_addr) = first + k; HOST(mem_read) = 1; s->tick(); HOST(mem_read) = 0;
        while (!HOST(mem_valid)) s->tick();
        data[k] = HOST(mem_rdata);
    }
}
int sim_run(Sim *s, int learn, uint64_t most, uint32_t *result) {
    HOST(start) = 1; HOST(learn) = learn; s->tick(); HOST(start) = 0;
    for (uint64_t k = 0; HOST(busy); k++) { if (k == most) return 1; s->tick(); }
    result[0] = HOST(prediction); result[1] = HOST(cycles); result[2] = HOST(spikes); result[3] = HOST(accesses);
COUNTS    return 0;
}
const void *sim_peek(Sim *s, int memory) {
    switch (memory) {
PEEKS    }
    return nullptr;
}
}
"""


@dataclass(frozen=True)
class RunResult:
    """What the engine reports of a run."""

    prediction: int
    cycles: int
    spikes: int
    accesses: int
    #: equilif_golden.engine.activity.NAMES, where the engine has counters
    activity: tuple[int, ...] = ()


@dataclass(frozen=True)
class Synthesis:
    """Yosys passes that turn the engine into a netlist, and the simulation models of the cells that they
    leave (below Yosys' data folder).
    """

    passes: tuple[str, ...]
    cells: str
    defines: tuple[str, ...] = ()

    def netlist(self, config: EngineConfig) -> str:
        """Models and netlist as Verilog; the top is ``engine`` with the ports of the RTL."""
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            (work / "engine.il").write_text(rtlil.convert(Engine(config), name="engine", emit_src=False))
            script = ["read_rtlil engine.il", *self.passes, "write_verilog -noattr -simple-lhs engine.v"]
            call(["yosys", "-q", "-p", "; ".join(script)], work, dict(os.environ))
            models = Path(shutil.which("yosys") or "").resolve().parents[1] / "share" / "yosys" / self.cells
            return models.read_text() + (work / "engine.v").read_text()


@functools.cache
def _build(config: EngineConfig, synthesis: Synthesis | None) -> Path:
    text = (
        synthesis.netlist(config)
        if synthesis
        else verilog.convert(Engine(config), name="engine", emit_src=False)
    )
    counts = (
        f"    for (int k = 0; k < {len(NAMES)}; k++) result[4 + k] = HOST(activity)[k];\n"
        if config.counters
        else ""
    )
    driver = DRIVER.replace("COUNTS", counts).replace(
        "PEEKS",
        ""
        if synthesis
        else "".join(
            f"        case {k}: return &s->top->rootp->engine__DOT__lanes__DOT__state__DOT__{name}_memory[0];\n"
            for k, name in enumerate(MEMORIES)
        ),
    )
    visible = '`verilator_config\npublic_flat_rw -module "*state" -var "*_memory"\n'
    extra = (
        ["-Wno-lint", "-Wno-MULTIDRIVEN", "-Wno-UNOPTFLAT", *(f"-D{name}" for name in synthesis.defines)]
        if synthesis
        else []
    )
    return compiled("engine", text, driver, visible, extra)


class VerilatedEngine:
    """An engine in simulation.  Accesses and runs as through the host port; every array is int64."""

    def __init__(self, config: EngineConfig, *, synthesis: Synthesis | None = None):
        """``synthesis``: run the netlist in place of the RTL; memories cannot be looked into then."""
        self.config = config
        self._lib: Any = ctypes.CDLL(str(_build(config, synthesis)))
        for name in ("sim_new", "sim_peek"):
            getattr(self._lib, name).restype = ctypes.c_void_p
        self._sim = ctypes.c_void_p(self._lib.sim_new())
        self.program: list[Instruction] = []

    def __del__(self) -> None:
        if getattr(self, "_sim", None):
            self._lib.sim_free(self._sim)

    def write(self, region: Region, first: int, data: npt.ArrayLike) -> None:
        words = np.ascontiguousarray(np.asarray(data, np.int64) & 0xFFFFFFFF, np.uint32).ravel()
        self._lib.sim_write(self._sim, int(region), first, len(words), words.ctypes.data_as(ctypes.c_void_p))

    def read(self, region: Region, first: int, n: int) -> Raw:
        out = np.zeros(n, np.uint32)
        self._lib.sim_read(self._sim, int(region), first, n, out.ctypes.data_as(ctypes.c_void_p))
        return out.astype(np.int64)

    def load(self, program: Sequence[Instruction]) -> None:
        check(program, self.config)
        self.program = list(program)
        self.write(Region.PROGRAM, 0, assemble(program))

    def write_values(self, first: int, values: npt.ArrayLike) -> None:
        """8-bit values to both plus and minus."""
        self.write(Region.VALUE, first, np.asarray(values, np.int64) * 0x101)

    def run(self, *, learn: bool, most: int = 100_000_000) -> RunResult:
        """From instruction 0 to HALT; RuntimeError when ``most`` cycles do not reach it."""
        result = np.zeros(4 + self.config.counters * len(NAMES), np.uint32)
        if self._lib.sim_run(
            self._sim, int(learn), ctypes.c_uint64(most), result.ctypes.data_as(ctypes.c_void_p)
        ):
            raise RuntimeError(f"no HALT within {most} cycles")
        prediction, cycles, spikes, accesses, *activity = map(int, result)
        return RunResult(prediction, cycles, spikes, accesses, tuple(activity))

    def weight_words(self, n_tiles: int) -> Raw:
        """(n_tiles x P, P) words x banks from word 0."""
        p = self.config.lanes
        raw = self.read(Region.WEIGHT, 0, n_tiles * p * p)
        return (((raw & 0xFFFF) ^ 0x8000) - 0x8000).reshape(-1, p)

    def memory(self, name: str) -> Raw:
        """Memory of the lanes as it stands, (groups, P).

        ``a`` and ``s`` hold what SAVE kept in their upper half; plus and minus unsigned.
        """
        p, c = self.config.lanes, self.config
        width = {
            "a": c.numerics.accumulator_width,
            "b": c.numerics.accumulator_width,
            "q": c.numerics.charge_width,
            "s": 1,
        }.get(name, 8)
        depth = {
            "a": 2 * c.state_groups,
            "s": 2 * c.state_groups,
            "b": c.state_groups,
            "q": c.state_groups,
        }.get(name, c.value_groups)
        bits = width * p
        size = next((n for n in (1, 2, 4, 8) if bits <= 8 * n), 4 * -(-bits // 32))
        address = self._lib.sim_peek(self._sim, MEMORIES.index(name))
        raw = np.frombuffer(ctypes.string_at(address, size * depth), np.uint8).reshape(depth, size)
        flat = (
            np.unpackbits(raw, axis=1, bitorder="little")[:, :bits].reshape(depth, p, width).astype(np.int64)
        )
        codes = (flat << np.arange(width)).sum(axis=2)
        return codes - (codes >> (width - 1) << width) if name in ("a", "b", "q") else codes


class VerilatedNetwork:
    """A network on a simulated engine: the RTL counterpart of equilif_golden.reference.Reference, one sample
    at a time.
    """

    def __init__(
        self,
        compiled: Compiled,
        weights: Weights,
        *,
        eta: float,
        counter: int = 0,
        synthesis: Synthesis | None = None,
    ):
        self.compiled = compiled
        self.engine = VerilatedEngine(compiled.config, synthesis=synthesis)
        self.set_learning_rate(eta)
        self.engine.write(Region.WEIGHT, 0, compiled.weight_words(weights))
        self.engine.write_values(*compiled.constants())
        self.engine.write(Region.COUNTER, 0, [counter * DITHER_UPDATE & DITHER_MASK])

    def set_learning_rate(self, eta: float) -> None:
        self.engine.load(self.compiled.program(eta))

    def sample(self, x: Raw, y: Raw | None = None, *, tokens: Raw | None = None) -> RunResult:
        """Infer, or with a target learn.  ``tokens``: raw patterns (n, width) of a loaded memory."""
        n = 0 if tokens is None else len(tokens)
        if tokens is not None and n:
            self.engine.write(Region.WEIGHT, *self.compiled.token_words(tokens))
        self.engine.write_values(self.compiled.sample_first, self.compiled.sample(x, y, tokens=n))
        return self.engine.run(learn=y is not None)

    @property
    def weights(self) -> Weights:
        return self.compiled.weights(self.engine.weight_words(self.compiled.n_tiles))

    def rates(self) -> tuple[Raw, Raw]:
        """(plus, minus) rates of the LIF populations, one after the other without padding; after an
        inference both are the free rates.
        """
        c = self.compiled
        raw = self.engine.read(Region.VALUE, 0, c.lif_groups * c.config.lanes)
        keep = np.concatenate(
            [np.arange(q.size) + c.groups[q.name].first * c.config.lanes for q in c.network.lif]
        )
        return raw[keep] & 0xFF, raw[keep] >> 8
