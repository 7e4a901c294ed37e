"""Instruction set of the engine.

Operations have named operands and modes.  :data:`OPERATIONS` defines their place in the code, their values
and their effects.  It is the source of the check of a program (:func:`check`), the checker in the RTL, random
programs for the benches, listings (equilif_golden.engine.listing), the activity counts of a run
(equilif_golden.engine.activity) and docs/reference/instructions.md.

Calling an operation makes an instruction:

    Op.STEP(groups, threshold=4096, leak=3)

An instruction is 96 bits, three 32-bit words of program memory, low word first.  Neurons are addressed in
groups of P lanes, and one numbering serves membranes, spikes and values, so a population is
:class:`Groups`.  Only the first ``state_groups`` have membranes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum
from typing import Any, NamedTuple

import numpy as np

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig, Unlimited
from equilif_golden.engine.features import FEATURES
from equilif_golden.engine.geometry import MAX_STRIDE, SIDE, Geometry
from equilif_golden.fixed import Raw, check_int, integers

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
WORDS = 3  #: of 32 bits, an instruction
#: codes of 5 bits have the last one in ``mode``, where the operation of the other four has no mode
MODE_BIT = 8
assert sum(width for _, width, _ in FIELDS) == 32 * WORDS


def field_range(name: str) -> range:
    """Every value that a field can hold."""
    width, signed = next((width, signed) for other, width, signed in FIELDS if other == name)
    return range(-(1 << (width - 1)), 1 << (width - 1)) if signed else range(1 << width)


class Op(IntEnum):
    """Operations and their codes; called with operands and modes, one makes an instruction."""

    HALT = 0
    REPEAT = 1
    NEXT = 2
    RESET = 3
    NUDGE = 4
    STEP = 5
    MARK = 6
    MEASURE = 7
    SAVE = 8
    RESTORE = 9
    DRIVE = 10
    GATHER = 11
    LEARN = 12
    ARGMAX = 13
    SOFTMAX = 14
    RELAY = 15
    CONVOLVE = 16 + DRIVE

    @property
    def code(self) -> int:
        """Code in the field ``op``."""
        return self & 15

    @property
    def mode_bit(self) -> int:
        """Opcode bit 4, stored in the field ``mode``."""
        return MODE_BIT * (self >> 4)

    @property
    def modes(self) -> range:
        """Possible values of the field ``mode``."""
        return range(MODE_BIT if self.code in _LONGER else 2 * MODE_BIT)

    def __call__(self, *operands: int | Groups, **named: Any) -> Instruction:
        """Operands in the order of :data:`OPERATIONS` or by name, modes by name (true or false).

        An operand is a number, :class:`Groups` or a first tile.  One with a default may be omitted.
        TypeError unless they are those of the operation.  ValueError when groups that lie side by side
        differ in number.
        """
        operation = OPERATIONS[self]
        mode = 0
        for flag in operation.modes:
            mode |= flag if named.pop(flag_name(flag), False) else 0
        given = dict(zip(operation.operands, operands, strict=False))
        values = operation.defaults | given | named
        if values.keys() != operation.operands.keys() or given.keys() & named or len(given) < len(operands):
            passed = ", ".join([*map(str, operands), *named])
            raise TypeError(f"{self.name} has {', '.join(operation.names)}, not {passed}")
        fields: dict[str, int] = {}
        for name, operand in operation.operands.items():
            for at, value in operand.fields(values[name]).items():
                if fields.setdefault(at, value) != value:
                    raise ValueError(f"{self.name}: {name} must be {fields[at]} groups, not {value}")
        return Instruction(op=self, mode=mode, **fields)


class Kind(StrEnum):
    """Kind of an operation: its way through the neurons."""

    #: in the sequencer
    CONTROL = "control"
    #: through the groups of the destination, one a cycle
    WALK = "walk"
    #: through the neurons of the source that are not zero and, for each, through the destination
    SCAN = "scan"
    #: parameters of the next instruction
    PREFIX = "prefix"


class Memory(StrEnum):
    """Memory that an operand addresses; the value names its size in EngineConfig."""

    STATES = "state_groups"
    VALUES = "value_groups"
    TILES = "tiles"


class HaltMode(IntFlag):
    INFER = 1


class NextMode(IntFlag):
    EARLY_EXIT = 1


class ResetMode(IntFlag):
    STATIC = 1


class NudgeMode(IntFlag):
    STATIC = 1


class StateMode(IntFlag):
    """State on which GATHER, NUDGE, STEP, MARK and MEASURE work."""

    SECOND = 8


class SourceMode(IntFlag):
    """Mode in which DRIVE, GATHER and LEARN read their source."""

    COLUMN = 1
    MINUS = 2
    SIGNED = 4
    SIGNED_DST = 8


class LearnMode(IntFlag):
    STORE = 1


class ResultMode(IntFlag):
    """Memory that MEASURE, SOFTMAX and RELAY write."""

    PLUS = 1
    MINUS = 2


class MeasureMode(IntFlag):
    WATCH = 4


class SoftmaxMode(IntFlag):
    ABSOLUTE = 4
    FINE = 8


class RelayMode(IntFlag):
    SCALED = 4
    GATED = 8


def flag_name(flag: IntFlag) -> str:
    """Name of a mode, as :class:`Op` takes it."""
    return str(flag.name).lower()


class Groups(NamedTuple):
    """Groups ``first`` .. ``first + n - 1`` of P neurons each."""

    first: int
    n: int

    @property
    def slice(self) -> slice:
        return slice(self.first, self.first + self.n)


# -- operands --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Number:
    """An operand that is one of ``allowed``.

    ``range_text``: the allowed values in a message.  ``default``: a value that listings omit.
    ``in_loop``: it is compared with the iterations that are left.  ``of_groups``: it is a number of groups.
    """

    field: str
    allowed: range | tuple[int, ...]
    text: str
    range_text: str = ""
    default: int | None = None
    in_loop: bool = False
    of_groups: bool = False

    def read(self, i: Instruction) -> int:
        return int(getattr(i, self.field))

    def fields(self, value: int) -> dict[str, int]:
        return {self.field: value}

    def problem(self, i: Instruction, config: EngineConfig, name: str) -> str | None:
        value = self.read(i)
        return None if value in self.allowed else f"{name} must be {self.limits}, not {value}"

    @property
    def limits(self) -> str:
        if self.range_text:
            return self.range_text
        if isinstance(self.allowed, range):
            return f"in {self.allowed[0]}..{self.allowed[-1]}"
        *first, last = map(str, self.allowed)
        return f"{', '.join(first)} or {last}"


@dataclass(frozen=True)
class Span:
    """An operand that is groups of a memory; ``first`` and ``n`` are fields."""

    first: str
    n: str
    memory: Memory
    text: str

    def read(self, i: Instruction) -> Groups:
        return Groups(getattr(i, self.first), getattr(i, self.n))

    def fields(self, value: Groups) -> dict[str, int]:
        return {self.first: value.first, self.n: value.n}

    def problem(self, i: Instruction, config: EngineConfig, name: str) -> str | None:
        return _outside(*self.read(i), getattr(config, self.memory), name)


@dataclass(frozen=True)
class Tiles:
    """An operand that is the first tile of a synapse, which has one for each pair of groups at its ends.

    It is unsigned, in a field that is signed.  Only a program for an Unlimited engine has larger ones.
    """

    first: str
    text: str
    memory: Memory = Memory.TILES

    def read(self, i: Instruction) -> int:
        value = int(getattr(i, self.first))
        return value + 0x10000 * (value < 0)

    def fields(self, value: int) -> dict[str, int]:
        return {self.first: value - 0x10000 * (0x8000 <= value < 0x10000)}

    def problem(self, i: Instruction, config: EngineConfig, name: str) -> str | None:
        return self.beyond(i, i.n_src * i.n_dst, config)

    def beyond(self, i: Instruction, n: int, config: EngineConfig) -> str | None:
        """Why there are no ``n`` tiles."""
        return _outside(self.read(i), n, config.tiles, "tiles")


Operand = Number | Span | Tiles


def _outside(first: int, n: int, size: int, name: str) -> str | None:
    if n < 1:
        return f"{name} must be at least one, not {n}"
    if first + n > size:
        return f"{name} {first}..{first + n - 1} are not in 0..{size - 1}"
    return None


# -- the table -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Effects:
    """Effects of a command: memories read and written, and arithmetic per lane.

    Memories are A membranes with accumulated input, B static drive, Q charge, S spikes, A' and S' saved by
    SAVE, V+ and V- values (V: by mode), W weights.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    additions: int = 0
    products: int = 0


@dataclass(frozen=True)
class Mode:
    """A mode of an operation.

    more      additional effects
    without   memories that it does not write
    feature   option of EngineConfig; engines without it ignore the mode
    """

    effect: str
    more: Effects = Effects()
    without: tuple[str, ...] = ()
    feature: str = ""

    @property
    def text(self) -> str:
        return f"{self.effect}; ignored by engines without `{self.feature}`" if self.feature else self.effect


@dataclass(frozen=True)
class Operation:
    """An operation: operands, modes and effects.

    does         effects of a command
    walks        number of walks through the groups of its destination
    last         additional effects of a command in the last walk, where its modes apply
    feature      option of EngineConfig that it needs
    modes_need   option of EngineConfig that its modes need
    """

    kind: Kind
    text: str
    operands: Mapping[str, Operand] = field(default_factory=dict)
    modes: Mapping[IntFlag, Mode] = field(default_factory=dict)
    does: Effects = Effects()
    walks: int = 1
    last: Effects = Effects()
    feature: str = ""
    modes_need: str = ""

    @property
    def defaults(self) -> dict[str, int]:
        """Default values of the operands that have one."""
        numbers = {name: o for name, o in self.operands.items() if isinstance(o, Number)}
        return {name: o.default for name, o in numbers.items() if o.default is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of operands and modes."""
        return (*self.operands, *map(flag_name, self.modes))


THRESHOLD_MAX = 1 << 14
_THRESHOLDS = Number(
    "gain",
    tuple(1 << k for k in range(THRESHOLD_MAX.bit_length())),
    "raw threshold",
    range_text=f"a power of two in 1..{THRESHOLD_MAX}",
)
_GROUPS: dict[str, Operand] = {"groups": Span("dst", "n_dst", Memory.STATES, "the neurons")}
_TILE: dict[str, Operand] = {"tile": Tiles("operand", "first tile of the synapse")}
_SOURCES = "source neurons"
_RESULTS: dict[IntFlag, Mode] = {
    ResultMode.PLUS: Mode("writes to V+", Effects(writes=("V+",))),
    ResultMode.MINUS: Mode("writes to V-", Effects(writes=("V-",))),
}
_COLUMN = Mode("`sources` are the columns of W, not its rows: feedback direction")
_SIGNED = Mode("values of `sources` are signed")
_SHIFT = "shift to the right"
_SECOND: dict[IntFlag, Mode] = {
    StateMode.SECOND: Mode(
        "works on the saved A and S, and on Q of the group half of all groups of neurons away"
    )
}
#: operations that may work on the second state
ON_STATES = (Op.GATHER, Op.NUDGE, Op.STEP, Op.MARK, Op.MEASURE)

OPERATIONS: Mapping[Op, Operation] = {
    Op.HALT: Operation(
        Kind.CONTROL,
        "The run ends.",
        modes={HaltMode.INFER: Mode("only if the run is an inference")},
    ),
    Op.REPEAT: Operation(
        Kind.CONTROL,
        "Begins a loop, which ends at the matching NEXT.",
        {"count": Number("count", range(1, 512), "iterations")},
    ),
    Op.NEXT: Operation(
        Kind.CONTROL,
        "Ends a loop.",
        {
            "left": Number(
                "count",
                range(512),
                "with EARLY_EXIT: exit only if at most this many iterations are left, this one included",
                default=0,
                in_loop=True,
            )
        },
        modes={
            NextMode.EARLY_EXIT: Mode(
                "leaves the loop if no watched rate has changed since the previous such NEXT or the start "
                "of the run",
                feature="early_exit",
            )
        },
    ),
    Op.RESET: Operation(
        Kind.WALK,
        "A = value and S = 0.",
        _GROUPS | {"value": Number("operand", field_range("operand"), "raw membrane or drive")},
        modes={ResetMode.STATIC: Mode("only B = value", without=("S",))},
        does=Effects(writes=("A", "S")),
    ),
    Op.NUDGE: Operation(
        Kind.WALK,
        "A += strength (V+ - 256 S) >> 8: the pull towards a target.",
        _GROUPS
        | {
            "targets": Span("src", "n_dst", Memory.VALUES, "their targets"),
            "strength": Number("operand", field_range("operand"), "raw beta x threshold, signed"),
        },
        modes={
            NudgeMode.STATIC: Mode("adds strength V+ >> 8 to B, not to A", feature="errors"),
        }
        | _SECOND,
        does=Effects(reads=("A", "S", "V+"), writes=("A",), products=1, additions=1),
    ),
    Op.STEP: Operation(
        Kind.WALK,
        "One time step of LIF neurons with the drive A + B gives A and S; Q += threshold S.",
        _GROUPS | {"threshold": _THRESHOLDS, "leak": Number("shift", LEAKS, "shift of the leak, 0 for none")},
        modes=_SECOND,
        does=Effects(reads=("A", "B", "Q"), writes=("A", "Q", "S"), additions=3),  # A + B, leak, Q
    ),
    Op.MARK: Operation(
        Kind.WALK,
        "Q = -A: start of the window over which rates are measured.",
        _GROUPS
        | {
            "left": Number(
                "count",
                range(512),
                "only in the iteration with this many left, itself included; 0: always",
                default=0,
                in_loop=True,
            )
        },
        modes=_SECOND,
        does=Effects(reads=("A",), writes=("Q",), additions=1),
    ),
    Op.MEASURE: Operation(
        Kind.WALK,
        "The rate is (Q + A) >> shift, in 0..255.",
        _GROUPS
        | {
            "shift": Number("shift", RATE_SHIFTS, _SHIFT),
            "tolerance": Number(
                "gain",
                field_range("gain"),
                "with WATCH: largest difference that counts as unchanged",
                default=0,
            ),
        },
        modes=_RESULTS
        | _SECOND
        | {
            MeasureMode.WATCH: Mode(
                "compares with the previous V+ and sets a flag if a rate has changed",
                Effects(reads=("V+",), additions=1),
                feature="early_exit",
            )
        },
        does=Effects(reads=("A", "Q"), writes=("V",), additions=1),
    ),
    Op.SAVE: Operation(Kind.WALK, "Saves A and S.", _GROUPS, does=Effects(("A", "S"), ("A'", "S'"))),
    Op.RESTORE: Operation(Kind.WALK, "Restores A and S.", _GROUPS, does=Effects(("A'", "S'"), ("A", "S"))),
    Op.DRIVE: Operation(
        Kind.SCAN,
        "B += V+ W >> 8, each product rounded down: static drive from values.",
        {"sources": Span("src", "n_src", Memory.VALUES, _SOURCES)}
        | _GROUPS
        | _TILE
        | {
            "rounding": Number(
                "gain",
                field_range("gain"),
                "if odd, products are rounded to the nearest; ignored by engines without `errors`",
                default=0,
            )
        },
        modes={
            SourceMode.COLUMN: _COLUMN,
            SourceMode.MINUS: Mode("V- in place of V+"),
            SourceMode.SIGNED: _SIGNED,
        },
        does=Effects(reads=("B", "V+", "W"), writes=("B",), products=1, additions=1),
        modes_need="attention",
    ),
    Op.GATHER: Operation(
        Kind.SCAN,
        "A += S W: input from the spikes of the last time step.",
        {"sources": Span("src", "n_src", Memory.STATES, _SOURCES)}
        | _GROUPS
        | _TILE
        | {"shift": Number("shift", range(4), f"{_SHIFT} of each weight, rounded to the nearest", default=0)},
        modes={SourceMode.COLUMN: _COLUMN} | _SECOND,
        does=Effects(reads=("A", "S", "W"), writes=("A",), additions=1),
    ),
    Op.LEARN: Operation(
        Kind.SCAN,
        "Updates W by the learning rule, from V+ and V- at both ends.",
        {
            "sources": Span("src", "n_src", Memory.VALUES, "`pre` end of the synapse"),
            "groups": Span("dst", "n_dst", Memory.VALUES, "`post` end of the synapse"),
        }
        | _TILE
        | {
            "gain": Number("gain", range(GAIN_MAX + 1), "learning rate: factor of the rates' product"),
            "shift": Number("shift", SHIFTS, f"learning rate: {_SHIFT} after the gain"),
            "clamped": Number(
                "count",
                field_range("count"),
                "if odd, only changes weights if a value of `groups` differs: those of `sources` are the "
                "same in V+ and V-; ignored by engines with single-port weights",
                default=0,
            ),
        },
        modes={
            LearnMode.STORE: Mode(
                "W = gain u v, from V+ at both ends, in the rows of the `sources` that are not zero; wraps; "
                "no update is counted",
                feature="self_attention",
            ),
            SourceMode.SIGNED: _SIGNED,
            SourceMode.SIGNED_DST: Mode("values of `groups` are signed"),
        },
        # dither, difference, W
        does=Effects(reads=("V+", "V-", "W"), writes=("W",), products=2, additions=3),
        modes_need="attention",
    ),
    Op.ARGMAX: Operation(
        Kind.SCAN,
        "The prediction is the first neuron with the largest V+, 0 if all are zero.",
        {"sources": Span("src", "n_src", Memory.VALUES, "the output")},
        does=Effects(reads=("V+",)),
    ),
    Op.SOFTMAX: Operation(
        Kind.WALK,
        "Codes of the softmax of B over the neurons with A >= 0, with one shared exponent.",
        _GROUPS
        | {
            "values": Span("src", "n_dst", Memory.VALUES, "destination of the codes"),
            "shift": Number("shift", softmax.SHIFTS, f"{_SHIFT} of B"),
            "row": Number(
                "count",
                range(512),
                "groups of a row, which has its own softmax; 0: all groups are one row; ignored by "
                "engines without `self_attention`",
                default=0,
                of_groups=True,
            ),
        },
        modes=_RESULTS
        | {
            SoftmaxMode.ABSOLUTE: Mode("255 represents 1, independent of the sum"),
            SoftmaxMode.FINE: Mode("255 represents 1/16 and more, independent of the sum"),
        },
        # in each of three walks: largest, sum, distance; in the last one codes
        does=Effects(reads=("A", "B"), additions=1),
        walks=3,
        last=Effects(writes=("V",), products=1),
        feature="attention",
    ),
    Op.RELAY: Operation(
        Kind.WALK,
        "Signed 8-bit values, B >> shift in -128..127.",
        _GROUPS
        | {
            "values": Span("src", "n_dst", Memory.VALUES, "their destination"),
            "shift": Number("shift", relay.SHIFTS, _SHIFT),
            "rate_shift": Number(
                "gain", field_range("gain"), "with GATED: shift of MEASURE, modulo 8", default=0
            ),
        },
        modes=_RESULTS
        | {
            RelayMode.SCALED: Mode("also shifts by the exponent of the last SOFTMAX"),
            RelayMode.GATED: Mode(
                "writes 0 where the rate that MEASURE would find is 0 or 255",
                Effects(reads=("A", "Q"), additions=1),
                feature="errors",
            ),
        },
        does=Effects(reads=("B",), writes=("V",)),
        feature="attention",
    ),
    Op.CONVOLVE: Operation(
        Kind.PREFIX,
        "The next instruction, DRIVE, GATHER or LEARN, is a convolution: each position of `post` is joined "
        "to the positions of `pre` under its kernel. `sources` and `groups` are all groups at both ends; "
        "there are `kernel_rows` x `kernel_columns` x `pre` x `post` tiles.",
        {
            "pre": Number("n_src", range(1, 1 << 10), "groups per position at the `pre` end"),
            "post": Number("n_dst", range(1, 1 << 10), "groups per position at the `post` end"),
            "rows": Number("src", range(1, SIDE + 1), "rows of positions of `post`"),
            "columns": Number("dst", range(1, SIDE + 1), "columns of positions of `post`"),
            "kernel_rows": Number("count", range(1, SIDE + 1), "rows of positions of `pre` under a kernel"),
            "kernel_columns": Number("gain", range(1, SIDE + 1), "columns of positions under a kernel"),
            "stride": Number(
                "shift",
                range(MAX_STRIDE + 1),
                "positions of `pre` between neighbouring kernels; 0: all kernels at the same place",
            ),
        },
        feature="convolution",
    ),
}

#: codes of 5 bits, by the operation of the other four
_LONGER = {Op(op.code): op for op in Op if op.mode_bit}
WALK = frozenset(op for op, o in OPERATIONS.items() if o.kind == Kind.WALK)
SCAN = frozenset(op for op, o in OPERATIONS.items() if o.kind == Kind.SCAN)
#: those that go through weights
SYNAPTIC = frozenset(op for op, o in OPERATIONS.items() if "tile" in o.operands)


# -- instructions ----------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction as fields of its code; :data:`OPERATIONS` defines their meaning."""

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

    @property
    def operation(self) -> Operation:
        return OPERATIONS[self.op]

    @property
    def operands(self) -> dict[str, int | Groups]:
        """Operands in the form of :class:`Op`."""
        return {name: operand.read(self) for name, operand in self.operation.operands.items()}

    @property
    def modes(self) -> tuple[IntFlag, ...]:
        """Modes that are set and have an effect."""
        return tuple(flag for flag in self.operation.modes if self.mode & flag)

    def __getitem__(self, name: str) -> int:
        """An operand that is a number, or the first tile."""
        operand = self.operation.operands[name]
        assert not isinstance(operand, Span), f"{name} of {self.op.name} is groups"
        return operand.read(self)

    def groups(self, name: str) -> Groups:
        """An operand that is groups."""
        operand = self.operation.operands[name]
        assert isinstance(operand, Span), f"{name} of {self.op.name} is a number"
        return operand.read(self)

    def encode(self) -> int:
        """96-bit code; ValueError when a field does not fit."""
        code = at = 0
        for name, width, _ in FIELDS:
            code |= (self._field(name) & ((1 << width) - 1)) << at
            at += width
        return code

    @property
    def geometry(self) -> Geometry:
        """Geometry of a CONVOLVE."""
        assert self.op == Op.CONVOLVE, self.op.name
        return Geometry(**{name: self[name] for name in self.operation.operands})

    @property
    def dense(self) -> Geometry:
        """Geometry of a dense synapse: a convolution of one position."""
        pre, post = (self.n_dst, self.n_src) if self.backwards else (self.n_src, self.n_dst)
        return Geometry(pre, post, 1, 1, 1, 1, 1)

    def _field(self, name: str) -> int:
        if name == "op":
            return self.op.code
        possible = self.op.modes if name == "mode" else field_range(name)
        value = check_int(getattr(self, name), (self.op.name, name), possible[0], possible[-1])
        return value | self.op.mode_bit if name == "mode" else value

    @classmethod
    def decode(cls, code: int) -> Instruction:
        values: dict[str, Any] = {}
        at = 0
        for name, width, signed in FIELDS:
            value = code >> at & ((1 << width) - 1)
            values[name] = value - (1 << width) if signed and value >> (width - 1) else value
            at += width
        op = Op(values["op"])
        if op in _LONGER and values["mode"] & MODE_BIT:
            op = _LONGER[op]
            values["mode"] -= MODE_BIT
        return cls(**{**values, "op": op})

    def problem(self, config: EngineConfig, geometry: Geometry | None = None) -> str | None:
        """Why an engine of this size cannot execute the instruction, or None.

        ``geometry``: of the CONVOLVE before it, if there is one.
        """
        if isinstance(config, Unlimited):
            return None
        try:
            self.encode()
        except ValueError as e:
            return str(e)
        lacking = self.operation.feature or (self.operation.modes_need if self.mode else "")
        if lacking and not getattr(config, lacking):
            without = FEATURES[lacking].label
            return f"{self.op.name}: this engine is built without {without} (EngineConfig.{lacking})"
        if config.external and self.is_external(config):
            return self._external_problem(config, geometry)
        operands = self.operation.operands.items()
        if geometry is None:
            found = (o.problem(self, config, name) for name, o in operands)
        else:
            found = (self._problem_with(geometry, config, name, o) for name, o in operands)
        return next((f"{self.op.name}: {problem}" for problem in found if problem), None)

    def is_external(self, config: EngineConfig) -> bool:
        """Whether it goes through external weights."""
        return self.op in SYNAPTIC and self["tile"] >= config.tiles

    def _external_problem(self, config: EngineConfig, geometry: Geometry | None) -> str | None:
        """Find the problem of an instruction through external weights (as Operand.problem)."""
        shape = geometry or self.dense
        window = window_tiles(shape, backwards=self.backwards)
        problem = _outside(self["tile"], shape.tiles, config.all_tiles, "tiles")
        if self.stores(config):
            problem = "STORE writes weights on the chip only, not external ones"
        elif self.backwards and shape.kernel_rows > 1:
            problem = f"external weights are read backwards by one kernel row, not {shape.kernel_rows}"
        elif window > config.tiles:
            problem = f"a window of {window} tiles is not in 0..{config.tiles - 1}"
        else:
            spans = {n: o for n, o in self.operation.operands.items() if not isinstance(o, Tiles)}
            found = (
                o.problem(self, config, name)
                if geometry is None
                else self._problem_with(geometry, config, name, o)
                for name, o in spans.items()
            )
            problem = problem or next((p for p in found if p), None)
        return problem and f"{self.op.name}: {problem}"

    def stores(self, config: EngineConfig) -> bool:
        """Whether it is a LEARN of mode STORE."""
        return config.self_attention and self.op == Op.LEARN and bool(self.mode & LearnMode.STORE)

    def _problem_with(
        self, geometry: Geometry, config: EngineConfig, name: str, operand: Operand
    ) -> str | None:
        """Find the problem of an instruction after CONVOLVE (as Operand.problem)."""
        if isinstance(operand, Tiles):
            return operand.beyond(self, geometry.tiles, config)
        if isinstance(operand, Span):
            pre = (name == "sources") != self.backwards
            n = operand.read(self).n
            need = geometry.n_pre if pre else geometry.n_post
            if n != need:
                return f"{name} must be the {need} groups of the convolution before it, not {n}"
        return operand.problem(self, config, name)

    @property
    def second(self) -> bool:
        """Whether it works on the second state."""
        return self.op in ON_STATES and bool(self.mode & StateMode.SECOND)

    @property
    def backwards(self) -> bool:
        """Whether its `sources` are the columns of W."""
        return self.op in (Op.DRIVE, Op.GATHER) and bool(self.mode & SourceMode.COLUMN)


#: rows of external weights that are on the chip at the same time
SLOTS = 2


def window_tiles(geometry: Geometry, *, backwards: bool) -> int:
    """Last tiles on the chip, in which external weights are used: rows, or backwards all of them."""
    return geometry.tiles if backwards else SLOTS * geometry.post


def rows_of(i: Instruction, config: EngineConfig) -> list[tuple[int, int]]:
    """First group, relative to its operand, and number of groups of each row of a SOFTMAX."""
    n = i.groups("groups").n
    row = i["row"] if config.self_attention and i["row"] else n
    return [(first, min(row, n - first)) for first in range(0, n, row)]


# -- programs --------------------------------------------------------------------------------------
class ProgramError(ValueError):
    """A program that an engine cannot run.

    ``index``: the first instruction at fault, or their number when only the end of the program is.
    """

    def __init__(self, index: int, problem: str):
        super().__init__(problem)
        self.index = index


def announced(geometry: Geometry | None) -> list[Instruction]:
    """The instructions that announce a geometry to the instruction after them."""
    return [] if geometry is None else [Op.CONVOLVE(*geometry)]


def check(program: Iterable[Instruction], config: EngineConfig) -> None:
    """ProgramError unless every instruction fits the engine, the loops close and nest no deeper than it can,
    every CONVOLVE directly precedes its instruction, and the program ends with an unconditional HALT.
    """
    program = list(program)
    geometry: Geometry | None = None  # of the instruction before, if that is CONVOLVE
    room = config.program_words // WORDS
    depth = 0
    for at, i in enumerate(program):
        if at == room:
            raise ProgramError(
                at,
                f"{len(program)} instructions need {len(program) * WORDS} program words, "
                f"there are {config.program_words}",
            )
        if geometry is not None and i.op not in SYNAPTIC:
            problem: str | None = f"{i.op.name} after CONVOLVE, which needs DRIVE, GATHER or LEARN"
        else:
            problem = i.problem(config, geometry)
        if i.op == Op.REPEAT and depth == config.loops:
            problem = problem or f"REPEAT inside {depth} others"
        elif i.op == Op.NEXT and not depth:
            problem = problem or "NEXT without REPEAT"
        if problem:
            raise ProgramError(at, f"instruction {at}: {problem}")
        geometry = i.geometry if i.op == Op.CONVOLVE else None
        depth += (i.op == Op.REPEAT) - (i.op == Op.NEXT)
    if depth or not program or program[-1].op != Op.HALT or program[-1].mode:
        raise ProgramError(len(program), "a program must close its loops and end with an unconditional HALT")


def assemble(program: Iterable[Instruction]) -> Raw:
    """32-bit program words."""
    codes = [i.encode() for i in program]
    return np.array([c >> (32 * k) & 0xFFFFFFFF for c in codes for k in range(WORDS)], np.int64)


def disassemble(words: Raw) -> list[Instruction]:
    """Inverse of :func:`assemble`; ValueError when they are not three words an instruction."""
    checked = integers(words, "program words", 0, 0xFFFFFFFF)
    if checked.ndim != 1 or len(checked) % WORDS:
        raise ValueError(f"a program has {WORDS} words an instruction, not words of shape {checked.shape}")
    codes = checked.reshape(-1, WORDS).tolist()
    return [Instruction.decode(sum(w << (32 * k) for k, w in enumerate(code))) for code in codes]
