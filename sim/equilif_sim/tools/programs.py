"""Random programs and memory contents for an engine, valid by equilif_golden.engine.isa.check, with every
instruction and every hazard in reach.

State space: all operations and modes, populations of any place and size that fit, adjacent and
overlapping; weights over the full range and near both rails; values and spikes dense, sparse and absent;
sums that wrap.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import (
    EARLY,
    PLUS,
    SCALED,
    STATIC,
    SYNAPTIC,
    THRESHOLD_MAX,
    WALK,
    WORDS,
    Instruction,
    Op,
)
from equilif_golden.fixed import Raw
from equilif_hdl.engine.checker import MEMORY


def random_values(rng: np.random.Generator, config: EngineConfig) -> Raw:
    """(value_groups x P,) 8-bit values, a random part of them zero."""
    n = config.value_groups * config.lanes
    values = rng.choice([0, 1, 128, 254, 255], n) if rng.random() < 0.3 else rng.integers(0, 256, n)
    return np.asarray(
        values * (rng.random(n) < rng.choice([0.0, 0.1, 0.5, 1.0], p=[0.1, 0.3, 0.4, 0.2])), np.int64
    )


def random_weights(rng: np.random.Generator, config: EngineConfig) -> Raw:
    """(tiles x P, P) weight words."""
    fmt = config.numerics.weight
    shape = (config.tiles * config.lanes, config.lanes)
    match rng.integers(3):
        case 0:
            w = rng.integers(fmt.lo, fmt.hi + 1, shape)
        case 1:
            w = np.clip(rng.normal(0, config.numerics.one / 4, shape).astype(np.int64), fmt.lo, fmt.hi)
        case _:
            w = rng.choice([fmt.lo, fmt.lo + 1, -1, 0, 1, fmt.hi - 1, fmt.hi], shape)
    return np.asarray(w, np.int64)


def random_instruction(rng: np.random.Generator, config: EngineConfig, op: Op) -> Instruction:
    """A valid instruction that is not control flow."""

    def place(limit: int, most: int) -> tuple[int, int]:
        n = int(rng.integers(1, min(most, limit) + 1))
        return int(rng.integers(0, limit - n + 1)), n

    mode = int(rng.integers(0, 16)) if config.softmax or op not in (Op.DRIVE, Op.LEARN) else 0
    dst, n_dst = place(config.state_groups, 4)
    src, n_src = place(config.state_groups if op == Op.GATHER else config.value_groups, 4)
    reach = int(rng.choice([1, config.numerics.one, 1 << 15]))
    operand = int(rng.integers(-reach, reach))
    gain, shift = 0, 0
    if op == Op.STEP:
        gain, shift = 1 << int(rng.integers(0, THRESHOLD_MAX.bit_length())), int(rng.choice(LEAKS))
    elif op == Op.MEASURE:
        gain, shift = int(rng.choice([0, 1, 16, 128, 254, 255, 256, 1 << 15])), int(rng.choice(RATE_SHIFTS))
    elif op == Op.LEARN:
        gain, shift = min(int(rng.integers(0, 2 * GAIN_MAX)), GAIN_MAX), int(rng.choice(SHIFTS))
    elif op in MEMORY:
        shift = int(rng.choice(softmax.SHIFTS if op == Op.SOFTMAX else relay.SHIFTS))
    if op in (Op.NUDGE, *MEMORY):
        src = int(rng.integers(0, config.value_groups - n_dst + 1))
    if op in SYNAPTIC:
        operand = int(rng.integers(0, config.tiles - n_src * n_dst + 1))
    return Instruction(
        op=op, mode=mode, shift=shift, gain=gain, operand=operand, src=src, n_src=n_src, dst=dst, n_dst=n_dst
    )


def random_recall(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """Scores from nothing but a DRIVE, so that they are near each other now and then, their softmax, and a
    relay scaled with it.
    """
    reset, drive, softmax_, relay_ = (
        random_instruction(rng, config, op) for op in (Op.RESET, Op.DRIVE, Op.SOFTMAX, Op.RELAY)
    )
    softmax_ = replace(
        softmax_,
        dst=drive.dst,
        n_dst=drive.n_dst,
        src=int(rng.integers(0, config.value_groups - drive.n_dst + 1)),
    )
    return [
        replace(reset, operand=0),
        replace(reset, dst=drive.dst, n_dst=drive.n_dst, mode=STATIC, operand=0),
        drive,
        softmax_,
        replace(relay_, mode=SCALED | PLUS),
    ]


def _random_body(rng: np.random.Generator, config: EngineConfig, loops: int) -> list[Instruction]:
    """Up to six instructions, now and then in a loop of loops."""
    ops = sorted((WALK | SYNAPTIC | {Op.ARGMAX}) - (frozenset() if config.softmax else frozenset(MEMORY)))
    count, body = int(rng.integers(0, 5)), []
    for _ in range(int(rng.integers(0, 7))):
        if rng.random() < 0.1:
            body.append(Instruction(op=Op.HALT, mode=1))
        op = Op(int(rng.choice(ops)))
        instruction = random_instruction(rng, config, op)
        if op == Op.MARK:
            instruction = Instruction(
                op=op, dst=instruction.dst, n_dst=instruction.n_dst, count=int(rng.integers(0, 4))
            )
        body.append(instruction)
    if config.softmax and rng.random() < 0.4:
        body += random_recall(rng, config)
    if count and loops > 1 and rng.random() < 0.5:
        at = int(rng.integers(0, len(body) + 1))
        body[at:at] = _random_body(rng, config, loops - 1)
    if not count:
        return body
    # one in two may end early, from its first iteration on or later or never
    end = Instruction(
        op=Op.NEXT,
        mode=int(rng.choice([0, EARLY])) | int(rng.integers(0, 8)) << 1,
        count=int(rng.integers(0, count + 2)),
    )
    return [Instruction(op=Op.REPEAT, count=count), *body, end]


def random_program(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """Up to as many instructions as fit, with loops, conditional marks and conditional halts, ended by HALT."""
    most = config.program_words // WORDS - 4
    program: list[Instruction] = []
    for _ in range(int(rng.integers(1, 5))):
        body = _random_body(rng, config, config.loops)
        if len(program) + len(body) > most:
            break
        program += body
    return [*program, Instruction(op=Op.HALT)]
