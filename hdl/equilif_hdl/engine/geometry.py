"""Where a kernel goes: from the numbers of CONVOLVE to the steps of scanner and walker, by additions.

    CONVOLVE --> [ Geometry: a product a cycle ] --> steps --+--> [ Positions ] of the scanner
    instruction, dense or behind CONVOLVE --------^          '--> the walker's nested loops

A dense synapse is one with a single position.  equilif_golden.engine.geometry has the definition.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth import Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import (
    DITHER_DESTINATION,
    DITHER_ROW,
    DITHER_SOURCE,
    DITHER_WIDTH,
)
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import GEOMETRY
from equilif_golden.engine.geometry import MAX_STRIDE
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    SIDE_BITS,
    Instruction,
    Walk,
    by_column,
    group_bits,
    tile_bits,
    walk,
)
from equilif_hdl.typed import Fields, Layout

STRIDE_BITS = MAX_STRIDE.bit_length()
#: of a factor; the second one is a number of CONVOLVE
FACTOR = DITHER_WIDTH


class Steps(Fields):
    """A view of :func:`steps`.  Backwards, the source is ``post``.

    given         CONVOLVE came before
    per           groups of a position of the source
    columns, rows            positions of the source's other end along the sides, forwards
    kernel_columns, kernel_rows, stride    of windows: each position of the other end hears one
    joint         all windows are the same one
    x_tile, y_tile           from a position's first tile to that of the next one in its row, to the next row
    x_back, y_back           less that, when a window closes: another position is the first that hears
    x_group, y_group         and how many groups further that one is
    turn          dither, from the last column's window to the first of the same row
    back, reach   backwards; there the rows that hear a position
    run           groups that are walked one after the other
    run_tile      tiles from one to the next
    row_group     groups from the first one of a row that hears to that of the next
    row_dither    the same, dither
    """

    given: Value
    per: Value
    columns: Value
    rows: Value
    kernel_columns: Value
    kernel_rows: Value
    stride: Value
    joint: Value
    x_tile: Value
    y_tile: Value
    x_back: Value
    y_back: Value
    x_group: Value
    y_group: Value
    turn: Value
    back: Value
    reach: Value
    run: Value
    run_tile: Value
    row_group: Value
    row_dither: Value


def steps(config: EngineConfig) -> Layout[Steps]:
    group = group_bits(config)
    tile = tile_bits(config)
    return Layout(
        {
            "given": 1,
            "per": group + 1,
            "columns": SIDE_BITS,
            "rows": SIDE_BITS,
            "kernel_columns": SIDE_BITS,
            "kernel_rows": SIDE_BITS,
            "stride": STRIDE_BITS,
            "joint": 1,
            "x_tile": tile,
            "y_tile": tile,
            "x_back": tile,
            "y_back": tile,
            "x_group": group,
            "y_group": group,
            "turn": DITHER_WIDTH,
            "back": 1,
            "reach": SIDE_BITS,
            "run": group + 1,
            "run_tile": group + 1,
            "row_group": group,
            "row_dither": DITHER_WIDTH,
        }
    )


class Product(NamedTuple):
    """``result`` becomes first x second + more."""

    result: Signal
    first: Value
    second: Value
    more: Value = Const(0, 1)


class Geometry(wiring.Component):
    """Members
    -------
    i : In(INSTRUCTION)
        What the dispatcher takes.
    take : In(1)
        It is CONVOLVE.
    begin : In(1)
        It is something else, which begins in the next cycle.
    busy : Out(1)
        The dispatcher must wait.
    steps : Out(steps)
        Of what begins, from its first cycle on.

    Latency: ``latency`` cycles from ``take`` to the first ``begin`` behind it.
    """

    i: Instruction
    take: Signal
    begin: Signal
    busy: Signal
    steps: Steps

    latency = GEOMETRY

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "i": In(INSTRUCTION),
                "take": In(1),
                "begin": In(1),
                "busy": Out(1),
                "steps": Out(steps(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        group = group_bits(cfg)
        tile = tile_bits(cfg)
        said = self.i
        given = Signal()  # the instruction before was CONVOLVE
        pre = Signal(group + 1)
        post = Signal(group + 1)
        rows = Signal(SIDE_BITS)
        columns = Signal(SIDE_BITS)
        kernel_rows = Signal(SIDE_BITS)
        kernel_columns = Signal(SIDE_BITS)
        stride = Signal(STRIDE_BITS)
        with m.If(self.take):
            m.d.sync += [
                pre.eq(said.n_src),
                post.eq(said.n_dst),
                rows.eq(said.src),
                columns.eq(said.dst),
                kernel_rows.eq(said.count),
                kernel_columns.eq(said.gain),
                stride.eq(said.shift),
                given.eq(1),
            ]
        # tiles of an offset, of `stride` of them, of a kernel's row, of `stride` of those
        x_tile = Signal(tile)
        x_back = Signal(tile)
        y_tile = Signal(tile)
        y_back = Signal(tile)
        # groups of a row of `post`; and of `pre`: of a kernel's row, of `stride` positions, of a row, of
        # `stride` rows
        post_row = Signal(group)
        kernel_row = Signal(group + 1)
        pre_step = Signal(group)
        pre_row = Signal(group)
        pre_rows = Signal(group)
        row_dither = Signal(DITHER_WIDTH)
        self._multiply(
            m,
            # what a product needs comes three before it, or two as `more`
            Product(x_tile, pre, post),
            Product(pre_step, pre, stride),
            Product(kernel_row, pre, kernel_columns),
            Product(y_tile, x_tile, kernel_columns),
            Product(pre_row, pre_step, (columns - 1)[:SIDE_BITS], kernel_row),
            Product(x_back, x_tile, stride),
            Product(y_back, y_tile, stride),
            Product(pre_rows, pre_row, stride),
            Product(post_row, post, columns),
            Product(row_dither, Const(DITHER_DESTINATION, DITHER_WIDTH), columns),
        )
        column = by_column(said, cfg)
        back = given & column
        forth = given & ~column
        to = self.steps
        with m.If(self.begin):
            m.d.sync += [
                given.eq(0),
                to.given.eq(given),
                to.per.eq(Mux(given, Mux(column, post, pre), said.n_src)),
                to.columns.eq(Mux(given, columns, 1)),
                to.rows.eq(Mux(given, rows, 1)),
                # backwards a position is heard by itself alone, as far as windows go
                to.kernel_columns.eq(Mux(forth, kernel_columns, 1)),
                to.kernel_rows.eq(Mux(forth, kernel_rows, 1)),
                to.stride.eq(Mux(forth, stride, 1)),
                to.joint.eq(forth & (stride == 0)),
                to.x_tile.eq(Mux(back, 0, x_tile)),
                to.x_back.eq(Mux(back, 0, x_back)),
                to.y_tile.eq(Mux(back, -y_tile, y_tile)),
                to.y_back.eq(Mux(back, -y_tile, y_back)),
                to.x_group.eq(Mux(back, pre_step, post)),
                to.y_group.eq(Mux(back, pre_rows, post_row)),
                to.turn.eq(DITHER_DESTINATION - row_dither),
                to.back.eq(back),
                to.reach.eq(kernel_rows),
                to.run.eq(Mux(given, Mux(column, kernel_row, post), said.n_dst)),
                to.run_tile.eq(Mux(column, Mux(given, post, said.n_src), 1)),
                to.row_group.eq(Mux(back, pre_row, post_row)),
                to.row_dither.eq(row_dither),
            ]
        return m

    def _multiply(self, m: Module, *products: Product) -> None:
        """One a cycle: factors, their product, and the result are registers."""
        n = len(products)
        # a product is `lag` cycles on its way to its result
        lag = 2
        assert self.latency == n + lag + 1
        at = Signal(range(n + lag))
        first = Signal(FACTOR)
        second = Signal(max(SIDE_BITS, group_bits(self.config) + 1))
        product = Signal(len(first) + len(second))
        m.d.sync += product.eq(first * second)
        with m.If(self.busy):
            m.d.sync += [at.eq(at + 1), self.busy.eq(at != n + lag - 1)]
        with m.If(self.take):
            m.d.sync += [at.eq(0), self.busy.eq(1)]
        with m.Switch(at):
            for k, p in enumerate(products):
                with m.Case(k):
                    m.d.sync += [first.eq(p.first), second.eq(p.second)]
        with m.If(self.busy), m.Switch(at):
            for k, p in enumerate(products):
                with m.Case(k + lag):
                    m.d.sync += p.result.eq(product + p.more)


class Axis(NamedTuple):
    """A side of the source: which windows are open at the present coordinate."""

    #: coordinates until a window opens, this one included; until one closes
    opens: Signal
    closes: Signal
    #: windows that have not opened; that have not closed
    unopened: Signal
    unclosed: Signal

    @classmethod
    def of(cls, name: str) -> Axis:
        return cls(
            Signal(STRIDE_BITS, name=f"{name}_opens"),
            Signal(SIDE_BITS, name=f"{name}_closes"),
            Signal(SIDE_BITS, name=f"{name}_unopened"),
            Signal(SIDE_BITS, name=f"{name}_unclosed"),
        )


class Positions(wiring.Component):
    """What the events of a group of the source begin with, group after group.

    Members
    -------
    start : In(1)
        Begin with ``tile``, ``dither`` and ``first``.
    tile, dither, first : In
        Of the synapse, of row 0, group of the destination.
    stride : In
        From the tile of a group to that of the next one of its position.  Held, as ``steps``.
    steps : In(steps)
    advance : In(1)
        To the next group.
    new_position : Out(1)
        That is one of another position.
    o : Out(walk)

    Latency: 1 cycle.  Throughput: a group a cycle.
    """

    start: Signal
    tile: Signal
    dither: Signal
    first: Signal
    stride: Signal
    steps: Steps
    advance: Signal
    new_position: Signal
    o: Walk

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "tile": In(tile_bits(config)),
                "dither": In(DITHER_WIDTH),
                "first": In(group_bits(config)),
                "stride": In(group_bits(config) + 1),
                "steps": In(steps(config)),
                "advance": In(1),
                "new_position": Out(1),
                "o": Out(Layout(walk(config))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        s = self.steps
        o = self.o
        x = Axis.of("x")
        y = Axis.of("y")
        left = Signal(group_bits(self.config) + 1)  # groups of the position, this one included
        tile = Signal.like(self.tile)
        dither = Signal.like(self.dither)
        first = Signal.like(self.first)
        # of the position's first group; of the row's first position
        position_tile = Signal.like(self.tile)
        position_dither = Signal.like(self.dither)
        row_tile = Signal.like(self.tile)
        row_first = Signal.like(self.first)
        moved = Signal()
        x_closes = Signal()
        y_closes = Signal()
        row_ends = Signal()
        m.d.comb += [
            x_closes.eq(x.closes == 1),
            y_closes.eq(y.closes == 1),
            row_ends.eq(x_closes & (s.joint | (x.unclosed == 1))),
            self.new_position.eq(left == 1),
            o.tile.eq(tile),
            o.dither.eq(dither),
            o.first.eq(first),
            o.columns.eq(Mux(s.back, 1, x.unclosed - x.unopened)),
            o.rows.eq(Mux(s.back, s.reach, y.unclosed - y.unopened)),
            o.new_position.eq(moved),
        ]
        turned = Mux(s.joint, 0, Mux(y_closes, DITHER_DESTINATION, s.turn))[:DITHER_WIDTH]
        next_tile = Signal.like(tile)
        next_first = Signal.like(first)
        next_dither = Signal.like(dither)
        m.d.comb += [
            next_tile.eq(
                Mux(
                    row_ends,
                    row_tile + s.y_tile - Mux(y_closes, s.y_back, 0),
                    position_tile + s.x_tile - Mux(x_closes, s.x_back, 0),
                )
            ),
            next_first.eq(
                Mux(
                    row_ends,
                    row_first + Mux(y_closes, s.y_group, 0),
                    first + Mux(x_closes, s.x_group, 0),
                )
            ),
            next_dither.eq(
                position_dither + DITHER_SOURCE + Mux(row_ends, turned, Mux(x_closes, DITHER_DESTINATION, 0))
            ),
        ]
        with m.If(self.advance):
            m.d.sync += moved.eq(self.new_position)
            with m.If(~self.new_position):
                m.d.sync += [
                    left.eq(left - 1),
                    tile.eq(tile + self.stride),
                    dither.eq(dither + (DITHER_ROW * self.config.lanes) % (1 << DITHER_WIDTH)),
                ]
            with m.Else():
                m.d.sync += [
                    left.eq(s.per),
                    tile.eq(next_tile),
                    position_tile.eq(next_tile),
                    dither.eq(next_dither),
                    position_dither.eq(next_dither),
                    first.eq(next_first),
                ]
                with m.If(row_ends):
                    m.d.sync += [row_tile.eq(next_tile), row_first.eq(next_first)]
                    self._further(m, y)
                    self._begin(m, x, s.columns, s.kernel_columns)
                with m.Else():
                    self._further(m, x)
        with m.If(self.start):
            m.d.sync += [
                left.eq(s.per),
                moved.eq(0),
                *(t.eq(self.tile) for t in (tile, position_tile, row_tile)),
                *(d.eq(self.dither) for d in (dither, position_dither)),
                *(f.eq(self.first) for f in (first, row_first)),
            ]
            self._begin(m, x, s.columns, s.kernel_columns)
            self._begin(m, y, s.rows, s.kernel_rows)
        return m

    def _begin(self, m: Module, axis: Axis, n: Value, kernel: Value) -> None:
        """At the first coordinate, where a window is open, or all are."""
        m.d.sync += [
            axis.opens.eq(self.steps.stride),
            axis.closes.eq(kernel),
            axis.unopened.eq(Mux(self.steps.joint, 0, n - 1)),
            axis.unclosed.eq(n),
        ]

    def _further(self, m: Module, axis: Axis) -> None:
        """To the next coordinate."""
        stride = self.steps.stride
        closing = axis.closes == 1
        opening = axis.opens == 1
        m.d.sync += [
            axis.opens.eq(Mux(opening, stride, axis.opens - 1)),
            axis.closes.eq(Mux(closing, stride, axis.closes - 1)),
            axis.unopened.eq(axis.unopened - (opening & (axis.unopened != 0))),
            axis.unclosed.eq(axis.unclosed - closing),
        ]
