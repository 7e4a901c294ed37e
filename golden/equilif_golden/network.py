"""Network description: populations joined by symmetric synapses.

    Phi(s) = sum_synapses s_pre^T W s_post  -  sum_lif 1/2 |s|^2
             +  sum_attention (1/k) logsumexp(k X q)  -  beta/2 |y - s_out|^2

Populations are *clamped* (inputs, and the constant one for biases) or *lif*.  A bias is a synapse from the
constant population, so the learning rule has no special case for it.

A synapse with a kernel joins populations of maps (equilif_golden.blocks.geometry); all positions of a map
share one bias.

An *attention layer* is an attention population joined to a relay by the synapse that holds the patterns X:

    constant --Q--> relay --V--> lif          q = Q + V r_lif --> X q --> p = softmax(k X q) --> X^T p,
                                              which drives lif through V^T
                      |
                      X
                      |
                  attention

The relay has one or more *heads*: queries to the same patterns.  Patterns are stored like other weights, or
are dynamic: the tokens of each sample (Bal & Sengupta, ISCAS 2024, sec. III; IJCAI 2023).  Tokens may be rows
of an *embedding table* of the network, which learns as stored patterns do.

A *self-attention* population attends from each position of maps to all of them, with patterns that come from
rates (equilif_golden.reference):

    lif, input, constant --W--> self-attention --V--> lif

        query_i | key_i | value_i = W^T r_i                                 of position i
        answer_i = sum_j softmax_j(k query_i key_j) value_j

Its synapses have a kernel of 1 and one direction, and their weights are those of all positions.  It has no
energy, so Equilibrium Propagation does not train it; equilif_golden.real.trainer does.

Where the keys are also the values (SelfAttention.energy), it has one, and learns like every population:

    Phi(s) += 2**(gain - 1) / k  sum_heads sum_i logsumexp_j(k query_i key_j)

Its synapses then have both directions: the derivative by queries and keys returns through them.
"""

from __future__ import annotations

import dataclasses
import io
import json
import math
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from equilif_golden import files
from equilif_golden.blocks import relay, softmax
from equilif_golden.blocks.geometry import Geometry, Shape
from equilif_golden.blocks.self_attention import answer_shift
from equilif_golden.fixed import (
    DEFAULT,
    MAX_ACCUMULATOR,
    Numerics,
    Raw,
    check_bool,
    check_float,
    check_int,
    from_fields,
    set_fields,
    short_repr,
)
from equilif_golden.places import PlacedError, nearest, placed
from equilif_golden.populations import (
    KINDS,
    MAX_GAIN,
    MAX_NEURONS,
    MAX_PATTERNS,
    Attention,
    Constant,
    Input,
    Lif,
    Population,
    Relay,
    SelfAttention,
)
from equilif_golden.replay import STATE, Replay, from_state
from equilif_golden.schedule import Schedule
from equilif_golden.synapses import Synapse, Window
from equilif_golden.tokens import TokenRows, Tokens

__all__ = [
    "KINDS",
    "MAX_GAIN",
    "MAX_NEURONS",
    "MAX_PATTERNS",
    "ONE",
    "Attention",
    "AttentionLayer",
    "Constant",
    "Geometry",
    "Input",
    "Lif",
    "Network",
    "Population",
    "Relay",
    "SavedNetwork",
    "SelfAttention",
    "Shape",
    "Synapse",
    "TokenRows",
    "Tokens",
    "Weights",
    "load",
    "read",
    "require_network",
    "save",
]

#: value of the constant populations
ONE = 255
#: largest scale of initial weights
MAX_START = 1000
#: bytes of a network's description in a file
MAX_TEXT = 1 << 24
#: positions along a side that fit an instruction (equilif_golden.engine.geometry)
ENGINE_SIDE = 63
#: member of a saved network with further data about it
ABOUT = "about"
COUNTER = "counter"
ORIGIN = "origin"
REPLAY = "replay"
REPLAYED = {f"{REPLAY}/{name}" for name in STATE}
MAX_STATE = 1 << 28  #: elements of one of them
#: raw weights, by name of the synapse
Weights = dict[str, Raw]
Number = TypeVar("Number", bound=np.generic)
Part = TypeVar("Part")


def _side_by_side(populations: Iterable[Population]) -> dict[str, slice]:
    """Slices of populations that are stored one after the other."""
    places = {}
    at = 0
    for p in populations:
        places[p.name] = slice(at, at + p.size)
        at += p.size
    return places


@dataclass(frozen=True)
class AttentionLayer:
    """An attention population, its relay and the synapse between them, which holds the patterns."""

    attention: Attention
    relay: Relay
    synapse: Synapse


def _layered(
    names: Sequence[str],
    learning_rate_scales: tuple[float, ...] | None,
    feedback: bool = True,
    feedback_scales: Sequence[float] = (),
    windows: Sequence[Window] = (),
) -> tuple[Synapse, ...]:
    """Synapses from each population to the next, and biases; ``windows``: of the first ones."""
    n_layers = len(names) - 1
    scales = (1.0,) * n_layers if learning_rate_scales is None else tuple(learning_rate_scales)
    if len(scales) != n_layers:
        problem = f"learning_rate_scales must name {n_layers} layers, not {len(scales)}"
        raise PlacedError(problem, ("learning_rate_scales",))
    both_ways = check_bool(feedback, "feedback")
    if len(feedback_scales) >= n_layers:
        problem = f"feedback_scales are those of at most {n_layers - 1} layers, not of {len(feedback_scales)}"
        raise PlacedError(problem, ("feedback_scales",))
    back = (1.0, *feedback_scales, *(1.0,) * n_layers)
    synapses = []
    for k, (a, b) in enumerate(pairwise(names)):
        window = windows[k] if k < len(windows) else Window()
        feeds = both_ways or k == 0
        synapses.append(Synapse(a, b, scales[k], feeds, *window, feedback_scale=back[k]))
        synapses.append(Synapse("bias", b, scales[k]))
    return tuple(synapses)


def _check_sizes(values: object, key: str, form: str, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Positive integers, as many as ``lengths`` allow; ``form``: what they are, for the message."""
    if not isinstance(values, list | tuple) or len(values) not in lengths:
        raise PlacedError(f"{key} must be {form}, not {short_repr(values)}", (key,))
    return tuple(check_int(n, key, 1, MAX_NEURONS) for n in values)


def _folded(image: object, patch: object) -> Shape:
    """Shape of the input for images that are folded by patches."""
    height, width, *colours = _check_sizes(
        image, "image", "(height, width) or (height, width, colours)", (2, 3)
    )
    side = check_int(patch, "patch", 1, MAX_NEURONS)
    if height % side or width % side:
        raise PlacedError(
            f"an image of {height}x{width} pixels is not a multiple of patches of {side}x{side}", ("patch",)
        )
    return Shape(height // side, width // side, side**2 * (colours[0] if colours else 1))


class TransformerSizes(NamedTuple):
    """Sizes of :meth:`Network.transformer`."""

    positions: int  #: of a sequence
    symbols: int  #: values per position, for example of a one-hot code; their synapse is the embedding
    features: int  #: LIF neurons per position, between the layers
    layers: int
    outputs: int  #: classes
    heads: int = 1  #: of the self-attention
    width: int | None = None  #: values per head; None: ``features / heads``
    hidden: int | None = None  #: LIF neurons per position inside a feed-forward layer; None: 2 x ``features``


@dataclass(frozen=True)
class Network:
    """Description of a network; make one by :meth:`chain`, :meth:`conv` or :meth:`attention`.

    populations   in update order
    synapses      between them
    output        name of the LIF population that is nudged and read out
    schedule      phase lengths and neuron constants
    numerics      number formats

    ValueError if the parts do not fit each other, or if a sum could overflow its format.
    """

    populations: tuple[Population, ...]
    synapses: tuple[Synapse, ...]
    output: str
    schedule: Schedule = Schedule()
    numerics: Numerics = DEFAULT

    @classmethod
    def chain(
        cls,
        *sizes: int,
        schedule: Schedule | None = None,
        numerics: Numerics | None = None,
        learning_rate_scales: tuple[float, ...] | None = None,
        feedback: bool = True,
        feedback_scales: Sequence[float] = (),
    ) -> Self:
        """Fully connected network: input, hidden layers and output, with biases.

        sizes                  neurons per layer, for example ``Network.chain(784, 64, 10)``
        schedule, numerics     None: the defaults, with an accumulator wide enough for the largest fan-in
        learning_rate_scales   relative learning rate of each layer, including its bias
        feedback               whether layers receive spikes of the next one
        feedback_scales        factors of these spikes, from the first hidden layer on; 1 for the rest
        """
        if len(sizes) < 2:
            raise ValueError(f"a chain needs an input and an output size, not {short_repr(sizes)}")
        names = ["input", *(f"hidden{k}" for k in range(1, len(sizes) - 1)), "output"]
        layers = [Lif(name, size) for name, size in zip(names[1:], sizes[1:], strict=True)]
        return cls.with_numerics(
            (Input("input", sizes[0]), Constant("bias", 1), *layers),
            _layered(names, learning_rate_scales, feedback, feedback_scales),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    @classmethod
    def conv(
        cls,
        image: Sequence[int],
        *layers: int | tuple[int, ...],
        patch: int = 1,
        channels_first: bool = False,
        schedule: Schedule | None = None,
        numerics: Numerics | None = None,
        learning_rate_scales: tuple[float, ...] | None = None,
        feedback: bool = True,
        feedback_scales: Sequence[float] = (),
    ) -> Self:
        """Convolutional network for images: convolutions, then fully connected layers, with biases.

        image    (height, width) or (height, width, colours)
        layers   (maps, kernel) or (maps, kernel, stride) per convolution, then neurons per other layer
        patch    pixels are folded in patches of ``patch`` x ``patch``
        channels_first   a sample has its values colour by colour

        Others as :meth:`chain`.

            Network.conv((28, 28), (16, 3), (32, 6, 2), 10, patch=2)
        """
        kernels = [layer for layer in layers if isinstance(layer, list | tuple)]
        sizes = [layer for layer in layers[len(kernels) :] if not isinstance(layer, list | tuple)]
        if len(kernels) + len(sizes) != len(layers) or not sizes:
            raise ValueError(
                "layers are convolutions, (maps, kernel) or (maps, kernel, stride), then sizes, the last "
                f"that of the output, not {short_repr(layers)}"
            )
        shape = _folded(image, patch)
        made: list[Population] = [Input.of_shape("input", shape, patch=patch, channels_first=channels_first)]
        windows: list[Window] = []
        for k, layer in enumerate(kernels, 1):
            maps, *window = _check_sizes(
                layer, "convolution", "(maps, kernel) or (maps, kernel, stride)", (2, 3)
            )
            windows.append(Window(*window))
            shape = windows[-1].over(shape, maps, ("convolution", k))
            made.append(Lif.of_shape(f"maps{k}", shape))
        hidden = [f"hidden{k}" for k in range(1, len(sizes))]
        made += [Lif(name, size) for name, size in zip([*hidden, "output"], sizes, strict=True)]
        return cls.with_numerics(
            (made[0], Constant("bias", 1), *made[1:]),
            _layered([p.name for p in made], learning_rate_scales, feedback, feedback_scales, windows),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    @classmethod
    def attention(
        cls,
        tokens: int,
        width: int,
        heads: int,
        *sizes: int,
        gain: int = 1,
        sharpness: int = 3,
        schedule: Schedule | None = None,
        numerics: Numerics = DEFAULT,
        query_learning_rate_scale: float = 1.0,
        table_rows: int | None = None,
        table_learning_rate_scale: float = 0.0,
        feedback: bool = True,
    ) -> Self:
        """Network for sequences: attention over the tokens of a sample, then fully connected layers.

        tokens                      largest number of tokens per sample
        width                       values per token
        heads                       learned queries
        sizes                       neurons per layer after the attention layer, the output last
        gain                        octaves: the retrieval counts 2**(gain - 1) times
        sharpness                   octaves: k = 2**(sharpness - 1) ln 2
        query_learning_rate_scale   relative learning rate of the queries
        table_rows                  length of an embedding table in the network; None: fixed tokens
        table_learning_rate_scale   relative learning rate of that table
        feedback                    whether queries receive rates, and layers spikes of the next one
        """
        if not sizes:
            raise ValueError("an attention network needs an output size")
        query_size = check_int(heads, "heads", 1, MAX_NEURONS) * check_int(width, "width", 1, MAX_NEURONS)
        names = [*(f"hidden{k}" for k in range(1, len(sizes))), "output"]
        synapses = [
            Synapse("memory", "query", table_learning_rate_scale),
            Synapse("bias", "query", query_learning_rate_scale),
        ]
        for a, b in pairwise(["query", *names]):
            synapses += [Synapse(a, b, feedback=feedback), Synapse("bias", b)]
        return cls(
            (
                Constant("bias", 1),
                Attention(
                    "memory", tokens, sharpness=sharpness, dynamic_patterns=True, table_rows=table_rows
                ),
                Relay("query", query_size, heads=heads, gain=gain),
                *(Lif(name, size) for name, size in zip(names, sizes, strict=True)),
            ),
            tuple(synapses),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    @classmethod
    def transformer(
        cls,
        sizes: TransformerSizes,
        *,
        causal: bool = True,
        per_position: bool = True,
        gain: int = 1,
        sharpness: int = 3,
        feedback: bool = False,
        schedule: Schedule | None = None,
        numerics: Numerics | None = None,
    ) -> Self:
        """Transformer of self-attention and feed-forward layers with skip connections.

        causal          a position attends to itself and to earlier ones only
        per_position    each position has the output neurons, in place of the whole sequence
        gain, sharpness, feedback, schedule, numerics   as :meth:`attention` and :meth:`chain`

        Layer k has the maps attention<k>, mixed<k>, hidden<k> and features<k>, of shape (positions, 1, n) or,
        with more than 63 positions, of several columns.

            Network.transformer(TransformerSizes(32, 64, 32, 2, 64, heads=2))
        """
        positions, symbols, features, layers, outputs, heads, width, hidden = sizes
        n = check_int(positions, "positions", 1, MAX_NEURONS)
        heads = check_int(heads, "heads", 1, MAX_NEURONS)
        if width is None and features % heads:
            raise PlacedError(
                f"{features} features cannot have {heads} heads: give the width of a head", ("width",)
            )
        wide = heads * (features // heads if width is None else check_int(width, "width", 1, MAX_NEURONS))
        inside = 2 * features if hidden is None else hidden

        # an engine counts up to 63 positions along a side
        columns = next((c for c in range(1, n + 1) if not n % c and n // c <= ENGINE_SIDE), 1)
        grid = n // columns, columns

        def maps(name: str, size: int) -> Lif:
            return Lif.of_shape(name, (*grid, size))

        embedding = maps("embedding", features)
        populations: list[Population] = [
            Input.of_shape("tokens", (*grid, symbols)),
            Constant("bias", 1),
            embedding,
        ]
        synapses = [Synapse("tokens", "embedding", kernel=1), Synapse("bias", "embedding", per_position=True)]
        below = embedding
        for k in range(1, check_int(layers, "layers", 1, 1024) + 1):
            attention = SelfAttention.of_shape(
                f"attention{k}", (*grid, wide), heads=heads, causal=causal, sharpness=sharpness, gain=gain
            )
            mixed = maps(f"mixed{k}", features)
            within = maps(f"hidden{k}", inside)
            above = maps(f"features{k}", features)
            populations += [attention, mixed, within, above]
            for pre, post in (
                (below, attention),
                (below, mixed),
                (attention, mixed),
                (mixed, within),
                (mixed, above),
                (within, above),
            ):
                joined = isinstance(pre, SelfAttention) or isinstance(post, SelfAttention)
                synapses.append(Synapse(pre.name, post.name, feedback=feedback or joined, kernel=1))
            synapses += [Synapse("bias", p.name) for p in (attention, mixed, within, above)]
            below = above
        output = maps("output", outputs) if per_position else Lif("output", outputs)
        synapses += [
            Synapse(below.name, "output", feedback=feedback, kernel=1 if per_position else None),
            Synapse("bias", "output"),
        ]
        return cls.with_numerics(
            (*populations, output),
            tuple(synapses),
            "output",
            Schedule() if schedule is None else schedule,
            numerics,
        )

    @classmethod
    def with_numerics(
        cls,
        populations: tuple[Population, ...],
        synapses: tuple[Synapse, ...],
        output: str,
        schedule: Schedule,
        numerics: Numerics | None = None,
    ) -> Self:
        """Network in these formats; None: the default ones, with an accumulator wide enough for the largest
        fan-in.
        """
        if numerics is not None:
            return cls(populations, synapses, output, schedule, numerics)
        widest = dataclasses.replace(DEFAULT, accumulator_width=MAX_ACCUMULATOR)
        made = cls(populations, synapses, output, schedule, widest)
        fan_in = max(made.fan_in(p) for p in made.populations if not p.clamped)
        return dataclasses.replace(made, numerics=DEFAULT.with_fan_in(fan_in))

    def __post_init__(self) -> None:
        set_fields(self, populations=_all_of(Population, self.populations, "populations"))
        set_fields(self, synapses=_all_of(Synapse, self.synapses, "synapses"))
        for what, kind in ((self.schedule, Schedule), (self.numerics, Numerics)):
            if not isinstance(what, kind):
                raise ValueError(f"a network needs a {kind.__name__}, not {short_repr(what)}")
        names = [p.name for p in self.populations]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise PlacedError(f"population names must differ, not {names}", ("population", twice))
        for s in self.synapses:
            self._check_synapse(s)
        known = isinstance(self.output, str) and self.output in names
        if not known or not isinstance(self[self.output], Lif):
            raise PlacedError(
                f"output must name a lif population, not {short_repr(self.output)}", ("output",)
            )
        for p in self.populations:
            if isinstance(p, Relay | Attention):
                self._check_attention(p)
            elif isinstance(p, SelfAttention):
                self._check_self_attention(p)
        dynamic = [m.attention for m in self.attention_layers if m.attention.dynamic_patterns]
        if len(dynamic) > 1:
            raise PlacedError(
                "only one attention layer can have dynamic patterns", dynamic[1].place("dynamic_patterns")
            )
        if not self.inputs and not self.dynamic_attention:
            raise ValueError("a network needs an input population or dynamic patterns")
        if not self.synapses:
            raise ValueError("a network needs a synapse")
        self._check_bounds()
        _ = self.energy_scales  # raises PlacedError for paths of different feedback scales

    def _check_synapse(self, s: Synapse) -> None:
        names = [p.name for p in self.populations]
        for key, end in (("pre", s.pre), ("post", s.post)):
            if end not in names:
                raise PlacedError.of(s.place(), f"there is no population {end!r}: {nearest(end, names)}", key)
        s.check(self[s.pre], self[s.post])
        if [t.name for t in self.synapses].count(s.name) > 1:
            raise PlacedError(f"synapse {s.name} occurs twice", s.place())

    def geometry(self, synapse: Synapse) -> Geometry | None:
        """Geometry of a synapse whose weights several pairs of neurons share; None for a dense synapse."""
        return synapse.geometry(self[synapse.pre], self[synapse.post])

    @property
    def maps(self) -> tuple[Population, ...]:
        """Populations of maps."""
        return tuple(p for p in self.populations if p.shape)

    def _check_attention(self, p: Population) -> None:
        """A relay or attention population belongs to exactly one attention layer."""
        ends = [{s.pre, s.post} for s in self.synapses if isinstance(self[s.pre], Attention)]
        n = sum(p.name in pair for pair in ends)
        if n != 1:
            raise PlacedError(
                f"{p.kind} population {p.name!r} needs one synapse from an attention population to a relay, "
                f"it has {n}",
                p.place(),
            )

    def _check_self_attention(self, p: SelfAttention) -> None:
        """Self-attention needs something to attend to, and a population that it drives."""
        sources = [s for s in self.synapses if s.post == p.name and self[s.pre].shape]
        targets = [s for s in self.synapses if s.pre == p.name]
        if p.energy:
            self._check_energy(p, sources, targets)
        elif not sources or not targets:
            raise PlacedError(
                f"self-attention {p.name!r} needs a synapse from maps and one to maps, it has {len(sources)} "
                f"and {len(targets)}",
                p.place(),
            )

    def _check_energy(self, p: SelfAttention, sources: Sequence[Synapse], targets: Sequence[Synapse]) -> None:
        """Self-attention with an energy answers the populations that it attends over."""
        answered = sum(isinstance(self[s.pre], Lif) for s in sources)
        if targets or not answered:
            raise PlacedError(
                f"self-attention {p.name!r} has an energy and answers the lif maps that it attends over: it "
                f"needs a synapse from lif maps and none to other maps, it has {answered} and {len(targets)}",
                p.place("energy"),
            )
        for s in self.synapses:
            if s.post == p.name and s.per_position:
                raise PlacedError.of(
                    s.place(),
                    "self-attention with an energy has one bias for all positions: leave per_position out; "
                    "position codes are biases of the maps that it attends over",
                    "per_position",
                )

    def fan_in(self, p: Population) -> int:
        """Largest number of presynaptic neurons that one accumulator of ``p`` adds up.

        Heads are added up one at a time, query and retrieval separately.
        """
        forward = [s for s in self.synapses if s.post == p.name]
        backward = [s for s in self.synapses if s.pre == p.name and self.answers_back(s)]
        if isinstance(p, Relay) and self.schedule.errors:
            backward += [s for s in self.synapses if s.pre == p.name]
        shared = sum(g.rows for s in forward if (g := self.geometry(s)))
        shared += sum(g.fan_out for s in backward if (g := self.geometry(s)))
        presynaptic = [self[s.pre] for s in forward if not self.geometry(s)]
        presynaptic += [self[s.post] for s in backward if not self.geometry(s)]
        patterns = sum(q.size for q in presynaptic if isinstance(q, Attention))
        others = [q for q in presynaptic if not isinstance(q, Attention)]
        attended = max(p.shape.positions, p.width) if isinstance(p, SelfAttention) and p.shape else 0
        received = shared + sum(q.width if isinstance(p, Attention) else q.size for q in others)
        return max(patterns, attended, received)

    def _check_bounds(self) -> None:
        """PlacedError for sums that could overflow and constants without a code."""
        numerics = self.numerics
        schedule = self.schedule
        for p in self.populations:
            fan_in = self.fan_in(p)
            if not p.clamped and fan_in > numerics.max_fan_in:
                raise PlacedError(
                    f"population {p.name!r} has fan-in {fan_in}; a {numerics.accumulator_width}-bit "
                    f"accumulator holds {numerics.max_fan_in}",
                    p.place(),
                )
        softmaxes: list[Attention | SelfAttention] = [m.attention for m in self.attention_layers]
        fraction = numerics.fraction
        shifts = [
            (m.relay.place(), m.relay.gain, relay.retrieval_shift(fraction, m.relay.gain))
            for m in self.attention_layers
        ]
        shifts += [
            (a.place(), a.gain, answer_shift(fraction, a.gain) - a.energy) for a in self.self_attention
        ]
        for a in (*softmaxes, *self.self_attention):
            if self.softmax_shift(a) not in softmax.SHIFTS:
                octaves = numerics.fraction - softmax.FRACTION
                raise PlacedError.of(
                    a.place(),
                    f"sharpness must be in {octaves - softmax.SHIFTS[-1]}..{octaves - softmax.SHIFTS[0]} "
                    f"octaves, not {a.sharpness}",
                    "sharpness",
                )
        for place, gain, shift in shifts:
            if shift not in relay.SHIFTS:
                raise PlacedError.of(
                    place,
                    f"gain {gain} needs at least {fraction + relay.SHIFTS[0] - shift} fraction bits, not "
                    f"{fraction}",
                    "gain",
                )
        if self.self_attention and numerics.weight_width <= numerics.fraction:
            raise PlacedError.of(
                self.self_attention[0].place(),
                f"keys and values of -1..127/128 need weights of at least {numerics.fraction + 1} bits, not "
                f"{numerics.weight_width}",
            )
        nudged = 0 if schedule.errors else schedule.nudged
        if self.windowed and (schedule.free % schedule.window or nudged % schedule.window):
            raise PlacedError(
                f"a network with an attention layer settles in whole windows: free {schedule.free} and "
                f"nudged {schedule.nudged} must be multiples of {schedule.window}",
                ("phases", "free" if schedule.free % schedule.window else "nudged"),
            )
        if schedule.errors and self.self_attention:
            raise PlacedError(
                f'contrast "errors" does not train self-attention, {self.self_attention[0].name!r} is one: '
                'take "phases"',
                ("phases", "contrast"),
            )
        if schedule.errors:
            _ = self.error_depths  # raises PlacedError for paths of different lengths
        with placed("phases"):
            raw = schedule.raw(numerics)
        if raw.threshold * (raw.window + 3) > numerics.charge.hi:
            raise PlacedError(
                f"window {raw.window} overflows the {numerics.charge_width}-bit charge", ("phases", "window")
            )

    def __getitem__(self, name: str) -> Population:
        """The population of this name; KeyError if there is none."""
        for p in self.populations:
            if p.name == name:
                return p
        known = ", ".join(p.name for p in self.populations)
        raise KeyError(f"there is no population {name!r}; there are {known}")

    @cached_property
    def lif(self) -> tuple[Lif, ...]:
        """LIF populations, in update order."""
        return tuple(p for p in self.populations if isinstance(p, Lif))

    @property
    def neurons(self) -> dict[str, slice]:
        """Slice of each LIF population among all LIF neurons, in the order of the network."""
        return _side_by_side(self.lif)

    def clamped(self, x: npt.NDArray[Number]) -> dict[str, npt.NDArray[Number]]:
        """Values of the clamped populations by name, for samples ``x`` (..., n_inputs).

        An input gets its part of the sample, folded by patches; a constant is 255.
        """
        part = _side_by_side(self.inputs)
        values = {}
        for p in self.populations:
            if isinstance(p, Input):
                own = x[..., part[p.name]]
                values[p.name] = own[..., p.fold] if p.folded else own
            elif isinstance(p, Constant):
                values[p.name] = np.full((*x.shape[:-1], p.size), ONE, x.dtype)
        return values

    @cached_property
    def attention_layers(self) -> tuple[AttentionLayer, ...]:
        """Attention layers, in the order of their synapses."""
        found = []
        for s in self.synapses:
            pre = self[s.pre]
            post = self[s.post]
            if isinstance(pre, Attention) and isinstance(post, Relay):
                found.append(AttentionLayer(pre, post, s))
        return tuple(found)

    @cached_property
    def self_attention(self) -> tuple[SelfAttention, ...]:
        """Self-attention populations."""
        return tuple(p for p in self.populations if isinstance(p, SelfAttention))

    @cached_property
    def self_attention_synapses(self) -> tuple[Synapse, ...]:
        """Synapses to and from self-attention."""
        names = {p.name for p in self.self_attention}
        return tuple(s for s in self.synapses if names & {s.pre, s.post})

    @property
    def attends(self) -> bool:
        """Whether there is an attention layer or self-attention."""
        return bool(self.attention_layers or self.self_attention)

    @property
    def windowed(self) -> bool:
        """Whether something is evaluated after each window: self-attention, or an attention layer that
        receives rates.
        """
        return bool(self.self_attention) or not all(map(self.evaluated_once, self.attention_layers))

    def evaluated_once(self, layer: AttentionLayer) -> bool:
        """Whether an attention layer is evaluated once, before the first time step: no rate changes its
        queries.
        """
        return not any(s.feedback for s in self.synapses if s.pre == layer.relay.name)

    @cached_property
    def dynamic_attention(self) -> AttentionLayer | None:
        """The attention layer with dynamic patterns, or None."""
        return next((m for m in self.attention_layers if m.attention.dynamic_patterns), None)

    def softmax_shift(self, population: Attention | SelfAttention) -> int:
        """Shift of equilif_golden.blocks.softmax for the sharpness of a population."""
        return self.numerics.fraction - softmax.FRACTION - population.sharpness

    @cached_property
    def plastic(self) -> tuple[Synapse, ...]:
        """Synapses with weights: all but those of dynamic patterns without an embedding table."""
        without = [m.synapse for m in self.attention_layers if not m.attention.learns]
        return tuple(s for s in self.synapses if s not in without)

    @cached_property
    def table(self) -> Synapse | None:
        """The synapse whose weights are the embedding table, or None."""
        layer = self.dynamic_attention
        return layer.synapse if layer and layer.attention.learns else None

    @property
    def has_energy(self) -> bool:
        """Whether spikes descend an energy: every synapse has feedback, self-attention too."""
        return not self.feedforward and all(a.energy for a in self.self_attention)

    def answers_back(self, s: Synapse) -> bool:
        """Whether ``pre`` receives from ``post``: from self-attention only if that has an energy."""
        pre, post = self[s.pre], self[s.post]
        if isinstance(post, SelfAttention):
            return post.energy
        return s.feedback and not isinstance(pre, SelfAttention)

    def learned_parts(self, s: Synapse) -> int:
        """Parts of a synapse that learn on their own: one for each head, of queries and of keys."""
        return self[s.pre].heads * self[s.post].drive_parts

    @property
    def trainable(self) -> bool:
        """Whether the weights can learn: from an energy, or from errors."""
        return not self.untrainable

    @property
    def untrainable(self) -> str:
        """Reason why the weights cannot learn, and a remedy; empty if they can."""
        try:
            self.require_trainable()
        except PlacedError as e:
            return str(e)
        return ""

    def require_trainable(self) -> None:
        """PlacedError for a network whose weights cannot learn."""
        if self.has_energy or self.schedule.errors:
            return
        without = [a.name for a in self.self_attention if not a.energy]
        if without:
            raise PlacedError(
                f"self-attention {without[0]!r} has no energy, which Equilibrium Propagation needs: give it "
                "one (energy), or train this network with equilif_golden.real.trainer",
                ("population", without[0], "energy"),
            )
        one_way = self.feedforward[0]
        raise PlacedError(
            f"synapse {one_way.name} has no feedback, which nudged phases need: give it feedback, train with "
            'contrast "errors", or with equilif_golden.real.trainer',
            one_way.place("feedback"),
        )

    @cached_property
    def error_depths(self) -> Mapping[str, int]:
        """Number of synapses from each LIF population to the output; a relay has that of what it drives,
        whose errors it receives as they are.

        PlacedError with an ``error_gain`` if two paths differ, as their errors have different units.
        """
        found = {self.output: 0}
        relays = [m.relay for m in self.attention_layers]
        for p in (*reversed(self.lif), *relays):
            more = isinstance(p, Lif)
            depths = {found[s.post] + more for s in self.synapses if s.pre == p.name and s.post in found}
            if len(depths) > 1 and self.schedule.error_gain > 1 and p.name != self.output:
                raise PlacedError(
                    f"paths from population {p.name!r} to the output have {min(depths)} and {max(depths)} "
                    "synapses: error_gain needs equal ones, take 1",
                    ("phases", "error_gain"),
                )
            found.setdefault(p.name, max(depths, default=0))
        return found

    def error_scale(self, population: str) -> int:
        """Errors of a LIF population, or those that a relay receives, are in units of
        1/(256 ``error_scale``).
        """
        return self.schedule.error_gain ** self.error_depths[population] if self.schedule.errors else 1

    @cached_property
    def energy_scales(self) -> Mapping[str, float]:
        """Factor of each population's terms in the energy, 1 for the output.

        With a feedback scale g the population before a synapse has the factor of the one after it, divided by
        g: then the drives of both are the gradient of one energy.  PlacedError if two paths to a population
        give different factors.
        """
        found = {self.output: 1.0}
        waiting = [self.output]
        while waiting:
            here = waiting.pop()
            for s in self.synapses:
                if here not in (s.pre, s.post) or self[s.pre].clamped:
                    continue
                other = s.pre if here == s.post else s.post
                scale = found[here] / s.feedback_scale if here == s.post else found[here] * s.feedback_scale
                if other not in found:
                    found[other] = scale
                    waiting.append(other)
                elif found[other] != scale:
                    raise PlacedError(
                        f"paths between {self.output!r} and {other!r} have different products of feedback "
                        "scales, so there is no energy: make them equal",
                        s.place("feedback_scale"),
                    )
        return found

    def energy_scale(self, population: str) -> float:
        """Factor of a population's terms in the energy (:attr:`energy_scales`)."""
        return 1.0 if self.schedule.errors else self.energy_scales.get(population, 1.0)

    @cached_property
    def feedforward(self) -> tuple[Synapse, ...]:
        """Synapses without feedback: nudged phases cannot train a network that has one."""
        return tuple(s for s in self.synapses if not s.feedback)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """Input populations, in the order of their parts of a sample."""
        return tuple(p for p in self.populations if isinstance(p, Input))

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Constant populations."""
        return tuple(p for p in self.populations if isinstance(p, Constant))

    @cached_property
    def n_inputs(self) -> int:
        """Values per sample: sum of the input populations."""
        return sum(p.size for p in self.inputs)

    @property
    def n_outputs(self) -> int:
        """Number of classes."""
        return self[self.output].size

    def shape(self, synapse: Synapse) -> tuple[int, int]:
        """Rows and columns of the weights of a synapse."""
        return synapse.shape(self[synapse.pre], self[synapse.post])

    @property
    def n_weights(self) -> int:
        """Number of weights, including biases, patterns and an embedding table."""
        return sum(n * m for n, m in map(self.shape, self.plastic))

    @property
    def n_table(self) -> int:
        """Number of weights in the embedding table, which stays on the host."""
        return 0 if self.table is None else math.prod(self.shape(self.table))

    def initial_weights(
        self, seed: int = 0, *, bias: float = 0.2, scale: float = 0.5, query: float = 0.3
    ) -> Weights:
        """Random raw weights by synapse name.

        bias    value of biases, in thresholds, so that every layer starts in its linear range; those per
                position are uniform between 0 and twice that, those of self-attention 0
        scale   factor of Glorot's limit, between whose negative and itself other weights are uniform
        query   standard deviation of a query, in thresholds; patterns start at zero
        """
        rng = np.random.default_rng(check_int(seed, "seed", 0, (1 << 64) - 1))
        bias = check_float(bias, "bias", -MAX_START, MAX_START)
        scale = check_float(scale, "scale", 0, MAX_START)
        query = check_float(query, "query", 0, MAX_START)
        weights = {}
        for s in self.plastic:
            n, m = self.shape(s)
            geometry = self.geometry(s)
            limit = scale * np.sqrt(6 / (n + (geometry.fan_out if geometry else m)))
            if isinstance(self[s.pre], Attention):
                real = np.zeros((n, m))
            elif isinstance(self[s.post], Relay):
                real = rng.normal(0, query / np.sqrt(n), (n, m))
            elif isinstance(self[s.pre], Constant):
                scale_of_bias = 0.0 if isinstance(self[s.post], SelfAttention) else bias
                spread = rng.uniform(0, 2, (n, m)) if s.per_position else np.ones((n, m))
                real = scale_of_bias * spread
            else:
                real = rng.uniform(-limit, limit, (n, m))
            weights[s.name] = self.numerics.weight.quantize(real * self.schedule.threshold)
        return weights

    def check_weights(self, weights: Mapping[str, npt.ArrayLike]) -> Weights:
        """``weights`` as int64 arrays in the order of the synapses.

        ValueError for a wrong name, shape or value.
        """
        if not isinstance(weights, Mapping):
            raise ValueError(f"weights must be arrays by synapse, not {short_repr(weights)}")
        if set(weights) != {s.name for s in self.plastic}:
            given = ", ".join(sorted(map(str, weights)))
            names = ", ".join(sorted(s.name for s in self.plastic))
            raise ValueError(f"weights are for {given or 'no synapse'}, the network has {names}")
        checked = {}
        for s in self.plastic:
            w = self.numerics.weight.require(weights[s.name], f"weights of {s.name}")
            if w.shape != self.shape(s):
                raise ValueError(f"weights of {s.name} have shape {w.shape}, not {self.shape(s)}")
            checked[s.name] = w
        return checked

    def attention_for(self, tokens: object | None) -> AttentionLayer | None:
        """The attention layer with dynamic patterns; None if there are neither such a layer nor tokens.

        ValueError for one without the other.
        """
        if self.dynamic_attention is not None and tokens is None:
            raise ValueError("this network has dynamic patterns: give tokens")
        if self.dynamic_attention is None and tokens is not None:
            raise ValueError("this network takes no tokens: it has no dynamic patterns")
        return self.dynamic_attention

    def check_tokens(self, tokens: Tokens | None, batch: int) -> None:
        """ValueError unless ``tokens`` fit the dynamic patterns, or both are absent."""
        layer = self.attention_for(tokens)
        if layer is None or tokens is None:
            return
        if not isinstance(tokens, Tokens):
            raise ValueError(f"tokens must be made by Tokens.of, not {short_repr(tokens)}")
        shape = (batch, layer.attention.size, layer.relay.width)
        patterns = self.numerics.weight.require(tokens.patterns, "patterns")
        if patterns.shape != shape or tokens.present.shape != shape[:2]:
            raise ValueError(
                f"tokens must have patterns of shape {shape} and present of shape {shape[:2]}, not "
                f"{patterns.shape} and {tokens.present.shape}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON.  Fields of maps, tables and errors are omitted if there are none."""
        parts = {"populations": [p.to_dict() for p in self.populations]}
        parts["synapses"] = [s.to_dict() for s in self.synapses]
        found = {**dataclasses.asdict(self), **parts}
        if not self.schedule.errors:
            del found["schedule"]["contrast"]
        if self.schedule.error_gain == 1:
            del found["schedule"]["error_gain"]
        return found

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Inverse of :meth:`to_dict`; ValueError for other values."""
        if not isinstance(d, Mapping):
            raise ValueError(f"a network is described by fields, not by {short_repr(d)}")
        for name in ("populations", "synapses", "output", "schedule", "numerics"):
            if name not in d:
                raise ValueError(f"a network's description has no {name}")
        for name in ("populations", "synapses"):
            if not isinstance(d[name], list | tuple):
                raise ValueError(f"{name} must be a list, not {short_repr(d[name])}")
        return cls(
            tuple(from_fields(Population, p) for p in d["populations"]),
            tuple(from_fields(Synapse, s) for s in d["synapses"]),
            d["output"],
            from_fields(Schedule, d["schedule"]),
            from_fields(Numerics, d["numerics"]),
        )


def require_network(network: object) -> Network:
    """``network``; ValueError unless it is a Network."""
    if not isinstance(network, Network):
        raise ValueError(f"expected a Network, not {short_repr(network)}")
    return network


def _all_of(kind: type[Part], values: Iterable[Part], name: str) -> tuple[Part, ...]:
    """``values`` as a tuple; ValueError unless all are of this kind."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name} must be a tuple of {kind.__name__}, not {short_repr(values)}")
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"{name} must be a tuple of {kind.__name__}, not of {short_repr(value)}")
    return tuple(values)


def save(
    path: str | Path,
    network: Network,
    weights: Mapping[str, npt.ArrayLike],
    about: Mapping[str, Any] | None = None,
    counter: int | None = None,
    origin: str | None = None,
    replay: Replay | None = None,
) -> None:
    """Network and weights in one ``.npz``, written whole or not at all.

    Other arguments as in :class:`SavedNetwork`; ``about`` has values of JSON.
    """
    require_network(network)
    content = io.BytesIO()
    arrays: dict[str, Any] = {
        f"weights/{n}": w.astype(np.int16) for n, w in network.check_weights(weights).items()
    }
    if about is not None:
        arrays[ABOUT] = np.array(check_about(about))
    if counter is not None:
        arrays[COUNTER] = np.array(counter, np.uint32)
    if origin is not None:
        arrays[ORIGIN] = np.array(origin)
    if replay is not None:
        arrays |= {f"{REPLAY}/{name}": array for name, array in replay.state().items()}
    np.savez_compressed(content, network=np.array(json.dumps(network.to_dict())), **arrays)
    files.write(path, content.getvalue())


def check_about(about: Mapping[str, Any]) -> str:
    """``about`` as JSON; ValueError if it is too long for a file."""
    written = json.dumps(about, allow_nan=False)
    if len(written) > MAX_TEXT // 4:  # NumPy stores four bytes a character
        raise ValueError(
            f"data about a network may have {MAX_TEXT // 4:,} characters, not {len(written):,}: use fewer "
            "columns or classes, or shorter names"
        )
    return written


@dataclass(frozen=True)
class SavedNetwork:
    """Content of a file of :func:`save`.

    about     further data about network and weights, or None
    counter   updates so far, for learning that goes on
    origin    a note on the source of the weights, if nothing says that network and ``about`` are theirs
    replay    samples that are stored for replay, or None
    """

    network: Network
    weights: Weights
    about: dict[str, Any] | None = None
    counter: int = 0
    origin: str | None = None
    replay: Replay | None = None


def load(path: str | Path) -> tuple[Network, Weights]:
    """Network and weights of a file of :func:`save`; ValueError names a file that holds none."""
    found = read(path)
    return found.network, found.weights


def about(path: str | Path) -> dict[str, Any] | None:
    """The ``about`` of a file of :func:`save`, or None; ValueError names a file that holds no network."""
    return read(path).about


def read(path: str | Path) -> SavedNetwork:
    """Content of a file of :func:`save`; ValueError names a file that holds no network."""
    path = Path(path)
    files.reads(path)
    with path.open("rb") as f:
        try:
            if not zipfile.is_zipfile(f):
                raise ValueError("it is not a complete .npz file")
            with zipfile.ZipFile(f) as z:
                return _unpack(z)
        except Exception as e:  # a damaged file may raise anything
            raise ValueError(f"{path} is not a network saved by equilif: {_one_line(e)}") from e


def _unpack(z: zipfile.ZipFile) -> SavedNetwork:
    members = {name.removesuffix(".npy") for name in z.namelist()}
    if "network" not in members:
        raise ValueError("it has no network")
    network = Network.from_dict(json.loads(str(_member(z, "network", None, "U"))))
    shapes = {f"weights/{s.name}": network.shape(s) for s in network.plastic}
    needed = {"network", *shapes}
    if members - {ABOUT, COUNTER, ORIGIN} - REPLAYED != needed:
        there = ", ".join(sorted(members))
        raise ValueError(f"it has {there}, its network needs {', '.join(sorted(needed))}")
    weights = {name.removeprefix("weights/"): _member(z, name, shape, "iu") for name, shape in shapes.items()}
    about = json.loads(str(_member(z, ABOUT, None, "U"))) if ABOUT in members else None
    if about is not None and not isinstance(about, dict):
        raise ValueError(f"{ABOUT} must have keys and values")
    state = {name: _vector(z, f"{REPLAY}/{name}") for name in STATE if f"{REPLAY}/{name}" in members}
    return SavedNetwork(
        network,
        network.check_weights(weights),
        about,
        int(_member(z, COUNTER, (), "u")) if COUNTER in members else 0,
        str(_member(z, ORIGIN, None, "U")) if ORIGIN in members else None,
        from_state(state, network.n_inputs, network.n_outputs) if state else None,
    )


def _one_line(e: Exception) -> str:
    """Message of an exception in one line."""
    return " ".join(str(e).split()) or type(e).__name__


def _vector(z: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """Integers of one dimension, of any number."""
    found, dtype = _header(z, name)
    if dtype.kind not in "iu" or len(found) != 1 or found[0] > MAX_STATE:
        raise ValueError(f"{name} must be at most {MAX_STATE:,} integers, not {dtype} of shape {found}")
    return _content(z, name)


def _member(z: zipfile.ZipFile, name: str, shape: tuple[int, ...] | None, kinds: str) -> npt.NDArray[Any]:
    """An array of an ``.npz`` (``shape`` None: a text).

    The header is checked first: a file may be damaged, or made to fill the memory.
    """
    found, dtype = _header(z, name)
    if dtype.kind not in kinds:
        raise ValueError(f"{name} must be {'a text' if shape is None else 'integers'}, not {dtype}")
    if found != (shape or ()):
        raise ValueError(f"{name} has shape {found}, not {shape or ()}")
    if shape is None and dtype.itemsize > MAX_TEXT:
        raise ValueError(f"{name} is a text of {dtype.itemsize} bytes, more than {MAX_TEXT}")
    return _content(z, name)


def _header(z: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array."""
    with z.open(f"{name}.npy") as f:
        first = npy.read_magic(f) == (1, 0)
        found, _, dtype = npy.read_array_header_1_0(f) if first else npy.read_array_header_2_0(f)
    return found, dtype


def _content(z: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with z.open(f"{name}.npy") as f:
        return np.asarray(npy.read_array(f, allow_pickle=False))
