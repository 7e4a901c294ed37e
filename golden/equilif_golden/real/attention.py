"""The attention networks of equilif_golden.network in real numbers: what the same network can learn.

Rates settle window by window as on the engine.  Retrievals are zero in the first window, then answers the
rates before it:

    q_h = clip(Q_h + V_h r_1)      p_h = softmax(k X q_h)      m_h = clip(2**gain X^T p_h)

and the populations are updated a few times, r <- clip(z(r, m / 2), 0, 1).  The loss |y - r_out|^2 / 2 of the
free phase is the one that Equilibrium Propagation descends.  Here it goes back through all of it
(backpropagation; Adam, minibatches).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from equilif_golden import samples
from equilif_golden.fixed import Raw, check_int
from equilif_golden.network import Network, TokenRows
from equilif_golden.real.equilibrium import MAX_STEPS

Tensor = torch.Tensor
SWEEPS = 2  #: updates of every population in a window


def batch(table: Tensor, tokens: TokenRows, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Patterns (n, longest, width) and presence (n, longest) of the samples at ``indices``.

    ``table``: table of the tokens in real numbers, on the device for the result.  Its gradient flows to the
    rows of the samples.
    """
    lengths = np.diff(tokens.off)[indices]
    present = np.arange(lengths.max()) < lengths[:, None]
    rows = np.zeros(present.shape, np.int64)
    rows[present] = tokens.take(indices).rows
    on = table.device
    return torch.nn.functional.embedding(torch.tensor(rows, device=on), table), torch.tensor(
        present, device=on
    )


def by_length(tokens: TokenRows, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Indices of samples sorted by length, so that batches need little padding."""
    return indices[np.argsort(np.diff(tokens.off)[indices], kind="stable")]


class UnrolledAttention:
    """A network of ``Network.attention`` as a torch model, unrolled over the windows of the free phase.

    Weights are real, in units of the threshold.  ValueError for other networks.
    """

    def __init__(self, network: Network, weights: Mapping[str, Raw], tokens: TokenRows):
        memory = network.dynamic_attention
        if memory is None or len(network.attention_layers) > 1 or network.inputs or network.feedforward:
            raise ValueError(
                "only networks of Network.attention with feedback: one layer with dynamic patterns, no input "
                "population"
            )
        self.network = network
        self.memory = memory
        one = network.numerics.one
        given = torch.tensor(self.check(tokens).table / one, dtype=torch.float32)
        self.weights = {
            n: torch.tensor(w / one, dtype=torch.float32, requires_grad=True)
            for n, w in network.check_weights(weights).items()
        }
        #: of tokens; it learns where it belongs to the network
        self.table = given if network.table is None else self.weights[network.table.name]
        self.chain = [memory.relay.name, *(p.name for p in network.lif)]
        self.k = 2.0 ** (memory.attention.sharpness - 1) * math.log(2)

    def check(self, tokens: TokenRows) -> TokenRows:
        """Tokens of the memory; ValueError when they do not fit."""
        return samples.check_inputs(self.network, None, tokens)[1]

    def batch(self, tokens: TokenRows, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        return batch(self.table, tokens, indices)

    def forward(self, x: Tensor, present: Tensor) -> Tensor:
        """Output rates (n, classes) of the free phase."""
        net = self.network
        w = self.weights
        relay = self.memory.relay
        query = w[f"bias-{relay.name}"].view(relay.heads, relay.width)
        away = torch.where(present, 0.0, -torch.inf)[:, None]
        rates = {p.name: torch.zeros(len(x), p.size) for p in net.lif}
        rates[relay.name] = torch.zeros(len(x), relay.size)
        for window in range(net.schedule.free // net.schedule.window):
            if window:
                v = w[f"{relay.name}-{self.chain[1]}"]
                q = (query + (rates[self.chain[1]] @ v.T).view(-1, relay.heads, relay.width)).clamp(-1, 1)
                p = (self.k * q @ x.transpose(1, 2) + away).softmax(-1)
                rates[relay.name] = (2.0**relay.gain * (p @ x)).clamp(-1, 1).flatten(1)
            for _ in range(SWEEPS):
                for k, name in enumerate(self.chain[1:], 1):
                    z = (
                        rates[self.chain[k - 1]] @ w[f"{self.chain[k - 1]}-{name}"] * (1 if k > 1 else 0.5)
                        + w[f"bias-{name}"]
                    )
                    if k + 1 < len(self.chain):
                        z = z + rates[self.chain[k + 1]] @ w[f"{name}-{self.chain[k + 1]}"].T
                    rates[name] = z.clamp(0, 1)
        return rates[net.output]

    def predict(self, tokens: TokenRows, *, batch: int = 256) -> npt.NDArray[np.int64]:
        """Class of each sample, whose tokens are rows of the table that the network was made with."""
        tokens = self.check(tokens)
        check_int(batch, "batch", 1, MAX_STEPS)
        n = tokens.n_samples
        if not n:
            return np.zeros(0, np.int64)
        with torch.no_grad():
            parts = [
                self.forward(*self.batch(tokens, i)).argmax(1)
                for i in np.array_split(np.arange(n), -(-n // batch))
            ]
        return np.asarray(torch.cat(parts).numpy(), np.int64)

    def fit(
        self,
        tokens: TokenRows,
        labels: npt.ArrayLike,
        *,
        epochs: int,
        learning_rate: float = 2e-3,
        batch: int = 32,
        seed: int = 0,
        query_learning_rate_scale: float = 1.0,
        dropout: float = 0.0,
    ) -> Iterator[float]:
        """One epoch after the other: mean loss of each.

        The learning rate falls to zero linearly; that of the queries is ``query_learning_rate_scale`` times
        as large.  ``dropout``: fraction of a sample's tokens left out, redrawn each epoch.
        """
        tokens = self.check(tokens)
        n = tokens.n_samples
        classes = torch.tensor(samples.check_labels(self.network, labels, n))
        if not n:
            raise ValueError("there are no samples to learn from")
        check_int(epochs, "epochs", 1, MAX_STEPS)
        check_int(batch, "batch", 1, MAX_STEPS)
        query = self.weights[f"bias-{self.memory.relay.name}"]
        others = [w for w in self.weights.values() if w is not query]
        groups: list[dict[str, Any]] = [
            {"params": others},
            {"params": [query], "lr": learning_rate * query_learning_rate_scale},
        ]
        optimiser = torch.optim.Adam(groups, lr=learning_rate)
        rng = np.random.default_rng(seed)
        steps = epochs * -(-n // batch)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        target = torch.nn.functional.one_hot(classes, self.network.n_outputs).float()
        for _ in range(epochs):
            total = 0.0
            left = tokens.dropout(rng, dropout) if dropout else tokens
            for chosen in np.array_split(rng.permutation(n), -(-n // batch)):
                rates = self.forward(*self.batch(left, chosen))
                loss = ((rates - target[torch.tensor(chosen)]) ** 2).sum() / 2
                optimiser.zero_grad()
                (loss / len(chosen)).backward()
                optimiser.step()
                decay.step()
                total += float(loss.detach())
            yield total / n
