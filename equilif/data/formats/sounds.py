"""Recordings in folders, one for each class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from equilif.data.formats.base import Columns, Content, Part, Series
from equilif.data.formats.folders import Files
from equilif.data.sound.microphone import BAND_NAMES, WORD_LENGTH, segments
from equilif.data.sound.signals import BANDS, SILENCE_DB, Sound, bands, log_mel, read_wav, trimmed

FILES = Files((".wav",), "WAV recording")


class SoundFolders:
    """``yes/1.wav``, ``no/7.wav``: a folder is a class; or the same below ``train`` and ``test``.

    A recording becomes a series: its energy in BANDS bands of the mel scale, in decibels, every 10 ms,
    without the quiet frames at its ends.  All have one sampling rate; several channels are averaged.
    With ``Columns.front_end`` it becomes the frames of a word (equilif.data.sound.microphone), at any rate.
    """

    name = "sounds"
    what = "a folder of class folders of WAV recordings"
    labelled = False

    def claims(self, path: Path) -> bool:
        return FILES.among(path)

    def read(self, path: Path, columns: Columns) -> Content:
        listed = FILES.listed(path)
        if columns.front_end:
            return self._through_front_end(path, listed)
        first = listed[0][0][0]
        rate = read_wav(first).rate
        parts = [self._part(part, first, rate) for part in listed]
        notes = (f"energy in {BANDS} bands at {rate:,} Hz, every 10 ms", *FILES.left_out(path))
        test = parts[1] if len(parts) > 1 else None
        return Content(parts[0], test, names=bands(rate), shape=(BANDS,), notes=notes)

    def _through_front_end(self, path: Path, listed: list[list[tuple[Path, str]]]) -> Content:
        """The longest word of every recording, as frames of the golden front end.  ValueError when a class
        has too few.
        """
        parts = []
        several = 0
        lost: Counter[tuple[str, str]] = Counter()  # recordings, by class and reason
        example = None
        for part in listed:
            found = []
            for file, name in part:
                heard = segments(read_wav(file))
                if heard.word is None:
                    lost[name, heard.reason] += 1
                    example = example or file
                else:
                    found.append((name, heard.word))
                    several += len(heard.words) > 1
            parts.append((Counter(name for name, _ in found), found))
        left_out = f"left out: {_counted(lost)}; {example} is one" if lost else ""
        least = 1 if len(listed) > 1 else 2  # one to train and one to test on
        for name in sorted({name for _, name in listed[0]}):
            if lost and parts[0][0][name] < least:
                raise ValueError(
                    f"{path}: {parts[0][0][name]} recordings of class {name!r} hold a word of {WORD_LENGTH}, "
                    f"{least} are needed; {left_out}"
                )
        if not all(found for _, found in parts):
            raise ValueError(f"{path}: no recording of a part holds a word of {WORD_LENGTH}; {left_out}")
        notes = [f"front end: energy in {BANDS} bands at 16,000 Hz, every 10 ms", *FILES.left_out(path)]
        if several:
            notes.append(f"{several:,} recordings hold several words: the longest of each was taken")
        if lost:
            notes.append(f"{lost.total():,} recordings without a word of {WORD_LENGTH} were {left_out}")
        train, *test = (
            Part(Series.of([word for _, word in found]), np.array([name for name, _ in found]))
            for _, found in parts
        )
        shape = (BANDS,)
        return Content(train, test[0] if test else None, names=BAND_NAMES, shape=shape, notes=tuple(notes))

    def _part(self, listed: list[tuple[Path, str]], first: Path, rate: int) -> Part:
        frames = []
        for file, _ in listed:
            sound = read_wav(file)
            if sound.rate != rate:
                raise ValueError(
                    f"{file} has {sound.rate:,} samples a second, {first} {rate:,}: make all of one rate"
                )
            frames.append(self._frames(file, sound))
        found = Series.of(frames)
        kept = Series(*trimmed(found.frames.astype(np.float64), found.off, 2.55 * SILENCE_DB))
        return Part(kept, np.array([name for _, name in listed]))

    def _frames(self, file: Path, sound: Sound) -> np.ndarray:
        mono = sound.samples.mean(axis=1)
        if not mono.any():
            raise ValueError(f"{file} is silent: leave it out")
        return log_mel(mono, sound.rate)


def _counted(lost: Counter[tuple[str, str]]) -> str:
    """Recordings that are left out, by class and reason, for messages."""
    found = []
    for name in sorted({name for name, _ in lost}):
        each = [f"{n:,} {reason.partition(':')[0]}" for (k, reason), n in sorted(lost.items()) if k == name]
        found.append(f"of {name!r} {', '.join(each)}")
    return "; ".join(found)
