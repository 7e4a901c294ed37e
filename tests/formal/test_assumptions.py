"""Assumptions of the proofs, checked in an engine that runs random programs.

Monitors record violated assumptions; the spike counter of the engine reports them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from amaranth import Cat, Const, Module, Signal
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from equilif_golden.blocks.softmax import C_MIN
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.port import Region
from equilif_hdl.blocks.softmax import Reciprocal
from equilif_hdl.engine.engine import Engine
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.engine.weights import WeightArray
from equilif_sim import verilated
from equilif_sim.tools.programs import random_program, random_values, random_weights
from equilif_sim.verilated import VerilatedEngine

PROGRAMS = 40
CONFIG = EngineConfig(lanes=4, tiles=52, value_groups=16, state_groups=8, program_words=96)
NAMES = ("apart", "total", "something was read", "something was divided")


def watched(monkeypatch, pipeline):
    """An engine whose spike counter has a bit for each of NAMES, set when it occurred."""
    seen: dict[str, list[Signal]] = {name: [] for name in NAMES}

    def note(m: Module, name: str, now) -> None:
        seen[name].append(kept := Signal(name=f"watch_{len(seen[name])}"))
        m.d.sync += kept.eq(kept | now)

    def observe(cls, look):
        plain = cls.elaborate

        def elaborate(self, platform):
            m = plain(self, platform)
            look(self, m)
            return m

        monkeypatch.setattr(cls, "elaborate", elaborate)

    def apart(self, m: Module) -> None:
        p = self.config.lanes
        if self.config.single_port:
            note(m, "apart", self.read & self.write.any())
        else:
            for b in range(p):
                low = Signal(len(self.e), name=f"watched{b}")
                m.d.comb += low.eq(self.e)
                with m.If(self.column):
                    m.d.comb += low.eq(b - self.e)
                same = (self.tile == self.w_tile) & (low == self.w_e)
                note(m, "apart", self.read & self.write[b] & same)
        note(m, "something was read", self.read)

    def total(self, m: Module) -> None:
        before = Signal.like(self.total)
        m.d.sync += before.eq(self.total)
        small = (self.total != 0) & (self.total < 1 << C_MIN)
        note(m, "total", self.start & (small | self.busy) | self.busy & (before != self.total))
        note(m, "something was divided", self.start)

    observe(WeightArray, apart)
    observe(Reciprocal, total)

    class Watched(wiring.Component):
        def __init__(self, config, *, state_ram=None):
            self.inner = Engine(config)
            super().__init__({"host": In(EnginePort(config))})

        def elaborate(self, platform):
            m = Module()
            # elaborated now, so that all monitors exist
            m.submodules.engine = Fragment.get(self.inner, platform)
            for name, member in EnginePort(self.inner.config).members.items():
                outer, inner = getattr(self.host, name), getattr(self.inner.host, name)
                if member.flow is wiring.In:
                    m.d.comb += outer.eq(inner) if name != "spikes" else []
                else:
                    m.d.comb += inner.eq(outer)
            bits = [Cat(*signals).any() if signals else Const(0) for signals in seen.values()]
            m.d.comb += self.host.spikes.eq(Cat(*bits))
            return m

    monkeypatch.setattr(verilated, "Engine", Watched)
    return replace(CONFIG, pipeline=pipeline)


@pytest.mark.parametrize(
    "pipeline", [Pipeline.SPRAM, pytest.param(Pipeline.DEEP, marks=pytest.mark.long)], ids=str
)
def test_engine_satisfies_assumptions(pipeline, monkeypatch):
    config = watched(monkeypatch, pipeline)
    text = verilated.rtl(config)
    driver, _ = verilated.driver_of(replace(config, counters=False), memories_seen=False)
    monkeypatch.setattr(
        verilated,
        "_build",
        lambda *_: verilated.compiled("engine", text, driver, "`verilator_config\n", [], ()),
    )
    engine = VerilatedEngine(config)
    rng = np.random.default_rng(1)
    engine.write(Region.WEIGHT, 0, random_weights(rng, config).ravel())
    engine.write(Region.VALUE, 0, random_values(rng, config).ravel())
    found = 0
    for _ in range(PROGRAMS):
        engine.load(random_program(rng, config))
        found = engine.run(learn=True).spikes
    broken = [name for k, name in enumerate(NAMES) if found >> k & 1]
    assert broken == ["something was read", "something was divided"]
