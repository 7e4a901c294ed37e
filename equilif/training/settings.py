"""The history of a run in real numbers.

No torch here: only the training itself needs it (equilif.training.rates).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equilif.data.about import About
from equilif.training import old
from equilif.training.description import Description
from equilif.training.presets import RATES
from equilif.training.records import check_digest, check_numbers, load_json, reading, record
from equilif.training.tables import MAX_EPOCHS, check_seed
from equilif_golden import network as networks
from equilif_golden.fixed import finite, whole

NETWORK = "network.npz"


@dataclass(frozen=True)
class RateEpoch:
    """One line of the history.

    ``there``, ``back``: mean evaluations of the fixed point's map a batch, for the rates and for the
    gradient.
    """

    epoch: int  #: from 1
    lr: float  #: of its first step
    loss: float
    train_accuracy: float  #: running: each prediction before its update
    test_accuracy: float
    there: float
    back: float
    settled: float  #: samples within the solver's tolerance
    samples_per_second: float

    def __post_init__(self) -> None:
        whole(self.epoch, "epoch", 1, MAX_EPOCHS)
        for name in ("train_accuracy", "test_accuracy", "settled"):
            finite(getattr(self, name), name, 0, 1)
        for name in ("lr", "there", "back", "samples_per_second"):
            finite(getattr(self, name), name, 0, float("inf"))


@dataclass(frozen=True, kw_only=True)
class RateHistory:
    """Content of rates.json.  Version 0.1.0 first wrote it without ``data_digest`` and ``version``."""

    data: str
    data_digest: str | None = None  #: equilif.data.dataset.DataSet.digest
    version: str | None = None  #: of equilif
    sizes: str
    settings: Description
    seed: int = 0
    about: About | None = None  #: of a user's own data, how they are read
    machine: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    device: str = ""
    epochs: tuple[RateEpoch, ...]

    def __post_init__(self) -> None:
        if self.data != self.settings.data:
            raise ValueError(f"data is {self.data}, its settings are for {self.settings.data}")
        check_known(self.settings, self.about)
        check_seed(self.seed)
        check_digest(self.data_digest, "data_digest")
        check_numbers([e.epoch for e in self.epochs])


def check_known(settings: Description, about: About | None) -> None:
    """ValueError unless the data have a name, or were read from a user's files."""
    if about is None and settings.data not in RATES:
        raise ValueError(f"data must be one of {', '.join(RATES)}, not {settings.data!r}")
    if settings.rates is None:
        raise ValueError("settings must have the table rates")


def read_history(path: Path) -> RateHistory:
    """A rates.json; ValueError names the file, and the key that is something else."""
    with reading(path, "a history of `equilif rates`"):
        return record(RateHistory, current(load_json(path), path.parent))


def current(raw: Any, folder: Path) -> Any:
    """What a run wrote, in the form of this version; ``folder`` has the network of a run of before."""
    settings = raw.get("settings") if isinstance(raw, dict) else None
    if not isinstance(settings, dict) or not settings or "population" in settings:
        return raw
    network, _ = networks.load(folder / NETWORK)
    base = Description.of_network(network).content()
    if settings["data"] in RATES:
        base["loading"] = RATES[settings["data"]].content()["loading"]
    run = {name: settings[name] for name in ("seed", "about") if name in settings}
    return {**raw, **run, "settings": old.rates(settings, base)}
