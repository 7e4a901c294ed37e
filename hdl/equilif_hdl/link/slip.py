"""SLIP framing (RFC 1055).

END ends a frame; inside a frame, END and ESC are replaced by ESC and a code.

    received bytes --> SlipDecoder --> data... end        data... end --> SlipEncoder --> bytes
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.protocol import END, ESC, ESC_END, ESC_ESC
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.typed import Fields, Layout, Stream


class Item(Fields):
    """A byte of a frame, or with ``end`` its end."""

    data: Value
    end: Value


class Decoded(Fields):
    """Decoded item. ``bad``, with ``end``: the frame has an invalid escape or a byte with a transport
    error.
    """

    data: Value
    end: Value
    bad: Value


ITEM: Layout[Item] = Layout({"data": 8, "end": 1})
DECODED: Layout[Decoded] = Layout({"data": 8, "end": 1, "bad": 1})


class SlipDecoder(wiring.Component):
    """Members
    -------
    i : In(stream of equilif_hdl.link.transport.RECEIVED)
    o : Out(stream of DECODED)

    Latency 0, throughput a byte a cycle.  An END with a transport error does not end the frame.
    """

    i: Stream[Received]
    o: Stream[Decoded]

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(RECEIVED)), "o": Out(stream.Signature(DECODED))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i = self.i
        o = self.o
        escaped = Signal()  # the previous byte was an ESC
        bad = Signal()  # the frame has an error
        byte = i.p.data
        m.d.comb += [o.p.data.eq(byte), o.p.bad.eq(bad | escaped)]
        with m.If(i.p.error):
            m.d.comb += i.ready.eq(1)
            with m.If(i.valid):
                m.d.sync += [bad.eq(1), escaped.eq(0)]
        with m.Elif(byte == END):
            m.d.comb += [o.p.end.eq(1), o.valid.eq(i.valid), i.ready.eq(o.ready)]
            with m.If(i.valid & o.ready):
                m.d.sync += [bad.eq(0), escaped.eq(0)]
        with m.Elif((byte == ESC) & ~escaped):
            m.d.comb += i.ready.eq(1)
            with m.If(i.valid):
                m.d.sync += escaped.eq(1)
        with m.Else():
            m.d.comb += [o.valid.eq(i.valid), i.ready.eq(o.ready)]
            with m.If(escaped):
                m.d.comb += o.p.data.eq(END)
                with m.If(byte == ESC_ESC):
                    m.d.comb += o.p.data.eq(ESC)
                with m.If(i.valid & o.ready):
                    m.d.sync += escaped.eq(0)
                    with m.If((byte != ESC_END) & (byte != ESC_ESC)):
                        m.d.sync += bad.eq(1)
        return m


class SlipEncoder(wiring.Component):
    """Members
    -------
    i : In(stream of ITEM)
    o : Out(stream of 8)

    Latency 0, throughput an output byte a cycle.
    """

    i: Stream[Item]
    o: Stream[Signal]

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(ITEM)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        i = self.i
        o = self.o
        escaped = Signal()  # the ESC before this byte is sent
        m.d.comb += [o.valid.eq(i.valid), o.payload.eq(i.p.data), i.ready.eq(o.ready)]
        with m.If(i.p.end):
            m.d.comb += o.payload.eq(END)
        with m.Elif((i.p.data == END) | (i.p.data == ESC)):
            with m.If(escaped):
                m.d.comb += o.payload.eq(ESC_END)
                with m.If(i.p.data == ESC):
                    m.d.comb += o.payload.eq(ESC_ESC)
            with m.Else():
                m.d.comb += [o.payload.eq(ESC), i.ready.eq(0)]
            with m.If(o.valid & o.ready):
                m.d.sync += escaped.eq(~escaped)
        return m
