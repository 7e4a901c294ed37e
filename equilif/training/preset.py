"""A network and how it learns one data set."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from equilif.data import images, sequences
from equilif.data.dataset import DataSet
from equilif.data.ragged import position
from equilif.training.records import record
from equilif.training.sketch import Sizes, Sketch
from equilif_golden.blocks.relay import FRACTION
from equilif_golden.fixed import choice, finite, whole
from equilif_golden.learning import learning_steps, smallest_rate
from equilif_golden.network import MOST_NEURONS, MOST_PATTERNS, Network, Weights
from equilif_golden.schedule import Schedule

MOST_EPOCHS = 1 << 20
MOST_SEED = (1 << 32) - 1
PHASES = frozenset(f.name for f in dataclasses.fields(Schedule))
FORMS = ("exponential", "linear", "cosine")
ORDERS = ("shuffled", "board")


def check_seed(seed: int) -> int:
    """A seed that NumPy and torch take; ValueError otherwise."""
    return whole(seed, "seed", 0, MOST_SEED)


@dataclass(frozen=True, kw_only=True)
class MemoryPreset:
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
    #: relative learning rate of the table of tokens, which then belongs to the network; None: tokens stay as
    #: the data have them
    table_scale: float | None = None
    #: options of the loader in equilif.data.sequences
    loading: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole(self.tokens, "tokens", 1, MOST_PATTERNS)
        whole(self.heads, "heads", 1, MOST_NEURONS)
        finite(self.query, "query", 0, 1 << 16)
        finite(self.query_scale, "query_scale", 0, 1 << 16)
        if self.table_scale is not None:
            finite(self.table_scale, "table_scale", 0, 1 << 16)
        for name, value in self.loading.items():
            if name == "max_tokens" or not isinstance(value, int | float | str | Path | None):
                raise ValueError(f"loading.{name} must be a number or a text for the loader, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A network and how it learns one data set.

    Plain values only: it goes into history.json and comes back from there.  ValueError for a value that
    cannot be.
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
    #: part of them that it turns left to right (equilif.data.images.mirrored)
    flip: float = 0.0
    #: part of the tokens of a training sample that an epoch leaves out (equilif_golden.tokens)
    dropout: float = 0.0
    #: part of them that it leaves out at either end, at most; those that are left move to new places
    crop: float = 0.0
    #: neighbouring values of its tokens that an epoch sets to 0: bands or channels of a recording
    mask: int = 0
    #: of the samples of an epoch; ``board``: as a board makes it that learns alone
    order: Literal["shuffled", "board"] = "shuffled"
    bias: float = 0.2  #: initial biases in thresholds
    scale: float = 0.5  #: initial weights as a part of Glorot's limit
    memory: MemoryPreset | None = None  #: for sequences
    #: a network of another shape, in place of ``hidden`` and ``rate_scales``
    graph: Sketch | None = None
    query: float = 0.3  #: deviation of the initial queries of a memory that ``memory`` does not describe
    #: a reported accuracy is the mean over these; the first is the default
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    def __post_init__(self) -> None:
        for size in self.hidden:
            whole(size, "hidden", 1, MOST_NEURONS)
        whole(self.epochs, "epochs", 1, MOST_EPOCHS)
        if not finite(self.eta, "eta", 0, 1 << 16):
            raise ValueError("eta must be above 0: a learning rate of 0 teaches nothing")
        finite(self.decay, "decay", 0, 1)
        finite(self.shift, "shift", 0, 1)
        finite(self.flip, "flip", 0, 1)
        finite(self.dropout, "dropout", 0, 1)
        finite(self.crop, "crop", 0, 0.5)
        whole(self.mask, "mask", 0, MOST_NEURONS)
        finite(self.bias, "bias", -(1 << 16), 1 << 16)
        finite(self.scale, "scale", 0, 1 << 16)
        finite(self.query, "query", 0, 1 << 16)
        for scale in self.rate_scales:
            finite(scale, "rate_scales", 0, 1 << 16)
        choice(self.form, "form", FORMS)
        choice(self.order, "order", ORDERS)
        if not self.seeds:
            raise ValueError("seeds must have at least one, the default")
        for seed in self.seeds:
            check_seed(seed)
        if self.memory is not None and self.shift:
            raise ValueError(f"shift moves images by a pixel, {self.data} has none: leave it out")
        if self.memory is not None and self.flip:
            raise ValueError(f"flip mirrors images, {self.data} has none: leave it out")
        if self.memory is None and self.dropout:
            raise ValueError(
                f"dropout leaves out tokens of a memory, {self.data} has none here: leave it out"
            )
        for name in ("crop", "mask"):
            if getattr(self, name) and (self.memory is None or self.memory.table_scale is not None):
                raise ValueError(f"{name} changes tokens that stay, {self.data} has none here: leave it out")
        if self.graph is not None:
            self._check_graph(self.graph)

    def _check_graph(self, graph: Sketch) -> None:
        """ValueError when the network is described twice, and in different ways."""
        if self.hidden or self.rate_scales:
            raise ValueError(
                "hidden is for chains, this network has its sizes in the file that it came from: change them "
                "there"
            )
        graph.check(self.schedule)
        loaded = graph.loaded
        own = None if loaded is None else (loaded[0].size, loaded[1].heads)
        said = None if self.memory is None else (self.memory.tokens, self.memory.heads)
        if own != said:
            raise ValueError(f"memory must be that of graph, {own} tokens and heads, not {said}")

    def changed(self, **options: Any) -> Self:
        """The preset with other values, its own or those of its schedule; None leaves one as it is."""
        given = {name: value for name, value in options.items() if value is not None}
        phases = {name: value for name, value in given.items() if name in PHASES}
        others = {name: value for name, value in given.items() if name not in PHASES}
        if len(others.get("hidden", self.hidden)) != len(self.hidden):
            others["rate_scales"] = ()  # they belong to the layers of the preset
        return dataclasses.replace(self, schedule=dataclasses.replace(self.schedule, **phases), **others)

    # -- learning rates ----------------------------------------------------------------------------
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

    def check_rates(self, network: Network) -> None:
        """ValueError unless weights can move in every epoch.

        Learning rates only fall, so that the first epoch has the largest one, and a search finds the first
        epoch whose rate is too small.
        """
        learning_steps(network, self.rate(0))

        def dead(epoch: int) -> bool:
            try:
                return not any(step.gain for step in learning_steps(network, self.rate(epoch)).values())
            except ValueError:  # a smaller rate than one that is possible can only be too small
                return True

        first = bisect_left(range(self.epochs), True, key=dead)
        if first < self.epochs:
            smallest = smallest_rate(network)
            fewer = f"at most {first} epoch{'s' * (first > 1)}, " if self.form == "exponential" else ""
            raise ValueError(
                f"from epoch {first + 1} of {self.epochs} on no weight would move: the learning rate is "
                f"{self.rate(first):.3g} there, and the smallest that counts is {smallest:.3g}; take {fewer}"
                "a decay nearer to 1 or a larger eta"
            )

    # -- what is made of it ------------------------------------------------------------------------
    def load(self, folder: Path | None = None) -> DataSet:
        """The data set from ``folder``, or from where its loader looks by itself."""
        if self.memory is None:
            return images.load(self.data, folder)
        return sequences.data_set(self.data, folder, self.loading)

    @property
    def loading(self) -> dict[str, Any]:
        """Options of the loader of a set of sequences, the number of tokens among them."""
        return {} if self.memory is None else {"max_tokens": self.memory.tokens, **self.memory.loading}

    def network(self, d: DataSet) -> Network:
        """The network for a data set; without tokens there is no memory in front."""
        if self.graph is not None:
            return self.graph.network(self.schedule, Sizes.of(d))
        rows, width = (1, 0) if d.tokens_train is None else d.tokens_train.table.shape
        return self._shaped(d.n_features, d.n_classes, width, rows)

    @property
    def sketch(self) -> Sketch:
        """The network as a file has it, its outer sizes left to the data."""
        if self.graph is not None:
            return self.graph
        return Sketch.of(self._shaped(1, 2, 1), sized=False)

    def _shaped(self, inputs: int, outputs: int, width: int, rows: int = 1) -> Network:
        m = self.memory
        if m is None or not width:
            return Network.chain(
                inputs,
                *self.hidden,
                outputs,
                schedule=self.schedule,
                rate_scales=self.rate_scales or None,
            )
        return Network.attention(
            m.tokens,
            width,
            m.heads,
            *self.hidden,
            outputs,
            gain=m.gain,
            sharpness=m.sharpness,
            schedule=self.schedule,
            query_scale=m.query_scale,
            rows=None if m.table_scale is None else rows,
            table_scale=m.table_scale or 0.0,
        )

    def initial_weights(self, network: Network, seed: int, data: DataSet | None = None) -> Weights:
        """``data``: where a table of tokens begins; ValueError when the network has one and they are not
        given.
        """
        m = self.memory
        query = m.query if m else self.query
        weights = network.initial_weights(seed, bias=self.bias, scale=self.scale, query=query)
        if network.table is not None:
            if data is None or data.tokens_train is None:
                raise ValueError("the network has a table of tokens: give the data that it begins with")
            weights[network.table.name] = data.tokens_train.table.astype(np.int64)
        if m and network.loaded and (n := m.loading.get("n_pos", 0)):
            # each head begins at a place of its own in the sequence
            places = position(np.linspace(0, 1, m.heads), n).astype(np.int64)
            codes = places << (network.numerics.fraction - FRACTION)
            relay = network.loaded.relay
            asked = [s for s in network.plastic if s.post == relay.name and network[s.pre].clamped]
            if asked:
                weights[asked[0].name].reshape(-1, m.heads, relay.width)[0, :, -n:] = codes
        return weights

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """What :meth:`to_dict` made; ValueError names the key that is something else."""
        return record(cls, d)
