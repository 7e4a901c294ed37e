"""Attention weights: the softmax of each head over the tokens of a sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif.data import names
from equilif.data.sets.dataset import DataSet
from equilif_golden.blocks.softmax import softmax
from equilif_golden.blocks.synapse import backward_values
from equilif_golden.network import Network, Weights
from equilif_golden.reference import Reference


@dataclass(frozen=True)
class AttentionSample:
    """One test sample."""

    index: int
    words: tuple[str, ...]  #: of a text; else the numbers of the tokens
    p: npt.NDArray[np.float64]  #: (heads, tokens), at the end of the free phase
    label: int
    prediction: int

    @property
    def share(self) -> npt.NDArray[np.float64]:
        """Mean over the heads (tokens,): 1 for a token that gets as much as if all got the same."""
        share: npt.NDArray[np.float64] = self.p.mean(axis=0) * len(self.words)
        return share

    def strongest(self, n: int) -> list[int]:
        """The n tokens that a head looks at most, in the order of the sequence."""
        return sorted(np.argsort(-self.p.max(axis=0), kind="stable")[:n].tolist())

    def to_dict(self) -> dict[str, Any]:
        return {
            "sample": self.index,
            "label": self.label,
            "prediction": self.prediction,
            "tokens": self.words,
            "p": self.p.round(4).tolist(),
        }


def look(network: Network, weights: Weights, data: DataSet, indices: Sequence[int]) -> list[AttentionSample]:
    """Some test samples; ValueError when the network has no memory to load, or there is no such sample."""
    memory = network.dynamic_attention
    tokens = data.tokens_test
    if memory is None or tokens is None:
        raise ValueError(
            f"the network has no attention layer over tokens: train one on {', '.join(names('sequences'))}, "
            "or on your own texts, series or recordings with data.attention"
        )
    out = []
    for i in indices:
        if not 0 <= i < len(data.y_test):
            raise ValueError(f"there is no test sample {i}, only 0 to {len(data.y_test) - 1}")
        one = tokens.take([i])
        rows = one.rows
        result = Reference(network, weights).infer(np.zeros((1, 0), np.int64), one)
        patterns = (one.table if network.table is None else weights[network.table.name])[rows]
        query = result.recalled[0].query[memory.relay.name][0]
        scores = backward_values(patterns.astype(np.int64), query)
        p = np.zeros(scores.shape)
        if len(rows):
            p = softmax(scores, shift=network.softmax_shift(memory.attention)).real
        words = tuple(data.words[r] for r in rows) if data.words else tuple(map(str, range(len(rows))))
        out.append(AttentionSample(i, words, p, int(data.y_test[i]), int(result.prediction[0])))
    return out
