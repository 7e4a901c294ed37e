"""Table unit: transfers rows of an embedding table between the SDRAM and patterns on the chip.

    token --> row, pattern --> check --> burst --> sdram
    rows: pattern --> [ queue ] --> column --+--> minus or plus the row, a column at a time --> rows: pattern
                          ^      word <-- sdram
                          '--> sdram              after ADD, the pattern once more

Operations and their order: equilif_golden.engine.tables.  A pattern has its columns in bank order, so column
i of a group is at i ^ e, with e its row of the tile.

Latency: equilif_golden.engine.tables.RowCycles.  Throughput: a word of the SDRAM a cycle, one row at a time.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import fifo, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.tables import MAX_GROUPS, RowOp
from equilif_hdl.engine.external import QUEUE, RowPort
from equilif_hdl.engine.isa import lane_bits
from equilif_hdl.fixed import delayed, saturate
from equilif_hdl.sdram import SdramPort

GROUP_BITS = MAX_GROUPS.bit_length()


class TableUnit(wiring.Component):
    """Members
    -------
    word : In(16)
        Operand of the strobes.
    place : In(1)
        Strobe: table, tile and groups of equilif_golden.engine.tables.TableTokens, one after the other; the
        next token is the first one.
    row, op : In(1), In(2)
        Strobe: transfer the row of a token; equilif_golden.engine.tables.RowOp.
    ready, outside : Out(1), Out(1)
        Strobes are accepted; the last row or its pattern is outside the memories.
    free : In(1)
        The SDRAM has no other traffic.
    active : Out(1)
        The unit uses ``rows`` and ``sdram``.
    rows : Out(RowPort)
    sdram : Out(SdramPort)
    """

    word: Signal
    place: Signal
    row: Signal
    op: Signal
    ready: Signal
    outside: Signal
    free: Signal
    active: Signal
    rows: RowPort.Members
    sdram: SdramPort.Members

    def __init__(self, config: EngineConfig):
        assert config.external is not None
        self.config = config
        self.chip = config.external.chip
        super().__init__(
            {
                "word": In(16),
                "place": In(1),
                "row": In(1),
                "op": In(RowOp),
                "ready": Out(1),
                "outside": Out(1),
                "free": In(1),
                "active": Out(1),
                "rows": Out(RowPort(config)),
                "sdram": Out(SdramPort(self.chip)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        lane = lane_bits(cfg)
        parts = cfg.sdram_words
        request = self.sdram.request
        table = Signal(16)
        tile = Signal(16)  # of the pattern
        groups = Signal(16)
        num_groups = groups[:GROUP_BITS]
        e = Signal(lane)  # row of the pattern in its tile
        token = Signal(16)
        op = Signal(RowOp)
        product = Signal(16 + GROUP_BITS)
        row = Signal(16 + max(lane, GROUP_BITS) + 1)  # number of its first P weights
        storing = Signal()
        requested = Signal()
        transferring = Signal()  # from the request of a row to its last word
        next_row = Signal()
        reads = _PatternReads(m, cfg, self.rows)
        columns = _Columns(m, self, reads, op, e, num_groups)
        m.d.comb += [
            request.p.address.eq(row << (parts - 1).bit_length()),
            request.p.length.eq(num_groups * parts - 1),
            request.p.is_write.eq(storing),
            columns.storing.eq(storing),
            self.active.eq(transferring | self.rows.write),
        ]
        m.d.sync += [product.eq(token * num_groups), row.eq((table << lane) + product)]
        # one address for reads and writes of the pattern: the first QUEUE groups are read before the words of
        # the row arrive, each of the others in the cycle after a write, and two writes are never adjacent
        with m.If(reads.read | columns.writes):
            group = Mux(columns.writes, columns.group, reads.group)
            m.d.sync += [self.rows.tile.eq(tile + group), self.rows.e.eq(e)]
        with m.If(next_row):
            m.d.sync += [e.eq(e + 1), transferring.eq(0)]
            with m.If(e.all()):
                m.d.sync += tile.eq(tile + num_groups)
        with m.If(self.place):
            m.d.sync += [table.eq(tile), tile.eq(groups), groups.eq(self.word), e.eq(0)]
        with m.FSM():
            with m.State("READY"):
                m.d.comb += self.ready.eq(1)
                m.d.sync += [token.eq(self.word), op.eq(self.op)]
                with m.If(self.row):
                    m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                m.next = "SUM"
            with m.State("SUM"):
                m.next = "CHECK"
            with m.State("CHECK"):
                m.d.sync += self.outside.eq(
                    (row + num_groups > cfg.all_tiles * cfg.lanes)
                    | (tile + num_groups > cfg.tiles)
                    | (table < cfg.tiles)
                    | (num_groups == 0)
                    | groups[GROUP_BITS:].any()
                )
                m.next = "WAIT"
                with m.If(op == RowOp.CHECK):
                    m.d.comb += next_row.eq(1)
                    m.next = "READY"
            with m.State("WAIT"), m.If(self.free):
                m.d.sync += transferring.eq(1)
                m.next = "REQUEST"
            with m.State("REQUEST"):
                m.d.comb += request.valid.eq(1)
                with m.If(request.ready):
                    reads.begin(m, num_groups, op != RowOp.GATHER)
                    m.next = "TRANSFER"
            with m.State("TRANSFER"):
                m.d.comb += columns.transferring.eq(1)
                with m.If(columns.done):
                    with m.If(op == RowOp.ADD):
                        reads.begin(m, num_groups)
                        m.next = "STORE"
                    with m.Else():
                        m.d.comb += next_row.eq(1)
                        m.next = "READY"
            with m.State("STORE"):
                m.d.comb += [storing.eq(1), request.valid.eq(reads.valid & ~requested)]
                with m.If(request.valid & request.ready):
                    m.d.sync += requested.eq(1)
                with m.If(self.sdram.written):
                    m.d.sync += requested.eq(0)
                    m.d.comb += next_row.eq(1)
                    m.next = "READY"
        return m


class _PatternReads:
    """Reads a pattern, P weights at a time, into a queue."""

    def __init__(self, m: Module, config: EngineConfig, rows: RowPort.Members):
        m.submodules.queue = queue = fifo.SyncFIFO(width=16 * config.lanes, depth=QUEUE)
        self.read = Signal()
        self.group = Signal(GROUP_BITS)  # of the next read
        self._left = Signal(GROUP_BITS)
        self.valid = queue.r_rdy
        self.weights = queue.r_data
        self.take = queue.r_en
        waiting = Signal(range(QUEUE + 1))  # in the queue or on the way to it
        m.d.comb += [
            self.read.eq((self._left != 0) & (waiting != QUEUE)),
            queue.w_data.eq(rows.r_data),
            queue.w_en.eq(delayed(m, rows.read, 1 + config.registers.weight_read, "read", reset_less=False)),
        ]
        taken = delayed(m, self.take & self.valid, 1, "taken", reset_less=False)
        m.d.sync += [rows.read.eq(self.read), waiting.eq(waiting + self.read - taken)]
        with m.If(self.read):
            m.d.sync += [self.group.eq(self.group + 1), self._left.eq(self._left - 1)]

    def begin(self, m: Module, num_groups: Value, condition: Value | int = 1) -> None:
        """Read the groups of a pattern from the next cycle on."""
        m.d.sync += [self.group.eq(0), self._left.eq(Mux(condition, num_groups, 0))]


class _Columns:
    """Columns of a row, a word of the SDRAM at a time.  They change in the cycle after the word is taken."""

    def __init__(
        self, m: Module, unit: TableUnit, reads: _PatternReads, op: Signal, e: Signal, num_groups: Value
    ):
        cfg = unit.config
        parts = cfg.sdram_words
        r, w, rows = unit.sdram.r, unit.sdram.w, unit.rows
        self.transferring = Signal()
        self.storing = Signal()
        self.group = Signal(GROUP_BITS)  # of the columns that change
        self.writes = Signal()  # the group goes into the pattern
        self.done = Signal()  # all groups of the row do
        part = Signal(range(parts))
        group = Signal(GROUP_BITS)
        words = Signal(16 * cfg.lanes)
        takes = Signal()
        step = Signal()
        last = step & (part == parts - 1)
        ends = last & (group == num_groups - 1)
        changes = Signal()
        changed_part = Signal.like(part)
        m.d.comb += [
            r.ready.eq(self.transferring & ((op == RowOp.GATHER) | reads.valid)),
            takes.eq(r.valid & r.ready),
            w.valid.eq(self.storing & reads.valid),
            step.eq(takes | w.valid & w.ready),
            reads.take.eq(last & (self.storing | (op != RowOp.GATHER))),
            rows.w_data.eq(words),
        ]
        m.d.sync += [
            changes.eq(takes),
            changed_part.eq(part),
            self.group.eq(group),
            self.writes.eq(takes & last),
            self.done.eq(takes & ends),
            rows.write.eq(self.writes),
        ]
        with m.If(step):
            m.d.sync += part.eq(Mux(last, 0, part + 1))
        with m.If(last):
            m.d.sync += group.eq(Mux(ends, 0, group + 1))
        subtracts = op == RowOp.SUBTRACT
        halves = unit.chip.width // 16
        for k in range(halves):
            bank, changed = (
                (Cat(Const(k, (halves - 1).bit_length()), number) ^ e)[: len(e)]
                for number in (part, changed_part)
            )
            weight = Signal(signed(16))
            own = Signal(16)
            m.d.comb += w.payload.word_select(k, 16).eq(reads.weights.word_select(bank, 16))
            m.d.sync += [weight.eq(w.payload.word_select(k, 16)), own.eq(r.payload.word_select(k, 16))]
            change = Mux(subtracts, ~own, own).as_signed()
            total = Signal(signed(18))
            result = Signal(signed(16))
            m.d.comb += [
                total.eq(weight + change + subtracts),
                result.eq(Mux(op == RowOp.ADD, saturate(total, cfg.numerics.weight_width), total)),
            ]
            with m.If(op == RowOp.GATHER):
                m.d.comb += result.eq(own)
            with m.If(changes):
                m.d.sync += words.word_select(changed, 16).eq(result)
