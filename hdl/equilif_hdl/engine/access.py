"""Access: the host reads and writes the engine's memories, an element at a time, while the engine is idle.

    mem_region, mem_addr, ... --[|]--> word, bank --> lanes (weights, values), program memory, counter
    mem_rdata <--|-- region, bank <---------------------------'

A large engine lies far from its host: where weights have registers around them, so has the port ([|]).
Latency of a read: ``latency`` cycles from the strobe to mem_valid.  Throughput: a write a cycle; one read is
outstanding.
"""

from __future__ import annotations

from typing import Any

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_hdl.engine.isa import lane_bits
from equilif_hdl.engine.port import (
    COUNTER_REGION,
    PROGRAM_REGION,
    VALUE_REGION,
    WEIGHT_REGION,
    LanesPort,
    address_bits,
)
from equilif_hdl.fixed import lanes_of


class Access(wiring.Component):
    """Members
    -------
    mem_region, mem_addr, mem_wdata, mem_write, mem_read, mem_rdata, mem_valid
        As in equilif_hdl.engine.port.EnginePort.
    lanes : Out(LanesPort)
        Weights and values.
    address, word : Out
        Element of the program memory, or the counter, and what is written.
    write_program, write_counter : Out(1)
        Strobes.
    counter : In(DITHER_WIDTH)
        Position of the dither.
    """

    mem_region: Signal
    mem_addr: Signal
    mem_wdata: Signal
    mem_write: Signal
    mem_read: Signal
    mem_rdata: Signal
    mem_valid: Signal
    lanes: Any
    address: Signal
    word: Signal
    write_program: Signal
    write_counter: Signal
    counter: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        #: registers of the port, and behind the memories
        self.stages = config.weight_stages
        self.latency = 2 + self.stages + (self.stages > 0)
        super().__init__(
            {
                "mem_region": In(2),
                "mem_addr": In(address_bits(config)),
                "mem_wdata": In(32),
                "mem_write": In(1),
                "mem_read": In(1),
                "mem_rdata": Out(32),
                "mem_valid": Out(1),
                "lanes": Out(LanesPort(config)),
                "address": Out(address_bits(config)),
                "word": Out(32),
                "write_program": Out(1),
                "write_counter": Out(1),
                "counter": In(DITHER_WIDTH),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        lanes = self.lanes
        lane = lane_bits(cfg)
        region = Signal.like(self.mem_region)
        write = Signal()
        read = Signal()
        m.d["sync" if self.stages else "comb"] += [
            region.eq(self.mem_region),
            self.address.eq(self.mem_addr),
            self.word.eq(self.mem_wdata),
            write.eq(self.mem_write),
            read.eq(self.mem_read),
        ]
        bank = self.address[:lane]  # the host keeps the address until it has its answer
        m.d.comb += [
            lanes.write_w.eq(Mux(write & (region == WEIGHT_REGION), 1 << bank, 0)),
            lanes.write_v.eq(Mux(write & (region == VALUE_REGION), 1 << bank, 0)),
            lanes.read.eq(read),
            lanes.e.eq(self.address[lane:]),
            lanes.tile.eq(self.address[2 * lane :]),
            lanes.group.eq(self.address[lane:]),
            lanes.data.eq(self.word),
            self.write_program.eq(write & (region == PROGRAM_REGION)),
            self.write_counter.eq(write & (region == COUNTER_REGION)),
        ]
        reading = Signal(1 + self.stages)  # the read, on its way through the memories
        m.d.sync += [reading.eq(Cat(read, reading)), self.mem_valid.eq(reading[-1])]
        with m.Switch(region):
            with m.Case(WEIGHT_REGION):
                weights = Array(w.as_signed() for w in lanes_of(lanes.w, cfg.lanes))
                m.d.sync += self.mem_rdata.eq(weights[bank])
            with m.Case(VALUE_REGION):
                m.d.sync += self.mem_rdata.eq(
                    Cat(lanes.plus.word_select(bank, 8), lanes.minus.word_select(bank, 8))
                )
            with m.Default():
                m.d.sync += self.mem_rdata.eq(self.counter)
        return m
