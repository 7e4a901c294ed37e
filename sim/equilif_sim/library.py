"""Designs in simulation as shared libraries: compiled by Verilator, and kept in a cache.

The cache is the folder equilif below $XDG_CACHE_HOME, by default below ~/.cache.  Beside each of its files
stands the file's SHA-256.  A file that was cut short, by a full disk say, is made again and never used: to
run a library that lacks a part kills the process.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from equilif_golden import files
from equilif_sim.tools import verilator

#: options of Verilator
TO_CPP = (
    *"-Mdir obj -O3 --x-assign fast --x-initial fast --noassert -Wno-fatal -Wno-WIDTHEXPAND".split(),
    "-CFLAGS",
    "-fPIC -O2",
)
#: options of the C++ compiler, and its source
TO_LIBRARY = "-std=gnu++20 -O2 -fPIC -shared driver.cpp".split()
#: of what a tool said, how much an error repeats
TAIL = 3000


class BuildFailed(RuntimeError):
    """Verilator or the C++ compiler is missing or refused; the message ends with what they said."""


def cache_dir() -> Path:
    """The cache's folder; a relative XDG_CACHE_HOME counts for nothing, as its specification wants."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "equilif"
    try:
        return Path.home() / ".cache" / "equilif"
    except RuntimeError as e:
        raise OSError(f"no folder for a cache: {e} Name one in the variable XDG_CACHE_HOME") from e


def kept(path: Path) -> bool:
    """Whether a file is in the cache, and whole."""
    try:
        return _record(path).read_text() == _digest(path.read_bytes())
    except (OSError, ValueError):
        return False


def keep(path: Path, content: bytes) -> None:
    """A file into the cache; another process that reads it meanwhile sees the old one or this one."""
    try:
        files.write(path, content)
        files.write(_record(path), _digest(content).encode())
    except OSError as e:
        raise _no_cache(e) from e


def require(path: Path) -> None:
    """OSError unless :func:`keep` can keep a file there: found out before the work."""
    try:
        files.check(path)
    except OSError as e:
        raise _no_cache(e) from e


def _no_cache(e: OSError) -> OSError:
    return OSError(
        f"the cache {cache_dir()} cannot be written ({e.strerror}): name another folder in the variable "
        "XDG_CACHE_HOME"
    )


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def compiled(
    top: str,
    text: str,
    driver: str,
    visible: str = "`verilator_config\n",
    extra: Sequence[str] = (),
    libraries: Sequence[str] = (),
) -> Path:
    """Shared library of a design in Verilog and a C++ driver of its class ``V<top>``: compiled, or found so.

    Its folder is named by a hash of everything that goes in.  ``visible``: a Verilator configuration file.
    ``extra``: options of Verilator.  ``libraries``: options of the linker.
    """
    environment = {**os.environ, **verilator.environment()}
    # looked up in the environment's PATH, not this process's
    tool = shutil.which("verilator", path=environment["PATH"]) or "verilator"
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    version = call([tool, "--version"], Path.cwd(), environment)
    ingredients = [text, driver, visible, *extra, *libraries, version, *compiler, platform.machine()]
    library = cache_dir() / "verilated" / _digest("\0".join(ingredients).encode())[:16] / f"lib{top}.so"
    if kept(library):
        return library
    require(library)
    with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
        work = Path(folder)
        for name, content in ((f"{top}.v", text), ("driver.cpp", driver), ("visible.vlt", visible)):
            (work / name).write_text(content)
        for step in _steps(tool, compiler, top, extra, libraries, environment):
            call(step, work, environment)
        keep(library, (work / library.name).read_bytes())
    return library


def _steps(
    tool: str,
    compiler: Sequence[str],
    top: str,
    extra: Sequence[str],
    libraries: Sequence[str],
    environment: dict[str, str],
) -> list[list[str]]:
    """Commands that make a library of ``top``.v, driver.cpp and visible.vlt, run in their folder."""
    root = environment.get("VERILATOR_ROOT")
    if not root:
        root = call([tool, "--getenv", "VERILATOR_ROOT"], Path.cwd(), environment).strip()
    objects = [f"libV{top}.a", "libverilated.a"]
    includes = ["-Iobj", f"-I{root}/include", f"-I{root}/include/vltstd"]
    return [
        [
            tool,
            "--cc",
            "visible.vlt",
            f"{top}.v",
            "--top-module",
            top,
            "--prefix",
            f"V{top}",
            *TO_CPP,
            *extra,
        ],
        # one process at a time: the machine may be small, and make inherits the jobs of whoever calls it
        ["make", "-C", "obj", "-f", f"V{top}.mk", "OPT_FAST=-O2", *objects],
        [
            *compiler,
            *TO_LIBRARY,
            *includes,
            *(f"obj/{o}" for o in objects),
            *libraries,
            "-lpthread",
            "-o",
            f"lib{top}.so",
        ],
    ]


def call(command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """What a tool said; BuildFailed when it is missing or fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as e:
        raise BuildFailed(
            f"{command[0]} is not installed: a simulation is made with Verilator, make and a C++ compiler"
        ) from e
    if done.returncode:
        raise BuildFailed(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-TAIL:]}")
    return done.stdout
