"""Program checker: the rules of :func:`equilif_golden.engine.isa.check`, on one 32-bit word after the other.

    word 0: op, mode, shift, src, count    feature, loops, numbers                  \\
    word 1: gain, operand                  numbers                                   }--> fault
    word 2: dst, n_dst, n_src              [ first + n > size ], a sum in two cycles /

What a number may be, and which groups and tiles an operation goes through, comes from
equilif_golden.engine.isa.OPERATIONS.  The product of tiles is n_src additions of n_dst that stop at the
first sum beyond the weights, so there is no multiplier: up to 6 + 2 n_src cycles an instruction, one a
word otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

from amaranth import Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import has
from equilif_golden.engine.isa import FIELDS, OPERATIONS, WORDS, Memory, Number, Op, Operation, Span
from equilif_hdl.engine.isa import is_one_of

WIDTHS = {name: width for name, width, _ in FIELDS}


def _word_layout(word: int) -> data.StructLayout:
    """The fields of one of an instruction's words; none lies across two."""
    at = 0
    members = {}
    for name, width, _ in FIELDS:
        if at // 32 == word:
            members[name] = width
        at += width
    assert sum(members.values()) == 32
    return data.StructLayout(members)


def any_of(conditions: Iterable[Value]) -> Value:
    found: Value = Const(0)
    for condition in conditions:
        found = found | condition
    return found


def differs(value: Value, allowed: range | tuple[int, ...]) -> Value:
    """``value`` is none of ``allowed``.  A signed field may be anything, so its bits are never compared."""
    if len(allowed) == 1 << len(value):
        return Const(0)
    if isinstance(allowed, range) and allowed[0] == 0:
        return value > allowed[-1]
    if isinstance(allowed, range) and allowed[-1] == (1 << len(value)) - 1:
        return value < allowed[0]
    return ~value.matches(*allowed)


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

    clear: Signal
    word: Signal
    step: Signal
    busy: Signal
    fault: Signal
    index: Signal
    closed: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        self.most = config.program_words // WORDS
        #: operations that this engine has
        self.operations: dict[Op, Operation] = {
            op: o for op, o in OPERATIONS.items() if not o.feature or has(config, o.feature)
        }
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

    # -- from the table ----------------------------------------------------------------------------
    def _wrong_number(self, op: Value, fields: data.View[data.StructLayout]) -> Value:
        """A number among these fields is not what the operation allows."""
        return any_of(
            is_one_of(op, code) & differs(fields[operand.field], operand.allowed)
            for code, operation in self.operations.items()
            for operand in operation.operands.values()
            if isinstance(operand, Number) and operand.field in fields.shape().members
        )

    def _lacking(self, op: Value, mode: Value) -> Value:
        """The operation, or its modes, are not in this engine."""
        plain = [
            code for code, o in self.operations.items() if o.modes_need and not has(self.config, o.modes_need)
        ]
        # a code of 5 bits is another operation to an engine that has not its own
        absent = {op for op in OPERATIONS.keys() - self.operations.keys() if not op.fifth}
        return is_one_of(op, *absent) | is_one_of(op, *plain) & (mode != 0)

    def _spans(self, first: str) -> dict[Op, Span]:
        """Groups that begin at this field, by operation."""
        return {
            code: operand
            for code, operation in self.operations.items()
            for operand in operation.operands.values()
            if isinstance(operand, Span) and operand.first == first
        }

    def _size(self, op: Value, spans: dict[Op, Span]) -> Value:
        """Groups in the memory that the operation goes through."""
        values = [code for code, span in spans.items() if span.memory == Memory.VALUES]
        return Mux(is_one_of(op, *values), self.config.value_groups, self.config.state_groups)

    # ----------------------------------------------------------------------------------------------
    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second, third = (data.View(_word_layout(k), self.word) for k in range(WORDS))
        destinations = self._spans("dst")
        sources = self._spans("src")
        synaptic = [code for code, o in self.operations.items() if "tile" in o.operands]
        walked = [code for code, span in sources.items() if span.n == "n_dst"]

        part = Signal(range(WORDS))  # number of the word within its instruction
        op = Signal(WIDTHS["op"])
        src = Signal(WIDTHS["src"])
        tile = Signal(WIDTHS["operand"])
        depth = Signal(range(self.config.loops + 1))  # loops that are open
        halts = Signal()  # the last instruction is an unconditional HALT
        m.d.comb += self.closed.eq(halts & (depth == 0))

        # one adder and one comparator for all ranges, in turn: `total` is a sum in one cycle, and compared
        # with `size` in the next
        base = Signal(WIDTHS["operand"])
        n = Signal(WIDTHS["n_dst"])
        size = Signal(max(self.config.tiles, self.config.value_groups).bit_length())
        total = Signal(17)
        summed = Signal()  # `total` is that of this range
        outside = Signal()
        left = Signal(WIDTHS["n_src"])  # groups of the source whose tiles are not yet added
        m.d.comb += outside.eq((total > size) | (n == 0))
        m.d.sync += summed.eq(0)

        def add(start: Value, count: Value, limit: Value | int) -> None:
            m.d.comb += [self.busy.eq(1), base.eq(start), n.eq(count), size.eq(limit)]
            with m.If(~summed):
                m.d.sync += [total.eq(base + n), summed.eq(1)]

        def refuse() -> None:
            m.d.sync += self.fault.eq(1)
            m.next = "WORD"

        with m.FSM():
            with m.State("WORD"):
                with m.If(self.step & ~self.fault):
                    m.d.sync += part.eq(part + 1)
                    with m.Switch(part):
                        with m.Case(0):
                            repeat = is_one_of(first.op, Op.REPEAT)
                            next_ = is_one_of(first.op, Op.NEXT)
                            m.d.sync += [
                                self.fault.eq(
                                    (self.index == self.most)
                                    | repeat & (depth == self.config.loops)
                                    | next_ & (depth == 0)
                                    | self._lacking(first.op, first.mode)
                                    | self._wrong_number(first.op, first)
                                ),
                                op.eq(first.op),
                                src.eq(first.src),
                                depth.eq(depth + repeat - next_),
                                halts.eq(is_one_of(first.op, Op.HALT) & (first.mode == 0)),
                            ]
                        with m.Case(1):
                            m.d.sync += [
                                self.fault.eq(self._wrong_number(op, second)),
                                tile.eq(second.operand),
                            ]
                        with m.Default():
                            m.d.sync += part.eq(0)
                            with m.If(is_one_of(op, *destinations, *sources)):
                                m.next = "DESTINATION"
                            with m.Else():
                                m.d.sync += self.index.eq(self.index + 1)
            with m.State("DESTINATION"):
                add(third.dst, third.n_dst, self._size(op, destinations))
                with m.If(summed):
                    with m.If(outside & is_one_of(op, *destinations)):
                        refuse()
                    with m.Elif(is_one_of(op, *sources)):
                        m.next = "SOURCE"
                    with m.Else():
                        m.next = "GOOD"
            with m.State("SOURCE"):
                add(src, Mux(is_one_of(op, *walked), third.n_dst, third.n_src), self._size(op, sources))
                with m.If(summed):
                    m.d.sync += [left.eq(third.n_src), total.eq(tile)]
                    with m.If(outside):
                        refuse()
                    with m.Elif(is_one_of(op, *synaptic)):
                        m.next = "TILES"
                    with m.Else():
                        m.next = "GOOD"
            with m.State("TILES"):
                add(total, third.n_dst, self.config.tiles)
                with m.If(summed):
                    m.d.sync += left.eq(left - 1)
                    with m.If(outside):
                        refuse()
                    with m.Elif(left == 1):
                        m.next = "GOOD"
            with m.State("GOOD"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += self.index.eq(self.index + 1)
                m.next = "WORD"
        with m.If(self.clear):
            m.d.sync += [part.eq(0), self.fault.eq(0), self.index.eq(0), depth.eq(0), halts.eq(0)]
        return m
