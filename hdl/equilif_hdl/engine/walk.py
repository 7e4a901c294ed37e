"""Walker: turns an instruction, or each event of its scan, into one command a cycle for the groups of the
destination.

    instruction --+--------------------------> group, tile, dither counters --> o: command (valid, no
    back-pressure)
    i: events ----+--> gain x plus, minus ----------^          ^
                       (where deep: plus, minus)              stall

Throughput: a command a cycle, also across events.  Latency: 1 cycle from start (or event) to its first
command. In a deep pipeline (``EngineConfig.deep``) up and um are plus and minus as they are: gain and
sign come on the way to the lanes.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_WIDTH, GAIN_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    by_column,
    by_minus,
    command,
    event,
    group_bits,
    signed_values,
)
from equilif_hdl.fixed import times_small


def times_gain(value: Value, ins: data.View, config: EngineConfig) -> Value:
    """A value of 8 bits, or 9 and a sign where there are memories, times the gain."""
    return times_small(value[:9].as_signed() if config.softmax else value[:8], ins.gain[:GAIN_WIDTH])


class Walker(wiring.Component):
    """Members
    -------
    start, walking : In(1)
        Begin ``instruction``; ``walking``: it is a walk and needs no events.
    instruction : In(INSTRUCTION)
        Held until not busy and no event is to come.
    stall : In(1)
        No command in this cycle.
    enable : In(1)
        Take events (ARGMAX takes its own).
    i : In(stream of event)
    valid, o : Out
        A command for the lanes in every cycle in which valid is high.
    busy : Out(1)
    """

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
            }
        )

    def elaborate(self, platform):
        m = Module()
        ins, i, o = self.instruction, self.i, self.o
        active, left, stride = (
            Signal(),
            Signal(group_bits(self.config) + 1),
            Signal(group_bits(self.config) + 1),
        )
        final = Signal()  # this command is its event's last
        pause = Signal()  # without forwarding, no group may follow itself at once
        if not self.config.forwarding:
            m.d.sync += pause.eq(self.valid & (ins.n_dst == 1))
        now = Signal(command(self.config))
        learning, column = Signal(), Signal()
        m.d.comb += [
            learning.eq(ins.op == Op.LEARN),
            column.eq(by_column(ins, self.config)),
            stride.eq(Mux(column, ins.n_src, 1)),
            self.valid.eq(active & ~self.stall & ~pause),
            self.busy.eq(active),
            o.eq(now),
            i.ready.eq(self.enable & (~active | (self.valid & final))),
        ]
        plus, minus = i.p.plus, i.p.minus
        if self.config.softmax:
            plus, minus = (Cat(v, signed_values(ins, self.config) & v[-1]).as_signed() for v in (plus, minus))
        taken = i.valid & i.ready
        if self.config.deep:
            with m.If(self.start & self.walking | taken):
                m.d.sync += final.eq(ins.n_dst == 1)
            with m.Elif(self.valid):
                m.d.sync += final.eq(left == 2)
        else:
            m.d.comb += final.eq(left == 1)
        with m.If(self.valid):
            m.d.sync += [
                now.group.eq(now.group + 1),
                now.value_group.eq(now.value_group + 1),
                now.tile.eq(now.tile + stride),
                now.dither.eq(now.dither + (DITHER_COLUMN * self.config.lanes) % (1 << DITHER_WIDTH)),
                left.eq(left - 1),
                active.eq(~final if self.config.deep else left != 1),
            ]
        with m.If(self.start & self.walking):
            m.d.sync += [
                active.eq(1),
                left.eq(ins.n_dst),
                now.op.eq(ins.op),
                now.group.eq(ins.dst),
                now.value_group.eq(ins.src),
                now.up.eq(ins.operand),
                now.rotate.eq(0),
                now.scale.eq(256),  # RESET: 1.0 x operand
            ]
        with m.If(taken):
            m.d.sync += [
                active.eq(1),
                left.eq(ins.n_dst),
                now.op.eq(ins.op),
                now.column.eq(column),
                now.group.eq(ins.dst),
                now.value_group.eq(ins.dst),
                now.tile.eq(i.p.tile),
                now.e.eq(i.p.e),
                # lane j of the axpy comes from bank j + e; bank b of the update from lane b - e
                now.rotate.eq(Mux(learning, -i.p.e, i.p.e)),
                now.scale.eq(Mux(ins.op == Op.GATHER, 256, Mux(by_minus(ins, self.config), minus, plus))),
                now.up.eq(plus if self.config.deep else times_gain(plus, ins, self.config)),
                now.um.eq(minus if self.config.deep else -times_gain(minus, ins, self.config)),
                now.dither.eq(i.p.dither),
            ]
        return m
