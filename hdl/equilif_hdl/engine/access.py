"""Host access to the memories, an element at a time, while the engine is idle.

    region, address, write, read --> word, bank --> lanes (weights, values), program memory, counter
    rdata, valid <--|-- region <---------------- word of lane 0 --'

Reads use the path of commands: the butterfly moves the word to lane 0.

Latency of a read: ``latency`` cycles.  Throughput: a write a cycle; one read is outstanding.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
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
from equilif_hdl.fixed import at_least, domain


class Access(wiring.Component):
    """Members
    -------
    region, address : In
        Element; held until the read is answered.
    write, read : In(1)
        Strobes.
    data : In(16)
        Weight or values to write.
    repeats : In(lane_bits)
        Number of following values of the same group that are written, too.
    rdata, valid : Out(32), Out(1)
        Read data, and its strobe.
    lanes : Out(LanesPort)
        Weights and values.
    write_program, write_counter : Out(1)
        Strobes.
    counter : In(DITHER_WIDTH)
        Dither counter.
    """

    region: Signal
    address: Signal
    write: Signal
    repeats: Signal
    read: Signal
    data: Signal
    rdata: Signal
    valid: Signal
    lanes: LanesPort.Members
    write_program: Signal
    write_counter: Signal
    counter: Signal

    def __init__(self, config: EngineConfig):
        self.config = config
        registers = config.registers
        # strobes, address and data of the lanes are registered after the decoding
        self.decoded = registers.host > 1
        # a read waits for an earlier write of values
        self.late = registers.state_write + self.decoded
        self.latency = self.late + 2 + registers.weight_read + registers.butterfly
        super().__init__(
            {
                "region": In(2),
                "address": In(address_bits(config)),
                "write": In(1),
                "repeats": In(lane_bits(config)),
                "read": In(1),
                "data": In(16),
                "rdata": Out(32),
                "valid": Out(1),
                "lanes": Out(LanesPort(config)),
                "write_program": Out(1),
                "write_counter": Out(1),
                "counter": In(DITHER_WIDTH),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        lanes = self.lanes
        lane = lane_bits(cfg)
        bank = self.address[:lane]
        write_w = self.write & (self.region == WEIGHT_REGION)
        write_v = self.write & (self.region == VALUE_REGION)
        # lanes from the element on
        several = Cat(at_least(self.repeats, k) for k in range(cfg.lanes)) << bank
        reading = Signal(self.latency - 1)  # reads in the pipeline
        reads = [self.read, *reading]  # by the cycles since the strobe
        m.d.comb += lanes.read.eq(reads[self.late])
        if cfg.registers.state_read:
            m.d.comb += lanes.read_values.eq(reads[self.late - 1])
        m.d[domain(self.decoded)] += [
            lanes.write_w.eq(Mux(write_w, 1 << bank, 0)),
            lanes.write_v.eq(Mux(write_v, several, 0)),
            lanes.data.eq(self.data),
            lanes.e.eq(self.address[lane:]),
            lanes.tile.eq(self.address[2 * lane :]),
            lanes.group.eq(self.address[lane:]),
            lanes.is_weight.eq(self.region == WEIGHT_REGION),
            lanes.bank.eq(bank),
        ]
        m.d.comb += [
            self.write_program.eq(self.write & (self.region == PROGRAM_REGION)),
            self.write_counter.eq(self.write & (self.region == COUNTER_REGION)),
        ]
        m.d.sync += [reading.eq(Cat(self.read, reading)), self.valid.eq(reading[-1])]
        with m.Switch(self.region):
            with m.Case(WEIGHT_REGION):
                m.d.sync += self.rdata.eq(lanes.word.as_signed())
            with m.Case(VALUE_REGION):
                m.d.sync += self.rdata.eq(lanes.word)
            with m.Default():
                m.d.sync += self.rdata.eq(self.counter)
        return m
