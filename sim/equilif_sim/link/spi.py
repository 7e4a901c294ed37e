"""Bench for equilif_hdl.link.spi: an SPI master at the pins, with an independent clock, against
equilif_golden.link.spi.Slave.

State space: SCK from 4 cycles a bit to 31, at any phase, and in no simple ratio to the clock; every byte,
and many of those that are stuffed; wrong escapes; chip selects that are released between bytes and inside
them; an ``o`` that is slow, or taken too late, and an ``i`` with gaps; lines that are stuck or make noise;
replies that are not fetched.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer, ValueChange, with_timeout
from cocotb.utils import get_sim_time

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, Status, slip, unslip
from equilif_golden.link.spi import ESCAPE, NOTHING, Slave, Unstuffer, stuff
from equilif_hdl.link.spi import MIN_RATIO
from equilif_hdl.link.transport import RECEIVED
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import StreamSink, StreamSource, never, often

CYCLE = 10_000  #: ps
#: what pads and cables may take of a bit: at 4 cycles a bit nearly a whole one
WAY = 9_900
RATIOS = (MIN_RATIO, 4.3, 5.71, 9, 31)


def at_leisure() -> bool:
    """Gaps longer than a byte, now and then."""
    return random.random() < 0.99


class SpiHost:
    """The master.  ``bit``: ps.  It sees MISO ``way`` late, or later where a bit leaves it more time."""

    def __init__(self, dut: Any, ratio: float = MIN_RATIO):
        self.dut = dut
        self.bit = 2 * round(ratio * CYCLE / 2)
        self.way = WAY
        self.drive(sck=0, csn=1, mosi=1)

    def drive(self, **pins: int) -> None:
        for name, level in pins.items():
            getattr(self.dut, f"pins__{name}").value = level

    async def phase(self, ps: int | None = None) -> None:
        """To so much after a clock edge."""
        await RisingEdge(self.dut.clk)
        await Timer(ps or random.randrange(1, CYCLE), unit="ps")

    async def select(self) -> None:
        self.drive(csn=0)

    async def release(self) -> None:
        """In the middle of SCK's low level, or where one would be; and long enough for the next one."""
        self.drive(csn=1)
        await Timer(2 * CYCLE, unit="ps")

    async def bits(self, byte: int, n: int = 8) -> int:
        """The first ``n`` bits of a byte, and what came meanwhile."""
        came = 0
        for k in range(n):
            self.drive(mosi=byte >> 7 - k & 1)
            await Timer(self.bit // 2 - self.way, unit="ps")
            came = came << 1 | int(self.dut.pins__miso.value)
            assert int(self.dut.pins__miso_oe.value), "nobody drives MISO"
            await Timer(self.way, unit="ps")
            self.drive(sck=1)
            await Timer(self.bit // 2, unit="ps")
            self.drive(sck=0)
        return came

    async def transfer(self, line: Iterable[int]) -> bytes:
        """As a driver does it: one chip select for all of them."""
        await self.select()
        came = [await self.bits(byte) for byte in line]
        await Timer(self.bit // 2, unit="ps")
        await self.release()
        return bytes(came)


async def begin(dut: Any) -> None:
    """Clock and reset."""
    dut.rst.value = 1
    Clock(dut.clk, CYCLE, unit="ps", impl="gpi").start(start_high=False)
    await ClockCycles(dut.clk, 4)  # the synchronizers have no reset: what they held at first must pass
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)


class SpiFrameHost(SpiHost):
    """Speaks SLIP, and clocks out NOTHING while it waits."""

    def __init__(self, dut: Any, ratio: float):
        super().__init__(dut, ratio)
        self.decoder = Unstuffer()
        self.found = b""

    async def speak(self, line: bytes) -> None:
        """Bytes of the SPI layer, in transfers of any length."""
        while line:
            n = random.randint(1, 64)
            self.found += self.decoder.data(await self.transfer(line[:n]))
            line = line[n:]
            if random.random() < 0.1:
                await self.phase()

    async def reply(self) -> bytes:
        """The next one, END included."""
        while END not in self.found:
            await self.speak(bytes([NOTHING]) * 16)
        reply, end, self.found = self.found.partition(bytes([END]))
        return reply + end

    async def exchange(self, frame: bytes) -> bytes:
        """A frame and its reply, both with SLIP."""
        await self.speak(stuff(bytes([END]) + slip(frame)))
        return await self.reply()

    async def silence(self) -> None:
        """Nothing comes any more."""
        await self.speak(bytes([NOTHING]) * 64)
        assert not self.found, self.found.hex()

    async def disturb(self, device: Device, frame: bytes) -> None:
        await self._noise()
        await self._stuck(device)
        await self._cut_off(device, frame)

    async def _noise(self) -> None:
        """While nobody is selected."""
        for _ in range(300):
            self.drive(sck=random.getrandbits(1), mosi=random.getrandbits(1))
            await Timer(random.randrange(1, 5 * CYCLE), unit="ps")
        self.drive(sck=0)
        await Timer(5 * CYCLE, unit="ps")
        await self.silence()

    async def _stuck(self, device: Device) -> None:
        """MOSI, for a while."""
        line = bytes([random.choice((0, 0xFF))]) * random.choice((1, 50, 400))
        want = device.packet(line)
        assert want is not None and want[0] != Status.OK
        await self.speak(line + bytes([END]))
        assert await self.reply() == slip(want)

    async def _cut_off(self, device: Device, frame: bytes) -> None:
        """A byte of the frame.  The one behind it is in error, so it is not the END."""
        line = stuff(bytes([END]) + slip(frame))
        cut = random.randrange(1, len(line) - 2)
        await self.speak(line[:cut])
        await self.select()
        await self.bits(line[cut], random.randrange(1, 8))
        await Timer(2 * CYCLE, unit="ps")
        await self.release()
        await self.speak(line[cut + 1 :])
        model = Slave()
        for n, byte in enumerate(line):
            model.cut() if n == cut else model.exchange(byte)
        whole = bytes(data for data, error in model.received if not error)
        want = device.reply(unslip(whole[1:-1])[0], bad=True)
        assert await self.reply() == slip(want)


async def connected(dut: Any) -> SpiFrameHost:
    """The host of a complete design."""
    host = SpiFrameHost(dut, bench_config()["ratio"])
    await begin(dut)
    await host.phase()
    return host


class SpiBench:
    """``model`` is told what the pins do, and says what comes at ``o``."""

    def __init__(self, dut: Any, *, ratio: float = MIN_RATIO, taken: Any = never, offered: Any = never):
        self.dut = dut
        self.score = Scoreboard()
        self.source = StreamSource(dut, "i", pause=offered)
        self.sink = StreamSink(dut, "o", self._came, pause=taken)
        self.host = SpiHost(dut, ratio)
        self.model = Slave()
        self.compared = 0

    def _came(self, payload: int) -> None:
        found = RECEIVED.from_bits(payload)
        self.score.actual((found["data"], bool(found["error"])))

    async def begin(self) -> None:
        self.dut.i__payload.value = 0
        await begin(self.dut)
        cocotb.start_soon(self.sink.run())
        await self.host.phase()

    async def feed(self, data: bytes) -> None:
        for byte in data:
            await self.source.send(byte)

    async def exchange(self, byte: int, *, room: bool = True) -> tuple[int, int]:
        """A byte each way; what came, and what the model sends in its place."""
        want = self.model.exchange(byte, room=room)
        while self.model.received:
            self.score.expect(self.model.received.pop(0))
            self.compared += 1
        return await self.host.bits(byte), want

    async def cut(self, byte: int, bits: int) -> None:
        """The chip select is released inside a byte."""
        await self.host.bits(byte, bits)
        await Timer(random.randrange(2 * CYCLE, 4 * CYCLE), unit="ps")
        if random.random() < 0.3:  # with an edge of SCK, which comes too late
            self.host.drive(sck=1, csn=1)
        await self.host.release()
        self.host.drive(sck=0)
        self.model.cut()
        await self.host.select()

    async def between(self) -> None:
        """The chip select is released for a while."""
        await Timer(self.host.bit // 2, unit="ps")
        await self.host.release()
        await Timer(random.randrange(10 * CYCLE), unit="ps")
        await self.host.select()

    async def finish(self) -> None:
        await ClockCycles(self.dut.clk, 20)
        assert self.compared
        self.score.finish(self.compared)


def data_of(n: int) -> bytes:
    """Random, with many that are stuffed."""
    return bytes(random.choice((NOTHING, ESCAPE, END, random.getrandbits(8))) for _ in range(n))


def spoken(data: bytes) -> bytes:
    """Bytes of a host with idle bytes in between."""
    out = bytearray()
    for byte in stuff(data):
        out += bytes([NOTHING]) * random.choice((0, 0, 0, 1, 3)) + bytes([byte])
    return bytes(out)


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(ratio=RATIOS, taken=[never, often])
async def both_ways(dut: Any, ratio: float, taken: Any) -> None:
    """Bit for bit as the model, while the design always has something to say."""
    tb = SpiBench(dut, ratio=ratio, taken=taken)
    await tb.begin()
    there = data_of(400)
    tb.model.sent.extend(there)
    feeding = cocotb.start_soon(tb.feed(there))
    await tb.between()
    found = b""
    decoder = Unstuffer()
    line = spoken(bytes(random.sample(range(256), 256)))
    tb.model.exchange(NOTHING)  # it was chosen before there were data
    await tb.host.bits(NOTHING)
    while tb.model.sent or line:
        fate = random.random()
        if fate < 0.05:
            await tb.cut(random.getrandbits(8), random.randrange(1, 8))
        elif fate < 0.15:
            await tb.between()
            if random.random() < 0.3:
                await tb.host.phase()
        else:
            byte, line = (line[0], line[1:]) if line else (NOTHING, b"")
            came, want = await tb.exchange(byte)
            assert came == want, f"MISO had {came:02x}, the model sends {want:02x}"
            found += decoder.data(bytes([came]))
    await feeding
    last, want = await tb.exchange(NOTHING)
    assert last == want and found + decoder.data(bytes([last])) == there
    assert await tb.exchange(NOTHING) == (NOTHING, NOTHING)
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(ratio=[MIN_RATIO, 7.3])
async def gaps(dut: Any, ratio: float) -> None:
    """Of a design that is late: NOTHING in between, and each byte once."""
    tb = SpiBench(dut, ratio=ratio, offered=at_leisure)
    await tb.begin()
    there = data_of(200)
    feeding = cocotb.start_soon(tb.feed(there))
    await tb.host.select()
    decoder = Unstuffer()
    found = b""
    silent = 0
    while len(found) < len(there):
        if random.random() < 0.05:
            await tb.cut(0, random.randrange(1, 8))
        came, _ = await tb.exchange(random.getrandbits(8))
        silent += came == NOTHING
        found += decoder.data(bytes([came]))
    assert found == there and silent > 50
    await feeding
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def every_phase(dut: Any) -> None:
    """Of the fastest SCK, whose way through pads takes nearly a cycle."""
    tb = SpiBench(dut)
    await tb.begin()
    there = bytes(random.choices(range(256), k=1000))
    feeding = cocotb.start_soon(tb.feed(there))
    found = b""
    for ps in (*range(1, CYCLE, 499), CYCLE - 1):
        await tb.host.phase(ps)
        sent = random.randbytes(4)
        for byte in stuff(sent):
            tb.model.exchange(byte)
        while tb.model.received:
            tb.score.expect(tb.model.received.pop(0))
            tb.compared += 1
        found += await tb.host.transfer(stuff(sent))
    assert found[0] == NOTHING and there.startswith(Unstuffer().data(found)) and len(found) > 80
    feeding.cancel()
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
@cocotb.parametrize(ps=[1, 5000, CYCLE - 1])
async def cycles(dut: Any, ps: int) -> None:
    """A byte is at ``o``, and MISO has its next bit, with the third clock edge after a rising edge of SCK.
    MISO changes at no other time, and is driven for as long as the chip select is low.
    """
    tb = SpiBench(dut, ratio=12)
    tb.sink._pause = lambda: True
    half = tb.host.bit // 2
    changes: list[float] = []
    rises: list[float] = []

    async def note() -> None:
        while True:
            await ValueChange(dut.pins__miso)
            changes.append(get_sim_time("ps"))

    await tb.begin()
    for select in (1, 0, 1):
        tb.host.drive(csn=select)
        await Timer(1, unit="ps")
        assert int(dut.pins__miso_oe.value) == 1 - select
    feeding = cocotb.start_soon(tb.feed(bytes([0x55, 0xAA])))
    await tb.host.transfer([NOTHING])
    cocotb.start_soon(note())
    await tb.host.phase(ps)
    await tb.host.select()
    for k in range(16):
        tb.host.drive(mosi=0x3CC3 >> 15 - k & 1)
        await Timer(half, unit="ps")
        tb.host.drive(sck=1)
        rises.append(get_sim_time("ps"))
        if k == 7:
            for _ in range(3):
                assert not int(dut.o__valid.value)
                await RisingEdge(dut.clk)
            assert get_sim_time("ps") == rises[-1] - ps + 3 * CYCLE
            await ReadOnly()
            assert int(dut.o__valid.value) and int(dut.o__payload.value) == 0x3C
            await Timer(half - 3 * CYCLE + ps, unit="ps")
        else:
            await Timer(half, unit="ps")
        tb.host.drive(sck=0)
    await tb.host.release()
    # each bit of 55, AA and the NOTHING behind them is another one, but for the first of AA
    third = [rise - ps + 3 * CYCLE for rise in rises]
    assert changes == third[:7] + third[8:]
    await feeding


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def escapes_that_are_wrong(dut: Any) -> None:
    """Each of them is one bad byte."""
    tb = SpiBench(dut)
    await tb.begin()
    await tb.host.select()
    for code in random.sample(range(256), 256):
        for byte in (ESCAPE, code, random.getrandbits(8), 0x11):
            await tb.exchange(byte)
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def lost_bytes(dut: Any) -> None:
    """A byte that is not taken in time is lost, and the next delivered byte reports it."""
    tb = SpiBench(dut)
    blocked = True
    tb.sink._pause = lambda: blocked
    await tb.begin()
    await tb.host.select()
    for _ in range(20):
        blocked = True
        await tb.exchange(0x11)
        for byte in stuff(data_of(random.randrange(1, 4))):
            await tb.exchange(byte, room=False)
        await ClockCycles(dut.clk, 4)  # the last one is on its way through the receiver
        blocked = False
        await ClockCycles(dut.clk, 4)
        for byte in (0x44, 0x55):
            await tb.exchange(byte)
        await ClockCycles(dut.clk, 4)
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def nobody_is_selected(dut: Any) -> None:
    """Whatever SCK and MOSI do then, nothing comes and nothing is lost; of a selected line that is stuck at
    either level come bytes that are the end of no frame.
    """
    tb = SpiBench(dut)
    await tb.begin()
    for _ in range(500):
        tb.host.drive(sck=random.getrandbits(1), mosi=random.getrandbits(1))
        await Timer(random.randrange(1, 5 * CYCLE), unit="ps")
        assert not int(dut.o__valid.value) and not int(dut.pins__miso_oe.value)
    tb.host.drive(sck=0)
    await Timer(5 * CYCLE, unit="ps")
    await tb.host.select()
    await tb.host.phase()
    for level in (0, 0xFF):
        for _ in range(20):
            assert (await tb.exchange(level))[0] == NOTHING
    tb.host.drive(mosi=0, sck=1)
    await ClockCycles(dut.clk, 1000)
    assert not int(dut.o__valid.value)
    await tb.finish()


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def a_reply_that_nobody_fetches(dut: Any) -> None:
    """Dropped after the timeout, not earlier, and later bytes arrive; or it waits."""
    tb = SpiBench(dut)
    await tb.begin()
    bits = bench_config()["reply_timeout_bits"]
    if not bits:
        data = data_of(20)
        feeding = cocotb.start_soon(tb.feed(data))
        await ClockCycles(dut.clk, 20_000)
        await tb.host.phase()
        assert Unstuffer().data(await tb.host.transfer([NOTHING] * 41)) == data
        await feeding
        return
    timeout = CYCLE << bits
    for n in (1, 300):
        start = get_sim_time("ps")
        await with_timeout(tb.feed(data_of(n)), 3 * timeout + n * CYCLE, "ps")
        assert get_sim_time("ps") - start >= timeout
        await ClockCycles(dut.clk, 10)
        await tb.host.phase()
        await tb.host.transfer([NOTHING] * 3)  # a byte or two may have been on their way
        data = data_of(50)
        feeding = cocotb.start_soon(tb.feed(data))
        came = await tb.host.transfer([NOTHING] * (len(stuff(data)) + 1))
        decoder = Unstuffer()
        assert decoder.data(came) == data and not decoder.escaped
        await feeding


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def what_is_active(dut: Any) -> None:
    """A byte that means something, until the one after it, or the end of the transfer."""
    tb = SpiBench(dut)
    await tb.begin()
    feeding = cocotb.start_soon(tb.feed(b"\x33"))
    seen = []
    await tb.host.select()
    for byte in (NOTHING, NOTHING, NOTHING, 0x12, NOTHING, 0x34):
        await tb.exchange(byte)
        await ClockCycles(dut.clk, 4)
        seen.append(int(dut.active.value))
        await tb.host.phase()
    assert seen == [0, 1, 0, 1, 0, 1]
    await tb.host.release()
    await ClockCycles(dut.clk, 4)
    assert not int(dut.active.value)
    await feeding
    await tb.finish()
