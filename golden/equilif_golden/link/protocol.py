"""The link between a host and the engine: commands, status codes and layouts.

The only place where they are written down.

    frame   command  sequence  payload...  CRC-32        reply   status  sequence  payload...  CRC-32

Frames are delimited by SLIP (RFC 1055), numbers are little endian, the CRC is zlib's over everything
before it.  docs/reference/protocol.md explains; ``equilif_golden.link.device`` is the executable reference of
the device side.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from equilif_golden.engine import features
from equilif_golden.engine.config import EngineConfig, ExternalWeights, Pipeline
from equilif_golden.engine.isa import WORDS
from equilif_golden.fixed import Numerics, check_int
from equilif_golden.link.flash import MAX_BLOCKS
from equilif_golden.sdram import CHIPS

VERSION = 10
TRAINER_VERSION = 11  #: of a device with a standalone trainer, whose registers are part of the protocol
FRONT_END_VERSION = 12  #: of a device with a front end, whose table is part of the protocol
EXTERNAL_VERSION = 13  #: of a device with external weights, whose memory is part of the identity
TABLES_VERSION = 14  #: of a device with embedding tables, whose RUN has tokens
END = 0xC0  #: ends a frame
ESC = 0xDB  #: stands before the code of an END or ESC inside one
ESC_END = 0xDC
ESC_ESC = 0xDD
CRC_BYTES = 4
OVERHEAD = 2 + CRC_BYTES  #: bytes of a frame in addition to its payload
FRAME_BYTES = 1024  #: longest frame that a device of the usual size takes, CRC included
MAX_SAMPLES = 16  #: samples that a RUN carries at most


class Command(IntEnum):
    IDENTIFY = 1  #: -> identity
    LOAD = 2  #: program, 12 bytes an instruction
    WRITE = 3  #: region, address, elements
    READ = 4  #: region, address, count -> elements
    #: flags, read address, count, address, tokens, values of one or several samples -> predictions, totals,
    #: elements; a repeated one answers again and does not run
    RUN = 5
    ERASE = 6  #: region FLASH, address of a block


class FrontEndKind(IntEnum):
    """Source of the samples of a device's live controller."""

    NONE = 0
    MICROPHONE = 1
    SENSOR = 2


class Status(IntEnum):
    """Status of a reply; :data:`MEANING` explains each."""

    OK = 0
    BAD_FRAME = 1
    TOO_SHORT = 2
    TOO_LONG = 3
    BAD_CRC = 4
    OVERRUN = 5
    UNKNOWN_COMMAND = 6
    BAD_LENGTH = 7
    BUSY = 8
    NO_PROGRAM = 9
    BAD_REGION = 10
    BAD_FLAGS = 11
    BAD_ADDRESS = 12
    BAD_PROGRAM = 13


MEANING: Mapping[Status, str] = {
    Status.OK: "executed",
    Status.BAD_FRAME: "invalid SLIP escape, or a byte without a stop bit",
    Status.TOO_SHORT: "fewer than 6 bytes",
    Status.TOO_LONG: "more bytes than the device accepts",
    Status.BAD_CRC: "CRC mismatch",
    Status.OVERRUN: "received before the previous reply was sent",
    Status.UNKNOWN_COMMAND: "no command has this code",
    Status.BAD_LENGTH: "payload length invalid for the command, an incomplete element, or too many samples",
    Status.BUSY: "the engine runs without a command, or the standalone trainer is active",
    Status.NO_PROGRAM: "RUN before LOAD",
    Status.BAD_REGION: "region not accessible by the command",
    Status.BAD_FLAGS: "undefined flags of RUN",
    Status.BAD_ADDRESS: "elements or tokens outside their region, or not the start of a block",
    Status.BAD_PROGRAM: "payload u16: the first invalid instruction; their number if only the end is "
    "invalid; the first that does not fit if there are too many",
}


#: additional regions of a device with flash, after those of equilif_golden.engine.port.Region
FLASH = 4  #: bytes of its area (equilif_golden.link.flash); a write turns ones into zeros
TRAINER = 5  #: registers of the trainer (equilif_golden.link.standalone)
OWN_BYTES = {FLASH: 1, TRAINER: 4}  #: of their elements, written and read

INSTRUCTION_BYTES = 4 * WORDS
LEARN = 1  #: bit of RUN's flags
PACKED = 4  #: bit of RUN's flags: values as of :func:`pack`; bit 1 was another packing, up to version 6
TOKENS = 8  #: bit of RUN's flags: tokens of one sample precede the values
ZERO_BITS = 5  #: low bits of a control byte: number of zeros
MAX_ZEROS = (1 << ZERO_BITS) - 1
MAX_LITERALS = (1 << 8 - ZERO_BITS) - 1
END_OF_SAMPLE = 0  #: control byte between two samples

#: field, bytes; a command has the first HEADER_BYTES of them, then its elements
HEADER = (("argument", 1), ("address", 4), ("count", 2), ("values_address", 4))
HEADER_BYTES = {Command.WRITE: 5, Command.READ: 7, Command.RUN: 11, Command.ERASE: 5}
READ_HEADER = struct.Struct("<BIH")
WRITE_HEADER = struct.Struct("<BI")
RUN_HEADER = struct.Struct("<BIHI")
#: of tokens, as of equilif_golden.engine.tables.TableTokens: table, tile, groups, number of rows
TOKENS_HEADER = struct.Struct("<HHHH")
TOKEN_BYTES = 2
RESULT = struct.Struct("<HIII")  #: of a RUN of one sample: prediction, cycles, spikes, accesses
PREDICTION = struct.Struct("<H")  #: of each of several samples
TOTALS = struct.Struct("<III")  #: cycles, spikes, accesses of all samples, after their predictions
FAULT = struct.Struct("<H")
ERASE_HEADER = WRITE_HEADER
HEADERS = (WRITE_HEADER, READ_HEADER, RUN_HEADER, ERASE_HEADER)
assert [header.size for header in HEADERS] == list(HEADER_BYTES.values())


#: bits of the flags: the design has a front end, whose live controller uses the engine, too
FRONT_END_BITS = {FrontEndKind.MICROPHONE: 1, FrontEndKind.SENSOR: 7}
_LABELS = {bit: features.FEATURES[name].label for name, bit in features.IDENTIFIED.items()}
assert not _LABELS.keys() & set(FRONT_END_BITS.values())
_LABELS |= {bit: f"front end of a {kind.name.lower()}" for kind, bit in FRONT_END_BITS.items()}
_FLAGS = ", ".join(f"bit {bit} {label}" for bit, label in sorted(_LABELS.items()))
_OTHER_VERSIONS = (
    f"trainer: {TRAINER_VERSION}; front end: {FRONT_END_VERSION}; external weights: {EXTERNAL_VERSION}; "
    f"embedding tables: {TABLES_VERSION}"
)
#: what IDENTIFY answers: name, form (as of struct), meaning.  Sizes and widths have the names that they have
#: in EngineConfig and Numerics
IDENTITY: tuple[tuple[str, str, str], ...] = (
    (
        "version",
        "B",
        f"of this protocol: {VERSION}; {_OTHER_VERSIONS}",
    ),
    ("flags", "B", f"options of the engine and of the design: {_FLAGS}"),
    ("lanes", "B", "P"),
    ("weight_width", "B", "bits"),
    ("fraction", "B", "fraction bits"),
    ("accumulator_width", "B", "bits of a membrane"),
    ("charge_width", "B", "bits"),
    ("max_samples", "B", "samples that a RUN carries at most, 1 to 16"),
    ("tiles", "H", "of P x P weights"),
    ("value_groups", "H", "of P values"),
    ("state_groups", "H", "of P neurons with membranes"),
    ("program_words", "H", "of 32 bits"),
    ("max_payload", "H", "bytes of the longest payload"),
    ("flash_blocks", "H", "of 64 KiB of flash available to the design; 0: no standalone trainer"),
    ("build_id", "I", ""),
)
#: the same, of a device with external weights only
EXTERNAL_IDENTITY: tuple[tuple[str, str, str], ...] = (
    ("sdram", "B", "; ".join(f"{k}: {name}" for k, name in enumerate(CHIPS, 1))),
    ("external_options", "B", "bit 0 embedding tables"),
    ("external_tiles", "H", "of P x P weights in it"),
    ("clock", "I", "Hz"),
)
_NAMES = [name for name, _, _ in IDENTITY]
_SIZES = ("lanes", "tiles", "value_groups", "state_groups", "program_words")
_WIDTHS = ("weight_width", "fraction", "accumulator_width", "charge_width")


@dataclass(frozen=True)
class Identity:
    """Identity that a device answers."""

    config: EngineConfig
    build_id: int
    max_payload: int = FRAME_BYTES - OVERHEAD
    flash_blocks: int = 0
    max_samples: int = MAX_SAMPLES
    front_end: FrontEndKind = FrontEndKind.NONE

    LAYOUT = struct.Struct("<" + "".join(form for _, form, _ in IDENTITY))
    EXTERNAL_LAYOUT = struct.Struct("<" + "".join(form for _, form, _ in EXTERNAL_IDENTITY))

    def __post_init__(self) -> None:
        check_int(self.build_id, "build_id", 0, 0xFFFFFFFF)
        check_int(self.max_payload, "max_payload", 1, 0xFFFF)
        check_int(self.flash_blocks, "flash_blocks", 0, MAX_BLOCKS)
        check_int(self.max_samples, "max_samples", 1, MAX_SAMPLES, "of a frame")

    def pack(self) -> bytes:
        values = {
            "version": self._version,
            "flags": features.flags(self.config)
            | sum(1 << bit for kind, bit in FRONT_END_BITS.items() if kind == self.front_end),
            "max_payload": self.max_payload,
            "flash_blocks": self.flash_blocks,
            "max_samples": self.max_samples,
            "build_id": self.build_id,
            **{name: getattr(self.config, name) for name in _SIZES},
            **{name: getattr(self.config.numerics, name) for name in _WIDTHS},
        }
        packed = self.LAYOUT.pack(*(values[name] for name in _NAMES))
        external = self.config.external
        if external is not None:
            chip = 1 + list(CHIPS).index(external.chip_name)
            packed += self.EXTERNAL_LAYOUT.pack(chip, external.tables, external.tiles, external.hz)
        return packed

    @property
    def _version(self) -> int:
        external = self.config.external
        if external is None:
            return version(self.flash_blocks, self.front_end)
        return TABLES_VERSION if external.tables else EXTERNAL_VERSION

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """ValueError when the device speaks another version or the sizes make no engine."""
        if not payload or payload[0] not in _VERSIONS:
            raise ValueError(_other_version(payload[0] if payload else "(none)", VERSION))
        size = cls.LAYOUT.size
        external = payload[0] in (EXTERNAL_VERSION, TABLES_VERSION)
        expected_size = size + external * cls.EXTERNAL_LAYOUT.size
        if len(payload) != expected_size:
            raise ValueError(f"an identity has {expected_size} bytes, not {len(payload)}")
        found = dict(zip(_NAMES, cls.LAYOUT.unpack(payload[:size]), strict=True))
        kinds = [kind for kind, bit in FRONT_END_BITS.items() if found["flags"] >> bit & 1]
        front_end = kinds[0] if kinds else FrontEndKind.NONE
        expected = payload[0] if external else version(found["flash_blocks"], front_end)
        if found["version"] != expected:
            raise ValueError(_other_version(found["version"], expected))
        if len(kinds) > 1:
            raise ValueError("the identity of the device names two front ends: load another bitstream")
        flags = {name: bool(found["flags"] >> bit & 1) for name, bit in features.IDENTIFIED.items()}
        config = EngineConfig(
            **{name: found[name] for name in _SIZES},
            numerics=Numerics(**{name: found[name] for name in _WIDTHS}),
            pipeline=Pipeline.SPRAM if flags.pop("single_port") else Pipeline.DEEP,
            external=cls._external(payload[0], payload[size:]) if external else None,
            **flags,
        )
        return cls(
            config,
            found["build_id"],
            found["max_payload"],
            found["flash_blocks"],
            found["max_samples"],
            front_end,
        )

    @classmethod
    def _external(cls, spoken: int, payload: bytes) -> ExternalWeights:
        number, tables, tiles, hz = cls.EXTERNAL_LAYOUT.unpack(payload)
        if not 1 <= number <= len(CHIPS):
            raise ValueError(f"the identity of the device names SDRAM {number} of {len(CHIPS)}")
        expected = TABLES_VERSION if tables else EXTERNAL_VERSION
        if spoken != expected:
            raise ValueError(_other_version(spoken, expected))
        return ExternalWeights(chip_name=list(CHIPS)[number - 1], hz=hz, tiles=tiles, tables=bool(tables))


_VERSIONS = (VERSION, TRAINER_VERSION, FRONT_END_VERSION, EXTERNAL_VERSION, TABLES_VERSION)


def version(flash_blocks: int, front_end: FrontEndKind = FrontEndKind.NONE) -> int:
    """Protocol version of a device with this many blocks of flash, and this front end."""
    if front_end:
        return FRONT_END_VERSION
    return TRAINER_VERSION if flash_blocks else VERSION


def _other_version(found: object, expected: int) -> str:
    return f"the device speaks protocol version {found}, this is version {expected}"


def pack(values: bytes) -> bytes:
    """Values of a sample as groups of zeros and literals.

    A group is a control byte, with a number of zeros in its low ZERO_BITS and a number of literals in the
    others, and the literals.
    """
    return _GROUP.sub(_group, values)


#: a control byte of END_OF_SAMPLE separates packed samples
_GROUP = re.compile(rb"\0{0,%d}[^\0]{0,%d}" % (MAX_ZEROS, MAX_LITERALS), re.DOTALL)


def _group(found: re.Match[bytes]) -> bytes:
    group = found[0]
    literals = group.lstrip(b"\0")
    return bytes((len(group) - len(literals) | len(literals) << ZERO_BITS,)) + literals if group else b""


def unpack(packed: bytes) -> tuple[list[bytes], bool]:
    """Values of each sample, and whether the last group is complete.

    Inverse of ``bytes([END_OF_SAMPLE]).join(map(pack, samples))``.  Any literal is taken, also a zero.
    """
    samples = [bytearray()]
    at = 0
    while at < len(packed):
        control = packed[at]
        end = at + 1 + (control >> ZERO_BITS)
        if control == END_OF_SAMPLE:
            samples.append(bytearray())
        samples[-1] += bytes(control & MAX_ZEROS) + packed[at + 1 : end]
        at = end
    return list(map(bytes, samples)), at == len(packed)


class FrameError(ValueError):
    """Bytes that are no frame."""

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status = status


def slip(frame: bytes) -> bytes:
    """A frame as it goes over the line, its last END included."""
    escaped = frame.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
    return escaped + bytes([END])


def unslip(packet: bytes) -> tuple[bytes, bool]:
    """Decode SLIP before END; also whether an escape is invalid."""
    frame = bytearray()
    bad = False
    escaped = False
    for byte in packet:
        if escaped:
            bad = bad or byte not in (ESC_END, ESC_ESC)
            frame.append(ESC if byte == ESC_ESC else END)
            escaped = False
        elif byte == ESC:
            escaped = True
        else:
            frame.append(byte)
    return bytes(frame), bad or escaped


def seal(head: int, sequence: int, payload: bytes = b"") -> bytes:
    """A frame or a reply, before SLIP."""
    body = bytes((head, sequence)) + payload
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def unseal(frame: bytes) -> tuple[int, int, bytes]:
    """Command or status, sequence, payload; FrameError when the frame is too short or its CRC is wrong."""
    if len(frame) < OVERHEAD:
        raise FrameError(Status.TOO_SHORT, f"{len(frame)} bytes are no frame")
    body = frame[:-CRC_BYTES]
    crc = int.from_bytes(frame[-CRC_BYTES:], "little")
    if zlib.crc32(body) != crc:
        raise FrameError(Status.BAD_CRC, f"CRC is {zlib.crc32(body):08x}, the frame says {crc:08x}")
    return body[0], body[1], body[2:]


def tables() -> tuple[str, str, str]:
    """Identity, that of external weights, and status codes, as docs/reference/protocol.md has them."""
    forms = {"B": "u8", "H": "u16", "I": "u32"}
    identity, external = (
        "\n".join(
            f"| {name.replace('_', ' ')} | {forms[form]} | {text} |".replace("  ", " ")
            for name, form, text in fields
        )
        for fields in (IDENTITY, EXTERNAL_IDENTITY)
    )
    status = "\n".join(f"| {status.name} | {int(status)} | {text} |" for status, text in MEANING.items())
    return identity, external, status


if __name__ == "__main__":
    print("\n\n".join(tables()))
