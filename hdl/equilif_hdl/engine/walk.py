"""Walker: one command a cycle for the groups of the destination, of an instruction or of each of its events.

    instruction --+---------------------> group, tile, dither counters --> o: command
                  |                                  ^                     (valid, no back-pressure)
    i: events ----+--> gain x plus, minus -----------+
                                                   stall

Latency: 1 cycle from start, or from an event, to its first command.  Throughput: a command a cycle, also
across events; of weights with a single port, an event with a single group takes two.  With ``registers.gain``
up and um are plus and minus as they are: gain and sign come on the way to the lanes.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
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
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import VALUE
from equilif_hdl.engine.geometry import Steps, steps
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    SIDE_BITS,
    Command,
    Event,
    Instruction,
    by_column,
    by_minus,
    command,
    event,
    group_bits,
    signed_values,
)
from equilif_hdl.fixed import times_index, times_small
from equilif_hdl.typed import Assign, Stream, signal_of

ONE = 1 << VALUE.f  #: 1.0 as a factor of the lanes


def times_gain(value: Value, gain: Value, config: EngineConfig) -> Value:
    """A value of 8 bits, or of 9 and a sign where there are memories, times the gain."""
    return times_small(value[:9].as_signed() if config.attention else value[:8], gain)


class Walker(wiring.Component):
    """Members
    -------
    start : In(1)
        Begin ``instruction``.
    walking : In(1)
        It is a walk, and needs no events.
    instruction : In(INSTRUCTION)
        Held until not busy and no event is to come.
    stall : In(1)
        No command in this cycle.
    enable : In(1)
        Take events (ARGMAX takes its own).
    steps : In(steps)
        Where there are convolutions: what equilif_hdl.engine.geometry makes of the instruction.
    i : In(stream of event)
    valid, o : Out(1), Out(command)
        A command for the lanes in every cycle in which valid is high.
    busy, last : Out(1), Out(1)
        The instruction, or one of its events, has commands left; this is the last.
    """

    start: Signal
    walking: Signal
    instruction: Instruction
    stall: Signal
    enable: Signal
    steps: Steps
    i: Stream[Event]
    valid: Signal
    o: Command
    busy: Signal
    last: Signal

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        #: cycles from a command of LEARN to the first that reads what it has written
        self.apart = writes_after(config)
        super().__init__(
            {
                "start": In(1),
                "walking": In(1),
                "instruction": In(INSTRUCTION),
                "stall": In(1),
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
        stride = Signal(group_bits(cfg) + 1)  # tiles from a group to the next
        final = Signal()  # this command is its event's last
        pause = Signal()  # a group may not follow itself at once, without forwarding
        column = Signal()
        taken = Signal()  # an event is taken, and its walk begins
        run_ends = Signal()  # where there are convolutions: this command is its run's last
        now = signal_of(command(cfg))
        holds: Value = pause
        ready = self.enable & (~self.busy | self.last)
        if cfg.convolution:
            unwritten, too_soon = self._unwritten(m, taken, final, run_ends)
            holds = pause | unwritten
            ready = ready & ~too_soon
        m.d.comb += [
            column.eq(by_column(ins, cfg)),
            stride.eq(self.steps.run_tile if cfg.convolution else Mux(column, ins.n_src, 1)),
            self.valid.eq(self.busy & ~self.stall & ~holds),
            self.o.eq(now),
            self.last.eq(self.valid & final),
            self.i.ready.eq(ready),
            taken.eq(self.i.valid & self.i.ready),
        ]
        if cfg.single_port:
            single = ins.n_dst == 1
            if cfg.convolution:  # the next position may begin with the group that this one ends with
                single = final & (self.steps.given | single)
            m.d.sync += pause.eq(self.valid & single)
        if not cfg.convolution:  # else as of `_nest`
            # a cycle ahead: scanner and sequencer wait for it
            with m.If(self.start & self.walking | taken):
                m.d.sync += final.eq(ins.n_dst == 1)
            with m.Elif(self.valid):
                m.d.sync += final.eq(left == 2)
        with m.If(self.valid):
            m.d.sync += [
                now.group.eq(now.group + 1),
                now.value_group.eq(now.value_group + 1),
                now.tile.eq(now.tile + stride),
                now.dither.eq(now.dither + (DITHER_COLUMN * cfg.lanes) % (1 << DITHER_WIDTH)),
                left.eq(left - 1),
                self.busy.eq(~final),
            ]
        with m.If(self.start & self.walking):
            m.d.sync += [
                self.busy.eq(1),
                left.eq(ins.n_dst),
                now.op.eq(ins.op),
                now.group.eq(ins.dst),
                now.value_group.eq(ins.src),
                now.up.eq(ins.operand),
                now.e.eq(0),
                now.scale.eq(ONE),  # RESET: 1.0 x operand
            ]
        with m.If(taken):
            m.d.sync += [
                self.busy.eq(1),
                left.eq(ins.n_dst),
                now.op.eq(ins.op),
                now.column.eq(column),
                now.group.eq(ins.dst),
                now.value_group.eq(ins.dst),
                *self._factors(now),
            ]
        if cfg.convolution:
            self._nest(m, now, left, run_ends, final, taken)
        return m

    def _nest(
        self, m: Module, now: Command, left: Signal, run_ends: Signal, final: Signal, taken: Signal
    ) -> None:
        """Runs of groups, positions of a row, and rows, in place of groups alone: what differs from those."""
        steps = self.steps
        event = self.i.p
        begins = self.start & self.walking | taken
        row_ends = Signal()  # this run is its row's last
        last_row = Signal()
        columns = Signal(SIDE_BITS)  # positions of every row
        columns_left = Signal(SIDE_BITS)
        rows_left = Signal(SIDE_BITS)
        # of the run's first command; of the row's
        run_tile = Signal.like(now.tile)
        run_dither = Signal.like(now.dither)
        row_tile = Signal.like(now.tile)
        row_dither = Signal.like(now.dither)
        row_group = Signal.like(now.group)
        m.d.comb += final.eq(run_ends & row_ends & last_row)
        with m.If(self.valid):
            m.d.sync += run_ends.eq(left == 2)
        with m.If(self.valid & run_ends):
            m.d.sync += [left.eq(steps.run), run_ends.eq(steps.run == 1)]
            with m.If(~row_ends):
                tile = (run_tile - steps.x_back)[: len(run_tile)]
                dither = (run_dither + DITHER_DESTINATION)[:DITHER_WIDTH]
                m.d.sync += [columns_left.eq(columns_left - 1), row_ends.eq(columns_left == 2)]
                m.d.sync += self._place(now, tile, dither, (run_tile, run_dither))
            with m.Elif(~last_row):
                tile = (row_tile - steps.y_back)[: len(row_tile)]
                dither = (row_dither + steps.row_dither)[:DITHER_WIDTH]
                group = (row_group + steps.row_group)[: len(row_group)]
                m.d.sync += [
                    columns_left.eq(columns),
                    row_ends.eq(columns == 1),
                    rows_left.eq(rows_left - 1),
                    last_row.eq(rows_left == 2),
                    *(g.eq(group) for g in (now.group, now.value_group, row_group)),
                ]
                m.d.sync += self._place(now, tile, dither, (run_tile, run_dither), (row_tile, row_dither))
        with m.If(begins):
            m.d.sync += [
                left.eq(steps.run),
                run_ends.eq(steps.run == 1),
                row_ends.eq(1),
                last_row.eq(1),
            ]
        with m.If(taken):
            m.d.sync += [
                columns.eq(event.columns),
                columns_left.eq(event.columns),
                row_ends.eq(event.columns == 1),
                rows_left.eq(event.rows),
                last_row.eq(event.rows == 1),
                *(g.eq(event.first) for g in (now.group, now.value_group, row_group)),
            ]
            m.d.sync += self._place(
                now, event.tile, _dither(event), (run_tile, run_dither), (row_tile, row_dither)
            )

    def _place(self, now: Command, tile: Value, dither: Value, *kept: tuple[Signal, Signal]) -> list[Assign]:
        """The next command's tile and dither, which are ``kept``."""
        places = [(now.tile, now.dither), *kept]
        return [*(t.eq(tile) for t, _ in places), *(d.eq(dither) for _, d in places)]

    def _unwritten(self, m: Module, taken: Signal, final: Signal, run_ends: Signal) -> tuple[Value, Value]:
        """LEARN must not read what has not been written.

        Whether it waits for that with the next command, or with the event that comes.  Within an event only
        joint windows have weights in common; events have none with others of their position.
        """
        learns = self.instruction.op == Op.LEARN
        rest = Signal(range(self.apart))  # cycles until all is written
        again = Signal()  # the next command begins a run that is not its event's first
        with m.If(self.valid):
            m.d.sync += [rest.eq(self.apart - 1), again.eq(run_ends & ~final)]
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(taken):
            m.d.sync += again.eq(0)
        with m.If(self.start):
            m.d.sync += rest.eq(0)
        waits = learns & (rest != 0)
        return waits & again & self.steps.joint, learns & self.i.p.moves & (self.valid | (rest != 0))

    def _factors(self, now: Command) -> list[Assign]:
        """What a command has of the event."""
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
        return [
            now.tile.eq(source.tile),
            now.e.eq(source.e),
            now.scale.eq(Mux(ins.op == Op.GATHER, ONE, Mux(by_minus(ins, cfg), minus, plus))),
            now.up.eq(plus if cfg.registers.gain else times_gain(plus, gain, cfg)),
            now.um.eq(minus if cfg.registers.gain else -times_gain(minus, gain, cfg)),
            now.dither.eq(_dither(source)),
        ]


def _dither(source: Event) -> Value:
    """Dither of the source's own row."""
    return (source.dither + times_index(source.e, DITHER_ROW, DITHER_WIDTH))[:DITHER_WIDTH]
