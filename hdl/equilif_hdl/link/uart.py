"""UART, 8 data bits, no parity, one stop bit.

    rx --> [2 FF] --> falling edge, then the middle of each of 10 bits --> o: byte, error
    i: byte --> start, 8 bits, stop --> tx

``divisor``: clock cycles per bit.  Half a bit of drift over ten bits allows 5 % between the clocks, minus the
sampling error of one cycle, which leaves 2 % with 4 cycles per bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from amaranth import Cat, Module, Signal
from amaranth.lib import cdc, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_hdl.link.transport import RECEIVED, Line, Received
from equilif_hdl.typed import Interface, Stream

MIN_DIVISOR = 4
#: bits per byte: start, 8 data, stop
BITS = 10
#: maximum relative error of the rate: the receiver allows 5 %, minus its sampling error, for both sides
TOLERANCE = 0.02


class Pins(Interface, Protocol):
    """Interface of PINS."""

    rx: Signal
    tx: Signal


PINS = wiring.Signature({"rx": In(1), "tx": Out(1)})


def _checked(divisor: int) -> int:
    if divisor < MIN_DIVISOR:
        raise ValueError(f"divisor must be at least {MIN_DIVISOR} clock cycles per bit, not {divisor}")
    return divisor


class UartReceiver(wiring.Component):
    """Members
    -------
    rx : In(1)
        The line, asynchronous; high when idle.
    o : Out(stream of RECEIVED)
        ``error``: the stop bit was low, or bytes before this one were lost, as ``o`` was not read in time.

    Latency: about 9.5 bits and 3 cycles from the start edge.
    """

    rx: Signal
    o: Stream[Received]

    def __init__(self, divisor: int):
        self.divisor = _checked(divisor)
        super().__init__({"rx": In(1), "o": Out(stream.Signature(RECEIVED))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rx = Signal(init=1)
        m.submodules.synchronizer = cdc.FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))  # cycles to the middle of the next bit
        left = Signal(range(BITS))  # bits left
        shift = Signal(8)
        lost = Signal()  # a byte found `o` full
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), left.eq(9)]
                with m.If(~rx):
                    m.next = "BITS"
            with m.State("BITS"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), shift.eq(Cat(shift[1:], rx))]
                    with m.If((left == 9) & rx):  # glitch, not a start bit
                        m.next = "IDLE"
                    with m.If(left == 0):
                        # immediately: with a faster sender there is no idle cycle
                        m.next = "IDLE"
                        with m.If(~rx):
                            m.next = "LINE"
                        with m.If(~self.o.valid | self.o.ready):
                            m.d.sync += [
                                self.o.valid.eq(1),
                                self.o.p.data.eq(shift),
                                self.o.p.error.eq(~rx | lost),
                                lost.eq(0),
                            ]
                        with m.Else():
                            m.d.sync += lost.eq(1)
            with m.State("LINE"):  # a break is one bad byte
                with m.If(rx):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Members
    -------
    i : In(stream of 8)
    tx : Out(1)
        The line; high when idle.

    Throughput: a byte in 10 bits, back to back.
    """

    i: Stream[Signal]
    tx: Signal

    def __init__(self, divisor: int):
        self.divisor = _checked(divisor)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))  # cycles to the end of this bit
        left = Signal(range(BITS + 1))  # bits left, including this one
        shift = Signal(9, init=0x1FF)
        m.d.comb += [self.tx.eq(shift[0]), self.i.ready.eq((left == 0) | (left == 1) & (timer == 0))]
        m.d.sync += timer.eq(timer - 1)
        with m.If(timer == 0):
            m.d.sync += [timer.eq(self.divisor - 1), shift.eq(Cat(shift[1:], 1))]
            with m.If(left != 0):
                m.d.sync += left.eq(left - 1)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [timer.eq(self.divisor - 1), shift.eq(Cat(0, self.i.payload)), left.eq(10)]
        return m


class UartLine(Line):
    """Receiver and transmitter with pins ``rx`` and ``tx``; high when idle."""

    pins: Pins

    def __init__(self, divisor: int):
        self.divisor = _checked(divisor)
        super().__init__(PINS)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        connect(m, receiver.o, flipped(self.o))
        connect(m, flipped(self.i), transmitter.i)
        low = Signal()  # registered: `rx` is asynchronous
        m.d.sync += low.eq(~(self.pins.rx & transmitter.tx))
        m.d.comb += [
            receiver.rx.eq(self.pins.rx),
            self.pins.tx.eq(transmitter.tx),
            self.active.eq(low),
        ]
        return m


@dataclass(frozen=True)
class Uart:
    """Description of a UART, a Transport.  ``divisor``: clock cycles per bit."""

    divisor: int

    @classmethod
    def of(cls, clock_hz: float, baud: int) -> Uart:
        """UART for a baud rate; ValueError if the clock cannot generate it within TOLERANCE."""
        divisor = round(clock_hz / baud)
        mhz = f"{clock_hz / 1e6:g} MHz"
        if divisor < MIN_DIVISOR:
            needed = f"{MIN_DIVISOR * baud / 1e6:g} MHz"
            raise ValueError(f"{baud} baud need a clock of at least {needed}, not {mhz}")
        error = clock_hz / divisor / baud - 1
        if abs(error) > TOLERANCE:
            raise ValueError(f"{mhz} makes {clock_hz / divisor:.0f} baud, {100 * error:+.1f} % from {baud}")
        return cls(divisor)

    @property
    def pins(self) -> wiring.Signature:
        return PINS

    def line(self) -> UartLine:
        return UartLine(self.divisor)
