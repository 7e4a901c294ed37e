"""Address generation of convolutions: CONVOLVE to the address steps of scanner and walker, by additions.

    CONVOLVE --> [ Geometry: a product a cycle ] --> steps --+--> [ Positions ] of the scanner
    instruction, dense or after CONVOLVE ---------^          '--> nested loops of the walker

A dense synapse is a convolution with one position.  Definition: equilif_golden.engine.geometry.
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
    event_tile_bits,
    group_bits,
    walk,
)
from equilif_hdl.typed import Fields, Layout

STRIDE_BITS = MAX_STRIDE.bit_length()
#: bits of the first factor; the second one is an operand of CONVOLVE
FACTOR = DITHER_WIDTH


class Steps(Fields):
    """Address steps of an instruction: a view of :func:`steps`.

    convolved     the instruction follows CONVOLVE; else it is dense, a convolution with one position
    groups_per_position    of the source
    columns, rows          positions of the other side along each axis (forwards)
    window_columns, window_rows, stride    size and distance of windows, one for each of these positions;
                  1 backwards
    shared_bias   stride 0: one window, shared by all positions
    x_tile, y_tile         tiles from a position's first tile to that of the next position, of the next row
    x_back, y_back         tiles to subtract when a window closes, as another position is the first target
    x_group, y_group       groups from the first target position to the next one
    row_return    dither, from the window of the last column to that of the first one
    backwards, kernel_rows    the source is ``post``; then the rows of target positions
    run           groups that are walked in sequence
    run_tile      tiles from one to the next
    row_group     groups from the first one of a target row to that of the next row
    row_dither    dither, likewise
    """

    convolved: Value
    groups_per_position: Value
    columns: Value
    rows: Value
    window_columns: Value
    window_rows: Value
    stride: Value
    shared_bias: Value
    x_tile: Value
    y_tile: Value
    x_back: Value
    y_back: Value
    x_group: Value
    y_group: Value
    row_return: Value
    backwards: Value
    kernel_rows: Value
    run: Value
    run_tile: Value
    row_group: Value
    row_dither: Value


def steps(config: EngineConfig) -> Layout[Steps]:
    group = group_bits(config)
    tile = event_tile_bits(config)
    return Layout(
        {
            "convolved": 1,
            "groups_per_position": group + 1,
            "columns": SIDE_BITS,
            "rows": SIDE_BITS,
            "window_columns": SIDE_BITS,
            "window_rows": SIDE_BITS,
            "stride": STRIDE_BITS,
            "shared_bias": 1,
            "x_tile": tile,
            "y_tile": tile,
            "x_back": tile,
            "y_back": tile,
            "x_group": group,
            "y_group": group,
            "row_return": DITHER_WIDTH,
            "backwards": 1,
            "kernel_rows": SIDE_BITS,
            "run": group + 1,
            "run_tile": group + 1,
            "row_group": group,
            "row_dither": DITHER_WIDTH,
        }
    )


class Product(NamedTuple):
    """``result`` = first x second + more."""

    result: Signal
    first: Value
    second: Value
    more: Value = Const(0, 1)


class Geometry(wiring.Component):
    """Members
    -------
    i : In(INSTRUCTION)
        The instruction that the dispatcher loads.
    take : In(1)
        Strobe: it is CONVOLVE.
    begin : In(1)
        Strobe: it is another one, which begins in the next cycle.
    busy : Out(1)
        The steps are not complete.
    steps : Out(steps)
        Of the current instruction, from its first cycle on.

    Latency: ``latency`` cycles from ``take`` to the following ``begin``.
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
        tile = event_tile_bits(cfg)
        ins = self.i
        convolved = Signal()  # the previous instruction was CONVOLVE
        pre = Signal(group + 1)
        post = Signal(group + 1)
        rows = Signal(SIDE_BITS)
        columns = Signal(SIDE_BITS)
        kernel_rows = Signal(SIDE_BITS)
        kernel_columns = Signal(SIDE_BITS)
        stride = Signal(STRIDE_BITS)
        with m.If(self.take):
            m.d.sync += [
                pre.eq(ins.n_src),
                post.eq(ins.n_dst),
                rows.eq(ins.src),
                columns.eq(ins.dst),
                kernel_rows.eq(ins.count),
                kernel_columns.eq(ins.gain),
                stride.eq(ins.shift),
                convolved.eq(1),
            ]
        # tiles of a kernel offset, of `stride` offsets, of a kernel row, of `stride` rows
        x_tile = Signal(tile)
        x_back = Signal(tile)
        y_tile = Signal(tile)
        y_back = Signal(tile)
        # groups in a row of `post`; groups of `pre` in a kernel row, `stride` positions, a row, `stride` rows
        post_row = Signal(group)
        kernel_row = Signal(group + 1)
        pre_step = Signal(group)
        pre_row = Signal(group)
        pre_rows = Signal(group)
        row_dither = Signal(DITHER_WIDTH)
        self._multiply(
            m,
            # operands are at least three products older, `more` at least two
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
        column = by_column(ins, cfg)
        backwards = convolved & column
        forwards = convolved & ~column
        out = self.steps
        with m.If(self.begin):
            m.d.sync += [
                convolved.eq(0),
                out.convolved.eq(convolved),
                out.groups_per_position.eq(Mux(convolved, Mux(column, post, pre), ins.n_src)),
                out.columns.eq(Mux(convolved, columns, 1)),
                out.rows.eq(Mux(convolved, rows, 1)),
                # backwards every position has a window of one position
                out.window_columns.eq(Mux(forwards, kernel_columns, 1)),
                out.window_rows.eq(Mux(forwards, kernel_rows, 1)),
                out.stride.eq(Mux(forwards, stride, 1)),
                out.shared_bias.eq(forwards & (stride == 0)),
                out.x_tile.eq(Mux(backwards, 0, x_tile)),
                out.x_back.eq(Mux(backwards, 0, x_back)),
                out.y_tile.eq(Mux(backwards, -y_tile, y_tile)),
                out.y_back.eq(Mux(backwards, -y_tile, y_back)),
                out.x_group.eq(Mux(backwards, pre_step, post)),
                out.y_group.eq(Mux(backwards, pre_rows, post_row)),
                out.row_return.eq(DITHER_DESTINATION - row_dither),
                out.backwards.eq(backwards),
                out.kernel_rows.eq(kernel_rows),
                out.run.eq(Mux(convolved, Mux(column, kernel_row, post), ins.n_dst)),
                out.run_tile.eq(Mux(column, Mux(convolved, post, ins.n_src), 1)),
                out.row_group.eq(Mux(backwards, pre_row, post_row)),
                out.row_dither.eq(row_dither),
            ]
        return m

    def _multiply(self, m: Module, *products: Product) -> None:
        """A product a cycle, with registers for factors, product and result."""
        n = len(products)
        # cycles from factors to result
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
    """An axis of the source: the windows that contain the present coordinate."""

    #: coordinates until the next window opens, including this one; until one closes
    opens: Signal
    closes: Signal
    #: windows that are not yet open; not yet closed
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
    """Start of the walk of each source group, group after group.

    Members
    -------
    start : In(1)
        Begin with ``tile``, ``dither`` and ``first``.
    tile, dither, first : In
        First tile of the synapse, dither of row 0, first group of the destination.
    stride, steps : In, In(steps)
        Tiles from a group to the next one of its position; address steps.  Held.
    advance : In(1)
        To the next group.
    new_position : Out(1)
        The next group is the first of another position.
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
                "tile": In(event_tile_bits(config)),
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
        left = Signal(group_bits(self.config) + 1)  # groups left in the position, including this one
        tile = Signal.like(self.tile)
        dither = Signal.like(self.dither)
        first = Signal.like(self.first)
        # of the first group of the position; of the first position of the row
        position_tile = Signal.like(self.tile)
        position_dither = Signal.like(self.dither)
        row_tile = Signal.like(self.tile)
        row_first = Signal.like(self.first)
        new_position_now = Signal()
        x_closes = Signal()
        y_closes = Signal()
        row_ends = Signal()
        m.d.comb += [
            x_closes.eq(x.closes == 1),
            y_closes.eq(y.closes == 1),
            row_ends.eq(x_closes & (s.shared_bias | (x.unclosed == 1))),
            self.new_position.eq(left == 1),
            o.tile.eq(tile),
            o.dither.eq(dither),
            o.first.eq(first),
            o.columns.eq(Mux(s.backwards, 1, x.unclosed - x.unopened)),
            o.rows.eq(Mux(s.backwards, s.kernel_rows, y.unclosed - y.unopened)),
            o.new_position.eq(new_position_now),
        ]
        row_dither_step = Mux(s.shared_bias, 0, Mux(y_closes, DITHER_DESTINATION, s.row_return))[
            :DITHER_WIDTH
        ]
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
                position_dither
                + DITHER_SOURCE
                + Mux(row_ends, row_dither_step, Mux(x_closes, DITHER_DESTINATION, 0))
            ),
        ]
        with m.If(self.advance):
            m.d.sync += new_position_now.eq(self.new_position)
            with m.If(~self.new_position):
                m.d.sync += [
                    left.eq(left - 1),
                    tile.eq(tile + self.stride),
                    dither.eq(dither + (DITHER_ROW * self.config.lanes) % (1 << DITHER_WIDTH)),
                ]
            with m.Else():
                m.d.sync += [
                    left.eq(s.groups_per_position),
                    tile.eq(next_tile),
                    position_tile.eq(next_tile),
                    dither.eq(next_dither),
                    position_dither.eq(next_dither),
                    first.eq(next_first),
                ]
                with m.If(row_ends):
                    m.d.sync += [row_tile.eq(next_tile), row_first.eq(next_first)]
                    self._next_coordinate(m, y)
                    self._reset_axis(m, x, s.columns, s.window_columns)
                with m.Else():
                    self._next_coordinate(m, x)
        with m.If(self.start):
            m.d.sync += [
                left.eq(s.groups_per_position),
                new_position_now.eq(0),
                *(t.eq(self.tile) for t in (tile, position_tile, row_tile)),
                *(d.eq(self.dither) for d in (dither, position_dither)),
                *(f.eq(self.first) for f in (first, row_first)),
            ]
            self._reset_axis(m, x, s.columns, s.window_columns)
            self._reset_axis(m, y, s.rows, s.window_rows)
        return m

    def _reset_axis(self, m: Module, axis: Axis, n: Value, kernel: Value) -> None:
        """First coordinate: one window is open, or all with a shared bias."""
        m.d.sync += [
            axis.opens.eq(self.steps.stride),
            axis.closes.eq(kernel),
            axis.unopened.eq(Mux(self.steps.shared_bias, 0, n - 1)),
            axis.unclosed.eq(n),
        ]

    def _next_coordinate(self, m: Module, axis: Axis) -> None:
        """Advance to the next coordinate."""
        stride = self.steps.stride
        closing = axis.closes == 1
        opening = axis.opens == 1
        m.d.sync += [
            axis.opens.eq(Mux(opening, stride, axis.opens - 1)),
            axis.closes.eq(Mux(closing, stride, axis.closes - 1)),
            axis.unopened.eq(axis.unopened - (opening & (axis.unopened != 0))),
            axis.unclosed.eq(axis.unclosed - closing),
        ]
