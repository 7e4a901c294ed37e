"""Bench for equilif_hdl.engine.walk.Walker.

State space: every walk and scan instruction, 1 to 9 destination groups, rows and columns, all gains.
Stall space: events come back to back or with gaps, the lanes stall half of the time or never.  Without
stalls the cycles are counted.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_MASK, GAIN_MAX
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import COLUMN, MINUS, SIGNED, SYNAPTIC, WALK, Instruction, Op
from equilif_hdl.engine.isa import command, event
from equilif_hdl.engine.walk import Walker
from equilif_sim.tools.run import bench_config, engine_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, StreamSource, never, now, often, reset


class WalkBench:
    def __init__(self, dut: Any, config: EngineConfig, *, i_pause: Pause, stall: Pause):
        self.dut, self.config, self.stall = dut, config, stall
        self.source, self.score = StreamSource(dut, "i", pause=i_pause), Scoreboard()
        self.fields: tuple[str, ...] = ()
        self.began = self.last = 0

    async def reset(self) -> None:
        await reset(self.dut, "start", "walking", "stall", "enable")
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        d, layout = self.dut, command(self.config)
        while True:
            d.stall.value = int(self.stall())
            await ReadOnly()
            if d.valid.value:
                assert not d.stall.value
                got = layout.from_bits(int(d.o.value))
                self.score.actual(tuple(int(got[name]) for name in self.fields))
                self.last = now() - self.began
            await RisingEdge(d.clk)

    async def execute(self, ins: Instruction, events: list[dict[str, int]]) -> int:
        """Number of commands."""
        d, p = self.dut, self.config.lanes
        values, groups, tiles = (
            self.config.value_groups,
            range(ins.n_dst),
            (1 << (self.config.tiles - 1).bit_length()),
        )
        if ins.op in WALK:
            self.fields = ("op", "group", "value_group", "up", "rotate", "scale")
            for g in groups:
                self.score.expect((ins.op, ins.dst + g, (ins.src + g) % values, ins.operand, 0, 256))
        else:
            memories, learn = self.config.softmax, ins.op == Op.LEARN
            column = ins.op in (Op.GATHER, *([Op.DRIVE] if memories else [])) and ins.mode & COLUMN
            scale = "minus" if memories and ins.op == Op.DRIVE and ins.mode & MINUS else "plus"
            self.fields = (
                "op",
                "column",
                "group",
                "value_group",
                "tile",
                "e",
                "rotate",
                "scale",
                "up",
                "um",
                "dither",
            )
            up, um = (1, 1) if self.config.deep else (ins.gain, -ins.gain)
            for raw in events:
                v = {
                    name: value - 256
                    if memories and ins.mode & SIGNED and name in ("plus", "minus") and value > 127
                    else value
                    for name, value in raw.items()
                }
                for g in groups:
                    self.score.expect(
                        (
                            ins.op,
                            int(bool(column)),
                            ins.dst + g,
                            ins.dst + g,
                            (v["tile"] + g * (ins.n_src if column else 1)) % tiles,
                            v["e"],
                            -v["e"] % p if learn else v["e"],
                            256 if ins.op == Op.GATHER else v[scale],
                            up * v["plus"],
                            um * v["minus"],
                            (v["dither"] + g * p * DITHER_COLUMN) & DITHER_MASK,
                        )
                    )
        d.instruction.value, d.start.value, d.walking.value, d.enable.value = (
            ins.encode(),
            1,
            int(ins.op in WALK),
            1,
        )
        self.began = now()
        await RisingEdge(d.clk)
        d.start.value = 0
        layout = event(self.config)
        for v in events:
            await self.source.send(layout.const(v).as_value().value)
        for _ in range(4000):
            await ReadOnly()
            busy = int(d.busy.value)
            await RisingEdge(d.clk)
            if not busy:
                break
        assert not busy and not self.score.outstanding
        return ins.n_dst * (len(events) if ins.op in SYNAPTIC else 1)


def random_case(config: EngineConfig, op: Op) -> tuple[Instruction, list[dict[str, int]]]:
    n = random.randint(1, 9)
    ins = Instruction(
        op=op,
        mode=random.randrange(16),
        operand=random.randint(-(1 << 15), (1 << 15) - 1),
        gain=random.randint(0, GAIN_MAX),
        src=random.randrange(config.value_groups),
        n_src=random.randint(1, 9),
        n_dst=n,
        dst=random.randint(0, config.value_groups - n),
    )
    events = [
        {
            "e": random.randrange(config.lanes),
            "group": 0,
            "plus": random.choice([0, 1, 255, random.randrange(256)]),
            "minus": random.randrange(256),
            "tile": random.randrange(config.tiles),
            "dither": random.getrandbits(18),
        }
        for _ in range(random.randint(1, 8))
    ]
    return ins, events if op in SYNAPTIC else []


@cocotb.test()
@cocotb.parametrize(i_pause=[never, often], stall=[never, often])
async def commands(dut: Any, i_pause: Pause, stall: Pause) -> None:
    config = engine_config(bench_config())
    tb = WalkBench(dut, config, i_pause=i_pause, stall=stall)
    await tb.reset()
    n = 0
    for _ in range(10):
        for op in sorted(WALK | SYNAPTIC):
            n += await tb.execute(*random_case(config, op))
    tb.score.finish(n)


@cocotb.test()
async def a_command_a_cycle(dut: Any) -> None:
    """The last command of a walk comes ``latency`` + n - 1 cycles after the start; events follow each other
    without a gap.
    """
    config = engine_config(bench_config())
    tb = WalkBench(dut, config, i_pause=never, stall=never)
    await tb.reset()
    n = await tb.execute(Instruction(op=Op.STEP, n_dst=7), [])
    assert tb.last == Walker.latency + 7 - 1
    for n_dst in (1, 2, 5):
        _, events = random_case(config, Op.GATHER)
        n += await tb.execute(Instruction(op=Op.GATHER, n_src=3, n_dst=n_dst), events * 3)
        each = n_dst if config.forwarding or n_dst > 1 else 2
        assert tb.last == Walker.latency + 1 + each * (3 * len(events) - 1) + n_dst - 1
    tb.score.finish(n)
