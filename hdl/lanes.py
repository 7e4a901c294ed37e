"""The P lanes: memories and pipeline that carry out commands, one group of neurons a cycle.

    cycle   0 command      1 weights, values     2 operands          3 products          4 .. 6            7
            addresses      rotate                multiply            accumulate, LIF     clip, spike, leak rates
                                                 A, B, S addresses   update
    axpy    W ------------ rotate -------------- x scale ----------- + A or B --> A, B
    NUDGE   V (target), S ---------------------- x strength -------- + A --> A
    STEP                                                             A + B ---- clip, spike, leak ----> A, Q, S
    LEARN   V ------------ rotate V ------------ u+ v+, u- v- ------ W, difference ----- W (cycle 5)
                                                 W address
    others                                                           A, Q, S (address in cycle 5) ---> A, B, Q, S (6), V (7)

Throughput: a command a cycle; LEARN on a single-port weight memory one in two.  A sum that is read in the very cycle in which
it is written is forwarded, so commands for the same group may follow each other.
"""
from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.isa import MINUS, PLUS, STATIC, EngineConfig, Op
from golden.plasticity import DITHER_COLUMN, DITHER_WIDTH
from hdl.fixed import lanes_of, popcount, ram, rotate, shape, times_index
from hdl.isa import INSTRUCTION, command, group_bits, lane_bits, tile_bits
from hdl.lif import Lif
from hdl.plasticity import Plasticity
from hdl.rate import Measure
from hdl.weights import WeightArray

LATE = (Op.MARK, Op.MEASURE, Op.SAVE, Op.RESTORE)


def _is(op, *ops: Op):
    return op.matches(*(int(o) for o in ops))


class Lanes(wiring.Component):
    """Members
    -------
    valid, i : In
        A command; see hdl.walk.
    instruction : In(INSTRUCTION)
        What walks and LEARN take their constants from: held until ``empty``.
    empty : Out(1)
        No command is under way.
    scan_fetch, scan_addr, scan_hold, scan_spikes, scan_plus, scan_minus
        Read port of the scanner; ``hold`` keeps what was read until the next fetch.
    host_* : host access while no command is under way; W and V; data a cycle after the strobe.
    spike_count : Out
        Spikes of the group that a STEP wrote in this cycle.
    """

    latency = 7

    def __init__(self, config: EngineConfig, *, state_ram: str | None = None):
        self.config, self.state_ram = config, state_ram
        p = config.lanes
        super().__init__({
            "valid": In(1), "i": In(command(config)), "instruction": In(INSTRUCTION), "empty": Out(1),
            "scan_fetch": In(1), "scan_hold": In(1), "scan_addr": In(group_bits(config)), "scan_spikes": Out(p), "scan_plus": Out(8 * p), "scan_minus": Out(8 * p),
            "host_write_w": In(p), "host_write_v": In(p), "host_read": In(1), "host_tile": In(tile_bits(config)), "host_e": In(lane_bits(config)),
            "host_group": In(group_bits(config)), "host_data": In(16), "host_w": Out(16 * p),
            "spike_count": Out(range(p + 1)),
        })

    def elaborate(self, platform):
        m = Module()
        cfg, p, ins, i = self.config, self.config.lanes, self.instruction, self.i
        static = ins.mode[STATIC.bit_length() - 1]
        acc, charge = shape(cfg.numerics.accumulator), shape(cfg.numerics.charge)
        state = (cfg.state_groups - 1).bit_length()

        # -- the command travels with its data: stage k holds what was issued k cycles ago ----------------------------------
        valid, op, group = [self.valid], [i.op], [i.group]
        for k in range(1, 8):
            valid.append(Signal(name=f"valid{k}"))
            op.append(Signal(4, name=f"op{k}", reset_less=True))
            group.append(Signal(group_bits(cfg), name=f"group{k}", reset_less=True))
            m.d.sync += [valid[k].eq(valid[k - 1]), op[k].eq(op[k - 1]), group[k].eq(group[k - 1])]
        m.d.comb += self.empty.eq(~Cat(valid[1:]).any())

        # -- memories ------------------------------------------------------------------------------------------------------
        m.submodules.weights = weights = WeightArray(cfg)
        memories = {}
        for name, width, depth, lanes in (("a", acc.width, 2 * cfg.state_groups, 1), ("b", acc.width, cfg.state_groups, 1),
                                          ("q", charge.width, cfg.state_groups, 1), ("s", 1, 2 * cfg.state_groups, 1),
                                          ("plus", 8, cfg.value_groups, p), ("minus", 8, cfg.value_groups, p)):
            memory = m.submodules[f"{name}_memory"] = ram(width * p, depth, self.state_ram)
            memories[name] = memory.read_port(), memory.write_port(granularity=width if lanes > 1 else None)
        (a_rd, a_wr), (b_rd, b_wr), (q_rd, q_wr), (s_rd, s_wr), (plus_rd, plus_wr), (minus_rd, minus_wr) = memories.values()

        late5, saved5 = valid[5] & _is(op[5], *LATE), op[5] == Op.RESTORE
        early = Cat(group[2][:state], 0)
        late = Cat(group[5][:state], saved5)
        m.d.comb += [
            a_rd.addr.eq(Mux(late5, late, early)), b_rd.addr.eq(early), q_rd.addr.eq(group[5]),
            s_rd.addr.eq(Mux(self.scan_fetch, Cat(self.scan_addr[:state], 0), Mux(late5, late, Cat(i.group[:state], 0)))),
            self.scan_spikes.eq(s_rd.data), self.scan_plus.eq(plus_rd.data), self.scan_minus.eq(minus_rd.data),
        ]
        m.d.comb += s_rd.en.eq(self.scan_fetch | ~self.scan_hold)
        for rd in (plus_rd, minus_rd):
            m.d.comb += rd.en.eq(self.scan_fetch | ~self.scan_hold)
            m.d.comb += rd.addr.eq(Mux(self.host_read, self.host_group, Mux(self.scan_fetch, self.scan_addr, i.value_group)))

        # -- 0: weights; 1: rotate -------------------------------------------------------------------------------------------
        learn0, learn2 = i.op == Op.LEARN, valid[2] & (op[2] == Op.LEARN)
        tile5, e5 = [i.tile], [i.e]
        for k in range(1, 6):
            tile5.append(Signal(tile_bits(cfg), name=f"tile{k}", reset_less=True))
            e5.append(Signal(lane_bits(cfg), name=f"e{k}", reset_less=True))
            m.d.sync += [tile5[k].eq(tile5[k - 1]), e5[k].eq(e5[k - 1])]
        m.d.comb += [
            # LEARN reads two cycles later than the others, when its products are ready for the weights
            weights.read.eq(self.valid & ~learn0 | learn2 | self.host_read),
            weights.tile.eq(Mux(self.host_read, self.host_tile, Mux(learn2, tile5[2], i.tile))),
            weights.e.eq(Mux(self.host_read, self.host_e, Mux(learn2, e5[2], i.e))),
            weights.column.eq(i.column & ~learn2 & ~self.host_read), self.host_w.eq(weights.data),
        ]
        turn, scale1, up1, um1 = Signal(lane_bits(cfg)), Signal(9, reset_less=True), Signal(signed(16), reset_less=True), Signal(15, reset_less=True)
        dither1, dither2 = Signal(DITHER_WIDTH, reset_less=True), Signal(DITHER_WIDTH, reset_less=True)
        m.d.sync += [turn.eq(i.rotate), scale1.eq(i.scale), up1.eq(i.up), um1.eq(i.um), dither1.eq(i.dither), dither2.eq(dither1)]
        axpy1 = _is(op[1], Op.DRIVE, Op.GATHER)
        scaled1, nudge1 = axpy1 | (op[1] == Op.RESET), op[1] == Op.NUDGE
        w1 = lanes_of(weights.data, p)
        v1 = [Cat(a, b) for a, b in zip(lanes_of(plus_rd.data, p), lanes_of(minus_rd.data, p), strict=True)]
        turned = rotate(m, [Mux(axpy1, w, v) for w, v in zip(w1, v1, strict=True)], turn, "turned")

        # -- 2: multiply; 3: accumulate ----------------------------------------------------------------------------------------
        reset3, step3 = op[3] == Op.RESET, op[3] == Op.STEP
        writes3, to_b3 = valid[3] & _is(op[3], Op.DRIVE, Op.GATHER, Op.NUDGE, Op.RESET), (op[3] == Op.DRIVE) | (reset3 & static)
        again = Signal()                          # the group that stage 2 reads is being written in this cycle, by the same instruction
        m.d.sync += again.eq(writes3 & (group[2] == group[3]))

        spikes6, v6, q6, rate7, sums = [], [], [], [], []
        w5: list[Value] = []
        for j in range(p):
            def reg(like, name: str, j=j):
                return Signal(like, name=f"{name}_{j}", reset_less=True)

            x, y, um, vm = (reg(s, n) for s, n in ((signed(16), "x"), (signed(10), "y"), (15, "um"), (8, "vm")))
            p1, p2, dither3 = reg(signed(25), "p1"), reg(signed(25), "p2"), reg(DITHER_WIDTH, "dither3")
            m.d.sync += [
                x.eq(Mux(axpy1, turned[j], up1)), 
                # a spike of the nudged neuron counts -256: strength x (target - 256 spike)
                y.eq(Mux(scaled1, scale1, Cat(turned[j][:8], (nudge1 & s_rd.data[j]).replicate(2)).as_signed())),
                um.eq(um1), vm.eq(turned[j][8:]),
                p1.eq(x * y), p2.eq(um * vm),
                # bank j of row e holds column j - e
                dither3.eq(dither2 + times_index((j - e5[2])[:lane_bits(cfg)], DITHER_COLUMN, DITHER_WIDTH)),
            ]
            a_old, b_old = (lanes_of(rd.data, p)[j].as_signed() for rd in (a_rd, b_rd))
            old, last, total = Signal(acc, name=f"old_{j}"), reg(acc, "last"), Signal(acc, name=f"total_{j}")
            m.d.comb += [
                old.eq(Mux(again, last, Mux(reset3, 0, Mux(to_b3, b_old, a_old)))),
                total.eq(old + Mux(step3, b_old, p1 >> 8)),
            ]
            m.d.sync += last.eq(total)
            sums.append(total)

            # -- 3 .. 6: LIF -----------------------------------------------------------------------------------------------
            lif = m.submodules[f"lif{j}"] = Lif(cfg.numerics)
            m.d.comb += [lif.total.eq(last), lif.threshold.eq(ins.gain), lif.leak.eq(ins.shift)]
            spikes6.append(lif.spike)
            v6.append(lif.v)
            q_old, a_late = lanes_of(q_rd.data, p)[j].as_signed(), lanes_of(a_rd.data, p)[j].as_signed()
            q_new = Signal(charge, name=f"q_new_{j}")
            m.d.comb += q_new.eq(Mux(op[6] == Op.MARK, -a_late, q_old + Mux(lif.spike, ins.gain, 0)))
            q6.append(q_new)

            # -- 6 .. 7: rate ----------------------------------------------------------------------------------------------
            rate = m.submodules[f"rate{j}"] = Measure(cfg.numerics)
            m.d.comb += [rate.charge.eq(q_old), rate.v.eq(a_late), rate.shift.eq(ins.shift)]
            rate7.append(rate.rate)

            # -- 3 .. 5: EP update -----------------------------------------------------------------------------------------
            update = m.submodules[f"plasticity{j}"] = Plasticity(cfg.numerics)
            m.d.comb += [update.w.eq(w1[j]), update.plus.eq(p1), update.minus.eq(p2), update.dither.eq(dither3), update.shift.eq(ins.shift)]
            w5.append(update.o)

        # -- write back ------------------------------------------------------------------------------------------------------
        learn5 = valid[5] & (op[5] == Op.LEARN)
        m.d.comb += [
            weights.write.eq(Mux(learn5, (1 << p) - 1, self.host_write_w)),
            weights.w_tile.eq(Mux(learn5, tile5[5], self.host_tile)), weights.w_e.eq(Mux(learn5, e5[5], self.host_e)),
            weights.w_data.eq(Mux(learn5, Cat(w5), self.host_data.replicate(p))),
        ]
        step6, reset6 = op[6] == Op.STEP, op[6] == Op.RESET
        moves6 = valid[6] & _is(op[6], Op.STEP, Op.SAVE, Op.RESTORE)
        here6 = Cat(group[6][:state], op[6] == Op.SAVE)
        m.d.comb += [
            a_wr.en.eq(moves6 | writes3 & ~to_b3), a_wr.addr.eq(Mux(moves6, here6, group[3][:state])),
            a_wr.data.eq(Cat(Mux(moves6, Mux(step6, v, a), total)[:acc.width]
                             for v, a, total in zip(v6, map(Value.as_signed, lanes_of(a_rd.data, p)), sums, strict=True))),
            b_wr.en.eq(writes3 & to_b3), b_wr.addr.eq(group[3]), b_wr.data.eq(Cat(sums)),
            q_wr.en.eq(valid[6] & _is(op[6], Op.STEP, Op.MARK)), q_wr.addr.eq(group[6]), q_wr.data.eq(Cat(q6)),
            s_wr.en.eq(moves6 | valid[6] & reset6 & ~static), s_wr.addr.eq(here6),
            s_wr.data.eq(Mux(step6, Cat(spikes6), Mux(reset6, 0, s_rd.data))),
            self.spike_count.eq(Mux(valid[6] & step6, popcount(Cat(spikes6)), 0)),
        ]
        measured = valid[7] & (op[7] == Op.MEASURE)
        for wr, mode, byte in ((plus_wr, PLUS, self.host_data[:8]), (minus_wr, MINUS, self.host_data[8:])):
            m.d.comb += [
                wr.en.eq(Mux(measured, (ins.mode[mode.bit_length() - 1]).replicate(p), self.host_write_v)),
                wr.addr.eq(Mux(measured, group[7], self.host_group)),
                wr.data.eq(Mux(measured, Cat(rate7), byte.replicate(p))),
            ]
        return m
