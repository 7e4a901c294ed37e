"""Walker: one command a cycle for the groups of the destination, of an instruction or of each of its events.

    instruction --+---------------------> group, tile, dither counters --> o: command
                  |                                  ^                     (valid, no back-pressure)
    i: events ----+--> gain x plus, minus -----------+
                       (deep: plus, minus)         stall

Latency: 1 cycle from start, or from an event, to its first command.  Throughput: a command a cycle, also
across events; without forwarding, an event with a single group takes two.  In a deep pipeline up and um
are plus and minus as they are: gain and sign come on the way to the lanes.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_WIDTH, GAIN_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import VALUE
from equilif_hdl.engine.isa import (
    INSTRUCTION,
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
from equilif_hdl.fixed import times_small
from equilif_hdl.typed import Assign, Stream, signal_of

ONE = 1 << VALUE.f  #: 1.0 as a factor of the lanes


def times_gain(value: Value, gain: Value, config: EngineConfig) -> Value:
    """A value of 8 bits, or of 9 and a sign where there are memories, times the gain."""
    return times_small(value[:9].as_signed() if config.softmax else value[:8], gain)


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
    i: Stream[Event]
    valid: Signal
    o: Command
    busy: Signal
    last: Signal

    latency = 1

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "start": In(1),
                "walking": In(1),
                "instruction": In(INSTRUCTION),
                "stall": In(1),
                "enable": In(1),
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
        now = signal_of(command(cfg))
        m.d.comb += [
            column.eq(by_column(ins, cfg)),
            stride.eq(Mux(column, ins.n_src, 1)),
            self.valid.eq(self.busy & ~self.stall & ~pause),
            self.o.eq(now),
            self.last.eq(self.valid & final),
            self.i.ready.eq(self.enable & (~self.busy | self.last)),
            taken.eq(self.i.valid & self.i.ready),
        ]
        if not cfg.forwarding:
            m.d.sync += pause.eq(self.valid & (ins.n_dst == 1))
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
                now.rotate.eq(0),
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
        return m

    def _factors(self, now: Command) -> list[Assign]:
        """What a command has of the event."""
        cfg = self.config
        ins = self.instruction
        source = self.i.p
        plus = source.plus
        minus = source.minus
        gain = ins.gain[:GAIN_WIDTH]
        if cfg.softmax:
            signs = signed_values(ins, cfg)
            plus = Cat(plus, signs & plus[-1]).as_signed()
            minus = Cat(minus, signs & minus[-1]).as_signed()
        return [
            now.tile.eq(source.tile),
            now.e.eq(source.e),
            # lane j of the axpy comes from bank j + e; bank b of the update from lane b - e
            now.rotate.eq(Mux(ins.op == Op.LEARN, -source.e, source.e)),
            now.scale.eq(Mux(ins.op == Op.GATHER, ONE, Mux(by_minus(ins, cfg), minus, plus))),
            now.up.eq(plus if cfg.deep else times_gain(plus, gain, cfg)),
            now.um.eq(minus if cfg.deep else -times_gain(minus, gain, cfg)),
            now.dither.eq(source.dither),
        ]
