"""Bench for equilif_hdl.engine.walk.Walker.

State space: every walk and scan instruction, 1 to 9 destination groups, 1 to 9 source groups or all of them,
rows and columns, all gains; with ``convolution`` random geometries, in which LEARN waits.
Stall space: events come back to back or with gaps, the lanes stall half of the time or never.  Without
stalls the cycles are counted.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import cocotb
import numpy as np
from amaranth import Const
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_DESTINATION,
    DITHER_MASK,
    DITHER_ROW,
    GAIN_MAX,
)
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import SYNAPTIC, WALK, Instruction, Op, SourceMode
from equilif_hdl.engine.isa import command, event, has_static
from equilif_hdl.engine.walk import ONE, STATIC, Walker
from equilif_sim.engine.geometry import code_of
from equilif_sim.tools.programs import random_geometry
from equilif_sim.tools.run import cases, engine_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import (
    Pause,
    StreamSource,
    drive,
    never,
    now,
    often,
    reset,
    until_low,
    with_pauses,
)

GROUPS = (1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9)  #: groups of a position


class WalkBench:
    """Compares the commands of an instruction and its events."""

    def __init__(self, dut: Any, config: EngineConfig, *, i_pause: Pause, stall: Pause):
        self.dut = dut
        self.config = config
        self.stall = self.hold = stall
        self.source = StreamSource(dut, "i", pause=i_pause)
        self.score = Scoreboard()
        self.fields: tuple[str, ...] = ()  # compared fields
        self.began = 0  # cycle of the start
        self.last = 0  # cycles from it to the last command

    @property
    def holds(self) -> tuple[str, ...]:
        """The input that only commands of events wait for."""
        return () if self.config.single_port else ("hold",)

    async def reset(self) -> None:
        await reset(self.dut, "start", "walking", "stall", "enable", *self.holds)
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        d = self.dut
        layout = command(self.config)
        while True:
            drive(d, stall=self.stall(), **{name: self.hold() for name in self.holds})
            await ReadOnly()
            if d.valid.value:
                assert not d.stall.value
                assert d.walking.value or not any(getattr(d, name).value for name in self.holds)
                got = layout.from_bits(int(d.o.value))
                self.score.actual(tuple(int(got[name]) for name in self.fields))
                self.last = now() - self.began
            await RisingEdge(d.clk)

    def _expect_walk(self, ins: Instruction) -> None:
        self.fields = ("op", "group", "value_group", "up", "e", "scale", "rounded", "second")
        self.fields += ("static",) * has_static(self.config)
        for g in range(ins.n_dst):
            value_group = (ins.src + g) % self.config.value_groups
            ops = STATIC[: 1 + self.config.errors]
            static = (int(ins.op in ops and ins.mode & 1),) * has_static(self.config)
            self.score.expect((ins.op, ins.dst + g, value_group, ins.operand, 0, ONE, 0, ins.second, *static))

    def _expect_event(self, ins: Instruction, raw: dict[str, int], geometry: Geometry | None) -> None:
        config = self.config
        tiles = 1 << (config.tiles - 1).bit_length()
        by_column = (
            ins.op in (Op.GATHER, *([Op.DRIVE] if config.attention else [])) and ins.mode & SourceMode.COLUMN
        )
        stride = ins.n_src if by_column else 1
        values = {name: raw[name] for name in ("plus", "minus")}
        if config.attention and ins.mode & SourceMode.SIGNED:
            values = {name: value - 256 if value > 127 else value for name, value in values.items()}
        scale = values[
            "minus" if config.attention and ins.op == Op.DRIVE and ins.mode & SourceMode.MINUS else "plus"
        ]
        gain = 1 if config.registers.gain else ins.gain
        fields = {
            "op": ins.op,
            "column": int(bool(by_column)),
            "e": raw["e"],
            "scale": ONE >> (ins.shift & 3) if ins.op == Op.GATHER else scale,
            "up": gain * values["plus"],
            "um": values["minus"] if config.registers.gain else -gain * values["minus"],
        }
        rounded = ins.op == Op.GATHER or (config.errors and ins.op == Op.DRIVE and ins.gain & 1)
        fields |= {
            "rounded": int(rounded),
            "second": int(ins.second),
            **({"static": 0} if has_static(config) else {}),
        }
        self.fields = (*fields, "group", "value_group", "tile", "dither")
        first = raw.get("first", ins.dst)
        for group, tile, dither in self._commands(ins, raw, stride, geometry):
            group = (first + group) % config.value_groups
            tile = (raw["tile"] + tile) % tiles
            dither = (raw["dither"] + raw["e"] * DITHER_ROW + dither) & DITHER_MASK
            self.score.expect((*fields.values(), group, group, tile, dither))

    def _commands(
        self, ins: Instruction, raw: dict[str, int], stride: int, geometry: Geometry | None
    ) -> list[tuple[int, int, int]]:
        """Group, tile and dither of each command, relative to the first one."""
        along = self.config.lanes * DITHER_COLUMN
        if geometry is None:
            return [(g, g * stride, g * along) for g in range(ins.n_dst)]
        g = geometry
        if ins.mode & SourceMode.COLUMN and ins.op == Op.GATHER:
            return [
                # the dither is unused
                (
                    (dy * g.width + dx) * g.pre + c,
                    ((dy * g.kernel_columns + dx) * g.pre + c) * g.post,
                    (dx * g.pre + c) * along + dy * g.columns * DITHER_DESTINATION,
                )
                for dy in range(g.kernel_rows)
                for dx in range(g.kernel_columns)
                for c in range(g.pre)
            ]
        return [
            (
                (v * g.columns + u) * g.post + d,
                d - (v * g.kernel_columns + u) * g.stride * g.pre * g.post,
                d * along + (v * g.columns + u) * DITHER_DESTINATION,
            )
            for v in range(raw["rows"])
            for u in range(raw["columns"])
            for d in range(g.post)
        ]

    async def execute(
        self, ins: Instruction, events: list[dict[str, int]], geometry: Geometry | None = None
    ) -> int:
        """Number of commands."""
        before = self.score.compared + self.score.outstanding
        if ins.op in WALK:
            self._expect_walk(ins)
        for raw in events:
            self._expect_event(ins, raw, geometry)
        expected = self.score.compared + self.score.outstanding - before
        if self.config.convolution:
            drive(self.dut, steps=code_of(self.config, ins, geometry))
        drive(self.dut, instruction=ins.encode(), start=1, walking=ins.op in WALK, enable=1)
        self.began = now()
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0
        layout = event(self.config)
        for raw in events:
            await self.source.send(Const.cast(layout.const(raw)).value)
        await until_low(self.dut, "busy", 4000)
        assert not self.score.outstanding
        return expected


def random_case(config: EngineConfig, op: Op) -> tuple[Instruction, list[dict[str, int]]]:
    n = random.randint(1, 9)
    ins = Instruction(
        op=op,
        mode=random.choice(op.modes),
        operand=random.randint(-(1 << 15), (1 << 15) - 1),
        gain=random.randint(0, GAIN_MAX),
        src=random.randrange(config.value_groups),
        n_src=random.choice((*range(1, 10), config.value_groups)),
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
    if config.convolution:
        for raw in events:
            raw |= {"first": ins.dst, "columns": 1, "rows": 1, "new_position": 0}
    return ins, events if op in SYNAPTIC else []


def random_convolution(config: EngineConfig) -> tuple[Instruction, list[dict[str, int]], Geometry]:
    """Random convolution; with ``convolution`` events with any number of target positions, in any order."""
    ins, events = random_case(config, random.choice([Op.DRIVE, Op.GATHER, Op.LEARN]))
    ins = replace(ins, mode=random.choice([0, SourceMode.COLUMN]) if ins.op == Op.GATHER else 0)
    most = config.value_groups
    geometry = random_geometry(np.random.default_rng(random.getrandbits(32)), most, most, 1 << 15, GROUPS)
    for raw in events:
        raw |= {
            "first": random.randrange(most),
            "columns": 1 if ins.mode else random.randint(1, geometry.columns),
            "rows": geometry.kernel_rows if ins.mode else random.randint(1, geometry.rows),
            "new_position": random.randrange(2),
        }
    return ins, events, geometry


@cocotb.test()
@with_pauses(i_pause=[never, often], stall=[never, often])
async def commands(dut: Any, i_pause: Pause, stall: Pause) -> None:
    config = engine_config()
    tb = WalkBench(dut, config, i_pause=i_pause, stall=stall)
    await tb.reset()
    n = 0
    for _ in range(cases(10)):
        for op in sorted(WALK | SYNAPTIC):
            n += await tb.execute(*random_case(config, op))
        if config.convolution:
            for _ in range(6):
                n += await tb.execute(*random_convolution(config))
    tb.score.finish(n)


@cocotb.test()
async def a_command_a_cycle(dut: Any) -> None:
    """The last command of a walk comes ``latency`` + n - 1 cycles after the start; events follow each other
    without a gap.
    """
    config = engine_config()
    tb = WalkBench(dut, config, i_pause=never, stall=never)
    await tb.reset()
    n = await tb.execute(Instruction(op=Op.STEP, n_dst=7), [])
    assert tb.last == Walker.latency + 7 - 1
    for n_dst in (1, 2, 5):
        _, events = random_case(config, Op.GATHER)
        n += await tb.execute(Instruction(op=Op.GATHER, n_src=3, n_dst=n_dst), events * 3)
        each = 2 if config.single_port and n_dst == 1 else n_dst
        assert tb.last == Walker.latency + 1 + each * (3 * len(events) - 1) + n_dst - 1
    tb.hold = lambda: True  # not for the commands of a walk
    n += await tb.execute(Instruction(op=Op.STEP, n_dst=7), [])
    assert tb.last == Walker.latency + 7 - 1
    tb.score.finish(n)
