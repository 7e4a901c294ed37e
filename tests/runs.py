"""Training runs of tests."""

from __future__ import annotations

from typing import Any


def trained(run: Any, **options: Any) -> Any:
    """A run, trained to its end."""
    while not run.done:
        run.epoch(**options)
    return run
