"""Small boards with a standalone trainer."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np

from equilif.host.client import Client
from equilif.host.store import FlashStore, StoredSamples, TrainingJob
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.port import Region
from equilif_golden.link.device import Device
from equilif_golden.link.flash import BLOCK, Area, Flash
from equilif_golden.link.protocol import TRAINER, WRITE_HEADER, Command, seal, slip
from equilif_golden.link.standalone import LIST_BYTES, OWNER, REGISTER_BYTES, TrainerRegisters, slot_blocks
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from tests.ports import DevicePort

CONFIG = EngineConfig(lanes=2, tiles=32, value_groups=32, state_groups=8, program_words=128, attention=False)
AREA = Area(3, 12)
NETWORK = Network.chain(5, 4, 3, schedule=Schedule(free=4, nudged=2, window=2))
SEED = 0xFFFFFFFE  #: its keys exceed 32 bits
EPOCHS = 3


class PowerCut(Exception):
    """Power is lost."""


class FailingFlash(Flash):
    """A flash that loses power after ``left`` bytes or erases; the last erase is incomplete."""

    def __init__(self, content, left):
        super().__init__(AREA)
        self.content[:] = content
        self.left = left

    def program(self, address, data):
        for at, byte in enumerate(data, address):
            self._count()
            super().program(at, bytes([byte]))

    def erase(self, number, size=BLOCK):
        self._count()
        if not self.left:
            half = number * size + random.Random(number).randrange(size)
            self.content[half : (number + 1) * size] = b"\xff" * ((number + 1) * size - half)
            raise PowerCut
        super().erase(number, size)

    def _count(self):
        if not self.left:
            raise PowerCut
        self.left -= 1


def client_of(device):
    return Client(DevicePort(device), timeout=0.01)


@functools.cache
def training_job(n=9, epochs=EPOCHS, pause=0):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (n, 5)).astype(np.uint8)
    x[:, 1] = 0
    return TrainingJob(
        network=NETWORK,
        weights=NETWORK.initial_weights(4),
        rates=[max(0.01, 0.12 * 0.8**k) for k in range(epochs)],
        samples=StoredSamples(labels=rng.integers(0, 3, n), x=x),
        seed=SEED,
        counter=77,
        pause=pause,
    )


def new(content=None):
    """A device after power-up."""
    flash = Flash(AREA)
    if content is not None:
        flash.content[:] = content
    return Device(CONFIG, flash=flash)


def worked(content):
    """The model after all work that this flash asks for."""
    device = new(content)
    device.trainer.work()
    return device


@functools.cache
def store(n=9, epochs=EPOCHS, pause=0):
    return FlashStore.of_job(new().identity, training_job(n, epochs, pause))


@functools.cache
def uploaded(n=9, epochs=EPOCHS, pause=0):
    """Flash content after an upload."""
    return content_of(store(n, epochs, pause))


def content_of(store):
    """Flash content with this store."""
    content = bytearray(b"\xff" * AREA.size)
    for block, data in store.blocks.items():
        content[block * BLOCK : block * BLOCK + len(data)] = data
    return bytes(content)


@functools.cache
def with_tests():
    """A store with 7 test samples."""
    x = np.random.default_rng(8).integers(0, 256, (7, 5)).astype(np.uint8)
    test_samples = StoredSamples(labels=np.arange(7) % 3, x=x)
    return FlashStore.of_job(new().identity, replace(training_job(), tests=test_samples)), test_samples


def slot(k):
    """Address of a slot."""
    return k * slot_blocks(CONFIG) * BLOCK


def frames(content, k):
    """End addresses of the frames of a slot."""
    at = slot(k)
    out = []
    while content[at] != 0xFF:
        at = content.index(0xC0, at) + 1
        out.append(at)
    return out


WRITES = {
    "load": lambda client: client.load(Compiled(NETWORK, CONFIG).program(0.1)),
    "weight": lambda client: client.write(Region.WEIGHT, 0, np.arange(8)),
    "value": lambda client: client.write(Region.VALUE, 0, np.zeros(3, np.int64)),
    "counter": lambda client: client.write(Region.COUNTER, 0, [0]),
    "learn": lambda client: client.run(learn=True),
    "owner": lambda client: client.set_registers(TrainerRegisters()),
}


def older_version(content):
    """Flash of an upload in the format without owners."""
    out = bytearray(content)
    programs = store().registers.programs * BLOCK
    for k in range(EPOCHS + 1):
        at = programs + k * LIST_BYTES
        _, frames = bytes(out[at : at + LIST_BYTES]).split(b"\xc0", 1)
        out[at : at + LIST_BYTES] = frames.ljust(LIST_BYTES, b"\xff")
    first, last = frames_of_slot(content)
    settings = store().registers.pack()[: REGISTER_BYTES * OWNER]
    frame = slip(seal(Command.WRITE, 0, WRITE_HEADER.pack(TRAINER, 0) + settings))
    out[first:last] = frame.ljust(last - first, b"\xff")
    return bytes(out)


def frames_of_slot(content):
    """Addresses of the last frame of slot 0."""
    ends = frames(content, 0)
    return ends[-2], ends[-1]


def other_slot(content):
    """A flash with the slot of another upload."""
    return uploaded(5)[: slot(1)] + content[slot(1) :]
