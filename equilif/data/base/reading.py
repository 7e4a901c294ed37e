"""Files that others wrote, read with distrust.

A file may be cut short, be something else than its name says, lie about its size, or unpack to far more than
it is.  Whatever is wrong with it ends in one ValueError of one line that names it; what the system refuses
(no such file, no permission, a folder) stays an OSError, which names it too.
"""

from __future__ import annotations

import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif_golden import files, fixed

#: bytes that the content of any packed file may have
SMALL = 1 << 24
#: how many times its size that of a larger one may have: data that is worth packing shrinks less
RATIO = 100
MAX_LINE = 1 << 20  #: bytes of a line of text
MAX_MESSAGE = 600  #: characters of what a library says
LARGEST = 1e38  #: of a real number: single precision holds it, and double precision its square

#: kinds of NumPy's types, in words
KINDS = {
    "iu": "integers",
    "iuf": "numbers",
    "iufU": "numbers or texts",
    "biu": "booleans or integers",
    "U": "texts",
}


def message_of(e: BaseException) -> str:
    """Message of an exception, in one line."""
    words = " ".join(map(str, e.args)) if isinstance(e, KeyError) else str(e)
    line = " ".join(words.split())
    if isinstance(e, KeyError) and " " not in line:
        line = f"it has no {line!r}"
    if len(line) > MAX_MESSAGE:
        line = f"{line[:MAX_MESSAGE]}..."
    return line or type(e).__name__


@contextmanager
def reading(path: object, expected: str = "") -> Iterator[None]:
    """Around the reading of ``path``: whatever a damaged file leads to becomes one ValueError that names it.

    ``expected``: what the file is not, if it comes to that.
    """
    try:
        yield
    except Exception as e:
        if isinstance(e, OSError) and e.filename is not None:
            raise
        raise ValueError(
            f"{path} is not {expected}: {message_of(e)}" if expected else f"{path}: {message_of(e)}"
        ) from e


def path_of(path: object, name: str) -> Path:
    """A path that a user gave; ValueError unless it is a text or a path of texts."""
    if not path or not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ValueError(f"{name} must be a path, a text or a pathlib.Path, not {fixed.short_repr(path)}")
    return Path(path)


def most_bytes(path: Path) -> int:
    """Limit of the unpacked size of a file, in proportion to its packed size."""
    return max(SMALL, RATIO * path.stat().st_size)


def content_of(path: Path) -> bytes:
    """Content of an input file."""
    files.reads(path)
    return path.read_bytes()


@contextmanager
def unpacked(path: Path) -> Iterator[gzip.GzipFile | BufferedReader]:
    """A file's content, gunzipped where its name ends in .gz; a broken gzip file is named."""
    files.reads(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as f:
            yield f
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise ValueError(f"{path} is not a whole gzip file: {message_of(e)}") from e


def lines(path: Path) -> Iterator[bytes]:
    """The lines of a text, gunzipped or not; none is longer than MAX_LINE bytes."""
    with unpacked(path) as f:
        number = 0
        while line := f.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE:
                raise ValueError(
                    f"{path} line {number} has more than {MAX_LINE} bytes: it is no text of lines"
                )
            yield line


def text(path: object, raw: bytes) -> str:
    """UTF-8 as a text; ValueError names the file and the first byte that is something else."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ValueError(f"{path} is not UTF-8: byte {e.start} is 0x{raw[e.start]:02x}") from e


def check_range(array: npt.NDArray[Any], name: str) -> None:
    """ValueError when numbers are infinite, or so large that their squares are; NaN is a missing one."""
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise ValueError(f"{name} has values that are infinite: inputs must be finite numbers")
    if array.dtype.kind == "f" and float(np.nanmax(np.abs(array), initial=0)) > LARGEST:
        raise ValueError(f"{name} has values beyond +-{LARGEST:g}: write them in another unit")


def reals(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Numbers in double precision; ValueError when one is not finite, or so large that its square is not."""
    values = fixed.reals(array, name)
    large = np.abs(values) > LARGEST
    if large.any():
        raise ValueError(f"{name} must be numbers in +-{LARGEST:g}, not {values[large].flat[0]}")
    return values


def read_npz(path: Path, wanted: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
    """Arrays of an ``.npz`` file: those named in ``wanted``, each of one of the KINDS said there.

    Headers are read first.  Nothing is unpickled, and nothing read that is larger than it can be.
    """
    files.reads(path)
    with reading(path, "the .npz expected"), zipfile.ZipFile(path) as z:
        there = [name.removesuffix(".npy") for name in z.namelist()]
        missing = [name for name in wanted if name not in there]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}, but {', '.join(there) or 'nothing'}")
        left = most_bytes(path)
        arrays = {}
        for name, kinds in wanted.items():
            arrays[name] = _member(z, name, kinds, left)
            left -= arrays[name].nbytes
        return arrays


def _member(z: zipfile.ZipFile, name: str, kinds: str, most: int) -> npt.NDArray[Any]:
    """One array of an ``.npz``, read only when its header promises what is wanted and is true."""
    info = z.getinfo(f"{name}.npy")
    with z.open(info) as f:
        version = np.lib.format.read_magic(f)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(f)
        if dtype.kind not in kinds:
            raise ValueError(f"{name} must be {KINDS[kinds]}, not {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if size != info.file_size - f.tell():
            raise ValueError(f"{name} of shape {shape} does not fill its {info.file_size} bytes")
        if size > most:
            raise ValueError(
                f"{name} would take {size:,} bytes, and a file of this size has at most {most:,}"
            )
    with z.open(info) as f:
        return np.asarray(np.lib.format.read_array(f, allow_pickle=False))
