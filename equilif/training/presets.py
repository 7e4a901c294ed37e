"""How each data set is trained unless told otherwise: the only place for these numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from equilif.data import images, sequences
from equilif.data.images import DataSet
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.network import Network, Weights
from equilif_golden.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory of a sequence's tokens between data and hidden populations
    (equilif_golden.network.Network.attention).
    """

    #: patterns that it holds; longer sequences are cut or pooled by their loader
    tokens: int
    heads: int
    gain: int = 1
    sharpness: int = 3
    query: float = 0.3  #: deviation of the initial queries
    query_scale: float = 1.0  #: relative learning rate of the queries
    #: options of the loader in equilif.data.sequences
    loading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network and how it learns one data set.

    Plain values only: it goes into history.json and comes back from there.
    """

    data: str
    hidden: tuple[int, ...]
    epochs: int
    #: learning rate of the first epoch, as in the paper: dW = eta / (2 beta) times the difference
    eta: float
    decay: float  #: what the learning rate decays by, see ``form``
    form: Literal["exponential", "linear", "cosine"] = "exponential"
    schedule: Schedule = Schedule()
    #: relative learning rate of each layer, first to last; empty: all the same
    rate_scales: tuple[float, ...] = ()
    #: part of the training images that an epoch moves by a pixel (equilif.data.images.shifted)
    shift: float = 0.0
    bias: float = 0.2  #: initial biases in thresholds
    scale: float = 0.5  #: initial weights as a part of Glorot's limit
    memory: Memory | None = None  #: for sequences
    #: a reported accuracy is the mean over these; the first is the default
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")
        if not self.eta > 0:
            raise ValueError(f"eta must be above 0, not {self.eta}")
        if not 0 <= self.shift <= 1:
            raise ValueError(f"shift must be in 0..1, not {self.shift}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay must be in 0..1, not {self.decay}")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch, counted from 0.

        exponential     eta x decay**epoch
        linear, cosine  from eta in the first epoch to eta x decay in the last
        """
        if self.form == "exponential":
            return float(self.eta * self.decay**epoch)
        progress = epoch / max(1, self.epochs - 1)
        left = 1 - progress if self.form == "linear" else (1 + math.cos(math.pi * progress)) / 2
        return self.eta * (self.decay + (1 - self.decay) * left)

    def load(self, folder: Path | None = None) -> DataSet:
        """The data set from ``folder``, or from where its loader looks by itself."""
        if self.memory is None:
            return images.load(self.data, folder)
        return sequences.load(
            self.data, folder, max_tokens=self.memory.tokens, **self.memory.loading
        ).data_set()

    def network(self, d: DataSet) -> Network:
        m = self.memory
        if m is None or d.tokens_train is None:
            return Network.chain(
                d.n_features,
                *self.hidden,
                d.n_classes,
                schedule=self.schedule,
                rate_scales=self.rate_scales or None,
            )
        return Network.attention(
            m.tokens,
            d.tokens_train.table.shape[1],
            m.heads,
            *self.hidden,
            d.n_classes,
            gain=m.gain,
            sharpness=m.sharpness,
            schedule=self.schedule,
            query_scale=m.query_scale,
        )

    def initial_weights(self, network: Network, seed: int) -> Weights:
        m = self.memory
        weights = network.initial_weights(seed, bias=self.bias, scale=self.scale, query=m.query if m else 0)
        if m and (n := m.loading.get("n_pos", 0)):
            # each head begins at a place of its own in the sequence
            places = sequences.position(np.linspace(0, 1, m.heads), n).astype(np.int64) << (
                network.numerics.fraction - FRACTION
            )
            weights["bias-query"].reshape(m.heads, -1)[:, -n:] = places
        return weights

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        lists = {k: tuple(d[k]) for k in ("hidden", "rate_scales", "seeds")}
        return cls(
            **{
                **d,
                **lists,
                "schedule": Schedule(**d["schedule"]),
                "memory": Memory(**d["memory"]) if d.get("memory") else None,
            }
        )


PRESETS = {
    p.data: p
    for p in (
        Preset(data="digits", hidden=(64,), epochs=15, eta=0.05, decay=0.93),
        Preset(
            data="mnist",
            hidden=(128,),
            epochs=10,
            eta=0.02,
            decay=0.05,
            form="linear",
            schedule=Schedule(beta=1.0),
            shift=0.5,
        ),
        Preset(
            data="fashion",
            hidden=(256,),
            epochs=20,
            eta=0.01,
            decay=0.05,
            form="linear",
            schedule=Schedule(nudged=16),
        ),
        Preset(
            data="snippets",
            hidden=(64,),
            epochs=16,
            eta=0.003,
            decay=0.85,
            schedule=Schedule(nudged=16),
            memory=Memory(tokens=64, heads=8, sharpness=3, query_scale=32),
        ),
        Preset(
            data="imdb",
            hidden=(64,),
            epochs=6,
            eta=0.0015,
            decay=0.05,
            form="linear",
            schedule=Schedule(nudged=16),
            memory=Memory(tokens=400, heads=16, sharpness=3, query_scale=64, loading={"drop": 50}),
        ),
        Preset(
            data="spoken",
            hidden=(128,),
            epochs=20,
            eta=0.01,
            decay=0.05,
            form="linear",
            schedule=Schedule(nudged=16),
            memory=Memory(tokens=32, heads=16, sharpness=4, query=0, loading={"n_pos": 16}),
        ),
        Preset(
            data="vowels",
            hidden=(128,),
            epochs=20,
            eta=0.02,
            decay=0.93,
            schedule=Schedule(nudged=16),
            memory=Memory(tokens=32, heads=8, sharpness=3, query=0, loading={"n_pos": 8}),
        ),
    )
}
