"""Cache of a flash in an SDRAM: reads of the standalone trainer are served from the SDRAM.

    port --> [ chunk ] <-- burst -- SDRAM <-- line -- flash
    port: write, erase -----------------------------> flash

Byte k of the flash has its place at byte k of the SDRAM.  A line is copied when one of its bytes is read for
the first time, and is valid until it is written or erased, or until a reset.  So the content of the port is
that of the flash at any time.  Bytes of the present chunk take two cycles.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.memory import WritePort
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.link.flash import ERASED, Area
from equilif_golden.sdram import ClockedSdram
from equilif_hdl.fixed import ram
from equilif_hdl.link.flash import ADDRESS_BITS, BLOCK_BITS, FlashPort
from equilif_hdl.sdram import SdramController, SdramPins

LINE_BITS = 9  #: log2 of the bytes that are copied together
CHUNK_BITS = 4  #: log2 of the bytes of a burst that is read


class FlashCache(wiring.Component):
    """Members
    -------
    port : In(FlashPort)
    flash : Out(FlashPort)
    pins : Out(equilif_hdl.sdram.SdramPins)

    ValueError if the area is larger than the SDRAM.
    """

    port: FlashPort.Members
    flash: FlashPort.Members
    pins: SdramPins.Members

    def __init__(self, area: Area, sdram: ClockedSdram):
        self.area = area
        self.sdram = sdram
        if area.size > sdram.chip.size:
            raise ValueError(
                f"{sdram.chip_name} has {sdram.chip.size:,} bytes, and the flash area {area.size:,}: take a "
                "larger SDRAM, or leave it out"
            )
        super().__init__(
            {"port": In(FlashPort()), "flash": Out(FlashPort()), "pins": Out(SdramPins(sdram.chip))}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip = self.sdram.chip
        m.submodules.controller = controller = SdramController(chip, self.sdram.timing)
        connect(m, controller.pins, flipped(self.pins))
        lines = self.area.blocks << BLOCK_BITS - LINE_BITS
        m.submodules.lines = is_valid = ram(1, lines, "block")
        states = _CacheStates(self, m, controller, is_valid.write_port())
        valid = is_valid.read_port()
        m.d.comb += [valid.en.eq(1), valid.addr.eq(states.line)]
        with m.FSM(init="CLEAR"):
            states.clear(lines)
            states.idle()
            states.read(valid.data)
            states.copy()
            states.change()
        return m


class _CacheStates:
    """Registers of the cache, and its states."""

    def __init__(self, cache: FlashCache, m: Module, controller: SdramController, valid: WritePort):
        self.m = m
        self.port, self.flash, self.sdram = cache.port, cache.flash, controller.port
        self.valid = valid
        width = cache.sdram.chip.width
        self.part_bits = (width // 8 - 1).bit_length()  # of a byte in a word
        self.at = at = cache.port.at
        self.line = at[LINE_BITS:]
        self.chunk = Signal(ADDRESS_BITS - CHUNK_BITS)  # its address
        self.loaded = Signal()  # the chunk is there
        self.hit = Signal()  # the byte is in the chunk
        self.byte = Signal(8)
        self.count = Signal(LINE_BITS)  # bytes of the line, or words of the chunk
        self.word = Signal(width)
        self.unfinished = Signal()  # a page of the flash may be incomplete
        self.erases = Signal()
        self.walk = Signal(len(self.line))  # line whose bit is cleared
        chunk = m.submodules.chunk = ram(width, 1 << CHUNK_BITS - self.part_bits, "distributed")
        self.store, stored = chunk.write_port(), chunk.read_port(domain="comb")
        outside = at[BLOCK_BITS:] >= cache.area.blocks
        m.d.comb += [
            stored.addr.eq(at[self.part_bits : CHUNK_BITS]),
            self.hit.eq(self.loaded & (self.chunk == at[CHUNK_BITS:]) | outside),
            self.byte.eq(stored.data.word_select(at[: self.part_bits], 8)),
            cache.port.outside.eq(outside),
            cache.port.chip.eq(cache.flash.chip),
            self.store.addr.eq(self.count),
            self.store.data.eq(self.sdram.r.payload),
        ]
        self.outside = outside

    def _drop(self, line: Value) -> None:
        """Mark a line as not copied."""
        self.m.d.comb += [self.valid.addr.eq(line), self.valid.data.eq(0), self.valid.en.eq(1)]

    def clear(self, lines: int) -> None:
        """After a reset no line is valid."""
        m = self.m
        with m.State("CLEAR"):
            self._drop(self.walk)
            m.d.sync += self.walk.eq(self.walk + 1)
            with m.If(self.walk == lines - 1):
                m.next = "IDLE"

    def idle(self) -> None:
        m = self.m
        port, flash = self.port, self.flash
        with m.State("IDLE"):
            m.d.comb += [port.ready.eq(flash.ready), flash.address.eq(port.address)]
            m.d.sync += [self.erases.eq(port.erase), flash.wdata.eq(port.wdata)]
            with m.If(flash.ready):
                m.d.comb += [
                    flash.seek.eq(port.seek & self.unfinished),
                    flash.finish.eq(port.finish & self.unfinished),
                ]
                with m.If(port.seek | port.finish):
                    m.d.sync += self.unfinished.eq(0)
                with m.If(port.seek):
                    m.d.sync += self.at.eq(port.address)
                with m.If(port.read):
                    m.next = "LOOK"
                    with m.If(self.hit):
                        m.next = "BYTE"
                with m.If(port.write | port.erase):
                    m.next = "ALIGN"

    def read(self, valid: Value) -> None:
        """Load the chunk of the byte; `valid`: its line is copied."""
        m = self.m
        request, r = self.sdram.request, self.sdram.r
        with m.State("BYTE"):
            m.d.comb += [self.port.valid.eq(1), self.port.rdata.eq(Mux(self.outside, ERASED, self.byte))]
            m.d.sync += self.at.eq(self.at + 1)
            m.next = "IDLE"
        with m.State("LOOK"):
            m.d.sync += [self.count.eq(0), self.loaded.eq(0)]
            m.next = "REQUEST"
            with m.If(~valid):
                self._seek(Cat(Const(0, LINE_BITS), self.line), "LOOK", "COPY")
        with m.State("REQUEST"):
            m.d.comb += [
                request.valid.eq(1),
                request.p.address.eq(Cat(Const(0, CHUNK_BITS), self.at[CHUNK_BITS:]) >> self.part_bits),
                request.p.length.eq((1 << CHUNK_BITS - self.part_bits) - 1),
            ]
            with m.If(request.ready):
                m.next = "CHUNK"
        with m.State("CHUNK"):
            m.d.comb += [r.ready.eq(1), self.store.en.eq(r.valid)]
            with m.If(r.valid):
                m.d.sync += self.count.eq(self.count + 1)
                with m.If(self.count == (1 << CHUNK_BITS - self.part_bits) - 1):
                    m.d.sync += [self.chunk.eq(self.at[CHUNK_BITS:]), self.loaded.eq(1)]
                    m.next = "BYTE"

    def copy(self) -> None:
        """Copy a line, in one burst that waits for the words."""
        m = self.m
        flash, request, w = self.flash, self.sdram.request, self.sdram.w
        with m.State("COPY"):
            m.d.comb += [
                request.valid.eq(1),
                request.p.address.eq(Cat(Const(0, LINE_BITS), self.line) >> self.part_bits),
                request.p.length.eq((1 << LINE_BITS - self.part_bits) - 1),
                request.p.is_write.eq(1),
            ]
            with m.If(request.ready):
                m.next = "COPY READ"
        with m.State("COPY READ"):
            m.d.comb += flash.read.eq(1)
            with m.If(flash.ready):
                m.next = "COPY BYTE"
        with m.State("COPY BYTE"), m.If(flash.valid):
            m.d.sync += [self.word.eq(Cat(self.word, flash.rdata)[8:]), self.count.eq(self.count + 1)]
            m.next = "COPY READ"
            with m.If(self.count[: self.part_bits].all()):
                m.next = "COPY WORD"
        with m.State("COPY WORD"):
            m.d.comb += [w.valid.eq(1), w.payload.eq(self.word)]
            with m.If(w.ready):
                m.next = "COPY READ"
                with m.If(self.count == 0):
                    m.d.comb += [self.valid.addr.eq(self.line), self.valid.data.eq(1), self.valid.en.eq(1)]
                    m.next = "REQUEST"

    def change(self) -> None:
        """Write a byte, or erase a block."""
        m = self.m
        flash = self.flash
        with m.State("ALIGN"):
            m.next = "CHANGE"
            with m.If(flash.at != self.at):
                self._seek(self.at, "ALIGN", "CHANGE")
        with m.State("CHANGE"):
            block = Cat(Const(0, BLOCK_BITS - LINE_BITS), self.at[BLOCK_BITS:])
            m.d.comb += [flash.write.eq(~self.erases), flash.erase.eq(self.erases)]
            m.d.sync += [self.loaded.eq(0), self.walk.eq(block)]
            self._drop(self.line)
            with m.If(flash.ready):
                m.d.sync += [self.at.eq(self.at + ~self.erases), self.unfinished.eq(~self.erases)]
                m.next = "IDLE"
                with m.If(self.erases):
                    m.next = "DROP"
        with m.State("DROP"):  # the lines of a block
            self._drop(self.walk)
            m.d.sync += self.walk.eq(self.walk + 1)
            with m.If(self.walk[: BLOCK_BITS - LINE_BITS].all()):
                m.next = "IDLE"

    def _seek(self, address: Value, here: str, then: str) -> None:
        """Seek an address of the flash, from state ``here``."""
        m = self.m
        m.d.comb += [self.flash.address.eq(address), self.flash.seek.eq(1)]
        m.next = here
        with m.If(self.flash.ready):
            m.next = then
