"""Bench for equilif_hdl.link.slip, decoder and encoder in series, against sliplib; for invalid frames against
the golden model.

    e_i: data, end --> SlipEncoder --> e_o: bytes        d_i: bytes, error --> SlipDecoder --> d_o: data,
    end, bad

State space: frames of 0 to 40 bytes, random and made of the four special codes; wrong escapes; UART errors;
every byte in every state.  Stall space: source and sink each free-running or stalling half of the cycles.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import sliplib
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from equilif_golden.link.protocol import END, ESC, ESC_END, ESC_ESC, unslip
from equilif_hdl.link.slip import DECODED, ITEM, Decoded, Item, SlipDecoder, SlipEncoder
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.typed import Stream
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, StreamSink, StreamSource, never, often, with_pauses

SPECIAL = (END, ESC, ESC_END, ESC_ESC)
stalls = with_pauses(i_pause=[never, often], o_pause=[never, often])


class Slip(wiring.Component):
    """Design under test: both blocks, side by side."""

    e_i: Stream[Item]
    e_o: Stream[Signal]
    d_i: Stream[Received]
    d_o: Stream[Decoded]

    def __init__(self) -> None:
        self.config: dict[str, Any] = {}
        super().__init__(
            {
                "e_i": In(stream.Signature(ITEM)),
                "e_o": Out(stream.Signature(8)),
                "d_i": In(stream.Signature(RECEIVED)),
                "d_o": Out(stream.Signature(DECODED)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.encoder = encoder = SlipEncoder()
        m.submodules.decoder = decoder = SlipDecoder()
        connect(m, flipped(self.e_i), encoder.i)
        connect(m, encoder.o, flipped(self.e_o))
        connect(m, flipped(self.d_i), decoder.i)
        connect(m, decoder.o, flipped(self.d_o))
        return m


class SlipBench:
    def __init__(self, dut: Any, port: str, *, i_pause: Pause, o_pause: Pause):
        self.dut = dut
        self.score = Scoreboard()
        self.source = StreamSource(dut, f"{port}_i", pause=i_pause)
        self.sink = StreamSink(dut, f"{port}_o", self._arrived, pause=o_pause)
        for name in ("e_i", "d_i"):
            getattr(dut, f"{name}__valid").value = getattr(dut, f"{name}__payload").value = 0
        self.expected = 0

    def _arrived(self, payload: int) -> None:
        # at an end, data means nothing; before it, `bad` does not
        self.score.actual(payload & 0x300 if payload >> 8 & 1 else payload & 0xFF)

    def expect(self, item: int) -> None:
        self.score.expect(item)
        self.expected += 1

    async def reset(self) -> None:
        Clock(self.dut.clk, 10, unit="ns", impl="gpi").start()
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 2)
        self.dut.rst.value = 0
        cocotb.start_soon(self.sink.run())

    async def finish(self) -> None:
        for _ in range(300):
            if not self.score.outstanding:
                break
            await RisingEdge(self.dut.clk)
        await ClockCycles(self.dut.clk, 5)
        self.score.finish(self.expected)


@cocotb.test(timeout_time=2, timeout_unit="ms")
@stalls
async def every_byte(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """Every byte alone and after an ESC, with and without a UART error, through both blocks at once."""
    e = SlipBench(dut, "e", i_pause=i_pause, o_pause=o_pause)
    d = SlipBench(dut, "d", i_pause=i_pause, o_pause=o_pause)
    await e.reset()
    cocotb.start_soon(d.sink.run())

    async def encode_all() -> None:
        for byte in range(256):
            for code in sliplib.encode(bytes([byte])) + sliplib.END:
                e.expect(code)
            await e.source.send(byte)
            await e.source.send(1 << 8 | byte)

    async def decode_all() -> None:
        for packet in [prefix + bytes([byte]) for prefix in (b"", b"\xdb") for byte in range(256)]:
            for part in (packet + sliplib.END).split(sliplib.END)[:-1]:
                data, bad = unslip(part)
                for byte in data:
                    d.expect(byte)
                d.expect(1 << 8 | bad << 9)
            for byte in packet + sliplib.END:
                await d.source.send(byte)
            # a UART error in the last byte: no output of it, nor of an ESC before it
            d.expect(3 << 8)
            for byte in (*packet[:-1], packet[-1] | 1 << 8, END):
                await d.source.send(byte)

    encoding = cocotb.start_soon(encode_all())
    await decode_all()
    await encoding
    await e.finish()
    await d.finish()


def message() -> bytes:
    n = random.choice([0, 1, 2, random.randint(3, 40)])
    return bytes(random.choice(SPECIAL) if random.random() < 0.5 else random.getrandbits(8) for _ in range(n))


@cocotb.test(timeout_time=2, timeout_unit="ms")
@stalls
async def encode(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    tb = SlipBench(dut, "e", i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    for _ in range(40):
        data = message()
        for byte in sliplib.encode(data) + sliplib.END:
            tb.expect(byte)
        for byte in data:
            await tb.source.send(byte)
        await tb.source.send(1 << 8 | random.getrandbits(8))
    await tb.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@stalls
async def decode(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """Whatever sliplib encodes comes out as it was; several ENDs in a row are several empty frames."""
    tb = SlipBench(dut, "d", i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    for _ in range(40):
        data = message()
        for byte in data:
            tb.expect(byte)
        tb.expect(1 << 8)
        for byte in sliplib.encode(data) + sliplib.END:
            await tb.source.send(byte)
    await tb.finish()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@stalls
async def wrong(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """Frames that sliplib refuses, and ones with a UART error, end bad; the next one is good."""
    tb = SlipBench(dut, "d", i_pause=i_pause, o_pause=o_pause)
    ends: list[int] = []
    tb.sink._on_transfer = lambda payload: ends.append(payload >> 9) if payload >> 8 & 1 else None
    await tb.reset()
    bad = 0
    for _ in range(60):
        n = random.randint(0, 12)
        packet = bytes(
            random.choice(SPECIAL[1:]) if random.random() < 0.6 else random.randrange(0xC0) for _ in range(n)
        )
        error = random.randrange(len(packet)) if packet and random.random() < 0.3 else -1
        for k, byte in enumerate(packet + sliplib.END):
            # an error hides what the byte was, an END too
            await tb.source.send(random.choice([byte, END]) | 1 << 8 if k == error else byte)
        await ClockCycles(dut.clk, 20)
        want = int(error >= 0 or not sliplib.is_valid(packet))
        assert ends.pop() == want and not ends, f"{packet.hex()} with an error at {error}"
        bad += want
    assert 10 < bad < 55
