"""SPI slave, mode 0, most significant bit first.

    csn, sck, mosi --> [2 FF] --> rising edges of sck: 8 bits --> unstuffed --> o: byte, error
                         miso <-- the next bit <-- byte, or NOTHING <-- stuffed <-- i: byte

equilif_golden.link.spi defines NOTHING and the stuffing.

**Timing.**  sck is sampled with the clock of the design.  An edge is detected at the third clock edge after
it, and ``miso`` then has the next bit.  A slave that is clocked by sck changes it at the falling edge; this
one does between 2 and 3 cycles after the rising edge, when the host has sampled the previous bit.  With 4
cycles a bit one cycle remains for pads and cable before the next rising edge.  So the minimum is 4 cycles a
bit, in both directions, and each level of sck must last more than one cycle.

The chip select must fall 2 cycles before the first rising edge of sck, rise 2 cycles after the last one, and
stay high for 2 cycles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.spi import CODES, ESCAPE, FLIP, NOTHING
from equilif_hdl.link.transport import Line
from equilif_hdl.typed import Interface

MIN_RATIO = 4  #: minimum clock cycles per bit
#: seconds until a reply that no host fetches is dropped; a client resends earlier
REPLY_TIMEOUT = 0.35
#: log2 of the cycles of that time at 96 MHz
REPLY_TIMEOUT_BITS = 25


class Pins(Interface, Protocol):
    """Interface of PINS."""

    sck: Signal
    csn: Signal
    mosi: Signal
    miso: Signal
    miso_oe: Signal


PINS = wiring.Signature({"sck": In(1), "csn": In(1), "mosi": In(1), "miso": Out(1), "miso_oe": Out(1)})


class SpiLine(Line):
    """Asynchronous pins: ``sck``; ``csn``, low while selected; ``mosi``; ``miso``, driven while ``miso_oe``.

    ``error`` of ``o``: its escape is invalid, or bytes before this one are lost, as the chip select was
    released inside a byte or ``o`` was not read in time.  A byte to the host is then sent again.
    ``active``: the last byte was not NOTHING, in either direction.

    Latency: a byte is at ``o`` at the third clock edge after its last rising edge of sck; the byte that is at
    ``i`` then is sent next.  Throughput: a byte in 8 bits.

    ``reply_timeout_bits``: log2 of the cycles without a host until bytes at ``i`` are dropped; 0: never.
    """

    pins: Pins

    def __init__(self, reply_timeout_bits: int = REPLY_TIMEOUT_BITS):
        self.reply_timeout_bits = reply_timeout_bits
        super().__init__(PINS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pins = self.pins
        i = self.i
        o = self.o
        sck = Signal()
        csn = Signal(init=1)
        mosi = Signal()
        m.submodules.sck = cdc.FFSynchronizer(pins.sck, sck)
        m.submodules.csn = cdc.FFSynchronizer(pins.csn, csn, init=1)
        m.submodules.mosi = cdc.FFSynchronizer(pins.mosi, mosi)
        # combinational: another device on the bus may drive it when deselected
        m.d.comb += pins.miso_oe.eq(~pins.csn)

        before = Signal()  # sck of the previous cycle
        left = Signal(3, init=7)  # bits of this byte after the next one
        shift = Signal(7)
        byte = Cat(mosi, shift)  # the complete byte, including the last bit
        edge = Signal()
        byte_done = Signal()
        m.d.sync += before.eq(sck)
        m.d.comb += [edge.eq(sck & ~before & ~csn), byte_done.eq(edge & (left == 0))]
        with m.If(edge):
            m.d.sync += [left.eq(left - 1), shift.eq(byte)]
        with m.If(csn):
            m.d.sync += left.eq(7)

        lost = Signal()  # a byte before the next one was lost
        escaped = Signal()  # the previous byte was an ESCAPE
        code = Signal()  # this byte is a valid code after it
        m.d.comb += code.eq(_any(byte, *CODES))
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(byte_done & (byte != NOTHING)):
            with m.If((byte == ESCAPE) & ~escaped):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += [escaped.eq(0), lost.eq(o.valid & ~o.ready)]
                with m.If(~o.valid | o.ready):
                    m.d.sync += [
                        o.valid.eq(1),
                        o.p.data.eq(byte ^ Mux(escaped, FLIP, 0)),
                        o.p.error.eq(lost | escaped & ~code),
                    ]
        with m.If(csn & (left != 7)):
            m.d.sync += lost.eq(1)

        # the byte is kept until its last bit is read: a partial byte is repeated
        sending = Signal(8, init=NOTHING)
        next_byte = Signal(8)  # the byte after it
        stuffed = Signal()  # the ESCAPE before this byte is sent
        special = _any(i.payload, NOTHING, ESCAPE)
        with m.If(~i.valid):
            m.d.comb += next_byte.eq(NOTHING)
        with m.Elif(special & ~stuffed):
            m.d.comb += next_byte.eq(ESCAPE)
        with m.Else():
            m.d.comb += next_byte.eq(i.payload ^ Mux(special, FLIP, 0))
        with m.If(csn):
            m.d.sync += pins.miso.eq(sending[7])
        with m.Elif(byte_done):
            m.d.sync += [sending.eq(next_byte), pins.miso.eq(next_byte[7])]
        with m.Elif(edge):
            m.d.sync += pins.miso.eq(sending.bit_select((left - 1)[:3], 1))
        with m.If(byte_done & i.valid):
            m.d.sync += stuffed.eq(special & ~stuffed)

        timed_out: Value = Const(0)
        if self.reply_timeout_bits:
            waited = Signal(self.reply_timeout_bits + 1)
            timed_out = waited[-1]
            with m.If(byte_done | ~i.valid & ~timed_out):
                m.d.sync += waited.eq(0)
            with m.Elif(~timed_out):
                m.d.sync += waited.eq(waited + 1)
        m.d.comb += i.ready.eq(byte_done & (~special | stuffed) | timed_out & ~byte_done)

        meaningful = Signal()
        with m.If(byte_done):
            m.d.sync += meaningful.eq((byte != NOTHING) | (sending != NOTHING))
        m.d.comb += self.active.eq(meaningful & ~csn)
        return m


def _any(value: Value, *values: int) -> Value:
    """The byte is one of these values."""
    return Cat(value == each for each in values).any()


@dataclass(frozen=True)
class Spi:
    """Description of an SPI slave, a Transport."""

    reply_timeout_bits: int = REPLY_TIMEOUT_BITS

    @classmethod
    def of(cls, clock_hz: float, sck_hz: float, *, keep_reply: bool = False) -> Spi:
        """SPI slave for this clock; ValueError if it is too slow for SCK.  ``keep_reply``: no timeout."""
        if clock_hz < MIN_RATIO * sck_hz:
            raise ValueError(
                f"an SCK of {sck_hz / 1e6:g} MHz needs a clock of at least "
                f"{MIN_RATIO * sck_hz / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz"
            )
        return cls(0 if keep_reply else math.ceil(math.log2(REPLY_TIMEOUT * clock_hz)))

    @property
    def pins(self) -> wiring.Signature:
        return PINS

    def line(self) -> SpiLine:
        return SpiLine(self.reply_timeout_bits)
