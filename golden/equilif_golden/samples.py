"""Checks of samples for a network that learns or infers, the same for kernel, reference and devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.fixed import Raw, check_integers, integers, short_repr
from equilif_golden.network import AttentionLayer, Network, TokenRows
from equilif_golden.replay import Replay

NO_TOKENS = TokenRows(np.zeros((0, 0), np.int16), np.zeros(0, np.int32), np.zeros(0, np.int64))

MIN_SORTED = 20  #: fewest samples for which a sorted order is rejected
MIN_OTHERS = 5  #: fewest of them outside the largest class


class Predictor(ABC):
    """A network that predicts classes, whatever carries it."""

    network: Network

    @abstractmethod
    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """Class of each sample, (batch,): the first output neuron with the largest free-phase rate."""

    def accuracy(
        self, x: npt.ArrayLike | None, labels: npt.ArrayLike, *, tokens: TokenRows | None = None
    ) -> float:
        """Fraction of correct predictions; ValueError without samples."""
        values, _ = check_inputs(self.network, x, tokens)
        # before minutes of inference on a board
        known = check_labels(self.network, labels, len(values))
        if not len(known):
            raise ValueError("there are no samples: accuracy is undefined")
        return float(np.mean(self.predict(x, tokens=tokens) == known))


class Epoch(NamedTuple):
    """Counts of one training epoch."""

    #: trained samples
    samples: int
    #: samples predicted correctly in the free phase, before their update
    hits: int
    #: spikes of all three phases
    spikes: int
    #: time steps of the free phases; 0 from an engine with early exit, which does not report them
    steps: int = 0


def check_inputs(
    network: Network, x: npt.ArrayLike | None, tokens: TokenRows | None
) -> tuple[npt.NDArray[np.uint8], TokenRows]:
    """Inputs (batch, n_inputs), uint8, and tokens, both empty if the network has none.

    ``x`` may be None for a network without input population.  ValueError unless both fit the network.
    """
    layer = network.attention_for(tokens)
    rows = NO_TOKENS
    if layer is not None:
        rows = check_token_rows(layer, tokens).checked(
            layer.attention.size, layer.relay.width, network.numerics.weight
        )
    if x is None and network.n_inputs:
        raise ValueError(f"this network needs inputs, of shape (batch, {network.n_inputs})")
    if x is None:
        return np.zeros((rows.n_samples, 0), np.uint8), rows
    value = network.numerics.value
    values = check_integers(x, "inputs", value.lo, value.hi)
    fits = values.ndim == 2 and values.shape[1] == network.n_inputs
    if not fits or layer is not None and len(values) != rows.n_samples:
        batch = "batch" if layer is None else rows.n_samples
        raise ValueError(f"inputs must have shape ({batch}, {network.n_inputs}), not {values.shape}")
    return np.ascontiguousarray(values, np.uint8), rows


def check_token_rows(layer: AttentionLayer, tokens: TokenRows | None) -> TokenRows:
    """The tokens; ValueError unless they are TokenRows whose table has the length of the network's."""
    if not isinstance(tokens, TokenRows):
        raise ValueError(f"tokens must be TokenRows, not {short_repr(tokens)}")
    if layer.attention.learns and len(tokens.table) != layer.attention.table_rows:
        raise ValueError(
            f"tokens have a table of {len(tokens.table):,} rows, the network has one of "
            f"{layer.attention.table_rows:,}: they are of other data"
        )
    return tokens


def check_labels(network: Network, y: npt.ArrayLike, n: int) -> Raw:
    """Class numbers of ``n`` samples, (n,); ValueError unless they are classes of the network."""
    checked = integers(y, "labels", 0, network.n_outputs - 1)
    if checked.shape != (n,):
        hint = ": one-hot rows become labels by argmax(1)" if checked.ndim > 1 else ""
        raise ValueError(f"labels must have shape {(n,)}, one a sample, not {checked.shape}{hint}")
    return checked


def check_order(at: npt.ArrayLike | None, n: int, known: Raw | None = None) -> Raw:
    """Indices of samples in training order, (k,), each below ``n``; None: 0 .. n - 1.

    ValueError for None if the samples are sorted by class according to ``known`` (n,): online training would
    forget the first classes.
    """
    if at is None:
        if known is not None and _class_by_class(known):
            raise ValueError(
                "samples are sorted by class, so online training would forget the first classes: give "
                f"order=np.random.default_rng(0).permutation({n}), or order=np.arange({n}) to keep it"
            )
        return np.arange(n)
    checked = integers(at, "order", 0, n - 1)
    if checked.ndim != 1:
        raise ValueError(f"order must have one dimension, not {checked.ndim}")
    return checked


def _class_by_class(known: Raw) -> bool:
    """Whether each class is one block, with a probability below 1/10,000 by chance."""
    if len(known) < MIN_SORTED:
        return False
    counts = np.bincount(known)
    blocks = 1 + np.count_nonzero(known[1:] != known[:-1])
    return bool(blocks == np.count_nonzero(counts) and len(known) - counts.max() >= MIN_OTHERS)


def check_replay(replay: Replay | None, network: Network) -> Replay | None:
    """The replay; ValueError unless its samples are inputs of the network."""
    if replay is None:
        return None
    if not isinstance(replay, Replay):
        raise ValueError(f"replay must be a Replay, not {short_repr(replay)}")
    if network.dynamic_attention is not None:
        raise ValueError("replay stores inputs, this network has tokens")
    replay.require(network.n_inputs, network.n_outputs)
    return replay


def check_targets(network: Network, y: npt.ArrayLike, n: int) -> Raw:
    """8-bit targets of ``n`` samples, (n, n_outputs)."""
    checked = network.numerics.value.require(y, "targets")
    if checked.shape != (n, network.n_outputs):
        raise ValueError(f"targets must have shape {(n, network.n_outputs)}, not {checked.shape}")
    return checked


def one_hot(labels: npt.ArrayLike, n: int) -> Raw:
    """Targets (batch, n): 255 at the label, 0 elsewhere."""
    return np.eye(n, dtype=np.int64)[integers(labels, "labels", 0, n - 1)] * 255
