"""Queue of words; bit-exact with equilif_golden.front_end.queue.

    word --> waiting --> at work --> Live

Latency from ``word`` to ``valid``: 1 cycle.
"""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.queue import STALE
from equilif_golden.front_end.segmentation import RING, Verdict

ENTRY = data.StructLayout(
    {
        "first": range(RING),
        "last": range(RING),
        "peak": 8,
        "verdict": range(len(Verdict)),
        "age": range(STALE + 1),
    }
)


class WordQueue(wiring.Component):
    """Members
    -------
    frame : In(1)
        Strobe: a frame, some cycles before the word that ends in it.
    word, first, last, peak, verdict
        Of equilif_hdl.front_end.segmentation.Segmentation.
    valid : Out(1)
        A word is at work.
    o_first, o_last, o_peak, o_verdict : Out
        The word at work.
    stale, followed : Out(1)
        Its frames are overwritten; words after it were lost.
    done : In(1)
        Strobe: the word at work is finished.
    """

    frame: Signal
    word: Signal
    first: Signal
    last: Signal
    peak: Signal
    verdict: Signal
    valid: Signal
    o_first: Signal
    o_last: Signal
    o_peak: Signal
    o_verdict: Signal
    stale: Signal
    followed: Signal
    done: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "frame": In(1),
                "word": In(1),
                "first": In(range(RING)),
                "last": In(range(RING)),
                "peak": In(8),
                "verdict": In(range(len(Verdict))),
                "valid": Out(1),
                "o_first": Out(range(RING)),
                "o_last": Out(range(RING)),
                "o_peak": Out(8),
                "o_verdict": Out(range(len(Verdict))),
                "stale": Out(1),
                "followed": Out(1),
                "done": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        work = data.View(ENTRY, Signal(ENTRY, name="work"))
        waiting = data.View(ENTRY, Signal(ENTRY, name="waiting"))
        waits = Signal()
        new = data.View(ENTRY, Signal(ENTRY, name="new"))
        m.d.comb += [
            new.first.eq(self.first),
            new.last.eq(self.last),
            new.peak.eq(self.peak),
            new.verdict.eq(self.verdict),
            new.age.eq(0),
            self.o_first.eq(work.first),
            self.o_last.eq(work.last),
            self.o_peak.eq(work.peak),
            self.o_verdict.eq(work.verdict),
            self.stale.eq(work.age == STALE),
        ]
        lost = Signal()  # words after the waiting one
        with m.If(self.frame):
            with m.If(work.age != STALE):
                m.d.sync += work.age.eq(work.age + 1)
            with m.If(waiting.age != STALE):
                m.d.sync += waiting.age.eq(waiting.age + 1)
        with m.If(self.done | ~self.valid):
            m.d.sync += [
                work.eq(waiting),
                self.valid.eq(waits),
                self.followed.eq(lost),
                waits.eq(0),
                lost.eq(0),
            ]
            with m.If(self.frame & (waiting.age != STALE)):
                m.d.sync += work.age.eq(waiting.age + 1)
            with m.If(self.word & ~waits):
                m.d.sync += [work.eq(new), self.valid.eq(1)]
            with m.If(self.word & waits):
                m.d.sync += [waiting.eq(new), waits.eq(1)]
        with m.Elif(self.word):
            m.d.sync += waits.eq(1)
            with m.If(waits):
                m.d.sync += lost.eq(1)
            with m.Else():
                m.d.sync += waiting.eq(new)
        return m
