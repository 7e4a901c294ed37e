"""Bench for the whole design behind SPI: frames go in over the bus, and the device answers as its model does.

State space: every command, right and wrong; lines that are stuck or make noise, and transfers that are cut
off, between the frames.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import Timer, with_timeout

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, Status, slip, unslip
from equilif_golden.link.spi import NOTHING, Slave, Unstuffer, stuff
from equilif_sim.link.frames import Frames
from equilif_sim.link.spi import CYCLE, SpiHost, begin
from equilif_sim.tools.run import bench_config, engine_config


class FrameHost(SpiHost):
    """Speaks SLIP, and clocks out NOTHING while it waits."""

    def __init__(self, dut: Any, ratio: float):
        super().__init__(dut, ratio)
        self.decoder = Unstuffer()
        self.found = b""

    async def speak(self, line: bytes) -> None:
        """Bytes of the SPI layer, in transfers of any length."""
        while line:
            n = random.randint(1, 64)
            self.found += self.decoder.data(await self.transfer(line[:n]))
            line = line[n:]
            if random.random() < 0.1:
                await self.phase()

    async def reply(self) -> bytes:
        """The next one, END included."""
        while END not in self.found:
            await self.speak(bytes([NOTHING]) * 16)
        reply, end, self.found = self.found.partition(bytes([END]))
        return reply + end

    async def exchange(self, frame: bytes) -> bytes:
        """A frame and its reply, both with SLIP."""
        await self.speak(stuff(bytes([END]) + slip(frame)))
        return await with_timeout(self.reply(), 20, "ms")

    async def silence(self) -> None:
        """Nothing comes any more."""
        await self.speak(bytes([NOTHING]) * 64)
        assert not self.found, self.found.hex()


async def same(host: FrameHost, device: Device, frame: bytes) -> None:
    want = device.packet(slip(frame)[:-1])
    assert want is not None
    assert await host.exchange(frame) == slip(want), frame.hex()


async def noise(host: FrameHost) -> None:
    """While nobody is selected."""
    for _ in range(300):
        host.drive(sck=random.getrandbits(1), mosi=random.getrandbits(1))
        await Timer(random.randrange(1, 5 * CYCLE), unit="ps")
    host.drive(sck=0)
    await Timer(5 * CYCLE, unit="ps")
    await host.silence()


async def stuck(host: FrameHost, device: Device) -> None:
    """MOSI, for a while."""
    line = bytes([random.choice((0, 0xFF))]) * random.choice((1, 50, 400))
    want = device.packet(line)
    assert want is not None and want[0] != Status.OK
    await host.speak(line + bytes([END]))
    assert await host.reply() == slip(want)


async def cut_off(host: FrameHost, device: Device, frame: bytes) -> None:
    """A byte of the frame.  The one behind it is in error, so it is not the END."""
    line = stuff(bytes([END]) + slip(frame))
    cut = random.randrange(1, len(line) - 2)
    await host.speak(line[:cut])
    await host.select()
    await host.bits(line[cut], random.randrange(1, 8))
    await Timer(2 * CYCLE, unit="ps")
    await host.release()
    await host.speak(line[cut + 1 :])
    model = Slave()
    for n, byte in enumerate(line):
        model.cut() if n == cut else model.exchange(byte)
    whole = bytes(data for data, error in model.received if not error)
    want = device.reply(unslip(whole[1:-1])[0], bad=True)
    assert await host.reply() == slip(want)


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def it_answers_as_its_model(dut: Any) -> None:
    """And does nothing by what comes of a bad line."""
    raw = bench_config()
    config = engine_config(raw["engine"])
    device = Device(config, build_id=raw["build_id"], frame_bytes=raw["frame_bytes"])
    frames = Frames(config, raw["frame_bytes"], random.Random(random.getrandbits(32)))
    host = FrameHost(dut, raw["ratio"])
    await begin(dut)
    await host.phase()
    kinds = (frames.identify, frames.load, frames.write, frames.run, frames.read, frames.flipped)
    for n, frame in enumerate(kind() for _ in range(5) for kind in kinds):
        await same(host, device, frame)
        if n % 4 == 0:
            await noise(host)
            await stuck(host, device)
            await cut_off(host, device, frame)
    await host.silence()
