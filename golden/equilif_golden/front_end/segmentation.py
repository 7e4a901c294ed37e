"""Segmentation: which frames of a stream are a word.

The level of a frame is its largest band code.  ``floor`` estimates the level of noise, in codes with 3
fraction bits:

    waiting or blocked, level above floor    floor += 1 when waiting (4.7 dB a second), 8 when blocked
    otherwise, not in a word                 floor = max(floor - 16, level)
    start                                    FLOOR

A frame is *loud* at level >= max(floor + ON, LOWEST), *quiet* below max(floor + OFF, LOWEST), both of the
floor before this frame.

    waiting    START loud frames in a row begin a word, PRE frames before the first of them
    word       HANG quiet frames in a row end it; at LONGEST frames the state is blocked
    blocked    nothing is a word until HANG quiet frames in a row

A stuck frame (equilif_golden.front_end.filter_bank.Frames) has level 0 and leaves the floor as it is.  In a
word it makes the state blocked, and is not among the HANG frames.  The end of a word trims it: frames at both
ends whose level is less than the larger of ``peak - TRIM`` and the threshold of quiet frames are cut.  What
is left is a sample unless

    SHORT      it has fewer than SHORTEST frames: a click
    CLIPPED    an eighth of its frames or more are clipped: overload
    LONG       it was blocked: noise, or words without a pause
    STUCK      the microphone was lost

Words are never learned or classified in these four cases.  Two words with a pause of less than HANG frames
are one word.  Frames are stored in a ring of RING frames, so a word can be read for RING - LONGEST frames
(960 ms) after its end.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from equilif_golden.fixed import Raw, check_int
from equilif_golden.front_end.filter_bank import Frames

FLOOR_FRACTION = 3
FLOOR = 48  #: level of noise at the start
RISE = 1  #: of floor a frame, when waiting
RISE_BLOCKED = 8
FALL = 16
ON = 32  #: codes, 12 dB
OFF = 20  #: codes, 7.5 dB
LOWEST = 64  #: 24 dB above a tone of amplitude 1, 66 dB below full scale
START = 3
PRE = 8
HANG = 20
SHORTEST = 8
LONGEST = 160
TRIM = 106  #: codes, 40 dB
RING = 256


class SegmentationState(IntEnum):
    WAITING = 0
    WORD = 1
    BLOCKED = 2


class Verdict(IntEnum):
    """Outcome of a word."""

    SAMPLE = 0
    SHORT = 1
    CLIPPED = 2
    LONG = 3
    STUCK = 4


class Word(NamedTuple):
    """Frames ``first`` .. ``last`` of the stream, both included and counted from 0; trimmed unless LONG or
    STUCK.  ``peak``: largest level among them.  ``end``: frame at which the verdict was known.
    """

    first: int
    last: int
    peak: int
    end: int
    verdict: Verdict


class Segmentation:
    """Segmentation with state: frames in blocks of any length.

    ``floor``: level of noise at the start, that of a board unless given.
    """

    def __init__(self, floor: int = FLOOR) -> None:
        self.reset()
        self.floor = check_int(floor, "floor", 0, 255) << FLOOR_FRACTION

    def reset(self) -> None:
        """Forget all frames."""
        self.state = SegmentationState.WAITING
        self.floor = FLOOR << FLOOR_FRACTION
        self._time = 0  #: of the next frame
        self._run = 0  #: loud frames in a row when waiting, else quiet frames in a row
        self._first = 0
        self._free = 0  #: first frame that belongs to no word yet
        self._levels: list[int] = []  #: since _first
        self._clipped: list[bool] = []
        self._recent: list[tuple[int, bool]] = []  #: the last PRE + START frames when waiting

    def feed(self, frames: Frames) -> list[Word]:
        """The words that end in these frames."""
        levels = frames.codes.max(axis=1, initial=0)
        words = []
        for level, clipped, stuck in zip(levels, frames.clipped, frames.stuck, strict=True):
            word = self._step(int(level), bool(clipped), bool(stuck))
            if word is not None:
                words.append(word)
        return words

    def finish(self) -> list[Word]:
        """The word in progress at the end of the stream, as if silence followed; the state is reset."""
        silence = Frames(np.zeros((HANG, 1), np.int64), np.zeros(HANG, np.bool_), np.zeros(HANG, np.bool_))
        words = self.feed(silence)
        self.reset()
        return words

    def _step(self, level: int, clipped: bool, stuck: bool) -> Word | None:
        now = self._time
        self._time += 1
        if stuck:
            level = 0
            if self.state is SegmentationState.WORD:
                return self._block(now, Verdict.STUCK)
        on = max((self.floor >> FLOOR_FRACTION) + ON, LOWEST)
        off = max((self.floor >> FLOOR_FRACTION) + OFF, LOWEST)
        if self.state is not SegmentationState.WORD and not stuck:
            self._follow(level << FLOOR_FRACTION)
        if self.state is SegmentationState.WAITING:
            self._recent = [*self._recent, (level, clipped)][-PRE - START :]
            self._run = self._run + 1 if level >= on else 0
            if self._run == START:
                self.state = SegmentationState.WORD
                self._first = max(now + 1 - START - PRE, self._free)
                recent = self._recent[-(now + 1 - self._first) :]
                self._levels = [v for v, _ in recent]
                self._clipped = [c for _, c in recent]
                self._run = 0
            return None
        self._run = self._run + 1 if level < off else 0
        if self.state is SegmentationState.BLOCKED:
            if self._run == HANG:
                self._wait(now + 1)
            return None
        self._levels.append(level)
        self._clipped.append(clipped)
        if self._run == HANG:
            word = self._trimmed(off, now)
            self._wait(now + 1)
            return word
        if len(self._levels) == LONGEST:
            return self._block(now, Verdict.LONG)
        return None

    def _follow(self, level: int) -> None:
        """Update the floor; ``level`` with its fraction bits."""
        if level > self.floor:
            self.floor += RISE_BLOCKED if self.state is SegmentationState.BLOCKED else RISE
        else:
            self.floor = max(self.floor - FALL, level)

    def _block(self, now: int, verdict: Verdict) -> Word:
        self.state = SegmentationState.BLOCKED
        self._run = 0
        return Word(self._first, now, max(self._levels), now, verdict)

    def _wait(self, free: int) -> None:
        self.state = SegmentationState.WAITING
        self._run = 0
        self._free = free
        self._recent = []

    def _trimmed(self, off: int, now: int) -> Word:
        levels = np.array(self._levels)
        peak = int(levels.max())
        kept = np.flatnonzero(levels >= max(peak - TRIM, off))
        first, last = int(kept[0]), int(kept[-1])
        n = last + 1 - first
        clipped = sum(self._clipped[first : last + 1])
        verdict = Verdict.SAMPLE
        if n < SHORTEST:
            verdict = Verdict.SHORT
        elif 8 * clipped >= n:
            verdict = Verdict.CLIPPED
        return Word(self._first + first, self._first + last, peak, now, verdict)


def whole(frames: Frames) -> Word:
    """All frames as one word, trimmed by TRIM alone: a recording that holds one word."""
    levels: Raw = frames.codes.max(axis=1)
    peak = int(levels.max())
    kept = np.flatnonzero(levels >= peak - TRIM)
    return Word(int(kept[0]), int(kept[-1]), peak, len(levels) - 1, Verdict.SAMPLE)
