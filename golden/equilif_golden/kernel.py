"""The reference compiled, for training: same bits as ``equilif_golden.reference``, about a thousand times
faster (equilif_golden.compiled).
"""

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
MIN_PART = 32  #: samples for which it is worth while to start another thread
PARTS = 4  #: of a batch for each thread, so that none waits long for the others


class Settled(NamedTuple):
    """Of a batch: rates (batch, 3, neurons) of the free, +beta and -beta phases, neurons as in
    Network.neurons; spikes (batch,) of them all; steps (batch,) of the free phase.
    """

    rates: I32
    spikes: Raw
    steps: Raw


class Kernel:
    """Compiled twin of ``equilif_golden.reference.Reference``, with the same weights, counter and learning
    rates.

    ``learning_rate``: eta of the paper; without one the network runs and does not learn until
    :meth:`set_learning_rate`.  ``counter``: updates so far, of weights that come from elsewhere.
    ``threads``: that share a batch; by default as many as Numba would take, one a processor.

    Several threads may use one Kernel: a call of :meth:`train` is one step to all others, which see the
    weights and the counter of before or of after.
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
        """A network that :meth:`save`, `equilif train` or another command wrote.

        Without a counter in the file it is 0.  ValueError names the file when it is something else.
        """
        network, weights = networks.load(path)
        counter = networks.counter(path)
        return cls(network, weights, learning_rate=learning_rate, counter=counter, threads=threads)

    def save(self, path: str | Path) -> None:
        """Network, weights and counter in one ``.npz``, which every command of equilif takes."""
        weights, counter = self._held
        networks.save(path, self.network, self._by_synapse(weights), counter=counter)

    def __repr__(self) -> str:
        sizes = "-".join(str(p.size) for p in self.network.populations if not isinstance(p, Constant))
        return f"<Kernel {sizes}, {self.network.n_weights:,} weights, {self.counter:,} updates>"

    def _packed(self, weights: Weights) -> I16:
        return pack_weights(self.network, self.network.check_weights(weights))

    @property
    def counter(self) -> int:
        """Updates so far, modulo 2**32; it numbers the dither and belongs to the state, like the weights."""
        return self._held[1]

    @counter.setter
    def counter(self, value: int) -> None:
        with self._lock:
            self._held = (self._held[0], check_int(value, "counter", 0, 0xFFFFFFFF))

    def _inputs(self, x: npt.ArrayLike | None, tokens: TokenRows | None) -> tuple[U8, TokenRows]:
        """Inputs and tokens for compiled code.

        It follows indices as they are, so rows and offsets are copies, which no other thread can change.
        """
        values, rows = samples.check_inputs(self.network, x, tokens)
        return constant(values), TokenRows(constant(rows.table), rows.rows.copy(), rows.off.copy())

    def load_weights(self, weights: Weights) -> None:
        w = self._packed(weights)
        with self._lock:
            self._held = (w, self._held[1])

    @property
    def weights(self) -> Weights:
        """A copy of the weights by synapse."""
        return self._by_synapse(self._held[0])

    def _by_synapse(self, packed_weights: I16) -> Weights:
        w = packed_weights.astype(np.int64)
        first = first_weights(self.network)
        shapes = {s.name: self.network.shape(s) for s in self.network.plastic}
        return {name: w[first[name] : first[name] + n * m].reshape(n, m) for name, (n, m) in shapes.items()}

    def set_learning_rate(self, learning_rate: float) -> None:
        """dW is ``learning_rate`` / (2 beta) times the rate-product difference."""
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
        """Learn the samples one by one, in ``order`` (default: as they stand, unless sorted by class).

        ``x`` may be None where there is no input population.
        """
        values, rows = self._inputs(x, tokens)
        # copies, for the same reason
        known = samples.check_labels(self.network, labels, len(values)).copy()
        at = samples.check_order(order, len(values), known).copy()
        if not self.learns:
            raise ValueError(NO_RATE)
        with self._lock:
            w, counter = self._held
            w = w.copy()  # others go on with the old ones until all is done
            state = new_state(self._plan, rows.table.shape[1])
            counter, hits, spikes, steps = train_samples(
                self._plan, self._updates, w, state, values, rows, known, at, counter
            )
            self._held = (w, counter)
        return Epoch(len(at), int(hits), int(spikes), int(steps))

    def rates(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> tuple[I32, Raw]:
        """Rates and spikes of :meth:`settle`."""
        found = self.settle(x, y, tokens=tokens)
        return found.rates, found.spikes

    def settle(
        self, x: npt.ArrayLike | None, y: npt.ArrayLike | None = None, *, tokens: TokenRows | None = None
    ) -> Settled:
        """All phases without learning.

        Without targets ``y`` (batch, n_outputs) only the free phase runs and the other rates stay zero.
        """
        values, rows = self._inputs(x, tokens)
        n = len(values)
        targets = np.zeros((0, self.network.n_outputs), np.uint8)
        if y is not None:
            targets = samples.check_targets(self.network, y, n).astype(np.uint8)
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
        """Average spiking rates (times, batch, neurons) of a free phase that goes on: spikes a step from its
        beginning to each of ``times``.

        Also the raw static drive (batch, neurons) from the clamped populations.  ``times`` rise, up to
        2**18.  Not for memories.
        """
        if self.network.attention_layers:
            raise ValueError(
                "averages of a network with a memory are not defined: it is asked window by window"
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
        """Class of each sample: the first output of largest free-phase rate."""
        output = self.network.neurons[self.network.output]
        predictions: Raw = self.settle(x, tokens=tokens).rates[:, 0, output].argmax(axis=1)
        return predictions

    def accuracy(
        self, x: npt.ArrayLike | None, labels: npt.ArrayLike, *, tokens: TokenRows | None = None
    ) -> float:
        return samples.accuracy(self.network, self.predict(x, tokens=tokens), labels)


def default_threads() -> int:
    """What Numba takes from the machine, or from NUMBA_NUM_THREADS; threads of its own are never started."""
    return int(numba.config.NUMBA_NUM_THREADS)


def constant(array: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """A view to be read only.

    Numba compiles anew for every kind of array, writable or not, contiguous or not: this is one kind.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def run_in_parts(work: Callable[[int, int], None], n: int, threads: int) -> None:
    """``work(first, last)`` on all of 0 .. n, in threads that end with it."""
    size = max(MIN_PART, -(-n // (PARTS * threads)))
    firsts = range(0, n, size)
    if threads == 1 or len(firsts) < 2:
        work(0, n)
        return
    with ThreadPoolExecutor(min(threads, len(firsts))) as pool:
        # what has not begun is dropped when the user interrupts
        list(pool.map(work, firsts, [min(first + size, n) for first in firsts]))
