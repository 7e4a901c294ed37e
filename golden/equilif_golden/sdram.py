"""SDRAM: a table of chips with their timings, and the exact cycles of the controller.

    address of a word = row | bank | column        a linear burst crosses pages from bank to bank

The controller (equilif_hdl.sdram) transfers one word per READ or WRITE command, a command in every cycle, so
a burst may begin, pause and end at any word.  A row stays open until another row of its bank is accessed or
until a refresh.  A refresh interrupts a burst, so no traffic delays it by more than a few cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from math import ceil
from typing import NamedTuple

from equilif_golden.fixed import check_choice, check_int

BANKS = 4
ALL_BANKS = 1 << 10  #: address bit of PRECHARGE that selects all banks
#: refreshes of the initialisation; data sheets ask for two to eight
INIT_REFRESHES = 8
RETENTION_NS = 64_000_000  #: time in which each row must be refreshed
MODE_CYCLES = 2  #: tMRD
#: cycles from a WRITE to a READ (tWTR); the controller has never fewer between two bursts
TURNAROUND = 2
#: idle cycles of the data bus between a word of the chip and a word of the controller
BUS_GAP = 1
IO_DELAY = 2  #: cycles of the registers in IO cells, output and input
MAX_REFRESH_DELAY = 64  #: bound of the cycles from the end of an interval to its refresh
LENGTH_BITS = 16  #: of the number of words in a burst
MIN_HZ, MAX_HZ = 10_000_000, 166_000_000
MAX_CAS_2_HZ = 100_000_000  #: fastest clock with a CAS latency of 2


class SdramOp(IntEnum):
    """Command: RAS, CAS and WE, which are low at the pins where a bit is 1."""

    NOP = 0b000
    WRITE_MODE = 0b111
    REFRESH = 0b110
    PRECHARGE = 0b101
    ACTIVATE = 0b100
    WRITE = 0b011
    READ = 0b010


@dataclass(frozen=True)
class SdramType:
    """A chip of the table.  Times in ns, by the names of data sheets.

    ``width``: bits of the data bus, a word.  ``refreshes``: in RETENTION_NS.  ``wr_cycles``: minimum number
    of cycles of tWR.
    """

    name: str
    width: int
    rows: int
    columns: int
    rp: float
    rcd: float
    wr: float
    rfc: float
    ras: float
    rrd: float
    refreshes: int
    wr_cycles: int = 1
    power_up: float = 200_000.0

    @property
    def words(self) -> int:
        return BANKS * self.rows * self.columns

    @property
    def size(self) -> int:
        """Bytes."""
        return self.words * self.width // 8

    @property
    def address_bits(self) -> int:
        """Address pins."""
        return max((self.rows - 1).bit_length(), ALL_BANKS.bit_length())

    def place(self, address: int) -> tuple[int, int, int]:
        """Row, bank and column of a word."""
        page, column = divmod(address, self.columns)
        row, bank = divmod(page, BANKS)
        return row, bank, column

    def timing(self, hz: int) -> SdramTiming:
        """Timings in cycles of a clock; ValueError if the clock is too slow or too fast."""
        check_int(hz, "hz", MIN_HZ, MAX_HZ, "clock of the SDRAM")

        def cycles(ns: float) -> int:
            return max(1, ceil(round(ns * hz / 1e9, 6)))

        # each row within RETENTION_NS, the delay of its last refresh included
        interval = int((RETENTION_NS * hz // 10**9 - MAX_REFRESH_DELAY) // self.refreshes)
        return SdramTiming(
            rp=cycles(self.rp),
            rcd=cycles(self.rcd),
            ras=cycles(self.ras),
            wr=max(cycles(self.wr), self.wr_cycles),
            rfc=cycles(self.rfc),
            rrd=cycles(self.rrd),
            cas=2 if hz <= MAX_CAS_2_HZ else 3,
            interval=interval,
            power_up=cycles(self.power_up),
        )


#: name, width, rows, columns, tRP, tRCD, tWR, tRFC, tRAS, tRRD, refreshes, minimum cycles of tWR; where data
#: sheets of a family differ in tRAS or tRRD, the largest value
_TABLE = (
    SdramType("MT48LC16M16", 16, 8192, 512, 20, 20, 15, 66, 44, 15, 8192, 1),
    SdramType("IS42S16160", 16, 8192, 512, 20, 20, 20, 70, 44, 15, 8192, 1),
    SdramType("AS4C16M16", 16, 8192, 512, 18, 18, 12, 60, 44, 15, 8192, 1),
    SdramType("AS4C32M16", 16, 8192, 1024, 18, 18, 12, 60, 44, 15, 8192, 1),
    SdramType("W9825G6KH", 16, 8192, 512, 15, 15, 15, 60, 42, 10, 8192, 1),
    SdramType("EM638325", 32, 2048, 256, 18, 18, 0, 60, 42, 12, 4096, 2),
    SdramType("M12L64322A", 32, 2048, 256, 15, 15, 15, 55, 40, 10, 4096, 1),
)
CHIPS = {chip.name: chip for chip in _TABLE}


@dataclass(frozen=True)
class ClockedSdram:
    """A chip at a clock.  ValueError when one of them does not exist.

    chip_name : str
        Of CHIPS.
    hz : int
        Clock of design and chip.
    """

    chip_name: str
    hz: int

    def __post_init__(self) -> None:
        check_choice(self.chip_name, "chip_name", CHIPS)
        object.__setattr__(self, "hz", check_int(self.hz, "hz", MIN_HZ, MAX_HZ))

    @property
    def chip(self) -> SdramType:
        return CHIPS[self.chip_name]

    @property
    def timing(self) -> SdramTiming:
        return self.chip.timing(self.hz)


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """Timings in cycles.

    rp, rcd, ras, rrd : int
        PRECHARGE to ACTIVATE; ACTIVATE to READ or WRITE; ACTIVATE to PRECHARGE; ACTIVATE to ACTIVATE of
        another bank.
    wr : int
        WRITE to PRECHARGE.
    rfc : int
        REFRESH to the next command.
    cas : int
        READ to its word.
    interval : int
        Between two refreshes.
    power_up : int
        Before the first command.
    """

    rp: int
    rcd: int
    ras: int
    wr: int
    rfc: int
    rrd: int
    cas: int
    interval: int
    power_up: int

    @property
    def read_to_write(self) -> int:
        """READ to WRITE."""
        return self.cas + 1 + BUS_GAP

    @property
    def read_latency(self) -> int:
        """From the decision of a READ to its word at the port of the controller."""
        return self.cas + IO_DELAY + 2

    @property
    def mode(self) -> int:
        """Mode register: bursts of one word, and the CAS latency."""
        return self.cas << 4

    @property
    def start(self) -> int:
        """Cycles of the initialisation."""
        return self.power_up + self.rp + INIT_REFRESHES * self.rfc + MODE_CYCLES


class BurstRequest(NamedTuple):
    """A burst of ``words`` from ``address`` on."""

    address: int
    words: int
    is_write: bool


class SdramCommand(NamedTuple):
    """A command, ``cycle`` cycles after the reset; ``address``: the address pins."""

    cycle: int
    op: SdramOp
    bank: int
    address: int


@dataclass
class Controller:
    """Commands and cycles of bursts whose data never waits.

    ``next``: first cycle in which the next burst or refresh can begin.  ``accepted``: the cycle in which the
    last request was accepted.  A request waits in a register until the burst before it has its last command,
    and the register is empty from ``ready`` on.
    """

    chip: SdramType
    timing: SdramTiming
    commands: list[SdramCommand] = field(default_factory=list)
    accepted: int = 0
    ready: int = 0
    next: int = 0
    _last: int = 0
    _refresh_at: int = 0
    _rows: list[int | None] = field(default_factory=lambda: [None] * BANKS)
    _close_from: int = 0
    _write_from: int = 0

    def __post_init__(self) -> None:
        t = self.timing
        self._add(t.power_up, SdramOp.PRECHARGE, 0, ALL_BANKS)
        for k in range(INIT_REFRESHES):
            self._add(t.power_up + t.rp + k * t.rfc, SdramOp.REFRESH)
        self._add(t.start - MODE_CYCLES, SdramOp.WRITE_MODE, 0, t.mode)
        self.next = t.start
        self._refresh_at = t.start + t.interval

    @classmethod
    def restarted(cls, chip: SdramType, timing: SdramTiming) -> Controller:
        """The controller in the cycle after the REFRESH of a restart, which is cycle 0."""
        self = cls(chip, timing)
        self.commands = []
        self.next = timing.rfc - 1
        self._refresh_at = timing.interval
        return self

    def access(self, request: BurstRequest, at: int) -> int:
        """Accept a request that is offered from cycle ``at`` on; returns the cycle of its last word's
        command.
        """
        self.accepted = max(at, self.ready)
        begin = max(self.accepted + 1, self._last)
        self.ready = begin + 1
        self.idle(begin)
        self.next = max(self.next, begin + 1)
        address, left = request.address, request.words
        while left:
            row, bank, column = self.chip.place(address)
            if self._refreshed(self.next) or not self._opened(row, bank):
                continue
            first = max(self.next, self._write_from) if request.is_write else self.next
            n = max(0, min(left, self.chip.columns - column, self._refresh_at - first))
            op = SdramOp.WRITE if request.is_write else SdramOp.READ
            for k in range(n):
                self._add(first + k, op, bank, column + k)
            if n:
                self.next = first + n
                self._used(request.is_write)
            else:  # the refresh comes before the first word
                self.next = max(self.next, self._refresh_at)
            address = (address + n) % self.chip.words
            left -= n
        self._last = self.next - 1
        return self._last

    def idle(self, until: int) -> None:
        """Refreshes that begin without a request in or before cycle ``until``."""
        while max(self.next, self._refresh_at) <= until:
            self._refreshed(max(self.next, self._refresh_at))

    def _refreshed(self, now: int) -> bool:
        """Refresh, if one is due."""
        if now < self._refresh_at:
            return False
        t = self.timing
        close = max(now + 1, self._close_from)
        self._add(close, SdramOp.PRECHARGE, 0, ALL_BANKS)
        self._add(close + t.rp, SdramOp.REFRESH)
        self._rows = [None] * BANKS
        self._refresh_at += t.interval
        self.next = close + t.rp + t.rfc
        return True

    def _opened(self, row: int, bank: int) -> bool:
        """Open a row; false if a refresh comes first, or the bank was closed for it."""
        t = self.timing
        if self._rows[bank] == row:
            self.next += 1
            return True
        if self._rows[bank] is None:
            self._add(self.next, SdramOp.ACTIVATE, bank, row)
            self._rows[bank] = row
            self._close_from = max(self._close_from, self.next + t.ras)
            self.next += t.rcd
            return True
        close = max(self.next, self._close_from)
        if close >= self._refresh_at:
            self.next = self._refresh_at
        else:
            self._add(close, SdramOp.PRECHARGE, bank, 0)
            self._rows[bank] = None
            self.next = close + t.rp
        return False

    def _used(self, is_write: bool) -> None:
        """Words were transferred until the cycle before ``next``."""
        last = self.next - 1
        if is_write:
            self._close_from = max(self._close_from, last + self.timing.wr)
        else:
            self._write_from = last + self.timing.read_to_write

    def _add(self, cycle: int, op: SdramOp, bank: int = 0, address: int = 0) -> None:
        self.commands.append(SdramCommand(cycle, op, bank, address))


def bursts(chip: SdramType, words: int, is_write: bool) -> Iterator[BurstRequest]:
    """Consecutive bursts through the chip, again and again."""
    address = 0
    while True:
        yield BurstRequest(address, words, is_write)
        address = (address + words) % chip.words


def bandwidth(chip: SdramType, hz: int, words: int, is_write: bool, *, intervals: int = 8) -> float:
    """Words per cycle of consecutive bursts, measured over some refresh intervals."""
    controller = Controller(chip, chip.timing(hz))
    begin = controller.next
    transferred = 0
    for request in bursts(chip, words, is_write):
        end = controller.access(request, 0) + 1 - begin
        transferred += words
        if end >= intervals * controller.timing.interval:
            return transferred / end
    raise AssertionError
