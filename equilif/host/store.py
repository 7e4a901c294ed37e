"""Flash image of standalone training: program, samples and weights as link frames.

    slot 0 | slot 1 | journal | programs | saves | index | samples ... | index | tests ...

equilif_golden.link.standalone says what each is.  The journal is this program's, see equilif.host.journal:
which store it is, of which network and data, where its tests are, which of its blocks are written, and which
weights were saved.  Samples of lessons also take the rest of the blocks of programs, saves and index.  The
frames are those that equilif.host.client sends for the same work, so there is one way in which a sample gets
into an engine.

An upload has an *owner* number, from a digest of its content.  It is in the journal, in every list of
programs and, as a register, in every slot.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.host.client import Client
from equilif.host.journal import HEADER_BYTES, StoredTests, StoreError, require_idle
from equilif.training.storage.identity import NetworkIdentity
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.port import READ_BYTES, Region, dither_position
from equilif_golden.fixed import Raw, check_int
from equilif_golden.front_end.live import NUMBER, table_first
from equilif_golden.front_end.tokens import TOKENS
from equilif_golden.link.flash import BLOCK, ERASED
from equilif_golden.link.protocol import (
    LEARN,
    READ_HEADER,
    RESULT,
    RUN_HEADER,
    TRAINER,
    WRITE_HEADER,
    Command,
    Identity,
    seal,
    slip,
)
from equilif_golden.link.standalone import (
    INDEX_BYTES,
    LIST_BYTES,
    OWNER,
    OWNER_BITS,
    PLACES,
    REGISTER_BYTES,
    RUN_BYTES,
    SLOTS,
    WORD_LISTS,
    WRITABLE,
    TrainerRegisters,
    slot_blocks,
)
from equilif_golden.network import Network, TokenRows
from equilif_golden.sample_order import half_of
from equilif_golden.samples import one_hot

MAX_EPOCHS = 0xFF
MAX_CLASSES = 1 << 8  #: a sample's label is a byte
MAX_KEPT = PLACES * 0xFF  #: learned words that a board keeps
RECORD_BYTES = 512  #: of elements in a frame of a slot


#: message for a board without a standalone trainer
NO_TRAINER = (
    "this board has no standalone trainer: equilif boards lists those that have one,  equilif simulate "
    "--flash FILE  simulates one"
)


class CommandRecorder(Client):
    """A client without a device that records the frames it would send."""

    def __init__(self, identity: Identity):
        self._identity = identity
        self._claimed = True
        self.label = 0
        self.frames = bytearray()

    def command(self, command: Command, payload: bytes = b"", *, samples: int = 1) -> bytes:
        self.frames += slip(seal(command, self.label, payload))
        return bytes(RESULT.size) if command == Command.RUN else b""

    def taken(self) -> bytes:
        """Frames recorded since the last call."""
        out = bytes(self.frames)
        self.frames.clear()
        return out


@dataclass(frozen=True, kw_only=True)
class StoredSamples:
    """labels (n,), x (n, inputs), tokens; ``x`` or ``tokens`` may be None."""

    labels: npt.NDArray[np.int64]
    x: npt.NDArray[np.uint8] | None = None
    tokens: TokenRows | None = None

    def first(self, n: int) -> StoredSamples:
        """The first ``n`` samples."""
        return StoredSamples(
            labels=self.labels[:n],
            x=None if self.x is None else self.x[:n],
            tokens=None if self.tokens is None else self.tokens.take(range(n)),
        )


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Words that a board with a front end learns by itself.

    table : of the live controller, see equilif_golden.front_end.live.Table.
    replay, rounds : stored samples after each learned word, and how often both are learned; up to 255.
    classes : classes so far; further outputs of the network are for new ones.
    kept : learned words that the board keeps for replay; whole blocks of places.
    """

    table: Raw
    replay: int
    rounds: int
    classes: int
    kept: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A standalone training run.

    weights, counter : where it begins.
    rates : learning_rate of each epoch.
    samples, tests : training and test samples.
    seed : of their order, see equilif_golden.sample_order.
    pause : see equilif_golden.link.standalone.TrainerRegisters.
    about : what is saved with the network about its data, see equilif_golden.network.SavedNetwork.
    lessons : the board does not train, but hears; ``samples`` are those of the replay.
    """

    network: Network
    weights: Mapping[str, Raw]
    rates: Sequence[float]
    samples: StoredSamples
    tests: StoredSamples | None = None
    seed: int = 0
    counter: int = 0
    pause: int = 0
    about: Mapping[str, Any] | None = None
    lessons: Lessons | None = None

    @property
    def total(self) -> int:
        """Number of training and test samples."""
        return len(self.samples.labels) + (0 if self.tests is None else len(self.tests.labels))


@dataclass
class FlashStore:
    """Content of a board's flash.  ``n``: samples that fit, of ``offered``; ``tests``: after them."""

    identity: Identity
    registers: TrainerRegisters
    n: int
    offered: int
    network: NetworkIdentity
    tests: StoredTests | None = None
    #: block, content; without what is erased at its end
    blocks: dict[int, bytes] = field(default_factory=dict)
    journal: int = 0  #: its block

    @classmethod
    def of_job(
        cls, identity: Identity, job: TrainingJob, tick: Callable[[int], None] = lambda n: None
    ) -> FlashStore:
        """The image of a training job; StoreError when the board does not support it.

        ``tick`` gets the number of samples encoded so far.
        """
        network = job.network
        _check(identity, job)
        recorder = CommandRecorder(identity)
        chip = Chip(recorder, network, job.weights, learning_rate=job.rates[0], counter=job.counter)
        recorder.taken()
        size = slot_blocks(identity.config)
        programs = SLOTS * size + 1
        lists = _programs(chip, recorder, job)
        # the single list of lessons may be longer than others
        room = LIST_BYTES * len(lists) if job.lessons is None else LIST_BYTES + len(lists[0])
        saves = programs + _blocks(room)
        reads, writes = _slot(chip, recorder, job)
        index = saves + _blocks(len(reads))
        offered = len(job.samples.labels)
        word_blocks = 0
        if job.lessons is not None and job.lessons.kept:
            word_blocks = -(-check_int(job.lessons.kept, "kept", 0, MAX_KEPT, "learned words") // PLACES)
            offered = min(offered, BLOCK // INDEX_BYTES)
            reads = _with_word_lists(chip, recorder, reads)
        first = index + _blocks(INDEX_BYTES * offered) + word_blocks
        if first >= identity.flash_blocks:
            raise StoreError(
                f"no sample fits: weights and programs take {first} of "
                f"{identity.flash_blocks} blocks; take fewer epochs"
            )
        encoded = _samples(chip, recorder, job.samples)
        regions = [(first * BLOCK, identity.flash_blocks * BLOCK)]
        if job.lessons is not None:  # also in the blocks of the lists, which end with an erased byte
            sizes = ((programs, room), (saves, len(reads)), (index, INDEX_BYTES * offered))
            ends = [(block * BLOCK + size + 1, (block + _blocks(size)) * BLOCK) for block, size in sizes]
            regions = [*ends, *regions]
        places, samples = _fitted(encoded, regions, tick)
        n = len(places) // INDEX_BYTES
        if not n:
            raise StoreError(f"no sample fits in {(identity.flash_blocks - first) * BLOCK} bytes")
        registers = TrainerRegisters(
            run=1,
            generation=0,
            epochs=len(job.rates),
            pause=job.pause,
            programs=programs,
            saves=saves,
            index=index,
            half=half_of(n),
            samples=n,
            key=job.seed,
        )
        if job.lessons is not None:
            registers.run = 0
            registers.epochs = 0
            registers.replay = check_int(job.lessons.replay, "replay", 0, 0xFF, "samples")
            registers.rounds = check_int(job.lessons.rounds, "rounds", 1, 0xFF, "of a lesson")
            registers.classes = check_int(job.lessons.classes, "classes", 1, network.n_outputs)
            registers.room = word_blocks
            registers.half = half_of(n + PLACES * word_blocks)
        about = NetworkIdentity.of(network, job.about)
        out = cls(identity, registers, n, offered, about, journal=SLOTS * size)
        out._put(saves * BLOCK, reads)
        out._put(index * BLOCK, places)
        for (begin, _), data in zip(regions, samples, strict=True):
            out._put(begin, data)
        out.blocks |= dict.fromkeys(range(index + 1, index + 1 + word_blocks), b"")
        if job.tests is not None:
            encoded = _samples(chip, recorder, job.tests, learn=False)
            out._put_tests(encoded, len(job.tests.labels), lambda k: tick(n + k))
        registers.owner = out._owner(writes, *lists)
        out._put(programs * BLOCK, _with_owner(lists, registers.owner))
        out._put(0, writes + slip(_set(0, registers.pack()[: REGISTER_BYTES * WRITABLE])))
        return out

    def _owner(self, *others: bytes) -> int:
        """Number of the upload, from its blocks so far, ``others``, network and registers; never 0."""
        h = hashlib.sha256(f"{self.network} {self.registers}".encode())
        for data in (*(self.blocks[block] for block in sorted(self.blocks)), *others):
            h.update(data)
        return int.from_bytes(h.digest(), "little") % (1 << OWNER_BITS) or 1

    def _put_tests(self, encoded: Iterator[bytes], offered: int, tick: Callable[[int], None]) -> None:
        """Append as many test samples as fit."""
        index = max(self.blocks) + 1
        first = index + _blocks(INDEX_BYTES * offered)
        places, (samples,) = _fitted(encoded, [(first * BLOCK, self.identity.flash_blocks * BLOCK)], tick)
        if places:
            self.tests = StoredTests(index, len(places) // INDEX_BYTES)
            self._put(index * BLOCK, places)
            self._put(first * BLOCK, samples)

    def _put(self, address: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            block, offset = divmod(address + at, BLOCK)
            part = data[at : at + BLOCK - offset]
            there = self.blocks.get(block, b"")
            before = there[:offset].ljust(offset, bytes([ERASED]))
            self.blocks[block] = before + part + there[offset + len(part) :]
            at += len(part)

    @property
    def digest(self) -> str:
        h = hashlib.sha256()
        for block, data in sorted(self.blocks.items()):
            h.update(block.to_bytes(2, "little") + data)
        return h.hexdigest()

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(map(len, self.blocks.values()))

    # -- to the board ------------------------------------------------------------------------------
    def upload(self, client: Client, done: Callable[[int], None] = lambda n: None) -> int:
        """Write the blocks that the board does not have yet, and verify them; the bytes already there.

        The trainer's registers become invalid first, then the slots are erased, and slot 0 is written last.
        So a board on which this was interrupted has either all of the earlier upload or no checkpoint.
        ``done`` is called with the bytes so far.
        """
        require_idle(client.registers)
        self._invalidate(client)
        for k in range(SLOTS):
            self._erase_slot(client, k)
        self._invalidate(client)  # when it was switched off and on meanwhile, it has read a slot
        header = self.header()
        base = self.journal * BLOCK
        marks = base + LIST_BYTES
        there = client.read_flash(base, len(header)) == header
        kept = set()
        if there:
            found = client.read_flash(marks, self.identity.flash_blocks)
            kept = {block for block, mark in enumerate(found) if mark != ERASED}
        if not there:
            client.erase_flash(self.journal)
            client.write_flash(base, header)
        so_far = 0
        spared = 0
        for block, data in sorted(self.blocks.items(), key=lambda item: (item[0] < self.journal, item[0])):
            slot = block < self.journal
            if block in kept and not slot and data:  # places of learned words are empty again
                spared += len(data)
            else:
                client.erase_flash(block)
                self._write_block(client, block, data, lambda n, k=so_far: done(k + n))  # type: ignore[misc]
                if not slot:
                    client.write_flash(marks + block, b"\0")
            so_far += len(data)
            done(so_far)
        return spared

    @staticmethod
    def _invalidate(client: Client) -> None:
        client.control_trainer(run=0)
        client.set_registers(TrainerRegisters())

    def _erase_slot(self, client: Client, k: int) -> None:
        block = k * slot_blocks(self.identity.config)
        client.erase_flash(block)
        if client.read_flash(block * BLOCK, 1) != bytes([ERASED]):
            raise StoreError(f"the flash did not erase block {block}: it is worn out, or write-protected")

    def header(self) -> bytes:
        """At most HEADER_BYTES: its entries are numbers and digests."""
        tests = self.tests and {"index": self.tests.index, "n": self.tests.n}
        entries = {
            "store": self.digest,
            "owner": self.registers.owner,
            **asdict(self.network),
            "samples": self.n,
            "of": self.offered,
            "tests": tests,
        }
        return json.dumps(entries, sort_keys=True).encode().ljust(HEADER_BYTES, b" ")

    def _write_block(self, client: Client, block: int, data: bytes, done: Callable[[int], None]) -> None:
        """Write an erased block and verify it."""
        step = 1 << 12
        for at in range(0, len(data), step):
            part = data[at : at + step]
            client.write_flash(block * BLOCK + at, part)
            if client.read_flash(block * BLOCK + at, len(part)) != part:
                raise StoreError(
                    f"the flash did not keep what was written to block {block}: it is worn out, or "
                    "write-protected"
                )
            done(at + len(part))


def check_chip(client: Client) -> None:
    """StoreError when no flash answers, or one smaller than the design needs."""
    chip = client.registers.chip
    blocks = client.identity.flash_blocks
    size = 1 << (chip & 0xFF)
    if chip in (0, 0xFFFFFF):
        raise StoreError(
            f"no flash answers on this board (JEDEC ID {chip:06x}): is the bitstream for this board?"
        )
    if blocks * BLOCK >= size:
        raise StoreError(
            f"this board's flash has {size:,} bytes (JEDEC {chip:06x}), the design needs {blocks * BLOCK:,} "
            "after its bitstream: it was built for another board"
        )


def _check(identity: Identity, job: TrainingJob) -> None:
    """StoreError for a job that standalone training, or this board, does not support."""
    network = job.network
    if not identity.flash_blocks:
        raise StoreError(NO_TRAINER)
    check_int(len(job.rates), "epochs", 1, MAX_EPOCHS, "on a board")
    if network.n_outputs > MAX_CLASSES:
        raise StoreError(
            f"standalone training supports at most {MAX_CLASSES} classes, not {network.n_outputs}"
        )
    if network.table is not None and network.table.learning_rate_scale:
        raise StoreError(
            "standalone training does not support a trained embedding table: freeze it "
            "(table_learning_rate_scale = 0), or learn over the link"
        )


def _slot(chip: Chip, recorder: CommandRecorder, job: TrainingJob) -> tuple[bytes, bytes]:
    """READs of the state in a slot, and the WRITEs of the initial state."""
    reads = bytearray()
    writes = bytearray()
    words = chip.compiled.weight_words(dict(job.weights)).ravel()
    if job.lessons is not None:  # the live controller leaves the padding of tokens as it is
        layer = job.network.dynamic_attention
        assert layer is not None
        tokens = np.zeros((layer.attention.size, layer.relay.width), np.int64)
        first, zeros = chip.compiled.token_words(tokens)
        words = np.concatenate([words, np.zeros(first + zeros.size - len(words), np.int64)])
    most = _record_weights(recorder)
    for at in range(0, len(words), most):
        part = words[at : at + most].astype("<i2")
        reads += slip(seal(Command.READ, 0, READ_HEADER.pack(Region.WEIGHT, at, len(part))))
        writes += slip(seal(Command.WRITE, 0, WRITE_HEADER.pack(Region.WEIGHT, at) + part.tobytes()))
    position = dither_position(job.counter).to_bytes(4, "little")
    reads += slip(seal(Command.READ, 0, READ_HEADER.pack(Region.COUNTER, 0, 1)))
    writes += slip(seal(Command.WRITE, 0, WRITE_HEADER.pack(Region.COUNTER, 0) + position))
    reads += slip(seal(Command.READ, 0, READ_HEADER.pack(TRAINER, 0, WRITABLE)))
    return bytes(reads), bytes(writes)


def _with_word_lists(chip: Chip, recorder: CommandRecorder, reads: bytes) -> bytes:
    """READs of a checkpoint, those of a learned word, and the RUN that ends the list of each label."""
    network, compiled = chip.network, chip.compiled
    layer = network.dynamic_attention
    assert layer is not None
    first, zeros = compiled.token_words(np.zeros((layer.attention.size, layer.relay.width), np.int64))
    end = first + zeros.size
    target = compiled.groups[compiled.target].first * recorder.config.lanes
    most = _record_weights(recorder)
    spans = [(Region.WEIGHT, at, min(most, end - at)) for at in range(first, end, most)]
    spans += [(Region.VALUE, compiled.sample_first, TOKENS), (Region.VALUE, target, network.n_outputs)]
    word = b"".join(slip(seal(Command.READ, 0, READ_HEADER.pack(*span))) for span in spans)
    runs = b"".join(
        slip(seal(Command.RUN, label, RUN_HEADER.pack(LEARN, 0, 0, 0))).ljust(RUN_BYTES, bytes([ERASED]))
        for label in range(network.n_outputs)
    )
    out = b""
    for data, size in ((reads, WORD_LISTS * LIST_BYTES), (word, LIST_BYTES), (runs, LIST_BYTES)):
        if len(data) >= size:
            raise StoreError(f"a list of a board that keeps words has {len(data)} bytes of {size}: keep none")
        out += data.ljust(size, bytes([ERASED]))
    return out


def _record_weights(recorder: CommandRecorder) -> int:
    """Weights of a frame of a slot or of a learned word."""
    return min(RECORD_BYTES, recorder.identity.max_payload - WRITE_HEADER.size) // READ_BYTES[Region.WEIGHT]


def _set(first: int, elements: bytes) -> bytes:
    """WRITE of the trainer's registers."""
    return seal(Command.WRITE, 0, WRITE_HEADER.pack(TRAINER, first) + elements)


def _with_owner(lists: Sequence[bytes], owner: int) -> bytes:
    """The lists of programs, each with the WRITE of the owner before it."""
    frame = slip(_set(OWNER, owner.to_bytes(REGISTER_BYTES, "little")))
    out = bytearray()
    for frames in lists:
        size = len(frame) + len(frames)
        if size >= LIST_BYTES and len(lists) > 1:
            raise StoreError(f"a program and its constants have {size} bytes, the limit is {LIST_BYTES - 1}")
        out += (frame + frames).ljust(LIST_BYTES, bytes([ERASED]))
    return bytes(out)


def _programs(chip: Chip, recorder: CommandRecorder, job: TrainingJob) -> list[bytes]:
    """Frames of the program of each epoch, and of the one after the last; of lessons a single one."""
    out = []
    first, constants = chip.compiled.constants()
    for rate in [*job.rates, job.rates[-1]] if job.lessons is None else job.rates[-1:]:
        recorder.load(chip.compiled.program(rate))
        if len(constants):
            recorder.write(Region.VALUE, first, constants)
        if job.lessons is not None:
            recorder.write(Region.VALUE, table_first(recorder.config), job.lessons.table[:NUMBER])
        out.append(recorder.taken())
    return out


def _samples(
    chip: Chip, recorder: CommandRecorder, samples: StoredSamples, *, learn: bool = True
) -> Iterator[bytes]:
    """Frames that run a sample, one sample after the other; their sequence number is its label."""
    targets = one_hot(samples.labels, chip.network.n_outputs)
    nothing: Any = []
    for j, label in enumerate(samples.labels.tolist()):
        recorder.label = label
        tokens = None if samples.tokens is None else samples.tokens.take([j])
        x = nothing if samples.x is None else samples.x[j]
        chip.sample(x, targets[j] if learn else None, tokens=tokens)
        yield recorder.taken()
    recorder.label = 0


def _fitted(
    encoded: Iterator[bytes], regions: Sequence[tuple[int, int]], tick: Callable[[int], None]
) -> tuple[bytes, list[bytes]]:
    """Offsets of the samples, as many as fit, and the frames in each region (first byte, end)."""
    places = bytearray()
    samples = [bytearray() for _ in regions]
    for n, frames in enumerate(encoded, 1):
        for (first, end), data in zip(regions, samples, strict=True):
            if first + len(data) + len(frames) <= end:
                places += (first + len(data)).to_bytes(INDEX_BYTES, "little")
                data += frames
                break
        else:
            break
        tick(n)
    return bytes(places), [bytes(data) for data in samples]


def _blocks(size: int) -> int:
    """Blocks that this number of bytes takes."""
    return -(-size // BLOCK)
