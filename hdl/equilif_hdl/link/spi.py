"""SPI, mode 0, high bit first: the design is the slave, and the host's clock moves both directions.

    csn, sck, mosi --> [2 FF] --> rising edges of sck: 8 bits --> unstuffed --> o: byte, error
                         miso <-- the next bit <-- byte, or NOTHING <-- stuffed <-- i: byte

What NOTHING is, and what stuffing, says equilif_golden.link.spi.

**How fast.**  sck is sampled by the design's clock, and an edge is seen with the third clock edge after it.
``miso`` has the next bit then.  A slave with a clock of its own changes it at the falling edge of sck; this
one does so between two and three cycles after the rising edge, when the host has taken the bit before.  With
four cycles a bit, a whole one is left for the way through pads and cable before the next rising edge.  So 4
cycles a bit are the fewest, in both directions, and every level of sck must last more than a cycle.

The chip select falls two cycles before the first rising edge of sck, rises two after the last one, and stays
high for two.
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

MIN_RATIO = 4  #: cycles of the design's clock a bit
#: seconds without a host that fetches the reply: it is dropped.  A client has sent its command again by then
REPLY_TIMEOUT = 0.35
#: 2**so many cycles, as long as that at 96 MHz
REPLY_TIMEOUT_BITS = 25


class Pins(Interface, Protocol):
    """What PINS makes."""

    sck: Signal
    csn: Signal
    mosi: Signal
    miso: Signal
    miso_oe: Signal


PINS = wiring.Signature({"sck": In(1), "csn": In(1), "mosi": In(1), "miso": Out(1), "miso_oe": Out(1)})


class SpiLine(Line):
    """Pins, not synchronised: ``sck``; ``csn``, low while the host speaks; ``mosi``; ``miso``, driven where
    ``miso_oe`` is high.

    ``error`` of ``o``: its escape is wrong, or bytes before this one are lost, because the chip select was
    released inside one or ``o`` was not taken in time.  A byte to the host is not lost then: it is sent again
    whole.  ``active``: the last byte meant something, in either direction.

    Latency: a byte is at ``o`` with the third clock edge after its last rising edge of sck, and the byte to
    the host that waits at ``i`` then is the next one.  Throughput: a byte in 8 bits.

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
        # straight from the pin: another device on the bus may drive it from then on
        m.d.comb += pins.miso_oe.eq(~pins.csn)

        before = Signal()  # sck a cycle ago
        left = Signal(3, init=7)  # bits of this byte behind the next one
        shift = Signal(7)
        came = Cat(mosi, shift)  # a whole byte, with the last bit
        edge = Signal()
        whole = Signal()
        m.d.sync += before.eq(sck)
        m.d.comb += [edge.eq(sck & ~before & ~csn), whole.eq(edge & (left == 0))]
        with m.If(edge):
            m.d.sync += [left.eq(left - 1), shift.eq(came)]
        with m.If(csn):
            m.d.sync += left.eq(7)

        lost = Signal()  # a byte before the next one is
        escaped = Signal()  # the last byte was an ESCAPE
        code = Signal()  # this byte may stand behind one
        m.d.comb += code.eq(_any(came, *CODES))
        with m.If(o.ready):
            m.d.sync += o.valid.eq(0)
        with m.If(whole & (came != NOTHING)):
            with m.If((came == ESCAPE) & ~escaped):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += [escaped.eq(0), lost.eq(o.valid & ~o.ready)]
                with m.If(~o.valid | o.ready):
                    m.d.sync += [
                        o.valid.eq(1),
                        o.p.data.eq(came ^ Mux(escaped, FLIP, 0)),
                        o.p.error.eq(lost | escaped & ~code),
                    ]
        with m.If(csn & (left != 7)):
            m.d.sync += lost.eq(1)

        # the byte stays until its last bit is taken: the host has not got what it did not get whole
        shown = Signal(8, init=NOTHING)
        upcoming = Signal(8)  # behind it
        stuffed = Signal()  # the ESCAPE before this byte is out
        special = _any(i.payload, NOTHING, ESCAPE)
        with m.If(~i.valid):
            m.d.comb += upcoming.eq(NOTHING)
        with m.Elif(special & ~stuffed):
            m.d.comb += upcoming.eq(ESCAPE)
        with m.Else():
            m.d.comb += upcoming.eq(i.payload ^ Mux(special, FLIP, 0))
        with m.If(csn):
            m.d.sync += pins.miso.eq(shown[7])
        with m.Elif(whole):
            m.d.sync += [shown.eq(upcoming), pins.miso.eq(upcoming[7])]
        with m.Elif(edge):
            m.d.sync += pins.miso.eq(shown.bit_select((left - 1)[:3], 1))
        with m.If(whole & i.valid):
            m.d.sync += stuffed.eq(special & ~stuffed)

        gone: Value = Const(0)
        if self.reply_timeout_bits:
            waited = Signal(self.reply_timeout_bits + 1)
            gone = waited[-1]
            with m.If(whole | ~i.valid & ~gone):
                m.d.sync += waited.eq(0)
            with m.Elif(~gone):
                m.d.sync += waited.eq(waited + 1)
        m.d.comb += i.ready.eq(whole & (~special | stuffed) | gone & ~whole)

        meant = Signal()
        with m.If(whole):
            m.d.sync += meant.eq((came != NOTHING) | (shown != NOTHING))
        m.d.comb += self.active.eq(meant & ~csn)
        return m


def _any(byte: Value, *values: int) -> Value:
    """Whether it is one of these."""
    return Cat(byte == value for value in values).any()


@dataclass(frozen=True)
class Spi:
    """An SPI slave as data: equilif_hdl.link.transport.Transport."""

    reply_timeout_bits: int = REPLY_TIMEOUT_BITS

    @classmethod
    def of(cls, clock_hz: float, sck_hz: float, *, keep_reply: bool = False) -> Spi:
        """For this clock; ValueError when it is too slow for such an SCK.  ``keep_reply``: a reply waits for
        ever.
        """
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
