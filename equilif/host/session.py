"""A network on a device: what equilif_golden.kernel.Kernel does, done by the engine at the other end of a
line.

    session = Session(Client(port), network, weights, lr=0.05)
    session.train(x, labels)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from equilif.data.images import Bytes
from equilif.host.client import Client, LinkError, RunResult
from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import Raw
from equilif_golden.kernel import Epoch
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.samples import one_hot


def read_weights(client: Client, network: Network) -> Weights:
    """Weights of a network that a device holds."""
    compiled = Compiled(network, client.config)
    return compiled.weights(client.read_weights(compiled.n_tiles * client.config.lanes))


class Session:
    """Compiled for the engine that is there; program, constants, weights and counter are written.

    ``lr``: 0.01 unless given, 0 for a network without feedback. ``counter``: updates so far, of weights
    that come from elsewhere.  CapacityError when the engine is too small.
    """

    def __init__(
        self,
        client: Client,
        network: Network,
        weights: Mapping[str, Raw] | None = None,
        *,
        lr: float | None = None,
        counter: int = 0,
    ):
        self.client, self.network, self.counter = client, network, counter
        self.compiled = Compiled(network, client.config)
        self._lr: float | None = None
        self.set_learning_rate((0.0 if network.forward else 0.01) if lr is None else lr)
        first, constants = self.compiled.constants()
        if len(constants):
            client.write_values(first, constants)
        self.write_weights(weights if weights is not None else network.initial_weights())
        client.write_counter(counter)

    def set_learning_rate(self, eta: float) -> None:
        if eta != self._lr:
            program = self.compiled.program(eta)
            self.client.load_program(program)
            self._lr, self._updates = eta, sum(i.op == Op.LEARN for i in program)

    def write_weights(self, weights: Mapping[str, Raw]) -> None:
        self.client.write_weights(self.compiled.weight_words(dict(weights)))

    def read_weights(self) -> Weights:
        return read_weights(self.client, self.network)

    @property
    def weights(self) -> Weights:
        """Those in the device; LinkError when it has not made exactly the updates that it was asked for."""
        made = self.client.read_counter()
        if made != self.counter & DITHER_MASK:
            raise LinkError(
                f"the device stands at update {made}, it was sent {self.counter & DITHER_MASK}: was it reset, or does another "
                "program use the port?"
            )
        return self.read_weights()

    def run(
        self,
        x: Raw,
        y: Raw | None = None,
        *,
        learn: bool = False,
        tokens: Raw | None = None,
        rates: bool = True,
    ) -> RunResult:
        """One sample: x (n_inputs,) 8-bit values, its target y (n_outputs,) to learn, raw patterns (n,
        width) of a loaded memory.

        ``plus`` and ``minus`` of the result are the output population's (empty without ``rates``); after
        an inference both are the free rates.
        """
        if learn and y is None:
            raise ValueError("a sample needs a target to be learnt")
        n, p = 0 if tokens is None else len(tokens), self.client.config.lanes
        if tokens is not None and n:
            first, words = self.compiled.token_words(tokens)
            self.client.write_weights(words, first=first // p)
        output = self.compiled.groups[self.network.output]
        read = (output.first * p, self.network.n_outputs) if rates else (0, 0)
        result = self.client.run(
            learn=learn,
            address=self.compiled.sample_first,
            values=self.compiled.sample(x, y, tokens=n),
            read=read,
        )
        self.counter += learn * self._updates
        return result

    # -- as the kernel -----------------------------------------------------------------------------
    def train(
        self,
        x: Bytes,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Learn the samples one by one, in ``order`` (default: as they stand)."""
        labels, hits, spikes = np.asarray(labels, np.int64), 0, 0
        order = np.arange(len(labels)) if order is None else np.asarray(order, np.int64)
        targets = one_hot(labels, self.network.n_outputs)
        for j in order:
            result = self.run(
                x[j].astype(np.int64),
                targets[j],
                learn=True,
                tokens=tokens and tokens.sample(int(j)),
                rates=False,
            )
            hits, spikes = hits + (result.prediction == labels[j]), spikes + result.spikes
        # a phase that may end early does not tell when it did
        whole = self.network.schedule.early is None
        return Epoch(len(order), int(hits), spikes, len(order) * self.network.schedule.free if whole else 0)

    def infer(self, x: Bytes, *, tokens: TokenRows | None = None) -> Iterator[RunResult]:
        """The free phase of one sample after the other."""
        for j, v in enumerate(x):
            yield self.run(v.astype(np.int64), tokens=tokens and tokens.sample(j), rates=False)

    def predict(self, x: Bytes, *, tokens: TokenRows | None = None) -> npt.NDArray[np.int64]:
        """Class of each sample."""
        return np.array([r.prediction for r in self.infer(x, tokens=tokens)], np.int64)

    def accuracy(self, x: Bytes, labels: npt.ArrayLike, *, tokens: TokenRows | None = None) -> float:
        return float(np.mean(self.predict(x, tokens=tokens) == np.asarray(labels)))
