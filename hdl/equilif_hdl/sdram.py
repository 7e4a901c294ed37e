"""SDRAM controller: bursts of words; its commands and cycles are those of equilif_golden.sdram.

    port: request --> [ pending ] --> [ burst ] --> state: LOOK -> ACCESS --> pins: command, bank, address
    port: w       --> [ queue ] -----------------------------------^    |          dq_o, dq_oe
    port: r       <-- [ queue ] <-- [ valid after the CAS latency ] <---+--------- dq_i
    port: written <-- [ last WRITE of a burst ] <-----------------------'

LOOK compares the row of the burst with the open row of its bank, and activates or precharges.  ACCESS issues
READ or WRITE, one word per cycle, until the burst or the page ends.  Both give way to a refresh.  A burst may
pause at any word: a WRITE waits for its data, a READ for space in the queue.  All outputs of the port come
from registers, or from one LUT after them.

Latency from a READ on the pins to its word on the port: the CAS latency, ``io_delay`` and 1 cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.hdl import Value
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from equilif_golden.sdram import (
    ALL_BANKS,
    BANKS,
    INIT_REFRESHES,
    IO_DELAY,
    LENGTH_BITS,
    MODE_CYCLES,
    TURNAROUND,
    SdramOp,
    SdramTiming,
    SdramType,
)
from equilif_hdl.typed import Fields, Interface, Layout, Stream, signal_of

QUEUE = 16  #: words that are read and not yet transferred


class Burst(Fields):
    """``address``: of the first word.  ``length``: number of words minus one."""

    address: Signal
    length: Signal
    is_write: Signal


def burst(chip: SdramType) -> Layout[Burst]:
    return Layout({"address": range(chip.words), "length": LENGTH_BITS, "is_write": 1})


class SdramPort(wiring.Signature):
    """Members
    -------
    request : Out(stream of burst)
        The next burst, which may wait for the last command of the one before.
    w, r : Out(stream), In(stream)
        Words of the bursts, in order.
    written : In(1)
        Strobe: the last WRITE of a burst is on the pins.
    """

    class Members(Interface, Protocol):
        request: Stream[Burst]
        w: Stream[Signal]
        r: Stream[Signal]
        written: Signal

    def __init__(self, chip: SdramType) -> None:
        super().__init__(
            {
                "request": Out(stream.Signature(burst(chip))),
                "w": Out(stream.Signature(chip.width)),
                "r": In(stream.Signature(chip.width)),
                "written": In(1),
            }
        )


class SdramPins(wiring.Signature):
    """Pins of the chip.  ``op``: RAS, CAS and WE, low at the chip where a bit is 1.  CS is always low, CKE
    always high and DQM always low.
    """

    class Members(Interface, Protocol):
        op: Signal
        bank: Signal
        address: Signal
        dq_o: Signal
        dq_oe: Signal
        dq_i: Signal

    def __init__(self, chip: SdramType) -> None:
        super().__init__(
            {
                "op": Out(3),
                "bank": Out(range(BANKS)),
                "address": Out(chip.address_bits),
                "dq_o": Out(chip.width),
                "dq_oe": Out(1),
                "dq_i": In(chip.width),
            }
        )


class SdramController(wiring.Component):
    """Members
    -------
    port : In(SdramPort)
    pins : Out(SdramPins)
    restart, restarted : In(1), Out(1)
        Between bursts: refresh now, and begin the interval anew with the REFRESH in cycle ``restarted``.

    ``io_delay``: cycles that registers between the pins of this block and the chip add to a read.
    """

    port: SdramPort.Members
    pins: SdramPins.Members
    restart: Signal
    restarted: Signal

    def __init__(self, chip: SdramType, timing: SdramTiming, *, io_delay: int = IO_DELAY, queue: int = QUEUE):
        self.chip = chip
        self.timing = timing
        self.io_delay = io_delay
        self.queue = queue
        if timing.rrd > timing.rcd + TURNAROUND:
            raise ValueError(f"{chip.name}: tRRD of {timing.rrd} cycles needs a separate counter")
        super().__init__(
            {"port": In(SdramPort(chip)), "pins": Out(SdramPins(chip)), "restart": In(1), "restarted": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        t = self.timing
        port = self.port
        pins = self.pins
        pending = signal_of(burst(self.chip), name="pending")
        waits = Signal()  # it is the next burst
        current = signal_of(burst(self.chip), name="current")
        active = Signal()
        last = Signal()  # the current burst ends in this cycle
        m.d.comb += port.request.ready.eq(~waits)
        with m.If(~waits):
            m.d.sync += [pending.eq(port.request.payload), waits.eq(port.request.valid)]
        with m.If(~active | last):
            m.d.sync += [current.eq(pending), active.eq(waits)]
            with m.If(waits):
                m.d.sync += waits.eq(0)
        m.submodules.words = words = fifo.SyncFIFO(width=self.chip.width, depth=2)
        connect(m, words.w_stream, flipped(port.w))

        columns = (self.chip.columns - 1).bit_length()
        column = current.address[:columns]
        bank = current.address[columns : columns + BANKS.bit_length() - 1]
        row = current.address[columns + BANKS.bit_length() - 1 :]
        opened = Signal(BANKS)
        rows = Array(Signal(len(row), name=f"row_{k}", reset_less=True) for k in range(BANKS))
        is_open = opened.bit_select(bank, 1)
        hit = is_open & (rows[bank] == row)

        wait = _Countdown(m, max(t.power_up, t.rfc, t.rcd, t.rp), init=t.power_up)
        active_time = _Countdown(m, t.ras)  # of the row that was opened last
        recovery = _Countdown(m, t.wr)  # after the last WRITE
        turnaround = _Countdown(m, t.read_to_write)  # after the last READ
        can_close = active_time.done & recovery.done
        due = Signal()
        interval = Signal(range(t.interval))
        with m.If(interval == t.interval - 1):
            m.d.sync += [interval.eq(0), due.eq(1)]
        with m.Else():
            m.d.sync += interval.eq(interval + 1)

        m.d.sync += [pins.op.eq(SdramOp.NOP), pins.dq_oe.eq(0), pins.dq_o.eq(words.r_data)]
        m.d.sync += port.written.eq(last & current.is_write)

        def command(op: SdramOp, then: int, address: Value | int = 0, of: Value | int = 0) -> None:
            """Issue a command; the next one comes ``then`` cycles later at the earliest."""
            m.d.sync += [pins.op.eq(op), pins.address.eq(address), pins.bank.eq(of)]
            wait.start(then)

        m.submodules.reads = reads = SdramReads(
            self.chip.width, latency=t.cas + self.io_delay, queue=self.queue
        )
        connect(m, reads.r, flipped(port.r))
        m.d.comb += [reads.read.eq(pins.op == SdramOp.READ), reads.dq.eq(pins.dq_i)]
        with m.FSM(init="POWER UP"):
            self._initialise(m, wait, command)
            with m.State("START"):
                m.d.sync += [interval.eq(0), due.eq(0)]
                m.next = "LOOK"
            with m.State("LOOK"), m.If(wait.done):
                with m.If(due | self.restart & ~active & ~waits):
                    m.next = "CLOSE"
                with m.Elif(active & hit):
                    m.next = "ACCESS"
                with m.Elif(active & is_open):
                    with m.If(can_close):
                        command(SdramOp.PRECHARGE, t.rp, of=bank)
                        m.d.sync += opened.bit_select(bank, 1).eq(0)
                with m.Elif(active):
                    command(SdramOp.ACTIVATE, t.rcd, row, bank)
                    active_time.start(t.ras)
                    m.d.sync += [opened.bit_select(bank, 1).eq(1), rows[bank].eq(row)]
                    m.next = "ACCESS"
            with m.State("ACCESS"), m.If(wait.done):
                with m.If(due):
                    m.next = "CLOSE"
                with m.Elif(Mux(current.is_write, words.r_rdy & turnaround.done, reads.space)):
                    m.d.sync += [
                        pins.op.eq(Mux(current.is_write, SdramOp.WRITE, SdramOp.READ)),
                        pins.address.eq(column),
                        pins.bank.eq(bank),
                        pins.dq_oe.eq(current.is_write),
                    ]
                    m.d.comb += [
                        words.r_en.eq(current.is_write),
                        last.eq(current.length == 0),
                    ]
                    with m.If(current.is_write):
                        recovery.start(t.wr)
                    with m.Else():
                        turnaround.start(t.read_to_write)
                    with m.If(~last):
                        m.d.sync += [
                            current.address.eq(current.address + 1),
                            current.length.eq(current.length - 1),
                        ]
                    with m.If(last | column.all()):
                        m.next = "LOOK"
            with m.State("CLOSE"), m.If(can_close):
                command(SdramOp.PRECHARGE, t.rp, ALL_BANKS)
                m.d.sync += opened.eq(0)
                m.next = "REFRESH"
            with m.State("REFRESH"), m.If(wait.done):
                command(SdramOp.REFRESH, t.rfc)
                m.d.sync += due.eq(0)
                m.d.comb += self.restarted.eq(self.restart)
                with m.If(self.restart):
                    m.d.sync += interval.eq(0)
                m.next = "LOOK"
        return m

    def _initialise(self, m: Module, wait: _Countdown, command: Callable[..., None]) -> None:
        """States from the power-up to the mode register."""
        t = self.timing
        refreshes = Signal(range(INIT_REFRESHES))
        with m.State("POWER UP"), m.If(wait.done):
            command(SdramOp.PRECHARGE, t.rp, ALL_BANKS)
            m.next = "INIT"
        with m.State("INIT"), m.If(wait.done):
            command(SdramOp.REFRESH, t.rfc)
            m.d.sync += refreshes.eq(refreshes + 1)
            with m.If(refreshes == INIT_REFRESHES - 1):
                m.next = "MODE"
        with m.State("MODE"), m.If(wait.done):
            command(SdramOp.WRITE_MODE, MODE_CYCLES, t.mode)
            m.next = "START"


class SdramReads(wiring.Component):
    """Words of READ commands, in order.

    Members
    -------
    read : In(1)
        A READ is on the pins.
    dq : In
        The data bus: ``latency`` cycles later, the word of that READ.
    r : Out(stream)
        The words.
    space : Out(1)
        There is space for the word of another READ, on the pins in the next cycle.
    """

    read: Signal
    dq: Signal
    r: Stream[Signal]
    space: Signal

    def __init__(self, width: int, *, latency: int, queue: int):
        self.width = width
        self.latency = latency
        self.queue = queue
        super().__init__({"read": In(1), "dq": In(width), "r": Out(stream.Signature(width)), "space": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = fifo.SyncFIFO(width=self.width, depth=self.queue)
        arrives = Signal(self.latency)
        # words of which the READ was on the pins, and that are not transferred
        used = Signal(range(self.queue + 1))
        m.d.sync += [
            arrives.eq(Cat(self.read, arrives)),
            used.eq(used + self.read - (self.r.valid & self.r.ready)),
            # two more may be on the pins, before and after this edge
            self.space.eq(used < self.queue - 2),
        ]
        m.d.comb += [
            queue.w_data.eq(self.dq),
            queue.w_en.eq(arrives[-1]),
            self.r.payload.eq(queue.r_data),
            self.r.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.r.ready),
        ]
        return m


class _Countdown:
    """Counter of cycles from an event on; ``done``: they have passed."""

    def __init__(self, m: Module, longest: int, *, init: int = 0):
        self._left = Signal(range(-1, longest), init=init - 1)
        self._m = m
        self.done = self._left[-1]  # its sign
        with m.If(~self.done):
            m.d.sync += self._left.eq(self._left - 1)

    def start(self, cycles: int) -> None:
        """The event is in this cycle; ``done`` follows after as many cycles."""
        self._m.d.sync += self._left.eq(cycles - 2)
