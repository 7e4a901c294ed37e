"""How each data set is trained unless told otherwise: the only place for these numbers."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from golden.network import Network, Weights
from golden.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network and how it learns one data set.  Plain values only: it goes into history.json and comes back from there."""

    data: str
    hidden: tuple[int, ...]
    epochs: int
    eta: float                              #: learning rate of the first epoch, as in the paper: dW = eta / (2 beta) times the difference
    decay: float                            #: what the learning rate decays by, see ``form``
    form: Literal["exponential", "linear", "cosine"] = "exponential"
    schedule: Schedule = Schedule()
    rate_scales: tuple[float, ...] = ()     #: relative learning rate of each layer, first to last; empty: all the same
    shift: float = 0.0                      #: part of the training images that an epoch moves by a pixel (golden.data.shifted)
    bias: float = 0.2                       #: initial biases in thresholds
    scale: float = 0.5                      #: initial weights as a part of Glorot's limit
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)    #: a reported accuracy is the mean over these; the first is the default

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

    def network(self, n_inputs: int, n_outputs: int) -> Network:
        return Network.chain(n_inputs, *self.hidden, n_outputs, schedule=self.schedule, rate_scales=self.rate_scales or None)

    def initial_weights(self, network: Network, seed: int) -> Weights:
        return network.initial_weights(seed, bias=self.bias, scale=self.scale)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        lists = {k: tuple(d[k]) for k in ("hidden", "rate_scales", "seeds")}
        return cls(**{**d, **lists, "schedule": Schedule(**d["schedule"])})


PRESETS = {p.data: p for p in (
    Preset(data="digits", hidden=(64,), epochs=15, eta=0.05, decay=0.93),
    Preset(data="mnist", hidden=(128,), epochs=10, eta=0.02, decay=0.05, form="linear", schedule=Schedule(beta=1.0), shift=0.5),
    Preset(data="fashion", hidden=(256,), epochs=20, eta=0.01, decay=0.05, form="linear", schedule=Schedule(nudged=16)),
)}
