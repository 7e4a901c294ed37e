"""The P lanes: memories and pipeline that carry out commands, one group of neurons a cycle.

    cycle        0 command    1            2              3                    4             5
    GATHER DRIVE W address    rotate       x scale        + A or B  --> A, B
    NUDGE        V, S address              x strength     + A  --> A
    STEP                                   A, B address   A + B, saturate      spike, reset  leak  --> A, Q, S
    LEARN        V address    rotate V     u+ v+          - u- v-              + W           --> W
                                           W address      (single port: here)  (and here)
    RELAY                                  B address      >> 1 .. 4            >> rest, clip  --> V
    SOFTMAX                                A, B address   >> 1 .. 4            see
                                           equilif_hdl.blocks.softmax; e x R, two stages  --> V
    MARK                                   A address      --> Q
    MEASURE                                A, Q address   Q + A, V address     shift --> V, - V
                                           WATCH: moved
    SAVE RESTORE RESET                     A, S address   --> A, B, S

Latency: as drawn.  In a deep pipeline (``EngineConfig.deep``) ``weight_stages`` + 1 cycles come before,
the last of them half of the rotation; STEP writes in stage 6, its sum being a register, LEARN after stage
6, its shift being one, and Q and V are written a cycle later. Throughput: a command a cycle; LEARN on a
single-port weight memory one in two. A sum that is read in the very cycle in which it is written is
forwarded, so that commands for the same group may follow each other.
"""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_WIDTH, SHIFTS
from equilif_golden.blocks.softmax import RECIPROCAL
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ABSOLUTE, MINUS, PLUS, SCALED, STATIC, WATCH, Op
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.plasticity import Plasticity
from equilif_hdl.blocks.rate import Measure, Moved
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.blocks.softmax import Softmax
from equilif_hdl.engine.isa import (
    INSTRUCTION,
    command,
    group_bits,
    has_mode,
    lane_bits,
    signed_values,
    tile_bits,
)
from equilif_hdl.engine.walk import times_gain
from equilif_hdl.engine.weights import WeightArray
from equilif_hdl.fixed import lanes_of, popcount, ram, rotate, shape, times_index


def _is(op, *ops: Op):
    return op.matches(*(int(o) for o in ops))


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
    host_* : host access while no command is under way; W and V; data 1 + weight_stages cycles after the
    strobe. spike_count : Out
        Spikes of the group that a STEP writes in this cycle; in a deep pipeline that it wrote in the last
        one.
    moved : Out(1)
        Where phases may end early: a watched rate has moved; not while ``empty``.
    """

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config, self.state_ram, self.latency = config, state_ram, 5 + config.deep
        p, group, tile, lane = config.lanes, group_bits(config), tile_bits(config), lane_bits(config)
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
                "host_tile": In(tile),
                "host_e": In(lane),
                "host_group": In(group),
                "host_data": In(16),
                "host_w": Out(16 * p),
                "host_plus": Out(8 * p),
                "host_minus": Out(8 * p),
                "spike_count": Out(range(p + 1)),
                **({"moved": Out(1)} if config.early else {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        cfg, p, ins = self.config, self.config.lanes, self.instruction
        acc, charge = shape(cfg.numerics.accumulator), shape(cfg.numerics.charge)
        lane, state = lane_bits(cfg), (cfg.state_groups - 1).bit_length()
        static, last_stage = has_mode(ins, STATIC), self.latency
        # of what a deep pipeline has a register behind
        domain = m.d["sync" if cfg.deep else "comb"]

        # -- the command travels with its data: stage k holds what was issued k cycles ago ---------
        def delayed(first, name: str, stages: int, **kwargs):
            line = [first]
            for k in range(1, stages + 1):
                line.append(Signal(first.shape(), name=f"{name}{k}", **kwargs))
                m.d.sync += line[k].eq(line[k - 1])
            return line

        # weights and values are read so many cycles before stage 0, and nothing else notices
        lead = cfg.weight_stages + cfg.deep
        ahead, first = self.i, delayed(self.valid, "ahead", lead)
        i = ahead
        for k in range(lead):
            before = i.op
            late = Signal(command(cfg), name=f"command{k}", reset_less=True)
            m.d.sync += late.eq(i)
            if cfg.deep and not k:
                with m.If(i.op == Op.LEARN):
                    m.d.sync += [
                        late.up.eq(times_gain(i.up, ins, cfg)),
                        late.um.eq(times_gain(i.um, ins, cfg)),
                    ]
            i = late
        valid = delayed(first[-1], "valid", last_stage)
        op, group, tile, e = (
            delayed(i[n], n, last_stage, reset_less=True) for n in ("op", "group", "tile", "e")
        )

        def at(k: int, what):
            """``what(k)``, of stage k; in a deep pipeline found out a stage earlier and registered."""
            if not (cfg.deep and k):
                return what(k)
            flag = Signal(name=f"flag{k}", reset_less=True)
            m.d.sync += flag.eq(what(k - 1))
            return flag

        def has(k: int, *ops: Op):
            """Stage k holds a command, one of these."""
            return at(k, lambda k: valid[k] & _is(op[k], *ops))

        def would(k: int, *ops: Op):
            """Whatever stage k holds, if anything, it is one of these."""
            return at(k, lambda k: _is(op[k], *ops))

        quiet = ~Cat(*first[1:], *valid[1:]).any()
        m.d.comb += self.empty.eq(quiet)

        # -- memories ------------------------------------------------------------------------------
        m.submodules.weights = weights = WeightArray(cfg)
        ports = {}
        for name, width, depth, cut in (
            ("a", acc.width, 2 * cfg.state_groups, False),
            ("b", acc.width, cfg.state_groups, False),
            ("q", charge.width, cfg.state_groups, False),
            ("s", 1, 2 * cfg.state_groups, False),
            ("plus", 8, cfg.value_groups, True),
            ("minus", 8, cfg.value_groups, True),
        ):
            memory = m.submodules[f"{name}_memory"] = ram(
                width * p, depth, "block" if cut and cfg.deep else self.state_ram
            )
            ports[name] = memory.read_port(), memory.write_port(granularity=width if cut else None)
        (a_rd, a_wr), (b_rd, b_wr), (q_rd, q_wr), (s_rd, s_wr), (plus_rd, plus_wr), (minus_rd, minus_wr) = (
            ports.values()
        )
        a_old, b_old, q_old = ([v.as_signed() for v in lanes_of(rd.data, p)] for rd in (a_rd, b_rd, q_rd))

        # -- 0: addresses; 1: rotate ---------------------------------------------------------------
        # LEARN reads its weights when its products are there: so late that the next cycle can write, or
        # before a register
        late = 3 if cfg.single_port else 2 - cfg.weight_stages
        reads_late = has(late, Op.LEARN)
        copy2, restore2 = has(2, Op.SAVE, Op.RESTORE), would(2, Op.RESTORE)
        ends = last_stage  # stage in which STEP writes; it reads its charge a stage before
        m.d.comb += [
            weights.read.eq(self.valid & (ahead.op != Op.LEARN) | reads_late | self.host_read),
            weights.tile.eq(Mux(self.host_read, self.host_tile, Mux(reads_late, tile[late], ahead.tile))),
            weights.e.eq(Mux(self.host_read, self.host_e, Mux(reads_late, e[late], ahead.e))),
            weights.column.eq(ahead.column & ~reads_late & ~self.host_read),
            self.host_w.eq(weights.data),
            a_rd.addr.eq(Cat(group[2][:state], restore2)),
            b_rd.addr.eq(group[2]),
            q_rd.addr.eq(Mux(has(ends - 1, Op.STEP), group[ends - 1], group[2])),
            s_rd.addr.eq(
                Mux(
                    self.scan_take,
                    Cat(self.scan_addr[:state], 0),
                    Mux(copy2, Cat(group[2][:state], restore2), Cat(i.group[:state], 0)),
                )
            ),
            self.scan_spikes.eq(s_rd.data),
            self.scan_plus.eq(plus_rd.data),
            self.scan_minus.eq(minus_rd.data),
        ]
        value_group = ahead.value_group
        if cfg.early:  # the rate before is there in the cycle of the new one
            value_group = Mux(has(3, Op.MEASURE), group[3], value_group)
        for rd in (plus_rd, minus_rd):
            m.d.comb += rd.addr.eq(
                Mux(self.host_read, self.host_group, Mux(self.scan_take, self.scan_addr, value_group))
            )
        for rd in (s_rd, plus_rd, minus_rd):
            m.d.comb += rd.en.eq(self.scan_fetch | ~self.scan_hold)

        # levels of rotating that come before a register
        halfway = lane // 2 if cfg.deep else 0
        turn, scale1 = Signal(lane - halfway), Signal.like(i.scale, reset_less=True)
        up1 = Signal(signed(16), reset_less=True)
        m.d.sync += [turn.eq(i.rotate[halfway:]), scale1.eq(i.scale), up1.eq(i.up)]
        if cfg.deep:  # nothing is added to what is copied
            with m.If(_is(i.op, Op.SAVE, Op.RESTORE)):
                m.d.sync += scale1.eq(0)
        # With a single port a LEARN command comes every other cycle, and what it brings may stay for two:
        # registers saved
        um1, um3 = Signal(i.um.shape(), reset_less=True), Signal(i.um.shape(), reset_less=True)
        if cfg.single_port:
            noisy, dither, dither_e = has(0, Op.LEARN), i.dither, e[0]
            with m.If(noisy):
                m.d.sync += um1.eq(i.um)
            m.d.sync += um3.eq(um1)
        else:
            # what a register follows is needed a stage earlier
            now = 0 if cfg.deep else 1
            noisy, dither, dither_e = (
                valid[now] & (op[now] == Op.LEARN),
                Signal(DITHER_WIDTH, reset_less=True),
                e[now],
            )
            um2 = Signal.like(um1)
            m.d.sync += [dither.eq(i.dither), um1.eq(-i.um if cfg.deep else i.um), um2.eq(um1), um3.eq(um2)]
        axpy1, nudge1 = would(1, Op.DRIVE, Op.GATHER), would(1, Op.NUDGE)
        # of LEARN: no other instruction looks at a sign
        signed_dst = signed_values(ins, cfg, dst=True)
        values = [
            delayed(rd.data, name, cfg.weight_stages, reset_less=True)
            for rd, name in ((plus_rd, "plus"), (minus_rd, "minus"))
        ]
        m.d.comb += [self.host_plus.eq(values[0][-1]), self.host_minus.eq(values[1][-1])]
        scaled1 = (
            would(1, Op.DRIVE, Op.GATHER, Op.RESET, Op.SAVE, Op.RESTORE)
            if cfg.deep
            else axpy1 | (op[1] == Op.RESET)
        )
        w1 = lanes_of(weights.data, p)
        v1 = [Cat(a, b) for a, b in zip(lanes_of(values[0][-1], p), lanes_of(values[1][-1], p), strict=True)]
        axpy = axpy1
        if cfg.deep:
            axpy = Signal(reset_less=True)
            m.d.sync += axpy.eq(_is(before, Op.DRIVE, Op.GATHER))
        turned = [Mux(axpy, w, v) for w, v in zip(w1, v1, strict=True)]
        if cfg.deep:
            half = [Signal(16, name=f"half_{j}", reset_less=True) for j in range(p)]
            m.d.sync += [
                h.eq(w) for h, w in zip(half, rotate(m, turned, i.rotate[:halfway], "turned"), strict=True)
            ]
            turned = half
        turned = rotate(m, turned, turn, "turned", halfway)
        kept_dither = Signal(DITHER_WIDTH)
        domain += kept_dither.eq(0)
        with m.Switch(ins.shift):
            for s in SHIFTS:
                with m.Case(s):
                    domain += kept_dither.eq(Mux(noisy, (1 << s) - 1, 0))

        # -- 3: which accumulator, which operands --------------------------------------------------
        mark3 = has(3, Op.MARK)
        reset3, step3, copy3 = would(3, Op.RESET), would(3, Op.STEP), would(3, Op.SAVE, Op.RESTORE)
        sums3 = has(3, Op.DRIVE, Op.GATHER, Op.NUDGE, Op.RESET, Op.SAVE, Op.RESTORE)
        spikes3 = at(
            3, lambda k: valid[k] & (_is(op[k], Op.SAVE, Op.RESTORE) | (op[k] == Op.RESET) & ~static)
        )
        to_b3 = at(3, lambda k: (op[k] == Op.DRIVE) | (op[k] == Op.RESET) & static)
        # the group that stage 2 reads is being written in this cycle, by the same instruction
        same, again = sums3 & (group[2] == group[3]) if cfg.forwarding else Const(0), Signal()
        source3 = Signal(2)  # A, B, the last sum, nothing
        m.d.sync += [again.eq(same), source3.eq(Mux(same, 2, Mux(op[2] == Op.RESET, 3, op[2] == Op.DRIVE)))]

        if cfg.softmax:
            m.submodules.softmax = softmax = Softmax(cfg)
            over = Signal()
            domain += over.eq(self.walked & quiet)
            # shift of B, less 1; where the next V goes
            less, here = Signal(5), Signal(group_bits(cfg))
            m.d.sync += less.eq(
                ins.shift - 1 + Mux((ins.op == Op.RELAY) & has_mode(ins, SCALED), softmax.scale, 0)
            )
            m.d.comb += [
                softmax.start.eq(self.start & (ins.op == Op.SOFTMAX)),
                softmax.absolute.eq(has_mode(ins, ABSOLUTE)),
                softmax.idle.eq(self.walked & over),
                softmax.valid.eq(has(4, Op.SOFTMAX)),
                self.again.eq(softmax.again),
                self.empty.eq(quiet & ~softmax.busy),
            ]
            m.d.sync += softmax.active.eq(Cat(~a[-1] for a in a_old))
            with m.If(softmax.coding):
                m.d.sync += up1.eq(softmax.reciprocal)
            relayed, codes = [], []

        above = Signal(17)
        m.d.sync += above.eq(-ins.gain[:15])
        totals, spikes, v_next, q_new, rate4, far5, updated = [], [], [], [], [], [], []
        tolerance = Mux(ins.gain[8:].any(), 255, ins.gain[:8])
        for j in range(p):

            def reg(like, name: str, j=j):
                return Signal(like, name=f"{name}_{j}", reset_less=True)

            x, y, noise, p1, vm3 = (
                reg(s, n)
                for s, n in (
                    (signed(16), "x"),
                    (signed(10), "y"),
                    (DITHER_WIDTH, "noise"),
                    (signed(26), "p1"),
                    (signed(9) if cfg.softmax else 8, "vm3"),
                )
            )
            # `keep`, or Yosys 0.52 packs this register into the next DSP block and loses what it holds
            # (tests/test_netlist.py)
            p1.attrs["keep"] = 1
            vm1, sign1 = turned[j][8:], nudge1 & s_rd.data[j]
            if cfg.softmax:
                vm1, sign1 = (
                    Cat(vm1, signed_dst & vm1[-1]),
                    Mux(nudge1, s_rd.data[j], signed_dst & turned[j][7]),
                )
            # bank j of row e holds column j - e
            column = Signal(DITHER_WIDTH, name=f"column_{j}", reset_less=True)
            domain += column.eq(times_index((j - dither_e)[:lane], DITHER_COLUMN, DITHER_WIDTH))
            m.d.sync += [
                x.eq(Mux(axpy1, turned[j], up1)),
                # a spike of the nudged neuron counts -256: strength x (target - 256 spike)
                y.eq(Mux(scaled1, scale1, Cat(turned[j][:8], sign1.replicate(2)).as_signed())),
                p1.eq(x * y + noise),
            ]
            half = 0
            if cfg.softmax:
                with m.If(softmax.coding):
                    m.d.sync += y.eq(softmax.e.word_select(j, 8))
                half = softmax.coding << (RECIPROCAL - 1)
                relay = m.submodules[f"relay{j}"] = Relay(cfg.numerics)
                m.d.comb += [
                    relay.drive.eq(b_old[j]),
                    relay.less.eq(less),
                    softmax.near.word_select(j, len(relay.near)).eq(relay.near),
                ]
                relayed.append(relay.value)
                code = p1[RECIPROCAL:]
                codes.append(Mux(code[8], 255, code[:8]))
            if cfg.single_port:
                with m.If(noisy | (ins.op != Op.LEARN)):
                    m.d.sync += noise.eq((dither + column) & kept_dither | half)
                with m.If(has(1, Op.LEARN)):
                    m.d.sync += vm3.eq(vm1)
            else:
                vm2 = reg(vm3.shape(), "vm2")
                m.d.sync += [noise.eq((dither + column) & kept_dither | half), vm2.eq(vm1), vm3.eq(vm2)]
            old, total, last, membrane = (
                Signal(acc, name=f"old_{j}"),
                Signal(acc, name=f"total_{j}"),
                reg(acc, "last"),
                reg(acc, "membrane"),
            )
            m.d.sync += [last.eq(total), membrane.eq(a_old[j] + b_old[j])]
            if cfg.deep:
                m.d.comb += [old.eq(Array((a_old[j], b_old[j], last, 0))[source3]), total.eq(old + (p1 >> 8))]
            else:
                m.d.comb += [
                    old.eq(Mux(reset3, 0, Mux(to_b3, b_old[j], a_old[j]))),
                    total.eq(old + Mux(step3, b_old[j], Mux(copy3, 0, p1 >> 8))),
                ]
                if cfg.forwarding:
                    with m.If(again):
                        m.d.comb += old.eq(last)
            totals.append(total)

            lif = m.submodules[f"lif{j}"] = Lif(cfg.numerics, registered=cfg.deep)
            m.d.comb += [
                lif.total.eq(membrane if cfg.deep else total),
                lif.threshold.eq(ins.gain),
                lif.above.eq(above),
                lif.leak.eq(ins.shift),
            ]
            spikes.append(lif.spike)
            v_next.append(lif.v)
            charged = Signal(charge, name=f"charged_{j}")
            m.d.comb += charged.eq(Mux(mark3, -a_old[j], q_old[j] + Mux(lif.spike, ins.gain, 0)))
            q_new.append(charged)

            rate = m.submodules[f"rate{j}"] = Measure(cfg.numerics, registered=cfg.deep)
            m.d.comb += [rate.charge.eq(q_old[j]), rate.v.eq(a_old[j]), rate.shift.eq(ins.shift)]
            rate4.append(rate.rate)
            if cfg.early:
                move = m.submodules[f"moved{j}"] = Moved()
                m.d.comb += [
                    move.rate.eq(rate.rate),
                    move.before.eq(plus_rd.data.word_select(j, 8)),
                    move.tolerance.eq(tolerance),
                ]
                far5.append(move.far)

            update = Plasticity(
                cfg.numerics, registers=0 if cfg.single_port else 1 + cfg.deep, signed_values=cfg.softmax
            )
            m.submodules[f"plasticity{j}"] = update
            w4 = w1[j]
            if not cfg.single_port:
                w4 = reg(16, "w4")
                m.d.sync += w4.eq(w1[j])
            um, vm = (um2, vm2) if cfg.deep else (um3, vm3)
            m.d.comb += [
                update.product.eq(p1),
                update.um.eq(um),
                update.vm.eq(vm),
                update.shift.eq(ins.shift),
                update.w.eq(w4),
            ]
            updated.append(update.o)

        # -- write back ----------------------------------------------------------------------------
        done = 4 if cfg.single_port else last_stage  # the stage in which LEARN writes
        learns, steps, measure4 = has(done, Op.LEARN), has(ends, Op.STEP), has(4, Op.MEASURE)
        here3, ending = Cat(group[3][:state], would(3, Op.SAVE)), Cat(group[ends][:state], 0)
        m.d.comb += [
            weights.write.eq(Mux(learns, (1 << p) - 1, self.host_write_w)),
            weights.w_tile.eq(Mux(learns, tile[done], self.host_tile)),
            weights.w_e.eq(Mux(learns, e[done], self.host_e)),
            weights.w_data.eq(Mux(learns, Cat(updated), self.host_data.replicate(p))),
            a_wr.en.eq(steps | sums3 & ~to_b3),
            a_wr.addr.eq(Mux(steps, ending, here3)),
            a_wr.data.eq(
                Cat(Mux(steps, v, total)[: acc.width] for v, total in zip(v_next, totals, strict=True))
            ),
            b_wr.en.eq(sums3 & to_b3),
            b_wr.addr.eq(group[3]),
            b_wr.data.eq(Cat(totals)),
            s_wr.en.eq(steps | spikes3),
            s_wr.addr.eq(Mux(steps, ending, here3)),
            s_wr.data.eq(Mux(steps, Cat(spikes), Mux(reset3, 0, s_rd.data))),
        ]
        domain += [
            q_wr.en.eq(steps | mark3),
            q_wr.addr.eq(Mux(steps, group[ends], group[3])),
            q_wr.data.eq(Cat(q_new)),
            self.spike_count.eq(Mux(steps, popcount(Cat(spikes)), 0)),
        ]
        if cfg.early:
            m.d.comb += self.moved.eq(has(5, Op.MEASURE) & has_mode(ins, WATCH) & Cat(far5).any())
        write_v, at_v, v_new = measure4, group[4], Cat(rate4)
        if cfg.softmax:
            write_here = has(5, Op.RELAY) | softmax.coded
            write_v, at_v, v_new = (
                measure4 | write_here,
                Mux(measure4, group[4], here),
                Mux(measure4, v_new, Mux(softmax.coding, Cat(codes), Cat(relayed))),
            )
            with m.If(self.start):
                m.d.sync += here.eq(ins.src)
            with m.Elif(write_here):
                m.d.sync += here.eq(here + 1)
        for wr, mode, byte in ((plus_wr, PLUS, self.host_data[:8]), (minus_wr, MINUS, self.host_data[8:])):
            domain += [
                wr.en.eq(Mux(write_v, has_mode(ins, mode).replicate(p), self.host_write_v)),
                wr.addr.eq(Mux(write_v, at_v, self.host_group)),
                wr.data.eq(Mux(write_v, v_new, byte.replicate(p))),
            ]
        return m
