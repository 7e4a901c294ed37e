"""Instruction set of the engine: the single table from which assembler, engine model, RTL decoder and host
checks are made.

An instruction is 96 bits, three 32-bit words of program memory, low word first.  Neurons are addressed in
groups of P lanes; one numbering serves values, membranes and spikes, so a population is (first group,
number of groups).  LIF populations live in the groups that have membranes (0 .. state_groups-1), clamped
ones anywhere in 0 .. value_groups-1.

Values are 8 bits, unsigned unless an instruction says otherwise: relays hold signed ones.

    walk instructions go through the groups of ``dst``, one a cycle scan instructions go through the
    non-zero neurons of ``src`` and, for each, through the groups of ``dst``

With ``EngineConfig.early`` a loop may end early.  A MEASURE of mode WATCH notes that something has
*moved* when a rate differs from V.plus of the same neuron, as it was before, by more than `gain`; a NEXT
of mode EARLY decides by that note and clears it.  `count` of the NEXT is compared with the iterations
left, its own included, as REPEAT counts them.  A run begins with nothing moved.  Other engines ignore
both modes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.fixed import Raw


class Op(IntEnum):
    """Operations.  ``A`` membrane with gathered input, ``B`` static drive, ``Q`` charge, ``S`` spikes, ``V``
    values.
    """

    HALT = 0  #: stop; with mode INFER only when the run is an inference
    REPEAT = 1  #: run up to the matching NEXT `count` times; nests EngineConfig.loops deep
    #: mode EARLY: leave the loop also with `count` iterations left or fewer, if nothing has moved since
    #: the last such NEXT
    NEXT = 2
    RESET = 3  #: walk  A = operand, S = 0; with mode STATIC  B = operand
    NUDGE = 4  #: walk  A += operand * (V.plus at `src` - 256 S) >> 8
    STEP = 5  #: walk  LIF step of A + B: threshold `gain` (a power of two), leak `shift`; Q += gain * S
    MARK = 6  #: walk  Q = -A
    #: walk  rate from Q + A, shifted by `shift`, to V.plus and/or V.minus (mode PLUS, MINUS); WATCH:
    #: compares, see below
    MEASURE = 7
    SAVE = 8  #: walk  keep A and S aside
    RESTORE = 9  #: walk  bring them back
    DRIVE = 10  #: scan  B += (V.plus * W) >> 8               modes COLUMN; MINUS: V.minus; SIGNED
    #: scan  A += S * W                           mode COLUMN: src is the `post` side of the synapse
    GATHER = 11
    #: scan  EP update with `gain`, `shift`       modes SIGNED: values of src, SIGNED_DST: of dst
    LEARN = 12
    ARGMAX = 13  #: scan  prediction = first neuron of largest V.plus (0 when all are zero)
    #: walk  V at `src` = codes of the softmax of B where A >= 0, `shift`; keeps their exponent.  PLUS,
    #: MINUS, ABSOLUTE
    SOFTMAX = 14
    #: walk  V at `src` = B >> `shift`, signed; SCALED: >> the exponent of the last SOFTMAX too.  PLUS,
    #: MINUS
    RELAY = 15


WALK = frozenset(
    {Op.RESET, Op.NUDGE, Op.STEP, Op.MARK, Op.MEASURE, Op.SAVE, Op.RESTORE, Op.SOFTMAX, Op.RELAY}
)
SCAN = frozenset({Op.DRIVE, Op.GATHER, Op.LEARN, Op.ARGMAX})
SYNAPTIC = frozenset({Op.DRIVE, Op.GATHER, Op.LEARN})

COLUMN = INFER = PLUS = STATIC = EARLY = 1  #: mode bits, by operation
MINUS = 2
SIGNED = ABSOLUTE = SCALED = WATCH = 4
SIGNED_DST = 8

#: field, width, signed; packed from bit 0 upwards
FIELDS: tuple[tuple[str, int, bool], ...] = (
    ("op", 4, False),
    ("mode", 4, False),
    ("shift", 5, False),
    ("src", 10, False),
    ("count", 9, False),
    ("gain", 16, False),
    ("operand", 16, True),
    ("dst", 10, False),
    ("n_dst", 11, False),
    ("n_src", 11, False),
)
WORDS = 3
THRESHOLD_MAX = 1 << 14
assert sum(width for _, width, _ in FIELDS) == 32 * WORDS


@dataclass(frozen=True, kw_only=True)
class Instruction:
    op: Op
    mode: int = 0
    shift: int = 0
    src: int = 0
    count: int = 0
    gain: int = 0
    operand: int = 0
    dst: int = 0
    n_dst: int = 0
    n_src: int = 0

    def encode(self) -> int:
        """96-bit code; ValueError when a field does not fit."""
        code, at = 0, 0
        for name, width, signed in FIELDS:
            value = int(getattr(self, name))
            lo, hi = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
            if not lo <= value <= hi:
                raise ValueError(f"{self.op.name}: {name} must lie in {lo}..{hi}, not {value}")
            code |= (value & ((1 << width) - 1)) << at
            at += width
        return code

    @classmethod
    def decode(cls, code: int) -> Instruction:
        values: dict[str, Any] = {}
        at = 0
        for name, width, signed in FIELDS:
            value = code >> at & ((1 << width) - 1)
            values[name] = value - (1 << width) if signed and value >> (width - 1) else value
            at += width
        return cls(**{**values, "op": Op(values["op"])})

    @property
    def tile(self) -> int:
        """First tile of the synapse (the operand, unsigned)."""
        return self.operand & 0xFFFF

    def problem(self, config: EngineConfig) -> str | None:
        """Why an engine of this size cannot execute the instruction, or None."""

        def outside(first: int, n: int, size: int, what: str) -> str | None:
            return (
                None
                if n >= 1 and first + n <= size
                else f"{what} {first}..{first + n - 1} are not in 0..{size - 1}"
            )

        found: str | None = None
        if self.op in WALK:
            found = outside(self.dst, self.n_dst, config.state_groups, "groups")
            if self.op in (Op.NUDGE, Op.SOFTMAX, Op.RELAY):
                found = found or outside(self.src, self.n_dst, config.value_groups, "value groups")
        elif self.op in SCAN:
            found = outside(
                self.src,
                self.n_src,
                config.state_groups if self.op == Op.GATHER else config.value_groups,
                "source groups",
            )
            if self.op in SYNAPTIC:
                found = found or outside(
                    self.dst,
                    self.n_dst,
                    config.value_groups if self.op == Op.LEARN else config.state_groups,
                    "groups",
                )
                found = found or outside(self.tile, self.n_src * self.n_dst, config.tiles, "tiles")
        elif self.op == Op.REPEAT and not self.count:
            found = "count is zero"
        if self.op == Op.LEARN and (self.shift not in SHIFTS or self.gain > GAIN_MAX):
            found = found or f"gain {self.gain} and shift {self.shift} are no learning rate"
        elif self.op == Op.STEP and (not 0 < self.gain <= THRESHOLD_MAX or self.gain & (self.gain - 1)):
            found = found or f"threshold {self.gain} is not a power of two up to {THRESHOLD_MAX}"
        if self.op == Op.STEP and self.shift not in LEAKS:
            found = found or f"leak {self.shift} is not one of {LEAKS}"
        elif self.op == Op.MEASURE and self.shift not in RATE_SHIFTS:
            found = found or f"shift {self.shift} is not in {RATE_SHIFTS[0]}..{RATE_SHIFTS[-1]}"
        elif self.op in (Op.SOFTMAX, Op.RELAY) and self.shift not in (
            softmax.SHIFTS if self.op == Op.SOFTMAX else relay.SHIFTS
        ):
            found = found or f"shift {self.shift} is not possible"
        if not config.softmax and (
            self.op in (Op.SOFTMAX, Op.RELAY) or self.op in (Op.DRIVE, Op.LEARN) and self.mode
        ):
            found = "this engine is built without memories (EngineConfig.softmax)"
        return f"{self.op.name}: {found}" if found else None


class ProgramError(ValueError):
    """A program that an engine cannot run; the message names the instruction."""


def check(program: Iterable[Instruction], config: EngineConfig) -> None:
    """ProgramError unless the program fits the engine, its loops close and nest no deeper than it can, and
    it ends with an unconditional HALT.
    """
    program = list(program)
    if len(program) * WORDS > config.program_words:
        raise ProgramError(
            f"{len(program)} instructions need {len(program) * WORDS} program words, there are {config.program_words}"
        )
    depth, most = 0, config.loops
    for at, instruction in enumerate(program):
        problem = instruction.problem(config)
        if instruction.op == Op.REPEAT:
            problem = problem or (f"REPEAT inside {most} others" if depth == most else None)
            depth += 1
        elif instruction.op == Op.NEXT:
            problem = problem or (None if depth else "NEXT without REPEAT")
            depth -= 1
        if problem:
            raise ProgramError(f"instruction {at}: {problem}")
    if depth or not program or program[-1].op != Op.HALT or program[-1].mode:
        raise ProgramError("a program must close its loops and end with an unconditional HALT")


def assemble(program: Iterable[Instruction]) -> Raw:
    """32-bit program words."""
    codes = [i.encode() for i in program]
    return np.array([c >> (32 * k) & 0xFFFFFFFF for c in codes for k in range(WORDS)], np.int64)


def disassemble(words: Raw) -> list[Instruction]:
    codes = [
        sum(int(w) << (32 * k) for k, w in enumerate(words[at : at + WORDS]))
        for at in range(0, len(words), WORDS)
    ]
    return [Instruction.decode(c) for c in codes]
