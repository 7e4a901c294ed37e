"""Images as 8-bit inputs (n, values) and labels (n,): scikit-learn's digits, sets in IDX files, CIFAR-10."""

from __future__ import annotations

import importlib.util
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equilif.data import SOURCES, Name, names
from equilif.data.base.arrays import Bytes, Labels
from equilif.data.base.reading import most_bytes, reading, unpacked
from equilif.data.formats import cifar
from equilif.data.sets.dataset import MAX_SEED
from equilif.data.sets.dataset import DataSet as DataSet
from equilif_golden.fixed import check_int

NAMES = names("images")
IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
#: folder of a set below the data folder, as torchvision lays it out
LAYOUT = {Name.mnist: Path("MNIST/raw"), Name.fashion: Path("FashionMNIST/raw")}
#: of the digits, in scikit-learn's folder
DIGITS_FILE = Path("datasets", "data", "digits.csv.gz")
DEBIAN = {Name.fashion: Path("/usr/share/datasets/fashion-mnist")}
MAX_DIMENSIONS = 32  #: of a NumPy array


def digits(data: str | Path | None = None, *, seed: int = 0) -> DataSet:
    """The 8x8 digits that scikit-learn bundles: 1,437 to train on, 360 to test, split by ``seed``."""
    if data is not None:
        raise ValueError(f"the digits come with scikit-learn, not from {data}: leave the folder out (--data)")
    check_int(seed, "seed", 0, MAX_SEED)
    # the file alone: importing scikit-learn takes a second
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise ValueError(f"no digits: {SOURCES[Name.digits].get}")
    rows = np.loadtxt(Path(package.origin).parent / DIGITS_FILE, np.uint8, delimiter=",")
    x = np.floor(rows[:, :-1] * (255 / 16) + 0.5).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(x))
    x = x[order]
    y = rows[order, -1].astype(np.int64)
    classes = SOURCES[Name.digits].classes
    return DataSet("digits", x[:1437], y[:1437], x[1437:], y[1437:], shape=(8, 8), classes=classes)


def read_idx(path: Path) -> Bytes:
    """An IDX file of unsigned bytes, gzipped or not; ValueError names the file when it is none, or empty."""
    with unpacked(path) as f:
        magic = f.read(4)
        if len(magic) < 4 or magic[:3] != b"\0\0\x08":
            raise ValueError(f"{path} is not an IDX file of unsigned bytes")
        n = magic[3]
        sizes = f.read(4 * n)
        if len(sizes) < 4 * n:
            raise ValueError(f"{path} ends inside its header")
        if not 1 <= n <= MAX_DIMENSIONS:
            raise ValueError(f"{path} has {n} dimensions: images have 3, labels 1")
        shape = struct.unpack(f">{n}I", sizes)
        promised = math.prod(shape)
        if not promised:
            raise ValueError(f"{path} holds no samples: its header says {shape}")
        most = most_bytes(path)
        raw = f.read(min(promised, most) + 1)
    if len(raw) > promised:
        raise ValueError(f"{path} holds more than {promised} bytes, its header says {shape}")
    if len(raw) > most:
        raise ValueError(
            f"{path} would unpack to {promised:,} bytes: a file of its size has at most {most:,}"
        )
    if len(raw) < promised:
        raise ValueError(f"{path} holds {len(raw)} bytes, its header says {shape}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _find(folder: Path, stem: str) -> Path | None:
    return next((p for p in (folder / stem, folder / f"{stem}.gz") if p.is_file()), None)


def mnist(data: str | Path | None = None) -> DataSet:
    """MNIST, 60,000 to train on and 10,000 to test: see :func:`idx`."""
    return idx(Name.mnist, data)


def fashion(data: str | Path | None = None) -> DataSet:
    """Fashion-MNIST, as many: see :func:`idx`."""
    return idx(Name.fashion, data)


def idx(name: Name, data: str | Path | None = None) -> DataSet:
    """A set from IDX files: below ``data`` in torchvision's layout, or in ``data`` itself.

    Without ``data`` the folder is ./data, and Debian's is looked into as well.
    """
    root = Path("data" if data is None else data)
    folders = [root / LAYOUT[name], root]
    if data is None and name in DEBIAN:
        # ./data itself may hold another set's files of the same names
        folders.insert(1, DEBIAN[name])
    for folder in folders:
        found = {stem: _find(folder, stem) for part in IDX_FILES.values() for stem in part}
        missing = [stem for stem, path in found.items() if path is None]
        if not missing:
            train = _part(found, "train")
            test = _part(found, "test")
            with reading(folder):
                shape = train.images.shape[1:]
                classes = SOURCES[name].classes
                return DataSet(name.value, *train.flat, *test.flat, shape=shape, classes=classes)
        if len(missing) < len(found):
            raise ValueError(
                f"no {name} IDX files in {folder}: {' and '.join(missing)} missing; {_advice(name)}"
            )
    raise ValueError(f"no {name} IDX files in {', '.join(map(str, folders))}; {_advice(name)}")


def _advice(name: Name) -> str:
    return f"give their folder with --data, or {SOURCES[name].get}"


class _Part(NamedTuple):
    """Images (n, height, width) and labels (n,) of one part."""

    images: Bytes
    labels: Labels

    @property
    def flat(self) -> tuple[Bytes, Labels]:
        return self.images.reshape(len(self.images), -1), self.labels


def _part(found: dict[str, Path | None], part: str) -> _Part:
    images, labels = [read_idx(path) for stem in IDX_FILES[part] if (path := found[stem])]
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(
            f"{found[IDX_FILES[part][0]]}: images {images.shape} and labels {labels.shape} "
            "do not belong together"
        )
    return _Part(images, labels.astype(np.int64))


def cifar10(data: str | Path | None = None) -> DataSet:
    """CIFAR-10, 50,000 to train on and 10,000 to test, 32 x 32 pixels of three colours.

    Its binary version: the folder cifar-10-batches-bin or the archive cifar-10-binary.tar.gz below ``data``
    (./data unless given), or ``data`` itself.
    """
    root = Path("data" if data is None else data)
    known = cifar.TEN
    places = [root / known.folder, root / known.archive, root]
    # a version that is refused says so, before it is said that there is none
    places += [root / f"cifar-10-{end}" for end in ("batches-py", "python.tar.gz", "batches-mat")]
    place = next((p for p in places if p.exists() and cifar.is_there(p)), None)
    if place is None:
        raise ValueError(f"no {known.folder} or {known.archive} in {root}; {_advice(Name.cifar10)}")
    found = cifar.read(place)
    if found.version is not known:
        raise ValueError(
            f"{place} is {found.version.name}, not {known.name}: give its path in place of cifar10"
        )
    with reading(place):
        classes = SOURCES[Name.cifar10].classes
        return DataSet("cifar10", *found.train, *found.test, shape=cifar.SHAPE, classes=classes)


def load(name: str, data: str | Path | None = None, *, seed: int = 0) -> DataSet:
    """``digits``, ``mnist``, ``fashion`` or ``cifar10``; ``seed`` splits the digits."""
    if name not in NAMES:
        raise ValueError(f"data set must be one of {', '.join(NAMES)}, not {name!r}")
    if name == Name.digits:
        return digits(data, seed=seed)
    return cifar10(data) if name == Name.cifar10 else idx(Name(name), data)


def shifted(
    x: Bytes,
    rng: np.random.Generator,
    probability: float,
    shape: tuple[int, ...] = (),
    *,
    channels_first: bool = False,
) -> Bytes:
    """More data from the same data: images moved by -1, 0 or 1 pixel along both axes.

    Each is moved with ``probability``; zeros come in.  ``shape`` of an image: square and grey unless given.
    ``channels_first``: the values lie colour by colour.
    """
    height, width, colours = _image(x, shape, "shifted")
    images = _images(x, (height, width, colours), channels_first)
    out = x.copy()
    moved_images = _images(out, (height, width, colours), channels_first)
    moved = rng.random(len(x)) < probability
    dy, dx = rng.integers(-1, 2, (2, len(x)))
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            rows = np.flatnonzero(moved & (dy == a) & (dx == b))
            frame = np.zeros((len(rows), height + 2, width + 2, colours), np.uint8)
            frame[:, 1 + a : 1 + a + height, 1 + b : 1 + b + width] = images[rows]
            moved_images[rows] = frame[:, 1:-1, 1:-1]
    return out


def mirrored(
    x: Bytes,
    rng: np.random.Generator,
    probability: float,
    shape: tuple[int, ...] = (),
    *,
    channels_first: bool = False,
) -> Bytes:
    """Images, each turned left to right with ``probability``: of things that have no handedness.

    ``shape`` and ``channels_first`` as in :func:`shifted`.
    """
    out = x.copy()
    turned = rng.random(len(x)) < probability
    images = _images(out, _image(x, shape, "mirrored"), channels_first)
    images[turned] = images[turned][:, :, ::-1]
    return out


def _images(x: Bytes, shape: tuple[int, int, int], channels_first: bool) -> Bytes:
    """A view (n, height, width, colours) of rows of pixels."""
    height, width, colours = shape
    if channels_first:
        return x.reshape(-1, colours, height, width).transpose(0, 2, 3, 1)
    return x.reshape(-1, height, width, colours)


def _image(x: Bytes, shape: tuple[int, ...], done: str) -> tuple[int, int, int]:
    """Height, width and colours; ValueError when they are not known, and pixels are not square."""
    if shape:
        height, width, colours = (*shape, 1)[:3]
        return height, width, colours
    side = math.isqrt(x.shape[1])
    if side * side != x.shape[1]:
        raise ValueError(f"only square images can be {done}, {x.shape[1]} pixels are not square")
    return side, side, 1
