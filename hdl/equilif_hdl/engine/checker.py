"""Program checker: the rules of :func:`equilif_golden.engine.isa.check`, one 32-bit word at a time.

    word 0: op, mode, shift, src, count    feature, loops, operand ranges             \\
    word 1: gain, operand                  operand ranges                             }--> fault
    word 2: dst, n_dst, n_src              [ first + n > size ], a sum in two cycles /

Ranges of operands, and the groups and tiles of each operation, come from
equilif_golden.engine.isa.OPERATIONS.  The number of tiles is found without a multiplier, by n_src additions
of n_dst, which stop at the first sum beyond the weight memory.  Latency: 1 cycle a word, up to 6 + 2 n_src
cycles for the last word of an instruction.  With ``convolution`` there is a multiplier: up to 33 cycles for
an instruction after CONVOLVE.
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
    MODE_BIT,
    OPERATIONS,
    SLOTS,
    WORDS,
    LearnMode,
    Memory,
    Number,
    Op,
    Operation,
    SourceMode,
    Span,
)
from equilif_hdl.typed import Assign

WIDTHS = {name: width for name, width, _ in FIELDS}


def _word_layout(word: int) -> data.StructLayout:
    """Fields of one word of an instruction; none crosses a word boundary."""
    at = 0
    members = {}
    for name, width, _ in FIELDS:
        if at // 32 == word:
            members[name] = width
        at += width
    assert sum(members.values()) == 32
    return data.StructLayout(members)


def among(op: Value, *ops: Op) -> Value:
    """``op`` is one of these operations; 5 bits with ``convolution``, else 4."""
    return op.matches(*map(int, ops))


def any_of(conditions: Iterable[Value]) -> Value:
    found: Value = Const(0)
    for condition in conditions:
        found = found | condition
    return found


def differs(value: Value, allowed: range | tuple[int, ...]) -> Value:
    """``value`` is none of ``allowed``.  A signed field has no restriction, so it is never compared."""
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
        Next word of the program, and its strobe; not while ``busy``.  ``word`` is held while ``busy``.
    busy : Out(1)
        From the cycle after ``step`` until the word is checked.
    fault : Out(1), index : Out
        Instruction ``index`` is invalid; held until ``clear``.  Without a fault: number of instructions.
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
        self.max_instructions = config.program_words // WORDS
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
                "index": Out(range(self.max_instructions + 1)),
                "closed": Out(1),
            }
        )

    # -- from OPERATIONS ----------------------------------------------------------------------------
    def _wrong_number(self, op: Value, fields: data.View[data.StructLayout]) -> Value:
        """One of these fields is out of the range of the operation."""
        return any_of(
            among(op, code) & differs(fields[operand.field], operand.allowed)
            for code, operation in self.operations.items()
            for operand in operation.operands.values()
            if isinstance(operand, Number) and operand.field in fields.shape().members
        )

    def _lacking(self, op: Value, mode: Value) -> Value:
        """The engine lacks the operation or its modes."""
        plain = [
            code for code, o in self.operations.items() if o.modes_need and not has(self.config, o.modes_need)
        ]
        missing = OPERATIONS.keys() - self.operations.keys()
        absent = [code for code in missing if not code.mode_bit]
        # the fifth bit of a missing operation is a mode bit of the operation with the same low four bits
        longer = [Op(code.code) for code in missing if code.mode_bit]
        return (
            among(op, *absent)
            | among(op, *plain) & (mode != 0)
            | among(op, *longer) & mode[MODE_BIT.bit_length() - 1]
        )

    def _spans(self, first: str) -> dict[Op, Span]:
        """Spans whose first group is in this field, by operation."""
        return {
            code: operand
            for code, operation in self.operations.items()
            for operand in operation.operands.values()
            if isinstance(operand, Span) and operand.first == first
        }

    def _size(self, op: Value, spans: dict[Op, Span]) -> Value:
        """Number of groups in the memory of the operation's span."""
        values = [code for code, span in spans.items() if span.memory == Memory.VALUES]
        return Mux(among(op, *values), self.config.value_groups, self.config.state_groups)

    def _wrong_operation(
        self, op: Value, first: data.View[data.StructLayout], depth: Value
    ) -> tuple[Value, Value]:
        """Whether word 0 is wrong after ``depth`` open loops; open loops after it."""
        repeat = among(op, Op.REPEAT)
        next_ = among(op, Op.NEXT)
        wrong = (
            (self.index == self.max_instructions)
            | repeat & (depth == self.config.loops)
            | next_ & (depth == 0)
            | self._lacking(op, first.mode)
            | self._wrong_number(op, first)
        )
        return wrong, depth + repeat - next_

    def _external(
        self,
        m: Module,
        tile: Value,
        external: Value,
        backwards: Value,
        stores: Value,
        post: Value,
        geometry: GeometryChecker | None,
    ) -> tuple[Value, Value]:
        """Tiles that an instruction may use; whether its weights are external and must be on the chip, or do
        not fit the window.

        ``post``: groups of a row of weights, if they are dense.
        """
        tiles, all_tiles = self.config.tiles, self.config.all_tiles
        if not self.config.external:
            return Const(tiles), Const(0)
        several: Value = Const(0)  # it has more than one row of a kernel
        if geometry:
            post = Mux(geometry.convolved, geometry.post, post)
            several = geometry.convolved & geometry.several_rows
        end = tile + tiles  # of a block that fits the window
        n_tiles = Signal(17)
        block = external & backwards & (end < all_tiles)
        m.d.sync += n_tiles.eq(Mux(block, end, Mux(external, all_tiles, tiles)))
        return n_tiles, external & (stores | Mux(backwards, several, post > tiles // SLOTS))

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
            code = Cat(code, among(code, Op(Op.CONVOLVE.code)) & first.mode[MODE_BIT.bit_length() - 1])
        part = Signal(range(WORDS))  # index of the word in its instruction
        op = Signal(len(code))
        src = Signal(WIDTHS["src"])
        tile = Signal(WIDTHS["operand"])
        backwards = Signal()
        stores = Signal()
        depth = Signal(range(self.config.loops + 1))  # open loops
        halts = Signal()  # the last instruction is an unconditional HALT
        left = Signal(WIDTHS["n_src"])  # source groups whose tiles are left to add
        m.d.comb += self.closed.eq(halts & (depth == 0))
        span = _SpanSum(m, self.config, self.busy)
        external = among(op, *synaptic) & (tile >= self.config.tiles)
        n_tiles, misplaced = self._external(m, tile, external, backwards, stores, third.n_dst, geometry)

        def refuse() -> None:
            m.d.sync += self.fault.eq(1)
            m.next = "WORD"

        with m.FSM():
            with m.State("WORD"):
                with m.If(self.step & ~self.fault):
                    m.d.sync += part.eq(part + 1)
                    with m.Switch(part):
                        with m.Case(0):
                            wrong, loops = self._wrong_operation(code, first, depth)
                            if geometry:
                                wrong = wrong | geometry.convolved & ~among(code, *synaptic)
                            m.d.sync += [
                                self.fault.eq(wrong),
                                op.eq(code),
                                src.eq(first.src),
                                depth.eq(loops),
                                halts.eq(among(code, Op.HALT) & (first.mode == 0)),
                            ]
                            if self.config.external:
                                m.d.sync += self._modes(code, first.mode, backwards, stores)
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
                span.add(third.dst, third.n_dst, self._size(op, destinations))
                with m.If(span.summed):
                    with m.If(span.outside & among(op, *destinations)):
                        refuse()
                    with m.Elif(among(op, *sources)):
                        m.next = "SOURCE"
                    with m.Else():
                        m.next = "GOOD"
            with m.State("SOURCE"):
                span.add(src, Mux(among(op, *walked), third.n_dst, third.n_src), self._size(op, sources))
                with m.If(span.summed):
                    m.d.sync += [left.eq(third.n_src), span.total.eq(tile)]
                    with m.If(span.outside | misplaced):
                        refuse()
                    if geometry:
                        with m.Elif(geometry.convolved):
                            m.next = "GEOMETRY"
                    with m.Elif(among(op, *synaptic)):
                        m.next = "TILES"
                    with m.Else():
                        m.next = "GOOD"
            with m.State("TILES"):
                span.add(span.total, third.n_dst, n_tiles)
                with m.If(span.summed):
                    m.d.sync += left.eq(left - 1)
                    with m.If(span.outside):
                        refuse()
                    with m.Elif(left == 1):
                        m.next = "GOOD"
            if geometry:
                with m.State("GEOMETRY"):
                    m.d.comb += [self.busy.eq(1), geometry.check.eq(1)]
                    with m.If(geometry.wrong):
                        refuse()
                    with m.Elif(geometry.valid):
                        m.next = "GOOD"
            with m.State("GOOD"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += self.index.eq(self.index + 1)
                m.next = "WORD"
        with m.If(self.clear):
            m.d.sync += [part.eq(0), self.fault.eq(0), self.index.eq(0), depth.eq(0), halts.eq(0)]
        if geometry:
            m.submodules.geometry = geometry
            current = Mux(part == 0, among(code, Op.CONVOLVE), among(op, Op.CONVOLVE))
            self._connect(m, geometry, part, current, tile, n_tiles)
        return m

    def _modes(self, code: Value, mode: Value, backwards: Signal, stores: Signal) -> list[Assign]:
        """Keep what matters to external weights of the mode of an instruction."""
        assert SourceMode.COLUMN.value == LearnMode.STORE.value == 1
        learn = among(code, Op.LEARN) if self.config.self_attention else Const(0)
        return [
            backwards.eq(among(code, Op.DRIVE, Op.GATHER) & mode[0]),
            stores.eq(learn & mode[0]),
        ]

    def _connect(
        self,
        m: Module,
        geometry: GeometryChecker,
        part: Value,
        convolves: Value,
        tile: Value,
        n_tiles: Value | int,
    ) -> None:
        """Drive the inputs of the checker of geometry."""
        m.d.comb += [
            geometry.clear.eq(self.clear),
            geometry.word.eq(self.word),
            geometry.step.eq(self.step & ~self.fault),
            geometry.part.eq(part),
            geometry.convolves.eq(convolves),
            geometry.tile.eq(tile),
        ]
        if self.config.external:
            m.d.comb += geometry.n_tiles.eq(n_tiles)


class _SpanSum:
    """Adder and comparator, shared by all spans: ``total`` is compared with the size a cycle later."""

    def __init__(self, m: Module, config: EngineConfig, busy: Signal):
        self._m, self._busy = m, busy
        self.base = Signal(WIDTHS["operand"])
        self.n = Signal(WIDTHS["n_dst"])
        self.size = Signal(max(config.all_tiles, config.value_groups).bit_length())
        self.total = Signal(17)
        self.summed = Signal()  #: ``total`` is the sum of this span
        self.outside = Signal()
        m.d.comb += self.outside.eq((self.total > self.size) | (self.n == 0))
        m.d.sync += self.summed.eq(0)

    def add(self, first: Value, n: Value, size: Value | int) -> None:
        """Compare the end of a span with the size of its memory."""
        self._m.d.comb += [self._busy.eq(1), self.base.eq(first), self.n.eq(n), self.size.eq(size)]
        with self._m.If(~self.summed):
            self._m.d.sync += [self.total.eq(self.base + self.n), self.summed.eq(1)]


class GeometryChecker(wiring.Component):
    """Checks groups and tiles of an instruction after CONVOLVE: nine products, three cycles each.

    Members
    -------
    clear : In(1)
        Begin a program.
    word, step, part : In(32), In(1), In(2)
        A word, and which one of its instruction it is.
    convolves : In(1)
        The instruction is CONVOLVE.
    convolved : Out(1)
        The previous instruction was CONVOLVE.
    check : In(1)
        Held until ``wrong`` or ``valid``: check the instruction whose last word is ``word``.
    tile : In(16)
        First tile of the instruction.
    n_tiles : In(17)
        With external weights: the tile after those of the instruction must not be beyond this one.
    post, several_rows : Out, Out(1)
        With external weights, of the last CONVOLVE: groups of a position of ``post``; its kernel has more
        than one row.
    wrong, valid : Out(1)
        Strobes.
    """

    clear: Signal
    word: Signal
    step: Signal
    part: Signal
    convolves: Signal
    convolved: Signal
    check: Signal
    tile: Signal
    n_tiles: Signal
    post: Signal
    several_rows: Signal
    wrong: Signal
    valid: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "clear": In(1),
                "word": In(32),
                "step": In(1),
                "part": In(range(WORDS)),
                "convolves": In(1),
                "convolved": Out(1),
                "check": In(1),
                "tile": In(WIDTHS["operand"]),
                **(
                    {"n_tiles": In(17), "post": Out(WIDTHS["n_dst"]), "several_rows": Out(1)}
                    if config.external
                    else {}
                ),
                "wrong": Out(1),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second, third = (data.View(_word_layout(k), self.word) for k in range(WORDS))
        spec = {
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
                            spec["stride"].eq(first.shift),
                            spec["rows"].eq(first.src),
                            spec["kernel_rows"].eq(first.count),
                        ]
                    m.d.sync += backwards.eq(
                        among(first.op, Op.DRIVE, Op.GATHER) & first.mode[SourceMode.COLUMN.bit_length() - 1]
                    )
                with m.Case(1), m.If(self.convolves):
                    m.d.sync += spec["kernel_columns"].eq(second.gain)
                with m.Default(), m.If(self.convolves):
                    m.d.sync += [
                        spec["columns"].eq(third.dst),
                        spec["post"].eq(third.n_dst),
                        spec["pre"].eq(third.n_src),
                        self.convolved.eq(1),
                    ]
        n_pre = Mux(backwards, third.n_dst, third.n_src)
        n_post = Mux(backwards, third.n_src, third.n_dst)
        at = Signal(range(9))  # index of the product
        stage = Signal(range(3))  # factors, product, result
        judged = stage == 2
        a = Signal(17)
        b = Signal(WIDTHS["n_dst"])
        more = Signal(WIDTHS["operand"])
        product = Signal(len(a) + len(b))
        last = Signal(17)  # the previous product
        height = Signal(17)
        mismatch = Signal()  # the product differs from the operand of the instruction
        rows, columns = spec["rows"], spec["columns"]
        kernel_rows, kernel_columns = spec["kernel_rows"], spec["kernel_columns"]
        pre, post, stride = spec["pre"], spec["post"], spec["stride"]
        zero = Const(0)
        n_tiles: Value | int = self.config.tiles
        if self.config.external:
            n_tiles = self.n_tiles
            m.d.comb += [self.post.eq(post), self.several_rows.eq(kernel_rows != 1)]
        # factors, addend, and the fault condition of the result
        products: list[tuple[Value, Value, Value, Value]] = [
            (rows - 1, stride, kernel_rows, zero),
            (columns - 1, stride, kernel_columns, zero),
            (last, height, zero, zero),
            (last, pre, zero, product != n_pre),
            (rows, columns, zero, zero),
            (last, post, zero, product != n_post),
            (kernel_rows, kernel_columns, zero, zero),
            (last, pre, zero, zero),
            (last, post, self.tile, product > n_tiles),
        ]
        with m.Switch(at):
            for k, (x, y, addend, wrong) in enumerate(products):
                with m.Case(k):
                    m.d.sync += [a.eq(x), b.eq(y), more.eq(addend)]
                    m.d.comb += mismatch.eq(wrong)
        m.d.comb += [
            # a product that does not fit `last` exceeds every memory
            self.wrong.eq(judged & (mismatch | (product[len(last) :] != 0))),
            self.valid.eq(judged & ~self.wrong & (at == len(products) - 1)),
        ]
        with m.If(self.check):
            m.d.sync += [stage.eq(stage + 1), product.eq(a * b + more)]
            with m.If(judged):
                m.d.sync += [stage.eq(0), last.eq(product), at.eq(at + 1)]
                with m.If(at == 0):
                    m.d.sync += height.eq(product)
        with m.If(self.valid | self.wrong | self.clear):
            m.d.sync += [at.eq(0), self.convolved.eq(0), stage.eq(0)]
        return m
