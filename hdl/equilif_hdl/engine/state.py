"""State memories: neuron state and values, with their address and write-data multiplexers.

    memory  word: P of   depth       read by, in stage                  written by, in stage
    A       accumulator  2 x states  all (read)                         sums (sum), STEP (step)
    B       accumulator  states      all (read)                         sums (sum)
    Q       charge       states      all (read), STEP (step - 1)        MARK (sum), STEP (step)
    S       1 bit        2 x states  NUDGE (before 0), copies (read),   RESET, copies (sum), STEP (step)
                                     scanner
    V plus  8 bits       values      NUDGE, LEARN (before 0), MEASURE   MEASURE (rate), RELAY (relay),
    V minus                          (sum), scanner, host               SOFTMAX, host

A: membrane with gathered input; B: static drive; Q: charge; S: spikes; V: rates and inputs, at +beta (plus)
and -beta (minus).  With 16 or 32 lanes a word of S has one bit more: a neuron of the group has fired.  The
upper halves of A and S hold the copies of SAVE.  Sums are DRIVE, GATHER, NUDGE, RESET, SAVE and RESTORE:
DRIVE, and RESET and NUDGE of mode STATIC, write B, the others A.  Copies are SAVE and RESTORE.
Stages: equilif_hdl.engine.stages.Timing.

Latency: 1 cycle from address to data, of A, B and Q in block RAM 2; V ``registers.weight_read`` more, except
for scanner and MEASURE.
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
from equilif_golden.engine.memories import has_nonzero_flag, has_spike_flag, memories, word_bits
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, group_bits, has_mode, has_static, is_one_of
from equilif_hdl.engine.port import ScanPort
from equilif_hdl.engine.stages import COPIES, SUMS, Stages, rereads
from equilif_hdl.fixed import delayed, domain, lanes_of, ram

#: memory outputs that lanes read, P lanes side by side; a lane has a port of the same name
READ = ("a", "b", "q")
#: write data, and the output of a lane
WRITTEN = {
    "totals": "total",
    "membranes": "membrane",
    "spikes": "fired",
    "charges": "charge",
    "rates": "rate",
}
#: minimum groups of values for block RAM, which has at least 512 words
MIN_BLOCK_DEPTH = 128
#: maximum words of S in distributed RAM: a block RAM is slow, and the scanner uses S in the cycle of its read
MAX_SPIKE_DEPTH = 256


class Ports(NamedTuple):
    """The two ports of a memory, which is the submodule ``<name>_memory``."""

    rd: memory.ReadPort[int, Value]
    wr: memory.WritePort[int, Value]


class State(wiring.Component):
    """Members
    -------
    instruction : In(INSTRUCTION)
        Instruction of the commands.
    scan : In(ScanPort)
        Read port of the scanner to S and V.
    plus, minus : Out(8 P)
        Read data of V, delayed by ``registers.weight_read``.
    a, b, q : Out
        Read data of A, B and Q, P lanes side by side.
    host_read : In(1)
        The host addresses V; with ``registers.state_read`` in the next cycle.
    host_write : In(P)
        Write write_ports of V, one for each lane.
    host_group, host_data : In(group), In(16)
        Address and data of the host: plus in the low byte, minus in the high byte.
    totals : In
        Write data: sums, P lanes side by side.
    membranes, spikes : In(16 P), In(P)
        Write data of STEP.
    charges : In
        Write data of MARK and STEP.
    rates : In(8 P)
        Write data of MEASURE.
    start : In(1)
        With ``attention``: ``instruction`` begins.
    result_write, result : In(1), In(8 P)
        With ``attention``: write strobe and data of RELAY and SOFTMAX, group after group.

    ``stages``: the commands in the pipeline.  ``state_ram``: memory style, a hint to synthesis.
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
    result_write: Signal
    result: Signal

    def __init__(self, config: EngineConfig, stages: Stages, *, state_ram: str | None = None):
        self.config = config
        self.stages = stages
        self.state_ram = state_ram
        #: a block RAM answers late: a register after neuron state, which is addressed a cycle earlier
        self.late_read = int(state_ram == "block" and not config.single_port)
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
                **({"start": In(1), "result_write": In(1), "result": In(8 * p)} if config.attention else {}),
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
            self.a.eq(self._read_sum(m, "a", a)),
            self.b.eq(self._read_sum(m, "b", b)),
            self.q.eq(delayed(m, q.rd.data, self.late_read, "q")),
            self.scan.spikes.eq(s.rd.data[: self.config.lanes]),
            self.plus.eq(delayed(m, self.scan.plus, stages, "plus")),
            self.minus.eq(delayed(m, self.scan.minus, stages, "minus")),
        ]
        for name, found in (("plus", plus.rd.data), ("minus", minus.rd.data)):
            read = lanes_of(found, self.config.lanes)
            m.d.comb += getattr(self.scan, name).eq(Cat(value[:8] for value in read))
            if has_nonzero_flag(self.config):
                m.d.comb += getattr(self.scan, f"{name}_nonzero").eq(Cat(value[8] for value in read))
        if has_spike_flag(self.config):
            m.d.comb += self.scan.any_spike.eq(s.rd.data[-1])
        self._read_state(m, a, b, q, s)
        self._read_values(m, plus, minus)
        reads = self.scan.fetch | ~self.scan.hold
        if self.config.registers.state_read:
            reads = delayed(m, self.scan.next_read, 1, "read")
        for rd in (s.rd, plus.rd, minus.rd):
            m.d.comb += rd.en.eq(reads)
        self._write_state(m, a, b, q, s)
        self._write_values(m, plus, minus)
        return m

    def _memory(self, m: Module, name: str, *, by_lane: bool = False) -> Ports:
        """``by_lane``: with a write strobe for each lane, for the host."""
        depth = memories(self.config)[name].depth
        width = word_bits(self.config, name)
        # values go to block RAM, unless a block would be nearly empty
        block = by_lane and not self.config.single_port and depth >= MIN_BLOCK_DEPTH
        style = "block" if block else self.state_ram
        if name == "s" and style == "block" and depth <= MAX_SPIKE_DEPTH:
            style = "distributed"
        state_ram = m.submodules[f"{name}_memory"] = ram(width, depth, style)
        granularity = width // self.config.lanes if by_lane else None
        return Ports(state_ram.read_port(), state_ram.write_port(granularity=granularity))

    def _read_sum(self, m: Module, name: str, port: Ports) -> Value:
        """Read data of A or B.

        From block RAM a group is read a cycle earlier and registered.  A sum that is written meanwhile is
        taken from the register after its adder; no other write meets a read of the same group.
        """
        if not self.late_read:
            return port.rd.data
        written = Signal(name=f"{name}_written")
        m.d.sync += written.eq(port.wr.en & (port.wr.addr == port.rd.addr))
        last = delayed(m, self.totals, 1, "totals")
        return delayed(m, Mux(written, last, port.rd.data), 1, name)

    def _address(self, stage: int) -> Value:
        """Address of the stage's group in a memory of neuron state."""
        return self.stages.group[stage][: (self.config.state_groups - 1).bit_length()]

    def _charge_address(self, stage: int) -> Value:
        """Address of its group in Q: of the second state in the other half."""
        address = self._address(stage)
        return Cat(address[:-1], address[-1] ^ self.stages.second[stage])

    def _read_state(self, m: Module, a: Ports, b: Ports, q: Ports, s: Ports) -> None:
        stages = self.stages
        read = stages.timing.read
        charge_stage = stages.timing.step - 1
        restores = stages.op_is(m, read, Op.RESTORE)
        early = read - self.late_read
        m.d.comb += [
            a.rd.addr.eq(
                Cat(self._address(early), stages.op_is(m, early, Op.RESTORE) | stages.second[early])
            ),
            b.rd.addr.eq(stages.group[early]),
        ]
        ahead = self.config.registers.state_write  # as in _write_state
        charges = stages.op_valid_now(charge_stage - ahead, Op.STEP)
        m.d[domain(ahead - self.late_read)] += q.rd.addr.eq(
            Mux(charges, self._charge_address(charge_stage - ahead), self._charge_address(read - ahead))
        )
        m.d.comb += s.rd.addr.eq(
            Mux(
                self.scan.select,
                Cat(self.scan.addr[: len(self._address(read))], self.scan.second),
                Mux(
                    stages.op_valid(m, read, *COPIES),
                    Cat(self._address(read), restores),
                    # early: a scan that begins takes the port from a NUDGE in the pipeline
                    Cat(self._address(-stages.timing.lead), stages.second[-stages.timing.lead]),
                ),
            )
        )

    def _read_values(self, m: Module, plus: Ports, minus: Ports) -> None:
        stages = self.stages
        timing = stages.timing
        group = stages.commands[-timing.lead].value_group
        for op, stage in rereads(self.config).items():
            group = Mux(stages.op_valid(m, stage, op), stages.group[stage], group)
        host_read, scan = self.host_read, self.scan
        if self.config.registers.state_read:  # few levels of logic before the wires to all blocks of V
            other = delayed(m, Mux(host_read, self.host_group, scan.next_addr), 1, "value_address")
            select = delayed(m, host_read | scan.next_fetch, 1, "value_select")
            address = Mux(select, other, group)
        else:
            address = Mux(host_read, self.host_group, Mux(scan.select, scan.addr, group))
        for rd in (plus.rd, minus.rd):
            m.d.comb += rd.addr.eq(address)

    def _write_state(self, m: Module, a: Ports, b: Ports, q: Ports, s: Ports) -> None:
        cfg = self.config
        stages = self.stages
        timing = stages.timing
        now = timing.sum
        steps = stages.op_valid(m, timing.step, Op.STEP)
        # strobes and addresses go to all lanes: with registers they are computed one stage earlier
        ahead = cfg.registers.state_write
        write_ports = m.d[domain(ahead)]
        step_now = stages.op_valid_now(timing.step - ahead, Op.STEP) if ahead else steps
        sums = stages.op_valid_now(now - ahead, *SUMS)
        to_b = self._sums_static(now - ahead)
        to_s = self._writes_spikes(now - ahead)
        # address of a sum, in the upper half for SAVE, and of the results of STEP
        saves = is_one_of(stages.op[now - ahead], Op.SAVE)
        sum_address = Cat(self._address(now - ahead), saves | stages.second[now - ahead])
        step_address = Cat(self._address(timing.step - ahead), stages.second[timing.step - ahead])
        membranes = lanes_of(self.membranes, cfg.lanes)
        totals = lanes_of(self.totals, cfg.lanes)
        write_ports += [
            a.wr.en.eq(step_now | sums & ~to_b),
            a.wr.addr.eq(Mux(step_now, step_address, sum_address)),
        ]
        m.d.comb += a.wr.data.eq(
            Cat(
                Mux(steps, v.as_signed(), total.as_signed())[: len(total)]
                for v, total in zip(membranes, totals, strict=True)
            )
        )
        write_ports += [b.wr.en.eq(sums & to_b), b.wr.addr.eq(stages.group[now - ahead])]
        m.d.comb += b.wr.data.eq(self.totals)
        write_ports += [s.wr.en.eq(step_now | to_s), s.wr.addr.eq(Mux(step_now, step_address, sum_address))]
        spikes = Mux(steps, self.spikes, Mux(stages.op_is(m, now, Op.RESET), 0, self.scan.spikes))
        m.d.comb += s.wr.data.eq(Cat(spikes, spikes.any()) if has_spike_flag(cfg) else spikes)
        write_ports += [
            q.wr.en.eq(steps | stages.op_valid(m, now, Op.MARK)),
            q.wr.addr.eq(Mux(steps, self._charge_address(timing.step), self._charge_address(now))),
            q.wr.data.eq(self.charges),
        ]

    def _sums_static(self, stage: int) -> Value:
        """A sum in this stage goes to B."""
        return is_one_of(self.stages.op[stage], Op.DRIVE) | self._static(stage)

    def _static(self, stage: int) -> Value:
        """The stage holds a RESET or NUDGE of B."""
        if has_static(self.config):
            return self.stages.static[stage]
        resets = is_one_of(self.stages.op[stage], Op.RESET)
        return resets & has_mode(self.instruction, ResetMode.STATIC)

    def _writes_spikes(self, stage: int) -> Value:
        """The stage holds a command that writes S together with a sum of A."""
        op = self.stages.op[stage]
        resets = is_one_of(op, Op.RESET) & ~self._static(stage)
        return self.stages.busy[stage] & (is_one_of(op, *COPIES) | resets)

    def _write_values(self, m: Module, plus: Ports, minus: Ports) -> None:
        cfg = self.config
        timing = self.stages.timing
        measures = self.stages.op_valid(m, timing.rate, Op.MEASURE)
        write = measures
        group = self.stages.group[timing.rate]
        # rates are late: their multiplexer is after the registers
        delay = cfg.registers.state_write
        measured = delayed(m, measures, delay, "measured")
        rates = delayed(m, self.rates, delay, "rates")
        if cfg.attention:
            result_group = Signal(group_bits(cfg))  # group of the next result
            write = measures | self.result_write
            group = Mux(measures, group, result_group)
            with m.If(self.start):
                m.d.sync += result_group.eq(self.instruction.src)
            with m.Elif(self.result_write):
                m.d.sync += result_group.eq(result_group + 1)
        for wr, mode, byte in (
            (plus.wr, ResultMode.PLUS, self.host_data[:8]),
            (minus.wr, ResultMode.MINUS, self.host_data[8:]),
        ):
            other_data: Value = byte.replicate(cfg.lanes)
            if cfg.attention and cfg.registers.host > 1:
                # the select is a register of each lane: the strobe of a result crosses the die
                other_data = Cat(
                    Mux(strobe, byte, result)
                    for strobe, result in zip(self.host_write, lanes_of(self.result, cfg.lanes), strict=True)
                )
            elif cfg.attention:
                other_data = Mux(self.result_write, self.result, other_data)
            written = Signal.like(self.rates, name=f"written_{mode.name}")
            m.d[domain(delay)] += [
                wr.en.eq(Mux(write, has_mode(self.instruction, mode).replicate(cfg.lanes), self.host_write)),
                wr.addr.eq(Mux(write, group, self.host_group)),
            ]
            m.d.comb += written.eq(Mux(measured, rates, delayed(m, other_data, delay, f"others_{mode.name}")))
            stored: Value = written
            if has_nonzero_flag(cfg):
                stored = Cat(Cat(value, value.any()) for value in lanes_of(written, cfg.lanes))
            m.d.comb += wr.data.eq(stored)
