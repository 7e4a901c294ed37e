"""Host side of the link: commands to an engine on a serial port, each executed exactly once.

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from equilif_golden.extras import needs

with needs("host"):
    import sliplib

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Instruction, assemble, check
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Batch, Region, RunResult, readable, writable
from equilif_golden.engine.tables import TableTokens, with_presence
from equilif_golden.fixed import Raw, check_bool, check_int
from equilif_golden.link.flash import BLOCK
from equilif_golden.link.protocol import (
    END_OF_SAMPLE,
    ERASE_HEADER,
    FAULT,
    FLASH,
    LEARN,
    OVERHEAD,
    OWN_BYTES,
    PACKED,
    PREDICTION,
    READ_HEADER,
    RESULT,
    RUN_HEADER,
    TOKENS,
    TOKENS_HEADER,
    TOTALS,
    TRAINER,
    WRITE_HEADER,
    Command,
    FrameError,
    Identity,
    Status,
    pack,
    seal,
    unseal,
)
from equilif_golden.link.standalone import (
    FAULTS,
    NO_BLOCK,
    REGISTER_BYTES,
    REGISTERS,
    WRITABLE,
    Fault,
    TrainerRegisters,
)

#: elements that are read in one frame; a device sends any number, but a lost byte costs the whole frame
READ_ELEMENTS = 2048
#: elements that the 16 bits of a count can ask for
MAX_ELEMENTS = 0xFFFF
#: bytes of the longest reply, were each of them escaped; more without an END are no frame
LONGEST_REPLY = 2 * (OVERHEAD + RESULT.size + READ_BYTES[Region.VALUE] * MAX_ELEMENTS)
#: seconds without a byte after which a command is sent again
TIMEOUT = 0.25
#: seconds after which a command is given up
DEADLINE = 10.0
#: the same for RUN, whose reply comes when the program has run
RUN_DEADLINE = 20.0
#: part of the timeout that is waited once there are signs of damage
HURRY = 0.1
#: part of it that may pass between two bytes of a long reply: a busy computer is slower than the line
GAP = 0.5
#: every time that a command is sent again, the timeout is twice as long, up to so many times: more and more
#: copies do not help a slow device
MAX_BACKOFF = 16
#: bytes of a command and its reply in addition to the values of a sample
SAMPLE_OVERHEAD = RUN_HEADER.size + RESULT.size + 2 * OVERHEAD + 3
#: smallest payload that a host can work with: an instruction, or a value that goes with a run
MIN_PAYLOAD = 12

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
    Status.BUSY: "the board is at work by itself: stop it (equilif standalone --stop), or reset it",
    Status.NO_PROGRAM: "load a program first: load_program()",
    Status.BAD_REGION: DISAGREE,
    Status.BAD_FLAGS: OLDER,
    Status.BAD_ADDRESS: "the device is smaller than what was addressed: compile for what identify() returns",
    Status.BAD_PROGRAM: "the program was made for another engine: compile it for what identify() returns",
}


#: elements on the line, little endian
WRITE_TYPES = {Region.WEIGHT: "<i2", Region.VALUE: "u1", Region.COUNTER: "<u4"}
READ_TYPES = {Region.WEIGHT: "<i2", Region.VALUE: "<u2", Region.COUNTER: "<u4"}


class Port(Protocol):
    """A byte port: serial.Serial, or any object with a read that times out."""

    def read(self, size: int = 1, /) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...


class LinkError(OSError):
    """Communication with the device failed."""


class NoReply(LinkError):
    """No reply within the deadline."""


class PortFailed(LinkError):
    """The port failed: unplugged, or nothing reads at the other end."""


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


@dataclass
class Traffic:
    """Traffic of a client so far, in bytes on the line."""

    sent: int = 0
    received: int = 0
    commands: int = 0
    repeated: int = 0  #: frames sent again


class Client:
    """Commands of equilif_golden.link.protocol on a port.

    ``timeout``: seconds without a byte after which a command is sent again.  ``deadline``,
    ``run_deadline``: seconds after which it is given up, whatever the port says meanwhile; the second for
    RUN, whose reply comes when the program has run.  ``traffic`` counts.
    """

    def __init__(
        self,
        port: Port,
        *,
        timeout: float = TIMEOUT,
        deadline: float = DEADLINE,
        run_deadline: float = RUN_DEADLINE,
    ):
        self.port = port
        self.timeout = timeout
        self.deadline = deadline
        self.run_deadline = run_deadline
        self.traffic = Traffic()
        # a reply left over from another session shall not fit
        self._sequence = random.randrange(256)
        self._received = b""
        self._identity: Identity | None = None
        self._claimed = False
        #: before this client changed it the engine held a network that the board had trained itself, which
        #: is in its flash: `equilif standalone --boot` loads it again
        self.displaced = False

    # -- commands ----------------------------------------------------------------------------------
    def identify(self) -> Identity:
        """Sizes of the engine, its build, and the longest payload."""
        try:
            found = Identity.unpack(self.command(Command.IDENTIFY))
            if found.max_payload < MIN_PAYLOAD:
                raise ValueError(
                    f"the device takes frames of {found.max_payload + OVERHEAD} bytes, "
                    f"at least {MIN_PAYLOAD + OVERHEAD} are needed"
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

    # -- an engine: equilif_golden.engine.port.Engine -----------------------------------------------
    def load(self, program: Sequence[Instruction]) -> None:
        """Load a program; ProgramError when the engine cannot run it, which keeps the old one."""
        check(program, self.config)
        code = assemble(program).astype("<u4").tobytes()
        if len(code) > self.identity.max_payload:
            raise LinkError(
                f"a program of {len(program)} instructions has {len(code)} bytes, "
                f"a frame of this device carries {self.identity.max_payload}: "
                "build it with a larger frame_bytes"
            )
        self._claim()
        self.command(Command.LOAD, code)

    def write(self, region: Region, first: int, data: npt.ArrayLike) -> None:
        """Write elements from index ``first`` on, in as many frames as needed.

        A VALUE goes to both plus and minus.
        """
        at, codes = writable(self.config, region, first, data)
        self._claim()
        self._write(region, at.start, _bytes(region, codes))

    def read(self, region: Region, first: int, n: int) -> Raw:
        """Read ``n`` elements from index ``first`` on, in as many frames as needed.

        A VALUE is plus + 256 minus.
        """
        at = readable(self.config, region, first, n)
        parts = []
        for first_of_part in range(at.start, at.stop, READ_ELEMENTS):
            count = min(READ_ELEMENTS, at.stop - first_of_part)
            part = self.command(Command.READ, READ_HEADER.pack(region, first_of_part, count))
            if len(part) != count * READ_BYTES[region]:
                raise LinkError(
                    f"READ of {count} elements of {region.name} was answered by {len(part)} bytes; "
                    "build and load the bitstream again"
                )
            parts.append(part)
        return np.frombuffer(b"".join(parts), READ_TYPES[region]).astype(np.int64)

    def run(
        self,
        *,
        learn: bool,
        write: tuple[int, npt.ArrayLike] | None = None,
        read: tuple[int, int] = (0, 0),
        tokens: TableTokens | None = None,
    ) -> RunResult:
        """Run the program.  ``write``: first element and values to write before it; ``read``: first element
        and number of values to bring back after it.  One frame each way.

        ``tokens``: see equilif_golden.engine.port.Engine; they must fit the frame.
        """
        flags = LEARN * check_bool(learn, "learn")
        if flags:
            self._claim()
        address = n_tokens = 0
        data = listed = b""
        if tokens is not None:
            flags |= TOKENS
            n_tokens = len(tokens.rows)
            listed = self._tokens(tokens)
        written = with_presence(write, tokens)
        if written is not None:
            at, codes = writable(self.config, Region.VALUE, *written)
            address = at.start
            data = _bytes(Region.VALUE, codes[n_tokens:])
        wanted = readable(self.config, Region.VALUE, *read)
        count = check_int(wanted.stop - wanted.start, "read", 0, MAX_ELEMENTS, "number of values")
        room = self.identity.max_payload - RUN_HEADER.size - len(listed)
        packed = pack(data)
        if len(packed) < len(data) and len(packed) <= room:
            data = packed
            flags |= PACKED
        elif len(data) > room:  # the rest first
            self._claim()
            self._write(Region.VALUE, address + n_tokens + room, data[room:])
            data = data[:room]
        reply = self.command(
            Command.RUN, RUN_HEADER.pack(flags, wanted.start, count, address) + listed + data
        )
        want = RESULT.size + count * READ_BYTES[Region.VALUE]
        if len(reply) != want:
            raise LinkError(
                f"RUN was answered by {len(reply)} bytes, not {want}; build and load the bitstream again"
            )
        prediction, cycles, spikes, accesses = RESULT.unpack_from(reply)
        values = np.frombuffer(reply[RESULT.size :], READ_TYPES[Region.VALUE]).astype(np.int64)
        return RunResult(prediction, spikes, accesses, cycles, values=values)

    def _tokens(self, tokens: TableTokens) -> bytes:
        """Tokens as a RUN has them; LinkError if they do not fit the frame."""
        found = tokens.checked(self.config)
        rows = found.rows.astype("<u2").tobytes()
        listed = TOKENS_HEADER.pack(found.table, found.tile, found.groups, len(found.rows)) + rows
        room = self.identity.max_payload - RUN_HEADER.size
        if len(listed) > room:
            raise LinkError(
                f"{len(found.rows)} tokens have {len(listed)} bytes, a frame of this device carries {room}: "
                "build it with a larger frame_bytes, or take fewer tokens"
            )
        return listed

    def run_samples(self, first: int, samples: Iterable[Raw], *, learn: bool) -> Iterator[Batch]:
        """See equilif_golden.engine.port.BatchEngine: as many samples in a frame as it carries."""
        flags = LEARN * check_bool(learn, "learn")
        room = self.identity.max_payload - RUN_HEADER.size
        frame: list[bytes] = []
        for values in samples:
            at, codes = writable(self.config, Region.VALUE, first, values)
            data = _bytes(Region.VALUE, codes)
            packed = pack(data)
            size = sum(map(len, frame)) + len(frame) + len(packed)
            if frame and (size > room or len(frame) == self.identity.max_samples):
                yield self._batch(flags, at.start, frame)
                frame = []
            if len(packed) > min(room, len(data) + SAMPLE_OVERHEAD):
                if frame:
                    yield self._batch(flags, at.start, frame)
                    frame = []
                run = self.run(learn=learn, write=(at.start, codes))
                yield Batch(np.array([run.prediction]), run.spikes, run.accesses, run.cycles)
            else:
                frame.append(packed)
        if frame:
            yield self._batch(flags, first, frame)

    def _batch(self, flags: int, address: int, packed: Sequence[bytes]) -> Batch:
        """One frame of samples that fit it."""
        if flags:
            self._claim()
        header = RUN_HEADER.pack(flags | PACKED, 0, 0, address)
        payload = header + bytes([END_OF_SAMPLE]).join(packed)
        reply = self.command(Command.RUN, payload, samples=len(packed))
        n = len(packed) * PREDICTION.size
        if len(reply) != n + TOTALS.size:
            raise LinkError(
                f"RUN of {len(packed)} samples was answered by {len(reply)} bytes, not {n + TOTALS.size}; "
                "build and load the bitstream again"
            )
        cycles, spikes, accesses = TOTALS.unpack_from(reply, n)
        predictions = np.frombuffer(reply[:n], "<u2").astype(np.int64)
        return Batch(predictions, spikes, accesses, cycles)

    def _claim(self) -> None:
        """Make the board save what it has trained since its last checkpoint, before this client first
        changes the engine.  LinkError when that fails.
        """
        if self._claimed or not self.identity.flash_blocks:
            return
        now = self.registers
        if now.phase:
            return  # the command is refused
        self._claimed = True
        self.displaced = bool(now.valid)
        # behind the last epoch there is always one, and before a test
        if not now.valid or now.saves == NO_BLOCK or now.epoch == now.epochs or not (now.epoch or now.turn):
            return
        self.control_trainer(run=0, save=1)
        while (now := self.registers).phase:
            time.sleep(self.timeout)
        if now.fault:
            raise LinkError(
                "the board could not save what it has trained since its last checkpoint: "
                f"{FAULTS[Fault(now.fault)]}.  Drop it with  equilif standalone --boot"
            )

    def _write(self, region: int, first: int, data: bytes) -> None:
        """Elements as bytes, little endian."""
        size = OWN_BYTES[region] if region in OWN_BYTES else WRITE_BYTES[Region(region)]
        step = (self.identity.max_payload - WRITE_HEADER.size) // size * size
        for at in range(0, len(data), step):
            header = WRITE_HEADER.pack(region, first + at // size)
            self.command(Command.WRITE, header + data[at : at + step])

    # -- the flash of a board that has one -----------------------------------------------------------
    def read_flash(self, address: int, n: int) -> bytes:
        """Read ``n`` bytes of the flash area, in as many frames as needed."""
        parts = []
        for at in range(address, address + n, READ_ELEMENTS):
            count = min(READ_ELEMENTS, address + n - at)
            parts.append(self.command(Command.READ, READ_HEADER.pack(FLASH, at, count)))
        return b"".join(parts)

    def write_flash(self, address: int, data: bytes) -> None:
        """Program the flash: bits can only be cleared, so erase before."""
        self._write(FLASH, address, data)

    def erase_flash(self, block: int) -> None:
        self.command(Command.ERASE, ERASE_HEADER.pack(FLASH, block * BLOCK))

    @property
    def registers(self) -> TrainerRegisters:
        """Registers of the standalone trainer."""
        n = len(REGISTERS)
        return TrainerRegisters.unpack(self.command(Command.READ, READ_HEADER.pack(TRAINER, 0, n)))

    def control_trainer(self, *, run: int, save: int = 0, boot: int = 0) -> None:
        """Control the trainer: see equilif_golden.link.standalone.TrainerRegisters."""
        word = run | save << 1 | boot << 2
        self.command(Command.WRITE, WRITE_HEADER.pack(TRAINER, 0) + word.to_bytes(REGISTER_BYTES, "little"))

    def set_registers(self, registers: TrainerRegisters) -> None:
        """Write all registers except the control of the trainer."""
        written = registers.pack()[REGISTER_BYTES : REGISTER_BYTES * WRITABLE]
        self.command(Command.WRITE, WRITE_HEADER.pack(TRAINER, 1) + written)

    # -- frames ------------------------------------------------------------------------------------
    def command(self, command: Command, payload: bytes = b"", *, samples: int = 1) -> bytes:
        """Payload of the reply; DeviceError when the device refuses, NoReply when it does not answer.

        ``samples``: of a RUN, whose deadline they extend.
        """
        self._sequence = self._sequence % 255 + 1  # 0 is the device's word for "not readable"
        # a leading END separates the frame from noise before it
        line = sliplib.END + sliplib.encode(seal(command, self._sequence, payload)) + sliplib.END
        wait = self.run_deadline * samples if command == Command.RUN else self.deadline
        give_up = time.monotonic() + wait
        skipped = 0
        backoff = 1
        self.traffic.commands += 1
        while True:
            self._send(line)
            self.traffic.repeated += backoff > 1
            status, answer, foreign = self._reply(give_up, backoff * self.timeout)
            backoff = min(2 * backoff, MAX_BACKOFF)
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

    def _reply(self, give_up: float, timeout: float) -> tuple[int | None, bytes, int]:
        """Status and payload of the reply to the current sequence number, None when none came in time; how
        many others were skipped.

        In time: before nothing came for a while, and before ``give_up`` whatever comes.  What shows that a
        frame was damaged, here or there, shortens the wait, but does not end it: it may be about another
        frame.
        """
        quiet = time.monotonic() + timeout
        skipped = 0
        while True:
            # looked at before the port, so that what waited there while this program slept is still seen
            late = time.monotonic() > give_up
            came = self._receive()
            if came:
                quiet = max(quiet, time.monotonic() + GAP * timeout)
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
                        quiet = min(quiet, time.monotonic() + HURRY * timeout)
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
        """Whether bytes were received."""
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
        """Bytes up to the next END, or None; an overlong frame is dropped."""
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


def _bytes(region: Region, codes: Raw) -> bytes:
    """Values as elements of a region."""
    return codes.astype(WRITE_TYPES[region]).tobytes()
