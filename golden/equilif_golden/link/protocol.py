"""The link between a host and the engine: commands, status codes and layouts.

The only place where they are written down.

    frame   command  sequence  payload...  CRC-32        reply   status  sequence  payload...  CRC-32

Frames are delimited by SLIP (RFC 1055), numbers are little endian, the CRC is zlib's over everything
before it.  docs/protocol.md explains; ``equilif_golden.link.device`` is the executable reference of the
device side.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Self

from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.fixed import Numerics

VERSION = 2
CRC_BYTES = 4
OVERHEAD = 2 + CRC_BYTES  #: bytes of a frame beside its payload
FRAME_BYTES = 1024  #: longest frame that a device of the usual size takes, CRC included


class Command(IntEnum):
    IDENTIFY = 1  #: -> identity
    LOAD = 2  #: program, 12 bytes an instruction
    WRITE = 3  #: region, address, elements
    READ = 4  #: region, address, count -> elements
    #: flags, read address, count, address, values -> result, elements; a repeated one answers again and
    #: does not run
    RUN = 5


class Status(IntEnum):
    OK = 0
    BAD_FRAME = 1  #: SLIP escape or UART framing
    TOO_SHORT = 2
    TOO_LONG = 3
    BAD_CRC = 4
    OVERRUN = 5  #: arrived before the previous reply was out
    UNKNOWN_COMMAND = 6
    BAD_LENGTH = 7  #: payload length is not one that the command can have
    BUSY = 8  #: engine running
    NO_PROGRAM = 9
    BAD_REGION = 10
    BAD_FLAGS = 11
    BAD_ADDRESS = 12  #: elements outside the region
    #: payload: 16-bit index of the first instruction at fault (their number when the program's end is)
    BAD_PROGRAM = 13


INSTRUCTION_BYTES = 12
LEARN, PACKED = 1, 2  #: bits of RUN's flags; packed: values as of :func:`pack`

#: field, bytes; a command has the first HEADER_BYTES of them, then its elements
HEADER = (("argument", 1), ("address", 4), ("count", 2), ("values_address", 4))
HEADER_BYTES = {Command.WRITE: 5, Command.READ: 7, Command.RUN: 11}
READ_HEADER, WRITE_HEADER, RUN_HEADER = struct.Struct("<BIH"), struct.Struct("<BI"), struct.Struct("<BIHI")
RESULT = struct.Struct("<HIII")  #: prediction, cycles, spikes, accesses
FAULT = struct.Struct("<H")
assert (WRITE_HEADER.size, READ_HEADER.size, RUN_HEADER.size) == tuple(HEADER_BYTES.values())


@dataclass(frozen=True)
class Identity:
    """What a device says about itself."""

    config: EngineConfig
    build_id: int
    max_payload: int = FRAME_BYTES - OVERHEAD

    #: version, flags (bit 0: single port, 1: forwarding, 2: softmax, 3: early), lanes, weight, fraction,
    #: accumulator and charge bits;
    #: tiles, value groups, state groups, program words, max payload; build id
    LAYOUT = struct.Struct("<7Bx5HxxI")

    def pack(self) -> bytes:
        c, n = self.config, self.config.numerics
        return self.LAYOUT.pack(
            VERSION,
            c.single_port | c.forwarding << 1 | c.softmax << 2 | c.early << 3,
            c.lanes,
            n.weight_width,
            n.fraction,
            n.accumulator_width,
            n.charge_width,
            c.tiles,
            c.value_groups,
            c.state_groups,
            c.program_words,
            self.max_payload,
            self.build_id,
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """ValueError when the device speaks another version or the sizes make no engine."""
        if not payload or payload[0] != VERSION:
            raise ValueError(
                f"the device speaks protocol version {payload[0] if payload else '(none)'}, this is version {VERSION}"
            )
        if len(payload) != cls.LAYOUT.size:
            raise ValueError(f"an identity has {cls.LAYOUT.size} bytes, not {len(payload)}")
        (
            _,
            flags,
            lanes,
            weight,
            fraction,
            accumulator,
            charge,
            tiles,
            values,
            states,
            words,
            max_payload,
            build_id,
        ) = cls.LAYOUT.unpack(payload)
        numerics = Numerics(
            fraction=fraction, weight_width=weight, accumulator_width=accumulator, charge_width=charge
        )
        return cls(
            EngineConfig(
                lanes=lanes,
                tiles=tiles,
                value_groups=values,
                state_groups=states,
                program_words=words,
                pipeline=_pipeline(flags),
                softmax=bool(flags & 4),
                early=bool(flags & 8),
                numerics=numerics,
            ),
            build_id,
            max_payload,
        )


def _pipeline(flags: int) -> Pipeline:
    """What a device tells of its pipeline; what it does not tell changes no result."""
    if flags & 1:
        return Pipeline.SPRAM
    return Pipeline.FORWARDING if flags & 2 else Pipeline.SMALL


def pack(values: bytes) -> bytes:
    """Values with their runs of zeros shortened: 1 to 256 zeros become a zero and their number less one."""
    return re.sub(rb"\0{1,256}", lambda zeros: bytes((0, len(zeros[0]) - 1)), values)


def unpack(packed: bytes) -> tuple[bytes, bool]:
    """What :func:`pack` was given, and whether that is all: a zero at the very end lacks its number and
    stands for nothing.
    """
    out, at = bytearray(), 0
    while at < len(packed):
        if packed[at]:
            out.append(packed[at])
            at += 1
        elif at + 1 == len(packed):
            return bytes(out), False
        else:
            out += bytes(packed[at + 1] + 1)
            at += 2
    return bytes(out), True


class FrameError(ValueError):
    """Bytes that are no frame."""

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status = status


def seal(head: int, sequence: int, payload: bytes = b"") -> bytes:
    """A frame or a reply, before SLIP."""
    body = bytes((head, sequence)) + payload
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def unseal(frame: bytes) -> tuple[int, int, bytes]:
    """Command or status, sequence, payload; FrameError when the frame is too short or its CRC is wrong."""
    if len(frame) < OVERHEAD:
        raise FrameError(Status.TOO_SHORT, f"{len(frame)} bytes are no frame")
    body, crc = frame[:-CRC_BYTES], int.from_bytes(frame[-CRC_BYTES:], "little")
    if zlib.crc32(body) != crc:
        raise FrameError(Status.BAD_CRC, f"CRC is {zlib.crc32(body):08x}, the frame says {crc:08x}")
    return body[0], body[1], body[2:]
