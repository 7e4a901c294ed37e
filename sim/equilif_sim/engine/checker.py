"""Bench for equilif_hdl.engine.checker.Checker against equilif_golden.engine.isa.check: the same verdict, and
the same instruction at fault.

State space: valid programs, programs with one error, and noise; every operand of every operation at its last
valid and its first invalid value; convolutions with each operand off by one or at a limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import (
    FIELDS,
    WORDS,
    Groups,
    Instruction,
    Op,
    ProgramError,
    assemble,
    check,
    disassemble,
    field_range,
)
from equilif_golden.fixed import Raw
from equilif_sim.tools.programs import (
    at_limits,
    independent,
    lacking,
    random_convolution,
    random_instruction,
    random_program,
    spoil,
)
from equilif_sim.tools.run import cases, engine_config
from equilif_sim.tools.stream import reset, until_low

LONGEST = 200  #: maximum cycles of a word


def fault_of(words: Raw, config: EngineConfig) -> int | None:
    """Index of the first invalid instruction, number of instructions if only the end is invalid, or None."""
    try:
        check(disassemble(words), config)
    except ProgramError as e:
        return e.index
    return None


async def judge(dut: Any, config: EngineConfig, cases: Iterable[Raw]) -> None:
    for words in cases:
        want = fault_of(words, config)
        dut.clear.value = 1
        await RisingEdge(dut.clk)
        dut.clear.value = 0
        await RisingEdge(dut.clk)
        for word in words:
            dut.word.value = int(word)
            dut.step.value = 1
            await RisingEdge(dut.clk)
            dut.step.value = 0
            await until_low(dut, "busy", LONGEST)
            if dut.fault.value:
                break
        n = len(words) // WORDS
        verdict = bool(dut.fault.value), int(dut.index.value)
        assert verdict == ((False, n) if want in (None, n) else (True, want)), disassemble(words)
        assert verdict[0] or bool(dut.closed.value) == (want is None), disassemble(words)


@cocotb.test()
async def programs(dut: Any) -> None:
    """Valid programs, programs with one error, and noise."""
    config = engine_config()
    await reset(dut, "clear", "step", "word")
    rng, tried = np.random.default_rng(5), []
    for _ in range(cases(120)):
        program = random_program(rng, config, groups=int(rng.choice([2, 12])))
        tried.append(assemble(program))
        spoiled, index = spoil(rng, program, config)
        tried.append(assemble(spoiled))
        assert fault_of(tried[-2], config) is None and fault_of(tried[-1], config) == index
    tried += [rng.integers(0, 1 << 32, WORDS * int(rng.integers(1, 6))) for _ in range(30)]
    await judge(dut, config, tried)


@cocotb.test()
async def limits(dut: Any) -> None:
    """The last valid and the first invalid value of all operands of all operations."""
    config = engine_config()
    await reset(dut, "clear", "step", "word")
    rng, tried = np.random.default_rng(6), []
    # the instruction after CONVOLVE depends on its operands: see the next test
    for op in [*independent(config), Op.REPEAT, Op.NEXT]:
        i = random_instruction(rng, config, op, groups=1)
        before = [Op.REPEAT(2)] if op == Op.NEXT else []
        after = [Op.NEXT()] if op == Op.REPEAT else []
        for wrong in (False, True):
            for j in at_limits(i, config, wrong=wrong):
                words = assemble([*before, j, *after, Op.HALT()])
                assert fault_of(words, config) == (len(before) if wrong else None), disassemble(words)
                tried.append(words)
    tried += [assemble([i, Op.HALT()]) for i in lacking(config)]
    assert len(tried) > 100
    await judge(dut, config, tried)


@cocotb.test()
async def convolutions(dut: Any) -> None:
    """CONVOLVE and the next instruction, valid, and with each field off by one or at a limit."""
    config = engine_config()
    if not config.convolution:
        return
    await reset(dut, "clear", "step", "word")
    rng = np.random.default_rng(7)
    tried: list[list[Instruction]] = []
    for _ in range(cases(60)):
        pair = random_convolution(rng, config)
        first, then = pair
        tried.append(pair)
        for at, i in enumerate(pair):
            for name, _, _ in FIELDS[1:]:
                possible = i.op.modes if name == "mode" else field_range(name)
                value = int(rng.choice([getattr(i, name) - 1, getattr(i, name) + 1, possible[-1]]))
                if value in possible:
                    changed = list(pair)
                    fields: dict[str, Any] = {name: value}
                    changed[at] = dataclasses.replace(i, **fields)
                    tried.append(changed)
    tried += [[first, Op.HALT()], [first, first, then], [first, Op.MARK(Groups(0, 1)), then]]
    tried += [[first, then, then], [Op.REPEAT(2), first, then, Op.NEXT()], [first, Op.REPEAT(2), then]]
    words = [assemble([*case, Op.HALT()]) for case in tried]
    faults = [fault_of(w, config) for w in words]
    assert min(faults.count(fault) for fault in (None, 0, 1)) > 10
    await judge(dut, config, words)
