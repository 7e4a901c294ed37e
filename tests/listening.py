"""A board with a front end, in the place of the one at a port."""

from __future__ import annotations

import numpy as np

from equilif.data import own
from equilif.training.run import Run
from equilif.training.settings import presets
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.front_end import live
from equilif_golden.front_end.pdm import RATE
from equilif_golden.link.protocol import FrontEndKind, Identity
from tests.files import write_wav
from tests.runs import trained


class ListeningBoard(EngineModel):
    """Engine with a live controller.  ``samples``: what has ended whenever the host reads the last answer:
    tokens of a word or inputs of a sensor, the number with which a sample is rejected, or None.  Then the
    user presses Ctrl-C.
    """

    displaced = False

    def __init__(self, config, network, samples):
        super().__init__(config)
        kind = FrontEndKind.SENSOR if network.n_inputs else FrontEndKind.MICROPHONE
        self.identity = Identity(config, 0, front_end=kind)
        self.compiled = Compiled(network, config)
        self.samples = list(samples)
        self.serial = 0
        self.table = live.table_first(config)

    def read(self, region, first, n):
        requested = region == Region.VALUE and first == self.table + live.NUMBER
        if requested and not self.samples:
            raise KeyboardInterrupt
        if requested and super().read(Region.VALUE, self.table, 1)[0] & 0xFF == live.MAGIC:
            self.hear(self.samples.pop(0))
        return super().read(region, first, n)

    def hear(self, sample):
        if sample is None:
            return
        self.serial = self.serial % 63 + 1
        kind, number = "X", sample
        if not isinstance(sample, int):
            values = sample
            if sample.ndim == 2:
                at, rows = self.compiled.token_words(sample)
                self.write(Region.WEIGHT, at, rows.ravel())
                values = 255 * (np.arange(32) < len(sample))
            self.write(Region.VALUE, self.compiled.sample_first, values)
            kind, number = "C", 1
        content = [number, self.serial << live.KIND_BITS | live.LETTERS.index(kind)]
        self.write(Region.VALUE, self.table + live.NUMBER, np.array(content))


def sound(*parts):
    """Tones of (frequency, amplitude, seconds) and noise, one after the other, as samples."""
    rng = np.random.default_rng(1)
    out = []
    for frequency, amplitude, seconds in parts:
        t = np.arange(round(RATE * seconds))
        out.append(amplitude * np.sin(2 * np.pi * frequency / RATE * t) + rng.normal(0, 3, len(t)))
    return np.clip(np.rint(np.concatenate(out)), -32768, 32767).astype(np.int64)


PAUSE = (100, 0, 0.26)


ONE = ((300, 6000, 0.12), (900, 4000, 0.1))

WAV_RATE = 8000
#: begin and end of a sweep in Hz
WORDS = {"up": (400, 1500), "down": (1500, 400), "flat": (2500, 2500)}


def word(name, rng, seconds=0.35):
    n = int(WAV_RATE * seconds * rng.uniform(0.9, 1.1))
    begin, end = WORDS[name]
    phase = np.cumsum(np.linspace(begin, end, n)) * (2 * np.pi / WAV_RATE)
    return rng.uniform(0.1, 0.5) * np.sin(phase) * np.hanning(n) ** 0.3


def silence(seconds):
    return np.zeros(int(WAV_RATE * seconds))


def learn_words(root):
    """Write WAV recordings by class, and a run that has learned them."""
    rng = np.random.default_rng(0)
    for name in WORDS:
        for i in range(8):
            write_wav(root / "words" / name / f"{i}.wav", word(name, rng))
    data = own.load(root / "words", front_end=True)
    preset = presets.own(data).changed(epochs=12)
    training = trained(Run.start(preset, data, 0))
    assert training.history[-1].test_accuracy == 1
    training.save(root / "run")
