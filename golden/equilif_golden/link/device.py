"""The device side of the link, as a function from frames to replies: an engine model behind
equilif_golden.link.protocol.

``hdl/equilif_hdl/link/host.py`` answers the same bytes.  A frame acts only after all of it was found
right; a bad one changes nothing.
"""

from __future__ import annotations

import numpy as np

from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ProgramError, disassemble
from equilif_golden.engine.model import EngineModel, wrap
from equilif_golden.engine.port import (
    READ_BYTES,
    WRITE_BYTES,
    Region,
    region_size,
)
from equilif_golden.fixed import Raw, whole
from equilif_golden.link.protocol import (
    END,
    ESC,
    ESC_END,
    ESC_ESC,
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


class Refusal(Exception):
    """The command is not carried out."""

    def __init__(self, status: Status, payload: bytes = b""):
        super().__init__(status.name)
        self.status = status
        self.payload = payload


class Device:
    """An engine at the far end of a link.  ``frame_bytes``: longest frame that it takes."""

    def __init__(self, config: EngineConfig, *, build_id: int = 0, frame_bytes: int = FRAME_BYTES):
        self.engine = EngineModel(config)
        self.frame_bytes = whole(frame_bytes, "frame_bytes", 32, 4096)
        self.identity = Identity(config, build_id, frame_bytes - OVERHEAD)
        self.cycles = 0  #: of the last run
        #: sequence of the last command when that was a RUN: the same again is a repetition
        self.ran: int | None = None

    # -- bytes -------------------------------------------------------------------------------------
    def packet(self, packet: bytes) -> bytes | None:
        """Reply to what came between two END bytes, both before SLIP; None to an empty packet."""
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
        self.cycles = self.engine.run(learn=learn).cycles

    def _load(self, payload: bytes) -> None:
        try:
            self.engine.load(disassemble(np.frombuffer(payload, "<u4")))
        except ProgramError as e:
            raise Refusal(Status.BAD_PROGRAM, FAULT.pack(e.index)) from e

    # -- memories ----------------------------------------------------------------------------------
    def _require(self, region: Region, address: int, count: int) -> None:
        if count and address + count > region_size(self.engine.config, region):
            raise Refusal(Status.BAD_ADDRESS)

    def _write(self, region: Region, address: int, data: bytes) -> None:
        n, rest = divmod(len(data), WRITE_BYTES[region])
        # in the order of the elements: one outside the region is found before a last one that is cut short
        self._require(region, address, n)
        if rest:
            raise Refusal(Status.BAD_LENGTH)
        if n:
            elements = np.frombuffer(data, WRITTEN[region]).astype(np.int64)
            self.engine.write(region, address, self._kept(region, elements))

    def _kept(self, region: Region, elements: Raw) -> Raw:
        """What memories keep of elements that are wider than themselves."""
        match region:
            case Region.WEIGHT:
                return wrap(elements, self.engine.config.numerics.weight)
            case Region.COUNTER:
                return elements & DITHER_MASK
        return elements

    def _read(self, region: Region, address: int, count: int) -> bytes:
        if not count:
            return b""
        return self.engine.read(region, address, count).astype(READ[region]).tobytes()


#: elements as they go over the link
WRITTEN = {Region.WEIGHT: "<i2", Region.VALUE: "<u1", Region.COUNTER: "<u4"}
READ = {Region.WEIGHT: "<i2", Region.VALUE: "<u2", Region.COUNTER: "<u4"}
