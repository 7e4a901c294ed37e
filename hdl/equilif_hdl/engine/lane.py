"""Lane: arithmetic of one neuron of a group, and of one weight bank.

    stage factors           read              sum                            later
    word or up --------|-- x --(*)--(+)--|-- product >> 8 --(+)--------------------------> total
    word, scale, spike |-- y ---'    |                       |  '--|-- last
    dither, column ----|-- noise ----'        A, B, last, 0 -'
                                              A + B ----------[ Lif ]-----------------> membrane, fired
                                              Q + gain fired, or - A -----------------> charge
                                              Q + A ----------[ Measure ]--[ RateChange ] -> rate, status
                                              B --------------[ Relay ]---------------> prescaled, relayed
                                              product >> 13 --------------------------> code
    v- ----------------|-----------------|--[ Plasticity ]----------------------------> updated
                                  - gain u-, weight --'

Bars are registers.  Latency: the difference of the stages of input and output, which are in
equilif_hdl.engine.stages.Timing.  Throughput: a group a cycle.  Which outputs are valid depends on the
operation.  State between operations: `last` only; with single-port weights also noise and v-.
"""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.blocks.plasticity import DITHER_COLUMN, DITHER_WIDTH
from equilif_golden.blocks.softmax import RECIPROCAL
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import LearnMode, Op, RelayMode
from equilif_golden.fixed import VALUE
from equilif_hdl.blocks.lif import Lif
from equilif_hdl.blocks.plasticity import Plasticity
from equilif_hdl.blocks.rate import Measure, RateChange
from equilif_hdl.blocks.relay import Relay
from equilif_hdl.engine.control import LaneControl, Source
from equilif_hdl.engine.isa import INSTRUCTION, Instruction, has_mode, is_one_of, lane_bits, signed_values
from equilif_hdl.engine.stages import LaneStatus, Timing
from equilif_hdl.fixed import delayed, domain, shape, times_index


class Lane(wiring.Component):
    """Members
    -------
    control : In(LaneControl)
        Control signals of all lanes.
    instruction : In(INSTRUCTION), held
        Instruction of the commands.
    word : In(16), in stage factors
        The lane's weight, or its values at +beta (low byte) and -beta.
    spike : In(1), in stage factors
        Its spike.
    a, b, q : In, in stage sum (STEP: q in stage step)
        Its membrane, static drive and charge.
    dither : In, in stage noise
        Dither of row and group.
    row : In, in stage noise_lookup
        Row of the tile, which determines the lane's column.
    weight : In(signed(16)), in stage weight
        The weight that LEARN updates.
    total : Out(accumulator), in stage sum
        Sum of source and product.
    membrane, fired : Out(signed(16)), Out(1), in stage step
        Results of STEP.
    charge : Out(charge), in stage step (MARK: in stage sum)
        Result of STEP and MARK.
    rate : Out(8), in stage rate
        Result of MEASURE.
    updated : Out(signed(16)), in stage learn
        The weight after LEARN.
    v_plus, status : In(8), in stage rate; Out(LaneStatus)
        With ``early_exit``: V at +beta, the previous rate; status signals.
    prescaled, relayed : Out, in stage prescaled; Out(signed(8)), in stage relay
        With ``attention``: B, shifted by less than an octave; result of RELAY.
    exponential, code : In(8), in stage factors; Out(8), in stage sum
        With ``attention``: e of SOFTMAX, and its code, e x R.

    ``index``: number of the lane.  ``timing``: the stages.
    """

    control: LaneControl.Members
    instruction: Instruction
    word: Signal
    spike: Signal
    a: Signal
    b: Signal
    q: Signal
    dither: Signal
    row: Signal
    weight: Signal
    total: Signal
    membrane: Signal
    fired: Signal
    charge: Signal
    rate: Signal
    updated: Signal
    v_plus: Signal
    status: LaneStatus.Members
    prescaled: Signal
    relayed: Signal
    exponential: Signal
    code: Signal

    def __init__(self, config: EngineConfig, index: int):
        self.config = config
        self.index = index
        self.timing = Timing(config)
        accumulator = shape(config.numerics.accumulator)
        charge = shape(config.numerics.charge)
        members = {
            "control": In(LaneControl(config)),
            "instruction": In(INSTRUCTION),
            "word": In(16),
            "spike": In(1),
            "a": In(accumulator),
            "b": In(accumulator),
            "q": In(charge),
            "dither": In(DITHER_WIDTH),
            "row": In(lane_bits(config)),
            "weight": In(signed(16)),
            "total": Out(accumulator),
            "membrane": Out(signed(16)),
            "fired": Out(1),
            "charge": Out(charge),
            "rate": Out(8),
            "updated": Out(signed(16)),
        }
        if config.early_exit:
            members |= {"v_plus": In(8), "status": Out(LaneStatus(config))}
        if config.attention:
            members |= {
                "prescaled": Out(signed(accumulator.width - 1)),
                "relayed": Out(signed(8)),
                "exponential": In(8),
                "code": Out(8),
            }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product = self._product(m)
        self._sum(m, product)
        self._neuron(m)
        self._rate(m)
        self._update(m, product)
        if self.config.attention:
            self._attention(m, product)
        return m

    def _product(self, m: Module) -> Value:
        """Product of the factors, plus noise."""
        control = self.control
        # `lane`: for equilif_boards.floorplan
        x = Signal(signed(16), reset_less=True, attrs={"lane": self.index})
        y = Signal(signed(10), reset_less=True)
        # `keep`, or Yosys 0.52 packs this register into the next DSP block and loses what it holds
        # (tests/engine/test_netlist.py)
        product = Signal((x * y).shape(), reset_less=True, attrs={"keep": 1})
        value = self.word[:8]
        spike: Value = self.spike & ~control.static if self.config.errors else self.spike
        sign = control.nudge & spike
        if self.config.attention:
            sign = Mux(control.nudge, spike, self._signed() & value[-1])
        # NUDGE: strength x (target - 256 spike).  Bits are masked with AND: Yosys turns a multiplexer with 0
        # into a synchronous reset, and a register with a reset does not pack into a multiplier
        scaled = control.use_scale.replicate(2)
        low = Mux(control.use_scale, control.scale[:8], value)
        high = control.scale[8:] & scaled | sign.replicate(2) & ~scaled
        if self.config.attention:
            low = Mux(control.coding, self.exponential, low)
            high = high & ~control.coding.replicate(2)
        m.d.sync += [
            x.eq(Mux(control.use_weight, self.word, control.up)),
            y.eq(Cat(low, high).as_signed()),
            product.eq(x * y + self._noise(m)),
        ]
        return product

    def _signed(self) -> Value:
        """Values are signed; used by LEARN only."""
        return signed_values(self.instruction, self.config, dst=True)

    def _noise(self, m: Module) -> Value:
        """Noise, which is added to a product before it is truncated."""
        control = self.control
        column = Signal(DITHER_WIDTH, reset_less=True)
        noise = Signal(DITHER_WIDTH, reset_less=True)
        # bank j of row i holds column j ^ i
        column_index = (self.index ^ self.row)[: lane_bits(self.config)]
        m.d[domain(self.config.registers.noise)] += column.eq(
            times_index(column_index, DITHER_COLUMN, DITHER_WIDTH)
        )
        masked = (self.dither + column) & control.noise_mask
        if self.config.attention:
            masked = masked | control.coding << (RECIPROCAL - 1)  # half an LSB: codes are rounded
        if not self.config.single_port:
            m.d.sync += noise.eq(masked | control.rounded << (VALUE.f - 1))
            return noise
        with m.If(control.load_noise):
            m.d.sync += noise.eq(masked)
        # apart from the noise, which is held from the begin of a LEARN: the last commands may still come
        return noise | delayed(m, control.rounded, 1, "rounded") << (VALUE.f - 1)

    def _sum(self, m: Module, product: Value) -> None:
        """Sum of source and product."""
        control = self.control
        old = Signal.like(self.total)
        sources = {Source.A: self.a, Source.B: self.b}
        if not self.config.single_port:
            last = Signal.like(self.total, reset_less=True)
            m.d.sync += last.eq(self.total)
            sources[Source.LAST] = last
        with m.Switch(control.source):
            for source, value in sources.items():
                with m.Case(source):
                    m.d.comb += old.eq(value)
        addend = product >> VALUE.f
        if self.config.single_port:  # else STEP has its own adder, and the factor of a copy is 0
            addend = Mux(control.step, self.b, Mux(control.copy, 0, addend))
        m.d.comb += self.total.eq(old + addend)

    def _neuron(self, m: Module) -> None:
        """STEP, and the charge of MARK."""
        control = self.control
        registers = self.config.registers
        m.submodules.lif = lif = Lif(self.config.numerics, registered=registers.constants > 0)
        drive = self.total
        late = max(0, registers.neuron - 1)
        if registers.neuron:
            drive = Signal.like(self.total, reset_less=True)
            m.d.sync += drive.eq(self.a + self.b)
        fired = delayed(m, lif.spike, late, "fired")
        threshold = self.instruction.gain if self.config.single_port else control.threshold
        m.d.comb += [
            lif.total.eq(drive),
            lif.threshold.eq(threshold),
            lif.neg_threshold.eq(control.neg_threshold),
            lif.leak.eq(self.instruction.shift if self.config.single_port else control.leak),
            self.membrane.eq(delayed(m, lif.v, late, "membrane")),
            self.fired.eq(fired),
        ]
        # one adder for STEP, q + gain if fired, and MARK, 0 + ~a + 1; the 1 is the carry-in
        width = len(self.q)
        before = Mux(control.mark, 0, self.q)[:width]
        addend = Mux(control.mark, ~self.a, Mux(fired, threshold, 0))[:width]
        m.d.comb += self.charge.eq((Cat(Const(1, 1), before) + Cat(control.mark, addend))[1:])

    def _rate(self, m: Module) -> None:
        """MEASURE."""
        m.submodules.measure = measure = Measure(
            self.config.numerics, registered=self.config.registers.constants > 0
        )
        shift: Value = self.instruction.shift
        if self.config.errors:  # RELAY of mode GATED
            relays = is_one_of(self.instruction.op, Op.RELAY)
            shift = Mux(relays, self.instruction.gain[:4], shift[:4])
        m.d.comb += [
            measure.charge.eq(self.q),
            measure.v.eq(self.a),
            measure.shift.eq(shift),
            self.rate.eq(measure.rate),
        ]
        if self.config.early_exit:
            m.submodules.rate_change = rate_change = RateChange()
            m.d.comb += [
                rate_change.rate.eq(measure.rate),
                rate_change.before.eq(self.v_plus),
                rate_change.tolerance.eq(self.instruction.gain),
                self.status.moved.eq(rate_change.changed),
            ]

    def _update(self, m: Module, product: Value) -> None:
        """LEARN."""
        cfg = self.config
        timing = self.timing
        m.submodules.plasticity = plasticity = Plasticity(
            cfg.numerics,
            multiplied=cfg.registers.update_product > 0,
            added=timing.added,
            signed_values=cfg.attention,
            stores=cfg.self_attention,
        )
        minus = self.word[8:]
        if cfg.attention:
            minus = Cat(minus, self._signed() & minus[-1]).as_signed()
        if cfg.single_port:
            held_minus = Signal(minus.shape(), reset_less=True)
            with m.If(self.control.load_minus):
                m.d.sync += held_minus.eq(minus)
            minus = held_minus
        else:
            minus = delayed(m, minus, timing.minus_product - timing.factors, "minus")
        weight = delayed(m, self.weight, timing.learn - timing.added - timing.weight, "weight")
        m.d.comb += [
            plasticity.product.eq(product),
            plasticity.um.eq(self.control.gain_um),
            plasticity.vm.eq(minus),
            plasticity.shift.eq(self.instruction.shift),
            plasticity.w.eq(weight),
            self.updated.eq(plasticity.o),
        ]
        if cfg.self_attention:
            m.d.comb += plasticity.store.eq(has_mode(self.instruction, LearnMode.STORE))

    def _gated(self, m: Module, value: Value) -> Value:
        """Result of RELAY; of mode GATED 0 where the rate is 0 or 255."""
        if not self.config.errors:
            return value
        rate = delayed(m, self.rate, 1, "gating_rate")
        inside = (rate != 0) & (rate != VALUE.hi)
        return Mux(inside | ~has_mode(self.instruction, RelayMode.GATED), value, 0)

    def _attention(self, m: Module, product: Value) -> None:
        """RELAY, and the codes of SOFTMAX."""
        m.submodules.relay = relay = Relay(self.config.numerics)
        code = product[RECIPROCAL:]
        m.d.comb += [
            relay.drive.eq(self.b),
            relay.shift_minus_1.eq(self.control.shift_minus_1),
            self.prescaled.eq(relay.prescaled),
            self.relayed.eq(self._gated(m, relay.value)),
            self.code.eq(Mux(code[8], 255, code[:8])),
        ]
