"""Keys that were renamed: stored files have the earlier ones, and a user's file with one gets a hint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: present name by earlier one, for each table of a description and for other parts of stored files
RENAMED: Mapping[str, Mapping[str, str]] = {
    "population": {"rows": "table_rows", "loaded": "dynamic_patterns"},
    "synapse": {"rate": "learning_rate_scale"},
    "phases": {"early": "early_exit", "least": "min_windows"},
    "learning": {
        "eta": "learning_rate",
        "form": "schedule",
        "shift": "random_shift",
        "flip": "horizontal_flip",
        "dropout": "token_dropout",
        "crop": "token_crop",
        "mask": "input_mask",
    },
    "rates": {
        "lr": "learning_rate",
        "batch": "batch_size",
        "shift": "random_shift",
        "flip": "horizontal_flip",
        "table_lr": "table_learning_rate",
        "without": "excluded_classes",
        "hold_out": "validation_samples",
    },
    "data": {"hold_out": "test_fraction", "memory": "attention", "vectors": "word_vectors"},
    "epoch": {
        "eta": "learning_rate",
        "lr": "learning_rate",
        "there": "forward_iterations",
        "back": "backward_iterations",
        "settled": "converged",
    },
    "about": {"hold_out": "test_fraction"},
    "encoding": {
        "memory": "attention",
        "vectors": "word_vectors",
        "vectors_digest": "word_vectors_digest",
    },
}
#: values that were renamed, by table and present key
VALUES: Mapping[tuple[str, str], Mapping[Any, str]] = {
    ("learning", "order"): {"board": "standalone"},
    ("population", "kind"): {"softmax": "attention"},
}


def renamed(table: str, content: Any) -> Any:
    """A table of a stored file, its keys and values under their present names; anything else as it is."""
    if not isinstance(content, Mapping):
        return content
    names = RENAMED.get(table, {})
    found = {names.get(key, key): value for key, value in content.items()}
    for (where, key), values in VALUES.items():
        if where == table and isinstance(found.get(key), str):
            found[key] = values.get(found[key], found[key])
    return found
