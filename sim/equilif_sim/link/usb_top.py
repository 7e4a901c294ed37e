"""Bench for the whole design behind USB: frames go in as packets, and the device answers as its model does.

State space: every command, right and wrong, of frames from one to several packets.
"""

from __future__ import annotations

import random
from typing import Any

import cocotb
from cocotb.triggers import with_timeout

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import END, slip
from equilif_hdl.link.usb import PACKET
from equilif_sim.link.frames import Frames
from equilif_sim.link.usb import UsbHost, begin
from equilif_sim.tools.run import bench_config, engine_config


async def exchange(host: UsbHost, frame: bytes) -> bytes:
    """A frame and its reply, both with SLIP."""
    line = bytes([END]) + slip(frame)
    for at in range(0, len(line), PACKET):
        while not await host.out(line[at : at + PACKET]):
            pass
    found = b""
    while not found.endswith(bytes([END])):
        found += await host.fetch() or b""
    return found


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def it_answers_as_its_model(dut: Any) -> None:
    raw = bench_config()
    config = engine_config(raw["engine"])
    device = Device(config, build_id=raw["build_id"], frame_bytes=raw["frame_bytes"])
    frames = Frames(config, raw["frame_bytes"], random.Random(random.getrandbits(32)))
    host = UsbHost(dut)
    await begin(dut, host)
    kinds = (frames.identify, frames.load, frames.write, frames.run, frames.read, frames.flipped)
    for frame in [kind() for _ in range(5) for kind in kinds]:
        want = device.packet(slip(frame)[:-1])
        assert want is not None
        assert await with_timeout(exchange(host, frame), 20, "ms") == slip(want), frame.hex()
