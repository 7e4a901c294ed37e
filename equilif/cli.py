"""The ``equilif`` command: all its parts put together."""

from __future__ import annotations

from importlib import import_module

from equilif_golden.extras import needs

with needs("cli"):
    from equilif.commands import app

__all__ = ["app", "main"]

PARTS = (
    "overview",
    "inspection",
    "learning",
    "networks",
    "report",
    "listening",
    "scale",
    "text",
    "hardware",
    "programs",
    "boards",
    "standalone",
)

for part in PARTS:
    import_module(f"equilif.commands.{part}")
# the order of the help, also where somebody has imported a part before
app.registered_commands.sort(key=lambda c: PARTS.index(str(c.callback.__module__).rpartition(".")[2]))


def main() -> None:
    app()
