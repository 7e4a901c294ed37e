"""Model of the device side of the link: an engine model with the protocol of equilif_golden.link.protocol.

``hdl/equilif_hdl/link/host.py`` gives the same replies.  A frame has an effect only after it was checked
completely; a bad one changes nothing.  Exception: values of a RUN of the standalone trainer, which would not
be repeated, are written as they are read.
"""

from __future__ import annotations

import numpy as np

from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ProgramError, disassemble
from equilif_golden.engine.model import EngineModel, wrap
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, divides_word, region_size
from equilif_golden.fixed import Raw, check_int
from equilif_golden.link.flash import BLOCK, Flash
from equilif_golden.link.protocol import (
    CRC_BYTES,
    ERASE_HEADER,
    FAULT,
    FLASH,
    FRAME_BYTES,
    HEADER_BYTES,
    INSTRUCTION_BYTES,
    LEARN,
    MAX_SAMPLES,
    OVERHEAD,
    OWN_BYTES,
    PACKED,
    PREDICTION,
    READ_HEADER,
    RUN_HEADER,
    TOTALS,
    TRAINER,
    WRITE_HEADER,
    Command,
    FrameError,
    FrontEndKind,
    Identity,
    Status,
    seal,
    unpack,
    unseal,
    unslip,
)
from equilif_golden.link.standalone import REGISTERS, WRITABLE, StandaloneTrainer


class Refusal(Exception):
    """A command that is rejected."""

    def __init__(self, status: Status, payload: bytes = b""):
        super().__init__(status.name)
        self.status = status
        self.payload = payload


class Device:
    """An engine behind a link.

    ``frame_bytes``: longest frame.  ``max_samples``: of a RUN.  ``flash``: memory of a standalone trainer,
    which runs by :meth:`StandaloneTrainer.step`; None: no trainer.  ``lessons``: of the trainer, for a front
    end.  ``front_end``: of the design; with ``lessons`` that of a microphone.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        build_id: int = 0,
        frame_bytes: int = FRAME_BYTES,
        max_samples: int = MAX_SAMPLES,
        flash: Flash | None = None,
        lessons: bool = False,
        front_end: FrontEndKind = FrontEndKind.NONE,
    ):
        self.engine = EngineModel(config)
        self.frame_bytes = check_int(frame_bytes, "frame_bytes", 32, 4096)
        self.flash = flash
        self.trainer = StandaloneTrainer(self, flash, config, lessons=lessons) if flash else None
        blocks = flash.area.blocks if flash else 0
        payload = frame_bytes - OVERHEAD
        kind = FrontEndKind.MICROPHONE if lessons else front_end
        self.identity = Identity(config, build_id, payload, blocks, max_samples, kind)
        self.predictions: list[int] = []  #: of the samples of the last RUN
        self.totals = (0, 0, 0)  #: cycles, spikes, accesses of the last RUN
        #: sequence of the last command when that was a RUN: the same again is a repetition
        self.ran: int | None = None

    # -- bytes -------------------------------------------------------------------------------------
    def packet(self, packet: bytes, *, from_trainer: bool = False) -> bytes | None:
        """Reply to the bytes between two END bytes, not SLIP-encoded; None for an empty packet.
        ``from_trainer``: the standalone trainer has sent them, not the host.
        """
        if not packet:
            return None
        frame, bad = unslip(packet)
        return self.reply(frame, bad=bad, from_trainer=from_trainer)

    def reply(self, frame: bytes, *, bad: bool = False, from_trainer: bool = False) -> bytes:
        """Reply to an unescaped frame; ``bad``: SLIP or the UART saw an error in it."""
        sequence = frame[1] if len(frame) > 1 else 0
        try:
            if bad:
                raise Refusal(Status.BAD_FRAME)
            if len(frame) > self.frame_bytes:
                raise Refusal(Status.TOO_LONG)
            command, _, payload = unseal(frame)
            if command not in list(Command) or command == Command.ERASE and not self.flash:
                raise Refusal(Status.UNKNOWN_COMMAND)
            # only a host repeats commands
            repeated = command == Command.RUN and sequence == self.ran and not from_trainer
            answer = self._execute(Command(command), payload, repeated=repeated, from_trainer=from_trainer)
            self.ran = sequence if command == Command.RUN and not from_trainer else None
            return seal(Status.OK, sequence, answer)
        except FrameError as e:
            return seal(e.status, sequence)
        except Refusal as e:
            return seal(e.status, sequence, e.payload)

    def recorded(self, packet: bytes, sequence: int) -> bytes | None:
        """The WRITE that restores the result of this READ of the trainer; None for others and if rejected."""
        reply = self.packet(packet, from_trainer=True)
        if reply is None or reply[0] != Status.OK:
            return None
        command, _, payload = unseal(unslip(packet)[0])
        if command != Command.READ:
            return None
        data = reply[2:-CRC_BYTES]
        if self.trainer is not None and self.trainer.lessons and payload[0] == Region.VALUE:
            data = data[::2]  # a value is written as one byte
        return seal(Command.WRITE, sequence, payload[: WRITE_HEADER.size] + data)

    # -- commands ----------------------------------------------------------------------------------
    def _execute(self, command: Command, payload: bytes, *, repeated: bool, from_trainer: bool) -> bytes:
        n = len(payload)
        fits = {
            Command.IDENTIFY: n == 0,
            Command.LOAD: n > 0 and n % INSTRUCTION_BYTES == 0,
            Command.WRITE: n > HEADER_BYTES[Command.WRITE],
            Command.READ: n == HEADER_BYTES[Command.READ],
            Command.RUN: n >= HEADER_BYTES[Command.RUN],
            Command.ERASE: n == HEADER_BYTES[Command.ERASE],
        }
        if not fits[command]:
            raise Refusal(Status.BAD_LENGTH)
        if command in (Command.LOAD, Command.RUN) and self._trainer_active and not from_trainer:
            raise Refusal(Status.BUSY)
        match command:
            case Command.IDENTIFY:
                return self.identity.pack()
            case Command.LOAD:
                self._load(payload)
                self._changed(from_trainer=from_trainer)
                return b""
            case Command.WRITE:
                region, address = WRITE_HEADER.unpack_from(payload)
                self._check(region, from_trainer=from_trainer)
                self._write(region, address, payload[WRITE_HEADER.size :])
                if region not in OWN_BYTES:
                    self._changed(from_trainer=from_trainer)
                return b""
            case Command.READ:
                region, address, count = READ_HEADER.unpack(payload)
                self._check(region, from_trainer=from_trainer)
                self._require(region, address, count)
                return self._read(region, address, count)
            case Command.RUN:
                return self._run(payload, repeated=repeated, from_trainer=from_trainer)
            case Command.ERASE:
                region, address = ERASE_HEADER.unpack(payload)
                self._erase(region, address, from_trainer=from_trainer)
                return b""

    @property
    def _trainer_active(self) -> bool:
        """Whether the trainer is active."""
        return self.trainer is not None and self.trainer.busy

    def _check(self, region: int, *, from_trainer: bool) -> None:
        """Refusal for an unknown region, or one that the trainer uses."""
        if region not in READ_BYTES and not (self.flash and region in OWN_BYTES):
            raise Refusal(Status.BAD_REGION)
        if self._trainer_active and region != TRAINER and (region == FLASH or not from_trainer):
            raise Refusal(Status.BUSY)

    def _changed(self, *, from_trainer: bool) -> None:
        """Note a change of the engine by the trainer or by a host."""
        if self.trainer is not None and not from_trainer:
            self.trainer.invalidate()

    def _erase(self, region: int, address: int, *, from_trainer: bool) -> None:
        if region != FLASH:
            raise Refusal(Status.BAD_REGION)
        self._check(region, from_trainer=from_trainer)
        self._require(region, address, 1)
        if address % BLOCK:
            raise Refusal(Status.BAD_ADDRESS)
        assert self.flash is not None
        self.flash.erase(address // BLOCK)

    def _run(self, payload: bytes, *, repeated: bool, from_trainer: bool) -> bytes:
        flags, read_address, count, address = RUN_HEADER.unpack_from(payload)
        if not self.engine.program:
            raise Refusal(Status.NO_PROGRAM)
        if flags & ~(LEARN | PACKED):
            raise Refusal(Status.BAD_FLAGS)
        self._require(Region.VALUE, read_address, count)
        data = payload[RUN_HEADER.size :]
        samples, complete = unpack(data) if flags & PACKED else ([data], True)
        room = max(0, self._size(Region.VALUE, written=True) - address)
        if from_trainer:  # values of the trainer are written as they are read, up to an error
            self._write(Region.VALUE, address, samples[0][:room])
        # in the order of the frame
        allowed = 1 if from_trainer else self.identity.max_samples
        for values in samples[:allowed]:
            self._require(Region.VALUE, address, len(values))
        if not complete or len(samples) > allowed:
            raise Refusal(Status.BAD_LENGTH)
        if not repeated:
            self.predictions = []
            self.totals = (0, 0, 0)
            for values in samples:
                self._write(Region.VALUE, address, values)
                prediction, *counts = self.run(learn=bool(flags & LEARN))
                self.predictions.append(prediction)
                cycles, spikes, accesses = (
                    a + b & 0xFFFFFFFF for a, b in zip(self.totals, counts, strict=True)
                )
                self.totals = cycles, spikes, accesses
            if flags & LEARN:
                self._changed(from_trainer=from_trainer)
        return (
            b"".join(map(PREDICTION.pack, self.predictions))
            + TOTALS.pack(*self.totals)
            + self._read(Region.VALUE, read_address, count)
        )

    def run(self, *, learn: bool) -> tuple[int, int, int, int]:
        """Prediction, cycles, spikes, accesses."""
        done = self.engine.run(learn=learn)
        return done.prediction, done.cycles, done.spikes, done.accesses

    def _load(self, payload: bytes) -> None:
        try:
            self.engine.load(disassemble(np.frombuffer(payload, "<u4")))
        except ProgramError as e:
            raise Refusal(Status.BAD_PROGRAM, FAULT.pack(e.index)) from e

    # -- memories ----------------------------------------------------------------------------------
    def _size(self, region: int, *, written: bool) -> int:
        """Elements in a region."""
        if region == FLASH:
            return self.flash.area.size if self.flash else 0
        if region == TRAINER:
            return WRITABLE if written else len(REGISTERS)
        return region_size(self.engine.config, Region(region))

    def _require(self, region: int, address: int, count: int, *, written: bool = False) -> None:
        if count and address + count > self._size(region, written=written):
            raise Refusal(Status.BAD_ADDRESS)

    def _write(self, region: int, address: int, data: bytes) -> None:
        size = OWN_BYTES[region] if region in OWN_BYTES else WRITE_BYTES[Region(region)]
        n, rest = divmod(len(data), size)
        # in the order of elements: an invalid address is reported before an incomplete last element
        if region not in OWN_BYTES and divides_word(self.engine.config, Region(region), address):
            raise Refusal(Status.BAD_ADDRESS)
        self._require(region, address, n, written=True)
        if rest or region not in OWN_BYTES and divides_word(self.engine.config, Region(region), address + n):
            raise Refusal(Status.BAD_LENGTH)
        if region == FLASH:
            assert self.flash is not None
            self.flash.program(address, data)
        elif region == TRAINER:
            assert self.trainer is not None
            for k, word in enumerate(np.frombuffer(data, "<u4").tolist(), address):
                self.trainer.put(k, word)
        elif n:
            elements = np.frombuffer(data, WRITTEN[Region(region)]).astype(np.int64)
            self.engine.write(Region(region), address, self._kept(Region(region), elements))

    def _kept(self, region: Region, elements: Raw) -> Raw:
        """Elements in the width of the memory."""
        match region:
            case Region.WEIGHT:
                return wrap(elements, self.engine.config.numerics.weight)
            case Region.COUNTER:
                return elements & DITHER_MASK
        return elements

    def _read(self, region: int, address: int, count: int) -> bytes:
        if not count:
            return b""
        if region == FLASH:
            assert self.flash is not None
            return self.flash.read(address, count)
        if region == TRAINER:
            assert self.trainer is not None
            return self.trainer.registers.pack()[4 * address : 4 * (address + count)]
        found = self.engine.read(Region(region), address, count)
        return found.astype(READ[Region(region)]).tobytes()


#: elements on the link, as NumPy types
WRITTEN = {Region.WEIGHT: "<i2", Region.VALUE: "<u1", Region.COUNTER: "<u4"}
READ = {Region.WEIGHT: "<i2", Region.VALUE: "<u2", Region.COUNTER: "<u4"}
