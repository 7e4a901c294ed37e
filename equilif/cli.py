"""The ``equilif`` command."""

from __future__ import annotations

from equilif_golden.extras import needs

with needs("cli"):
    from equilif.commands import app, load

__all__ = ["app", "load", "main"]


def main() -> None:
    app()
