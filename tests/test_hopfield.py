"""Modern Hopfield network: 1 to 60 patterns of 1 to 70 values, dense and sparse, similar and distant; cues
from random to stored.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from equilif_golden.engine.config import EngineConfig
from equilif_golden.engine.isa import ProgramError, assemble, disassemble
from equilif_golden.engine.model import EngineModel
from equilif_golden.engine.recall import HopfieldOnEngine
from equilif_golden.fixed import Numerics
from equilif_golden.hopfield import MAX_STEPS, Hopfield


def some(rng, n, d, sharpness=3, numerics=None):
    """A random associative memory and a cue."""
    apart, size = rng.choice([0.1, 0.5, 1.0]), rng.choice([0.3, 1.0])
    common = rng.normal(0, 40, d)
    codes = np.clip(size * (common + apart * (rng.normal(0, 60, (n, d)) - common)), -128, 127).astype(
        np.int64
    )
    codes *= rng.random((n, d)) < rng.choice([0.3, 1])
    memory = Hopfield.of(codes, sharpness=sharpness, numerics=numerics or Numerics())
    kind = rng.integers(4)
    if kind == 0:
        return memory, rng.integers(-128, 128, d)
    cue = codes[rng.integers(n)].copy()
    if kind == 1:
        cue[d // 2 :] = 0
    elif kind == 2:
        cue = np.clip(cue + rng.normal(0, 20, d), -128, 127).astype(np.int64)
    else:
        cue = codes.mean(axis=0).astype(np.int64)
    return memory, cue


def by_hand(memory, q):
    """One update in Python integers, with the probabilities of the model."""
    x, f = memory.patterns.tolist(), memory.numerics.fraction
    scores = [sum(int(a) * int(b) // 256 for a, b in zip(row, q, strict=True)) for row in x]
    assert scores == memory.scores(q).tolist()
    p = memory.probabilities(q)
    drive = [sum(int(c) * row[j] // 256 for c, row in zip(p.code, x, strict=True)) for j in range(len(q))]
    return [min(max(b // 2 ** (f - 15 + int(p.c)), -128), 127) for b in drive]


def test_step_equals_definition():
    rng = np.random.default_rng(1)
    for _ in range(60):
        memory, q = some(rng, rng.integers(1, 12), rng.integers(1, 12))
        assert memory.step(q).tolist() == by_hand(memory, q)


@pytest.mark.parametrize("fraction, sharpness", [(9, 1), (9, 2), (12, 2), (12, 5), (13, 3), (13, 6)])
def test_step_is_close_to_real_arithmetic(fraction, sharpness):
    """X^T softmax(k X q) with the k of the module, within the terms of the energy bound."""
    rng = np.random.default_rng(fraction)
    for _ in range(50):
        memory, q = some(
            rng, rng.integers(1, 30), rng.integers(1, 30), sharpness, Numerics(fraction=fraction)
        )
        a = memory.k * memory.real @ (q / 128)
        p = np.exp(a - a.max())
        error = np.linalg.norm(memory.step(q) / 128 - p / p.sum() @ memory.real)
        assert error <= np.sqrt(2 * memory.largest_rise(q))


def test_worst_case_rounding():
    """Two patterns equally similar to the state; half the products of one lose nearly 1 by rounding: a
    quarter octave.
    """
    numerics = Numerics(fraction=13)
    patterns = np.zeros((2, 80), np.int64)
    patterns[1, :64] = [1, -1] * 32
    patterns[1, 64:] = 8128
    memory, q = Hopfield(patterns, sharpness=6, numerics=numerics), np.array([1] * 64 + [0] * 16)
    assert memory.scores(q).tolist() == [0, -32]
    error = np.linalg.norm(memory.step(q) / 128 - memory.real.mean(axis=0))
    assert 0.15 < error <= np.sqrt(2 * memory.largest_rise(q))


def retrievals(count, rng):
    """Change of energy and its bound, (count, 4, 2), for 4 steps of ``count`` retrievals; a new associative
    memory for every 10.
    """
    out = []
    for j in range(count):
        if j % 10 == 0:
            memory, _ = some(rng, rng.integers(1, 60), rng.integers(1, 70), int(rng.integers(2, 6)))
        n, d = memory.patterns.shape
        noise, kept = rng.choice([0, 10, 40, 128]), rng.random(d) < rng.choice([0.5, 1])
        cue = np.clip(
            (memory.patterns[rng.integers(n)] >> 5) * kept + rng.integers(-noise, noise + 1, d), -128, 127
        )
        states = memory.recall(cue, 4)
        out.append(
            np.stack([np.diff(memory.energy(states)), [memory.largest_rise(q) for q in states[:-1]]], axis=-1)
        )
    return np.stack(out)


def test_energy_does_not_rise():
    """4,000 retrievals.

    The bound is tight: a typical first step decreases far more, and some increase uses most of it.
    """
    change, limit = np.moveaxis(retrievals(4_000, np.random.default_rng(0)), -1, 0)
    assert (change <= limit).all()
    assert np.median(-change[:, 0]) > 5 * np.median(limit[:, 0])
    assert (change / limit).max() > 0.2


def test_stored_patterns_are_fixed_points():
    """Distant random patterns: half a pattern recalls it in one step; a stored one is a fixed point."""
    rng = np.random.default_rng(2)
    codes = rng.integers(-128, 128, (200, 64))
    memory = Hopfield.of(codes, sharpness=3)
    for pattern in codes[:50]:
        cue = np.where(np.arange(64) < 32, pattern, 0)
        states = memory.recall(cue)
        assert states[-1].tolist() == pattern.tolist() and len(states) <= 4
        assert memory.recall(pattern).tolist() == [pattern.tolist()] * 2
        assert memory.recall(cue, 3).shape == (4, 64) and memory.recall(cue, 0).tolist() == [cue.tolist()]


def test_energy_equals_formula():
    memory = Hopfield([[2048, 0], [0, -4096]], sharpness=3)
    q = np.array([[64, -128], [0, 0]])
    k = 4 * np.log(2)
    expected = [0.5 * (0.25 + 1) - np.log(np.exp(k * 0.25) + np.exp(k)) / k, -np.log(2) / k]
    assert memory.energy(q) == pytest.approx(expected, rel=1e-12) and memory.k == pytest.approx(k)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 30),
    st.integers(1, 30),
    st.integers(1, 6),
    st.sampled_from([(9, 2), (12, 2), (12, 5), (13, 4)]),
)
def test_recall_on_engine(seed, n, d, steps, formats):
    """At every lane count, from one memory image and a written cue; a second cue needs only its write."""
    rng = np.random.default_rng(seed)
    numerics = Numerics(fraction=formats[0])
    memory, cue = some(rng, n, d, formats[1], numerics)
    for lanes in (2, 4, 8, 16):
        config = EngineConfig(lanes=lanes, tiles=256, value_groups=64, state_groups=32, numerics=numerics)
        placed = HopfieldOnEngine(memory, config)
        engine = EngineModel(config, disassemble(assemble(placed.program(steps))))
        words = placed.weight_words()
        engine.w[: len(words)] = words
        for q in (cue, rng.integers(-128, 128, d)):
            first, values = placed.cue(q)
            engine.plus.flat[first : first + len(values)] = values
            engine.run(learn=False)
            assert placed.state(engine.plus).tolist() == memory.recall(q, steps)[-1].tolist()


def test_recall_terminates():
    memory = Hopfield.of([[100, 3], [-100, 3]], sharpness=2)
    states = memory.recall([1, 0])
    assert len(states) <= MAX_STEPS + 1 and states[-1].tolist() == memory.step(states[-1]).tolist()


ONE = Hopfield.of([[1, 2, 3]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Hopfield(np.zeros((1025, 2), int)), r"not \(1025, 2\)"),
        (lambda: Hopfield([[1]], sharpness=-2, numerics=Numerics(fraction=8)), "9.*13.*8"),
        (lambda: Hopfield.of([[1]], numerics=Numerics(fraction=6)), "7.*6"),
        (lambda: Hopfield(np.full((1, 600), 4064), sharpness=5), "1219800"),
        (
            lambda: Hopfield(np.full((1024, 1), 4064), numerics=Numerics(accumulator_width=22)),
            "22-bit accumulator",
        ),
        (
            lambda: Hopfield(np.full((1, 2000), 4064), sharpness=2, numerics=Numerics(accumulator_width=22)),
            "22-bit accumulator",
        ),
        (lambda: HopfieldOnEngine(ONE, EngineConfig(numerics=Numerics(fraction=10))), "fraction=12"),
        (lambda: HopfieldOnEngine(Hopfield.of(np.ones((40, 40), int)), EngineConfig(tiles=99)), "DRIVE"),
        (
            lambda: HopfieldOnEngine(Hopfield.of(np.ones((40, 40), int)), EngineConfig(attention=False)),
            r"EngineConfig\.attention",
        ),
        (
            lambda: HopfieldOnEngine(Hopfield.of(np.ones((40, 40), int)), EngineConfig(program_words=32)),
            "33 program",
        ),
        (lambda: HopfieldOnEngine(ONE, EngineConfig()).cue([1, 2]), "cue"),
    ],
)
def test_invalid_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    assert issubclass(ProgramError, ValueError)


def test_sums_do_not_wrap():
    """The largest patterns and states in the narrowest accumulator that holds them: reference = engine."""
    for fill in (4064, -4096):
        for width in range(20, 27):
            numerics = Numerics(accumulator_width=width)
            try:
                memory = Hopfield(np.full((64, 64), fill), sharpness=2, numerics=numerics)
            except ValueError:
                continue
            config = EngineConfig(lanes=16, tiles=256, value_groups=64, state_groups=32, numerics=numerics)
            placed = HopfieldOnEngine(memory, config)
            engine = EngineModel(config, placed.program(2))
            engine.w[: len(placed.weight_words())] = placed.weight_words()
            for cue in (-128, 127):
                first, values = placed.cue(np.full(64, cue))
                engine.plus.flat[first : first + len(values)] = values
                engine.run(learn=False)
                assert (
                    placed.state(engine.plus).tolist()
                    == memory.recall(np.full(64, cue), 2)[-1].tolist()
                    == [fill >> 5] * 64
                )
            break
        else:
            raise AssertionError("none fits")
        assert width < 26
