"""Bench of an engine with mutants: random programs, transfers of an embedding table, and single elements.

Every third program uses as many groups as the memories have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE, SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Groups, Instruction, Op
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.engine.tables import TableTokens
from equilif_golden.fixed import Raw
from equilif_hdl.engine.engine import Engine
from equilif_sim.engine.external import WithSdram
from equilif_sim.forked import PASSED, copies
from equilif_sim.mutate import INPUT
from equilif_sim.sdram_chip import WORDS
from equilif_sim.tables import compare_transfers, random_tokens
from equilif_sim.tools.programs import SHORT, random_program, random_values, random_weights
from equilif_sim.verilated import VerilatedEngine, library

PROGRAMS = 300  #: random programs of an engine
TRANSFERS = 8  #: of tokens of an embedding table
LOOP_COUNTS = tuple(1 << bit | 1 for bit in range(1, 9))  #: one for each bit of a counter


def design(config: EngineConfig) -> Engine | WithSdram:
    """The engine, with its SDRAM if it has one."""
    engine = Engine(config)
    return WithSdram(engine, config.external) if config.external else engine


@dataclass
class ExpectedCase:
    program: list[Instruction]
    learn: bool
    values: Raw
    weights: Raw | None
    tokens: TableTokens | None
    counter: int
    expected: tuple[Any, ...]
    after: dict[str, Raw]


def cases(config: EngineConfig, n: int, seed: int) -> list[ExpectedCase]:
    """Programs in sequence, and the results of the golden model."""
    rng = np.random.default_rng(seed)
    model = EngineModel(config)
    out = []
    given = _long_programs(config)
    tables = config.external is not None and config.external.tables
    for k in range(n):
        groups = SHORT if k % 3 else config.value_groups
        program = given[k] if k < len(given) else random_program(rng, config, groups=groups)
        learn = k < len(given) or bool(rng.integers(2))
        weights = None
        if k % 4 == 0:
            model.w[:] = random_weights(rng, config)
            weights = model.w.ravel().copy()
        values = random_values(rng, config)
        counter = int(rng.integers(DITHER_MASK + 1))
        model.write(Region.COUNTER, 0, np.array([counter]))
        model.write(Region.VALUE, 0, values)
        model.load(program)
        tokens = random_tokens(rng, config) if tables and k % 3 == 1 else None
        r = model.run(learn=learn, **_with(tokens))
        after = {name: model.memory(name).copy() for name in memories(config)}
        # external ones are read slowly: only before all are replaced
        if not config.external or k % 4 == 3 or k + 1 == n:
            after["weights"] = model.w.ravel().copy()
        after["counter"] = np.array([model.counter * DITHER_UPDATE & DITHER_MASK])
        expected = (r.prediction, r.spikes, r.accesses, r.activity, r.cycles)
        out.append(ExpectedCase(program, learn, values, weights, tokens, counter, expected, after))
    return out


def _with(tokens: TableTokens | None) -> dict[str, Any]:
    """Arguments of a run."""
    return {"write": (0, []), "tokens": tokens} if tokens else {}


def _long_programs(config: EngineConfig) -> list[list[Instruction]]:
    """Loops of many counts; updates of every shift, repeated until the lowest dither bits matter."""
    loops = [[Op.REPEAT(count), Op.NEXT(), Op.HALT()] for count in LOOP_COUNTS]
    pre, post = Groups(0, 2), Groups(0, 3)
    # a host writes equal rates of both phases, from which nothing is learned
    minus = [Op.RESET(post, value=0), Op.MARK(post), Op.MEASURE(post, shift=7, minus=True)]
    updates = []
    for shift in SHIFTS:
        loop = [Op.REPEAT(500), Op.LEARN(pre, post, tile=0, gain=1, shift=shift), Op.NEXT()]
        if config.loops > 1:
            loop = [Op.REPEAT(20), *loop, Op.NEXT()]
        updates.append([*minus, *loop, Op.HALT()])
    return loops + updates


def takes_elements(engine: VerilatedEngine) -> bool:
    """Write single weights and runs of equal values of every position and length; check neighbours."""
    p = engine.config.lanes
    weights = engine.read(Region.WEIGHT, 0, 2 * p)
    for k in reversed(range(p)):
        weights[k] = 91 * k - 40
        engine.write(Region.WEIGHT, k, weights[k : k + 1])
        if not np.array_equal(engine.read(Region.WEIGHT, 0, 2 * p), weights):
            return False
    written = engine.read(Region.VALUE, 0, 2 * p)
    runs = [(first, n) for first in range(p) for n in range(1, p - first + 1)]
    for k, (first, n) in enumerate(runs):
        run = np.full(n, (37 * k + 11) % 256)
        engine.write(Region.VALUE, first, run)
        written[first : first + n] = run + (run << 8)
        if not np.array_equal(engine.read(Region.VALUE, 0, 2 * p), written):
            return False
    return True


def transfers_rows(engine: VerilatedEngine) -> bool:
    """Transfer rows of an embedding table, and compare all weights."""
    config = engine.config
    rng = np.random.default_rng(2)
    model = EngineModel(config)
    model.w[:] = random_weights(rng, config)
    engine.write(Region.WEIGHT, 0, model.w.ravel())
    for device in (engine, model):
        device.load([Op.HALT()])
    try:
        for _ in range(TRANSFERS):
            compare_transfers(engine, model, rng)
    except (AssertionError, RuntimeError):
        return False
    return np.array_equal(engine.read(Region.WEIGHT, 0, model.w.size), model.w.ravel())


def passes(engine: VerilatedEngine, given: Iterable[ExpectedCase]) -> bool:
    config = engine.config
    if not takes_elements(engine):
        return False
    if config.external and config.external.tables and not transfers_rows(engine):
        return False
    for case in given:
        engine.load(case.program)
        engine.write(Region.COUNTER, 0, np.array([case.counter]))
        if case.weights is not None:
            engine.write(Region.WEIGHT, 0, case.weights)
        engine.write(Region.VALUE, 0, case.values)
        try:
            limit = 2 * case.expected[-1] + 1000
            r = engine.run(learn=case.learn, **_with(case.tokens), max_cycles=limit)
        except RuntimeError:
            return False
        if (r.prediction, r.spikes, r.accesses, r.activity, r.cycles) != case.expected:
            return False
        got = {name: engine.memory(name) for name in memories(config)}
        if "weights" in case.after:
            got["weights"] = engine.read(Region.WEIGHT, 0, case.after["weights"].size)
        got["counter"] = engine.read(Region.COUNTER, 0, 1)
        values = case.after["plus"] + (case.after["minus"] << 8)
        if not np.array_equal(engine.read(Region.VALUE, 0, values.size), values.ravel()):
            return False
        if any(not np.array_equal(got[name], want) for name, want in case.after.items()):
            return False
    return not (config.external and engine.violations)


class Switched(VerilatedEngine):
    """An engine with mutants."""

    def become(self, mutant: int) -> None:
        self._lib.sim_mutant(self._sim, mutant)


BECOME = f"""void sim_mutant(Sim *s, int mutant) {{
    s->top->{INPUT} = mutant;
    s->top->rst = 1; s->tick(); s->tick(); s->top->rst = 0;
}}
"""


def run(config: EngineConfig, verilog: str, n: int, programs: int = PROGRAMS) -> list[int]:
    """Exit status of the unchanged design and of each mutant."""
    text = verilog + WORDS if config.external else verilog
    engine = Switched(config, made=library(config, text, functions=BECOME))
    given = cases(config, programs, seed=1)
    return exit_codes(n, engine.become, lambda: passes(engine, given))


def exit_codes(n: int, become: Callable[[int], None], passes: Callable[[], bool]) -> list[int]:
    """Exit status of the unchanged design and of ``n`` mutants, each in a copy of the process."""
    codes = []
    for mutant, code in copies(n):
        if mutant is None:
            codes.append(code)
            continue
        become(mutant)
        try:
            passed = passes()
        except Exception:
            passed = False
        os._exit(PASSED if passed else 1)
    return codes
