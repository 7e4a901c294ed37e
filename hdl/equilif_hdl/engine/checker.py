"""Program checker: the rules of :func:`equilif_golden.engine.isa.check`, on one 32-bit word after the other.

    word 0: op, mode, shift, src, count    operation exists, loops, shift           \\
    word 1: gain, operand                  threshold, learning rate                  }--> fault
    word 2: dst, n_dst, n_src              [ first + n > size ], one sum in two cycles /

The product of tiles is n_src additions of n_dst that stop at the first sum beyond the weights, so there
is no multiplier: up to 6 + 2 n_src cycles an instruction, one a word otherwise.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.lif import LEAKS
from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS
from equilif_golden.blocks.rate import RATE_SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import FIELDS, THRESHOLD_MAX, WALK, WORDS, Op


def _word_layout(word: int) -> data.StructLayout:
    """The fields of one of an instruction's words; none lies across two."""
    at, members = 0, {}
    for name, width, _ in FIELDS:
        if at // 32 == word:
            members[name] = width
        at += width
    assert sum(members.values()) == 32
    return data.StructLayout(members)


MEMORY = (Op.SOFTMAX, Op.RELAY)
THRESHOLDS = [1 << k for k in range(THRESHOLD_MAX.bit_length())]


class Checker(wiring.Component):
    """Members
    -------
    clear : In(1)
        Begin a program.
    word : In(32), step : In(1)
        Next word of the program; not while ``busy``.  ``word`` stays while ``busy``.
    busy : Out(1)
        From the cycle after a step until it is judged.
    fault : Out(1), index : Out
        The instruction ``index`` is at fault; nothing more is judged before ``clear``.  Without a fault,
        the number of instructions.
    closed : Out(1)
        The program may end here: its last instruction is an unconditional HALT outside any loop.
    """

    def __init__(self, config: EngineConfig):
        self.config = config
        self.most = config.program_words // WORDS
        super().__init__(
            {
                "clear": In(1),
                "word": In(32),
                "step": In(1),
                "busy": Out(1),
                "fault": Out(1),
                "index": Out(range(self.most + 1)),
                "closed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, width = self.config, {name: bits for name, bits, _ in FIELDS}
        first, second, third = (data.View(_word_layout(k), self.word) for k in range(WORDS))
        part, op, src, tile = Signal(range(WORDS)), Signal(4), Signal(width["src"]), Signal(16)
        depth, halts = Signal(range(cfg.loops + 1)), Signal()
        m.d.comb += self.closed.eq(halts & (depth == 0))

        def is_(value, *ops):
            return value.matches(*(int(o) for o in ops))

        # one adder and one comparator for all the ranges, in turn: `total` is a sum in one cycle and
        # compared in the next
        base, n, size = (
            Signal(16),
            Signal(width["n_dst"]),
            Signal(max(cfg.tiles, cfg.value_groups).bit_length()),
        )
        total, summed = Signal(17), Signal()
        outside, left = Signal(), Signal(width["n_src"])
        m.d.comb += outside.eq((total > size) | (n == 0))
        m.d.sync += summed.eq(0)

        def add(first, count, limit):
            m.d.comb += [self.busy.eq(1), base.eq(first), n.eq(count), size.eq(limit)]
            with m.If(~summed):
                m.d.sync += [total.eq(base + n), summed.eq(1)]

        walk, gather = is_(op, *WALK), is_(op, Op.GATHER)
        with m.FSM():
            with m.State("WORD"):
                with m.If(self.step & ~self.fault):
                    m.d.sync += part.eq(part + 1)
                    with m.Switch(part):
                        with m.Case(0):
                            bad = Signal()
                            repeat, next_ = is_(first.op, Op.REPEAT), is_(first.op, Op.NEXT)
                            m.d.comb += bad.eq(
                                (first.op > max(Op))
                                | (self.index == self.most)
                                | repeat & ((depth == cfg.loops) | (first.count == 0))
                                | next_ & (depth == 0)
                                | is_(first.op, Op.STEP) & ~first.shift.matches(*LEAKS)
                                | is_(first.op, Op.MEASURE) & ~first.shift.matches(*RATE_SHIFTS)
                                | is_(first.op, Op.LEARN) & ~first.shift.matches(*SHIFTS)
                                | self._of_memories(first)
                            )
                            m.d.sync += [
                                self.fault.eq(bad),
                                op.eq(first.op),
                                src.eq(first.src),
                                depth.eq(depth + repeat - next_),
                                halts.eq(is_(first.op, Op.HALT) & (first.mode == 0)),
                            ]
                        with m.Case(1):
                            m.d.sync += [
                                self.fault.eq(
                                    is_(op, Op.LEARN) & (second.gain > GAIN_MAX)
                                    | is_(op, Op.STEP) & ~second.gain.matches(*THRESHOLDS)
                                ),
                                tile.eq(second.operand),
                            ]
                        with m.Default():
                            m.d.sync += part.eq(0)
                            with m.If(is_(op, Op.HALT, Op.REPEAT, Op.NEXT)):
                                m.d.sync += self.index.eq(self.index + 1)
                            with m.Else():
                                m.next = "DESTINATION"
            with m.State("DESTINATION"):
                add(third.dst, third.n_dst, cfg.state_groups)
                with m.If(summed):
                    with m.If(outside & ~is_(op, Op.ARGMAX)):
                        m.d.sync += self.fault.eq(1)
                        m.next = "WORD"
                    with m.Elif(walk & ~is_(op, Op.NUDGE, *MEMORY)):
                        m.next = "GOOD"
                    with m.Else():
                        m.next = "SOURCE"
            with m.State("SOURCE"):
                add(src, Mux(walk, third.n_dst, third.n_src), Mux(gather, cfg.state_groups, cfg.value_groups))
                with m.If(summed):
                    m.d.sync += [left.eq(third.n_src), total.eq(tile)]
                    with m.If(outside):
                        m.d.sync += self.fault.eq(1)
                        m.next = "WORD"
                    with m.Elif(walk | is_(op, Op.ARGMAX)):
                        m.next = "GOOD"
                    with m.Else():
                        m.next = "TILES"
            with m.State("TILES"):
                add(total, third.n_dst, cfg.tiles)
                with m.If(summed):
                    m.d.sync += left.eq(left - 1)
                    with m.If(outside):
                        m.d.sync += self.fault.eq(1)
                        m.next = "WORD"
                    with m.Elif(left == 1):
                        m.next = "GOOD"
            with m.State("GOOD"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += self.index.eq(self.index + 1)
                m.next = "WORD"
        with m.If(self.clear):
            m.d.sync += [part.eq(0), self.fault.eq(0), self.index.eq(0), depth.eq(0), halts.eq(0)]
        return m

    def _of_memories(self, first):
        """Fault in what only engines with memories have."""
        if not self.config.softmax:
            return first.op.matches(*map(int, MEMORY)) | first.op.matches(int(Op.DRIVE), int(Op.LEARN)) & (
                first.mode != 0
            )
        return (first.op == Op.SOFTMAX) & ~first.shift.matches(*softmax.SHIFTS) | (
            first.op == Op.RELAY
        ) & ~first.shift.matches(*relay.SHIFTS)
