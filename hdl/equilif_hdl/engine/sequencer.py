"""Sequencer: reads the program, carries out loops and halts itself, and hands everything else on.

    program memory --3 words--> [ next instruction ] -- REPEAT, NEXT, HALT, MARK not due: here
                                        |
                                        +--> o: instructions for scanner, walker and lanes

Fetch is one instruction ahead of execution; a NEXT of mode EARLY waits until all is executed, and decides
by what has moved.  Latency: 5 cycles from start to the first instruction.  Throughput: an instruction in 5
cycles.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from amaranth import Cat, Module, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, HaltMode, NextMode, Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, has_mode
from equilif_hdl.engine.stages import Told
from equilif_hdl.typed import Stream, signal_of


class Loop(NamedTuple):
    """A REPEAT that is under way."""

    #: address of its first word
    first: Signal
    #: iterations left, this one included
    left: Signal

    @classmethod
    def of(cls, addr: Signal, k: int) -> Loop:
        return cls(Signal.like(addr, name=f"first_{k}"), Signal(9, name=f"left_{k}"))


class Sequencer(wiring.Component):
    """Members
    -------
    start : In(1)
        Run from instruction 0.
    learn : In(1)
        With ``start``: a HALT of mode INFER does not count.
    idle : In(1)
        Nothing is being executed: a HALT takes effect, and a NEXT of mode EARLY.
    told : In(Told)
        By the lanes; not while ``idle``.
    busy : Out(1)
        From the cycle after start until HALT.
    addr, read, word : Out, Out(1), In(32)
        Program memory, answering in the next cycle and holding the answer until the next read.
    o : Out(stream of INSTRUCTION)
    """

    start: Signal
    learn: Signal
    idle: Signal
    told: Told.Members
    busy: Signal
    addr: Signal
    read: Signal
    word: Signal
    o: Stream[Instruction]

    latency = 5

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "learn": In(1),
                "idle": In(1),
                "told": In(Told(config)),
                "busy": Out(1),
                "addr": Out(range(config.program_words)),
                "read": Out(1),
                "word": In(32),
                "o": Out(stream.Signature(INSTRUCTION)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        learning = Signal()
        pc = Signal.like(self.addr)  # address of the next word
        words = Signal(32 * (WORDS - 1), reset_less=True)  # words of the instruction, but its last
        fresh = signal_of(INSTRUCTION)  # the instruction, once its last word is there
        early = Signal()  # the instruction is a NEXT that may end its loop early
        moved = Signal()  # a watched rate has moved since the last such NEXT
        # loops, innermost first; outside all loops no iterations are left
        loops = [Loop.of(self.addr, k) for k in range(cfg.loops)]
        inner = loops[0]
        m.d.comb += [
            self.addr.eq(pc),
            fresh.as_value().eq(Cat(words, self.word)),
            self.o.p.eq(fresh),
        ]
        if cfg.early:
            m.d.comb += early.eq(has_mode(fresh, NextMode.EARLY))
            with m.If(self.told.moved):
                m.d.sync += moved.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [pc.eq(0), learning.eq(self.learn), moved.eq(0)]
                m.d.sync += [loop.left.eq(0) for loop in loops]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "FETCH0"
            for k in range(WORDS):
                with m.State(f"FETCH{k}"):
                    m.d.comb += self.read.eq(1)
                    m.d.sync += [pc.eq(pc + 1), words.eq(Cat(words[32:], self.word))]
                    m.next = f"FETCH{k + 1}"
            with m.State(f"FETCH{WORDS}"):
                m.next = "FETCH0"
                with m.Switch(fresh.op):
                    with m.Case(Op.HALT):
                        with m.If(~(has_mode(fresh, HaltMode.INFER) & learning)):
                            m.next = "HALT"
                    with m.Case(Op.REPEAT):
                        for loop, outer in pairwise(loops):
                            m.d.sync += [outer.first.eq(loop.first), outer.left.eq(loop.left)]
                        m.d.sync += [inner.first.eq(pc), inner.left.eq(fresh.count)]
                    with m.Case(Op.NEXT):
                        with m.If(early & ~self.idle):
                            m.next = f"FETCH{WORDS}"
                        with m.Else():
                            settled = early & ~moved & (inner.left <= fresh.count)
                            self._end_iteration(m, pc, loops, (inner.left == 1) | settled)
                            with m.If(early):
                                m.d.sync += moved.eq(0)
                    with m.Case(Op.MARK):
                        with m.If((fresh.count == 0) | (fresh.count == inner.left)):
                            m.next = "ISSUE"
                    with m.Default():
                        m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "FETCH0"
            with m.State("HALT"):
                with m.If(self.idle):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        return m

    def _end_iteration(self, m: Module, pc: Signal, loops: list[Loop], last: Value) -> None:
        """Once more, or out of the innermost loop."""
        inner = loops[0]
        m.d.sync += inner.left.eq(inner.left - 1)
        with m.If(~last):
            m.d.sync += pc.eq(inner.first)
        with m.Else():
            for loop, outer in pairwise(loops):
                m.d.sync += [loop.first.eq(outer.first), loop.left.eq(outer.left), outer.left.eq(0)]
