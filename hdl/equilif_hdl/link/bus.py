"""AXI component: the engine with AXI4-Lite for control and memories, and AXI4-Stream for samples.

Bit-exact with equilif_golden.link.bus.BusModel.

    s_axi   --> write, read --+--> registers --> EnginePort --> Engine
            <-- B, R ---------+        |    ^
    s_axis  --> elements --------------+    +--> irq             one access, or one beat, at a time
    m_axis  <-- prediction <-- end of run   |
                         staged program --> Checker --> copy

Latency in cycles, from the transfer of address and data to the response: 2 for a register, and a write of
DATA; 4 for a read of DATA, 9 with the DEEP pipeline.  LOAD checks the staged program word by word, 3 cycles
each plus those of equilif_hdl.engine.checker, then copies it in 2 cycles a word before it responds.
Throughput: an access in one cycle more than its latency; the stream takes a cycle an element and one a beat.
"""

from __future__ import annotations

from amaranth import Cat, ClockDomain, ClockSignal, Module, Mux, ResetSignal, Signal
from amaranth.hdl import Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.activity import NAMES
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WORDS
from equilif_golden.engine.port import Region, region_size
from equilif_golden.link.registers import ELEMENTS, OFFSET_BITS, REGISTERS, constants
from equilif_hdl.engine.checker import Checker
from equilif_hdl.engine.engine import Engine
from equilif_hdl.engine.port import EnginePort, address_bits
from equilif_hdl.fixed import ram

OKAY = 0
SLVERR = 2
#: members of AxiEngine
PORTS = {
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


class AxiEngine(wiring.Component):
    """Port names follow the AXI specifications, so that tools infer the bus interfaces.

    Members
    -------
    aclk, aresetn : In(1)
        Rising edge; synchronous reset, which clears registers, not memories.
    s_axi_* : AXI4-Lite, 32 bits, registers of equilif_golden.link.registers
        Without AxPROT.  All write strobes must be set.
    s_axis_* : AXI4-Stream, 32 bits with TKEEP and TLAST
        Elements for REGION from ADDRESS on, packed from bit 0 upwards; stalls during a run and until the last
        prediction is read.
    m_axis_* : AXI4-Stream, 32 bits with TLAST
        The prediction of every run that was started by a packet.
    irq : Out(1)
        High while STATUS.DONE and INTERRUPT.DONE are set.

    ``build_id``: value of register BUILD.  ``state_ram``: see equilif_hdl.engine.engine.Engine.
    """

    aclk: Signal
    aresetn: Signal
    s_axi_awaddr: Signal
    s_axi_awvalid: Signal
    s_axi_awready: Signal
    s_axi_wdata: Signal
    s_axi_wstrb: Signal
    s_axi_wvalid: Signal
    s_axi_wready: Signal
    s_axi_bresp: Signal
    s_axi_bvalid: Signal
    s_axi_bready: Signal
    s_axi_araddr: Signal
    s_axi_arvalid: Signal
    s_axi_arready: Signal
    s_axi_rdata: Signal
    s_axi_rresp: Signal
    s_axi_rvalid: Signal
    s_axi_rready: Signal
    s_axis_tdata: Signal
    s_axis_tkeep: Signal
    s_axis_tlast: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    m_axis_tdata: Signal
    m_axis_tlast: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    irq: Signal

    def __init__(self, config: EngineConfig, *, build_id: int = 0, state_ram: str | None = None):
        if config.external:
            raise ValueError("an AXI engine has no external weights: leave out EngineConfig.external")
        self.config = config
        self.build_id = build_id
        self.state_ram = state_ram
        super().__init__(PORTS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.domains.sync = ClockDomain("sync")
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.engine = engine = Engine(self.config, state_ram=self.state_ram)
        m.submodules.checker = checker = Checker(self.config)
        m.submodules.staged = staged = ram(32, self.config.program_words, "block")
        bus = _Bus(self, m, engine.host, checker, staged)
        bus.release()
        with m.FSM() as fsm:
            bus.idle()
            bus.read()
            bus.write()
            bus.load()
            bus.stream()
        # the read data must be stable while they are used
        m.d.comb += bus.staged_read.en.eq(bus.read_element | fsm.ongoing("JUDGE") | fsm.ongoing("COPY"))
        bus.runs()
        return m


class _Bus:
    """Registers of the bus, and its states: one access, or one beat of the stream, at a time."""

    def __init__(
        self,
        axi: AxiEngine,
        m: Module,
        engine: EnginePort.Members,
        checker: Checker,
        staged: Memory[int, Value],
    ):
        self.axi = axi
        self.config = axi.config
        self.m = m
        self.engine = engine
        self.checker = checker
        self.staged_write = staged.write_port()
        self.staged_read = staged.read_port()
        width = address_bits(self.config)

        # registers of the register map
        self.loaded = Signal()
        self.done = Signal()
        self.fault = Signal()
        self.interrupt = Signal()
        self.rejected = Signal.like(checker.index)
        self.region = Signal(2)
        self.address = Signal(width + 1)  # the top bit: outside all regions
        self.first = Signal(width)  # ADDRESS as last written
        self.stream_mode = Signal(2)  # STREAM

        # the access
        self.offset = Signal(OFFSET_BITS)
        self.word = Signal(32)
        self.strobes_set = Signal()  # all write strobes are set
        self.keep = Signal(4)  # valid bytes of the beat
        self.last = Signal()  # the beat ends a packet
        self.read_first = Signal()  # after a write, reads have priority
        self.overtaken = Signal()  # an access has overtaken a waiting beat
        self.running = Signal()  # the engine was busy in the previous cycle
        self.ended = Signal()  # a run has just ended
        self.streamed = Signal()  # that run was started by a packet

        # memories
        self.program = Signal()  # the region is the staged program
        self.outside = Signal()  # the address is not in the region
        self.accessible = Signal()  # the element is accessible
        self.element = Signal(32)
        self.write_element = Signal()  # the element is written
        self.read_element = Signal()  # the element is read
        m.d.comb += [
            self.program.eq(self.region == Region.PROGRAM),
            self.accessible.eq(~engine.busy & ~self.outside),
        ]
        with m.Switch(self.region):
            for r in Region:
                with m.Case(int(r)):
                    m.d.comb += self.outside.eq(self.address >= region_size(self.config, r))

        # copy of the staged program to the engine
        self.at = Signal(range(self.config.program_words + WORDS + 1))  # address of the word
        self.end = Signal(range(self.config.program_words + 1))
        self.left = Signal(range(self.config.program_words // WORDS + 2))  # instructions left to check
        self.part = Signal(range(WORDS))  # index of the word in its instruction
        self.checking = Signal()  # the staged program is read by checker or engine
        self.copy = Signal()  # a word is written to the engine

        # a packet
        self.dropped = Signal()  # an element was outside the region
        self.rest = Signal(4)  # bytes of the beat that are left
        self._connect()

    def _connect(self) -> None:
        m = self.m
        engine = self.engine
        checking = self.checking
        place = Mux(checking, self.at, self.address)
        m.d.sync += self.running.eq(engine.busy)
        m.d.comb += [
            self.ended.eq(self.running & ~engine.busy),
            self.axi.irq.eq(self.done & self.interrupt),
            self.element.eq(self.word),
            self.staged_write.addr.eq(self.address),
            self.staged_write.data.eq(self.element),
            self.staged_write.en.eq(self.write_element & self.program),
            self.staged_read.addr.eq(place),
            self.checker.word.eq(self.staged_read.data),
            engine.mem_region.eq(Mux(checking, int(Region.PROGRAM), self.region)),
            engine.mem_addr.eq(place),
            engine.mem_wdata.eq(Mux(checking, self.staged_read.data, self.element)),
            engine.mem_write.eq(self.copy | self.write_element & ~self.program),
            engine.mem_read.eq(self.read_element & ~self.program),
        ]
        with m.If(self.write_element):
            m.d.sync += self.address.eq(self.address + 1)

    def _readable(self) -> dict[str, ValueLike]:
        """Readable registers, except DATA."""
        engine = self.engine
        bits = {"DONE": self.done, "FAULT": self.fault, "BUSY": engine.busy, "LOADED": self.loaded}
        assert [f.name for f in REGISTERS["STATUS"].fields] == list(bits)
        values: dict[str, ValueLike] = {
            "STATUS": Cat(*bits.values()),
            "INTERRUPT": self.interrupt,
            "REJECTED": self.rejected,
            "REGION": self.region,
            "ADDRESS": self.address,
            "STREAM": self.stream_mode,
            "PREDICTION": engine.prediction,
            "CYCLES": engine.cycles,
            "SPIKES": engine.spikes,
            "ACCESSES": engine.accesses,
            **constants(self.config, self.axi.build_id),
        }
        if self.config.counters:
            values |= {name.upper(): engine.activity[k] for k, name in enumerate(NAMES)}
        return values

    # -- answers -----------------------------------------------------------------------------------
    def release(self) -> None:
        """Clear responses that are accepted."""
        axi = self.axi
        for valid, ready in (
            (axi.s_axi_bvalid, axi.s_axi_bready),
            (axi.s_axi_rvalid, axi.s_axi_rready),
            (axi.m_axis_tvalid, axi.m_axis_tready),
        ):
            with self.m.If(ready):
                self.m.d.sync += valid.eq(0)

    def _written(self, ok: ValueLike) -> None:
        axi = self.axi
        self.m.d.sync += [axi.s_axi_bvalid.eq(1), axi.s_axi_bresp.eq(Mux(ok, OKAY, SLVERR))]
        self.m.next = "IDLE"

    def _answered(self, ok: ValueLike, value: ValueLike) -> None:
        axi = self.axi
        self.m.d.sync += [
            axi.s_axi_rvalid.eq(1),
            axi.s_axi_rresp.eq(Mux(ok, OKAY, SLVERR)),
            axi.s_axi_rdata.eq(Mux(ok, value, 0)),
        ]
        self.m.next = "IDLE"

    def _run(self, learn: ValueLike) -> None:
        self.m.d.comb += [self.engine.start.eq(1), self.engine.learn.eq(learn)]
        self.m.d.sync += self.done.eq(0)

    def _rejected(self) -> None:
        self.m.d.sync += self.rejected.eq(self.checker.index)
        self._written(0)

    # -- accesses ----------------------------------------------------------------------------------
    def idle(self) -> None:
        m = self.m
        axi = self.axi
        write = Signal()
        read = Signal()
        beat = Signal()
        with m.State("IDLE"):
            wants_write = axi.s_axi_awvalid & axi.s_axi_wvalid & ~axi.s_axi_bvalid
            wants_read = axi.s_axi_arvalid & ~axi.s_axi_rvalid
            at_rest = ~self.engine.busy & ~self.running & ~axi.m_axis_tvalid
            waiting = axi.s_axis_tvalid & at_rest
            first = waiting & self.overtaken  # alternating reads and writes must not block a beat
            m.d.comb += [
                write.eq(wants_write & ~first & ~(wants_read & self.read_first)),
                read.eq(wants_read & ~first & ~(wants_write & ~self.read_first)),
                beat.eq(waiting & (self.overtaken | ~wants_write & ~wants_read)),
                axi.s_axi_awready.eq(write),
                axi.s_axi_wready.eq(write),
                axi.s_axi_arready.eq(read),
                axi.s_axis_tready.eq(beat),
            ]
            m.d.sync += [
                self.offset.eq(Mux(write, axi.s_axi_awaddr, axi.s_axi_araddr)),
                self.word.eq(Mux(write, axi.s_axi_wdata, axi.s_axis_tdata)),
                self.strobes_set.eq(axi.s_axi_wstrb.all()),
                self.keep.eq(axi.s_axis_tkeep),
                self.last.eq(axi.s_axis_tlast),
                self.read_first.eq(Mux(read | write, write, self.read_first)),
                self.overtaken.eq(Mux(read | write, waiting, self.overtaken & ~beat)),
            ]
            with m.If(write):
                m.next = "WRITE"
            with m.Elif(read):
                m.next = "READ"
            with m.Elif(beat):
                m.next = "BEAT"

    def read(self) -> None:
        m = self.m
        with m.State("READ"):
            self._answered(0, 0)
            with m.Switch(self.offset):
                for name, value in self._readable().items():
                    with m.Case(REGISTERS[name].offset):
                        self._answered(1, value)
                with m.Case(REGISTERS["DATA"].offset):
                    with m.If(self.accessible):
                        m.d.comb += self.read_element.eq(1)
                        m.d.sync += self.axi.s_axi_rvalid.eq(0)
                        m.next = "FETCH"
        with m.State("FETCH"):
            with m.If(self.program | self.engine.mem_valid):
                self._answered(1, Mux(self.program, self.staged_read.data, self.engine.mem_rdata))
                m.d.sync += self.address.eq(self.address + 1)

    def write(self) -> None:
        m = self.m
        with m.State("WRITE"):
            self._written(0)
            with m.If(self.strobes_set):
                with m.Switch(self.offset):
                    self._writable()

    def _writable(self) -> None:
        """Cases of the writable registers."""
        m = self.m
        word = self.word
        engine = self.engine
        with m.Case(REGISTERS["CONTROL"].offset):
            self._written(self.loaded & ~engine.busy)
            with m.If(self.loaded & ~engine.busy & word[0]):
                self._run(word[1])
                m.d.sync += self.streamed.eq(0)
        with m.Case(REGISTERS["STATUS"].offset):
            self._written(1)
            m.d.sync += [self.done.eq(self.done & ~word[0]), self.fault.eq(self.fault & ~word[1])]
        with m.Case(REGISTERS["INTERRUPT"].offset):
            self._written(1)
            m.d.sync += self.interrupt.eq(word[0])
        with m.Case(REGISTERS["LOAD"].offset):
            limit = self.checker.max_instructions
            m.d.comb += self.checker.clear.eq(1)
            m.d.sync += [
                self.at.eq(0),
                self.part.eq(0),
                self.left.eq(Mux(word > limit, limit + 1, word)),
            ]
            with m.If(~engine.busy):
                m.d.sync += self.axi.s_axi_bvalid.eq(0)
                m.next = "JUDGE"
        with m.Case(REGISTERS["REGION"].offset):
            valid = word < len(ELEMENTS)
            self._written(valid)
            with m.If(valid):
                m.d.sync += self.region.eq(word)
        with m.Case(REGISTERS["ADDRESS"].offset):
            inside = ~word[len(self.first) :].any()
            self._written(inside)
            with m.If(inside):
                m.d.sync += [self.address.eq(word), self.first.eq(word)]
        with m.Case(REGISTERS["DATA"].offset):
            self._written(self.accessible)
            m.d.comb += self.write_element.eq(self.accessible)
        with m.Case(REGISTERS["STREAM"].offset):
            self._written(1)
            m.d.sync += self.stream_mode.eq(word)

    # -- program: checked word by word, then copied ------------------------------------------------
    def load(self) -> None:
        m = self.m
        with m.State("JUDGE"):
            m.d.comb += self.checking.eq(1)
            m.next = "STEP"
            with m.If((self.left == 0) & self.checker.closed):
                m.d.sync += [self.at.eq(0), self.end.eq(self.at)]
                m.next = "COPY"
            with m.Elif(self.left == 0):
                self._rejected()
        with m.State("STEP"):
            m.d.comb += [self.checking.eq(1), self.checker.step.eq(1)]
            m.next = "JUDGED"
        with m.State("JUDGED"):
            m.d.comb += self.checking.eq(1)
            with m.If(self.checker.fault):
                self._rejected()
            with m.Elif(~self.checker.busy):
                m.d.sync += [
                    self.at.eq(self.at + 1),
                    self.part.eq(Mux(self.part == WORDS - 1, 0, self.part + 1)),
                    self.left.eq(self.left - (self.part == WORDS - 1)),
                ]
                m.next = "JUDGE"
        with m.State("COPY"):
            m.d.comb += self.checking.eq(1)
            m.next = "COPIED"
        with m.State("COPIED"):
            m.d.comb += [self.checking.eq(1), self.copy.eq(1)]
            m.d.sync += self.at.eq(self.at + 1)
            m.next = "COPY"
            with m.If(self.at + 1 == self.end):
                m.d.sync += self.loaded.eq(1)
                self._written(1)

    # -- the stream --------------------------------------------------------------------------------
    def stream(self) -> None:
        m = self.m
        word = self.word
        keep = self.keep
        with m.State("BEAT"):
            with m.Switch(self.region):
                for r, (_, _, size, _) in zip(Region, ELEMENTS, strict=True):
                    with m.Case(int(r)):
                        # a value is written to both of its memories
                        element = word[:8].replicate(2) if r == Region.VALUE else word
                        m.d.comb += [self.element.eq(element), self.rest.eq(keep[size // 8 :])]
                        m.d.sync += word.eq(word[size:])
            m.d.comb += self.write_element.eq(keep[0] & ~self.outside)
            m.d.sync += keep.eq(self.rest)
            with m.If(keep[0] & self.outside):
                m.d.sync += [self.fault.eq(1), self.dropped.eq(1)]
            with m.If(self.rest == 0):
                m.next = "IDLE"
                with m.If(self.last):
                    m.next = "PACKET"
        with m.State("PACKET"):
            m.d.sync += [self.address.eq(self.first), self.dropped.eq(0)]
            m.next = "IDLE"
            with m.If(self.stream_mode[0]):
                with m.If(self.loaded & ~self.dropped):
                    self._run(self.stream_mode[1])
                    m.d.sync += self.streamed.eq(1)
                with m.Else():
                    m.d.sync += self.fault.eq(1)

    def runs(self) -> None:
        """Flags and result at the end of a run."""
        m = self.m
        axi = self.axi
        with m.If(self.ended & ~self.engine.start):  # the next run may start in the cycle after
            m.d.sync += self.done.eq(1)
        with m.If(self.ended & self.streamed):
            m.d.sync += [axi.m_axis_tvalid.eq(1), axi.m_axis_tdata.eq(self.engine.prediction)]
        m.d.comb += axi.m_axis_tlast.eq(1)
