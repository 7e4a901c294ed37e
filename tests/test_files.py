"""equilif_golden.files: atomic writes.

Cases: new and existing files, missing folders, symbolic links, pipes, devices, open descriptors, unwritable
targets, concurrent writers, failed writes.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from equilif_golden import files
from tests.programs import python

ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_new_file(tmp_path):
    files.write(tmp_path / "a" / "b" / "x.json", b"content")
    assert (tmp_path / "a" / "b" / "x.json").read_bytes() == b"content"
    assert names(tmp_path) == ["a"] and names(tmp_path / "a" / "b") == ["x.json"]


def test_replaced_file_keeps_mode(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"a longer old content")
    path.chmod(0o640)
    files.write(str(path), b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == 0o640
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("there", [True, False])
def test_symbolic_link(tmp_path, there):
    target, link = tmp_path / "deep" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
    link.symlink_to(Path("deep") / "target")
    files.check(link)
    files.write(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new" and names(target.parent) == ["target"]


def test_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    files.check(pipe)
    files.write(pipe, b"content")
    reader.join(10)
    assert got == [b"content"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_device(tmp_path):
    files.check("/dev/null")
    files.write("/dev/null", b"content")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_full_device():
    with pytest.raises(OSError, match="/dev/full") as e:
        files.write("/dev/full", b"content")
    assert e.value.errno == errno.ENOSPC and stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("to_file", [False, True])
def test_open_descriptor(path, to_file, tmp_path):
    """Output before and after the write is kept in order; the file is not truncated."""
    code = f"""
import sys
from equilif_golden import files
print("before")
files.check({path!r})
files.write({path!r}, b"content\\n")
print("behind")
"""
    expected = "before\ncontent\nbehind\n"
    if to_file:
        with (tmp_path / "out").open("w") as out:
            subprocess.run([sys.executable, "-c", code], stdout=out, check=True, timeout=60)
        assert (tmp_path / "out").read_text() == expected
    else:
        assert python(code).stdout == expected


@pytest.mark.parametrize("path", ["/dev/fd/987", "/proc/self/fd/987"])
def test_closed_descriptor(path):
    for call in (files.check, lambda p: files.write(p, b"x")):
        with pytest.raises(OSError, match=path):
            call(path)


#: paths in a folder with a file named file and a link named loop to itself
BAD = {
    "a folder": ".",
    "no name": "",
    "below a file": "file/x",
    "far below a file": "file/a/b/x",
    "where no file can be made": "/proc/x",
    "a loop of links": "loop",
    "a name that is too long": "x" * 300,
}


@pytest.mark.parametrize("kind", BAD)
def test_impossible_target(tmp_path, kind):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    target = BAD[kind] and tmp_path / BAD[kind]
    before = names(tmp_path)
    for call in (files.check, lambda p: files.write(p, b"x")):
        with pytest.raises(OSError) as e:
            call(target)
        assert e.value.filename == os.fspath(target) and e.value.strerror
    assert names(tmp_path) == before and (tmp_path / "file").read_bytes() == b"old"


@ROOT
def test_forbidden_target(tmp_path):
    path = tmp_path / "closed" / "x"
    path.parent.mkdir(mode=0o500)
    for call in (files.check, lambda p: files.write(p, b"x")):
        with pytest.raises(PermissionError) as e:
            call(path)
        assert e.value.filename == os.fspath(path)


def test_check_leaves_no_file(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    for path in (tmp_path / "new", tmp_path / "old", tmp_path / "a" / "b" / "new"):
        files.check(path)
    files.check_folder(tmp_path / "a" / "b")
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_bytes() == b"old"


def test_impossible_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    for folder in (tmp_path / "file", tmp_path / "file" / "a", Path("/proc/x")):
        with pytest.raises(OSError) as e:
            files.check_folder(folder)
        assert e.value.filename == os.fspath(folder)


@pytest.mark.parametrize("name", ["é" * 120, "🧠" * 60, "x" * 250])
def test_long_names(tmp_path, name):
    files.check(tmp_path / name)
    files.write(tmp_path / name, b"content")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), KeyboardInterrupt()])
def test_failed_write_keeps_old_file(tmp_path, monkeypatch, failure):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    opened = os.fdopen

    class Full:
        def __init__(self, *args):
            self.file = opened(*args)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, content):
            self.file.write(content[:3])
            self.file.flush()
            raise failure

    monkeypatch.setattr(os, "fdopen", Full)
    with pytest.raises(type(failure)) as e:
        files.write(path, b"a new content")
    monkeypatch.undo()
    if isinstance(failure, OSError):
        assert e.value.filename == os.fspath(path), "the error names the file"
    assert path.read_bytes() == b"old" and names(tmp_path) == ["x"]


def test_concurrent_writers(tmp_path):
    """The file has the complete content of one writer; no temporary file remains."""
    path = tmp_path / "x"
    contents = [bytes([65 + k]) * (200_000 + k) for k in range(2)]
    files.write(path, contents[0])
    code = """
import sys
from equilif_golden import files
k = int(sys.argv[2])
for _ in range(150):
    files.write(sys.argv[1], bytes([65 + k]) * (200_000 + k))
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), str(k)]) for k in range(2)]
    seen = set()
    while any(w.poll() is None for w in writers):
        content = path.read_bytes()
        assert content in contents
        seen.add(content[:1])
    assert [w.wait() for w in writers] == [0, 0] and len(seen) == 2
    assert names(tmp_path) == ["x"]
