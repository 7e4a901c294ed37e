"""Bench for equilif_hdl.front_end.live, with memories and a run of the engine that takes as long as it likes.

State space: words of every verdict that end while a word is at work: none, one that waits, and more that are
lost; a word that waits until its frames are overwritten; labels of table and pins, valid or not; a host that
keeps the engine; a slow receiver of the answers.  Compares answers, their copy in the table, and labels.
Tokens and a real engine are compared in tests/front_end/test_live.py.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from equilif_golden.engine.config import EngineConfig
from equilif_golden.front_end import live
from equilif_golden.front_end.queue import STALE, WordQueue
from equilif_golden.front_end.segmentation import LONGEST, RING, SHORTEST, Verdict, Word
from equilif_hdl.engine.port import VALUE_REGION
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, idle, reset

CLASSES = 13
PREDICTIONS = (0, 9, 10, 12)
INPUTS = (
    "held loaded frame word first last peak verdict granted data learn label text__ready "
    "engine__mem_valid engine__mem_rdata engine__busy engine__prediction host__mem_write host__mem_region "
    "host__mem_addr host__mem_wdata host__mem_repeat host__mem_read host__start host__learn host__accumulate"
).split()


class Surroundings:
    """Engine, host, ring and receiver; all that the controller sees."""

    def __init__(self, dut: Any, config: EngineConfig):
        self.dut = dut
        self.table = live.table_first(config)
        self.memory: dict[int, int] = {}
        self.text = b""
        self.run = False  #: goes on until ``release``
        self.release = True
        self.learned = False
        self.prediction = 0

    async def cycles(self) -> None:
        dut = self.dut
        busy = granted = False
        held = 0
        reply = None
        while True:
            ready = random.random() < 0.3
            held = int(bool(held or random.random() < 0.02))
            drive(
                dut,
                text__ready=int(ready),
                held=held,
                granted=int(granted),
                data=random.randrange(256),
                engine__mem_valid=int(reply is not None),
                engine__mem_rdata=reply or 0,
                engine__busy=int(busy),
                engine__prediction=self.prediction,
            )
            await ReadOnly()
            reply = None
            if int(dut.hold.value) and held:
                address = int(dut.engine__mem_addr.value)
                if int(dut.engine__mem_region.value) == VALUE_REGION:
                    if int(dut.engine__mem_write.value):
                        self.memory[address] = int(dut.engine__mem_wdata.value)
                    if int(dut.engine__mem_read.value):
                        reply = self.memory.get(address, 0)
            if int(dut.engine__start.value):
                busy = True
                self.learned = bool(int(dut.engine__learn.value))
            elif busy and self.release:
                busy = False
            self.run = busy
            if ready and int(dut.text__valid.value):
                self.text += bytes([int(dut.text__payload.value)])
            granted = bool(int(dut.read.value))
            held &= int(dut.hold.value)
            await RisingEdge(dut.clk)


def some_word(verdict: Verdict) -> Word:
    first = random.randrange(RING)
    n = random.choice((SHORTEST, random.randint(SHORTEST, 20))) if verdict is Verdict.SAMPLE else LONGEST
    return Word(first, (first + n - 1) % RING, random.randrange(64, 256), 0, verdict)


async def push(dut: Any, word: Word) -> None:
    drive(dut, word=1, first=word.first, last=word.last, peak=word.peak, verdict=int(word.verdict))
    await RisingEdge(dut.clk)
    drive(dut, word=0, first=0, last=0, peak=0, verdict=0)
    await idle(dut, 3)


async def frame(dut: Any) -> None:
    drive(dut, frame=1)
    await RisingEdge(dut.clk)
    drive(dut, frame=0)
    await RisingEdge(dut.clk)


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def words(dut: Any) -> None:
    config = EngineConfig(**bench_config()["engine"])
    await reset(dut, *INPUTS)
    around = Surroundings(dut, config)
    cocotb.start_soon(around.cycles())
    seen: set[str] = set()
    serial = 0

    def label() -> int:
        return around.memory.get(around.table + live.LABEL, 0)

    for n in range(bench_config()["rounds"]):
        around.text = b""
        around.release = False
        around.prediction = random.choice(PREDICTIONS)
        loaded = n > 1
        drive(dut, loaded=int(n > 0))
        table = {0: live.MAGIC, live.CLASSES: CLASSES, live.LABEL: live.NO_LABEL} if loaded else {}
        by_pins = loaded and random.random() < 0.3
        chosen = random.choice((None, None, 0, 12, CLASSES)) if loaded else None
        if chosen is not None and not by_pins:
            table[live.LABEL] = chosen
        around.memory |= {around.table + at: value for at, value in table.items()}
        if chosen is not None and by_pins:
            drive(dut, learn=1, label=chosen)
            await RisingEdge(dut.clk)
            drive(dut, learn=0, label=0)
        queue = WordQueue()
        first = some_word(random.choice((*[Verdict.SAMPLE] * 5, *Verdict)))
        runs = loaded and first.verdict is Verdict.SAMPLE and chosen != CLASSES
        await push(dut, first)
        queue.push(first)
        if runs:
            while not around.run:
                await RisingEdge(dut.clk)
            for _ in range(random.randrange(4)):
                word = some_word(random.choice((Verdict.SAMPLE, *Verdict)))
                queue.push(word)
                await push(dut, word)
            for _ in range(random.choice((0, 1, STALE - 1, STALE, STALE + 3))):
                queue.frame()
                await frame(dut)
        around.release = True
        want = b""
        while queue.first is not None:
            at_work = queue.first
            verdict = at_work.word.verdict
            learns, chosen_now = chosen is not None, chosen
            if verdict is not Verdict.SAMPLE:
                letter, number = "X", int(verdict)
            elif not loaded:
                letter, number = "X", live.NO_NETWORK
            elif at_work.stale and at_work.word is not first:
                letter, number = "X", live.LOST
            else:
                chosen = None
                if chosen_now is None:
                    letter, number = "C", around.prediction
                elif chosen_now >= CLASSES:
                    letter, number = "X", live.NO_CLASS
                else:
                    letter, number = "L", chosen_now
            serial = serial % 63 + 1
            want += live.answer(letter, number)
            seen.add(f"{letter}{number}" if letter == "X" else letter)
            if at_work.followed:
                want += live.answer("X", live.LOST)
                seen.add("followed")
            queue.done()
            last = letter, number
            assert learns or letter != "L"
        while len(around.text) < len(want):
            await RisingEdge(dut.clk)
        await idle(dut, 20)
        assert around.text == want, (around.text, want)
        if loaded:
            number, kind = (around.memory[around.table + at] for at in (live.NUMBER, live.KIND))
            assert (live.LETTERS[kind & 3], number, kind >> live.KIND_BITS) == (*last, serial)
            assert label() == (live.NO_LABEL if chosen is None or by_pins else chosen)
        if chosen is not None and by_pins:  # the label of the pins stays: use it
            await push(dut, some_word(Verdict.SAMPLE))
            while len(around.text) < len(want) + live.ANSWER_BYTES:
                await RisingEdge(dut.clk)
            text = live.answer("X", live.NO_CLASS) if chosen == CLASSES else live.answer("L", chosen)
            assert around.text[len(want) :] == text
            await idle(dut, 20)
            serial = serial % 63 + 1
    assert seen == {"C", "L", "followed", *(f"X{k}" for k in range(1, live.LOST + 1))}
