"""The engine: one time-multiplexed core that runs any network as a program.

Bit-exact with equilif_golden.engine.model.EngineModel.

    host port --> program memory --> sequencer --> instruction --+--> scanner --> events --> walker -->
    commands --> lanes
         |                                                       |       ^                                            |
         |                                                       |       +---------------- spikes, values ------------+
         +--> weights, values (while idle)                       +--> argmax
"""

from __future__ import annotations

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from equilif_golden.blocks.plasticity import DITHER_UPDATE, DITHER_WIDTH
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import WALK, Op
from equilif_hdl.engine.activity import Activity
from equilif_hdl.engine.isa import INSTRUCTION, by_column, by_minus, group_bits, lane_bits
from equilif_hdl.engine.lanes import Lanes
from equilif_hdl.engine.port import COUNTER_REGION, PROGRAM_REGION, VALUE_REGION, WEIGHT_REGION, EnginePort
from equilif_hdl.engine.scan import Scanner
from equilif_hdl.engine.sequencer import Sequencer
from equilif_hdl.engine.walk import Walker
from equilif_hdl.fixed import lanes_of, ram


class Engine(wiring.Component):
    """Members
    -------
    host : In(EnginePort)
        Memory access while idle, start, busy, counters and prediction: see equilif_hdl.link.host.

    ``state_ram``: memory style of neuron state and values, a hint for the tool (``block``, ``distributed``).
    """

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config, self.state_ram = config, state_ram
        super().__init__({"host": In(EnginePort(config))})

    def elaborate(self, platform):
        m = Module()
        cfg, host, p = self.config, self.host, self.config.lanes
        lane = lane_bits(cfg)
        m.submodules.sequencer = sequencer = Sequencer(cfg)
        m.submodules.scanner = scanner = Scanner(cfg)
        m.submodules.walker = walker = Walker(cfg)
        m.submodules.lanes = lanes = Lanes(cfg, state_ram=self.state_ram)
        m.submodules.program = program = ram(32, cfg.program_words, None)
        program_wr, program_rd = program.write_port(), program.read_port()

        # -- dispatch ------------------------------------------------------------------------------
        ins, new = Signal(INSTRUCTION), sequencer.o.p
        dispatch, start, executing, finished, flows = Signal(), Signal(), Signal(), Signal(), Signal()
        phase = Signal(DITHER_WIDTH)
        learning, argmax = Signal(), Signal()

        def walks(op):
            return op.matches(*sorted(int(o) for o in WALK))

        m.d.comb += [
            executing.eq(start | scanner.busy | walker.busy),
            finished.eq(~executing & lanes.empty),
            # an axpy writes only what later commands read in the same stage: the next instruction need
            # not wait for it
            flows.eq(ins.op.matches(int(Op.DRIVE), int(Op.GATHER), int(Op.NUDGE))),
            dispatch.eq(sequencer.o.valid & ~executing & (flows | lanes.empty)),
            sequencer.o.ready.eq(~executing & (flows | lanes.empty)),
            sequencer.idle.eq(finished),
        ]
        if cfg.early:
            m.d.comb += sequencer.moved.eq(lanes.moved)
        if cfg.deep:
            with m.If(dispatch):
                m.d.sync += [learning.eq(new.op == Op.LEARN), argmax.eq(new.op == Op.ARGMAX)]
        else:
            m.d.comb += [learning.eq(ins.op == Op.LEARN), argmax.eq(ins.op == Op.ARGMAX)]
        m.d.sync += start.eq(dispatch)
        with m.If(dispatch):
            m.d.sync += ins.eq(new)
        with m.If(start & learning):
            m.d.sync += phase.eq(phase + DITHER_UPDATE)

        # -- scan and walk -------------------------------------------------------------------------
        slot = Signal()  # single port: reads in one cycle of two, writes in the other
        # in step with the instruction, so that cycles do not depend on what came before
        m.d.sync += slot.eq(~slot & ~start)
        m.d.comb += [
            scanner.start.eq(start & ~walks(ins.op)),
            scanner.src.eq(ins.src),
            scanner.n_src.eq(ins.n_src),
            scanner.tile.eq(ins.operand),
            scanner.stride.eq(Mux(by_column(ins, cfg), 1, ins.n_dst)),
            scanner.dither.eq(phase),
            scanner.spiking.eq(ins.op == Op.GATHER),
            scanner.learning.eq(learning),
            scanner.by_minus.eq(by_minus(ins, cfg)),
            scanner.allow.eq(slot if cfg.single_port else 1),
            scanner.spikes.eq(lanes.scan_spikes),
            scanner.plus.eq(lanes.scan_plus),
            scanner.minus.eq(lanes.scan_minus),
            walker.start.eq(start | lanes.again),
            walker.walking.eq(walks(ins.op)),
            walker.instruction.eq(ins),
            walker.stall.eq(learning & (slot if cfg.single_port else scanner.blocking)),
            walker.enable.eq(~argmax),
            walker.i.p.eq(scanner.o.p),
            walker.i.valid.eq(scanner.o.valid & ~argmax),
            scanner.o.ready.eq(Mux(argmax, 1, walker.i.ready)),
            lanes.valid.eq(walker.valid),
            lanes.i.eq(walker.o),
            lanes.instruction.eq(ins),
            lanes.start.eq(start),
            lanes.walked.eq(~walker.busy),
            lanes.scan_fetch.eq(scanner.fetch),
            lanes.scan_take.eq(scanner.take),
            lanes.scan_addr.eq(scanner.addr),
            lanes.scan_hold.eq(scanner.hold),
        ]
        best, winner = Signal(8), Signal(group_bits(cfg) + lane)
        with m.If(start & argmax):
            m.d.sync += [best.eq(0), winner.eq(0)]
        with m.Elif(argmax & scanner.o.valid & (scanner.o.p.plus > best)):
            m.d.sync += [best.eq(scanner.o.p.plus), winner.eq(Cat(scanner.o.p.e, scanner.o.p.group))]

        # -- host ----------------------------------------------------------------------------------
        region, address, word, write, read = (
            host.mem_region,
            host.mem_addr,
            host.mem_wdata,
            host.mem_write,
            host.mem_read,
        )
        if cfg.weight_stages:  # a large engine lies far from its host
            region, address, word, write, read = (
                Signal.like(s, name=f"host_{k}") for k, s in enumerate((region, address, word, write, read))
            )
            m.d.sync += [
                region.eq(host.mem_region),
                address.eq(host.mem_addr),
                word.eq(host.mem_wdata),
                write.eq(host.mem_write),
                read.eq(host.mem_read),
            ]
        write_w, write_v = write & (region == WEIGHT_REGION), write & (region == VALUE_REGION)
        m.d.comb += [
            lanes.host_write_w.eq(Mux(write_w, 1 << address[:lane], 0)),
            lanes.host_write_v.eq(Mux(write_v, 1 << address[:lane], 0)),
            lanes.host_read.eq(read),
            lanes.host_e.eq(address[lane:]),
            lanes.host_tile.eq(address[2 * lane :]),
            lanes.host_group.eq(address[lane:]),
            lanes.host_data.eq(word),
            program_wr.addr.eq(address),
            program_wr.data.eq(word),
            program_wr.en.eq(write & (region == PROGRAM_REGION)),
            program_rd.addr.eq(sequencer.addr),
            program_rd.en.eq(sequencer.read),
            sequencer.word.eq(program_rd.data),
            sequencer.start.eq(host.start),
            sequencer.learn.eq(host.learn),
            host.busy.eq(sequencer.busy),
            host.prediction.eq(winner),
        ]
        with m.If(write & (region == COUNTER_REGION)):
            m.d.sync += phase.eq(word)
        bank = address[:lane]  # the host keeps the address until it has its answer
        reading = Signal(1 + cfg.weight_stages)
        m.d.sync += [reading.eq(Cat(read, reading)), host.mem_valid.eq(reading[-1])]
        with m.Switch(region):
            with m.Case(WEIGHT_REGION):
                m.d.sync += host.mem_rdata.eq(Array(w.as_signed() for w in lanes_of(lanes.host_w, p))[bank])
            with m.Case(VALUE_REGION):
                m.d.sync += host.mem_rdata.eq(
                    Cat(lanes.host_plus.word_select(bank, 8), lanes.host_minus.word_select(bank, 8))
                )
            with m.Default():
                m.d.sync += host.mem_rdata.eq(phase)

        # -- counters of the run -------------------------------------------------------------------
        synaptic = walker.valid & walker.o.op.matches(int(Op.DRIVE), int(Op.GATHER), int(Op.LEARN))
        with m.If(host.start):
            m.d.sync += [host.cycles.eq(0), host.spikes.eq(0), host.accesses.eq(0)]
        with m.Elif(host.busy):
            m.d.sync += [
                host.cycles.eq(host.cycles + 1),
                host.spikes.eq(host.spikes + lanes.spike_count),
                host.accesses.eq(host.accesses + synaptic),
            ]
        if cfg.counters:
            m.submodules.activity = activity = Activity(cfg)
            m.d.comb += [
                activity.clear.eq(host.start),
                activity.start.eq(start),
                activity.again.eq(lanes.again),
                activity.instruction.eq(ins),
                activity.command.eq(walker.valid),
                activity.fetch.eq(scanner.fetch),
                host.activity.eq(activity.counts),
            ]
        return m
