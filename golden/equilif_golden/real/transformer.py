"""Transformers of equilif_golden.network in floating point: initial weights, learning rates, loss.

They have no layer normalisation.  Instead the initial weights keep rates between 0 and 1: features are
CENTRE plus codes of standard deviation SPREAD, biases remove the centre from what reads them, skip
connections are the identity, and a layer first adds little to them.  Queries and keys start small, so that
attention starts nearly uniform; position codes start as sines (Vaswani et al. 2017) or random.

Neurons inside a feed-forward layer can have smaller rates, with smaller weights from the features and larger
ones to them: ``hidden`` is their factor.  Their drive is a sum of many spikes, and the membrane keeps no more
than a threshold or two of it, so spikes lose less of a smaller drive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden.fixed import check_float, check_int
from equilif_golden.network import Constant, Input, Lif, Network, SelfAttention, Synapse, Weights

Tensor = torch.Tensor
Real = npt.NDArray[np.float64]
CENTRE = 0.5
SPREAD = 0.15
PERIOD = 10_000  #: the longest period of a position code is 2 pi times this
SCALE = 16.0  #: logits are output rates times this


@dataclass(frozen=True)
class Start:
    """Initial weights of a synapse and their relative learning rate, large where weights are.

    ``removed``: mean presynaptic rate, whose drive the bias removes.  ``bias``: mean drive.
    """

    deviation: float
    removed: float = CENTRE
    bias: float = 0.0
    learning_rate: float = 1.0


def starts(network: Network, hidden: float = 1.0) -> dict[str, Start]:
    """Starts by name of a synapse that is neither a bias nor a skip connection."""
    check_float(hidden, "hidden", 1e-3, 1e3)
    same = skips(network)
    found = {}
    for s in network.plastic:
        pre, post = network[s.pre], network[s.post]
        unit = 1 / (SPREAD * network.shape(s)[0] ** 0.5)  # drives of deviation 1
        if isinstance(pre, Constant) or s in same:
            continue
        if isinstance(post, SelfAttention):
            start = Start(unit, learning_rate=4)
        elif isinstance(pre, Input):
            start = Start(SPREAD / 2**0.5, removed=0)
        elif isinstance(pre, SelfAttention):
            start = Start(0.02, removed=0)
        elif any(t.post == s.post and (t.pre, s.pre) in _ends(network) for t in same):
            start = Start(0.01 / hidden, removed=0.15 * hidden, learning_rate=1 / hidden)
        elif s.post == network.output:
            start = Start(0.36 * unit / SCALE, bias=0.2, learning_rate=0.5)
        else:
            start = Start(0.3 * unit * hidden, bias=0.1 * hidden, learning_rate=4 * hidden)
        found[s.name] = start
    return found


def skips(network: Network) -> tuple[Synapse, ...]:
    """Skip connections: between LIF populations of one shape that also a third population joins."""
    ends = _ends(network)
    return tuple(
        s
        for s in network.synapses
        if isinstance(network[s.pre], Lif)
        and network[s.pre].shape == network[s.post].shape
        and any({(s.pre, p.name), (p.name, s.post)} <= ends for p in network.populations)
    )


def _ends(network: Network) -> set[tuple[str, str]]:
    return {(s.pre, s.post) for s in network.synapses}


def learning_rates(network: Network, hidden: float = 1.0) -> dict[str, float]:
    """Relative learning rates by name of a synapse, for a trainer; skip connections stay."""
    found = {name: start.learning_rate for name, start in starts(network, hidden).items()}
    found |= {s.name: 0.0 for s in skips(network)}
    return {s.name: found.get(s.name, 1.0) for s in network.plastic}


def centres(network: Network, hidden: float = 1.0) -> dict[str, float]:
    """Mean presynaptic rates by name of a synapse between LIF populations, for the same."""
    found = {name: start.removed for name, start in starts(network, hidden).items() if start.removed}
    return found | {s.name: CENTRE for s in skips(network)}


def position_codes(positions: int, features: int) -> Real:
    """Sines and cosines, (positions, features)."""
    phase = np.arange(positions)[:, None] * float(PERIOD) ** -(np.arange(0, features, 2) / features)
    return np.stack([np.sin(phase), np.cos(phase)], 2).reshape(positions, -1)[:, :features]


def initial_weights(
    network: Network, seed: int = 0, *, query: float = 0.1, sines: bool = True, hidden: float = 1.0
) -> Weights:
    """Random raw weights by synapse name, for Network.transformer and networks like it.

    query    standard deviation of queries and keys
    sines    position codes are sines, of which neighbours are similar; else random
    hidden   factor of the rates inside feed-forward layers
    """
    check_float(query, "query", 0, 1)
    rng = np.random.default_rng(check_int(seed, "seed", 0, (1 << 64) - 1))
    start = starts(network, hidden)
    real: dict[str, Real] = {}
    bias = {p.name: np.zeros(p.drive_shape.maps if p.drive_shape else p.size) for p in network.populations}
    for s in network.plastic:
        rows, columns = network.shape(s)
        if s.name in start:
            w = rng.normal(0, start[s.name].deviation, (rows, columns))
            if isinstance(network[s.post], SelfAttention):
                w *= np.repeat([query, query, 0.5], columns // 3)  # query, key, value
            real[s.name] = w
            bias[s.post] += start[s.name].bias - start[s.name].removed * w.sum(0)
        elif not isinstance(network[s.pre], Constant):
            real[s.name] = np.eye(rows)
    for s in network.plastic:
        if isinstance(network[s.pre], Constant):
            shape = network[s.post].shape
            codes = np.zeros(1)
            if s.per_position and shape:
                size = shape.positions, shape.maps
                code = position_codes(*size) if sines else rng.normal(0, 0.5**0.5, size)
                codes = CENTRE + SPREAD * code
            real[s.name] = (bias[s.post] + codes).reshape(network.shape(s))
    fmt = network.numerics.weight
    return {s.name: fmt.quantize(real[s.name] * network.schedule.threshold) for s in network.plastic}


def cross_entropy(drive: Tensor, labels: Tensor) -> Tensor:
    """Loss (n,) in nats of output drives (n, positions x classes): mean over the positions with a label.

    ``labels`` (n, positions): classes, or -1 where there is none.  Logits are SCALE times the rates.  The
    drive of the label is clipped above 1 only, and those of other classes below 0 only.  So a wrong output
    outside 0 .. 1 still has a gradient, as in equilif_golden.real.trainer.hinge.
    """
    z = drive.view(*labels.shape, -1)
    there = labels >= 0
    right = torch.nn.functional.one_hot(labels.clamp(min=0), z.shape[-1]).bool()
    logits = SCALE * torch.where(right, z.clamp(max=1), z.clamp(min=0))
    each = -(logits.log_softmax(-1) * right).sum(-1) * there
    return each.sum(1) / there.sum(1).clamp(min=1)


def probabilities(rates: Tensor, positions: int) -> Tensor:
    """Probabilities (n, positions, classes) of output rates (n, positions x classes)."""
    return (SCALE * rates.view(len(rates), positions, -1)).softmax(-1)
