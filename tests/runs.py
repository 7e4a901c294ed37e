"""Training runs of tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Interrupted(Exception):
    """A training run is interrupted."""


def stop_after(samples: int) -> Callable[[Any], None]:
    """Progress function that interrupts an epoch after so many samples."""

    def progress(state: Any) -> None:
        if state.samples >= samples:
            raise Interrupted

    return progress


def trained(run: Any, **options: Any) -> Any:
    """A run, trained to its end."""
    while not run.done:
        run.epoch(**options)
    return run
