"""Bench of the complete design behind a transport: frames go in at its pins, and the device answers as its
model does.

State space: every command, right and wrong; between the frames what the host of the transport can do wrong.

A transport has a module here with ``connected``, which resets the design and returns its :class:`FrameHost`.
"""

from __future__ import annotations

import importlib
import random
from typing import Any, Protocol

import cocotb
from cocotb.triggers import with_timeout

from equilif_golden.link.device import Device
from equilif_golden.link.protocol import slip
from equilif_sim.link.frames import RandomFrames
from equilif_sim.tools.run import bench_config, engine_config, is_thorough


class FrameHost(Protocol):
    """The host of a transport."""

    async def exchange(self, frame: bytes) -> bytes:
        """A frame and its reply, both with SLIP."""

    async def disturb(self, device: Device, frame: bytes) -> None:
        """Send what a bad line makes of a frame, and compare the reply."""


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def it_answers_as_its_model(dut: Any) -> None:
    raw = bench_config()
    config = engine_config(raw["engine"])
    device = Device(config, build_id=raw["build_id"], frame_bytes=raw["frame_bytes"])
    frames = RandomFrames(config, raw["frame_bytes"], random.Random(random.getrandbits(32)))
    host: FrameHost = await importlib.import_module(f"equilif_sim.link.{raw['transport']}").connected(dut)
    kinds = (frames.identify, frames.load, frames.write, frames.run, frames.read, frames.flipped)
    for n, frame in enumerate(kind() for _ in range(3 if is_thorough() else 1) for kind in kinds):
        want = device.packet(slip(frame)[:-1])
        assert want is not None
        assert await with_timeout(host.exchange(frame), 20, "ms") == slip(want), frame.hex()
        if n % 4 == 1:
            await host.disturb(device, frame)
