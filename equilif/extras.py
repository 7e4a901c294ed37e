"""Optional packages: one clear error that says what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OWN_PACKAGES = ("equilif", "equilif_golden", "equilif_hdl", "equilif_sim", "equilif_boards")


def advice(package: str, extra: str) -> str:
    """Advice for a package that is not installed.

    equilif is installed from a checkout.  In one, the command names it; an installed copy does not know
    where it came from, so that folder is described.
    """
    checkout = Path(__file__).parent.parent
    if (checkout / "pyproject.toml").exists():
        return f"{package} is not installed: pip install -e '{checkout}[{extra}]'"
    return f"{package} is not installed: pip install '.[{extra}]' in the folder of equilif's source"


class MissingExtra(ModuleNotFoundError):
    """An optional package is not installed."""

    def __init__(self, package: str, extra: str):
        super().__init__(advice(package, extra), name=package)


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Around imports: what is missing there comes with ``equilif[extra]``."""
    try:
        yield
    except MissingExtra:
        raise
    except ModuleNotFoundError as e:
        package = (e.name or "").partition(".")[0]
        if package in OWN_PACKAGES:
            raise
        raise MissingExtra(package, extra) from e
