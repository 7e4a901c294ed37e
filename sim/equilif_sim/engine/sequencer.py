"""Bench for equilif_hdl.engine.sequencer.Sequencer against the order of
equilif_golden.engine.model.EngineModel.trace.

State space: random programs with loops, some with early exit, conditional marks and halts, learning or not;
loops of up to 511 iterations, with marks at any, and their cycles; nested loops up to the end of the memory;
random status of the lanes.  Stall space: instructions are accepted immediately, at random, or so late that
prefetch stops; the engine becomes idle, and reports that a rate has moved, immediately or late.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import FIELDS, WORDS, Groups, Instruction, Op, assemble
from equilif_golden.engine.model import EngineModel
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.stages import lane_status
from equilif_sim.tools.programs import random_program
from equilif_sim.tools.run import cases, engine_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import (
    Pause,
    StreamSink,
    drive,
    never,
    now,
    often,
    reset,
    until_low,
    with_pauses,
)

LONGEST = 511  #: iterations
WIDTH = sum(width for _, width, _ in FIELDS)


def long_loop(rng: np.random.Generator) -> list[Instruction]:
    """Marks at pairs of iterations that differ in every bit, and in the last one."""
    some = [int(n) for n in rng.choice(np.arange(2, 256), 2, replace=False)]
    marks = [Op.MARK(Groups(0, 1), left=n) for n in (*some, *(LONGEST - n for n in some), 1)]
    return [Op.REPEAT(LONGEST), *marks, Op.NEXT(), Op.HALT()]


def late_loops(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """Nested loops, as deep as possible, at the end of the program memory."""
    mark = Op.MARK(Groups(0, 1))
    depth = config.loops
    n = config.program_words // WORDS - 2 * depth - 1
    before = int(rng.integers(3 * n // 4, n))
    loops = [*[Op.REPEAT(2)] * depth, *[mark] * (n - before), *[Op.NEXT()] * depth]
    return [*[Op.MARK(Groups(0, 1), left=LONGEST)] * before, *loops, Op.HALT()]


def mostly() -> bool:
    return random.random() < 0.9


@cocotb.test()
@with_pauses(o_pause=[never, often, mostly], idle_pause=[never, often])
async def programs(dut: Any, o_pause: Pause, idle_pause: Pause) -> None:
    config = engine_config()
    status = lane_status(config)
    rng = np.random.default_rng(random.getrandbits(32))
    words = [0] * config.program_words
    score = Scoreboard()
    await reset(dut, "start", "learn", "idle", "word", *(f"status__{name}" for name in status))
    issued: list[tuple[int, Instruction]] = []  # cycles from the start to each accepted instruction
    answers: list[bool] = []  # status of the instructions that report it, in order
    due: Counter[str] = Counter()  # status that is not reported yet

    def telling(instruction: Instruction) -> list[str]:
        return [
            name for name, t in status.items() if instruction.op == t.op and bool(instruction.mode & t.mode)
        ]

    def taken(payload: int) -> None:
        instruction = Instruction.decode(payload)
        issued.append((now() - began, instruction))
        score.actual(instruction)
        due.update({name: answers.pop(0) for name in telling(instruction)})

    async def memory() -> None:
        ends = True  # a run may end in this cycle
        while True:
            active = {name for name in status if due[name] and not idle_pause()}
            dut.idle.value = int(not due.total() and not idle_pause())
            for name in status:
                getattr(dut, f"status__{name}").value = int(name in active)
                due[name] -= name in active
            await ReadOnly()
            read = int(dut.read.value)
            addr = int(dut.addr.value)
            busy = bool(dut.busy.value)
            assert busy or not read and ends, "a run ends when all is executed, and reads no further"
            ends = not busy or bool(dut.idle.value)
            await RisingEdge(dut.clk)
            if read:
                # words beyond the end must not matter
                dut.word.value = words[addr] if addr < len(words) else random.getrandbits(32)

    cocotb.start_soon(StreamSink(dut, "o", taken, pause=o_pause).run())
    cocotb.start_soon(memory())
    n = 0
    shortened = 0
    for k in range(cases(60)):
        program = random_program(rng, config)
        if o_pause is never and k < 3:
            program = late_loops(rng, config) if k else long_loop(rng)
        learn = bool(rng.integers(2))
        for k, word in enumerate(assemble(program)):
            words[k] = int(word)
        model = EngineModel(config, program)
        for instruction in model.trace(learn=learn):
            score.expect(instruction)
            n += 1
            for name in telling(instruction):
                answers.append(rng.random() < 0.3)
                setattr(model, name, getattr(model, name) | answers[-1])
        shortened += model.shortened
        drive(dut, start=1, learn=learn)
        issued.clear()
        began = now()
        await RisingEdge(dut.clk)
        drive(dut, start=0, learn=not learn)  # `learn` is sampled with `start` only
        await until_low(dut, "busy", 40_000)
        assert not score.outstanding and not answers and not due.total()
        if o_pause is never and program[0] == Op.REPEAT(LONGEST):
            iteration = WORDS * (len(program) - 3) + Sequencer(config).latency
            begins = {
                t - iteration * (LONGEST - mark.count) - WORDS * program.index(mark) for t, mark in issued
            }
            assert len(begins) == 1, f"iterations of other than {iteration} cycles: {begins}"
        if o_pause is never and program[0].op not in (Op.REPEAT, Op.HALT, Op.MARK):
            assert issued[0][0] == Sequencer(config).latency
    assert WIDTH == 96 and (shortened > 2) == bool(status)
    score.finish(n)
