"""Recordings through the golden front end: a PDM microphone, filter bank, segmentation, tokens.

Sound becomes the bits that a microphone would make of it, and these what gateware makes of them, so that
training, `equilif listen` and a board have the same samples.

Training, evaluation and `equilif listen` find the words of a file by :func:`segments`.  The noise floor of a
board adapts to the background within seconds, and a file may be shorter.  So the background of a file is
heard before and after it: its quietest steady part, else silence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data.sound.signals import Sound
from equilif_golden.fixed import Raw
from equilif_golden.front_end.filter_bank import BANDS, FREQUENCIES, HOP, FilterBank, Frames
from equilif_golden.front_end.pdm import HI, LO, RATE, Modulator, Pdm
from equilif_golden.front_end.segmentation import (
    LONGEST,
    LOWEST,
    ON,
    RING,
    SHORTEST,
    Segmentation,
    Verdict,
    Word,
)

Flags = npt.NDArray[np.bool_]

BAND_NAMES = tuple(f"{f} Hz" for f in FREQUENCIES)
WORD_LENGTH = f"{SHORTEST / 100:g} to {LONGEST / 100:g} s"
PADDING = RATE // 10  #: samples before and after a recording, so that it may begin and end with its word
#: frames of a background, its largest range of levels, and its distance from the peak, at least; a word
#: without pauses has no such part
BACKGROUND = 12
STEADY = 12
BELOW_PEAK = 48
SETTLED = 6  #: last frames of the padding, whose largest level is the noise floor
#: what becomes of segments that are not classified or learned
REASONS = {
    Verdict.SHORT: "too short",
    Verdict.CLIPPED: "overload",
    Verdict.LONG: "too long: noise, or words without a pause",
    Verdict.STUCK: "no signal: is the microphone connected?",
}
#: what is reported first of a recording without a word
PRIORITY = (Verdict.CLIPPED, Verdict.LONG, Verdict.STUCK, Verdict.SHORT)
TOO_QUIET = "too quiet"
NO_WORD = "no word above the noise"


class Spoken(NamedTuple):
    """A segment of a stream: its word, and the codes (n, bands) of its frames."""

    word: Word
    codes: Raw

    def moved(self, frames: int) -> Spoken:
        """The segment moved by this number of frames, not before the start of the stream."""
        first, last, end = (max(0, k + frames) for k in (self.word.first, self.word.last, self.word.end))
        return self._replace(word=self.word._replace(first=first, last=last, end=end))


class Segments(NamedTuple):
    """A recording: samples (n,) at 16 kHz, codes (frames, bands), and segments, whose frames are counted from
    its start.
    """

    samples: Raw
    codes: Raw
    spoken: tuple[Spoken, ...]

    @property
    def words(self) -> list[Raw]:
        """Codes (n, bands) of each word."""
        return [s.codes for s in self.spoken if s.word.verdict is Verdict.SAMPLE]

    @property
    def word(self) -> Raw | None:
        """Codes of the longest word; None when there is no word."""
        return max(self.words, key=len, default=None)

    @property
    def reason(self) -> str:
        """Why there is no word; empty where there is one."""
        found = {s.word.verdict for s in self.spoken}
        if Verdict.SAMPLE in found:
            return ""
        first = next((v for v in PRIORITY if v in found), None)
        if first is not None:
            return REASONS[first]
        return TOO_QUIET if self.codes.max(initial=0) < LOWEST else NO_WORD


def samples(sound: Sound) -> Raw:
    """A recording as 16-bit samples (n,) at 16 kHz: channels averaged, resampled by Fourier transform."""
    mono = sound.samples.mean(axis=1)
    n = max(1, round(len(mono) * RATE / sound.rate))
    if n != len(mono):
        spectrum = np.fft.rfft(mono)[: n // 2 + 1]
        mono = np.fft.irfft(spectrum, n) * (n / len(mono))
    found: Raw = np.clip(np.rint(mono * -LO), LO, HI).astype(np.int64)
    return found


def clipped(sound: Sound, n: int) -> Flags:
    """Mask of the ``n`` samples of :func:`samples` that are at full scale in any channel of the recording.

    Resampling, averaging and the modulator hide this from the front end.
    """
    full = 1 - 2.0 ** (1 - min(sound.bits, 16))
    at = np.flatnonzero((np.abs(sound.samples) >= full).any(axis=1))
    flags = np.zeros(n, np.bool_)
    flags[np.minimum(at * RATE // sound.rate, n - 1)] = True
    return flags


def background(x: Raw) -> Raw:
    """The quietest steady part of a recording (n,), PADDING samples; zeros when there is none, or when it is
    too quiet to change a threshold of the segmentation.
    """
    levels = FilterBank().feed(x).codes.max(axis=1, initial=0)
    if len(levels) >= BACKGROUND:
        parts = np.lib.stride_tricks.sliding_window_view(levels, BACKGROUND)
        loudest = parts.max(axis=1)
        usable = (np.ptp(parts, axis=1) <= STEADY) & (loudest <= levels.max() - BELOW_PEAK)
        loudest = np.where(usable, loudest, 0)
        first = int(np.where(usable, loudest, 256).argmin())
        if loudest[first] > LOWEST - ON:
            end = (first + BACKGROUND) * HOP
            return x[end - PADDING : end]
    return np.zeros(PADDING, np.int64)


def segments(sound: Sound) -> Segments:
    """Words of a recording, for training, evaluation and `equilif listen`."""
    x = samples(sound)
    quiet = background(x)
    microphone = SoundFrontEnd(quiet)
    first = PADDING // HOP
    begun = first - microphone.frames  # frames of the padding that are not complete yet
    frames, found = microphone.feed(x, clipped(sound, len(x)))
    found += microphone.finish(quiet)
    return Segments(x, frames.codes[begun:], tuple(s.moved(-first) for s in found))


class SoundFrontEnd:
    """Front end with state: samples at 16 kHz in blocks of any length to segments.

    ``background`` (n,): samples that were heard before, to whose level the noise floor has adapted.
    """

    def __init__(self, background: Raw | None = None) -> None:
        self._modulator = Modulator()
        self._pdm = Pdm()
        self._bank = FilterBank()
        self._segmentation = Segmentation()
        self._codes = np.zeros((0, BANDS), np.int64)  #: of the last frames
        self.frames = 0  #: so far
        self._clipped = np.zeros(0, np.bool_)  #: of the samples whose frames are not complete
        if background is not None:
            frames = self._hear(background, np.zeros(len(background), np.bool_))
            floor = int(frames.codes[-SETTLED:].max())
            self._segmentation = Segmentation(floor)
            self._found(frames._replace(codes=np.minimum(frames.codes, floor)))  # it begins with a step

    def feed(self, block: Raw, clipped: Flags | None = None) -> tuple[Frames, list[Spoken]]:
        """The frames that are complete, and the segments that end in them.  ``clipped`` (n,): which samples
        are overload, by default those at full scale.
        """
        frames = self._hear(block, (block == LO) | (block == HI) if clipped is None else clipped)
        return frames, self._found(frames)

    def feed_bits(self, bits: npt.ArrayLike) -> tuple[Frames, list[Spoken]]:
        """The same from the bits (n,) of a microphone."""
        frames = self._bank.feed(self._pdm.feed(bits))
        return frames, self._found(frames)

    def finish(self, background: Raw | None = None) -> list[Spoken]:
        """The segment in progress at the end of the stream, as if ``background``, by default silence, and
        then silence followed.
        """
        quiet = np.zeros(PADDING, np.int64) if background is None else background
        _, found = self.feed(quiet)
        return found + [self._spoken(w) for w in self._segmentation.finish()]

    def _hear(self, block: Raw, clipped: Flags) -> Frames:
        """The frames that are complete."""
        frames = self._bank.feed(self._pdm.feed(self._modulator.feed(block)))
        pending = np.concatenate([self._clipped, clipped])
        n = len(frames.codes) * HOP
        self._clipped = pending[n:]
        return frames._replace(clipped=frames.clipped | pending[:n].reshape(-1, HOP).any(axis=1))

    def _found(self, frames: Frames) -> list[Spoken]:
        """The segments that end in these frames."""
        self._codes = np.concatenate([self._codes, frames.codes])
        self.frames += len(frames.codes)
        found = [self._spoken(w) for w in self._segmentation.feed(frames)]
        self._codes = self._codes[-RING:]
        return found

    def _spoken(self, word: Word) -> Spoken:
        begin = self.frames - len(self._codes)
        return Spoken(word, self._codes[max(word.first - begin, 0) : word.last + 1 - begin])
