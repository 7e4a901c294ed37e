"""Host side of the link: an engine at the other end of a serial port, and a network brought up on it.

    port = serial.Serial("/dev/ttyUSB1", 1_000_000, timeout=0.1)
    session = Session(Client(port), network, weights, lr=0.05)
    result = session.run(x, y, learn=True)
"""
from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import sliplib

from golden.compiler import Compiled
from golden.fixed import Raw
from golden.isa import EngineConfig, Instruction, assemble, check
from golden.network import Network, Weights
from golden.plasticity import DITHER_MASK, DITHER_UPDATE
from golden.protocol import (
    FAULT,
    LEARN,
    READ_BYTES,
    READ_HEADER,
    RESULT,
    RUN_HEADER,
    WRITE_BYTES,
    WRITE_HEADER,
    Command,
    FrameError,
    Identity,
    Region,
    Status,
    region_size,
    seal,
    unseal,
)

READ_ELEMENTS = 2048             #: in one frame; a device sends any number, but a lost byte costs the whole frame

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


class LinkError(RuntimeError):
    """The device could not be talked to."""


class NoReply(LinkError):
    """Nothing that answers the command came in time."""


class DeviceError(LinkError):
    """The device refused a command and changed nothing."""

    def __init__(self, command: Command, status: int, payload: bytes = b""):
        self.command, self.status = command, status
        known = status in list(Status)
        name = Status(status).name if known else f"status {status}"
        where = f" at instruction {FAULT.unpack(payload)[0]}" if status == Status.BAD_PROGRAM and len(payload) == FAULT.size else ""
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


class Client:
    """Commands of golden.protocol on a port.

    ``timeout``: seconds without a byte after which a reply is given up; ``run_timeout``: the same while a program runs.  Commands that
    may be repeated are, ``retries`` times; RUN is not: it may have been carried out and its reply lost.
    """

    def __init__(self, port: Port, *, timeout: float = 1.0, run_timeout: float = 10.0, retries: int = 3):
        self.port, self.timeout, self.run_timeout, self.retries = port, timeout, run_timeout, retries
        self._sequence = random.randrange(256)                 # a reply left over from another session shall not fit
        self._received = b""
        self._identity: Identity | None = None

    # -- commands --------------------------------------------------------------------------------------------------------
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
            raise LinkError(f"a program of {len(program)} instructions has {len(code)} bytes, a frame of this device carries "
                            f"{self.identity.max_payload}: build it with a larger frame_bytes")
        self.command(Command.LOAD, code)

    def read_program(self) -> Raw:
        """All 32-bit words of program memory."""
        return np.frombuffer(self.read(Region.PROGRAM, 0, self.config.program_words), "<u4").astype(np.int64)

    def write_weights(self, words: Raw, *, first: int = 0) -> None:
        """``words``: (n, P) raw weights, layout of golden.synapse.to_words; ``first``: number of the first word."""
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

    def run(self, *, learn: bool, address: int = 0, values: Raw | None = None, read: tuple[int, int] = (0, 0)) -> RunResult:
        """Write ``values`` from element ``address``, run the program, read ``read`` = (element address, count) back: one frame each way."""
        data = b"" if values is None else _value_bytes(self.config, values)
        room = self.identity.max_payload - RUN_HEADER.size
        if len(data) > room:                                   # the rest first; it may be written twice without harm
            self.write(Region.VALUE, address, data[:-room])
            address, data = address + len(data) - room, data[-room:]
        payload = RUN_HEADER.pack(LEARN * learn, *read, address) + data
        reply = self.command(Command.RUN, payload)
        want = RESULT.size + read[1] * READ_BYTES[Region.VALUE]
        if len(reply) != want:
            raise LinkError(f"RUN was answered by {len(reply)} bytes, not {want}; build and load the bitstream again")
        prediction, cycles, spikes, accesses = RESULT.unpack_from(reply)
        plus, minus = _plus_minus(reply[RESULT.size:])
        return RunResult(prediction, cycles, spikes, accesses, plus, minus)

    def write(self, region: Region, address: int, data: bytes) -> None:
        """Elements of a region, in as many frames as it takes."""
        size = WRITE_BYTES[region]
        step = (self.identity.max_payload - WRITE_HEADER.size) // size * size
        self._require(region, address, len(data) // size)
        for at in range(0, len(data), step):
            self.command(Command.WRITE, WRITE_HEADER.pack(region, address + at // size) + data[at: at + step])

    def read(self, region: Region, address: int, count: int) -> bytes:
        """Elements of a region, in as many frames as it takes."""
        self._require(region, address, count)
        parts = []
        for at in range(address, address + count, READ_ELEMENTS):
            n = min(READ_ELEMENTS, address + count - at)
            part = self.command(Command.READ, READ_HEADER.pack(region, at, n))
            if len(part) != n * READ_BYTES[region]:
                raise LinkError(f"READ of {n} elements of {region.name} was answered by {len(part)} bytes; "
                                "build and load the bitstream again")
            parts.append(part)
        return b"".join(parts)

    def _require(self, region: Region, address: int, count: int) -> None:
        size = region_size(self.config, region)
        if not 0 <= address <= address + count <= size:
            raise ValueError(f"{region.name} has elements 0..{size - 1}, not {address}..{address + count - 1}")

    # -- frames ----------------------------------------------------------------------------------------------------------
    def command(self, command: Command, payload: bytes = b"") -> bytes:
        """Payload of the reply; DeviceError when the device refuses, NoReply when it does not answer."""
        tries = 1 if command == Command.RUN else 1 + self.retries
        for left in reversed(range(tries)):
            self._sequence = self._sequence % 255 + 1          # 0 is the device's word for "not readable"
            # a leading END makes a frame of its own of what noise left there
            self.port.write(sliplib.END + sliplib.encode(seal(command, self._sequence, payload)) + sliplib.END)
            try:
                status, answer = self._reply(command)
            except NoReply:
                if not left:
                    raise
                continue
            if status == Status.OK:
                return answer
            if status in LINE_FAULTS and left:
                continue
            raise DeviceError(command, status, answer)
        raise AssertionError("unreachable")

    def _reply(self, command: Command) -> tuple[int, bytes]:
        """Status and payload of the reply to the current sequence number; replies to others, and damaged ones, are skipped."""
        wait = self.run_timeout if command == Command.RUN else self.timeout
        deadline, skipped = time.monotonic() + wait, 0
        while True:
            end = self._received.find(sliplib.END)
            if end >= 0:
                packet, self._received = self._received[:end], self._received[end + 1:]
                try:
                    status, sequence, payload = unseal(sliplib.decode(packet))
                    if sequence == self._sequence:
                        return status, payload
                except (FrameError, sliplib.ProtocolError):
                    pass
                skipped += bool(packet)
                continue
            data = self.port.read(max(1, getattr(self.port, "in_waiting", 1)))
            if data:
                self._received += data
                deadline = time.monotonic() + wait
            elif time.monotonic() > deadline:
                self._received = b""
                more = f", only {skipped} damaged or foreign ones" if skipped else ""
                doubt = " The sample may have been learnt." if command == Command.RUN else ""
                raise NoReply(f"{command.name} was not answered within {wait:g} s{more}: is the bitstream loaded, and are port and "
                              f"baud rate right?{doubt}")


#: The device saw no whole frame: sending it again is safe for what may be repeated.
LINE_FAULTS = frozenset({Status.BAD_FRAME, Status.TOO_SHORT, Status.TOO_LONG, Status.BAD_CRC, Status.OVERRUN})


def _value_bytes(config: EngineConfig, values: Raw) -> bytes:
    return config.numerics.value.require(values, "values").astype(np.uint8).tobytes()


def _plus_minus(data: bytes) -> tuple[Raw, Raw]:
    pairs = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


class Session:
    """A network on a device: compiled for the engine that is there, program, constants, weights and counter written."""

    def __init__(self, client: Client, network: Network, weights: Mapping[str, Raw] | None = None, *, lr: float = 0.01, counter: int = 0):
        self.client, self.network = client, network
        self.compiled = Compiled(network, client.config)
        self.set_learning_rate(lr)
        first, constants = self.compiled.constants()
        if len(constants):
            client.write_values(first, constants)
        self.write_weights(weights if weights is not None else network.initial_weights())
        client.write_counter(counter)

    def set_learning_rate(self, lr: float) -> None:
        self.client.load_program(self.compiled.program(lr))

    def write_weights(self, weights: Mapping[str, Raw]) -> None:
        self.client.write_weights(self.compiled.weight_words(dict(weights)))

    def read_weights(self) -> Weights:
        return self.compiled.weights(self.client.read_weights(self.compiled.n_tiles * self.client.config.lanes))

    def run(self, x: Raw, y: Raw | None = None, *, learn: bool = False) -> RunResult:
        """One sample: x (n_inputs,) 8-bit values, and its target y (n_outputs,) to learn.

        ``plus`` and ``minus`` of the result are the output population's; after an inference both are the free rates.
        """
        if learn and y is None:
            raise ValueError("a sample needs a target to be learnt")
        output = self.compiled.groups[self.network.output]
        read = (output.first * self.client.config.lanes, self.network.n_outputs)
        return self.client.run(learn=learn, address=self.compiled.sample_first, values=self.compiled.sample(x, y), read=read)
