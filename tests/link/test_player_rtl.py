"""RTL of player and flash controller: the whole design on Verilator, with a flash chip at its pins, against
the model of the device.
"""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
from amaranth.sim import Simulator

from equilif.host.client import Client
from equilif_golden.engine.port import Region, region_size
from equilif_golden.link.flash import BLOCK, ERASED, Flash
from equilif_golden.link.player import INDEX_BYTES, REGISTERS, WRITABLE, Fault
from equilif_golden.link.protocol import (
    ERASE_HEADER,
    FLASH,
    LEARN,
    OWN_BYTES,
    PACKED,
    PLAYER,
    READ_HEADER,
    RUN_HEADER,
    WRITE_HEADER,
    Command,
    Status,
    seal,
    slip,
    unpack,
    unslip,
)
from equilif_hdl.link.flash import FlashController
from equilif_sim.link.frames import Frames
from tests.alone import AREA, CONFIG, new, store, uploaded

verilated = pytest.mark.skipif(not shutil.which("g++"), reason="a simulation is compiled with g++")

LIMIT = 4_000_000  #: cycles within which a board is done


@pytest.fixture(scope="module")
def rtl():
    from equilif_sim.board import Board

    return Board(CONFIG, flash=AREA, build_id=0)


def put(board, content):
    """The flash has this content, and the board is switched on."""
    board.flash[:] = bytes([ERASED]) * len(board.flash)
    board.flash[AREA.first * BLOCK : AREA.first * BLOCK + AREA.size] = content
    board.reset()


def flash_of(board):
    """The area; the rest of the chip was left alone."""
    first = AREA.first * BLOCK
    end = first + AREA.size
    assert set(board.flash[:first]) | set(board.flash[end:]) == {ERASED}
    return bytes(board.flash[first:end])


def compared(board, device):
    """What a host can read of both.  Without a whole slot weights are what was there before."""
    client = Client(board, timeout=0.05)
    assert client.registers == device.player.registers
    for region in (Region.WEIGHT, Region.COUNTER):
        n = region_size(CONFIG, region)
        same = (client.read(region, 0, n) == device.engine.read(region, 0, n)).all()
        assert same or device.player.registers.fault == Fault.NO_SLOT
    assert flash_of(board) == bytes(device.flash.content)


# -- alone -----------------------------------------------------------------------------------------
@verilated
@pytest.mark.parametrize(("n", "epochs", "pause"), [(9, 3, 0), (5, 4, 1), (1, 1, 0)])
def test_it_learns_as_the_model(rtl, n, epochs, pause):
    """Weights, registers, and every byte of the flash."""
    put(rtl, uploaded(n, epochs, pause))
    rtl.work(LIMIT)
    device = new(uploaded(n, epochs, pause))
    device.player.work()
    assert device.player.registers.epoch == epochs
    compared(rtl, device)
    rtl.reset()
    rtl.work(LIMIT)
    compared(rtl, device)


@verilated
@pytest.mark.parametrize("cuts", [12, pytest.param(200, marks=pytest.mark.long)])
def test_power_cuts_at_any_cycle(rtl, cuts):
    """And resets, in the middle of programs and erases too; what is then in the flash is what the board
    begins with.
    """
    device = new(uploaded())
    device.player.work()
    want = device.player.registers
    put(rtl, uploaded())
    first = rtl.cycles
    rtl.work(LIMIT)
    whole = rtl.cycles - first
    rng = random.Random(6)
    generations = set()
    for _ in range(cuts):
        put(rtl, uploaded())
        if rng.random() < 0.7:
            rtl.cut(rng.randrange(whole))
        else:  # a reset: the chip goes on with what it is doing
            rtl.step(rng.randrange(whole))
            rtl.reset()
        rtl.work(LIMIT)
        generations.add(Client(rtl, timeout=0.05).registers.generation)
        compared(rtl, device)
    assert generations == {want.generation}


@verilated
@pytest.mark.parametrize("damage", range(8))
def test_damaged_flash_is_taken_as_by_the_model(rtl, damage):
    rng = random.Random(damage)
    content = bytearray(uploaded())
    blocks = sorted(store().blocks)
    for _ in range(1 + damage % 3):
        block = rng.choice(blocks)
        at = block * BLOCK + rng.randrange(len(store().blocks[block]))
        content[at : at + rng.choice([1, 1, 30])] = bytes([rng.choice([0, 0xC0, 0xDB, 0xFF])]) * 1
    content = content[: AREA.size].ljust(AREA.size, b"\xff")
    put(rtl, bytes(content))
    rtl.work(LIMIT)
    device = new(content)
    device.player.work()
    compared(rtl, device)


VALUES = [bytes(range(1, 9)), b"\7\0\1\5\0\3", b"\0\7", b"\1\0"]


@verilated
@pytest.mark.parametrize("values", VALUES)
def test_a_sample_that_does_not_fit_is_written_as_far_as_it_does(rtl, values):
    """The player stops, in RTL and model, with the same values in the last group; one was cut short."""
    n = region_size(CONFIG, Region.VALUE)
    first = n - 4
    frame = slip(seal(Command.RUN, 1, RUN_HEADER.pack(LEARN | PACKED, 0, 0, first) + values))
    content = bytearray(uploaded())
    for number in range(9):
        at = store().registers.index * BLOCK + INDEX_BYTES * number
        place = int.from_bytes(content[at : at + INDEX_BYTES], "little")
        content[place : place + len(frame)] = frame
    put(rtl, bytes(content))
    rtl.work(LIMIT)
    device = new(content)
    device.player.work()
    assert device.player.registers.fault == Fault.REFUSED
    compared(rtl, device)
    written = min(4, len(unpack(values)[0]))
    got = Client(rtl, timeout=0.05).read(Region.VALUE, first, written)
    assert (got == device.engine.read(Region.VALUE, first, written)).all()


@verilated
def test_a_host_may_look_at_any_time(rtl):
    """Its frames come between those of the player, and change nothing."""
    content = uploaded(9, 40, 255)
    device = new(content)
    device.player.work()
    put(rtl, content)
    client = Client(rtl, timeout=0.05)
    rng = random.Random(7)
    looks = 0
    first = rtl.cycles
    while rtl.active:
        assert rtl.cycles - first < LIMIT
        # long enough for the line to be quiet at times
        rtl.step(rng.choice([10_000, 300_000]))
        if rng.random() < 0.3:
            rtl.write(rng.randbytes(rng.randrange(20)))  # noise
        elif rtl.active:
            assert client.registers.samples in (0, 9)
            looks += 1
    assert looks > 5
    rtl.write(b"\xc0")
    compared(rtl, device)


# -- commands --------------------------------------------------------------------------------------
class OwnFrames(Frames):
    """Also frames of flash and player, right and wrong."""

    def own(self):
        rng = self.rng
        region = rng.choice([FLASH, FLASH, PLAYER])
        size = AREA.size if region == FLASH else len(REGISTERS)
        near = [0, 255, 256, BLOCK - 1, BLOCK, size - 1, size, size + 1, 1 << 24, (1 << 32) - 1]
        address = rng.choice([rng.randrange(size), rng.choice(near), rng.getrandbits(32)])
        n = rng.randint(1, 40)
        data = rng.randbytes(n * OWN_BYTES[region] + (rng.random() < 0.1))
        if region == PLAYER:  # whatever it is told, it does not begin to work
            address = rng.choice([1, 2, 3, 5, WRITABLE - 1, WRITABLE, 12])
            data = rng.randbytes(4 * rng.randint(1, 3))
        block = rng.choice([address, address // BLOCK * BLOCK])
        makers = [
            lambda: self.seal(Command.WRITE, WRITE_HEADER.pack(region, address) + data),
            lambda: self.seal(Command.READ, READ_HEADER.pack(region, address, rng.choice([n, 0, 1]))),
            lambda: self.seal(Command.ERASE, ERASE_HEADER.pack(rng.choice([FLASH, region, 1, 9]), block)),
            lambda: self.seal(Command.ERASE, rng.randbytes(rng.randrange(9))),
            lambda: self.seal(rng.choice([Command.READ, Command.WRITE]), rng.randbytes(rng.randint(5, 8))),
        ]
        return rng.choice(makers)()


def hostile(board, n, seed):
    """Frames to RTL and model, which answer alike; how many were carried out, and refused how."""
    rng = random.Random(seed)
    frames = OwnFrames(CONFIG, 1024, rng)
    content = rng.randbytes(AREA.size)
    put(board, content)
    board.work(LIMIT)
    client = Client(board, timeout=0.05)
    for region in Region:  # memories keep what other tests left there
        if region != Region.PROGRAM:
            client.write(region, 0, np.zeros(region_size(CONFIG, region), np.int64))
    device = new(content)
    device.player.work()
    seen = {}
    for k in range(n):
        frame = frames.own() if rng.random() < 0.8 else rng.choice([*frames.kinds, frames.good])()
        if frame[:1] == bytes([Command.RUN]):
            continue  # what runs is no matter of the flash, and takes its time
        want = device.packet(slip(frame)[:-1])
        board.write(b"\xc0" + slip(frame))
        got = b""
        while not got.endswith(b"\xc0"):
            some = board.read(4096)
            assert some, f"{k}: no reply to {frame.hex()}"
            got += some
        assert unslip(got[:-1])[0] == want, f"{k}: {frame.hex()}"
        seen[Status(want[0])] = seen.get(Status(want[0]), 0) + 1
    compared(board, device)
    return seen


@verilated
def test_hostile_commands(rtl):
    """Those that are right do what they should, the others nothing, and nothing outside of the area is
    touched.
    """
    seen = hostile(rtl, 400, 1)
    assert seen[Status.OK] > 40 and seen[Status.BAD_ADDRESS] > 20 and seen[Status.BAD_REGION] > 5


@verilated
@pytest.mark.long
def test_ten_thousand_hostile_commands(rtl):
    assert sum(hostile(rtl, 11_000, 2).values()) >= 10_000


# -- the controller by itself ----------------------------------------------------------------------
class Chip:
    """A flash chip at the pins, another one than equilif_sim.flash_chip: it wants the orders of its data
    sheet, one by one.
    """

    BUSY = 40  #: cycles of a program or an erase

    def __init__(self, content):
        self.memory = bytearray(content)
        self.orders = []
        self.busy = 0
        self.awake = False
        self.enabled = False
        self.before = (0, 0)
        self.answer = (1, 1)

    def cycle(self, cs, clk, copi, copi_oe):
        self.busy = max(0, self.busy - 1)
        was_cs, was_clk = self.before
        self.before = (cs, clk)
        if cs and not was_cs:
            assert not clk, "mode 0"
            self.bits = []
            self.sending = []
        if cs and clk and not was_clk:
            if copi_oe:
                self.bits.append(copi)
                if len(self.bits) % 8 == 0:
                    self.hear(self.said())
            else:
                self.dual()
        if cs and was_clk and not clk:
            self.answer = self.sending.pop(0) if self.sending else (1, 1)
        if was_cs and not cs:
            self.end(self.said())
        return self.answer

    def said(self):
        """Whole bytes of the order so far."""
        text = "".join(map(str, self.bits))
        return [int(text[k : k + 8], 2) for k in range(0, len(text), 8)]

    def hear(self, said):
        byte = None
        self.clocks = 0
        if said[0] == 0x05:
            byte = int(self.busy > 0)
        if said[0] == 0x9F and len(said) < 4:
            byte = (0xC8, 0x40, 0x16)[len(said) - 1]
        if byte is not None:
            self.sending = [(byte >> k & 1, 1) for k in reversed(range(8))]

    def dual(self):
        """A clock at which nobody tells the chip anything: eight of nothing, then two bits each."""
        said = self.said()
        assert said[0] == 0x3B and len(self.bits) == 32 and not self.busy
        self.clocks += 1
        if self.clocks >= 8 and self.clocks % 4 == 0:
            byte = self.memory[int.from_bytes(said[1:4], "big") + self.clocks // 4 - 2]
            self.sending = [(byte >> k + 1 & 1, byte >> k & 1) for k in (6, 4, 2, 0)]

    def end(self, said):
        assert len(self.bits) % 8 == 0 and said[0] in (0xAB, 0x9F, 0x06, 0x05, 0x3B, 0x02, 0xD8)
        assert self.awake or said == [0xAB]
        assert not self.busy or said[0] == 0x05
        self.orders.append(said[0])
        self.awake = True
        if said[0] in (0x02, 0xD8):
            assert self.enabled
            self.busy = self.BUSY
            at = int.from_bytes(said[1:4], "big")
            if said[0] == 0x02:
                assert 0 < len(said) - 4 <= 256 - at % 256, "a page"
                for k, byte in enumerate(said[4:], at):
                    self.memory[k] &= byte
            else:
                self.memory[at // BLOCK * BLOCK : at // BLOCK * BLOCK + BLOCK] = b"\xff" * BLOCK
        self.enabled = said[0] == 0x06


def test_the_controller_and_a_chip():
    """Reads, programs and erases at pages' and blocks' ends, and outside of the area."""
    rng = random.Random(8)
    content = rng.randbytes((AREA.first + AREA.blocks + 1) * BLOCK)
    first = AREA.first * BLOCK
    chip = Chip(content)
    model = Flash(AREA)
    model.content[:] = content[first : first + AREA.size]
    dut = FlashController(AREA)
    port = dut.port
    places = [0, 255, 256, BLOCK - 1, AREA.size - 3, AREA.size, AREA.size + BLOCK, (1 << 24) - 2]
    compared = 0
    named = set()

    async def bench(ctx):
        nonlocal compared

        async def cycle():
            pins = dut.pins
            told = (ctx.get(pin) for pin in (pins.cs, pins.clk, pins.copi, pins.copi_oe))
            cipo, sio = chip.cycle(*told)
            ctx.set(pins.cipo, cipo)
            ctx.set(pins.sio, sio)
            await ctx.tick()

        async def do(strobe, **values):
            while not ctx.get(port.ready):
                await cycle()
            for name, value in values.items():
                ctx.set(getattr(port, name), value)
            ctx.set(getattr(port, strobe), 1)
            await cycle()
            ctx.set(getattr(port, strobe), 0)

        for _ in range(24):
            at = rng.choice([rng.randrange(AREA.size), *places])
            await do("seek", address=at)
            kind = rng.choice(["read", "write", "write", "erase"])
            if kind == "erase":
                await do("erase")
                if at < AREA.size:
                    model.erase(at // BLOCK)
            if kind == "write":
                for k in range(at, at + rng.randint(1, 280)):
                    byte = rng.getrandbits(8)
                    await do("write", wdata=byte)
                    if k % (1 << 24) < AREA.size:
                        model.program(k % (1 << 24), bytes([byte]))
                await do("seek", address=at)
            for k in range(at, at + 6):
                if kind == "erase":
                    break
                await do("read")
                while not ctx.get(port.valid):
                    await cycle()
                named.add(ctx.get(port.chip))
                assert ctx.get(port.rdata) == model.read(k % (1 << 24), 1)[0]
                compared += 1
        await do("finish")
        while not ctx.get(port.ready):
            await cycle()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert named == {0xC84016}
    assert compared > 60 and {0x02, 0xD8, 0x3B} <= set(chip.orders)
    assert chip.memory[first : first + AREA.size] == model.content
    assert chip.memory[:first] == content[:first]
    assert chip.memory[first + AREA.size :] == content[first + AREA.size :]
