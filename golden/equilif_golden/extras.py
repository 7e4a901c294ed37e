"""Optional packages: one clear error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN_PACKAGES = ("equilif", "equilif_golden", "equilif_hdl", "equilif_sim", "equilif_boards")


def install(extra: str) -> str:
    """Command that installs ``equilif[extra]``: from the checkout that is in use, otherwise from PyPI."""
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").exists():
        return f"pip install -e '{checkout}[{extra}]'"
    return f"pip install 'equilif[{extra}]'"


def advice(package: str, extra: str) -> str:
    """Error message for a package that is not installed."""
    return f"{package} is not installed: {install(extra)}"


class MissingExtra(ModuleNotFoundError):
    """An optional package is not installed.  ``extra``: what to install, several separated by commas."""

    def __init__(self, package: str, extra: str):
        super().__init__(advice(package, extra), name=package)
        self.extra = extra


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports: what is missing there comes with ``equilif[extra]``."""
    try:
        yield
    except MissingExtra as e:
        if set(e.extra.split(",")) < set(extra.split(",")):  # name all extras at once
            raise MissingExtra(e.name or "", extra) from None
        raise
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package in OWN_PACKAGES:
            raise
        raise MissingExtra(package, extra) from None
