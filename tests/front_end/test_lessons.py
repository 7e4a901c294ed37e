"""Words that a board learns without a host, replays and keeps: model, and RTL against the model."""

from __future__ import annotations

import dataclasses
import random
import shutil

import numpy as np
import pytest

from equilif.host.client import Client
from equilif.host.store import Lessons, Samples, Store, TrainingJob
from equilif.lesson import Words
from equilif_golden.engine.chip import Chip, read_weights
from equilif_golden.engine.config import EngineConfig, Pipeline
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, region_size
from equilif_golden.front_end import live
from equilif_golden.front_end.button import LONG, SHORT, Button
from equilif_golden.front_end.filter_bank import BANDS, Frames
from equilif_golden.front_end.segmentation import HANG, Segmentation, Verdict
from equilif_golden.front_end.tokens import POSITIONS, TOKENS, Scaling
from equilif_golden.kernel import Kernel
from equilif_golden.link.device import Device
from equilif_golden.link.flash import BLOCK, ERASED, Area, Flash
from equilif_golden.link.standalone import Fault, order
from equilif_golden.network import Network
from equilif_golden.schedule import Schedule
from tests.standalone import client_of, content_of

CONFIG = EngineConfig(
    lanes=4, tiles=256, value_groups=128, state_groups=32, pipeline=Pipeline.DEEP, program_words=512
)
AREA = Area(3, 12)
OUTPUTS = 4  #: the last one is unused at first
CLASSES = 3
REPLAY = 2
STORED = 5
RATE = 0.05
SHAPE = TOKENS, BANDS + POSITIONS
NETWORK = Network.attention(*SHAPE, 1, 8, OUTPUTS, schedule=Schedule(free=8, nudged=4, window=4))
SCALING = Scaling(np.full(BANDS, 150 * 16), np.full(BANDS, 170))
QUIET = np.zeros((HANG + 3, BANDS), np.int64)


def word(k, n=12):
    """Codes of frames of a word, and the quiet after it."""
    rng = np.random.default_rng(k)
    loud = np.clip(rng.integers(90, 160, BANDS) + rng.integers(-20, 20, (n, BANDS)), 70, 255)
    return np.concatenate([loud, QUIET])


CLICK = word(9, 3)


def stored():
    """Samples in the flash."""
    codes = [np.random.default_rng(50 + k).integers(0, 256, (9, BANDS)) for k in range(STORED)]
    shift = NETWORK.numerics.fraction - 7
    words = Words.of([SCALING.tokens(c) << shift for c in codes], [k % CLASSES for k in range(STORED)], SHAPE[1])
    return words


def uploaded(**changes):
    table = live.Table(NETWORK, SCALING).content(CONFIG)
    words = stored()
    job = TrainingJob(
        network=NETWORK,
        weights=NETWORK.initial_weights(seed=2),
        rates=[RATE],
        samples=Samples(labels=words.labels, tokens=words.tokens),
        lessons=Lessons(**{"table": table, "replay": REPLAY, "classes": CLASSES, **changes}),
    )
    return content_of_area(Store.of_job(device().identity, job))


def content_of_area(store):
    content = bytearray(b"\xff" * AREA.size)
    for block, data in store.blocks.items():
        content[block * BLOCK : block * BLOCK + len(data)] = data
    return bytes(content)


def device(content=None):
    """A device after power-up, before the trainer has worked."""
    flash = Flash(AREA)
    if content is not None:
        flash.content[:] = content
    return Device(CONFIG, flash=flash, frame_bytes=2048, lessons=True)


class Model:
    """Golden board: frames to answers."""

    def __init__(self, content=None):
        self.switch_on(content)

    def switch_on(self, content=None):
        self.device = device(content)
        self.device.trainer.work()
        self.live = live.Live(self.device)
        self.segmentation = Segmentation()
        self.codes = np.zeros((0, BANDS), np.int64)

    @property
    def registers(self):
        return self.device.trainer.registers

    def hear(self, codes):
        self.codes = np.concatenate([self.codes, codes])
        off = np.zeros(len(codes), bool)
        out = b""
        for w in self.segmentation.feed(Frames(codes, off, off)):
            out += self.live.hear(w.verdict, self.codes[w.first : w.last + 1])
            self.device.trainer.work()
        return out
