"""Kinds of data of a user: generators, writers and training options."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.files import write_wav

CLASSES = ("ape", "bee", "cow")
WORDS = ("sun", "rain", "snow", "wind", "good", "bad")


# -- kinds of data: samples and names of their classes, written to a path --------------------------
@dataclasses.dataclass
class Data:
    """Samples and their class names."""

    x: list[Any]
    names: list[str]

    def take(self, keep: Callable[[int], bool]) -> Data:
        at = [k for k in range(len(self.x)) if keep(k)]
        return Data([self.x[k] for k in at], [self.names[k] for k in at])

    def renamed(self, to: dict[str, str]) -> Data:
        return Data(self.x, [to.get(n, n) for n in self.names])


def rows(seed: int = 0, n: int = 45) -> Data:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = 20 + 30 * np.eye(3, 4)[y] + rng.normal(0, 8, (n, 4))
    return Data(list(np.round(x, 3)), [CLASSES[k] for k in y])


def pictures(seed: int = 0, n: int = 30) -> Data:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.integers(0, 120, (n, 6, 8))
    for pixels, k in zip(x, y, strict=True):
        pixels[2 * k : 2 * k + 2] += 130
    return Data(list(x.astype(np.uint8)), [CLASSES[k] for k in y])


def series(seed: int = 0, n: int = 30) -> Data:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    steps = [np.linspace(0, 2, rng.integers(9, 16)) for _ in y]
    bumps = [np.exp(-4 * (t - k) ** 2) + rng.normal(0, 0.2, len(t)) for t, k in zip(steps, y, strict=True)]
    return Data(
        [np.stack((b, t), axis=1) for b, t in zip(bumps, steps, strict=True)], [CLASSES[k] for k in y]
    )


def texts(seed: int = 0, n: int = 30) -> Data:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = [" ".join([WORDS[2 * k], *rng.choice(WORDS, 3)]) for k in y]
    return Data(x, [CLASSES[k] for k in y])


def readings(seed: int = 0, n: int = 15) -> Data:
    """Series of a sensor: one sample each."""
    rng = np.random.default_rng(seed)
    t = np.arange(96)[:, None]
    y = np.arange(n) % 3
    x = [2048 + (900 - 400 * k) * np.sin(t / (2 + 4 * k) + np.arange(2)) for k in y]
    return Data([np.rint(v + rng.normal(0, 30, v.shape)).astype(int) for v in x], [CLASSES[k] for k in y])


def sounds(seed: int = 0, n: int = 9) -> Data:
    """Chirps of a third of a second, 16 bits at 16 kHz."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    ends = np.array([(300, 900), (900, 300), (1500, 1500)])[y] * rng.uniform(0.95, 1.05, (n, 1))
    window = 9000 * np.hanning(5600) ** 0.3
    x = [window * np.sin(2 * np.pi / 16000 * np.cumsum(np.linspace(a, b, 5600))) for a, b in ends]
    return Data([np.rint(v).astype("<i2") for v in x], [CLASSES[k] for k in y])


def write_class_folders(path: Path, data: Data) -> None:
    """CSV files of readings, WAV files of sounds."""
    shutil.rmtree(path, ignore_errors=True)
    for k, (x, name) in enumerate(zip(data.x, data.names, strict=True)):
        (path / name).mkdir(parents=True, exist_ok=True)
        if x.ndim == 2:
            np.savetxt(path / name / f"{k:03}.csv", x, fmt="%d", delimiter=",")
            continue
        write_wav(path / name / f"{k:03}.wav", x / 32767, 16_000)


def write_csv(path: Path, data: Data) -> None:
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        if data.x and isinstance(data.x[0], str):
            writer.writerow(["said", "kind"])
            writer.writerows(zip(data.x, data.names, strict=True))
            return
        writer.writerow([*(f"c{k}" for k in range(len(data.x[0]))), "kind"])
        writer.writerows([*map(float, r), n] for r, n in zip(data.x, data.names, strict=True))


def write_folders(path: Path, data: Data) -> None:
    shutil.rmtree(path, ignore_errors=True)
    for k, (pixels, name) in enumerate(zip(data.x, data.names, strict=True)):
        (path / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path / name / f"{k:03}.png")


def write_npz(path: Path, data: Data) -> None:
    ragged = len({len(x) for x in data.x}) > 1
    if ragged:
        offsets = np.cumsum([0, *map(len, data.x)])
        np.savez(path, x=np.concatenate(data.x), y=np.array(data.names), offsets=offsets)
    else:
        np.savez(path, x=np.stack(data.x), y=np.array(data.names))


@dataclasses.dataclass(frozen=True)
class SourceKind:
    """A kind of data: generator, writer, training options; ``narrower``: samples of another shape."""

    path: str
    make: Callable[..., Data]
    write: Callable[[Path, Data], None]
    options: tuple[str, ...]
    narrower: Callable[[Any], Any]


KINDS = {
    "table": SourceKind("t.csv", rows, write_csv, ("--label", "kind"), lambda x: x[:3]),
    "arrays": SourceKind("t.npz", rows, write_npz, (), lambda x: x[:3]),
    "images": SourceKind("pictures", pictures, write_folders, (), lambda x: np.ascontiguousarray(x.T)),
    "series": SourceKind("s.npz", series, write_npz, (), lambda x: x[:, :1]),
    "memory": SourceKind("s.npz", series, write_npz, ("--set", "data.attention=true"), lambda x: x[:, :1]),
    "texts": SourceKind(
        "t.csv",
        texts,
        write_csv,
        (
            "--label",
            "kind",
            "--set",
            "data.text=said",
            "--set",
            "data.attention=true",
            "--set",
            "data.word_vectors=vectors.txt",
        ),
        lambda x: "",
    ),
    "sensor": SourceKind(
        "readings", readings, write_class_folders, ("--set", "data.front_end=true"), lambda x: x[:, :1]
    ),
    "words": SourceKind(
        "sounds", sounds, write_class_folders, ("--set", "data.front_end=true"), lambda x: x[::2]
    ),
}


def write_vectors(seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    lines = [" ".join([word, *(f"{v:.4f}" for v in rng.normal(0, 1, 4))]) for word in WORDS]
    Path("vectors.txt").write_text("\n".join(lines))
