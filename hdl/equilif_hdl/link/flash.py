"""Flash controller: a serial NOR flash, one byte after the other.

    port: seek, read, write, erase --> [ commands, address ] --> [ shift register ] --> chip, clk, copi
    port: valid, rdata             <-- [                   ] <-- [                ] <-- cipo, sio

The serial clock has a period of two cycles; reads transfer two bits a clock.  The controller prefetches the
next byte.  Throughput: a byte in 10 cycles, read, and in 20 cycles, written.  Consecutive bytes need no new
command; a full page is programmed automatically.
Addresses are relative to the area of the design, and accesses outside of it are ignored, so the bitstream is
protected.

After a reset the controller waits for an unfinished operation of the chip, and reads its ID.  Without a chip
all bytes read as erased, and nothing waits.

equilif_golden.link.flash models the chip.
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
    SECTOR_ERASE,
    WAKE,
    WRITE_ENABLE,
    Area,
)
from equilif_hdl.typed import Interface

ADDRESS_BITS = 24
BLOCK_BITS = 16
READ_CLOCKS = 4  #: clocks of a byte, two bits each
WAKE_BITS = 12  #: log2 of the cycles for wake-up: more than 30 us up to 136 MHz
REST_BITS = 3  #: log2 of the cycles between commands: more than 50 ns up to 136 MHz
assert IN_PROGRESS == 1


class FlashPort(wiring.Signature):
    """Byte access to the flash.  At most one strobe at a time, and only while ``ready``.

    Members
    -------
    address : Out(24), seek : Out(1)
        Set the address of the next access; programs an incomplete page.
    read : Out(1)
        Read the byte and increment the address.
    write, wdata : Out(1), Out(8)
        Write the byte, which can clear bits only, and increment the address.
    erase : Out(1)
        Erase the block: all bits become 1.
    sector : Out(1)
        With ``sectors``: erase the sector of 4 KiB only.
    finish : Out(1)
        Program an incomplete page.
    ready : In(1)
        All previous operations are finished, except an incomplete page.
    valid, rdata : In(1), In(8)
        Strobe and data of a read.
    at : In(24)
        Address of the next byte.
    outside : In(1)
        It is outside the area: reads return ERASED, writes are ignored.
    chip : In(24)
        ID of the chip.
    """

    class Members(Interface, Protocol):
        address: Signal
        seek: Signal
        read: Signal
        write: Signal
        wdata: Signal
        erase: Signal
        sector: Signal
        finish: Signal
        ready: Signal
        valid: Signal
        rdata: Signal
        at: Signal
        outside: Signal
        chip: Signal

    def __init__(self, *, sectors: bool = False) -> None:
        super().__init__(
            {
                **({"sector": Out(1)} if sectors else {}),
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
    """SPI mode 0.  ``cs``: high while the chip is selected.  ``sio``: input of the ``copi`` pin, which the
    design drives while ``copi_oe``.
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

    ``sectors``: it can erase sectors.
    """

    port: FlashPort.Members
    pins: FlashPins.Members

    def __init__(self, area: Area, *, sectors: bool = False):
        self.area = area
        self.sectors = sectors
        super().__init__({"port": In(FlashPort(sectors=sectors)), "pins": Out(FlashPins())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        port = self.port
        pins = self.pins
        reading = Signal()  # read command active, from `at` on
        programming = Signal()  # page program active
        writes = Signal()  # the present operation is a write
        erases = Signal()  # or a block erase
        sector = Signal()  # of a sector
        wdata = Signal(8)
        has_id = Signal()  # the ID is read
        physical = Signal(ADDRESS_BITS)  # address in the chip
        high = port.at[BLOCK_BITS:]
        m.d.comb += [
            physical.eq(Cat(port.at[:BLOCK_BITS], (high + self.area.first)[: ADDRESS_BITS - BLOCK_BITS])),
            port.outside.eq(high >= self.area.blocks),
        ]
        serial = _Serial(m, pins)
        done = serial.done
        m.d.comb += port.rdata.eq(Mux(port.outside, ERASED, serial.shift[:8]))

        def command(opcode: int) -> None:
            serial.send(Cat(physical, Const(opcode, 8)), 32)

        with m.FSM(init="RESET"):
            self._wake(m, serial, has_id)
            with m.State("IDLE"):
                m.d.comb += port.ready.eq(1)
                m.d.sync += [writes.eq(port.write), erases.eq(port.erase), wdata.eq(port.wdata)]
                if self.sectors:
                    m.d.sync += sector.eq(port.sector)
                with m.If(port.seek | port.finish):
                    with m.If(port.seek):
                        m.d.sync += port.at.eq(port.address)
                    m.next = "CLOSE"
                with m.Elif(port.read | port.write | port.erase):
                    m.next = "BYTE"
            with m.State("ENABLED"), m.If(done):
                m.d.sync += pins.cs.eq(0)
                m.next = "GAP"
            with m.State("GAP"), m.If(serial.rest.all()):
                m.next = "ORDER"
            with m.State("ORDER"):
                command(PAGE_PROGRAM)
                with m.If(erases):
                    command(BLOCK_ERASE)
                    if self.sectors:
                        with m.If(sector):
                            command(SECTOR_ERASE)
                m.d.sync += programming.eq(1)
                m.next = "ORDERED"
            with m.State("ORDERED"), m.If(done):
                m.next = "BYTE"
                with m.If(erases):
                    m.next = "CLOSE"
                with m.If(reading):
                    serial.send(Const(0, 8), 8)
                    m.d.sync += serial.dual.eq(1)
                    m.next = "TURNED"
            with m.State("TURNED"), m.If(done):
                m.d.sync += serial.left.eq(READ_CLOCKS)
                m.next = "SHIFT"
            with m.State("BYTE"):  # or its command
                with m.If(port.outside):
                    m.next = "DONE"
                with m.Elif(reading):  # prefetched
                    m.next = "SHIFT"
                with m.Elif(programming):
                    serial.send(wdata, 8)
                    m.next = "SHIFT"
                with m.Elif(writes | erases):
                    serial.send(Const(WRITE_ENABLE, 8), 8)
                    m.next = "ENABLED"
                with m.Else():
                    command(READ_DUAL)
                    m.d.sync += reading.eq(1)
                    m.next = "ORDERED"
            with m.State("SHIFT"), m.If(done):
                m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += port.valid.eq(~writes & ~erases)
                m.d.sync += port.at.eq(port.at + ~erases)
                with m.If(reading):
                    m.d.sync += serial.left.eq(READ_CLOCKS)
                m.next = "IDLE"
                with m.If(writes & port.at[: PAGE.bit_length() - 1].all()):
                    m.next = "CLOSE"
            self._close(m, serial, reading, programming, has_id)
        return m

    def _wake(self, m: Module, serial: _Serial, has_id: Signal) -> None:
        """States after a reset: wake the chip, wait until it is not busy, and read its ID."""
        waking = Signal(WAKE_BITS)
        with m.State("RESET"), m.If(serial.rest.all()):
            serial.send(Const(WAKE, 8), 8)
            m.next = "WAKE"
        with m.State("WAKE"):
            with m.If(serial.done):
                m.d.sync += [self.pins.cs.eq(0), waking.eq(waking + 1)]
                with m.If(waking.all()):  # the chip may still be busy after a reset of the design
                    m.next = "ASK"
        with m.State("ASK NAME"):
            serial.send(Const(READ_ID, 8), 8)
            m.next = "NAME ASKED"
        with m.State("NAME ASKED"), m.If(serial.done):
            serial.send(Const(0, 24), 24)
            m.next = "NAME"
        with m.State("NAME"), m.If(serial.done):
            m.d.sync += [self.port.chip.eq(serial.shift), has_id.eq(1)]
            m.next = "CLOSE"

    def _close(
        self, m: Module, serial: _Serial, reading: Signal, programming: Signal, has_id: Signal
    ) -> None:
        """States at the end of a command, which wait until the chip is not busy."""
        with m.State("CLOSE"), m.If(serial.done):
            m.d.sync += [self.pins.cs.eq(0), reading.eq(0), serial.dual.eq(0)]
            m.next = "CLOSED"
        with m.State("CLOSED"), m.If(serial.rest.all()):
            m.d.sync += programming.eq(0)
            m.next = "IDLE"
            with m.If(~has_id):
                m.next = "ASK NAME"
            with m.If(programming):
                m.next = "ASK"
        with m.State("ASK"):
            serial.send(Const(READ_STATUS, 8), 8)
            m.next = "ASKED"
        with m.State("ASKED"), m.If(serial.done):
            serial.send(Const(0, 8), 8)
            m.next = "STATUS"
        with m.State("STATUS"), m.If(serial.done):
            m.next = "CLOSE"
            # repeat: the status follows as long as it is clocked.  All ones: no chip
            with m.If(serial.shift[0] & ~serial.shift[:8].all()):
                serial.send(Const(0, 8), 8)
                m.next = "STATUS"


class _Serial:
    """Shift register and serial clock of the pins."""

    def __init__(self, m: Module, pins: FlashPins.Members):
        self.shift = shift = Signal(32)
        self.left = left = Signal(range(33))  # serial clocks left
        self.dual = dual = Signal()  # two bits a clock
        self.rest = rest = Signal(REST_BITS)  # cycles since the last command, saturating
        self.done = left == 0
        self._m, self._pins = m, pins
        m.d.comb += [pins.copi.eq(shift[-1]), pins.copi_oe.eq(~dual)]
        m.d.sync += rest.eq(Mux(pins.cs, 0, rest + ~rest.all()))
        # the serial clock is low for a cycle, then high for one, at the end of which the input is sampled
        with m.If(left != 0):
            m.d.sync += pins.clk.eq(~pins.clk)
            with m.If(pins.clk):
                m.d.sync += [shift.eq(Cat(pins.cipo, shift)), left.eq(left - 1)]
                with m.If(dual):
                    m.d.sync += shift.eq(Cat(pins.sio, pins.cipo, shift))

    def send(self, value: Value, bits: int) -> None:
        """Select the chip and send the low ``bits`` of ``value``, its highest bit first."""
        shifted = Cat(Const(0, 32 - bits), value)
        self._m.d.sync += [self._pins.cs.eq(1), self.shift.eq(shifted), self.left.eq(bits)]
