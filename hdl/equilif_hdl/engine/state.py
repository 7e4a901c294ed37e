"""Memories of neuron state and values, and who addresses them.

    memory  word: P of   depth       read by, in stage                  written by, in stage
    A       accumulator  2 x states  all (read)                         sums (sum), STEP (step)
    B       accumulator  states      all (read)                         sums (sum)
    Q       charge       states      all (read), STEP (step - 1)        MARK (sum), STEP (step)
    S       1 bit        2 x states  NUDGE (before 0), copies (read),   RESET, copies (sum), STEP (step)
                                     scanner
    V plus  8 bits       values      NUDGE, LEARN (before 0), MEASURE   MEASURE (rate), RELAY (relay),
    V minus                          (sum), scanner, host               SOFTMAX, host

A is the membrane with its gathered input, B the static drive, Q the charge, S spikes, V rates and inputs at
+beta (plus) and at -beta (minus).  The upper halves of A and S hold what SAVE put aside.  Sums are DRIVE,
GATHER, NUDGE, RESET, SAVE and RESTORE: DRIVE and RESET of mode STATIC write B, the others A.  Copies are
SAVE and RESTORE.  Stages are those of equilif_hdl.engine.stages.Timing.

Latency: 1 cycle from address to data; V ``registers.weight_read`` more, but not for the scanner and MEASURE.
Throughput: a group a cycle, read and written.
"""

from __future__ import annotations

from typing import NamedTuple

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import Op, ResetMode, ResultMode
from equilif_golden.engine.memories import has_nonzero_flag, memories
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, group_bits, has_mode, is_one_of
from equilif_hdl.engine.port import ScanPort
from equilif_hdl.engine.stages import COPIES, SUMS, Stages, rereads
from equilif_hdl.fixed import delayed, domain, lanes_of, ram

#: what lanes select of it as it is read, P lanes side by side; a lane's port has the same name
READ = ("a", "b", "q")
#: what they write, and the port of a lane
WRITTEN = {
    "totals": "total",
    "membranes": "membrane",
    "spikes": "fired",
    "charges": "charge",
    "rates": "rate",
}
#: groups below which values are no business of block RAMs, which have 512 words at least
SHALLOW = 128


class Ports(NamedTuple):
    """The two ports of a memory, which is the submodule ``<name>_memory``."""

    rd: memory.ReadPort[int, Value]
    wr: memory.WritePort[int, Value]


class State(wiring.Component):
    """Members
    -------
    instruction : In(INSTRUCTION)
        What the commands are of.
    scan : In(ScanPort)
        The scanner's access to S and V.
    plus, minus : Out(8 P)
        What V puts out, ``registers.weight_read`` cycles later.
    a, b, q : Out
        What A, B and Q put out, P lanes side by side.
    host_read : In(1)
        V is addressed by the host.
    host_write : In(P)
        Strobes, one for each lane.
    host_group, host_data : In(group), In(16)
        The host's group, and what it writes: plus in the low byte, minus in the high one.
    totals : In
        Sums that are written, P lanes side by side.
    membranes, spikes : In(16 P), In(P)
        The same, of STEP.
    charges : In
        The same, of MARK and STEP.
    rates : In(8 P)
        The same, of MEASURE.
    start : In(1)
        Where there are memories: ``instruction`` begins.
    recall, recalled : In(1), In(8 P)
        The same: RELAY or SOFTMAX writes the next group; its values.

    ``stages``: the commands that are carried out.  ``state_ram``: memory style, a hint for the tool.
    """

    instruction: Instruction
    start: Signal
    scan: ScanPort.Members
    host_read: Signal
    host_write: Signal
    host_group: Signal
    host_data: Signal
    plus: Signal
    minus: Signal
    a: Signal
    b: Signal
    q: Signal
    totals: Signal
    membranes: Signal
    spikes: Signal
    charges: Signal
    rates: Signal
    recall: Signal
    recalled: Signal

    def __init__(self, config: EngineConfig, stages: Stages, *, state_ram: str | None = None):
        self.config = config
        self.stages = stages
        self.state_ram = state_ram
        p = config.lanes
        accumulator = config.numerics.accumulator_width
        charge = config.numerics.charge_width
        group = group_bits(config)
        super().__init__(
            {
                "instruction": In(INSTRUCTION),
                "scan": In(ScanPort(config)),
                "host_read": In(1),
                "host_write": In(p),
                "host_group": In(group),
                "host_data": In(16),
                "plus": Out(8 * p),
                "minus": Out(8 * p),
                "a": Out(accumulator * p),
                "b": Out(accumulator * p),
                "q": Out(charge * p),
                "totals": In(accumulator * p),
                "membranes": In(16 * p),
                "spikes": In(p),
                "charges": In(charge * p),
                "rates": In(8 * p),
                **({"start": In(1), "recall": In(1), "recalled": In(8 * p)} if config.attention else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a = self._memory(m, "a")
        b = self._memory(m, "b")
        q = self._memory(m, "q")
        s = self._memory(m, "s")
        plus = self._memory(m, "plus", by_lane=True)
        minus = self._memory(m, "minus", by_lane=True)
        stages = self.config.registers.weight_read
        m.d.comb += [
            self.a.eq(a.rd.data),
            self.b.eq(b.rd.data),
            self.q.eq(q.rd.data),
            self.scan.spikes.eq(s.rd.data),
            self.plus.eq(delayed(m, self.scan.plus, stages, "plus")),
            self.minus.eq(delayed(m, self.scan.minus, stages, "minus")),
        ]
        for name, found in (("plus", plus.rd.data), ("minus", minus.rd.data)):
            read = lanes_of(found, self.config.lanes)
            m.d.comb += getattr(self.scan, name).eq(Cat(value[:8] for value in read))
            if has_nonzero_flag(self.config):
                m.d.comb += getattr(self.scan, f"{name}_nonzero").eq(Cat(value[8] for value in read))
        self._read_state(m, a, b, q, s)
        self._read_values(m, plus, minus)
        for rd in (s.rd, plus.rd, minus.rd):
            m.d.comb += rd.en.eq(self.scan.fetch | ~self.scan.hold)
        self._write_state(m, a, b, q, s)
        self._write_values(m, plus, minus)
        return m

    def _memory(self, m: Module, name: str, *, by_lane: bool = False) -> Ports:
        """``by_lane``: one lane can be written alone, as the host does."""
        size = memories(self.config)[name]
        width = size.width + (by_lane and has_nonzero_flag(self.config))
        # values are many, and go to the block RAMs that a large engine's weights leave, but for so few groups
        # that hardly anything of a block would be used
        block = by_lane and not self.config.single_port and size.depth >= SHALLOW
        style = "block" if block else self.state_ram
        whole = m.submodules[f"{name}_memory"] = ram(width * self.config.lanes, size.depth, style)
        return Ports(whole.read_port(), whole.write_port(granularity=width if by_lane else None))

    def _place(self, stage: int) -> Value:
        """The stage's group in a memory of neuron state."""
        return self.stages.group[stage][: (self.config.state_groups - 1).bit_length()]

    def _read_state(self, m: Module, a: Ports, b: Ports, q: Ports, s: Ports) -> None:
        stages = self.stages
        read = stages.timing.read
        charging = stages.timing.step - 1
        restores = stages.op_is(m, read, Op.RESTORE)
        m.d.comb += [a.rd.addr.eq(Cat(self._place(read), restores)), b.rd.addr.eq(stages.group[read])]
        ahead = self.config.registers.state_write  # as in _write_state
        charges = stages.op_valid_now(charging - ahead, Op.STEP)
        m.d[domain(ahead)] += q.rd.addr.eq(
            Mux(charges, stages.group[charging - ahead], stages.group[read - ahead])
        )
        m.d.comb += s.rd.addr.eq(
            Mux(
                self.scan.select,
                Cat(self.scan.addr[: len(self._place(read))], 0),
                Mux(
                    stages.op_valid(m, read, *COPIES),
                    Cat(self._place(read), restores),
                    # no later: a scan that begins takes the memory from a NUDGE under way
                    Cat(self._place(-stages.timing.lead), 0),
                ),
            )
        )

    def _read_values(self, m: Module, plus: Ports, minus: Ports) -> None:
        stages = self.stages
        timing = stages.timing
        group = stages.commands[-timing.lead].value_group
        for op, stage in rereads(self.config).items():
            group = Mux(stages.op_valid(m, stage, op), stages.group[stage], group)
        for rd in (plus.rd, minus.rd):
            m.d.comb += rd.addr.eq(
                Mux(self.host_read, self.host_group, Mux(self.scan.select, self.scan.addr, group))
            )

    def _write_state(self, m: Module, a: Ports, b: Ports, q: Ports, s: Ports) -> None:
        cfg = self.config
        stages = self.stages
        timing = stages.timing
        now = timing.sum
        steps = stages.op_valid(m, timing.step, Op.STEP)
        # strobes and places go to every lane: with registers they are decided a stage earlier
        ahead = cfg.registers.state_write
        decided = m.d[domain(ahead)]
        stepping = stages.op_valid_now(timing.step - ahead, Op.STEP) if ahead else steps
        sums = stages.op_valid_now(now - ahead, *SUMS)
        to_b = self._sums_static(now - ahead)
        to_s = self._writes_spikes(now - ahead)
        # place of a sum, aside where SAVE says so, and place of what STEP writes
        place = Cat(self._place(now - ahead), is_one_of(stages.op[now - ahead], Op.SAVE))
        stepped = Cat(self._place(timing.step - ahead), 0)
        membranes = lanes_of(self.membranes, cfg.lanes)
        totals = lanes_of(self.totals, cfg.lanes)
        decided += [a.wr.en.eq(stepping | sums & ~to_b), a.wr.addr.eq(Mux(stepping, stepped, place))]
        m.d.comb += a.wr.data.eq(
            Cat(
                Mux(steps, v.as_signed(), total.as_signed())[: len(total)]
                for v, total in zip(membranes, totals, strict=True)
            )
        )
        decided += [b.wr.en.eq(sums & to_b), b.wr.addr.eq(stages.group[now - ahead])]
        m.d.comb += b.wr.data.eq(self.totals)
        decided += [s.wr.en.eq(stepping | to_s), s.wr.addr.eq(Mux(stepping, stepped, place))]
        m.d.comb += s.wr.data.eq(
            Mux(steps, self.spikes, Mux(stages.op_is(m, now, Op.RESET), 0, self.scan.spikes))
        )
        decided += [
            q.wr.en.eq(steps | stages.op_valid(m, now, Op.MARK)),
            q.wr.addr.eq(Mux(steps, stages.group[timing.step], stages.group[now])),
            q.wr.data.eq(self.charges),
        ]

    def _sums_static(self, stage: int) -> Value:
        """If the stage holds a sum, it is one of B."""
        op = self.stages.op[stage]
        return is_one_of(op, Op.DRIVE) | is_one_of(op, Op.RESET) & has_mode(
            self.instruction, ResetMode.STATIC
        )

    def _writes_spikes(self, stage: int) -> Value:
        """The stage holds a sum of A that S goes with."""
        op = self.stages.op[stage]
        resets = is_one_of(op, Op.RESET) & ~has_mode(self.instruction, ResetMode.STATIC)
        return self.stages.busy[stage] & (is_one_of(op, *COPIES) | resets)

    def _write_values(self, m: Module, plus: Ports, minus: Ports) -> None:
        cfg = self.config
        timing = self.stages.timing
        measures = self.stages.op_valid(m, timing.rate, Op.MEASURE)
        write = measures
        group = self.stages.group[timing.rate]
        # rates come late: the choice between them and all else is behind the registers
        behind = cfg.registers.state_write
        measured = delayed(m, measures, behind, "measured")
        rates = delayed(m, self.rates, behind, "rates")
        if cfg.attention:
            here = Signal(group_bits(cfg))  # the group that is written next
            write = measures | self.recall
            group = Mux(measures, group, here)
            with m.If(self.start):
                m.d.sync += here.eq(self.instruction.src)
            with m.Elif(self.recall):
                m.d.sync += here.eq(here + 1)
        for wr, mode, byte in (
            (plus.wr, ResultMode.PLUS, self.host_data[:8]),
            (minus.wr, ResultMode.MINUS, self.host_data[8:]),
        ):
            others: Value = byte.replicate(cfg.lanes)
            if cfg.attention:
                others = Mux(self.recall, self.recalled, others)
            written = Signal.like(self.rates, name=f"written_{mode.name}")
            m.d[domain(behind)] += [
                wr.en.eq(Mux(write, has_mode(self.instruction, mode).replicate(cfg.lanes), self.host_write)),
                wr.addr.eq(Mux(write, group, self.host_group)),
            ]
            m.d.comb += written.eq(Mux(measured, rates, delayed(m, others, behind, f"others_{mode.name}")))
            stored: Value = written
            if has_nonzero_flag(cfg):
                stored = Cat(Cat(value, value.any()) for value in lanes_of(written, cfg.lanes))
            m.d.comb += wr.data.eq(stored)
