"""Bench for equilif_hdl.engine.engine.Engine against equilif_golden.engine.model.EngineModel: random
programs; all memories are compared after each.

State space: equilif_sim.tools.programs.  Memories keep their contents from program to program, so that
states accumulate that no single program reaches.
"""

from __future__ import annotations

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import assemble
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Raw
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from equilif_hdl.engine.access import Access
from equilif_sim.tools.programs import random_program, random_values, random_weights
from equilif_sim.tools.run import bench_config, engine_config
from equilif_sim.tools.stream import drive, reset, until_low

MAX_CYCLES = 200_000
#: memories that are read through the port
VALUES = {"plus", "minus"}


class EngineBench:
    """``engine``: the engine in ``dut``, whose memories are read."""

    def __init__(self, dut: Any, config: EngineConfig, *, engine: Any = None):
        self.dut = dut
        self.config = config
        self.model = EngineModel(config)
        self.engine = dut if engine is None else engine
        self.compared = 0
        #: latency of a read
        self.latency = Access(config).latency + config.registers.host

    async def reset(self) -> None:
        names = (
            "mem_region",
            "mem_addr",
            "mem_wdata",
            "mem_write",
            "mem_repeat",
            "mem_read",
            "start",
            "learn",
            "accumulate",
        )
        await reset(self.dut, *(f"host__{name}" for name in names))

    async def write(self, region: Region, data: Raw, first: int = 0) -> None:
        drive(self.dut, host__mem_region=region, host__mem_write=1)
        for k, word in enumerate(data.ravel(), first):
            drive(self.dut, host__mem_addr=k, host__mem_wdata=int(word))
            await RisingEdge(self.dut.clk)
        self.dut.host__mem_write.value = 0

    async def read(self, region: Region, n: int, first: int = 0) -> Raw:
        d = self.dut
        out = []
        drive(d, host__mem_region=region)
        for k in range(first, first + n):
            drive(d, host__mem_addr=k, host__mem_read=1)
            await RisingEdge(d.clk)
            d.host__mem_read.value = 0
            for cycles in range(1, 9):
                await ReadOnly()
                if d.host__mem_valid.value:
                    out.append(int(d.host__mem_rdata.value))
                    assert cycles == self.latency
                    break
                await RisingEdge(d.clk)
            await RisingEdge(d.clk)
        return np.array(out, np.int64)

    async def run(self, learn: bool) -> int:
        """Cycles of the run, counted by engine and bench."""
        drive(self.dut, host__start=1, host__learn=learn)
        await RisingEdge(self.dut.clk)
        self.dut.host__start.value = 0
        cycles = await until_low(self.dut, "host__busy", MAX_CYCLES)
        assert int(self.dut.host__cycles.value) == cycles
        return cycles

    def lanes_memory(self, name: str) -> Raw:
        held = memories(self.config)[name]
        width = held.width
        memory = getattr(self.engine.lanes.state, f"{name}_memory")
        words = [int(memory[k].value) for k in range(held.depth)]
        lanes = range(self.config.lanes)
        raw = np.array([[w >> (width * j) & ((1 << width) - 1) for j in lanes] for w in words], np.int64)
        return raw - (raw >> (width - 1) << width) if held.signed else raw

    def adopt(self) -> None:
        """Neuron state of earlier tests, since a reset does not clear memories."""
        for name, memory in memories(self.config).items():
            if name not in VALUES:
                found = self.lanes_memory(name)
                setattr(self.model, name, found[: memory.groups])
                if memory.saved:
                    self.model.saved[name] = found[memory.groups :]

    async def compare(self, what: str) -> None:
        model = self.model
        p = self.config.lanes
        values = (await self.read(Region.VALUE, self.config.value_groups * p)).reshape(-1, p)
        weights = await self.read(Region.WEIGHT, self.config.tiles * p * p)
        pairs = {
            "plus": (values & 255, model.plus),
            "minus": (values >> 8 & 255, model.minus),
            "weights": (weights & 0xFFFF, model.w.ravel() & 0xFFFF),
        }
        for name in memories(self.config).keys() - VALUES:
            pairs[name] = (self.lanes_memory(name), model.memory(name))
        for name, (got, want) in pairs.items():
            assert np.array_equal(got, want), (
                f"{what}: {name} differ at {np.argwhere(got != want)[:4].tolist()}"
            )
            self.compared += want.size
        counter = int((await self.read(Region.COUNTER, 1))[0])
        assert counter == model.counter * DITHER_UPDATE & DITHER_MASK, f"{what}: dither counter"
        counted = (
            model.prediction,
            model.spikes,
            model.accesses,
            *(model.activity if self.config.counters else ()),
        )
        results = await self.results()
        assert results == counted, f"{what}: {results}, not {counted}"

    async def results(self) -> tuple[int, ...]:
        """Prediction, spikes and accesses, then the activity counters of an engine that has them."""
        results = tuple(
            int(getattr(self.dut, f"host__{n}").value) for n in ("prediction", "spikes", "accesses")
        )
        if not self.config.counters:
            return results
        counts = int(self.dut.host__activity.value)
        return *results, *(counts >> 32 * k & 0xFFFFFFFF for k in range(len(NAMES)))

    async def random_programs(self, seed: int, programs: int) -> None:
        rng = np.random.default_rng(seed)
        model = self.model
        await self.reset()
        for k in range(programs):
            program = random_program(rng, self.config)
            learn = bool(rng.integers(2))
            if k % 4 == 0:
                model.w[:] = random_weights(rng, self.config)
                await self.write(Region.WEIGHT, model.w)
            values = random_values(rng, self.config)
            model.plus[:] = model.minus[:] = values.reshape(model.plus.shape)
            await self.write(Region.VALUE, values * 0x101)
            await self.write(Region.PROGRAM, assemble(program))
            model.load(program)
            expected = model.run(learn=learn).cycles
            assert await self.run(learn) == expected
            await self.compare(f"program {k}")
        assert self.compared


@cocotb.test()
async def random_programs(dut: Any) -> None:
    raw = bench_config()
    await EngineBench(dut, engine_config(raw["engine"])).random_programs(raw["seed"], raw["programs"])


@cocotb.test()
async def a_memory_learns(dut: Any) -> None:
    """A compiled network with dynamic patterns: both heads, all phases, the update."""
    await memory_learns(dut, Network.attention(6, 3, 2, 4, 3, schedule=Schedule(free=16, nudged=16)))


@cocotb.test()
async def tokens_learn(dut: Any) -> None:
    """The same with patterns that learn; without the table of a host."""
    network = Network.attention(
        6, 3, 2, 4, 3, schedule=Schedule(free=16, nudged=16), table_rows=9, table_learning_rate_scale=1.0
    )
    await memory_learns(dut, network)


async def memory_learns(dut: Any, network: Network) -> None:
    raw = bench_config()
    config = engine_config(raw["engine"])
    compiled = Compiled(network, config)
    rng = np.random.default_rng(raw["seed"])
    bench = EngineBench(dut, config)
    await bench.reset()
    bench.adopt()
    await bench.write(Region.COUNTER, np.zeros(1, np.int64))
    model = bench.model
    model.w[: compiled.n_tiles * config.lanes] = compiled.weight_words(
        {s.name: rng.integers(-3000, 3001, network.shape(s)) for s in network.plastic}
    )
    first, ones = compiled.constants()
    model.plus.flat[first : first + len(ones)] = model.minus.flat[first : first + len(ones)] = ones
    model.load(compiled.program(0.06))
    await bench.write(Region.PROGRAM, assemble(model.program))
    for k, n in enumerate((6, 0, 4)):
        at, words = compiled.token_words(rng.integers(-6000, 6001, (n, 3)))
        model.w.flat[at : at + words.size] = words.ravel()
        first = compiled.sample_first
        sample = compiled.sample(np.zeros(0, np.int64), np.array([255, 0, 0]), tokens=n)
        model.plus.flat[first : first + len(sample)] = model.minus.flat[first : first + len(sample)] = sample
        await bench.write(Region.WEIGHT, model.w)
        await bench.write(Region.VALUE, model.plus | model.minus << 8)
        before = model.w.copy()
        expected = model.run(learn=True).cycles
        assert await bench.run(True) == expected
        await bench.compare(f"sample {k}")
        changed = model.w != before
        loaded = changed.ravel()[at : at + words.size]
        assert changed.any() and loaded.any() == (n > 0 and network.table is not None)
