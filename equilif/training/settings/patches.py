"""Changes to a description: keys of a network file, each with another value.

    phases.free=16      learning.learning_rate=0.02      start.bias=0.1      population.hidden1.size=32

What is wrong with one is a ValueError of one line that names the key, what it may be, and the nearest key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from equilif.training.settings.description import Description
from equilif.training.settings.tables import METHODS
from equilif_golden.places import Place, PlacedError, nearest

Patches = Mapping[str, str]  #: values as they are typed, by key
NO_CHANGES: Patches = MappingProxyType({})
#: numbers without a digit before or behind the point, which TOML has not
SHORT = re.compile(r"[+-]?(?:\.\d+|\d+\.)(?:[eE][+-]?\d+)?", re.ASCII)
UNNAMED = "synapse"  #: a table without names
FEEDBACK = "synapse.feedback"
#: keys of all synapses between spiking populations (feedback: also from relays), with values for the others
SPIKING = {FEEDBACK: True, "synapse.feedback_scale": 1.0}
CONTRAST = "phases.contrast"
TOKENS = "loading.tokens"  #: size of the attention layer over them


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
    """A value as TOML has it, or a number such as .02 and 5.; a word without quotes is a text."""
    if SHORT.fullmatch(text):
        return float(text)
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def patched(description: Description, given: Patches) -> Description:
    """The description with other values of keys of its file."""
    if not given:
        return description
    content = description.content()
    places: dict[Place, str] = {}
    for key, text in given.items():
        if key in SPIKING:
            kinds = ("lif", "output", "relay") if key == FEEDBACK else ("lif", "output")
            spiking = [name for name, g in description.population.items() if g.kind in kinds]
            field = key.partition(".")[2]
            content["synapse"] = [
                {**s, "from": [name], field: value(text) if name in spiking else SPIKING[key]}
                for s in content["synapse"]
                for name in s["from"]
            ]
            places[("synapse",)] = key
            continue
        place = _place(key, description, content)
        places[place] = key
        table: dict[Any, Any] = content
        for name in place[:-1]:
            table = table.setdefault(name, {})
        table[place[-1]] = value(text)
    try:
        return Description.of(content, description.data)
    except PlacedError as e:
        near = (k for p, k in places.items() if p[:1] == e.place[:1])
        key = places.get(e.place) or next(near, next(iter(given)))
        raise PlacedError(f"--set {key}={given[key]}: {e}", e.place) from e


def ask_feedback(given: Patches) -> bool:
    """Whether these changes ask for spikes that go back, or for nudged phases, which need them."""
    return value(given.get(FEEDBACK, "false")) is True or value(given.get(CONTRAST, "errors")) == "phases"


def feedback(description: Description, given: Patches) -> bool:
    """Whether synapses send spikes back, with these changes."""
    return value(given[FEEDBACK]) is not False if FEEDBACK in given else description.feedback


def _place(key: str, description: Description, content: Mapping[str, Any]) -> Place:
    """The keys that lead to a value; a population may have points in its name."""
    table, *names = key.split(".")
    if table == UNNAMED:
        raise ValueError(f"--set {key}: synapses have no names: edit a network file (equilif init, --config)")
    if key == TOKENS and description.loaded:
        return ("population", description.loaded[0], "size")
    if table == "loading" and not description.loaded:
        raise ValueError(
            f"--set {key}: {names[0]} needs an attention layer over tokens, {description.data} has none: "
            "leave it out"
        )
    if table in METHODS and table not in content:
        other = next(name for name in METHODS if name in content)
        raise ValueError(f"--set {key}: this training has no [{table}]: did you mean {other}.{names[0]}?")
    if table != "population":
        return (table, ".".join(names))
    name = ".".join(names[:-1])
    known = list(content["population"])
    if name not in known:
        raise ValueError(f"--set {key}: there is no population {name!r}: {nearest(name, known)}")
    return (table, name, names[-1])


def training_words(given: Mapping[str, Any]) -> Iterator[str]:
    """Options of own data as command-line words; None is left out."""
    for name, value in given.items():
        if value is None:
            continue
        if name == "label":
            yield from ("--label", str(value))
        else:
            yield from ("--set", f"data.{name}={'true' if value is True else value}")
