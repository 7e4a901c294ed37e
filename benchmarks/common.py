"""What several benchmarks share: options, names, and results in build/."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"

Data = Annotated[Path, "folder of the data sets"]
Seeds = Annotated[int, "number of seeds, from 0"]
Epochs = Annotated[int, "epochs of training"]


def choose(names: Collection[str], known: Iterable[str], what: str) -> list[str]:
    """``names``, or all that are known; ValueError for an unknown one."""
    every = list(known)
    if unknown := [name for name in names if name not in every]:
        raise ValueError(f"unknown {what} {', '.join(unknown)}: choose from {', '.join(every)}")
    return list(names) or every


def commit() -> str:
    """Commit of the tree, with a ``+`` if it has changes; empty outside a repository."""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=9", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def read(path: Path) -> dict[str, Any]:
    """Content of a file of results; empty without one."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return content


def write(path: Path, content: Any, depth: int = 2) -> None:
    """Write results with one line per entry down to ``depth``, for readable diffs."""
    from equilif_golden import files

    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, (_lines(content, depth) + "\n").encode())


def _lines(value: Any, depth: int, indent: str = "") -> str:
    if not depth or not value or not isinstance(value, dict | list):
        return json.dumps(value)
    inner = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_lines(item, depth - 1, inner)}" for key, item in value.items()]
        begin, end = "{}"
    else:
        items = [_lines(item, depth - 1, inner) for item in value]
        begin, end = "[]"
    return f"{begin}\n{inner}" + f",\n{inner}".join(items) + f"\n{indent}{end}"
