"""Controller of a serial flash, for one byte after the other.

    port: seek, read, write, erase --> [ orders, address ] --> [ shift register ] --> chip, clk, copi
    port: valid, rdata             <-- [                 ] <-- [                ] <-- cipo, sio

A clock of the chip takes two cycles, and brings two bits of what is read.  The next byte comes before it is
asked for: one every ten cycles, and one every twenty where they are written.  Bytes in a row need no new
order.  A page that is full is programmed by itself.
Addresses are those of the design's area, and what would be done outside of it is not done: the bitstream is
out of reach, whatever the port says.

After a reset it waits until the chip has done what it was doing, and asks what it is.  Where no chip answers
all is read as erased, and nothing waits.

equilif_golden.link.flash says what the chip does.
"""

from __future__ import annotations

from typing import Protocol

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.link.flash import (
    BLOCK_ERASE,
    ERASED,
    IN_PROGRESS,
    PAGE,
    PAGE_PROGRAM,
    READ_DUAL,
    READ_ID,
    READ_STATUS,
    WAKE,
    WRITE_ENABLE,
    Area,
)
from equilif_hdl.typed import Interface

ADDRESS_BITS = 24
BLOCK_BITS = 16
READ_CLOCKS = 4  #: of a byte, two bits at a time
WAKE_BITS = 12  #: 2**12 cycles are more than the 30 us that chips take to wake, up to 136 MHz
REST_BITS = 3  #: 2**3 cycles are more than the 50 ns for which a chip wants to be left alone, up to 136 MHz
assert IN_PROGRESS == 1


class FlashPort(wiring.Signature):
    """What the design does with the flash.  Strobes come one at a time, and only where ``ready``.

    Members
    -------
    address : Out(24), seek : Out(1)
        What comes next is there.  A page that was begun is programmed.
    read : Out(1)
        The byte there, and on to the next one.
    write, wdata : Out(1), Out(8)
        The same, with a byte that turns ones into zeros.
    erase : Out(1)
        The block there becomes ones.
    finish : Out(1)
        A page that was begun is programmed.
    ready : In(1)
        Everything before is done, but for a page that was begun.
    valid, rdata : In(1), In(8)
        For one cycle: what was read.
    at : In(24)
        The next byte.
    outside : In(1)
        It is outside of the area: reads find it erased, and nothing is written.
    chip : In(24)
        What the chip says it is.
    """

    class Members(Interface, Protocol):
        address: Signal
        seek: Signal
        read: Signal
        write: Signal
        wdata: Signal
        erase: Signal
        finish: Signal
        ready: Signal
        valid: Signal
        rdata: Signal
        at: Signal
        outside: Signal
        chip: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "address": Out(ADDRESS_BITS),
                "seek": Out(1),
                "read": Out(1),
                "write": Out(1),
                "wdata": Out(8),
                "erase": Out(1),
                "finish": Out(1),
                "ready": In(1),
                "valid": In(1),
                "rdata": In(8),
                "at": In(ADDRESS_BITS),
                "outside": In(1),
                "chip": In(24),
            }
        )


class FlashPins(wiring.Signature):
    """``cs`` is high where the chip is selected; SPI mode 0.  ``sio`` is what stands at the pin of ``copi``,
    which the design drives where ``copi_oe``.
    """

    class Members(Interface, Protocol):
        cs: Signal
        clk: Signal
        copi: Signal
        copi_oe: Signal
        cipo: Signal
        sio: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "cs": Out(1),
                "clk": Out(1),
                "copi": Out(1),
                "copi_oe": Out(1),
                "cipo": In(1),
                "sio": In(1),
            }
        )


class FlashController(wiring.Component):
    """Members
    -------
    port : In(FlashPort)
    pins : Out(FlashPins)
    """

    port: FlashPort.Members
    pins: FlashPins.Members

    def __init__(self, area: Area):
        self.area = area
        super().__init__({"port": In(FlashPort()), "pins": Out(FlashPins())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.port
        pins = self.pins
        reading = Signal()  # the chip sends the bytes from `at` on
        programming = Signal()  # it takes them
        writes = Signal()  # the byte under way is written
        erases = Signal()  # or a block is erased
        wdata = Signal(8)
        shift = Signal(32)
        left = Signal(range(33))  # clocks of the chip
        dual = Signal()  # the chip sends two bits a clock
        waking = Signal(WAKE_BITS)
        rest = Signal(REST_BITS)  # cycles since the last order, as far as they count
        named = Signal()  # the chip has said what it is
        physical = Signal(ADDRESS_BITS)  # address in the chip
        high = port.at[BLOCK_BITS:]
        m.d.comb += [
            physical.eq(Cat(port.at[:BLOCK_BITS], (high + self.area.first)[: ADDRESS_BITS - BLOCK_BITS])),
            port.outside.eq(high >= self.area.blocks),
            pins.copi.eq(shift[-1]),
            pins.copi_oe.eq(~dual),
            port.rdata.eq(Mux(port.outside, ERASED, shift[:8])),
        ]
        m.d.sync += rest.eq(Mux(pins.cs, 0, rest + ~rest.all()))
        # the chip's clock is low for a cycle, then high for one, at whose end its answer is taken
        with m.If(left != 0):
            m.d.sync += pins.clk.eq(~pins.clk)
            with m.If(pins.clk):
                m.d.sync += [shift.eq(Cat(pins.cipo, shift)), left.eq(left - 1)]
                with m.If(dual):
                    m.d.sync += shift.eq(Cat(pins.sio, pins.cipo, shift))

        def send(value: Value | int, bits: int) -> None:
            m.d.sync += [pins.cs.eq(1), shift.eq(Cat(Const(0, 32 - bits), value)), left.eq(bits)]

        def order(opcode: int) -> None:
            send(Cat(physical, Const(opcode, 8)), 32)

        done = left == 0
        with m.FSM(init="RESET"):
            with m.State("RESET"), m.If(rest.all()):
                send(Const(WAKE, 8), 8)
                m.next = "WAKE"
            with m.State("WAKE"):
                with m.If(done):
                    m.d.sync += [pins.cs.eq(0), waking.eq(waking + 1)]
                    with m.If(waking.all()):  # a reset leaves the chip with what it was doing
                        m.next = "ASK"
            with m.State("ASK NAME"):
                send(Const(READ_ID, 8), 8)
                m.next = "NAME ASKED"
            with m.State("NAME ASKED"), m.If(done):
                send(Const(0, 24), 24)
                m.next = "NAME"
            with m.State("NAME"), m.If(done):
                m.d.sync += [port.chip.eq(shift), named.eq(1)]
                m.next = "CLOSE"
            with m.State("IDLE"):
                m.d.comb += port.ready.eq(1)
                m.d.sync += [writes.eq(port.write), erases.eq(port.erase), wdata.eq(port.wdata)]
                with m.If(port.seek | port.finish):
                    with m.If(port.seek):
                        m.d.sync += port.at.eq(port.address)
                    m.next = "CLOSE"
                with m.Elif(port.read | port.write | port.erase):
                    m.next = "BYTE"
            with m.State("ENABLED"), m.If(done):
                m.d.sync += pins.cs.eq(0)
                m.next = "GAP"
            with m.State("GAP"), m.If(rest.all()):
                m.next = "ORDER"
            with m.State("ORDER"):
                order(PAGE_PROGRAM)
                with m.If(erases):
                    order(BLOCK_ERASE)
                m.d.sync += programming.eq(1)
                m.next = "ORDERED"
            with m.State("ORDERED"), m.If(done):
                m.next = "BYTE"
                with m.If(erases):
                    m.next = "CLOSE"
                with m.If(reading):
                    send(Const(0, 8), 8)
                    m.d.sync += dual.eq(1)
                    m.next = "TURNED"
            with m.State("TURNED"), m.If(done):
                m.d.sync += left.eq(READ_CLOCKS)
                m.next = "SHIFT"
            with m.State("BYTE"):  # or the order before it
                with m.If(port.outside):
                    m.next = "DONE"
                with m.Elif(reading):  # it is on its way
                    m.next = "SHIFT"
                with m.Elif(programming):
                    send(wdata, 8)
                    m.next = "SHIFT"
                with m.Elif(writes | erases):
                    send(Const(WRITE_ENABLE, 8), 8)
                    m.next = "ENABLED"
                with m.Else():
                    order(READ_DUAL)
                    m.d.sync += reading.eq(1)
                    m.next = "ORDERED"
            with m.State("SHIFT"), m.If(done):
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += port.valid.eq(~writes & ~erases)
                m.d.sync += port.at.eq(port.at + ~erases)
                with m.If(reading):
                    m.d.sync += left.eq(READ_CLOCKS)
                m.next = "IDLE"
                with m.If(writes & port.at[: PAGE.bit_length() - 1].all()):
                    m.next = "CLOSE"
            # -- the order under way ends; what it changes takes its time ------------------------------
            with m.State("CLOSE"), m.If(done):
                m.d.sync += [pins.cs.eq(0), reading.eq(0), dual.eq(0)]
                m.next = "CLOSED"
            with m.State("CLOSED"), m.If(rest.all()):
                m.d.sync += programming.eq(0)
                m.next = "IDLE"
                with m.If(~named):
                    m.next = "ASK NAME"
                with m.If(programming):
                    m.next = "ASK"
            with m.State("ASK"):
                send(Const(READ_STATUS, 8), 8)
                m.next = "ASKED"
            with m.State("ASKED"), m.If(done):
                send(Const(0, 8), 8)
                m.next = "STATUS"
            with m.State("STATUS"), m.If(done):
                m.next = "CLOSE"
                # again: the chip sends its status as long as it is asked.  All ones say that there is no chip
                with m.If(shift[0] & ~shift[:8].all()):
                    send(Const(0, 8), 8)
                    m.next = "STATUS"
        return m
