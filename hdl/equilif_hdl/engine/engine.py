"""Engine: a time-multiplexed core that runs any network as a program.

Bit-exact with equilif_golden.engine.model.EngineModel.

    host --> [ access ] --> program --> [ sequencer ] --> [ dispatcher ] --> instruction of all below
                  |
                  |         [ scanner ] --events--> [ walker ] --commands--> [ lanes ]
                  |            ^    '--> [ argmax ]                           ^    |
                  |            '------------------- spikes, values -----------|----'
                  '--> weights, values (while idle) --------------------------'

Latency: 6 cycles from ``host.start`` to the start of the first instruction, 7 with a queue.  Throughput: an
instruction begins when all commands of its predecessor are issued and, if it depends on their results, have
left the lanes (equilif_hdl.engine.dispatch).
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.blocks.plasticity import DITHER_UPDATE, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import SYNAPTIC, WALK, Op
from equilif_golden.engine.memories import skips_unchanged
from equilif_hdl.engine.access import Access
from equilif_hdl.engine.activity import Activity
from equilif_hdl.engine.argmax import Argmax
from equilif_hdl.engine.dispatch import Dispatcher
from equilif_hdl.engine.external import Mover
from equilif_hdl.engine.geometry import Geometry
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    Instruction,
    by_column,
    by_minus,
    has_static,
    is_external,
    is_one_of,
    on_second,
    stores,
)
from equilif_hdl.engine.lanes import Lanes
from equilif_hdl.engine.port import WEIGHT_REGION, EnginePort
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.tables import TableUnit
from equilif_hdl.engine.walk import Walker
from equilif_hdl.fixed import ram
from equilif_hdl.sdram import SdramController, SdramPins
from equilif_hdl.typed import signal_of


class Engine(wiring.Component):
    """Members
    -------
    host : In(EnginePort)
        Memory access while idle, start, busy, counters and prediction.
    sdram : Out(SdramPins)
        With external weights: the pins of their memory.

    ``state_ram``: memory style of neuron state and values, a hint to synthesis (``block``, ``distributed``).
    """

    host: EnginePort.Members
    sdram: SdramPins.Members

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config = config
        self.state_ram = state_ram
        external = config.external
        super().__init__(
            {
                "host": In(EnginePort(config)),
                **({"sdram": Out(SdramPins(external.chip))} if external else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        host = self.host
        m.submodules.sequencer = sequencer = Sequencer(cfg)
        m.submodules.dispatcher = dispatcher = Dispatcher(cfg)
        m.submodules.scanner = scanner = Scanner(cfg)
        m.submodules.argmax = argmax = Argmax(cfg)
        m.submodules.walker = walker = Walker(cfg)
        m.submodules.lanes = lanes = Lanes(cfg, state_ram=self.state_ram)
        m.submodules.access = access = Access(cfg)
        m.submodules.program = program = ram(32, cfg.program_words, None)
        loading = program.write_port()
        fetching = program.read_port()
        phase = Signal(DITHER_WIDTH)  # position of the dither
        connect(m, sequencer.o, dispatcher.i)
        connect(m, scanner.memory, lanes.scan)
        connect(m, access.lanes, lanes.host)
        connect(m, lanes.status, sequencer.status)
        connect(m, lanes.progress, dispatcher.progress)
        if not cfg.single_port:
            learning = dispatcher.is_learn
            m.d.comb += [
                walker.hold.eq(lanes.progress.stepping),
                dispatcher.adds.eq(walker.i.valid & walker.i.ready & ~learning),
            ]
        address = self._host_signal(m, "mem_addr")
        word = self._host_signal(m, "mem_wdata")
        region = self._host_signal(m, "mem_region")
        write = self._host_signal(m, "mem_write")
        repeats = self._host_signal(m, "mem_repeat")
        read = self._host_signal(m, "mem_read")
        m.d.comb += [
            access.region.eq(region),
            access.address.eq(address),
            access.write.eq(write),
            access.repeats.eq(repeats),
            access.read.eq(read),
            access.counter.eq(phase),
            host.mem_rdata.eq(access.rdata),
            host.mem_valid.eq(access.valid),
            access.data.eq(word),
            loading.addr.eq(address),
            loading.data.eq(word),
            loading.en.eq(access.write_program),
            fetching.addr.eq(sequencer.addr),
            fetching.en.eq(sequencer.read),
            sequencer.word.eq(fetching.data),
            sequencer.start.eq(host.start),
            sequencer.learn.eq(host.learn),
            sequencer.idle.eq(dispatcher.idle),
            dispatcher.scanning.eq(scanner.busy),
            dispatcher.walking.eq(walker.busy),
            dispatcher.last.eq(walker.last),
            dispatcher.empty.eq(lanes.empty),
            dispatcher.draining.eq(lanes.draining),
            host.busy.eq(sequencer.busy),
            host.prediction.eq(argmax.place),
        ]
        updates: Value = dispatcher.is_learn
        if cfg.self_attention:
            updates = updates & ~stores(dispatcher.instruction)
        with m.If(access.write_counter):
            m.d.sync += phase.eq(word)
        with m.Elif(dispatcher.start & updates):
            m.d.sync += phase.eq(phase + DITHER_UPDATE)
        self._execute(m, dispatcher, scanner, walker, argmax, lanes, phase)
        if cfg.external:
            m.submodules.mover = mover = Mover(cfg)
            self._external_host(m, mover, sequencer, access, write, read)
            self._external_rows(m, mover, dispatcher, scanner, walker, lanes)
            if cfg.external.tables:
                self._tables(m, mover, lanes)
        self._count(m, sequencer.busy, dispatcher, scanner, walker, lanes)
        return m

    def _host_signal(self, m: Module, name: str) -> Value:
        """A signal of the host, with ``registers.host`` through a register near the memories."""
        signal: Signal = getattr(self.host, name)
        if not self.config.registers.host:
            return signal
        local = Signal.like(signal, name=f"local_{name}")
        m.d.sync += local.eq(signal)
        return local

    def _execute(
        self,
        m: Module,
        dispatcher: Dispatcher,
        scanner: Scanner,
        walker: Walker,
        argmax: Argmax,
        lanes: Lanes,
        phase: Value,
    ) -> None:
        """Connect the instruction, scanner, walker and lanes."""
        cfg = self.config
        ins = dispatcher.instruction
        learning = dispatcher.is_learn
        walking = is_one_of(ins.op, *sorted(WALK))
        run: Value = ins.n_dst  # groups that are walked in sequence
        if cfg.convolution:
            m.submodules.geometry = geometry = Geometry(cfg)
            run = geometry.steps.run
        # LEARN with single-port weights reads and writes in alternate cycles.  `slot` restarts with each
        # instruction, so that its number of cycles does not depend on the previous one
        slot = Signal()
        m.d.sync += slot.eq(~slot & ~dispatcher.start)
        m.d.comb += [
            scanner.start.eq(dispatcher.start & ~walking),
            scanner.src.eq(ins.src),
            scanner.n_src.eq(ins.n_src),
            scanner.tile.eq(ins.operand),
            scanner.stride.eq(Mux(by_column(ins, cfg), 1, run)),
            scanner.dither.eq(phase),
            scanner.spiking.eq(dispatcher.is_gather),
            scanner.second.eq(on_second(ins)),
            scanner.learning.eq(learning),
            scanner.by_minus.eq(by_minus(ins, cfg)),
            scanner.allow.eq(slot if cfg.single_port else 1),
            scanner.o.ready.eq(Mux(dispatcher.is_argmax, 1, walker.i.ready)),
            walker.start.eq(dispatcher.start | lanes.restart_walk),
            walker.walking.eq(walking),
            walker.instruction.eq(ins),
            walker.stall.eq(learning & (slot if cfg.single_port else scanner.blocking)),
            walker.enable.eq(~dispatcher.is_argmax),
            walker.i.p.eq(scanner.o.p),
            walker.i.valid.eq(scanner.o.valid & ~dispatcher.is_argmax),
            argmax.clear.eq(dispatcher.start & dispatcher.is_argmax),
            argmax.valid.eq(scanner.o.valid & dispatcher.is_argmax),
            argmax.i.eq(scanner.o.p),
            lanes.valid.eq(walker.valid),
            lanes.i.eq(walker.o),
            lanes.walk_done.eq(~walker.busy),
        ]
        issued: Instruction = ins  # the instruction whose commands are in the lanes
        start: Value = dispatcher.start
        if not cfg.single_port:
            # the next instruction may already scan
            issued = signal_of(INSTRUCTION, name="issued")
            start = Signal(name="start_issued")
            walks = dispatcher.start & walking
            m.d.sync += start.eq(walks)
            with m.If(walks | walker.valid):
                m.d.sync += issued.eq(ins)
        m.d.comb += [lanes.instruction.eq(issued), lanes.start.eq(start)]
        if cfg.convolution:
            m.d.comb += [
                geometry.i.eq(dispatcher.following),
                geometry.take.eq(dispatcher.convolve),
                geometry.begin.eq(dispatcher.begin),
                dispatcher.steps_valid.eq(~geometry.busy),
                scanner.first.eq(ins.dst),
                scanner.steps.eq(geometry.steps),
                walker.steps.eq(geometry.steps),
            ]
        if skips_unchanged(cfg):
            m.d.comb += [
                scanner.dst.eq(ins.dst),
                scanner.n_dst.eq(ins.n_dst),
                scanner.clamped.eq(ins.count[0]),
            ]
        if cfg.self_attention:
            if skips_unchanged(cfg):
                m.d.comb += scanner.store.eq(stores(ins))
            self._rows(m, dispatcher, walker, lanes)

    def _rows(self, m: Module, dispatcher: Dispatcher, walker: Walker, lanes: Lanes) -> None:
        """Rows of SOFTMAX: each is a walk from ``first`` through ``n`` groups, the first one at the start."""
        ins = dispatcher.instruction
        first = Signal.like(ins.dst)
        left = Signal.like(ins.n_dst)  # groups of this row and of the next ones
        n = Signal.like(ins.n_dst)
        row = Signal.like(ins.n_dst)  # groups of a row
        softmax = Signal()
        m.d.comb += [
            softmax.eq(ins.op == Op.SOFTMAX),
            row.eq(Mux(ins.count == 0, ins.n_dst, ins.count)),
            n.eq(Mux(row < left, row, left)),
            lanes.more_rows.eq(row < left),
        ]
        with m.If(lanes.next_row):
            m.d.sync += [first.eq(first + row), left.eq(left - row)]
        with m.If(dispatcher.begin):
            m.d.sync += [first.eq(dispatcher.following.dst), left.eq(dispatcher.following.n_dst)]
        with m.If(softmax):
            m.d.comb += [walker.instruction.dst.eq(first), walker.instruction.n_dst.eq(n)]
            if self.config.convolution:
                m.d.comb += walker.steps.run.eq(n)

    def _external_host(
        self, m: Module, mover: Mover, sequencer: Sequencer, access: Access, write: Value, read: Value
    ) -> None:
        """Controller of the SDRAM, host access to it, and the start of a run."""
        assert self.config.external is not None
        host = self.host
        chip, timing = self.config.external.chip, self.config.external.timing
        m.submodules.sdram = sdram = SdramController(chip, timing)
        connect(m, mover.sdram, sdram.port)
        connect(m, sdram.pins, flipped(self.sdram))
        learn = Signal()
        with m.If(host.start):
            m.d.sync += learn.eq(host.learn)
        beyond = (access.region == WEIGHT_REGION) & (access.address >= self.config.n_weights)
        m.d.comb += [
            sdram.restart.eq(mover.restart),
            mover.restarted.eq(sdram.restarted),
            mover.start.eq(host.start),
            sequencer.start.eq(mover.go),
            sequencer.learn.eq(learn),
            host.busy.eq(sequencer.busy | mover.starting | mover.go),
            mover.address.eq(access.address),
            mover.data.eq(access.data),
            mover.write.eq(write & beyond),
            mover.read.eq(read & beyond),
            access.write.eq(write & ~beyond),
            access.read.eq(read & ~beyond),
            host.mem_ready.eq(mover.ready),
        ]
        with m.If(mover.valid):
            m.d.comb += [host.mem_valid.eq(1), host.mem_rdata.eq(mover.rdata.as_signed())]

    def _external_rows(
        self,
        m: Module,
        mover: Mover,
        dispatcher: Dispatcher,
        scanner: Scanner,
        walker: Walker,
        lanes: Lanes,
    ) -> None:
        """Put the mover between scanner and walker."""
        ins = dispatcher.instruction
        column = by_column(ins, self.config)
        run: Value = ins.n_dst
        run_tile: Value = ins.n_src
        if self.config.convolution:
            run, run_tile = walker.steps.run, walker.steps.run_tile
            m.d.comb += mover.steps.eq(walker.steps)
        m.d.sync += [
            mover.external.eq(is_external(ins, self.config)),
            mover.row_length.eq(Mux(column, run_tile, run)),
            mover.row_groups.eq(run),
        ]
        connect(m, mover.rows, lanes.rows)
        m.d.comb += [
            mover.begin.eq(dispatcher.start),
            mover.learning.eq(dispatcher.is_learn),
            mover.backwards.eq(column),
            mover.tile.eq(ins.operand),
            mover.walked.eq(walker.last),
            mover.idle.eq(~walker.busy & lanes.empty),
            mover.i.p.eq(scanner.o.p),
            mover.i.valid.eq(scanner.o.valid & ~dispatcher.is_argmax),
            mover.o.ready.eq(walker.i.ready),
            walker.i.p.eq(mover.o.p),
            walker.i.valid.eq(mover.o.valid),
            scanner.o.ready.eq(dispatcher.is_argmax | mover.i.ready),
            dispatcher.scanning.eq(scanner.busy | mover.busy),
        ]

    def _tables(self, m: Module, mover: Mover, lanes: Lanes) -> None:
        """The table unit uses the ports of the mover, which is idle meanwhile."""
        host = self.host
        m.submodules.tables = tables = TableUnit(self.config)
        port = m.submodules.sdram.port
        m.d.comb += [
            tables.word.eq(host.mem_wdata),
            tables.row.eq(host.row),
            tables.op.eq(host.row_op),
            tables.place.eq(host.row_place),
            tables.free.eq(mover.written),
            host.row_ready.eq(tables.ready),
            host.row_outside.eq(tables.outside),
            tables.rows.r_data.eq(lanes.rows.r_data),
            tables.sdram.request.ready.eq(port.request.ready),
            tables.sdram.w.ready.eq(port.w.ready),
            tables.sdram.r.p.eq(port.r.p),
            tables.sdram.written.eq(port.written),
        ]
        with m.If(tables.active):
            m.d.comb += [
                lanes.rows.write.eq(tables.rows.write),
                lanes.rows.read.eq(tables.rows.read),
                lanes.rows.tile.eq(tables.rows.tile),
                lanes.rows.e.eq(tables.rows.e),
                lanes.rows.w_data.eq(tables.rows.w_data),
                port.request.valid.eq(tables.sdram.request.valid),
                port.request.p.eq(tables.sdram.request.p),
                port.w.valid.eq(tables.sdram.w.valid),
                port.w.p.eq(tables.sdram.w.p),
                port.r.ready.eq(tables.sdram.r.ready),
                tables.sdram.r.valid.eq(port.r.valid),
            ]

    def _count(
        self,
        m: Module,
        running: Value,
        dispatcher: Dispatcher,
        scanner: Scanner,
        walker: Walker,
        lanes: Lanes,
    ) -> None:
        """Counters of a run."""
        host = self.host
        synaptic = walker.valid & is_one_of(walker.o.op, *sorted(SYNAPTIC))
        with m.If(host.start & ~host.accumulate):
            m.d.sync += [host.cycles.eq(0), host.spikes.eq(0), host.accesses.eq(0)]
        with m.Elif(running):
            m.d.sync += [
                host.cycles.eq(host.cycles + 1),
                host.spikes.eq(host.spikes + lanes.spike_count),
                host.accesses.eq(host.accesses + synaptic),
            ]
        if self.config.counters:
            m.submodules.activity = activity = Activity(self.config)
            m.d.comb += [
                activity.clear.eq(host.start),
                activity.start.eq(dispatcher.start),
                activity.restart_walk.eq(lanes.restart_walk),
                activity.instruction.eq(dispatcher.instruction),
                activity.command.eq(walker.valid),
                activity.op.eq(walker.o.op),
                activity.fetch.eq(scanner.memory.fetch),
                host.activity.eq(activity.counts),
            ]
            if has_static(self.config):
                with m.If(is_one_of(walker.o.op, Op.RESET)):  # the instruction may be a DRIVE that scans
                    m.d.comb += activity.instruction.mode.eq(walker.o.static)
