"""Filter bank with one multiplier; bit-exact with equilif_golden.front_end.filter_bank.

    sample --> [ held ] --> operand --|-- partial products --|-- sum, rounded --|-- v0, t, v1, v2
                    K, G, A --> factor --|                                                |
    states c1, c2 of the sections, sums of the bands <--> [ memory ] <--------------------'
    sum of this hop + of the one before --> Log2 --> code

A product takes three cycles (bars), a section four products and a cycle to write its state.  The last sample
of a hop takes two cycles more for each band.  The output of the memory is registered: block RAM and addition
would be the critical path of a board.

Latency: MIN_CYCLES + 5 cycles from the last sample of a hop to ``frame``.  Throughput: a sample in MIN_CYCLES
cycles.
"""

from __future__ import annotations

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.fixed import check_int
from equilif_golden.front_end.filter_bank import (
    BANDS,
    COEFFICIENT_FRACTION,
    COEFFICIENTS,
    FRACTION,
    HOP,
    OFFSET,
    SUM_WIDTH,
    WIDTH,
)
from equilif_golden.front_end.pdm import HI, LO
from equilif_hdl.fixed import ram
from equilif_hdl.front_end.log2 import Log2
from equilif_hdl.front_end.pdm import SAMPLE

COEFFICIENT = COEFFICIENT_FRACTION + 2  #: bits, signed
LOW = 17  #: bits of the lower part of an operand
PRODUCT_CYCLES = 3
LAST_STEP = 4 * PRODUCT_CYCLES  #: of a section
#: words of a band in the memory: states of two sections, sum of this hop, sum of the one before
FIRST, SECOND, TOTAL, BEFORE = (Const(k, 2) for k in range(4))
#: cycles of the last sample of a hop; other samples take fewer
MIN_CYCLES = 1 + BANDS * (2 * (LAST_STEP + 1) + 5)


class FilterBank(wiring.Component):
    """Members
    -------
    valid, sample : In(1), In(signed(16))
        Strobe and sample; MIN_CYCLES apart.
    o_valid, band, code : Out(1), Out, Out(8)
        Strobe, number and code of a band, in order.
    frame, clipped, stuck : Out(1)
        Strobe in the cycle after the last code of a frame, with its flags.

    ``hop``, ``offset``: of equilif_golden.front_end.filter_bank.FilterBank.
    """

    valid: Signal
    sample: Signal
    o_valid: Signal
    band: Signal
    code: Signal
    frame: Signal
    clipped: Signal
    stuck: Signal

    def __init__(self, hop: int = HOP, offset: int = OFFSET) -> None:
        self.hop = check_int(hop, "hop", 2, HOP)
        self.offset = check_int(offset, "offset", 0, OFFSET)
        super().__init__(
            {
                "valid": In(1),
                "sample": In(signed(SAMPLE)),
                "o_valid": Out(1),
                "band": Out(range(BANDS)),
                "code": Out(8),
                "frame": Out(1),
                "clipped": Out(1),
                "stuck": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        states = m.submodules.states = ram(2 * WIDTH, 4 * BANDS, "block")
        write = states.write_port()
        read = states.read_port()
        stored = Signal(2 * WIDTH)
        m.d.sync += stored.eq(read.data)
        c1 = stored[:WIDTH].as_signed()
        c2 = stored[WIDTH:].as_signed()

        held = Signal(signed(SAMPLE))
        pending = Signal()
        count = Signal(range(self.hop))
        last = Signal()  # the sample is the last one of its hop
        band = Signal(range(BANDS))
        second = Signal()  # section
        step = Signal(range(LAST_STEP + 1))
        kind = Signal(2)  # coefficient of the next product

        operand = Signal(signed(WIDTH))
        result = self._multiplier(m, operand, Cat(kind, band))

        output = Signal(signed(WIDTH))  # input of the section, then v1
        next_c1 = Signal(signed(WIDTH))
        next_c2 = Signal(signed(WIDTH))
        total = Signal(SUM_WIDTH)
        magnitude = Signal(WIDTH)
        added = Signal(SUM_WIDTH)
        both = Signal(SUM_WIDTH + 1)
        log = m.submodules.log = Log2(SUM_WIDTH + 1)
        m.d.comb += [read.en.eq(0), next_c2.eq((result << 1) + c2), added.eq(stored + magnitude)]
        m.d.comb += log.a.eq(both)

        before = Signal(signed(SAMPLE))
        clips = Signal()  # a sample of this hop is at full scale
        changes = Signal()  # one differs from the one before it
        coded = Signal()  # `both` is new
        ends = Signal()  # and the last one of its frame

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [read.addr.eq(Cat(FIRST, band)), read.en.eq(1)]
                m.d.sync += output.eq(held << FRACTION)
                with m.If(pending):
                    m.d.sync += [
                        pending.eq(0),
                        last.eq(count == self.hop - 1),
                        count.eq(Mux(count == self.hop - 1, 0, count + 1)),
                        before.eq(held),
                        clips.eq(clips & (count != 0) | (held == LO) | (held == HI)),
                        changes.eq(changes & (count != 0) | (held != before)),
                    ]
                    m.next = "SECTION"
            with m.State("SECTION"):
                m.d.sync += step.eq(step + 1)
                with m.Switch(step):
                    with m.Case(0):
                        m.d.sync += [operand.eq(output), kind.eq(1)]
                    with m.Case(PRODUCT_CYCLES):
                        m.d.sync += [operand.eq(result - c2), kind.eq(2)]
                    with m.Case(2 * PRODUCT_CYCLES):
                        m.d.sync += [operand.eq(c1 + result), kind.eq(1)]
                    with m.Case(3 * PRODUCT_CYCLES):
                        m.d.sync += [operand.eq(result), kind.eq(0)]
                        m.d.sync += [output.eq(result), next_c1.eq((result << 1) - c1)]
                    with m.Case(LAST_STEP):
                        m.d.comb += [
                            write.addr.eq(Cat(second, Const(0, 1), band)),
                            write.data.eq(Cat(next_c1, next_c2)),
                            write.en.eq(1),
                            read.addr.eq(Cat(Mux(second, TOTAL, SECOND), band)),
                            read.en.eq(1),
                        ]
                        m.d.sync += [step.eq(0), second.eq(~second)]
                        with m.If(second):
                            m.next = "TOTAL"
            with m.State("TOTAL"):
                m.d.sync += magnitude.eq(Mux(output < 0, -output, output))
                m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += [
                    write.addr.eq(Cat(TOTAL, band)),
                    write.data.eq(Mux(last, 0, added)),
                    write.en.eq(1),
                    read.addr.eq(Cat(BEFORE, band)),
                    read.en.eq(1),
                ]
                m.d.sync += total.eq(added)
                m.next = "NEXT"
                with m.If(last):
                    m.next = "BEFORE"
            with m.State("BEFORE"):
                m.next = "CODE"
            with m.State("CODE"):
                m.d.comb += [write.addr.eq(Cat(BEFORE, band)), write.data.eq(total), write.en.eq(1)]
                m.d.sync += [both.eq(total + stored[:SUM_WIDTH]), ends.eq(band == BANDS - 1), coded.eq(1)]
                m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += [band.eq(band + 1), output.eq(held << FRACTION)]
                m.d.comb += [read.addr.eq(Cat(FIRST, (band + 1)[: len(band)])), read.en.eq(1)]
                m.next = "SECTION"
                with m.If(band == BANDS - 1):
                    m.d.sync += band.eq(0)
                    m.next = "IDLE"
        with m.If(coded):
            m.d.sync += coded.eq(0)
        with m.If(self.valid):
            m.d.sync += [held.eq(self.sample), pending.eq(1)]
        self._codes(m, log, coded, ends, clips, changes)
        return m

    @staticmethod
    def _multiplier(m: Module, operand: Signal, index: Value) -> Signal:
        """Rounded product of ``operand`` with coefficient ``index``, PRODUCT_CYCLES later."""
        rows = [0] * (4 * BANDS)
        for n, values in enumerate(COEFFICIENTS):
            rows[n::4] = map(int, values)
        coefficients = Array(Const(row, signed(COEFFICIENT)) for row in rows)
        factor = Signal(signed(COEFFICIENT))
        low = Signal(signed(LOW + 1 + COEFFICIENT))
        high = Signal(signed(WIDTH - LOW + COEFFICIENT))
        product = Signal(signed(WIDTH + COEFFICIENT))
        result = Signal(signed(WIDTH))
        m.d.sync += [
            factor.eq(coefficients[index]),
            low.eq(Cat(operand[:LOW], Const(0, 1)).as_signed() * factor),
            high.eq(operand[LOW:].as_signed() * factor),
            product.eq(low + (high << LOW) + (1 << (COEFFICIENT_FRACTION - 1))),
        ]
        m.d.comb += result.eq(product >> COEFFICIENT_FRACTION)
        return result

    def _codes(
        self, m: Module, log: Log2, coded: Signal, ends: Signal, clips: Signal, changes: Signal
    ) -> None:
        """Offset and limits of the codes, and the flags of a frame."""
        arriving = Signal(log.latency)
        ending = Signal(log.latency + 1)
        code = Signal(signed(len(log.code) + 1))
        m.d.comb += code.eq(log.code - self.offset)
        m.d.sync += [
            arriving.eq(Cat(coded, arriving)),
            ending.eq(Cat(coded & ends, ending)),
            self.o_valid.eq(arriving[-1]),
            self.code.eq(Mux(code < 0, 0, Mux(code[8:].any(), 255, code))),
            self.frame.eq(ending[-1]),
        ]
        with m.If(self.o_valid):
            m.d.sync += self.band.eq(Mux(self.band == BANDS - 1, 0, self.band + 1))
        with m.If(coded & ends):
            m.d.sync += [self.clipped.eq(clips), self.stuck.eq(~changes)]
