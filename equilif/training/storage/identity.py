"""Identity of a network where its weights are kept: in the flash of a board, and by the C driver."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from equilif_golden.network import Network

#: where data are, what follows from them, and how a network of them was trained
LOCATION = ("path", "test", "known", "parameters")
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class NetworkIdentity:
    """Digests of the structure of a network, without weights, and of its data record."""

    network: str
    data: str

    #: what is compared, and what it says of a network when it differs
    DIFFERENCES: ClassVar = {"network": "a network of another structure", "data": "a network of other data"}

    @classmethod
    def of(cls, network: Network, about: Mapping[str, Any] | None) -> NetworkIdentity:
        what = None if about is None else {k: v for k, v in about.items() if k not in LOCATION}
        return cls(_digest(network.to_dict()), _digest(what))

    def difference(self, other: NetworkIdentity) -> str | None:
        """Description of the difference of ``other``, or None."""
        for part, text in self.DIFFERENCES.items():
            if getattr(self, part) != getattr(other, part):
                return text
        return None

    def words(self) -> tuple[int, ...]:
        """The digests in 32-bit words, the first digits first."""
        digits = self.network + self.data
        return tuple(int(digits[at : at + 8], 16) for at in range(0, len(digits), 8))

    @classmethod
    def from_words(cls, words: Iterable[int]) -> NetworkIdentity:
        """Inverse of :meth:`words`."""
        digits = "".join(f"{word:08x}" for word in words)
        return cls(digits[:DIGEST_DIGITS], digits[DIGEST_DIGITS:])


def _digest(value: Any) -> str:
    written = json.dumps(_digest_form(value), sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()[:DIGEST_DIGITS]


#: names in a digest, by field: boards and the C driver have stored these digests
DIGEST_NAMES = {
    "table_rows": "rows",
    "dynamic_patterns": "loaded",
    "learning_rate_scale": "rate_scale",
    "early_exit": "early",
    "min_windows": "least",
    "test_fraction": "hold_out",
    "attention": "memory",
    "word_vectors": "vectors",
    "word_vectors_digest": "vectors_digest",
}


def _digest_form(value: Any) -> Any:
    """A record under the names of a digest: renaming a field changes no digest."""
    if isinstance(value, Mapping):
        found = {DIGEST_NAMES.get(key, key): _digest_form(v) for key, v in value.items()}
        return found | {"kind": "softmax"} if found.get("kind") == "attention" else found
    return [_digest_form(v) for v in value] if isinstance(value, list | tuple) else value
