"""Command blocks of the tutorials and how-to guides run in order.  CONTRIBUTING.md describes their tags.

Each page is a case, in a temporary folder:  ./run examples
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.programs import program

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs" / "tutorials").glob("*.md"), *(ROOT / "docs" / "how_to").glob("*.md")])
#: tags of blocks in a page; the first two run here, python blocks in tests/repository/test_docs.py
TAGS = ("sh", "background", "hardware", "network", "manual", "text", "c", "python", "toml")
#: commands of a page call this interpreter and this tree
FUNCTIONS = """
equilif() { "$PYTHON" -m equilif "$@"; }
python() { "$PYTHON" "$@"; }
"""
#: seconds to compile a board
MAX_COMPILE = 600


def blocks(page: Path) -> list[tuple[str, str]]:
    """Tag and content of every fenced block."""
    return re.findall(r"^```(\S*)\n(.*?)^```", page.read_text(), re.M | re.S)


def written(commands: str) -> Iterator[str]:
    """Files and folders that the options of commands name as outputs."""
    for line in commands.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for option, value in zip(words, words[1:], strict=False):
            if option in ("--out", "--waves", "--json"):
                yield value
        if words[:2] == ["equilif", "convert"]:
            yield words[3]
        if words[:2] == ["equilif", "save"]:
            yield words[2]


@contextmanager
def running(command: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A command in the background, from the appearance of its serial port on; stopped by Ctrl-C."""
    words = shlex.split(command, comments=True)
    port = Path(words[words.index("--link") + 1])
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + MAX_COMPILE
        while not port.is_symlink():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        code = process.wait(timeout=60)
    assert code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_has_a_known_tag(page):
    assert {tag for tag, _ in blocks(page)} <= set(TAGS)


@pytest.mark.long
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(tag == "sh" for tag, _ in blocks(page))],
    ids=lambda page: f"{page.parent.name}/{page.stem}",
)
def test_commands_of_the_page_succeed_and_write_their_files(page, tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "PYTHON": sys.executable, "COLUMNS": "200"}
    with ExitStack() as background:
        for tag, content in blocks(page):
            commands = content.replace("/tmp/board", str(tmp_path / "board"))
            if tag == "background":
                background.enter_context(running(commands, tmp_path, environment))
            elif tag == "sh":
                script = f"set -euo pipefail\n{FUNCTIONS}\n{commands}"
                program("bash", "-c", script, cwd=tmp_path, **environment)
                for name in written(commands):
                    assert (tmp_path / name).exists(), f"{name} is missing after\n{commands}"
