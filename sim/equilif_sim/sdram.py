"""Bench for equilif_hdl.sdram.SdramController against equilif_golden.sdram, with the chip of
equilif_sim.sdram_chip at its pins.

    port --> controller --> register --> chip, which checks every timing
                        <-- register <--

State space: bursts of one word to some pages, in the same row, in other rows and banks, across pages and the
end of the chip, reads and writes in turn; refreshes in all states.  Stall space: requests at once or later,
words of both directions at once, or with pauses.  ``cycles`` compares every command and its cycle.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import asdict, replace
from typing import Any, ClassVar

import cocotb
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from equilif_golden.sdram import (
    BANKS,
    CHIPS,
    IO_DELAY,
    LENGTH_BITS,
    MAX_REFRESH_DELAY,
    BurstRequest,
    Controller,
    SdramCommand,
    SdramOp,
    SdramTiming,
    SdramType,
    bursts,
)
from equilif_hdl.sdram import QUEUE, SdramController, SdramPort
from equilif_sim.sdram_chip import SdramChip, violations
from equilif_sim.tools.run import bench_config, cases
from equilif_sim.tools.scoreboard import Scoreboard
from equilif_sim.tools.stream import Pause, drive, never, often, reset, with_pauses

POWER_UP = 300.0  #: ns; of a real chip it is 200 us


def small(name: str, *, rows: int = 4, columns: int | None = None) -> SdramType:
    """A chip of the table with few rows, and a short start."""
    chip = CHIPS[name]
    return replace(chip, rows=rows, columns=columns or chip.columns, power_up=POWER_UP)


class SdramBench(wiring.Component):
    """Design under test.  ``controller``: a controller in place of the right one.

    Members
    -------
    port : In(SdramPort)
    op, bank, address : Out
        The command on the pins of the controller.
    violation : Out
        Of the chip.
    """

    port: SdramPort.Members
    op: Signal
    bank: Signal
    address: Signal
    violation: Signal

    def __init__(self, chip: SdramType, hz: int, *, controller: SdramController | None = None):
        timing = chip.timing(hz)
        self.controller = controller or SdramController(chip, timing)
        self.chip = SdramChip(chip, timing)
        self.config = {"chip": asdict(chip), "hz": hz}
        super().__init__(
            {
                "port": In(SdramPort(chip)),
                "op": Out(3),
                "bank": Out(range(BANKS)),
                "address": Out(chip.address_bits),
                "violation": Out(self.chip.violation.shape()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.controller = controller = self.controller
        m.submodules.chip = chip = self.chip
        connect(m, flipped(self.port), controller.port)
        pins = controller.pins
        m.d.comb += [
            self.op.eq(pins.op),
            self.bank.eq(pins.bank),
            self.address.eq(pins.address),
            self.violation.eq(chip.violation),
        ]
        assert controller.io_delay == IO_DELAY
        m.d.sync += pins.dq_i.eq(chip.pins.dq_i)
        for name in ("op", "bank", "address", "dq_o", "dq_oe"):
            m.d.sync += getattr(chip.pins, name).eq(getattr(pins, name))
        return m


class SdramDriver:
    """Drives the port and compares words with those written before."""

    words: ClassVar[dict[int, int]] = {}  #: content of the chip, which survives a reset

    def __init__(self, dut: Any):
        raw = bench_config()
        self.dut = dut
        self.chip = SdramType(**raw["chip"])
        self.timing: SdramTiming = self.chip.timing(raw["hz"])
        self.score = Scoreboard()
        self.cycle = -1
        self.expected = 0
        self.commands: list[SdramCommand] = []
        self.to_write: deque[int] = deque()
        self.unwritten = 0  #: bursts of which the last WRITE is not on the pins

    async def start(self) -> None:
        names = ("request__valid", "request__payload", "w__valid", "w__payload", "r__ready")
        await reset(self.dut, *(f"port__{name}" for name in names))
        self.cycle = 0

    async def run(
        self, requests: deque[tuple[int, BurstRequest]], *, w_pause: Pause = never, r_pause: Pause = never
    ) -> int:
        """Make requests, each offered from its cycle on, and complete them; returns the cycle."""
        d = self.dut
        columns = ("request__valid", "request__ready", "w__valid", "w__ready", "r__valid", "r__ready")
        handshake = [getattr(d, f"port__{name}") for name in columns]
        offered = False
        patience = 0
        while requests or self.unwritten or self.score.outstanding:
            if requests and (offered or self.cycle >= requests[0][0]):
                offered = True
                self._offer(requests[0][1])
            else:
                offered = False
                drive(d, port__request__valid=0, port__request__payload=random.getrandbits(16))
            writes = bool(self.to_write) and not w_pause()
            drive(d, port__w__valid=writes, port__w__payload=self.to_write[0] if writes else 0)
            drive(d, port__r__ready=not r_pause())
            await FallingEdge(d.clk)
            offers, takes, w_valid, w_ready, r_valid, r_ready = (int(signal.value) for signal in handshake)
            self._observe()
            if r_valid and r_ready:
                self.score.actual(int(d.port__r__payload.value))
            if w_valid and w_ready:
                self.to_write.popleft()
            if offers and takes:
                self._accept(requests.popleft()[1])
                offered = False
            progress = offers and takes or w_valid and w_ready or r_valid or self.dut.port__written.value
            patience = 0 if progress else patience + 1
            waits = max(0, requests[0][0] - self.cycle) if requests else 0
            assert patience < 2000 + self.timing.start + waits, "it does not come to an end"
            await RisingEdge(d.clk)
            self.cycle += 1
        return self.cycle

    async def finish(self) -> None:
        await ClockCycles(self.dut.clk, IO_DELAY + 1)  # the last WRITE gets to the chip
        found = violations(int(self.dut.violation.value))
        assert not found, f"violations: {', '.join(found)}"
        self.score.finish(self.expected)

    def request(self, *, longest: int) -> BurstRequest:
        """A random burst; often close to the one before, or at the end of a page or of the chip."""
        chip = self.chip
        pages = chip.words // chip.columns
        page = random.choice([0, 1, BANKS, 2 * BANKS, pages - 1, random.randrange(pages)])
        column = random.choice([0, chip.columns - 1, random.randrange(chip.columns)])
        words = random.choice([1, 1, 2, 3, random.randint(1, longest)])
        return BurstRequest(page * chip.columns + column, words, random.random() < 0.5)

    def _offer(self, request: BurstRequest) -> None:
        bits = (self.chip.words - 1).bit_length()
        payload = request.address | request.words - 1 << bits | int(request.is_write) << bits + LENGTH_BITS
        drive(self.dut, port__request__valid=1, port__request__payload=payload)

    def _accept(self, request: BurstRequest) -> None:
        addresses = [(request.address + k) % self.chip.words for k in range(request.words)]
        if request.is_write:
            words = [random.getrandbits(self.chip.width) for _ in addresses]
            self.to_write += words
            self.unwritten += 1
            self.words.update(zip(addresses, words, strict=True))
            return
        for address in addresses:
            self.score.expect(self.words.get(address, 0))
        self.expected += request.words

    def _observe(self) -> None:
        op = SdramOp(int(self.dut.op.value))
        if self.dut.port__written.value:
            assert op == SdramOp.WRITE
            self.unwritten -= 1
        if op:
            bank, address = int(self.dut.bank.value), int(self.dut.address.value)
            # a command is on the pins a cycle after its decision
            self.commands.append(SdramCommand(self.cycle - 1, op, bank, address))


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def cycles(dut: Any) -> None:
    """Every command is in its cycle: random bursts without stalls."""
    tb = SdramDriver(dut)
    await tb.start()
    golden = Controller(tb.chip, tb.timing)
    requests = deque[tuple[int, BurstRequest]]()
    at = 0
    while golden.next < tb.timing.start + 4 * tb.timing.interval:
        request = tb.request(longest=200)
        requests.append((at, request))
        last = golden.access(request, at)
        # at once, before the last word or some cycles after it, or when nothing has been done for a while
        at = random.choice(
            [
                golden.accepted + 1,
                random.randint(golden.accepted + 1, last),
                last + random.randrange(20),
                last + random.randrange(400),
            ]
        )
    await tb.run(requests)
    await tb.finish()
    last = tb.commands[-1].cycle
    golden.idle(last)
    expected = [command for command in golden.commands if command.cycle <= last]
    for found, command in zip(tb.commands, expected, strict=True):
        assert found == command
    assert {command.op for command in expected} == set(SdramOp) - {SdramOp.NOP}


@cocotb.test(timeout_time=20, timeout_unit="ms")
@with_pauses(w_pause=[never, often], r_pause=[never, often])
async def stalls(dut: Any, w_pause: Pause, r_pause: Pause) -> None:
    tb = SdramDriver(dut)
    await tb.start()
    requests = deque[tuple[int, BurstRequest]]()
    at = 0
    for _ in range(cases(120)):
        requests.append((at, tb.request(longest=40)))
        at += random.choice([0, 0, 0, random.randrange(60)])
    await tb.run(requests, w_pause=w_pause, r_pause=r_pause)
    await tb.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def refreshes_under_load(dut: Any) -> None:
    """A long burst that waits for its words, on either side, does not delay a refresh."""
    tb = SdramDriver(dut)
    await tb.start()
    for is_write in (True, False):
        requests = deque([(0, BurstRequest(5, tb.timing.interval // 3, is_write))])
        await tb.run(requests, w_pause=often, r_pause=lambda: random.random() < 0.9)
    await tb.finish()
    refreshes = [c.cycle for c in tb.commands if c.op == SdramOp.REFRESH and c.cycle >= tb.timing.start]
    for k, cycle in enumerate(refreshes, 1):
        delay = cycle - tb.timing.start - k * tb.timing.interval
        assert 0 < delay < MAX_REFRESH_DELAY, f"refresh {k} is {delay} cycles late"
    assert len(refreshes) >= 3


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def reads_ahead(dut: Any) -> None:
    """A READ that nobody takes a word of fills the queue, and no more."""
    tb = SdramDriver(dut)
    await tb.start()
    requests = deque([(0, BurstRequest(0, 2 * QUEUE, False))])
    begun = tb.timing.start + 4 * tb.timing.interval
    await tb.run(requests, r_pause=lambda: tb.cycle < begun)
    reads = [c.cycle for c in tb.commands if c.op == SdramOp.READ]
    assert sum(cycle < begun for cycle in reads) == QUEUE
    await tb.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bandwidth(dut: Any) -> None:
    """Bursts of a page each, and of a quarter of it: words per cycle."""
    tb = SdramDriver(dut)
    await tb.start()
    await tb.run(deque([(0, BurstRequest(0, 1, False))]))
    for words, is_write in ((tb.chip.columns, True), (tb.chip.columns, False)):
        begin = tb.cycle
        source = bursts(tb.chip, words, is_write)
        n = 2 * tb.timing.interval // words
        end = await tb.run(deque((0, next(source)) for _ in range(n)))
        rate = n * words / (end - begin)
        dut._log.info(f"{'write' if is_write else 'read'}, bursts of {words}: {rate:.3f} words per cycle")
        assert rate >= 0.9
    await tb.finish()
