"""Bench for equilif_hdl.front_end.queue.

State space: words and ends of words in random order and in the same cycle, frames between them, so that words
are lost, wait until they are stale, and pass at once.  Compares the word at work after every cycle.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, Timer

from equilif_golden.front_end.queue import STALE, WordQueue
from equilif_golden.front_end.segmentation import RING, Verdict, Word
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, reset

#: probabilities of a frame in a cycle, and of a word in another one
RATES = (0.1, 0.1), (0.9, 0.5), (0.9, 0.1), (0.3, 0.4)
#: probabilities of the end of a word at work in a cycle
ENDS = (0.5, 0.1, 0.03, 0.005)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def words(dut: Any) -> None:
    await reset(dut, "frame", "word", "first", "last", "peak", "verdict", "done")
    golden = WordQueue()
    seen = set()
    done = ENDS[0]
    for _ in range(bench_config()["phases"]):
        frame, word = random.choice(RATES)
        for _ in range(3 * STALE):
            is_frame = random.random() < frame
            is_word = not is_frame and random.random() < word
            is_done = golden.first is not None and random.random() < done
            first, last = random.randrange(RING), random.randrange(RING)
            new = Word(first, last, random.randrange(256), 0, random.choice(list(Verdict)))
            drive(
                dut,
                frame=int(is_frame),
                word=int(is_word),
                first=new.first,
                last=new.last,
                peak=new.peak,
                verdict=int(new.verdict),
                done=int(is_done),
            )
            await RisingEdge(dut.clk)
            if is_frame:
                golden.frame()
            if is_done:
                golden.done()
                done = random.choice(ENDS)
            if is_word:
                golden.push(new)
            await Timer(1, unit="ns")
            assert int(dut.valid.value) == (golden.first is not None)
            if golden.first is None:
                continue
            found = tuple(int(getattr(dut, f"o_{n}").value) for n in ("first", "last", "peak", "verdict"))
            at_work = golden.first.word
            assert found == (at_work.first, at_work.last, at_work.peak, at_work.verdict)
            flags = int(dut.stale.value), int(dut.followed.value)
            assert flags == (golden.first.stale, golden.first.followed)
            seen.add((*flags, is_word, is_done))
    assert {f[:2] for f in seen} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert any(f[2] and f[3] for f in seen)
