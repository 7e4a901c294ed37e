"""Changes to a description: keys of a network file, each with another value.

    phases.free=16      learning.eta=0.02      start.bias=0.1      population.hidden1.size=32

What is wrong with one is a ValueError of one line that names the key, what it may be, and the nearest key.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from equilif.training import netfile
from equilif.training.netfile import LOADING, Place, nearest
from equilif.training.preset import Preset
from equilif.training.records import plain
from equilif.training.settings import KEYS, Settings
from equilif_golden.schedule import Schedule

Patches = Mapping[str, str]  #: values as they are typed, by key
UNNAMED = "synapse"  #: a table without names


def split(words: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE by key; ValueError for something else, and for a key that is given twice."""
    found: dict[str, str] = {}
    for word in words:
        key, given, text = (part.strip() for part in word.partition("="))
        if not given or not text or "." not in key.strip("."):
            raise ValueError(f"--set takes KEY=VALUE, such as learning.epochs=5, not {word!r}")
        if key in found:
            raise ValueError(f"--set {key} is given twice: leave one of them out")
        found[key] = text
    return found


def value(text: str) -> Any:
    """A value as TOML has it; a word without quotes is a text."""
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def of_network(preset: Preset, given: Patches) -> Preset:
    """The preset with keys of its network file changed."""
    if not given:
        return preset
    raw = tomllib.loads(netfile.written(preset))
    places: dict[Place, str] = {}
    for key, text in given.items():
        place = _place(key, raw)
        places[place] = key
        table: dict[Any, Any] = raw
        for name in place[:-1]:
            table = table.setdefault(name, {})
        table[place[-1]] = value(text)

    def located(place: Place, message: str) -> str:
        """A message after the change that led to it."""
        key = places.get(place) or next(
            (k for p, k in places.items() if p[:1] == place[:1]), next(iter(given))
        )
        return f"--set {key}={given[key]}: {message}"

    return netfile.made(Path(preset.data), raw, located, preset.data).preset(preset.data)


def _place(key: str, raw: Mapping[str, Any]) -> Place:
    """The keys that lead to a value; a population may have points in its name."""
    table, *names = key.split(".")
    if table == UNNAMED:
        raise ValueError(f"--set {key}: synapses have no names; change them in a file (equilif new, --net)")
    if table != "population":
        return (table, ".".join(names))
    name = ".".join(names[:-1])
    known = list(raw["population"])
    if name not in known:
        raise ValueError(f"--set {key}: there is no population {name!r}: {nearest(name, known)}")
    return (table, name, names[-1])


# -- training in real numbers ----------------------------------------------------------------------
def of_rates(settings: Settings, given: Patches) -> Settings:
    """The settings with some of them changed: tables learning, phases, and loading for tokens."""
    changed: dict[str, dict[str, Any]] = {"learning": {}, "phases": {}, LOADING: {}}
    types = {"learning": get_type_hints(Settings), "phases": get_type_hints(Schedule)}
    known = {"learning": KEYS, "phases": netfile.keys("phases")}
    for key, text in given.items():
        table, _, name = key.partition(".")
        if table not in changed:
            raise ValueError(f"--set {key}: `equilif rates` has no {table!r}: {nearest(table, [*changed])}")
        if table in known and name not in known[table]:
            raise ValueError(f"--set {key}: [{table}] has no {name!r}: {nearest(name, [*known[table]])}")
        found = value(text)
        if table in known:
            listed = [found] if name == "without" and not isinstance(found, list) else found
            try:
                found = plain(types[table][name], listed, name)
            except ValueError as e:
                raise ValueError(f"--set {key}={text}: {e}") from e
        changed[table][name] = found
    loading = changed[LOADING]
    tokens = settings.tokens_of(loading.pop("tokens", None), **loading)
    if tokens is not None:
        changed["learning"]["asked"] = tokens
    schedule = dataclasses.replace(settings.schedule, **changed["phases"])
    return dataclasses.replace(settings, schedule=schedule, **changed["learning"])


def training_words(given: Mapping[str, Any]) -> Iterator[str]:
    """How own data are read, as `equilif train` and `equilif rates` take it; None is left out."""
    for name, value in given.items():
        if value is None:
            continue
        if name == "label":
            yield from ("--label", str(value))
        else:
            yield from ("--set", f"data.{name}={'true' if value is True else value}")
