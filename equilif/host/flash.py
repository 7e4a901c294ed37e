"""Flash bitstreams by openFPGALoader."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from equilif.results import ToolFailed
from equilif_golden.extras import needs

with needs("hdl,boards"):
    from equilif_boards import BOARDS, Board
    from equilif_boards.build import NAME, bitstream_in

#: Debian's package is openfpgaloader; an environment variable OPENFPGALOADER names another
TOOL = "openFPGALoader"
#: bytes within which a bitstream has its preamble, whatever its tool wrote before
HEAD = 1 << 16


def bitstream_of(board: Board, folder: Path | None = None) -> Path:
    """The bitstream of `equilif build` in ``folder`` (default: build/BOARD)."""
    folder = folder or Path("build") / board.name
    found = bitstream_in(folder)
    if found is None:
        raise FileNotFoundError(f"{folder} has no bitstream: {_way_out(board)}")
    return found


def _way_out(board: Board) -> str:
    """A board that is in no package is built from its file, whose name it does not know."""
    return f"make one with  equilif build {board.name if board.name in BOARDS else 'FILE.py'}"


def flash(board: Board, bitstream: Path) -> None:
    """Into the configuration flash; the tool's output goes to standard error."""
    require(board, bitstream)
    if not board.loader:
        raise ToolFailed(
            f"{TOOL} does not know {board.title}: the bitstream is {bitstream}; {board.programming_note}"
        )
    name = os.environ.get(TOOL.upper(), TOOL)
    tool = shutil.which(name)
    if tool is None:
        raise ToolFailed(
            f"{name} is not installed: apt install openfpgaloader, "
            "or see https://trabucayre.github.io/openFPGALoader; "
            f"the bitstream is {bitstream}, any programmer for {board.title} will do"
        )
    done = subprocess.run([tool, "--board", board.loader, "--write-flash", str(bitstream)], stdout=2)
    if done.returncode:
        raise ToolFailed(
            f"{TOOL} could not program {board.title} (exit code {done.returncode}): "
            "is it plugged in, and may you use USB devices? "
            "Its udev rules are in Debian's openfpgaloader package"
        )


def require(board: Board, bitstream: Path) -> None:
    """ValueError or OSError unless the file is a bitstream for an FPGA of the board's family."""
    way_out = _way_out(board)
    if not bitstream.exists():
        raise FileNotFoundError(f"there is no {bitstream}: {way_out}")
    if not bitstream.is_file():
        raise ValueError(f"{bitstream} is no file: a bitstream is one, such as build/{board.name}/{NAME}.bin")
    with bitstream.open("rb") as f:
        head = f.read(HEAD)
    if board.device.family.preamble not in head:
        what = "is no bitstream" if head else "is empty"
        raise ValueError(f"{bitstream} {what} for {board.title}: {way_out}")
