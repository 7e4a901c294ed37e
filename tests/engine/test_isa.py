"""Instruction set: encoding, checks of programs, control flow of the engine model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equilif_golden.engine.activity import COMMAND, FETCH, LAST, cost_of_mode
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import OPTIONS
from equilif_golden.engine.isa import (
    FIELDS,
    OPERATIONS,
    WORDS,
    Groups,
    HaltMode,
    Instruction,
    Op,
    ProgramError,
    assemble,
    check,
    disassemble,
    field_range,
    flag_name,
)
from equilif_golden.engine.model import EngineModel
from equilif_golden.fixed import SQ, wrap
from equilif_sim.tools.programs import random_instruction, random_program, spoil

CONFIG = EngineConfig(lanes=4, tiles=64, value_groups=32, state_groups=16, program_words=60, convolution=True)
HALT = Instruction(op=Op.HALT)
STEP = Instruction(op=Op.STEP, gain=4096, dst=0, n_dst=16)
GATHER = Instruction(op=Op.GATHER, src=0, n_src=8, dst=8, n_dst=8)
LEARN = Instruction(op=Op.LEARN, gain=5, shift=16, src=0, n_src=4, dst=0, n_dst=4)
MARK = Instruction(op=Op.MARK, dst=0, n_dst=1)
REPEAT, NEXT = Instruction(op=Op.REPEAT, count=3), Instruction(op=Op.NEXT)


@st.composite
def instructions(draw):
    """Any instruction with a code, extremes of every field included."""
    op = draw(st.sampled_from(Op))
    values = {}
    for name, _, _ in FIELDS[1:]:
        possible = op.modes if name == "mode" else field_range(name)
        lo, hi = possible[0], possible[-1]
        values[name] = draw(st.one_of(st.sampled_from([lo, hi, 0]), st.integers(lo, hi)))
    return Instruction(op=op, **values)


@given(instructions())
def test_code_round_trip(instruction):
    code = instruction.encode()
    assert 0 <= code < 1 << (32 * WORDS) and code & 0xF == instruction.op.code
    assert Instruction.decode(code) == instruction


@given(st.lists(instructions(), max_size=5))
def test_program_round_trip(program):
    words = assemble(program)
    assert len(words) == WORDS * len(program) and all(0 <= w < 2**32 for w in words)
    assert disassemble(words) == program


@pytest.mark.parametrize("name, width, signed", FIELDS[1:])
def test_fields_do_not_overlap_and_do_not_overflow(name, width, signed):
    """Each field sets its own bits only; a code above the range is rejected."""
    at = sum(w for _, w, _ in FIELDS[: [f[0] for f in FIELDS].index(name)])
    assert replace(HALT, **{name: -1 if signed else (1 << width) - 1}).encode() == ((1 << width) - 1) << at
    with pytest.raises(ValueError, match=f"HALT.{name}"):
        replace(HALT, **{name: 1 << (width - signed)}).encode()


@pytest.mark.parametrize(
    "instruction, problem",
    [
        (replace(STEP, n_dst=17), r"STEP.*0\.\.16.*0\.\.15"),
        (replace(STEP, n_dst=0), "STEP.*groups.*0"),
        (replace(STEP, gain=32768), r"STEP.*threshold.*1\.\.16384.*32768"),
        (replace(STEP, shift=9), "STEP.*leak.*9"),
        (replace(GATHER, src=9), r"GATHER.*9\.\.16.*0\.\.15"),
        (replace(GATHER, dst=9), r"GATHER.*9\.\.16.*0\.\.15"),
        (replace(GATHER, operand=1), r"GATHER.*1\.\.64.*0\.\.63"),
        (replace(GATHER, op=Op.DRIVE, src=25), r"DRIVE.*25\.\.32.*0\.\.31"),
        (replace(LEARN, shift=15), "LEARN.*shift.*15"),
        (replace(LEARN, gain=32), r"LEARN.*gain.*0\.\.31.*32"),
        (Instruction(op=Op.MEASURE, dst=0, n_dst=1, shift=31), r"MEASURE.*shift.*2\.\.9.*31"),
        (Instruction(op=Op.ARGMAX, src=32, n_src=1), r"ARGMAX.*32\.\.32.*0\.\.31"),
        (replace(REPEAT, count=0), r"REPEAT.*count.*1\.\.511.*0"),
    ],
)
def test_check_reports_instruction(instruction, problem):
    tail = [NEXT, HALT] if instruction.op == Op.REPEAT else [HALT]
    with pytest.raises(ProgramError, match=f"instruction 1: {problem}"):
        check([MARK, instruction, *tail], CONFIG)


def test_check_accepts_limits():
    check([STEP, GATHER, LEARN, replace(GATHER, op=Op.DRIVE, src=24), REPEAT, MARK, NEXT, HALT], CONFIG)
    check([MARK] * 19 + [HALT], CONFIG)


@pytest.mark.parametrize(
    "program, message",
    [
        ([MARK] * 20 + [HALT], "21.*63.*60"),
        ([REPEAT, REPEAT, REPEAT, NEXT, HALT], "REPEAT"),
        ([NEXT, HALT], "NEXT"),
        ([REPEAT, MARK, HALT], "loops"),
        ([MARK], "HALT"),
        ([replace(HALT, mode=HaltMode.INFER)], "HALT"),
        ([], "HALT"),
    ],
)
def test_check_of_loops_and_halt(program, message):
    with pytest.raises(ProgramError, match=message):
        check(program, CONFIG)


@pytest.mark.parametrize(
    "program, index",
    [
        ([MARK, replace(STEP, shift=9), HALT], 1),
        ([MARK, NEXT, HALT], 1),
        ([MARK] * 20 + [HALT], 20),
        ([replace(STEP, shift=9)] + [MARK] * 30, 0),
        ([REPEAT, HALT], 2),
        ([MARK], 1),
        ([], 0),
    ],
)
def test_program_error_has_instruction(program, index):
    """The length for a wrong end, the first instruction beyond the memory for a long program."""
    with pytest.raises(ProgramError) as e:
        check(program, CONFIG)
    assert e.value.index == index


@pytest.mark.parametrize("option", ["", *OPTIONS])
def test_damaged_programs(option):
    """On engines with one option or none."""
    config = replace(CONFIG, **{name: name == option for name in OPTIONS})
    rng = np.random.default_rng(3)
    for _ in range(300):
        program = random_program(rng, config)
        check(program, config)
        spoiled, index = spoil(rng, program, config)
        with pytest.raises(ProgramError) as e:
            check(spoiled, config)
        assert e.value.index == index, f"{e.value}: {spoiled}"


@pytest.mark.parametrize("field", [name for name, _, _ in FIELDS[1:]])
@pytest.mark.parametrize("wrong", [1.0, True, None, "1"])
def test_fields_are_integers(field, wrong):
    """Fractions and booleans are rejected in used and unused fields."""
    instruction = replace(HALT, **{field: wrong})
    with pytest.raises(ValueError, match=rf"HALT\.{field}"):
        instruction.encode()
    with pytest.raises(ProgramError, match=rf"instruction 0: HALT\.{field}"):
        check([instruction, HALT], CONFIG)


def test_program_words():
    with pytest.raises(ValueError, match="program"):
        disassemble(np.array([0.5, 0, 0]))
    with pytest.raises(ValueError, match="3 words"):
        disassemble(np.zeros(4, int))
    with pytest.raises(ValueError, match="program"):
        disassemble(np.array([-1, 0, 0]))


# -- names -----------------------------------------------------------------------------------------
def test_named_operands_and_modes():
    rng = np.random.default_rng(4)
    for op in OPERATIONS:
        for _ in range(20):
            i = random_instruction(rng, CONFIG, op)
            again = op(**i.operands, **{flag_name(flag): True for flag in i.modes})
            assert (again.operands, again.modes) == (i.operands, i.modes)
            assert again.problem(CONFIG) is None and i.problem(CONFIG) is None


def test_unknown_operand_names():
    with pytest.raises(TypeError, match="NUDGE"):
        Op.NUDGE(groups=Groups(0, 1), strength=1, tile=1)
    with pytest.raises(TypeError, match="HALT"):
        Op.HALT(static=True)
    with pytest.raises(ValueError, match="NUDGE"):
        Op.NUDGE(groups=Groups(0, 2), targets=Groups(0, 3), strength=1)


def test_positional_operands():
    rng = np.random.default_rng(5)
    for op in OPERATIONS:
        i = random_instruction(rng, CONFIG, op)
        assert op(*i.operands.values()) == op(**i.operands)
    assert Op.MARK(Groups(1, 2)) == Op.MARK(groups=Groups(1, 2), left=0)
    with pytest.raises(TypeError, match="MARK"):
        Op.MARK(3, 4, 5)
    with pytest.raises(TypeError, match="REPEAT"):
        Op.REPEAT(3, count=3)
    with pytest.raises(TypeError, match="NUDGE"):
        Op.NUDGE(strength=3)


def test_mode_bits_do_not_overlap():
    for op, operation in OPERATIONS.items():
        bits = [int(flag) for flag in operation.modes]
        assert sum(bits) == sum(set(bits)) and all(bit in (1, 2, 4, 8) for bit in bits), op
        assert len(set(operation.names)) == len(operation.names)


COUNTED = {
    Op.RESET: "state_writes spike_writes",
    Op.NUDGE: "value_reads spike_reads state_reads state_writes products additions",
    Op.STEP: "state_reads state_reads state_reads state_writes state_writes spike_writes "
    "additions additions additions",
    Op.MARK: "state_reads state_writes additions",
    Op.MEASURE: "state_reads state_reads additions",
    Op.SAVE: "state_reads state_writes spike_reads spike_writes",
    Op.RESTORE: "state_reads state_writes spike_reads spike_writes",
    Op.DRIVE: "state_reads state_writes products additions",
    Op.GATHER: "state_reads state_writes additions",
    Op.LEARN: "weight_writes value_reads value_reads products products additions additions additions",
    Op.SOFTMAX: "state_reads state_reads additions",
    Op.RELAY: "state_reads",
}
FETCHED = {
    Op.DRIVE: "value_reads",
    Op.GATHER: "spike_reads",
    Op.LEARN: "value_reads value_reads",
    Op.ARGMAX: "value_reads",
}


def test_counters_of_operations():
    """Counters of a command, of a last walk, of a mode, and of a fetched group."""

    def costs(counters):
        return {op: Counter(counters.get(op, "").split()) for op in OPERATIONS}

    assert costs(COUNTED) == COMMAND
    assert costs(FETCHED) == FETCH
    assert {op: cost for op, cost in LAST.items() if cost} == {Op.SOFTMAX: {"products": 1}}
    modes = {}
    features = {}
    for op, operation in OPERATIONS.items():
        for flag, mode in operation.modes.items():
            cost = cost_of_mode(mode, replace(CONFIG, **dict.fromkeys(OPTIONS, True)))
            modes |= {(op, flag_name(flag)): cost} if cost else {}
            features[op, flag_name(flag)] = mode.feature
            without = cost_of_mode(mode, replace(CONFIG, **dict.fromkeys(OPTIONS, False)))
            assert without == ({} if mode.feature else cost)
    writes = {(op, name) for op in (Op.MEASURE, Op.SOFTMAX, Op.RELAY) for name in ("plus", "minus")}
    assert {at: modes.pop(at) for at in writes} == dict.fromkeys(writes, {"value_writes": 1})
    assert modes.pop((Op.RESET, "static")) == {"spike_writes": -1}
    assert not [(op, name) for op, name in modes if not features[op, name]]


# -- the model's control flow ----------------------------------------------------------------------
def test_loops_marks_and_halts():
    """REPEAT runs its body `count` times; a MARK with a count acts when that many iterations are left; a
    conditional HALT skips training.
    """
    late = replace(MARK, count=2)
    engine = EngineModel(CONFIG, [REPEAT, MARK, late, NEXT, replace(HALT, mode=HaltMode.INFER), STEP, HALT])
    assert list(engine.trace(learn=False)) == [MARK, MARK, late, MARK]
    assert list(engine.trace(learn=True)) == [MARK, MARK, late, MARK, STEP]


def test_load_checks_program():
    with pytest.raises(ProgramError, match="instruction 0: STEP"):
        EngineModel(CONFIG, [replace(STEP, n_dst=17), HALT])


def test_wrap_is_twos_complement():
    raw = np.arange(-100, 100)
    assert (wrap(raw, SQ(5, 0)) == [(int(r) + 16) % 32 - 16 for r in raw]).all()
