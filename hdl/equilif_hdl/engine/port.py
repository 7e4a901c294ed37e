"""Engine port, and ports that are shared inside the engine."""

from __future__ import annotations

from typing import Protocol

from amaranth import Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.memories import has_nonzero_flag, has_spike_flag
from equilif_golden.engine.port import Region, region_size
from equilif_golden.engine.tables import RowOp
from equilif_hdl.engine.activity import COUNTS
from equilif_hdl.engine.isa import group_bits, lane_bits, tile_bits
from equilif_hdl.typed import Interface

WEIGHT_REGION = int(Region.WEIGHT)
VALUE_REGION = int(Region.VALUE)
PROGRAM_REGION = int(Region.PROGRAM)
COUNTER_REGION = int(Region.COUNTER)


def address_bits(config: EngineConfig) -> int:
    """Width of an element address in the largest region."""
    return (max(region_size(config, r) for r in Region) - 1).bit_length()


_ROWS = {"row": Out(1), "row_op": Out(RowOp), "row_place": Out(1), "row_ready": In(1), "row_outside": In(1)}


class EnginePort(wiring.Signature):
    """Port between a host link, of any protocol, and the engine.

    Members
    -------
    mem_region, mem_addr : Out(2), Out(address_bits)
        equilif_golden.engine.port.Region and element; held until a read is answered.
    mem_write, mem_wdata : Out(1), Out(32)
        Strobe and data of a write.  WEIGHT: low 16 bits.  VALUE: plus in bits 0-7, minus in bits 8-15.
    mem_repeat : Out(lane_bits)
        Number of following values of the same group that are written with the same data.
    mem_read : Out(1)
        Strobe; at most one read is outstanding.  It sees all earlier writes.
    mem_valid, mem_rdata : In(1), In(32)
        Strobe and data of a read.
    row, row_op, row_place : Out(1), Out(2), Out(1)
        With tables: strobes of equilif_hdl.engine.tables.TableUnit and its operation; the operand is
        ``mem_wdata``.
    row_ready, row_outside : In(1), In(1)
        With tables: strobes of rows and ``start`` are allowed; the last row is outside the memories.
    start, learn, accumulate : Out(1)
        Strobe: run the program; levels with the strobe: it is a learning run; cycles, spikes and accesses are
        added to those of the previous run.
    mem_ready : In(1)
        With external weights: elements may be written, this one and a few more.
    busy : In(1)
        From the cycle after start until HALT.  Memory strobes and start are allowed only while it is low.
    prediction, cycles, spikes, accesses : In
        Results of the last run, valid from HALT on.
    activity : In(equilif_hdl.engine.activity.COUNTS)
        With ``counters``: activity counters of the last run.
    """

    class Members(Interface, Protocol):
        mem_region: Signal
        mem_addr: Signal
        mem_wdata: Signal
        mem_write: Signal
        mem_repeat: Signal
        mem_read: Signal
        mem_rdata: Signal
        mem_valid: Signal
        mem_ready: Signal
        row: Signal
        row_op: Signal
        row_place: Signal
        row_ready: Signal
        row_outside: Signal
        start: Signal
        learn: Signal
        accumulate: Signal
        busy: Signal
        prediction: Signal
        cycles: Signal
        spikes: Signal
        accesses: Signal
        activity: data.View[data.ArrayLayout]

    def __init__(self, config: EngineConfig):
        self.config = config
        super().__init__(
            {
                "mem_region": Out(2),
                "mem_addr": Out(address_bits(config)),
                "mem_wdata": Out(32),
                "mem_write": Out(1),
                "mem_repeat": Out(lane_bits(config)),
                "mem_read": Out(1),
                "mem_rdata": In(32),
                "mem_valid": In(1),
                **({"mem_ready": In(1)} if config.external else {}),
                **(_ROWS if config.external and config.external.tables else {}),
                "start": Out(1),
                "learn": Out(1),
                "accumulate": Out(1),
                "busy": In(1),
                "prediction": In(14),
                "cycles": In(32),
                "spikes": In(32),
                "accesses": In(32),
                **({"activity": In(COUNTS)} if config.counters else {}),
            }
        )


class LanesPort(wiring.Signature):
    """Host access to weights and values, while no command is in the lanes.

    Members
    -------
    write_w, write_v, data : Out(P), Out(P), Out(16)
        Write strobes, one for each weight bank, or for each lane of values; a weight, or values at +beta (low
        byte) and -beta.
    read : Out(1)
        Strobe: ``word`` is valid 1 + registers.weight_read + registers.butterfly cycles later.
    read_values : Out(1)
        With ``registers.state_read``: ``read``, a cycle earlier.
    tile, e : Out
        Row of a tile.
    group : Out
        Group of values.
    is_weight, bank : Out(1), Out
        Read a weight, or values; from this bank or lane.  Held until ``word`` is valid.
    word : In(16)
        Read data; the value at -beta is in the high byte.
    """

    class Members(Interface, Protocol):
        write_w: Signal
        write_v: Signal
        data: Signal
        read: Signal
        read_values: Signal
        tile: Signal
        e: Signal
        group: Signal
        is_weight: Signal
        bank: Signal
        word: Signal

    def __init__(self, config: EngineConfig):
        p = config.lanes
        super().__init__(
            {
                "write_w": Out(p),
                "write_v": Out(p),
                "data": Out(16),
                "read": Out(1),
                **({"read_values": Out(1)} if config.registers.state_read else {}),
                "tile": Out(tile_bits(config)),
                "e": Out(lane_bits(config)),
                "group": Out(group_bits(config)),
                "is_weight": Out(1),
                "bank": Out(lane_bits(config)),
                "word": In(16),
            }
        )


class ScanPort(wiring.Signature):
    """Read port of the scanner to spikes and values.

    Members
    -------
    fetch : Out(1)
        Strobe: read the group; its data are valid in the next cycle.
    select : Out(1)
        ``addr`` selects the group: as ``fetch``, but early in the cycle.
    next_fetch, next_addr, next_read : Out(1), Out, Out(1)
        With ``registers.state_read``: ``fetch``, ``addr`` and whether the memories read, of the next cycle.
    addr : Out
        Group.
    second : Out(1)
        The spikes are those of the second state.
    hold : Out(1)
        The memories must hold their outputs until the next fetch.
    spikes, plus, minus : In(P), In(8 P), In(8 P)
        Read data.
    plus_nonzero, minus_nonzero : In(P), In(P)
        With non-zero flags: lanes with non-zero values.
    any_spike : In(1)
        With the flag of spikes: a lane has one.
    """

    class Members(Interface, Protocol):
        fetch: Signal
        select: Signal
        addr: Signal
        next_fetch: Signal
        next_addr: Signal
        next_read: Signal
        second: Signal
        hold: Signal
        spikes: Signal
        plus: Signal
        minus: Signal
        plus_nonzero: Signal
        minus_nonzero: Signal
        any_spike: Signal

    def __init__(self, config: EngineConfig):
        p = config.lanes
        super().__init__(
            {
                "fetch": Out(1),
                "select": Out(1),
                "addr": Out(group_bits(config)),
                **(
                    {"next_fetch": Out(1), "next_addr": Out(group_bits(config)), "next_read": Out(1)}
                    if config.registers.state_read
                    else {}
                ),
                "second": Out(1),
                "hold": Out(1),
                "spikes": In(p),
                "plus": In(8 * p),
                "minus": In(8 * p),
                **({"plus_nonzero": In(p), "minus_nonzero": In(p)} if has_nonzero_flag(config) else {}),
                **({"any_spike": In(1)} if has_spike_flag(config) else {}),
            }
        )
