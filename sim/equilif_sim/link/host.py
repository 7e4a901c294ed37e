"""Bench for equilif_hdl.link.host.Host against equilif_golden.link.device.Device, byte for byte, with a
behavioural engine in place of the real one.

State space: every command in every region, at the first, the last and the first address outside; every
way in which a frame can be wrong; programs right and wrong.  Stall space: bytes arrive back to back or
with gaps, replies are taken at once or half of the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np
import sliplib
from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import (
    DITHER_MASK,
    DITHER_UPDATE,
    DITHER_WIDTH,
    GAIN_MAX,
    SHIFTS,
)
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import FIELDS, THRESHOLD_MAX, WORDS, Instruction, Op, assemble
from equilif_golden.engine.port import READ_BYTES, WRITE_BYTES, Region, region_size
from equilif_golden.link.device import Device
from equilif_golden.link.protocol import (
    INSTRUCTION_BYTES,
    OVERHEAD,
    PACKED,
    READ_HEADER,
    RUN_HEADER,
    WRITE_HEADER,
    Command,
    Status,
    pack,
    seal,
    unseal,
)
from equilif_hdl.engine.checker import MEMORY
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.link.host import Host
from equilif_hdl.link.uart import RECEIVED
from equilif_sim.tools.run import bench_config, engine_config
from equilif_sim.tools.stream import Pause, never, often

PATIENCE = 20_000  #: cycles within which a reply begins and goes on


# -- a stand-in for the engine, in RTL and in the model --------------------------------------------
class StandIn(wiring.Component):
    """Memories of an engine whose run only counts: run k predicts k and leaves k in the first value, plus
    and minus.

    ``writes``, ``starts``: strobes so far.  ``program``: a digest of what was written to program memory,
    which nobody can read. ``illegal``: a strobe came while busy, or a read while one was outstanding.
    """

    def __init__(self, config: EngineConfig, *, read_latency: int = 2, run_cycles: int = 9):
        self.config, self.read_latency, self.run_cycles = config, read_latency, run_cycles
        super().__init__(
            {
                "host": In(EnginePort(config)),
                "occupied": In(1),
                "writes": Out(32),
                "starts": Out(32),
                "program": Out(32),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        h = self.host
        left = Signal(range(self.run_cycles + 1))
        m.d.comb += [
            h.busy.eq((left != 0) | self.occupied),
            h.prediction.eq(self.starts),
            h.cycles.eq(self.starts * 3),
            h.spikes.eq(~self.starts),
            h.accesses.eq(self.starts),
        ]
        finish = left == 1
        datas = {}
        for region in (Region.WEIGHT, Region.VALUE):
            mem = m.submodules[region.name.lower()] = memory.Memory(
                shape=16, depth=region_size(self.config, region), init=[]
            )
            wr, rd = mem.write_port(), mem.read_port()
            m.d.comb += [
                rd.addr.eq(h.mem_addr),
                rd.en.eq(1),
                wr.addr.eq(h.mem_addr),
                wr.data.eq(h.mem_wdata),
                wr.en.eq(h.mem_write & (h.mem_region == region)),
            ]
            if region == Region.VALUE:
                with m.If(finish):
                    m.d.comb += [
                        wr.en.eq(1),
                        wr.addr.eq(0),
                        wr.data.eq(Cat(self.starts[:8], self.starts[:8])),
                    ]
            datas[region] = rd.data
        with m.If(h.mem_write & (h.mem_region == Region.PROGRAM)):
            m.d.sync += self.program.eq(self.program.rotate_left(1) ^ h.mem_wdata ^ h.mem_addr)
        counter = Signal(DITHER_WIDTH)
        with m.If(h.mem_write & (h.mem_region == Region.COUNTER)):
            m.d.sync += counter.eq(h.mem_wdata)
        # the address is looked at when the data leaves, so a host that moves on too early is found out
        wait = Signal(range(self.read_latency + 1))
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(h.mem_read):
            m.d.sync += wait.eq(self.read_latency)
        m.d.comb += h.mem_valid.eq(wait == 1)
        m.d.comb += h.mem_rdata.eq(
            Mux(
                h.mem_valid,
                Array([datas[Region.WEIGHT], datas[Region.VALUE], 0, counter])[h.mem_region],
                0x5A5A5A5A,
            )
        )
        m.d.sync += [self.writes.eq(self.writes + h.mem_write), self.starts.eq(self.starts + h.start)]
        with m.If(h.start):
            m.d.sync += left.eq(self.run_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.If((h.mem_write | h.mem_read | h.start) & (h.busy | (wait != 0)) | (h.mem_write & h.mem_read)):
            m.d.sync += self.illegal.eq(1)
        with m.If(h.start & h.learn):
            m.d.sync += counter.eq(counter + DITHER_UPDATE)
        return m


class StandInDevice(Device):
    """The model of Host with StandIn."""

    runs = program = 0

    def _load(self, payload: bytes) -> None:
        super()._load(payload)
        for address, word in enumerate(np.frombuffer(payload, "<u4").tolist()):
            self.program = (self.program << 1 & 0xFFFFFFFF | self.program >> 31) ^ word ^ address

    def run(self, *, learn: bool) -> None:
        self.runs += 1
        e = self.engine
        e.prediction, self.cycles, e.spikes, e.accesses = (
            self.runs,
            self.runs * 3,
            ~self.runs & 0xFFFFFFFF,
            self.runs,
        )
        e.plus[0, 0] = e.minus[0, 0] = self.runs & 0xFF
        e.counter = e.counter + learn & DITHER_MASK


class HostBench(wiring.Component):
    """What is simulated: Host and StandIn."""

    def __init__(self, config: EngineConfig, *, build_id: int, frame_bytes: int):
        self.config = config
        self.host, self.stand_in = Host(config, build_id=build_id, frame_bytes=frame_bytes), StandIn(config)
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "occupied": In(1),
                "writes": Out(32),
                "starts": Out(32),
                "program": Out(32),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.host, m.submodules.stand_in = host, e = self.host, self.stand_in
        connect(m, flipped(self.i), host.i)
        connect(m, host.o, flipped(self.o))
        connect(m, host.engine, e.host)
        m.d.comb += [
            e.occupied.eq(self.occupied),
            self.writes.eq(e.writes),
            self.starts.eq(e.starts),
            self.program.eq(e.program),
            self.illegal.eq(e.illegal),
        ]
        return m


# -- frames ----------------------------------------------------------------------------------------
def instruction(config: EngineConfig, rng: random.Random) -> bytes:
    """A random instruction, mostly right."""
    op = rng.choice(
        [o for o in Op if o not in (Op.HALT, Op.REPEAT, Op.NEXT) and (config.softmax or o not in MEMORY)]
    )

    def span(size: int, most: int) -> tuple[int, int]:
        n = rng.randint(1, min(size, most))
        return rng.choice([0, size - n, rng.randint(0, size - n)]), n

    dst, n_dst = span(config.state_groups, config.tiles)
    src, n_src = span(config.state_groups if op == Op.GATHER else config.value_groups, config.tiles // n_dst)
    if op in (Op.NUDGE, *MEMORY):
        src = rng.randint(0, config.value_groups - n_dst)
    tile = rng.choice([0, config.tiles - n_src * n_dst])
    shifts = {Op.LEARN: SHIFTS, Op.STEP: LEAKS, Op.SOFTMAX: softmax.SHIFTS, Op.RELAY: relay.SHIFTS}.get(
        op, RATE_SHIFTS
    )
    gain = 1 << rng.randrange(THRESHOLD_MAX.bit_length()) if op == Op.STEP else rng.randint(0, GAIN_MAX)
    mode = rng.randint(0, 15 if config.softmax or op not in (Op.DRIVE, Op.LEARN) else 0)
    fields = {
        "mode": mode,
        "shift": rng.choice(shifts),
        "gain": gain,
        "src": src,
        "n_src": n_src,
        "dst": dst,
        "n_dst": n_dst,
        "operand": tile - (tile >> 15 << 16),
    }
    return Instruction(op=op, **fields).encode().to_bytes(INSTRUCTION_BYTES, "little")


def spoil(code: bytes, rng: random.Random) -> bytes:
    """One field changed, often by one."""
    value, at = int.from_bytes(code, "little"), 0
    chosen = rng.choice(FIELDS)[0]
    for name, width, _ in FIELDS:
        if name == chosen:
            now = value >> at & ((1 << width) - 1)
            new = rng.choice([now + 1, now - 1, 0, (1 << width) - 1, rng.getrandbits(width)]) & (
                (1 << width) - 1
            )
            value ^= (now ^ new) << at
        at += width
    return value.to_bytes(INSTRUCTION_BYTES, "little")


def code_of(*program: Instruction) -> bytes:
    return assemble(program).astype("<u4").tobytes()


def program(config: EngineConfig, rng: random.Random, *, most: int = 6, wrong: float = 0.0) -> bytes:
    """Machine code of a random program; each instruction is spoiled with probability ``wrong``, and so are
    loops and end.
    """
    parts: list[bytes] = []
    for _ in range(rng.randint(0, most)):
        parts.append(instruction(config, rng))
    for at in sorted(rng.choices(range(len(parts) + 1), k=2 * rng.randint(0, config.loops)), reverse=True):
        parts.insert(at, b"")  # where a loop begins or ends
    marks, depth = [k for k, part in enumerate(parts) if not part], 0
    for k, at in enumerate(marks):
        opens = depth < min(config.loops, len(marks) - k) and (not depth or rng.random() < 0.5)
        parts[at] = code_of(
            Instruction(op=Op.REPEAT, count=rng.randint(1, 511)) if opens else Instruction(op=Op.NEXT)
        )
        depth += 1 if opens else -1
    parts.append(code_of(Instruction(op=Op.HALT)))
    parts = [spoil(p, rng) if rng.random() < wrong else p for p in parts]
    if rng.random() < wrong:
        del parts[rng.randrange(len(parts))]
    if rng.random() < wrong:
        rng.shuffle(parts)
    return b"".join(parts) or code_of(Instruction(op=Op.HALT, mode=1))


class Frames:
    """Random frames for a device of this size, right and wrong."""

    def __init__(self, config: EngineConfig, frame_bytes: int, rng: random.Random):
        self.config, self.frame_bytes, self.rng = config, frame_bytes, rng
        self.most = frame_bytes - OVERHEAD
        self.sequence = 0

    def seal(self, command: int, payload: bytes = b"") -> bytes:
        self.sequence = self.sequence % 255 + 1
        return seal(command, self.sequence, payload)

    def span(self, size: int, most: int) -> tuple[int, int]:
        rng = self.rng
        n = rng.randint(1, min(size, most))
        return rng.choice([0, size - n, rng.randint(0, size - n)]), n

    def load(self) -> bytes:
        most = (
            min(self.config.program_words // WORDS, self.most // INSTRUCTION_BYTES)
            - 2 * self.config.loops
            - 1
        )
        return self.seal(Command.LOAD, program(self.config, self.rng, most=most))

    def write(self) -> bytes:
        region = self.rng.choice([*READ_BYTES])
        size = WRITE_BYTES[region]
        address, n = self.span(region_size(self.config, region), (self.most - WRITE_HEADER.size) // size)
        data = self.rng.randbytes(n * size)
        return self.seal(Command.WRITE, WRITE_HEADER.pack(region, address) + data)

    def read(self) -> bytes:
        region = self.rng.choice([*READ_BYTES])
        address, n = self.span(region_size(self.config, region), 40)
        return self.seal(Command.READ, READ_HEADER.pack(region, address, self.rng.choice([n, n, n, 0])))

    def run(self) -> bytes:
        size = region_size(self.config, Region.VALUE)
        address, n = self.span(size, self.most - RUN_HEADER.size)
        read, count = self.span(size, 30)
        if self.rng.random() < 0.3:
            address, n = self.rng.getrandbits(32), 0  # an empty range has no address
        if self.rng.random() < 0.3:
            read, count = self.rng.getrandbits(32), 0
        flags, values = self.rng.getrandbits(2), self.rng.randbytes(n)
        # mostly zeros, and at times one run written in two parts
        if flags & PACKED:
            values = bytes(
                v if self.rng.random() < 0.2 else 0 for v in values[: (self.most - RUN_HEADER.size) // 2]
            )
            at = self.rng.randint(0, len(values))
            values = pack(values[:at]) + pack(values[at:])
        return self.seal(Command.RUN, RUN_HEADER.pack(flags, read, count, address) + values)

    def identify(self) -> bytes:
        return self.seal(Command.IDENTIFY)

    def good(self) -> bytes:
        return self.rng.choice([self.load, self.write, self.read, self.run, self.identify])()

    # -- wrong ones: every function returns what stands between two ENDs, before SLIP --------------
    def truncated(self) -> bytes:
        frame = self.good()
        return frame[: self.rng.randint(1, len(frame) - 1)]

    def flipped(self) -> bytes:
        """One to three bits: within the distance of the CRC."""
        frame = bytearray(self.good())
        for bit in self.rng.sample(range(8 * len(frame)), self.rng.randint(1, 3)):
            frame[bit // 8] ^= 1 << bit % 8
        return bytes(frame)

    def noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randint(1, self.frame_bytes + 20))

    def long(self) -> bytes:
        n = self.most - WRITE_HEADER.size + self.rng.choice([1, 1, 2, 90])
        return self.seal(Command.WRITE, WRITE_HEADER.pack(Region.VALUE, 0) + bytes(n))

    def unknown(self) -> bytes:
        command = self.rng.choice([n for n in range(256) if n not in list(Command)])
        return self.seal(command, self.rng.randbytes(self.rng.choice([0, 5, 12])))

    def length(self) -> bytes:
        rng = self.rng
        return rng.choice(
            [
                lambda: self.seal(Command.IDENTIFY, rng.randbytes(rng.randint(1, 20))),
                lambda: self.seal(Command.LOAD, program(self.config, rng, most=3)[: -rng.randint(1, 11)]),
                lambda: self.seal(Command.LOAD),
                lambda: self.seal(Command.WRITE, rng.randbytes(rng.randint(0, 5))),
                lambda: self.seal(
                    Command.WRITE,
                    WRITE_HEADER.pack(Region.WEIGHT, 0) + rng.randbytes(2 * rng.randint(0, 9) + 1),
                ),
                lambda: self.seal(
                    Command.WRITE,
                    WRITE_HEADER.pack(Region.COUNTER, 0) + rng.randbytes(rng.choice([1, 2, 3, 5, 6, 7])),
                ),
                lambda: self.seal(
                    Command.READ, READ_HEADER.pack(Region.VALUE, 0, 1) + rng.randbytes(rng.randint(1, 9))
                ),
                lambda: self.seal(Command.READ, READ_HEADER.pack(Region.VALUE, 0, 1)[: rng.randint(0, 6)]),
                lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, 0, 1, 0)[: rng.randint(0, 10)]),
                lambda: self.seal(
                    Command.RUN,
                    RUN_HEADER.pack(rng.choice([2, 3]), 0, 1, 0)
                    + rng.choice([b"", b"\x07", b"\0\2\x09"])
                    + b"\0",
                ),
            ]
        )()

    def address(self) -> bytes:
        """Ranges that end beyond a region, by one or by much."""
        rng = self.rng
        region = rng.choice([*READ_BYTES])
        size = region_size(self.config, region)
        n = rng.randint(1, min(size, 20))
        first = rng.choice(
            [
                size - n + 1,
                size,
                size + 1,
                (1 << 32) - 1,
                (1 << 32) - n,
                1 << rng.randint(size.bit_length(), 31),
            ]
        )
        values = region_size(self.config, Region.VALUE)
        beyond = rng.choice(
            [values, values - n + 1 if n <= values else values, 1 << 31, (1 << 32) - 1, values + 256]
        )
        return rng.choice(
            [
                lambda: self.seal(
                    Command.WRITE, WRITE_HEADER.pack(region, first) + rng.randbytes(n * WRITE_BYTES[region])
                ),
                lambda: self.seal(Command.READ, READ_HEADER.pack(region, first, n)),
                lambda: self.seal(Command.READ, READ_HEADER.pack(region, rng.randint(0, size - 1), 65535)),
                lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, 0, 0, beyond) + rng.randbytes(n)),
                lambda: self.seal(Command.RUN, RUN_HEADER.pack(1, beyond, n, 0) + b"\x55"),
                lambda: self.seal(
                    Command.RUN,
                    RUN_HEADER.pack(3, 0, 1, max(values - 256, 0))
                    + b"\0"
                    + bytes([min(values, 256) - 1])
                    + b"\0\0",
                ),
                lambda: self.seal(
                    Command.RUN,
                    RUN_HEADER.pack(3, 0, 1, values - n if n <= values else 0) + b"\0\xff" * 2 + b"\1\0",
                ),
            ]
        )()

    def argument(self) -> bytes:
        rng = self.rng
        return rng.choice(
            [
                lambda: self.seal(
                    Command.WRITE, WRITE_HEADER.pack(rng.choice([2, *range(4, 256)]), 0) + rng.randbytes(4)
                ),
                lambda: self.seal(Command.READ, READ_HEADER.pack(rng.choice([2, *range(4, 256)]), 0, 1)),
                lambda: self.seal(Command.RUN, RUN_HEADER.pack(rng.randint(4, 255), 0, 1, 0) + b"\x99"),
            ]
        )()

    def bad_program(self) -> bytes:
        """Spoiled until the model finds fault."""
        device = Device(self.config, frame_bytes=self.frame_bytes)
        while True:
            frame = self.seal(Command.LOAD, program(self.config, self.rng, wrong=0.5)[: self.most // 12 * 12])
            if device.reply(frame)[0] == Status.BAD_PROGRAM:
                return frame

    def long_program(self) -> bytes:
        n = self.config.program_words // 3 + 1
        assert 12 * n <= self.most
        return self.seal(Command.LOAD, code_of(*[Instruction(op=Op.HALT)] * n))

    @property
    def kinds(self) -> list[Callable[[], bytes]]:
        return [
            self.truncated,
            self.flipped,
            self.noise,
            self.long,
            self.unknown,
            self.length,
            self.address,
            self.argument,
            self.bad_program,
            self.long_program,
        ]


# -- bench -----------------------------------------------------------------------------------------
class Bench:
    def __init__(self, dut: Any, *, i_pause: Pause = never, o_pause: Pause = never):
        raw = bench_config()
        self.config: EngineConfig = engine_config(raw["engine"])
        self.n_bad: int = raw["n_bad"]
        self.frame_bytes: int = raw["frame_bytes"]
        self.dut, self.i_pause, self.o_pause = dut, i_pause, o_pause
        self.device = StandInDevice(self.config, build_id=raw["build_id"], frame_bytes=self.frame_bytes)
        self.rng = random.Random(random.getrandbits(32))
        self.frames = Frames(self.config, self.frame_bytes, self.rng)
        self.compared = 0

    async def reset(self) -> None:
        d = self.dut
        # an X would spread
        d.i__valid.value, d.i__payload.value, d.o__ready.value, d.occupied.value = 0, 0, 0, 0
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
        d, packet, waited = self.dut, bytearray(), 0
        while True:
            ready = not self.o_pause()
            d.o__ready.value = ready
            await RisingEdge(d.clk)  # values before the edge: what was transferred at it
            if ready and int(d.o__valid.value):
                byte = int(d.o__payload.value)
                if byte == 0xC0:
                    d.o__ready.value = 0
                    return sliplib.decode(bytes(packet))
                packet.append(byte)
                waited = 0
            waited += 1
            assert waited < PATIENCE, f"no reply, {len(packet)} bytes so far"

    async def silent(self, cycles: int) -> None:
        self.dut.o__ready.value = 1
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
            assert not int(self.dut.o__valid.value), "a reply that nothing asked for"
        self.dut.o__ready.value = 0

    def strobes(self) -> tuple[int, int]:
        return int(self.dut.writes.value), int(self.dut.starts.value)

    async def packet(self, packet: bytes, *, errors: tuple[int, ...] = ()) -> int:
        """What stands between two ENDs, already SLIP encoded; the status of the reply, which is the model's."""
        await self.send(packet + b"\xc0", errors)
        if errors:
            kept = sliplib.decode(bytes(b for k, b in enumerate(packet) if k not in errors))
            want = self.device.reply(kept, bad=True)
        else:
            want = self.device.packet(packet) or b""
        got = await self.receive()
        assert got == want, (
            f"to {packet.hex()}: got {got.hex()} {Status(got[0]).name}, expected {want.hex()} {Status(want[0]).name}"
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
            size, step = region_size(self.config, region), 16
            for first in range(0, size, step):
                data = self.rng.randbytes(min(step, size - first) * WRITE_BYTES[region])
                assert (
                    await self.frame(self.frames.seal(Command.WRITE, WRITE_HEADER.pack(region, first) + data))
                    == Status.OK
                )

    async def fill(self) -> None:
        """Every memory written, every kind of good frame seen once."""
        await self.write_all()
        full = code_of(*[Instruction(op=Op.HALT)] * (self.config.program_words // 3))
        assert await self.frame(self.frames.seal(Command.LOAD, full)) == Status.OK
        for good in (self.frames.load, self.frames.run, self.frames.identify, self.frames.read):
            assert await self.frame(good()) == Status.OK


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(i_pause=[never, often], o_pause=[never, often])
async def good_frames(dut: Any, i_pause: Pause, o_pause: Pause) -> None:
    tb = Bench(dut, i_pause=i_pause, o_pause=o_pause)
    await tb.reset()
    await tb.fill()
    before = tb.compared
    for _ in range(40):
        assert await tb.frame(tb.frames.good()) == Status.OK
    assert tb.compared == before + 40
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
    assert await tb.frame(f.run()) == Status.OK
    assert tb.strobes()[1] == 1


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
    for _ in range(12):
        frame, before = tb.frames.run(), tb.strobes()
        assert await tb.frame(frame) == Status.OK
        once = tb.strobes()
        assert once[1] == before[1] + 1
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
        assert tb.strobes()[1] == loaded[1] + 1
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
        first, wire = tb.frames.read(), sliplib.encode(tb.frames.write()) + b"\xc0"
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
    rng, f = tb.rng, tb.frames
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
            if at and wire[at - 1] == 0xDB:
                at -= 1
            other = rng.choice([n for n in range(256) if n not in (0xC0, 0xDC, 0xDD)])
            status = await tb.packet(
                rng.choice([wire[:at] + bytes((0xDB, other)) + wire[at:], wire + b"\xdb"])
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
