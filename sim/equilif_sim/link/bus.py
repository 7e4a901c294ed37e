"""Bench for equilif_hdl.link.bus.AxiEngine against equilif_golden.link.bus.BusModel, with the AXI bus models
of cocotbext-axi.

Random programs of the engine bench, through the bus, with all memories compared after each; random accesses,
valid and invalid, with all responses and memories compared; accesses during packets; errors during a run.
All channels of all buses stall at random, except in tests of throughput.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiResp,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
)

from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, Groups, Op, assemble
from equilif_golden.engine.port import Region
from equilif_golden.fixed import Raw
from equilif_golden.link.bus import BusError, BusModel, address_limit
from equilif_golden.link.registers import ELEMENTS, OFFSET_BITS, REGISTERS
from equilif_sim.engine.engine import MAX_CYCLES, EngineBench
from equilif_sim.tools.programs import random_program, random_weights, spoil
from equilif_sim.tools.run import bench_config, cases, engine_config

PERIOD = 10  #: ns
BUILD = 0xC0FFEE


def stalls(part: float) -> Iterator[int]:
    while True:
        yield int(random.random() < part)


class BusBench(EngineBench):
    """``stall``: part of the cycles in which a channel pauses."""

    def __init__(self, dut: Any, config: EngineConfig, *, stall: float = 0.3):
        super().__init__(dut, config, engine=dut.engine)
        self.bus = BusModel(config, build_id=BUILD)
        self.model = self.bus.engine
        dut.aresetn.value = 0
        reset = {"reset_active_level": False}
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn, **reset)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, dut.aresetn, **reset)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn, **reset)
        w = self.master.write_if
        r = self.master.read_if
        for channel in (
            w.aw_channel,
            w.w_channel,
            w.b_channel,
            r.ar_channel,
            r.r_channel,
            self.source,
            self.sink,
        ):
            channel.log.setLevel("WARNING")
            if stall:
                channel.set_pause_generator(stalls(stall))
        for interface in (w, r):
            interface.log.setLevel("WARNING")

    async def reset(self) -> None:
        await Timer(PERIOD, "ns")  # the bus models look at the first edge
        Clock(self.dut.aclk, PERIOD, unit="ns", impl="gpi").start()
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 2)

    # -- registers ---------------------------------------------------------------------------------
    async def get(self, name: str) -> int:
        answer = await self.master.read(REGISTERS[name].offset, 4)
        assert answer.resp == AxiResp.OKAY, name
        return int.from_bytes(answer.data, "little")

    async def set(self, name: str, value: int) -> None:
        answer = await self.master.write(REGISTERS[name].offset, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, name

    async def status(self, field: str) -> int:
        return await self.get("STATUS") >> REGISTERS["STATUS"].field(field).low & 1

    async def send(self, data: bytes) -> None:
        """A packet."""
        await self.source.send(AxiStreamFrame(data))
        await self.source.wait()
        await ClockCycles(self.dut.aclk, 8)  # its last elements

    # -- the engine, as EngineBench drives it ------------------------------------------------------
    async def write(self, region: Region, data: Raw, first: int = 0) -> None:
        flat = data.ravel()
        await self.set("REGION", int(region))
        await self.set("ADDRESS", first)
        by_stream = random.random() < 0.7
        if by_stream and region == Region.VALUE:
            assert ((flat & 255) == flat >> 8).all()
        if by_stream:
            await self.send(
                flat.astype({Region.WEIGHT: "<i2", Region.VALUE: "<u1"}.get(region, "<u4")).tobytes()
            )
        else:
            for element in flat:
                await self.set("DATA", int(element) & 0xFFFFFFFF)
        if region == Region.PROGRAM:
            await self.set("LOAD", len(flat) // WORDS)

    async def read(self, region: Region, n: int, first: int = 0) -> Raw:
        await self.set("REGION", int(region))
        await self.set("ADDRESS", first)
        return np.array([await self.get("DATA") for _ in range(n)], np.int64)

    async def run(self, learn: bool) -> int:
        await self.set("INTERRUPT", 1)
        await self.set("CONTROL", REGISTERS["CONTROL"].pack(START=1, LEARN=learn))
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), MAX_CYCLES * PERIOD, "ns")
        assert await self.status("DONE") and not await self.status("BUSY")
        await self.set("STATUS", 1)
        assert not await self.status("DONE") and not self.dut.irq.value
        return await self.get("CYCLES")

    async def results(self) -> tuple[int, ...]:
        counters = [name.upper() for name in NAMES] if self.config.counters else []
        return tuple([await self.get(name) for name in ("PREDICTION", "SPIKES", "ACCESSES", *counters)])

    # -- against equilif_golden.link.bus -----------------------------------------------------------
    async def same_read(self, offset: int) -> None:
        answer = await self.master.read(offset, 4)
        try:
            want = AxiResp.OKAY, self.bus.read(offset)
        except BusError:
            want = AxiResp.SLVERR, 0
        got = AxiResp(answer.resp), int.from_bytes(answer.data, "little")
        assert got == want, f"read of 0x{offset:02x}: {got}, not {want}"
        self.compared += 1

    async def same_write(self, offset: int, word: int, *, first: int = 0, n: int = 4) -> None:
        """Bytes ``first`` .. ``first + n - 1`` of a word."""
        answer = await self.master.write(offset + first, word.to_bytes(4, "little")[first : first + n])
        want = AxiResp.OKAY
        try:
            self.bus.write(offset, word, ((1 << n) - 1) << first)
        except BusError:
            want = AxiResp.SLVERR
        assert answer.resp == want, (
            f"write of 0x{word:x} to 0x{offset:02x}: {AxiResp(answer.resp)}, not {want}"
        )
        self.compared += 1
        while self.dut.engine.sequencer.busy.value:
            await RisingEdge(self.dut.aclk)
        await ClockCycles(self.dut.aclk, 2)

    async def same_packet(self, words: list[int], keeps: list[int]) -> None:
        """Send a packet to the design and to the model, and compare the predictions."""
        data = b"".join(w.to_bytes(4, "little") for w in words)
        keep = [k >> j & 1 for k in keeps for j in range(4)]
        await self.source.send(AxiStreamFrame(data, tkeep=keep))
        n_results = len(self.bus.results)
        for k, (word, kept) in enumerate(zip(words, keeps, strict=True)):
            self.bus.beat(word, kept, last=k + 1 == len(words))
        await self.source.wait()
        if len(self.bus.results) > n_results:
            frame = await with_timeout(self.sink.recv(), MAX_CYCLES * PERIOD, "ns")
            assert bytes(frame.tdata) == self.bus.results[-1].to_bytes(4, "little")
            self.compared += 1
        await ClockCycles(self.dut.aclk, 8)
        await self.same_read(REGISTERS["ADDRESS"].offset)

    async def same_engine(self, what: str) -> None:
        """All memories; the address moves, so the model's is read too."""
        await self.compare(what)
        staged = await self.read(Region.PROGRAM, self.config.program_words)
        assert np.array_equal(staged, self.bus.staged), f"{what}: staged program"
        await self.set("REGION", self.bus.region)
        await self.set("ADDRESS", self.bus.first)
        self.bus.address = self.bus.first


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def random_programs(dut: Any) -> None:
    """As equilif_sim.engine.engine.random_programs, the same ones."""
    raw = bench_config()
    bench = BusBench(dut, engine_config(raw["engine"]))
    await bench.random_programs(raw["seed"], raw["programs"])
    assert bench.sink.empty(), "a prediction of a run that no packet started"


def staged(rng: np.random.Generator, config: EngineConfig) -> Raw:
    """Words of a program that is wrong, as many as there is room for; now and then a bit is."""
    right = random_program(rng, config)
    words = assemble(spoil(rng, right, config)[0] if rng.random() < 0.8 else right)
    if rng.random() < 0.2:
        words[rng.integers(len(words))] ^= 1 << int(rng.integers(32))
    return words[: config.program_words]


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def random_accesses(dut: Any) -> None:
    raw = bench_config()
    config = engine_config(raw["engine"])
    rng = np.random.default_rng(raw["seed"])
    bench = BusBench(dut, config)
    await bench.reset()
    bench.adopt()
    bench.model.plus[:] = bench.model.minus[:] = 0
    bench.model.w[:] = random_weights(rng, config)
    await bench.write(Region.WEIGHT, bench.model.w)
    await bench.write(Region.VALUE, bench.model.plus)
    await bench.set("REGION", 0)
    await bench.set("ADDRESS", 0)
    bench.bus.staged = await bench.read(Region.PROGRAM, config.program_words)
    await bench.set("REGION", 0)
    await bench.set("ADDRESS", 0)
    by_offset = {r.offset: r.name for r in REGISTERS.values()}
    near = [
        n
        for r in Region
        for n in (
            0,
            1,
            len(np.atleast_1d(bench.model.w.flat if r == Region.WEIGHT else bench.model.plus.flat)) - 2,
        )
    ]
    loads = {True: 0, False: 0}

    async def place() -> None:
        await bench.same_write(REGISTERS["REGION"].offset, int(rng.integers(4)))
        address = rng.choice(near) if rng.random() < 0.5 else rng.integers(address_limit(config))
        await bench.same_write(REGISTERS["ADDRESS"].offset, int(address))

    async def load(words: Raw) -> None:
        await bench.same_write(REGISTERS["REGION"].offset, int(Region.PROGRAM))
        await bench.same_write(REGISTERS["ADDRESS"].offset, 0)
        await bench.same_packet([int(w) for w in words], [15] * len(words))
        before = bench.bus.engine.program
        n = int(rng.choice([len(words) // WORDS, 1 << 20, 0], p=[0.8, 0.1, 0.1]))
        await bench.same_write(REGISTERS["LOAD"].offset, n)
        loads[bench.bus.engine.program is not before] += 1
        await bench.same_read(REGISTERS["REJECTED"].offset)

    for k in range(raw["accesses"]):
        match int(rng.integers(13)):
            case 0 | 1 | 2:
                offset = int(rng.choice([*by_offset, int(rng.integers(1 << OFFSET_BITS >> 2)) * 4]))
                if by_offset.get(offset) != "CYCLES":  # the model is untimed
                    await bench.same_read(offset)
            case 3 | 4:
                offset = int(rng.choice([*by_offset, int(rng.integers(1 << OFFSET_BITS >> 2)) * 4]))
                first = int(rng.integers(4))
                await bench.same_write(
                    offset,
                    int(rng.integers(1 << int(rng.integers(1, 33)))),
                    **(dict(first=first, n=int(rng.integers(1, 5 - first))) if rng.random() < 0.3 else {}),
                )
            case 5 | 6:
                await place()
                for _ in range(int(rng.integers(1, 5))):
                    await bench.same_write(REGISTERS["DATA"].offset, int(rng.integers(1 << 32)))
                    await bench.same_read(REGISTERS["DATA"].offset)
            case 7:
                await place()
            case 8 | 9:
                if rng.random() < 0.5:
                    await place()
                n = int(rng.integers(1, 12))
                keeps = [15] * n if rng.random() < 0.5 else [int(x) for x in rng.integers(0, 16, n)]
                keeps[-1] = keeps[-1] or 15  # the bus model drops an empty last beat
                await bench.same_packet([int(x) for x in rng.integers(0, 1 << 32, n)], keeps)
            case 10:
                await load(assemble(random_program(rng, config)))
            case 11:
                await load(staged(rng, config))
            case 12:
                # the longest is too long
                n = int(rng.integers(1, config.value_groups * config.lanes // 4 + 2))
                await bench.same_write(REGISTERS["STREAM"].offset, int(rng.choice([1, 3])))
                await bench.same_write(REGISTERS["REGION"].offset, int(Region.VALUE))
                await bench.same_write(REGISTERS["ADDRESS"].offset, 0)
                await bench.same_packet([int(x) for x in rng.integers(0, 1 << 32, n)], [15] * n)
        await bench.same_read(REGISTERS["STATUS"].offset)
        assert dut.irq.value == bench.bus.irq
        if k % 40 == 39:
            await bench.same_engine(f"access {k}")
    assert loads[True] and loads[False] and len(bench.bus.results) and bench.sink.empty()


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def partial_writes(dut: Any) -> None:
    """Without all of its strobes a write is refused, and changes nothing."""
    bench = BusBench(dut, engine_config(bench_config()["engine"]))
    await bench.reset()
    await bench.write(Region.PROGRAM, assemble([Op.HALT()]))

    async def registers() -> list[Any]:
        answers = [await bench.master.read(r.offset, 4) for r in REGISTERS.values() if r.name != "DATA"]
        return [(answer.resp, answer.data) for answer in answers]

    before = await registers()
    for register in REGISTERS.values():
        for first in range(4) if register.writable else ():
            for n in range(1, min(4, 5 - first)):
                await bench.same_write(register.offset, 1, first=first, n=n)  # a right one otherwise
    assert await registers() == before


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(stall=[0, 0.3])
async def accesses_beside_packets(dut: Any, stall: float) -> None:
    """None is lost, neither an access nor an element, and a beat waits for one access at most."""
    raw = bench_config()
    config = engine_config(raw["engine"])
    rng = np.random.default_rng(raw["seed"])
    bench = BusBench(dut, config, stall=stall)
    await bench.reset()
    n = config.value_groups * config.lanes
    for reads, writes in ((n, 0), (0, n), (n, n)):
        await bench.set("REGION", int(Region.VALUE))
        await bench.set("ADDRESS", 0)
        values = rng.integers(0, 256, n)
        accesses: list[Any] = [cocotb.start_soon(bench.get("BUILD")) for _ in range(reads)]
        accesses += [cocotb.start_soon(bench.set("INTERRUPT", k % 2)) for k in range(writes)]
        await bench.source.send(AxiStreamFrame(values.astype(np.uint8).tobytes()))
        await bench.source.wait()
        done = sum(access.done() for access in accesses)
        beats = n // 4
        limit = 2 * beats if stall else beats  # a source that pauses is overtaken then, too
        assert done <= limit, f"{done} accesses during {beats} beats"
        assert [await access for access in accesses] == [BUILD] * reads + [None] * writes
        assert not writes or await bench.get("INTERRUPT") == (writes - 1) % 2
        assert np.array_equal(await bench.read(Region.VALUE, n), values * 0x101)


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def errors_during_a_run(dut: Any) -> None:
    """DATA, LOAD and CONTROL are refused, everything else is answered, and the run ends as if nothing had
    been.
    """
    raw = bench_config()
    config = engine_config(raw["engine"])
    rng = np.random.default_rng(raw["seed"])
    bench = BusBench(dut, config)
    await bench.reset()
    bench.adopt()
    bench.model.w[:] = random_weights(rng, config)
    await bench.write(Region.WEIGHT, bench.model.w)
    bench.model.plus[:] = bench.model.minus[:] = rng.integers(0, 256, bench.model.plus.shape)
    await bench.write(Region.VALUE, bench.model.plus * 0x101)
    await bench.write(Region.COUNTER, np.zeros(1, np.int64))
    program = [
        Op.REPEAT(200),
        Op.LEARN(Groups(0, 2), Groups(0, 3), tile=0, gain=3, shift=18),
        Op.DRIVE(Groups(0, 2), Groups(0, 3), tile=0),  # no value differs, so that LEARN takes few cycles
        Op.NEXT(),
        Op.HALT(),
    ]
    await bench.write(Region.PROGRAM, assemble(program))
    bench.model.load(program)
    await bench.set("REGION", 0)
    await bench.set("ADDRESS", 0)
    await bench.set("CONTROL", 3)
    refused = 0
    while await bench.status("BUSY"):
        # each is possible otherwise
        for name, word in (("DATA", 0), ("LOAD", len(program)), ("CONTROL", 1)):
            answer = await bench.master.write(REGISTERS[name].offset, word.to_bytes(4, "little"))
            if await bench.status("BUSY"):  # it was during the write, too
                assert answer.resp == AxiResp.SLVERR, name
                refused += 1
        answer = await bench.master.read(REGISTERS["DATA"].offset, 4)
        if await bench.status("BUSY"):
            assert (answer.resp, bytes(answer.data)) == (AxiResp.SLVERR, bytes(4))
            refused += 1
        assert await bench.get("ID") == 0x464C5145
        if refused >= cases(200):
            break
    assert refused >= cases(200) and await bench.get("ADDRESS") == 0
    await with_timeout(_until_idle(bench), MAX_CYCLES * PERIOD, "ns")
    bench.model.run(learn=True)
    await bench.compare("after the run")
    assert await bench.status("DONE")


async def _until_idle(bench: BusBench) -> None:
    while await bench.status("BUSY"):
        pass


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def cycles(dut: Any) -> None:
    """Throughput, without stalls, as equilif_hdl.link.bus states it."""
    raw = bench_config()
    config = engine_config(raw["engine"])
    bench = BusBench(dut, config, stall=0)
    await bench.reset()

    def now() -> int:
        return round(get_sim_time("ns")) // PERIOD

    async def per_access(n: int, start: Any) -> float:
        """Cycles an access, all of them waiting at the bus from the beginning."""
        begun = now()
        events = [start() for _ in range(n)]
        for event in events:
            await event.wait()
        return (now() - begun) / n

    data = REGISTERS["DATA"].offset
    await bench.set("REGION", 1)
    await bench.set("ADDRESS", 0)
    assert round(await per_access(32, functools.partial(bench.master.init_write, data, bytes(4)))) == 3
    await bench.set("ADDRESS", 0)
    assert (
        round(await per_access(32, functools.partial(bench.master.init_read, REGISTERS["CYCLES"].offset, 4)))
        == 3
    )
    reads = await per_access(32, functools.partial(bench.master.init_read, data, 4))
    r = config.registers
    assert round(reads) == 5 + r.weight_read + r.state_write + r.host + r.butterfly, reads
    await bench.write(Region.PROGRAM, assemble([Op.HALT()]))
    load = functools.partial(bench.master.init_write, REGISTERS["LOAD"].offset, (1).to_bytes(4, "little"))
    # a word in 5 cycles and what the checker takes; no word behind the program is copied
    assert await per_access(1, load) < 10 * WORDS
    for region, (_, _, bits, _) in zip(Region, ELEMENTS, strict=True):
        await bench.set("REGION", int(region))
        await bench.set("ADDRESS", 0)
        begun = now()
        await bench.source.send(AxiStreamFrame(bytes(4 * 12)))
        await bench.source.wait()
        assert round((now() - begun) / 12) == 32 // bits + 1, region
