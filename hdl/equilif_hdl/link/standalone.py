"""Standalone trainer: sends the frames in a flash to the host link, so that a board trains without a host.

Bit-exact with equilif_golden.link.standalone.StandaloneTrainer, frame by frame.

    flash --> reader --> FIFO --> feed --> SLIP --> Framer --> Host
    flash <-- slot <---------- record <-- SLIP <-- Framer <-- Host        checkpoints
                        hits, spikes <-- reply <-----'

The line has priority: a frame of the trainer starts only after the line has been idle for a while.  Frames
that arrive during a frame of the trainer are answered by OVERRUN afterwards, and the line can use the device.

    IDLE -> DISPATCH -> [ PROGRAM ] -> SAMPLE -> SAMPLED -> its frames -> COUNT, COUNTED ...
                     -> SAVE
    LIST -> FIRST -> TAKE -> FLUSH -> FEED -> HEAR -> REPLY -> DONE                 a list, frame by frame

The reader fetches a frame.  While the engine learns a sample it looks up the next one and fetches its first
frame:

    READY -> NEXT -> TURN, ROUND, JOIN -> CHOOSE -> INDEX -> FOUND -> READ <-> GOT

A learned word is stored as a checkpoint is:

    STORE -> CHOOSING -> CLEAR, ERASE -> its list -> COMMIT
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Cat, Const, Module, Mux, ResetInserter, Signal
from amaranth.hdl import Value, ValueLike
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.link.flash import ERASED
from equilif_golden.link.protocol import END, Command
from equilif_golden.link.standalone import (
    INDEX_BYTES,
    LESSON_REGISTERS,
    LIST_BYTES,
    ORDERS,
    OWNER,
    OWNER_BITS,
    PLACES,
    REGISTERS,
    RUN_BYTES,
    WORD_LISTS,
    WRITABLE,
    Fault,
    TrainerPhase,
    slot_blocks,
    step,
)
from equilif_golden.sample_order import KEY_STEP, MAX_HALF_BITS, ROUNDS, SAMPLE_BITS
from equilif_hdl.link.flash import BLOCK_BITS, FlashPort
from equilif_hdl.link.reservoir import LABEL_BITS, SECTOR_BITS, WordReservoir
from equilif_hdl.typed import Assign, Interface

#: log2 of the cycles without a byte until the line is idle: 87 ms at 48 MHz.  After OVERRUN a host resends
#: earlier
IDLE_TIMEOUT_BITS = 22
#: bits of the byte index of a reply; the spikes are bytes 8 to 11
PLACE_BITS = 4
SPIKES = range(8, 12)
SLOT, PROGRAM, SAMPLE, SAVE = range(4)  #: kinds of lists
FIFO_BYTES = 512  #: prefetched bytes of a frame: one block RAM of the smallest device


class TrainerPort(wiring.Signature):
    """Port between the standalone trainer and the host link.

    Members
    -------
    trainer_frame : Out(1)
        The present frame is from the trainer, and its reply is for the trainer.
    feed, byte : Out(1), Out(8)
        Strobe and data of a byte of that frame.
    record : Out(1), generation : Out(8)
        The reply to a READ has the form of a WRITE that restores the data, with this sequence number.
    busy : Out(1)
        The trainer uses the flash.
    address, write, wdata, rdata : In(4), In(1), In(32), Out(32)
        Registers.
    line : In(1)
        A byte arrived on the line.
    free : In(1)
        No frame is held or waits for an answer, and no reply is being sent.
    item, end, data : In(1), In(1), In(8)
        A byte of the reply, or its end, is sent.
    good, runs, sets, recorded : In(1)
        The held frame: it was executed; it is a RUN; it writes registers; it is a READ whose reply has the
        form of a WRITE.
    changed : In(1)
        Strobe: a frame of the line has changed the state of the engine.
    out, out_byte : In(1), In(8), taken : Out(1)
        A byte of the SLIP-encoded reply to the trainer; ``taken``: the trainer has stored or ignored it.
    """

    class Members(Interface, Protocol):
        trainer_frame: Signal
        feed: Signal
        byte: Signal
        record: Signal
        generation: Signal
        busy: Signal
        address: Signal
        write: Signal
        wdata: Signal
        rdata: Signal
        line: Signal
        free: Signal
        item: Signal
        end: Signal
        data: Signal
        good: Signal
        runs: Signal
        sets: Signal
        recorded: Signal
        changed: Signal
        out: Signal
        out_byte: Signal
        taken: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "trainer_frame": Out(1),
                "feed": Out(1),
                "byte": Out(8),
                "record": Out(1),
                "generation": Out(8),
                "busy": Out(1),
                "address": In(4),
                "write": In(1),
                "wdata": In(32),
                "rdata": Out(32),
                "line": In(1),
                "free": In(1),
                "item": In(1),
                "end": In(1),
                "data": In(8),
                "good": In(1),
                "runs": In(1),
                "sets": In(1),
                "recorded": In(1),
                "changed": In(1),
                "out": In(1),
                "out_byte": In(8),
                "taken": Out(1),
            }
        )


class LessonPort(wiring.Signature):
    """Port from the live controller to the trainer.

    Members
    -------
    learned, label : Out(1), Out(8)
        Strobe: a word of this class was learned.  ``hold`` is high then.
    finish : Out(1)
        Strobe after the last round, while ``idle``: save a checkpoint, unless there was a fault.
    hold : Out(1)
        The live controller uses the engine, or is about to: the trainer stays idle.
    idle : In(1)
        The trainer has nothing to do; the live controller may begin.
    valid, fault, classes, rounds : In(1), In(1), In(8), In(8)
        Registers of the trainer.
    """

    class Members(Interface, Protocol):
        learned: Signal
        label: Signal
        hold: Signal
        idle: Signal
        finish: Signal
        valid: Signal
        fault: Signal
        classes: Signal
        rounds: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "learned": Out(1),
                "label": Out(8),
                "hold": Out(1),
                "idle": In(1),
                "finish": Out(1),
                "valid": In(1),
                "fault": In(1),
                "classes": In(8),
                "rounds": In(8),
            }
        )


class StandaloneTrainer(wiring.Component):
    """Members
    -------
    host : Out(TrainerPort)
    flash : Out(FlashPort)
    active : Out(1)
        The trainer is running.
    fault : Out(1)
        It stopped with a fault.
    lesson : In(LessonPort)
        With ``lessons``.

    ``idle_timeout_bits``: log2 of the cycles without a byte until the line is idle.  ``lessons``: replay and
    save after each word that the live controller has learned.
    """

    host: TrainerPort.Members
    flash: FlashPort.Members
    active: Signal
    fault: Signal
    lesson: LessonPort.Members

    def __init__(
        self, config: EngineConfig, *, idle_timeout_bits: int = IDLE_TIMEOUT_BITS, lessons: bool = False
    ):
        self.config = config
        self.idle_timeout_bits = idle_timeout_bits
        self.lessons = lessons
        lesson = {"lesson": In(LessonPort())} if lessons else {}
        super().__init__(
            {
                "host": Out(TrainerPort()),
                "flash": Out(FlashPort(sectors=lessons)),
                "active": Out(1),
                "fault": Out(1),
                **lesson,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        states = _TrainerStates(self, m)
        states.registers()
        if self.lessons:
            states.learned()
        states.count_idle()
        states.fifo_output()
        with m.FSM(init="BOOT"):
            states.boot()
            states.dispatch()
            states.samples()
            states.frames()
            states.replies()
            states.ends()
            if self.lessons:
                states.store()
        with m.FSM():
            states.fetched()
            states.turn()
        return m


class _TrainerStates:
    """Registers of the trainer, and its states."""

    def __init__(self, trainer: StandaloneTrainer, m: Module):
        self.m = m
        self.host = trainer.host
        self.flash = trainer.flash
        self.trainer = trainer
        self.slot_blocks = slot_blocks(trainer.config)
        self.register_map = LESSON_REGISTERS if trainer.lessons else REGISTERS
        self.fields: dict[str, Signal] = {
            name: Signal(bits, name=name, init=TrainerPhase.BOOT if name == "phase" else 0)
            for register in self.register_map
            for name, bits in register
        }
        f = self.fields
        self.run, self.save, self.generation, self.epoch = (
            f[name] for name in ("run", "save", "generation", "epoch")
        )
        self.left = f["turn"][MAX_HALF_BITS:]
        self.right = f["turn"][:MAX_HALF_BITS]
        self.half = Signal(range(MAX_HALF_BITS + 1))
        self.mask = Signal(MAX_HALF_BITS)  # mask of half a number
        self.task = Signal(2)
        self.booting = Signal(init=1)
        self.started = Signal()  # the program of this epoch is loaded
        self.idle_cycles = Signal(trainer.idle_timeout_bits + 1)  # cycles since the last byte on the line
        self.place = Signal(PLACE_BITS)  # index of the byte of the reply
        self.past_end = Signal()  # after the last significant byte
        self.good = Signal()  # the reply has status OK
        self.stored = Signal()  # the reply is stored
        self.ran = Signal()  # reply to a RUN
        self.sets = Signal()  # reply to a WRITE of registers
        self.full = Signal()  # the slot is full
        self.hit = Signal()
        self.carry = Signal()  # carry between the bytes of the spikes
        self.fresh = Signal()  # the block is erased
        self.saved_address = Signal(24)  # saved flash address: of the list, or of the slot
        self.sequence = Signal(8)  # sequence number of the frames of the slot
        self.first = Signal()  # no frame so far
        self.mixed = Signal()  # frames of two checkpoints
        self.slot0_complete = Signal()  # slot 0 is complete
        self.slot = Signal(2)  # number of slots loaded so far
        self.slot0_generation = Signal(8)  # generation of slot 0
        self.sample = Signal(SAMPLE_BITS)
        self.last = Signal()  # the frame is a RUN
        self.begun = Signal()  # a frame of the sample was sent
        self.ready = Signal()  # the reader is idle
        self.abort = Signal()  # the reader stops
        self.fetch_here = Signal()  # the reader fetches a frame at the present address
        self.fetch_number = Signal()  # or the first frame of the sample of `number`
        self.fetch_next = Signal()  # or of the following number
        self.number = Signal(2 * MAX_HALF_BITS)  # position in the order of the epoch, as a turn
        self.no_more = Signal()  # the epoch has no further sample
        self.prefetched = Signal()  # the next sample is prefetched
        self.stale = Signal()  # a register was written since then
        self.start = Signal()  # the reader is at the first byte of a frame
        self.halves = Signal(2 * MAX_HALF_BITS)  # number in the rounds
        self.rounds = Signal(range(max(ROUNDS, MAX_HALF_BITS) + 1))
        self.index_byte = Signal(range(INDEX_BYTES + 1))
        self.flush = Signal()
        self.head_valid = Signal()  # a byte is in the output register of the FIFO
        self.head = Signal(8)
        self.take = Signal()
        self.bytes = fifo.SyncFIFOBuffered(width=8, depth=FIFO_BYTES)
        m.submodules.bytes = ResetInserter(self.flush)(self.bytes)
        self.lesson = trainer.lesson if trainer.lessons else None
        if trainer.lessons:
            self.replays = Signal(8)  # stored samples that this lesson still has to learn
            self.replaying = Signal()  # the present sample is one of them
            self.teaching = Signal()  # the lesson is not finished
            self.word = Signal(LABEL_BITS)  # label of the learned word
            self.has_word = Signal()  # it is to be stored
            self.storing = Signal()  # the list that is saved is that of a word
            self.skip = Signal()  # its next byte is the first one, which is written last
            self.too_long = Signal()  # the word does not fit in its place
            self.in_place = Signal()  # the sample is in a place for a learned word
            self.tail = Signal()  # the list is the RUN of a learned word
            m.submodules.reservoir = self.reservoir = WordReservoir()

    # -- registers ---------------------------------------------------------------------------------
    def registers(self) -> None:
        m = self.m
        f = self.fields
        host = self.host
        with m.Switch(host.address):
            for n, register in enumerate(self.register_map):
                with m.Case(n):
                    at = 0
                    for name, bits in register:
                        m.d.comb += host.rdata[at : at + bits].eq(0 if name in ORDERS else f[name])
                        if n < WRITABLE:
                            with m.If(host.write):
                                m.d.sync += f[name].eq(host.wdata[at : at + bits])
                        at += step(bits)
                    if n == 0:
                        with m.If(host.write):
                            m.d.sync += f["fault"].eq(Fault.NONE)
                            if self.lesson:
                                m.d.sync += [self.replays.eq(0), self.has_word.eq(0)]
                    if n == OWNER:
                        with m.If(host.write & (host.wdata[:OWNER_BITS] != f["owner"])):
                            m.d.sync += f["valid"].eq(0)
        with m.If(host.write):
            m.d.sync += self.stale.eq(1)
        with m.If(host.changed):
            m.d.sync += f["valid"].eq(0)
        m.d.comb += f["chip"].eq(self.flash.chip)
        # registered: constant since the upload, and at the start of long paths
        m.d.sync += [
            self.half.eq(Mux(f["half"] > MAX_HALF_BITS, MAX_HALF_BITS, f["half"])),
            self.mask.eq((Const(1, 1) << self.half) - 1),
        ]
        m.d.comb += [
            host.generation.eq(
                Mux(self.storing, self.word, self.generation) if self.lesson else self.generation
            ),
            host.record.eq(self.task == SAVE),
            self.trainer.active.eq(f["phase"] != TrainerPhase.IDLE),
            self.trainer.fault.eq(f["fault"] != Fault.NONE),
            host.busy.eq(self.trainer.active),
        ]

    @property
    def pending(self) -> Value:
        f = self.fields
        trains = f["save"] | f["boot"] | f["run"] & (f["epoch"] != f["epochs"])
        return trains | (self.replays != 0) | self.has_word if self.lesson else trains

    def learned(self) -> None:
        """Begin a round of a lesson after a word, or end the lesson."""
        m = self.m
        f = self.fields
        lesson = self.lesson
        assert lesson is not None
        replay = Mux(f["samples"] != 0, f["replay"], 0)
        m.d.sync += self.teaching.eq(self.teaching & ~lesson.finish | lesson.learned)
        with m.If(lesson.learned & f["valid"]):
            m.d.sync += [self.replays.eq(replay), f["fault"].eq(Fault.NONE)]
            with m.If((f["room"] != 0) & ~self.teaching):
                m.d.sync += [self.has_word.eq(1), self.word.eq(lesson.label)]
            with m.If(lesson.label >= f["classes"]):
                m.d.sync += f["classes"].eq(lesson.label + 1)
        with m.If(lesson.finish & f["valid"] & ~lesson.fault):
            m.d.sync += self.save.eq(1)
        m.d.comb += [
            lesson.fault.eq(f["fault"] != Fault.NONE),
            lesson.rounds.eq(f["rounds"]),
            lesson.idle.eq((f["phase"] == TrainerPhase.IDLE) & ~self.pending),
            lesson.valid.eq(f["valid"]),
            lesson.classes.eq(f["classes"]),
        ]

    def count_idle(self) -> None:
        """Count the cycles of an idle line."""
        m = self.m
        with m.If(self.host.line):
            m.d.sync += self.idle_cycles.eq(0)
        with m.Elif(~self.idle_cycles[-1]):
            m.d.sync += self.idle_cycles.eq(self.idle_cycles + 1)

    def fifo_output(self) -> None:
        """Output register of the FIFO."""
        m = self.m
        bytes = self.bytes
        m.d.comb += bytes.r_en.eq(~self.head_valid | self.take)
        with m.If(bytes.r_en):
            m.d.sync += [self.head_valid.eq(bytes.r_rdy), self.head.eq(bytes.r_data)]
        with m.If(self.flush):
            m.d.sync += self.head_valid.eq(0)

    @property
    def _trained(self) -> Value:
        """No sample is left to learn."""
        trained = ~self.run | (self.epoch == self.fields["epochs"])
        return trained & (self.replays == 0) if self.lesson else trained

    # -- helpers -----------------------------------------------------------------------------------
    def _seek(self, address: ValueLike, then: str) -> None:
        """Seek an address of the flash."""
        m = self.m
        m.d.comb += [self.flash.address.eq(address), self.flash.seek.eq(1)]
        with m.If(self.flash.ready):
            m.next = then

    def _list(self, address: ValueLike) -> None:
        """Start a list, and discard the prefetched frame."""
        m = self.m
        m.d.comb += self.abort.eq(1)
        with m.If(self.ready):
            m.d.comb += self.flush.eq(1)
            m.d.sync += self.prefetched.eq(0)
            self._seek(address, "LIST")

    def _stop(self, fault: Fault) -> None:
        m = self.m
        m.d.sync += [self.fields["fault"].eq(fault), self.run.eq(0), self.save.eq(0)]
        if self.lesson:
            m.d.sync += [self.replays.eq(0), self.has_word.eq(0)]
        m.next = "IDLE"

    # -- tasks -------------------------------------------------------------------------------------
    def boot(self) -> None:
        m = self.m
        f = self.fields
        with m.State("BOOT"):  # slot 0, slot 1, and again slot 0 if it is newer
            m.d.sync += [self.task.eq(SLOT), self.first.eq(1), self.mixed.eq(0), f["valid"].eq(0)]
            self._list(Mux(self.slot == 1, self.slot_blocks << BLOCK_BITS, 0))
        with m.State("SLOT"):  # `good`: the loaded slot is complete
            m.d.sync += self.slot.eq(self.slot + 1)
            newer = ~(self.generation - self.slot0_generation)[7]
            with m.If(self.slot == 0):
                m.d.sync += [self.slot0_complete.eq(self.good), self.slot0_generation.eq(self.generation)]
                m.next = "BOOT"
            with m.Elif((self.slot == 1) & self.slot0_complete & ~(self.good & newer)):
                m.next = "BOOT"
            with m.Elif(self.good):
                m.d.sync += f["valid"].eq(f["owner"] != 0)
                m.next = "PROGRAM"
                if self.lesson:
                    m.d.comb += self.reservoir.clear.eq(1)
            with m.Else():
                m.d.sync += self.booting.eq(0)
                self._stop(Fault.NO_SLOT)

    def dispatch(self) -> None:
        m = self.m
        f = self.fields
        with m.State("IDLE"):
            m.d.comb += self.abort.eq(1)
            m.d.sync += self.started.eq(0)
            with m.If(self.ready):
                m.d.sync += f["phase"].eq(TrainerPhase.IDLE)
            # a frame that writes several registers completes first
            free = self.ready & self.host.free
            with m.If(free & ~self.lesson.hold if self.lesson else free):
                with m.If(self.pending):
                    m.d.sync += f["phase"].eq(TrainerPhase.LEARN)
                    m.next = "DISPATCH"
                with m.If(f["boot"]):
                    m.d.sync += [f["boot"].eq(0), self.booting.eq(1), self.slot.eq(0)]
                    m.d.sync += f["phase"].eq(TrainerPhase.BOOT)
                    m.next = "BOOT"
        with m.State("DISPATCH"):
            m.d.sync += self.booting.eq(0)
            with m.If(~f["valid"]):
                self._stop(Fault.FOREIGN)
            with m.Elif(self.save):
                m.d.sync += [self.save.eq(0), self.generation.eq(self.generation + 1)]
                m.d.sync += f["phase"].eq(TrainerPhase.SAVE)
                m.next = "SAVE"
            if self.lesson:
                with m.Elif(self.has_word):
                    m.d.sync += [f["phase"].eq(TrainerPhase.SAVE), self.has_word.eq(0)]
                    m.next = "STORE"
            with m.Elif(self._trained):
                m.next = "IDLE"
            with m.Else():
                m.d.sync += f["phase"].eq(TrainerPhase.LEARN)
                if self.lesson:
                    m.d.sync += self.replaying.eq(self.replays != 0)
                m.next = "SAMPLE"
                with m.If(~self.started):
                    m.next = "PROGRAM"
        with m.State("PROGRAM"):
            m.d.sync += self.task.eq(PROGRAM)
            shift = LIST_BYTES.bit_length() - 1
            self._list((f["programs"] << BLOCK_BITS) + (self.epoch << shift))
        with m.State("SAVE"):
            m.d.sync += [
                self.task.eq(SAVE),
                self.full.eq(0),
                self.saved_address.eq(Mux(self.generation[0], self.slot_blocks << BLOCK_BITS, 0)),
                self.fresh.eq(0),
            ]
            if self.lesson:
                m.d.sync += self.storing.eq(0)
            self._list(f["saves"] << BLOCK_BITS)

    def samples(self) -> None:
        m = self.m
        f = self.fields
        with m.State("SAMPLE"):  # the next one, prefetched or fetched now
            m.d.sync += [self.task.eq(SAMPLE), self.begun.eq(0)]
            if self.lesson:
                m.d.sync += self.tail.eq(0)
            with m.If(self.prefetched & ~self.stale):
                m.next = "SAMPLED"
            with m.Else():
                m.d.comb += self.abort.eq(1)
                with m.If(self.ready):
                    m.d.comb += [self.flush.eq(1), self.fetch_number.eq(1)]
                    m.d.sync += [self.number.eq(f["turn"]), self.prefetched.eq(1), self.stale.eq(0)]
                    m.next = "SAMPLED"
        with m.State("SAMPLED"):
            with m.If(self.stale):
                m.next = "DISPATCH"
            with m.Elif(self.no_more & self.ready | self.head_valid):
                m.d.sync += f["turn"].eq(self.number)
                m.next = "FIRST"
                with m.If(~self.head_valid):
                    m.next = "COUNTED"
        with m.State("COUNT"):
            m.d.sync += self._next(f["turn"])
            if self.lesson:
                with m.If(self.replays != 0):
                    m.d.sync += self.replays.eq(self.replays - 1)
            m.next = "COUNTED"
        with m.State("COUNTED"):
            m.next = "DISPATCH"
            with m.If(f["turn"] == 0):
                m.d.sync += [self.epoch.eq(self.epoch + 1), self.started.eq(0)]
                m.d.sync += f["key"].eq(f["key"] + KEY_STEP)
                m.next = "EPOCH"
                if self.lesson:
                    with m.If(self.replaying):
                        m.d.sync += self.epoch.eq(self.epoch)
                        m.next = "DISPATCH"
        with m.State("EPOCH"):
            with m.If((self.epoch == f["epochs"]) | ((self.epoch & f["pause"]) == 0)):
                m.d.sync += self.save.eq(1)
            m.next = "DISPATCH"

    def _next(self, turn: Signal) -> list[Assign]:
        """The following turn; 0 after the last one."""
        left = turn[MAX_HALF_BITS:]
        right = turn[:MAX_HALF_BITS]
        return [
            right.eq((right + 1) & self.mask),
            left.eq((left + (right == self.mask)) & self.mask),
        ]

    # -- the reader --------------------------------------------------------------------------------
    def turn(self) -> None:
        """Sample of a turn, by a Feistel network with ROUNDS rounds, and its address."""
        m = self.m
        f = self.fields
        left = self.halves[MAX_HALF_BITS:]
        right = self.halves[:MAX_HALF_BITS]
        mixed = Signal(MAX_HALF_BITS)
        m.d.comb += mixed.eq(right + (right << 2) + f["key"].word_select(self.rounds[:2], 8))
        with m.State("NEXT"):
            m.d.sync += self._next(self.number)
            m.next = "TURN"
        with m.State("TURN"):
            m.d.sync += [self.halves.eq(self.number), self.rounds.eq(0)]
            m.next = "ROUND"
            with m.If((self.number == 0) & ~self.start):
                m.d.sync += self.no_more.eq(1)
                m.next = "READY"
        with m.State("ROUND"):
            m.d.sync += [
                self.halves.eq(Cat(left ^ (mixed ^ mixed >> 3) & self.mask, right)),
                self.rounds.eq(self.rounds + 1),
            ]
            with m.If(self.rounds == ROUNDS - 1):
                m.d.sync += self.rounds.eq(0)
                m.next = "SPREAD"
        with m.State("SPREAD"):
            m.d.sync += self.sample.eq(left)
            m.next = "JOIN"
        with m.State("JOIN"):  # join the halves of the number, a bit a cycle
            m.d.sync += [self.sample.eq(self.sample << 1), self.rounds.eq(self.rounds + 1)]
            with m.If(self.rounds == self.half):
                m.d.sync += [self.sample.eq(self.sample | right), self.index_byte.eq(0)]
                m.next = "CHOOSE"
        with m.State("CHOOSE"):
            m.d.sync += self.start.eq(0)
            if self.lesson:
                m.d.sync += self.in_place.eq(self.sample >= f["samples"])
            m.next = "NEXT"
            with m.If(self.abort):
                m.next = "READY"
            with m.Elif(self.sample < f["samples"]):
                self._seek(
                    (f["index"] << BLOCK_BITS) + self.sample + (self.sample << 1),
                    "INDEX",
                )
                with m.If(~self.flash.ready):
                    m.next = "CHOOSE"
            if self.lesson:
                place = self.sample - f["samples"]
                with m.Elif(place < f["room"] * PLACES):
                    m.d.sync += self.saved_address.eq(self.reservoir.first + (place << SECTOR_BITS))
                    m.next = "FOUND"
        with m.State("INDEX"):
            self._read("INDEXED")
        with m.State("INDEXED"):
            with m.If(self.flash.valid):
                m.d.sync += [
                    self.saved_address.eq(Cat(self.saved_address[8:], self.flash.rdata)),
                    self.index_byte.eq(self.index_byte + 1),
                ]
                m.next = "INDEX"
                with m.If(self.index_byte == INDEX_BYTES - 1):
                    m.next = "FOUND"
        with m.State("FOUND"):
            m.d.sync += self.start.eq(1)
            self._seek(self.saved_address, "READ")

    def fetched(self) -> None:
        """Fetch a frame, up to its END, or an erased byte."""
        m = self.m
        flash = self.flash
        bytes = self.bytes
        with m.State("READY"):
            m.d.comb += self.ready.eq(1)
            m.d.sync += [
                self.start.eq(self.fetch_here | self.fetch_number),
                self.no_more.eq(self.no_more & ~self.fetch_number),
            ]
            with m.If(self.fetch_here):
                m.next = "READ"
            with m.If(self.fetch_number):
                m.next = "TURN"
            with m.If(self.fetch_next):
                m.next = "NEXT"
        with m.State("READ"):
            with m.If(self.abort):
                m.next = "READY"
            with m.Elif(bytes.w_rdy):
                self._read("GOT")
        with m.State("GOT"):
            lost = flash.outside & ~self.start
            ends = (flash.rdata == END) | self.start & (flash.rdata == ERASED) | lost
            # a frame without an END gets one, and is rejected
            m.d.comb += bytes.w_data.eq(Mux(lost, END, flash.rdata))
            with m.If(flash.valid):
                m.d.comb += bytes.w_en.eq(1)
                m.d.sync += self.start.eq(0)
                m.next = "READ"
                with m.If(ends):
                    m.next = "READY"

    def _read(self, then: str) -> None:
        """Request the next byte of the flash."""
        m = self.m
        m.d.comb += self.flash.read.eq(1)
        with m.If(self.flash.ready):
            m.next = then

    # -- frames of a list --------------------------------------------------------------------------
    def frames(self) -> None:
        m = self.m
        host = self.host
        m.d.sync += host.feed.eq(0)
        with m.State("LIST"):
            m.d.comb += self.fetch_here.eq(1)
            m.next = "FIRST"
        with m.State("FIRST"):
            m.d.sync += [self.good.eq(0), self.last.eq(self.head == Command.RUN)]
            with m.If(self.head_valid):
                m.next = "TAKE"
                with m.If(self.head == ERASED):
                    m.next = "LAST"
                with m.If(self.head == END):
                    m.next = "REFUSED"
                if self.lesson:
                    is_word = (self.task == SAMPLE) & ~self.begun & self.in_place
                    with m.If(is_word & (self.head != Command.WRITE)):
                        m.next = "SKIP"
        with m.State("TAKE"):
            with m.If(host.free & self.idle_cycles[-1] & ~host.line):
                m.d.sync += host.trainer_frame.eq(1)
                m.next = "END"
            with m.If(self.stale & (self.task == SAMPLE) & ~self.begun):
                m.d.sync += host.trainer_frame.eq(0)
                m.next = "DISPATCH"
        with m.State("END"):  # END discards an incomplete frame of the line
            m.d.sync += [host.feed.eq(1), host.byte.eq(END), self.begun.eq(1)]
            m.next = "WAIT"
        with m.State("WAIT"):
            m.next = "FLUSH"
        with m.State("FLUSH"):
            m.d.sync += [self.place.eq(0), self.past_end.eq(0), self.carry.eq(0)]
            m.d.comb += host.taken.eq(1)
            with m.If(host.free):
                m.next = "FEED"
        with m.State("FEED"):
            m.d.comb += self.take.eq(1)
            m.d.sync += [host.feed.eq(self.head_valid), host.byte.eq(self.head)]
            with m.If(self.head_valid & (self.head == END)):
                m.next = "HEAR"
                with m.If(self.task == SAVE):
                    m.next = "SWAP"
                with m.If(self.last & (self.task == SAMPLE)):
                    m.d.comb += self.fetch_next.eq(1)

    def replies(self) -> None:
        m = self.m
        flash = self.flash
        host = self.host
        f = self.fields
        low = flash.at[:BLOCK_BITS]
        block = flash.at[BLOCK_BITS:]
        with m.State("SWAP"):  # to the slot
            self._swap("HEAR")
        with m.State("HEAR"):
            m.d.sync += self.stored.eq(host.recorded)
            with m.If(host.out):
                m.next = "REPLY"
        with m.State("REPLY"):
            self._record(low, block)
            with m.If(host.item & ~host.end):
                self._parse_reply()
            with m.If(host.out & host.taken & (host.out_byte == END)):
                m.d.sync += host.trainer_frame.eq(0)
                m.next = "DONE"
                with m.If(self.task == SAVE):
                    m.next = "BACK"
        with m.State("BACK"):  # back to the list
            self._swap("DONE")
        with m.State("DONE"):
            with m.If(~self.good | self.full):
                m.next = "REFUSED"
            with m.Elif((self.task == SLOT) & self.mixed):
                m.d.sync += self.good.eq(0)
                m.next = "SLOT"
            with m.Elif((self.task == SLOT) & self.sets):
                m.next = "SLOT"
            with m.Elif((self.task == SAMPLE) & self.ran):
                m.d.sync += [f["seen"].eq(f["seen"] + 1), f["hits"].eq(f["hits"] + self.hit)]
                m.next = "COUNT"
            with m.Else():
                m.next = "LIST"

    def _swap(self, then: str) -> None:
        """Seek the other address, and save this one."""
        self._seek(self.saved_address, then)
        with self.m.If(self.flash.ready):
            self.m.d.sync += self.saved_address.eq(self.flash.at)

    def _parse_reply(self) -> None:
        """Process a byte of the reply: status, sequence, prediction, cycles, spikes."""
        m = self.m
        host = self.host
        spikes = self.fields["spikes"]
        with m.If(~self.past_end):
            m.d.sync += self.place.eq(self.place + 1)
            with m.If(self.place.all()):
                m.d.sync += self.past_end.eq(1)
        with m.If((self.place == 0) & ~self.past_end):
            m.d.sync += [
                self.good.eq(host.good & ((self.task != SAVE) | self.stored)),
                self.ran.eq(host.runs),
                self.sets.eq(host.sets),
            ]
        with m.If((self.place == 1) & ~self.past_end):
            m.d.sync += [self.sequence.eq(host.data), self.first.eq(0)]
            m.d.sync += self.mixed.eq(~self.first & (self.sequence != host.data))
        with m.If((self.place == 2) & ~self.past_end):
            m.d.sync += self.hit.eq(host.data == self.sequence)
        with m.If((self.place == 3) & ~self.past_end):
            m.d.sync += self.hit.eq(self.hit & (host.data == 0))
        counts = (self.task == SAMPLE) & host.runs & host.good & ~self.past_end
        with m.If(counts & (self.place >= SPIKES.start) & (self.place < SPIKES.stop)):
            total = Signal(9)
            m.d.comb += total.eq(spikes[:8] + host.data + self.carry)
            m.d.sync += [spikes.eq(Cat(spikes[8:], total[:8])), self.carry.eq(total[8])]

    def _record(self, low: Value, block: Value) -> None:
        """Store a byte of the SLIP-encoded reply in the slot, or ignore it."""
        m = self.m
        flash = self.flash
        host = self.host
        base = Mux(self.generation[0], self.slot_blocks, 0)
        with m.If((self.task != SAVE) | ~self.stored | self.full):
            m.d.comb += host.taken.eq(1)
        if self.lesson:
            with m.Elif(host.out & flash.ready & self.storing):
                m.d.sync += self.skip.eq(0)
                m.d.comb += host.taken.eq(1)
                with m.If(low[:SECTOR_BITS].all()):  # the last byte of the place stays erased
                    m.d.sync += self.too_long.eq(1)
                with m.Elif(~self.skip):
                    m.d.comb += [flash.write.eq(1), flash.wdata.eq(host.out_byte)]
        with m.Elif(host.out & flash.ready):
            with m.If((low == 0) & ~self.fresh):
                m.d.comb += flash.erase.eq(1)
                m.d.sync += self.fresh.eq(1)
                with m.If(block == base + self.slot_blocks):
                    m.d.comb += flash.erase.eq(0)
                    m.d.sync += self.full.eq(1)
            with m.Else():
                m.d.comb += [flash.write.eq(1), flash.wdata.eq(host.out_byte), host.taken.eq(1)]
                m.d.sync += self.fresh.eq(0)

    def ends(self) -> None:
        m = self.m
        f = self.fields
        with m.State("LAST"):  # after the last frame of a list
            with m.If(self.task == SLOT):
                m.next = "SLOT"  # incomplete
            with m.Elif(self.task == SAMPLE):
                m.next = "REFUSED"
                if self.lesson:
                    with m.If(self.begun & ~self.tail & (f["room"] != 0)):
                        m.next = "TAIL"
            if self.lesson:
                with m.Elif((self.task == SAVE) & self.storing & ~self.too_long):
                    m.next = "COMMIT"
            with m.Else():
                m.next = "DISPATCH"
                with m.If((self.task == PROGRAM) & ~self.booting):
                    m.d.sync += self.started.eq(1)
                    with m.If(f["turn"] == 0):
                        m.d.sync += [f[name].eq(0) for name in ("seen", "hits", "spikes")]
        with m.State("REFUSED"):
            with m.If(self.task == SLOT):
                m.d.sync += self.good.eq(0)
                m.next = "SLOT"
            with m.Elif(self.full & (self.task == SAVE)):
                self._stop(Fault.SLOT_FULL)
            with m.Else():
                self._stop(Fault.REFUSED)

    # -- learned words -----------------------------------------------------------------------------
    def store(self) -> None:
        """Store the learned word in a place that the reservoir chooses; skip places without a word."""
        m = self.m
        f = self.fields
        flash = self.flash
        reservoir = self.reservoir
        lists = (f["saves"] << BLOCK_BITS) + WORD_LISTS * LIST_BYTES
        m.d.comb += [
            reservoir.seed.eq(f["key"]),
            reservoir.label.eq(self.word),
            reservoir.room.eq(f["room"]),
            reservoir.first.eq((f["index"] + 1) << BLOCK_BITS),
            reservoir.flash.ready.eq(flash.ready),
            reservoir.flash.valid.eq(flash.valid),
            reservoir.flash.rdata.eq(flash.rdata),
        ]
        with m.State("STORE"):
            m.d.comb += self.abort.eq(1)
            with m.If(self.ready & reservoir.idle):
                m.d.comb += [self.flush.eq(1), reservoir.start.eq(1)]
                m.d.sync += self.prefetched.eq(0)
                m.next = "CHOOSING"
        with m.State("CHOOSING"):
            m.d.comb += [
                flash.address.eq(reservoir.flash.address),
                flash.seek.eq(reservoir.flash.seek),
                flash.read.eq(reservoir.flash.read),
            ]
            with m.If(reservoir.done):
                m.next = "DISPATCH"
                with m.If(reservoir.kept):
                    m.next = "CLEAR"
        with m.State("CLEAR"):
            self._seek(reservoir.address, "CLEAR BYTE")
        with m.State("CLEAR BYTE"):
            self._write(0, "ERASE")
        with m.State("ERASE"):
            self._seek(reservoir.address, "ERASE SECTOR")
        with m.State("ERASE SECTOR"):
            m.d.comb += [flash.erase.eq(1), flash.sector.eq(1)]
            with m.If(flash.ready):
                m.next = "WORD"
        with m.State("WORD"):
            m.d.sync += [
                self.task.eq(SAVE),
                self.storing.eq(1),
                self.skip.eq(1),
                self.too_long.eq(0),
                self.full.eq(0),
                self.saved_address.eq(reservoir.address + 1),
            ]
            self._list(lists)
        with m.State("COMMIT"):
            self._seek(reservoir.address, "COMMIT BYTE")
        with m.State("COMMIT BYTE"):
            self._write(Command.WRITE, "COMMIT PAGE")
        with m.State("COMMIT PAGE"):
            m.d.comb += flash.finish.eq(1)
            with m.If(flash.ready):
                m.next = "DISPATCH"
        with m.State("TAIL"), m.If(self.ready):
            m.d.comb += self.flush.eq(1)
            m.d.sync += self.tail.eq(1)
            self._seek(lists + LIST_BYTES + self.sequence * RUN_BYTES, "LIST")
        with m.State("SKIP"):
            m.d.comb += self.abort.eq(1)
            with m.If(self.ready):
                m.d.comb += [self.flush.eq(1), self.fetch_next.eq(1)]
                m.d.sync += self._next(f["turn"])
                m.next = "COUNTED"

    def _write(self, byte: int, then: str) -> None:
        """Write a byte of the flash."""
        m = self.m
        m.d.comb += [self.flash.write.eq(1), self.flash.wdata.eq(byte)]
        with m.If(self.flash.ready):
            m.next = then
