"""Bench for equilif_hdl.front_end.live: words or samples of a sensor on EngineStub, against
equilif_golden.front_end.live.Live.

State space: samples of every verdict; those that end while another one is at work: none, one that waits, and
more that are lost; a word that waits until its frames are overwritten; no program, no table; labels of table
and pins, valid or not; a host that keeps the engine; a slow receiver of the answers; lessons with rounds, new
classes, faults, and a network of a host.  Compares answers, memories, and the port of the trainer.
"""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import cocotb
import numpy as np
from amaranth import Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, with_timeout

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.filter_bank import BANDS
from equilif_golden.front_end.queue import STALE, WordQueue
from equilif_golden.front_end.segmentation import LONGEST, RING, SHORTEST, Verdict, Word
from equilif_golden.front_end.tokens import POSITIONS, TOKENS
from equilif_golden.link.standalone import Fault
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.front_end.live import Live, ReadingSource, SampleSource, WordSource
from equilif_hdl.front_end.segmentation import FRAME_BYTES
from equilif_sim.link.engine_stub import EngineStub, StubDevice
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, idle, reset

CONFIG = EngineConfig(lanes=8, tiles=32, value_groups=32, state_groups=4, program_words=64)
KINDS = ("words", "lessons", "sensor")
CHANNELS, WINDOWS = 3, 2
SIZE = 2 * CHANNELS * WINDOWS
CLASSES = 9
KNOWN = 7  #: of the trainer at first
PREDICTIONS = 63  #: mask
TIMEOUT_US = 300  #: of a run or an answer
TABLE = live.table_first(CONFIG)
#: rows of a word, whole tiles
TOKEN_WORDS = TOKENS * -(-(BANDS + POSITIONS) // CONFIG.lanes) * CONFIG.lanes
CODES = np.random.default_rng(0).integers(90, 256, (RING, BANDS))
RING_BYTES = np.pad(CODES, ((0, 0), (0, FRAME_BYTES - BANDS))).ravel().tolist()


class LiveBench(wiring.Component):
    """Design under test: Live, EngineStub, the ring of the segmentation, and a trainer that has nothing to
    do.  ``sent``, ``last``: characters of answers so far, and the last one.
    """

    def __init__(self, kind: str):
        self.lessons = kind == "lessons"
        self.sensor = kind == "sensor"
        source: SampleSource = ReadingSource(CONFIG, CHANNELS, SIZE) if self.sensor else WordSource(CONFIG)
        self.live = Live(CONFIG, source, lessons=self.lessons)
        ring = () if self.sensor else ("read", "index", "granted", "data")
        self.front = {name: port for name, port in source.ports.items() if name not in ring}
        super().__init__(
            {
                "host": In(EnginePort(CONFIG)),
                **self.front,
                **{name: In(1) for name in ("free", "hurry", "loaded", "occupied", "valid", "fault")},
                "rounds": In(8),
                **{name: Out(8) for name in ("sent", "last", "learned", "finished")},
            }
        )

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs in Verilog."""
        found = [name for name, port in self.signature.members.items() if port.is_port and port.flow is In]
        return found + [f"host__{n}" for n, port in EnginePort(CONFIG).members.items() if port.flow is Out]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports: Any = self
        m.submodules.live = dut = self.live
        m.submodules.engine_stub = stub = EngineStub(CONFIG)
        connect(m, flipped(ports.host), dut.host)
        for name, member in EnginePort(CONFIG).members.items():
            there, here = getattr(stub.host, name), getattr(dut.engine, name)
            if name == "prediction":
                m.d.comb += here.eq(there & PREDICTIONS)
            else:
                m.d.comb += there.eq(here) if member.flow is Out else here.eq(there)
        noise = Signal(16, init=1)
        held = Signal()
        early = Signal()  # a strobe to the trainer
        m.d.sync += [
            noise.eq(noise << 1 | noise[15] ^ noise[13] ^ noise[12] ^ noise[10]),
            held.eq(dut.hold & (held | ports.free)),
        ]
        m.d.comb += [
            *(getattr(dut.front, name).eq(getattr(ports, name)) for name in self.front),
            dut.held.eq(held),
            dut.loaded.eq(ports.loaded),
            stub.occupied.eq(ports.occupied),
            dut.text.ready.eq(ports.hurry | noise[:3].all()),
        ]
        with m.If(dut.text.valid & dut.text.ready):
            m.d.sync += [ports.sent.eq(ports.sent + 1), ports.last.eq(dut.text.payload)]
        if not self.sensor:
            m.submodules.ring = ring = memory.Memory(shape=8, depth=len(RING_BYTES), init=RING_BYTES)
            read = ring.read_port()
            front = dut.front
            m.d.comb += [
                front.granted.eq(front.read & noise[0]),
                read.en.eq(front.granted),
                read.addr.eq(front.index),
                front.data.eq(read.data),
            ]
        if self.lessons:
            lesson = dut.lesson
            work = Signal(5)
            classes = Signal(8, init=KNOWN)
            m.d.sync += work.eq(Mux(lesson.learned | lesson.finish, 20, work - (work != 0)))
            m.d.sync += ports.finished.eq(ports.finished + lesson.finish)
            with m.If(lesson.learned):
                m.d.sync += ports.learned.eq(lesson.label)
                with m.If(lesson.label == classes):
                    m.d.sync += classes.eq(classes + 1)
            held_late = Signal()
            m.d.sync += held_late.eq(lesson.hold)
            begins = lesson.finish | (lesson.hold & ~held_late)
            with m.If((lesson.learned & ~lesson.hold) | (begins & (work != 0))):
                m.d.sync += early.eq(1)
            m.d.comb += [
                lesson.idle.eq(work == 0),
                lesson.valid.eq(ports.valid),
                lesson.fault.eq(ports.fault),
                lesson.rounds.eq(ports.rounds),
                lesson.classes.eq(classes),
            ]
        return m


class LiveModel(StubDevice):
    """EngineStub with predictions of two digits."""

    def run(self, *, learn: bool) -> tuple[int, int, int, int]:
        prediction, cycles, spikes, accesses = super().run(learn=learn)
        return prediction & PREDICTIONS, cycles, spikes, accesses


class TrainerProbe:
    """equilif_golden.link.standalone.StandaloneTrainer without samples."""

    def __init__(self) -> None:
        self.registers = SimpleNamespace(valid=0, classes=KNOWN, rounds=0, fault=Fault.NONE)
        self.label = self.finished = 0

    def learned(self, label: int) -> None:
        self.label = label
        self.registers.classes += label == self.registers.classes

    def work(self) -> None:
        pass

    def finish(self) -> None:
        self.finished += 1


def codes_of(first: int, last: int) -> np.ndarray:
    return CODES[(first + np.arange((last - first) % RING + 1)) % RING]


def some_word(verdict: Verdict, longest: int) -> Word:
    first = random.randrange(RING)
    n = random.choice((SHORTEST, random.randint(SHORTEST, longest))) if verdict is Verdict.SAMPLE else LONGEST
    last = (first + n - 1) % RING
    return Word(first, last, int(codes_of(first, last).max()), 0, verdict)


class LiveTestbench:
    """The design and its model."""

    def __init__(self, dut: Any, kind: str):
        self.dut = dut
        self.sensor = kind == "sensor"
        self.device = LiveModel(CONFIG)
        self.trainer = TrainerProbe() if kind == "lessons" else None
        self.device.trainer = self.trainer  # type: ignore[assignment]
        self.model = live.Live(self.device, CHANNELS if self.sensor else None)
        self.text = b""
        self.expected = b""
        self.prediction = 0
        self.loads = 0

    async def strobe(self, **values: int) -> None:
        drive(self.dut, **values)
        await RisingEdge(self.dut.clk)
        drive(self.dut, **dict.fromkeys(values, 0))

    async def receive(self) -> None:
        while True:
            await self.dut.sent.value_change
            await ReadOnly()
            self.text += bytes([int(self.dut.last.value)])

    # -- host --------------------------------------------------------------------------------------
    async def access(self, region: Region, first: int, values: list[int]) -> None:
        self.device.engine.write(region, first, np.array(values))
        for k, value in enumerate(values):
            drive(self.dut, host__mem_region=region, host__mem_addr=first + k)
            await self.strobe(host__mem_write=1, host__mem_wdata=value | value << 8)

    async def read(self, region: Region, address: int) -> int:
        dut = self.dut
        drive(dut, host__mem_region=region, host__mem_addr=address)
        await self.strobe(host__mem_read=1)
        await with_timeout(RisingEdge(dut.host__mem_valid), TIMEOUT_US, "us")
        await ClockCycles(dut.clk, 1)
        return int(dut.host__mem_rdata.value) & 0xFFFF

    async def compare(self, words: bool) -> None:
        """Answers and memories."""
        dut, engine = self.dut, self.device.engine
        assert self.text == self.expected, (self.text, self.expected)
        assert int(dut.engine_stub.starts.value) == self.device.runs
        assert int(dut.live.prediction.value) == self.prediction
        assert not int(dut.engine_stub.illegal.value)
        regions = [(Region.VALUE, 0, TABLE + live.TABLE_BYTES)]
        if words:
            regions.append((Region.WEIGHT, self.tile * CONFIG.lanes**2, TOKEN_WORDS))
        for region, first, n in regions:
            want = engine.read(region, first, n) & 0xFFFF
            found = [await self.read(region, first + k) for k in range(n)]
            assert found == want.tolist(), (region, np.flatnonzero(want != found))
        if self.trainer is not None:
            registers = self.trainer.registers
            assert not int(dut.early.value)
            assert int(dut.live.lesson__classes.value) == registers.classes
            assert int(dut.learned.value) == self.trainer.label
            assert int(dut.finished.value) == self.trainer.finished

    async def load(self, magic: int) -> None:
        """A table for another network, and any values."""
        rng = np.random.default_rng(random.getrandbits(32))
        table = np.zeros(live.TABLE_BYTES, np.int64)
        self.loads += 1  # with whole groups of classes, or others
        table[0], table[live.LABEL] = magic, live.NO_LABEL
        table[live.CLASSES] = CLASSES - self.loads % 2
        self.tile = random.randrange(CONFIG.tiles - TOKEN_WORDS // CONFIG.lanes**2)
        for at, value in (
            (live.TILE, self.tile),
            (live.ADDRESS, random.randrange(TABLE - TOKENS)),
            (live.TARGET, random.randrange(TABLE - 16)),
        ):
            table[at : at + 2] = value & 0xFF, value >> 8
        if self.sensor:
            scaling = rng.integers(0, 256, 4 * CHANNELS)
        else:
            scale = rng.integers(20, 32, BANDS) << rng.integers(0, 8, BANDS)
            both = rng.integers(1000, 3000, BANDS) + (scale << 12)
            scaling = (both[:, None] >> 8 * np.arange(3) & 0xFF).ravel()
        table[live.SCALING : live.SCALING + len(scaling)] = scaling
        await self.access(Region.VALUE, 0, [*rng.integers(0, 256, TABLE).tolist(), *table.tolist()])

    # -- front end ---------------------------------------------------------------------------------
    async def press(self, label: int | None) -> None:
        """The learn button; None: a new class."""
        if label is None:
            self.model.press_long()
        else:
            self.model.press(label)
        if self.sensor:
            drive(self.dut, learn=1, label=label or 0)
        else:
            await self.strobe(learn=label is not None, new_class=label is None, label=label or 0)

    async def press_late(self, label: int) -> None:
        """A press in the cycle in which the controller takes the label of a word, for the next one."""
        for _ in range(3):  # MAGIC, CLASSES, LABEL
            await RisingEdge(self.dut.live.fetched)
        await RisingEdge(self.dut.clk)
        await self.press(label)

    async def push(self, word: Word) -> None:
        verdict = int(word.verdict)
        await self.strobe(word=1, first=word.first, last=word.last, peak=word.peak, verdict=verdict)
        await idle(self.dut, 3)

    async def readings(
        self, values: list[int], first: int = 0, last: int = SIZE, stuck: bool = False
    ) -> None:
        for k in range(first, last):
            await self.strobe(i_valid=1, index=k, value=values[k])
            await RisingEdge(self.dut.clk)
        if last == SIZE:
            await self.strobe(done=1, stuck=stuck)

    # -- answers -----------------------------------------------------------------------------------
    def hear(self, verdict: Verdict, codes: np.ndarray, *, lost: bool = False) -> bool:
        """The model's answer; whether the engine runs for it."""
        before = self.device.runs
        text = self.model.hear(verdict, codes, lost=lost)
        self.expected += text
        if text[:1] == b"C":
            self.prediction = int(text[1:])
        return self.device.runs > before

    def hear_word(self, word: Word, *, lost: bool = False) -> bool:
        return self.hear(word.verdict, codes_of(word.first, word.last), lost=lost)

    def lose(self) -> None:
        self.expected += live.answer("X", live.LOST)

    async def answers(self) -> None:
        while len(self.text) < len(self.expected):
            await with_timeout(self.dut.sent.value_change, TIMEOUT_US, "us")
            await RisingEdge(self.dut.clk)
        while self.trainer is not None and int(self.dut.finished.value) != self.trainer.finished & 0xFF:
            await with_timeout(self.dut.finished.value_change, TIMEOUT_US, "us")
            await RisingEdge(self.dut.clk)
        await idle(self.dut, 150)

    # -- samples -----------------------------------------------------------------------------------
    async def started(self, starts: int) -> None:
        """Wait for a run, which goes on until ``occupied`` is low."""
        while int(self.dut.engine_stub.starts.value) == starts:
            await with_timeout(self.dut.engine_stub.starts.value_change, TIMEOUT_US, "us")
            await RisingEdge(self.dut.clk)
        drive(self.dut, occupied=1)

    async def word(self, verdict: Verdict, more: int, frames: int, late: bool) -> bool:
        """A word; while it runs ``more`` of them and ``frames`` come, or before that a press.  Whether it
        runs.
        """
        queue = WordQueue()
        word = some_word(verdict, bench_config()["longest"])
        queue.push(word)
        starts = int(self.dut.engine_stub.starts.value)
        # no further round begins when the frames of the word may be overwritten
        if self.trainer is not None and frames >= STALE:
            self.trainer.registers.rounds = 1
        runs = self.hear_word(word)
        await self.push(word)
        if late:
            await self.press_late(5)
        if runs:
            await self.started(starts)
            for _ in range(more):
                kind = SAMPLE if frames == STALE else random.choice((SAMPLE, *Verdict))
                word = some_word(kind, SHORTEST)
                queue.push(word)
                await self.push(word)
            for _ in range(frames):
                queue.frame()
                await self.strobe(frame=1)
            drive(self.dut, occupied=0)
        followed = [queued.followed for queued in queue.words]
        for k, queued in enumerate(queue.words):
            if k:
                self.hear_word(queued.word, lost=queued.stale)
            if followed[k]:
                self.lose()
        await self.answers()
        return runs

    async def sample(self, stuck: bool, more: int, split: bool) -> bool:
        """A sample of a sensor; while it runs ``more`` of them come.  ``split``: the host keeps the engine
        until the second half of another one, which is lost.  Whether it runs.
        """
        starts = int(self.dut.engine_stub.starts.value)
        samples = [[random.randrange(256) for _ in range(SIZE)] for _ in range(1 + more)]
        verdict = Verdict.STUCK if stuck else Verdict.SAMPLE
        drive(self.dut, free=not split)
        runs = self.hear(verdict, np.array(samples[0]))
        await self.readings(samples[0], stuck=stuck)
        if split:
            lost = [random.randrange(256) for _ in range(SIZE)]
            await self.readings(lost, last=SIZE // 2)
            drive(self.dut, free=1)
            await self.answers()
            await self.readings(lost, first=SIZE // 2, stuck=not stuck)
            self.lose()
        elif runs:
            await self.started(starts)
            drive(self.dut, learn=0)
            for values in samples[1:]:
                await self.readings(values)
            drive(self.dut, occupied=0)
            if more:
                self.hear(Verdict.SAMPLE, np.array(samples[1]))
            if more > 1:
                self.lose()
        await self.answers()
        drive(self.dut, learn=0)
        return runs


#: table (early: without a program; invalid, new, same), label of the table, of the pins (-1: a new class),
#: verdict, further samples, frames, rounds of a lesson
Case = tuple[str, int | None, int | None, Verdict, int, int, int]
SAMPLE, STUCK = Verdict.SAMPLE, Verdict.STUCK
DIRECTED: list[Case] = [
    ("early", None, 1, SAMPLE, 0, 0, 0),
    ("early", None, None, STUCK, 0, 0, 0),
    ("invalid", 2, None, SAMPLE, 0, 0, 0),
    ("new", None, None, SAMPLE, 3, 0, 1),
    ("same", 6, None, SAMPLE, 1, STALE, 3),
    ("same", 4, None, STUCK, 0, 0, 1),
    ("new", CLASSES, None, SAMPLE, 0, 0, 1),
    ("same", None, CLASSES + 1, SAMPLE, 0, 0, 1),
    ("same", None, 6, SAMPLE, 2, STALE - 1, 3),
    ("same", 3, 0, SAMPLE, 0, 0, 2),
    ("same", None, None, SAMPLE, 0, 0, 2),
    ("new", None, KNOWN, SAMPLE, 0, 0, 2),
    ("same", None, -1, SAMPLE, 0, 0, 3),
    ("same", None, -1, SAMPLE, 0, 0, 0),
    ("same", None, -1, SAMPLE, 0, 0, 1),
    ("same", None, None, SAMPLE, 0, 0, 1),
    ("same", 2, None, SAMPLE, 0, 0, 0),
]


LATE = 9  #: a press while the label is taken


def random_case() -> Case:
    label = random.choice((None, None, *range(CLASSES + 1)))
    pins = random.choice((None, None, None, -1, *range(CLASSES + 1)))
    more, frames = random.randrange(4), random.choice((0, 1, STALE - 1, STALE, STALE + 3))
    verdict = random.choice((*[SAMPLE] * 5, *Verdict))
    table = random.choice(("same", "same", "new", "invalid"))
    return table, label, pins, verdict, more, frames, random.randrange(4)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def samples(dut: Any) -> None:
    kind = bench_config()["kind"]
    bench = LiveTestbench(dut, kind)
    await reset(dut, *bench_config()["inputs"])
    cocotb.start_soon(bench.receive())
    dut.live.serial.value = bench.model.serial = 60  # the number of an answer wraps soon
    drive(dut, free=1)
    cases = DIRECTED + [random_case() for _ in range(bench_config()["random"])]
    seen: set[bytes] = set()
    for n, (table, label, pins, verdict, more, frames, rounds) in enumerate(cases):
        drive(dut, hurry=n % 3 != 0)
        if table != "early":
            drive(dut, loaded=1)
            bench.device.engine.program = [object()]  # type: ignore[list-item]
        if table != "same":
            await bench.load(live.MAGIC ^ (0x10 if table == "invalid" else 0))
        if label is not None:
            await bench.access(Region.VALUE, TABLE + live.LABEL, [label])
        if bench.trainer is not None:
            fault = n % 5 == 0
            bench.trainer.registers.valid = int(rounds > 0)
            bench.trainer.registers.fault = Fault.REFUSED if fault else Fault.NONE
            bench.trainer.registers.rounds = rounds or 2  # not used: the network is a host's
            drive(dut, valid=rounds > 0, fault=fault, rounds=rounds or 2)
        if pins is not None and (pins >= 0 or kind == "lessons"):
            await bench.press(pins if pins >= 0 else None)
        before = len(bench.expected)
        if kind == "sensor":
            split = more == 1
            runs = await bench.sample(verdict is not SAMPLE, 0 if split else more, split)
        else:
            runs = await bench.word(verdict, more, frames, late=n == LATE)
        seen |= {bench.expected[k : k + 3] for k in range(before, len(bench.expected), live.ANSWER_BYTES)}
        await bench.compare(runs and kind != "sensor")
    kinds = {text if text[:1] == b"X" else text[:1] for text in seen}
    assert kinds >= {b"C", b"L", *(b"X%02d" % k for k in (STUCK, live.NO_NETWORK, live.NO_CLASS, live.LOST))}
