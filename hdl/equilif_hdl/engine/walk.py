"""Walker, the address generator: one command a cycle for each destination group of an instruction or event.

    instruction --+---------------------> group, tile, dither counters --> o: command
                  |                                  ^                     (valid, no back-pressure)
    i: events ----+--> gain x plus, minus -----------+
                                                   stall

Latency: 1 cycle from start or event to the first command.  Throughput: a command a cycle, also across events;
with single-port weights an event with a single group takes two cycles.  With ``registers.gain``, up and um
are plus and minus: gain and sign are applied on the way to the lanes.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import (
    DITHER_COLUMN,
    DITHER_DESTINATION,
    DITHER_ROW,
    DITHER_WIDTH,
    GAIN_WIDTH,
)
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.cycles import writes_after
from equilif_golden.engine.isa import NudgeMode, Op, ResetMode
from equilif_golden.fixed import VALUE
from equilif_hdl.engine.geometry import Steps, steps
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    SIDE_BITS,
    Event,
    Instruction,
    LaneCommand,
    by_column,
    by_minus,
    command,
    event,
    group_bits,
    has_mode,
    has_static,
    is_one_of,
    on_second,
    signed_values,
)
from equilif_hdl.fixed import times_index, times_small
from equilif_hdl.typed import Assign, Stream, signal_of

ONE = 1 << VALUE.f  #: 1.0 as a factor of the lanes
#: operations with a mode STATIC; that of NUDGE needs ``errors``
STATIC = (Op.RESET, Op.NUDGE)
assert int(NudgeMode.STATIC) == int(ResetMode.STATIC)


def times_gain(value: Value, gain: Value, config: EngineConfig) -> Value:
    """An 8-bit value, or with ``attention`` a signed 9-bit one, times the gain."""
    return times_small(value[:9].as_signed() if config.attention else value[:8], gain)


class Walker(wiring.Component):
    """Members
    -------
    start : In(1)
        Begin ``instruction``.
    walking : In(1)
        The instruction has no source: it needs no events.
    instruction : In(INSTRUCTION)
        Held until not busy and no event follows.
    stall : In(1)
        No command in this cycle.
    hold : In(1)
        With dual-port weights: no command of an event in this cycle.
    enable : In(1)
        Accept events; low for ARGMAX.
    steps : In(steps)
        With ``convolution``: address steps of the instruction, from equilif_hdl.engine.geometry.
    i : In(stream of event)
    valid, o : Out(1), Out(command)
        A command for the lanes.
    busy, last : Out(1), Out(1)
        The instruction or the present event has commands left; the present command is the last one.
    """

    start: Signal
    walking: Signal
    instruction: Instruction
    stall: Signal
    hold: Signal
    enable: Signal
    steps: Steps
    i: Stream[Event]
    valid: Signal
    o: LaneCommand
    busy: Signal
    last: Signal

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        #: cycles from a command of LEARN to the first one that reads the weight it writes
        self.write_latency = writes_after(config)
        super().__init__(
            {
                "start": In(1),
                "walking": In(1),
                "instruction": In(INSTRUCTION),
                "stall": In(1),
                **({} if config.single_port else {"hold": In(1)}),
                "enable": In(1),
                **({"steps": In(steps(config))} if config.convolution else {}),
                "i": In(stream.Signature(event(config))),
                "valid": Out(1),
                "o": Out(command(config)),
                "busy": Out(1),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        ins = self.instruction
        left = Signal(group_bits(cfg) + 1)  # commands left
        stride = Signal(group_bits(cfg) + 1)  # tiles between consecutive groups
        last_in_event = Signal()  # the last command of its event
        pause = Signal()  # single-port weights: no group twice in consecutive cycles
        column = Signal()
        second = Signal()
        load = Signal()  # an event is accepted
        last_in_run = Signal()  # with `convolution`: the last command of its run of groups
        current = signal_of(command(cfg))
        hold: Value = pause
        if not cfg.single_port:
            of_event = Signal()
            with m.If(self.start & self.walking):
                m.d.sync += of_event.eq(0)
            with m.If(load):
                m.d.sync += of_event.eq(1)
            hold = hold | self.hold & of_event
        ready = self.enable & (~self.busy | self.last)
        if cfg.convolution:
            pending_write, not_written = self._write_hazards(m, load, last_in_event, last_in_run)
            hold = hold | pending_write
            ready = ready & ~not_written
        m.d.comb += [
            column.eq(by_column(ins, cfg)),
            second.eq(on_second(ins)),
            stride.eq(self.steps.run_tile if cfg.convolution else Mux(column, ins.n_src, 1)),
            self.valid.eq(self.busy & ~self.stall & ~hold),
            self.o.eq(current),
            self.last.eq(self.valid & last_in_event),
            self.i.ready.eq(ready),
            load.eq(self.i.valid & self.i.ready),
        ]
        if cfg.single_port:
            single = ins.n_dst == 1
            if cfg.convolution:  # the next position may begin with the last group of this one
                single = last_in_event & (self.steps.convolved | single)
            m.d.sync += pause.eq(self.valid & single)
        if not cfg.convolution:  # else `_nested_loops` drives it
            # registered: scanner and sequencer depend on it
            with m.If(self.start & self.walking | load):
                m.d.sync += last_in_event.eq(ins.n_dst == 1)
            with m.Elif(self.valid):
                m.d.sync += last_in_event.eq(left == 2)
        with m.If(self.valid):
            m.d.sync += [
                current.group.eq(current.group + 1),
                current.value_group.eq(current.value_group + 1),
                current.tile.eq(current.tile + stride),
                current.dither.eq(current.dither + (DITHER_COLUMN * cfg.lanes) % (1 << DITHER_WIDTH)),
                left.eq(left - 1),
                self.busy.eq(~last_in_event),
            ]
        with m.If(self.start & self.walking):
            m.d.sync += [
                self.busy.eq(1),
                left.eq(ins.n_dst),
                current.op.eq(ins.op),
                current.group.eq(ins.dst),
                current.value_group.eq(ins.src),
                current.up.eq(ins.operand),
                current.e.eq(0),
                current.scale.eq(ONE),  # RESET: 1.0 x operand
                current.rounded.eq(0),
                current.second.eq(second),
            ]
            if has_static(cfg):
                static = is_one_of(ins.op, *STATIC[: 1 + cfg.errors]) & has_mode(ins, ResetMode.STATIC)
                m.d.sync += current.static.eq(static)
        with m.If(load):
            m.d.sync += [
                self.busy.eq(1),
                left.eq(ins.n_dst),
                current.op.eq(ins.op),
                current.column.eq(column),
                current.second.eq(second),
                current.group.eq(ins.dst),
                current.value_group.eq(ins.dst),
                *self._factors(current),
            ]
            rounded = ins.op == Op.GATHER
            if cfg.errors:
                rounded = rounded | (is_one_of(ins.op, Op.DRIVE) & ins.gain[0])
            if has_static(cfg):
                m.d.sync += current.static.eq(0)
            m.d.sync += current.rounded.eq(rounded)
        if cfg.convolution:
            self._nested_loops(m, current, left, last_in_run, last_in_event, load)
        return m

    def _nested_loops(
        self,
        m: Module,
        current: LaneCommand,
        left: Signal,
        last_in_run: Signal,
        last_in_event: Signal,
        load: Signal,
    ) -> None:
        """Loops over rows, positions of a row and groups of a position, in place of the loop over groups."""
        steps = self.steps
        event = self.i.p
        begins = self.start & self.walking | load
        last_in_row = Signal()  # the last run of its row
        last_row = Signal()
        columns = Signal(SIDE_BITS)  # positions in a row
        columns_left = Signal(SIDE_BITS)
        rows_left = Signal(SIDE_BITS)
        # of the first command of the run; of the row
        run_tile = Signal.like(current.tile)
        run_dither = Signal.like(current.dither)
        row_tile = Signal.like(current.tile)
        row_dither = Signal.like(current.dither)
        row_group = Signal.like(current.group)
        m.d.comb += last_in_event.eq(last_in_run & last_in_row & last_row)
        with m.If(self.valid):
            m.d.sync += last_in_run.eq(left == 2)
        with m.If(self.valid & last_in_run):
            m.d.sync += [left.eq(steps.run), last_in_run.eq(steps.run == 1)]
            with m.If(~last_in_row):
                tile = (run_tile - steps.x_back)[: len(run_tile)]
                dither = (run_dither + DITHER_DESTINATION)[:DITHER_WIDTH]
                m.d.sync += [columns_left.eq(columns_left - 1), last_in_row.eq(columns_left == 2)]
                m.d.sync += self._place(current, tile, dither, (run_tile, run_dither))
            with m.Elif(~last_row):
                tile = (row_tile - steps.y_back)[: len(row_tile)]
                dither = (row_dither + steps.row_dither)[:DITHER_WIDTH]
                group = (row_group + steps.row_group)[: len(row_group)]
                m.d.sync += [
                    columns_left.eq(columns),
                    last_in_row.eq(columns == 1),
                    rows_left.eq(rows_left - 1),
                    last_row.eq(rows_left == 2),
                    *(g.eq(group) for g in (current.group, current.value_group, row_group)),
                ]
                m.d.sync += self._place(current, tile, dither, (run_tile, run_dither), (row_tile, row_dither))
        with m.If(begins):
            m.d.sync += [
                left.eq(steps.run),
                last_in_run.eq(steps.run == 1),
                last_in_row.eq(1),
                last_row.eq(1),
            ]
        with m.If(load):
            m.d.sync += [
                columns.eq(event.columns),
                columns_left.eq(event.columns),
                last_in_row.eq(event.columns == 1),
                rows_left.eq(event.rows),
                last_row.eq(event.rows == 1),
                *(g.eq(event.first) for g in (current.group, current.value_group, row_group)),
            ]
            m.d.sync += self._place(
                current, event.tile, _dither(event), (run_tile, run_dither), (row_tile, row_dither)
            )

    def _place(
        self, current: LaneCommand, tile: Value, dither: Value, *copies: tuple[Signal, Signal]
    ) -> list[Assign]:
        """Set tile and dither of the next command, and copies of them."""
        places = [(current.tile, current.dither), *copies]
        return [*(t.eq(tile) for t, _ in places), *(d.eq(dither) for _, d in places)]

    def _write_hazards(
        self, m: Module, load: Signal, last_in_event: Signal, last_in_run: Signal
    ) -> tuple[Value, Value]:
        """Read-after-write hazards of LEARN: the next command must wait, or the next event.

        Commands of one event share weights only with a shared bias; events of one position share none.
        """
        learns = self.instruction.op == Op.LEARN
        countdown = Signal(range(self.write_latency))  # cycles until all weights are written
        next_run = Signal()  # the next command begins a run, not the first of its event
        with m.If(self.valid):
            m.d.sync += [countdown.eq(self.write_latency - 1), next_run.eq(last_in_run & ~last_in_event)]
        with m.Elif(countdown != 0):
            m.d.sync += countdown.eq(countdown - 1)
        with m.If(load):
            m.d.sync += next_run.eq(0)
        with m.If(self.start):
            m.d.sync += countdown.eq(0)
        unwritten = countdown != 0
        new_event = learns & self.i.p.new_position & (self.valid | unwritten)
        return learns & unwritten & next_run & self.steps.shared_bias, new_event

    def _factors(self, current: LaneCommand) -> list[Assign]:
        """Assignments to the fields that depend on the event."""
        cfg = self.config
        ins = self.instruction
        source = self.i.p
        plus = source.plus
        minus = source.minus
        gain = ins.gain[:GAIN_WIDTH]
        if cfg.attention:
            signs = signed_values(ins, cfg)
            plus = Cat(plus, signs & plus[-1]).as_signed()
            minus = Cat(minus, signs & minus[-1]).as_signed()
        feedback = Const(ONE) >> ins.shift[:2]
        return [
            current.tile.eq(source.tile),
            current.e.eq(source.e),
            current.scale.eq(Mux(ins.op == Op.GATHER, feedback, Mux(by_minus(ins, cfg), minus, plus))),
            current.up.eq(plus if cfg.registers.gain else times_gain(plus, gain, cfg)),
            current.um.eq(minus if cfg.registers.gain else -times_gain(minus, gain, cfg)),
            current.dither.eq(_dither(source)),
        ]


def _dither(source: Event) -> Value:
    """Dither of the source neuron's row."""
    return (source.dither + times_index(source.e, DITHER_ROW, DITHER_WIDTH))[:DITHER_WIDTH]
