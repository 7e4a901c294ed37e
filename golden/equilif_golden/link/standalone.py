"""The trainer: a board works by itself, from frames in its flash.

What a host would send stands in flash, byte for byte, SLIP and CRC included.  The trainer sends it to the
device and looks at the replies, so a board that works alone does nothing that a host could not see.

    flash --> list of frames --> device --> reply: hits, spikes
                                   '-----> reply as a WRITE, into a slot of the flash   (a checkpoint)

A *list* is a run of frames; a byte of ERASED in place of a frame ends it.  There are

    slots       0 and 1: what the board has learned: weights, counter, and last the trainer's registers.  The
                newer whole one counts, see :meth:`StandaloneTrainer.boot`
    programs    list k is played before epoch k: the upload's number, program and constants
    saves       one list of READs, whose replies become a slot
    samples     each ends with a RUN; its sequence number is the label.  ``index`` says where each begins

The trainer learns, tests and saves only while the register ``valid`` is set: the engine holds what was
restored from a slot and trained since.  A host's LOAD, WRITE to the engine or RUN with learning clears it,
and so does a program of another upload than the slot's.

A board with a front end has *lessons*: the live controller learns a word, then the trainer learns ``replay``
stored samples, the next ones of its order.  After ``rounds`` of both it saves a checkpoint.  Old classes are
not forgotten, and a power cut loses the last lesson at most.

With ``room`` the word is stored, too, before its first replays, in one of 16 ``room`` *places*, by the rule
of equilif_golden.replay.Reservoir.  Each place is a sector of the flash: the WRITEs of tokens and values,
whose sequence number is the label.  The first byte is written last, and cleared before the sector is erased,
so after a power cut a place has its word or none.  A place without one is skipped.

``hdl/equilif_hdl/link/standalone.py`` does the same, bit for bit.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import BLOCK, ERASED, SECTOR, Flash
from equilif_golden.link.protocol import END, RESULT, TRAINER, Command, Status, slip, unseal, unslip
from equilif_golden.replay import choose, xorshift
from equilif_golden.sample_order import KEY_STEP, MAX_HALF_BITS, SAMPLE_BITS, shuffled

SLOTS = 2
LIST_BYTES = 1 << 12  #: from a program's list to the next
INDEX_BYTES = 3  #: of an entry of the index, little endian
OWNER_BITS = 16
LABELS = 1 << 8  #: of learned words
PLACES = BLOCK // SECTOR  #: for learned words in a block
WORD_LISTS = 2  #: lists of the block of saves that belong to checkpoints
RUN_BYTES = 32  #: from the RUN of a label to the next
MAX_DISPLACED = 0xFFFF
NO_BLOCK = 0xFF  #: lies behind every area, where all is as if erased: a list that begins there is empty


class TrainerPhase(IntEnum):
    """State of the trainer."""

    IDLE = 0
    BOOT = 1  #: searches a valid slot and restores it
    LEARN = 2
    SAVE = 3


class Fault(IntEnum):
    """Reason why the trainer stopped."""

    NONE = 0
    NO_SLOT = 1  #: no valid slot
    REFUSED = 2  #: a frame was invalid, or the device rejected it
    SLOT_FULL = 3  #: the checkpoint is longer than a slot
    FOREIGN = 4  #: the engine does not hold the network of the upload in the flash


FAULTS = {
    Fault.NO_SLOT: "no complete checkpoint is in the flash: upload a network (equilif upload)",
    Fault.REFUSED: "what is in the flash is damaged, or was made for another engine: upload it again",
    Fault.SLOT_FULL: "a checkpoint is longer than its slot: upload again with this version",
    Fault.FOREIGN: "the engine holds a network that a host wrote, not the one the board trained: reload the "
    "last checkpoint (equilif standalone --boot); if that fails, upload again (equilif upload)",
}

#: registers: field, bits; elements of 32 bits of the region TRAINER.  A slot keeps the WRITABLE ones
REGISTERS: tuple[tuple[tuple[str, int], ...], ...] = (
    (("run", 1), ("save", 1), ("boot", 1)),
    (("generation", 8), ("epoch", 8), ("epochs", 8), ("pause", 8)),
    (("programs", 8), ("saves", 8), ("index", 8), ("half", 4)),
    (("samples", SAMPLE_BITS),),
    (("key", 32),),
    (("turn", SAMPLE_BITS),),
    (("seen", SAMPLE_BITS),),
    (("hits", SAMPLE_BITS),),
    (("spikes", 32),),
    (("owner", OWNER_BITS),),
    (("phase", 8), ("fault", 8), ("valid", 1)),
    (("chip", 24),),
)
#: of a trainer with lessons, by the first field of their register
ADDITIONAL = {"samples": ("replay",), "turn": ("classes",), "seen": ("rounds",), "hits": ("room",)}
LESSON_REGISTERS = tuple(
    (*register, *((name, 8) for name in ADDITIONAL.get(register[0][0], ()))) for register in REGISTERS
)
WRITABLE = len(REGISTERS) - 2
OWNER = WRITABLE - 1  #: element of ``owner``
ORDERS = ("save", "boot")  #: read as 0: they are not for a slot
REGISTER_BYTES = 4


@dataclass
class TrainerRegisters:
    """Registers of the standalone trainer.

    run         train while epochs are left; 0 stops after the present frame
    save        save a checkpoint first
    boot        restart from the flash as soon as the trainer is idle
    generation  number of the last saved slot; its lowest bit is the index of the slot
    epoch       present epoch, from 0; ``epochs``: their total
    pause       a checkpoint follows every epoch whose number, from 1, has none of these bits, and the last
                epoch: 0 every one, 1 every second, 3 every fourth
    programs, saves, index
                first block of each
    half        the sample order permutes 4 ** half numbers; values above 10 count as 10
    samples     number of training samples
    key         key of the present epoch's order, see equilif_golden.sample_order
    turn        position in the order: one half of the number from bit 10 on, the other from bit 0 on
    seen, hits, spikes
                counters of the present epoch: samples, correct predictions, spikes
    owner       number of the upload, from its content; 0: none.  A different one invalidates the network in
                the engine
    phase, fault
                :class:`TrainerPhase`, :class:`Fault`
    valid       the engine holds the network of the upload, restored from a slot and trained since
    chip        JEDEC identification of the flash: manufacturer, type, log2 of its bytes
    replay, rounds
                stored samples after a learned word, and how often word and samples are learned; with lessons
    classes     classes so far; other outputs of the network are unused; with lessons
    room        blocks of places for learned words, after the index; with lessons
    """

    run: int = 0
    save: int = 0
    boot: int = 0
    generation: int = 0
    epoch: int = 0
    epochs: int = 0
    pause: int = 0
    programs: int = 0
    saves: int = 0
    index: int = 0
    half: int = 0
    samples: int = 0
    key: int = 0
    turn: int = 0
    seen: int = 0
    hits: int = 0
    spikes: int = 0
    owner: int = 0
    phase: int = TrainerPhase.IDLE
    fault: int = Fault.NONE
    valid: int = 0
    chip: int = 0
    # not part of the number of an upload
    replay: int = field(default=0, repr=False)
    rounds: int = field(default=0, repr=False)
    classes: int = field(default=0, repr=False)
    room: int = field(default=0, repr=False)

    def element(self, n: int) -> int:
        """Register ``n`` as it is read."""
        word = 0
        at = 0
        for name, bits in LESSON_REGISTERS[n]:
            word |= (0 if name in ORDERS else getattr(self, name)) << at
            at += step(bits)
        return word

    def put(self, n: int, word: int) -> None:
        """Write register ``n``; bits that it does not have are lost."""
        at = 0
        for name, bits in LESSON_REGISTERS[n]:
            setattr(self, name, word >> at & ((1 << bits) - 1))
            at += step(bits)

    def pack(self) -> bytes:
        """All as elements."""
        return b"".join(struct.pack("<I", self.element(n)) for n in range(len(REGISTERS)))

    @classmethod
    def unpack(cls, data: bytes) -> TrainerRegisters:
        """Unpack all elements in their reading order."""
        out = cls()
        for n, (word,) in enumerate(struct.iter_unpack("<I", data)):
            out.put(n, word)
        return out


def step(bits: int) -> int:
    """Advance from a field of a register to the next: whole bytes, and separate bits in the first one."""
    return 1 if bits == 1 else -(-bits // 8) * 8


def slot_blocks(config: EngineConfig) -> int:
    """Blocks of a slot: all weights, were each byte escaped, and a block for the rest."""
    return -(-4 * config.n_weights // BLOCK) + 1


class Stop(Exception):
    """The trainer stops by itself."""

    def __init__(self, fault: Fault):
        super().__init__(fault.name)
        self.fault = fault


class Carrier(Protocol):
    """Executor of the trainer's frames: equilif_golden.link.device.Device."""

    def packet(self, packet: bytes, *, from_trainer: bool = False) -> bytes | None: ...
    def recorded(self, packet: bytes, sequence: int) -> bytes | None: ...


class StandaloneTrainer:
    """Plays to ``device``.  Its generators yield before every frame, where a host's command may come in
    between.  ``lessons``: words are learned, see :meth:`learned`.
    """

    def __init__(self, device: Carrier, flash: Flash, config: EngineConfig, *, lessons: bool = False):
        self.device = device
        self.flash = flash
        self.registers = TrainerRegisters(phase=TrainerPhase.BOOT, chip=flash.chip)
        self.slot_bytes = slot_blocks(config) * BLOCK
        self.lessons = lessons
        self._replays = 0  #: stored samples that this lesson still has to learn
        self._teaching = False  #: a lesson is not finished
        self._word: int | None = None  #: label of a word that is to be stored
        self._random = 1
        self._displaced = np.zeros(LABELS, np.int64)  #: words of each class not kept, since power-up
        self._written = False  #: a register, since a sample was chosen
        self._working: Iterator[None] | None = self._boot()

    # -- registers ---------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        """The flash is in use."""
        return self._working is not None or self._wanted

    @property
    def _wanted(self) -> bool:
        r = self.registers
        trains = r.run and r.epoch != r.epochs
        return bool(r.save or r.boot or trains or self._replays or self._word is not None)

    def put(self, n: int, word: int) -> None:
        r = self.registers
        owner = r.owner
        r.put(n, word)
        r.valid &= r.owner == owner
        self._written = True
        if not self.lessons:
            r.replay = r.rounds = r.classes = r.room = 0
        if n == 0:
            r.fault = Fault.NONE
            self._replays = 0
            self._word = None

    def invalidate(self) -> None:
        """A host has changed what the engine holds."""
        self.registers.valid = 0

    def learned(self, label: int) -> None:
        """The live controller has learned a word of this class, while the trainer was idle.  Ignored unless
        the network is that of the upload.
        """
        r = self.registers
        if r.valid:
            r.classes = max(r.classes, label + 1)
            r.fault = Fault.NONE
            self._replays = r.replay if r.samples else 0
            if r.room and not self._teaching:
                self._word = label
        self._teaching = True

    def finish(self) -> None:
        """The lesson ends, after the last round: save a checkpoint, unless there was a fault."""
        r = self.registers
        self._teaching = False
        if r.valid and r.fault == Fault.NONE:
            r.save = 1

    # -- work --------------------------------------------------------------------------------------
    def step(self) -> bool:
        """Up to the next frame; False when there is nothing to do."""
        if not self.busy:
            return False
        if self._working is None:
            self._working = self._boot() if self.registers.boot else self._learn()
        try:
            next(self._working)
            return True
        except StopIteration:
            pass
        except Stop as e:
            self.registers.fault = e.fault
            self.registers.run = 0
            self.registers.save = 0
            self._replays = 0
            self._word = None
        self._working = None
        self.registers.phase = TrainerPhase.IDLE
        return True

    def work(self) -> None:
        """All that there is to do."""
        while self.step():
            pass

    def _boot(self) -> Iterator[None]:
        """The newer whole slot counts.  It is played a second time when the other was played after it."""
        r = self.registers
        r.phase = TrainerPhase.BOOT
        r.boot = 0
        r.valid = 0
        whole0 = yield from self._slot(0)
        generation = r.generation
        whole1 = yield from self._slot(1)
        if whole0 and not (whole1 and (r.generation - generation & 0xFF) < 0x80):
            whole1 = yield from self._slot(0)
        if not whole1:
            raise Stop(Fault.NO_SLOT)
        # no upload has owner 0
        r.valid = int(r.owner != 0)
        self._random = r.key or 1
        self._displaced[:] = 0
        yield from self._list(r.programs * BLOCK + r.epoch * LIST_BYTES)
        yield from self._learn()

    def _learn(self) -> Iterator[None]:
        r = self.registers
        started = False
        while True:
            if not r.valid:
                raise Stop(Fault.FOREIGN)
            if r.save:
                r.save = 0
                yield from self._save()
            elif self._word is not None:
                label, self._word = self._word, None
                yield from self._store(label)
            elif not self._replays and (not r.run or r.epoch == r.epochs):
                return
            elif not started:
                r.phase = TrainerPhase.LEARN
                yield from self._list(r.programs * BLOCK + r.epoch * LIST_BYTES)
                started = True
                if not r.turn:
                    r.seen = r.hits = r.spikes = 0
            else:
                r.phase = TrainerPhase.LEARN
                yield from self._turn()
                started = r.turn > 0

    def _turn(self) -> Iterator[None]:
        """One number of the order; behind the last a new epoch.  When registers are written meanwhile, it is
        chosen again.
        """
        r = self.registers
        self._written = False
        replaying = self._replays > 0
        half = min(r.half, MAX_HALF_BITS)
        left = r.turn >> MAX_HALF_BITS
        right = r.turn & ((1 << MAX_HALF_BITS) - 1)
        sample = int(shuffled(np.array([left]), np.array([right]), half, r.key)[0])
        address = self._address(sample)
        if address is not None:
            if not (yield from self._sample(address)):
                return
            if self._replays:
                self._replays -= 1
        mask = (1 << half) - 1
        left = left + (right == mask) & mask
        r.turn = left << MAX_HALF_BITS | right + 1 & mask
        if not r.turn:
            r.key = r.key + KEY_STEP & 0xFFFFFFFF
        if not r.turn and not replaying:
            r.epoch = r.epoch + 1 & 0xFF
            r.save |= r.epoch == r.epochs or not r.epoch & r.pause

    def _address(self, sample: int) -> int | None:
        """Address of a stored sample, or of a learned word, if there is one of this number."""
        r = self.registers
        if sample < r.samples:
            at = r.index * BLOCK + INDEX_BYTES * sample
            return int.from_bytes(self.flash.read(at, INDEX_BYTES), "little")
        place = self._place(sample - r.samples)
        there = sample - r.samples < r.room * PLACES and self._label(place) is not None
        return place if there else None

    # -- frames ------------------------------------------------------------------------------------
    def _frames(self, address: int) -> Iterator[bytes]:
        """Frames of a list, SLIP still on."""
        while True:
            first = self.flash.read(address, 1)
            if first in (b"", bytes([ERASED])):
                return
            end = self.flash.content.find(END, address)
            if end < 0:
                raise Stop(Fault.REFUSED)
            yield bytes(self.flash.content[address:end])
            address = end + 1

    def _play(self, packet: bytes) -> tuple[int, int, bytes, bytes]:
        """A frame carried out: command, sequence and payload, and the reply; Stop when it is refused."""
        reply = self.device.packet(packet, from_trainer=True)
        if reply is None or reply[0] != Status.OK:
            raise Stop(Fault.REFUSED)
        return *unseal(unslip(packet)[0]), reply

    def _list(self, address: int) -> Iterator[None]:
        for packet in self._frames(address):
            yield
            self._play(packet)

    def _slot(self, k: int) -> Generator[None, None, bool]:
        """Whether slot ``k`` is whole: all its frames are right and have one sequence number, so that they
        are of one checkpoint, and the last of them sets the registers.
        """
        sequence = None
        try:
            for packet in self._frames(k * self.slot_bytes):
                yield
                command, number, payload, _ = self._play(packet)
                if sequence not in (None, number):
                    return False
                sequence = number
                if command == Command.WRITE and payload[0] == TRAINER:
                    return True
        except Stop:
            pass
        return False

    def _sample(self, address: int) -> Generator[None, None, bool]:
        """Whether it was learned."""
        r = self.registers
        begun = False
        for packet in self._sample_frames(address):
            yield
            if self._written and not begun:
                return False
            begun = True
            command, _, _, reply = self._play(packet)
            if command == Command.RUN:
                prediction, _, spikes, _ = RESULT.unpack_from(reply, 2)
                r.seen = r.seen + 1 & (1 << SAMPLE_BITS) - 1
                r.hits = r.hits + (prediction == reply[1]) & (1 << SAMPLE_BITS) - 1
                r.spikes = r.spikes + spikes & 0xFFFFFFFF
                return True
        raise Stop(Fault.REFUSED)

    def _sample_frames(self, address: int) -> Iterator[bytes]:
        """Frames of a sample.  The RUN of a learned word is not in its list, but in that of its label."""
        label = None
        for packet in self._frames(address):
            yield packet
            label = unslip(packet)[0][1]
        if self.registers.room and label is not None:
            yield from self._frames(self._lists + LIST_BYTES + RUN_BYTES * label)

    # -- learned words -----------------------------------------------------------------------------
    @property
    def _lists(self) -> int:
        """Address of the READs of a learned word, and a list later of the RUNs of all labels."""
        return self.registers.saves * BLOCK + WORD_LISTS * LIST_BYTES

    def _place(self, number: int) -> int:
        """Address of a place."""
        return (self.registers.index + 1) * BLOCK + number * SECTOR

    def _label(self, address: int) -> int | None:
        """Label of a sample in the flash, if there is one."""
        command, label = self.flash.read(address, 2)
        return label if command == Command.WRITE else None

    def _choose(self, label: int) -> int | None:
        """Number of the place for a word of this class, if it is stored."""
        found = [self._label(self._place(k)) for k in range(self.registers.room * PLACES)]
        if None in found:
            return found.index(None)
        counts = np.bincount(np.array(found), minlength=LABELS)
        seen = int(counts[label] + self._displaced[label] + 1)
        self._random = xorshift(self._random)
        of, chosen = choose(label, counts, seen, self._random)
        self._displaced[of] = min(self._displaced[of] + 1, MAX_DISPLACED)
        places = [k for k, known in enumerate(found) if known == of]
        return places[chosen] if chosen < len(places) else None

    def _store(self, label: int) -> Iterator[None]:
        """Store the word in the engine, if the reservoir takes it and it fits in a place."""
        self.registers.phase = TrainerPhase.SAVE
        number = self._choose(label)
        if number is None:
            return
        place = self._place(number)
        self.flash.program(place, b"\0")
        self.flash.erase(place // SECTOR, SECTOR)
        at = place
        is_full = False
        for packet in self._frames(self._lists):
            yield
            recorded = self.device.recorded(packet, label)
            if recorded is None:
                raise Stop(Fault.REFUSED)
            for byte in slip(recorded):
                if at == place + SECTOR - 1:  # it stays erased, and ends the list
                    is_full = True
                else:
                    if at != place:
                        self.flash.program(at, bytes([byte]))
                    at += 1
        if not is_full:
            self.flash.program(place, bytes([Command.WRITE]))

    # -- checkpoints -------------------------------------------------------------------------------
    def _save(self) -> Iterator[None]:
        """Replies of the list of READs into the slot whose turn it is.  A block is erased when the first
        byte comes to it.
        """
        r = self.registers
        r.phase = TrainerPhase.SAVE
        r.generation = r.generation + 1 & 0xFF
        first = (r.generation & 1) * self.slot_bytes
        at = 0
        for packet in self._frames(r.saves * BLOCK):
            yield
            recorded = self.device.recorded(packet, r.generation)
            if recorded is None:
                raise Stop(Fault.REFUSED)
            for byte in slip(recorded):
                if at == self.slot_bytes:
                    raise Stop(Fault.SLOT_FULL)
                if at % BLOCK == 0:
                    self.flash.erase((first + at) // BLOCK)
                self.flash.program(first + at, bytes([byte]))
                at += 1
