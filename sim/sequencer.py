"""Bench for hdl.sequencer.Sequencer against the order of golden.engine.EngineModel.trace.

State space: random programs with loops, conditional marks and halts, learning or not.  Stall space: instructions are taken at once or at random;
the engine is idle at once or late.
"""
from __future__ import annotations

import random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from golden.engine import EngineModel
from golden.isa import FIELDS, Instruction, Op, assemble
from hdl.sequencer import Sequencer
from sim.programs import random_program
from sim.run import bench_config, engine_config
from sim.scoreboard import Scoreboard
from sim.stream import Pause, StreamSink, never, now, often, reset

WIDTH = sum(width for _, width, _ in FIELDS)


@cocotb.test()
@cocotb.parametrize(o_pause=[never, often], idle_pause=[never, often])
async def programs(dut: Any, o_pause: Pause, idle_pause: Pause) -> None:
    config, rng = engine_config(bench_config()), np.random.default_rng(random.getrandbits(32))
    words, score = [0] * config.program_words, Scoreboard()
    await reset(dut, "start", "learn", "idle", "word")
    first: list[int] = []

    def taken(payload: int) -> None:
        first.append(now() - began)
        score.actual(Instruction.decode(payload))

    async def memory() -> None:
        while True:
            dut.idle.value = int(not idle_pause())
            await ReadOnly()
            read, addr = int(dut.read.value), int(dut.addr.value)
            await RisingEdge(dut.clk)
            if read:
                dut.word.value = words[addr]

    cocotb.start_soon(StreamSink(dut, "o", taken, pause=o_pause).run())
    cocotb.start_soon(memory())
    n = 0
    for _ in range(40):
        program, learn = random_program(rng, config), bool(rng.integers(2))
        for k, word in enumerate(assemble(program)):
            words[k] = int(word)
        trace = list(EngineModel(config, program).trace(learn=learn))
        for instruction in trace:
            score.expect(instruction)
        n += len(trace)
        dut.start.value, dut.learn.value = 1, int(learn)
        first.clear()
        began = now()
        await RisingEdge(dut.clk)
        dut.start.value, dut.learn.value = 0, int(not learn)           # sampled with start only
        for _ in range(100_000):
            await ReadOnly()
            busy = int(dut.busy.value)
            await RisingEdge(dut.clk)
            if not busy:
                break
        assert not busy and not score.outstanding
        if o_pause is never and program[0].op not in (Op.REPEAT, Op.HALT, Op.MARK):
            assert first[0] == Sequencer.latency
    assert WIDTH == 96
    score.finish(n)
