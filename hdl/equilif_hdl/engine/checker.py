"""Program checker: the rules of :func:`equilif_golden.engine.isa.check`, on one 32-bit word after the other.

    word 0: op, mode, shift, src, count    feature, loops, numbers                  \\
    word 1: gain, operand                  numbers                                   }--> fault
    word 2: dst, n_dst, n_src              [ first + n > size ], a sum in two cycles /

What a number may be, and which groups and tiles an operation goes through, comes from
equilif_golden.engine.isa.OPERATIONS.  The product of tiles is n_src additions of n_dst that stop at the
first sum beyond the weights, so there is no multiplier: up to 6 + 2 n_src cycles an instruction, one a
word otherwise.  Convolutions have one: up to 24 cycles behind CONVOLVE.
"""

from __future__ import annotations

from collections.abc import Iterable

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import has
from equilif_golden.engine.isa import (
    FIELDS,
    FIFTH,
    OPERATIONS,
    WORDS,
    Memory,
    Number,
    Op,
    Operation,
    SourceMode,
    Span,
)

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


def among(op: Value, *ops: Op) -> Value:
    """``op`` is one of these; it has five bits where there are codes of five."""
    return op.matches(*map(int, ops))


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
            among(op, code) & differs(fields[operand.field], operand.allowed)
            for code, operation in self.operations.items()
            for operand in operation.operands.values()
            if isinstance(operand, Number) and operand.field in fields.shape().members
        )

    def _lacking(self, op: Value, mode: Value) -> Value:
        """The operation, or its modes, are not in this engine."""
        plain = [
            code for code, o in self.operations.items() if o.modes_need and not has(self.config, o.modes_need)
        ]
        missing = OPERATIONS.keys() - self.operations.keys()
        absent = [code for code in missing if not code.fifth]
        # an engine that has not an operation of 5 bits has the one of the other four, whose mode these are
        longer = [Op(code.code) for code in missing if code.fifth]
        return (
            among(op, *absent)
            | among(op, *plain) & (mode != 0)
            | among(op, *longer) & mode[FIFTH.bit_length() - 1]
        )

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
        return Mux(among(op, *values), self.config.value_groups, self.config.state_groups)

    # ----------------------------------------------------------------------------------------------
    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second, third = (data.View(_word_layout(k), self.word) for k in range(WORDS))
        destinations = self._spans("dst")
        sources = self._spans("src")
        synaptic = [code for code, o in self.operations.items() if "tile" in o.operands]
        walked = [code for code, span in sources.items() if span.n == "n_dst"]

        code: Value = first.op
        geometry = GeometryChecker(self.config) if self.config.convolution else None
        if geometry:
            code = Cat(code, among(code, Op(Op.CONVOLVE.code)) & first.mode[FIFTH.bit_length() - 1])
        part = Signal(range(WORDS))  # number of the word within its instruction
        op = Signal(len(code))
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
                            repeat = among(code, Op.REPEAT)
                            next_ = among(code, Op.NEXT)
                            wrong = (
                                (self.index == self.most)
                                | repeat & (depth == self.config.loops)
                                | next_ & (depth == 0)
                                | self._lacking(code, first.mode)
                                | self._wrong_number(code, first)
                            )
                            if geometry:
                                wrong = wrong | geometry.given & ~among(code, *synaptic)
                            m.d.sync += [
                                self.fault.eq(wrong),
                                op.eq(code),
                                src.eq(first.src),
                                depth.eq(depth + repeat - next_),
                                halts.eq(among(code, Op.HALT) & (first.mode == 0)),
                            ]
                        with m.Case(1):
                            m.d.sync += [
                                self.fault.eq(self._wrong_number(op, second)),
                                tile.eq(second.operand),
                            ]
                        with m.Default():
                            m.d.sync += part.eq(0)
                            with m.If(among(op, *destinations, *sources)):
                                m.next = "DESTINATION"
                            if geometry:
                                with m.Elif(self._wrong_number(op, third)):
                                    refuse()
                            with m.Else():
                                m.d.sync += self.index.eq(self.index + 1)
            with m.State("DESTINATION"):
                add(third.dst, third.n_dst, self._size(op, destinations))
                with m.If(summed):
                    with m.If(outside & among(op, *destinations)):
                        refuse()
                    with m.Elif(among(op, *sources)):
                        m.next = "SOURCE"
                    with m.Else():
                        m.next = "GOOD"
            with m.State("SOURCE"):
                add(src, Mux(among(op, *walked), third.n_dst, third.n_src), self._size(op, sources))
                with m.If(summed):
                    m.d.sync += [left.eq(third.n_src), total.eq(tile)]
                    with m.If(outside):
                        refuse()
                    if geometry:
                        with m.Elif(geometry.given):
                            m.next = "GEOMETRY"
                    with m.Elif(among(op, *synaptic)):
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
            if geometry:
                with m.State("GEOMETRY"):
                    m.d.comb += [self.busy.eq(1), geometry.judge.eq(1)]
                    with m.If(geometry.wrong):
                        refuse()
                    with m.Elif(geometry.right):
                        m.next = "GOOD"
            with m.State("GOOD"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += self.index.eq(self.index + 1)
                m.next = "WORD"
        with m.If(self.clear):
            m.d.sync += [part.eq(0), self.fault.eq(0), self.index.eq(0), depth.eq(0), halts.eq(0)]
        if geometry:
            m.submodules.geometry = geometry
            m.d.comb += [
                geometry.clear.eq(self.clear),
                geometry.word.eq(self.word),
                geometry.step.eq(self.step & ~self.fault),
                geometry.part.eq(part),
                geometry.convolves.eq(Mux(part == 0, among(code, Op.CONVOLVE), among(op, Op.CONVOLVE))),
                geometry.tile.eq(tile),
            ]
        return m


class GeometryChecker(wiring.Component):
    """Groups and tiles of an instruction behind CONVOLVE: one product in two cycles, nine of them.

    Members
    -------
    clear : In(1)
        Begin a program.
    word, step, part : In(32), In(1), In(2)
        A word, and which one of its instruction it is.
    convolves : In(1)
        That is CONVOLVE.
    given : Out(1)
        CONVOLVE came before.
    judge : In(1)
        Held until ``wrong`` or ``right``: judge the instruction, whose last word stays.
    tile : In(16)
        Its first tile.
    wrong, right : Out(1)
        Strobes.
    """

    clear: Signal
    word: Signal
    step: Signal
    part: Signal
    convolves: Signal
    given: Signal
    judge: Signal
    tile: Signal
    wrong: Signal
    right: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "word": In(32),
                "step": In(1),
                "part": In(range(WORDS)),
                "convolves": In(1),
                "given": Out(1),
                "judge": In(1),
                "tile": In(WIDTHS["operand"]),
                "wrong": Out(1),
                "right": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second, third = (data.View(_word_layout(k), self.word) for k in range(WORDS))
        said = {
            name: Signal(WIDTHS[field], name=name)
            for name, field in (
                ("pre", "n_src"),
                ("post", "n_dst"),
                ("rows", "src"),
                ("columns", "dst"),
                ("kernel_rows", "count"),
                ("kernel_columns", "gain"),
                ("stride", "shift"),
            )
        }
        backwards = Signal()
        with m.If(self.step):
            with m.Switch(self.part):
                with m.Case(0):
                    with m.If(self.convolves):
                        m.d.sync += [
                            said["stride"].eq(first.shift),
                            said["rows"].eq(first.src),
                            said["kernel_rows"].eq(first.count),
                        ]
                    m.d.sync += backwards.eq(
                        among(first.op, Op.DRIVE, Op.GATHER) & first.mode[SourceMode.COLUMN.bit_length() - 1]
                    )
                with m.Case(1), m.If(self.convolves):
                    m.d.sync += said["kernel_columns"].eq(second.gain)
                with m.Default(), m.If(self.convolves):
                    m.d.sync += [
                        said["columns"].eq(third.dst),
                        said["post"].eq(third.n_dst),
                        said["pre"].eq(third.n_src),
                        self.given.eq(1),
                    ]
        n_pre = Mux(backwards, third.n_dst, third.n_src)
        n_post = Mux(backwards, third.n_src, third.n_dst)
        at = Signal(range(9))  # number of a product
        multiplied = Signal()
        a = Signal(17)
        b = Signal(WIDTHS["n_dst"])
        more = Signal(WIDTHS["operand"])
        product = Signal(len(a) + len(b))
        last = Signal(17)  # the product before
        height = Signal(17)
        bad = Signal()  # the product is not what the instruction says
        rows, columns = said["rows"], said["columns"]
        kernel_rows, kernel_columns = said["kernel_rows"], said["kernel_columns"]
        pre, post, stride = said["pre"], said["post"], said["stride"]
        no = Const(0)
        # two factors, what is added to their product, and what is wrong about that
        products: list[tuple[Value, Value, Value, Value]] = [
            (rows - 1, stride, kernel_rows, no),
            (columns - 1, stride, kernel_columns, no),
            (last, height, no, no),
            (last, pre, no, product != n_pre),
            (rows, columns, no, no),
            (last, post, no, product != n_post),
            (kernel_rows, kernel_columns, no, no),
            (last, pre, no, no),
            (last, post, self.tile, product > self.config.tiles),
        ]
        with m.Switch(at):
            for k, (x, y, addend, wrong) in enumerate(products):
                with m.Case(k):
                    m.d.comb += [a.eq(x), b.eq(y), more.eq(addend), bad.eq(wrong)]
        m.d.comb += [
            # what does not fit `last` is more than there is of anything
            self.wrong.eq(multiplied & (bad | (product[len(last) :] != 0))),
            self.right.eq(multiplied & ~self.wrong & (at == len(products) - 1)),
        ]
        with m.If(self.judge):
            m.d.sync += [multiplied.eq(~multiplied), product.eq(a * b + more)]
            with m.If(multiplied):
                m.d.sync += [last.eq(product), at.eq(at + 1)]
                with m.If(at == 0):
                    m.d.sync += height.eq(product)
        with m.If(self.right | self.wrong | self.clear):
            m.d.sync += [at.eq(0), self.given.eq(0), multiplied.eq(0)]
        return m
