"""Bench for equilif_hdl.engine.activity.Activity against equilif_golden.engine.activity.

State space: every operation with every mode; any number of commands and fetches, alone and in the same cycle;
the three walks of SOFTMAX; new runs; carries over all bits.  Stalls: cycles without a strobe.  Checks the
latency from strobe to count.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.engine.activity import COMMAND, NAMES, activity, fetches
from equilif_golden.engine.isa import SCAN, SYNAPTIC, WALK, Instruction, Op
from equilif_golden.fixed import Raw
from equilif_hdl.engine.activity import Activity
from equilif_sim.tools.programs import operations, random_instruction
from equilif_sim.tools.run import engine_config
from equilif_sim.tools.stream import drive, reset

MASK = 0xFFFFFFFF
STROBES = ("clear", "start", "restart_walk", "command", "fetch")


class ActivityBench:
    """``expected``: golden counts of the present run."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.config = engine_config()
        self.expected = np.zeros(len(NAMES), np.int64)

    async def reset(self) -> None:
        await reset(self.dut, *STROBES, "instruction", "op")

    async def cycle(self, *strobes: str) -> None:
        drive(self.dut, **{name: name in strobes for name in STROBES})
        await RisingEdge(self.dut.clk)

    async def walk(self, commands: int, fetched: int) -> None:
        """Strobes in random order, with gaps."""
        while commands or fetched:
            command = bool(commands) and random.random() < 0.5
            fetch = bool(fetched) and random.random() < 0.5
            await self.cycle(*["command"] * command, *["fetch"] * fetch)
            commands -= command
            fetched -= fetch

    async def execute(self, ins: Instruction) -> None:
        rows = ins.n_src if ins.op in SCAN else 0
        events = np.random.default_rng(random.getrandbits(32)).random((rows, self.config.lanes)) < 0.3
        commands = ins.n_dst if ins.op in WALK else int(events.sum()) * ins.n_dst * (ins.op in SYNAPTIC)
        drive(self.dut, instruction=ins.encode(), op=ins.op.code)
        await self.cycle("start")
        await self.walk(commands, fetches(ins, events, self.config))
        whole = self.expected + activity(ins, self.config, events, np.full(rows, ins.n_dst))
        for _ in range(ins.operation.walks - 1):
            # additional costs of the last walk and of modes
            self.expected += commands * np.array([COMMAND[ins.op].get(name, 0) for name in NAMES])
            await self.check()
            await self.cycle("restart_walk")
            await self.walk(commands, 0)
        self.expected = whole
        await self.cycle()

    async def counts(self) -> Raw:
        for _ in range(Activity.latency):
            await self.cycle()
        await ReadOnly()
        counts = int(self.dut.counts.value)
        await RisingEdge(self.dut.clk)
        return np.array([counts >> 32 * k & MASK for k in range(len(NAMES))])

    async def check(self) -> None:
        got = await self.counts()
        assert np.array_equal(got, self.expected & MASK), got - self.expected

    async def begin(self, counts: Raw) -> None:
        """Preset the counters."""
        self.dut.counts.value = sum(int(n) << 32 * k for k, n in enumerate(counts))
        self.expected = counts
        await self.cycle()


@cocotb.test()
async def every_operation(dut: Any) -> None:
    bench = ActivityBench(dut)
    rng = np.random.default_rng(random.getrandbits(32))
    await bench.reset()
    for _ in range(12):
        await bench.cycle("clear")
        bench.expected[:] = 0
        for op in sorted(operations(bench.config)):
            for _ in range(8):
                ins = random_instruction(rng, bench.config, op)
                await bench.execute(ins)
                if random.random() < 0.3:
                    await bench.check()
        assert bench.expected.all(), "every counter has counted"
        await bench.check()


@cocotb.test()
async def counts_have_32_bits(dut: Any) -> None:
    """Counters are independent of each other."""
    bench = ActivityBench(dut)
    rng = np.random.default_rng(random.getrandbits(32))
    await bench.reset()
    for _ in range(200):
        ends = MASK >> rng.integers(32, size=len(NAMES))
        await bench.begin(np.where(rng.random(len(NAMES)) < 0.5, ends, rng.integers(MASK, size=len(NAMES))))
        await bench.execute(random_instruction(rng, bench.config, random.choice(operations(bench.config))))
        await bench.check()


@cocotb.test()
async def a_count_comes_after_its_latency(dut: Any) -> None:
    """Latency is exact."""
    bench = ActivityBench(dut)
    await bench.reset()
    drive(dut, instruction=Instruction(op=Op.MARK).encode(), op=Op.MARK)
    await bench.cycle("clear")
    await bench.counts()
    counting = []
    await bench.cycle("command")
    for _ in range(Activity.latency):
        drive(dut, command=0)
        await ReadOnly()
        counting.append(int(dut.counts.value) != 0)
        await RisingEdge(dut.clk)
    assert counting == [False] * (Activity.latency - 1) + [True]
