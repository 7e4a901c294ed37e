"""The P lanes: execute commands, one group of neurons a cycle.

    walker --> [ stages ] --> [ control ] --> LaneControl --+
                                                            v
    host <--> [ weights ] --- W ---+                   +---------+ --> W of [ weights ]
                                   +-- [ butterfly ] ->| P lanes | --> A, B, Q, S, V of [ state ]
    scanner, host <--> [ state ] --+ V                 +---------+ <-> [ softmax ]
                           |                               ^
                           '--------- A, B, Q, S ----------'

    stage        0 command    1            2              3                    4             5
    GATHER DRIVE W address    butterfly     x scale        + A or B  --> A, B
    NUDGE        V, S address              x strength     + A  --> A
    STEP                                   A, B address   A + B, saturate      spike, reset  leak  --> A, Q, S
    LEARN        V address    butterfly V   u+ v+          - u- v-              >>, + W       --> W
                                           W address (1)
    RELAY                                  B address      >> 1 .. 4            >> rest, clip  --> V
    SOFTMAX                                A, B address   >> 1 .. 4            (2)
    MARK                                   A address      --> Q
    MEASURE                                A, Q address   Q + A, V address     shift --> V
    SAVE RESTORE RESET                     A, S address   --> A, B, S

    (1) with single-port weights in stage 4, + W and --> W in stage 5
    (2) see equilif_hdl.blocks.softmax; e x R, in two stages --> V

Latency: as drawn for single-port weights; equilif_hdl.engine.stages.Timing has the stages of every pipeline.
Registers around the weights and in the butterfly precede stage 0.  Throughput: a command a cycle; LEARN with
single-port weights one in two cycles.  With dual-port weights sums are forwarded: a sum can be read in the
cycle in which it is written, so commands for one group may follow each other.
"""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op, SoftmaxMode
from equilif_hdl.blocks.softmax import Softmax
from equilif_hdl.engine.control import Control
from equilif_hdl.engine.external import RowPort
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, LaneCommand, command, has_mode, is_one_of
from equilif_hdl.engine.lane import Lane
from equilif_hdl.engine.port import LanesPort, ScanPort
from equilif_hdl.engine.stages import LaneProgress, LaneStatus, Stages, lane_status
from equilif_hdl.engine.state import READ, WRITTEN, State
from equilif_hdl.engine.weights import WeightArray
from equilif_hdl.fixed import butterfly, delayed, domain, lanes_of, popcount, total
from equilif_hdl.typed import signal_of

#: neighbouring lanes whose spikes are counted before the register
NEIGHBOURS = 4


class Lanes(wiring.Component):
    """Members
    -------
    valid, i : In
        A command of the walker.
    instruction : In(INSTRUCTION)
        Instruction of the commands in the lanes: source of constants of walks and LEARN.
    start, walk_done, restart_walk : In(1), In(1), Out(1)
        A walk of ``instruction`` begins; the walker is idle; SOFTMAX needs another walk.
    more_rows, next_row : In(1), Out(1)
        With ``self_attention``: SOFTMAX has another row, and goes on to it.
    empty, draining : Out(1)
        See equilif_hdl.engine.dispatch.
    progress : Out(LaneProgress)
        How far the commands in the lanes are.
    scan : In(ScanPort)
        Read port of the scanner to spikes and values.
    host : In(LanesPort)
        Host access to weights and values.
    rows : In(RowPort)
        With external weights: the mover's access to weights.
    spike_count : Out
        Number of spikes of the group that a STEP writes in this cycle; with ``registers.spike_count`` one
        cycle later.
    status : Out(LaneStatus)
        Status signals for the sequencer; inactive while ``empty``.
    """

    valid: Signal
    i: LaneCommand
    instruction: Instruction
    empty: Signal
    draining: Signal
    progress: LaneProgress.Members
    start: Signal
    walk_done: Signal
    restart_walk: Signal
    more_rows: Signal
    next_row: Signal
    scan: ScanPort.Members
    host: LanesPort.Members
    rows: RowPort.Members
    spike_count: Signal
    status: LaneStatus.Members

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config = config
        self.state_ram = state_ram
        p = config.lanes
        super().__init__(
            {
                "valid": In(1),
                "i": In(command(config)),
                "instruction": In(INSTRUCTION),
                "empty": Out(1),
                "draining": Out(1),
                "progress": Out(LaneProgress(config)),
                "start": In(1),
                "walk_done": In(1),
                "restart_walk": Out(1),
                **({"more_rows": In(1), "next_row": Out(1)} if config.self_attention else {}),
                "scan": In(ScanPort(config)),
                "host": In(LanesPort(config)),
                **({"rows": In(RowPort(config))} if config.external else {}),
                "spike_count": Out(range(p + 1)),
                "status": Out(LaneStatus(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cfg = self.config
        m.submodules.stages = stages = Stages(cfg, self.valid, self.i, self.instruction)
        timing = stages.timing
        m.submodules.control = control = Control(cfg, stages)
        m.submodules.state = state = State(cfg, stages, state_ram=self.state_ram)
        m.submodules.weights = weights = WeightArray(cfg)
        lanes = [Lane(cfg, j) for j in range(cfg.lanes)]
        instruction = self.instruction
        if cfg.registers.constants:  # its first command arrives later
            instruction = signal_of(INSTRUCTION, name="constants", reset_less=True)
            m.d.sync += instruction.eq(self.instruction)
        m.d.comb += [
            control.instruction.eq(self.instruction),
            self.empty.eq(stages.empty),
            self.draining.eq(stages.draining),
            stages.scans_second.eq(self.scan.second),
        ]
        for name in LaneProgress(cfg).members:
            m.d.comb += getattr(self.progress, name).eq(getattr(stages.progress, name))
        self._connect_state(m, state, lanes)
        self._connect_weights(m, stages, weights, lanes)
        words = self._lane_words(m, stages, weights, state)
        m.d.comb += self.host.word.eq(words[0])
        dither = delayed(m, stages.command.dither, timing.noise, "dither")
        spikes = delayed(m, state.scan.spikes, timing.lead, "spikes")
        for j, lane in enumerate(lanes):
            m.submodules[f"lane{j}"] = lane
            connect(m, control.control, lane.control)
            m.d.comb += [
                lane.instruction.eq(instruction),
                lane.word.eq(words[j]),
                lane.spike.eq(spikes[j]),
                lane.dither.eq(dither),
                lane.row.eq(stages.e[timing.noise_lookup]),
            ]
        steps = stages.op_valid(m, timing.step, Op.STEP)
        if cfg.registers.spike_count:  # the lanes are spread over the die: neighbours are counted first
            parts = [state.spikes[first : first + NEIGHBOURS] for first in range(0, cfg.lanes, NEIGHBOURS)]
            counts = [Signal(range(NEIGHBOURS + 1), name=f"count_{k}") for k in range(len(parts))]
            for count, spikes_here in zip(counts, parts, strict=True):
                m.d.sync += count.eq(Mux(steps, popcount(spikes_here), 0))
            m.d.comb += self.spike_count.eq(total(counts))
        else:
            m.d.comb += self.spike_count.eq(Mux(steps, popcount(state.spikes), 0))
        for name, (stage, op, mode) in lane_status(cfg).items():
            valid = stages.op_valid(m, stage, op) & has_mode(self.instruction, mode)
            bits = Cat(getattr(lane.status, name) for lane in lanes)
            m.d.comb += getattr(self.status, name).eq(valid & bits.any())
        if cfg.attention:
            self._attention(m, stages, control, state, lanes)
        return m

    def _lane_words(self, m: Module, stages: Stages, weights: WeightArray, state: State) -> list[Value]:
        """Weight of every lane, or its values at +beta and -beta; host reads arrive at lane 0."""
        p = self.config.lanes
        before = stages.timing.words - 1
        host_reads = delayed(m, self.host.read, before + stages.timing.lead, "host_read")
        use_weight = Signal()
        xor_index = Signal.like(self.host.bank)
        m.d.sync += [
            use_weight.eq(
                Mux(host_reads, self.host.is_weight, is_one_of(stages.op[before], Op.DRIVE, Op.GATHER))
            ),
            xor_index.eq(Mux(host_reads, self.host.bank, stages.e[before])),
        ]
        values = [Cat(a, b) for a, b in zip(lanes_of(state.plus, p), lanes_of(state.minus, p), strict=True)]
        words: list[Value] = [
            Mux(use_weight, w, v) for w, v in zip(lanes_of(weights.data, p), values, strict=True)
        ]
        if not self.config.registers.butterfly:
            return butterfly(m, words, xor_index, "permuted")
        # of 32 lanes 8 lie in a row of block RAMs: the first three of five levels are within a row, and the
        # register separates them from the two between rows, which avoids congestion in the middle of the die
        num_first = len(xor_index) * 3 // 5
        half: list[Value] = [Signal(16, name=f"half_{j}", reset_less=True) for j in range(p)]
        first_half = butterfly(m, words, xor_index[:num_first], "permuted")
        m.d.sync += [h.eq(word) for h, word in zip(half, first_half, strict=True)]
        words = butterfly(m, half, delayed(m, xor_index[num_first:], 1, "rest"), "permuted", num_first)
        late = self.config.registers.butterfly - 1
        return [delayed(m, word, late, f"word_{j}") for j, word in enumerate(words)]

    def _connect_state(self, m: Module, state: State, lanes: list[Lane]) -> None:
        p = self.config.lanes
        connect(m, flipped(self.scan), state.scan)
        m.d.comb += [
            state.instruction.eq(self.instruction),
            state.host_read.eq(self.host.read_values if self.config.registers.state_read else self.host.read),
            state.host_write.eq(self.host.write_v),
            state.host_group.eq(self.host.group),
            state.host_data.eq(self.host.data),
            *(
                getattr(state, name).eq(Cat(getattr(lane, port) for lane in lanes))
                for name, port in WRITTEN.items()
            ),
        ]
        read = {name: getattr(state, name) for name in READ}
        for name, values in {**read, "v_plus": state.scan.plus}.items():
            if name in lanes[0].signature.members:  # depends on the options
                for lane, value in zip(lanes, lanes_of(values, p), strict=True):
                    m.d.comb += getattr(lane, name).eq(value)

    def _connect_weights(self, m: Module, stages: Stages, weights: WeightArray, lanes: list[Lane]) -> None:
        timing = stages.timing
        read = timing.read_weight
        command = stages.commands[-timing.lead]
        rereads = stages.op_valid(m, read, Op.LEARN)
        learns = stages.op_valid(m, timing.learn, Op.LEARN)
        m.d.comb += [
            weights.read.eq(self.valid & (command.op != Op.LEARN) | rereads | self.host.read),
            weights.tile.eq(
                Mux(self.host.read, self.host.tile, Mux(rereads, stages.tile[read], command.tile))
            ),
            weights.e.eq(Mux(self.host.read, self.host.e, Mux(rereads, stages.e[read], command.e))),
            weights.column.eq(command.column & ~rereads & ~self.host.read),
            weights.write.eq(Mux(learns, (1 << self.config.lanes) - 1, self.host.write_w)),
            weights.w_tile.eq(Mux(learns, stages.tile[timing.learn], self.host.tile)),
            weights.w_e.eq(Mux(learns, stages.e[timing.learn], self.host.e)),
            weights.w_data.eq(
                Mux(
                    learns,
                    Cat(lane.updated for lane in lanes),
                    self.host.data.replicate(self.config.lanes),
                )
            ),
        ]
        if self.config.external:
            rows = self.rows
            m.d.comb += rows.r_data.eq(weights.data)
            with m.If(rows.read):
                m.d.comb += [
                    weights.read.eq(1),
                    weights.tile.eq(rows.tile),
                    weights.e.eq(rows.e),
                    weights.column.eq(0),
                ]
            with m.If(rows.write):
                m.d.comb += [
                    weights.write.eq((1 << self.config.lanes) - 1),
                    weights.w_tile.eq(rows.tile),
                    weights.w_e.eq(rows.e),
                    weights.w_data.eq(rows.w_data),
                ]
        for lane, weight in zip(lanes, lanes_of(weights.data, self.config.lanes), strict=True):
            m.d.comb += lane.weight.eq(weight)

    def _attention(
        self, m: Module, stages: Stages, control: Control, state: State, lanes: list[Lane]
    ) -> None:
        """SOFTMAX and RELAY: what is common to all lanes."""
        ins = self.instruction
        timing = stages.timing
        m.submodules.softmax = softmax = Softmax(self.config)
        drained = Signal()  # the last command of the walk has left the lanes
        m.d[domain(self.config.registers.exponential)] += drained.eq(self.walk_done & stages.empty)
        m.d.sync += softmax.active.eq(Cat(~lane.a[-1] for lane in lanes))
        m.d.comb += [
            softmax.start.eq(self.start & (ins.op == Op.SOFTMAX)),
            softmax.absolute.eq(has_mode(ins, SoftmaxMode.ABSOLUTE)),
            softmax.fine.eq(has_mode(ins, SoftmaxMode.FINE)),
            softmax.idle.eq(self.walk_done & drained),
            softmax.valid.eq(stages.op_valid(m, timing.prescaled, Op.SOFTMAX)),
            softmax.scores.eq(Cat(lane.prescaled for lane in lanes)),
            self.restart_walk.eq(softmax.restart_walk),
            self.empty.eq(stages.empty & ~softmax.busy),
            self.draining.eq(stages.draining & ~softmax.busy),
            control.coding.eq(softmax.coding),
            control.reciprocal.eq(softmax.reciprocal),
            control.scale.eq(softmax.scale),
            state.start.eq(self.start),
            state.result_write.eq(stages.op_valid(m, timing.relay, Op.RELAY) | softmax.coded),
            state.result.eq(
                Mux(
                    softmax.coding,
                    Cat(lane.code for lane in lanes),
                    Cat(lane.relayed for lane in lanes),
                )
            ),
        ]
        if self.config.self_attention:
            m.d.comb += [softmax.more.eq(self.more_rows), self.next_row.eq(softmax.next_row)]
        for lane, exponential in zip(lanes, lanes_of(softmax.e, self.config.lanes), strict=True):
            m.d.comb += lane.exponential.eq(exponential)
