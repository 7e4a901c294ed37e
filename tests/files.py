"""Files of tests: recordings, word vectors, archives, and the content of a folder."""

from __future__ import annotations

import hashlib
import io
import tarfile
import wave
from pathlib import Path
from typing import Any

import numpy as np


def content(folder: Path) -> dict[str, str]:
    """Kind and digest of everything below a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[str(path.relative_to(folder))] = "folder" if path.is_dir() else "special"
    return found


def tar(**files: bytes) -> bytes:
    """A gzipped tar file of files by name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, raw in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            t.addfile(member, io.BytesIO(raw))
    return out.getvalue()


def write_wav(path: Path, tone: Any, rate: int = 8000, width: int = 2, channels: int = 1) -> Path:
    """A recording of values in -1..1, the same on all channels."""
    full = np.repeat(np.rint(np.asarray(tone) * (2 ** (8 * width - 1) - 1)).astype("<i8"), channels)
    raw = (full + 128 if width == 1 else full).astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as w:
        w.setparams((channels, width, rate, 0, "NONE", ""))
        w.writeframes(raw.tobytes())
    return path


def write_glove(path: Path, words: bytes = b"the\nfilm\ngood", **changed: Any) -> Path:
    """A prepared file of three word vectors."""
    arrays = {
        "words": np.frombuffer(words, np.uint8),
        "q": np.array([(1, 2, 3), (-4, 5, 6), (0, 0, 7)], np.int8),
        "scale": np.array([1, 0.5, 2], np.float32),
    }
    np.savez(path, **arrays | changed)
    return path
