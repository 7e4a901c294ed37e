"""The checker rejects an instruction exactly when the golden model does.

The rules for each word are derived again from equilif_golden.engine.isa.OPERATIONS and compared with
equilif_golden.engine.isa.Instruction.problem.  The engine is small; larger sizes take more bits of the same
adders.  The number of tiles is a product, which simulation tests: tests/link/test_host.py.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from amaranth import Cat, Const, Mux, Signal
from amaranth.hdl import Value

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import has
from equilif_golden.engine.isa import FIELDS, OPERATIONS, WORDS, Instruction, Number, Op, Span, Tiles
from equilif_hdl.engine.checker import Checker
from tests.formal.prove import Proof, agree, needs_prover

pytestmark = needs_prover
SMALL = EngineConfig(lanes=4, tiles=6, value_groups=4, state_groups=4, program_words=12)
ENGINES = {"with attention": SMALL, "without": replace(SMALL, attention=False)}
#: numbers near the limits
NEAR = {
    "n_dst": range(6),
    "n_src": range(6),
    "dst": range(5),
    "src": range(5),
    "operand": range(7),
    "mode": (0, 0, 1, 2, 3, 8),
    "shift": (0, 2, 3, 4, 12, 14),
    "gain": (1, 4, 31, 4096),
    "count": (0, 1, 5),
}
CHECKER = "equilif_hdl.engine.checker"
#: position and width of every field
AT = {name: (sum(width for _, width, _ in FIELDS[:k]), FIELDS[k][1]) for k, (name, _, _) in enumerate(FIELDS)}


def field(code: Value, name: str) -> Value:
    at, width = AT[name]
    return code[at : at + width]


def either(conditions: list[Value]) -> Value:
    return Cat(*conditions).any() if conditions else Const(0)


def one_of(value: Value, allowed: range | tuple[int, ...]) -> Value:
    """Allowed values of a field; a signed field is unrestricted."""
    if len(allowed) == 1 << len(value):
        return Const(1)
    if isinstance(allowed, range):
        return (value >= allowed[0]) & (value <= allowed[-1])
    return either([value == a for a in allowed])


def wrong(code: Value, config: EngineConfig) -> list[Value]:
    """The first of the three words of an instruction that is invalid."""
    op, mode = field(code, "op"), field(code, "mode")
    found: list[list[Value]] = [[], [], []]
    for which, operation in OPERATIONS.items():
        it = op == which.code
        if which.mode_bit:
            it = it & mode[3]
        elif any(other.mode_bit and other.code == which for other in Op):
            it = it & ~mode[3]
        if operation.feature and not has(config, operation.feature):
            found[0].append(it)
            continue
        if operation.modes_need and not has(config, operation.modes_need):
            found[0].append(it & (mode != 0))
        for operand in operation.operands.values():
            if isinstance(operand, Number):
                at = AT[operand.field][0] // 32
                found[at].append(it & ~one_of(field(code, operand.field), operand.allowed))
                continue
            if isinstance(operand, Tiles):
                n = field(code, "n_src") * field(code, "n_dst")
                first, size = field(code, operand.first), config.tiles
            else:
                n, first = field(code, operand.n), field(code, operand.first)
                size = getattr(config, operand.memory)
            found[2].append(it & ((n == 0) | (first + n > size)))
    return [either(conditions) for conditions in found]


@pytest.mark.parametrize("config", ENGINES.values(), ids=ENGINES)
def test_rules_equal_golden(config):
    rng = random.Random(1)
    cases = []
    for _ in range(6000):
        code = rng.getrandbits(96)
        if rng.random() < 0.8:  # near the limits: small numbers of groups
            for name, some in NEAR.items():
                at, width = AT[name]
                code = code & ~(((1 << width) - 1) << at) | rng.choice(some) << at
        cases.append({"code": code})
    bad = [Instruction.decode(case["code"]).problem(config) is not None for case in cases]
    assert 500 < sum(bad) < len(bad) - 500
    verdicts = iter(bad)
    agree(lambda code: [either(wrong(code, config))], {"code": 96}, lambda code: [next(verdicts)], cases)


def inside(code: Value, config: EngineConfig) -> Value:
    """Every group and tile of an instruction exists."""
    found = []
    for which, operation in OPERATIONS.items():
        for operand in operation.operands.values():
            if isinstance(operand, Span):
                last = field(code, operand.first) + field(code, operand.n)
                found.append((field(code, "op") != which.code) | (last <= getattr(config, operand.memory)))
            elif isinstance(operand, Tiles):
                last = field(code, operand.first) + field(code, "n_src") * field(code, "n_dst")
                found.append((field(code, "op") != which.code) | (last <= config.tiles))
    return Cat(*found).all()


@pytest.mark.long
@pytest.mark.parametrize("config", ENGINES.values(), ids=ENGINES)
def test_refusals_equal_golden(config):
    p = Proof(
        "faults exactly by the golden rules, except in the third word of instructions with tiles", CHECKER
    )
    block = Checker(config)
    p.free(block)
    m = p.m
    most = config.program_words // WORDS
    part = Signal(range(WORDS))
    words = [Signal(32, name=f"word{k}") for k in range(WORDS)]
    code = Cat(*words)
    depth = Signal(3)
    count = Signal(range(most + 2))  # instructions that were accepted
    halts = Signal()
    third = Signal()  # the third word is checked
    fresh = Signal()  # another word one cycle ago
    expected = Signal()  # that is invalid
    word = block.word
    step = block.step & ~block.fault
    p.assume("step", ~(block.busy & (block.step | block.clear)) & ~(block.step & block.clear))
    p.assume("step", ~block.busy | (word == words[-1]))
    op, mode = field(word, "op"), field(word, "mode")
    repeat, next_ = op == Op.REPEAT, op == Op.NEXT
    nests = repeat & (depth == config.loops) | next_ & (depth == 0)
    none = Const(0, 32)
    judged = third & ~block.busy
    full = count + (judged & ~block.fault) == most
    with m.If(step):
        m.d.sync += part.eq(Mux(part == WORDS - 1, 0, part + 1))
        with m.Switch(part):
            with m.Case(0):
                m.d.sync += [
                    words[0].eq(word),
                    expected.eq(wrong(Cat(word, none, none), config)[0] | nests | full),
                    depth.eq(depth + repeat - next_),
                    halts.eq((op == Op.HALT) & (mode == 0)),
                ]
            with m.Case(1):
                m.d.sync += [words[1].eq(word), expected.eq(wrong(Cat(words[0], word, none), config)[1])]
            with m.Default():
                m.d.sync += words[2].eq(word)
    m.d.sync += [
        fresh.eq(step & (part != WORDS - 1)),
        third.eq(step & (part == WORDS - 1) | third & block.busy),
    ]
    with m.If(judged & ~block.fault):
        m.d.sync += count.eq(count + 1)
    with m.If(block.clear):
        m.d.sync += [part.eq(0), depth.eq(0), count.eq(0), halts.eq(0), third.eq(0)]
    # solvers do not finish on the product of tiles, which the checker accumulates
    with_tiles = [
        op.code for op, o in OPERATIONS.items() if any(isinstance(x, Tiles) for x in o.operands.values())
    ]
    tiles = either([field(code, "op") == op_code for op_code in with_tiles])
    p.claim("words 0 and 1", ~fresh | (block.fault == expected))
    p.claim("word 2", ~judged | tiles | (block.fault == wrong(code, config)[2]))
    p.claim("inside", ~judged | tiles | block.fault | inside(code, config))
    p.claim("index", third | (block.index == count))
    p.claim("closed", third | block.fault | (block.closed == (halts & (depth == 0))))
    gathers = judged & (field(code, "op") == Op.GATHER)
    p.cover("a good one of weights", gathers & ~block.fault & (field(code, "n_src") == 2))
    p.cover("too many tiles", gathers & block.fault & (field(code, "n_src") == 3))
    p.cover("the end of a program", block.closed & (block.index == 2))
    p.reached(reach=24)
