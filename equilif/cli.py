"""The ``equilif`` command: all its parts put together."""

from __future__ import annotations

from importlib import import_module

from equilif.commands import app

__all__ = ["app", "main"]

for part in (
    "overview",
    "data",
    "learning",
    "networks",
    "report",
    "scale",
    "hardware",
    "programs",
    "boards",
    "alone",
):  # the order of the help
    import_module(f"equilif.commands.{part}")


def main() -> None:
    app()
