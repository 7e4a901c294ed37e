"""A network as tables of integers, for compiled code (equilif_golden.compiled).

What populations send, 8 bits a neuron, lies in one array of values, as in the engine:

    LIF rates | retrievals of relays | inputs | constants | queries of relays | codes of softmax populations

A *place* is a position in it.  LIF and relay neurons, which gather a drive, come first, so that arrays of
drives have the same places.  Weights lie in another array, synapse after synapse, row after row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from equilif_golden.blocks.plasticity import Step
from equilif_golden.blocks.relay import query_shift, retrieval_shift
from equilif_golden.network import Network, Softmax
from equilif_golden.schedule import RawSchedule

#: rows of one of the NamedTuples below, with the names of its fields
Table = npt.NDArray[np.void]
#: what is asked by a relay, beside its own name, which stands for what it hears back
QUERY = "(query)"


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


class Head(NamedTuple):
    """One head of a relay, and the patterns that it asks."""

    query: int  #: place of what it asks
    retrieval: int  #: place of what it hears back
    codes: int  #: place of the absolute codes that its patterns learn from
    width: int
    patterns: int  #: first weight; -1: loaded with each sample
    n_patterns: int
    softmax_shift: int
    retrieval_shift: int


class Update(NamedTuple):
    """The EP update of a matrix, or of that part of it which belongs to one head."""

    at: int  #: first weight
    stride: int  #: from row to row
    rows: int
    columns: int
    u: int  #: place of the first row's value
    v: int  #: place of the first column's value
    gain: int
    shift: int


class Plan(NamedTuple):
    """A network as tables."""

    layers: Table  #: Layer, in update order
    output: Layer  #: the one that is nudged and read out
    static: Table  #: Matrix, from clamped populations
    joins: Table  #: Matrix, between LIF populations
    recalls: Table  #: Matrix, from relays to LIF populations
    heads: Table  #: Head
    n_neurons: int  #: of LIF populations
    n_drives: int  #: of LIF populations and relays
    inputs: int  #: place of the first input
    constants: int  #: place of the first constant
    queries: int  #: place of the first query
    n_values: int
    most_patterns: int
    query_shift: int
    raw: RawSchedule
    w_lo: int
    w_hi: int


def table(rows: Sequence[tuple[int, ...]], kind: type[Any]) -> Table:
    return np.array(rows, [(name, np.int64) for name in kind._fields])


def places(network: Network) -> dict[str, int]:
    """Where the values of each population begin, and the queries of each relay."""
    relays = [m.relay for m in network.memories]
    sizes = [(p.name, p.size) for p in (*network.lif, *relays, *network.inputs, *network.constants)]
    sizes += [(f"{p.name} {QUERY}", p.size) for p in relays]
    sizes += [(m.softmax.name, m.softmax.size * m.relay.heads) for m in network.memories]
    place = {}
    at = 0
    for name, size in sizes:
        place[name] = at
        at += size
    return place


def first_weights(network: Network) -> dict[str, int]:
    """Where the weights of each synapse begin."""
    first = {}
    at = 0
    for s in network.plastic:
        first[s.name] = at
        at += int(np.prod(network.shape(s)))
    return first


def plan_of(network: Network) -> Plan:
    place = places(network)
    weight = first_weights(network)
    numerics = network.numerics
    matrices: dict[tuple[str, str], list[Matrix]] = {}
    for s in network.plastic:
        row = Matrix(weight[s.name], *network.shape(s), place[s.pre], place[s.post], int(s.feedback))
        matrices.setdefault((network.side(s.pre), network.side(s.post)), []).append(row)
    heads = [
        Head(
            query=place[f"{m.relay.name} {QUERY}"] + head * m.relay.width,
            retrieval=place[m.relay.name] + head * m.relay.width,
            codes=place[m.softmax.name] + head * m.softmax.size,
            width=m.relay.width,
            patterns=weight.get(m.synapse.name, -1),
            n_patterns=m.softmax.size,
            softmax_shift=network.softmax_shift(m.softmax),
            retrieval_shift=retrieval_shift(numerics.fraction, m.relay.gain),
        )
        for m in network.memories
        for head in range(m.relay.heads)
    ]
    layers = {p.name: Layer(place[p.name], p.size) for p in network.lif}
    n_neurons = sum(p.size for p in network.lif)
    n_relays = sum(m.relay.size for m in network.memories)
    n_constants = sum(p.size for p in network.constants)
    inputs = n_neurons + n_relays
    constants = inputs + network.n_inputs
    queries = constants + n_constants
    return Plan(
        layers=table(list(layers.values()), Layer),
        output=layers[network.output],
        static=table(matrices.get(("clamped", "lif"), []) + matrices.get(("clamped", "relay"), []), Matrix),
        joins=table(matrices.get(("lif", "lif"), []), Matrix),
        recalls=table(matrices.get(("relay", "lif"), []), Matrix),
        heads=table(heads, Head),
        n_neurons=n_neurons,
        n_drives=n_neurons + n_relays,
        inputs=inputs,
        constants=constants,
        queries=queries,
        n_values=queries + n_relays + sum(m.softmax.size * m.relay.heads for m in network.memories),
        most_patterns=max((m.softmax.size for m in network.memories), default=0),
        query_shift=query_shift(numerics.fraction),
        raw=network.schedule.raw(numerics),
        w_lo=numerics.weight.lo,
        w_hi=numerics.weight.hi,
    )


def updates_of(network: Network, steps: dict[str, Step]) -> Table:
    """The updates after a sample, in their order; frozen synapses have none."""
    place = places(network)
    weight = first_weights(network)
    rows = []
    for s in network.plastic:
        step = steps[s.name]
        pre = network[s.pre]
        post = network[s.post]
        n, m = network.shape(s)
        for head in range(pre.heads * post.heads if step.gain else 0):
            at = weight[s.name]
            u = place[s.pre]
            v = place[s.post]
            if isinstance(pre, Softmax):  # the heads share its patterns
                u += head * n
                v = place[f"{s.post} {QUERY}"] + head * m
            else:
                at += head * (pre.width * m if pre.heads > 1 else post.width)
                u += head * pre.width if pre.heads > 1 else 0
                v += head * post.width if post.heads > 1 else 0
            rows.append(Update(at, m, pre.width, post.width, u, v, step.gain, step.shift))
    return table(rows, Update)
