"""Reference = compiled kernel = engine model, bit for bit.

State space: chains of 0 to 3 hidden populations and arbitrary graphs (skips, loops, populations in any update order, several inputs
and constants between them), sizes around multiples of the lane count, random formats, schedules, leaks, nudges and learning
rates, weights from alive to full scale, counters up to their wrap; several samples in a row, each learned.
"""
from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from golden.compiler import Compiled
from golden.engine import EngineModel
from golden.fixed import Numerics
from golden.isa import EngineConfig, assemble, disassemble
from golden.kernel import Kernel
from golden.lif import LEAKS
from golden.network import Network, Population, Synapse
from golden.plasticity import GAIN_MAX, SHIFTS, Step
from golden.reference import Reference, one_hot
from golden.schedule import STRENGTH_MAX, Schedule

LANES = (2, 4, 8, 16)
FORMATS = [(fraction, 2**t, window, charge_width)
           for fraction in (6, 8, 10, 12, 13) for t in range(4, fraction + 2) for window in (1, 2, 4, 8, 16) for charge_width in (18, 20)
           if 2**10 <= 2**t * window <= 2**17 and 2**t * (window + 3) < 2 ** (charge_width - 1)]


@st.composite
def graphs(draw):
    """Populations in any order; LIF ones joined at random, in either orientation."""
    lif = [Population(f"h{k}", draw(st.integers(1, 9))) for k in range(draw(st.integers(1, 4)))]
    clamped = [Population("x0", draw(st.integers(1, 9)), "input"), Population("c0", draw(st.integers(1, 2)), "constant")]
    clamped += draw(st.sampled_from([[], [Population("x1", 5, "input")], [Population("c1", 1, "constant"), Population("x1", 3, "input")]]))
    scale = st.sampled_from([0.0, 0.5, 1.0])
    synapses = [Synapse(c.name, p.name, draw(scale)) for p in lif for c in clamped if draw(st.booleans())]
    for k, p in enumerate(lif):
        for q in lif[:k]:
            if draw(st.booleans()):
                pre, post = (p, q) if draw(st.booleans()) else (q, p)
                synapses.append(Synapse(pre.name, post.name, draw(scale)))
    synapses = synapses or [Synapse("x0", lif[0].name)]
    return draw(st.permutations(lif + clamped)), draw(st.permutations(synapses)), draw(st.sampled_from(lif)).name


@st.composite
def networks(draw):
    fraction, threshold, window, charge_width = draw(st.sampled_from(FORMATS))
    one = 2**fraction
    beta = draw(st.sampled_from([b for b in (0.125, 0.3, 0.5, 1.0, 2.0) if 1 <= round(b * threshold) <= STRENGTH_MAX]))
    schedule = Schedule(window=window, free=window + draw(st.integers(0, 6)), nudged=window + draw(st.integers(0, 6)), beta=beta,
                        threshold=threshold / one, leak=draw(st.sampled_from(LEAKS)))
    numerics = Numerics(fraction=fraction, weight_width=draw(st.integers(4, 16)), charge_width=charge_width)
    if draw(st.booleans()):
        return Network.chain(*draw(st.lists(st.integers(1, 9), min_size=2, max_size=5)), schedule=schedule, numerics=numerics)
    populations, synapses, output = draw(graphs())
    return Network(tuple(populations), tuple(synapses), output, schedule, numerics)


@st.composite
def cases(draw):
    """A network, its weights, learning rate and counter, and samples."""
    network = draw(networks())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    fmt, reach = network.numerics.weight, draw(st.sampled_from([0.2, 1.0, 4.0]))
    limit = min(reach * network.schedule.raw(network.numerics).threshold, fmt.hi)
    weights = {s.name: rng.integers(-limit, limit + 1, network.shape(s)) for s in network.synapses}
    largest = Step(GAIN_MAX, SHIFTS[0]).rate(network.numerics.fraction)
    eta = draw(st.sampled_from([0.01, 0.1, 1.0])) * largest * 2 * network.schedule.beta
    x = rng.integers(0, 256, (3, network.n_inputs)) * rng.integers(0, 2, (3, network.n_inputs))
    x[0, :] = draw(st.sampled_from([0, 255]))
    counter = draw(st.sampled_from([0, 12345, 2**32 - 2]))
    return network, weights, eta, counter, x, rng.integers(0, network.n_outputs, 3)


def neurons(network, rates):
    """Rates by population to one row of all LIF neurons, as the kernel has them."""
    return np.concatenate([rates[p.name][0] for p in network.lif])


@settings(max_examples=150, deadline=None)
@given(cases())
def test_kernel_is_the_reference(case):
    network, weights, eta, counter, x, labels = case
    reference = Reference(network, weights, lr=eta, counter=counter)
    kernel = Kernel(network, weights, lr=eta, counter=counter)
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        one = x[j: j + 1]
        rates, spikes = kernel.rates(one, y[None])
        assert kernel.predict(one) == reference.infer(one).prediction
        result = reference.train(one, y[None])
        for got, expected in zip(rates[0], (result.free, result.plus, result.minus), strict=True):
            assert got.tolist() == neurons(network, expected).tolist()
        epoch = kernel.train(one.astype(np.uint8), labels[j: j + 1])
        assert (epoch.samples, epoch.hits) == (1, int(result.prediction[0] == labels[j]))
        assert epoch.spikes == spikes[0] == result.spikes
        assert kernel.counter == reference.counter
        for name, w in kernel.weights.items():
            assert (w == reference.weights[name]).all(), name
    event("learned" if any((reference.weights[n] != w).any() for n, w in weights.items()) else "did not learn")


@settings(max_examples=25, deadline=None)
@given(cases())
def test_engine_is_the_reference_at_every_lane_count(case):
    network, weights, eta, counter, x, labels = case
    reference = Reference(network, weights, lr=eta, counter=counter)
    engines = []
    for lanes in LANES:
        config = EngineConfig(lanes=lanes, tiles=1024, numerics=network.numerics)
        compiled = Compiled(network, config)
        engine = EngineModel(config, compiled.program(eta))
        assert disassemble(assemble(engine.program)) == engine.program
        engine.counter = counter
        engine.w[: compiled.n_tiles * lanes] = compiled.weight_words(weights)
        first, ones = compiled.constants()
        engine.plus.flat[first: first + len(ones)] = engine.minus.flat[first: first + len(ones)] = ones
        engines.append((compiled, engine))
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        prediction = reference.infer(x[j: j + 1]).prediction[0]
        result = reference.train(x[j: j + 1], y[None])
        for compiled, engine in engines:
            sample, first = compiled.sample(x[j], y), compiled.sample_first
            engine.plus.flat[first: first + len(sample)] = engine.minus.flat[first: first + len(sample)] = sample
            engine.run(learn=False)
            assert engine.prediction == prediction
            engine.run(learn=True)
            assert (engine.prediction, engine.spikes, engine.counter) == (result.prediction[0], result.spikes, reference.counter)
            for p in network.lif:
                at = compiled.groups[p.name].first * engine.config.lanes
                assert engine.plus.flat[at: at + p.size].tolist() == result.plus[p.name][0].tolist()
                assert engine.minus.flat[at: at + p.size].tolist() == result.minus[p.name][0].tolist()
            for name, w in compiled.weights(engine.w[: compiled.n_tiles * engine.config.lanes]).items():
                assert (w == reference.weights[name]).all(), (name, engine.config.lanes)


def test_a_batch_is_its_samples_one_by_one():
    """Inference of a batch in the reference and in the kernel, and a training order."""
    network = Network.chain(6, 5, 3)
    x = np.random.default_rng(0).integers(0, 256, (7, 6)).astype(np.uint8)
    labels, order = np.arange(7) % 3, np.array([6, 0, 3, 3])
    batch, kernel = Reference(network).infer(x), Kernel(network)
    assert kernel.predict(x).tolist() == batch.prediction.tolist()
    assert kernel.rates(x)[1].sum() == batch.spikes
    assert kernel.accuracy(x, batch.prediction) == 1.0
    kernel.train(x, labels, order)
    one_by_one = Kernel(network)
    for j in order:
        one_by_one.train(x[j: j + 1], labels[j: j + 1])
    assert all((kernel.weights[n] == w).all() for n, w in one_by_one.weights.items())
    assert kernel.counter == one_by_one.counter == 4 * len(network.synapses)


@pytest.mark.parametrize("call, message", [
    (lambda k: k.train(np.zeros((2, 5), np.uint8), [0, 1]), r"inputs must have shape \(batch, 6\), not \(2, 5\)"),
    (lambda k: k.train(np.zeros((2, 6), np.uint8), [0]), r"\(2, 6\) inputs and \(1,\) labels"),
    (lambda k: k.train(np.zeros((2, 6), np.uint8), [0, 3]), r"labels must lie in 0\.\.2, not 0\.\.3"),
    (lambda k: k.train(np.zeros((2, 6), np.uint8), [0, 1], [0, 2]), r"order must lie in 0\.\.1, not 0\.\.2"),
    (lambda k: k.train(np.full((2, 6), 256), [0, 1]), r"inputs must lie in 0\.\.255"),
    (lambda k: k.rates(np.zeros((2, 5))), r"inputs must have shape \(batch, 6\)"),
    (lambda k: k.rates(np.zeros((2, 6)), np.zeros((2, 4))), r"targets must have shape \(2, 3\), not \(2, 4\)"),
])
def test_kernel_checks_before_it_indexes(call, message):
    """Compiled code does not check indices."""
    with pytest.raises(ValueError, match=message):
        call(Kernel(Network.chain(6, 5, 3)))


@pytest.mark.parametrize("call, message", [
    (lambda r: r.infer(np.zeros((2, 5))), r"inputs must have shape \(batch, 6\), not \(2, 5\)"),
    (lambda r: r.infer(np.full((1, 6), -1)), r"inputs must lie in 0\.\.255, not -1"),
    (lambda r: r.train(np.zeros((2, 6)), np.zeros((2, 3))), "one sample at a time, as on the chip, not 2"),
    (lambda r: r.train(np.zeros((1, 6)), np.zeros((1, 4))), r"targets must have shape \(1, 3\), not \(1, 4\)"),
])
def test_reference_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call(Reference(Network.chain(6, 5, 3)))
