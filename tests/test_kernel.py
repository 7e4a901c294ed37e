"""Reference = compiled kernel = engine model, bit for bit.

Cases: chains of 0 to 3 hidden populations, arbitrary graphs (skip connections, loops, any update order,
several inputs and constants), convolutions (reference and kernel), one attention layer of 1 to 4 heads or two
of 1 or 2 with dynamic patterns, an embedding table or stored patterns, one or two self-attention populations
with or without them (reference and kernel); errors in place of nudged phases; sizes around multiples of the
lane count, random formats, schedules, leaks, nudges, learning rates, gains and sharpness, weights up to full
scale, counters up to their wrap; several samples in sequence.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from llvmlite.binding import llvm_version_info
from numba import njit

from equilif_golden.blocks.plasticity import GAIN_MAX, SHIFTS, Step
from equilif_golden.decoder import FORK, decode
from equilif_golden.engine.chip import Chip
from equilif_golden.engine.compiler import CapacityError, Compiled, engine_for
from equilif_golden.engine.config import EngineConfig, Pipeline, Unlimited
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.isa import Op, SourceMode, StateMode, assemble, disassemble
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region, region_size
from equilif_golden.executor import execute, rank, scan
from equilif_golden.fixed import Numerics
from equilif_golden.kernel import Kernel, TokenRows
from equilif_golden.learning import divisor, smallest_rate
from equilif_golden.network import (
    Network,
    Tokens,
)
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.schedule import Schedule
from equilif_golden.vectors import COMPRESSING_LLVM, Code, Elements, Struct, Value, emitted, new_array
from tests.networks import SCHEDULES
from tests.random_networks import (
    networks,
)

LANES = (2, 4, 8, 16)


@st.composite
def cases(draw, memories=False, maps=False, attending=False, errors=False):
    """A network, its weights, learning rate and counter, and samples: inputs, labels, and sequences of
    patterns or table rows (None without dynamic patterns).
    """
    network = draw(networks(memories, maps, attending, errors))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    fmt, reach = network.numerics.weight, draw(st.sampled_from([0.2, 1.0, 4.0]))
    limit = min(reach * network.schedule.raw(network.numerics).threshold, fmt.hi)
    weights = {s.name: rng.integers(-limit, limit + 1, network.shape(s)) for s in network.plastic}
    largest = Step(GAIN_MAX, SHIFTS[0]).rate(network.numerics.fraction)
    largest /= max(network.energy_scale(p.name) for p in network.lif)
    eta = 0.0
    least = smallest_rate(network)
    # a learning rate that changes no weight is rejected
    trainable = errors or network.has_energy
    if trainable and math.isfinite(least):
        eta = max(draw(st.sampled_from([0.01, 0.1, 1.0])) * largest * divisor(network), least)
    x = rng.integers(0, 256, (3, network.n_inputs)) * rng.integers(0, 2, (3, network.n_inputs))
    x[0, :] = draw(st.sampled_from([0, 255]))
    counter = draw(st.sampled_from([0, 12345, 2**32 - 2]))
    sequences = None
    if network.dynamic_attention:
        size = network.dynamic_attention.attention.size
        width = network.dynamic_attention.relay.width
        large = min(draw(st.sampled_from([0.3, 1.0, 4.0])) * network.numerics.one, fmt.hi)
        sequences = [
            rng.integers(-large, large + 1, (n, width))
            for n in (size, rng.integers(1, size + 1), rng.integers(0, size + 1))
        ]
        if network.table:
            rows = network.dynamic_attention.attention.table_rows
            sequences = [rng.integers(0, rows, len(sequence)) for sequence in sequences]
    return network, weights, eta, counter, x, rng.integers(0, network.n_outputs, 3), sequences


def neurons(network, rates):
    """Rates by population as one row of all LIF neurons, the layout of the kernel."""
    return np.concatenate([rates[p.name][0] for p in network.lif])


def tokens_of(network, sequence):
    """Patterns or rows of a sample for the reference and for the kernel."""
    if sequence is None:
        return None, None
    if network.table:
        off = np.array([0, len(sequence)], np.int64)
        rows = TokenRows(np.zeros(network.shape(network.table), np.int16), sequence.astype(np.int32), off)
        return rows, rows
    return (
        Tokens.of([sequence], network.dynamic_attention.attention.size),
        TokenRows(
            sequence.astype(np.int16),
            np.arange(len(sequence), dtype=np.int32),
            np.array([0, len(sequence)], np.int64),
        ),
    )


def check_kernel(network, weights, eta, counter, x, labels, sequences):
    reference = Reference(network, weights, learning_rate=eta, counter=counter)
    kernel = Kernel(network, weights, learning_rate=eta, counter=counter)
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        one = x[j : j + 1]
        tokens, rows = tokens_of(network, sequences and sequences[j])
        rates, spikes, steps = kernel.settle(one, y[None], tokens=rows)
        assert kernel.predict(one, tokens=rows) == reference.infer(one, tokens).prediction
        result = reference.train(one, y[None], tokens)
        for got, expected in zip(rates[0], (result.free, result.plus, result.minus), strict=True):
            assert got.tolist() == neurons(network, expected).tolist()
        epoch = kernel.train(one.astype(np.uint8), labels[j : j + 1], tokens=rows)
        assert (epoch.samples, epoch.hits) == (1, int(result.prediction[0] == labels[j]))
        assert epoch.spikes == spikes[0] == result.spikes
        assert epoch.steps == steps[0] == result.steps[0]
        if not network.schedule.fixed:
            event(f"ended {'before' if steps[0] < network.schedule.free else 'at'} the end")
        assert kernel.counter == reference.counter
        for name, w in kernel.weights.items():
            assert (w == reference.weights[name]).all(), name
    for m in network.attention_layers:
        learned = m.attention.learns and (reference.weights[m.synapse.name] != weights[m.synapse.name]).any()
        kind = (
            "of a table"
            if network.table == m.synapse
            else "loaded"
            if m.attention.dynamic_patterns
            else "stored"
        )
        event(f"memory {kind}{' learned' if learned else ''}")
        event(f"retrieval {'alive' if result.recalled[0].retrieval[m.relay.name].any() else 'zero'}")
    for a in network.self_attention:
        event(f"answers {'alive' if result.recalled[0].answer[a.name].any() else 'zero'}")
    event("without feedback" if network.feedforward else "with feedback")
    event(
        "learned" if any((reference.weights[n] != w).any() for n, w in weights.items()) else "did not learn"
    )


@settings(max_examples=150, deadline=None)
@given(cases())
def test_kernel_equals_reference(case):
    check_kernel(*case)


@settings(max_examples=150, deadline=None)
@given(cases(memories=True))
def test_kernel_equals_reference_with_attention(case):
    check_kernel(*case)


@settings(max_examples=150, deadline=None)
@given(cases(maps=True))
def test_kernel_equals_reference_with_convolutions(case):
    check_kernel(*case)


@settings(max_examples=50, deadline=None)
@given(cases(memories=True, maps=True))
def test_kernel_equals_reference_with_convolutions_and_attention(case):
    check_kernel(*case)


@settings(max_examples=100, deadline=None)
@given(st.booleans().flatmap(lambda maps: cases(maps=maps, errors=True)))
def test_kernel_equals_reference_with_errors(case):
    check_kernel(*case)


@settings(max_examples=50, deadline=None)
@given(st.booleans().flatmap(lambda maps: cases(memories=True, maps=maps, errors=True)))
def test_kernel_equals_reference_with_errors_through_attention(case):
    check_kernel(*case)


@settings(max_examples=50, deadline=None)
@given(cases(attending=True))
def test_kernel_equals_reference_with_self_attention(case):
    check_kernel(*case)


@pytest.mark.parametrize("hidden", [60, 100])
def test_more_weights_than_an_engine(hidden):
    """The second synapse begins beyond 2**15 and beyond 2**16 weights."""
    network = Network.chain(700, hidden, 3)
    x = np.random.default_rng(hidden).integers(0, 256, (1, 700))
    kernel, reference = (kind(network, learning_rate=0.05) for kind in (Kernel, Reference))
    kernel.train(x, [1])
    reference.train(x, [[0, 255, 0]])
    assert all((kernel.weights[name] == w).all() for name, w in reference.weights.items())
    assert any((w != network.initial_weights()[name]).any() for name, w in reference.weights.items())


def check_engines(network, weights, eta, counter, x, labels, sequences, configs=None):
    reference = Reference(network, weights, learning_rate=eta, counter=counter)
    chips = []
    for config in configs or [
        EngineConfig(lanes=lanes, tiles=2048, program_words=2048, **EVERYTHING, numerics=network.numerics)
        for lanes in LANES[counter % 2 :: 2]
    ]:
        program = Compiled(network, config).program(eta)
        assert disassemble(assemble(program)) == program
        engine = EngineModel(config)
        # another network was on the engine
        rng = np.random.default_rng(counter)
        for region, hi in ((Region.WEIGHT, network.numerics.weight.hi), (Region.VALUE, 255)):
            engine.write(region, 0, rng.integers(0, hi + 1, region_size(config, region)))
        chips.append(Chip(engine, network, weights, learning_rate=eta, counter=counter))
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        tokens, rows = tokens_of(network, sequences and sequences[j])
        prediction = reference.infer(x[j : j + 1], tokens).prediction[0]
        result = reference.train(x[j : j + 1], y[None], tokens)
        for chip in chips:
            assert chip.sample(x[j], tokens=rows).prediction == prediction
            run = chip.sample(x[j], y, tokens=rows)
            assert (run.prediction, run.spikes) == (result.prediction[0], result.spikes)
            assert chip.counter == reference.counter
            plus, minus = chip.rates()
            assert plus.tolist() == neurons(network, result.plus).tolist()
            assert minus.tolist() == neurons(network, result.minus).tolist()
            for name, w in chip.weights.items():
                assert (w == reference.weights[name]).all(), (name, chip.engine.config.lanes)


@settings(max_examples=15, deadline=None)
@given(cases())
def test_engine_equals_reference(case):
    check_engines(*case)


@settings(max_examples=10, deadline=None)
@given(cases(memories=True))
def test_engine_equals_reference_with_attention(case):
    check_engines(*case)


@settings(max_examples=15, deadline=None)
@given(cases(errors=True))
def test_engine_equals_reference_with_errors(case):
    if case[2]:
        check_engines(*case)


@settings(max_examples=10, deadline=None)
@given(cases(memories=True, errors=True))
def test_engine_equals_reference_with_errors_through_attention(case):
    if case[2]:
        check_engines(*case)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([True, False]))
def test_engine_equals_reference_with_errors_of_convolutions(seed, feedback):
    network = Network.conv(
        (6, 6), (5, 3), (3, 2, 2), 6, 3, feedback=feedback, schedule=Schedule(contrast="errors")
    )
    rng = np.random.default_rng(seed)
    weights = {s.name: rng.integers(-4096, 4097, network.shape(s)) for s in network.plastic}
    x = rng.integers(0, 256, (3, 36))
    check_engines(network, weights, 0.05, seed % 8, x, rng.integers(0, 3, 3), None)


def test_engine_without_errors_infers():
    network = Network.chain(6, 5, 4, 3, feedback=False, schedule=Schedule(contrast="errors"))
    x = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
    engine = EngineModel(EngineConfig(lanes=4))
    assert Chip(engine, network).predict(x).tolist() == Kernel(network).predict(x).tolist()
    with pytest.raises(CapacityError, match="EngineConfig.errors"):
        Chip(engine, network, learning_rate=0.01)


@settings(max_examples=10, deadline=None)
@given(cases(attending=True))
def test_engine_equals_reference_with_self_attention(case):
    """On engines with and without dual-port weights in turn: inference and, with an energy, training."""
    network, weights, eta, counter, x, labels, sequences = case
    output = next((p for p in network.lif if not p.shape), network[network.output])
    network = replace(network, output=output.name)
    if eta:
        configs = []
        for lanes, pipeline in zip(LANES[counter % 2 :: 2], Pipeline, strict=True):
            with contextlib.suppress(CapacityError):  # many positions, or codes of a position in one group
                configs.append(replace(engine_for(network, lanes=lanes), pipeline=pipeline))
        event(f"learns on {len(configs)} engines")
        if configs:
            check_engines(network, weights, eta, counter, x, labels % output.size, sequences, configs)
        return
    reference = Reference(network, weights)
    results = [
        reference.infer(x[j : j + 1], tokens_of(network, sequences and sequences[j])[0]) for j in range(2)
    ]
    for lanes, pipeline in zip(LANES[counter % 2 :: 2], Pipeline, strict=True):
        if output.shape and output.maps % lanes:
            continue  # its rates are read neuron by neuron
        try:
            config = replace(engine_for(network, lanes=lanes), pipeline=pipeline)
        except CapacityError:
            # many positions do not fit few lanes; with an energy nor codes of a position in one group
            assert lanes < 16 or any(a.energy for a in network.self_attention)
            continue
        chip = Chip(EngineModel(config), network, weights)
        program = chip.compiled.program(0.0)
        assert disassemble(assemble(program)) == program
        for j, result in enumerate(results):
            run = chip.sample(x[j], tokens=tokens_of(network, sequences and sequences[j])[1])
            assert chip.rates().plus.tolist() == neurons(network, result.free).tolist()
            assert (run.prediction, run.spikes) == (result.prediction[0], result.spikes)
        event(f"{lanes} lanes")


FORWARD = Network.chain(6, 5, 4, 3, feedback=False)


@pytest.mark.parametrize(
    "learn",
    [
        lambda: Reference(FORWARD, learning_rate=0.01),
        lambda: Kernel(FORWARD, learning_rate=0.01),
        lambda: Kernel(FORWARD).set_learning_rate(0.01),
        lambda: Compiled(FORWARD, EngineConfig(lanes=4)).program(0.01),
    ],
)
def test_no_learning_without_feedback(learn):
    with pytest.raises(ValueError, match="hidden1-hidden2"):
        learn()


def test_no_feedback():
    """Hidden rates equal those of the network without later populations; no column is gathered."""
    x = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
    weights = FORWARD.initial_weights(scale=2.0)
    first = Network.chain(6, 5)
    alone = Kernel(first, {"input-output": weights["input-hidden1"], "bias-output": weights["bias-hidden1"]})
    both = Network.chain(6, 5, 4, 3)
    hidden = alone.rates(x)[0][:, 0]
    assert (Kernel(FORWARD, weights).rates(x)[0][:, 0, :5] == hidden).all() and (
        Kernel(both, weights).rates(x)[0][:, 0, :5] != hidden
    ).any()
    gathers = {
        n: [i.mode & ~StateMode.SECOND for i in compiled.program(0.0) if i.op == Op.GATHER]
        for n, compiled in ((n, Compiled(n, EngineConfig(lanes=4))) for n in (FORWARD, both))
    }
    assert gathers[FORWARD] == [0] * 6 and sorted(gathers[both]) == [0] * 6 + [SourceMode.COLUMN] * 6


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_batch_equals_single_samples(schedule):
    """Inference of a batch in reference and kernel, and a training order; with early exit each sample has its
    own number of steps.
    """
    network = Network.chain(6, 5, 3, schedule=schedule)
    x = np.random.default_rng(0).integers(0, 256, (7, 6)).astype(np.uint8)
    labels, order = np.arange(7) % 3, np.array([6, 0, 3, 3])
    batch, kernel = Reference(network).infer(x), Kernel(network, learning_rate=0.01)
    assert kernel.predict(x).tolist() == batch.prediction.tolist()
    rates, spikes, steps = kernel.settle(x)
    assert (
        rates[:, 0].tolist() == np.concatenate([batch.free[p.name] for p in network.lif], axis=1).tolist()
        and spikes.sum() == batch.spikes
    )
    assert steps.tolist() == batch.steps.tolist() and (
        set(steps) == {schedule.free} if schedule.fixed else steps.min() < steps.max()
    )
    assert kernel.accuracy(x, batch.prediction) == 1.0
    assert kernel.train(x, labels, order).steps >= steps.min() * len(order)
    one_by_one = Kernel(network, learning_rate=0.01)
    for j in order:
        one_by_one.train(x[j : j + 1], labels[j : j + 1])
    assert all((kernel.weights[n] == w).all() for n, w in one_by_one.weights.items())
    assert kernel.counter == one_by_one.counter == 4 * len(network.synapses)


def test_batch_of_sequences_equals_single_samples():
    """Several lengths, from a table with repeated rows."""
    rng = np.random.default_rng(0)
    network = Network.attention(5, 6, 2, 4, 3)
    lengths = [5, 1, 0, 3]
    tokens = TokenRows(
        rng.integers(-4096, 4097, (7, 6)).astype(np.int16),
        rng.integers(0, 7, sum(lengths)).astype(np.int32),
        np.cumsum([0, *lengths]),
    )
    sequences = [tokens.table[tokens.rows[a:b]] for a, b in zip(tokens.off[:-1], tokens.off[1:], strict=True)]
    x = np.zeros((4, 0), np.uint8)
    batch = Reference(network).infer(x, Tokens.of(sequences, 5))
    kernel, one_by_one = Kernel(network, learning_rate=0.1), Kernel(network, learning_rate=0.1)
    rates, spikes = kernel.rates(None, tokens=tokens)
    assert (
        rates[:, 0].tolist() == np.concatenate([batch.free[p.name] for p in network.lif], axis=1).tolist()
        and spikes.sum() == batch.spikes
    )
    assert kernel.predict(None, tokens=tokens).tolist() == batch.prediction.tolist()
    assert kernel.accuracy(None, batch.prediction, tokens=tokens) == 1.0
    kernel.train(None, [0, 1, 2, 0], [3, 0, 2, 1, 0], tokens=tokens)
    for j in (3, 0, 2, 1, 0):
        one_by_one.train(None, [j % 3], tokens=tokens_of(network, sequences[j])[1])
    assert (
        all((kernel.weights[n] == w).all() for n, w in one_by_one.weights.items())
        and kernel.counter == one_by_one.counter
    )
    assert any((kernel.weights[n] != w).any() for n, w in Kernel(network).weights.items())


def rows(*, table=(4, 6), at=(0, 3), off=(0, 1, 2), value=0):
    return TokenRows(np.full(table, value, np.int16), np.array(at, np.int32), np.array(off, np.int64))


SMALL = Network.chain(6, 5, 3)
SEQUENCES = Network.attention(5, 6, 2, 4, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (9, 6)).astype(np.uint8)
CLASSES = np.arange(9) % 3


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Kernel(SMALL).predict(np.zeros((2, 6), int), tokens=rows()), "tokens"),
        (lambda: Kernel(SEQUENCES).predict(np.zeros((3, 0), int), tokens=rows()), "inputs"),
        (lambda: Kernel(SEQUENCES).train(None, [0], tokens=rows()), "labels"),
        (
            lambda: Kernel(replace(SEQUENCES, numerics=Numerics(weight_width=8))).predict(
                None, tokens=rows(value=128)
            ),
            "patterns",
        ),
        (lambda: Reference(SMALL).infer(IMAGES, "tokens"), "tokens"),
        (lambda: Kernel(SMALL).train(IMAGES, CLASSES), "learning_rate"),
        (lambda: Reference(SMALL).train(IMAGES[:1], one_hot(CLASSES[:1], 3)), "learning_rate"),
    ],
)
def test_arguments_that_do_not_fit_together(call, message):
    """tests/test_hostile_api.py has invalid values of each argument."""
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "labels, learned",
    [
        ([0] * 8 + [1] * 8 + [2] * 8, False),
        ([2] * 8 + [0] * 11 + [1], False),
        ([0, 1, 2] * 8, True),
        ([0] * 12 + [1] * 11 + [0], True),
        ([0] * 20 + [1] * 4, True),
        ([1] * 24, True),
        ([0] * 9 + [1] * 10, True),
    ],
    ids=lambda v: "".join(map(str, v)) if isinstance(v, list) else "",
)
def test_samples_sorted_by_class(labels, learned):
    x = np.zeros((len(labels), 6), np.uint8)
    kernel = Kernel(SMALL, learning_rate=0.01)
    if not learned:
        for model in (kernel, Chip(EngineModel(EngineConfig(lanes=4)), SMALL, learning_rate=0.01)):
            with pytest.raises(ValueError, match="sorted by class"):
                model.train(x, labels)
    order = None if learned else np.arange(len(labels))
    assert kernel.train(x, labels, order).samples == len(labels)


def test_no_samples():
    kernel = Kernel(SMALL, learning_rate=0.01)
    with pytest.raises(ValueError, match="no samples"):
        kernel.accuracy(IMAGES[:0], CLASSES[:0])
    assert kernel.train(IMAGES[:0], CLASSES[:0]) == (0, 0, 0, 0) and kernel.predict(IMAGES[:0]).shape == (0,)


def test_smallest_learning_rate():
    """The message contains a valid learning rate."""
    for network in (
        SMALL,
        Network.chain(6, 5, 3, learning_rate_scales=(0.1, 0.3), schedule=Schedule(beta=0.7)),
    ):
        least = smallest_rate(network)
        assert any(step.gain for step in Reference(network, learning_rate=least).steps.values())
        with pytest.raises(ValueError, match=f"{least:g}$"):
            Kernel(network, learning_rate=0.97 * least)


def test_refused_learning_rate_changes_nothing():
    for model in (Kernel(SMALL), Reference(SMALL), Chip(EngineModel(EngineConfig()), SMALL)):
        with pytest.raises(ValueError, match="smallest step"):
            model.set_learning_rate(1e-9)
        assert not model.learns
        model.set_learning_rate(0.01)
        assert model.learns


def test_long_average_does_not_overflow():
    """A neuron that always fires at the largest threshold exceeds a 32-bit charge."""
    numerics = Numerics(fraction=13, charge_width=20)
    network = Network.chain(1, 1, schedule=Schedule(threshold=2.0, window=4), numerics=numerics)
    weights = {n: np.full_like(w, numerics.weight.hi) for n, w in network.initial_weights().items()}
    found, _ = Kernel(network, weights).averages(np.full((1, 1), 255), [5, 1 << 18])
    assert found.ravel().tolist() == [1.0, 1.0]


def test_arrays_of_every_kind_compile_once():
    """Read-only arrays, slices and other types cause no recompilation."""
    kernel = Kernel(SMALL, learning_rate=0.01)
    frozen = np.frombuffer(IMAGES.tobytes(), np.uint8).reshape(9, 6)
    for x, y in (
        (IMAGES, CLASSES),
        (frozen, CLASSES),
        (IMAGES[::2], CLASSES[::2]),
        (IMAGES.T.copy().T, CLASSES),
    ):
        kernel.train(x, y)
        kernel.predict(x)
        kernel.settle(x, one_hot(y, 3))
        kernel.settle(x, np.asfortranarray(one_hot(y, 3)))
    assert len(execute.signatures) == 1


@pytest.mark.parametrize("accumulator_width", [26, 32])
@pytest.mark.parametrize("fraction", [9, 12, 13])
@pytest.mark.parametrize("fill", ["largest", "smallest", "random"])
def test_nothing_wraps_at_max_fan_in(accumulator_width, fraction, fill):
    """Weights, inputs, nudge and threshold at full scale, the longest window, the largest counter."""
    numerics = Numerics(fraction=fraction, accumulator_width=accumulator_width, charge_width=32)
    fan_in = min(numerics.max_fan_in, 1 << 16)
    window = min(256, 2**17 // (2 * numerics.one))
    schedule = Schedule(
        free=window, nudged=window, window=window, threshold=2.0, beta=1.0 if fraction == 13 else 2.0
    )
    networks = [Network.chain(fan_in - 3, 2, schedule=schedule, numerics=numerics)]
    if fraction > 10:
        width = min(fan_in // 3, 300)
        networks.append(
            Network.attention(
                min(1024, fan_in - 1),
                width,
                2,
                2,
                schedule=schedule,
                numerics=numerics,
                gain=2,
                sharpness=fraction - 7,
            )
        )
    rng = np.random.default_rng(0)
    lo, hi = numerics.weight.lo, numerics.weight.hi
    first, last = {"largest": (hi, hi), "smallest": (lo, lo), "random": (lo, hi)}[fill]
    for network in networks:
        weights = {s.name: rng.integers(first, last + 1, network.shape(s)) for s in network.plastic}
        x = np.full((1, network.n_inputs), 255)
        sequence = None
        if network.dynamic_attention:
            sequence = rng.integers(first, last + 1, network.shape(network.dynamic_attention.synapse))
        tokens, rows = tokens_of(network, sequence)
        eta = 0.99 * Step(GAIN_MAX, SHIFTS[0]).rate(fraction) * 2 * schedule.beta
        kernel = Kernel(network, weights, learning_rate=eta, counter=2**32 - 1)
        reference = Reference(network, weights, learning_rate=eta, counter=2**32 - 1)
        rates = kernel.settle(x, [[0, 255]], tokens=rows).rates[0]
        result = reference.train(x, [[0, 255]], tokens)
        kernel.train(x, [1], tokens=rows)
        for got, expected in zip(rates, (result.free, result.plus, result.minus), strict=True):
            assert got.tolist() == neurons(network, expected).tolist()
        assert kernel.counter == reference.counter
        assert all((kernel.weights[name] == w).all() for name, w in reference.weights.items())


def test_saved_kernel_continues(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (20, 5)).astype(np.uint8)
    y = rng.integers(0, 3, 20)
    kernel = Kernel(Network.chain(5, 4, 3), learning_rate=0.1)
    kernel.train(x, y, np.arange(10))
    kernel.save(tmp_path / "network.npz")
    again = Kernel.load(tmp_path / "network.npz", learning_rate=0.1)
    assert repr(again) == repr(kernel) and again.counter == kernel.counter
    for each in (kernel, again):
        each.train(x, y, np.arange(10, 20))
    assert all(np.array_equal(w, again.weights[name]) for name, w in kernel.weights.items())


def test_prototype_of_a_learning_rule():
    """A subclass of the reference changes only what it overrides."""

    class Frozen(Reference):
        def update(self, s, w, u_plus, u_minus, v_plus, v_minus):
            return w if s.pre == "input" else super().update(s, w, u_plus, u_minus, v_plus, v_minus)

    network = Network.chain(5, 4, 3)
    frozen, plain = (kind(network, learning_rate=0.1) for kind in (Frozen, Reference))
    for model in (frozen, plain):
        model.train(np.full((1, 5), 200), np.array([[255, 0, 0]]))
    moved = {
        name: not np.array_equal(w, network.initial_weights()[name]) for name, w in frozen.weights.items()
    }
    assert {s.name: s.pre != "input" for s in network.plastic} == moved
    assert frozen.counter == plain.counter


class Tiring(Reference):
    """Each spike reduces the next drives."""

    def neuron_state(self, population, batch):
        return {"fatigue": np.zeros((batch, population.size), np.int64)}

    def neuron(self, population, v, drive):
        state = self.state[population.name]
        v, spike = super().neuron(population, v, drive - state["fatigue"])
        state["fatigue"] = state["fatigue"] // 2 + self.raw.threshold // 4 * spike
        return v, spike


@pytest.mark.parametrize("early_exit", [None, 8])
def test_state_of_a_neuron_hook(early_exit):
    """It is reset with each sample, and both nudged phases start with that of the free phase."""
    network = Network.chain(6, 5, 3, schedule=Schedule(early_exit=early_exit))
    model, swapped = (Tiring(network, network.initial_weights(1, scale=2.0)) for _ in range(2))
    swapped.raw = swapped.raw._replace(strength=-swapped.raw.strength)
    targets = one_hot(CLASSES, 3)
    found = model.train(IMAGES, targets, learn=False)
    other = swapped.train(IMAGES, targets, learn=False)
    alone = [model.train(x[None], y[None], learn=False) for x, y in zip(IMAGES, targets, strict=True)]
    plain = Reference(network, model.weights).train(IMAGES, targets, learn=False)
    for name in ("hidden1", "output"):
        for phase, opposite in (("free", "free"), ("plus", "minus"), ("minus", "plus")):
            rates = getattr(found, phase)[name]
            assert rates.tolist() == getattr(other, opposite)[name].tolist()
            assert rates.tolist() == [r for one in alone for r in getattr(one, phase)[name].tolist()]
    assert any((found.plus[name] != plain.plus[name]).any() for name in found.plus)


class Hidden(Tiring):
    """Its state is an attribute, which the model cannot save."""

    def neuron(self, population, v, drive):
        self.fatigue = getattr(self, "fatigue", 0) + self.raw.threshold // 4
        return Reference.neuron(self, population, v, drive - self.fatigue)


class Listed(Tiring):
    def neuron_state(self, population, batch):
        return {"fatigue": [0] * batch}


class Generating(Tiring):
    def neuron(self, population, v, drive):
        self.state[population.name]["generator"] = np.random.default_rng(0)
        return super().neuron(population, v, drive)


@pytest.mark.parametrize("hook, key", [(Hidden, "hidden1"), (Listed, "fatigue"), (Generating, "generator")])
def test_state_that_cannot_be_saved(hook, key):
    model = hook(SMALL, learning_rate=0.1)
    with pytest.raises(ValueError, match=key):
        model.train(IMAGES[:1], one_hot(CLASSES[:1], 3))
    assert model.counter == 0


@pytest.mark.parametrize("tokens", [False, True])
def test_reference_stands_in_for_kernel(tokens, tmp_path):
    """The same predictions, accuracy and file."""
    network = Network.attention(4, 6, 2, 5, 3) if tokens else Network.chain(6, 5, 3)
    rows = TokenRows(IMAGES.astype(np.int16), np.arange(8), np.array([0, 1, 4, 8])) if tokens else None
    x, y = (None, CLASSES[:3]) if tokens else (IMAGES, CLASSES)
    weights = network.initial_weights(1)
    models = [kind(network, weights, counter=7) for kind in (Kernel, Reference)]
    for model in models:
        model.save(tmp_path / type(model).__name__)
    kernel, reference = models
    assert kernel.predict(x, tokens=rows).tolist() == reference.predict(x, tokens=rows).tolist()
    assert kernel.accuracy(x, y, tokens=rows) == reference.accuracy(x, y, tokens=rows)
    assert (tmp_path / "Kernel").read_bytes() == (tmp_path / "Reference").read_bytes()
    none = rows and rows.take([])
    assert [len(model.predict(x if tokens else x[:0], tokens=none)) for model in models] == [0, 0]
    with pytest.raises(ValueError, match="labels"):
        reference.accuracy(x, y[:2], tokens=rows)


class Scanned(NamedTuple):
    """Memories of a scan."""

    events: npt.NDArray[np.int32]
    found: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int32]


OLD_LLVM = llvm_version_info < COMPRESSING_LLVM


@pytest.mark.parametrize(
    "compresses", [False, pytest.param(True, marks=pytest.mark.skipif(OLD_LLVM, reason="LLVM is too old"))]
)
def test_scan_with_and_without_compression(compresses, monkeypatch):
    monkeypatch.setattr(Code, "compresses", compresses)

    @emitted
    def scan_values(c: Code, values: Elements, n: Value, m: Struct) -> Value:
        return scan(c, n, values.load, m)

    @emitted
    def rank_of(c: Code, m: Struct, neuron: Value) -> Value:
        return rank(m, neuron)

    @njit
    def run(values, n, m):
        return scan_values(values, n, m)

    @njit
    def ranked(m, neuron):
        return rank_of(m, neuron)

    for n in (1, 10, 32, 33, 64, 65, 200):
        values = new_array(n, np.uint8)
        values[:] = 1  # beyond the end, too
        values[:n] = np.random.default_rng(n).integers(0, 2, n)
        m = Scanned(
            new_array(n, np.int32), new_array(n // 64 + 2, np.int64), new_array(n // 64 + 2, np.int32)
        )
        expected = np.flatnonzero(values[:n])
        assert run(values, n, m) == len(expected)
        assert m.events[: len(expected)].tolist() == expected.tolist()
        assert [ranked(m, k) for k in range(n + 1)] == np.searchsorted(expected, np.arange(n + 1)).tolist()


def test_second_state_begins_with_the_first_difference():
    network = Network.chain(4, 3, 2, schedule=Schedule(free=8, nudged=4, window=4))
    compiled = Compiled(network, Unlimited(network.numerics))
    program = decode(compiled.program(0.1), network.numerics.weight, compiled.state_groups).instructions
    forks = program[program["op"] == FORK]
    # the output is nudged; the hidden population receives its spikes; all have two states when measured
    assert forks["source"].tolist() == [2, 0, 0, 0]
    assert forks["population"].tolist() == [1, 2, 1, 2]
    save = program[program["op"] == Op.SAVE]
    assert save["second"].all() and not (program["op"] == Op.RESTORE).any()
