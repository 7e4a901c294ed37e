"""Recordings of voices: which digit is spoken, and who says it?"""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from equilif.data import SOURCES, Name
from equilif.data.base.arrays import Floats, Longs
from equilif.data.base.ragged import MAX_ROWS, Ragged, places, pooled, position
from equilif.data.base.reading import content_of, most_bytes, read_npz, reading, reals, text
from equilif.data.base.words import SIGMAS, to_codes
from equilif.data.formats.series import read_ts
from equilif.data.sets.sequences import Sequences, first
from equilif.data.sound.signals import RATE, SILENCE_DB, log_mel, read_wav, trimmed
from equilif_golden import files
from equilif_golden.extras import install
from equilif_golden.fixed import check_float, check_int, integers

Flags = npt.NDArray[np.bool_]

MAX_POSITIONS = 1024  #: dimensions that code a place


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
    check_int(max_tokens, "max_tokens", 1, MAX_ROWS)
    check_int(n_pos, "n_pos", 0, MAX_POSITIONS)
    check_float(sigmas, "sigmas", *SIGMAS)


# -- spoken digits -----------------------------------------------------------------------------------

DIGITS = tuple("0123456789")


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


def _spoken(data: str | Path | None) -> tuple[Recordings, list[str]]:
    """The recordings that are there, and who says each."""
    root = Path("data" if data is None else data)
    folder = next(
        (f for f in (root / "recordings", root, *sorted(root.glob("*/recordings"))) if any(f.glob("*.wav"))),
        None,
    )
    prepared = first(root, "fsdd*.npz")
    if folder is not None:
        return _wavs(folder)
    if prepared is not None:
        return _log_mels(prepared)
    raise ValueError(f"no recordings/*.wav in {root}: {SOURCES[Name.spoken].advice}")


def speakers(data: str | Path | None = None) -> tuple[Longs, Longs]:
    """Speakers by number, in the order of their names, of the training and test samples of :func:`spoken`."""
    found, who = _spoken(data)
    names = sorted(set(who))
    number = np.array([names.index(w) for w in who], np.int64)
    return number[~found.test], number[found.test]


def spoken(
    data: str | Path | None = None,
    *,
    max_tokens: int = 32,
    n_pos: int = 8,
    leave_out: str | None = None,
    sigmas: float = 3,
    trim: float = SILENCE_DB,
) -> Sequences:
    """Free Spoken Digit Dataset, 2,700 recordings to train on and 300 to test.

    ``recordings/*.wav`` below ``data``, or a prepared ``fsdd*.npz`` of log-mel frames.

    A token is one of at most ``max_tokens`` spans of a recording: 20 bands, +-``sigmas`` filling +-127, and
    ``n_pos`` dimensions of position.  ``leave_out`` names a speaker to test on; all other recordings are
    then trained on.  Both ends of a recording are cut where they are ``trim`` dB below its loudest frame.
    """
    _check(max_tokens, n_pos, sigmas)
    check_float(trim, "trim", 0, 1000)
    found, who = _spoken(data)
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


def _series(root: Path, *, installed: bool) -> list[tuple[list[Floats], list[str]]]:
    """Read both .ts files, training and test."""
    folders = [root, root / AEON]
    spec = importlib.util.find_spec("aeon") if installed else None
    if spec and spec.origin:
        folders.append(Path(spec.origin).parent.parent / AEON)
    for folder in folders:
        for below in (folder, folder / VOWELS):
            files = [below / name for name in (TRAIN, TEST)]
            if all(f.is_file() for f in files):
                return [read_ts(str(f), text(f, content_of(f))) for f in files]
    wheel = first(root, "aeon-*.whl")
    if wheel is None:
        raise ValueError(
            f"no {TRAIN} and {TEST} in {root}: {SOURCES[Name.vowels].advice}, or {install('series')}"
        )
    return [read_ts(*_in_wheel(wheel, f"{AEON}{VOWELS}/{name}")) for name in (TRAIN, TEST)]


def _in_wheel(wheel: Path, member: str) -> tuple[str, str]:
    """Name, for messages, and text of a file in a wheel of aeon."""
    name = f"{wheel}/{member}"
    get = SOURCES[Name.vowels].get
    files.reads(wheel)
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
