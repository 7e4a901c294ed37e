"""Register map of the engine on a bus: the single table from which decoder, bus model, documentation and C
header are made.

All registers are 32 bits, little endian, at byte offsets that are multiples of 4.  What the table does
not allow is answered by an error and changes nothing; ``equilif_golden.link.bus`` is the executable
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from equilif_golden.blocks.plasticity import DITHER_UPDATE, DITHER_WIDTH
from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import FEATURES, has
from equilif_golden.fixed import check_int

MAGIC = int.from_bytes(b"EQLF", "little")
VERSION = 4
OFFSET_BITS = 8  #: of a byte offset


class RegisterAccess(StrEnum):
    READ = "read"
    WRITE = "write"  #: reading it is an error
    BOTH = "read, write"
    CLEAR = "read, clear"  #: writing a one clears a bit


@dataclass(frozen=True)
class Field:
    """Bits ``low`` .. ``low + width - 1``."""

    name: str
    low: int
    width: int
    text: str


@dataclass(frozen=True)
class Register:
    name: str
    offset: int
    access: RegisterAccess
    text: str
    fields: tuple[Field, ...] = ()

    @property
    def readable(self) -> bool:
        return self.access != RegisterAccess.WRITE

    @property
    def writable(self) -> bool:
        return self.access != RegisterAccess.READ

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

    def pack(self, **values: int) -> int:
        """Register value from its fields, the others zero; ValueError when one does not fit."""
        word = 0
        for name, value in values.items():
            f = self.field(name)
            word |= check_int(int(value), (self.name, name), 0, (1 << f.width) - 1) << f.low
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """Fields of a register value, by name."""
        return {f.name: word >> f.low & ((1 << f.width) - 1) for f in self.fields}


_REGISTERS = (
    Register("ID", 0x00, RegisterAccess.READ, f'0x{MAGIC:08X}, "EQLF" in bytes: identifies an engine'),
    Register(
        "VERSION",
        0x04,
        RegisterAccess.READ,
        "map version, lanes and options of the engine",
        (
            Field("MAP", 0, 8, f"version of this map, {VERSION}"),
            Field("LANES", 8, 8, "lanes P"),
            *(Field(name.upper(), f.version, 1, f.text) for name, f in FEATURES.items()),
        ),
    ),
    Register(
        "NUMERICS",
        0x08,
        RegisterAccess.READ,
        "number formats, in bits",
        (
            Field("WEIGHT", 0, 8, "width of a weight"),
            Field("FRACTION", 8, 8, "fraction bits"),
            Field("ACCUMULATOR", 16, 8, "width of membranes"),
            Field("CHARGE", 24, 8, "width of charges"),
        ),
    ),
    Register("TILES", 0x0C, RegisterAccess.READ, "tiles of P x P weights"),
    Register(
        "GROUPS",
        0x10,
        RegisterAccess.READ,
        "groups of P neurons",
        (
            Field("VALUES", 0, 16, "groups with values"),
            Field("STATES", 16, 16, "groups with membranes"),
        ),
    ),
    Register("PROGRAM_WORDS", 0x14, RegisterAccess.READ, "32-bit words of program memory"),
    Register("BUILD", 0x18, RegisterAccess.READ, "build id, chosen by the integrator"),
    Register(
        "CONTROL",
        0x20,
        RegisterAccess.WRITE,
        "start a run; an error during a run or without a program",
        (
            Field("START", 0, 1, "run the program; writing 0 has no effect"),
            Field("LEARN", 1, 1, "with learning"),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        RegisterAccess.CLEAR,
        "state of the engine; writing 1 clears a bit",
        (
            Field("DONE", 0, 1, "a run has ended since this bit was cleared or the last run started"),
            Field(
                "FAULT",
                1,
                1,
                "the stream had an element outside the region, which was dropped, or a packet that could not "
                "start a run",
            ),
            Field("BUSY", 2, 1, "a run is in progress; read only"),
            Field("LOADED", 3, 1, "a program is loaded; read only"),
        ),
    ),
    Register(
        "INTERRUPT",
        0x28,
        RegisterAccess.BOTH,
        "enable of the interrupt output `irq`",
        (Field("DONE", 0, 1, "`irq` follows STATUS.DONE"),),
    ),
    Register(
        "LOAD",
        0x2C,
        RegisterAccess.WRITE,
        "number of staged instructions to check and load as the program; an error if one is invalid, "
        "and the previous program remains loaded",
    ),
    Register(
        "REJECTED",
        0x30,
        RegisterAccess.READ,
        "after a failed LOAD: first invalid instruction, or their number if only the end is invalid; a LOAD "
        "that succeeds keeps it",
    ),
    Register(
        "REGION",
        0x34,
        RegisterAccess.BOTH,
        "memory accessed by DATA and the stream: 0 weights, 1 values, 2 staged program, 3 dither counter; an "
        "error for a larger number",
    ),
    Register(
        "ADDRESS",
        0x38,
        RegisterAccess.BOTH,
        "element in the region; incremented by every access to DATA and every element of the stream. "
        "A packet of the stream starts at the last written address; an error from the power of two on that "
        "holds the largest region",
    ),
    Register(
        "DATA",
        0x3C,
        RegisterAccess.BOTH,
        "element at ADDRESS, see below; an error outside the region and during a run",
    ),
    Register(
        "STREAM",
        0x40,
        RegisterAccess.BOTH,
        "action after a packet of the stream",
        (
            Field(
                "RUN",
                0,
                1,
                "a run, then one result word; neither without a program or after a dropped element",
            ),
            Field("LEARN", 1, 1, "with learning"),
        ),
    ),
    Register("PREDICTION", 0x60, RegisterAccess.READ, "prediction of the last run, by ARGMAX"),
    Register(
        "CYCLES", 0x64, RegisterAccess.READ, "clock cycles of the last run, or of the present run so far"
    ),
    Register("SPIKES", 0x68, RegisterAccess.READ, "spikes of LIF neurons in the run"),
    Register("ACCESSES", 0x6C, RegisterAccess.READ, "words of P weights read in the run"),
    *(
        Register(
            name.upper(),
            0x70 + 4 * k,
            RegisterAccess.READ,
            f"{name.replace('_', ' ')} of the run, in words of P lanes",
        )
        for k, name in enumerate(NAMES)
    ),
)
REGISTERS: Mapping[str, Register] = {r.name: r for r in _REGISTERS}
assert len({r.offset for r in _REGISTERS}) == len(_REGISTERS) and all(
    r.offset % 4 == 0 and r.offset < 1 << OFFSET_BITS for r in _REGISTERS
)

#: region: bits of an element in DATA, its bits in the stream, what it is
ELEMENTS: tuple[tuple[str, int, int, str], ...] = (
    (
        "WEIGHTS",
        16,
        16,
        (
            "signed, NUMERICS.WEIGHT bits, read with their sign in all 32 bits; element (word x P + bank); "
            "element (i, k) of tile t is in bank i ^ k at word t x P + i"
        ),
    ),
    ("VALUES", 16, 8, "bits 0-7 at +beta, 8-15 at -beta; the stream writes its byte to both"),
    ("PROGRAM", 32, 32, "staged: LOAD checks and copies it, and leaves it as it is"),
    (
        "COUNTER",
        DITHER_WIDTH,
        32,
        (
            f"position of the dither, one element: {DITHER_UPDATE:,} times the number of updates, modulo "
            f"2^{DITHER_WIDTH}; an update is a LEARN instruction, not of mode STORE"
        ),
    ),
)


def constants(config: EngineConfig, build_id: int = 0) -> dict[str, int]:
    """Registers that never change."""
    c = config
    n = config.numerics
    return {
        "ID": MAGIC,
        "VERSION": REGISTERS["VERSION"].pack(
            MAP=VERSION,
            LANES=c.lanes,
            **{name.upper(): int(has(c, name)) for name in FEATURES},
        ),
        "NUMERICS": REGISTERS["NUMERICS"].pack(
            WEIGHT=n.weight_width, FRACTION=n.fraction, ACCUMULATOR=n.accumulator_width, CHARGE=n.charge_width
        ),
        "TILES": c.tiles,
        "GROUPS": REGISTERS["GROUPS"].pack(VALUES=c.value_groups, STATES=c.state_groups),
        "PROGRAM_WORDS": c.program_words,
        "BUILD": check_int(build_id, "build_id", 0, 0xFFFFFFFF),
    }
