"""Bench for equilif_hdl.link.udp: a station of the network at the pins of GMII, against
equilif_golden.link.udp.Endpoint.

cocotbext-eth is the station.

State space: datagrams of every length, with numbers that are newer or not; ARP requests; frames at and beyond
the limits of each field; frames with a flipped bit or byte, with a wrong FCS, cut off, with additional bytes,
of other stations and protocols, with errors of the PHY; frames without a gap while the board sends; a ring
that is full; an ``o`` that is slow, an ``i`` with gaps; a reset after a frame; a clock that is slower or
faster than 125 MHz.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Mapping
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, with_timeout
from cocotbext.eth import GmiiFrame, GmiiSink, GmiiSource

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, slip
from equilif_golden.link.udp import (
    ADDRESS,
    ARP_REQUEST,
    BROADCAST,
    FCS_BYTES,
    MAX_DATA,
    REPLY_BYTES,
    RING_BYTES,
    DatagramNumbers,
    Endpoint,
    Station,
    arp,
    checksum,
    datagram,
    header,
    opened,
    sealed,
)
from equilif_hdl.link.ethernet import GAP, PREAMBLE
from equilif_sim.tools.run import bench_config, cases
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import StreamSink, StreamSource, never, often

BYTE_PS = 8_000  #: at 125 MHz
MIN_GAP = 2  #: cycles between frames
HOST = Station(bytes.fromhex("0a1b2c3d4e5f"), bytes([192, 168, 1, 7]), 40123)
FOREIGN = Station(bytes.fromhex("0a1b2c3d4e60"), bytes([192, 168, 1, 8]), 99)


class NetworkModel:
    """The other station, and the model of the board."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.source = GmiiSource(dut.pins__rx_data, dut.pins__rx_error, dut.pins__rx_valid, dut.eth_clk)
        self.sink = GmiiSink(dut.pins__tx_data, None, dut.pins__tx_valid, dut.eth_clk)
        for end in (self.source, self.sink):
            end.log.setLevel(logging.WARNING)
        self.model = Endpoint(Station.of(ADDRESS))
        self.numbers = DatagramNumbers(random.getrandbits(32))
        self.ended = 0  #: ps, the last frame of the board

    @property
    def board(self) -> Station:
        return self.model.station

    async def begin(self, period_ps: int) -> None:
        d = self.dut
        d.rst.value = d.eth_rst.value = 1
        Clock(d.clk, period_ps, unit="ps", impl="gpi").start(start_high=False)
        Clock(d.eth_clk, BYTE_PS, unit="ps", impl="gpi").start(start_high=False)
        await self.reset()

    async def reset(self) -> None:
        """Reset the board, which has no sender then."""
        d = self.dut
        d.rst.value = d.eth_rst.value = 1
        await ClockCycles(d.clk, 4)
        await ClockCycles(d.eth_clk, 4)
        d.rst.value = d.eth_rst.value = 0
        await ClockCycles(d.eth_clk, 10)
        self.model = Endpoint(self.board)

    async def send(self, frame: bytes, error: int | None = None) -> None:
        """A frame with its FCS.  ``error``: index of a byte that the PHY marks as bad."""
        raw = GmiiFrame.from_raw_payload(frame)
        if error is not None:
            raw.error = [0] * len(raw.data)
            raw.error[8 + error] = 1
        await self.source.send(raw)
        await self.source.wait()

    async def receive(self, us: int = 200) -> bytes:
        """The next frame of the board, with its FCS."""
        frame = await with_timeout(self.sink.recv(compact=False), us, "us")
        start = len(PREAMBLE) - 1  # GmiiSink does not record the first byte
        assert bytes(frame.data[:start]) == bytes(PREAMBLE[1:]), bytes(frame.data[:start]).hex()
        assert frame.sim_time_start - self.ended >= GAP * BYTE_PS, "no gap between frames"
        self.ended = frame.sim_time_end
        return bytes(frame.data[start:])

    async def quiet(self, cycles: int = 300) -> None:
        """The board sends nothing."""
        await ClockCycles(self.dut.eth_clk, cycles)
        assert self.sink.empty(), (await self.receive()).hex()


class UdpFrameHost(NetworkModel):
    """Speaks the host protocol by datagrams; the network duplicates and delays some of them."""

    def __init__(self, dut: Any):
        super().__init__(dut)
        self.past: list[bytes] = []  # frames sent before

    async def speak(self, line: bytes) -> None:
        for payload in self.numbers.datagrams(line):
            frame = datagram(HOST, self.board, payload)
            self.past = [*self.past[-20:], frame]
            await self.send(frame)

    async def reply(self) -> bytes:
        """The bytes of the device up to an END."""
        found = b""
        while not found.endswith(bytes([END])):
            frame = opened(await self.receive(us=5_000))
            assert frame is not None and frame[:2] == (self.board, HOST)
            data, again = self.numbers.received(frame[2])
            found += data
            for payload in again:
                await self.send(datagram(HOST, self.board, payload))
        return found

    async def exchange(self, frame: bytes) -> bytes:
        """A frame and its reply, both with SLIP."""
        await self.speak(bytes([END]) + slip(frame))
        return await self.reply()

    async def disturb(self, device: Device, frame: bytes) -> None:
        await self._old()
        await self._damaged(frame)
        await self._half(device, frame)

    async def _old(self) -> None:
        """Copies of earlier datagrams give no bytes."""
        for frame in random.choices(self.past, k=3):
            await self.send(frame)
            answer = opened(await self.receive())
            assert answer is not None and answer[2] == header(self.numbers.number)

    async def _damaged(self, frame: bytes) -> None:
        """A damaged frame is ignored."""
        number = header((self.numbers.number + 1) % (1 << 32))
        sent = bytearray(datagram(HOST, self.board, number + slip(frame)))
        sent[random.randrange(len(sent))] ^= 1 << random.randrange(8)
        await self.send(bytes(sent))
        await self.quiet()

    async def _half(self, device: Device, frame: bytes) -> None:
        """The first part of a frame is lost, and the rest is rejected as the model does."""
        rest = slip(frame)[random.randrange(1, len(frame)) :]
        want = device.packet(rest[:-1])
        if want is None:
            return
        await self.speak(rest)
        assert await self.reply() == slip(want)


async def connected(dut: Any) -> UdpFrameHost:
    """The host of a complete design."""
    host = UdpFrameHost(dut)
    await host.begin(bench_config()["period_ps"])
    return host


def random_host() -> Station:
    mac = bytes([random.getrandbits(8) & 0xFE, *random.randbytes(5)])
    return Station(mac, random.randbytes(4), random.getrandbits(16))


def changed(frame: bytes) -> bytes:
    """A frame with a change, and mostly a right FCS."""
    body, fcs = frame[:-FCS_BYTES], frame[-FCS_BYTES:]
    at = random.randrange(min(len(body), 60))
    short = body[: random.randrange(1, len(body) + 1)]
    word = random.choice([b"\0\0", b"\xff\xff", b"\x07\xff", b"\0\x1f", b"\0\x20"])
    return random.choice(
        [
            rewritten(frame, {at: body[at] ^ 1 << random.randrange(8)}, checked=False),
            rewritten(frame, {at: random.getrandbits(8)}, checked=False),
            sealed(body[:at] + word + body[at + 2 :]),
            sealed(body + random.randbytes(random.randrange(1, 40))),
            sealed(short),
            short + sealed(short)[-FCS_BYTES:],
            rewritten(frame, {at: body[at] ^ 1 << random.randrange(8)}, checked=False)[:-FCS_BYTES] + fcs,
        ]
    )


def hostile(board: Station, number: int, data: bytes | None = None) -> bytes:
    """A frame that the network may carry, right or wrong.  ``data``: of a datagram; default: random."""
    sender = random_host()
    if data is None:
        data = random.randbytes(random.choice([0, 1, 13, 14, 15, random.randrange(200)]))
    to = random.choice([board, board, board, FOREIGN, Station(BROADCAST, board.ip, board.port)])
    frame = random.choice(
        [
            datagram(sender, to, header(number) + data),
            datagram(sender, to, header(number) + data),
            arp(ARP_REQUEST, sender, Station(bytes(6), board.ip), random.choice([BROADCAST, board.mac])),
            rewritten(datagram(sender, to, random.randbytes(60)), {23: random.choice([17, 1, 6, 2])}),
            sealed(to.mac + sender.mac + random.randbytes(random.randrange(2, 80))),
        ]
    )
    return frame if random.random() < 0.4 else changed(frame)


def rewritten(frame: bytes, changes: Mapping[int, int], *, checked: bool = True) -> bytes:
    """A frame with other bytes by index, and a right FCS; ``checked``: and a right checksum of IP."""
    body = bytearray(frame[:-FCS_BYTES])
    for at, byte in changes.items():
        body[at] = byte
    if checked:
        body[24:26] = bytes(2)
        body[24:26] = checksum(bytes(body[14:34])).to_bytes(2, "big")
    return sealed(bytes(body))


def limits(model: Endpoint) -> Iterator[bytes]:
    """Frames at and beyond the limits of each field; numbers follow those of the model."""
    board = model.station

    def to(data: bytes = b"limit", ahead: int = 1, target: Station = board) -> bytes:
        return datagram(random_host(), target, header((model.last + ahead) % (1 << 32)) + data)

    def flipped(frame: bytes, *indices: int, checked: bool = True) -> Iterator[bytes]:
        for at in indices:
            yield rewritten(frame, {at: frame[at] ^ 1 << random.randrange(8)}, checked=checked)

    for number in (1, 2, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000, (1 << 31) - 1, (1 << 32) - 2, 1):
        yield to(random.randbytes(random.randrange(3)), number - model.last)
    for ahead in (0, -1, 1 << 31, -255, (1 << 31) - 1, -256):
        yield to(ahead=ahead)
    for n in (0, 1, 13, 14, 15):
        yield to(random.randbytes(n))
    # addresses, type, version, fragments, protocol, port, lengths, magic
    yield from flipped(to(), *range(6), 12, 13, 14, 21, 23, *range(30, 34), *range(36, 40), *range(42, 46))
    yield from flipped(to(), 24, 25, 19, checked=False)
    for flags in (0, 0x20, 0x80):
        yield rewritten(to(), {20: flags})
    yield rewritten(to(), {6: 0x0B})  # of a group
    yield to()[:-1] + b"?"
    # lengths of IP and UDP: too short for a number, beyond the frame, wrong by one, with bytes after the end
    for n in (31, 32, 35, 36, 37, 38, 46, 47, 255 + 41):
        yield rewritten(to(bytes(5)), {16: n >> 8, 17: n & 255, 38: n - 20 >> 8, 39: n - 20 & 255})
    yield rewritten(to(), {16: 8 | to()[16]})
    whole = to(random.randbytes(30))
    yield sealed(whole[:-FCS_BYTES] + b"after")
    yield sealed(whole[:-FCS_BYTES][:-1])
    for n in (59, 58):
        yield to()[:n] + sealed(b"")[-FCS_BYTES:]
    yield sealed(to()[:-FCS_BYTES] + bytes(3))

    ask = arp(ARP_REQUEST, random_host(), Station(bytes(6), board.ip), random.choice([BROADCAST, board.mac]))
    yield ask
    yield from flipped(ask, 12, *range(14, 22), *range(38, 42), checked=False)
    yield from flipped(
        arp(ARP_REQUEST, HOST, Station(bytes(6), board.ip), BROADCAST), *range(6), checked=False
    )
    yield from flipped(arp(ARP_REQUEST, HOST, Station(bytes(6), board.ip), board.mac), 0, 5, checked=False)
    yield rewritten(ask, {22: ask[22] | 1}, checked=False)


class UdpBench:
    def __init__(self, dut: Any, *, pause: Any = never):
        self.dut = dut
        self.score = Scoreboard()
        self.held = False  # `o` accepts nothing
        self.source = StreamSource(dut, "i", pause=pause)
        self.sink = StreamSink(dut, "o", self.score.actual, pause=lambda: self.held or pause())
        self.network = NetworkModel(dut)
        self.total = 0

    async def begin(self) -> None:
        self.dut.i__payload.value = 0
        cocotb.start_soon(self.sink.run())
        await self.network.begin(bench_config()["period_ps"])

    async def offer(self, frame: bytes, error: int | None = None) -> None:
        """Send a frame, and compare bytes and response with the model."""
        response = self._expect(frame) if error is None else None
        await self.network.send(frame, error)
        if response is None:
            await ClockCycles(self.dut.eth_clk, 20)
            assert self.network.sink.empty() and self.network.sink.idle(), frame.hex()
        else:
            assert (found := await self.network.receive()) == response, (
                f"{frame.hex()}: {found.hex()} in place of {response.hex()}"
            )

    def _expect(self, frame: bytes) -> bytes | None:
        """Expect the bytes of a frame; returns the response."""
        data, response = self.network.model.receive(frame)
        for byte in data:
            self.score.expect(byte)
        self.total += len(data)
        return response

    def newer(self, data: bytes) -> bytes:
        """A datagram of a new sender that is accepted."""
        model = self.network.model
        return datagram(random_host(), model.station, header((model.last + 1) % (1 << 32)) + data)

    async def fill(self) -> None:
        """While ``o`` accepts nothing, datagrams are accepted as long as the ring has room for all their
        bytes.
        """
        await self.drained()
        self.held = True
        left = RING_BYTES + 2  # a byte is at the output of the memory, and one at `o`
        while left:
            n = min(left, random.randrange(1, 700))
            await self.offer(self.newer(random.randbytes(n)))
            left -= n
            if left < MAX_DATA and random.random() < 0.5:
                await self.network.send(self.newer(random.randbytes(left + 1)))
        await self.network.send(self.newer(b"?"))
        await self.network.quiet()
        self.held = False
        await self.drained()

    async def burst(self) -> None:
        """Frames with the smallest gap, and a reply that begins at any time: all go to the right stations.

        A request is answered unless it comes before the answer to another one.
        """
        network, model = self.network, self.network.model

        def newer() -> bytes:
            return self.newer(random.randbytes(random.randrange(3)))

        def request() -> bytes:
            target = Station(bytes(6), model.station.ip)
            if random.random() < 0.5:
                return arp(ARP_REQUEST, random_host(), target, BROADCAST)
            return datagram(random_host(), model.station, header(model.last))

        def damaged() -> bytes:
            return random.choice([newer, request])()[:-1] + b"?"

        line = line_of(REPLY_BYTES)
        for byte in line[:-1]:
            await self.source.send(byte)
        replies = model.send(line)
        responses = []
        network.source.ifg = MIN_GAP
        for make in (newer, request, damaged, *random.choices([newer, request, damaged], k=2)):
            frame = make()
            response = self._expect(frame)
            replies += model.send(line)
            responses += [response] if response else []
            await network.source.send(GmiiFrame.from_raw_payload(frame))
        await ClockCycles(self.dut.eth_clk, random.randrange(150))
        await self.source.send(line[-1])
        await network.source.wait()
        network.source.ifg = GAP
        await ClockCycles(self.dut.eth_clk, 500)
        found = []
        while not network.sink.empty():
            found.append(await network.receive())
        assert sum(frame in replies for frame in found) == 1, "not one reply to an accepted sender"
        answers = [frame for frame in found if frame not in replies]
        assert answers == [frame for frame in responses if frame in answers], "not the answers to requests"
        assert responses[0] in answers, "no answer to the first request"

    async def reply(self, data: bytes) -> None:
        """Bytes of the design, and their datagrams."""
        frames = self.network.model.send(data)

        async def speak() -> None:
            for byte in data:
                await self.source.send(byte)

        speaking = cocotb.start_soon(speak())
        for frame in frames:
            assert (found := await self.network.receive()) == frame, f"{found.hex()} for {frame.hex()}"
        await speaking

    async def drained(self) -> None:
        while self.score.outstanding:
            await ClockCycles(self.dut.clk, 20)


def line_of(n: int) -> bytes:
    """So many bytes, the last one an END."""
    return bytes(random.choice([b for b in range(256) if b != END]) for _ in range(n - 1)) + bytes([END])


@cocotb.test(timeout_time=40, timeout_unit="ms")
@cocotb.parametrize(pause=[never, often])
async def datagrams(dut: Any, pause: Any) -> None:
    """Of every size, in both directions; the design's go to the last sender."""
    tb = UdpBench(dut, pause=pause)
    await tb.begin()
    number = 1
    for n in (0, 1, 13, 14, 15, 300, MAX_DATA):
        host = random.choice([HOST, random_host()])
        await tb.offer(datagram(host, tb.network.board, header(number) + random.randbytes(n)))
        number += random.choice([1, 1, 5, 1 << 20])
        await tb.drained()
    for n in (1, 13, 14, 15, 100, REPLY_BYTES, REPLY_BYTES + 1, 2 * REPLY_BYTES + 30):
        await tb.reply(line_of(n))
    await tb.network.quiet()
    tb.score.finish(tb.total)


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def frames_of_all_kinds(dut: Any) -> None:
    """Responses and bytes are those of the model, and replies between them arrive."""
    tb = UdpBench(dut, pause=often)
    await tb.begin()
    await tb.offer(tb.newer(b"before the reset"))
    await tb.drained()
    await tb.network.reset()
    await tb.reply(line_of(70))  # to nobody
    model = tb.network.model
    accepted = 0
    for frame in limits(model):
        await tb.offer(frame)
    for n in (1, 13, 14, 15, REPLY_BYTES, REPLY_BYTES + 1):
        await tb.reply(line_of(n))
    for _ in range(cases(16)):
        await tb.burst()
        await tb.reply(line_of(5))
    for _ in range(cases(3)):
        await tb.fill()
    for _ in range(bench_config()["frames"]):
        number = (model.last + random.choice([1, 1, 2, 0, -1, 1 << 31, (1 << 31) - 1])) % (1 << 32)
        frame = hostile(tb.network.board, number)
        last = model.last
        error = random.randrange(len(frame)) if random.random() < 0.05 else None
        await tb.offer(frame, error)
        accepted += model.last != last
        if random.random() < 0.1:
            await tb.reply(line_of(random.randrange(1, 60)))
    await tb.drained()
    await tb.network.quiet()
    assert accepted >= bench_config()["frames"] // 40
    tb.score.finish(tb.total)
