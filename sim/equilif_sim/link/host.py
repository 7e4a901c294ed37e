"""Bench for equilif_hdl.link.host.Host against equilif_golden.link.device.Device, byte for byte, with a
behavioural engine (equilif_sim.link.engine_stub) in place of the real one.

State space: every command in every region, at the first, the last and the first invalid address; every error
of a frame; valid and invalid programs.  Stall space: bytes arrive with and without gaps, replies are accepted
immediately or half of the time.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
import sliplib
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.link.protocol import (
    END,
    ESC,
    ESC_END,
    ESC_ESC,
    PACKED,
    READ_HEADER,
    RUN_HEADER,
    WRITE_HEADER,
    Command,
    Status,
    seal,
    unpack,
    unseal,
)
from equilif_sim.link.engine_stub import StubDevice
from equilif_sim.link.frames import RandomFrames, code_of
from equilif_sim.tools.run import bench_config, cases, engine_config
from equilif_sim.tools.stream import Pause, never, often, with_pauses

TIMEOUT = 40_000  #: cycles within which a reply begins and goes on


def samples_of(frame: bytes) -> int:
    """Number of samples of a RUN."""
    _, _, payload = unseal(frame)
    if not payload[0] & PACKED:
        return 1
    return len(unpack(payload[RUN_HEADER.size :])[0])


class Bench:
    def __init__(self, dut: Any, *, i_pause: Pause = never, o_pause: Pause = never):
        raw = bench_config()
        self.config: EngineConfig = engine_config(raw["engine"])
        self.n_bad: int = raw["n_bad"]
        self.frame_bytes: int = raw["frame_bytes"]
        self.dut = dut
        self.i_pause = i_pause
        self.o_pause = o_pause
        self.max_samples: int = raw["max_samples"]
        self.device = StubDevice(
            self.config, build_id=raw["build_id"], frame_bytes=self.frame_bytes, max_samples=self.max_samples
        )
        self.rng = random.Random(random.getrandbits(32))
        self.frames = RandomFrames(self.config, self.frame_bytes, self.rng, max_samples=self.max_samples)
        self.compared = 0

    async def reset(self) -> None:
        d = self.dut
        # an X would spread
        d.i__valid.value = 0
        d.i__payload.value = 0
        d.o__ready.value = 0
        d.occupied.value = 0
        Clock(d.clk, 10, unit="ns", impl="gpi").start()
        d.rst.value = 1
        for _ in range(3):
            await RisingEdge(d.clk)
        d.rst.value = 0
        await RisingEdge(d.clk)

    async def send(self, line: bytes, errors: tuple[int, ...] = ()) -> None:
        """Bytes as they arrive; those numbered in ``errors`` with a UART error."""
        d = self.dut
        d.i__valid.value = 1
        for k, byte in enumerate(line):
            while self.i_pause():
                d.i__valid.value = 0
                await RisingEdge(d.clk)
                d.i__valid.value = 1
            d.i__payload.value = byte | (k in errors) << 8
            await RisingEdge(d.clk)
        d.i__valid.value = 0

    async def receive(self) -> bytes:
        """One reply, out of SLIP by another implementation."""
        d = self.dut
        packet = bytearray()
        waited = 0
        while True:
            ready = not self.o_pause()
            d.o__ready.value = ready
            await RisingEdge(d.clk)  # values before the edge: what was transferred at it
            if ready and int(d.o__valid.value):
                byte = int(d.o__payload.value)
                if byte == END:
                    d.o__ready.value = 0
                    decoded: bytes = sliplib.decode(bytes(packet))
                    return decoded
                packet.append(byte)
                waited = 0
            waited += 1
            assert waited < TIMEOUT, f"no reply, {len(packet)} bytes so far"

    async def silent(self, cycles: int) -> None:
        self.dut.o__ready.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
            assert not int(self.dut.o__valid.value), "a reply that nothing asked for"
        self.dut.o__ready.value = 0

    def strobes(self) -> tuple[int, int]:
        return int(self.dut.writes.value), int(self.dut.starts.value)

    async def packet(self, packet: bytes, *, errors: tuple[int, ...] = ()) -> int:
        """Status of the reply, which is the model's, to what stands between two ENDs, SLIP encoded."""
        await self.send(packet + b"\xc0", errors)
        if errors:
            kept = sliplib.decode(bytes(b for k, b in enumerate(packet) if k not in errors))
            want = self.device.reply(kept, bad=True)
        else:
            want = self.device.packet(packet) or b""
        got = await self.receive()
        assert got == want, (
            f"to {packet.hex()}: got {got.hex()} {Status(got[0]).name}, "
            f"expected {want.hex()} {Status(want[0]).name}"
        )
        unseal(got)
        assert not int(self.dut.illegal.value), "memory strobe while busy"
        self.compared += 1
        return got[0]

    async def frame(self, frame: bytes) -> int:
        return await self.packet(sliplib.encode(frame))

    async def compare_memories(self) -> None:
        """All of the engine, read back over the link and compared with the model by :meth:`packet`; the
        program by its digest.
        """
        assert int(self.dut.program.value) == self.device.program
        for region in READ_BYTES:
            size = region_size(self.config, region)
            for first in range(0, size, 1000):
                n = min(1000, size - first)
                assert (
                    await self.frame(self.frames.seal(Command.READ, READ_HEADER.pack(region, first, n)))
                    == Status.OK
                )

    async def write_all(self) -> None:
        """Every weight and value: memories outlive a reset, and so does what the last test left there."""
        for region in (Region.WEIGHT, Region.VALUE):
            size = region_size(self.config, region)
            step = 16
            for first in range(0, size, step):
                data = self.rng.randbytes(min(step, size - first) * WRITE_BYTES[region])
                assert (
                    await self.frame(self.frames.seal(Command.WRITE, WRITE_HEADER.pack(region, first) + data))
                    == Status.OK
                )

    async def fill(self) -> None:
        """Every memory written, every kind of good frame seen once."""
        await self.write_all()
        full = code_of(*[Op.HALT()] * (self.config.program_words // 3))
        assert await self.frame(self.frames.seal(Command.LOAD, full)) == Status.OK
        for good in (self.frames.load, self.frames.run, self.frames.identify, self.frames.read):
            assert await self.frame(good()) == Status.OK


@cocotb.test(timeout_time=100, timeout_unit="ms")
@with_pauses(i_pause=[never, often], o_pause=[never, often])
async def good_frames(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    tb = Bench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    await tb.fill()
    before = tb.compared
    for _ in range(cases(60)):
        assert await tb.frame(tb.frames.good()) == Status.OK
    assert tb.compared == before + cases(60)
    await tb.compare_memories()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def before_a_program(dut: Any) -> None:
    """No program: memories work, a run does not, and neither does it after a bad program."""
    tb = Bench(dut)
    await tb.reset()
    f = tb.frames
    assert await tb.frame(f.run()) == Status.NO_PROGRAM
    await tb.write_all()
    assert await tb.frame(f.bad_program()) == Status.BAD_PROGRAM
    assert await tb.frame(f.run()) == Status.NO_PROGRAM
    assert tb.strobes()[1] == 0
    assert await tb.frame(f.load()) == Status.OK
    frame = f.run()
    assert await tb.frame(frame) == Status.OK
    assert tb.strobes()[1] == samples_of(frame)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def single_bits(dut: Any) -> None:
    """Programs that a single bit makes wrong, of every operand."""
    tb = Bench(dut)
    await tb.reset()
    programs = tb.frames.single_bits()
    assert len(programs) > 100
    for program in programs:
        assert await tb.frame(program) == Status.BAD_PROGRAM


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def occupied(dut: Any) -> None:
    """An engine that is busy by itself is left alone."""
    tb = Bench(dut)
    await tb.reset()
    await tb.fill()
    dut.occupied.value = 1
    before = tb.strobes()
    for good in (tb.frames.load, tb.frames.write, tb.frames.read, tb.frames.run):
        frame = good()
        await tb.send(sliplib.encode(frame) + b"\xc0")
        assert await tb.receive() == seal(Status.BUSY, frame[1])
    assert await tb.frame(tb.frames.identify()) == Status.OK
    assert tb.strobes() == before
    dut.occupied.value = 0
    await RisingEdge(dut.clk)
    await tb.compare_memories()


@cocotb.test(timeout_time=40, timeout_unit="ms")
async def repeated_runs(dut: Any) -> None:
    """The same RUN again is answered again, and not run; after any other command it is another one."""
    tb = Bench(dut)
    await tb.reset()
    await tb.fill()
    for _ in range(cases(12)):
        frame = tb.frames.run()
        before = tb.strobes()
        assert await tb.frame(frame) == Status.OK
        once = tb.strobes()
        assert once[1] == before[1] + samples_of(frame)
        # what is refused changes nothing here, either
        for between in (b"", tb.frames.flipped(), tb.frames.address(), tb.frames.argument()):
            if between:
                assert await tb.frame(between) != Status.OK
            assert await tb.frame(frame) == Status.OK
        other = bytearray(tb.frames.run()[:-4])  # the sequence alone tells
        other[1] = frame[1]
        assert await tb.frame(seal(other[0], other[1], bytes(other[2:]))) == Status.OK
        assert tb.strobes() == once
        assert (
            await tb.frame(tb.rng.choice([tb.frames.identify, tb.frames.read, tb.frames.load])()) == Status.OK
        )
        loaded = tb.strobes()
        assert await tb.frame(frame) == Status.OK
        assert tb.strobes()[1] == loaded[1] + samples_of(frame)
    await tb.compare_memories()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def empty_packets(dut: Any) -> None:
    tb = Bench(dut)
    await tb.reset()
    await tb.send(b"\xc0" * 5)
    await tb.silent(60)
    assert await tb.packet(sliplib.encode(tb.frames.identify())) == Status.OK
    await tb.silent(60)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def early_frames(dut: Any) -> None:
    """Bytes that come before the reply is out: one OVERRUN for all whole frames among them, one for a frame
    that was cut.
    """
    tb = Bench(dut)
    await tb.reset()
    await tb.fill()
    overrun = seal(Status.OVERRUN, 0)
    for cut in (0, 1, 4):
        first = tb.frames.read()
        wire = sliplib.encode(tb.frames.write()) + b"\xc0"
        before = tb.strobes()
        # nothing is taken yet: the reply waits
        await tb.send(sliplib.encode(first) + b"\xc0" + wire * 2 + wire[:cut])
        assert await tb.receive() == tb.device.reply(first)
        assert await tb.receive() == overrun
        if cut:
            await tb.send(wire[cut:])
            assert await tb.receive() == overrun
        await tb.silent(60)
        assert tb.strobes() == before
        assert await tb.frame(tb.frames.write()) == Status.OK
    # noise, empty frames included, between command and reply
    first = tb.frames.identify()
    await tb.send(sliplib.encode(first) + b"\xc0\xc0\xc0")
    assert await tb.receive() == tb.device.reply(first)
    await tb.silent(60)
    await tb.compare_memories()


@cocotb.test(timeout_time=2000, timeout_unit="ms")
async def bad_frames(dut: Any) -> None:
    """None changes the engine, each is answered by an error, and the link works right after it."""
    tb = Bench(dut)
    await tb.reset()
    await tb.fill()
    rng = tb.rng
    f = tb.frames
    seen: dict[int, int] = {}
    before = tb.strobes()
    sent = 0
    while sent < tb.n_bad:
        kind = rng.randrange(len(f.kinds) + 2)
        if kind < len(f.kinds):
            status = await tb.frame(f.kinds[kind]())
        elif kind == len(f.kinds):  # a wrong escape
            wire = sliplib.encode(f.good())
            at = rng.randint(0, len(wire))
            if at and wire[at - 1] == ESC:
                at -= 1
            other = rng.choice([n for n in range(256) if n not in (END, ESC_END, ESC_ESC)])
            status = await tb.packet(
                rng.choice([wire[:at] + bytes((ESC, other)) + wire[at:], wire + b"\xdb"])
            )
        # a byte that the UART found wrong; what it was does not matter
        else:
            wire = sliplib.encode(
                rng.choice([f.good(), rng.randbytes(3)]).replace(b"\xdb", b"").replace(b"\xc0", b"")
            )
            status = await tb.packet(wire, errors=(rng.randrange(len(wire)),))
        sent += 1
        seen[status] = seen.get(status, 0) + 1
        assert status != Status.OK
        assert tb.strobes() == before, f"a frame with {Status(status).name} wrote to the engine"
        if sent % 50 == 0:
            assert await tb.frame(f.good()) == Status.OK
            before = tb.strobes()
    await tb.compare_memories()
    dut._log.info("%d bad frames: %s", sent, {Status(s).name: n for s, n in sorted(seen.items())})
    expected = {s for s in Status if s not in (Status.OK, Status.OVERRUN, Status.BUSY, Status.NO_PROGRAM)}
    assert set(seen) == expected, f"{expected - set(seen)} never came"
