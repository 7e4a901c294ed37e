"""Test of an SDRAM at full speed; its words are those of equilif_golden.memory_test.

    start --> requests --> SdramPort --> errors, first error
              words    -->

Bursts have all lengths from 1 to PAIR - 1.
"""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.memory_test import PAIR, SEED, SHIFTS
from equilif_golden.sdram import RETENTION_NS, SdramType
from equilif_hdl.sdram import SdramPort


class MemoryTest(wiring.Component):
    """Members
    -------
    port : Out(SdramPort)
    start : In(1)
        Strobe: begin the test.
    busy : Out(1)
        The test is running.
    errors : Out(32)
        Wrong words; saturates.
    first : Out
        Address of the first of them.

    ``retention``: cycles between writing and reading.
    """

    port: SdramPort.Members
    start: Signal
    busy: Signal
    errors: Signal
    first: Signal

    def __init__(self, chip: SdramType, *, retention: int):
        self.chip = chip
        self.retention = retention
        super().__init__(
            {
                "port": Out(SdramPort(chip)),
                "start": In(1),
                "busy": Out(1),
                "errors": Out(32),
                "first": Out(range(chip.words)),
            }
        )

    @classmethod
    def of(cls, chip: SdramType, hz: int) -> MemoryTest:
        """With the retention time of the chip."""
        return cls(chip, retention=RETENTION_NS * hz // 10**9)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.port
        is_read = Signal()
        complement = Signal()
        transfers = Signal()  # a phase of requests and words
        requesting = Signal()  # some of its requests are left
        address = Signal(range(self.chip.words))
        k = Signal(range(PAIR), init=1)
        second = Signal()  # of two bursts
        length = Mux(second, ~k, k - 1)[: len(k)]
        request = port.request
        m.d.comb += [
            request.p.address.eq(address),
            request.p.length.eq(length),
            request.p.is_write.eq(~is_read),
            request.valid.eq(requesting),
        ]
        next_address = Signal(len(address) + 1)
        m.d.comb += next_address.eq(address + length + 1)
        with m.If(request.valid & request.ready):
            m.d.sync += [address.eq(next_address), second.eq(~second), requesting.eq(~next_address[-1])]
            with m.If(second):
                m.d.sync += k.eq(Mux(k == PAIR - 1, 1, k + 1))

        state = Signal(32, init=SEED)
        word = state[: self.chip.width] ^ complement.replicate(self.chip.width)
        moves = transfers & Mux(is_read, port.r.valid, port.w.ready)
        place = Signal(range(self.chip.words))
        m.d.comb += [
            port.w.payload.eq(word),
            port.w.valid.eq(transfers & ~is_read),
            port.r.ready.eq(1),
        ]
        # compared a cycle later
        compares, found, wanted, at = (
            Signal(name="compares"),
            Signal(self.chip.width, name="found"),
            Signal(self.chip.width, name="wanted"),
            Signal.like(place, name="at"),
        )
        m.d.sync += [compares.eq(moves & is_read), found.eq(port.r.payload), wanted.eq(word), at.eq(place)]
        with m.If(moves):
            m.d.sync += [state.eq(_next(state)), place.eq(place + 1), transfers.eq(~place.all())]
        with m.If(compares & (found != wanted)):
            m.d.sync += self.errors.eq(self.errors + ~self.errors.all())
            with m.If(self.errors == 0):
                m.d.sync += self.first.eq(at)

        pause = Signal(range(max(self.retention, 2)))
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.errors.eq(0), complement.eq(0), is_read.eq(0), self.busy.eq(1)]
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [requesting.eq(1), transfers.eq(1), k.eq(1), second.eq(0), state.eq(SEED)]
                m.d.sync += pause.eq(0)
                m.next = "TRANSFER"
            with m.State("TRANSFER"), m.If(~transfers):
                m.next = "PAUSE"
            with m.State("PAUSE"):
                m.d.sync += pause.eq(pause + 1)
                with m.If(is_read | (pause == max(self.retention, 2) - 1)):
                    m.d.sync += [is_read.eq(~is_read), complement.eq(complement ^ is_read)]
                    m.next = "BEGIN"
                with m.If(is_read & complement):
                    m.next = "END"
            with m.State("END"):
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"
        return m


def _next(x: Value) -> Value:
    """The state of xorshift32 after x."""
    for shift in SHIFTS:
        x = (x ^ (x << shift if shift > 0 else x >> -shift))[:32]
    return x
