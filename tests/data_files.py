"""Files of data sets: small valid ones, in the formats of the sets."""

from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equilif.data.formats.cifar import TEN, Version
from equilif.data.sets import images as data
from equilif.data.sound import signals
from tests.files import tar

IMAGES = np.arange(3 * 2 * 2, dtype=np.uint8).reshape(3, 2, 2)
LABELS = np.array([2, 0, 1], np.uint8)


def encode(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_set(folder, images=IMAGES, labels=LABELS, suffix="", parts=tuple(data.IDX_FILES)):
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for stem, array in zip(data.IDX_FILES[part], (images, labels), strict=True):
            raw = encode(array)
            (folder / f"{stem}{suffix}").write_bytes(gzip.compress(raw, mtime=0) if suffix else raw)
    return folder


def write_random(folder, size, train, test, seed=0, classes=10):
    """IDX files of random images; ``train``, ``test``: their numbers."""
    rng = np.random.default_rng(seed)
    for part, n in (("train", train), ("test", test)):
        x = rng.integers(0, 256, (n, size, size), np.uint8)
        write_set(folder, x, (np.arange(n) % classes).astype(np.uint8), parts=[part])
    return folder


VECTORS = "the 1 0\nfilm 0 1\ngood 3 1\nbad -3 1\nn't 0 -2\ndo 1 1\nunused 9 9\n"


def write_ids(path, **more):
    part = dict(
        ids=np.array([2, 3, 1, 4, 0, 0, 3], np.uint16),
        off=np.array([0, 4, 7], np.uint32),
        y=np.array([1, 0], np.uint8),
    )
    arrays = dict(
        vocab=np.array(["<pad>", "<unk>", "the", "don't", "zzz"]),
        **{f"{p}_{k}": v for p in ("train", "test") for k, v in part.items()},
    )
    np.savez(path, **{k: v for k, v in (arrays | more).items() if v is not None})
    return path


TRAIN_PHRASES = (
    "sentence\tlabel\n"
    "the good film \t1\n"
    "good film \t1\n"
    "do n't \" the bad film \t0\n"
    "bad film \t0\n"
    "film \t0\n"
    "bad \t0\n"
    "good \t1\n"
)


TEST_PHRASES = "sentence\tlabel\na bad film . \t0\nunknowable\t1\n"


def write_phrases(folder, name, content):
    """A table of phrases in the form that its name says."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = [line.split("\t") for line in content.splitlines()[1:]]
        columns = {
            "idx": range(len(rows)),
            "sentence": [r[0] for r in rows],
            "label": [int(r[1]) for r in rows],
        }
        parquet.write_table(pa.table({k: list(v) for k, v in columns.items()}), path)
    else:
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())


def tone(hz, seconds=0.3, level=0.5):
    return level * np.sin(2 * np.pi * hz / signals.RATE * np.arange(int(seconds * signals.RATE)))


def write_mels(path, **more):
    arrays = dict(
        feat=np.arange(40, dtype=np.uint8).reshape(10, 4),
        off=np.array([0, 3, 4, 10], np.uint32),
        y=np.array([0, 1, 9], np.uint8),
        speaker=np.array([1, 0, 1], np.uint8),
        index=np.array([0, 1, 9], np.uint8),
        is_test=np.array([1, 0, 0], np.uint8),
        speakers=np.array(["ann", "bob"]),
    )
    np.savez(path, **{k: v for k, v in (arrays | more).items() if v is not None})


TS = "# remarks: all, sorts\n@problemName V\n@data\n1,2,3:4,5,6:{}\n\n7,8:9,-1e1:2\n0,1:2,3:1\n"


def write_ts(folder, train=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "JapaneseVowels_TRAIN.ts").write_text(train or TS.format(1))
    (folder / "JapaneseVowels_TEST.ts").write_text(TS.format(2))


EACH = 4  #: images per batch


NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


def colours(k: int) -> np.ndarray:
    """A distinct image (32, 32, 3): two colours above and below, and one marked pixel."""
    x = np.zeros((32, 32, 3), np.uint8)
    x[:16] = (20 * (k % 10) + 30, 200 - 20 * (k % 10), 250)
    x[16:] = (10, 20 * (k % 5) + 100, 0)
    x[3, 5] = (1, 2, k % 256)
    return x


def records(version: Version, classes: list[int], first: int = 0) -> bytes:
    """Bytes of a batch in the format of the sets."""
    out = b""
    for k, label in enumerate(classes, first):
        front = bytes([label // 5, label])[-version.front :]
        out += front + np.moveaxis(colours(k), 2, 0).tobytes()
    return out


def batches(version: Version) -> dict[str, bytes]:
    """Files of a set with distinct batches."""
    n = version.classes
    files = {
        name: records(version, [(EACH * b + i) % n for i in range(EACH)], EACH * b)
        for b, name in enumerate(version.batches)
    }
    if version is TEN:
        files[version.meanings] = ("\n".join(NAMES) + "\n\n").encode()
    return files


def write_archive(path: Path, version: Version = TEN, **changed: bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    files = {f"{version.folder}/{name}": raw for name, raw in {**batches(version), **changed}.items()}
    path.write_bytes(tar(**{f"{version.folder}/readme.html": b"<html>", **files}))
    return path


def blobs(n: int = 60, width: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, width) of three clusters, one per class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    centres = 20 + 30 * np.eye(3, width)
    return np.round(centres[y] + rng.normal(0, 3, (n, width)), 3), y


def npz(path: str = "t.npz", **changed: Any) -> str:
    x, y = blobs()
    arrays = {"x": x, "y": y, **changed}
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return path


def events(k: int, rng: np.random.Generator) -> np.ndarray:
    """Events (90, 4): x, y, microseconds, polarity; one image column per class."""
    t = np.sort(rng.integers(0, 300_000, 90))
    return np.stack(
        (rng.integers(11 * k, 11 * k + 9, 90), rng.integers(0, 33, 90), t, rng.integers(0, 2, 90)), 1
    )


def nmnist(path: str = "seen", n: int = 6) -> str:
    """Files in the format of N-MNIST (five bytes per event)."""
    pytest.importorskip("tonic")
    rng = np.random.default_rng(4)
    for part, k, i in itertools.product(("Train", "Test"), range(3), range(n)):
        x, y, t, p = events(k, rng).T
        file = Path(path) / "NMNIST" / part / str(k) / f"{i:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = np.stack((x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255), axis=1)
        file.write_bytes(raw.astype(np.uint8).tobytes())
    return path


def shd(path: str = "heard", n: int = 6) -> str:
    """HDF5 file in the format of SHD: times and channels."""
    pytest.importorskip("tonic")
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(6)
    (Path(path) / "SHD").mkdir(parents=True)
    for part in ("train", "test"):
        found = [(events(k, rng), k) for k in np.arange(3 * n) % 3]
        with h5py.File(Path(path) / "SHD" / f"shd_{part}.h5", "w") as f:
            for name, kind, column, scale in (("times", "float16", 2, 1e-6), ("units", "uint16", 0, 20)):
                whole = f.create_dataset(f"spikes/{name}", (len(found),), h5py.vlen_dtype(np.dtype(kind)))
                for i, (e, _) in enumerate(found):
                    whole[i] = (e[:, column] * scale).astype(kind)
            f["labels"] = np.array([k for _, k in found])
            f["extra/keys"] = np.array([b"zero", b"one", b"two"])
            f["extra/speaker"] = np.zeros(len(found))
    return path
