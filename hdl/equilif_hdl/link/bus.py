"""The engine as a component for other designs.

AXI4-Lite for control and memories, AXI4-Stream for samples.  Answers as equilif_golden.link.bus.BusModel.

    s_axi   --> write, read --+--> registers --> EnginePort --> Engine
            <-- B, R ---------+        |    ^
    s_axis  --> elements --------------+    +--> irq             one access, or one beat, at a time
    m_axis  <-- prediction <-- run's end    |
                         staged program --> Checker --> copy

Latency, in cycles from the transfer of address and data to the response: 2 for a register, written or
read, and for DATA written; DATA read 4, with weight_stages 5 + weight_stages.  LOAD judges word by word,
3 cycles each and what equilif_hdl.engine.checker takes, then copies in 2 each, and only then answers.
Throughput: an access a cycle more than its latency; the stream an element a cycle, and one cycle a beat.
"""

from __future__ import annotations

from amaranth import Cat, ClockDomain, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS
from equilif_golden.engine.port import Region, region_size
from equilif_golden.link.registers import ELEMENTS, OFFSET_BITS, REGISTERS, constants
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.engine import Engine
from equilif_hdl.engine.port import address_bits
from equilif_hdl.fixed import ram

OKAY, SLVERR = 0, 2


class AxiEngine(wiring.Component):
    """Ports have the names of the AXI specifications, so that tools find the buses by themselves.

    Members
    -------
    aclk, aresetn : In(1)
        Everything is synchronous to the rising edge, the reset too.  It clears registers, not memories.
    s_axi_* : AXI4-Lite, 32 bits, registers of equilif_golden.link.registers
        AxPROT is not looked at and left out.  Strobes must be all ones.
    s_axis_* : AXI4-Stream, 32 bits with TKEEP and TLAST
        Elements for REGION from ADDRESS on, packed from bit 0 upwards; waits during a run and until the
        last result was taken.
    m_axis_* : AXI4-Stream, 32 bits with TLAST
        The prediction of every run that a packet began.
    irq : Out(1)
        High while STATUS.DONE and INTERRUPT.DONE are set.

    ``build_id`` is what BUILD reads; ``state_ram``: see equilif_hdl.engine.engine.Engine.
    """

    def __init__(self, config: EngineConfig, *, build_id: int = 0, state_ram: str | None = None):
        self.config, self.build_id, self.state_ram = config, build_id, state_ram
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axi_awaddr": In(OFFSET_BITS),
                "s_axi_awvalid": In(1),
                "s_axi_awready": Out(1),
                "s_axi_wdata": In(32),
                "s_axi_wstrb": In(4),
                "s_axi_wvalid": In(1),
                "s_axi_wready": Out(1),
                "s_axi_bresp": Out(2),
                "s_axi_bvalid": Out(1),
                "s_axi_bready": In(1),
                "s_axi_araddr": In(OFFSET_BITS),
                "s_axi_arvalid": In(1),
                "s_axi_arready": Out(1),
                "s_axi_rdata": Out(32),
                "s_axi_rresp": Out(2),
                "s_axi_rvalid": Out(1),
                "s_axi_rready": In(1),
                "s_axis_tdata": In(32),
                "s_axis_tkeep": In(4),
                "s_axis_tlast": In(1),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(32),
                "m_axis_tlast": Out(1),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain("sync")
        m.d.comb += [sync.clk.eq(self.aclk), sync.rst.eq(~self.aresetn)]
        cfg, width = self.config, address_bits(self.config)
        m.submodules.engine = inner = Engine(cfg, state_ram=self.state_ram)
        m.submodules.checker = checker = Checker(cfg)
        m.submodules.staged = staged = ram(32, cfg.program_words, "block")
        engine, (stage, unstage) = inner.host, (staged.write_port(), staged.read_port())

        # -- registers -----------------------------------------------------------------------------
        loaded, done, fault, interrupt = Signal(), Signal(), Signal(), Signal()
        # top bit: beyond all regions
        rejected, region, address, first = (
            Signal.like(checker.index),
            Signal(2),
            Signal(width + 1),
            Signal(width),
        )
        stream = Signal(2)
        running, ended, streamed = Signal(), Signal(), Signal()
        m.d.sync += running.eq(engine.busy)
        m.d.comb += [ended.eq(running & ~engine.busy), self.irq.eq(done & interrupt)]
        status = REGISTERS["STATUS"]
        bits = {"DONE": done, "FAULT": fault, "BUSY": engine.busy, "LOADED": loaded}
        assert [f.name for f in status.fields] == list(bits)
        values = {
            "STATUS": Cat(*bits.values()),
            "INTERRUPT": interrupt,
            "REJECTED": rejected,
            "REGION": region,
            "ADDRESS": address,
            "STREAM": stream,
            "PREDICTION": engine.prediction,
            "CYCLES": engine.cycles,
            "SPIKES": engine.spikes,
            "ACCESSES": engine.accesses,
            **constants(cfg, self.build_id),
        }

        if cfg.counters:
            values |= {name.upper(): engine.activity[k] for k, name in enumerate(NAMES)}

        # -- memories ------------------------------------------------------------------------------
        offset, word, keep, last, whole = Signal(OFFSET_BITS), Signal(32), Signal(4), Signal(), Signal()
        outside, free, element, put, get = Signal(), Signal(), Signal(32), Signal(), Signal()
        at, end, left, part = (
            Signal(range(cfg.program_words + WORDS + 1)),
            Signal(range(cfg.program_words + 1)),
            Signal(range(cfg.program_words // WORDS + 2)),
            Signal(range(WORDS)),
        )
        judging, copy = Signal(), Signal()
        program = region == Region.PROGRAM
        with m.Switch(region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += outside.eq(address >= region_size(cfg, r))
        m.d.comb += [
            free.eq(~engine.busy & ~outside),
            element.eq(word),
            stage.addr.eq(address),
            stage.data.eq(element),
            stage.en.eq(put & program),
            unstage.addr.eq(Mux(judging, at, address)),
            checker.word.eq(unstage.data),
            engine.mem_region.eq(Mux(judging, int(Region.PROGRAM), region)),
            engine.mem_addr.eq(Mux(judging, at, address)),
            engine.mem_wdata.eq(Mux(judging, unstage.data, element)),
            engine.mem_write.eq(copy | put & ~program),
            engine.mem_read.eq(get & ~program),
        ]
        with m.If(put):
            m.d.sync += address.eq(address + 1)

        # -- answers -------------------------------------------------------------------------------
        for valid, ready in (
            (self.s_axi_bvalid, self.s_axi_bready),
            (self.s_axi_rvalid, self.s_axi_rready),
            (self.m_axis_tvalid, self.m_axis_tready),
        ):
            with m.If(ready):
                m.d.sync += valid.eq(0)

        def written(ok):
            m.d.sync += [self.s_axi_bvalid.eq(1), self.s_axi_bresp.eq(Mux(ok, OKAY, SLVERR))]
            m.next = "IDLE"

        def answered(ok, value):
            m.d.sync += [
                self.s_axi_rvalid.eq(1),
                self.s_axi_rresp.eq(Mux(ok, OKAY, SLVERR)),
                self.s_axi_rdata.eq(Mux(ok, value, 0)),
            ]
            m.next = "IDLE"

        def run(learn):
            m.d.comb += [engine.start.eq(1), engine.learn.eq(learn)]
            m.d.sync += done.eq(0)

        # turn: after a write a read comes first
        write, read, beat, turn = Signal(), Signal(), Signal(), Signal()
        with m.FSM() as fsm:
            with m.State("IDLE"):
                wants_write = self.s_axi_awvalid & self.s_axi_wvalid & ~self.s_axi_bvalid
                wants_read = self.s_axi_arvalid & ~self.s_axi_rvalid
                m.d.comb += [
                    write.eq(wants_write & ~(wants_read & turn)),
                    read.eq(wants_read & ~(wants_write & ~turn)),
                    beat.eq(
                        self.s_axis_tvalid
                        & ~wants_write
                        & ~wants_read
                        & ~engine.busy
                        & ~running
                        & ~self.m_axis_tvalid
                    ),
                    self.s_axi_awready.eq(write),
                    self.s_axi_wready.eq(write),
                    self.s_axi_arready.eq(read),
                    self.s_axis_tready.eq(beat),
                ]
                m.d.sync += [
                    offset.eq(Mux(write, self.s_axi_awaddr, self.s_axi_araddr)),
                    word.eq(Mux(write, self.s_axi_wdata, self.s_axis_tdata)),
                    whole.eq(self.s_axi_wstrb.all()),
                    keep.eq(self.s_axis_tkeep),
                    last.eq(self.s_axis_tlast),
                    turn.eq(Mux(read | write, write, turn)),
                ]
                with m.If(write):
                    m.next = "WRITE"
                with m.Elif(read):
                    m.next = "READ"
                with m.Elif(beat):
                    m.next = "BEAT"

            with m.State("READ"):
                answered(0, 0)
                with m.Switch(offset):
                    for name, value in values.items():
                        with m.Case(REGISTERS[name].offset):
                            answered(1, value)
                    with m.Case(REGISTERS["DATA"].offset):
                        with m.If(free):
                            m.d.comb += get.eq(1)
                            m.d.sync += self.s_axi_rvalid.eq(0)
                            m.next = "FETCH"
            with m.State("FETCH"):
                with m.If(program | engine.mem_valid):
                    answered(1, Mux(program, unstage.data, engine.mem_rdata))
                    m.d.sync += address.eq(address + 1)

            with m.State("WRITE"):
                written(0)
                with m.If(whole):
                    with m.Switch(offset):
                        with m.Case(REGISTERS["CONTROL"].offset):
                            written(loaded & ~engine.busy)
                            with m.If(loaded & ~engine.busy & word[0]):
                                run(word[1])
                                m.d.sync += streamed.eq(0)
                        with m.Case(status.offset):
                            written(1)
                            m.d.sync += [done.eq(done & ~word[0]), fault.eq(fault & ~word[1])]
                        with m.Case(REGISTERS["INTERRUPT"].offset):
                            written(1)
                            m.d.sync += interrupt.eq(word[0])
                        with m.Case(REGISTERS["LOAD"].offset):
                            m.d.comb += checker.clear.eq(1)
                            m.d.sync += [
                                at.eq(0),
                                part.eq(0),
                                left.eq(Mux(word > checker.most, checker.most + 1, word)),
                            ]
                            with m.If(~engine.busy):
                                m.d.sync += self.s_axi_bvalid.eq(0)
                                m.next = "JUDGE"
                        with m.Case(REGISTERS["REGION"].offset):
                            written(word < len(ELEMENTS))
                            with m.If(word < len(ELEMENTS)):
                                m.d.sync += region.eq(word)
                        with m.Case(REGISTERS["ADDRESS"].offset):
                            written(~word[width:].any())
                            with m.If(~word[width:].any()):
                                m.d.sync += [address.eq(word), first.eq(word)]
                        with m.Case(REGISTERS["DATA"].offset):
                            written(free)
                            m.d.comb += put.eq(free)
                        with m.Case(REGISTERS["STREAM"].offset):
                            written(1)
                            m.d.sync += stream.eq(word)

            # -- a program: judged word by word, then copied ---------------------------------------
            with m.State("JUDGE"):
                m.d.comb += judging.eq(1)
                m.next = "STEP"
                with m.If((left == 0) & checker.closed):
                    m.d.sync += [at.eq(0), end.eq(at)]
                    m.next = "COPY"
                with m.Elif(left == 0):
                    m.d.sync += rejected.eq(checker.index)
                    written(0)
            with m.State("STEP"):
                m.d.comb += [judging.eq(1), checker.step.eq(1)]
                m.next = "JUDGED"
            with m.State("JUDGED"):
                m.d.comb += judging.eq(1)
                with m.If(checker.fault):
                    m.d.sync += rejected.eq(checker.index)
                    written(0)
                with m.Elif(~checker.busy):
                    m.d.sync += [
                        at.eq(at + 1),
                        part.eq(Mux(part == WORDS - 1, 0, part + 1)),
                        left.eq(left - (part == WORDS - 1)),
                    ]
                    m.next = "JUDGE"
            with m.State("COPY"):
                m.d.comb += judging.eq(1)
                m.next = "COPIED"
            with m.State("COPIED"):
                m.d.comb += [judging.eq(1), copy.eq(1)]
                m.d.sync += at.eq(at + 1)
                m.next = "COPY"
                with m.If(at + 1 == end):
                    m.d.sync += loaded.eq(1)
                    written(1)

            # -- the stream ------------------------------------------------------------------------
            dropped, rest = Signal(), Signal(4)
            with m.State("BEAT"):
                with m.Switch(region):
                    for r, (_, _, size, _) in zip(Region, ELEMENTS, strict=True):
                        with m.Case(int(r)):
                            m.d.comb += [
                                element.eq(word[:8].replicate(2) if r == Region.VALUE else word),
                                rest.eq(keep[size // 8 :]),
                            ]
                            m.d.sync += word.eq(word[size:])
                m.d.comb += put.eq(keep[0] & ~outside)
                m.d.sync += keep.eq(rest)
                with m.If(keep[0] & outside):
                    m.d.sync += [fault.eq(1), dropped.eq(1)]
                with m.If(rest == 0):
                    m.next = "IDLE"
                    with m.If(last):
                        m.next = "PACKET"
            with m.State("PACKET"):
                m.d.sync += [address.eq(first), dropped.eq(0)]
                m.next = "IDLE"
                with m.If(stream[0]):
                    with m.If(loaded & ~dropped):
                        run(stream[1])
                        m.d.sync += streamed.eq(1)
                    with m.Else():
                        m.d.sync += fault.eq(1)
        # what is read out must stay while it is used
        m.d.comb += unstage.en.eq(get | fsm.ongoing("JUDGE") | fsm.ongoing("COPY"))

        with m.If(ended & ~engine.start):  # the next run may begin in the cycle after the last one
            m.d.sync += done.eq(1)
        with m.If(ended & streamed):
            m.d.sync += [self.m_axis_tvalid.eq(1), self.m_axis_tdata.eq(engine.prediction)]
        m.d.comb += self.m_axis_tlast.eq(1)
        return m
