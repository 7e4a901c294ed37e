"""Pretrained networks, which ship with the package: equilif/models."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from equilif.training.names import NETWORK

FOLDER = Path(__file__).parents[2] / "models"


class Card(NamedTuple):
    """A pretrained network.

    ``command`` trains it again, to weights of the same ``digest`` (SHA-256); ``accuracy`` is that of the test
    set, 0..1.
    """

    data: str
    network: str
    command: str
    seed: int
    accuracy: float
    digest: str

    @classmethod
    def all(cls) -> dict[str, Card]:
        """The cards by the names of the networks."""
        return {
            name: cls(**card) for name, card in tomllib.loads((FOLDER / "cards.toml").read_text()).items()
        }


def model_path(text: str | Path) -> Path:
    """A saved network: the file, that of the run in a folder, or the pretrained network of that name where
    no such file exists.  A name with a path separator is a path.
    """
    path = Path(text)
    model = FOLDER / f"{path.name}.npz"
    with suppress(OSError):  # a name that no file can have
        if path.name == str(text) and not path.exists() and model.exists():
            return model
        return path / NETWORK if path.is_dir() else path
    return path
