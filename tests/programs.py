"""Programs in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

Done = subprocess.CompletedProcess[str]


def program(*command: object, status: int = 0, cwd: Path | None = None, **environment: str) -> Done:
    """Output and errors of a command, which must end with an exit code."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def python(code: str, *arguments: object, **options: Any) -> Done:
    """The same of Python code."""
    return program(sys.executable, "-c", code, *arguments, **options)
