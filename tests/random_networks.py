"""Random networks of every kind, for property tests."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from hypothesis import event
from hypothesis import strategies as st

from equilif_golden.blocks.geometry import positions
from equilif_golden.blocks.softmax import SHIFTS as SOFTMAX_SHIFTS
from equilif_golden.fixed import Numerics
from equilif_golden.network import (
    MAX_GAIN,
    Attention,
    Input,
    Lif,
    Network,
    Population,
    Relay,
    SelfAttention,
    Synapse,
)
from equilif_golden.synapses import FEEDBACK_SCALES
from tests.networks import schedules

FORMATS = [
    (fraction, 2**t, window, charge_width)
    for fraction in (6, 8, 9, 10, 12, 13)
    for t in range(4, fraction + 2)
    for window in (1, 2, 4, 8, 16)
    for charge_width in (18, 20)
    if 2**10 <= 2**t * window <= 2**17 and 2**t * (window + 3) < 2 ** (charge_width - 1)
]


@st.composite
def graphs(draw):
    """Populations in any order; random LIF synapses in either direction, in one of four graphs some without
    feedback.
    """
    one_way = st.sampled_from([False, True, True]) if draw(st.integers(0, 3)) == 3 else st.just(True)
    lif = [Population(f"h{k}", draw(st.integers(1, 9))) for k in range(draw(st.integers(1, 4)))]
    clamped = [
        Population("x0", draw(st.integers(1, 9)), "input"),
        Population("c0", draw(st.integers(1, 2)), "constant"),
    ]
    clamped += draw(
        st.sampled_from(
            [
                [],
                [Population("x1", 5, "input")],
                [Population("c1", 1, "constant"), Population("x1", 3, "input")],
            ]
        )
    )
    scale = st.sampled_from([0.0, 0.5, 1.0])
    synapses = [Synapse(c.name, p.name, draw(scale)) for p in lif for c in clamped if draw(st.booleans())]
    for k, p in enumerate(lif):
        for q in lif[:k]:
            if draw(st.booleans()):
                pre, post = (p, q) if draw(st.booleans()) else (q, p)
                synapses.append(Synapse(pre.name, post.name, draw(scale), draw(one_way)))
    synapses = synapses or [Synapse("x0", lif[0].name)]
    return (
        draw(st.permutations(lif + clamped)),
        draw(st.permutations(synapses)),
        draw(st.sampled_from(lif)).name,
    )


@st.composite
def convolutions(draw):
    """Images of any shape with or without patches, one to three populations of maps with any kernels and
    strides, then the dense populations of a graph; any update order, some without feedback.
    """
    one_way = st.sampled_from([False, True, True]) if draw(st.integers(0, 3)) == 3 else st.just(True)
    scale = st.sampled_from([0.0, 0.5, 1.0])
    patch = draw(st.sampled_from([1, 1, 2]))
    height, width, colours = draw(st.integers(1, 7)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
    image = Input.of_shape("image", (height, width, colours * patch**2), patch=patch)
    bias = Population("bias", 1, "constant")
    maps, synapses = [image], []
    for k in range(draw(st.integers(1, 3))):
        pre = draw(st.sampled_from(maps))
        kernel = draw(st.integers(1, min(pre.shape[:2])))
        strides = [s for s in range(1, 8) if all(positions(side, kernel, s) for side in pre.shape[:2])]
        stride = draw(st.sampled_from(strides or [1]))
        sides = [positions(side, kernel, stride) for side in pre.shape[:2]]
        post = Lif.of_shape(f"maps{k}", (*sides, draw(st.integers(1, 5))))
        maps.append(post)
        synapses.append(
            Synapse(pre.name, post.name, draw(scale), pre is image or draw(one_way), kernel, stride)
        )
        if draw(st.booleans()):
            per_position = draw(st.integers(0, 3)) == 3
            synapses.append(Synapse("bias", post.name, draw(scale), per_position=per_position))
    flat = [Population(f"h{k}", draw(st.integers(1, 6))) for k in range(draw(st.integers(0, 2)))]
    for p in flat:
        synapses += [Synapse(q.name, p.name, draw(scale)) for q in (bias, *maps) if draw(st.booleans())]
    populations = draw(st.permutations([*maps, *flat, bias, Population("x1", 3, "input")]))
    output = draw(st.sampled_from([*maps[1:], *flat])).name
    return populations, draw(st.permutations(synapses)), output


@st.composite
def with_memories(draw, fraction, maps, errors=False):
    """A graph with one or two attention layers, at most one with dynamic patterns; with ``errors`` some that
    receive no rates.
    """
    one_way = st.booleans() if errors else st.just(True)
    populations, synapses, output = draw(convolutions() if maps else graphs())
    populations, synapses = list(populations), list(synapses)
    lif = [p for p in populations if p.kind == "lif" and not p.shape]
    clamped = [p for p in populations if p.clamped]
    loaded = draw(st.sampled_from([(True,), (False,), (True, False), (False, False), (False, True)]))
    scale = st.sampled_from([0.0, 0.5, 1.0])
    for k, load in enumerate(loaded):
        heads = draw(st.integers(1, 4 if len(loaded) == 1 else 2))
        query = Relay(
            f"q{k}",
            heads * draw(st.integers(1, 7)),
            heads=heads,
            gain=draw(st.integers(0, min(MAX_GAIN, fraction - 9))),
        )
        pattern = Attention(
            f"m{k}",
            draw(st.integers(1, 9)),
            sharpness=fraction - 6 - draw(st.sampled_from(SOFTMAX_SHIFTS)),
            dynamic_patterns=load,
            table_rows=draw(st.none() | st.integers(1, 12)) if load else None,
        )
        populations += [query, pattern]
        synapses.append(Synapse(pattern.name, query.name, draw(st.sampled_from([0.0, 1.0, 1.0, 1.0]))))
        synapses += [Synapse(c.name, query.name, draw(scale)) for c in clamped if draw(st.booleans())]
        back = draw(one_way)
        synapses += [Synapse(query.name, p.name, draw(scale), back) for p in lif if draw(st.booleans())]
    return draw(st.permutations(populations)), draw(st.permutations(synapses)), output


@st.composite
def with_self_attention(draw, fraction):
    """Convolutions, with or without attention layers, and one or two self-attention populations.

    Each attends over an input or LIF maps, some over two of them, and drives LIF maps, some the same ones and
    some also earlier ones; maps have shared biases, position codes, or both.  Where they have an energy, they
    answer the LIF maps that they attend over.
    """
    energy = draw(st.booleans())
    populations, synapses, output = draw(
        with_memories(fraction, True) if draw(st.integers(0, 3)) == 3 else convolutions()
    )
    populations, synapses = list(populations), list(synapses)
    for k in range(draw(st.integers(1, 2))):
        maps = [p for p in populations if p.shape and p.kind in ("input", "lif")]
        source = draw(st.sampled_from([p for p in maps if p.kind == "lif" or not energy]))
        same = [p for p in maps if p.shape[:2] == source.shape[:2]]
        heads = draw(st.integers(1, 3))
        attention = SelfAttention.of_shape(
            f"attention{k}",
            (*source.shape[:2], heads * draw(st.integers(1, 5)) * (1 + energy)),
            heads=heads,
            causal=draw(st.booleans()),
            sharpness=fraction - 6 - draw(st.sampled_from(SOFTMAX_SHIFTS)),
            gain=draw(st.integers(0, min(MAX_GAIN, fraction - 8 - energy))),
            energy=energy,
        )
        target = Lif.of_shape(f"target{k}", (*source.shape[:2], draw(st.integers(1, 5))))
        sources = {p.name: p for p in (source, draw(st.sampled_from(same)))}
        targets = {
            p.name: p
            for p in (target, draw(st.sampled_from([target, *(p for p in same if p.kind == "lif")])))
        }
        synapses += [Synapse(name, attention.name, kernel=1) for name in sources]
        if energy:
            synapses += [Synapse("bias", attention.name)] if draw(st.booleans()) else []
            populations.append(attention)
            continue
        synapses += [Synapse(attention.name, name, kernel=1) for name in targets]
        for p in (attention, target):
            if draw(st.booleans()):
                synapses.append(Synapse("bias", p.name, per_position=draw(st.booleans())))
        populations += [attention, target]
    return draw(st.permutations(populations)), draw(st.permutations(synapses)), output


@st.composite
def networks(draw, memories=False, maps=False, attending=False, errors=False):
    formats = [f for f in FORMATS if not (memories or attending) or f[0] in (9, 12, 13)]
    fraction, threshold, window, charge_width = draw(
        st.sampled_from([f for f in formats if not errors or f[1] >= 2**9])
    )
    schedule = draw(
        schedules(window, threshold, 2**fraction, whole_windows=memories or attending, errors=errors)
    )
    least = fraction + 1 if attending else 4
    numerics = Numerics(
        fraction=fraction, weight_width=draw(st.integers(least, 16)), charge_width=charge_width
    )
    if attending:
        populations, synapses, output = draw(with_self_attention(fraction))
        return Network(tuple(populations), tuple(synapses), output, schedule, numerics)
    if memories:
        populations, synapses, output = draw(with_memories(fraction, maps, errors))
        network = Network(tuple(populations), tuple(synapses), output, schedule, numerics)
        return with_error_gain(draw, network) if errors else network
    if maps:
        populations, synapses, output = draw(convolutions())
        network = Network(tuple(populations), tuple(synapses), output, schedule, numerics)
    elif draw(st.booleans()):
        network = Network.chain(
            *draw(st.lists(st.integers(1, 9), min_size=2, max_size=5)),
            schedule=schedule,
            numerics=numerics,
            feedback=draw(st.sampled_from([True, True, False])),
        )
    else:
        populations, synapses, output = draw(graphs())
        network = Network(tuple(populations), tuple(synapses), output, schedule, numerics)
    if errors:
        network = with_error_gain(draw, network)
    return with_feedback_scales(draw, network)


def with_error_gain(draw, network):
    """The network with a factor of its errors, if it can have it."""
    with contextlib.suppress(ValueError):  # paths of several lengths, or a low threshold
        gain = draw(st.sampled_from([1, 2, 4, 8]))
        network = replace(network, schedule=replace(network.schedule, error_gain=gain))
    event(f"error_gain {network.schedule.error_gain}")
    return network


def with_feedback_scales(draw, network):
    """The network with a feedback scale for each synapse that can have one; the same one where products of
    different ones have no energy.
    """
    back = [
        s for s in network.synapses if s.feedback and s.pre in network.neurons and s.post in network.neurons
    ]
    scales = draw(st.lists(st.sampled_from(FEEDBACK_SCALES), min_size=len(back), max_size=len(back)))
    for chosen in (scales, scales[:1] * len(back)):
        found = {s.name: scale for s, scale in zip(back, chosen, strict=True)}
        synapses = tuple(replace(s, feedback_scale=found.get(s.name, 1.0)) for s in network.synapses)
        with contextlib.suppress(ValueError):
            network = replace(network, synapses=synapses)
            break
    event(f"feedback scales {sorted({s.feedback_scale for s in network.synapses})}")
    return network
