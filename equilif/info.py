"""Installed tools and packages, for bug reports."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from importlib import metadata
from typing import Any

from equilif import results
from equilif_golden.lazy import lazy
from equilif_sim.tools import verilator

with lazy():  # optional packages
    import equilif_boards

# executable, argument that makes it say its version, what it is needed for
TOOLS = {
    "verilator": ("--version", "verify, demo"),
    "iverilog": ("-V", "tests of the RTL"),
    "yosys": ("-V", "build, demo"),
    "nextpnr-ice40": ("--version", "build for iCE40"),
    "icepack": ("", "build for iCE40"),
    "nextpnr-ecp5": ("--version", "build for ECP5"),
    "ecppack": ("--version", "build for ECP5"),
}


def tool(name: str) -> str | None:
    """Version that an executable tells; its path where it tells none, None where it is missing."""
    environment = dict(os.environ)
    if name == "verilator":
        try:
            environment |= verilator.environment()
        except verilator.MissingVerilator:
            return None
    found = shutil.which(name, path=environment.get("PATH"))
    flag = TOOLS[name][0]
    if found is None or not flag:
        return found
    try:
        done = subprocess.run(
            [found, flag], capture_output=True, text=True, errors="replace", env=environment, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"{found} does not run"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    version = re.search(r"\d+\.\d[\w.+~-]*|rev \S+", lines[0]) if lines else None
    return version[0] if version else found


def packages() -> dict[str, str | None]:
    """Version of every package that an extra asks for, None where it is missing."""
    try:
        required = metadata.requires("equilif") or []
    except metadata.PackageNotFoundError:  # a checkout that is not installed
        required = []
    names = dict.fromkeys(re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in required)
    return {name: _version(name) for name in names if name != "equilif"}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def boards() -> dict[str, Any]:
    """Engine of every board; empty where the packages that describe boards are missing."""
    try:
        known = equilif_boards.BOARDS
    except ModuleNotFoundError:
        return {}
    return {
        name: {"title": b.title, "clock_hz": b.clock_hz, "engine": dataclasses.asdict(b.config)}
        for name, b in known.items()
    }


def collect() -> dict[str, Any]:
    return {
        "machine": results.machine(),
        "tools": {name: tool(name) for name in TOOLS},
        "packages": packages(),
        "boards": boards(),
    }
