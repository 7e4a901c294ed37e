"""Compiled code for training: bit for bit ``equilif_golden.reference``, about 1,000 times faster.

It executes the network's program (equilif_golden.engine.compiler) on an engine without limits.
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
from equilif_golden.decoder import I32, DecodedProgram, decode
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.config import Unlimited
from equilif_golden.engine.isa import Op
from equilif_golden.engine.placement import error_of
from equilif_golden.executor import (
    COUNTER,
    I16,
    INFERRED,
    SETTLED,
    TRAINED,
    U8,
    Memories,
    Places,
    Results,
    Samples,
    execute,
    new_memories,
    new_results,
)
from equilif_golden.fixed import Raw, check_float, check_int, integers, short_repr
from equilif_golden.learning import NO_RATE
from equilif_golden.lock import Lock
from equilif_golden.network import Network, TokenRows, Weights, require_network
from equilif_golden.populations import Constant
from equilif_golden.replay import Replay
from equilif_golden.samples import Epoch as Epoch
from equilif_golden.vectors import new_array

Reals = npt.NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)

MAX_TIME = 1 << 18  #: steps of :meth:`Kernel.averages`
MAX_THREADS = 1024
MIN_PART = 32  #: fewest samples per thread
PARTS = 4  #: of a batch per thread, to balance the load
#: steps after which the charge of a neuron that always fires still has 32 bits
CHARGED = 1 << 16


class Held(NamedTuple):
    """State that training changes."""

    w: I16  #: weights in the order of equilif_golden.engine.placement
    table: I16  #: embedding table, (rows, width); (0, width) without one
    counter: int


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
    replay          samples that are trained after each new one; None: none

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
        replay: Replay | None = None,
    ):
        self.network = require_network(network)
        self.replay = samples.check_replay(replay, network)
        self._threads = check_int(
            default_threads() if threads is None else threads, "threads", 1, MAX_THREADS
        )
        self._compiled = Compiled(network, Unlimited(network.numerics))
        self._places = places_of(self._compiled)
        self._constants = self._compiled.constants()
        self._no_targets = np.zeros((0, network.n_outputs), np.uint8)
        self._lock = Lock()
        self._held = Held(*self._packed(network.initial_weights() if weights is None else weights), 0)
        self.counter = counter
        self.learns = learning_rate is not None
        self._learning_rate: float | None = None
        self.set_learning_rate(0.0 if learning_rate is None else learning_rate)

    @classmethod
    def load(
        cls, path: str | Path, *, learning_rate: float | None = None, threads: int | None = None
    ) -> Self:
        """The network in a file of :meth:`save` or of a command such as `equilif train`.

        Counter and stored samples: those of the file, else 0 and none.  ValueError names a file that holds no
        network.
        """
        found = networks.read(path)
        return cls(
            found.network,
            found.weights,
            learning_rate=learning_rate,
            counter=found.counter,
            threads=threads,
            replay=found.replay,
        )

    def save(self, path: str | Path) -> None:
        """Write network, weights, counter and stored samples to an ``.npz`` that every command of equilif
        reads.
        """
        with self._lock:
            held = self._held
            networks.save(
                path, self.network, self._by_synapse(held), counter=held.counter, replay=self.replay
            )

    def __repr__(self) -> str:
        sizes = "-".join(str(p.size) for p in self.network.populations if not isinstance(p, Constant))
        return f"<Kernel {sizes}, {self.network.n_weights:,} weights, {self.counter:,} updates>"

    def _packed(self, weights: Weights) -> tuple[I16, I16]:
        """Weights with room for those that instructions store, and the embedding table."""
        checked = self.network.check_weights(weights)
        w = new_array(self._compiled.all_tiles, np.int16)
        w[: self._compiled.n_tiles] = self._compiled.weight_words(checked).ravel()
        layer = self.network.dynamic_attention
        empty = np.zeros((0, layer.relay.width if layer else 0), np.int16)
        return w, checked[self.network.table.name].astype(np.int16) if self.network.table else empty

    def _memories(self, p: DecodedProgram, held: Held, *, trains: bool) -> Memories:
        """Memories with the constants of the network and a copy of the weights that a run changes."""
        placed = self._compiled
        layer = self.network.dynamic_attention
        patterns = layer.attention.size if layer else 0
        # attention stores patterns, keys and values as weights; compiled code takes no read-only arrays
        stores = trains or self.network.attends
        w = held.w
        if stores or not w.flags.writeable:
            w = new_array(self._compiled.all_tiles, np.int16)
            w[:] = held.w
        table = held.table.copy() if trains or not held.table.flags.writeable else held.table
        m = new_memories(p, placed.state_groups, placed.n_groups, w, table, patterns)
        first, constants = self._constants
        for values in (m.plus, m.minus):
            values[first : first + len(constants)] = constants
        m.registers[COUNTER] = held.counter
        return m

    @property
    def counter(self) -> int:
        """Weight updates so far, modulo 2**32.  It numbers the dither, so it is part of the state."""
        return self._held.counter

    @counter.setter
    def counter(self, value: int) -> None:
        with self._lock:
            self._held = self._held._replace(counter=check_int(value, "counter", 0, 0xFFFFFFFF))

    def _inputs(self, x: npt.ArrayLike | None, tokens: TokenRows | None) -> tuple[U8, TokenRows]:
        """Inputs and tokens for compiled code.

        Compiled code does not check indices, so rows and offsets are copies that no other thread can change.
        """
        values, rows = samples.check_inputs(self.network, x, tokens)
        return constant(values), TokenRows(constant(rows.table), rows.rows.copy(), rows.off.copy())

    def load_weights(self, weights: Weights) -> None:
        """Replace all weights; the counter stays."""
        packed = self._packed(weights)
        with self._lock:
            self._held = Held(*packed, self._held.counter)

    @property
    def weights(self) -> Weights:
        """Raw weights by synapse name, (rows, columns) each; a copy."""
        return self._by_synapse(self._held)

    def _by_synapse(self, held: Held) -> Weights:
        found = self._compiled.weights(held.w[: self._compiled.n_tiles, None])
        if self.network.table:
            found[self.network.table.name] = held.table.astype(np.int64)
        return {s.name: found[s.name] for s in self.network.plastic}

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set eta of the paper: dW is eta / (2 beta) times the difference of the rate products."""
        learning_rate = check_float(learning_rate, "learning_rate", 0, float("inf"))
        if learning_rate != self._learning_rate:
            placed = self._compiled
            loaded = placed.tokens_first if self.network.dynamic_attention else None
            self._program = decode(
                placed.program(learning_rate), self.network.numerics.weight, placed.state_groups, loaded
            )
            self._learning_rate = learning_rate
        self.learns = self.learns or learning_rate > 0

    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Train on one sample after the other, with replays, and return what the epoch counted.

        x       8-bit values (batch, n_inputs); None for a network without input population
        labels  class numbers (batch,)
        order   indices of samples, (n,); None: as they are stored, unless sorted by class without replay
        tokens  patterns of the samples, for a network with dynamic patterns

        ValueError without a learning rate.
        """
        values, rows = self._inputs(x, tokens)
        # copies, as in _inputs
        known = samples.check_labels(self.network, labels, len(values)).copy()
        at = samples.check_order(order, len(values), None if self.replay else known).copy()
        if not self.learns:
            raise ValueError(NO_RATE)
        with self._lock:
            mixed = None if self.replay is None else self.replay.plan(values, known, at)
            if mixed is not None:
                values, known, at = constant(mixed.x), mixed.labels, mixed.order
            found = new_results(len(at), 0)
            # other threads use the old weights until all samples are trained
            m = self._memories(self._program, self._held, trains=True)
            batch = Samples(values, rows, self._no_targets, known, at)
            execute(self._program, m, self._places, batch, found, 0, len(at), TRAINED, 0)
            self._held = Held(m.w, m.table, int(m.registers[COUNTER]))
            if mixed is not None:
                mixed.commit()
        hits = int((found.predictions == known[at]).sum())
        return Epoch(len(at), hits, int(found.spikes.sum()), int(found.steps.sum()))

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
        targets = self._no_targets
        if y is not None:
            n = len(samples.check_inputs(self.network, x, tokens)[0])
            targets = samples.check_targets(self.network, y, n).astype(np.uint8, order="C")
        halts = INFERRED if y is None else SETTLED
        found = self._run(x, tokens, targets, halts, self._places.n_neurons)
        return Settled(found.rates, found.spikes, found.steps)

    def _run(
        self, x: npt.ArrayLike | None, tokens: TokenRows | None, targets: U8, halts: int, neurons: int
    ) -> Results:
        """Each sample to the HALT of this number; ``neurons``: those whose rates are wanted, all or 0."""
        values, rows = self._inputs(x, tokens)
        held = self._held
        p = self._program
        found = new_results(len(values), neurons)
        order = np.arange(len(values))
        batch = Samples(values, rows, targets, order, order)

        def part(first: int, last: int) -> None:
            m = self._memories(p, held, trains=False)
            execute(p, m, self._places, batch, found, first, last, halts, 0)

        run_in_parts(part, len(values), self._threads)
        return found

    def averages(self, x: npt.ArrayLike, times: npt.ArrayLike) -> tuple[Reals, I32]:
        """Average spiking rates in a long free phase, and the raw static drive.

        Rates (times, batch, neurons) are spikes per step from step 0 to each of ``times``, which increase and
        are at most 2**18.  The drive (batch, neurons) is that of the clamped populations.  ValueError for a
        network with an attention layer.
        """
        if self.network.attends:
            raise ValueError(
                "averages of a network with an attention layer are not defined: it is evaluated per window"
            )
        values, rows = self._inputs(x, None)
        at = integers(times, "times")
        rising = at.ndim == 1 and at.size > 0 and (at[1:] > at[:-1]).all()
        if not rising or at[0] < 1 or at[-1] > MAX_TIME:
            raise ValueError(f"times must rise from at least 1 to at most {MAX_TIME}, not {short_repr(at)}")
        p = decode(self._compiled.free_steps(), self.network.numerics.weight, self._compiled.state_groups)
        (repeat,) = np.flatnonzero(p.instructions["op"] == Op.REPEAT)
        m = self._memories(p, self._held, trains=False)
        n, saved = self._places.n_neurons, self._compiled.state_groups
        out = np.zeros((len(at), len(values), n))
        drives = np.zeros((len(values), n), np.int32)
        found = new_results(len(values), 0)
        order = np.arange(len(values))
        batch = Samples(values, rows, self._no_targets, order, order)

        def run(j: int, start: int) -> int:
            return int(execute(p, m, self._places, batch, found, j, j + 1, INFERRED, start))

        for j in range(len(values)):
            step = run(j, 0)
            drives[j] = m.b[:n]
            spikes = np.zeros(n, np.int64)
            done = 0
            for k, time in enumerate(at):
                while done < time:
                    p.instructions["number"][repeat] = min(time - done, CHARGED)
                    done += p.instructions["number"][repeat]
                    run(j, step)
                    spikes += (m.q[:n] + m.a[saved : saved + n]) // self._compiled.raw.threshold
                out[k, j] = spikes / time
        return out, drives

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """Class of each sample, (batch,): the first output neuron with the largest free-phase rate."""
        return self._run(x, tokens, self._no_targets, INFERRED, 0).predictions

    def output_rates(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """8-bit rates of the output neurons in the free phase, (batch, n_outputs)."""
        output = self.network.neurons[self.network.output]
        return self.settle(x, tokens=tokens).rates[:, 0, output].astype(np.int64)


def places_of(placed: Compiled) -> Places:
    """Places of what changes from sample to sample, for compiled code."""
    net = placed.network
    layer = net.dynamic_attention
    present = placed.groups[f"{layer.attention.name} present"].first if layer else 0
    firsts = np.cumsum([0, *(p.size for p in net.inputs)])
    fold = np.zeros(0, np.int64)
    if any(p.folded for p in net.inputs):
        fold = np.concatenate([first + p.fold for first, p in zip(firsts, net.inputs, strict=False)])
    return Places(
        fold=fold,
        inputs=placed.sample_first if net.n_inputs else 0,
        n_inputs=net.n_inputs,
        present=present,
        tokens=placed.tokens_first if layer else 0,
        target=placed.groups[placed.target].first,
        n_outputs=net.n_outputs,
        errors=placed.groups[error_of(net.lif[0].name)].first if net.schedule.errors else 0,
        error_flag=128 if net.schedule.errors else 0,
        n_neurons=placed.lif_groups,
        free=placed.raw.free,
        window=placed.raw.window,
    )


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
