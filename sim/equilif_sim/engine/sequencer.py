"""Bench for equilif_hdl.engine.sequencer.Sequencer against the order of
equilif_golden.engine.model.EngineModel.trace.

State space: random programs with loops, some of which may end early, conditional marks and halts,
learning or not; watched rates that have moved, at random.  Stall space: instructions are taken at once or
at random; the engine is idle, and tells what has moved, at once or late.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.engine.isa import FIELDS, Instruction, MeasureMode, Op, assemble
from equilif_golden.engine.model import EngineModel
from equilif_hdl.engine.sequencer import Sequencer
from equilif_sim.tools.programs import random_program
from equilif_sim.tools.run import engine_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, StreamSink, drive, never, now, often, reset, until_low

WIDTH = sum(width for _, width, _ in FIELDS)


@cocotb.test()
@cocotb.parametrize(o_pause=[never, often], idle_pause=[never, often])
async def programs(dut: Any, o_pause: Pause, idle_pause: Pause) -> None:
    config = engine_config()
    rng = np.random.default_rng(random.getrandbits(32))
    words = [0] * config.program_words
    score = Scoreboard()
    await reset(dut, "start", "learn", "idle", "word", *(["moved"] if config.early else []))
    issued: list[int] = []  # cycles, from the start, of the instructions that were taken
    moves: list[bool] = []  # whether a rate moves, of the instructions that watch, in their order
    due = 0  # moves that the sequencer has not been told of

    def watches(instruction: Instruction) -> bool:
        return config.early and instruction.op == Op.MEASURE and bool(instruction.mode & MeasureMode.WATCH)

    def taken(payload: int) -> None:
        nonlocal due
        issued.append(now() - began)
        instruction = Instruction.decode(payload)
        score.actual(instruction)
        if watches(instruction):
            due += moves.pop(0)

    async def memory() -> None:
        nonlocal due
        while True:
            told = due > 0 and not idle_pause()
            dut.idle.value = int(not due and not idle_pause())
            if config.early:
                dut.moved.value = int(told)
                due -= told
            await ReadOnly()
            read = int(dut.read.value)
            addr = int(dut.addr.value)
            await RisingEdge(dut.clk)
            if read:
                dut.word.value = words[addr]

    cocotb.start_soon(StreamSink(dut, "o", taken, pause=o_pause).run())
    cocotb.start_soon(memory())
    n = 0
    ended_early = 0
    for _ in range(60):
        program = random_program(rng, config)
        learn = bool(rng.integers(2))
        for k, word in enumerate(assemble(program)):
            words[k] = int(word)
        model = EngineModel(config, program)
        for instruction in model.trace(learn=learn):
            score.expect(instruction)
            n += 1
            if watches(instruction):
                moves.append(rng.random() < 0.3)
                model.moved |= moves[-1]
        ended_early += model.ended_early
        drive(dut, start=1, learn=learn)
        issued.clear()
        began = now()
        await RisingEdge(dut.clk)
        drive(dut, start=0, learn=not learn)  # `learn` is sampled with `start` only
        await until_low(dut, "busy", 100_000)
        assert not score.outstanding and not moves and not due
        if o_pause is never and program[0].op not in (Op.REPEAT, Op.HALT, Op.MARK):
            assert issued[0] == Sequencer.latency
    assert WIDTH == 96 and (ended_early > 10) == config.early
    score.finish(n)
