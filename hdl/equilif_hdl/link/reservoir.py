"""Reservoir of learned words: the place in the flash for a new one, by equilif_golden.replay.Reservoir.

    start --> count the words of each class --> an empty place
                                           '--> largest class --> random word of it --> its place

The flash has the words, see equilif_golden.link.standalone.  A memory has, for each class, the words that are
counted, and those since power-up that were not kept.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.flash import SECTOR
from equilif_golden.link.protocol import Command
from equilif_golden.link.standalone import LABELS, MAX_DISPLACED, PLACES
from equilif_hdl.fixed import ram
from equilif_hdl.link.flash import ADDRESS_BITS, FlashPort

SECTOR_BITS = SECTOR.bit_length() - 1
LABEL_BITS = LABELS.bit_length() - 1
PLACE_BITS = 8 + PLACES.bit_length() - 1
DISPLACED_BITS = MAX_DISPLACED.bit_length()
RANDOM_BITS = 32


class WordReservoir(wiring.Component):
    """Members
    -------
    flash : Out(FlashPort)
        For reads, between ``start`` and ``done``.
    clear, seed : In(1), In(32)
        Strobe at power-up: no word was displaced; seed of the random numbers.
    start, label, room, first : In(1), In(8), In(8), In(24)
        Strobe while ``idle``: a word of this class; blocks of places, and the address of the first one.
    idle, done, kept, address : Out(1), Out(1), Out(1), Out(24)
        Strobe: the word is to be stored, at this address, which is held.
    """

    flash: FlashPort.Members
    clear: Signal
    seed: Signal
    start: Signal
    label: Signal
    room: Signal
    first: Signal
    idle: Signal
    done: Signal
    kept: Signal
    address: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "flash": Out(FlashPort()),
                "clear": In(1),
                "seed": In(RANDOM_BITS),
                "start": In(1),
                "label": In(LABEL_BITS),
                "room": In(8),
                "first": In(ADDRESS_BITS),
                "idle": Out(1),
                "done": Out(1),
                "kept": Out(1),
                "address": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        states = _ReservoirStates(self, m)
        with m.FSM():
            states.begin()
            states.scan()
            states.entry()
            states.choose()
        return m


class _ReservoirStates:
    """Registers of the reservoir, and its states.  Reads of the memory take two states."""

    def __init__(self, reservoir: WordReservoir, m: Module):
        self.m = m
        self.io = reservoir
        self.label = Signal(LABEL_BITS)  # of the new word
        self.known = Signal(LABEL_BITS)  # of the stored word
        self.is_word = Signal()
        self.place = Signal(PLACE_BITS)
        self.last = Signal()  # of the places
        self.free = Signal(PLACE_BITS)
        self.has_free = Signal()
        self.searches = Signal()  # the second scan, for the word that is replaced
        self.index = Signal(LABEL_BITS)
        self.largest = Signal(LABEL_BITS)
        self.most = Signal(PLACE_BITS + 1)  # words of the largest class
        self.victim = Signal(LABEL_BITS)  # class whose word is replaced
        self.random = Signal(RANDOM_BITS, init=1)
        self.bits = Signal(RANDOM_BITS)
        self.step = Signal(range(RANDOM_BITS))
        self.choices = Signal(DISPLACED_BITS + 1)
        self.chosen = Signal(DISPLACED_BITS + 1)
        width = PLACE_BITS + 1
        memory = m.submodules.classes = ram(width + DISPLACED_BITS, LABELS, None)
        self.store, load = memory.write_port(), memory.read_port()
        self.count, self.displaced = load.data[:width], load.data[width:]
        self.load = load.addr
        m.d.comb += [
            load.en.eq(1),
            self.last.eq(self.place + 1 == reservoir.room * PLACES),
            reservoir.flash.address.eq(reservoir.first + (self.place << SECTOR_BITS)),
        ]

    def _put(self, label: Value, count: Value | int, displaced: Value | int) -> None:
        """Write the entry of a class."""
        width = PLACE_BITS + 1
        self.m.d.comb += [self.store.addr.eq(label), self.store.en.eq(1)]
        self.m.d.comb += [self.store.data[:width].eq(count), self.store.data[width:].eq(displaced)]

    def begin(self) -> None:
        m = self.m
        io = self.io
        with m.State("IDLE"):
            m.d.comb += io.idle.eq(1)
            m.d.sync += [self.label.eq(io.label), self.index.eq(0), self.place.eq(0)]
            with m.If(io.clear):
                m.d.sync += self.random.eq(Mux(io.seed == 0, 1, io.seed))
                m.next = "FORGET"
            with m.Elif(io.start):
                m.d.sync += [self.searches.eq(0), self.has_free.eq(0)]
                m.next = "ZERO"
        with m.State("FORGET"):
            self._put(self.index, 0, 0)
            m.d.sync += self.index.eq(self.index + 1)
            with m.If(self.index.all()):
                m.next = "IDLE"
        with m.State("ZERO"):
            m.d.comb += self.load.eq(self.index)
            m.next = "ZEROED"
        with m.State("ZEROED"):
            self._put(self.index, 0, self.displaced)
            m.d.sync += self.index.eq(self.index + 1)
            m.next = "ZERO"
            with m.If(self.index.all()):
                m.next = "SEEK"

    def scan(self) -> None:
        """First bytes of the places, one place after the other."""
        m = self.m
        flash = self.io.flash
        with m.State("SEEK"):
            m.d.comb += flash.seek.eq(1)
            with m.If(flash.ready):
                m.next = "COMMAND"
        for state, got, following in (("COMMAND", "IS WORD", "LABEL"), ("LABEL", "KNOWN", "ENTRY")):
            with m.State(state):
                m.d.comb += flash.read.eq(1)
                with m.If(flash.ready):
                    m.next = got
            with m.State(got), m.If(flash.valid):
                if state == "COMMAND":
                    m.d.sync += self.is_word.eq(flash.rdata == Command.WRITE)
                else:
                    m.d.sync += self.known.eq(flash.rdata)
                m.next = following

    def entry(self) -> None:
        """A place: count its word, or choose it."""
        m = self.m
        with m.State("ENTRY"):
            m.d.comb += self.load.eq(self.known)
            m.next = "COUNT"
            with m.If(self.searches):
                m.next = "SEARCH"
        with m.State("COUNT"):
            m.d.sync += self.place.eq(self.place + 1)
            with m.If(self.is_word):
                self._put(self.known, self.count + 1, self.displaced)
            with m.Elif(~self.has_free):
                m.d.sync += [self.has_free.eq(1), self.free.eq(self.place)]
            m.next = "SEEK"
            with m.If(self.last):
                m.d.sync += [self.largest.eq(0), self.most.eq(0)]
                m.next = "LARGEST"
                with m.If(self.has_free | ~self.is_word):
                    m.next = "FREE"
        with m.State("FREE"):
            self._finish(self.free)
        with m.State("SEARCH"):
            m.d.sync += self.place.eq(self.place + 1)
            m.next = "SEEK"
            with m.If(self.last):  # unless the flash reads otherwise, the word was found before
                m.d.comb += self.io.done.eq(1)
                m.next = "IDLE"
            with m.If(self.is_word & (self.known == self.victim)):
                m.d.sync += self.chosen.eq(self.chosen - 1)
                with m.If(self.chosen == 0):
                    self._finish(self.place)

    def choose(self) -> None:
        """The largest class, and one of its words."""
        m = self.m
        with m.State("LARGEST"):
            m.d.comb += self.load.eq(self.index)
            m.next = "COMPARE"
        with m.State("COMPARE"):
            m.d.sync += self.index.eq(self.index + 1)
            with m.If(self.count > self.most):
                m.d.sync += [self.most.eq(self.count), self.largest.eq(self.index)]
            m.next = "LARGEST"
            with m.If(self.index.all()):
                m.next = "OWN"
        with m.State("OWN"):
            m.d.comb += self.load.eq(self.label)
            a = self.random ^ (self.random << 13)[:RANDOM_BITS]
            b = a ^ a >> 17
            m.d.sync += self.random.eq(b ^ (b << 5))
            m.next = "BALANCE"
        with m.State("BALANCE"):
            balanced = self.count == self.most
            m.d.sync += [
                self.victim.eq(Mux(balanced, self.label, self.largest)),
                self.choices.eq(Mux(balanced, self.count + self.displaced + 1, self.most)),
                self.bits.eq(self.random),
                self.chosen.eq(0),
                self.step.eq(0),
            ]
            m.next = "MULTIPLY"
        with m.State("MULTIPLY"):  # the upper half of the product, from the lowest bit on
            total = self.chosen + Mux(self.bits[0], self.choices, 0)
            m.d.sync += [
                self.chosen.eq(total >> 1),
                self.bits.eq(self.bits >> 1),
                self.step.eq(self.step + 1),
            ]
            with m.If(self.step.all()):
                m.next = "VICTIM"
        with m.State("VICTIM"):
            m.d.comb += self.load.eq(self.victim)
            m.next = "DISPLACE"
        with m.State("DISPLACE"):
            self._put(self.victim, self.count, self.displaced + ~self.displaced.all())
            m.d.sync += [self.searches.eq(1), self.place.eq(0)]
            m.next = "SEEK"
            with m.If(self.chosen >= self.count):
                m.d.comb += self.io.done.eq(1)
                m.next = "IDLE"

    def _finish(self, place: Value) -> None:
        """The word is stored in this place."""
        m = self.m
        io = self.io
        m.d.comb += [io.done.eq(1), io.kept.eq(1)]
        m.d.sync += io.address.eq(io.first + (place << SECTOR_BITS))
        m.next = "IDLE"
