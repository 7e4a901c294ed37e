"""Compiled reference for training: bit for bit ``equilif_golden.reference``, about 1,000 times faster."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numba
import numpy as np
import numpy.typing as npt

from equilif_golden import network as networks
from equilif_golden import samples
from equilif_golden.compiled import (
    I16,
    I32,
    U8,
    Reals,
    average_samples,
    new_state,
    settle_samples,
    train_samples,
)
from equilif_golden.fixed import Raw, check_int, integers, short_repr
from equilif_golden.learning import NO_RATE, learning_steps
from equilif_golden.lock import Lock
from equilif_golden.network import Network, TokenRows, Weights, require_network
from equilif_golden.plan import first_weights, pack_weights, plan_of, updates_of
from equilif_golden.populations import Constant
from equilif_golden.samples import Epoch as Epoch

Number = TypeVar("Number", bound=np.generic)

MAX_TIME = 1 << 18  #: steps of :meth:`Kernel.averages`
MAX_THREADS = 1024
MIN_PART = 32  #: fewest samples per thread
PARTS = 4  #: of a batch per thread, to balance the load


class Settled(NamedTuple):
    """Results of a batch.

    rates (batch, 3, neurons): 8-bit rates of the free, +beta and -beta phases, neurons as in Network.neurons.
    spikes (batch,): spikes of all phases.  steps (batch,): time steps of the free phase.
    """

    rates: I32
    spikes: Raw
    steps: Raw


class Kernel(samples.Predictor):
    """A network that trains and infers in compiled code, bit for bit as the engine does.

    network         its populations, synapses and schedule
    weights         raw weights by synapse name; None: ``network.initial_weights()``
    learning_rate   eta of the paper; None: no training before :meth:`set_learning_rate`
    counter         weight updates so far, which number the dither; 0 for new weights
    threads         threads that share a batch; None: as many as Numba uses, one per processor

    Inputs are 8-bit values (batch, n_inputs), labels class numbers (batch,).  ValueError if an argument has a
    wrong shape, type or range.  A Kernel may be shared by threads: :meth:`train` is atomic, so the others see
    weights and counter from before or after it.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights | None = None,
        *,
        learning_rate: float | None = None,
        counter: int = 0,
        threads: int | None = None,
    ):
        self.network = require_network(network)
        self._threads = check_int(
            default_threads() if threads is None else threads, "threads", 1, MAX_THREADS
        )
        self._plan = plan_of(network)
        self._lock = Lock()
        self._held = (self._packed(network.initial_weights() if weights is None else weights), 0)
        self.counter = counter
        self.learns = learning_rate is not None
        self.set_learning_rate(0.0 if learning_rate is None else learning_rate)

    @classmethod
    def load(
        cls, path: str | Path, *, learning_rate: float | None = None, threads: int | None = None
    ) -> Self:
        """The network in a file of :meth:`save` or of a command such as `equilif train`.

        Counter: that of the file, else 0.  ValueError names a file that holds no network.
        """
        network, weights = networks.load(path)
        counter = networks.counter(path)
        return cls(network, weights, learning_rate=learning_rate, counter=counter, threads=threads)

    def save(self, path: str | Path) -> None:
        """Write network, weights and counter to an ``.npz`` that every command of equilif reads."""
        weights, counter = self._held
        networks.save(path, self.network, self._by_synapse(weights), counter=counter)

    def __repr__(self) -> str:
        sizes = "-".join(str(p.size) for p in self.network.populations if not isinstance(p, Constant))
        return f"<Kernel {sizes}, {self.network.n_weights:,} weights, {self.counter:,} updates>"

    def _packed(self, weights: Weights) -> I16:
        return pack_weights(self.network, self.network.check_weights(weights))

    @property
    def counter(self) -> int:
        """Weight updates so far, modulo 2**32.  It numbers the dither, so it is part of the state."""
        return self._held[1]

    @counter.setter
    def counter(self, value: int) -> None:
        with self._lock:
            self._held = (self._held[0], check_int(value, "counter", 0, 0xFFFFFFFF))

    def _inputs(self, x: npt.ArrayLike | None, tokens: TokenRows | None) -> tuple[U8, TokenRows]:
        """Inputs and tokens for compiled code.

        Compiled code does not check indices, so rows and offsets are copies that no other thread can change.
        """
        values, rows = samples.check_inputs(self.network, x, tokens)
        return constant(values), TokenRows(constant(rows.table), rows.rows.copy(), rows.off.copy())

    def load_weights(self, weights: Weights) -> None:
        """Replace all weights; the counter stays."""
        w = self._packed(weights)
        with self._lock:
            self._held = (w, self._held[1])

    @property
    def weights(self) -> Weights:
        """Raw weights by synapse name, (rows, columns) each; a copy."""
        return self._by_synapse(self._held[0])

    def _by_synapse(self, packed_weights: I16) -> Weights:
        w = packed_weights.astype(np.int64)
        first = first_weights(self.network)
        shapes = {s.name: self.network.shape(s) for s in self.network.plastic}
        return {name: w[first[name] : first[name] + n * m].reshape(n, m) for name, (n, m) in shapes.items()}

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set eta of the paper: dW is eta / (2 beta) times the difference of the rate products."""
        self._updates = updates_of(self.network, learning_steps(self.network, learning_rate))
        self.learns = self.learns or learning_rate > 0

    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Train on one sample after the other, and return what the epoch counted.

        x       8-bit values (batch, n_inputs); None for a network without input population
        labels  class numbers (batch,)
        order   indices of samples, (n,); None: as they are stored, unless sorted by class
        tokens  patterns of the samples, for a network with dynamic patterns

        ValueError without a learning rate.
        """
        values, rows = self._inputs(x, tokens)
        # copies, as in _inputs
        known = samples.check_labels(self.network, labels, len(values)).copy()
        at = samples.check_order(order, len(values), known).copy()
        if not self.learns:
            raise ValueError(NO_RATE)
        with self._lock:
            w, counter = self._held
            w = w.copy()  # other threads use the old weights until all samples are trained
            state = new_state(self._plan, rows.table.shape[1])
            counter, hits, spikes, steps = train_samples(
                self._plan, self._updates, w, state, values, rows, known, at, counter
            )
            self._held = (w, counter)
        return Epoch(len(at), int(hits), int(spikes), int(steps))

    def rates(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> tuple[I32, Raw]:
        """Rates (batch, 3, neurons) and spikes (batch,) of :meth:`settle`."""
        found = self.settle(x, y, tokens=tokens)
        return found.rates, found.spikes

    def settle(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> Settled:
        """Run the phases without learning.

        Without 8-bit targets ``y`` (batch, n_outputs) only the free phase runs; the other rates are zero.
        """
        values, rows = self._inputs(x, tokens)
        n = len(values)
        targets = np.zeros((0, self.network.n_outputs), np.uint8)
        if y is not None:
            targets = samples.check_targets(self.network, y, n).astype(np.uint8, order="C")
        w = self._held[0]
        found = Settled(
            np.zeros((n, 3, self._plan.n_neurons), np.int32), np.zeros(n, np.int64), np.zeros(n, np.int64)
        )

        def part(first: int, last: int) -> None:
            state = new_state(self._plan, rows.table.shape[1])
            settle_samples(self._plan, w, state, values, rows, targets, *found, first, last)

        run_in_parts(part, n, self._threads)
        return found

    def averages(self, x: npt.ArrayLike, times: npt.ArrayLike) -> tuple[Reals, I32]:
        """Average spiking rates in a long free phase, and the raw static drive.

        Rates (times, batch, neurons) are spikes per step from step 0 to each of ``times``, which increase and
        are at most 2**18.  The drive (batch, neurons) is that of the clamped populations.  ValueError for a
        network with an attention layer.
        """
        if self.network.windowed:
            raise ValueError(
                "averages of a network with an attention layer are not defined: it is evaluated per window"
            )
        values, _ = self._inputs(x, None)
        at = integers(times, "times")
        rising = at.ndim == 1 and at.size > 0 and (at[1:] > at[:-1]).all()
        if not rising or at[0] < 1 or at[-1] > MAX_TIME:
            raise ValueError(f"times must rise from at least 1 to at most {MAX_TIME}, not {short_repr(at)}")
        at = at.copy()
        n = self._plan.n_neurons
        out = np.zeros((len(at), len(values), n))
        drives = np.zeros((len(values), n), np.int32)
        spikes = np.zeros(n, np.int64)
        state = new_state(self._plan)
        average_samples(self._plan, self._held[0], state, values, at, spikes, drives, out)
        return out, drives

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """Class of each sample, (batch,): the first output neuron with the largest free-phase rate."""
        predictions: Raw = self.output_rates(x, tokens=tokens).argmax(axis=1)
        return predictions

    def output_rates(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """8-bit rates of the output neurons in the free phase, (batch, n_outputs)."""
        output = self.network.neurons[self.network.output]
        return self.settle(x, tokens=tokens).rates[:, 0, output].astype(np.int64)


def default_threads() -> int:
    """Number of threads that Numba would use; NUMBA_NUM_THREADS sets it."""
    return int(numba.config.NUMBA_NUM_THREADS)


def constant(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A contiguous, read-only view.

    Numba compiles separately for every kind of array, so all arrays are made one kind.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def run_in_parts(work: Callable[[int, int], None], n: int, threads: int) -> None:
    """Call ``work(first, last)`` on ranges that cover 0 .. n, in threads."""
    size = max(MIN_PART, -(-n // (PARTS * threads)))
    firsts = range(0, n, size)
    if threads == 1 or len(firsts) < 2:
        work(0, n)
        return
    with ThreadPoolExecutor(min(threads, len(firsts))) as pool:
        # an interrupt drops the ranges that have not begun
        list(pool.map(work, firsts, [min(first + size, n) for first in firsts]))
