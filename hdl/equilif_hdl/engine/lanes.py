"""The P lanes: they carry out commands, one group of neurons a cycle.

    walker --> [ stages ] --> what each stage holds -----------+----------------+----------------+
                                                               |                |                |
    scanner, host --> [ state ] --- V, or ---[ rotate ]--> [ P lanes ] --> [ state ]             |
              host --> [ weights ] -- W ---'                   |    '---> [ weights ]      [ softmax ]
                           A, B, Q, S -------------------------'

    stage        0 command    1            2              3                    4             5
    GATHER DRIVE W address    rotate       x scale        + A or B  --> A, B
    NUDGE        V, S address              x strength     + A  --> A
    STEP                                   A, B address   A + B, saturate      spike, reset  leak  --> A, Q, S
    LEARN        V address    rotate V     u+ v+          - u- v-              + W           --> W
                                           W address      (single port: here)  (and here)
    RELAY                                  B address      >> 1 .. 4            >> rest, clip  --> V
    SOFTMAX                                A, B address   >> 1 .. 4            (1)
    MARK                                   A address      --> Q
    MEASURE                                A, Q address   Q + A, V address     shift --> V   (2)
    SAVE RESTORE RESET                     A, S address   --> A, B, S

    (1) see equilif_hdl.blocks.softmax; e x R, in two stages --> V
    (2) WATCH: the rate before is subtracted, and it is known whether it has moved

Latency: as drawn; the table is that of equilif_hdl.engine.stages.Timing.  Registers around the weights come
before it, one stage each (``EngineConfig.weight_stages``).  In a deep pipeline there is one more before it,
half of the rotation; STEP writes in stage 6, its sum being a register, LEARN after stage 6, its shift being
one, and Q and V are written a cycle later.  Throughput: a command a cycle; LEARN on a single-port weight
memory one in two.  A sum that is read in the very cycle in which it is written is forwarded, where the
pipeline does so, and commands for the same group may follow each other.
"""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from equilif_golden.blocks.plasticity import DITHER_WIDTH, SHIFTS
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ABSOLUTE, SCALED, WATCH, Op
from equilif_hdl.blocks.softmax import Softmax
from equilif_hdl.engine.isa import INSTRUCTION, command, group_bits, has_mode, lane_bits, tile_bits
from equilif_hdl.engine.lane import Lane, Orders, Source
from equilif_hdl.engine.stages import Stages, is_one_of
from equilif_hdl.engine.state import State
from equilif_hdl.engine.weights import WeightArray
from equilif_hdl.fixed import lanes_of, popcount, rotate


class Lanes(wiring.Component):
    """Members
    -------
    valid, i : In
        A command; see equilif_hdl.engine.walk.
    instruction : In(INSTRUCTION)
        What walks and LEARN take their constants from: held until ``empty``.
    start, walked, again : In(1), In(1), Out(1)
        ``instruction`` begins; the walker is idle; it must walk once more (SOFTMAX).
    empty : Out(1)
        No command is under way.
    scan_fetch, scan_take, scan_addr, scan_hold, scan_spikes, scan_plus, scan_minus
        Read port of the scanner; ``hold`` keeps what was read until the next fetch.
    host_write_w, host_write_v, host_read : In(P), In(P), In(1)
        Host access while no command is under way: strobes.  Data come 1 + weight_stages cycles after a read.
    host_tile, host_e, host_group, host_data : In
        Its address in W and in V, and what it writes: a weight, or values at +beta (low) and -beta.
    host_w, host_plus, host_minus : Out
        What it reads, P lanes side by side.
    spike_count : Out
        Spikes of the group that a STEP writes in this cycle; in a deep pipeline that it wrote in the last
        one.
    moved : Out(1)
        Where phases may end early: a watched rate has moved; not while ``empty``.
    """

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config = config
        self.state_ram = state_ram
        p = config.lanes
        group = group_bits(config)
        super().__init__(
            {
                "valid": In(1),
                "i": In(command(config)),
                "instruction": In(INSTRUCTION),
                "empty": Out(1),
                "start": In(1),
                "walked": In(1),
                "again": Out(1),
                "scan_fetch": In(1),
                "scan_take": In(1),
                "scan_hold": In(1),
                "scan_addr": In(group),
                "scan_spikes": Out(p),
                "scan_plus": Out(8 * p),
                "scan_minus": Out(8 * p),
                "host_write_w": In(p),
                "host_write_v": In(p),
                "host_read": In(1),
                "host_tile": In(tile_bits(config)),
                "host_e": In(lane_bits(config)),
                "host_group": In(group),
                "host_data": In(16),
                "host_w": Out(16 * p),
                "host_plus": Out(8 * p),
                "host_minus": Out(8 * p),
                "spike_count": Out(range(p + 1)),
                **({"moved": Out(1)} if config.early else {}),
            }
        )

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        cfg = self.config
        m.submodules.stages = stages = Stages(cfg, self.valid, self.i, self.instruction)
        m.submodules.state = state = State(cfg, stages, state_ram=self.state_ram)
        m.submodules.weights = weights = WeightArray(cfg)
        lanes = [Lane(cfg, j) for j in range(cfg.lanes)]
        orders = Orders(cfg).create()
        m.d.comb += self.empty.eq(stages.empty)
        up = self._order_factors(m, stages, orders)
        self._order_noise(m, stages, orders)
        self._order_sums(m, stages, orders)
        self._connect_state(m, state, lanes)
        self._connect_weights(m, stages, weights, lanes)
        words = self._turned(m, stages, weights, state)
        for j, lane in enumerate(lanes):
            m.submodules[f"lane{j}"] = lane
            m.d.comb += [
                lane.instruction.eq(self.instruction),
                lane.word.eq(words[j]),
                lane.spike.eq(state.scan_spikes[j]),
            ]
            connect(m, orders, lane.orders)
        steps = stages.has(m, stages.timing.step, Op.STEP)
        m.d["sync" if cfg.deep else "comb"] += self.spike_count.eq(Mux(steps, popcount(state.spikes), 0))
        if cfg.early:
            watches = stages.has(m, stages.timing.moved, Op.MEASURE) & has_mode(self.instruction, WATCH)
            m.d.comb += self.moved.eq(watches & Cat(lane.far for lane in lanes).any())
        if cfg.softmax:
            self._recall(m, stages, state, lanes, orders, up)
        return m

    def _order_factors(self, m: Module, stages: Stages, orders: Any) -> Signal:
        """What is multiplied.  The register of the first factor."""
        first = stages.command
        turn = stages.timing.turn
        up = Signal.like(first.up, reset_less=True)
        scale = Signal.like(first.scale, reset_less=True)
        m.d.sync += [up.eq(first.up), scale.eq(first.scale)]
        scaled = [Op.DRIVE, Op.GATHER, Op.RESET]
        if self.config.deep:  # nothing is added to what is copied
            scaled += [Op.SAVE, Op.RESTORE]
            with m.If(is_one_of(first.op, Op.SAVE, Op.RESTORE)):
                m.d.sync += scale.eq(0)
        m.d.comb += [
            orders.axpy.eq(stages.would(m, turn, Op.DRIVE, Op.GATHER)),
            orders.nudge.eq(stages.would(m, turn, Op.NUDGE)),
            orders.scaled.eq(stages.would(m, turn, *scaled)),
            orders.up.eq(up),
            orders.scale.eq(scale),
        ]
        return up

    def _order_noise(self, m: Module, stages: Stages, orders: Any) -> None:
        """What LEARN adds to its product and subtracts from it.

        On a single port a LEARN comes every other cycle, and what it brings may stay for two: registers
        are saved.
        """
        cfg = self.config
        timing = stages.timing
        first = stages.command
        learns = stages.has(m, timing.draw, Op.LEARN)
        kept = Signal(DITHER_WIDTH)
        looked_up = m.d["sync" if cfg.deep else "comb"]
        looked_up += kept.eq(0)
        with m.Switch(self.instruction.shift):
            for shift in SHIFTS:
                with m.Case(shift):
                    looked_up += kept.eq(Mux(learns, (1 << shift) - 1, 0))
        dither = first.dither
        minus = Signal.like(first.um, name="minus_1", reset_less=True)
        delays = timing.minus - timing.turn
        if cfg.single_port:
            with m.If(learns):
                m.d.sync += minus.eq(first.um)
            delays -= 1  # it stays for two cycles
            m.d.comb += [
                orders.draws.eq(learns | (self.instruction.op != Op.LEARN)),
                orders.learns.eq(stages.has(m, timing.turn, Op.LEARN)),
            ]
        else:
            dither = Signal.like(first.dither, reset_less=True)
            m.d.sync += [dither.eq(first.dither), minus.eq(-first.um if cfg.deep else first.um)]
        for k in range(delays):
            late = Signal.like(minus, name=f"minus_{k + 2}")
            m.d.sync += late.eq(minus)
            minus = late
        m.d.comb += [
            orders.dither.eq(dither),
            orders.dither_e.eq(stages.e[timing.draw]),
            orders.kept.eq(kept),
            orders.minus.eq(minus),
        ]

    def _order_sums(self, m: Module, stages: Stages, orders: Any) -> None:
        """What is added."""
        cfg = self.config
        ins = self.instruction
        timing = stages.timing
        summed = (Op.DRIVE, Op.GATHER, Op.NUDGE, Op.RESET, Op.SAVE, Op.RESTORE)
        # the group that is read is being written in this cycle, by the same instruction
        same: Value = Const(0)
        if cfg.forwarding:
            same = stages.has(m, timing.sum, *summed) & (
                stages.group[timing.read] == stages.group[timing.sum]
            )
        resets = is_one_of(stages.op[timing.read], Op.RESET)
        drives = is_one_of(stages.op[timing.read], Op.DRIVE)
        source = Signal(Source, reset_less=True)
        m.d.sync += source.eq(
            Mux(same, Source.LAST, Mux(resets, Source.NOTHING, Mux(drives, Source.B, Source.A)))
        )
        above = Signal(17)
        m.d.sync += above.eq(-ins.gain[:15])
        m.d.comb += [
            orders.source.eq(source),
            orders.mark.eq(stages.has(m, timing.sum, Op.MARK)),
            orders.above.eq(above),
        ]
        if not cfg.deep:
            m.d.comb += [
                orders.step.eq(stages.would(m, timing.sum, Op.STEP)),
                orders.copy.eq(stages.would(m, timing.sum, Op.SAVE, Op.RESTORE)),
            ]
        if cfg.early:
            m.d.comb += orders.tolerance.eq(Mux(ins.gain[8:].any(), 255, ins.gain[:8]))

    def _turned(self, m: Module, stages: Stages, weights: WeightArray, state: State) -> list[Value]:
        """For every lane its weight, or its values at +beta and -beta."""
        p = self.config.lanes
        axpy = stages.would(m, stages.timing.words, Op.DRIVE, Op.GATHER)
        values = [Cat(a, b) for a, b in zip(lanes_of(state.plus, p), lanes_of(state.minus, p), strict=True)]
        words = [Mux(axpy, w, v) for w, v in zip(lanes_of(weights.data, p), values, strict=True)]
        amount = stages.command.rotate
        halfway = 0
        if self.config.deep:
            halfway = len(amount) // 2
            half = [Signal(16, name=f"half_{j}", reset_less=True) for j in range(p)]
            turned = rotate(m, words, amount[:halfway], "turned")
            m.d.sync += [h.eq(word) for h, word in zip(half, turned, strict=True)]
            words = half
        rest = Signal(len(amount) - halfway)
        m.d.sync += rest.eq(amount[halfway:])
        return rotate(m, words, rest, "turned", halfway)

    def _connect_state(self, m: Module, state: State, lanes: list[Lane]) -> None:
        p = self.config.lanes
        m.d.comb += [
            state.instruction.eq(self.instruction),
            state.start.eq(self.start),
            state.scan_fetch.eq(self.scan_fetch),
            state.scan_take.eq(self.scan_take),
            state.scan_hold.eq(self.scan_hold),
            state.scan_addr.eq(self.scan_addr),
            self.scan_spikes.eq(state.scan_spikes),
            self.scan_plus.eq(state.scan_plus),
            self.scan_minus.eq(state.scan_minus),
            state.host_read.eq(self.host_read),
            state.host_write.eq(self.host_write_v),
            state.host_group.eq(self.host_group),
            state.host_data.eq(self.host_data),
            self.host_plus.eq(state.plus),
            self.host_minus.eq(state.minus),
            state.totals.eq(Cat(lane.total for lane in lanes)),
            state.membranes.eq(Cat(lane.membrane for lane in lanes)),
            state.spikes.eq(Cat(lane.fired for lane in lanes)),
            state.charges.eq(Cat(lane.charge for lane in lanes)),
            state.rates.eq(Cat(lane.rate for lane in lanes)),
        ]
        for lane, a, b, q in zip(
            lanes, lanes_of(state.a, p), lanes_of(state.b, p), lanes_of(state.q, p), strict=True
        ):
            m.d.comb += [lane.a.eq(a), lane.b.eq(b), lane.q.eq(q)]
        if self.config.early:
            for lane, before in zip(lanes, lanes_of(state.scan_plus, p), strict=True):
                m.d.comb += lane.before.eq(before)

    def _connect_weights(self, m: Module, stages: Stages, weights: WeightArray, lanes: list[Lane]) -> None:
        timing = stages.timing
        read = timing.read_weight
        walked = stages.commands[-timing.lead]
        rereads = stages.has(m, read, Op.LEARN)
        learns = stages.has(m, timing.learn, Op.LEARN)
        m.d.comb += [
            weights.read.eq(self.valid & (walked.op != Op.LEARN) | rereads | self.host_read),
            weights.tile.eq(
                Mux(self.host_read, self.host_tile, Mux(rereads, stages.tile[read], walked.tile))
            ),
            weights.e.eq(Mux(self.host_read, self.host_e, Mux(rereads, stages.e[read], walked.e))),
            weights.column.eq(walked.column & ~rereads & ~self.host_read),
            self.host_w.eq(weights.data),
            weights.write.eq(Mux(learns, (1 << self.config.lanes) - 1, self.host_write_w)),
            weights.w_tile.eq(Mux(learns, stages.tile[timing.learn], self.host_tile)),
            weights.w_e.eq(Mux(learns, stages.e[timing.learn], self.host_e)),
            weights.w_data.eq(
                Mux(
                    learns,
                    Cat(lane.updated for lane in lanes),
                    self.host_data.replicate(self.config.lanes),
                )
            ),
        ]
        for lane, weight in zip(lanes, lanes_of(weights.data, self.config.lanes), strict=True):
            m.d.comb += lane.weight.eq(weight)

    def _recall(
        self, m: Module, stages: Stages, state: State, lanes: list[Lane], orders: Any, up: Signal
    ) -> None:
        """SOFTMAX and RELAY: what the lanes do together."""
        cfg = self.config
        ins = self.instruction
        timing = stages.timing
        m.submodules.softmax = softmax = Softmax(cfg)
        with m.If(softmax.coding):
            m.d.sync += up.eq(softmax.reciprocal)
        over = Signal()  # the walk is over, and its last command too
        m.d["sync" if cfg.deep else "comb"] += over.eq(self.walked & stages.empty)
        less = Signal(5)
        scaled = (ins.op == Op.RELAY) & has_mode(ins, SCALED)
        m.d.sync += [
            less.eq(ins.shift - 1 + Mux(scaled, softmax.scale, 0)),
            softmax.active.eq(Cat(~lane.a[-1] for lane in lanes)),
        ]
        m.d.comb += [
            softmax.start.eq(self.start & (ins.op == Op.SOFTMAX)),
            softmax.absolute.eq(has_mode(ins, ABSOLUTE)),
            softmax.idle.eq(self.walked & over),
            softmax.valid.eq(stages.has(m, timing.near, Op.SOFTMAX)),
            softmax.near.eq(Cat(lane.near for lane in lanes)),
            self.again.eq(softmax.again),
            self.empty.eq(stages.empty & ~softmax.busy),
            orders.less.eq(less),
            orders.coding.eq(softmax.coding),
            state.recall.eq(stages.has(m, timing.relay, Op.RELAY) | softmax.coded),
            state.recalled.eq(
                Mux(
                    softmax.coding,
                    Cat(lane.code for lane in lanes),
                    Cat(lane.relayed for lane in lanes),
                )
            ),
        ]
        for lane, exponential in zip(lanes, lanes_of(softmax.e, cfg.lanes), strict=True):
            m.d.comb += lane.exponential.eq(exponential)
