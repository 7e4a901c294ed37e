"""Stored files of earlier versions: their keys under the present names (equilif.training.renamed).

Version 0.1.0 also kept the sizes of a chain, an attention layer and any other network in three ways, and the
training of mean rates in a fourth: :func:`preset` and :func:`rates` give them as the content of a network
file, still under the names of that time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from equilif.training import tables
from equilif.training.renamed import RENAMED, renamed


def description(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a stored description, under the present names."""
    found = {table: renamed(table, value) for table, value in content.items()}
    populations, synapses = (content.get(table) for table in ("population", "synapse"))
    if isinstance(populations, Mapping):
        found["population"] = {name: renamed("population", p) for name, p in populations.items()}
    if isinstance(synapses, list | tuple):
        found["synapse"] = [renamed("synapse", s) for s in synapses]
    return found


def about(content: Any) -> Any:
    """Record of a user's data in a network or run, under the present names."""
    found = renamed("about", content)
    if isinstance(found, dict) and "encoding" in found:
        found["encoding"] = renamed("encoding", found["encoding"])
    return found


def history(content: Any) -> Any:
    """The content of a history.json, under the present names; its description names its own keys."""
    if not isinstance(content, Mapping):
        return content
    found = dict(content)
    if isinstance(found.get("epochs"), list | tuple):
        found["epochs"] = [renamed("epoch", e) for e in found["epochs"]]
    if "about" in found:
        found["about"] = about(found["about"])
    return found


# -- version 0.1.0 ---------------------------------------------------------------------------------
#: keys of what it kept
LEARNING = ("epochs", "decay", "order", "seeds", *RENAMED["learning"])
PRESET = ("data", "hidden", "schedule", "rate_scales", "bias", "scale", "query", "memory", "graph", *LEARNING)
#: what the network says, and what belongs to the run
OF_NETWORK = ("hidden", "schedule", "feedback", "channels")
OF_RUN = ("data", "asked", "seed", "about")


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
    names = {"pre": "from", "post": "to", "rate": "learning_rate_scale", "rate_scale": "learning_rate_scale"}
    return {names.get(key, key): value for key, value in s.items() if value is not None}


def rates(d: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The same for settings of mean rates; ``base``: content of the network saved with them."""
    memory = d.get("asked") or {}
    return {
        **base,
        "data": d["data"],
        "rates": {key: value for key, value in d.items() if key not in (*OF_NETWORK, *OF_RUN)},
        "loading": memory.get("loading", base.get("loading", {})),
    }
