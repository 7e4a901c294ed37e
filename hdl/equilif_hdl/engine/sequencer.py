"""Sequencer: reads the program, carries out loops and halts itself, and hands everything else on.

    program memory --3 words--> [ next instruction ] -- REPEAT, NEXT, HALT, MARK not due: here
                                        |
                                        +--> o: instructions for scanner, walker and lanes

Fetch is one instruction ahead of execution; a NEXT of mode EARLY waits until all is executed, and decides
by what has moved. Throughput: an instruction in 5 cycles.  Latency: 5 cycles from start to the first one.
"""

from __future__ import annotations

from itertools import pairwise

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import EARLY, INFER, WORDS, Op
from equilif_hdl.engine.isa import INSTRUCTION


class Sequencer(wiring.Component):
    """Members
    -------
    start, learn : In(1)
        Run from instruction 0; ``learn`` is sampled with start.
    idle : In(1)
        Nothing is being executed: a HALT takes effect, and a NEXT of mode EARLY.
    moved : In(1)
        Where phases may end early: a watched rate has moved; not while ``idle``.
    busy : Out(1)
        From the cycle after start until HALT.
    addr, read, word : Out, Out, In(32)
        Program memory, answering in the next cycle and holding the answer until the next read.
    o : Out(stream of INSTRUCTION)
    """

    latency = 5

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "learn": In(1),
                "idle": In(1),
                **({"moved": In(1)} if config.early else {}),
                "busy": Out(1),
                "addr": Out(range(config.program_words)),
                "read": Out(1),
                "word": In(32),
                "o": Out(stream.Signature(INSTRUCTION)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        o = self.o
        learning = Signal()
        pc = Signal.like(self.addr)
        # (start, iterations left) of the loops, innermost first; outside all loops none are left
        loops = [
            (Signal.like(self.addr, name=f"loop{k}"), Signal(9, name=f"remaining{k}"))
            for k in range(self.config.loops)
        ]
        loop, remaining = loops[0]
        words = Signal(32 * (WORDS - 1), reset_less=True)
        fresh = Signal(INSTRUCTION)
        m.d.comb += [self.addr.eq(pc), fresh.as_value().eq(Cat(words, self.word)), o.p.eq(fresh)]
        if self.config.early:
            early, moved = fresh.mode[EARLY.bit_length() - 1], Signal()
            with m.If(self.moved):
                m.d.sync += moved.eq(1)

        def end_of_loop(last, again):
            m.d.sync += remaining.eq(remaining - 1)
            with m.If(again):
                m.d.sync += pc.eq(loop)
            for (start, left), (outer_start, outer_left) in pairwise(loops):
                with m.If(last):
                    m.d.sync += [start.eq(outer_start), left.eq(outer_left), outer_left.eq(0)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [pc.eq(0), learning.eq(self.learn), *(left.eq(0) for _, left in loops)]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "FETCH0"
                if self.config.early:
                    m.d.sync += moved.eq(0)
            for k in range(WORDS):
                with m.State(f"FETCH{k}"):
                    m.d.comb += self.read.eq(1)
                    m.d.sync += [pc.eq(pc + 1), words.eq(Cat(words[32:], self.word))]
                    m.next = f"FETCH{k + 1}"
            with m.State(f"FETCH{WORDS}"):
                m.next = "FETCH0"
                with m.Switch(fresh.op):
                    with m.Case(Op.HALT):
                        with m.If(~(fresh.mode[INFER.bit_length() - 1] & learning)):
                            m.next = "HALT"
                    with m.Case(Op.REPEAT):
                        for (start, left), (outer_start, outer_left) in pairwise(loops):
                            m.d.sync += [outer_start.eq(start), outer_left.eq(left)]
                        m.d.sync += [loop.eq(pc), remaining.eq(fresh.count)]
                    with m.Case(Op.NEXT):
                        if self.config.early:
                            last = (remaining == 1) | early & ~moved & (remaining <= fresh.count)
                            with m.If(early & ~self.idle):
                                m.next = f"FETCH{WORDS}"
                            with m.Else():
                                end_of_loop(last, ~last)
                                with m.If(early):
                                    m.d.sync += moved.eq(0)
                        else:
                            end_of_loop(remaining == 1, remaining != 1)
                    with m.Case(Op.MARK):
                        with m.If((fresh.count == 0) | (fresh.count == remaining)):
                            m.next = "ISSUE"
                    with m.Default():
                        m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += o.valid.eq(1)
                with m.If(o.ready):
                    m.next = "FETCH0"
            with m.State("HALT"):
                with m.If(self.idle):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        return m
