"""SDRAM chip for simulation and proofs: it stores words, and checks every command against its data sheet.

    pins: op, bank, address, dq --> [ state of four banks, ages of the last commands ] --> violation
                                    [ words ] --> dq, after the CAS latency

It is a circuit, so that one model serves Icarus, Verilator and the proofs.  Clock enable, data mask,
automatic precharge and bursts longer than a word are not modelled; the controller does not use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from amaranth import Array, Cat, ClockSignal, Instance, Module, Mux, Signal
from amaranth.hdl import Value, ValueLike
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from equilif_golden.sdram import (
    ALL_BANKS,
    BANKS,
    BUS_GAP,
    MODE_CYCLES,
    TURNAROUND,
    SdramOp,
    SdramTiming,
    SdramType,
)
from equilif_hdl.sdram import SdramPins

MIN_INIT_REFRESHES = 8
#: storage of a chip of millions of words; Amaranth would write an initial value for each of them
WORDS = """
module sdram_words #(parameter WIDTH = 16, BITS = 1) (
    input clk, input [BITS-1:0] address, input read, input write, input [WIDTH-1:0] w_data,
    output reg [WIDTH-1:0] r_data
);
    reg [WIDTH-1:0] words [0:(1 << BITS) - 1];
    always @(posedge clk) begin
        if (write) words[address] <= w_data;
        if (read) r_data <= words[address];
    end
endmodule
"""


class Rule(IntEnum):
    """What a command violates: bits of ``violation``."""

    POWER_UP = 0  #: a command before the supply is stable
    NOT_INITIALISED = 1  #: ACTIVATE before all banks were closed, refreshed and the mode was set
    WRONG_MODE = 2  #: another CAS latency, or bursts
    BANKS_OPEN = 3  #: REFRESH or WRITE MODE with an open bank
    ALREADY_OPEN = 4  #: ACTIVATE of an open bank
    NOT_OPEN = 5  #: READ or WRITE of a closed bank
    AUTOMATIC_PRECHARGE = 6
    RP = 7  #: PRECHARGE to ACTIVATE, REFRESH or WRITE MODE
    RCD = 8  #: ACTIVATE to READ or WRITE
    RAS = 9  #: ACTIVATE to PRECHARGE
    RC = 10  #: ACTIVATE to ACTIVATE of the bank
    RRD = 11  #: ACTIVATE to ACTIVATE of another bank
    WR = 12  #: WRITE to PRECHARGE
    WTR = 13  #: WRITE to READ
    RFC = 14  #: REFRESH to any command
    MRD = 15  #: WRITE MODE to any command
    LATE_REFRESH = 16  #: half an interval late; a lost refresh
    CONTENTION = 17  #: chip and controller drive the data bus, or without a gap


def violations(found: int) -> list[str]:
    """Names of the rules in ``violation``."""
    return [rule.name for rule in Rule if found >> rule & 1]


class SdramChip(wiring.Component):
    """Members
    -------
    pins : In(SdramPins)
    violation : Out
        Violated rules since the start; see :class:`Rule`.

    A word that is read is on ``dq_i`` for one cycle, the CAS latency after its READ.  ``large``: the design
    needs the module :data:`WORDS`.
    """

    pins: SdramPins.Members
    violation: Signal

    def __init__(self, chip: SdramType, timing: SdramTiming, *, large: bool = False):
        self.chip = chip
        self.timing = timing
        self.large = large
        super().__init__({"pins": In(SdramPins(chip)), "violation": Out(len(Rule))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        t = self.timing
        pins = self.pins
        op = {one: Signal(name=one.name) for one in SdramOp}
        m.d.comb += [signal.eq(pins.op == one) for one, signal in op.items()]
        is_command = ~op[SdramOp.NOP]
        opened = [Signal(name=f"open_{k}") for k in range(BANKS)]
        rows = Array(Signal(range(self.chip.rows), name=f"row_{k}") for k in range(BANKS))
        every = pins.address & ALL_BANKS != 0
        access = op[SdramOp.READ] | op[SdramOp.WRITE]

        # per bank: this command is for it, and how long ago the earlier ones were
        mine = [pins.bank == k for k in range(BANKS)]
        opens = [op[SdramOp.ACTIVATE] & mine[k] for k in range(BANKS)]
        closes = [op[SdramOp.PRECHARGE] & (mine[k] | every) for k in range(BANKS)]
        since_open = [_since(m, opens[k], t.ras + t.rp) for k in range(BANKS)]
        since_close = [_since(m, closes[k], t.rp) for k in range(BANKS)]
        since_write = [_since(m, op[SdramOp.WRITE] & mine[k], t.wr) for k in range(BANKS)]
        any_open = _since(m, op[SdramOp.ACTIVATE], t.rrd)
        any_write = _since(m, op[SdramOp.WRITE], TURNAROUND)
        refreshed = _since(m, op[SdramOp.REFRESH], t.rfc)
        mode_set = _since(m, op[SdramOp.WRITE_MODE], MODE_CYCLES)
        for k in range(BANKS):
            with m.If(opens[k]):
                m.d.sync += [opened[k].eq(1), rows[k].eq(pins.address)]
            with m.If(closes[k]):
                m.d.sync += opened[k].eq(0)

        def of_bank(conditions: list[Value]) -> Value:
            """Any bank for which a condition holds."""
            return Cat(conditions).any()

        def each(events: list[Value], ages: list[Signal], cycles: int) -> Value:
            return of_bank([event & (age < cycles) for event, age in zip(events, ages, strict=True)])

        settles = op[SdramOp.REFRESH] | op[SdramOp.WRITE_MODE]
        after_close = [opens[k] | settles for k in range(BANKS)]
        accesses = [access & mine[k] for k in range(BANKS)]
        broken: Mapping[Rule, ValueLike] = {
            **self._initialised(m, op, is_command, every),
            Rule.BANKS_OPEN: settles & Cat(opened).any(),
            Rule.ALREADY_OPEN: of_bank([opens[k] & opened[k] for k in range(BANKS)]),
            Rule.NOT_OPEN: of_bank([accesses[k] & ~opened[k] for k in range(BANKS)]),
            Rule.AUTOMATIC_PRECHARGE: access & every,
            Rule.RP: each(after_close, since_close, t.rp),
            Rule.RCD: each(accesses, since_open, t.rcd),
            Rule.RAS: each([closes[k] & opened[k] for k in range(BANKS)], since_open, t.ras),
            Rule.RC: each(opens, since_open, t.ras + t.rp),
            Rule.RRD: op[SdramOp.ACTIVATE] & (any_open < t.rrd),
            Rule.WR: each(closes, since_write, t.wr),
            Rule.WTR: op[SdramOp.READ] & (any_write < TURNAROUND),
            Rule.RFC: is_command & (refreshed < t.rfc),
            Rule.MRD: is_command & (mode_set < MODE_CYCLES),
            Rule.CONTENTION: self._words(m, op, rows),
        }
        for rule, condition in broken.items():
            with m.If(condition):
                m.d.sync += self.violation[rule].eq(1)
        return m

    def _initialised(
        self, m: Module, op: Mapping[SdramOp, Signal], is_command: Value, every: Value
    ) -> dict[Rule, ValueLike]:
        """Rules of the initialisation and of the refresh interval."""
        t = self.timing
        powered = Signal(range(t.power_up + 1))
        with m.If(powered != t.power_up):
            m.d.sync += powered.eq(powered + 1)
        closed = Signal()
        refreshes = Signal(range(MIN_INIT_REFRESHES + 1))
        has_mode = Signal()
        with m.If(op[SdramOp.PRECHARGE] & every):
            m.d.sync += closed.eq(1)
        with m.If(op[SdramOp.REFRESH] & closed & (refreshes != MIN_INIT_REFRESHES)):
            m.d.sync += refreshes.eq(refreshes + 1)
        with m.If(op[SdramOp.WRITE_MODE] & closed):
            m.d.sync += has_mode.eq(1)
        # time that refreshes have not covered
        limit = t.interval + t.interval // 2
        overdue = Signal(range(limit + 1))
        ready = has_mode & (refreshes == MIN_INIT_REFRESHES)
        with m.If(ready & (overdue != limit)):
            m.d.sync += overdue.eq(overdue + 1)
        with m.If(ready & op[SdramOp.REFRESH]):
            m.d.sync += overdue.eq(Mux(overdue < t.interval, 0, overdue - (t.interval - 1)))
        wrong = self.pins.address != t.mode
        return {
            Rule.POWER_UP: is_command & (powered != t.power_up),
            Rule.NOT_INITIALISED: op[SdramOp.ACTIVATE] & ~ready,
            Rule.WRONG_MODE: op[SdramOp.WRITE_MODE] & (wrong | (self.pins.bank != 0)),
            Rule.LATE_REFRESH: overdue == limit,
        }

    def _words(self, m: Module, op: Mapping[SdramOp, Signal], rows: Array[Signal]) -> Value:
        """Store and read words; returns whether the data bus is driven by both sides."""
        pins = self.pins
        address = Cat(pins.address[: (self.chip.columns - 1).bit_length()], pins.bank, rows[pins.bank])
        writes = op[SdramOp.WRITE] & pins.dq_oe
        word: Value
        if self.large:
            word = Signal(self.chip.width)
            m.submodules.words = Instance(
                "sdram_words",
                p_WIDTH=self.chip.width,
                p_BITS=(self.chip.words - 1).bit_length(),
                i_clk=ClockSignal(),
                i_address=address,
                i_read=op[SdramOp.READ],
                i_write=writes,
                i_w_data=pins.dq_o,
                o_r_data=word,
            )
        else:
            m.submodules.words = words = memory.Memory(shape=self.chip.width, depth=self.chip.words, init=[])
            write, read = words.write_port(), words.read_port()
            m.d.comb += [
                read.addr.eq(address),
                read.en.eq(op[SdramOp.READ]),
                write.addr.eq(address),
                write.data.eq(pins.dq_o),
                write.en.eq(writes),
            ]
            word = read.data
        for k in range(1, self.timing.cas):
            late = Signal(self.chip.width, name=f"word_{k}")
            m.d.sync += late.eq(word)
            word = late
        # bit k: a READ was k + 1 cycles ago
        reads = Signal(self.timing.cas + BUS_GAP)
        m.d.sync += reads.eq(Cat(op[SdramOp.READ], reads))
        drives = reads[self.timing.cas - 1]
        # otherwise nothing that a controller may take for the word
        m.d.comb += pins.dq_i.eq(Mux(drives, word, ~word))
        return pins.dq_oe & reads[self.timing.cas - 1 :].any()


def _since(m: Module, event: Value, limit: int) -> Signal:
    """Cycles since the last event, up to ``limit``."""
    age = Signal(range(limit + 1), init=limit)
    with m.If(event):
        m.d.sync += age.eq(1)
    with m.Elif(age != limit):
        m.d.sync += age.eq(age + 1)
    return age
