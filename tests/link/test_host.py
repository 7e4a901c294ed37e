"""RTL of the host link against equilif_golden.link.device, and of the program checker against
equilif_golden.engine.isa.check.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from amaranth.sim import Simulator

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import (
    FIELDS,
    WORDS,
    Groups,
    Op,
    ProgramError,
    assemble,
    check,
    disassemble,
    field_range,
)
from equilif_hdl.engine.checker import Checker
from equilif_sim.link.stand_in import HostBench
from equilif_sim.tools import verilator
from equilif_sim.tools.programs import (
    at_limits,
    lacking,
    operations,
    random_convolution,
    random_instruction,
    random_program,
    spoil,
)
from equilif_sim.tools.run import simulate

# no size is a power of two that could be, so that every comparison is a real one; then one whose sizes
# all are
ODD = EngineConfig(lanes=2, tiles=23, value_groups=32, state_groups=8, program_words=32)
EVEN = EngineConfig(
    lanes=4,
    tiles=16,
    value_groups=16,
    state_groups=16,
    program_words=24,
    pipeline=Pipeline.SPRAM,
    softmax=False,
)
MANY = EngineConfig(lanes=2, tiles=1 << 15, value_groups=1024, state_groups=4, program_words=96, **EVERYTHING)
WITH_MAPS = dataclasses.replace(ODD, convolution=True, softmax=False)
BUILD_ID = 0xDBC0_1234  # with both of SLIP's special bytes


def run(tmp_path, config, *, n_bad, simulator="icarus", seed=0, frame_bytes=160, only=None):
    bench = HostBench(config, build_id=BUILD_ID, frame_bytes=frame_bytes)
    return simulate(
        bench,
        "equilif_sim.link.host",
        tmp_path,
        simulator=simulator,
        seed=seed,
        only=only,
        config={
            "engine": dataclasses.asdict(config),
            "n_bad": n_bad,
            "frame_bytes": frame_bytes,
            "build_id": BUILD_ID,
        },
    )


@pytest.mark.parametrize("config", [ODD, EVEN], ids=["odd", "even"])
def test_host(config, tmp_path):
    """Every command and every error; no bad frame changes the engine."""
    assert run(tmp_path, config, n_bad=500) == 11


def test_longest_programs_and_frames(tmp_path):
    """340 instructions in 4,096 bytes."""
    assert (
        run(
            tmp_path,
            dataclasses.replace(ODD, program_words=1020),
            n_bad=0,
            frame_bytes=4096,
            only="good_frames.*never.*never",
        )
        == 1
    )


@pytest.mark.long
def test_ten_thousand_bad_frames(tmp_path):
    try:
        verilator.environment()
    except verilator.MissingVerilator as e:
        pytest.skip(str(e))
    assert run(tmp_path, ODD, n_bad=10_000, simulator="verilator", seed=1) == 11


def fault_of(words, config):
    """Index of the first instruction at fault, their number when only the end is, or None."""
    try:
        check(disassemble(words), config)
    except ProgramError as e:
        return e.index
    return None


@pytest.mark.parametrize("config", [ODD, EVEN, MANY], ids=["odd", "even", "many"])
def test_checker_is_the_golden_check(config):
    """Same verdict on every program, right, wrong or noise, and the same instruction at fault."""
    rng, cases = np.random.default_rng(5), []
    for _ in range(120):
        program = random_program(rng, config, groups=int(rng.choice([2, 12])))
        cases.append((assemble(program), None))
        spoiled, index = spoil(rng, program, config)
        cases.append((assemble(spoiled), index))
    for _ in range(30):
        noise = rng.integers(0, 1 << 32, WORDS * int(rng.integers(1, 6)))
        cases.append((noise, fault_of(noise, config)))
    for words, fault in cases:
        assert fault_of(words, config) == fault
    judge(config, cases)


@pytest.mark.parametrize("config", [ODD, EVEN, MANY], ids=["odd", "even", "many"])
def test_checker_knows_the_limits_of_every_operand(config):
    """The last value that is right and the first that is wrong, of all operands of all operations."""
    rng, cases, seen = np.random.default_rng(6), [], 0
    # what is right behind CONVOLVE depends on what it says: see the next test
    for op in [op for op in [*operations(config), Op.REPEAT, Op.NEXT] if op != Op.CONVOLVE]:
        i = random_instruction(rng, config, op, groups=1)
        before = [Op.REPEAT(2)] if op == Op.NEXT else []
        after = [Op.NEXT()] if op == Op.REPEAT else []
        for wrong in (False, True):
            for j in at_limits(i, config, wrong=wrong):
                words = assemble([*before, j, *after, Op.HALT()])
                cases.append((words, len(before) if wrong else None))
                seen += 1
    cases += [(assemble([i, Op.HALT()]), 0) for i in lacking(config)]
    for words, fault in cases:
        assert fault_of(words, config) == fault, disassemble(words)
    judge(config, cases)
    assert seen > 100


@pytest.mark.parametrize("config", [WITH_MAPS, MANY], ids=["with maps", "many"])
def test_checker_knows_convolutions(config):
    """CONVOLVE and what is behind it, right, and with any of their fields one off or at its end."""
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(60):
        first, then = random_convolution(rng, config)
        cases.append([first, then])
        for at, i in enumerate((first, then)):
            for name, _, _ in FIELDS[1:]:
                possible = i.op.modes if name == "mode" else field_range(name)
                value = int(rng.choice([getattr(i, name) - 1, getattr(i, name) + 1, possible[-1]]))
                if value in possible:
                    changed = [first, then]
                    changed[at] = dataclasses.replace(i, **{name: value})
                    cases.append(changed)
    cases += [[first, Op.HALT()], [first, first, then], [first, Op.MARK(Groups(0, 1)), then]]
    cases += [[first, then, then], [Op.REPEAT(2), first, then, Op.NEXT()], [first, Op.REPEAT(2), then]]
    words = [assemble([*case, Op.HALT()]) for case in cases]
    faults = [fault_of(w, config) for w in words]
    judge(config, list(zip(words, faults, strict=True)))
    assert min(faults.count(fault) for fault in (None, 0, 1)) > 40


def judge(config, cases):
    dut = Checker(config)

    async def bench(ctx):
        for words, fault in cases:
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for word in words:
                ctx.set(dut.word, int(word))
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)
                while ctx.get(dut.busy):
                    await ctx.tick()
                if ctx.get(dut.fault):
                    break
            n = len(words) // WORDS
            if fault is None:
                assert not ctx.get(dut.fault) and ctx.get(dut.closed) and ctx.get(dut.index) == n, (
                    disassemble(words)
                )
            elif fault == n:
                assert not ctx.get(dut.fault) and not ctx.get(dut.closed) and ctx.get(dut.index) == n, (
                    disassemble(words)
                )
            else:
                assert ctx.get(dut.fault) and ctx.get(dut.index) == fault, (
                    f"{disassemble(words)}: {ctx.get(dut.index)}, not {fault}"
                )

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
