"""Recordings in folders, one for each class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from equilif.data.formats.base import Columns, Content, Part, Series
from equilif.data.formats.folders import Files
from equilif.data.signals import BANDS, SILENCE_DB, Sound, bands, log_mel, read_wav, trimmed

FILES = Files((".wav",), "WAV recording")


class SoundFolders:
    """``yes/1.wav``, ``no/7.wav``: a folder is a class; or the same below ``train`` and ``test``.

    A recording becomes a series: its energy in BANDS bands of the mel scale, in decibels, every 10 ms,
    without the quiet frames at its ends.  All have one sampling rate; several channels are averaged.
    """

    name = "sounds"
    what = "a folder of class folders of WAV recordings"
    labelled = False

    def claims(self, path: Path) -> bool:
        return FILES.among(path)

    def read(self, path: Path, columns: Columns) -> Content:
        listed = FILES.listed(path)
        first = listed[0][0][0]
        rate = read_wav(first).rate
        parts = [self._part(part, first, rate) for part in listed]
        notes = (f"energy in {BANDS} bands at {rate:,} Hz, every 10 ms", *FILES.left_out(path))
        test = parts[1] if len(parts) > 1 else None
        return Content(parts[0], test, names=bands(rate), shape=(BANDS,), notes=notes)

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
