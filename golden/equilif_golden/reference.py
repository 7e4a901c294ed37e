"""Specification of the network's dynamics and learning, in plain NumPy.

The steps are those of the paper: settle, nudge, measure, learn.  ``equilif_golden.kernel`` is the compiled
form, ``equilif_golden.engine.model`` the form with instructions, lanes and memories.  Tests compare all three
bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from equilif_golden import network as networks
from equilif_golden import samples
from equilif_golden.blocks import synapse as syn
from equilif_golden.blocks.error import hidden_error, output_error
from equilif_golden.blocks.lif import lif_step
from equilif_golden.blocks.nudge import nudge
from equilif_golden.blocks.plasticity import Step, ep_update
from equilif_golden.blocks.rate import measure, moved
from equilif_golden.blocks.relay import query_shift, relay, retrieval
from equilif_golden.blocks.self_attention import Attended, self_attention
from equilif_golden.blocks.softmax import softmax
from equilif_golden.fixed import Raw, check_int, short_repr
from equilif_golden.learning import NO_RATE, learning_steps
from equilif_golden.network import (
    Attention,
    AttentionLayer,
    Geometry,
    Network,
    Relay,
    SelfAttention,
    Synapse,
    TokenRows,
    Tokens,
    Weights,
    require_network,
)
from equilif_golden.populations import Population
from equilif_golden.tokens import scatter_add


@dataclass
class Recalled:
    """Values of the attention layers, by population.

    query, retrieval (batch, heads, width): signed 8-bit values, by relay.  p (batch, heads, size): codes from
    which patterns learn, by attention population.  answer (batch, size): signed 8-bit values, and attention
    (batch, heads, positions, positions): codes of the probabilities, in 1/256, by self-attention population.
    """

    query: dict[str, Raw] = field(default_factory=dict)
    retrieval: dict[str, Raw] = field(default_factory=dict)
    p: dict[str, Raw] = field(default_factory=dict)
    answer: dict[str, Raw] = field(default_factory=dict)
    attention: dict[str, Raw] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[Recalled]) -> Recalled:
        return cls(*(_joined([getattr(r, f.name) for r in parts]) for f in fields(cls)))


def _joined(parts: Sequence[dict[str, Raw]]) -> dict[str, Raw]:
    """Batches concatenated, by name."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


#: arrays (batch, ...) of a neuron hook, by population and name
HookState = dict[str, dict[str, npt.NDArray[Any]]]


@dataclass
class State:
    """Raw state of the LIF populations, (batch, size), and the last values of the attention layers."""

    v: dict[str, Raw]
    spikes: dict[str, Raw]
    hook: HookState
    base: dict[str, Raw]  #: static drive from clamped populations
    #: patterns (batch or 1, size, width) and their presence, by attention population
    patterns: dict[str, tuple[Raw, npt.NDArray[np.bool_]]]
    recalled: Recalled
    charge: dict[str, Raw] = field(default_factory=dict)
    spike_count: int = 0

    def copy_dynamic(self) -> dict[str, Any]:
        """Copies of what a time step or a window changes, for :meth:`restore`."""
        return {name: copy.deepcopy(getattr(self, name)) for name in DYNAMIC}

    def restore(self, saved: dict[str, Any]) -> None:
        for name, value in saved.items():
            setattr(self, name, value)


#: fields of a state with which a phase begins
DYNAMIC = ("v", "spikes", "hook", "recalled")


@dataclass(frozen=True)
class SampleResult:
    """Results of a batch.

    free, plus, minus   8-bit rates (batch, size) of the phases, by LIF population.  With contrast "errors":
                        ``plus`` are the free rates, ``minus`` the signed 8-bit errors
    opposite            with contrast "errors" and attention layers: errors of the negative output error
    prediction          first output neuron with the largest free rate, (batch,)
    spikes              number of spikes in all phases
    steps               time steps of the free phase, (batch,)
    """

    free: dict[str, Raw]
    plus: dict[str, Raw]
    minus: dict[str, Raw]
    prediction: Raw
    spikes: int
    #: (steps, batch, size) spikes, when recorded
    raster: dict[str, Raw]
    #: at the end of the free, +beta and -beta phases; with contrast "errors" of queries that the errors nudge
    recalled: tuple[Recalled, Recalled, Recalled]
    steps: Raw
    opposite: dict[str, Raw] = field(default_factory=dict)

    @classmethod
    def joined(cls, parts: Sequence[SampleResult]) -> SampleResult:
        """Several results as one batch, without rasters."""
        recalled = [Recalled.joined([r.recalled[k] for r in parts]) for k in range(3)]
        return cls(
            free=_joined([r.free for r in parts]),
            plus=_joined([r.plus for r in parts]),
            minus=_joined([r.minus for r in parts]),
            prediction=np.concatenate([r.prediction for r in parts]),
            spikes=sum(r.spikes for r in parts),
            raster={},
            recalled=(recalled[0], recalled[1], recalled[2]),
            steps=np.concatenate([r.steps for r in parts]),
            opposite=_joined([r.opposite for r in parts]),
        )


class Reference(samples.Predictor):
    """Reference implementation of a network with its weights.

    network         its populations, synapses and schedule
    weights         raw weights by synapse name; None: ``network.initial_weights()``
    learning_rate   eta of the paper; None: no training before :meth:`set_learning_rate`
    counter         weight updates so far, which number the dither; 0 for new weights

    ValueError if an argument has a wrong shape, type or range.  To try another neuron or learning rule,
    subclass it and override :meth:`neuron` or :meth:`update` (examples/new_neuron.py).  A neuron that
    remembers more than its membrane also overrides :meth:`neuron_state`.
    """

    #: state of the neurons while a sample runs, see :meth:`neuron_state`
    state: HookState

    def __init__(
        self,
        network: Network,
        weights: Weights | None = None,
        *,
        learning_rate: float | None = None,
        counter: int = 0,
    ):
        self.network = require_network(network)
        self.raw = network.schedule.raw(network.numerics)
        self.weights = network.check_weights(network.initial_weights() if weights is None else weights)
        self.counter = check_int(counter, "counter", 0, 0xFFFFFFFF)
        self.learns = learning_rate is not None
        self.set_learning_rate(0.0 if learning_rate is None else learning_rate)
        self.state = {}

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set eta of the paper: dW is eta / (2 beta) times the difference of the rate products."""
        self.steps: dict[str, Step] = learning_steps(self.network, learning_rate)
        self.learns = self.learns or learning_rate > 0

    # -- methods that a prototype overrides --------------------------------------------------------
    def neuron(self, population: Population, v: Raw, drive: Raw) -> tuple[Raw, Raw]:
        """One time step of a population: raw membranes v and input sums ``drive``, both (batch, size), to new
        membranes and spikes in 0/1.

        The result depends on the arguments and on ``self.state`` only: the model calls an override twice, and
        raises ValueError if the results differ.
        """
        return lif_step(v, drive, threshold=self.raw.threshold, leak=self.raw.leak)

    def neuron_state(self, population: Population, batch: int) -> dict[str, npt.NDArray[Any]]:
        """Arrays (batch, ...), by name, that :meth:`neuron` keeps from one time step to the next.

        Called for each LIF population at the start of a sample.  ``neuron`` reads and changes the arrays in
        ``self.state[population.name]``.  As the membranes, they are saved at the end of the free phase, and
        both nudged phases begin with them.  ValueError for values other than such arrays.
        """
        return {}

    def update(self, s: Synapse, w: Raw, u_plus: Raw, u_minus: Raw, v_plus: Raw, v_minus: Raw) -> Raw:
        """New raw weights w (n, m) of a synapse after a sample.

        ``u_*`` (n,) and ``v_*`` (m,) are the 8-bit rates of its two populations at +beta and at -beta; with
        convolutions those of all their neurons.
        """
        return ep_update(
            w,
            u_plus,
            u_minus,
            v_plus,
            v_minus,
            step=self.steps[s.name],
            counter=self.counter,
            weight=self.network.numerics.weight,
            maps=self.network[s.pre].maps,
            geometry=self._geometry(s, w.shape[1]),
        )

    def _geometry(self, s: Synapse, columns: int) -> Geometry | None:
        """Geometry of `columns` columns of a synapse."""
        geometry = self.network.geometry(s)
        return geometry and geometry._replace(post=geometry.post._replace(maps=columns))

    # -- the three operations on the state ---------------------------------------------------------
    def _begin(self, x: Raw, tokens: Tokens | None) -> State:
        net = self.network
        batch = len(x)
        clamped = net.clamped(x)
        v = {p.name: np.full((batch, p.size), self.raw.threshold // 2) for p in net.lif}
        spikes = {p.name: np.zeros((batch, p.size), np.int64) for p in net.lif}
        base = {p.name: np.zeros((batch, p.n_drives), np.int64) for p in net.populations if not p.clamped}
        for s in net.synapses:
            if s.pre in clamped:
                base[s.post] = base[s.post] + syn.forward_values(
                    self.weights[s.name], clamped[s.pre], net.geometry(s)
                )
        # retrievals are zero during the first window
        silent = Recalled()
        stored = {}
        for m in net.attention_layers:
            silent.retrieval[m.relay.name] = np.zeros((batch, m.relay.heads, m.relay.width), np.int64)
            if tokens is not None and m.attention.dynamic_patterns:
                stored[m.attention.name] = tokens.patterns, tokens.present
            else:
                stored[m.attention.name] = (
                    self.weights[m.synapse.name][None],
                    np.ones((1, m.attention.size), bool),
                )
        for a in net.self_attention:
            silent.answer[a.name] = np.zeros((batch, a.size), np.int64)
        hook = {p.name: self.neuron_state(p, batch) for p in net.lif}
        state = State(v, spikes, _checked(hook, batch), base, stored, silent)
        self._evaluate(state, [m for m in net.attention_layers if net.evaluated_once(m)], {})
        return state

    def _recall(self, state: State, rates: dict[str, Raw]) -> None:
        """Evaluate what receives rates: attention layers and self-attention."""
        net = self.network
        state.recalled = copy.deepcopy(state.recalled)
        self._evaluate(state, [m for m in net.attention_layers if not net.evaluated_once(m)], rates)
        for a in net.self_attention:
            attended = self._attend(a, state.base[a.name], rates)
            state.recalled.answer[a.name] = attended.answer
            state.recalled.attention[a.name] = attended.p

    def _evaluate(
        self,
        state: State,
        layers: Sequence[AttentionLayer],
        rates: dict[str, Raw],
        errors: dict[str, Raw] | None = None,
    ) -> None:
        """Evaluate attention layers: query from the rates, nudged by ``errors``, softmax, retrieval."""
        net = self.network
        fraction = net.numerics.fraction
        new = state.recalled
        for m in layers:
            drive = state.base[m.relay.name]
            for s in net.synapses:
                if s.pre == m.relay.name and s.feedback:
                    drive = drive + syn.backward_values(self.weights[s.name], rates[s.post])
                if s.pre == m.relay.name and errors is not None:
                    drive = drive + syn.backward_values(self.weights[s.name], errors[s.post], rounded=True)
            q = relay(drive, shift=query_shift(fraction)).reshape(len(drive), m.relay.heads, m.relay.width)
            # the heads share the patterns
            patterns = state.patterns[m.attention.name][0][:, None]
            present = state.patterns[m.attention.name][1][:, None]
            scores = syn.backward_values(patterns, q)
            shift = net.softmax_shift(m.attention)
            codes = softmax(scores, present, shift=shift)
            gathered = syn.forward_values(patterns, codes.code)
            new.query[m.relay.name] = q
            new.retrieval[m.relay.name] = retrieval(gathered, codes.c, fraction=fraction, gain=m.relay.gain)
            fine = m.attention.dynamic_patterns
            new.p[m.attention.name] = softmax(scores, present, shift=shift, absolute=not fine, fine=fine).code

    def _attend(self, a: SelfAttention, drive: Raw, rates: dict[str, Raw]) -> Attended:
        """Query, key and value of every position from the rates, and the answers."""
        net = self.network
        for s in net.synapses:
            if s.post == a.name and s.pre in rates:
                drive = drive + syn.forward_values(self.weights[s.name], rates[s.pre], net.geometry(s))
        assert a.shape is not None
        return self_attention(
            drive,
            positions=a.shape.positions,
            heads=a.heads,
            causal=a.causal,
            shift=net.softmax_shift(a),
            fraction=net.numerics.fraction,
            gain=a.gain,
            energy=a.energy,
        )

    def _step(self, state: State, target: Raw | None, strength: int) -> None:
        """One time step: each LIF population in order, from the newest spikes of its neighbours (Gauss-Seidel
        order).
        """
        for p in self.network.lif:
            drive = state.base[p.name]
            for s in self.network.synapses:
                if s.post == p.name and s.pre in state.recalled.retrieval:
                    drive = drive + syn.forward_values(
                        self.weights[s.name], state.recalled.retrieval[s.pre].reshape(len(drive), -1)
                    )
                elif s.post == p.name and s.pre in state.recalled.answer:
                    drive = drive + syn.forward_values(
                        self.weights[s.name], state.recalled.answer[s.pre], self.network.geometry(s)
                    )
                elif s.pre == p.name and s.post in state.recalled.answer and self.network.answers_back(s):
                    drive = drive + syn.backward_values(
                        self.weights[s.name], state.recalled.answer[s.post], self.network.geometry(s)
                    )
                elif s.post == p.name and s.pre in state.spikes:
                    drive = drive + syn.forward(
                        self.weights[s.name], state.spikes[s.pre], self.network.geometry(s)
                    )
                elif s.pre == p.name and s.post in state.spikes and s.feedback:
                    w = syn.scaled(self.weights[s.name], s.feedback_shift)
                    drive = drive + syn.backward(w, state.spikes[s.post], self.network.geometry(s))
            if strength and p.name == self.network.output:
                assert target is not None
                drive = drive + nudge(target, state.spikes[p.name], strength=strength)
            state.v[p.name], spike = self._stepped(p, state, drive)
            state.spikes[p.name] = spike
            state.charge[p.name] = state.charge[p.name] + self.raw.threshold * spike
            state.spike_count += int(spike.sum())

    def _stepped(self, p: Population, state: State, drive: Raw) -> tuple[Raw, Raw]:
        """Membranes and spikes by :meth:`neuron`; ValueError if an override hides state from the model."""
        v = state.v[p.name]
        if getattr(self.neuron, "__func__", None) is Reference.neuron:
            return self.neuron(p, v, drive)
        results = []
        for _ in range(2):
            self.state = copy.deepcopy(state.hook)
            found, spike = self.neuron(p, v.copy(), drive.copy())
            results.append((found, spike, _checked(self.state, len(v))))
        (v, spike, state.hook), (again, spike_again, hook_again) = results
        same = np.array_equal(v, again) and np.array_equal(spike, spike_again)
        if not same or not _equal(state.hook, hook_again):
            raise ValueError(
                f"{type(self).__name__}.neuron gives two results for the same membranes, drive and state of "
                f"{p.name!r}: keep what it remembers in self.state, whose arrays neuron_state returns"
            )
        return v, spike

    def _settled(self, rates: dict[str, Raw], before: dict[str, Raw]) -> bool:
        watched = [self.network.output] if self.raw.watch_output else list(rates)
        return not any(moved(rates[k], before[k], tolerance=self.raw.early_exit).any() for k in watched)

    def _phase(
        self,
        state: State,
        steps: int,
        target: Raw | None,
        strength: int,
        raster: list[dict[str, Raw]] | None,
        early_exit: bool = False,
    ) -> tuple[dict[str, Raw], int]:
        """Rates of the last window, and the number of steps: fewer than ``steps`` after an early exit.

        Attention layers and self-attention are evaluated after every window.  Without them and without
        ``early_exit`` only the last window is measured.
        """
        rates: dict[str, Raw] = {}
        state.charge = {k: -v for k, v in state.v.items()}
        windows = self.network.windowed or early_exit
        for left in range(steps - 1, -1, -1):
            if left + 1 == self.raw.window or windows and (left + 1) % self.raw.window == 0:
                state.charge = {k: -v for k, v in state.v.items()}
            self._step(state, target, strength)
            if raster is not None:
                raster.append(dict(state.spikes))
            if left == 0 or windows and left % self.raw.window == 0:
                before = rates
                rates = {k: measure(state.charge[k], state.v[k], shift=self.raw.rate_shift) for k in state.v}
                self._recall(state, rates)
                done = steps - left
                if (
                    early_exit
                    and done >= self.raw.min_windows * self.raw.window
                    and self._settled(rates, before)
                ):
                    return rates, done
        return rates, steps

    def _errors(self, rates: dict[str, Raw], error: Raw) -> dict[str, Raw]:
        """Errors of all LIF populations: of the output, then from the last one to the first, each from the
        newest errors of its postsynaptic populations; through synapses without feedback, too.
        """
        net = self.network
        errors = {p.name: np.zeros_like(rates[p.name]) for p in net.lif}
        errors[net.output] = error
        for p in reversed(net.lif):
            if p.name == net.output:
                continue
            drive = np.zeros_like(rates[p.name])
            for s in net.synapses:
                if s.pre == p.name:
                    drive = drive + syn.backward_values(
                        self.weights[s.name], errors[s.post], net.geometry(s), rounded=True
                    )
            errors[p.name] = hidden_error(drive, rates[p.name], shift=self.raw.hidden_error_shift)
        return errors

    def _nudged(self, state: State, rates: dict[str, Raw], errors: dict[str, Raw]) -> Recalled:
        """Values of the attention layers with queries that the errors nudge."""
        state.recalled = copy.deepcopy(state.recalled)
        self._evaluate(state, self.network.attention_layers, rates, errors)
        return state.recalled

    # -- public methods ---------------------------------------------------------------------------
    def predict(self, x: npt.ArrayLike | None, *, tokens: TokenRows | None = None) -> Raw:
        values, rows = samples.check_inputs(self.network, x, tokens)
        if not len(values):
            return np.zeros(0, np.int64)
        return self.infer(values, None if tokens is None else rows).prediction

    def save(self, path: str | Path) -> None:
        """Write network, weights and counter to an ``.npz`` that every command of equilif reads."""
        networks.save(path, self.network, self.weights, counter=self.counter)

    def infer(
        self, x: npt.ArrayLike, tokens: Tokens | TokenRows | None = None, *, record: bool = False
    ) -> SampleResult:
        """Run the free phase.

        x        8-bit values (batch, n_inputs)
        tokens   patterns of the samples, for a network with dynamic patterns: TokenRows with an embedding
                 table, else Tokens or TokenRows
        record   whether to return the spikes of all steps
        """
        patterns = self._patterns(tokens)
        return self._run(self._inputs(x, patterns), None, patterns, record=record)

    def train(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        tokens: Tokens | TokenRows | None = None,
        *,
        record: bool = False,
        learn: bool = True,
    ) -> SampleResult:
        """Run all three phases, or the free phase and the errors, and update the weights.

        x       8-bit values of one sample, (1, n_inputs); with ``learn`` false any batch
        y       8-bit targets, (1, n_outputs)
        learn   whether to update the weights

        Others as :meth:`infer`.
        """
        patterns = self._patterns(tokens)
        checked = self._inputs(x, patterns)
        targets = samples.check_targets(self.network, y, len(checked))
        if learn and len(checked) != 1:
            raise ValueError(f"learning is one sample at a time, as on the chip, not {len(checked)}")
        if learn and not self.learns:
            raise ValueError(NO_RATE)
        result = self._run(checked, targets, patterns, record=record)
        if learn:
            rows = tokens.rows_of(0) if isinstance(tokens, TokenRows) else None
            self._learn(result, self.network.clamped(checked), patterns, rows)
        return result

    def _patterns(self, tokens: Tokens | TokenRows | None) -> Tokens | None:
        """Patterns from the network's embedding table or, without one, from that of the tokens."""
        table = self.network.table
        if not isinstance(tokens, TokenRows):
            if table is not None and tokens is not None:
                raise ValueError("the network has an embedding table: give TokenRows")
            return tokens
        layer = self.network.attention_for(tokens)
        assert layer is not None
        _, rows = samples.check_inputs(
            self.network, np.zeros((tokens.n_samples, self.network.n_inputs), int), tokens
        )
        known = rows.table if table is None else self.weights[table.name]
        return Tokens.of([known[rows.rows_of(j)] for j in range(rows.n_samples)], layer.attention.size)

    def _inputs(self, x: npt.ArrayLike, tokens: Tokens | None) -> Raw:
        checked = self.network.numerics.value.require(x, "inputs")
        if checked.ndim != 2 or checked.shape[1] != self.network.n_inputs:
            raise ValueError(f"inputs must have shape (batch, {self.network.n_inputs}), not {checked.shape}")
        self.network.check_tokens(tokens, len(checked))
        return checked

    def _run(self, x: Raw, y: Raw | None, tokens: Tokens | None, *, record: bool) -> SampleResult:
        net = self.network
        early_exit = self.raw.early_exit >= 0
        if early_exit and len(x) > 1:  # samples exit at different steps
            if record:
                raise ValueError(f"phases with early exit are recorded one sample at a time, not {len(x)}")
            ones = [
                self._run(
                    x[[j]],
                    None if y is None else y[[j]],
                    None if tokens is None else tokens.take([j]),
                    record=False,
                )
                for j in range(len(x))
            ]
            return SampleResult.joined(ones)
        raster: list[dict[str, Raw]] | None = [] if record else None
        state = self._begin(x, tokens)
        free, steps = self._phase(state, self.raw.free, None, 0, raster, early_exit)
        free_recalled = plus_recalled = minus_recalled = state.recalled
        plus = minus = free
        opposite: dict[str, Raw] = {}
        if y is not None and net.schedule.errors:
            minus = self._errors(free, output_error(free[net.output], y))
            if net.attention_layers:
                opposite = self._errors(free, output_error(y, free[net.output]))
                plus_recalled = self._nudged(state, free, opposite)
                minus_recalled = self._nudged(state, free, minus)
        elif y is not None:
            saved = state.copy_dynamic()
            plus, _ = self._phase(state, self.raw.nudged, y, self.raw.strength, raster)
            plus_recalled = state.recalled
            state.restore(saved)
            minus, _ = self._phase(state, self.raw.nudged, y, -self.raw.strength, raster)
            minus_recalled = state.recalled
        frames = {p.name: np.stack([f[p.name] for f in raster]) for p in net.lif} if raster else {}
        return SampleResult(
            free,
            plus,
            minus,
            free[net.output].argmax(axis=1),
            state.spike_count,
            frames,
            (free_recalled, plus_recalled, minus_recalled),
            np.full(len(x), steps),
            opposite,
        )

    def _learn(
        self, result: SampleResult, clamped: dict[str, Raw], patterns: Tokens | None, rows: Raw | None
    ) -> None:
        """Update every synapse from the values at its two ends, each head of a relay separately.

        Rows of an embedding table learn as patterns, and their changes are added to the table.
        """
        weight = self.network.numerics.weight
        for s in self.network.plastic:
            if not self.steps[s.name].gain:
                continue
            held = w = self.weights[s.name].copy()
            if s == self.network.table:
                assert patterns is not None and rows is not None
                w = patterns.patterns[0].copy()
            for head in range(self.network.learned_parts(s)):
                part = self.part(s, head)
                w[part] = self.update(s, w[part], *self.ends(s, head, result, clamped))
                self.counter = (self.counter + 1) & 0xFFFFFFFF
            if s == self.network.table:
                assert patterns is not None and rows is not None
                before = patterns.patterns[0]
                scatter_add(held, rows, before[: len(rows)], w[: len(rows)], weight)
            self.weights[s.name] = held

    def part(self, s: Synapse, head: int) -> tuple[slice, slice]:
        """Rows and columns that belong to a head; heads share the patterns.

        ``head``: of self-attention with ``heads`` heads, query ``head`` or key ``heads + head``.
        """
        rows = columns = slice(None)
        pre = self.network[s.pre]
        post = self.network[s.post]
        if isinstance(pre, Relay):
            rows = slice(head * pre.width, (head + 1) * pre.width)
        elif isinstance(post, Relay | SelfAttention) and not isinstance(pre, Attention):
            columns = slice(head * post.width, (head + 1) * post.width)
        return rows, columns

    def ends(
        self, s: Synapse, head: int, result: SampleResult, clamped: dict[str, Raw], j: int = 0
    ) -> tuple[Raw, Raw, Raw, Raw]:
        """What a synapse, or a head of it, learns from in sample ``j``: u+ and u- (rows,), v+ and v-
        (columns,), those of all positions.
        """
        errors = self.network.schedule.errors
        rates = ({**clamped, **result.plus}, {**clamped, **(result.free if errors else result.minus)})
        found = []
        for sent, recalled in zip(rates, result.recalled[1:], strict=True):
            u = recalled.retrieval.get(s.pre, sent.get(s.pre))
            v = recalled.retrieval.get(s.post, sent.get(s.post))
            if isinstance(self.network[s.pre], Attention):
                u, v = recalled.p[s.pre], recalled.query[s.post]
            assert u is not None
            post = self.network[s.post]
            if isinstance(post, SelfAttention):
                answers = recalled.answer[s.post][j].reshape(-1, post.drive_parts, post.width)
                found.append((u[j], answers[:, head].ravel()))
                continue
            assert v is not None
            found.append((u[j, head] if u.ndim == 3 else u[j], v[j, head] if v.ndim == 3 else v[j]))
        (u_plus, v_plus), (u_minus, v_minus) = found
        if errors and s.post in result.minus:
            v_minus = result.minus[s.post][j]
            v_plus = result.opposite[s.post][j] if result.opposite else np.zeros_like(v_minus)
        return u_plus, u_minus, v_plus, v_minus


def _checked(state: HookState, batch: int) -> HookState:
    """``state``; ValueError unless it has arrays (batch, ...) only, which can be saved between phases."""
    for population, arrays in state.items():
        where = f"state of population {population!r}"
        if not isinstance(arrays, dict):
            raise ValueError(f"{where} must be arrays by name, not {short_repr(arrays)}")
        for name, values in arrays.items():
            if not isinstance(values, np.ndarray) or values.shape[:1] != (batch,) or values.dtype.hasobject:
                raise ValueError(
                    f"{where}: {name} must be an array of numbers ({batch}, ...), not {short_repr(values)}"
                )
    return state


def _equal(a: HookState, b: HookState) -> bool:
    """Whether two states have the same arrays, bit for bit."""
    return {k: v.keys() for k, v in a.items()} == {k: v.keys() for k, v in b.items()} and all(
        values.tobytes() == b[population][name].tobytes()
        for population, arrays in a.items()
        for name, values in arrays.items()
    )
