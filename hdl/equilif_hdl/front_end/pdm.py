"""PDM microphone: its clock, and the decimator of its bits; bit-exact with equilif_golden.front_end.pdm.

    divider --> clock
    data --> [2 FF] --> at the rising edge of clock --> bit --> Cic --> >> CIC_SHIFT --> Fir 2:1 --> sample

The microphone sends in the half of the period with clock low: its select pin is at ground.
"""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import cdc, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.front_end.pdm import (
    CIC_SHIFT,
    CIC_WIDTH,
    FIR_SHIFT,
    ORDER,
    OVERSAMPLING,
    RATE,
    RATIO,
    TAPS,
)
from equilif_hdl.fixed import ram, saturate
from equilif_hdl.front_end.divider import FractionalDivider

#: bits of a sample
SAMPLE = 16
CIC_OUTPUT = CIC_WIDTH - CIC_SHIFT
COEFFICIENT = 13


class PdmReceiver(wiring.Component):
    """Members
    -------
    clock : Out(1), data : In(1)
        Pins.  ``data`` is asynchronous.
    valid : Out(1), bit : Out(1)
        Strobe and bit.

    ``clock_hz``, ``rate_hz``: of the design and of the bits.  Latency: 3 cycles from pin to ``valid``.
    """

    clock: Signal
    data: Signal
    valid: Signal
    bit: Signal

    def __init__(self, clock_hz: int, rate_hz: int):
        self.divider = FractionalDivider(clock_hz, rate_hz)
        super().__init__({"clock": Out(1), "data": In(1), "valid": Out(1), "bit": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.divider = divider = self.divider
        data = Signal()
        m.submodules.synchronizer = cdc.FFSynchronizer(self.data, data)
        m.d.comb += self.clock.eq(divider.clock)
        m.d.sync += [self.valid.eq(divider.rise), self.bit.eq(data)]
        return m


class Cic(wiring.Component):
    """CIC decimator of bits that stand for +1 and -1: ``order`` integrators, then as many combs.

        bit --> [+] --> [+] --> ... --> every ``rate`` bits --> [-] --> [-] --> ... --> o

    Members
    -------
    valid, bit : In(1)
    o_valid : Out(1), o : Out(signed)
        Strobe and sum; of width 1 + order log2 rate, which holds +-rate ** order.

    A stage works a cycle after the one before it, so bits are at least ``order`` + 1 cycles apart.  Latency:
    2 ``order`` + 1 cycles from the last bit.
    """

    valid: Signal
    bit: Signal
    o_valid: Signal
    o: Signal

    def __init__(self, order: int, rate: int):
        self.order = order
        self.rate = rate
        self.latency = 2 * order + 1
        width = 2 + (rate**order - 1).bit_length()
        super().__init__({"valid": In(1), "bit": In(1), "o_valid": Out(1), "o": Out(signed(width))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(range(self.rate))
        strobe: Value = self.valid
        x: Value = Mux(self.bit, 1, -1)
        for k in range(self.order):
            total = Signal.like(self.o, name=f"integrator_{k}")
            late = Signal(name=f"integrated_{k}")
            m.d.sync += late.eq(strobe)
            with m.If(strobe):
                m.d.sync += total.eq(total + x)
            strobe, x = late, total
        with m.If(strobe):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self.rate - 1):
                m.d.sync += count.eq(0)
        strobe = strobe & (count == self.rate - 1)
        for k in range(self.order):
            before = Signal.like(self.o, name=f"before_{k}")
            change = Signal.like(self.o, name=f"comb_{k}")
            late = Signal(name=f"combed_{k}")
            m.d.sync += late.eq(strobe)
            with m.If(strobe):
                m.d.sync += [change.eq(x - before), before.eq(x)]
            strobe, x = late, change
        m.d.comb += [self.o_valid.eq(strobe), self.o.eq(x)]
        return m


class Fir(wiring.Component):
    """FIR decimator 2:1 with one multiplier; symmetric taps.

        i --> [ 32 samples ] --|-- product --|-- sum --> + half, >> FIR_SHIFT, saturated --> o
              [ TAPS       ] --|

    Members
    -------
    valid : In(1), i : In(signed(18))
    o_valid : Out(1), o : Out(signed(16))

    Latency: 33 cycles from every second sample, which are at least as many cycles apart.
    """

    valid: Signal
    i: Signal
    o_valid: Signal
    o: Signal

    latency = len(TAPS) + 4

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": In(1),
                "i": In(signed(CIC_OUTPUT)),
                "o_valid": Out(1),
                "o": Out(signed(SAMPLE)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = 1 << (len(TAPS) - 1).bit_length()
        samples = m.submodules.samples = ram(CIC_OUTPUT, depth, "distributed")
        taps = Array(Const(int(tap), signed(COEFFICIENT)) for tap in TAPS)
        write = samples.write_port()
        read = samples.read_port(domain="comb")
        newest = Signal(range(depth))
        odd = Signal()
        at = Signal(range(depth))
        active = Signal()
        stages = Signal(2)  # operands, product
        ends = Signal(3)
        sample = Signal(signed(CIC_OUTPUT))
        coefficient = Signal(signed(COEFFICIENT))
        product = Signal(signed(CIC_OUTPUT + COEFFICIENT))
        total = Signal(signed(CIC_OUTPUT + COEFFICIENT + 1))
        m.d.comb += [
            write.addr.eq(newest),
            write.data.eq(self.i),
            write.en.eq(self.valid),
            read.addr.eq(newest - 1 - at),
        ]
        with m.If(self.valid):
            m.d.sync += [newest.eq(newest + 1), odd.eq(~odd)]
            with m.If(odd):
                m.d.sync += [active.eq(1), at.eq(0)]
        with m.If(active):
            m.d.sync += at.eq(at + 1)
            with m.If(at == len(TAPS) - 1):
                m.d.sync += active.eq(0)
        m.d.sync += [
            sample.eq(read.data.as_signed()),
            coefficient.eq(taps[at]),
            product.eq(sample * coefficient),
            stages.eq(Cat(active, stages)),
            ends.eq(Cat(active & (at == len(TAPS) - 1), ends)),
        ]
        with m.If(self.valid & odd):
            m.d.sync += total.eq(1 << (FIR_SHIFT - 1))
        with m.Elif(stages[1]):
            m.d.sync += total.eq(total + product)
        m.d.sync += [self.o.eq(saturate(total >> FIR_SHIFT, SAMPLE)), self.o_valid.eq(ends[2])]
        return m


class PdmDecimator(wiring.Component):
    """Members
    -------
    valid : In(1), bit : In(1)
        Strobe, at most every MIN_CYCLES cycles, and bit.
    o_valid : Out(1), o : Out(signed(16))
        Sample.
    """

    valid: Signal
    bit: Signal
    o_valid: Signal
    o: Signal

    def __init__(self) -> None:
        super().__init__({"valid": In(1), "bit": In(1), "o_valid": Out(1), "o": Out(signed(SAMPLE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.cic = cic = Cic(ORDER, RATIO)
        m.submodules.fir = fir = Fir()
        assert len(cic.o) == CIC_WIDTH
        m.d.comb += [
            cic.valid.eq(self.valid),
            cic.bit.eq(self.bit),
            fir.valid.eq(cic.o_valid),
            fir.i.eq(cic.o >> CIC_SHIFT),
            self.o_valid.eq(fir.o_valid),
            self.o.eq(fir.o),
        ]
        return m


class PdmMicrophone(wiring.Component):
    """Members
    -------
    clock : Out(1), data : In(1)
        Pins.  ``data`` is asynchronous.
    valid : Out(1), o : Out(signed(16))
        Strobe and sample, RATE a second.

    ``clock_hz``: of the design.
    """

    clock: Signal
    data: Signal
    valid: Signal
    o: Signal

    def __init__(self, clock_hz: int):
        self.receiver = PdmReceiver(clock_hz, OVERSAMPLING * RATE)
        super().__init__({"clock": Out(1), "data": In(1), "valid": Out(1), "o": Out(signed(SAMPLE))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = self.receiver
        m.submodules.decimator = decimator = PdmDecimator()
        m.d.comb += [
            self.clock.eq(receiver.clock),
            receiver.data.eq(self.data),
            decimator.valid.eq(receiver.valid),
            decimator.bit.eq(receiver.bit),
            self.valid.eq(decimator.o_valid),
            self.o.eq(decimator.o),
        ]
        return m
