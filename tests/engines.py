"""Small engines for tests, of every pipeline."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import Instruction, Op
from equilif_golden.fixed import Numerics
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
