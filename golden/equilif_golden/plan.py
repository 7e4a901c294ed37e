"""A network as tables of integers, for compiled code (equilif_golden.compiled).

The 8-bit values of all populations are in one array, as in the engine:

    LIF rates | retrievals of relays | query, key and value of self-attention | its answers
              | inputs | constants | queries of relays | codes of attention populations
              | errors of LIF populations, with contrast "errors"

A *place* is an index in it.  Those that accumulate a drive are first, up to query, key and value, so arrays
of drives have the same places.  Weights are in another array, by synapse and row.

Weights that maps share have separate tables.  A transposed copy of them, for the feedback direction, follows
all weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.plasticity import Step
from equilif_golden.blocks.relay import query_shift, retrieval_shift
from equilif_golden.blocks.self_attention import answer_shift
from equilif_golden.fixed import Raw
from equilif_golden.network import Attention, Network, SelfAttention, Synapse, Weights
from equilif_golden.schedule import RawSchedule
from equilif_golden.synapses import end_kind

#: rows of one of the NamedTuples below, with the names of its fields
Table = npt.NDArray[np.void]
I16 = npt.NDArray[np.int16]
I32 = npt.NDArray[np.int32]
#: suffix for the query of a relay; its name alone is that of its retrieval
QUERY = "(query)"
#: suffix for query, key and value of a self-attention population; its name alone is that of its answers
PROJECTIONS = "(projections)"
#: suffix for the errors of a LIF population
ERROR = "(error)"


class Layer(NamedTuple):
    """A LIF population."""

    first: int  #: place
    size: int


class Matrix(NamedTuple):
    """The weights of a synapse."""

    at: int  #: first weight
    rows: int
    columns: int
    pre: int  #: place of the first row's neuron
    post: int  #: place of the first column's neuron
    feedback: int


class Shared(NamedTuple):
    """Weights with a geometry, that several positions share.

    The presynaptic neurons of a position of ``post`` are ``runs`` runs of ``run`` consecutive neurons.
    """

    at: int  #: first weight
    back: int  #: first weight of their copy, column after column
    rows: int
    columns: int
    pre: int  #: place of the first neuron
    post: int  #: place of the first neuron
    feedback: int
    edge_start: int  #: first of Plan.edge_starts: one per position of ``pre``, and their end
    positions: int  #: of ``pre``
    maps: int  #: of ``pre``
    targets: int  #: positions of ``post``
    runs: int
    run: int
    run_start: int  #: first of Plan.runs


class Head(NamedTuple):
    """One head of a relay, and its patterns."""

    query: int  #: place of the query
    retrieval: int  #: place of the retrieval
    codes: int  #: place of the codes for learning; -1: fixed patterns
    width: int
    patterns: int  #: first weight; -1: dynamic patterns
    n_patterns: int
    softmax_shift: int
    retrieval_shift: int


class Attending(NamedTuple):
    """A self-attention population."""

    projections: int  #: place of the query of its first position
    answers: int  #: place of its first answer
    positions: int
    heads: int
    width: int  #: of a head
    causal: int
    energy: int  #: keys are the values, and have answers too
    softmax_shift: int
    answer_shift: int


class Update(NamedTuple):
    """The EP update of a matrix, or of that part of it which belongs to one head."""

    at: int  #: first weight
    stride: int  #: from row to row
    rows: int
    columns: int  #: of maps: of a position
    u: int  #: place of the first row's value
    v: int  #: place of the first column's value
    maps: int  #: neurons of a position of the rows
    gain: int
    shift: int
    shared: int  #: which of Plan.shared; -1: dense
    dynamic: int  #: of dynamic patterns, in place of weights


class Plan(NamedTuple):
    """A network as tables."""

    layers: Table  #: Layer, in update order
    output: Layer  #: the one that is nudged and read out
    static: Table  #: Matrix, from clamped populations
    joins: Table  #: Matrix, between LIF populations
    recalls: Table  #: Matrix, from relays to LIF populations
    shared: Table  #: Shared: from clamped populations, between LIF populations, to and from self-attention
    n_static: int  #: of Shared from clamped populations
    n_joins: int  #: of these and of those between LIF populations
    n_projections: int  #: of these and of those from LIF populations to self-attention
    edge_starts: I32  #: index of the first edge of a position, see Shared
    edges: I32  #: (n, 2): for each pair of joined positions, first neuron of ``post`` and first weight
    runs: I32  #: first neuron of every run, by position of ``post``, see Shared
    fold: Raw  #: index in the sample of every input; empty: no folding
    heads: Table  #: Head
    attending: Table  #: Attending
    n_neurons: int  #: of LIF populations
    n_relays: int  #: neurons of relays
    n_drives: int  #: of LIF populations, relays and self-attention
    inputs: int  #: place of the first input
    constants: int  #: place of the first constant
    queries: int  #: place of the first query
    errors: int  #: place of the first error; -1: none
    n_values: int
    most_patterns: int  #: of an attention population, or positions of self-attention
    table: int  #: first weight of the embedding table; -1: none
    query_shift: int
    raw: RawSchedule
    w_lo: int
    w_hi: int


def table(rows: Sequence[tuple[int, ...]], kind: type[Any]) -> Table:
    return np.array(rows, [(name, np.int64) for name in kind._fields])


def places(network: Network) -> dict[str, int]:
    """Where the values of each population begin, and the queries of each relay."""
    relays = [m.relay for m in network.attention_layers]
    sizes = [(p.name, p.size) for p in (*network.lif, *relays)]
    sizes += [(f"{a.name} {PROJECTIONS}", a.n_drives) for a in network.self_attention]
    sizes += [(p.name, p.size) for p in (*network.self_attention, *network.inputs, *network.constants)]
    sizes += [(f"{p.name} {QUERY}", p.size) for p in relays]
    sizes += [(m.attention.name, m.attention.size * m.relay.heads) for m in network.attention_layers]
    sizes += [(f"{p.name} {ERROR}", p.size) for p in network.lif if network.schedule.errors]
    place = {}
    at = 0
    for name, size in sizes:
        place[name] = at
        at += size
    return place


def drive_place(network: Network, place: dict[str, int], name: str) -> int:
    """Where the drives of a population begin."""
    self_attention = isinstance(network[name], SelfAttention)
    return place[f"{name} {PROJECTIONS}" if self_attention else name]


def first_weights(network: Network) -> dict[str, int]:
    """Where the weights of each synapse begin."""
    first = {}
    at = 0
    for s in network.plastic:
        first[s.name] = at
        at += int(np.prod(network.shape(s)))
    return first


def pack_weights(network: Network, weights: Weights) -> I16:
    """Weights that fit the network in one array."""
    flat = [weights[s.name].ravel() for s in network.plastic]
    transposed = [
        (weights[s.name].T.ravel() + (1 << s.feedback_shift >> 1)) >> s.feedback_shift
        for s in shared_synapses(network)
    ]
    return np.concatenate(flat + transposed).astype(np.int16)


def plan_of(network: Network) -> Plan:
    place = places(network)
    weight = first_weights(network)
    numerics = network.numerics
    matrices: dict[tuple[str, str], list[Matrix]] = {}
    for s in network.plastic:
        if network.geometry(s) or isinstance(network[s.pre], Attention):
            continue
        post = drive_place(network, place, s.post)
        row = Matrix(
            weight[s.name], *network.shape(s), place[s.pre], post, int(s.feedback) * (1 + s.feedback_shift)
        )
        ends = end_kind(network[s.pre]), end_kind(network[s.post])
        matrices.setdefault(ends, []).append(row)
    heads = [
        Head(
            query=place[f"{m.relay.name} {QUERY}"] + head * m.relay.width,
            retrieval=place[m.relay.name] + head * m.relay.width,
            codes=place[m.attention.name] + head * m.attention.size if m.attention.learns else -1,
            width=m.relay.width,
            patterns=-1 if m.attention.dynamic_patterns else weight[m.synapse.name],
            n_patterns=m.attention.size,
            softmax_shift=network.softmax_shift(m.attention),
            retrieval_shift=retrieval_shift(numerics.fraction, m.relay.gain),
        )
        for m in network.attention_layers
        for head in range(m.relay.heads)
    ]
    attending = [
        Attending(
            projections=place[f"{a.name} {PROJECTIONS}"],
            answers=place[a.name],
            positions=a.drive_shape.positions,
            heads=a.heads,
            width=a.width,
            causal=int(a.causal),
            energy=int(a.energy),
            softmax_shift=network.softmax_shift(a),
            answer_shift=answer_shift(numerics.fraction, a.gain),
        )
        for a in network.self_attention
    ]
    shared, edge_starts, edges, runs = shared_of(network)
    ranks = [_rank(network, s) for s in shared_synapses(network)]
    layers = {p.name: Layer(place[p.name], p.size) for p in network.lif}
    n_neurons = sum(p.size for p in network.lif)
    n_relays = sum(m.relay.size for m in network.attention_layers)
    n_constants = sum(p.size for p in network.constants)
    n_drives = n_neurons + n_relays + sum(a.n_drives for a in network.self_attention)
    inputs = n_drives + sum(a.size for a in network.self_attention)
    constants = inputs + network.n_inputs
    queries = constants + n_constants
    codes = queries + n_relays
    errors = codes + sum(m.attention.size * m.relay.heads for m in network.attention_layers)
    return Plan(
        layers=table(list(layers.values()), Layer),
        output=layers[network.output],
        static=table(
            [
                row
                for post in ("lif", "relay", "self_attention")
                for row in matrices.get(("clamped", post), [])
            ],
            Matrix,
        ),
        joins=table(matrices.get(("lif", "lif"), []), Matrix),
        recalls=table(matrices.get(("relay", "lif"), []), Matrix),
        shared=table(shared, Shared),
        n_static=sum(rank < 1 for rank in ranks),
        n_joins=sum(rank < 2 for rank in ranks),
        n_projections=sum(rank < 3 for rank in ranks),
        edge_starts=edge_starts,
        edges=edges,
        runs=runs,
        fold=fold_of(network),
        heads=table(heads, Head),
        attending=table(attending, Attending),
        n_neurons=n_neurons,
        n_relays=n_relays,
        n_drives=n_drives,
        inputs=inputs,
        constants=constants,
        queries=queries,
        errors=errors if network.schedule.errors else -1,
        n_values=errors + n_neurons * network.schedule.errors,
        most_patterns=max(
            [0]
            + [m.attention.size for m in network.attention_layers]
            + [a.drive_shape.positions for a in network.self_attention]
        ),
        table=weight[network.table.name] if network.table else -1,
        query_shift=query_shift(numerics.fraction),
        raw=network.schedule.raw(numerics),
        w_lo=numerics.weight.lo,
        w_hi=numerics.weight.hi,
    )


def shared_synapses(network: Network) -> list[Synapse]:
    """Synapses whose weights maps share, in the order of Plan.shared."""
    found = [s for s in network.plastic if network.geometry(s)]
    return sorted(found, key=lambda s: _rank(network, s))


def _rank(network: Network, s: Synapse) -> int:
    """Position of a synapse's class in Plan.shared."""
    if network[s.pre].clamped:
        return 0
    if isinstance(network[s.pre], SelfAttention):
        return 3
    return 2 if isinstance(network[s.post], SelfAttention) else 1


def shared_of(network: Network) -> tuple[list[Shared], I32, I32, I32]:
    """Rows of the table, and Plan's ``edge_starts``, ``edges`` and ``runs``."""
    place = places(network)
    weight = first_weights(network)
    rows: list[Shared] = []
    edge_starts = [np.zeros(0, np.int64)]
    edges = [np.zeros((0, 2), np.int64)]
    runs = [np.zeros(0, np.int64)]
    for s in shared_synapses(network):
        g = network.geometry(s)
        assert g is not None
        offsets = g.rows // g.pre.maps
        offset = np.tile(np.arange(offsets), g.post.positions)
        post = np.repeat(np.arange(g.post.positions), offsets)
        source = g.sources().ravel()
        neurons = g.neurons()
        ends_of_runs = 1 + np.flatnonzero((np.diff(neurons) != 1).any(axis=0))
        run = math.gcd(g.rows, *ends_of_runs.tolist())
        order = np.argsort(source, kind="stable")
        ends = np.searchsorted(source[order], np.arange(g.pre.positions + 1))
        rows.append(
            Shared(
                at=weight[s.name],
                back=network.n_weights + sum(r.rows * r.columns for r in rows),
                rows=g.rows,
                columns=g.columns,
                pre=place[s.pre],
                post=drive_place(network, place, s.post),
                feedback=int(s.feedback) * (1 + s.feedback_shift),
                edge_start=sum(map(len, edge_starts)),
                positions=g.pre.positions,
                maps=g.pre.maps,
                targets=g.post.positions,
                runs=g.rows // run,
                run=run,
                run_start=sum(map(len, runs)),
            )
        )
        runs.append(neurons[:, ::run].ravel())
        edge_starts.append(sum(map(len, edges)) + ends)
        first = weight[s.name] + offset * g.pre.maps * g.columns
        edges.append(np.stack([post * g.columns, first], axis=1)[order])
    starts, pairs, firsts = (np.concatenate(parts).astype(np.int32) for parts in (edge_starts, edges, runs))
    return rows, starts, pairs, firsts


def fold_of(network: Network) -> Raw:
    """Index in the sample of every input; empty without folding."""
    parts = [np.zeros(0, np.int64)]
    for p in network.inputs:
        parts.append(sum(map(len, parts)) + p.fold)
    fold = np.concatenate(parts)
    return fold if any(p.folded for p in network.inputs) else fold[:0]


def updates_of(network: Network, steps: dict[str, Step]) -> Table:
    """The updates after a sample, in their order; frozen synapses have none."""
    place = places(network)
    weight = first_weights(network)
    rows = []
    shared = {s.name: k for k, s in enumerate(shared_synapses(network))}
    for s in network.plastic:
        step = steps[s.name]
        pre = network[s.pre]
        post = network[s.post]
        n, m = network.shape(s)
        geometry = network.geometry(s)
        for head in range(network.learned_parts(s) if step.gain else 0):
            dynamic = s == network.table
            at = 0 if dynamic else weight[s.name]
            u = place[s.pre]
            v = place[f"{s.post} {ERROR}" if network.schedule.errors else s.post]
            if isinstance(pre, Attention):  # the heads share its patterns
                u += head * pre.size
                v = place[f"{s.post} {QUERY}"] + head * m
            else:
                at += head * (pre.width * m if pre.heads > 1 else post.width)
                u += head * pre.width if pre.heads > 1 else 0
                v += head * post.width if post.drive_parts > 1 else 0
            rows.append(
                Update(
                    at=at,
                    stride=m,
                    rows=pre.width,
                    columns=m if geometry and post.drive_parts == 1 else post.width,
                    u=u,
                    v=v,
                    maps=min(pre.maps, pre.width),
                    gain=step.gain,
                    shift=step.shift,
                    shared=shared.get(s.name, -1),
                    dynamic=int(dynamic),
                )
            )
    return table(rows, Update)
