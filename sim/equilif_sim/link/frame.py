"""Bench for equilif_hdl.link.frame.Framer against equilif_golden.link.protocol.

State space: frames of every length from nothing to longer than the buffer, right and wrong in each way and
in several at once; what comes while a frame is held, in whole frames and cut ones.  Stall space: bytes
arrive back to back or with gaps, the reply is offered with and without, and taken at once or half of the
time.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from equilif_golden.link.protocol import (
    CRC_BYTES,
    INSTRUCTION_BYTES,
    OVERHEAD,
    FrameError,
    Status,
    seal,
    unseal,
)
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, StreamSink, StreamSource, never, often, reset

END = 1 << 8
BAD = 1 << 9  #: bits of an item
PATIENCE = 2000  #: cycles until a frame is held or a reply is out

stalls = cocotb.parametrize(i_pause=[never, often], o_pause=[never, often])


class FrameBench:
    def __init__(self, dut: Any, *, i_pause: Pause = never, o_pause: Pause = never):
        self.dut = dut
        self.frame_bytes: int = bench_config()["frame_bytes"]
        self.score = Scoreboard()
        self.source = StreamSource(dut, "i", pause=i_pause)
        self.reply = StreamSource(dut, "reply", pause=i_pause)
        self.sink = StreamSink(dut, "o", self._arrived, pause=o_pause)
        self.expected = 0

    def _arrived(self, payload: int) -> None:
        # at an end, data means nothing
        self.score.actual(END if payload & END else payload)

    async def reset(self) -> None:
        await reset(self.dut, "rewind", "take", "own", "dropped", "dropped_end")
        cocotb.start_soon(self.sink.run())
        cocotb.start_soon(self._always_ready())

    async def _always_ready(self) -> None:
        while True:
            await ReadOnly()
            assert int(self.dut.i__ready.value), "the line was not listened to"
            await RisingEdge(self.dut.clk)

    async def send(self, frame: bytes, *, bad: bool = False, end: bool = True) -> None:
        for byte in frame:
            await self.source.send(byte)
        if end:
            await self.source.send(END | BAD * bad | random.getrandbits(8))

    async def held(self) -> None:
        for _ in range(PATIENCE):
            await ReadOnly()
            if int(self.dut.full.value):
                await RisingEdge(self.dut.clk)
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError("no frame is held")

    async def quiet(self, cycles: int = 30) -> None:
        for _ in range(cycles):
            await ReadOnly()
            assert not int(self.dut.full.value), "a frame that nobody sent"
            await RisingEdge(self.dut.clk)

    async def payload(self) -> bytes:
        """As it is read, with pauses."""
        out = bytearray()
        self.dut.rewind.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.rewind.value = 0
        slow = random.choice([0, 0.3])
        for _ in range(PATIENCE):
            self.dut.take.value = 0
            await ReadOnly()
            there = int(self.dut.there.value)
            if there and int(self.dut.ended.value):
                await RisingEdge(self.dut.clk)
                return bytes(out)
            data = int(self.dut.data.value)
            if there and random.random() >= slow:
                out.append(data)
                await FallingEdge(self.dut.clk)
                self.dut.take.value = 1
            await RisingEdge(self.dut.clk)
        raise AssertionError("the payload does not end")

    def status(self, frame: bytes, *, bad: bool = False) -> Status:
        """What the protocol says of a frame."""
        if bad:
            return Status.BAD_FRAME
        if len(frame) > self.frame_bytes:
            return Status.TOO_LONG
        try:
            unseal(frame)
        except FrameError as e:
            return e.status
        return Status.OK

    async def check(self, frame: bytes, *, bad: bool = False) -> Status:
        """What is held is this frame."""
        await self.held()
        status = self.status(frame, bad=bad)
        assert Status(int(self.dut.status.value)) == status, frame.hex()
        assert int(self.dut.sequence.value) == (frame[1] if len(frame) > 1 else 0)
        if status == Status.OK:
            assert int(self.dut.command.value) == frame[0]
            assert int(self.dut.end.value) == len(frame) - OVERHEAD + 2
            assert int(self.dut.whole.value) == ((len(frame) - OVERHEAD) % INSTRUCTION_BYTES == 0)
            assert await self.payload() == frame[2:-CRC_BYTES]
        return status

    async def overrun(self) -> None:
        await self.held()
        assert (int(self.dut.status.value), int(self.dut.sequence.value)) == (Status.OVERRUN, 0)
        await self.answer(b"")

    async def answer(self, payload: bytes) -> None:
        """A reply; the CRC is the framer's, and after it the frame is gone."""
        head = random.randrange(256), random.randrange(256)
        for item in (*seal(*head, payload), END):
            self.score.expect(item)
            self.expected += 1
        for byte in (*head, *payload):
            await self.reply.send(byte)
        await self.reply.send(END)
        for _ in range(PATIENCE):
            if not self.score.outstanding:
                break
            await RisingEdge(self.dut.clk)
        self.score.finish(self.expected)


def frame_of(n: int) -> bytes:
    """A right one of ``n`` bytes."""
    return seal(random.randrange(256), random.randrange(256), random.randbytes(n - OVERHEAD))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@stalls
async def good_frames(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """Of every length that fits; replies of any."""
    tb = FrameBench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    for n in range(OVERHEAD, tb.frame_bytes + 1):
        frame = frame_of(n)
        await tb.send(frame)
        assert await tb.check(frame) == Status.OK
        await tb.answer(random.randbytes(random.choice([0, 1, n, 60])))


@cocotb.test(timeout_time=20, timeout_unit="ms")
@stalls
async def bad_frames(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """The fault that stands first is told, and the next frame is judged as if nothing had been."""
    tb = FrameBench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    seen = set()
    for _ in range(160):
        bad = random.random() < 0.2
        frame = bytearray(frame_of(random.randint(OVERHEAD, tb.frame_bytes + 9)))
        if random.random() < 0.5:
            frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
        if random.random() < 0.3:
            del frame[random.randrange(len(frame)) :]
        await tb.send(bytes(frame), bad=bad)
        if not frame and not bad:  # nothing between two ENDs is no frame
            await tb.quiet()
            continue
        seen.add(await tb.check(bytes(frame), bad=bad))
        await tb.answer(b"")
    assert seen == {Status.OK, Status.BAD_FRAME, Status.TOO_LONG, Status.TOO_SHORT, Status.BAD_CRC}


@cocotb.test(timeout_time=20, timeout_unit="ms")
@stalls
async def frames_that_come_too_early(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """While one is held, whole ones are answered together by one OVERRUN, and a cut one by one of its own."""
    tb = FrameBench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    for whole, cut in ((1, 0), (3, 0), (0, 2), (2, 5), (0, 0)):
        frame = frame_of(20)
        rest = frame_of(12)
        await tb.send(frame)
        await tb.held()
        for _ in range(whole):
            await tb.send(frame_of(random.randint(OVERHEAD, 30)), bad=random.random() < 0.3)
        await tb.send(b"")  # between two ENDs there is nothing to lose
        await tb.send(rest[:cut], end=False)
        assert await tb.payload() == frame[2:-CRC_BYTES]
        await tb.answer(b"\1")
        if whole:
            await tb.overrun()
        if cut:
            await tb.quiet()
            await tb.send(rest[cut:])
            await tb.overrun()
        await tb.quiet()
        again = frame_of(9)
        await tb.send(again)
        assert await tb.check(again) == Status.OK
        await tb.answer(b"")
