"""Instruction, event and command layouts, and decoding; encodings as in equilif_golden.engine.isa."""

from __future__ import annotations

from amaranth import Const, Shape, Value

from equilif_golden.blocks.plasticity import DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.geometry import SIDE
from equilif_golden.engine.isa import FIELDS, ON_STATES, SYNAPTIC, LearnMode, Op, SourceMode, StateMode
from equilif_hdl.typed import Fields, Layout


class Instruction(Fields):
    """A view of INSTRUCTION."""

    op: Value
    mode: Value
    shift: Value
    src: Value
    count: Value
    gain: Value
    operand: Value
    dst: Value
    n_dst: Value
    n_src: Value


INSTRUCTION: Layout[Instruction] = Layout({name: Shape(width, signed) for name, width, signed in FIELDS})


def group_bits(config: EngineConfig) -> int:
    return (config.value_groups - 1).bit_length()


def lane_bits(config: EngineConfig) -> int:
    return (config.lanes - 1).bit_length()


def tile_bits(config: EngineConfig) -> int:
    return (config.tiles - 1).bit_length()


def event_tile_bits(config: EngineConfig) -> int:
    """Bits of a tile before the mover, which may be external."""
    return (config.all_tiles - 1).bit_length()


#: bits of a number of positions along an axis
SIDE_BITS = SIDE.bit_length()


def is_one_of(op: Value, *ops: Op) -> Value:
    return op.matches(*(o.code for o in ops))


def has_mode(ins: Instruction, bit: int) -> Value:
    return ins.mode[bit.bit_length() - 1]


def convolves(ins: Instruction) -> Value:
    """The instruction is CONVOLVE, in an engine with ``convolution``."""
    return (ins.op == Op.CONVOLVE.code) & has_mode(ins, Op.CONVOLVE.mode_bit)


def by_column(ins: Instruction, config: EngineConfig) -> Value:
    """The source is the `post` side of the synapse."""
    return ins.op.matches(int(Op.GATHER), *([int(Op.DRIVE)] if config.attention else [])) & has_mode(
        ins, SourceMode.COLUMN
    )


def stores(ins: Instruction) -> Value:
    """The instruction is a LEARN of mode STORE, in an engine with ``self_attention``."""
    return (ins.op == Op.LEARN) & has_mode(ins, LearnMode.STORE)


def on_second(ins: Instruction) -> Value:
    """The instruction works on the second state."""
    return is_one_of(ins.op, *ON_STATES) & has_mode(ins, StateMode.SECOND)


def is_external(ins: Instruction, config: EngineConfig) -> Value:
    """The instruction goes through external weights."""
    return is_one_of(ins.op, *sorted(SYNAPTIC)) & (ins.operand.as_unsigned() >= config.tiles)


def by_minus(ins: Instruction, config: EngineConfig) -> Value:
    """The source is V.minus."""
    return (ins.op == Op.DRIVE) & has_mode(ins, SourceMode.MINUS) if config.attention else Const(0)


def signed_values(ins: Instruction, config: EngineConfig, *, dst: bool = False) -> Value:
    """Values of the source (``dst``: of the destination of LEARN) are signed."""
    return (
        has_mode(ins, SourceMode.SIGNED_DST if dst else SourceMode.SIGNED) if config.attention else Const(0)
    )


class Walk(Fields):
    """A view of :func:`walk`.

    tile, dither    tile of the first target group; dither of row 0 of the source group

    With ``convolution``:

    first           first target group
    columns, rows   number of target positions along each axis
    new_position    the source is the first group of a position, except the first one
    """

    tile: Value
    dither: Value
    first: Value
    columns: Value
    rows: Value
    new_position: Value


def walk(config: EngineConfig) -> dict[str, int]:
    """Fields of the walk of a source: its start and extent."""
    where = {"first": group_bits(config), "columns": SIDE_BITS, "rows": SIDE_BITS, "new_position": 1}
    return {
        "tile": event_tile_bits(config),
        "dither": DITHER_WIDTH,
        **(where if config.convolution else {}),
    }


class Event(Walk):
    """A view of :func:`event`."""

    e: Value
    group: Value
    plus: Value
    minus: Value


def event(config: EngineConfig) -> Layout[Event]:
    """An active source neuron: its address, values and walk."""
    return Layout(
        {
            "e": lane_bits(config),
            "group": group_bits(config),
            "plus": 8,
            "minus": 8,
            **walk(config),
        }
    )


class LaneCommand(Fields):
    """A view of :func:`command`."""

    op: Value
    column: Value
    group: Value
    value_group: Value
    tile: Value
    e: Value
    scale: Value
    up: Value
    um: Value
    dither: Value
    rounded: Value
    second: Value
    static: Value


def command(config: EngineConfig) -> Layout[LaneCommand]:
    """Command of the lanes: one destination group in one cycle.

    ``rounded``: products are rounded to the nearest.  ``second``: on the second state.  With ``errors``
    or dual-port weights: ``static``, a RESET or NUDGE of B.
    """
    return Layout(
        {
            "op": 4,
            "column": 1,
            "group": group_bits(config),
            "value_group": group_bits(config),
            "tile": tile_bits(config),
            "e": lane_bits(config),
            "scale": Shape(10, True) if config.attention else 9,
            "up": Shape(16, True),
            "um": Shape(16, True),
            "dither": DITHER_WIDTH,
            "rounded": 1,
            "second": 1,
            **({"static": 1} if has_static(config) else {}),
        }
    )


def has_static(config: EngineConfig) -> bool:
    """Commands say whether they work on B; if not, the instruction of a RESET does."""
    return config.errors or not config.single_port
