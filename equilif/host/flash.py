"""Bitstreams to boards, by openFPGALoader."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from equilif.results import ToolFailed
from equilif_boards import Board
from equilif_boards.build import BITSTREAMS, NAME

#: Debian's package is openfpgaloader; an environment variable OPENFPGALOADER names another
TOOL = "openFPGALoader"


def bitstream_of(board: Board, folder: Path | None = None) -> Path:
    """What `equilif build` left in ``folder`` (default: build/BOARD)."""
    folder = folder or Path("build") / board.name
    found = [folder / (NAME + suffix) for suffix in BITSTREAMS if (folder / (NAME + suffix)).exists()]
    if not found:
        raise FileNotFoundError(f"{folder} has no bitstream: make one with  equilif build {board.name}")
    return found[0]


def flash(board: Board, bitstream: Path) -> None:
    """Into the configuration flash; the tool's output goes to the terminal."""
    if not bitstream.exists():
        raise FileNotFoundError(f"there is no {bitstream}: make one with  equilif build {board.name}")
    if not board.loader:
        raise ToolFailed(f"{TOOL} does not know {board.title}: the bitstream is {bitstream}; {board.by_hand}")
    name = os.environ.get(TOOL.upper(), TOOL)
    tool = shutil.which(name)
    if tool is None:
        raise ToolFailed(
            f"{name} is not installed: apt install openfpgaloader, or see https://trabucayre.github.io/openFPGALoader; "
            f"the bitstream is {bitstream}, any programmer for {board.title} will do"
        )
    done = subprocess.run([tool, "--board", board.loader, "--write-flash", str(bitstream)])
    if done.returncode:
        raise ToolFailed(
            f"{TOOL} could not program {board.title} (exit code {done.returncode}): is it plugged in, and may you use USB devices? "
            f"Its udev rules are in Debian's openfpgaloader package"
        )
