"""The device side of the link, as a function from frames to replies: an engine model behind
equilif_golden.link.protocol.

``hdl/equilif_hdl/link/host.py`` answers the same bytes.  A frame acts only after all of it was found
right; a bad one changes nothing.
"""

from __future__ import annotations

import re

import numpy as np

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, Instruction, ProgramError, check, disassemble
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.link.protocol import (
    FAULT,
    FRAME_BYTES,
    HEADER_BYTES,
    INSTRUCTION_BYTES,
    LEARN,
    OVERHEAD,
    PACKED,
    READ_HEADER,
    RESULT,
    RUN_HEADER,
    WRITE_HEADER,
    Command,
    FrameError,
    Identity,
    Status,
    seal,
    unpack,
    unseal,
)

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD


class Refusal(Exception):
    """The command is not carried out."""

    def __init__(self, status: Status, payload: bytes = b""):
        super().__init__(status.name)
        self.status, self.payload = status, payload


class Device:
    """An engine at the far end of a link.  ``frame_bytes``: longest frame that it takes."""

    def __init__(self, config: EngineConfig, *, build_id: int = 0, frame_bytes: int = FRAME_BYTES):
        self.engine = EngineModel(config)
        self.frame_bytes = frame_bytes
        self.identity = Identity(config, build_id, frame_bytes - OVERHEAD)
        self.cycles = 0  #: the model is untimed
        #: sequence of the last command when that was a RUN: the same again is a repetition
        self.ran: int | None = None

    # -- bytes -------------------------------------------------------------------------------------
    def packet(self, packet: bytes) -> bytes | None:
        """Reply to what came between two END bytes, both before SLIP; None to an empty packet."""
        frame, bad = bytearray(), False
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
        if not packet:
            return None
        return self.reply(bytes(frame), bad=bad or escaped)

    def reply(self, frame: bytes, *, bad: bool = False) -> bytes:
        """Reply to an unescaped frame; ``bad``: SLIP or the UART saw an error in it."""
        sequence = frame[1] if len(frame) > 1 else 0
        try:
            if bad:
                raise Refusal(Status.BAD_FRAME)
            if len(frame) > self.frame_bytes:
                raise Refusal(Status.TOO_LONG)
            command, _, payload = unseal(frame)
            if command not in list(Command):
                raise Refusal(Status.UNKNOWN_COMMAND)
            answer = self._carry_out(
                Command(command), payload, repeated=command == Command.RUN and sequence == self.ran
            )
            self.ran = sequence if command == Command.RUN else None
            return seal(Status.OK, sequence, answer)
        except FrameError as e:
            return seal(e.status, sequence)
        except Refusal as e:
            return seal(e.status, sequence, e.payload)

    # -- commands ----------------------------------------------------------------------------------
    def _carry_out(self, command: Command, payload: bytes, *, repeated: bool) -> bytes:
        n = len(payload)
        fits = {
            Command.IDENTIFY: n == 0,
            Command.LOAD: n > 0 and n % INSTRUCTION_BYTES == 0,
            Command.WRITE: n > HEADER_BYTES[Command.WRITE],
            Command.READ: n == HEADER_BYTES[Command.READ],
            Command.RUN: n >= HEADER_BYTES[Command.RUN],
        }
        if not fits[command]:
            raise Refusal(Status.BAD_LENGTH)
        match command:
            case Command.IDENTIFY:
                return self.identity.pack()
            case Command.LOAD:
                self._load(payload)
                return b""
            case Command.WRITE:
                region, address = WRITE_HEADER.unpack_from(payload)
                if region not in READ_BYTES:
                    raise Refusal(Status.BAD_REGION)
                self._write(Region(region), address, payload[WRITE_HEADER.size :])
                return b""
            case Command.READ:
                region, address, count = READ_HEADER.unpack(payload)
                if region not in READ_BYTES:
                    raise Refusal(Status.BAD_REGION)
                self._require(Region(region), address, count)
                return self._read(Region(region), address, count)
            case Command.RUN:
                return self._run(payload, repeated=repeated)

    def _run(self, payload: bytes, *, repeated: bool) -> bytes:
        flags, read_address, count, address = RUN_HEADER.unpack_from(payload)
        if not self.engine.program:
            raise Refusal(Status.NO_PROGRAM)
        if flags & ~(LEARN | PACKED):
            raise Refusal(Status.BAD_FLAGS)
        self._require(Region.VALUE, read_address, count)
        values, whole = (
            unpack(payload[RUN_HEADER.size :]) if flags & PACKED else (payload[RUN_HEADER.size :], True)
        )
        self._require(Region.VALUE, address, len(values))
        if not whole:
            raise Refusal(Status.BAD_LENGTH)
        if not repeated:
            self._write(Region.VALUE, address, values)
            self.run(learn=bool(flags & LEARN))
        e = self.engine
        return RESULT.pack(e.prediction, self.cycles, e.spikes, e.accesses) + self._read(
            Region.VALUE, read_address, count
        )

    def run(self, *, learn: bool) -> None:
        self.engine.run(learn=learn)

    def _load(self, payload: bytes) -> None:
        fault = program_fault(payload, self.engine.config)
        if fault is not None:
            raise Refusal(Status.BAD_PROGRAM, FAULT.pack(fault))
        self.engine.load(disassemble(np.frombuffer(payload, "<u4")))

    # -- memories ----------------------------------------------------------------------------------
    def _require(self, region: Region, address: int, count: int) -> None:
        if count and address + count > region_size(self.engine.config, region):
            raise Refusal(Status.BAD_ADDRESS)

    def _write(self, region: Region, address: int, data: bytes) -> None:
        size, e = WRITE_BYTES[region], self.engine
        # in the order of the elements: one outside the region is found before a last one that is cut short
        self._require(region, address, len(data) // size)
        if len(data) % size:
            raise Refusal(Status.BAD_LENGTH)
        span = slice(address, address + len(data) // size)
        match region:
            case Region.WEIGHT:
                e.w.reshape(-1)[span] = np.frombuffer(data, "<i2")
            case Region.VALUE:
                e.plus.reshape(-1)[span] = e.minus.reshape(-1)[span] = np.frombuffer(data, np.uint8)
            case _:
                e.counter = (
                    int.from_bytes(data, "little") * pow(DITHER_UPDATE, -1, DITHER_MASK + 1) & DITHER_MASK
                )

    def _read(self, region: Region, address: int, count: int) -> bytes:
        e, span = self.engine, slice(address, address + count)
        match region:
            case Region.WEIGHT:
                data = e.w.reshape(-1)[span].astype("<i2").tobytes()
            case Region.VALUE:
                data = (
                    np.stack([e.plus.reshape(-1)[span], e.minus.reshape(-1)[span]], axis=1)
                    .astype(np.uint8)
                    .tobytes()
                )
            case _:
                data = (e.counter * DITHER_UPDATE & DITHER_MASK).to_bytes(4, "little")[: 4 * count]
        assert len(data) == count * READ_BYTES[region]
        return data


def program_fault(code: bytes, config: EngineConfig) -> int | None:
    """Index of the first instruction at fault under the rules of :func:`equilif_golden.engine.isa.check`, or
    None.

    The number of instructions when only the end is wrong; the first one without room when the program is
    too long.
    """
    n, program = len(code) // INSTRUCTION_BYTES, []
    for at in range(min(n, config.program_words // WORDS)):
        try:
            program.append(
                Instruction.decode(
                    int.from_bytes(code[at * INSTRUCTION_BYTES : (at + 1) * INSTRUCTION_BYTES], "little")
                )
            )
        except ValueError:  # no such operation
            break
    try:
        check(program, config)
    except ProgramError as e:
        found = re.match(r"instruction (\d+)", str(e))
        return int(found[1]) if found else len(program)
    return None if len(program) == n else len(program)
