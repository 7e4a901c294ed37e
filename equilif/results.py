"""Files of results: their JSON, and what they were made with."""

from __future__ import annotations

import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from equilif_golden import files


class ToolFailed(RuntimeError):
    """An outside tool is missing or refused; the message says which and what it said."""


def version() -> str:
    """Version of the installed equilif, or ``source`` in a checkout that is not installed."""
    try:
        return metadata.version("equilif")
    except metadata.PackageNotFoundError:
        return "source"


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def write_json(path: Path, content: Any) -> None:
    """``content`` as JSON, whole or not at all; ValueError where a number is infinite or none."""
    files.write(path, (json.dumps(content, indent=2, default=_plain, allow_nan=False) + "\n").encode())


def machine() -> dict[str, Any]:
    """Machine data that a measured time or speed depends on."""
    return {
        "equilif": version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": metadata.version("numba"),
        "system": platform.system(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
