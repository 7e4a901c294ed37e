"""Atomic writes of files, and checks of output paths before long work.

A regular file is replaced in one step through a temporary file in its folder: two programs that write the
same file never mix, and an interruption leaves the old content.  A symbolic link is followed and remains a
link. Other files (a terminal, a pipe, /dev/null, /dev/stdout, the shell's ``>(...)``) are written in place.

Within :func:`protected` a file that is read is not replaced.  Readers report their files by :func:`reads`.
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
from dataclasses import dataclass, field
from pathlib import Path

#: paths of open descriptors of this process
DESCRIPTOR = re.compile(
    r"/dev/(?:(?P<name>stdin|stdout|stderr)|fd/(?P<dev>\d{1,9}))|/proc/self/fd/(?P<proc>\d{1,9})"
)
NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
KEPT = 16  #: characters of the file name in the name of its temporary file
TRIED = "try"  #: name of a file that is created to test a folder
#: default folder of outputs: the only folder within one of data that is written
RESULTS = "results"
Inode = tuple[int, int]  #: device and number


@dataclass
class _Uses:
    """Files that a command reads and writes.  Paths are resolved.

    ``inputs``: files that are read; ``folders``: folders of data that are read; ``outputs``: files that are
    to be written, by path; ``replaceable``: files that the command may read and replace.
    """

    inputs: set[Inode] = field(default_factory=set)
    folders: set[Path] = field(default_factory=set)
    outputs: dict[Path, Inode | None] = field(default_factory=dict)
    replaceable: set[Path] = field(default_factory=set)

    def require_output(self, path: Path, inode: Inode | None) -> None:
        """OSError when an output is read, or lies in a folder of data."""
        if inode in self.inputs:
            raise FileExistsError(
                errno.EEXIST, "it is read by this command: write to another file", os.fspath(path)
            )
        folder = next((f for f in self.folders if _is_within(path, f)), None)
        if folder is not None:
            raise FileExistsError(
                errno.EEXIST,
                f"{folder} is a folder of data that this command reads: write outside of it, or in its "
                f"folder {RESULTS}",
                os.fspath(path),
            )


_uses: ContextVar[_Uses | None] = ContextVar("uses", default=None)


@contextmanager
def protected(inputs: Iterable[str | os.PathLike[str]] = ()) -> Iterator[None]:
    """Context in which :func:`write` and :func:`check` raise OSError for files that are read: ``inputs``, and
    those of :func:`reads`.
    """
    before = _uses.set(_Uses())
    try:
        for path in inputs:
            reads(path)
        yield
    finally:
        _uses.reset(before)


def reads(path: str | os.PathLike[str]) -> None:
    """Report that a file, or a folder of data, is read.  OSError when it is an output of this command."""
    uses = _uses.get()
    if uses is None:
        return
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return  # opening it says why
    place = Path(os.path.realpath(path))
    if stat.S_ISDIR(status.st_mode):
        uses.folders.add(place)
    elif stat.S_ISREG(status.st_mode) and place not in uses.replaceable:
        uses.inputs.add(_inode(status))
    else:
        return
    for output, inode in uses.outputs.items():
        uses.require_output(output, inode)


def changes(paths: Iterable[Path]) -> None:
    """Declare files that this command reads and replaces, such as those of a run that it resumes; OSError
    when one is an input.
    """
    uses = _uses.get()
    if uses is None:
        return
    for path in paths:
        _require_output(path)
        uses.replaceable.add(Path(os.path.realpath(path)))


def printable(text: str | os.PathLike[str]) -> str:
    """Text with names of files: bytes of a name that are no UTF-8 are written as ``\\xff``."""

    def escaped(match: re.Match[str]) -> str:
        code = ord(match[0])
        return f"\\x{code & 0xFF:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"

    return re.sub("[\ud800-\udfff]", escaped, os.fspath(text))


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
        place = Path(os.path.realpath(path))
        _replace(place, content, mode)
        if (uses := _uses.get()) is not None:
            uses.replaceable.add(place)
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
        _require_output(Path(path) / TRIED)
        _try_folder(Path(os.path.realpath(path)))
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), os.fspath(path)) from None


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files of these names, which killed programs have left."""
    for name in (*names, TRIED):
        for part in folder.glob(f".{glob.escape(name[:KEPT])}.*.part"):
            part.unlink(missing_ok=True)


def _mode(path: str | os.PathLike[str]) -> int | None:
    """Mode of the file at ``path``, or None; OSError for a folder, and for an input."""
    if not os.fspath(path):
        raise FileNotFoundError(errno.ENOENT, "expected the name of a file")
    _require_output(path)
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; expected the name of a file")
    return status.st_mode


def _require_output(path: str | os.PathLike[str]) -> None:
    """Record an output of this command; OSError when it is an input, or in a folder of data."""
    uses = _uses.get()
    if uses is None:
        return
    try:
        status = Path(path).stat()
        inode = _inode(status) if stat.S_ISREG(status.st_mode) else None
    except OSError:
        inode = None
    place = Path(os.path.realpath(path))
    uses.require_output(place, inode)
    uses.outputs[place] = inode


def _inode(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def _is_within(path: Path, folder: Path) -> bool:
    """Whether a file is in a subfolder of a folder of data, which may be one of a class."""
    if folder not in path.parents:
        return False
    first, *rest = path.relative_to(folder).parts
    return bool(rest) and first != RESULTS


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
