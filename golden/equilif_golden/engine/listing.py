"""Listings of programs, and the generated pages docs/reference/instructions.md and programs.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import FEATURES, OPTIONS
from equilif_golden.engine.isa import (
    FIELDS,
    OPERATIONS,
    WORDS,
    Groups,
    Instruction,
    Memory,
    Number,
    Op,
    Operand,
    Span,
    Tiles,
    flag_name,
)
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.placement import Placement
from equilif_golden.network import Network

WIDTH = 110  #: of a page's text


# -- listing ---------------------------------------------------------------------------------------
def depths(program: Iterable[Instruction]) -> Iterator[int]:
    """Number of loops around each instruction."""
    depth = 0
    for i in program:
        depth -= i.op == Op.NEXT
        yield depth
        depth += i.op == Op.REPEAT


def where(i: Instruction, names: Placement | None = None) -> str:
    """The neurons that an instruction goes through, by name when the places of a network are given."""

    def text(groups: Groups) -> str:
        if names is not None:
            return names.name_of(groups)
        return f"{groups.first}..{groups.first + groups.n - 1}"

    spans = {name: value for name, value in i.operands.items() if isinstance(value, Groups)}
    ends = [text(spans.pop(name)) for name in ("sources", "groups") if name in spans]
    others = [f"{name} {text(value)}" for name, value in spans.items()]
    return ", ".join([" -> ".join(ends), *others])


def details(i: Instruction, names: Placement | None = None) -> str:
    """List the other operands and the modes."""
    parts = []
    for name, operand in i.operation.operands.items():
        value = operand.read(i)
        if isinstance(operand, Tiles) and names is not None:
            parts.append(names.synapse_of(i[name]))
        elif not isinstance(operand, Span) and value != getattr(operand, "default", None):
            parts.append(f"{name} {value}")
    return ", ".join([*parts, *map(flag_name, i.modes)])


def listing(program: Sequence[Instruction], names: Placement | None = None) -> str:
    """A line an instruction: its number, the operation, where, and the rest; loops are indented."""
    heads = [
        f"{at:>{len(str(len(program)))}}  {'    ' * depth}{i.op.name.lower():<8} {where(i, names)}".rstrip()
        for at, (i, depth) in enumerate(zip(program, depths(program), strict=True))
    ]
    width = max(map(len, heads), default=0)
    lines = (f"{head:<{width}}  {details(i, names)}" for head, i in zip(heads, program, strict=True))
    return "\n".join(line.rstrip() for line in lines)


def records(program: Sequence[Instruction], names: Placement | None = None) -> list[dict[str, Any]]:
    """The same as data: operands by name, groups with their first and number, and what they hold."""
    found = []
    for at, (i, depth) in enumerate(zip(program, depths(program), strict=True)):
        operands: dict[str, Any] = {}
        for name, value in i.operands.items():
            if isinstance(value, Groups):
                held = {} if names is None else {"name": names.name_of(value)}
                operands[name] = {"first": value.first, "n": value.n, **held}
            else:
                operands[name] = value
        code = i.encode()
        found.append(
            {
                "index": at,
                "depth": depth,
                "operation": i.op.name,
                "operands": operands,
                "modes": [flag_name(flag) for flag in i.modes],
                "words": [code >> (32 * k) & 0xFFFFFFFF for k in range(WORDS)],
            }
        )
    return found


def carried_out(program: Sequence[Instruction], config: EngineConfig, *, learn: bool) -> int:
    """Instructions that walk or scan in a run; where loops have no fixed length, the most."""
    return sum(1 for _ in EngineModel(config, program).trace(learn=learn, longest=True))


# -- manual ----------------------------------------------------------------------------------------
INSTRUCTIONS = """\
# Instructions

The instruction set of the engine, for readers of programs and developers of the engine. Generated from
`golden/equilif_golden/engine/isa.py` by `python -m equilif_golden.engine.listing`.

[Programs](programs.md) explains memories, rules and encoding. `equilif_golden.engine.isa.Op` creates
instructions, as in `Op.STEP(groups, threshold=4096, leak=3)`. A mode is one bit of the field `mode`.

{operations}
"""

PROGRAMS = """\
# Programs

Memories, rules and encoding of the engine's programs, with an example. For readers of programs and developers
of the engine. Generated from `golden/equilif_golden/engine/isa.py` by
`python -m equilif_golden.engine.listing`.

The engine runs a network as a program. `equilif program network.npz` lists the program of a network, and
`equilif_golden.engine.model.EngineModel` runs programs. [Instructions](instructions.md) has the operations.

## Memories

The engine processes P neurons at a time, one per *lane*. P neurons are a *group*, and P x P weights are a
*tile*.

| memory | content | size |
| --- | --- | --- |
| A, A' | membrane with accumulated input; saved copy | `state_groups` |
| B | static drive: input that is constant over many time steps | `state_groups` |
| Q | charge, from which a rate is computed | `state_groups` |
| S, S' | spikes of the last time step; saved copy | `state_groups` |
| V+, V- | 8-bit values and rates, at +beta and at -beta | `value_groups` |
| W | weights | `tiles` |

All memories share one numbering of groups; neurons with membranes are in the first `state_groups` of them.

## Kinds of operations

* A *control* operation steers the program.
* A *walk* visits the groups of its destination, one per cycle.
* A *scan* visits the non-zero neurons of its source and, for each of them, the groups of its destination.
* A *prefix* modifies the next instruction.

## Rules

A program starts at its first instruction and ends at a HALT. Its last instruction is a HALT without a mode.
Every REPEAT has a NEXT. Loops nest {deep} deep on engines with {nesting}, and {plain} deep on others.

A program that breaks a rule is rejected as a whole, with the number of the first invalid instruction, and the
previous program remains loaded.

## Encoding

An instruction has {bits} bits, {words} words of 32 bits, least significant word first. A mode is one bit of
the field `mode`, given by its position in that field. Unused fields and bits are ignored.

{fields}

## Example

The program of `Network.chain(4, 3, 2)` on an engine of four lanes, at a learning rate of 0.05:

    {example}
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |".replace("  ", " ") for line in lines)


def _fields(operand: Operand) -> str:
    names = [operand.first, operand.n] if isinstance(operand, Span) else [_field(operand)]
    return ", ".join(f"`{name}`" for name in names)


def _field(operand: Number | Tiles) -> str:
    return operand.field if isinstance(operand, Number) else operand.first


def _may_be(operand: Operand) -> str:
    if isinstance(operand, Number):
        return operand.limits
    return {
        Memory.STATES: "groups with membranes",
        Memory.VALUES: "groups",
        Memory.TILES: "as many tiles as sources times groups",
    }[operand.memory]


def _operation(op: Op) -> str:
    o = OPERATIONS[op]
    fifth = f" with bit {op.mode_bit.bit_length() - 1} of `mode` set" if op.mode_bit else ""
    text = f"Code {op.code}{fifth}, {o.kind}. {o.text}"
    touched = [
        f"{verb} {', '.join(memories)}"
        for verb, memories in (("reads", o.does.reads), ("writes", o.does.writes + o.last.writes))
        if memories
    ]
    if touched:
        text += f" It {' and '.join(touched)}."
    if o.feature:
        text += f" Only engines with {FEATURES[o.feature].label} have it."
    if o.modes_need:
        text += f" Only engines with {FEATURES[o.modes_need].label} take modes."
    parts = [f"## {op.name}", textwrap.fill(text, WIDTH)]
    if o.operands:
        rows = [(f"`{name}`", _fields(x), _may_be(x), x.text) for name, x in o.operands.items()]
        parts.append(_table(("operand", "field", "values", "meaning"), rows))
    if o.modes:
        parts.append(
            _table(
                ("mode", "bit of `mode`", "effect"),
                [(flag.name, int(flag).bit_length() - 1, mode.text) for flag, mode in o.modes.items()],
            )
        )
    return "\n\n".join(parts)


def instructions_page() -> str:
    """docs/reference/instructions.md"""
    return INSTRUCTIONS.format(operations="\n\n".join(map(_operation, Op)))


def programs_page() -> str:
    """docs/reference/programs.md"""
    at = 0
    fields = []
    for name, width, signed in FIELDS:
        fields.append((f"`{name}`", f"{at}-{at + width - 1}", "signed" if signed else ""))
        at += width
    compiled = Compiled(Network.chain(4, 3, 2), EngineConfig(lanes=4))
    return PROGRAMS.format(
        deep=EngineConfig(attention=True).loops,
        plain=EngineConfig(attention=False).loops,
        nesting=" or ".join(option.label for option in OPTIONS.values() if option.nests),
        bits=32 * WORDS,
        words=WORDS,
        fields=_table(("field", "bits", ""), fields),
        example=listing(compiled.program(0.05), compiled).replace("\n", "\n    "),
    )


PAGES = {"instructions": instructions_page, "programs": programs_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        Path("docs", "reference", f"{name}.md").write_text(page())
