"""Bench for equilif_hdl.link.frame.Framer against equilif_golden.link.protocol.

State space: frames of every length from empty to longer than the buffer, valid, and with each error and
several; complete and partial frames that arrive while a frame is held, or during a frame of the trainer.
Stall space: bytes arrive with and without gaps; the reply is offered with and without gaps, and accepted
immediately or half of the time.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from equilif_golden.link import protocol
from equilif_golden.link.protocol import (
    CRC_BYTES,
    INSTRUCTION_BYTES,
    OVERHEAD,
    FrameError,
    Status,
    seal,
    unseal,
)
from equilif_sim.tools.run import bench_config, cases
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, StreamSink, StreamSource, never, often, reset, with_pauses

END = 1 << 8
BAD = 1 << 9  #: bits of an item
TIMEOUT = 2000  #: cycles until a frame is held or a reply is out

stalls = with_pauses(i_pause=[never, often], o_pause=[never, often])


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
        await reset(self.dut, "rewind", "take", "trainer_frame", "dropped", "dropped_end")
        cocotb.start_soon(self.sink.run())
        cocotb.start_soon(self._always())

    async def _always(self) -> None:
        while True:
            await ReadOnly()
            assert int(self.dut.i__ready.value), "the line was not listened to"
            if int(self.dut.full.value) or self.score.outstanding:
                assert not int(self.dut.free.value), "free with a frame or a reply"
            await RisingEdge(self.dut.clk)

    async def send(self, frame: bytes, *, bad: bool = False, end: bool = True) -> None:
        for byte in frame:
            await self.source.send(byte)
        if end:
            await self.source.send(END | BAD * bad | random.getrandbits(8))

    async def drop(self, line: bytes) -> None:
        """Bytes of the line, its ENDs among them, while ``i`` is the trainer's."""
        d = self.dut
        for byte in line:
            d.dropped.value = 1
            d.dropped_end.value = byte == protocol.END
            await RisingEdge(d.clk)
            d.dropped.value = 0
            for _ in range(random.choice([0, 0, 3])):
                await RisingEdge(d.clk)

    async def held(self, *, waits: bool = False) -> None:
        for _ in range(TIMEOUT):
            await ReadOnly()
            assert not (waits and int(self.dut.free.value)), "free, and a frame is to be answered"
            if int(self.dut.full.value):
                await RisingEdge(self.dut.clk)
                return
            await RisingEdge(self.dut.clk)
        raise AssertionError("no frame is held")

    async def quiet(self, cycles: int = 30) -> None:
        for _ in range(cycles):
            await ReadOnly()
            assert not int(self.dut.full.value), "a frame that nobody sent"
            assert int(self.dut.free.value), "not free, without a frame"
            await RisingEdge(self.dut.clk)

    async def payload(self) -> bytes:
        """As it is read, with pauses."""
        out = bytearray()
        self.dut.rewind.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.rewind.value = 0
        slow = random.choice([0, 0.3])
        for _ in range(TIMEOUT):
            self.dut.take.value = 0
            await ReadOnly()
            there = int(self.dut.data_valid.value)
            if there and int(self.dut.payload_end.value):
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
        """Status of a frame by the protocol."""
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
            assert int(self.dut.whole_instructions.value) == (
                (len(frame) - OVERHEAD) % INSTRUCTION_BYTES == 0
            )
            assert await self.payload() == frame[2:-CRC_BYTES]
        return status

    async def overrun(self, *, at_once: bool = False) -> None:
        """``at_once``: it has been waiting for the reply before it."""
        await self.held(waits=at_once)
        assert (int(self.dut.status.value), int(self.dut.sequence.value)) == (Status.OVERRUN, 0)
        await self.answer(b"")

    async def exchange(self, n: int) -> None:
        """A right frame of ``n`` bytes, and a reply."""
        frame = frame_of(n)
        await self.send(frame)
        assert await self.check(frame) == Status.OK
        await self.answer(b"")

    async def good_as_ever(self) -> None:
        await self.quiet()
        await self.exchange(9)

    async def answer(self, payload: bytes) -> None:
        """A reply; the CRC is the framer's, and after it the frame is gone."""
        head = random.randrange(256), random.randrange(256)
        for item in (*seal(*head, payload), END):
            self.score.expect(item)
            self.expected += 1
        for byte in (*head, *payload):
            await self.reply.send(byte)
        await self.reply.send(END)
        for _ in range(TIMEOUT):
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
    """The first error is reported, and the next frame is not affected."""
    tb = FrameBench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    seen = set()
    for _ in range(cases(160)):
        bad = random.random() < 0.2
        frame = bytearray(frame_of(random.randint(OVERHEAD, tb.frame_bytes + 9)))
        if random.random() < 0.5:
            frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
        if random.random() < 0.3:
            del frame[random.randrange(random.choice([OVERHEAD, len(frame)])) :]
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
    """While a frame is held, complete ones are answered by one OVERRUN, and a partial one by another."""
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
            await tb.overrun(at_once=True)
        if cut:
            await tb.quiet()
            await tb.send(rest[cut:])
            await tb.overrun()
        await tb.good_as_ever()


#: What the line says while the trainer has the input: E is an END, | where the trainer's frame is held, and )
#: where the input is the line's again, that frame still held.  How many OVERRUNs follow: at once, and behind
#: the END of what was cut.
LINES = [
    ("|)", 0, 0),
    ("E|E)", 0, 0),
    ("xE|)", 1, 0),
    ("xxExE|xE)", 1, 0),
    ("|xxE)", 1, 0),
    ("x|)", 0, 1),
    ("|x)", 0, 1),
    ("x|E)", 1, 0),
    ("xEx|)", 1, 1),
    ("|x)E", 1, 0),
    ("x|)xE", 1, 0),
    ("x|)Ex", 1, 1),
    ("|)xE", 1, 0),
    ("|E)x", 0, 1),
]


@cocotb.test(timeout_time=20, timeout_unit="ms")
@stalls
async def frames_of_the_player(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    """Frames of the trainer; frames of the line count as if they had arrived while one is held."""
    tb = FrameBench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    for line, whole, cut in random.sample(2 * LINES, 2 * len(LINES)):
        before, during, after = line.replace("E", "\xc0").replace("|", ")").split(")")
        if random.random() < 0.5:  # the line left a frame unfinished: the trainer ends it
            await tb.send(b"abc", end=False)
            dut.trainer_frame.value = 1
            await tb.send(b"")
            await tb.check(b"abc")
            await tb.answer(b"")
        dut.trainer_frame.value = 1
        frame = frame_of(random.randint(OVERHEAD, 20))
        await tb.send(frame[:3], end=False)
        await tb.drop(before.encode("latin1"))
        await tb.send(frame[3:])
        assert await tb.check(frame) == Status.OK
        await tb.drop(during.encode("latin1"))
        if random.random() < 0.5:
            await tb.send(b"")  # of the trainer; what the line lost is still lost
        if after:
            dut.trainer_frame.value = 0
        for byte in after.encode("latin1"):
            await tb.send(b"" if byte == protocol.END else b"x", end=byte == protocol.END)
        await tb.answer(b"\1\2")
        if not after:
            await tb.exchange(8)  # the answer for the line waits for the next frame of the trainer
        dut.trainer_frame.value = 0
        if whole:
            await tb.overrun(at_once=True)
        if cut:
            await tb.quiet()
            if not after and random.random() < 0.5:  # more of it, and another frame of the trainer
                await tb.send(b"yy", end=False)
                dut.trainer_frame.value = 1
                await tb.send(b"")
                await tb.exchange(8)
                dut.trainer_frame.value = 0
                await tb.quiet()
            await tb.send(random.choice([b"", b"yy"]))
            await tb.overrun()
        await tb.good_as_ever()
