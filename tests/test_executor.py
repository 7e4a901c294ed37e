"""The executor of the engine's program equals the reference on random networks, and the engine model on
random programs.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equilif_golden.blocks.synapse import from_words
from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.features import EVERYTHING
from equilif_golden.engine.memories import memories
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.port import Region
from equilif_golden.executor import (
    COUNTER,
    MOVED,
    PREDICTION,
    SCALE,
    SHORTENED,
    SPIKES,
    Executor,
    new_memories,
    run,
)
from equilif_golden.reference import Reference
from equilif_golden.samples import one_hot
from equilif_golden.steps import decode
from equilif_sim.tools.programs import random_program, random_values, random_weights
from tests.test_kernel import cases, tokens_of


def check(network, weights, eta, counter, x, labels, sequences):
    reference = Reference(network, weights, learning_rate=eta, counter=counter)
    executor = Executor(network, weights, learning_rate=eta, counter=counter)
    for j, y in enumerate(one_hot(labels, network.n_outputs)):
        one = x[j : j + 1].astype(np.uint8)
        tokens, rows = tokens_of(network, sequences and sequences[j])
        inference = reference.infer(one, tokens)
        rates = executor.output_rates(one, tokens=rows)
        assert rates.tolist() == inference.free[network.output].tolist()
        if network.self_attention and not all(a.energy for a in network.self_attention):
            continue
        result = reference.train(one, y[None], tokens)
        epoch = executor.train(one, labels[j : j + 1], tokens=rows)
        assert (epoch.samples, epoch.hits) == (1, int(result.prediction[0] == labels[j]))
        assert (epoch.spikes, epoch.steps) == (result.spikes, result.steps[0])
        assert executor.counter == reference.counter
        for name, w in executor.weights.items():
            assert (w == reference.weights[name]).all(), name


@settings(max_examples=60, deadline=None)
@given(cases())
def test_equals_reference(case):
    check(*case)


@settings(max_examples=60, deadline=None)
@given(cases(maps=True))
def test_equals_reference_with_convolutions(case):
    check(*case)


@settings(max_examples=60, deadline=None)
@given(st.booleans().flatmap(lambda maps: cases(maps=maps, errors=True)))
def test_equals_reference_with_errors(case):
    check(*case)


@settings(max_examples=60, deadline=None)
@given(st.booleans().flatmap(lambda maps: cases(memories=True, maps=maps)))
def test_equals_reference_with_attention(case):
    check(*case)


@settings(max_examples=40, deadline=None)
@given(cases(attending=True))
def test_equals_reference_with_self_attention(case):
    check(*case)


@pytest.mark.parametrize("lanes", [2, 4, 8])
@pytest.mark.parametrize("options", [EVERYTHING, {}])
def test_equals_engine_model(lanes, options):
    config = EngineConfig(
        lanes=lanes, tiles=64, value_groups=32, state_groups=16, program_words=512, **options
    )
    rng = np.random.default_rng(lanes)
    model = EngineModel(config)
    kept = None
    for _ in range(60):
        program = random_program(rng, config)
        model.load(program)
        model.write(Region.VALUE, 0, random_values(rng, config).ravel())
        model.write(Region.WEIGHT, 0, random_weights(rng, config).ravel())
        steps = decode(program, config)
        m = new_memories(steps, config.state_groups * lanes, config.value_groups * lanes, config.n_weights)
        if kept is not None:
            for name in ("a", "b", "q", "s", "a_saved", "s_saved", "registers"):
                getattr(m, name)[:] = getattr(kept, name)
        m.plus[:], m.minus[:] = model.plus.ravel(), model.minus.ravel()
        m.w[:] = from_words(model.w, (config.tiles * lanes, lanes), lanes).ravel()
        learn = bool(rng.integers(2))
        model.run(learn=learn)
        run(steps, m, learn)
        for name in memories(config):
            assert (getattr(m, name) == getattr(model, name).ravel()).all(), name
        for name, saved in model.saved.items():
            assert (getattr(m, f"{name}_saved") == saved.ravel()).all(), name
        assert (m.w == from_words(model.w, (config.tiles * lanes, lanes), lanes).ravel()).all()
        found = m.registers[[COUNTER, SCALE, MOVED, PREDICTION, SPIKES, SHORTENED]]
        assert found.tolist() == [
            model.counter,
            model.scale,
            model.moved,
            model.prediction,
            model.spikes,
            model.shortened,
        ]
        kept = m
