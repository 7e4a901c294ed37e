"""Sound as frames of a mel-like filter bank, from arrays and WAV files."""

from __future__ import annotations

import wave
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data.base.arrays import Floats, Longs
from equilif.data.base.ragged import ranges
from equilif.data.base.reading import reading
from equilif_golden import files

RATE = 8000  #: samples a second
FFT = 256  #: points of a frame's spectrum, at least
BANDS = 20
SILENCE_DB = 40.0  #: dB below the loudest frame
LOWEST = 1000  #: sampling rate
HIGHEST = 192_000
WIDTHS = (1, 2, 3, 4)  #: bytes of a sample
PCM = b"\x01\x00"  #: format tag
EXTENSIBLE = b"\xfe\xff"  #: format tag; a subformat follows
PCM_SUBFORMAT = bytes.fromhex("0100000000001000800000aa00389b71")
WAV = "a whole WAV file of PCM samples of 8, 16, 24 or 32 bits (no floating point)"


def trimmed(frames: Floats, off: Longs, below: float) -> tuple[Floats, Longs]:
    """Recordings (total, d) cut at ``off`` without the quiet frames at both ends.

    A frame is quiet when its loudest band is more than ``below`` less than the recording's loudest.
    """
    loudest = frames.max(axis=1)
    loud = loudest >= np.repeat(np.maximum.reduceat(loudest, off[:-1]), np.diff(off)) - below
    starts = []
    lengths = []
    for begin, end in pairwise(off):
        kept = np.flatnonzero(loud[begin:end])
        starts.append(begin + kept[0])
        lengths.append(kept[-1] - kept[0] + 1)
    index, new = ranges(np.array(starts), np.array(lengths))
    return frames[index], new


def mel_bank(rate: int = RATE, fft: int = FFT) -> Floats:
    """Triangles (BANDS, fft / 2 + 1), evenly spaced on the mel scale from 0 to half the sampling rate."""
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    f = np.arange(fft // 2 + 1) * (rate / fft)
    up = (f - edges[:-2, None]) / np.diff(edges)[:-1, None]
    down = (edges[2:, None] - f) / np.diff(edges)[1:, None]
    return np.clip(np.minimum(up, down), 0, None)


def bands(rate: int) -> tuple[str, ...]:
    """Names of the bands, by their middle."""
    mel = np.linspace(0, 2595 * np.log10(1 + rate / 2 / 700), BANDS + 2)[1:-1]
    return tuple(f"{700 * (10 ** (m / 2595) - 1):.0f} Hz" for m in mel)


def log_mel(sound: npt.ArrayLike, rate: int = RATE) -> npt.NDArray[np.uint8]:
    """Sound (samples,) in -1 .. 1 to (frames, BANDS) uint8: frames of 25 ms, one every 10 ms.

    0 is 100 dB below 255.
    """
    window = rate // 40
    fft = 1 << max(FFT.bit_length() - 1, (window - 1).bit_length())
    x = np.asarray(sound, np.float64)
    x = np.pad(x, (0, max(window - len(x), 0)))
    spans = np.lib.stride_tricks.sliding_window_view(x, window)[:: rate // 100] * np.hanning(window)
    power = np.abs(np.fft.rfft(spans, fft)) ** 2 @ mel_bank(rate, fft).T / (window / 4) ** 2
    return np.clip(np.rint(255 + 2.55 * 10 * np.log10(power + 1e-12)), 0, 255).astype(np.uint8)


class Sound(NamedTuple):
    """A WAV file: samples (n, channels) in -1 .. 1, ``rate`` of them a second, ``bits`` a sample."""

    samples: Floats
    rate: int
    bits: int


def read_wav(path: Path) -> Sound:
    """Whole-number samples of 8 to 32 bits; ValueError names a file that is anything else."""
    files.reads(path)
    with reading(path, WAV), wave.open(BytesIO(_as_pcm(path.read_bytes())), "rb") as w:
        channels = w.getnchannels()
        width = w.getsampwidth()
        rate = w.getframerate()
        if width not in WIDTHS:
            raise ValueError(f"its samples have {8 * width} bits")
        promised = w.getnframes() * channels * width
        raw = w.readframes(w.getnframes())
        if len(raw) < promised:
            raise ValueError(f"it holds {len(raw)} bytes of sound, its header says {promised}")
    if not raw:
        raise ValueError(f"{path} holds no sound")
    if not LOWEST <= rate <= HIGHEST:
        raise ValueError(
            f"{path} has {rate:,} samples a second: it must be {LOWEST:,} to {HIGHEST:,}, resample it"
        )
    return Sound(_samples(raw, width).reshape(-1, channels), rate, 8 * width)


def _as_pcm(content: bytes) -> bytes:
    """A WAV file with the format tag PCM if it is EXTENSIBLE with this subformat; others are unchanged."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"fmt ":
            fields = content[at + 8 : at + 8 + size]
            if fields[:2] == EXTENSIBLE and fields[24:40] == PCM_SUBFORMAT:
                return content[: at + 8] + PCM + content[at + 10 :]
            break
        at += 8 + size + size % 2
    return content


def _samples(raw: bytes, width: int) -> Floats:
    """Samples of ``width`` bytes, the lowest first, in -1 .. 1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8) - 128.0) / 128
    whole = np.zeros((len(raw) // width, 4), np.uint8)
    whole[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    return whole.view("<i4")[:, 0] / 2.0**31
