"""A network on an engine: the model, the RTL in simulation, or a board behind a link.

    chip = Chip(EngineModel(config), network, learning_rate=0.05)
    chip = Chip(VerilatedEngine(config), network, learning_rate=0.05)
    chip = Chip(Client(port), network, learning_rate=0.05)
    chip.train(x, labels)

All three equal equilif_golden.kernel.Kernel bit for bit and have its methods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden import samples
from equilif_golden.blocks.plasticity import DITHER_MASK
from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.compiler import Compiled
from equilif_golden.engine.isa import LearnMode, Op
from equilif_golden.engine.placement import error_of
from equilif_golden.engine.port import (
    Batch,
    Engine,
    Region,
    RunResult,
    dither_position,
    run_samples,
    updates_at,
)
from equilif_golden.fixed import Raw, check_int, integers
from equilif_golden.learning import NO_RATE, learning_steps
from equilif_golden.network import Network, TokenRows, Weights
from equilif_golden.replay import Replay
from equilif_golden.samples import Epoch, one_hot
from equilif_golden.tokens import scatter_add


class CounterMismatch(OSError):
    """The engine's counter of weight updates differs from the one expected."""


class NeuronRates(NamedTuple):
    """8-bit rates of the LIF neurons, (neurons,), in the order of the network, at +beta and at -beta.

    After an inference both are the rates of the free phase.  With contrast "errors" ``minus`` are the errors
    of the last training sample.
    """

    plus: Raw
    minus: Raw


class Chip(samples.Predictor):
    """A network compiled for an engine, with the methods of Kernel.

    engine          EngineModel, VerilatedEngine or Client
    weights         raw weights by synapse name; None: ``network.initial_weights()``
    learning_rate   eta of the paper; None: no training before :meth:`set_learning_rate`
    counter         weight updates so far, which number the dither; 0 for new weights
    replay          as that of Kernel; what it stores stays on the host

    The constructor writes program, constants, weights and counter.  An embedding table is in the SDRAM of an
    engine with tables, if it fits.  Else it stays on the host: the rows of a sample are loaded, learn on the
    engine, and are read back.  CapacityError if the network does not fit the engine.
    """

    def __init__(
        self,
        engine: Engine,
        network: Network,
        weights: Mapping[str, Raw] | None = None,
        *,
        learning_rate: float | None = None,
        counter: int = 0,
        replay: Replay | None = None,
    ):
        self.engine = engine
        self.network = network
        self.replay = samples.check_replay(replay, network)
        self.compiled = Compiled(network, engine.config)
        self.counter = check_int(counter, "counter", 0, 0xFFFFFFFF)
        self.learns = learning_rate is not None
        self._learning_rate: float | None = None
        self._trained = False  #: the last sample
        self.set_learning_rate(learning_rate or 0.0)
        first, constants = self.compiled.constants()
        if len(constants):
            engine.write(Region.VALUE, first, constants)
        self.load_weights(network.initial_weights() if weights is None else weights)
        engine.write(Region.COUNTER, 0, np.array([dither_position(counter)]))

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set eta of the paper; loads a new program, of which it is a part."""
        if learning_rate != self._learning_rate:
            program = self.compiled.program(learning_rate)
            self.engine.load(program)
            self._learning_rate = learning_rate
            self._updates = sum(i.op == Op.LEARN and not i.mode & LearnMode.STORE for i in program)
            table = self.network.table
            self._rows_learn = (
                table is not None and learning_steps(self.network, learning_rate)[table.name].gain > 0
            )
        self.learns = self.learns or learning_rate > 0

    def load_weights(self, weights: Mapping[str, Raw]) -> None:
        """Replace all weights; the counter stays."""
        words = self.compiled.weight_words(dict(weights))
        table = self.network.table
        #: embedding table on the host
        self._table: Raw | None = None
        self.engine.write(Region.WEIGHT, 0, words.ravel())
        external = self.compiled.external_words(dict(weights))
        if len(external):
            self.engine.write(Region.WEIGHT, self.engine.config.n_weights, external.ravel())
        if table is not None:
            rows = np.array(weights[table.name], np.int64)
            if self.compiled.table is None:
                self._table = rows
            else:
                first = self.compiled.table * self.engine.config.lanes**2
                self.engine.write(Region.WEIGHT, first, self.compiled.table_words(rows).ravel())

    @property
    def weights(self) -> Weights:
        """Raw weights of the engine and the embedding table, by synapse.

        CounterMismatch when the engine's update counter is not that of the chip.
        """
        self._require_counter()
        found = read_weights(self.engine, self.compiled)
        if self._table is not None:
            assert self.network.table is not None
            found[self.network.table.name] = self._table.copy()
        return {s.name: found[s.name] for s in self.network.plastic}

    def _require_counter(self) -> None:
        updates = updates_at(int(self.engine.read(Region.COUNTER, 0, 1)[0]))
        if updates != self.counter & DITHER_MASK:
            raise CounterMismatch(
                f"the engine is at update {updates}, it was sent {self.counter & DITHER_MASK}: "
                "was it reset, or does another program use it?"
            )

    def sample(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
        read: tuple[int, int] = (0, 0),
    ) -> RunResult:
        """Run one sample: inference, or training with a target.

        x        8-bit values (n_inputs,)
        y        8-bit targets (n_outputs,); None: inference
        tokens   those of this one sample
        read     first element and number of the values to read back, see :meth:`outputs`
        """
        rows = self._rows(tokens)
        n = len(rows)
        first = self.compiled.sample_first
        values = self.compiled.sample(x, y, tokens=n)
        self._trained = learn = y is not None
        if n and self.compiled.table is not None:
            present = self.compiled.present_first
            if present > first:
                self.engine.write(Region.VALUE, first, values[: present - first])
            write = present, values[present - first + n :]
            own = self.compiled.table_tokens(rows)
            run = self.engine.run(learn=learn, write=write, read=read, tokens=own)
        else:
            patterns = self._load(rows, tokens)
            run = self.engine.run(learn=learn, write=(first, values), read=read)
            if learn and n and self._rows_learn:
                self._require_class(run.prediction)
                self._unload(rows, patterns)
        self._require_class(run.prediction)
        # counted last: an error before this line is found later as a counter mismatch
        self.counter = (self.counter + learn * self._updates) & 0xFFFFFFFF
        return run

    def _require_class(self, prediction: int) -> None:
        if prediction >= self.network.n_outputs:
            raise CounterMismatch(
                f"the engine answered with class {prediction}, the network has {self.network.n_outputs}: "
                "does another program use it?"
            )

    def _run_samples(self, values: Iterable[Raw], *, learn: bool) -> Iterator[Batch]:
        """Samples without tokens, several at a time if the engine can."""
        self._trained = learn
        for batch in run_samples(self.engine, self.compiled.sample_first, values, learn=learn):
            self._require_class(int(batch.predictions.max()))
            # as in :meth:`sample`
            self.counter = (self.counter + learn * self._updates * len(batch.predictions)) & 0xFFFFFFFF
            yield batch

    def _rows(self, tokens: TokenRows | None) -> Raw:
        """Rows of the table of a sample, (n,)."""
        layer = self.network.attention_for(tokens)
        if layer is None:
            return np.zeros(0, np.int64)
        rows = samples.check_token_rows(layer, tokens)
        if rows.n_samples != 1:
            raise ValueError(f"tokens must be those of one sample, not of {rows.n_samples}")
        own = self.network.table
        n = len(rows.table) if own is None else self.network.shape(own)[0]
        return integers(rows.rows_of(0), "token rows", 0, n - 1)

    def _load(self, rows: Raw, tokens: TokenRows | None) -> Raw:
        """Write the patterns (n, width) of a sample into the engine, from a table on the host."""
        if tokens is None or not len(rows):
            return np.zeros((0, 0), np.int64)
        patterns = (tokens.table if self._table is None else self._table)[rows].astype(np.int64)
        first, words = self.compiled.token_words(patterns)
        self.engine.write(Region.WEIGHT, first, words.ravel())
        return patterns

    def _unload(self, rows: Raw, patterns: Raw) -> None:
        """Read the trained patterns and add their changes to the table."""
        lanes = self.engine.config.lanes
        first, words = self.compiled.token_words(patterns)
        found = self.engine.read(Region.WEIGHT, first, words.size).reshape(-1, lanes)
        learned = from_words(found, patterns.shape, lanes)
        assert self._table is not None
        scatter_add(self._table, rows, patterns, learned, self.network.numerics.weight)

    @property
    def outputs(self) -> tuple[int, int]:
        """First element and number of the output rates in Region.VALUE."""
        first = self.compiled.groups[self.network.output].first * self.engine.config.lanes
        return first, self.network.n_outputs

    def rates(self) -> NeuronRates:
        """Rates of the last sample."""
        compiled = self.compiled
        values = self.engine.read(Region.VALUE, 0, compiled.lif_groups * self.engine.config.lanes)
        where = [compiled.elements(q.name) for q in self.network.lif]
        own = values[np.concatenate(where)]
        if not (self.network.schedule.errors and self._trained):
            return NeuronRates(own & 0xFF, own >> 8)
        first = compiled.groups[error_of(self.network.lif[0].name)].first * self.engine.config.lanes
        errors = self.engine.read(Region.VALUE, first, len(values))[np.concatenate(where)] >> 8
        return NeuronRates(own & 0xFF, (errors ^ 128) - 128)

    # -- methods of Kernel -----------------------------------------------------------------------------
    def train(
        self,
        x: npt.ArrayLike | None,
        labels: npt.ArrayLike,
        order: npt.ArrayLike | None = None,
        *,
        tokens: TokenRows | None = None,
    ) -> Epoch:
        """Train on one sample after the other; arguments as Kernel.train."""
        values, rows = samples.check_inputs(self.network, x, tokens)
        known = samples.check_labels(self.network, labels, len(values))
        at = samples.check_order(order, len(values), None if self.replay else known)
        if not self.learns:
            raise ValueError(NO_RATE)
        mixed = None if self.replay is None else self.replay.plan(values, known, at)
        if mixed is not None:
            values, known, at = mixed.x, mixed.labels, mixed.order
        targets = one_hot(known, self.network.n_outputs)
        hits = spikes = 0
        if tokens is None:
            encoded = (self.compiled.sample(values[j], targets[j]) for j in at)
            done = 0
            for batch in self._run_samples(encoded, learn=True):
                after = done + len(batch.predictions)
                hits += int((batch.predictions == known[at[done:after]]).sum())
                spikes += batch.spikes
                done = after
        else:
            for j in at:
                run = self.sample(values[j], targets[j], tokens=rows.take([j]))
                hits += run.prediction == known[j]
                spikes += run.spikes
        if mixed is not None:
            mixed.commit()
        schedule = self.network.schedule
        return Epoch(len(at), int(hits), spikes, len(at) * schedule.free if schedule.fixed else 0)

    def infer(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Iterator[Batch]:
        """Run the free phase of the samples in order, several at a time if the engine can.

        CounterMismatch at the end if the engine was reset: a standalone board then runs its own network.
        """
        values, rows = samples.check_inputs(self.network, x, tokens)
        if tokens is None:
            yield from self._run_samples((self.compiled.sample(v) for v in values), learn=False)
        else:
            for j, v in enumerate(values):
                run = self.sample(v, tokens=rows.take([j]))
                yield Batch(np.array([run.prediction]), run.spikes, run.accesses, run.cycles)
        if len(values):
            self._require_counter()

    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> npt.NDArray[np.int64]:
        found = [batch.predictions for batch in self.infer(x, tokens=tokens)]
        return np.concatenate([np.zeros(0, np.int64), *found])

    def output_rates(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        """8-bit rates of the output neurons in the free phase, (batch, n_outputs), one sample at a time."""
        values, rows = samples.check_inputs(self.network, x, tokens)
        found = np.zeros((len(values), self.network.n_outputs), np.int64)
        for j, v in enumerate(values):
            run = self.sample(v, tokens=None if tokens is None else rows.take([j]), read=self.outputs)
            found[j] = run.values & 0xFF
        return found


def read_weights(engine: Engine, compiled: Compiled) -> Weights:
    """Raw weights in an engine, by synapse of the compiled network."""
    lanes = engine.config.lanes
    words = engine.read(Region.WEIGHT, 0, compiled.n_tiles * lanes**2)
    found = compiled.weights(words.reshape(-1, lanes))
    if compiled.external:
        n_external = (compiled.external_end - engine.config.tiles) * lanes**2
        words = engine.read(Region.WEIGHT, engine.config.n_weights, n_external)
        found |= compiled.external_weights(words.reshape(-1, lanes))
    if compiled.table is not None:
        assert compiled.network.table is not None
        n = compiled.table_elements
        words = engine.read(Region.WEIGHT, compiled.table * lanes**2, n)
        found[compiled.network.table.name] = compiled.table_rows(words)
    return found
