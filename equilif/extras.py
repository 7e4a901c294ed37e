"""Optional packages: one clear error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

OURS = ("equilif", "equilif_golden", "equilif_hdl", "equilif_sim", "equilif_boards")


class MissingExtra(ModuleNotFoundError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed: pip install 'equilif[{extra}]'", name=package)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports: what is missing there comes with ``equilif[extra]``."""
    try:
        yield
    except MissingExtra:
        raise
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package in OURS:
            raise
        raise MissingExtra(package, extra) from e
