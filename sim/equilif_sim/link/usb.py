"""Bench for equilif_hdl.link.usb: a host at D+ and D-, which asks the device who it is as an operating system
does, and then carries bytes.

State space: packets of every length, packets and handshakes that are lost, a design that takes its bytes
slowly or not at all, replies that are not fetched; a design whose clock is slower or faster than USB's.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer, with_timeout

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, slip
from equilif_hdl.link.usb import NAME, PACKET, PRODUCT, VENDOR
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import StreamSink, StreamSource, never, often

CYCLE = 20_832  #: ps, of 48 MHz: an even number, and a multiple of 4
BIT = 4 * CYCLE
OUT, IN, SETUP, DATA0, DATA1, ACK, NAK = 0xE1, 0x69, 0x2D, 0xC3, 0x4B, 0xD2, 0x5A
J, K, SE0 = (1, 0), (0, 1), (0, 0)  #: D+, D-
ADDRESS = 5
DATA = 4  #: endpoint
WAIT = 40  #: bits that a host waits for an answer


# -- packets (USB 2.0, chapters 7 and 8) -----------------------------------------------------------
def bits_of(data: Iterable[int]) -> list[int]:
    return [byte >> k & 1 for byte in data for k in range(8)]


def bytes_of(bits: Sequence[int]) -> bytes:
    return bytes(sum(bit << k for k, bit in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))


def crc(bits: Iterable[int], width: int, polynomial: int) -> list[int]:
    """CRC of bits in their order on the line, in the order of the line."""
    register = (1 << width) - 1
    for bit in bits:
        top = register >> width - 1
        register = register << 1 & (1 << width) - 1
        register ^= polynomial * (top ^ bit)
    return [1 - (register >> k & 1) for k in reversed(range(width))]


def token(pid: int, address: int, endpoint: int) -> bytes:
    fields = [*(address >> k & 1 for k in range(7)), *(endpoint >> k & 1 for k in range(4))]
    return bytes([pid]) + bytes_of(fields + crc(fields, 5, 0x05))


def data_packet(pid: int, data: bytes) -> bytes:
    return bytes([pid]) + data + bytes_of(crc(bits_of(data), 16, 0x8005))


def line_states(packet: bytes) -> list[tuple[int, int]]:
    """Encode with sync and end of packet, one state per bit: a 0 changes the line, and a 0 is put in
    behind six
    ones.
    """
    out = []
    state = J
    ones = 0
    for bit in [0] * 7 + [1] + bits_of(packet):
        for b in (bit, 0) if bit and ones == 5 else (bit,):
            ones = ones + 1 if b else 0
            if not b:
                state = K if state == J else J
            out.append(state)
    return [*out, SE0, SE0, J]


def packet_of(states: Sequence[tuple[int, int]]) -> bytes:
    """Decode line states; AssertionError when they are no packet."""
    bits = []
    ones = 0
    last = J
    for state in states[: states.index(SE0)]:
        bit = int(state == last)
        last = state
        if ones == 6:
            assert not bit, "seven ones"
        else:
            bits.append(bit)
        ones = ones + 1 if bit else 0
    assert bits[:8] == [0] * 7 + [1] and len(bits) % 8 == 0, bits
    return bytes_of(bits[8:])


# -- a host ----------------------------------------------------------------------------------------
class UsbHost:
    """At the other end of the cable.  ``address``: of the device, 0 until it has one."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.address = 0
        self.toggles = {OUT: DATA0, IN: DATA0}

    def drive(self, state: tuple[int, int]) -> None:
        self.dut.pins__p_i.value, self.dut.pins__n_i.value = state

    async def reset_bus(self) -> None:
        self.drive(SE0)
        await Timer(50, unit="us")
        self.drive(J)
        await Timer(20 * BIT, unit="ps")

    async def send(self, packet: bytes) -> None:
        for state in line_states(packet):
            self.drive(state)
            await Timer(BIT, unit="ps")
        await Timer(2 * BIT, unit="ps")

    async def receive(self) -> bytes:
        """The device's packet; empty when none comes."""
        d = self.dut
        for _ in range(4 * WAIT):
            await RisingEdge(d.usb_io_clk)
            await ReadOnly()
            if int(d.pins__oe.value):
                break
        else:
            await Timer(1, unit="step")
            return b""
        samples = []
        while int(d.pins__oe.value):
            samples.append((int(d.pins__p_o.value), int(d.pins__n_o.value)))
            await RisingEdge(d.usb_io_clk)
            await ReadOnly()
        await Timer(2 * BIT, unit="ps")
        states = samples[2::4]
        while states and states[0] == J:
            states.pop(0)
        return packet_of(states)

    # -- transactions --------------------------------------------------------------------------------
    async def out(self, data: bytes, *, endpoint: int = DATA, lost: bool = False) -> bool:
        """Whether the device took the packet.  ``lost``: the host does not receive the acknowledgement."""
        await self.send(token(OUT, self.address, endpoint))
        await self.send(data_packet(self.toggles[OUT], data))
        handshake = await self.receive()
        assert handshake in (bytes([ACK]), bytes([NAK])), handshake
        if handshake[0] == ACK and not lost:
            self.toggles[OUT] ^= DATA0 ^ DATA1
        return handshake[0] == ACK

    async def exchange(self, frame: bytes) -> bytes:
        """A frame and its reply, both with SLIP, in packets."""
        line = bytes([END]) + slip(frame)
        for at in range(0, len(line), PACKET):
            while not await self.out(line[at : at + PACKET]):
                pass
        found = b""
        while not found.endswith(bytes([END])):
            found += await self.fetch() or b""
        return found

    async def disturb(self, device: Device, frame: bytes) -> None:
        """Nothing: packets are complete or repeated."""

    async def fetch(self, *, endpoint: int = DATA, lost: bool = False) -> bytes | None:
        """A packet of the device; None when it has none.  ``lost``: it does not come through."""
        await self.send(token(IN, self.address, endpoint))
        packet = await self.receive()
        if packet == bytes([NAK]):
            return None
        data = packet[1:-2]
        assert packet == data_packet(packet[0], data), packet
        if lost:
            return b""
        await self.send(bytes([ACK]))
        if packet[0] != self.toggles[IN]:  # a repetition after a lost acknowledgement
            return b""
        self.toggles[IN] ^= DATA0 ^ DATA1
        return data

    async def control(self, request: bytes, n: int = 0) -> bytes:
        """A request on endpoint 0 and its answer of at most ``n`` bytes."""
        await self.send(token(SETUP, self.address, 0))
        await self.send(data_packet(DATA0, request))
        assert await self.receive() == bytes([ACK])
        kept = dict(self.toggles)
        self.toggles = {OUT: DATA1, IN: DATA1}
        found = b""
        while len(found) < n:
            part = await self._patiently(endpoint=0)
            found += part
            if len(part) < PACKET:
                break
        self.toggles = {OUT: DATA1, IN: DATA1}
        if n:
            assert await self.out(b"", endpoint=0)
        else:
            assert await self._patiently(endpoint=0) == b""
        self.toggles = kept
        return found

    async def _patiently(self, endpoint: int) -> bytes:
        for _ in range(20):
            data = await self.fetch(endpoint=endpoint)
            if data is not None:
                return data
        raise AssertionError("no answer")

    async def descriptor(self, kind: int, index: int = 0) -> bytes:
        language = (0x409).to_bytes(2, "little") if kind == 3 else b"\0\0"
        return await self.control(bytes([0x80, 6, index, kind]) + language + b"\xff\0", 255)

    async def enumerate(self) -> None:
        """As an operating system does, and with what it wants of a serial port."""
        await self.reset_bus()
        device = await self.descriptor(1)
        assert int.from_bytes(device[8:10], "little") == VENDOR
        assert int.from_bytes(device[10:12], "little") == PRODUCT
        await self.control(bytes([0, 5, ADDRESS, 0, 0, 0, 0, 0]))
        self.address = ADDRESS
        assert await self.descriptor(1) == device
        descriptor = await self.descriptor(2)
        assert int.from_bytes(descriptor[2:4], "little") == len(descriptor)
        assert (
            bytes([7, 5, DATA, 2, PACKET, 0]) in descriptor
            and bytes([7, 5, 0x80 | DATA, 2, PACKET, 0]) in descriptor
        )
        assert (await self.descriptor(3, device[15]))[2:].decode("utf-16-le") == NAME
        await self.control(bytes([0, 9, descriptor[5], 0, 0, 0, 0, 0]))


async def connected(dut: Any) -> UsbHost:
    """The host of a complete design."""
    host = UsbHost(dut)
    await begin(dut, host)
    return host


async def begin(dut: Any, host: UsbHost) -> None:
    """Clocks, a reset, and a host that has found the device."""
    resets = (dut.rst, dut.usb_rst, dut.usb_io_rst)
    for reset in resets:
        reset.value = 1
    host.drive(J)
    Clock(dut.usb_io_clk, CYCLE, unit="ps", impl="gpi").start(start_high=False)
    Clock(dut.usb_clk, BIT, unit="ps", impl="gpi").start(start_high=False)
    Clock(dut.clk, bench_config()["period_ps"], unit="ps", impl="gpi").start(start_high=False)
    await ClockCycles(dut.usb_clk, 4)
    for reset in resets:
        reset.value = 0
    await with_timeout(host.enumerate(), 20, "ms")
    assert int(dut.pins__pullup.value)


class UsbBench:
    def __init__(self, dut: Any, *, pause: Any = never):
        self.dut = dut
        self.score = Scoreboard()
        self.source = StreamSource(dut, "i", pause=pause)
        self.sink = StreamSink(dut, "o", self.score.actual, pause=pause)
        self.host = UsbHost(dut)

    async def begin(self) -> None:
        self.dut.i__payload.value = 0
        cocotb.start_soon(self.sink.run())
        await begin(self.dut, self.host)

    async def send(self, data: bytes) -> None:
        for byte in data:
            await self.source.send(byte)

    async def fetched(self, n: int) -> bytes:
        """So many bytes from the device, some packets of which are lost on the way."""
        found = b""
        while len(found) < n:
            data = await self.host.fetch(lost=random.random() < 0.2)
            found += data or b""
        return found


def reply(n: int) -> bytes:
    return bytes(random.choice([b for b in range(256) if b != END]) for _ in range(n - 1)) + bytes([END])


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(pause=[never, often])
async def to_the_design(dut: Any, pause: Any) -> None:
    """Each byte once, whatever is lost and however slowly they are taken."""
    tb = UsbBench(dut, pause=pause)
    await tb.begin()
    total = 0
    for n in (1, PACKET, 63, 2, *random.choices(range(1, PACKET + 1), k=8)):
        data = random.randbytes(n)
        total += n
        for byte in data:
            tb.score.expect(byte)
        while await tb.host.out(data, lost=(lost := random.random() < 0.3)) is False or lost:
            pass
    await ClockCycles(dut.usb_clk, 40 * PACKET)
    tb.score.finish(total)


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(pause=[never, often])
async def to_the_host(dut: Any, pause: Any) -> None:
    """Each byte once; a packet ends with a reply."""
    tb = UsbBench(dut, pause=pause)
    await tb.begin()
    for n in (1, PACKET, PACKET - 1, PACKET + 1, 3 * PACKET, *random.choices(range(1, 200), k=5)):
        data = reply(n)
        sending = cocotb.start_soon(tb.send(data))
        assert await with_timeout(tb.fetched(n), 10, "ms") == data
        await sending
        for _ in range(4):
            assert not await tb.host.fetch()


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def a_design_that_takes_nothing(dut: Any) -> None:
    """The device says so, and nothing is lost."""
    tb = UsbBench(dut)
    blocked = True
    tb.sink._pause = lambda: blocked
    await tb.begin()
    sent = []
    for _ in range(30):
        data = random.randbytes(PACKET)
        if await tb.host.out(data):
            sent.append(data)
    assert 1 <= len(sent) <= 4
    for byte in b"".join(sent):
        tb.score.expect(byte)
    blocked = False
    await ClockCycles(dut.usb_clk, 40 * PACKET)
    tb.score.finish(PACKET * len(sent))
    tb.score.expect(7)
    assert await tb.host.out(b"\x07")
    await ClockCycles(dut.usb_clk, 100)
    tb.score.finish(PACKET * len(sent) + 1)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def a_reply_that_nobody_fetches(dut: Any) -> None:
    """It does not hold the design up for ever, and what comes afterwards is whole."""
    tb = UsbBench(dut)
    await tb.begin()
    timeout = BIT << bench_config()["reply_timeout_bits"]
    await with_timeout(tb.send(reply(1000)), 3 * timeout + 2000 * BIT, "ps")
    found = b""
    for _ in range(20):
        found += await tb.host.fetch() or b""
    assert len(found) <= 3 * PACKET
    data = reply(100)
    sending = cocotb.start_soon(tb.send(data))
    assert await with_timeout(tb.fetched(100), 10, "ms") == data
    await sending
