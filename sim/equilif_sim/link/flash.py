"""Bench for equilif_hdl.link.flash.FlashController against equilif_golden.link.flash.Flash, with a chip
model at its pins that checks the command sequence of the data sheet.

State space: reads, programs and erases at pages' and blocks' ends, at the end of the area and outside of it;
a page that is programmed in parts; a chip that is busy after the reset; resets while the chip sends, and
while it programs; no chip.  Stall space: strobes immediately, or late.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from equilif_golden.link.flash import (
    BLOCK,
    BLOCK_ERASE,
    PAGE,
    PAGE_PROGRAM,
    READ_DUAL,
    READ_ID,
    READ_STATUS,
    SECTOR,
    SECTOR_ERASE,
    WAKE,
    WRITE_ENABLE,
    Area,
    Flash,
)
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import PERIOD_NS, Pause, drive, never, often

CHIP_ID = 0xC84016  #: ID of the chip
BUSY = 60  #: cycles of a program or an erase
WAKING = 1 << 12  #: cycles between WAKE and the next command
MIN_GAP = 8  #: minimum cycles between two commands: 50 ns at up to 136 MHz
CYCLES = {"read": 10, "write": 20}  #: of consecutive bytes
STROBES = ("seek", "read", "write", "erase", "finish")
KNOWN = (WAKE, READ_ID, WRITE_ENABLE, READ_STATUS, READ_DUAL, PAGE_PROGRAM, BLOCK_ERASE, SECTOR_ERASE)
SIZES = {BLOCK_ERASE: BLOCK, SECTOR_ERASE: SECTOR}


class FlashChip:
    """Chip model, independent of equilif_sim.flash_chip.  ``busy``: cycles until it is ready."""

    def __init__(self, content: bytes, *, busy: int = 0):
        self.memory = bytearray(content)
        self.commands: set[int] = set()
        self.busy = busy
        self.cycles = 0
        self.ended = -MIN_GAP  # the last command
        self.awake = False
        self.enabled = False
        self.cut = False  # the controller is reset: commands may be incomplete
        self.bits: list[int] = []
        self.sending: list[tuple[int, int]] = []
        self.clocks = 0
        self.before = (0, 0)
        self.answer = (1, 1)

    def cycle(self, cs: int, clk: int, copi: int, copi_oe: int) -> tuple[int, int]:
        """Advance a cycle; returns cipo and sio."""
        self.cycles += 1
        self.busy = max(0, self.busy - 1)
        was_cs, was_clk = self.before
        self.before = (cs, clk)
        if cs and not was_cs:
            assert not clk, "mode 0"
            wait = self.cycles - self.ended
            if self.commands == {WAKE} and not self.cut:
                assert WAKING <= wait < WAKING + 8, f"{wait} cycles to wake"
            assert wait >= MIN_GAP, f"{wait} cycles between two commands"
            self.bits = []
            self.sending = []
        if cs and clk and not was_clk:
            if copi_oe:
                self.bits.append(copi)
                if len(self.bits) % 8 == 0:
                    self._command(self._received())
            else:
                self._dual()
        if cs and was_clk and not clk:
            self.answer = self.sending.pop(0) if self.sending else (1, 1)
        if was_cs and not cs:
            self._end(self._received())
        return self.answer

    def _received(self) -> list[int]:
        """Complete bytes of the command so far."""
        text = "".join(map(str, self.bits))
        return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]

    def _command(self, received: Sequence[int]) -> None:
        byte = None
        self.clocks = 0
        if received[0] == READ_STATUS:
            byte = 0x7E | (self.busy > 0)  # other bits mean other things
        if received[0] == READ_ID and len(received) < 4:
            byte = CHIP_ID >> 8 * (3 - len(received)) & 0xFF
        if byte is not None:
            self.sending = [(byte >> k & 1, 1) for k in reversed(range(8))]

    def _dual(self) -> None:
        """A clock without input: 8 dummy clocks, then two output bits each."""
        received = self._received()
        assert received[0] == READ_DUAL and len(self.bits) == 32 and not self.busy
        self.clocks += 1
        if self.clocks >= 8 and self.clocks % 4 == 0:
            byte = self.memory[int.from_bytes(bytes(received[1:4]), "big") + self.clocks // 4 - 2]
            self.sending = [(byte >> k + 1 & 1, byte >> k & 1) for k in (6, 4, 2, 0)]

    def _end(self, received: Sequence[int]) -> None:
        self.ended = self.cycles
        if self.cut:
            return
        assert len(self.bits) % 8 == 0 and received[0] in KNOWN
        assert self.awake or list(received) == [WAKE]
        assert not self.busy or received[0] in (READ_STATUS, WAKE)
        self.commands.add(received[0])
        self.awake = True
        if received[0] in (PAGE_PROGRAM, *SIZES):
            assert self.enabled
            self.busy = BUSY
            at = int.from_bytes(bytes(received[1:4]), "big")
            if received[0] == PAGE_PROGRAM:
                assert 0 < len(received) - 4 <= PAGE - at % PAGE, "a page"
                for k, byte in enumerate(received[4:], at):
                    self.memory[k] &= byte
            else:
                assert len(received) == 4
                size = SIZES[received[0]]
                self.memory[at // size * size : at // size * size + size] = b"\xff" * size
        self.enabled = received[0] == WRITE_ENABLE


class FlashBench:
    def __init__(self, dut: Any, *, pause: Pause, busy: int):
        self.dut = dut
        self.pause = pause
        self.area = Area(**bench_config())
        self.first = self.area.first * BLOCK
        content = random.randbytes((self.area.first + self.area.blocks + 1) * BLOCK)
        self.chip = FlashChip(content, busy=busy)
        self.name = CHIP_ID
        self.before = content
        self.model = Flash(self.area)
        self.model.content[:] = content[self.first : self.first + self.area.size]
        self.at = 0
        self.compared = 0
        self.last = ("", 0)  # strobe, and when it came
        self.row = 0  # of them, without a pause

    async def start(self) -> None:
        d = self.dut
        drive(d, **{f"port__{name}": 0 for name in (*STROBES, "address", "wdata")})
        drive(d, pins__cipo=1, pins__sio=1, rst=1)
        Clock(d.clk, PERIOD_NS, unit="ns", impl="gpi").start(start_high=False)
        for _ in range(3):
            await FallingEdge(d.clk)
        d.rst.value = 0

    async def reset(self) -> None:
        """Wherever it is; the chip goes on with what it is doing."""
        self.chip.cut = True
        self.dut.rst.value = 1
        await self.cycle()
        await self.cycle()
        self.dut.rst.value = 0
        self.chip.cut = self.chip.awake = False
        self.chip.commands.clear()
        self.at = 0

    async def cycle(self) -> None:
        d = self.dut
        await FallingEdge(d.clk)
        pins = (int(pin.value) for pin in (d.pins__cs, d.pins__clk, d.pins__copi, d.pins__copi_oe))
        d.pins__cipo.value, d.pins__sio.value = self.chip.cycle(*pins)

    async def ready(self) -> None:
        d = self.dut
        for _ in range(2 * WAKING + self.chip.busy):
            if int(d.port__ready.value):
                break
            assert not int(d.port__valid.value), "a byte that nobody reads"
            await self.cycle()
        assert int(d.port__ready.value), "it does not come to an end"
        assert int(d.port__at.value) == self.at
        assert int(d.port__outside.value) == (self.at >= self.area.size)
        assert int(d.port__chip.value) == self.name

    async def do(self, strobe: str, **values: int) -> None:
        d = self.dut
        await self.ready()
        before, when = self.last
        self.row = self.row + 1 if strobe == before else 0
        while self.pause():
            self.row = 0
            await self.cycle()
            await self.ready()
        self.last = strobe, self.chip.cycles
        # the first byte needs a command; at the end of a page or of the area it takes longer
        if self.row > 1 and self.at % PAGE > 1 and self.at < self.area.size and strobe in CYCLES:
            assert self.chip.cycles - when == CYCLES[strobe]
        drive(d, **{f"port__{name}": value for name, value in values.items()})
        getattr(d, f"port__{strobe}").value = 1
        await self.cycle()
        getattr(d, f"port__{strobe}").value = 0
        drive(d, **{f"port__{name}": ~value for name, value in values.items()})

    async def seek(self, at: int) -> None:
        await self.do("seek", address=at)
        self.at = at

    async def read(self) -> None:
        await self.do("read")
        for _ in range(200):
            if int(self.dut.port__valid.value):
                break
            await self.cycle()
        assert int(self.dut.port__valid.value), "nothing was read"
        assert int(self.dut.port__rdata.value) == self.model.read(self.at, 1)[0], f"at {self.at:06x}"
        await self.cycle()
        self.at = self.at + 1 & 0xFFFFFF
        self.compared += 1

    async def write(self) -> None:
        byte = random.getrandbits(8)
        await self.do("write", wdata=byte)
        if self.at < self.area.size:
            self.model.program(self.at, bytes([byte]))
        self.at = self.at + 1 & 0xFFFFFF

    async def erase(self) -> None:
        size = BLOCK
        if hasattr(self.dut, "port__sector"):
            size = BLOCK if BLOCK_ERASE not in self.chip.commands else SECTOR
            self.dut.port__sector.value = int(size == SECTOR)
        await self.do("erase")
        if self.at < self.area.size:
            self.model.erase(self.at // size, size)

    async def look(self, at: int, n: int) -> None:
        await self.seek(at)
        for _ in range(n):
            await self.read()

    async def finish(self) -> None:
        """The whole chip: what is not of the area is as it was."""
        await self.do("finish")
        await self.ready()
        end = self.first + self.area.size
        assert self.chip.memory[self.first : end] == self.model.content
        assert self.chip.memory[: self.first] == self.before[: self.first]
        assert self.chip.memory[end:] == self.before[end:]


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pause=[never, often])
async def commands(dut: Any, pause: Pause) -> None:
    tb = FlashBench(dut, pause=pause, busy=WAKING + 900)
    await tb.start()
    size = tb.area.size
    ends = [0, PAGE, BLOCK, size, size + BLOCK, 1 << 24]
    for k, end in enumerate(2 * ends):
        at = random.choice([random.randrange(size), max(0, end - random.randint(1, 5))])
        at = end - 2 & 0xFFFFFF if k < len(ends) else at
        await tb.seek(at)
        if random.random() < 0.3 or k < 2:
            await tb.erase()
            at = tb.at
        n = random.choice([1, 6, 30])
        for _ in range(n):
            await tb.write()
            if random.random() < 0.1:
                await tb.do("finish")
        await tb.look(at, min(n, 8))
    # a whole page and a bit
    await tb.seek(3 * PAGE - 1)
    for _ in range(PAGE + 2):
        await tb.write()
    await tb.finish()
    assert tb.compared > 40 and {PAGE_PROGRAM, BLOCK_ERASE, READ_DUAL} <= tb.chip.commands
    assert not hasattr(dut, "port__sector") or SECTOR_ERASE in tb.chip.commands


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def resets(dut: Any) -> None:
    """A reset leaves the chip with what it was doing, and the controller waits for it."""
    tb = FlashBench(dut, pause=never, busy=0)
    await tb.start()
    await tb.look(5, 2)
    await tb.do("read")
    for _ in range(random.randrange(10)):
        await tb.cycle()
    await tb.reset()
    await tb.look(BLOCK - 1, 3)
    await tb.seek(77)
    await tb.write()
    await tb.do("finish")
    while not tb.chip.busy:
        await tb.cycle()
    tb.chip.busy = WAKING + 500
    await tb.reset()
    await tb.look(76, 3)
    await tb.finish()


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def no_chip(dut: Any) -> None:
    """Reads as from an erased chip, and no command that waits for one."""
    tb = FlashBench(dut, pause=never, busy=0)
    tb.chip.cycle = lambda *_: (1, 1)  # type: ignore[method-assign]
    tb.name = 0xFFFFFF
    await tb.start()
    tb.model.content[:] = b"\xff" * tb.area.size
    await tb.look(BLOCK - 1, 2)
    await tb.do("write", wdata=0)
    tb.at += 1
    await tb.do("erase")
    await tb.look(7, 2)
    assert tb.compared == 4
