"""Host side of the link: commands to an engine at the other end of a serial port, each carried out once.

    client = Client(equilif.host.ports.connect("/dev/ttyUSB1"))
    client.identify()

**Exactly once.**  One command is under way at a time; it is sent, under one sequence number, until its
reply comes.  A line keeps the order of what it carries, so between two of these frames the device sees
only damaged ones, copies of this one, or copies of the command before.  Carrying out IDENTIFY, LOAD,
WRITE or READ twice is carrying it out once; a RUN with the number of the RUN before is answered from what
is there.  Every frame has a CRC, so nothing else is ever carried out.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import sliplib

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction, assemble, check
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.fixed import Raw
from equilif_golden.link.protocol import (
    FAULT,
    LEARN,
    PACKED,
    READ_HEADER,
    RESULT,
    RUN_HEADER,
    WRITE_HEADER,
    Command,
    FrameError,
    Identity,
    Status,
    pack,
    seal,
    unseal,
)

#: in one frame; a device sends any number, but a lost byte costs the whole frame
READ_ELEMENTS = 2048

ADVICE = {
    Status.BAD_FRAME: "bytes were damaged on the line: check baud rate and cable",
    Status.TOO_SHORT: "bytes were lost on the line: check baud rate and cable",
    Status.TOO_LONG: "an END was lost on the line, or the device takes shorter frames than it says",
    Status.BAD_CRC: "bytes were damaged on the line: check baud rate and cable",
    Status.OVERRUN: "the device was still busy with an earlier command: is another program using the port?",
    Status.UNKNOWN_COMMAND: "the bitstream is older than this program: build and load it again",
    Status.BAD_LENGTH: "the bitstream and this program disagree about a layout: build and load the bitstream again",
    Status.BUSY: "the engine is running by itself: reset the board",
    Status.NO_PROGRAM: "load a program first: load_program()",
    Status.BAD_REGION: "the bitstream and this program disagree about a layout: build and load the bitstream again",
    Status.BAD_FLAGS: "the bitstream is older than this program: build and load it again",
    Status.BAD_ADDRESS: "the device is smaller than what was addressed: call identify() and compile for what it returns",
    Status.BAD_PROGRAM: "the program was made for another engine: compile it for what identify() returns",
}


class Port(Protocol):
    """What serial.Serial offers, and anything else with a read that gives up after a while."""

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...


class LinkError(OSError):
    """The device could not be talked to."""


class NoReply(LinkError):
    """Nothing that answers the command came in time."""


class DeviceError(LinkError):
    """The device refused a command and changed nothing."""

    def __init__(self, command: Command, status: int, payload: bytes = b""):
        self.command, self.status = command, status
        known = status in list(Status)
        name = Status(status).name if known else f"status {status}"
        where = (
            f" at instruction {FAULT.unpack(payload)[0]}"
            if status == Status.BAD_PROGRAM and len(payload) == FAULT.size
            else ""
        )
        advice = ADVICE.get(Status(status), "") if known else "the bitstream is newer than this program"
        super().__init__(f"{command.name} was refused with {name}{where}: {advice}")


@dataclass(frozen=True)
class RunResult:
    """``plus``, ``minus``: the values that were asked for, after the run.  The counts are those of the run."""

    prediction: int
    cycles: int
    spikes: int
    accesses: int
    plus: Raw
    minus: Raw


@dataclass
class Traffic:
    """Of a client so far.  Bytes as they went over the line."""

    sent: int = 0
    received: int = 0
    commands: int = 0
    repeated: int = 0  #: frames sent again


class Client:
    """Commands of equilif_golden.link.protocol on a port.

    ``timeout``: seconds without a byte after which a command is sent again; ``patience``,
    ``run_patience``: seconds after which it is given up, the second for RUN, whose reply comes when the
    program has run.  ``traffic`` counts.
    """

    def __init__(
        self, port: Port, *, timeout: float = 0.25, patience: float = 10.0, run_patience: float = 20.0
    ):
        self.port, self.timeout, self.patience, self.run_patience = port, timeout, patience, run_patience
        self.traffic = Traffic()
        # a reply left over from another session shall not fit
        self._sequence = random.randrange(256)
        self._received = b""
        self._identity: Identity | None = None

    # -- commands ----------------------------------------------------------------------------------
    def identify(self) -> Identity:
        """Sizes of the engine, its build, and the longest payload."""
        try:
            self._identity = Identity.unpack(self.command(Command.IDENTIFY))
        except ValueError as e:
            raise LinkError(f"{e}; load a bitstream that was built from this version") from e
        return self._identity

    @property
    def identity(self) -> Identity:
        return self._identity or self.identify()

    @property
    def config(self) -> EngineConfig:
        return self.identity.config

    def load_program(self, program: list[Instruction]) -> None:
        """ProgramError when the engine cannot run it; the old program then stays in force."""
        check(program, self.config)
        code = assemble(program).astype("<u4").tobytes()
        if len(code) > self.identity.max_payload:
            raise LinkError(
                f"a program of {len(program)} instructions has {len(code)} bytes, a frame of this device carries "
                f"{self.identity.max_payload}: build it with a larger frame_bytes"
            )
        self.command(Command.LOAD, code)

    def write_weights(self, words: Raw, *, first: int = 0) -> None:
        """``words``: (n, P) raw weights, layout of equilif_golden.blocks.synapse.to_words; ``first``: number
        of the first word.
        """
        codes = self.config.numerics.weight.require(words, "weights")
        self.write(Region.WEIGHT, first * self.config.lanes, codes.astype("<i2").tobytes())

    def read_weights(self, n_words: int, *, first: int = 0) -> Raw:
        """(n_words, P) raw weights."""
        p = self.config.lanes
        data = self.read(Region.WEIGHT, first * p, n_words * p)
        return np.frombuffer(data, "<i2").astype(np.int64).reshape(n_words, p)

    def write_values(self, address: int, values: Raw) -> None:
        """8-bit values to plus and minus from element ``address``."""
        self.write(Region.VALUE, address, _value_bytes(self.config, values))

    def read_values(self, address: int, count: int) -> tuple[Raw, Raw]:
        """plus and minus, (count,) each."""
        return _plus_minus(self.read(Region.VALUE, address, count))

    def write_counter(self, updates: int) -> None:
        """Number of updates so far; only its place in the dither's cycle is kept."""
        self.write(Region.COUNTER, 0, (updates * DITHER_UPDATE & DITHER_MASK).to_bytes(4, "little"))

    def read_counter(self) -> int:
        """Number of updates, modulo the dither's cycle of 2**DITHER_WIDTH."""
        position = int.from_bytes(self.read(Region.COUNTER, 0, 1), "little")
        return position * pow(DITHER_UPDATE, -1, DITHER_MASK + 1) & DITHER_MASK

    def run(
        self, *, learn: bool, address: int = 0, values: Raw | None = None, read: tuple[int, int] = (0, 0)
    ) -> RunResult:
        """Write ``values`` from element ``address``, run the program, read ``read`` = (element address,
        count) back: one frame each way.
        """
        data = b"" if values is None else _value_bytes(self.config, values)
        room, flags, packed = self.identity.max_payload - RUN_HEADER.size, LEARN * learn, pack(data)
        if len(packed) < len(data) and len(packed) <= room:
            data, flags = packed, flags | PACKED
        elif len(data) > room:  # the rest first
            self.write(Region.VALUE, address, data[:-room])
            address, data = address + len(data) - room, data[-room:]
        payload = RUN_HEADER.pack(flags, *read, address) + data
        reply = self.command(Command.RUN, payload)
        want = RESULT.size + read[1] * READ_BYTES[Region.VALUE]
        if len(reply) != want:
            raise LinkError(
                f"RUN was answered by {len(reply)} bytes, not {want}; build and load the bitstream again"
            )
        prediction, cycles, spikes, accesses = RESULT.unpack_from(reply)
        plus, minus = _plus_minus(reply[RESULT.size :])
        return RunResult(prediction, cycles, spikes, accesses, plus, minus)

    def write(self, region: Region, address: int, data: bytes) -> None:
        """Elements of a region, in as many frames as it takes."""
        size = WRITE_BYTES[region]
        step = (self.identity.max_payload - WRITE_HEADER.size) // size * size
        self._require(region, address, len(data) // size)
        for at in range(0, len(data), step):
            self.command(
                Command.WRITE, WRITE_HEADER.pack(region, address + at // size) + data[at : at + step]
            )

    def read(self, region: Region, address: int, count: int) -> bytes:
        """Elements of a region, in as many frames as it takes."""
        self._require(region, address, count)
        parts = []
        for at in range(address, address + count, READ_ELEMENTS):
            n = min(READ_ELEMENTS, address + count - at)
            part = self.command(Command.READ, READ_HEADER.pack(region, at, n))
            if len(part) != n * READ_BYTES[region]:
                raise LinkError(
                    f"READ of {n} elements of {region.name} was answered by {len(part)} bytes; "
                    "build and load the bitstream again"
                )
            parts.append(part)
        return b"".join(parts)

    def _require(self, region: Region, address: int, count: int) -> None:
        size = region_size(self.config, region)
        if not 0 <= address <= address + count <= size:
            raise ValueError(
                f"{region.name} has elements 0..{size - 1}, not {address}..{address + count - 1}"
            )

    # -- frames ------------------------------------------------------------------------------------
    def command(self, command: Command, payload: bytes = b"") -> bytes:
        """Payload of the reply; DeviceError when the device refuses, NoReply when it does not answer."""
        self._sequence = self._sequence % 255 + 1  # 0 is the device's word for "not readable"
        # a leading END makes a frame of its own of what noise left there
        line = sliplib.END + sliplib.encode(seal(command, self._sequence, payload)) + sliplib.END
        wait = self.run_patience if command == Command.RUN else self.patience
        give_up, skipped, again = time.monotonic() + wait, 0, False
        self.traffic.commands += 1
        while True:
            self.port.write(line)
            self.traffic.sent += len(line)
            self.traffic.repeated += again
            again, (status, answer, foreign) = True, self._reply()
            skipped += foreign
            if status == Status.OK:
                return answer
            if status is not None and status not in LINE_FAULTS:
                raise DeviceError(command, status, answer)
            if time.monotonic() > give_up:
                if status is not None:
                    raise DeviceError(command, status, answer)
                more = f", only {skipped} damaged or foreign ones" if skipped else ""
                raise NoReply(
                    f"{command.name} was not answered within {wait:g} s{more}: is the bitstream loaded, and are port and "
                    "baud rate right?"
                )

    def _reply(self) -> tuple[int | None, bytes, int]:
        """Status and payload of the reply to the current sequence number, None when none came in time; how
        many others were skipped.

        What shows that a frame was damaged, here or there, shortens the wait, but does not end it: it may
        be about another frame.
        """
        deadline, skipped = time.monotonic() + self.timeout, 0
        while True:
            end = self._received.find(sliplib.END)
            if end >= 0:
                packet, self._received = self._received[:end], self._received[end + 1 :]
                sequence = 0
                if packet:
                    try:
                        status, sequence, payload = unseal(sliplib.decode(packet))
                        if sequence == self._sequence:
                            return status, payload, skipped
                    except (FrameError, sliplib.ProtocolError):
                        pass
                    skipped += 1
                    if not sequence:
                        deadline = min(deadline, time.monotonic() + HURRY * self.timeout)
                continue
            data = self.port.read(max(1, getattr(self.port, "in_waiting", 1)))
            if data:
                self._received += data
                self.traffic.received += len(data)
                deadline = max(deadline, time.monotonic() + HURRY * self.timeout)
            elif time.monotonic() > deadline:
                self._received = b""
                return None, b"", skipped


HURRY = 0.1  #: part of the timeout that is waited once there are signs of damage

#: The device saw no whole frame.
LINE_FAULTS = frozenset({Status.BAD_FRAME, Status.TOO_SHORT, Status.TOO_LONG, Status.BAD_CRC, Status.OVERRUN})


def _value_bytes(config: EngineConfig, values: Raw) -> bytes:
    return config.numerics.value.require(values, "values").astype(np.uint8).tobytes()


def _plus_minus(data: bytes) -> tuple[Raw, Raw]:
    pairs = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
