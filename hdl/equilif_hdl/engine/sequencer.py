"""Sequencer: reads the program, carries out loops and halts itself, and hands everything else on.

    program memory --word--> [ instruction ] -- REPEAT, NEXT, HALT, MARK not due: here
                                     |
                                     +--> [ queue ] --> o: instructions for scanner, walker and lanes

Fetch runs ahead of execution: by an instruction, and by ``registers.queue`` more; the first of these waits in
the dispatcher.  A NEXT of mode EARLY_EXIT waits until all is executed, and
decides by what has moved.  Latency: 5 cycles from start to the first instruction.  Throughput: an
instruction in 3 cycles; the first one of an iteration comes 5 cycles after NEXT.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS, HaltMode, NextMode, Op
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, has_mode
from equilif_hdl.engine.stages import LaneStatus
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
        Nothing is being executed: a HALT takes effect, and a NEXT of mode EARLY_EXIT.
    status : In(LaneStatus)
        By the lanes; not while ``idle``.
    busy : Out(1)
        From the cycle after start until HALT.
    addr, read, word : Out, Out(1), In(32)
        Program memory, answering in the next cycle and holding the answer until the next read.
    o : Out(stream of INSTRUCTION)
        With a queue, the first in it, or else what would go into it.
    """

    start: Signal
    learn: Signal
    idle: Signal
    status: LaneStatus.Members
    busy: Signal
    addr: Signal
    read: Signal
    word: Signal
    o: Stream[Instruction]

    #: cycles from start to the first instruction
    latency = 5

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "learn": In(1),
                "idle": In(1),
                "status": In(LaneStatus(config)),
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
        running = Signal()  # the program is read
        pc = Signal.like(self.addr)  # address of the next word
        here = Signal()  # a word is on the memory's output
        place = Signal.like(self.addr)  # address of that word
        taken = Signal()  # that word is taken
        have = Signal(range(WORDS + 1))  # words of the instruction that have been taken
        words = Signal(32 * WORDS, reset_less=True)
        ins = signal_of(INSTRUCTION)  # the instruction, once all of its words are there
        valid = Signal()  # it is handed on
        ready = Signal()  # it can be
        done = Signal()  # it is handed on, or carried out
        jump = Signal()  # the word on the memory's output is not what follows
        idle = Signal()  # all that was handed on has been executed
        # loops, innermost first; outside all loops no iterations are left
        loops = [Loop.of(self.addr, k) for k in range(cfg.loops)]
        inner = loops[0]
        # asked while the last word is taken, when the count is there and the loop stands still
        last = Signal()  # this iteration is the last one
        enough = Signal()  # no more are left than a NEXT of mode EARLY_EXIT need not wait for
        due = Signal()  # a MARK is
        early_exit = Signal()  # the instruction is a NEXT that may end its loop early
        moved = Signal()  # a watched rate has moved since the last such NEXT
        m.d.comb += [
            self.addr.eq(pc),
            self.read.eq(running & (~here | taken)),
            taken.eq(here & ((have != WORDS) | done)),
            ins.as_value().eq(words),
        ]
        with m.If(self.read):
            m.d.sync += [pc.eq(pc + 1), place.eq(pc)]
        coming = signal_of(INSTRUCTION)  # the instruction, with the word that is taken
        m.d.comb += coming.as_value().eq(Cat(words[32:], self.word))
        with m.If(taken):
            m.d.sync += [
                words.eq(coming),
                last.eq(inner.left == 1),
                enough.eq(inner.left <= coming.count),
                due.eq((coming.count == 0) | (coming.count == inner.left)),
            ]
        m.d.sync += [
            here.eq(~jump & (self.read | here & ~taken)),
            have.eq(Mux(jump, 0, Mux(done, 0, have) + taken)),
        ]
        self._hand_on(m, ins, valid, ready, idle)
        if cfg.early_exit:
            m.d.comb += early_exit.eq(has_mode(ins, NextMode.EARLY_EXIT))
            with m.If(self.status.moved):
                m.d.sync += moved.eq(1)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += jump.eq(1)
                m.d.sync += [pc.eq(0), learning.eq(self.learn), moved.eq(0)]
                m.d.sync += [loop.left.eq(0) for loop in loops]
                with m.If(self.start):
                    m.d.sync += self.busy.eq(1)
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += running.eq(1)
                with m.If(have == WORDS):
                    with m.Switch(ins.op):
                        with m.Case(Op.HALT):
                            m.d.comb += done.eq(1)
                            with m.If(~(has_mode(ins, HaltMode.INFER) & learning)):
                                m.next = "HALT"
                        with m.Case(Op.REPEAT):
                            m.d.comb += done.eq(1)
                            for loop, outer in pairwise(loops):
                                m.d.sync += [outer.first.eq(loop.first), outer.left.eq(loop.left)]
                            m.d.sync += [inner.first.eq(place), inner.left.eq(ins.count)]
                        with m.Case(Op.NEXT):
                            with m.If(~early_exit | idle):
                                m.d.comb += done.eq(1)
                                self._end_iteration(m, pc, jump, loops, last | early_exit & ~moved & enough)
                                with m.If(early_exit):
                                    m.d.sync += moved.eq(0)
                        with m.Case(Op.MARK):
                            m.d.comb += [valid.eq(due), done.eq(ready | ~due)]
                        with m.Default():
                            m.d.comb += [valid.eq(1), done.eq(ready)]
            with m.State("HALT"):
                with m.If(idle):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        return m

    def _hand_on(self, m: Module, ins: Instruction, valid: Signal, ready: Signal, idle: Signal) -> None:
        """Instructions, to the queue or straight to who executes them."""
        if not self.config.registers.queue:
            m.d.comb += [
                self.o.p.eq(ins),
                self.o.valid.eq(valid),
                ready.eq(self.o.ready),
                idle.eq(self.idle),
            ]
            return
        m.submodules.queue = queue = fifo.SyncFIFO(width=32 * WORDS, depth=self.config.registers.queue - 1)
        m.d.comb += [
            self.o.p.as_value().eq(Mux(queue.r_rdy, queue.r_data, ins)),
            self.o.valid.eq(queue.r_rdy | valid),
            queue.r_en.eq(self.o.ready),
            queue.w_data.eq(ins),
            queue.w_en.eq(valid & (queue.r_rdy | ~self.o.ready)),
            ready.eq(queue.w_rdy),
            idle.eq(self.idle & ~queue.r_rdy),
        ]

    def _end_iteration(self, m: Module, pc: Signal, jump: Signal, loops: list[Loop], last: Value) -> None:
        """Once more, or out of the innermost loop."""
        inner = loops[0]
        m.d.sync += inner.left.eq(inner.left - 1)
        with m.If(~last):
            m.d.comb += jump.eq(1)
            m.d.sync += pc.eq(inner.first)
        with m.Else():
            for loop, outer in pairwise(loops):
                m.d.sync += [loop.first.eq(outer.first), loop.left.eq(outer.left), outer.left.eq(0)]
