"""Random programs, valid and invalid, and random memory contents, for an engine of any size.

Programs cover equilif_golden.engine.isa.OPERATIONS: every operation, mode and operand; operands are at their
limits more often than by chance.  Unused fields are noise.

State space of a valid program: populations of any address and size that fit, adjacent and overlapping; nested
loops, conditional marks and halts; weights over the full range and near both limits; values and spikes dense,
sparse and absent; sums that wrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import EVERYTHING, has
from equilif_golden.engine.geometry import Geometry
from equilif_golden.engine.isa import (
    OPERATIONS,
    WORDS,
    Groups,
    Instruction,
    Kind,
    LearnMode,
    Number,
    Op,
    Operand,
    Span,
    Tiles,
    field_range,
    window_tiles,
)
from equilif_golden.fixed import Raw

SHORT = 4  #: maximum groups of an instruction, and iterations of a loop, for short runs


# -- memories --------------------------------------------------------------------------------------
def random_values(rng: np.random.Generator, config: EngineConfig) -> Raw:
    """(value_groups x P,) 8-bit values, a random part of them zero."""
    n = config.value_groups * config.lanes
    values = rng.choice([0, 1, 128, 254, 255], n) if rng.random() < 0.3 else rng.integers(0, 256, n)
    return np.asarray(
        values * (rng.random(n) < rng.choice([0.0, 0.1, 0.5, 1.0], p=[0.1, 0.3, 0.4, 0.2])), np.int64
    )


def random_weights(rng: np.random.Generator, config: EngineConfig) -> Raw:
    """Weight words x banks, of the chip and external."""
    fmt = config.numerics.weight
    shape = (config.all_tiles * config.lanes, config.lanes)
    match rng.integers(3):
        case 0:
            w = rng.integers(fmt.lo, fmt.hi + 1, shape)
        case 1:
            w = np.clip(rng.normal(0, config.numerics.one / 4, shape).astype(np.int64), fmt.lo, fmt.hi)
        case _:
            w = rng.choice([fmt.lo, fmt.lo + 1, -1, 0, 1, fmt.hi - 1, fmt.hi], shape)
    return np.asarray(w, np.int64)


# -- instructions ----------------------------------------------------------------------------------
def operations(config: EngineConfig) -> list[Op]:
    """Operations of an engine, without control flow."""
    return [
        op
        for op, o in OPERATIONS.items()
        if o.kind != Kind.CONTROL and (not o.feature or has(config, o.feature))
    ]


def random_number(rng: np.random.Generator, allowed: Sequence[int]) -> int:
    """One of ``allowed``; of a long range often a limit, or near zero."""
    if len(allowed) <= 64:
        return int(rng.choice(allowed))
    if rng.random() < 0.3:
        return int(rng.choice([n for n in (allowed[0], -1, 0, 1, 255, 256, allowed[-1]) if n in allowed]))
    reach = 1 << int(rng.integers(1, 17))
    return int(rng.integers(max(allowed[0], -reach), min(allowed[-1], reach) + 1))


def random_place(rng: np.random.Generator, n: int, size: int) -> int:
    """First of ``n`` in ``size``: often at a limit."""
    return int(rng.choice([0, size - n, int(rng.integers(0, size - n + 1))], p=[0.2, 0.2, 0.6]))


def random_instruction(
    rng: np.random.Generator, config: EngineConfig, op: Op, *, groups: int = SHORT, **numbers: int
) -> Instruction:
    """A valid instruction of up to ``groups`` groups on each side, in a loop of up to SHORT iterations.

    ``numbers``: fixed operands.
    """
    operation = OPERATIONS[op]
    fields: dict[str, Any] = {"op": op}
    for name in ("shift", "src", "count", "gain", "operand", "dst", "n_dst", "n_src"):
        possible = field_range(name)
        fields[name] = int(rng.integers(possible[0], possible[-1] + 1)) * int(rng.integers(2))
    fields["mode"] = int(rng.integers(0, 16))
    fields["mode"] %= len(op.modes)
    if operation.modes_need and not has(config, operation.modes_need):
        fields["mode"] = 0
    spans = [operand for operand in operation.operands.values() if isinstance(operand, Span)]
    room = config.tiles if "tile" in operation.operands else groups**2
    for name in sorted({span.n for span in spans}):
        size = min(getattr(config, span.memory) for span in spans if span.n == name)
        fields[name] = int(rng.integers(1, min(groups, size, room) + 1))
        room //= fields[name]
    for name, operand in operation.operands.items():
        if name in numbers:
            fields |= operand.fields(numbers[name])  # type: ignore[arg-type]
        elif isinstance(operand, Number):
            # a comparison with iterations must sometimes match, and rows must be shorter than all groups
            allowed = range(SHORT + 2) if operand.in_loop or operand.of_groups else operand.allowed
            fields |= operand.fields(random_number(rng, allowed))
        elif isinstance(operand, Span):
            size = getattr(config, operand.memory)
            fields[operand.first] = random_place(rng, fields[operand.n], size)
        else:
            shape = Geometry(fields["n_src"], fields["n_dst"], 1, 1, 1, 1, 1)
            fields |= _random_tile(rng, config, operand, Instruction(**fields), shape)
    return Instruction(**fields)


def _random_tile(
    rng: np.random.Generator, config: EngineConfig, operand: Tiles, i: Instruction, shape: Geometry
) -> dict[str, int]:
    """Fields of the first tile, and the mode if that is an external one."""
    window = window_tiles(shape, backwards=i.backwards)
    fits = config.external and shape.tiles <= config.external.tiles and window <= config.tiles
    if config.external and fits and rng.random() < 0.6:
        mode = i.mode & ~LearnMode.STORE if i.op == Op.LEARN else i.mode
        return operand.fields(config.tiles + random_place(rng, shape.tiles, config.external.tiles)) | {
            "mode": int(mode)
        }
    return operand.fields(random_place(rng, shape.tiles, config.tiles))


def random_geometry(
    rng: np.random.Generator,
    most_pre: int,
    most_post: int,
    tiles: int,
    groups: Sequence[int] = (1, 1, 2, 3),
) -> Geometry:
    """A geometry that fits the given groups and tiles: kernels that overlap, touch, leave gaps or coincide;
    maps of one row, column or position; sometimes long ones.  ``groups``: groups of a position.
    """

    def some(short: int, longest: int) -> int:
        return int(rng.integers(1, short) if rng.random() < 0.9 else rng.integers(short, longest + 1))

    while True:
        pre, post = rng.choice(groups, 2).tolist()
        rows, columns, *kernel = (1 if rng.random() < 0.3 else some(6, 63) for _ in range(4))
        geometry = Geometry(pre, post, rows, columns, kernel[0], kernel[1], some(6, 32) - 1)
        if geometry.n_pre <= most_pre and geometry.n_post <= most_post and geometry.tiles <= tiles:
            return geometry


def independent(config: EngineConfig) -> list[Op]:
    """Operations that set no condition for the next instruction."""
    return [op for op in operations(config) if op != Op.CONVOLVE]


def random_convolution(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """A CONVOLVE and its instruction."""
    op = Op(int(rng.choice([Op.DRIVE, Op.GATHER, Op.LEARN])))
    i = random_instruction(rng, config, op, groups=1)
    spans = i.operation.operands
    sizes = {name: getattr(config, o.memory) for name, o in spans.items() if isinstance(o, Span)}
    pre, post = ("groups", "sources") if i.backwards else ("sources", "groups")
    geometry = random_geometry(rng, sizes[pre], sizes[post], config.tiles)
    if config.external and i.backwards:
        geometry = geometry._replace(kernel_rows=1)
    n = {pre: geometry.n_pre, post: geometry.n_post}
    fields: dict[str, Any] = {}
    for name, operand in spans.items():
        if isinstance(operand, Span):
            fields |= operand.fields(Groups(random_place(rng, n[name], sizes[name]), n[name]))
        elif isinstance(operand, Tiles):
            fields |= _random_tile(rng, config, operand, i, geometry)
    return [Op.CONVOLVE(**geometry._asdict()), replace(i, **fields)]


def random_recall(rng: np.random.Generator, config: EngineConfig) -> list[Instruction]:
    """Retrieval: scores from a single DRIVE, so that some are close, their softmax, and a scaled relay."""
    drive, softmax, relay = (random_instruction(rng, config, op) for op in (Op.DRIVE, Op.SOFTMAX, Op.RELAY))
    scores = drive.groups("groups")
    codes = Groups(random_place(rng, scores.n, config.value_groups), scores.n)
    return [
        Op.RESET(random_instruction(rng, config, Op.RESET).groups("groups"), value=0),
        Op.RESET(scores, value=0, static=True),
        drive,
        replace(softmax, dst=scores.first, n_dst=scores.n, src=codes.first),
        Op.RELAY(
            relay.groups("groups"),
            values=relay.groups("values"),
            shift=relay["shift"],
            plus=True,
            scaled=True,
        ),
    ]


# -- programs --------------------------------------------------------------------------------------
def _random_body(
    rng: np.random.Generator, config: EngineConfig, loops: int, groups: int
) -> list[Instruction]:
    """Up to six instructions, sometimes in nested loops."""
    ops = operations(config)
    body: list[Instruction] = []
    for _ in range(int(rng.integers(0, 7))):
        if rng.random() < 0.1:
            body.append(Op.HALT(infer=True))
        op = ops[int(rng.integers(len(ops)))]
        if op == Op.CONVOLVE:
            body += random_convolution(rng, config)
        else:
            body.append(random_instruction(rng, config, op, groups=groups))
    if config.attention and rng.random() < 0.4:
        body += random_recall(rng, config)
    count = int(rng.integers(0, SHORT + 1))
    if count and loops > 1 and rng.random() < 0.5:
        free = [k for k in range(len(body) + 1) if not k or body[k - 1].op != Op.CONVOLVE]
        at = free[int(rng.integers(len(free)))]
        body[at:at] = _random_body(rng, config, loops - 1, groups)
    if not count:
        return body
    begin = random_instruction(rng, config, Op.REPEAT, count=count)
    return [begin, *body, random_instruction(rng, config, Op.NEXT)]


def random_program(
    rng: np.random.Generator, config: EngineConfig, *, groups: int = SHORT, most: int | None = None
) -> list[Instruction]:
    """A valid program of up to ``most`` instructions (default: as many as fit), with HALT at the end."""
    room = config.program_words // WORDS if most is None else most
    program: list[Instruction] = []
    for _ in range(int(rng.integers(1, 5))):
        body = _random_body(rng, config, config.loops, groups)
        if len(program) + len(body) >= room:
            break
        program += body
    return [*program, Op.HALT()]


# -- errors ----------------------------------------------------------------------------------------
def at_limits(
    i: Instruction, config: EngineConfig, *, wrong: bool, geometry: Geometry | None = None
) -> Iterator[Instruction]:
    """The instruction with one operand at its last valid value or, ``wrong``, at its first invalid one.

    ``geometry``: of the CONVOLVE before it.
    """
    tiles = i.n_src * i.n_dst if geometry is None else geometry.tiles
    for operand in i.operation.operands.values():
        for fields in _limits(operand, i, config, tiles, wrong):
            if all(value in field_range(field) for field, value in fields.items()):
                yield replace(i, **fields)


def _limits(
    operand: Operand, i: Instruction, config: EngineConfig, tiles: int, wrong: bool
) -> Iterator[dict[str, Any]]:
    if isinstance(operand, Number):
        allowed = operand.allowed
        ends = {allowed[0], allowed[-1]} if isinstance(allowed, range) else set(allowed)
        near = {end + step for end in ends for step in (-1, 0, 1)}
        yield from (operand.fields(n) for n in sorted(near) if (n not in allowed) == wrong)
        return
    size = getattr(config, operand.memory)
    if isinstance(operand, Span):
        n = getattr(i, operand.n)
        yield {operand.first: size - n + wrong}
        if wrong:
            yield {operand.n: 0}
            yield {operand.first: 0, operand.n: size + 1}
    else:
        # the tile after the last one on the chip may be an external one
        if i.is_external(config) or wrong and tiles == 1:
            size = config.all_tiles
        yield operand.fields(size - tiles + wrong)


def lacking(config: EngineConfig) -> list[Instruction]:
    """Operations and modes that this engine lacks."""
    full = replace(config, **EVERYTHING)
    rng = np.random.default_rng(0)
    found = []
    for op, o in OPERATIONS.items():
        # a code of 5 bits is another operation for an engine that lacks it
        if o.feature and not has(config, o.feature) and not op.mode_bit:
            found.append(random_instruction(rng, full, op))
        if o.modes_need and not has(config, o.modes_need):
            found += [
                replace(random_instruction(rng, full, op), mode=1 << bit)
                for bit in range(4)
                if 1 << bit in op.modes
            ]
    return found


def spoil(
    rng: np.random.Generator, program: Sequence[Instruction], config: EngineConfig
) -> tuple[list[Instruction], int]:
    """A program with one error, and the index that check must return: of the invalid instruction, or the
    number of instructions if only the end is invalid.
    """
    good = list(program)
    n = len(program)
    at = int(rng.integers(n))
    depth = sum((i.op == Op.REPEAT) - (i.op == Op.NEXT) for i in good[:at])
    absent = lacking(config)
    match int(rng.integers(8)):
        case 0:
            return good[:-1], n - 1
        case 1:
            return [*good[:-1], Op.HALT(infer=True)], n
        case 2:
            room = config.program_words // WORDS
            return [*good[:-1], *[Op.HALT()] * (room + 2 - n)], room
        case 3 if not depth:
            return [*good[:at], Op.NEXT(), *good[at:]], at
        case 3:
            # between a CONVOLVE and its instruction the first one is wrong already
            deeper = config.loops - depth
            first = 0 if at and good[at - 1].op == Op.CONVOLVE else deeper
            return [*good[:at], *[Op.REPEAT(1)] * (deeper + 1), *good[at:]], at + first
        case 4 if absent:
            return [*good[:at], absent[int(rng.integers(len(absent)))], *good[at:]], at
    before = [None, *(i.geometry if i.op == Op.CONVOLVE else None for i in good)]
    wrong = [
        (k, j)
        for k, (i, geometry) in enumerate(zip(good, before, strict=False))
        for j in at_limits(i, config, wrong=True, geometry=geometry)
    ]
    if not wrong:
        return [Op.NEXT(), *good], 0
    at, instruction = wrong[int(rng.integers(len(wrong)))]
    return [*good[:at], instruction, *good[at + 1 :]], at
