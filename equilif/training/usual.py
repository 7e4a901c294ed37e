"""Tables of the usual networks, as a network file has them: a chain, and a memory of tokens before one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

Tables = dict[str, Any]


def chain(*hidden: int, rates: Sequence[float] = (), feedback: bool = True) -> Tables:
    """Input, hidden populations and output, with biases; ``rates``: relative learning rate of each layer."""
    populations = {"input": {"kind": "input"}, "bias": {"kind": "constant"}, **_layers(hidden)}
    return {"population": populations, "synapse": _joined("input", hidden, rates, feedback)}


def memory(
    tokens: int,
    heads: int,
    *hidden: int,
    gain: int = 1,
    sharpness: int = 3,
    query_scale: float = 1.0,
    table_scale: float | None = None,
) -> Tables:
    """A memory of up to ``tokens`` tokens, asked by ``heads`` queries, then a chain.

    ``query_scale``: relative learning rate of the queries; ``table_scale``: that of a table of the tokens,
    None where they stay as they are.
    """
    softmax = {"kind": "softmax", "size": tokens, "sharpness": sharpness, "loaded": True}
    if table_scale is not None:
        softmax["rows"] = 0
    populations = {
        "bias": {"kind": "constant"},
        "memory": softmax,
        "query": {"kind": "relay", "heads": heads, "gain": gain},
        **_layers(hidden),
    }
    synapses = [
        {"from": "memory", "to": "query", "rate": table_scale or 0.0},
        {"from": "bias", "to": "query", "rate": query_scale},
        *_joined("query", hidden),
    ]
    return {"population": populations, "synapse": synapses}


def _names(hidden: Sequence[int]) -> list[str]:
    return [f"hidden{k}" for k in range(1, len(hidden) + 1)]


def _layers(hidden: Sequence[int]) -> Tables:
    sizes = {name: {"size": size} for name, size in zip(_names(hidden), hidden, strict=True)}
    return {**sizes, "output": {"kind": "output"}}


def _joined(
    first: str, hidden: Sequence[int], rates: Sequence[float] = (), feedback: bool = True
) -> list[Tables]:
    """Each population to the next, with biases; the first one needs no feedback."""
    tables = []
    for k, (a, b) in enumerate(pairwise([first, *_names(hidden), "output"])):
        rate = rates[k] if rates else 1.0
        if feedback or k == 0:
            tables.append({"from": [a, "bias"], "to": b, "rate": rate})
        else:
            tables.append({"from": a, "to": b, "rate": rate, "feedback": False})
            tables.append({"from": "bias", "to": b, "rate": rate})
    return tables
