"""Simulated designs as shared libraries, compiled by Verilator and cached.

The cache is the folder equilif in $XDG_CACHE_HOME, by default ~/.cache.  Each file has its SHA-256 next to
it: an incomplete file, for example after a full disk, is built again, since loading it would crash the
process.
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
from equilif_golden.extras import needs
from equilif_sim.tools import verilator

with needs("sim"):
    from filelock import FileLock

#: options of Verilator
TO_CPP = (
    *"-Mdir obj -O3 --x-assign fast --x-initial fast --noassert -Wno-fatal -Wno-WIDTHEXPAND".split(),
    "-CFLAGS",
    "-fPIC",
)
#: options of make: design and driver are one translation unit, since precompiling the headers of Verilator
#: takes longer than compiling most designs.  -O2 is not faster, and doubles the compile time
TO_OBJECT = ("VM_PARALLEL_BUILDS=0", "OPT_FAST=-O1 -include ../driver.cpp")
#: runtime of Verilator, common to all designs
RUNTIME = "libverilated.a"
#: length of tool output in an error message
TAIL = 3000


class BuildFailed(RuntimeError):
    """Verilator or the C++ compiler is missing or failed; the message ends with its output."""


def cache_dir() -> Path:
    """Cache folder; a relative XDG_CACHE_HOME is ignored, as specified."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():
        return named / "equilif"
    try:
        return Path.home() / ".cache" / "equilif"
    except RuntimeError as e:
        raise OSError(f"no folder for a cache: {e} Name one in the variable XDG_CACHE_HOME") from e


def is_stored(path: Path) -> bool:
    """Whether a file is in the cache and complete."""
    try:
        return _record(path).read_text() == _digest(path.read_bytes())
    except (OSError, ValueError):
        return False


def store(path: Path, content: bytes) -> None:
    """Store a file in the cache atomically."""
    try:
        files.write(path, content)
        files.write(_record(path), _digest(content).encode())
    except OSError as e:
        raise _no_cache(e) from e


def require(path: Path) -> None:
    """OSError unless :func:`store` can store the file; for a check before the work."""
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
    """Shared library of a design in Verilog and a C++ driver of its class ``V<top>``; compiled or cached.

    Its folder is named by a hash of all inputs.  ``visible``: a Verilator configuration file.
    ``extra``: options of Verilator.  ``libraries``: options of the linker.
    """
    environment = {**os.environ, **verilator.environment()}
    # PATH of the environment, not of this process
    tool = shutil.which("verilator", path=environment["PATH"]) or "verilator"
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    version = call([tool, "--version"], Path.cwd(), environment)
    ingredients = [text, driver, visible, *extra, *libraries, version, *compiler, platform.machine()]
    library = cache_folder(*ingredients) / f"lib{top}.so"
    if is_stored(library):
        return library
    require(library)
    with FileLock(library.parent.with_suffix(".lock")):
        if not is_stored(library):  # built by another process meanwhile
            options = [option for option in extra if option.startswith("--")]
            runtime = cache_folder(*options, version, *compiler, platform.machine()) / RUNTIME
            with tempfile.TemporaryDirectory(prefix="equilif-") as folder:
                work = Path(folder)
                for name, content in ((f"{top}.v", text), ("driver.cpp", driver), ("visible.vlt", visible)):
                    (work / name).write_text(content)
                call([tool, *to_cpp(top), *extra], work, environment)
                make = ["make", "-C", "obj", "-f", f"V{top}.mk"]
                call([*make, *TO_OBJECT, f"V{top}__ALL.o"], work, environment)
                if not is_stored(runtime):
                    call([*make, RUNTIME], work, environment)
                    store(runtime, (work / "obj" / RUNTIME).read_bytes())
                link = [f"obj/V{top}__ALL.o", str(runtime), *libraries, "-lpthread", "-o", library.name]
                call([*compiler, "-shared", *link], work, environment)
                store(library, (work / library.name).read_bytes())
    return library


def cache_folder(*ingredients: str) -> Path:
    """Cache folder for these inputs."""
    return cache_dir() / "verilated" / _digest("\0".join(ingredients).encode())[:16]


def to_cpp(top: str) -> list[str]:
    """Options of Verilator for ``top``.v and visible.vlt."""
    return ["--cc", "visible.vlt", f"{top}.v", "--top-module", top, "--prefix", f"V{top}", *TO_CPP]


def call(command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """Output of a tool; BuildFailed if it is missing or fails."""
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
