"""A network on a device: what equilif_golden.kernel.Kernel does, done by the engine at the end of a line.

session = Session(Client(port), network, weights, lr=0.05)
session.train(x, labels)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from equilif.host.client import Client, LinkError, RunResult
from equilif_golden import samples
from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.isa import Op
from equilif_golden.fixed import Raw, whole
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
        self.client = client
        self.network = network
        self.counter = whole(counter, "counter", 0, 0xFFFFFFFF)
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
            self._lr = eta
            self._updates = sum(i.op == Op.LEARN for i in program)

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
                f"the device stands at update {made}, it was sent {self.counter & DITHER_MASK}: "
                "was it reset, or does another program use the port?"
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
        n = 0 if tokens is None else len(tokens)
        p = self.client.config.lanes
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
        self.counter = (self.counter + learn * self._updates) & 0xFFFFFFFF
        if result.prediction >= self.network.n_outputs:
            raise LinkError(
                f"the device answered with class {result.prediction}, the network has "
                f"{self.network.n_outputs}: does another program use the port?"
            )
        return result

    # -- as the kernel -----------------------------------------------------------------------------
    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Learn the samples one by one, in ``order`` (default: as they stand)."""
        values, rows = samples.inputs(self.network, x, tokens)
        known = samples.labels(self.network, labels, len(values))
        at = samples.order(order, len(values))
        targets = one_hot(known, self.network.n_outputs)
        hits = 0
        spikes = 0
        for j in at:
            patterns = None if tokens is None else rows.sample(int(j))
            result = self.run(values[j], targets[j], learn=True, tokens=patterns, rates=False)
            hits += int(result.prediction == known[j])
            spikes += result.spikes
        # a phase that may end early does not tell when it did
        steps = self.network.schedule.free if self.network.schedule.early is None else 0
        return Epoch(len(at), hits, spikes, len(at) * steps)

    def infer(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Iterator[RunResult]:
        """The free phase of one sample after the other."""
        values, rows = samples.inputs(self.network, x, tokens)
        for j, v in enumerate(values):
            yield self.run(v, tokens=None if tokens is None else rows.sample(j), rates=False)

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> npt.NDArray[np.int64]:
        """Class of each sample."""
        return np.array([r.prediction for r in self.infer(x, tokens=tokens)], np.int64)

    def accuracy(
        self, x: npt.ArrayLike | None, labels: npt.ArrayLike, *, tokens: TokenRows | None = None
    ) -> float:
        """Part of the samples that is classified right."""
        values, _ = samples.inputs(self.network, x, tokens)
        known = samples.labels(self.network, labels, len(values))  # before the board works for minutes
        return samples.accuracy(self.network, self.predict(x, tokens=tokens), known)
