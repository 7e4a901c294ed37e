"""Data sets and formats of own data: the one table of each.

Loaders are in ``sets``.  Nothing heavy is imported here, so that the command line can list the names at once.

The way of data: files are read (``base``, ``sound``, ``formats``) and encoded (``encoding``) into sets with a
name (``sets``), or into a user's own (``own``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import Any, Literal

from equilif_golden.extras import install

Kind = Literal["images", "sequences"]


class Name(StrEnum):
    """Name of a data set, as it is typed."""

    digits = "digits"
    mnist = "mnist"
    fashion = "fashion"
    cifar10 = "cifar10"
    imdb = "imdb"
    sst2 = "sst2"
    spoken = "spoken"
    vowels = "vowels"


@dataclass(frozen=True)
class DataSource:
    """Source of a data set."""

    kind: Kind
    loader: str  #: module of this package, and function in it
    get: str  #: what a user does to get it
    classes: tuple[str, ...] = ()  #: names by number, where the files do not hold them

    @property
    def advice(self) -> str:
        """Instructions to get the data set and give its folder."""
        return f"{self.get} and give its folder with --data"

    @property
    def load(self) -> Callable[..., Any]:
        """The loader: folder and options in, data set out."""
        return imported(self.loader)


def imported(place: str) -> Callable[..., Any]:
    """A function or class of this package by its module and name."""
    module, _, name = place.rpartition(".")
    found: Callable[..., Any] = getattr(import_module(f"{__name__}.{module}"), name)
    return found


NUMERALS = tuple("0123456789")
GARMENTS = tuple("T-shirt/top,trouser,pullover,dress,coat,sandal,shirt,sneaker,bag,ankle boot".split(","))
THINGS = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())

SOURCES = {
    Name.digits: DataSource(
        "images", "sets.images.digits", f"they come with scikit-learn: {install('data')}", NUMERALS
    ),
    Name.mnist: DataSource(
        "images",
        "sets.images.mnist",
        "download them with torchvision.datasets.MNIST(root='data', download=True)",
        NUMERALS,
    ),
    Name.fashion: DataSource(
        "images",
        "sets.images.fashion",
        "download them with torchvision.datasets.FashionMNIST(root='data', download=True); "
        "on Debian: apt install dataset-fashion-mnist",
        GARMENTS,
    ),
    Name.cifar10: DataSource(
        "images",
        "sets.images.cifar10",
        "download https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (its binary version)",
        THINGS,
    ),
    Name.imdb: DataSource(
        "sequences",
        "sets.texts.imdb",
        "unpack https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    ),
    Name.sst2: DataSource(
        "sequences",
        "sets.texts.sst2",
        "unpack https://dl.fbaipublicfiles.com/glue/data/SST-2.zip, or git clone "
        "https://huggingface.co/datasets/stanfordnlp/sst2,",
    ),
    Name.spoken: DataSource(
        "sequences",
        "sets.recordings.spoken",
        "git clone https://github.com/Jakobovski/free-spoken-digit-dataset",
    ),
    Name.vowels: DataSource("sequences", "sets.recordings.vowels", "pip download --no-deps aeon==1.6.0"),
}

#: formats of own data: class, and what it reads, for help texts.  The first one that claims a path reads it
FORMATS = {
    "formats.arrays.Npz": ".npz",
    "formats.tables.Csv": ".csv, .tsv",
    "formats.tables.Parquet": ".parquet",
    "formats.series.Ts": ".ts",
    "formats.cifar.Cifar": "CIFAR-10/100 in the binary version (folder or archive)",
    "formats.events.EventFolders": "events saved by tonic",
    "formats.sounds.SoundFolders": "a folder with one subfolder of WAV files per class",
    "formats.series.SeriesFolders": "the same with CSV files",
    "formats.pictures.ImageFolders": "the same with images",
}


def names(kind: Kind) -> tuple[Name, ...]:
    """Names of the data sets of one kind, in the order of the table."""
    return tuple(name for name, source in SOURCES.items() if source.kind == kind)
