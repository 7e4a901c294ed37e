"""What a run folder holds, whichever command wrote it, and the samples that belong to it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif.data import own
from equilif.data.about import About
from equilif.data.dataset import DataSet
from equilif.training import netfile, presets, settings, train
from equilif.training.description import Description
from equilif.training.folder import RATES
from equilif.training.patches import TOKENS, patched, training_words
from equilif.training.records import check_data
from equilif.training.settings import RateEpoch, RateHistory
from equilif.training.tables import METHODS
from equilif.training.train import HISTORY, NETWORK, EpochRecord, History
from equilif_golden import network as networks
from equilif_golden.network import Network, Weights


@dataclass(frozen=True)
class Run:
    """A run of `equilif train` or `equilif rates` that was saved in ``folder``."""

    folder: Path
    network: Network
    weights: Weights
    history: History | RateHistory

    @property
    def epochs(self) -> Sequence[EpochRecord | RateEpoch]:
        return self.history.epochs

    @property
    def about(self) -> About | None:
        """How the data of its user were read, None for a data set with a name."""
        return self.history.about

    @property
    def real(self) -> bool:
        """Whether it was trained in real numbers."""
        return isinstance(self.history, RateHistory)

    @property
    def seed(self) -> int:
        return self.history.seed

    @property
    def digest(self) -> str:
        """Of the weights."""
        return train.digest(self.weights)

    @property
    def recorded(self) -> bool:
        """Whether the history knows these weights: it does unless the run was cut off in between."""
        if isinstance(self.history, RateHistory):
            return True
        saved = {place.weights for place in self.history.epochs}
        return self.digest in saved | {mark.weights for mark in self.history.marks}

    def eta(self, data: DataSet | None) -> float:
        """Learning rate that it began with, or that is usual for its samples; 0 where that is not known."""
        h = self.history
        if isinstance(h, History):
            return h.preset.rate(0)
        if h.about is None:
            return presets.PRESETS[h.data].rate(0)
        return 0.0 if data is None else presets.own(data).rate(0)

    def load(self, data: Path | None = None) -> DataSet:
        """Its samples: of a data set with a name from the folder ``data``, of its user's own data from the
        file or folder ``data``; without it from where they were.

        ValueError or OSError when they are not there, or others.
        """
        h = self.history
        learned = h.settings if isinstance(h, RateHistory) else h.preset
        if h.about is not None:
            loaded = learned.selected(own.again(h.about, data, name=h.data))
        else:
            loaded = learned.load(data)
        check_data(self.folder, h.data, h.data_digest, loaded)
        return loaded

    def repeat(self, data: DataSet | None) -> Repeat:
        """What makes the same run again, and evaluates it; ``data``: its samples, which tell what is usual
        for them.
        """
        h = self.history
        again = _again(self.folder, h, data)
        look = _said("evaluate", str(self.folder / NETWORK))
        return dataclasses.replace(again, commands=(*again.commands, look))


@dataclass(frozen=True)
class Repeat:
    """Commands, and the network file that the first of them writes, if it does."""

    commands: tuple[str, ...]
    net: str = ""


def read(folder: Path) -> Run:
    """ValueError when there is no run in ``folder``, or a damaged one."""
    if not folder.is_dir():
        there = f"there is no {folder}" if not folder.exists() else f"{folder} is not a folder"
        raise ValueError(f"{there}: a report is of the folder of a run, which `equilif train` writes")
    history: History | RateHistory
    if (folder / HISTORY).exists():
        history = train.read_history(folder / HISTORY)
    elif (folder / RATES).exists():
        history = settings.read_history(folder / RATES)
    else:
        raise ValueError(
            f"{folder} holds no run: it has neither {HISTORY} of `equilif train` nor {RATES} of "
            "`equilif rates`"
        )
    if not history.epochs:
        raise ValueError(f"the run in {folder} has not finished an epoch yet: go on with it by --resume")
    if not (folder / NETWORK).exists():
        raise ValueError(f"{folder} has no {NETWORK}: a report is of a spiking network")
    network, weights = networks.load(folder / NETWORK)
    return Run(folder, network, weights, history)


# -- how to repeat it ------------------------------------------------------------------------------
def _again(folder: Path, history: History | RateHistory, data: DataSet | None) -> Repeat:
    """The command that trains the same: with options where they say all, else with a network file; in real
    numbers, own data without samples to tell their defaults: every option.
    """
    about = history.about
    if isinstance(history, RateHistory):
        command, learned, named, suggested = "rates", history.settings, presets.RATES, presets.own_rates
    else:
        command, learned, named, suggested = "train", history.preset, presets.PRESETS, presets.own
    words = [command, history.data if about is None else about.path, *_reading(about)]
    seed = _options({"seed": history.seed})
    base = named[history.data] if about is None else data and suggested(data)
    if command == "rates":
        given = _changed(_flat(learned), _flat(base) if base else {})
        return Repeat((_said(*words, *_options(given), *seed),))
    if base:
        given = _changed(_flat(learned), _flat(base))
        patches = {k: netfile.toml(v) for k, v in given.items() if k != "hidden" and v is not None}
        if patched(base.changed(hidden=given.get("hidden")), patches) == learned:
            return Repeat((_said(*words, *_options(given), *seed),))
    file = f"{folder.resolve().name}.toml"
    new = _said("new", str(folder), "--out", file)
    return Repeat((new, _said(*words, "--net", file, *seed)), netfile.written(learned))


def _said(*words: str) -> str:
    return shlex.join(["equilif", *words])


def _reading(about: About | None) -> list[str]:
    """Options of how a user's own data are read."""
    if about is None:
        return []
    code = about.encoding
    return list(
        training_words(
            {
                "label": about.label,
                "text": about.text,
                "memory": True if code.memory else None,
                "vectors": code.vectors,
                "test": about.test,
                "hold_out": about.hold_out,
                "missing": None if about.scaling.missing == "refuse" else about.scaling.missing,
            }
        )
    )


def _flat(d: Description) -> dict[str, Any]:
    """What options can change, by key of the network file."""
    maps = [s for s in d.synapse if s.kernel]
    convolutions = (f"conv:{d.population[s.to].shape[-1]}:{s.kernel}:{s.stride}" for s in maps)  # type: ignore[index]
    found: dict[str, Any] = {"hidden": (*convolutions, *d.hidden)}
    tables = {name: dict(getattr(d, name)) for name in (*METHODS, "phases") if getattr(d, name)}
    tables["start"] = {name: getattr(d.start, name) for name in ("bias", "scale")}
    for table, values in tables.items():
        found |= {f"{table}.{name}": value for name, value in values.items() if name != "seeds"}
    if d.rates:
        found["synapse.feedback"] = d.feedback
    if d.rates and d.memory:
        found |= {TOKENS: d.memory.size, **{f"loading.{name}": v for name, v in d.loading.items()}}
    return found


def _changed(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if base.get(name) != value}


def _options(values: Mapping[str, Any]) -> Iterator[str]:
    """On the command line; None is not given, and what has an option is no key."""
    for name, value in values.items():
        option = name.rpartition(".")[2] if name.endswith(".epochs") else name
        if value is None:
            continue
        if "." not in option:
            for each in value if isinstance(value, tuple) else (value,):
                yield from (f"--{option}", str(each))
        else:
            word = value if isinstance(value, str) and value.isalnum() else netfile.toml(value)
            yield from ("--set", f"{name}={word}")
