"""Faults of an engine: reset in any cycle of a run, random memories at power-up.

Afterwards the engine equals the golden model with the same memories.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from benchmarks.campaign import ENGINES, chain_of, difference
from equilif_golden.engine.memories import has_spike_flag, memories, word_bits
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, updates_at
from equilif_sim.tools.programs import random_program, random_values, random_weights
from equilif_sim.verilated import MEMORIES
from tests.engines import verilated

PIPELINES = pytest.mark.parametrize(
    "name",
    [
        "P4-SPRAM",
        "P4-without-attention",
        "P4-wide",
        "P8",
        "P4-SDRAM",
        *(pytest.param(name, marks=pytest.mark.regress) for name in ("P2-SDRAM", "P8-SDRAM", "P16-SDRAM")),
    ],
)


def as_it_stands(engine):
    """A golden model with the memories of an engine."""
    config = engine.config
    model = EngineModel(config)
    for name in memories(config):
        whole = engine.memory(name)
        now = getattr(model, name)
        now[:] = whole[: len(now)]
        if name in model.saved:
            model.saved[name][:] = whole[len(now) :]
    model.w.flat = engine.read(Region.WEIGHT, 0, model.w.size)
    model.counter = updates_at(int(engine.read(Region.COUNTER, 0, 1)[0]))
    return model


def goes_on_as_the_model(engine, rng, n):
    model = as_it_stands(engine)
    # the first program of a chain replaces all weights
    for case in chain_of(engine.config, rng, n + 1)[1:]:
        assert not difference(engine, model, case, weights=True)


@pytest.mark.parametrize("n", [24, pytest.param(60, marks=pytest.mark.regress)])
@PIPELINES
def test_reset_in_any_cycle(name, n):
    """The run ends at once and leaves no state outside the memories."""
    engine = verilated(ENGINES[name])
    config = engine.config
    rng = np.random.default_rng(8)
    busy = 0
    for k in range(n):
        engine.write(Region.WEIGHT, 0, random_weights(rng, config).ravel())
        engine.write(Region.VALUE, 0, random_values(rng, config))
        engine.load(random_program(rng, config))
        # all of the first cycles, then random ones
        cycles = k if k < n / 3 else int(rng.integers(20, 800))
        was = engine._lib.sim_cut(engine._sim, 1, cycles)
        assert was >= 0, "busy after a reset"
        busy += was
        goes_on_as_the_model(engine, rng, 2)
    assert busy > n / 3, "most resets came during a run"


@PIPELINES
def test_garbage_at_power_up(name):
    """Random content of all weights and lane memories.  A host writes values before a run, which also writes
    their non-zero flags.  The flag of a group of spikes is that of its spikes: a program writes both at once.
    """
    config = ENGINES[name]
    rng = np.random.default_rng(9)
    for _ in range(4):
        engine = verilated(config)
        for number, memory in enumerate(memories(config).values()):
            bits = word_bits(config, MEMORIES[number])
            size = next((n for n in (1, 2, 4, 8) if bits <= 8 * n), 4 * -(-bits // 32))
            words = rng.integers(0, 2, (memory.depth, bits), dtype=np.uint8)
            if MEMORIES[number] == "s" and has_spike_flag(config):
                words[:, -1] = words[:, :-1].any(axis=1)
            garbage = np.zeros((memory.depth, 8 * size), np.uint8)
            garbage[:, :bits] = words
            raw = np.packbits(garbage, axis=1, bitorder="little").tobytes()
            ctypes.memmove(engine._lib.sim_peek(engine._sim, number), raw, len(raw))
        engine.write(Region.WEIGHT, 0, random_weights(rng, config).ravel())
        assert all(engine.memory(m).any() for m in memories(config))
        goes_on_as_the_model(engine, rng, 15)
