"""Instructions by name: one function an operation, with the operands and modes of
equilif_golden.engine.isa.OPERATIONS.

    asm.step(groups, threshold=4096, leak=3)

``groups`` and ``sources`` are where neurons are (equilif_golden.engine.isa.Groups), ``tile`` is the first
tile of a synapse.
"""

from __future__ import annotations

from equilif_golden.engine.isa import Groups, Instruction, Op


# -- control ---------------------------------------------------------------------------------------
def halt(*, infer: bool = False) -> Instruction:
    return Instruction.of(Op.HALT, infer=infer)


def repeat(count: int) -> Instruction:
    return Instruction.of(Op.REPEAT, count=count)


def next_(*, left: int = 0, early: bool = False) -> Instruction:
    return Instruction.of(Op.NEXT, left=left, early=early)


# -- walks -----------------------------------------------------------------------------------------
def reset(groups: Groups, *, value: int, static: bool = False) -> Instruction:
    return Instruction.of(Op.RESET, groups=groups, value=value, static=static)


def nudge(groups: Groups, *, targets: Groups, strength: int) -> Instruction:
    return Instruction.of(Op.NUDGE, groups=groups, targets=targets, strength=strength)


def step(groups: Groups, *, threshold: int, leak: int) -> Instruction:
    return Instruction.of(Op.STEP, groups=groups, threshold=threshold, leak=leak)


def mark(groups: Groups, *, left: int = 0) -> Instruction:
    return Instruction.of(Op.MARK, groups=groups, left=left)


def measure(
    groups: Groups,
    *,
    shift: int,
    tolerance: int = 0,
    plus: bool = False,
    minus: bool = False,
    watch: bool = False,
) -> Instruction:
    return Instruction.of(
        Op.MEASURE, groups=groups, shift=shift, tolerance=tolerance, plus=plus, minus=minus, watch=watch
    )


def save(groups: Groups) -> Instruction:
    return Instruction.of(Op.SAVE, groups=groups)


def restore(groups: Groups) -> Instruction:
    return Instruction.of(Op.RESTORE, groups=groups)


def softmax(
    groups: Groups,
    *,
    values: Groups,
    shift: int,
    plus: bool = False,
    minus: bool = False,
    absolute: bool = False,
) -> Instruction:
    return Instruction.of(
        Op.SOFTMAX, groups=groups, values=values, shift=shift, plus=plus, minus=minus, absolute=absolute
    )


def relay(
    groups: Groups,
    *,
    values: Groups,
    shift: int,
    plus: bool = False,
    minus: bool = False,
    scaled: bool = False,
) -> Instruction:
    return Instruction.of(
        Op.RELAY, groups=groups, values=values, shift=shift, plus=plus, minus=minus, scaled=scaled
    )


# -- scans -----------------------------------------------------------------------------------------
def drive(
    sources: Groups,
    groups: Groups,
    *,
    tile: int,
    column: bool = False,
    minus: bool = False,
    signed: bool = False,
) -> Instruction:
    return Instruction.of(
        Op.DRIVE, sources=sources, groups=groups, tile=tile, column=column, minus=minus, signed=signed
    )


def gather(sources: Groups, groups: Groups, *, tile: int, column: bool = False) -> Instruction:
    return Instruction.of(Op.GATHER, sources=sources, groups=groups, tile=tile, column=column)


def learn(
    sources: Groups,
    groups: Groups,
    *,
    tile: int,
    gain: int,
    shift: int,
    signed: bool = False,
    signed_dst: bool = False,
) -> Instruction:
    return Instruction.of(
        Op.LEARN,
        sources=sources,
        groups=groups,
        tile=tile,
        gain=gain,
        shift=shift,
        signed=signed,
        signed_dst=signed_dst,
    )


def argmax(sources: Groups) -> Instruction:
    return Instruction.of(Op.ARGMAX, sources=sources)
