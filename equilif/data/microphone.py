"""Recordings through the golden front end: a PDM microphone, filter bank, segmentation, tokens.

Sound becomes the bits that a microphone would make of it, and these what gateware makes of them, so that
training, `equilif listen` and a board have the same samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data.signals import Sound
from equilif_golden.fixed import Raw
from equilif_golden.front_end.filter_bank import BANDS, FREQUENCIES, FilterBank, Frames
from equilif_golden.front_end.pdm import HI, LO, RATE, Modulator, Pdm
from equilif_golden.front_end.segmentation import (
    LONGEST,
    RING,
    SHORTEST,
    Segmentation,
    Verdict,
    Word,
)

BAND_NAMES = tuple(f"{f} Hz" for f in FREQUENCIES)
WORD_LENGTH = f"{SHORTEST / 100:g} to {LONGEST / 100:g} s"
SILENCE = RATE // 10  #: samples before and after a recording, so that it may begin and end with its word


class Spoken(NamedTuple):
    """A segment of a stream: its word, and the codes (n, bands) of its frames."""

    word: Word
    codes: Raw


def samples(sound: Sound) -> Raw:
    """A recording as 16-bit samples (n,) at 16 kHz: channels averaged, resampled by Fourier transform."""
    mono = sound.samples.mean(axis=1)
    n = max(1, round(len(mono) * RATE / sound.rate))
    if n != len(mono):
        spectrum = np.fft.rfft(mono)[: n // 2 + 1]
        mono = np.fft.irfft(spectrum, n) * (n / len(mono))
    found: Raw = np.clip(np.rint(mono * -LO), LO, HI).astype(np.int64)
    return found


class Microphone:
    """Front end with state: samples at 16 kHz in blocks of any length to segments."""

    def __init__(self) -> None:
        self._modulator = Modulator()
        self._pdm = Pdm()
        self._bank = FilterBank()
        self._segmentation = Segmentation()
        self._codes = np.zeros((0, BANDS), np.int64)  #: of the last frames
        self._frames = 0  #: so far

    def feed(self, block: Raw) -> tuple[Frames, list[Spoken]]:
        """The frames that are complete, and the segments that end in them."""
        return self.feed_bits(self._modulator.feed(block))

    def feed_bits(self, bits: npt.ArrayLike) -> tuple[Frames, list[Spoken]]:
        """The same from the bits (n,) of a microphone."""
        frames = self._bank.feed(self._pdm.feed(bits))
        self._codes = np.concatenate([self._codes, frames.codes])
        self._frames += len(frames.codes)
        found = [self._spoken(w) for w in self._segmentation.feed(frames)]
        self._codes = self._codes[-RING:]
        return frames, found

    def finish(self) -> list[Spoken]:
        """The segment in progress at the end of the stream, as if silence followed."""
        _, found = self.feed(np.zeros(SILENCE, np.int64))
        return found + [self._spoken(w) for w in self._segmentation.finish()]

    def _spoken(self, word: Word) -> Spoken:
        begin = self._frames - len(self._codes)
        return Spoken(word, self._codes[max(word.first - begin, 0) : word.last + 1 - begin])


def word_of(sound: Sound) -> Raw | None:
    """Codes (n, bands) of the longest word of a recording; None when it has no word."""
    microphone = Microphone()
    silence = np.zeros(SILENCE, np.int64)
    _, found = microphone.feed(np.concatenate([silence, samples(sound)]))
    words = [s.codes for s in (*found, *microphone.finish()) if s.word.verdict is Verdict.SAMPLE]
    return max(words, key=len, default=None)
