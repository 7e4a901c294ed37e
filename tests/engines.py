"""Small engines for tests, of every pipeline."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import Instruction, Op
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Numerics
from equilif_hdl.engine.stages import lane_status
from equilif_sim.tools.programs import random_program, random_values, random_weights
from equilif_sim.verilated import VerilatedEngine, library, rtl

NARROW = Numerics(fraction=8, weight_width=10, accumulator_width=20, charge_width=15)
ENGINE = EngineConfig(lanes=4, tiles=20, value_groups=16, state_groups=8, program_words=96)
SINGLE_PORT = dataclasses.replace(ENGINE, pipeline=Pipeline.SPRAM, attention=False)
DEEP = dataclasses.replace(ENGINE, **EVERYTHING)
WIDE = dataclasses.replace(DEEP, lanes=16)

#: no size is a power of two, so every comparison needs logic
ODD = EngineConfig(lanes=2, tiles=23, value_groups=32, state_groups=8, program_words=32)
#: all sizes are powers of two
EVEN = EngineConfig(
    lanes=4,
    tiles=16,
    value_groups=16,
    state_groups=16,
    program_words=24,
    pipeline=Pipeline.SPRAM,
    attention=False,
)

# -- the whole engine ------------------------------------------------------------------------------
SMALL = EngineConfig(lanes=4, tiles=48, value_groups=16, state_groups=8, program_words=160, counters=True)
CONFIGS = {
    "P4": SMALL,
    "P4-SPRAM": dataclasses.replace(SMALL, pipeline=Pipeline.SPRAM, **EVERYTHING, numerics=NARROW),
    # as on the iCEBreaker and the Tang Nano boards
    "P4-SPRAM-without-attention": dataclasses.replace(
        SMALL, pipeline=Pipeline.SPRAM, attention=False, counters=False
    ),
    "P4-without-attention": dataclasses.replace(SMALL, attention=False, counters=False),
    "P4-wide": dataclasses.replace(
        SMALL, **EVERYTHING, numerics=Numerics(accumulator_width=32, charge_width=20)
    ),
    "P8": dataclasses.replace(SMALL, lanes=8, **EVERYTHING),
    "P16": dataclasses.replace(SMALL, lanes=16, **EVERYTHING),
}

#: large enough for all test networks
ROOMY = EngineConfig(lanes=4, tiles=256, value_groups=128, state_groups=32, program_words=1024, **EVERYTHING)

#: C function: start a run and reset the engine for one cycle after ``cycles`` cycles
CUT = """int sim_cut(Sim *s, int learn, int cycles) {
    HOST(start) = 1; HOST(learn) = learn; s->tick(); HOST(start) = 0;
    for (int k = 0; k < cycles; k++) s->tick();
    int busy = HOST(busy);
    s->top->rst = 1; s->tick(); s->top->rst = 0; s->top->eval();
    if (HOST(busy)) return -1;
    // writes in the pipeline finish: its stages have no reset
    for (int k = 0; k < 16; k++) s->tick();
    return HOST(busy) ? -1 : busy;
}
"""


@functools.cache
def compiled(config: EngineConfig) -> Path:
    """Compiled library of an engine, shared by its tests."""
    return library(config, rtl(config), functions=CUT)


def verilated(config: EngineConfig) -> VerilatedEngine:
    """An engine after power-up."""
    return VerilatedEngine(config, made=compiled(config))


#: a bench with a sample of its cases, and by ./run regress with all of them
thoroughness = pytest.mark.parametrize(
    "thorough", [False, pytest.param(True, marks=pytest.mark.regress)], ids=["sample", "all"]
)


def visible(*signals: str) -> str:
    """Verilator directives that expose signals to a bench, each ``"module name"``."""
    return "".join('public_flat_rw -module "{}" -var "{}"\n'.format(*signal.split(" ")) for signal in signals)


def walk(config, n):
    """Cycles of a run that walks n groups."""
    registers = config.registers
    more = registers.weight_read + registers.butterfly + registers.neuron + (registers.queue > 0)
    return 12 + n + more


def cycles(engine, *program):
    """Cycles of a run of the program."""
    engine.load([*program, Instruction(op=Op.HALT)])
    return engine.run(learn=True).cycles


def compare(engine, model, what):
    pairs = {name: (engine.memory(name), model.memory(name)) for name in memories(engine.config)}
    pairs["weights"] = (engine.read(Region.WEIGHT, 0, model.w.size), model.w.ravel())
    for name, (got, want) in pairs.items():
        assert np.array_equal(got, want), f"{what}: {name} differ at {np.argwhere(got != want)[:4].tolist()}"
    assert engine.read(Region.COUNTER, 0, 1)[0] == model.counter * DITHER_UPDATE & DITHER_MASK


def run_random_programs(engine, n=300):
    config = engine.config
    model = EngineModel(config)
    n_softmax = 0
    shortened = 0
    for name in memories(config):
        assert not engine.memory(name).any()
    rng = np.random.default_rng(config.lanes + config.single_port)
    for k in range(n):
        program = random_program(rng, config)
        learn = bool(rng.integers(2))
        if k % 4 == 0:
            model.w[:] = random_weights(rng, config)
            engine.write(Region.WEIGHT, 0, model.w.ravel())
        values = random_values(rng, config)
        model.plus.flat = values
        model.minus.flat = values
        engine.write(Region.VALUE, 0, values)
        engine.load(program)
        model.load(program)
        expected = model.run(learn=learn)
        result = engine.run(learn=learn, max_cycles=200_000)
        for what in ("prediction", "spikes", "accesses", "activity", "cycles"):
            assert getattr(result, what) == getattr(expected, what), f"program {k}: {what}"
        compare(engine, model, f"program {k}")
        n_softmax += any(i.op == Op.SOFTMAX for i in program)
        shortened += model.shortened
    assert n_softmax >= (0.8 if n >= 300 else 0.5) * n or not config.attention
    assert (shortened > n / 3) == bool(lane_status(config))
