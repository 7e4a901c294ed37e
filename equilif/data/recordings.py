"""Recordings of voices: which digit is spoken, and who says it?"""

from __future__ import annotations

import importlib.util
import wave
import zipfile
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif.data import SOURCES, Name
from equilif.data.reading import most_bytes, read_npz, reading, reals, text
from equilif.data.sequences import MOST_ROWS, Longs, Ragged, Sequences, first, places, position, ranges
from equilif.data.words import SIGMAS, to_codes
from equilif_golden.fixed import finite, integers, whole

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MOST_POSITIONS = 1024  #: dimensions that code a place


@dataclass(frozen=True)
class Recordings:
    """Frames (total, bands) of all recordings one after the other, cut at ``off`` (n + 1,).

    ``y`` (n,): classes.  ``test`` (n,): whether a recording is to test on.  ``source``: where it is from.
    """

    source: Path
    frames: Floats
    off: Longs
    y: Longs
    test: Flags
    classes: tuple[str, ...]

    def sequences(self, name: Name, *, max_tokens: int, n_pos: int, sigmas: float) -> Sequences:
        """Every span of frames is a token: its bands, standardised over the training set, then its place."""
        if not self.test.any() or self.test.all():
            what = "test" if not self.test.any() else "train"
            raise ValueError(f"{self.source}: no recording left to {what} on")
        x, off = pooled(self.frames, self.off, max_tokens)
        lengths = np.diff(off)
        of_train = x[np.repeat(~self.test, lengths)]
        deviation = of_train.std(axis=0)
        z = (x - of_train.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
        table = np.concatenate((to_codes(z, sigmas), position(places(off), n_pos)), axis=1)
        every = Ragged(np.arange(off[-1], dtype=np.int32), off, self.y)
        train = every.take(np.flatnonzero(~self.test))
        test = every.take(np.flatnonzero(self.test))
        with reading(self.source):
            return Sequences(name.value, table, train, test, self.classes)


def _check(max_tokens: int, n_pos: int, sigmas: float) -> None:
    """Options of every set of recordings."""
    whole(max_tokens, "max_tokens", 1, MOST_ROWS)
    whole(n_pos, "n_pos", 0, MOST_POSITIONS)
    finite(sigmas, "sigmas", *SIGMAS)


def pooled(frames: Floats, off: Longs, n: int) -> tuple[Floats, Longs]:
    """Recordings (total, d) cut at ``off``, each to at most n frames: means over spans of consecutive frames.

    The spans of a recording are as even as can be.
    """
    lengths = np.diff(off)
    kept = np.minimum(lengths, n)
    new = np.concatenate(([0], np.cumsum(kept)))
    k = np.arange(new[-1]) - np.repeat(new[:-1], kept)  # which frame of its recording
    starts = np.repeat(off[:-1], kept) + k * np.repeat(lengths, kept) // np.repeat(kept, kept)
    sums = np.add.reduceat(frames, starts, axis=0)
    return sums / np.diff(np.append(starts, off[-1]))[:, None], new


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


# -- spoken digits -----------------------------------------------------------------------------------

DIGITS = tuple("0123456789")
RATE = 8000  #: samples a second
FFT = 256  #: points of a frame's spectrum, at least
BANDS = 20
QUIET = 40.0  #: dB below the loudest frame
LOWEST = 1000  #: sampling rate
HIGHEST = 192_000


def _mel_bank(rate: int = RATE, fft: int = FFT) -> Floats:
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
    power = np.abs(np.fft.rfft(spans, fft)) ** 2 @ _mel_bank(rate, fft).T / (window / 4) ** 2
    return np.clip(np.rint(255 + 2.55 * 10 * np.log10(power + 1e-12)), 0, 255).astype(np.uint8)


WIDTHS = (1, 2, 3, 4)  #: bytes of a sample
WAV = "a whole WAV file of PCM samples of 8, 16, 24 or 32 bits (no floating point)"


class Sound(NamedTuple):
    """A WAV file: samples (n, channels) in -1 .. 1, ``rate`` of them a second, ``bits`` a sample."""

    samples: Floats
    rate: int
    bits: int


def read_wav(path: Path) -> Sound:
    """Whole-number samples of 8 to 32 bits; ValueError names a file that is anything else."""
    with reading(path, WAV), wave.open(str(path), "rb") as w:
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


def _samples(raw: bytes, width: int) -> Floats:
    """Samples of ``width`` bytes, the lowest first, in -1 .. 1; those of one byte have no sign."""
    if width == 1:
        return (np.frombuffer(raw, np.uint8) - 128.0) / 128
    whole = np.zeros((len(raw) // width, 4), np.uint8)
    whole[:, 4 - width :] = np.frombuffer(raw, np.uint8).reshape(-1, width)
    return whole.view("<i4")[:, 0] / 2.0**31


def _spoken_wav(path: Path) -> Floats:
    """16-bit mono sound at 8 kHz, (samples,) in -1 .. 1; ValueError names a file that is anything else."""
    sound = read_wav(path)
    channels = sound.samples.shape[1]
    if (channels, sound.bits, sound.rate) != (1, 16, RATE):
        raise ValueError(
            f"{path} has {channels} channels of {sound.bits} bits at {sound.rate} Hz, not one of 16 bits at "
            f"{RATE} Hz"
        )
    return sound.samples[:, 0]


def _wavs(folder: Path) -> tuple[Recordings, list[str]]:
    """The digits of ``{digit}_{speaker}_{index}.wav`` in the official split, and who says each."""
    feats = []
    y = []
    test = []
    who = []
    for path in sorted(folder.glob("*.wav")):
        digit, _, rest = path.stem.partition("_")
        speaker, _, index = rest.rpartition("_")
        if not (digit.isdecimal() and len(digit) == 1 and speaker and index.isdecimal()):
            raise ValueError(f"{path} is not named digit_speaker_index.wav")
        feats.append(log_mel(_spoken_wav(path)))
        y.append(int(digit))
        test.append(int(index) < 5)
        who.append(speaker)
    off = np.concatenate(([0], np.cumsum([len(f) for f in feats])))
    frames = np.concatenate(feats).astype(np.float64)
    return Recordings(folder, frames, off, np.array(y, np.int64), np.array(test), DIGITS), who


def _log_mels(path: Path) -> tuple[Recordings, list[str]]:
    """The same from a prepared file: feat, off, y, speaker, is_test, speakers."""
    z = read_npz(
        path, {"feat": "iuf", "off": "iu", "y": "iu", "speaker": "iu", "is_test": "biu", "speakers": "U"}
    )
    with reading(path):
        feat = reals(z["feat"], "frames")
        off = integers(z["off"], "offsets")
        y = integers(z["y"], "digits")
        speaker = integers(z["speaker"], "speakers")
        test = z["is_test"]
        if test.dtype != bool:
            test = integers(test, "is_test", 0, 1) == 1
        speakers = [str(s) for s in z["speakers"].ravel()]
        if (
            feat.ndim != 2
            or not feat.size
            or not off.shape == (len(y) + 1,)
            or not y.shape == speaker.shape == test.shape == (len(y),)
            or not len(y)
            or off[0] != 0
            or off[-1] != len(feat)
            or (np.diff(off) < 1).any()
            or not 0 <= speaker.min() <= speaker.max() < len(speakers)
            or not 0 <= y.min() <= y.max() < len(DIGITS)
        ):
            raise ValueError(
                f"frames {feat.shape}, {off.size} offsets, {y.size} digits and {len(speakers)} speakers "
                "do not belong together"
            )
    return Recordings(path, feat, off, y, test, DIGITS), [speakers[s] for s in speaker]


def spoken(
    data: str | Path | None = None,
    *,
    max_tokens: int = 32,
    n_pos: int = 8,
    leave_out: str | None = None,
    sigmas: float = 3,
    trim: float = QUIET,
) -> Sequences:
    """Free Spoken Digit Dataset, 2,700 / 300.

    ``recordings/*.wav`` below ``data``, or a prepared ``fsdd*.npz`` of log-mel frames.

    A token is one of at most ``max_tokens`` spans of a recording: 20 bands, +-``sigmas`` filling +-127, and
    ``n_pos`` dimensions of position.  ``leave_out`` names a speaker to test on; all other recordings are
    then trained on.  Both ends of a recording are cut where they are ``trim`` dB below its loudest frame.
    """
    _check(max_tokens, n_pos, sigmas)
    finite(trim, "trim", 0, 1000)
    root = Path("data" if data is None else data)
    folder = next(
        (f for f in (root / "recordings", root, *sorted(root.glob("*/recordings"))) if any(f.glob("*.wav"))),
        None,
    )
    prepared = first(root, "fsdd*.npz")
    if folder is not None:
        found, who = _wavs(folder)
    elif prepared is not None:
        found, who = _log_mels(prepared)
    else:
        raise ValueError(f"no recordings/*.wav in {root}: {SOURCES[Name.spoken].advice}")
    if leave_out is not None:
        if leave_out not in who:
            raise ValueError(
                f"no speaker {leave_out!r} in {found.source}, only {', '.join(sorted(set(who)))}"
            )
        found = replace(found, test=np.array([w == leave_out for w in who]))
    frames, off = trimmed(found.frames, found.off, 2.55 * trim)
    return replace(found, frames=frames, off=off).sequences(
        Name.spoken, max_tokens=max_tokens, n_pos=n_pos, sigmas=sigmas
    )


# -- vowels ------------------------------------------------------------------------------------------

AEON = "aeon/datasets/data/"
VOWELS = "JapaneseVowels"
TRAIN = f"{VOWELS}_TRAIN.ts"
TEST = f"{VOWELS}_TEST.ts"


def read_ts(name: str, content: str, *, missing: bool = False) -> tuple[list[Floats], list[str]]:
    """The .ts format of time series: series (T, channels) and their labels; ``name`` is for messages.

    ``missing``: whether values may be missing (``?``); they are NaN then.
    """
    series: list[Floats] = []
    labels: list[str] = []
    begun = False
    for number, line in enumerate(content.splitlines(), 1):
        if not begun or not line.strip():
            begun = begun or line.strip().lower() == "@data"
            continue
        *channels, label = line.strip().split(":")
        try:
            if len({c.count(",") for c in channels}) > 1:
                raise ValueError("channels differ in length")
            cells = [["nan" if v.strip() == "?" else v for v in c.split(",")] for c in channels]
            x = np.array(cells, np.float64)
            reals(np.nan_to_num(x, nan=0.0, posinf=np.inf, neginf=-np.inf) if missing else x, "values")
            if x.ndim != 2 or not label.strip() or (series and x.shape[0] != series[0].shape[1]):
                raise ValueError("channels differ")
        except ValueError as e:
            raise ValueError(
                f"{name} line {number} is not channels of numbers and a label between colons: {e}"
            ) from e
        series.append(x.T)
        labels.append(label.strip())
    if not series:
        raise ValueError(f"{name} holds no series after @data")
    return series, labels


def _series(root: Path, *, installed: bool) -> list[tuple[list[Floats], list[str]]]:
    """Both .ts files, to train on and to test on."""
    folders = [root, root / AEON]
    spec = importlib.util.find_spec("aeon") if installed else None
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent.parent / AEON)
    for folder in folders:
        for below in (folder, folder / VOWELS):
            files = [below / name for name in (TRAIN, TEST)]
            if all(f.is_file() for f in files):
                return [read_ts(str(f), text(f, f.read_bytes())) for f in files]
    wheel = first(root, "aeon-*.whl")
    if wheel is None:
        raise ValueError(
            f"no {TRAIN} and {TEST} in {root}: {SOURCES[Name.vowels].advice}, or pip install aeon"
        )
    return [read_ts(*_in_wheel(wheel, f"{AEON}{VOWELS}/{name}")) for name in (TRAIN, TEST)]


def _in_wheel(wheel: Path, member: str) -> tuple[str, str]:
    """Name, for messages, and text of a file in a wheel of aeon."""
    name = f"{wheel}/{member}"
    get = SOURCES[Name.vowels].get
    with reading(wheel, f"a wheel with {VOWELS} in it; {get}"), zipfile.ZipFile(wheel) as z:
        size = z.getinfo(member).file_size
        if size > most_bytes(wheel):
            raise ValueError(f"{member} would take {size:,} bytes")
        raw = z.read(member)
    return name, text(name, raw)


def vowels(
    data: str | Path | None = None, *, max_tokens: int = 32, n_pos: int = 8, sigmas: float = 3
) -> Sequences:
    """JapaneseVowels, 270 / 370: which of nine speakers says /ae/? 12 channels, 7 to 29 frames (Kudo 1999).

    Tokens as in :func:`spoken`.  The files are looked for below ``data`` and in a wheel of aeon there;
    without ``data``, in ./data and in the aeon that is installed.
    """
    _check(max_tokens, n_pos, sigmas)
    root = Path("data" if data is None else data)
    (series, labels), (tested, others) = _series(root, installed=data is None)
    n = len(series)
    series = series + tested
    labels = labels + others
    widths = {s.shape[1] for s in series}
    if len(widths) > 1:
        raise ValueError(f"{root}: {TRAIN} and {TEST} have {' and '.join(map(str, sorted(widths)))} channels")
    classes = sorted(set(labels))
    found = Recordings(
        root,
        np.concatenate(series),
        np.concatenate(([0], np.cumsum([len(s) for s in series]))),
        np.array([classes.index(v) for v in labels], np.int64),
        np.arange(len(series)) >= n,
        tuple(classes),
    )
    return found.sequences(Name.vowels, max_tokens=max_tokens, n_pos=n_pos, sigmas=sigmas)
