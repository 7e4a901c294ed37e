"""Engine stub for the bench of the host link: RTL and model."""

from __future__ import annotations

import numpy as np
from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.blocks.plasticity import DITHER_MASK, DITHER_UPDATE, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region, region_size
from equilif_golden.link.device import Device
from equilif_hdl.engine.port import EnginePort
from equilif_hdl.link.host import Host
from equilif_hdl.link.transport import RECEIVED, Received
from equilif_hdl.typed import Stream

#: what a run tells is its number times these, so that every byte of a result moves
PREDICTION = 0x2F0B
CYCLES = 0x9E37_79B1
SPIKES = 0xC2B2_AE3D
ACCESSES = 0x85EB_CA77
PREDICTION_WIDTH = 14  #: of the engine's port


class EngineStub(wiring.Component):
    """Memories of an engine whose run only counts: run k tells multiples of k and leaves k in the first
    value, plus and minus.

    ``writes``, ``starts``: strobes so far.  ``program``: a digest of what was written to program memory,
    which nobody can read. ``illegal``: a strobe came while busy, a read while one was outstanding, or a
    write that leaves its group.
    """

    host: EnginePort.Members
    occupied: Signal
    writes: Signal
    starts: Signal
    program: Signal
    illegal: Signal

    def __init__(self, config: EngineConfig, *, read_latency: int = 2, run_cycles: int = 9):
        self.config = config
        self.read_latency = read_latency
        self.run_cycles = run_cycles
        super().__init__(
            {
                "host": In(EnginePort(config)),
                "occupied": In(1),
                "writes": Out(32),
                "starts": Out(32),
                "program": Out(32),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        h = self.host
        left = Signal(range(self.run_cycles + 1))
        total = Signal(32)  # numbers of all runs since one that did not accumulate
        with m.If(h.start):
            m.d.sync += total.eq(self.starts + 1 + Mux(h.accumulate, total, 0))
        if self.config.external:
            m.d.comb += h.mem_ready.eq(1)
        m.d.comb += [
            h.busy.eq((left != 0) | self.occupied),
            h.prediction.eq(self.starts * PREDICTION),
            h.cycles.eq(total * CYCLES),
            h.spikes.eq(total * SPIKES),
            h.accesses.eq(total * ACCESSES),
        ]
        finish = left == 1
        datas = {}
        lanes = self.config.lanes
        lane = h.mem_addr[: len(h.mem_repeat)]
        crosses_group = Signal()  # what is written leaves its group
        for region in (Region.WEIGHT, Region.VALUE):
            n = lanes if region == Region.VALUE else 1
            mem = m.submodules[region.name.lower()] = memory.Memory(
                shape=16 * n, depth=region_size(self.config, region) // n, init=[]
            )
            wr = mem.write_port(granularity=16)
            rd = mem.read_port()
            place = h.mem_addr[len(lane) :] if region == Region.VALUE else h.mem_addr
            more = ((2 << h.mem_repeat) - 1) << lane if region == Region.VALUE else Const(1)
            m.d.comb += [
                rd.addr.eq(place),
                rd.en.eq(1),
                wr.addr.eq(place),
                wr.data.eq(h.mem_wdata[:16].replicate(n)),
                wr.en.eq(Mux(h.mem_write & (h.mem_region == region), more, 0)),
            ]
            datas[region] = rd.data
            if region == Region.VALUE:
                m.d.comb += crosses_group.eq(h.mem_write & (lane + h.mem_repeat >= lanes))
                datas[region] = rd.data.word_select(lane, 16)
                with m.If(finish):
                    m.d.comb += [
                        wr.en.eq(1),
                        wr.addr.eq(0),
                        wr.data.eq(Cat(self.starts[:8], self.starts[:8])),
                    ]
        with m.If(h.mem_write & (h.mem_region == Region.PROGRAM)):
            m.d.sync += self.program.eq(self.program.rotate_left(1) ^ h.mem_wdata ^ h.mem_addr)
        counter = Signal(DITHER_WIDTH)
        with m.If(h.mem_write & (h.mem_region == Region.COUNTER)):
            m.d.sync += counter.eq(h.mem_wdata)
        # the address is looked at when the data leaves, so a host that moves on too early is found out
        wait = Signal(range(self.read_latency + 1))
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        with m.If(h.mem_read):
            m.d.sync += wait.eq(self.read_latency)
        m.d.comb += h.mem_valid.eq(wait == 1)
        m.d.comb += h.mem_rdata.eq(
            Mux(
                h.mem_valid,
                Array([datas[Region.WEIGHT], datas[Region.VALUE], 0, counter])[h.mem_region],
                0x5A5A5A5A,
            )
        )
        m.d.sync += [self.writes.eq(self.writes + h.mem_write), self.starts.eq(self.starts + h.start)]
        with m.If(h.start):
            m.d.sync += left.eq(self.run_cycles)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        used = h.mem_write | h.mem_read | h.start
        with m.If(used & (h.busy | (wait != 0)) | (h.mem_write & h.mem_read) | crosses_group):
            m.d.sync += self.illegal.eq(1)
        with m.If(h.start & h.learn):
            m.d.sync += counter.eq(counter + DITHER_UPDATE)
        return m


class StubDevice(Device):
    """The model of Host with EngineStub."""

    runs = program = 0

    def _load(self, payload: bytes) -> None:
        super()._load(payload)
        for address, word in enumerate(np.frombuffer(payload, "<u4").tolist()):
            self.program = (self.program << 1 & 0xFFFFFFFF | self.program >> 31) ^ word ^ address

    def run(self, *, learn: bool) -> tuple[int, int, int, int]:
        self.runs += 1
        e = self.engine
        e.plus[0, 0] = self.runs & 0xFF
        e.minus[0, 0] = self.runs & 0xFF
        e.counter = e.counter + learn & DITHER_MASK
        prediction = self.runs * PREDICTION & (1 << PREDICTION_WIDTH) - 1
        cycles, spikes, accesses = (self.runs * k & 0xFFFFFFFF for k in (CYCLES, SPIKES, ACCESSES))
        return prediction, cycles, spikes, accesses


class HostBench(wiring.Component):
    """Design under test: Host and EngineStub."""

    i: Stream[Received]
    o: Stream[Signal]
    occupied: Signal
    writes: Signal
    starts: Signal
    program: Signal
    illegal: Signal

    def __init__(self, config: EngineConfig, *, build_id: int, frame_bytes: int, max_samples: int):
        self.config = config
        self.host = Host(config, build_id=build_id, frame_bytes=frame_bytes, max_samples=max_samples)
        self.engine_stub = EngineStub(config)
        super().__init__(
            {
                "i": In(stream.Signature(RECEIVED)),
                "o": Out(stream.Signature(8)),
                "occupied": In(1),
                "writes": Out(32),
                "starts": Out(32),
                "program": Out(32),
                "illegal": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.host = host = self.host
        m.submodules.engine_stub = e = self.engine_stub
        connect(m, flipped(self.i), host.i)
        connect(m, host.o, flipped(self.o))
        connect(m, host.engine, e.host)
        m.d.comb += [
            e.occupied.eq(self.occupied),
            self.writes.eq(e.writes),
            self.starts.eq(e.starts),
            self.program.eq(e.program),
            self.illegal.eq(e.illegal),
        ]
        return m
