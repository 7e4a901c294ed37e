"""Data sets as 8-bit inputs: (n, features) uint8 and (n,) labels."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np

from equilif.data.dataset import Bytes as Bytes
from equilif.data.dataset import DataSet as DataSet

IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
TORCHVISION = {"mnist": "MNIST/raw", "fashion": "FashionMNIST/raw"}
DEBIAN = {"fashion": Path("/usr/share/datasets/fashion-mnist")}
NAMES = ("digits", "mnist", "fashion")


def digits(seed: int = 0) -> DataSet:
    """The 8x8 digits that scikit-learn bundles: 1,437 to train on, 360 to test, split by ``seed``."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as e:
        raise ValueError("the built-in digits come with scikit-learn: pip install 'equilif[data]'") from e
    bunch = load_digits()
    x = np.floor(bunch.data * (255 / 16) + 0.5).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = x[order], bunch.target[order].astype(np.int64)
    return DataSet("digits", x[:1437], y[:1437], x[1437:], y[1437:])


def read_idx(path: Path) -> Bytes:
    """An IDX file of unsigned bytes, gzipped or not."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as e:
            raise ValueError(f"{path} is not a whole gzip file: {e}") from e
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    n = raw[3]
    if len(raw) < 4 + 4 * n:
        raise ValueError(f"{path} ends inside its header")
    shape = struct.unpack(f">{n}I", raw[4 : 4 + 4 * n])
    if len(raw) - 4 - 4 * n != int(np.prod(shape)):
        raise ValueError(f"{path} holds {len(raw) - 4 - 4 * n} bytes, its header says {shape}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * n).reshape(shape)


def _find(folder: Path, stem: str) -> Path | None:
    return next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)


def idx(name: str, data: Path | None = None) -> DataSet:
    """MNIST or Fashion-MNIST from IDX files.

    ``data`` itself, torchvision's layout below it, or Debian's folder.
    """
    folders = [f for root in ([data] if data else [Path("data")]) for f in (root, root / TORCHVISION[name])]
    if name in DEBIAN:
        folders.append(DEBIAN[name])
    want = [stem for part in IDX_FILES.values() for stem in part]
    # the data folder itself may hold another set's files of the same names, so the named layout goes first
    for folder in sorted(
        folders, key=lambda f: f not in (DEBIAN.get(name), (data or Path("data")) / TORCHVISION[name])
    ):
        found = [_find(folder, stem) for stem in want]
        if all(found):
            xt, yt, xs, ys = (read_idx(p) for p in found if p)
            for images, labels, path in ((xt, yt, found[0]), (xs, ys, found[2])):
                if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
                    raise ValueError(
                        f"{path}: images {images.shape} and labels {labels.shape} do not belong together"
                    )
            return DataSet(
                name,
                xt.reshape(len(xt), -1),
                yt.astype(np.int64),
                xs.reshape(len(xs), -1),
                ys.astype(np.int64),
            )
    hint = "; on Debian: apt install dataset-fashion-mnist" if name == "fashion" else ""
    raise ValueError(
        f"no {name} IDX files in {', '.join(map(str, folders))}: give their folder with --data, or download them with "
        f"torchvision.datasets.{TORCHVISION[name].split('/')[0]}(root='data', download=True){hint}"
    )


def load(name: str, data: Path | None = None, *, seed: int = 0) -> DataSet:
    """``digits``, ``mnist`` or ``fashion``."""
    if name not in NAMES:
        raise ValueError(f"data set must be one of {', '.join(NAMES)}, not {name!r}")
    return digits(seed) if name == "digits" else idx(name, data)


def shifted(x: Bytes, rng: np.random.Generator, probability: float) -> Bytes:
    """Square images, each with ``probability`` moved by -1, 0 or 1 pixel along both axes (zeros come in):
    more data from the same data.
    """
    side = math.isqrt(x.shape[1])
    if side * side != x.shape[1]:
        raise ValueError(f"only square images can be shifted, {x.shape[1]} pixels are not square")
    out = x.copy()
    moved = rng.random(len(x)) < probability
    dy, dx = rng.integers(-1, 2, (2, len(x)))
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            rows = np.flatnonzero(moved & (dy == a) & (dx == b))
            frame = np.zeros((len(rows), side + 2, side + 2), np.uint8)
            frame[:, 1 + a : 1 + a + side, 1 + b : 1 + b + side] = x[rows].reshape(-1, side, side)
            out[rows] = frame[:, 1:-1, 1:-1].reshape(len(rows), side * side)
    return out


def mirrored(x: Bytes, rng: np.random.Generator, probability: float) -> Bytes:
    """Square images, each with ``probability`` turned left to right: for things that have no handedness."""
    side = math.isqrt(x.shape[1])
    if side * side != x.shape[1]:
        raise ValueError(f"only square images can be mirrored, {x.shape[1]} pixels are not square")
    images = x.reshape(-1, side, side)
    turned = rng.random(len(x)) < probability
    return np.where(turned[:, None, None], images[:, :, ::-1], images).reshape(x.shape)
