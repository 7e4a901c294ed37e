"""Runs that version 0.1.0 began: what their files say of a network and its training, as a network file.

It kept the sizes of a chain, a memory and any other network in three ways, and how mean rates are trained in
a fourth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equilif.training import tables

#: keys of what it kept
LEARNING = ("epochs", "eta", "decay", "form", "shift", "flip", "dropout", "crop", "mask", "order", "seeds")
PRESET = (
    "data",
    "hidden",
    "schedule",
    "rate_scales",
    "bias",
    "scale",
    "query",
    "memory",
    "graph",
    *LEARNING,
)
#: what the network says, and what belongs to the run
OF_NETWORK = ("hidden", "schedule", "feedback", "channels")
OF_RUN = ("data", "asked", "seed", "about")


#: keys of a description that older versions wrote, by table: old -> new
RENAMED: dict[str, dict[str, str]] = {
    "population": {},
    "synapse": {"rate": "learning_rate_scale"},
    "phases": {"early": "early_exit", "least": "min_windows"},
}


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A description under the names of this version."""

    def table(value: Any, names: Mapping[str, str]) -> Any:
        return {names.get(k, k): v for k, v in value.items()} if isinstance(value, Mapping) else value

    found = dict(content)
    for name, names in RENAMED.items():
        if name not in found:
            continue
        value = found[name]
        if name == "population" and isinstance(value, Mapping):
            found[name] = {key: table(v, names) for key, v in value.items()}
        elif isinstance(value, list | tuple):
            found[name] = [table(v, names) for v in value]
        else:
            found[name] = table(value, names)
    return found


def preset(d: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a file; ValueError names a key that it never had."""
    strange = [key for key in d if key not in PRESET]
    if strange:
        raise ValueError(f"it has {', '.join(strange)}, which this version does not know")
    memory = d.get("memory") or {}
    start = {key: d[key] for key in ("bias", "scale", "query") if key in d}
    return {
        "data": d["data"],
        **_network(d, memory),
        "phases": d.get("schedule", {}),
        "learning": {key: d[key] for key in LEARNING if key in d},
        "start": start | {key: memory[key] for key in ("query",) if key in memory},
        "loading": memory.get("loading", {}),
    }


def _network(d: Mapping[str, Any], memory: Mapping[str, Any]) -> dict[str, Any]:
    if graph := d.get("graph"):
        populations = [dict(p) for p in graph["populations"]]
        return {
            "population": {p.pop("name"): {k: v for k, v in p.items() if v is not None} for p in populations},
            "synapse": [_synapse(s) for s in graph["synapses"]],
            "numbers": graph.get("numerics", {}),
        }
    if not memory:
        return tables.chain(*d["hidden"], learning_rate_scales=d.get("rate_scales") or None)
    names = {"query_scale": "query_learning_rate_scale", "table_scale": "table_learning_rate_scale"}
    shape = {names.get(k, k): v for k, v in memory.items() if k not in ("query", "loading")}
    return tables.memory(shape.pop("tokens"), shape.pop("heads"), *d["hidden"], **shape)


def _synapse(s: Mapping[str, Any]) -> dict[str, Any]:
    names = {"pre": "from", "post": "to", "rate_scale": "learning_rate_scale"}
    return {names.get(key, key): value for key, value in s.items() if value is not None}


def rates(d: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The same of settings of mean rates; ``base``: content of the network that was saved beside them."""
    memory = d.get("asked") or {}
    return {
        **base,
        "data": d["data"],
        "rates": {key: value for key, value in d.items() if key not in (*OF_NETWORK, *OF_RUN)},
        "loading": memory.get("loading", base.get("loading", {})),
    }
