"""Accuracy on features of the front end: spoken digits of resynthesised sound, and a series of an IMU.

    python -m benchmarks.front_end --data DIR [--seeds N] [--json FILE]

Spoken digits: the log-mel features of ``fsdd*.npz`` in DIR become sound again.  Magnitudes of the spectrum
are found by multiplicative updates that fit the 20 bands, phases by Griffin and Lim from random ones.  Each
recording stands between 300 ms of silence, at 8 kHz; it is resampled, goes through the modulator of a PDM
microphone and the front end, and the network of the preset ``spoken`` learns its words.  Recordings in which
no word was found count as errors.

    python -m benchmarks.front_end --series DIR

BasicMotions (UEA archive, from the wheel of aeon==1.6.0 in DIR): four activities by the six channels of an
IMU, 100 steps, 40 / 40 samples.  The series are the 16-bit samples of the plain front end.

    python -m benchmarks.front_end --words DIR --unknown CLASS [--unknown CLASS ...]

Words in noise: DIR has class folders of WAV recordings without noise.  White noise is added, its effective
value LEVELS decibels below the peak of the recording.  At each level: recordings in which training and
`equilif listen` find a word, whether these are the same words, test accuracy, false rejects (known test
words that are answered "unknown word") and false accepts (words of the left-out classes that get a class).
"""

from __future__ import annotations

import argparse
import tempfile
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import own
from equilif.data.base.ragged import Ragged
from equilif.data.base.reading import read_npz
from equilif.data.formats.series import read_ts
from equilif.data.sets.dataset import DataSet
from equilif.data.sets.sequences import Sequences, first
from equilif.data.sound.microphone import segments
from equilif.data.sound.signals import FFT, RATE, Sound, mel_bank, read_wav
from equilif.listening import WordRecognizer
from equilif.results import machine, write_json
from equilif.training.run import Run
from equilif.training.settings import presets
from equilif.training.settings.description import Description
from equilif.training.settings.presets import PRESETS
from equilif.training.storage import saved
from equilif_golden.fixed import Raw
from equilif_golden.front_end import tokens
from equilif_golden.front_end.channels import Channels

Reals = npt.NDArray[np.float64]

WINDOW = RATE // 40
HOP = RATE // 100
FITS = 60  #: multiplicative updates of magnitudes
PHASES = 40  #: iterations of Griffin and Lim
SILENCE = 0.3  #: seconds
ACTIVITIES = "BasicMotions"
FULL_SCALE = 40.0  #: of a channel; the largest magnitude of the training part is 34.9
WINDOW_STEPS = 4  #: log2 of the steps of a window
WINDOWS = 6
LEVELS = (None, 45, 35, 25)  #: decibels; None: no noise


# -- sound -----------------------------------------------------------------------------------------
def sound_of(codes: npt.NDArray[np.uint8], rng: np.random.Generator) -> Reals:
    """Sound (samples,) at 8 kHz whose log-mel features are near ``codes`` (frames, 20)."""
    bank = mel_bank()
    power = 10 ** ((codes.astype(np.float64) - 255) / 25.5) * (WINDOW / 4) ** 2
    spectrum = (power / bank.sum(axis=1)) @ bank + 1e-12
    for _ in range(FITS):
        spectrum *= (power @ bank) / ((spectrum @ bank.T) @ bank + 1e-12)
    magnitude = np.sqrt(spectrum)
    window = np.hanning(WINDOW)
    at = np.arange(len(codes))[:, None] * HOP + np.arange(WINDOW)
    n = int(at[-1, -1]) + 1

    def added(frames: Reals) -> Reals:
        return np.bincount(at.ravel(), frames.ravel(), n).astype(np.float64)

    weight = added(np.broadcast_to(window**2, at.shape)) + 1e-3
    sound: Reals = rng.normal(size=n)
    for _ in range(PHASES):
        found = np.fft.rfft(sound[at] * window, FFT)
        wanted = magnitude * found / np.maximum(np.abs(found), 1e-12)
        sound = added(np.fft.irfft(wanted, FFT)[:, :WINDOW] * window) / weight
    return sound


def spoken_words(folder: Path) -> tuple[list[Raw | None], Raw, npt.NDArray[np.bool_]]:
    """Words of all resynthesised recordings as codes of frames, their digits, and which are to test on."""
    path = first(folder, "fsdd*.npz")
    if path is None:
        raise ValueError(f"no fsdd*.npz in {folder}")
    z = read_npz(path, {"feat": "u", "off": "iu", "y": "iu", "is_test": "biu"})
    off = z["off"].astype(np.int64)
    rng = np.random.default_rng(0)
    silence = np.zeros(int(SILENCE * RATE))
    words = []
    for i in range(len(z["y"])):
        sound = sound_of(z["feat"][off[i] : off[i + 1]], rng).clip(-1, 1)
        words.append(segments(Sound(np.concatenate([silence, sound, silence])[:, None], RATE, 16)).word)
    return words, z["y"].astype(np.int64), z["is_test"].astype(bool)


def spoken_data(words: Sequence[Raw | None], digits: Raw, test: npt.NDArray[np.bool_]) -> DataSet:
    """The words that were found, as tokens."""
    means = [None if w is None else tokens.means(w) for w in words]
    of_train = np.concatenate([m for m, t in zip(means, test, strict=True) if m is not None and not t])
    scaling = tokens.Scaling.of(
        of_train.mean(axis=0) / tokens.MEAN_UNIT, of_train.std(axis=0) / tokens.MEAN_UNIT
    )
    table = [scaling.tokens(w) for w in words if w is not None]
    off = np.cumsum([0, *map(len, table)])
    kept = [i for i, w in enumerate(words) if w is not None]
    ragged = Ragged(np.arange(off[-1], dtype=np.int32), off, digits[kept])
    at = np.arange(len(kept))
    return Sequences(
        "spoken",
        np.concatenate(table).astype(np.int8),
        ragged.take(at[~test[kept]]),
        ragged.take(at[test[kept]]),
        tuple("0123456789"),
    ).data_set()


def accuracy(preset: Description, data: DataSet, seed: int) -> float:
    """Test accuracy after the last epoch."""
    run = Run.start(preset, data, seed)
    while not run.done:
        record = run.epoch()
    return record.test_accuracy


# -- series ----------------------------------------------------------------------------------------
def activities(folder: Path) -> DataSet:
    """BasicMotions through the plain front end: six windows of 16 steps, mean and energy of six channels."""
    wheel = first(folder, "aeon-*.whl")
    if wheel is None:
        raise ValueError(f"no aeon-*.whl in {folder}: pip download --no-deps aeon==1.6.0")
    parts = []
    with zipfile.ZipFile(wheel) as z:
        for part in ("TRAIN", "TEST"):
            name = f"aeon/datasets/data/{ACTIVITIES}/{ACTIVITIES}_{part}.ts"
            series, labels = read_ts(name, z.read(name).decode())
            rows = []
            for s in series:
                raw = np.clip(np.rint(s * (32768 / FULL_SCALE)), -32768, 32767).astype(np.int64)
                front_end = Channels(s.shape[1], WINDOW_STEPS, WINDOWS)
                rows.append(front_end.feed_bytes(raw.astype("<i2").tobytes())[0])
            parts += [np.array(rows, np.uint8), np.array(labels)]
    return own.of(*parts, name=ACTIVITIES)


# -- noise -----------------------------------------------------------------------------------------
def with_noise(source: Path, target: Path, level: float | None, seed: int) -> None:
    """Copy class folders of WAV recordings, and add noise."""
    rng = np.random.default_rng(seed)
    for file in sorted(source.glob("*/*.wav")):
        sound = read_wav(file)
        x = sound.samples.mean(axis=1)
        if level is not None:
            x = x + rng.normal(0, np.abs(x).max() * 10 ** (-level / 20), len(x))
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        with wave.open(str(target / file.parent.name / file.name), "wb") as w:
            w.setparams((1, 2, sound.rate, 0, "NONE", ""))
            w.writeframes(np.clip(np.rint(x * 32768), -32768, 32767).astype("<i2").tobytes())


def words_in_noise(
    source: Path, unknown: Sequence[str], level: float | None, seed: int, folder: Path
) -> dict[str, Any]:
    """Train on the known classes, and listen to all recordings."""
    with_noise(source, folder / "known", level, seed)
    for name in unknown:
        (folder / "known" / name).rename(folder / name)
    data = own.read(folder / "known", front_end=True)
    run = Run.start(presets.own(data.data), data.data, seed)
    while not run.done:
        record = run.epoch()
    run.save(folder / "run")
    listener = WordRecognizer(saved.read(folder / "run" / "network.npz"))
    files = sorted((folder / "known").rglob("*.wav"))
    words = [[a for a in listener.listen_to(file).answers if a.tokens is not None] for file in files]
    longest = [max(answers, key=lambda a: a.end - a.start) for answers in words if answers]
    tables = [x for x in map(listener.sample, longest) if x is not None]
    parts = [t for t in (data.data.tokens_train, data.data.tokens_test) if t is not None]
    learned = [t.sample(j) for t in parts for j in range(t.n_samples)]
    streams = [stream for name in unknown for stream in listener.streams(folder / name)]
    others = [a for stream in streams for a in stream.answers if a.tokens is not None]
    assert listener.known is not None
    return {
        "recordings": len(files),
        "trained": len(learned),
        "heard": len(tables),
        "same": sorted(x.tobytes() for x in learned) == sorted(x.tobytes() for x in tables),
        "accuracy": record.test_accuracy,
        "false_rejects": float(listener.known.unknown(parts[-1]).mean()),
        "false_accepts": sum(not a.reason for a in others) / max(1, len(others)),
        "false_accepts_by_class": {
            name: sum(not a.reason for a in others if Path(a.source).parent.name == name)
            / max(1, sum(Path(a.source).parent.name == name for a in others))
            for name in unknown
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of fsdd*.npz")
    parser.add_argument("--series", type=Path, help="folder of the wheel of aeon")
    parser.add_argument("--words", type=Path, help="class folders of WAV recordings without noise")
    parser.add_argument("--unknown", action="append", default=[], help="with --words: a class to leave out")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "seeds": options.seeds}
    if options.data is not None:
        words, digits, test = spoken_words(options.data)
        lost = np.array([w is None for w in words])
        data = spoken_data(words, digits, test)
        part = len(data.y_test) / int(test.sum())
        accuracies = [part * accuracy(PRESETS["spoken"], data, s) for s in range(options.seeds)]
        found["spoken"] = {"accuracy": accuracies, "lost": [int(lost[~test].sum()), int(lost[test].sum())]}
        show("spoken digits, resynthesised", accuracies)
        print(f"without a word: {lost[~test].sum()} training and {lost[test].sum()} test recordings")
    if options.series is not None:
        data = activities(options.series)
        accuracies = [accuracy(presets.own(data), data, s) for s in range(options.seeds)]
        found["series"] = accuracies
        show(f"{ACTIVITIES}, plain front end", accuracies)
    for level in LEVELS if options.words else ():
        each = []
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                each.append(words_in_noise(options.words, options.unknown, level, seed, Path(folder)))
            print("clean" if level is None else f"-{level} dB", each[-1], flush=True)
        found.setdefault("noise", {})[str(level)] = each
    if options.json:
        write_json(options.json, found)


def show(name: str, accuracies: list[float]) -> None:
    each = ", ".join(f"{100 * a:.2f}" for a in accuracies)
    print(f"{name}: {100 * np.mean(accuracies):.2f} % ({each})", flush=True)


if __name__ == "__main__":
    main()
