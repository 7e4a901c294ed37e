"""Bench of an engine with mutants: given and random programs, transfers of an embedding table, and single
elements.

Given programs come first, for what random ones rarely do.  Every third random program uses as many groups as
the memories have.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import cycle, islice, product
from typing import Any, NamedTuple

import numpy as np

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE, GAIN_MAX, SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import SCAN, WALK, Groups, Instruction, Op, announced, window_tiles
from equilif_golden.engine.isa import WORDS as INSTRUCTION_WORDS
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.engine.tables import MAX_GROUPS, RowOp, TableTokens
from equilif_golden.fixed import Raw
from equilif_hdl.engine.engine import Engine
from equilif_sim.engine.external import WithSdram
from equilif_sim.forked import PASSED, copies
from equilif_sim.mutate import INPUT
from equilif_sim.sdram_chip import WORDS
from equilif_sim.tables import compare_transfers, random_tokens
from equilif_sim.tools.programs import (
    SHORT,
    operations,
    random_instruction,
    random_program,
    random_values,
    random_weights,
)
from equilif_sim.verilated import VerilatedEngine, library

PROGRAMS = 300  #: random programs of an engine
TRANSFERS = 8  #: of tokens of an embedding table
LOOP_COUNTS = tuple(1 << bit | 1 for bit in range(1, 9))  #: one for each bit of a counter
FOLLOWING = 9  #: programs of a GATHER that follows a STEP
COLUMNS = (1, 2, 3, 4)  #: of the windows of a convolution
WATCHES = 12  #: differences of a watched rate, of each lane


def design(config: EngineConfig) -> Engine | WithSdram:
    """The engine, with its SDRAM if it has one."""
    engine = Engine(config)
    return WithSdram(engine, config.external) if config.external else engine


class Given(NamedTuple):
    """A program, and its values if they are not random."""

    program: list[Instruction]
    values: Raw | None = None


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
    given = _given(config)
    tables = config.external is not None and config.external.tables
    for k in range(n):
        groups = SHORT if k % 3 else config.value_groups
        one = given[k] if k < len(given) else Given(random_program(rng, config, groups=groups))
        learn = k < len(given) or bool(rng.integers(2))
        weights = None
        if k % 4 == 0:
            model.w[:] = random_weights(rng, config)
            weights = model.w.ravel().copy()
        values = random_values(rng, config) if one.values is None else one.values
        counter = int(rng.integers(DITHER_MASK + 1))
        model.write(Region.COUNTER, 0, np.array([counter]))
        model.write(Region.VALUE, 0, values)
        model.load(one.program)
        tokens = random_tokens(rng, config) if tables and k % 3 == 1 else None
        r = model.run(learn=learn, **_with(tokens))
        after = {name: model.memory(name).copy() for name in memories(config)}
        # external ones are read slowly: only before all are replaced
        if not config.external or k % 4 == 3 or k + 1 == n:
            after["weights"] = model.w.ravel().copy()
        after["counter"] = np.array([model.counter * DITHER_UPDATE & DITHER_MASK])
        expected = (r.prediction, r.spikes, r.accesses, r.activity, r.cycles)
        out.append(ExpectedCase(one.program, learn, values, weights, tokens, counter, expected, after))
    return out


def _with(tokens: TableTokens | None) -> dict[str, Any]:
    """Arguments of a run."""
    return {"write": (0, []), "tokens": tokens} if tokens else {}


def _given(config: EngineConfig) -> list[Given]:
    rng = np.random.default_rng(0)
    programs = _long_programs(config)
    programs += [_following(rng, config) for _ in range(FOLLOWING)]
    given = [*map(Given, programs)]
    if config.convolution:
        given += [*_windows(rng, config), *map(Given, _overlapping(config))]
    if config.early_exit:
        given += _watches(rng, config)
    return given


def _long_programs(config: EngineConfig) -> list[list[Instruction]]:
    """Loops of many counts; many spikes; updates of every shift, repeated until the lowest dither bits
    matter.
    """
    loops = [[Op.REPEAT(count), Op.NEXT(), Op.HALT()] for count in LOOP_COUNTS]
    everything = Groups(0, config.state_groups)
    step = Op.STEP(everything, threshold=1, leak=0)
    drive = Op.RESET(everything, value=1 << 14, static=True)
    spikes = [drive, Op.REPEAT(500), *[step] * 3, Op.NEXT(), Op.HALT()]
    pre, post = Groups(0, 2), Groups(0, 3)
    updates = []
    for shift in SHIFTS:
        loop = [Op.REPEAT(500), Op.LEARN(pre, post, tile=0, gain=1, shift=shift), Op.NEXT()]
        if config.loops > 1:
            loop = [Op.REPEAT(20), *loop, Op.NEXT()]
        updates.append([*_no_minus(post), *loop, Op.HALT()])
    return [*loops, spikes, *updates]


def _following(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """STEP, any operation or none, and GATHER, as often as they fit.

    Half of the sources begin with the group of the STEP, others with one that differs in a bit.  A walk
    through all groups goes first, so that the queue is full when the STEP begins.
    """
    others = [op for op in operations(config) if op in WALK | SCAN]
    room = config.program_words // INSTRUCTION_WORDS - 1
    program: list[Instruction] = []
    while True:
        step, gather = (random_instruction(rng, config, op) for op in (Op.STEP, Op.GATHER))
        last = config.state_groups - max(step.n_dst, gather.n_src)
        first = int(rng.integers(last + 1))
        source = first ^ int(rng.integers(2)) << int(rng.integers(last.bit_length()))
        source = source if source <= last else first
        between = []
        if rng.integers(2):
            between = [random_instruction(rng, config, others[int(rng.integers(len(others)))])]
        new = [
            Op.RESET(Groups(0, config.state_groups), value=int(rng.integers(1 << 15))),
            replace(step, dst=first),
            *between,
            replace(gather, src=source),
        ]
        if len(program) + len(new) > room:
            return [*program, Op.HALT()]
        program += new


def _windows(rng: np.random.Generator, config: EngineConfig) -> list[Given]:
    """Repeated updates of windows in two rows, of every number of columns; values are small, or weights would
    saturate.
    """
    out = []
    for columns in COLUMNS:
        geometry = Geometry(1, 1, rows=2, columns=columns, kernel_rows=2, kernel_columns=1, stride=1)
        pre, post = Groups(0, geometry.n_pre), Groups(0, geometry.n_post)
        program = [*_no_minus(post), Op.REPEAT(100)]
        for shift, gain in ((SHIFTS[0], 1), (SHIFTS[-1], GAIN_MAX)):
            program += [*announced(geometry), Op.LEARN(pre, post, tile=0, gain=gain, shift=shift)]
        values = rng.integers(1, 32, config.value_groups * config.lanes)
        out.append(Given([*program, Op.NEXT(), Op.HALT()], values))
    return out


def _no_minus(groups: Groups) -> list[Instruction]:
    """Rates of 0 at -beta: a host writes the same rates for both phases, from which nothing is learned."""
    return [Op.RESET(groups, value=0), Op.MARK(groups), Op.MEASURE(groups, shift=7, minus=True)]


def _watches(rng: np.random.Generator, config: EngineConfig) -> list[Given]:
    """Loops whose early end depends on one lane: its rate differs by the tolerance, and by one more."""
    shift = 7
    most = min(1 << 8, 1 << (config.numerics.charge_width - 1 - shift))
    room = config.program_words // INSTRUCTION_WORDS - 4
    n = min(config.state_groups, room // 6)  # two loops of three instructions for each group
    lanes = cycle(range(config.lanes))
    out = []
    for _ in range(-(-WATCHES * config.lanes // n)):
        if rng.integers(2):
            rate = int(rng.integers(most // 2))
            values = rng.integers(rate + 1, 1 << 8, n)
        else:
            rate = int(rng.integers(most // 2, most))
            values = rng.integers(rate, size=n)
        found = np.full((config.value_groups, config.lanes), rate)
        everything = Groups(0, n)
        program = [
            Op.RESET(everything, value=0),
            Op.MARK(everything),
            Op.RESET(everything, value=rate << shift),
        ]
        for k, (lane, value) in enumerate(zip(islice(lanes, n), values.tolist(), strict=True)):
            found[k, lane] = value
            for less in range(2):
                tolerance = abs(rate - value) - less
                watch = Op.MEASURE(Groups(k, 1), shift=shift, tolerance=tolerance, watch=True)
                program += [Op.REPEAT(2), watch, Op.NEXT(left=2, early_exit=True)]
        out.append(Given([*program, Op.HALT()], found.ravel()))
    return out


def _overlapping(config: EngineConfig) -> list[list[Instruction]]:
    """Convolutions whose kernels overlap in rows and columns; weights are external if the engine has any."""
    first, room = (config.tiles, config.external.tiles) if config.external else (0, config.tiles)
    out = []
    for post, rows, columns, kernel_rows, kernel_columns in product((1, 2), *[(2, 3)] * 4):
        g = Geometry(1, post, rows, columns, kernel_rows, kernel_columns, stride=1)
        fits = g.n_pre <= config.value_groups and g.n_post <= config.state_groups and g.tiles <= room
        if fits and window_tiles(g, backwards=False) <= config.tiles:
            sources, groups = Groups(config.value_groups - g.n_pre, g.n_pre), Groups(0, g.n_post)
            tile = first + room - g.tiles
            convolve = Op.CONVOLVE(**g._asdict())
            drive = [convolve, Op.DRIVE(sources, groups, tile=tile)]
            learn = [*_no_minus(groups), convolve, Op.LEARN(sources, groups, tile=tile, gain=31, shift=12)]
            out.append([*drive, *learn, *drive, Op.HALT()])
    return out


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
        tokens = TableTokens(config.tiles, 0, 1, np.zeros(1, np.int64))
        for bit in range(MAX_GROUPS.bit_length(), 16):  # more groups, which the lower bits do not tell
            wrong = tokens._replace(groups=1 << bit | 1)
            if not engine.transfer(RowOp.CHECK, wrong)[1].all():
                return False
        # rows as long as the patterns can be
        tokens = tokens._replace(groups=min(config.tiles, MAX_GROUPS), rows=np.arange(2))
        for op in (RowOp.GATHER, RowOp.ADD):
            engine.transfer(op, tokens)
            model.transfer(op, tokens)
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
