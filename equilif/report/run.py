"""A run folder of either training command, and its samples."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from equilif.data import Name
from equilif.data.encoding.about import About
from equilif.data.sets.characters import TextFiles
from equilif.data.sets.dataset import DataSet
from equilif.training.resolve import Request, default, resolve
from equilif.training.settings import netfile, presets
from equilif.training.settings.description import Description
from equilif.training.settings.patches import CONTRAST, FEEDBACK, TOKENS, patched, training_words
from equilif.training.settings.tables import METHODS
from equilif.training.storage.history import HISTORY, NETWORK, History, saved_history
from equilif_golden import network as networks
from equilif_golden.network import Network, Weights


@dataclass(frozen=True)
class SavedRun:
    """A run of `equilif train` or `equilif train-rates` that was saved in ``folder``."""

    folder: Path
    network: Network
    weights: Weights
    history: History

    def learning_rate(self, data: DataSet | None) -> float:
        """Learning rate that it began with, or that is usual for its samples; 0 where that is not known."""
        h = self.history
        if not h.real:
            return h.preset.rate(0)
        if h.about is not None and data is None:
            return 0.0
        return default(data, Name(h.data) if h.about is None else None).rate(0)

    def repeat(self, data: DataSet | None) -> Repeat:
        """Commands that repeat the run and evaluate it; ``data``: its samples, which tell what is usual
        for them.
        """
        h = self.history
        again = _again(self.folder, h, data)
        look = command_line("evaluate", str(self.folder / NETWORK))
        return dataclasses.replace(again, commands=(*again.commands, look))


@dataclass(frozen=True)
class Repeat:
    """Commands, and the network file that the first of them writes, if it does."""

    commands: tuple[str, ...]
    net: str = ""


def read(folder: Path) -> SavedRun:
    """ValueError when there is no run in ``folder``, or a damaged one."""
    if not folder.is_dir():
        there = f"there is no {folder}" if not folder.exists() else f"{folder} is not a folder"
        raise ValueError(f"{there}: a report needs the folder of a run (`equilif train`)")
    history = saved_history(folder)
    if history is None:
        raise ValueError(
            f"{folder} holds no run: it has no {HISTORY}, which `equilif train` and `train-rates` write"
        )
    if history.preset.text:
        raise ValueError(f"the run in {folder} predicts characters: a report is of a network with classes")
    if not history.epochs:
        raise ValueError(f"the run in {folder} has not finished an epoch yet: resume it with --resume")
    if not (folder / NETWORK).exists():
        raise ValueError(f"{folder} has no {NETWORK}: a report needs the spiking network")
    network, weights = networks.load(folder / NETWORK)
    return SavedRun(folder, network, weights, history)


def own_data(history: History) -> About | None:
    """Record of a user's own data; None for a data set with a name."""
    assert not isinstance(history.about, TextFiles), history.data
    return history.about


# -- how to repeat it ------------------------------------------------------------------------------
def _again(folder: Path, history: History, data: DataSet | None) -> Repeat:
    """The command that trains the same: with options where they say all, else with a network file; in real
    numbers, own data without samples to tell their defaults: every option.
    """
    about = own_data(history)
    learned = history.preset
    command = learned.command
    words = [command, history.data if about is None else about.path, *_reading(about)]
    seed = _options({"seed": history.seed})
    name = Name(history.data) if about is None else None
    base = default(data, name, rates=history.real) if data or name else None
    layers = _flat(learned)["hidden"]
    several = len(layers) > 1
    if history.real:
        chain = several and layers == learned.hidden and not learned.feedback
        usual = _flat(presets.suited(base, learned.hidden) if chain else base) if base else {}
        given = _changed(_flat(learned), {**usual, **({FEEDBACK: False} if several else {})})
        if several:
            given["hidden"] = layers
        return Repeat((command_line(*words, *_options(given), *seed),))
    maps = layers != learned.hidden
    if base and (data or not maps):
        override = {CONTRAST: "phases"} if several and not learned.schedule.errors else {}
        if data and maps:
            base = resolve(Request(data=data, hidden=layers, changes=override)).description
        else:
            base = presets.suited(base, learned.hidden, override)
        given = _changed(_flat(learned), _flat(base)) | override
        if several or maps:
            given["hidden"] = layers
        patches = {k: netfile.toml(v) for k, v in given.items() if k != "hidden" and v is not None}
        if patched(base if maps else base.changed(hidden=given.get("hidden")), patches) == learned:
            return Repeat((command_line(*words, *_options(given), *seed),))
    file = f"{folder.resolve().name}.toml"
    new = command_line("init", str(folder), "--out", file)
    return Repeat((new, command_line(*words, "--config", file, *seed)), netfile.written(learned))


def command_line(*words: str) -> str:
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
                "attention": True if code.attention and not code.front_end else None,
                "front_end": True if code.front_end else None,
                "window": code.sensor.window if code.sensor else None,
                "windows": code.sensor.windows if code.sensor else None,
                "word_vectors": code.word_vectors,
                "test": about.test,
                "test_fraction": about.test_fraction,
                "missing": None if about.scaling.missing == "refuse" else about.scaling.missing,
            }
        )
    )


def _flat(d: Description) -> dict[str, Any]:
    """Settings that options can change, by key of the network file."""
    found: dict[str, Any] = {"hidden": d.layers}
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
    """Settings as words of a command line: options where there are any, else --set; None is left out."""
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
