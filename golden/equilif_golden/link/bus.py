"""Model of the engine on a bus: an engine model with the register map of equilif_golden.link.registers.

``hdl/equilif_hdl/link/bus.py`` gives the same responses.  An access with an error changes nothing except
REJECTED after a LOAD.  Runs take no time in the model; in hardware DATA, LOAD and CONTROL are errors during a
run, and the stream waits.
"""

from __future__ import annotations

import numpy as np

from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, ProgramError, disassemble
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, dither_position, region_size, updates_at
from equilif_golden.fixed import Raw, check_bool, check_int, wrap
from equilif_golden.link.registers import ELEMENTS, OFFSET_BITS, REGISTERS, constants

BY_OFFSET = {r.offset: r for r in REGISTERS.values()}
MAX_OFFSET = (1 << OFFSET_BITS) - 1
MAX_WORD = (1 << 32) - 1


def address_limit(config: EngineConfig) -> int:
    """Upper limit of ADDRESS: the size of the largest region, rounded up to a power of two."""
    return 1 << (max(region_size(config, r) for r in Region) - 1).bit_length()


class BusError(Exception):
    """Access with the response SLVERR."""


class BusModel:
    """``engine``, and the registers as attributes.

    ``read``, ``write`` and ``beat`` raise ValueError for impossible words and offsets.
    """

    def __init__(self, config: EngineConfig, *, build_id: int = 0):
        self.config = config
        self.engine = EngineModel(config)
        self.constants = constants(config, build_id)
        #: staged program words
        self.staged: Raw = np.zeros(config.program_words, np.int64)
        self.done = False
        self.fault = False
        self.interrupt = False
        self.rejected = 0
        self.region = 0
        self.address = 0
        #: last written ADDRESS, where packets begin
        self.first = 0
        self.stream = 0
        #: an element of the present packet lay outside its region
        self.dropped = False
        #: words of the stream of results
        self.results: list[int] = []

    @property
    def irq(self) -> bool:
        return self.done and self.interrupt

    def read(self, offset: int) -> int:
        """Read a register; BusError for the response SLVERR."""
        register = BY_OFFSET.get(check_int(offset, "offset", 0, MAX_OFFSET))
        if register is None or not register.readable:
            raise BusError
        name = register.name
        e = self.engine
        if name in self.constants:
            return self.constants[name]
        match name:
            case "STATUS":
                return register.pack(DONE=self.done, FAULT=self.fault, LOADED=bool(e.program))
            case "DATA":
                element = self._element()
                self.address += 1
                return element
        values = {
            "INTERRUPT": int(self.interrupt),
            "REJECTED": self.rejected,
            "REGION": self.region,
            "ADDRESS": self.address,
            "STREAM": self.stream,
            "PREDICTION": e.prediction,
            "SPIKES": e.spikes,
            "ACCESSES": e.accesses,
        }
        if self.config.counters:
            values |= {n.upper(): int(count) for n, count in zip(NAMES, e.activity, strict=True)}
        if name not in values:
            raise BusError
        return values[name]

    def write(self, offset: int, word: int, strobe: int = 15) -> None:
        """Write a register; BusError for the response SLVERR."""
        register = BY_OFFSET.get(check_int(offset, "offset", 0, MAX_OFFSET))
        word = check_int(word, "word", 0, MAX_WORD)
        if register is None or not register.writable or check_int(strobe, "strobe", 0, 15) != 15:
            raise BusError
        match register.name:
            case "CONTROL":
                if not self.engine.program:
                    raise BusError
                if word & 1:
                    self._run(learn=bool(word & 2))
            case "STATUS":
                self.done = self.done and not word & 1
                self.fault = self.fault and not word & 2
            case "INTERRUPT":
                self.interrupt = bool(word & 1)
            case "LOAD":
                self._load(word)
            case "REGION":
                if word >= len(ELEMENTS):
                    raise BusError
                self.region = word
            case "ADDRESS":
                if word >= address_limit(self.config):
                    raise BusError
                self.address = self.first = word
            case "DATA":
                self._store(word)
            case "STREAM":
                self.stream = word & 3

    def beat(self, word: int, keep: int = 15, *, last: bool) -> None:
        """One transfer of the stream: the elements whose lowest byte is kept, from bit 0 upwards."""
        word = check_int(word, "word", 0, MAX_WORD)
        keep = check_int(keep, "keep", 0, 15)
        last = check_bool(last, "last")
        _, _, bits, _ = ELEMENTS[self.region]
        for at in range(0, 32, bits):
            if keep >> at // 8 & 1:
                element = word >> at & ((1 << bits) - 1)
                try:
                    self._store(element * 0x101 if self.region == Region.VALUE else element)
                except BusError:
                    self.fault = self.dropped = True
        if last:
            if self.stream & 1:
                if self.dropped or not self.engine.program:
                    self.fault = True
                else:
                    self._run(learn=bool(self.stream & 2))
                    self.results.append(self.engine.prediction)
            self.address = self.first
            self.dropped = False

    def _run(self, *, learn: bool) -> None:
        self.engine.run(learn=learn)
        self.done = True

    def _load(self, n: int) -> None:
        # beyond the staged ones there is no room: that they are too many is found before what they are
        room = self.config.program_words // WORDS
        words = np.resize(self.staged[: room * WORDS], (min(n, room + 1)) * WORDS)
        try:
            self.engine.load(disassemble(words))
        except ProgramError as e:
            self.rejected = e.index
            raise BusError from e

    def _inside(self) -> int:
        if self.address >= region_size(self.config, Region(self.region)):
            raise BusError
        return self.address

    def _element(self) -> int:
        at = self._inside()
        e = self.engine
        match Region(self.region):
            case Region.WEIGHT:
                return int(e.w.flat[at]) & 0xFFFFFFFF
            case Region.VALUE:
                return int(e.plus.flat[at]) | int(e.minus.flat[at]) << 8
            case Region.PROGRAM:
                return int(self.staged[at])
            case Region.COUNTER:
                return dither_position(e.counter)

    def _store(self, word: int) -> None:
        at = self._inside()
        e = self.engine
        match Region(self.region):
            case Region.WEIGHT:
                e.w.flat[at] = wrap(np.array(word), self.config.numerics.weight)
            case Region.VALUE:
                e.plus.flat[at] = word & 255
                e.minus.flat[at] = word >> 8 & 255
            case Region.PROGRAM:
                self.staged[at] = word
            case Region.COUNTER:
                e.counter = updates_at(word)
        self.address += 1
