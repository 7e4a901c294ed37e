"""Sequencer: fetches the program, executes loops and HALT, and issues all other instructions.

    program memory --word--> [ instruction ] -- REPEAT, NEXT, HALT, MARK not due: executed here
                                     |
                                     +--> [ queue ] --> o: instructions for scanner, walker and lanes

Fetch runs ahead of execution by one instruction, and by ``registers.queue`` more, the first of which is in
the dispatcher.  A NEXT of mode EARLY_EXIT waits until the engine is idle, and depends on ``status.moved``.
Latency: 5 cycles from start to the first instruction.  Throughput: an instruction in 3 cycles; the first
instruction of an iteration comes 5 cycles after NEXT.
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
    """Registers of an active REPEAT."""

    #: address of the first word of its body
    first: Signal
    #: iterations left, including the current one
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
        With ``start``: HALT of mode INFER is ignored.
    idle : In(1)
        No instruction is executing; HALT, and NEXT of mode EARLY_EXIT, wait for it.
    status : In(LaneStatus)
        Status signals of the lanes; inactive while ``idle``.
    busy : Out(1)
        From the cycle after start until HALT.
    addr, read, word : Out, Out(1), In(32)
        Program memory: the word is valid from the next cycle until the next read.
    o : Out(stream of INSTRUCTION)
        The oldest instruction in the queue, or the current one if the queue is empty.
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
        word_valid = Signal()  # a word is at the memory output
        word_addr = Signal.like(self.addr)  # address of that word
        take_word = Signal()  # that word is consumed
        num_words = Signal(range(WORDS + 1))  # words of the instruction that are complete
        words = Signal(32 * WORDS, reset_less=True)
        ins = signal_of(INSTRUCTION)  # the instruction, once all its words are complete
        valid = Signal()  # it is issued
        ready = Signal()  # it can be issued
        done = Signal()  # it is issued, or executed here
        jump = Signal()  # the word at the memory output is not the next one
        idle = Signal()  # all issued instructions are finished
        # loops, innermost first; unused ones have no iterations left
        loops = [Loop.of(self.addr, k) for k in range(cfg.loops)]
        inner = loops[0]
        # decided with the last word of an instruction, while the loop counters are stable
        last = Signal()  # this is the last iteration
        few_left = Signal()  # few enough iterations are left for a NEXT of mode EARLY_EXIT to end the loop
        mark_due = Signal()  # a MARK executes in this iteration
        early_exit = Signal()  # a NEXT that may leave its loop early
        moved = Signal()  # a watched rate has moved since the last such NEXT
        m.d.comb += [
            self.addr.eq(pc),
            self.read.eq(running & (~word_valid | take_word)),
            take_word.eq(word_valid & ((num_words != WORDS) | done)),
            ins.as_value().eq(words),
        ]
        with m.If(self.read):
            m.d.sync += [pc.eq(pc + 1), word_addr.eq(pc)]
        next_ins = signal_of(INSTRUCTION)  # the instruction including the current word
        m.d.comb += next_ins.as_value().eq(Cat(words[32:], self.word))
        with m.If(take_word):
            m.d.sync += [
                words.eq(next_ins),
                last.eq(inner.left == 1),
                few_left.eq(inner.left <= next_ins.count),
                mark_due.eq((next_ins.count == 0) | (next_ins.count == inner.left)),
            ]
        m.d.sync += [
            word_valid.eq(~jump & (self.read | word_valid & ~take_word)),
            num_words.eq(Mux(jump, 0, Mux(done, 0, num_words) + take_word)),
        ]
        self._output(m, ins, valid, ready, idle)
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
                with m.If(num_words == WORDS):
                    with m.Switch(ins.op):
                        with m.Case(Op.HALT):
                            m.d.comb += done.eq(1)
                            with m.If(~(has_mode(ins, HaltMode.INFER) & learning)):
                                m.next = "HALT"
                        with m.Case(Op.REPEAT):
                            m.d.comb += done.eq(1)
                            for loop, outer in pairwise(loops):
                                m.d.sync += [outer.first.eq(loop.first), outer.left.eq(loop.left)]
                            m.d.sync += [inner.first.eq(word_addr), inner.left.eq(ins.count)]
                        with m.Case(Op.NEXT):
                            with m.If(~early_exit | idle):
                                m.d.comb += done.eq(1)
                                self._end_iteration(m, pc, jump, loops, last | early_exit & ~moved & few_left)
                                with m.If(early_exit):
                                    m.d.sync += moved.eq(0)
                        with m.Case(Op.MARK):
                            m.d.comb += [valid.eq(mark_due), done.eq(ready | ~mark_due)]
                        with m.Default():
                            m.d.comb += [valid.eq(1), done.eq(ready)]
            with m.State("HALT"):
                with m.If(idle):
                    m.d.sync += self.busy.eq(0)
                    m.next = "IDLE"
        return m

    def _output(self, m: Module, ins: Instruction, valid: Signal, ready: Signal, idle: Signal) -> None:
        """Issue instructions, through the queue if there is one."""
        if not self.config.registers.queue:
            m.d.comb += [
                self.o.p.eq(ins),
                self.o.valid.eq(valid),
                ready.eq(self.o.ready),
                idle.eq(self.idle),
            ]
            return
        m.submodules.queue = queue = fifo.SyncFIFO(width=32 * WORDS, depth=self.config.registers.queue - 1)
        has_space = Signal(init=1)  # counted, as it decides in each cycle whether the fetch goes on
        has_item = Signal()
        adds = queue.w_en & has_space
        takes = self.o.ready & has_item
        with m.If(adds & ~takes):
            m.d.sync += [has_space.eq(queue.w_level != queue.depth - 1), has_item.eq(1)]
        with m.If(takes & ~adds):
            m.d.sync += [has_space.eq(1), has_item.eq(queue.w_level != 1)]
        m.d.comb += [
            self.o.p.as_value().eq(Mux(has_item, queue.r_data, ins)),
            self.o.valid.eq(has_item | valid),
            queue.r_en.eq(self.o.ready),
            queue.w_data.eq(ins),
            queue.w_en.eq(valid & (has_item | ~self.o.ready)),
            ready.eq(has_space),
            idle.eq(self.idle & ~has_item),
        ]

    def _end_iteration(self, m: Module, pc: Signal, jump: Signal, loops: list[Loop], last: Value) -> None:
        """Jump back, or leave the innermost loop."""
        inner = loops[0]
        m.d.sync += inner.left.eq(inner.left - 1)
        with m.If(~last):
            m.d.comb += jump.eq(1)
            m.d.sync += pc.eq(inner.first)
        with m.Else():
            for loop, outer in pairwise(loops):
                m.d.sync += [loop.first.eq(outer.first), loop.left.eq(outer.left), outer.left.eq(0)]
