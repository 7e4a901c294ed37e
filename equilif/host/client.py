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
import numpy.typing as npt

from equilif.extras import needs

with needs("host"):
    import sliplib

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction, assemble, check
from equilif_golden.engine.port import (
    READ_BYTES,
    WRITE_BYTES,
    Region,
    dither_position,
    region_size,
    updates_at,
)
from equilif_golden.fixed import Raw, truth, whole
from equilif_golden.link.protocol import (
    FAULT,
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
    pack,
    seal,
    unseal,
)

#: elements that are read in one frame; a device sends any number, but a lost byte costs the whole frame
READ_ELEMENTS = 2048
#: elements that the 16 bits of a count can ask for
MOST_ELEMENTS = 0xFFFF
#: bytes of the longest reply, were each of them escaped; more without an END are no frame
LONGEST_REPLY = 2 * (OVERHEAD + RESULT.size + READ_BYTES[Region.VALUE] * MOST_ELEMENTS)
#: seconds without a byte after which a command is sent again
TIMEOUT = 0.25
#: seconds after which a command is given up
PATIENCE = 10.0
#: the same for RUN, whose reply comes when the program has run
RUN_PATIENCE = 20.0
#: part of the timeout that is waited once there are signs of damage
HURRY = 0.1
#: smallest payload that a host can work with: an instruction, or a value that goes with a run
LEAST_PAYLOAD = 12

#: statuses that say that the device saw no whole frame
LINE_FAULTS = frozenset({Status.BAD_FRAME, Status.TOO_SHORT, Status.TOO_LONG, Status.BAD_CRC, Status.OVERRUN})

DAMAGED = "bytes were damaged on the line: check baud rate and cable"
DISAGREE = "the bitstream and this program disagree about a layout: build and load the bitstream again"
OLDER = "the bitstream is older than this program: build and load it again"

ADVICE = {
    Status.BAD_FRAME: DAMAGED,
    Status.TOO_SHORT: "bytes were lost on the line: check baud rate and cable",
    Status.TOO_LONG: "an END was lost on the line, or the device takes shorter frames than it says",
    Status.BAD_CRC: DAMAGED,
    Status.OVERRUN: "the device was busy with an earlier command: is another program using the port?",
    Status.UNKNOWN_COMMAND: OLDER,
    Status.BAD_LENGTH: DISAGREE,
    Status.BUSY: "the engine is running by itself: reset the board",
    Status.NO_PROGRAM: "load a program first: load_program()",
    Status.BAD_REGION: DISAGREE,
    Status.BAD_FLAGS: OLDER,
    Status.BAD_ADDRESS: "the device is smaller than what was addressed: compile for what identify() returns",
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


class PortFailed(LinkError):
    """The port itself failed: it was unplugged, or nobody takes what is written."""


class DeviceError(LinkError):
    """The device refused a command and changed nothing."""

    def __init__(self, command: Command, status: int, payload: bytes = b""):
        self.command = command
        self.status = status
        known = status in list(Status)
        name = Status(status).name if known else f"status {status}"
        where = ""
        if status == Status.BAD_PROGRAM and len(payload) == FAULT.size:
            where = f" at instruction {FAULT.unpack(payload)[0]}"
        advice = ADVICE.get(Status(status), "") if known else "the bitstream is newer than this program"
        super().__init__(f"{command.name} was refused with {name}{where}: {advice}")


@dataclass(frozen=True)
class RunResult:
    """What the device reports of a run.

    ``plus``, ``minus``: the values that were asked for, after the run.
    """

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

    ``timeout``: seconds without a byte after which a command is sent again.  ``patience``,
    ``run_patience``: seconds after which it is given up, whatever the port says meanwhile; the second for
    RUN, whose reply comes when the program has run.  ``traffic`` counts.
    """

    def __init__(
        self,
        port: Port,
        *,
        timeout: float = TIMEOUT,
        patience: float = PATIENCE,
        run_patience: float = RUN_PATIENCE,
    ):
        self.port = port
        self.timeout = timeout
        self.patience = patience
        self.run_patience = run_patience
        self.traffic = Traffic()
        # a reply left over from another session shall not fit
        self._sequence = random.randrange(256)
        self._received = b""
        self._identity: Identity | None = None

    # -- commands ----------------------------------------------------------------------------------
    def identify(self) -> Identity:
        """Sizes of the engine, its build, and the longest payload."""
        try:
            found = Identity.unpack(self.command(Command.IDENTIFY))
            if found.max_payload < LEAST_PAYLOAD:
                raise ValueError(
                    f"the device takes frames of {found.max_payload + OVERHEAD} bytes, "
                    f"at least {LEAST_PAYLOAD + OVERHEAD} are needed"
                )
        except ValueError as e:
            raise LinkError(f"{e}; load a bitstream that was built from this version") from e
        self._identity = found
        return found

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
                f"a program of {len(program)} instructions has {len(code)} bytes, "
                f"a frame of this device carries {self.identity.max_payload}: "
                "build it with a larger frame_bytes"
            )
        self.command(Command.LOAD, code)

    def write_weights(self, words: npt.ArrayLike, *, first: int = 0) -> None:
        """``words``: (n, P) raw weights, layout of equilif_golden.blocks.synapse.to_words.

        ``first``: number of the first word.
        """
        p = self.config.lanes
        codes = self.config.numerics.weight.require(words, "weights")
        if codes.ndim != 2 or codes.shape[1] != p:
            raise ValueError(f"weights must have shape (words, {p}), a column a lane, not {codes.shape}")
        self.write(Region.WEIGHT, self._word(first) * p, codes.astype("<i2").tobytes())

    def read_weights(self, n_words: int, *, first: int = 0) -> Raw:
        """(n_words, P) raw weights from word ``first``."""
        p = self.config.lanes
        data = self.read(Region.WEIGHT, self._word(first) * p, self._word(n_words, "number of words") * p)
        return np.frombuffer(data, "<i2").astype(np.int64).reshape(-1, p)

    def write_values(self, address: int, values: npt.ArrayLike) -> None:
        """8-bit values to plus and minus from element ``address``."""
        self.write(Region.VALUE, address, _value_bytes(self.config, values))

    def read_values(self, address: int, count: int) -> tuple[Raw, Raw]:
        """plus and minus, (count,) each."""
        return _plus_minus(self.read(Region.VALUE, address, count))

    def write_counter(self, updates: int) -> None:
        """Number of updates so far; only its place in the dither's cycle is kept."""
        position = dither_position(whole(updates, "counter", 0, 0xFFFFFFFF))
        self.write(Region.COUNTER, 0, position.to_bytes(4, "little"))

    def read_counter(self) -> int:
        """Number of updates, modulo the dither's cycle of 2**DITHER_WIDTH."""
        return updates_at(int.from_bytes(self.read(Region.COUNTER, 0, 1), "little"))

    def run(
        self,
        *,
        learn: bool,
        address: int = 0,
        values: npt.ArrayLike | None = None,
        read: tuple[int, int] = (0, 0),
    ) -> RunResult:
        """Write ``values`` from element ``address``, run the program, read ``read`` = (element address,
        count) back: one frame each way.
        """
        flags = LEARN * truth(learn, "learn")
        data = b"" if values is None else _value_bytes(self.config, values)
        address, _ = self._span(Region.VALUE, address, len(data))
        read_address, count = self._span(Region.VALUE, *read)
        whole(count, "number of values to read", 0, MOST_ELEMENTS)
        room = self.identity.max_payload - RUN_HEADER.size
        packed = pack(data)
        if len(packed) < len(data) and len(packed) <= room:
            data = packed
            flags |= PACKED
        elif len(data) > room:  # the rest first
            self.write(Region.VALUE, address, data[:-room])
            address += len(data) - room
            data = data[-room:]
        reply = self.command(Command.RUN, RUN_HEADER.pack(flags, read_address, count, address) + data)
        want = RESULT.size + count * READ_BYTES[Region.VALUE]
        if len(reply) != want:
            raise LinkError(
                f"RUN was answered by {len(reply)} bytes, not {want}; build and load the bitstream again"
            )
        prediction, cycles, spikes, accesses = RESULT.unpack_from(reply)
        plus, minus = _plus_minus(reply[RESULT.size :])
        return RunResult(prediction, cycles, spikes, accesses, plus, minus)

    def write(self, region: Region, address: int, data: bytes) -> None:
        """Elements of a region, in as many frames as it takes.  ``data``: their bytes, little endian."""
        region = self._readable(region)
        size = WRITE_BYTES[region]
        if len(data) % size:
            raise ValueError(f"an element of {region.name} has {size} bytes, {len(data)} are no whole number")
        address, _ = self._span(region, address, len(data) // size)
        step = (self.identity.max_payload - WRITE_HEADER.size) // size * size
        for at in range(0, len(data), step):
            header = WRITE_HEADER.pack(region, address + at // size)
            self.command(Command.WRITE, header + data[at : at + step])

    def read(self, region: Region, address: int, count: int) -> bytes:
        """Elements of a region, in as many frames as it takes."""
        region = self._readable(region)
        address, count = self._span(region, address, count)
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

    # -- arguments, before anything is sent --------------------------------------------------------
    def _readable(self, region: Region) -> Region:
        if region not in READ_BYTES:
            raise ValueError(f"region must be {', '.join(r.name for r in READ_BYTES)}, not {region!r}")
        return Region(region)

    def _span(self, region: Region, address: int, count: int) -> tuple[int, int]:
        """Address and count of elements, as they are; ValueError unless the region has them all."""
        size = region_size(self.config, region)
        address = whole(address, f"{region.name} address", 0, size)
        count = whole(count, f"number of {region.name} elements", 0, size)
        if address + count > size:
            raise ValueError(
                f"{region.name} has elements 0..{size - 1}, not {address}..{address + count - 1}"
            )
        return address, count

    def _word(self, number: int, name: str = "number of the first word") -> int:
        return whole(number, name, 0, self.config.n_weights // self.config.lanes)

    # -- frames ------------------------------------------------------------------------------------
    def command(self, command: Command, payload: bytes = b"") -> bytes:
        """Payload of the reply; DeviceError when the device refuses, NoReply when it does not answer."""
        self._sequence = self._sequence % 255 + 1  # 0 is the device's word for "not readable"
        # a leading END makes a frame of its own of what noise left there
        line = sliplib.END + sliplib.encode(seal(command, self._sequence, payload)) + sliplib.END
        wait = self.run_patience if command == Command.RUN else self.patience
        give_up = time.monotonic() + wait
        skipped = 0
        again = False
        self.traffic.commands += 1
        while True:
            self._send(line)
            self.traffic.repeated += again
            again = True
            status, answer, foreign = self._reply(give_up)
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
                    f"{command.name} was not answered within {wait:g} s{more}: "
                    "is the bitstream loaded, and are port and baud rate right?"
                )

    def _reply(self, give_up: float) -> tuple[int | None, bytes, int]:
        """Status and payload of the reply to the current sequence number, None when none came in time; how
        many others were skipped.

        In time: before nothing came for a while, and before ``give_up`` whatever comes.  What shows that a
        frame was damaged, here or there, shortens the wait, but does not end it: it may be about another
        frame.
        """
        quiet = time.monotonic() + self.timeout
        skipped = 0
        while True:
            # looked at before the port, so that what waited there while this program slept is still seen
            late = time.monotonic() > give_up
            came = self._receive()
            if came:
                quiet = max(quiet, time.monotonic() + HURRY * self.timeout)
            while (packet := self._packet()) is not None:
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
                        quiet = min(quiet, time.monotonic() + HURRY * self.timeout)
            if late or not came and time.monotonic() > quiet:
                self._received = b""
                return None, b"", skipped

    # -- bytes -------------------------------------------------------------------------------------
    def _send(self, line: bytes) -> None:
        try:
            self.port.write(line)
        except OSError as e:
            raise PortFailed(
                f"{self._name} takes no bytes ({e}): was it unplugged, or does nobody read at its other end?"
            ) from e
        self.traffic.sent += len(line)

    def _receive(self) -> bool:
        """Whether bytes came."""
        try:
            data = self.port.read(max(1, getattr(self.port, "in_waiting", 1)))
        except OSError as e:
            raise PortFailed(
                f"{self._name} cannot be read ({e}): was it unplugged, or does another program read it too?"
            ) from e
        self._received += data
        self.traffic.received += len(data)
        return bool(data)

    def _packet(self) -> bytes | None:
        """What came before the next END, None when none came.  What is too long for a frame is dropped."""
        packet, end, rest = self._received.partition(sliplib.END)
        if end:
            self._received = rest
            return packet
        if len(self._received) > LONGEST_REPLY:
            self._received = b""
        return None

    @property
    def _name(self) -> str:
        return getattr(self.port, "name", None) or "the port"


def _value_bytes(config: EngineConfig, values: npt.ArrayLike) -> bytes:
    codes = config.numerics.value.require(values, "values")
    if codes.ndim != 1:
        raise ValueError(f"values must have one dimension, not {codes.ndim}")
    return codes.astype(np.uint8).tobytes()


def _plus_minus(data: bytes) -> tuple[Raw, Raw]:
    pairs = np.frombuffer(data, np.uint8).astype(np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
