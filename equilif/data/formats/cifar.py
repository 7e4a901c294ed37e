"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their binary version: a folder of batches, or its archive.

A record is the class of an image, one byte, and its 32 x 32 pixels: all red, all green, all blue values, row
by row.  CIFAR-100 has a byte with the class of the class in front.

The versions for Python and Matlab are refused.  That for Python is pickles, and a pickle can run any code.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from equilif.data import SOURCES, Name
from equilif.data.base.arrays import Bytes, Labels
from equilif.data.base.reading import content_of, most_bytes, reading, text, unpacked
from equilif.data.formats.base import Columns, Content, Part
from equilif.data.formats.pictures import COLOURED

SHAPE = (32, 32, 3)
PIXELS = 32 * 32 * 3
ARCHIVES = (".tar.gz", ".tar")  #: ends of their names
CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Version:
    """Files of a version of CIFAR.  ``front``: bytes before the pixels of a record, the last is the class."""

    name: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    meanings: str  #: the file with the names of the classes
    classes: int
    front: int
    others: frozenset[str]  #: files of the versions for Python and Matlab
    get: str  #: what a user does to get it

    @property
    def batches(self) -> tuple[str, ...]:
        return (*self.train, self.test)


TEN = Version(
    name="CIFAR-10",
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    test="test_batch.bin",
    meanings="batches.meta.txt",
    classes=10,
    front=1,
    others=frozenset(
        [f"{stem}{end}" for stem in ("data_batch_1", "test_batch", "batches.meta") for end in ("", ".mat")]
    ),
    get=SOURCES[Name.cifar10].get,
)
HUNDRED = Version(
    name="CIFAR-100",
    folder="cifar-100-binary",
    archive="cifar-100-binary.tar.gz",
    train=("train.bin",),
    test="test.bin",
    meanings="fine_label_names.txt",
    classes=100,
    front=2,
    others=frozenset({"meta", "meta.mat"}),
    get="download https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz (its binary version)",
)
VERSIONS = (TEN, HUNDRED)
WANTED = frozenset(name for v in VERSIONS for name in (*v.batches, v.meanings))


class LabelledPixels(NamedTuple):
    """Pixels (n, 3072), the colours of a pixel side by side, and class numbers (n,)."""

    x: Bytes
    y: Labels


@dataclass(frozen=True)
class CifarImages:
    """Images and labels; ``names`` of the classes, by number."""

    version: Version
    train: LabelledPixels
    test: LabelledPixels
    names: tuple[str, ...]


def is_there(path: Path) -> bool:
    """Whether a path looks like one of these sets, in whatever version."""
    if path.is_dir():
        return any(_version(name) is not None for name in (p.name for p in path.iterdir() if p.is_file()))
    return path.name.endswith(ARCHIVES)


def read(path: Path) -> CifarImages:
    """The set of a folder or an archive; ValueError names the file that is missing, broken or refused."""
    if path.is_dir():
        files = {p.name: p for p in path.iterdir() if p.is_file()}
        content = {name: content_of(files[name]) for name in sorted(WANTED & set(files))}
    else:
        files = {}
        content = {}
        twice = None
        with reading(path, "a whole tar archive"):
            for member, raw in _members(path):
                name = Path(member).name
                files[name] = path
                if raw is not None:
                    twice = name if name in content else twice
                    content[name] = raw
        if twice is not None:
            raise ValueError(f"{path} holds two files {twice}: pack one set alone")
    version = next((v for v in VERSIONS if not content.keys().isdisjoint(v.batches)), None)
    if version is None:
        raise ValueError(_refused(path, files))
    missing = [name for name in version.batches if name not in content]
    if missing:
        raise ValueError(
            f"no {', '.join(missing)} in {path}: the binary version of {version.name} has "
            f"{', '.join(version.batches)}; {version.get} again"
        )
    parts = {name: _batch(f"{path}/{name}", content[name], version) for name in version.batches}
    train = [parts[name] for name in version.train]
    return CifarImages(
        version,
        LabelledPixels(np.concatenate([p.x for p in train]), np.concatenate([p.y for p in train])),
        parts[version.test],
        _names(path, content.get(version.meanings), version),
    )


class Cifar:
    """Unpacked folder or archive of ``cifar-10-binary.tar.gz`` or ``cifar-100-binary.tar.gz``."""

    name = "cifar"
    what = "CIFAR-10 or CIFAR-100 in its binary version"
    labelled = False

    def claims(self, path: Path) -> bool:
        return is_there(path)

    def read(self, path: Path, columns: Columns) -> Content:
        found = read(path)
        names = np.array(found.names)
        train, test = (Part(part.x, names[part.y]) for part in (found.train, found.test))
        return Content(train, test, shape=SHAPE, alike=True, notes=(COLOURED,))


def _members(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Names of all files of an archive, and the content of those that are wanted.

    It is read once, member by member, and a packed one to its end, where its checksum is.
    """
    left = most_bytes(path)
    with unpacked(path) as file:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                if Path(member.name).name not in WANTED:
                    yield member.name, None
                    continue
                left -= member.size
                if left < 0:
                    raise ValueError(f"{member.name} would take {member.size:,} bytes, more than it can")
                content = tar.extractfile(member)
                yield member.name, content.read() if content else b""
        while file.read(CHUNK):
            pass


def _version(name: str) -> Version | None:
    """The set that a file of this name belongs to."""
    return next((v for v in VERSIONS if name in v.batches or name in v.others), None)


def _refused(path: Path, files: dict[str, Path]) -> str:
    """Why there is no set: what is there is a version for another language, or something else."""
    for v in VERSIONS:
        other = sorted(v.others & set(files))
        if other:
            language = "Matlab" if other[0].endswith(".mat") else "Python, and pickles can run any code"
            return f"{path} is {v.name} for {language}: {v.get} instead"
    wanted = " or ".join(f"{v.batches[0]} ({v.name})" for v in VERSIONS)
    return f"{path} holds no CIFAR batches, neither {wanted}: {TEN.get}"


def _batch(place: str, raw: bytes, version: Version) -> LabelledPixels:
    """The images of a batch; ``place`` for messages."""
    record = version.front + PIXELS
    n, rest = divmod(len(raw), record)
    if rest or not n:
        raise ValueError(
            f"{place} has {len(raw):,} bytes: a batch of {version.name} has one record of {record:,} bytes "
            f"for each image; {version.get} again"
        )
    records = np.frombuffer(raw, np.uint8).reshape(n, record)
    y = records[:, version.front - 1].astype(np.int64)
    wrong = np.flatnonzero(y >= version.classes)
    if len(wrong):
        raise ValueError(
            f"{place}: image {wrong[0]} is of class {y[wrong[0]]}, {version.name} has classes from 0 to "
            f"{version.classes - 1}; {version.get} again"
        )
    planes = records[:, version.front :].reshape(n, 3, 32, 32)
    return LabelledPixels(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)).reshape(n, PIXELS), y)


def _names(path: Path, raw: bytes | None, version: Version) -> tuple[str, ...]:
    """Names of the classes from their file; numbers where there is none."""
    if raw is None:
        return tuple(map(str, range(version.classes)))
    lines = text(f"{path}/{version.meanings}", raw).splitlines()
    found = tuple(line.strip() for line in lines if line.strip())
    if len(set(found)) != version.classes or len(found) != version.classes:
        raise ValueError(
            f"{path}/{version.meanings} names {len(found)} classes, {version.name} has {version.classes}: "
            "a line each, or leave the file out"
        )
    return found
