"""Run commands in the test process."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from equilif import cli

BOARD = "icebreaker"
PNG = b"\x89PNG\r\n"


def outcome(*arguments: object) -> tuple[int, str]:
    """Exit code and output of a command, without line wrapping."""
    done = CliRunner().invoke(
        cli.app, [str(a) for a in arguments], env={"COLUMNS": "250", "TERMINAL_WIDTH": "250"}
    )
    assert isinstance(done.exception, SystemExit | None), f"{done.output}\n{done.exception!r}"
    return done.exit_code, done.output


def folded(*arguments: object) -> tuple[int, str]:
    """Exit code and output of a command, line ends as blanks."""
    code, output = outcome(*arguments)
    return code, " ".join(output.split())


def run(*arguments: object, code: int = 0) -> str:
    """Output of a command; ``code``: the expected exit code."""
    found, output = outcome(*arguments)
    assert found == code, output
    return output


def output_and_json(*arguments: object, code: int = 0) -> tuple[str, Any]:
    """Output of a command, and its results as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        return run(*arguments, "--json", path, code=code), json.loads(path.read_text())


def json_of(*arguments: object, code: int = 0) -> Any:
    """Results of a command as JSON."""
    return output_and_json(*arguments, code=code)[1]


def error_of(*arguments: object) -> str:
    """The error message (one line, the last) of a command that must fail."""
    lines = run(*arguments, code=2).strip().splitlines()
    assert [line.startswith("error: ") for line in lines] == [False] * (len(lines) - 1) + [True]
    return lines[-1]


def run_line(line: str, *more: str) -> str:
    """Output of a command line that must succeed."""
    return run(*line.split(), *more)


def refused(line: str) -> str:
    """The error message of a command line that must fail."""
    return error_of(*line.split())


def exit_code(line: str, *more: str) -> int:
    """Exit code of a command line; its output goes to the output of the test."""
    try:
        cli.app([*line.split(), *more])
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else int(e.code is not None)
    return 0
