"""RTL of the host link against equilif_golden.link.device, and of the program checker against
equilif_golden.engine.isa.check.
"""

from __future__ import annotations

import dataclasses
import gc
import random

import numpy as np
import pytest
from amaranth.sim import Simulator

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.isa import WORDS, ProgramError, check, disassemble
from equilif_hdl.engine.checker import Checker
from equilif_hdl.link.frame import Framer
from equilif_sim.link.host import HostBench, code_of, program
from equilif_sim.tools import verilator
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
    assert run(tmp_path, config, n_bad=500) == 10


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
    assert run(tmp_path, ODD, n_bad=10_000, simulator="verilator", seed=1) == 10


def fault_of(code, config):
    """Index of the first instruction at fault, their number when only the end is, or None."""
    try:
        check(disassemble(np.frombuffer(code, "<u4")), config)
    except ProgramError as e:
        return e.index
    return None


def test_checker_is_the_golden_check():
    """Same verdict on every program, same instruction at fault."""
    rng, verdicts = random.Random(5), {True: 0, False: 0}
    cases = []
    for n in range(700):
        config = (ODD, EVEN)[n % 2]
        code = program(config, rng, most=8, wrong=rng.choice([0.0, 0.1, 0.3]))
        if rng.random() < 0.03:
            code = rng.randbytes(len(code))
        fault = fault_of(code, config)
        verdicts[fault is None] += 1
        cases.append((config, code, fault))
    for config in (ODD, EVEN):
        judge(config, [(code, fault) for c, code, fault in cases if c is config])
    assert min(verdicts.values()) > 150, verdicts


def judge(config, cases):
    dut = Checker(config)

    async def bench(ctx):
        for code, fault in cases:
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            for word in np.frombuffer(code, "<u4"):
                ctx.set(dut.word, int(word))
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)
                while ctx.get(dut.busy):
                    await ctx.tick()
                if ctx.get(dut.fault):
                    break
            n = len(code) // (4 * WORDS)
            if fault is None:
                assert not ctx.get(dut.fault) and ctx.get(dut.closed) and ctx.get(dut.index) == n, code.hex()
            elif fault == n:
                assert not ctx.get(dut.fault) and not ctx.get(dut.closed) and ctx.get(dut.index) == n, (
                    code.hex()
                )
            else:
                assert ctx.get(dut.fault) and ctx.get(dut.index) == fault, (
                    f"{code.hex()}: {ctx.get(dut.index)}, not {fault}"
                )

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_generated_programs_are_right():
    """Else the benches would load programs that are refused and never see the other half."""
    rng = random.Random(0)
    for config in (ODD, EVEN):
        for _ in range(50):
            code = program(config, rng)
            assert fault_of(code, config) is None or len(code) > 4 * config.program_words
    assert fault_of(code_of(), ODD) == 0


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_frame_size_is_checked():
    with pytest.raises(ValueError, match="frame_bytes must be in 32..4096, not 16"):
        Framer(frame_bytes=16)
    # the discarded object complains that it was not used: here, not in another test
    gc.collect()
