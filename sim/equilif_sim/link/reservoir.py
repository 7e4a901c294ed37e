"""Bench for equilif_hdl.link.reservoir, against equilif_golden.link.standalone.StandaloneTrainer.

State space: places that are free, full, and of other content; words of few classes and of many, which are
stored afterwards or not; few places and thousands; every seed, 0 included; any number of words that were not
kept, up to the largest one, which are put into the memory of the design; a flash that is slow.
"""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import First, ReadOnly, RisingEdge

from equilif_golden.link.flash import BLOCK, ERASED, SECTOR
from equilif_golden.link.protocol import Command
from equilif_golden.link.standalone import LABELS, MAX_DISPLACED, PLACES, StandaloneTrainer
from equilif_sim.tools.run import bench_config
from equilif_sim.tools.stream import drive, reset

#: blocks of places, and words that come
ROOMS = ((1, 50), (2, 24), (130, 1))
SEEDS = (0, 1, 0xFFFF_FFFF)


class ReservoirModel(StandaloneTrainer):
    """The choice of a place, from the first two bytes of each."""

    def __init__(self, seed: int, room: int, index: int):
        self.registers: Any = SimpleNamespace(room=room, index=index)
        self.flash: Any = self
        self.places: dict[int, bytes] = {self._place(k): bytes([ERASED] * 2) for k in range(room * PLACES)}
        self._displaced = np.zeros(LABELS, np.int64)
        self._random = seed or 1

    def read(self, address: int, n: int) -> bytes:
        return self.places[address][:n]

    def displace(self, label: int, words: int) -> None:
        self._displaced[label] = words

    def choose(self, label: int) -> int | None:
        number = self._choose(label)
        return None if number is None else self._place(number)


class FlashStub:
    """The flash at the port of the design."""

    def __init__(self, dut: Any):
        self.dut = dut
        self.model: ReservoirModel | None = None

    async def run(self) -> None:
        dut = self.dut
        at = 0
        while True:
            await ReadOnly()
            assert not (dut.flash__write.value or dut.flash__erase.value or dut.flash__finish.value)
            seek, read = int(dut.flash__seek.value), int(dut.flash__read.value)
            if not (seek or read):
                await First(RisingEdge(dut.flash__seek), RisingEdge(dut.flash__read))
                continue
            address = int(dut.flash__address.value)
            await RisingEdge(dut.clk)
            assert self.model is not None and not (seek and read)
            at = address if seek else at + 1
            drive(dut, flash__ready=0)
            for _ in range(random.choice((0, 0, 3) if seek else (1, 1, 5))):
                await RisingEdge(dut.clk)
            drive(dut, flash__ready=1)
            if read:
                data = self.model.places[(at - 1) // SECTOR * SECTOR][(at - 1) % SECTOR]
                drive(dut, flash__valid=1, flash__rdata=data)
                await RisingEdge(dut.clk)
                drive(dut, flash__valid=0, flash__rdata=random.getrandbits(8))


class ReservoirBench:
    def __init__(self, dut: Any):
        self.dut = dut
        self.flash = FlashStub(dut)

    async def strobe(self, **values: int) -> None:
        """Inputs that are only valid in this cycle."""
        assert int(self.dut.idle.value)
        drive(self.dut, **values)
        await RisingEdge(self.dut.clk)
        drive(self.dut, clear=0, start=0, seed=random.getrandbits(32), label=random.getrandbits(8))
        await RisingEdge(self.dut.clk)

    async def power_up(self, seed: int, room: int) -> ReservoirModel:
        index = random.randrange(256 - room)
        self.flash.model = model = ReservoirModel(seed, room, index)
        drive(self.dut, room=room, first=(index + 1) * BLOCK)
        await self.strobe(clear=1, seed=seed)
        while not int(self.dut.idle.value):
            await RisingEdge(self.dut.clk)
        return model

    async def displace(self, label: int, words: int) -> None:
        """As if so many words of the class had come that were not kept."""
        entry = self.dut.classes[label]
        count_bits = len(entry) - MAX_DISPLACED.bit_length()
        entry.value = words << count_bits
        await RisingEdge(self.dut.clk)
        assert self.flash.model is not None
        self.flash.model.displace(label, words)

    async def word(self, label: int) -> int | None:
        """The address of its place."""
        await self.strobe(start=1, label=label)
        while not int(self.dut.done.value):  # it may be high for a moment between two cycles
            await RisingEdge(self.dut.done)
            await ReadOnly()
        kept = int(self.dut.kept.value)
        await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)
        return int(self.dut.address.value) if kept else None


def some_labels() -> tuple[int, ...]:
    """Labels to choose from: of a large class, and of smaller ones."""
    a, b, *others = random.sample(range(LABELS), 5)
    return (*5 * [a], *2 * [b], *others)


@cocotb.test(timeout_time=60, timeout_unit="ms")
async def places(dut: Any) -> None:
    """Of words that come after a power-up."""
    await reset(dut, "clear", "start", "flash__valid", "flash__rdata", "seed", "label", "room", "first")
    drive(dut, flash__ready=1)
    bench = ReservoirBench(dut)
    cocotb.start_soon(bench.flash.run())
    kept = 0
    rooms = ROOMS[: bench_config()["rooms"]]
    for room, n in rooms:
        for seed in (*SEEDS, random.getrandbits(32))[: 1 if room > 2 else None]:
            model = await bench.power_up(seed, room)
            labels = some_labels()
            for place in model.places:
                is_full = seed != SEEDS[1] or random.random() < 0.8
                command = Command.WRITE if is_full else random.choice((Command.RUN, ERASED))
                model.places[place] = bytes([command, random.choice(labels)])
            for k in range(n):
                if k == n // 2:
                    for label in {*labels}:
                        some = 1 << random.randrange(MAX_DISPLACED.bit_length())
                        await bench.displace(
                            label, random.choice([MAX_DISPLACED, some, random.randrange(some)])
                        )
                label = random.choice(labels)
                want = model.choose(label)
                found = await bench.word(label)
                assert found == want, (room, label)
                kept += found is not None
                if found is not None and random.random() < 0.8:
                    model.places[found] = bytes([Command.WRITE, label])
    assert kept > 20
