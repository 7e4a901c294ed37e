"""Atomic writes of files, and checks of output paths before long work.

A regular file is replaced in one step through a temporary file in its folder: two programs that write the
same file never mix, and an interruption leaves the old content.  A symbolic link is followed and remains a
link. Other files (a terminal, a pipe, /dev/null, /dev/stdout, the shell's ``>(...)``) are written in place.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

#: paths of open descriptors of this process
DESCRIPTOR = re.compile(
    r"/dev/(?:(?P<name>stdin|stdout|stderr)|fd/(?P<dev>\d{1,9}))|/proc/self/fd/(?P<proc>\d{1,9})"
)
NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
KEPT = 16  #: characters of the file name in the name of its temporary file
TRIED = "try"  #: name of a file that is created to test a folder
#: files that are being read, by device and inode; they are not overwritten
_inputs: ContextVar[frozenset[tuple[int, int]]] = ContextVar("inputs", default=frozenset())


@contextmanager
def protected(inputs: Iterable[str | os.PathLike[str]]) -> Iterator[None]:
    """Context in which :func:`write` and :func:`check` raise OSError for the input files of the output."""
    found = set()
    for path in inputs:
        status = Path(path).stat()
        found.add((status.st_dev, status.st_ino))
    before = _inputs.set(_inputs.get() | found)
    try:
        yield
    finally:
        _inputs.reset(before)


def descriptor(path: str | os.PathLike[str]) -> int | None:
    """Number of the open descriptor at ``path``, or None."""
    found = DESCRIPTOR.fullmatch(os.fspath(path))
    if found is None:
        return None
    return NUMBERS[found["name"]] if found["name"] else int(found["dev"] or found["proc"])


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to the file at ``path`` and create missing folders.  OSError names the path."""
    try:
        number = descriptor(path)
        if number is not None:
            if number == 1:
                sys.stdout.flush()  # what was printed before comes before
            with os.fdopen(os.dup(number), "wb") as f:
                f.write(content)
            return
        mode = _mode(path)
        if mode is not None and not stat.S_ISREG(mode):
            with Path(path).open("wb") as f:
                f.write(content)
            return
        _replace(Path(os.path.realpath(path)), content, mode)
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), os.fspath(path)) from None


def check(path: str | os.PathLike[str]) -> None:
    """Whether :func:`write` can write there, without writing anything; OSError names the path."""
    try:
        number = descriptor(path)
        if number is not None:
            os.fstat(number)
            return
        mode = _mode(path)
        if mode is not None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if mode is None or stat.S_ISREG(mode):
            _try_folder(Path(os.path.realpath(path)).parent)
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), os.fspath(path)) from None


def check_folder(path: str | os.PathLike[str]) -> None:
    """Whether files can be written into a folder, which need not be there yet; OSError names the folder."""
    try:
        _try_folder(Path(os.path.realpath(path)))
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), os.fspath(path)) from None


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files of these names, which killed programs have left."""
    for name in (*names, TRIED):
        for part in folder.glob(f".{glob.escape(name[:KEPT])}.*.part"):
            part.unlink(missing_ok=True)


def _mode(path: str | os.PathLike[str]) -> int | None:
    """Mode of the file at ``path``, or None; OSError for a folder."""
    if not os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, "expected the name of a file")
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; expected the name of a file")
    if (status.st_dev, status.st_ino) in _inputs.get():
        raise FileExistsError(errno.EEXIST, "it is read by this command: write to another file")
    return mode


def _temporary(folder: Path, name: str) -> tuple[int, Path]:
    """A new file with a unique name of limited length."""
    path = folder / f".{name[:KEPT]}.{os.getpid()}.{secrets.token_hex(4)}.part"
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), path
    except FileNotFoundError:  # in /proc, though the folder is there
        raise PermissionError(errno.EACCES, f"no file can be made in {folder}") from None


def _replace(path: Path, content: bytes, mode: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number, part = _temporary(path.parent, path.name)
    try:
        with os.fdopen(number, "wb") as f:
            f.write(content)
        if mode is not None:
            part.chmod(stat.S_IMODE(mode))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _try_folder(folder: Path) -> None:
    """Create and remove a file in the folder, or in the nearest existing one above it."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder")
    try:
        number, part = _temporary(folder, TRIED)
    except FileNotFoundError:  # folders such as /proc
        raise PermissionError(errno.EACCES, f"no file can be made in {folder}") from None
    os.close(number)
    part.unlink(missing_ok=True)
